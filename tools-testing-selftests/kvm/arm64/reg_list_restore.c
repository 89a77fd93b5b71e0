// SPDX-License-Identifier: GPL-2.0
/*
 * reg_list_restore - a vCPU that is saved, and restored in the order of
 * KVM_GET_REG_LIST by a client that knows nothing of registers but which of
 * them come before finalize, must be the same vCPU.
 */
#include "kselftest.h"
#include "kvm_util.h"
#include "processor.h"
#include "reg_list.h"
#include "test_util.h"

/* Any will do.  The same one makes a failure come again. */
#define SEED 20210

static const struct reg_list_shape *shape;

static struct kvm_vcpu *create_vcpu(void)
{
	struct kvm_vm *vm = vm_create_barebones();
	struct kvm_vcpu *vcpu = __vm_vcpu_add(vm, 0);
	struct kvm_vcpu_init init;

	vm_ioctl(vm, KVM_ARM_PREFERRED_TARGET, &init);
	init.features[0] |= shape->features;
	vcpu_ioctl(vcpu, KVM_ARM_VCPU_INIT, &init);
	return vcpu;
}

static void print_lost(__u64 id)
{
	ksft_print_msg("%s: 0x%016llx is lost\n", shape->name, id);
}

/* Nothing was lost that was not listed to begin with. */
static bool same_list(struct kvm_vcpu *vcpu, const struct kvm_reg_list *saved)
{
	struct kvm_reg_list *list = reg_list_read(vcpu->fd);
	bool same;

	TEST_ASSERT(list, "KVM_GET_REG_LIST: %s", strerror(errno));
	same = list->n == saved->n &&
	       !memcmp(list->reg, saved->reg, list->n * sizeof(list->reg[0]));
	free(list);
	return same;
}

static void test_restore(void)
{
	struct kvm_vcpu *from = create_vcpu(), *to = create_vcpu();
	int feature = KVM_ARM_VCPU_SVE, written, expected;
	struct reg_list_state state;
	struct kvm_reg_list *list;
	unsigned int errors, lost;

	if (shape->features & BIT(KVM_ARM_VCPU_SVE))
		vcpu_ioctl(from, KVM_ARM_VCPU_FINALIZE, &feature);

	list = reg_list_read(from->fd);
	TEST_ASSERT(list, "KVM_GET_REG_LIST: %s", strerror(errno));
	written = reg_list_fill(from->fd, list, SEED);
	free(list);

	/*
	 * At least X0 to X30, SP, PC, SP_EL1, ELR_EL1, FPSR, FPCR, and all of
	 * V, or of Z, P and FFR: a test of nothing must not pass.
	 */
	expected = 37 + (shape->features & BIT(KVM_ARM_VCPU_SVE) ? 49 : 32);
	TEST_ASSERT(written >= expected, "%d registers filled, at least %d expected",
		    written, expected);

	TEST_ASSERT(!reg_list_save(from->fd, &state), "a listed register cannot be read: %s",
		    strerror(errno));

	errors = reg_list_restore(to->fd, &state);
	lost = reg_list_count_lost(to->fd, &state, print_lost);
	ksft_print_msg("%s: %llu registers, %d filled, %u errors, %u lost\n", shape->name,
		       state.list->n, written, errors, lost);
	ksft_test_result(!errors && !lost && same_list(to, state.list), "%s\n", shape->name);

	reg_list_free(&state);
	kvm_vm_free(from->vm);
	kvm_vm_free(to->vm);
}

int main(void)
{
	const struct reg_list_exempt *exempt;
	const char *lacks;
	unsigned int i;
	int kvm;

	ksft_print_header();
	kvm = open_kvm_dev_path_or_exit();
	ksft_set_plan(ARRAY_SIZE(reg_list_shapes));

	for (exempt = reg_list_exempt; exempt->id; exempt++)
		ksft_print_msg("exempt: 0x%016llx, bits 0x%llx: %s\n", exempt->id,
			       exempt->ignored, exempt->reason);

	for (i = 0; i < ARRAY_SIZE(reg_list_shapes); i++) {
		shape = &reg_list_shapes[i];
		lacks = reg_list_lacks(kvm, shape->features);
		if (lacks)
			ksft_test_result_skip("%s: no %s on this host\n", shape->name, lacks);
		else
			test_restore();
	}

	close(kvm);
	ksft_finished();
}
