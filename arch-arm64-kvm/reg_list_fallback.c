// SPDX-License-Identifier: GPL-2.0-only
/*
 * The vector registers of the register list, and its order, in C: for kernels
 * without CONFIG_RUST. Gives what reg_list_core.rs gives, id by id.
 */

#include <linux/array_size.h>
#include <linux/kvm_host.h>

#include "reg_list.h"

#define REG_ID_SVCR	ARM64_SYS_REG(3, 3, 4, 2, 2)

/*
 * The registers that others depend on, in the order in which they are to be
 * restored:
 *
 * The vector lengths decide how large Z, P, FFR and ZA are, and can only be
 * written before KVM_ARM_VCPU_FINALIZE, those only after it
 * (Documentation/virt/kvm/api.rst, KVM_ARM_VCPU_FINALIZE).
 *
 * SVCR decides which of V, Z, P, FFR, ZA and ZT0 there are, and which length
 * they have; a change of it sets them, FPSR and FPMR to what the architecture
 * says (Arm ARM, B1.4, on PSTATE.SM and PSTATE.ZA).
 */
static const u64 leaders[] = {
	KVM_REG_ARM64_SVE_VLS,
	KVM_REG_ARM64_SME_VLS,
	REG_ID_SVCR,
};

size_t kvm_arm_reg_list_vec(const struct kvm_arm_vec_state *state, u64 *ids,
			    size_t room)
{
	const bool streaming = state->sme && state->sm;
	struct kvm_reg_ids list = { .ids = ids, .room = room };
	unsigned int n;

	if (state->sve)
		kvm_reg_ids_add(&list, KVM_REG_ARM64_SVE_VLS);

	if (state->sve || streaming) {
		for (n = 0; n < KVM_ARM64_SVE_NUM_ZREGS; n++)
			kvm_reg_ids_add(&list, KVM_REG_ARM64_SVE_ZREG(n, 0));

		for (n = 0; n < KVM_ARM64_SVE_NUM_PREGS; n++)
			kvm_reg_ids_add(&list, KVM_REG_ARM64_SVE_PREG(n, 0));
	}

	if (streaming ? state->fa64 : state->sve)
		kvm_reg_ids_add(&list, KVM_REG_ARM64_SVE_FFR(0));

	if (!state->sme)
		return list.n;

	kvm_reg_ids_add(&list, KVM_REG_ARM64_SME_VLS);

	if (state->za) {
		for (n = 0; n < state->svl; n++)
			kvm_reg_ids_add(&list, KVM_REG_ARM64_SME_ZAHREG(n, 0));

		if (state->sme2)
			kvm_reg_ids_add(&list, KVM_REG_ARM64_SME_ZT0);
	}

	return list.n;
}

static int leader_of(u64 id)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(leaders); i++)
		if (id == leaders[i])
			return i;

	return -1;
}

void kvm_arm_reg_list_order(u64 *ids, size_t n)
{
	size_t count[ARRAY_SIZE(leaders)] = {};
	size_t from, to = n;
	int i;

	/* From the end, so that what need not move is not moved. */
	for (from = n; from-- > 0;) {
		i = leader_of(ids[from]);
		if (i < 0)
			ids[--to] = ids[from];
		else
			count[i]++;
	}

	for (i = ARRAY_SIZE(leaders) - 1; i >= 0; i--)
		while (count[i]--)
			ids[--to] = leaders[i];
}
