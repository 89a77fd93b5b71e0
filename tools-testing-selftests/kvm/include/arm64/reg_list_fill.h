/* SPDX-License-Identifier: GPL-2.0 */
/*
 * State for the vCPUs of a VM, such as a restore can lose.
 *
 * A vCPU that is filled in the order of its list cannot show what a register
 * destroys that comes late in it: the save finds nothing but what is left, and
 * that reads back well.  So a fill is a table of writes, one for each register
 * of each vCPU, that can be made in any order.  After them each register has to
 * hold what it was given; if it does not, the writes are made again, on vCPUs
 * that are new, to find the one that destroyed it.
 *
 * Registers of which it is known that others depend on them are given what they
 * have already.  All others are given something else as far as they take it,
 * also those of which nothing is known here.
 */
#ifndef SELFTEST_KVM_REG_LIST_FILL_H
#define SELFTEST_KVM_REG_LIST_FILL_H

#include <stdio.h>

#include "reg_list.h"

struct reg_list_write {
	unsigned int vcpu;	/* its index */
	__u64 id;
	__u64 value[REG_LIST_MAX_BYTES / sizeof(__u64)];
};

struct reg_list_fill {
	unsigned int count;
	struct reg_list_write *write;
};

enum reg_list_order {
	REG_LIST_FORWARDS,	/* as listed, one vCPU after the other */
	REG_LIST_BACKWARDS,
	REG_LIST_SHUFFLED,
};

static const char * const reg_list_order_names[] = {
	"in the order of the list", "backwards", "in a random order",
};

