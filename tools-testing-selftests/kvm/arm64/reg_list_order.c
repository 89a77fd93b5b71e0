// SPDX-License-Identifier: GPL-2.0
/*
 * reg_list_order - what KVM_GET_REG_LIST promises: the registers that it
 * lists, and the order in which it does.
 *
 * How it gives them to user space is the subject of reg_list_room, and what a
 * VMM gets out of the order that of reg_list_restore.
 */
#include "reg_list_vcpu.h"

/*
 * What a list begins with: the vector lengths, and what decides about one
 * register, ID_AA64PFR1_EL1 and CNTVCT_EL0.
 */
static const u64 leaders[] = {
	KVM_REG_ARM64_SVE_VLS,
	KVM_ARM64_SYS_REG(SYS_ID_AA64PFR1_EL1),
	KVM_REG_ARM_TIMER_CNT,
};

/* SVE_VLS, Z0 to Z31, P0 to P15, FFR. */
#define NR_SVE_REGS	50

static const u64 *first_leader(void)
{
	return has_sve() ? leaders : leaders + 1;
}

static u64 count_leaders(void)
{
	return leaders + ARRAY_SIZE(leaders) - first_leader();
}

static bool leaders_first(const struct kvm_reg_list *list)
{
	return !memcmp(list->reg, first_leader(), count_leaders() * sizeof(leaders[0]));
}

/* All behind the leaders. */
static bool usual_order(const struct kvm_reg_list *list)
{
	u64 i, place, last = 0;
	bool first = true;

	for (i = count_leaders(); i < list->n; i++) {
		place = usual_place(list->reg[i]);
		if (!first && place <= last) {
			ksft_print_msg("0x%llx is out of place at %llu\n",
				       list->reg[i], (unsigned long long)i);
			return false;
		}
		first = false;
		last = place;
	}

	return true;
}

static bool no_duplicate(const struct kvm_reg_list *list)
{
	u64 i, j;

	for (i = 0; i < list->n; i++)
		for (j = 0; j < i; j++)
			if (list->reg[i] == list->reg[j])
				return false;
	return true;
}

static unsigned int count_sve(const struct kvm_reg_list *list)
{
	unsigned int count = 0;
	u64 i;

	for (i = 0; i < list->n; i++)
		count += (list->reg[i] & KVM_REG_ARM_COPROC_MASK) == KVM_REG_ARM64_SVE;
	return count;
}

static void test_content(void)
{
	struct kvm_vm *vm = vm_create_barebones();
	struct kvm_vcpu *vcpu = add_vcpu(vm, 0);
	struct kvm_reg_list *list = must_list(vcpu);

	result(leaders_first(list), "what others depend on is first");
	result(count_sve(list) == (has_sve() ? NR_SVE_REGS : 0), "number of vector registers");
	result(no_duplicate(list), "no id twice");
	result(usual_order(list), "all else in the usual order");
	result(all_accessible(vcpu, list), "listed means accessible");

	free(list);
	kvm_vm_free(vm);
}

static const struct kind_test tests[] = {
	{ test_content,		5 },
};

int main(void)
{
	int kvm;

	ksft_print_header();
	kvm = open_kvm_dev_path_or_exit();
	ksft_set_plan(1 + results_on_all_kinds(tests, ARRAY_SIZE(tests)));

	ksft_test_result(kvm_check_cap(KVM_CAP_ARM_REG_LIST_ORDER) == 1,
			 "KVM_CAP_ARM_REG_LIST_ORDER is 1\n");
	run_on_all_kinds(kvm, tests, ARRAY_SIZE(tests));

	close(kvm);
	ksft_finished();
}
