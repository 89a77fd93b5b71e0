// SPDX-License-Identifier: GPL-2.0
/*
 * reg_list_el2 - a vCPU with EL2 keeps its registers over save and restore,
 * also those bits that depend on the ID registers and on its exception level.
 */
#include "kselftest.h"
#include "kvm_util.h"
#include "processor.h"
#include "test_util.h"

#include <perf/arm_pmuv3.h>

#define PMU_PPI		23

/* Says which counters it sees that are enabled, interrupt or have overflowed. */
static void guest_code(u64 *nowhere)
{
	WRITE_ONCE(*nowhere, read_sysreg(pmcntenset_el0) | read_sysreg(pmintenset_el1) |
			     read_sysreg(pmovsset_el0));
}

/* With a GIC, as nested virtualization needs one. */
static struct kvm_vcpu *create_vcpu(u32 features)
{
	struct kvm_vm *vm = vm_create(1);
	struct kvm_vcpu_init init;
	struct kvm_vcpu *vcpu;

	kvm_get_default_vcpu_target(vm, &init);
	init.features[0] |= BIT(KVM_ARM_VCPU_HAS_EL2) | features;
	vcpu = aarch64_vcpu_add(vm, 0, &init, guest_code);
	kvm_arch_vm_finalize_vcpus(vm);
	return vcpu;
}

/* All that KVM does when a vCPU first runs, but no instruction. */
static void run_nothing(struct kvm_vcpu *vcpu)
{
	vcpu->run->immediate_exit = 1;
	TEST_ASSERT(__vcpu_run(vcpu) == -1 && errno == EINTR, "KVM_RUN: %s", strerror(errno));
}

/* EL2 registers whose bits depend on features. */
static const struct {
	const char *name;
	u64 id;
} masked[] = {
	{ "HFGRTR_EL2", KVM_ARM64_SYS_REG(SYS_HFGRTR_EL2) },
	{ "HFGWTR_EL2", KVM_ARM64_SYS_REG(SYS_HFGWTR_EL2) },
	{ "TCR2_EL2",	KVM_ARM64_SYS_REG(SYS_TCR2_EL2) },
};

struct masks_seen {
	/* Fields taken away, and those among them that KVM takes others away for. */
	unsigned int taken, mended;
	/* EL2 registers that a restored vCPU does not have as they were */
	unsigned int lost;
};

/*
 * Takes a field of ID_AA64MMFR3_EL1 away, and with it perhaps what others
 * depend on.  KVM mends that when the vCPU first runs.  Whatever the EL2
 * registers hold then must be the same in a restored vCPU after its first run.
 */
static void take_away(unsigned int shift, struct masks_seen *seen)
{
	const u64 mmfr3 = KVM_ARM64_SYS_REG(SYS_ID_AA64MMFR3_EL1);
	struct kvm_vcpu *from = create_vcpu(0), *to;
	u64 features, fewer, mended, before, after;
	unsigned int i;

	features = vcpu_get_reg(from, mmfr3);
	fewer = features & ~(0xfull << shift);
	if (fewer == features || __vcpu_set_reg(from, mmfr3, fewer)) {
		kvm_vm_free(from->vm);
		return;
	}

	for (i = 0; i < ARRAY_SIZE(masked); i++)
		__vcpu_set_reg(from, masked[i].id, ~0ull);
	run_nothing(from);
	mended = vcpu_get_reg(from, mmfr3);
	seen->taken++;
	seen->mended += mended != fewer;

	to = create_vcpu(0);
	vcpu_set_reg(to, mmfr3, mended);
	for (i = 0; i < ARRAY_SIZE(masked); i++)
		if (!__vcpu_get_reg(from, masked[i].id, &before))
			vcpu_set_reg(to, masked[i].id, before);
	run_nothing(to);

	for (i = 0; i < ARRAY_SIZE(masked); i++) {
		if (__vcpu_get_reg(from, masked[i].id, &before))
			continue;
		after = vcpu_get_reg(to, masked[i].id);
		if (after == before)
			continue;
		ksft_print_msg("without ID_AA64MMFR3_EL1[%u:%u] %s was 0x%lx and is 0x%lx\n",
			       shift + 3, shift, masked[i].name,
			       (unsigned long)before, (unsigned long)after);
		seen->lost++;
	}

	kvm_vm_free(from->vm);
	kvm_vm_free(to->vm);
}

static void test_masks(void)
{
	static const char *name = "EL2 registers hold what the mended ID registers allow";
	struct masks_seen seen = { };
	unsigned int shift;

	for (shift = 0; shift < 64; shift += 4)
		take_away(shift, &seen);

	ksft_print_msg("%u fields of ID_AA64MMFR3_EL1 taken away, KVM takes others away for %u\n",
		       seen.taken, seen.mended);
	if (seen.mended || seen.lost)
		ksft_test_result(!seen.lost, "%s\n", name);
	else
		ksft_test_result_skip("%s: none has a feature that others depend on here\n", name);
}

