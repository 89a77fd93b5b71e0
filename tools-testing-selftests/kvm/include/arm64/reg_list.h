/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Save and restore of an arm64 vCPU the way a simple VMM does it: list the
 * registers, read each, and write them back into another vCPU in list order.
 *
 * Takes file descriptors and needs the UAPI alone, so that programs outside
 * of the selftests' framework can include it as well.
 */
#ifndef SELFTEST_KVM_REG_LIST_H
#define SELFTEST_KVM_REG_LIST_H

#include <errno.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

/* Not in the headers of a kernel without SME vCPUs, where no register has such an id. */
#ifndef KVM_REG_ARM64_SME
#define KVM_REG_ARM64_SME	(0x17 << KVM_REG_ARM_COPROC_SHIFT)
#define KVM_REG_ARM64_SME_VLS	(KVM_REG_ARM64 | KVM_REG_ARM64_SME | \
				 KVM_REG_SIZE_U512 | 0xfffe)
#endif

/* Bytes in the largest register there is: 2048 bits. */
#define REG_LIST_MAX_BYTES	256

/* The vCPUs that the tests know, by features beyond the preferred target's. */
static const struct reg_list_kind {
	const char *name;
	__u32 features;
} reg_list_kinds[] = {
	{ "plain",   0 },
	{ "pmu",     1 << KVM_ARM_VCPU_PMU_V3 },
	{ "sve",     1 << KVM_ARM_VCPU_SVE },
	{ "sve+pmu", 1 << KVM_ARM_VCPU_SVE | 1 << KVM_ARM_VCPU_PMU_V3 },
};

struct reg_list_state {
	struct kvm_reg_list *list;
	unsigned char (*value)[REG_LIST_MAX_BYTES];
};

/*
 * Bits that need not read back as they were written, with the reason.  All
 * other bits of all other registers must.
 */
static const struct reg_list_exempt {
	__u64 id;
	__u64 ignored;
	const char *reason;
} reg_list_exempt[] = {
	{ KVM_REG_ARM_TIMER_CNT,  ~0ULL,  "the virtual counter runs on" },
	{ KVM_REG_ARM_PTIMER_CNT, ~0ULL,  "the physical counter runs on" },
	{ KVM_REG_ARM_TIMER_CTL,  1 << 2, "ISTATUS follows from the counter when it is read" },
	{ KVM_REG_ARM_PTIMER_CTL, 1 << 2, "ISTATUS follows from the counter when it is read" },
	{ }
};

#define REG_LIST_CORE(name, size) \
	(KVM_REG_ARM64 | KVM_REG_SIZE_##size | KVM_REG_ARM_CORE | KVM_REG_ARM_CORE_REG(name))

/* What of the features this host lacks, or NULL when all are there. */
static inline const char *reg_list_lacks(int kvm, __u32 features)
{
	if (features & 1 << KVM_ARM_VCPU_SVE &&
	    ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_ARM_SVE) <= 0)
		return "SVE";
	if (features & 1 << KVM_ARM_VCPU_PMU_V3 &&
	    ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_ARM_PMU_V3) <= 0)
		return "PMU";
	return NULL;
}

static inline size_t reg_list_bytes(__u64 id)
{
	return 1UL << ((id & KVM_REG_SIZE_MASK) >> KVM_REG_SIZE_SHIFT);
}

/* A register that is written before KVM_ARM_VCPU_FINALIZE, and fixed by it. */
static inline bool reg_list_is_vls(__u64 id)
{
	return id == KVM_REG_ARM64_SVE_VLS || id == KVM_REG_ARM64_SME_VLS;
}

static inline int reg_list_get_one(int vcpu, __u64 id, void *value)
{
	struct kvm_one_reg reg = { .id = id, .addr = (unsigned long)value };

	return ioctl(vcpu, KVM_GET_ONE_REG, &reg);
}

static inline int reg_list_set_one(int vcpu, __u64 id, const void *value)
{
	struct kvm_one_reg reg = { .id = id, .addr = (unsigned long)value };

	return ioctl(vcpu, KVM_SET_ONE_REG, &reg);
}

