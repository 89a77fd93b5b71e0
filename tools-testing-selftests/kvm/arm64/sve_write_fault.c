// SPDX-License-Identifier: GPL-2.0
/*
 * sve_write_fault - a write of an SVE register whose value cannot be read in
 * full fails with EFAULT and leaves the register as it was.
 */
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "kselftest.h"
#include "kvm_util.h"
#include "processor.h"
#include "test_util.h"

/* The longest SVE register: 2048 bits. */
#define MAX_BYTES	256

static const struct {
	const char *name;
	u64 id;
} regs[] = {
	{ "Z0",	 KVM_REG_ARM64_SVE_ZREG(0, 0) },
	{ "Z31", KVM_REG_ARM64_SVE_ZREG(31, 0) },
	{ "P0",	 KVM_REG_ARM64_SVE_PREG(0, 0) },
	{ "P15", KVM_REG_ARM64_SVE_PREG(15, 0) },
	{ "FFR", KVM_REG_ARM64_SVE_FFR(0) },
};

static struct kvm_vcpu *create_vcpu(void)
{
	int feature = KVM_ARM_VCPU_SVE;
	struct kvm_vm *vm = vm_create_barebones();
	struct kvm_vcpu *vcpu = __vm_vcpu_add(vm, 0);
	struct kvm_vcpu_init init;

	kvm_get_default_vcpu_target(vm, &init);
	init.features[0] |= BIT(KVM_ARM_VCPU_SVE);
	vcpu_ioctl(vcpu, KVM_ARM_VCPU_INIT, &init);
	vcpu_ioctl(vcpu, KVM_ARM_VCPU_FINALIZE, &feature);
	return vcpu;
}

static int access_reg(struct kvm_vcpu *vcpu, unsigned long what, u64 id, void *value)
{
	struct kvm_one_reg reg = { .id = id, .addr = (u64)value };

	return ioctl(vcpu->fd, what, &reg) ? errno : 0;
}

/* The value ends where memory ends, after one byte: no register is as short. */
static bool keeps_its_value(struct kvm_vcpu *vcpu, u64 id, u8 *last)
{
	u8 before[MAX_BYTES] = { }, after[MAX_BYTES] = { };
	int error;

	memset(before, 0x5a, sizeof(before));
	error = access_reg(vcpu, KVM_SET_ONE_REG, id, before);
	TEST_ASSERT(!error, "KVM_SET_ONE_REG of 0x%lx: %s", (unsigned long)id, strerror(error));
	memset(before, 0, sizeof(before));
	error = access_reg(vcpu, KVM_GET_ONE_REG, id, before);
	TEST_ASSERT(!error, "KVM_GET_ONE_REG of 0x%lx: %s", (unsigned long)id, strerror(error));

	*last = 0xa5;
	error = access_reg(vcpu, KVM_SET_ONE_REG, id, last);
	if (error != EFAULT)
		ksft_print_msg("a write that faults: %s\n", strerror(error));
	TEST_ASSERT(!access_reg(vcpu, KVM_GET_ONE_REG, id, after), "KVM_GET_ONE_REG");
	if (memcmp(before, after, sizeof(before)))
		ksft_print_msg("0x%02x was 0x%02x\n", after[0], before[0]);

	return error == EFAULT && !memcmp(before, after, sizeof(before));
}

int main(void)
{
	struct kvm_vcpu *vcpu;
	unsigned int i;
	u8 *page;

	ksft_print_header();
	TEST_REQUIRE(kvm_check_cap(KVM_CAP_ARM_SVE));
	ksft_set_plan(ARRAY_SIZE(regs));

	page = mmap(NULL, 2 * getpagesize(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		    -1, 0);
	TEST_ASSERT(page != MAP_FAILED, "mmap: %s", strerror(errno));
	munmap(page + getpagesize(), getpagesize());

	vcpu = create_vcpu();
	for (i = 0; i < ARRAY_SIZE(regs); i++)
		ksft_test_result(keeps_its_value(vcpu, regs[i].id, page + getpagesize() - 1),
				 "a write of %s that faults changes nothing\n", regs[i].name);

	kvm_vm_free(vcpu->vm);
	ksft_finished();
}
