// SPDX-License-Identifier: GPL-2.0-only
/*
 * The vector registers of the register list, and its order.
 */

#include <linux/array_size.h>
#include <linux/kvm_host.h>
#include <linux/string.h>

#include "reg_list.h"

#define KVM_REG_SVCR			ARM64_SYS_REG(3, 3, 4, 2, 2)
#define KVM_REG_ID_AA64PFR1_EL1		ARM64_SYS_REG(3, 0, 0, 4, 1)

/*
 * The registers that others depend on, in the order in which they are to be
 * restored:
 *
 * The vector lengths decide how large Z, P, FFR and ZA are. They can only be
 * changed before KVM_ARM_VCPU_FINALIZE, and the vector registers only be
 * accessed after it (Documentation/virt/kvm/api.rst, KVM_ARM_VCPU_FINALIZE).
 *
 * SVCR decides which of V, Z, P, FFR, ZA and ZT0 there are, and which length
 * they have; a change of it sets them, FPSR and FPMR to what the architecture
 * says (Arm ARM, B1.4, on PSTATE.SM and PSTATE.ZA).
 *
 * ID_AA64PFR1_EL1.SSBS decides which levels of SMCCC_ARCH_WORKAROUND_2 can be
 * written (get_kernel_wa_level() in hypercalls.c).
 *
 * CNTVCT_EL0 and CNTPCT_EL0 share one offset on a vCPU with EL2, and the one
 * that is written last decides (kvm_timer_vcpu_reset() in arch_timer.c).
 */
static const u64 leaders[] = {
	KVM_REG_ARM64_SVE_VLS,
	KVM_REG_ARM64_SME_VLS,
	KVM_REG_SVCR,
	KVM_REG_ID_AA64PFR1_EL1,
	KVM_REG_ARM_TIMER_CNT,
};

/* The number of a register is above the 5 bits of its slice. */
#define REG_ID_NUMBER_SHIFT	5
#define REG_ID_SLICE_MASK	(KVM_ARM64_SVE_MAX_SLICES - 1)

#define NR_VEC_BLOCKS		7

/* Registers of one kind, none if the vCPU does not have them */
struct vec_block {
	u64 first;
	u64 count;
};

/* The vector registers of a vCPU, in the kernel's own order */
static void get_vec_blocks(struct kvm_arm_vec_state state,
			   struct vec_block blocks[NR_VEC_BLOCKS])
{
	const bool streaming = state.sme && state.sm;
	const bool za = state.sme && state.za;
	const bool vectors = state.sve || streaming;
	const bool ffr = streaming ? state.fa64 : state.sve;
	const struct vec_block all[NR_VEC_BLOCKS] = {
		{ KVM_REG_ARM64_SVE_VLS,	state.sve },
		{ KVM_REG_ARM64_SVE_ZREG(0, 0),	vectors ? KVM_ARM64_SVE_NUM_ZREGS : 0 },
		{ KVM_REG_ARM64_SVE_PREG(0, 0),	vectors ? KVM_ARM64_SVE_NUM_PREGS : 0 },
		{ KVM_REG_ARM64_SVE_FFR(0),	ffr },
		{ KVM_REG_ARM64_SME_VLS,	state.sme },
		{ KVM_REG_ARM64_SME_ZAHREG(0, 0), za ? state.svl : 0 },
		{ KVM_REG_ARM64_SME_ZTREG(0),	za && state.sme2 },
	};

	memcpy(blocks, all, sizeof(all));
}

size_t kvm_arm_reg_list_vec(struct kvm_arm_vec_state state, u64 *ids,
			    size_t room)
{
	struct kvm_reg_ids list = { .ids = ids, .room = room };
	struct vec_block blocks[NR_VEC_BLOCKS];
	u64 i, n;

	get_vec_blocks(state, blocks);

	for (i = 0; i < NR_VEC_BLOCKS; i++)
		for (n = 0; n < blocks[i].count; n++)
			kvm_reg_ids_add(&list, blocks[i].first | n << REG_ID_NUMBER_SHIFT);

	return list.n;
}

bool kvm_arm_reg_list_vec_has(struct kvm_arm_vec_state state, u64 id)
{
	struct vec_block blocks[NR_VEC_BLOCKS];
	u64 i, distance;

	get_vec_blocks(state, blocks);

	for (i = 0; i < NR_VEC_BLOCKS; i++) {
		distance = id - blocks[i].first;

		if (!(distance & REG_ID_SLICE_MASK) &&
		    distance >> REG_ID_NUMBER_SHIFT < blocks[i].count)
			return true;
	}

	return false;
}

void kvm_arm_reg_list_order(u64 *ids, size_t n)
{
	size_t i, from, to = 0;

	for (i = 0; i < ARRAY_SIZE(leaders); i++) {
		for (from = to; from < n && ids[from] != leaders[i]; from++)
			;
		if (from == n)
			continue;

		memmove(&ids[to + 1], &ids[to], (from - to) * sizeof(*ids));
		ids[to++] = leaders[i];
	}
}
