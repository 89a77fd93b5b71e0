/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which vector registers a vCPU has, and the order of KVM_GET_REG_LIST.
 *
 * Pure functions over register ids: no lock, no allocation, no state.
 */
#ifndef __ARM64_KVM_REG_LIST_H
#define __ARM64_KVM_REG_LIST_H

#include <linux/types.h>

/**
 * struct kvm_arm_vec_state - what decides which vector registers a vCPU has
 * @sve: the vCPU has SVE
 * @sme: the vCPU has SME; without it nothing below counts
 * @sme2: the guest has SME2 (ID_AA64PFR1_EL1.SME >= 2)
 * @fa64: the guest has FA64 (ID_AA64SMFR0_EL1.FA64)
 * @sm: the vCPU is in streaming mode (SVCR.SM)
 * @za: ZA and ZT0 are on (SVCR.ZA)
 * @svl: the greatest streaming vector length of the vCPU in bytes
 */
struct kvm_arm_vec_state {
	bool sve;
	bool sme;
	bool sme2;
	bool fa64;
	bool sm;
	bool za;
	u16 svl;
};

/**
 * kvm_arm_reg_list_vec() - list the vector registers of a vCPU
 * @state: the vCPU, finalized
 * @ids: where their ids go
 * @room: how many ids fit in @ids
 *
 * Return: the number of the vCPU's vector registers. If it is greater than
 * @room, only the first @room of them were stored.
 */
size_t kvm_arm_reg_list_vec(struct kvm_arm_vec_state state, u64 *ids,
			    size_t room);

/**
 * kvm_arm_reg_list_vec_has() - whether a vCPU has a vector register
 * @state: the vCPU
 * @id: the id, all 64 bits of it
 *
 * Return: whether kvm_arm_reg_list_vec() lists @id for this vCPU.
 */
bool kvm_arm_reg_list_vec_has(struct kvm_arm_vec_state state, u64 id);

/**
 * kvm_arm_reg_list_order() - put a register list in an order safe to restore
 * @ids: the list
 * @n: the number of ids in it
 *
 * Moves the registers that others depend on to the front, in place. All others
 * keep their order.
 */
void kvm_arm_reg_list_order(u64 *ids, size_t n);

/* The same in Rust, with CONFIG_KVM_REG_LIST_RUST; @ids must not be NULL. */
size_t kvm_arm_reg_list_vec_rust(struct kvm_arm_vec_state state, u64 *ids,
				 size_t room);
bool kvm_arm_reg_list_vec_has_rust(struct kvm_arm_vec_state state, u64 id);
void kvm_arm_reg_list_order_rust(u64 *ids, size_t n);

#endif /* __ARM64_KVM_REG_LIST_H */