/* SplitMix64: numbers that are the same for the same seed, on every libc. */
static inline __u64 reg_list_random(__u64 *seed)
{
	__u64 z = *seed += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

/* One register under two names: the first is given what the second is. */
static const struct reg_list_alias {
	__u64 id, other;
} reg_list_aliases[] = {
	/* PMINTENCLR_EL1 and PMINTENSET_EL1, PMCNTENCLR_EL0 and -SET, PMOVSCLR_EL0 and -SET */
	{ ARM64_SYS_REG(3, 0, 9, 14, 2), ARM64_SYS_REG(3, 0, 9, 14, 1) },
	{ ARM64_SYS_REG(3, 3, 9, 12, 2), ARM64_SYS_REG(3, 3, 9, 12, 1) },
	{ ARM64_SYS_REG(3, 3, 9, 12, 3), ARM64_SYS_REG(3, 3, 9, 14, 3) },
	{ }
};

/*
 * Whether it is known that others depend on the register: it says what the vCPU
 * is, or has, or shares a store with another.
 */
static inline bool reg_list_decides(__u64 id)
{
	unsigned int low = id & 0xffff, op0 = low >> 14, op1 = low >> 11 & 7, crn = low >> 7 & 15;

	switch (id) {
	case ARM64_SYS_REG(3, 3, 4, 2, 2):	/* SVCR */
	case KVM_REG_ARM_TIMER_CNT:		/* with EL2, one offset for both counters */
	case KVM_REG_ARM_PTIMER_CNT:
		return true;
	}

	/* Identification, but not CSSELR_EL1 */
	return (id & KVM_REG_ARM_COPROC_MASK) == KVM_REG_ARM64_SYSREG &&
	       op0 == 3 && crn == 0 && op1 != 2;
}

/* Firmware registers are the VM's, whichever vCPU they are written to. */
static inline bool reg_list_is_of_vm(__u64 id)
{
	__u64 class = id & KVM_REG_ARM_COPROC_MASK;

	return class == KVM_REG_ARM_FW || class == KVM_REG_ARM_FW_FEAT_BMAP;
}

/* What comes of a number for a register: the same for all names of one store. */
static inline __u64 reg_list_seed(__u64 seed, const struct reg_list_write *write)
{
	const struct reg_list_alias *alias;
	__u64 id = write->id;

	for (alias = reg_list_aliases; alias->id; alias++)
		if (id == alias->id)
			id = alias->other;
	if (!reg_list_is_of_vm(id))
		seed += write->vcpu + 1;
	id += reg_list_random(&seed);
	return reg_list_random(&id);
}

/* How many values to try: for system registers one after the other, until one is taken. */
static inline unsigned int reg_list_tries(__u64 id)
{
	if (reg_list_decides(id))
		return 0;
	if ((id & KVM_REG_ARM_COPROC_MASK) == KVM_REG_ARM_CORE || reg_list_bytes(id) > 16)
		return 1;
	return 10;
}

/* Makes of the value that is there another one, which a guest could have left there. */
static inline void reg_list_make_up(__u64 id, unsigned int attempt, __u64 *seed, __u64 *value)
{
	__u64 random = reg_list_random(seed);
	size_t i;

	/* KVM checks the mode, and narrows other registers by it. */
	if (id == REG_LIST_CORE(regs.pstate, U64)) {
		value[0] ^= (random | 1U << 31) & 0xf0000000;	/* N, Z, C, V */
		return;
	}

	/* Few bits, for registers that take no more */
	if (attempt) {
		value[0] ^= attempt == 1 ? random & 0xff : 1ULL << (attempt - 2);
		return;
	}

	for (i = 0; i < REG_LIST_MAX_BYTES / sizeof(value[0]); i++)
		value[i] = reg_list_random(seed);
	if (id == REG_LIST_CORE(fp_regs.fpsr, U32))
		value[0] &= 0x0800009f;	/* QC and the cumulative flags */
	if (id == REG_LIST_CORE(fp_regs.fpcr, U32))
		value[0] &= 0x07c00000;	/* AHP, DN, FZ, RMode */
	/* FFR holds ones up to some element, and zeroes from there. */
	if (id == KVM_REG_ARM64_SVE_FFR(0)) {
		value[0] = ~0ULL >> random % 64;
		memset(&value[1], 0, REG_LIST_MAX_BYTES - sizeof(value[0]));
	}
}

/* Whether the register holds what it was given. */
static inline bool reg_list_holds(int vcpu, const struct reg_list_write *write)
{
	unsigned char held[REG_LIST_MAX_BYTES];

	return !reg_list_get_one(vcpu, write->id, held) &&
	       reg_list_same(write->id, held, (const unsigned char *)write->value);
}

/*
 * Whether the register takes the value.  KVM ignores what is past the vector
 * length, and reads it as zero: it goes from the value.
 */
static inline bool reg_list_takes(int vcpu, struct reg_list_write *write)
{
	unsigned char held[REG_LIST_MAX_BYTES];
	size_t bytes = reg_list_bytes(write->id), n = bytes;

	if (reg_list_set_one(vcpu, write->id, write->value) ||
	    reg_list_get_one(vcpu, write->id, held))
		return false;

	if (bytes > 16) {
		while (n && !held[n - 1])
			n--;
		memset((unsigned char *)write->value + n, 0, bytes - n);
	}
	return reg_list_holds(vcpu, write);
}

/*
 * What to write to a register: something else than what is there, which is left
 * as it is.  Returns 1, or 0 if the register is to have what it has, or -1 if it
 * cannot be read, or does not take that back.
 */
static inline int reg_list_choose(int vcpu, struct reg_list_write *write, __u64 seed)
{
	unsigned char now[REG_LIST_MAX_BYTES];
	bool taken, other;
	unsigned int i;

	if (reg_list_get_one(vcpu, write->id, now))
		return -1;
	memcpy(write->value, now, reg_list_bytes(write->id));

	for (i = 0; i < reg_list_tries(write->id); i++) {
		reg_list_make_up(write->id, i, &seed, write->value);
		taken = reg_list_takes(vcpu, write);
		other = !reg_list_same(write->id, (unsigned char *)write->value, now);
		if (reg_list_set_one(vcpu, write->id, now))
			return -1;
		if (taken && other)
			return 1;
		memcpy(write->value, now, reg_list_bytes(write->id));
	}
	return 0;
}

static inline void reg_list_fill_free(struct reg_list_fill *fill)
{
	free(fill->write);
}

/*
 * A write for each register that the vCPUs of a VM list, but for the vector
 * lengths, which are fixed.  Returns how many of them get another value than they
 * have, or -1 with errno set.
 */
static inline int reg_list_plan(struct reg_list_fill *fill, const int *vcpu, unsigned int vcpus,
				__u64 seed)
{
	struct reg_list_write *write;
	struct kvm_reg_list *list;
	int ret = 0, others = 0;
	unsigned int i;
	__u64 n;

	*fill = (struct reg_list_fill){ };
	for (i = 0; i < vcpus && ret >= 0; i++) {
		list = reg_list_read(vcpu[i]);
		if (!list)
			return -1;
		write = realloc(fill->write, (fill->count + list->n) * sizeof(*write));
		if (!write)
			return -1;
		fill->write = write;

		for (n = 0; n < list->n && ret >= 0; n++) {
			if (reg_list_is_vls(list->reg[n]))
				continue;
			write = &fill->write[fill->count++];
			*write = (struct reg_list_write){ .vcpu = i, .id = list->reg[n] };
			ret = reg_list_choose(vcpu[i], write, reg_list_seed(seed, write));
			others += ret > 0;
		}
		free(list);
	}
	return ret < 0 ? -1 : others;
}

static inline void reg_list_swap(struct reg_list_fill *fill, unsigned int a, unsigned int b)
{
	struct reg_list_write other = fill->write[a];

	fill->write[a] = fill->write[b];
	fill->write[b] = other;
}

static inline void reg_list_arrange(struct reg_list_fill *fill, enum reg_list_order order,
				    __u64 seed)
{
	unsigned int i;

	for (i = 0; order == REG_LIST_BACKWARDS && i < fill->count / 2; i++)
		reg_list_swap(fill, i, fill->count - 1 - i);
	for (i = fill->count; order == REG_LIST_SHUFFLED && i > 1; i--)
		reg_list_swap(fill, i - 1, reg_list_random(&seed) % i);
}

static inline void reg_list_core_name(__u64 id, char *name, size_t size)
{
	unsigned int offset = id & 0xffff;

	if (offset < KVM_REG_ARM_CORE_REG(regs.sp))
		snprintf(name, size, "X%u", offset / 2);
	else if (offset == KVM_REG_ARM_CORE_REG(regs.sp))
		snprintf(name, size, "SP");
	else if (offset == KVM_REG_ARM_CORE_REG(regs.pc))
		snprintf(name, size, "PC");
	else if (offset == KVM_REG_ARM_CORE_REG(regs.pstate))
		snprintf(name, size, "PSTATE");
	else if (offset == KVM_REG_ARM_CORE_REG(sp_el1))
		snprintf(name, size, "SP_EL1");
	else if (offset == KVM_REG_ARM_CORE_REG(elr_el1))
		snprintf(name, size, "ELR_EL1");
	else if (offset == KVM_REG_ARM_CORE_REG(fp_regs.fpsr))
		snprintf(name, size, "FPSR");
	else if (offset == KVM_REG_ARM_CORE_REG(fp_regs.fpcr))
		snprintf(name, size, "FPCR");
	else if (reg_list_bytes(id) == 16)
		snprintf(name, size, "V%zu",
			 (offset - KVM_REG_ARM_CORE_REG(fp_regs.vregs[0])) / 4);
	else
		snprintf(name, size, "SPSR[%zu]", (offset - KVM_REG_ARM_CORE_REG(spsr[0])) / 2);
}

static inline void reg_list_vector_name(__u64 id, char *name, size_t size)
{
	bool sve = (id & KVM_REG_ARM_COPROC_MASK) == KVM_REG_ARM64_SVE;
	unsigned int number = (id & 0xffff) >> 5;

	if (reg_list_is_vls(id))
		snprintf(name, size, sve ? "SVE_VLS" : "SME_VLS");
	else if (id == KVM_REG_ARM64_SVE_FFR(0))
		snprintf(name, size, "FFR");
	else if (sve)
		snprintf(name, size, "%c%u", reg_list_bytes(id) == 256 ? 'Z' : 'P', number & 31);
	else if (reg_list_bytes(id) == 64)
		snprintf(name, size, "ZT0");
	else
		snprintf(name, size, "ZA.H[%u]", number);
}

/* Names for people: those that lead a list, other system registers by encoding. */
static inline void reg_list_name(__u64 id, char *name, size_t size)
{
	static const struct {
		__u64 id;
		const char *name;
	} leaders[] = {
		{ ARM64_SYS_REG(3, 3, 4, 2, 2),	"SVCR" },
		{ ARM64_SYS_REG(3, 0, 0, 4, 1),	"ID_AA64PFR1_EL1" },
		{ KVM_REG_ARM_TIMER_CNT,	"CNTVCT_EL0" },
		{ }
	}, *leader;
	unsigned int low = id & 0xffff;

	for (leader = leaders; leader->id; leader++) {
		if (id == leader->id) {
			snprintf(name, size, "%s", leader->name);
			return;
		}
	}

	switch (id & KVM_REG_ARM_COPROC_MASK) {
	case KVM_REG_ARM_CORE:
		reg_list_core_name(id, name, size);
		break;
	case KVM_REG_ARM64_SYSREG:
		snprintf(name, size, "S%u_%u_C%u_C%u_%u", low >> 14, low >> 11 & 7, low >> 7 & 15,
			 low >> 3 & 15, low & 7);
		break;
	case KVM_REG_ARM_DEMUX:
		snprintf(name, size, "CCSIDR %u", low & 0xff);
		break;
	case KVM_REG_ARM_FW:
		snprintf(name, size, "firmware register %u", low);
		break;
	case KVM_REG_ARM_FW_FEAT_BMAP:
		snprintf(name, size, "firmware bitmap %u", low);
		break;
	default:
		reg_list_vector_name(id, name, size);
	}
}

static inline void reg_list_print(const char *what, const struct reg_list_write *write)
{
	char name[32];

	reg_list_name(write->id, name, sizeof(name));
	printf("%s%s (0x%llx) of vCPU %u", what, name, write->id, write->vcpu);
}

/* Makes the writes.  Returns how many are refused, and prints each. */
static inline unsigned int reg_list_play(const struct reg_list_fill *fill, const int *vcpu)
{
	const struct reg_list_write *write;
	unsigned int refused = 0;

	for (write = fill->write; write < fill->write + fill->count; write++) {
		if (!reg_list_set_one(vcpu[write->vcpu], write->id, write->value))
			continue;
		reg_list_print("# ", write);
		printf(" does not take its value: %s\n", strerror(errno));
		refused++;
	}
	return refused;
}

/*
 * The write after which a register is not what it was given: on vCPUs that are
 * new, and with the register written before each of the others up to its own turn.
 */
static inline const struct reg_list_write *
reg_list_find_writer(const struct reg_list_fill *fill, const int *fresh,
		     const struct reg_list_write *victim)
{
	const struct reg_list_write *write;

	for (write = fill->write; write < fill->write + fill->count; write++) {
		if (write < victim)
			reg_list_set_one(fresh[victim->vcpu], victim->id, victim->value);
		reg_list_set_one(fresh[write->vcpu], write->id, write->value);
		if (!reg_list_holds(fresh[victim->vcpu], victim))
			return write;
	}
	return NULL;
}

/*
 * The number of registers that do not hold what they were given.  renew() makes
 * vCPUs as those were before the writes, to find out which of these it was.
 */
static inline unsigned int reg_list_check(const struct reg_list_fill *fill, const int *vcpu,
					  const int *(*renew)(void))
{
	const struct reg_list_write *victim, *writer;
	unsigned int count = 0;

	for (victim = fill->write; victim < fill->write + fill->count; victim++) {
		if (reg_list_holds(vcpu[victim->vcpu], victim))
			continue;
		/* Each takes a VM: those of the first few say enough. */
		writer = count++ < 8 ? reg_list_find_writer(fill, renew(), victim) : NULL;
		reg_list_print("# ", victim);
		reg_list_print(writer ? " is not what it was given: it is destroyed by " :
			       " is not what it was given, in the turn of ", writer ?: victim);
		printf("\n");
	}
	return count;
}

#endif /* SELFTEST_KVM_REG_LIST_FILL_H */
