// SPDX-License-Identifier: GPL-2.0
/*
 * reg_list_restore - a vCPU that is saved, and restored in the order of
 * KVM_GET_REG_LIST by a client that knows nothing of registers, or no more than
 * which of them come before finalize, must be the same vCPU.
 *
 * The state that is lost without the order must not be there because it was
 * written in that order: it is filled in from the end of the list as well.
 */
#include "reg_list_vcpu.h"

/* Any will do.  The same one makes a failure come again. */
#define SEED 20210

static struct kvm_vcpu *create_vcpu(void)
{
	struct kvm_vcpu *vcpu = __vm_vcpu_add(vm_create_barebones(), 0);

	init_vcpu(vcpu);
	return vcpu;
}

static void print_lost(__u64 id)
{
	ksft_print_msg("%s: 0x%016llx is lost\n", kind->name, id);
}

/* Nothing was lost that was not listed to begin with. */
static bool same_list(struct kvm_vcpu *vcpu, const struct kvm_reg_list *saved)
{
	struct kvm_reg_list *list = must_list(vcpu);
	bool same;

	same = list->n == saved->n &&
	       !memcmp(list->reg, saved->reg, list->n * sizeof(list->reg[0]));
	free(list);
	return same;
}

static bool restored(const struct reg_list_state *state, bool knows_vls, const char *what)
{
	struct kvm_vcpu *to = create_vcpu();
	unsigned int errors, lost;
	bool good;

	if (knows_vls)
		errors = reg_list_restore(to->fd, state);
	else
		errors = reg_list_restore_all(to->fd, state, has_sve());
	lost = reg_list_count_lost(to->fd, state, print_lost);
	ksft_print_msg("%s, %s%s: %llu registers, %u errors, %u lost\n", kind->name, what,
		       knows_vls ? ", *_VLS known" : "", state->list->n, errors, lost);
	good = !errors && !lost && same_list(to, state->list);
	kvm_vm_free(to->vm);
	return good;
}

/* Saves a vCPU, and restores it into others. */
static void restore_elsewhere(struct kvm_vcpu *from, const char *what)
{
	struct reg_list_state state;

	TEST_ASSERT(!reg_list_save(from->fd, &state), "a listed register cannot be read: %s",
		    strerror(errno));
	ksft_test_result(restored(&state, true, what) & restored(&state, false, what),
			 "%s, %s\n", kind->name, what);
	reg_list_free(&state);
}

static void reverse(struct kvm_reg_list *list)
{
	__u64 i, id;

	for (i = 0; i < list->n / 2; i++) {
		id = list->reg[i];
		list->reg[i] = list->reg[list->n - 1 - i];
		list->reg[list->n - 1 - i] = id;
	}
}

static void fill(struct kvm_vcpu *vcpu, bool from_the_end)
{
	struct kvm_reg_list *list = must_list(vcpu);
	int written, expected;

	if (from_the_end)
		reverse(list);
	written = reg_list_fill(vcpu->fd, list, SEED);

	/*
	 * At least X0 to X30, SP, PC, SP_EL1, ELR_EL1, FPSR, FPCR, and all of
	 * V, or of Z, P and FFR: a test of nothing must not pass.
	 */
	expected = 37 + (has_sve() ? 49 : 32);
	TEST_ASSERT(written >= expected, "%d registers filled, at least %d expected",
		    written, expected);
	free(list);
}

static void test_restore(void)
{
	struct kvm_vcpu *from = create_vcpu();

	finalize_vcpu(from);
	fill(from, false);
	restore_elsewhere(from, "random values");
	fill(from, true);
	restore_elsewhere(from, "random values from the end");
	kvm_vm_free(from->vm);
}

/*
 * A guest without SSBS has another level of SMCCC_ARCH_WORKAROUND_2, which a
 * vCPU takes only once it has no SSBS either.
 */
static void test_restore_without_ssbs(void)
{
	const u64 pfr1 = KVM_ARM64_SYS_REG(SYS_ID_AA64PFR1_EL1);
	struct kvm_vcpu *from = create_vcpu();
	u64 features;

	finalize_vcpu(from);
	features = vcpu_get_reg(from, pfr1);
	if (SYS_FIELD_GET(ID_AA64PFR1_EL1, SSBS, features)) {
		vcpu_set_reg(from, pfr1, features & ~ID_AA64PFR1_EL1_SSBS_MASK);
		restore_elsewhere(from, "without SSBS");
	} else {
		ksft_test_result_skip("%s: no SSBS on this host\n", kind->name);
	}
	kvm_vm_free(from->vm);
}