static const struct {
	const char *name;
	u64 id;
} bitmaps[] = {
	{ "PMCNTENSET_EL0", KVM_ARM64_SYS_REG(SYS_PMCNTENSET_EL0) },
	{ "PMINTENSET_EL1", KVM_ARM64_SYS_REG(SYS_PMINTENSET_EL1) },
	{ "PMOVSSET_EL0",   KVM_ARM64_SYS_REG(SYS_PMOVSSET_EL0) },
};

/* Whether all of them have the bits. */
static bool have(struct kvm_vcpu *vcpu, u64 bits, const char *when)
{
	unsigned int i;
	bool good = true;
	u64 value;

	for (i = 0; i < ARRAY_SIZE(bitmaps); i++) {
		value = vcpu_get_reg(vcpu, bitmaps[i].id);
		if (value == bits)
			continue;
		ksft_print_msg("%s: %s is 0x%lx, not 0x%lx\n", when, bitmaps[i].name,
			       (unsigned long)value, (unsigned long)bits);
		good = false;
	}

	return good;
}

/*
 * The guest goes on at EL1, where it has no translation of its own, and writes
 * to where nothing is: with the exit, KVM has reloaded the PMU.  What it wrote
 * is returned.
 */
static u64 run_at_el1(struct kvm_vcpu *vcpu)
{
	struct kvm_vm *vm = vcpu->vm;
	u64 written;

	vcpu_set_reg(vcpu, KVM_ARM64_SYS_REG(SYS_HCR_EL2), HCR_EL2_RW | HCR_EL2_E2H);
	vcpu_set_reg(vcpu, ARM64_CORE_REG(regs.pc), addr_gva2gpa(vm, (gva_t)guest_code));
	/* Not where a ucall would be. */
	vcpu_set_reg(vcpu, ARM64_CORE_REG(regs.regs[0]), vm->ucall_mmio_addr + vm->page_size);
	vcpu_run(vcpu);
	TEST_ASSERT(vcpu->run->exit_reason == KVM_EXIT_MMIO, "the guest exits by %s",
		    exit_reason_str(vcpu->run->exit_reason));
	memcpy(&written, vcpu->run->mmio.data, sizeof(written));
	return written;
}

static void test_counters(void)
{
	static const char *name = "counters that are reserved for EL2";
	const u64 pstate = ARM64_CORE_REG(regs.pstate);
	int irq = PMU_PPI;
	struct kvm_vcpu *vcpu;
	unsigned int i, n;
	u64 bits, seen;
	bool good;

	if (!kvm_check_cap(KVM_CAP_ARM_PMU_V3)) {
		ksft_test_result_skip("%s: no PMU on this host\n", name);
		return;
	}

	vcpu = create_vcpu(BIT(KVM_ARM_VCPU_PMU_V3));
	vcpu_device_attr_set(vcpu, KVM_ARM_VCPU_PMU_V3_CTRL, KVM_ARM_VCPU_PMU_V3_IRQ, &irq);
	vcpu_device_attr_set(vcpu, KVM_ARM_VCPU_PMU_V3_CTRL, KVM_ARM_VCPU_PMU_V3_INIT, NULL);

	n = FIELD_GET(ARMV8_PMU_PMCR_N, vcpu_get_reg(vcpu, KVM_ARM64_SYS_REG(SYS_PMCR_EL0)));
	if (n < 2) {
		ksft_test_result_skip("%s: %u counters\n", name, n);
		goto free_vm;
	}

	/* The first one for all, the others for EL2. */
	bits = BIT(0) | BIT(n - 1);
	vcpu_set_reg(vcpu, KVM_ARM64_SYS_REG(SYS_MDCR_EL2), SYS_FIELD_PREP(MDCR_EL2, HPMN, 1));
	for (i = 0; i < ARRAY_SIZE(bitmaps); i++)
		vcpu_set_reg(vcpu, bitmaps[i].id, bits);
	good = have(vcpu, bits, "at EL2");

	vcpu_set_reg(vcpu, pstate, PSR_MODE_EL1h | PSR_D_BIT | PSR_A_BIT | PSR_I_BIT | PSR_F_BIT);
	good &= have(vcpu, bits, "at EL1");

	for (i = 0; i < ARRAY_SIZE(bitmaps); i++)
		vcpu_set_reg(vcpu, bitmaps[i].id, bits);
	good &= have(vcpu, bits, "written at EL1");

	seen = run_at_el1(vcpu);
	if (seen != BIT(0)) {
		ksft_print_msg("the guest at EL1 sees 0x%lx\n", (unsigned long)seen);
		good = false;
	}
	good &= have(vcpu, bits, "after a run at EL1");

	ksft_test_result(good, "%s\n", name);
free_vm:
	kvm_vm_free(vcpu->vm);
}

int main(void)
{
	ksft_print_header();
	TEST_REQUIRE(kvm_check_cap(KVM_CAP_ARM_EL2));
	ksft_set_plan(2);

	test_masks();
	test_counters();

	ksft_finished();
}