/* The list, for the caller to free, or NULL with errno set. */
static inline struct kvm_reg_list *reg_list_read(int vcpu)
{
	struct kvm_reg_list sizing = { .n = 0 }, *list;
	__u64 n;

	/* The number can grow in between, if another vCPU changes the VM. */
	for (n = 0; ; n = list->n, free(list)) {
		list = malloc(sizeof(sizing) + n * sizeof(list->reg[0]));
		if (!list)
			return NULL;

		list->n = n;
		if (!ioctl(vcpu, KVM_GET_REG_LIST, list))
			return list;
		if (errno != E2BIG) {
			free(list);
			return NULL;
		}
	}
}

static inline void reg_list_free(struct reg_list_state *state)
{
	free(state->list);
	free(state->value);
}

/* Returns 0, or -1 when a register that is listed cannot be read. */
static inline int reg_list_save(int vcpu, struct reg_list_state *state)
{
	__u64 i;

	state->value = NULL;
	state->list = reg_list_read(vcpu);
	if (!state->list)
		return -1;

	state->value = calloc(state->list->n, sizeof(state->value[0]));
	if (!state->value)
		return -1;

	for (i = 0; i < state->list->n; i++)
		if (reg_list_get_one(vcpu, state->list->reg[i], state->value[i]))
			return -1;

	return 0;
}

/*
 * The client that the order of the list is for: it knows whether to finalize,
 * and no register.  Its vCPUs have the vector lengths that they begin with.
 * Returns the number of calls that fail.
 */
static inline unsigned int reg_list_restore_all(int vcpu, const struct reg_list_state *state,
						bool finalize)
{
	int feature = KVM_ARM_VCPU_SVE;
	unsigned int errors = 0;
	__u64 i;

	if (finalize)
		errors += !!ioctl(vcpu, KVM_ARM_VCPU_FINALIZE, &feature);

	for (i = 0; i < state->list->n; i++)
		errors += !!reg_list_set_one(vcpu, state->list->reg[i], state->value[i]);

	return errors;
}

/*
 * The same client for vCPUs with vector lengths of their own: it knows which
 * registers come before finalize.
 */
static inline unsigned int reg_list_restore(int vcpu, const struct reg_list_state *state)
{
	int feature = KVM_ARM_VCPU_SVE;
	const __u64 *id = state->list->reg;
	bool finalize = false;
	unsigned int errors = 0;
	__u64 i;

	for (i = 0; i < state->list->n; i++) {
		if (!reg_list_is_vls(id[i]))
			continue;
		errors += !!reg_list_set_one(vcpu, id[i], state->value[i]);
		finalize = true;
	}

	if (finalize)
		errors += !!ioctl(vcpu, KVM_ARM_VCPU_FINALIZE, &feature);

	for (i = 0; i < state->list->n; i++)
		if (!reg_list_is_vls(id[i]))
			errors += !!reg_list_set_one(vcpu, id[i], state->value[i]);

	return errors;
}

static inline bool reg_list_same(__u64 id, const unsigned char *a, const unsigned char *b)
{
	const struct reg_list_exempt *exempt;
	__u64 x, y;

	for (exempt = reg_list_exempt; exempt->id; exempt++) {
		if (id != exempt->id)
			continue;
		memcpy(&x, a, sizeof(x));
		memcpy(&y, b, sizeof(y));
		return !((x ^ y) & ~exempt->ignored);
	}

	return !memcmp(a, b, reg_list_bytes(id));
}

/*
 * The number of saved registers that cannot be read or do not read back as
 * they were.  lost(), if there is one, hears of each.
 */
static inline unsigned int reg_list_count_lost(int vcpu, const struct reg_list_state *state,
					       void (*lost)(__u64 id))
{
	unsigned char value[REG_LIST_MAX_BYTES];
	unsigned int count = 0;
	__u64 i, id;

	for (i = 0; i < state->list->n; i++) {
		id = state->list->reg[i];
		if (!reg_list_get_one(vcpu, id, value) &&
		    reg_list_same(id, value, state->value[i]))
			continue;
		count++;
		if (lost)
			lost(id);
	}

	return count;
}

#endif /* SELFTEST_KVM_REG_LIST_H */