static bool is_id_register(u64 id)
{
	return id >= KVM_ARM64_SYS_REG(SYS_ID_PFR0_EL1) &&
	       id <= KVM_ARM64_SYS_REG(sys_reg(3, 0, 0, 7, 7));
}

/* Lowers some fields of an ID register, as far as KVM takes it.  Returns how many. */
static unsigned int lower_fields(struct kvm_vcpu *vcpu, u64 id, __u64 *seed)
{
	u64 value = vcpu_get_reg(vcpu, id), field, wanted;
	unsigned int lowered = 0, shift;

	for (shift = 0; shift < 64; shift += 4) {
		field = value >> shift & 0xf;
		wanted = value - (reg_list_random(seed) % (field + 1) << shift);
		if (wanted == value || reg_list_set_one(vcpu->fd, id, &wanted))
			continue;
		value = wanted;
		lowered++;
	}

	return lowered;
}

/* A guest with fewer features than the host, as a VMM makes it for a pool of hosts. */
static void test_restore_lowered(void)
{
	struct kvm_vcpu *from = create_vcpu();
	__u64 seed = SEED + kind->features;
	struct kvm_reg_list *list;
	unsigned int lowered = 0;
	u64 i;

	finalize_vcpu(from);
	list = must_list(from);
	for (i = 0; i < list->n; i++)
		if (is_id_register(list->reg[i]))
			lowered += lower_fields(from, list->reg[i], &seed);
	free(list);

	TEST_ASSERT(lowered >= 16, "only %u fields of ID registers were lowered", lowered);
	fill(from, false);
	restore_elsewhere(from, "ID registers lowered");
	kvm_vm_free(from->vm);
}

static const struct kind_test tests[] = {
	{ test_restore,			2 },
	{ test_restore_without_ssbs,	1 },
	{ test_restore_lowered,		1 },
};

static struct kvm_vcpu *create_el2_vcpu(void)
{
	struct kvm_vcpu *vcpu = __vm_vcpu_add(vm_create_barebones(), 0);
	struct kvm_vcpu_init init;

	vm_ioctl(vcpu->vm, KVM_ARM_PREFERRED_TARGET, &init);
	init.features[0] |= BIT(KVM_ARM_VCPU_HAS_EL2);
	vcpu_ioctl(vcpu, KVM_ARM_VCPU_INIT, &init);
	return vcpu;
}

/*
 * CNTVCT_EL0 and CNTPCT_EL0 of a vCPU with EL2 have one offset: both are as
 * they were only if CNTPCT_EL0, which CNTVOFF_EL2 does not shift, comes last.
 */
static void test_counters(int kvm)
{
	const u64 shift = 1ULL << 40, run_on = 1ULL << 36;
	u64 physical = 1ULL << 50;
	struct kvm_vcpu *from, *to;
	struct reg_list_state state;
	unsigned int errors;
	u64 counts[2];

	if (ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_ARM_EL2) <= 0) {
		ksft_test_result_skip("counters: no EL2 on this host\n");
		return;
	}

	from = create_el2_vcpu();
	to = create_el2_vcpu();
	vcpu_set_reg(from, KVM_ARM64_SYS_REG(SYS_CNTVOFF_EL2), shift);
	vcpu_set_reg(from, KVM_REG_ARM_PTIMER_CNT, physical);
	TEST_ASSERT(!reg_list_save(from->fd, &state), "a listed register cannot be read: %s",
		    strerror(errno));

	errors = reg_list_restore(to->fd, &state);
	counts[0] = vcpu_get_reg(to, KVM_REG_ARM_PTIMER_CNT) - physical;
	counts[1] = vcpu_get_reg(to, KVM_REG_ARM_TIMER_CNT) - (physical - shift);
	ksft_print_msg("the counters of a vCPU with EL2 went on by 0x%lx and 0x%lx\n",
		       (unsigned long)counts[0], (unsigned long)counts[1]);
	ksft_test_result(!errors && counts[0] < run_on && counts[1] < run_on, "counters\n");

	reg_list_free(&state);
	kvm_vm_free(from->vm);
	kvm_vm_free(to->vm);
}

int main(void)
{
	const struct reg_list_exempt *exempt;
	int kvm;

	ksft_print_header();
	kvm = open_kvm_dev_path_or_exit();
	ksft_set_plan(1 + results_on_all_kinds(tests, ARRAY_SIZE(tests)));

	for (exempt = reg_list_exempt; exempt->id; exempt++)
		ksft_print_msg("exempt: 0x%016llx, bits 0x%llx: %s\n", exempt->id,
			       exempt->ignored, exempt->reason);

	run_on_all_kinds(kvm, tests, ARRAY_SIZE(tests));
	test_counters(kvm);

	close(kvm);
	ksft_finished();
}
