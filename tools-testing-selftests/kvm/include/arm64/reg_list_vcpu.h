/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the selftests of KVM_GET_REG_LIST share: vCPUs of each kind, their
 * lists, and a run of the tests on all kinds.
 */
#ifndef SELFTEST_KVM_REG_LIST_VCPU_H
#define SELFTEST_KVM_REG_LIST_VCPU_H

#include "kselftest.h"
#include "kvm_util.h"
#include "processor.h"
#include "reg_list.h"
#include "test_util.h"

/* The vCPUs at which the tests are, also for the names of their results. */
static const struct reg_list_kind *kind;

static inline void result(bool ok, const char *name)
{
	ksft_test_result(ok, "%s: %s\n", kind->name, name);
}

static inline bool has_sve(void)
{
	return kind->features & BIT(KVM_ARM_VCPU_SVE);
}

static inline void init_vcpu(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_init init;

	vm_ioctl(vcpu->vm, KVM_ARM_PREFERRED_TARGET, &init);
	init.features[0] |= kind->features;
	vcpu_ioctl(vcpu, KVM_ARM_VCPU_INIT, &init);
}

static inline void finalize_vcpu(struct kvm_vcpu *vcpu)
{
	int feature = KVM_ARM_VCPU_SVE;

	if (has_sve())
		vcpu_ioctl(vcpu, KVM_ARM_VCPU_FINALIZE, &feature);
}

static inline struct kvm_vcpu *add_vcpu(struct kvm_vm *vm, u32 id)
{
	struct kvm_vcpu *vcpu = __vm_vcpu_add(vm, id);

	init_vcpu(vcpu);
	finalize_vcpu(vcpu);
	return vcpu;
}

static inline struct kvm_reg_list *must_list(struct kvm_vcpu *vcpu)
{
	struct kvm_reg_list *list = reg_list_read(vcpu->fd);

	TEST_ASSERT(list, "KVM_GET_REG_LIST: %s", strerror(errno));
	return list;
}

static inline bool listed(const struct kvm_reg_list *list, u64 id)
{
	u64 i;

	for (i = 0; i < list->n; i++)
		if (list->reg[i] == id)
			return true;
	return false;
}

/* Listed means accessible: each can be read, and takes back what was read. */
static inline bool all_accessible(struct kvm_vcpu *vcpu, const struct kvm_reg_list *list)
{
	unsigned char value[REG_LIST_MAX_BYTES];
	bool ok = true;
	u64 i, id;

	for (i = 0; i < list->n; i++) {
		id = list->reg[i];

		if (reg_list_get_one(vcpu->fd, id, value)) {
			ksft_print_msg("cannot read 0x%lx: %s\n", (unsigned long)id,
				       strerror(errno));
			ok = false;
			continue;
		}

		if (reg_list_set_one(vcpu->fd, id, value)) {
			ksft_print_msg("cannot write 0x%lx back: %s\n", (unsigned long)id,
				       strerror(errno));
			ok = false;
		}
	}

	return ok;
}

/*
 * Where KVM has always put a register: core, SVE, firmware, system registers,
 * CCSIDRs, and within each by number.
 */
static inline u64 usual_place(u64 id)
{
	u64 class = id & KVM_REG_ARM_COPROC_MASK;

	/* The numbers of these two are swapped in the UAPI, but not in KVM. */
	if (id == KVM_REG_ARM_TIMER_CVAL)
		id = KVM_REG_ARM_TIMER_CNT;
	else if (id == KVM_REG_ARM_TIMER_CNT)
		id = KVM_REG_ARM_TIMER_CVAL;

	id &= ~(KVM_REG_ARCH_MASK | KVM_REG_SIZE_MASK | KVM_REG_ARM_COPROC_MASK);

	switch (class) {
	case KVM_REG_ARM_CORE:
		return id;
	case KVM_REG_ARM64_SVE:
		return BIT_ULL(32) | id;
	case KVM_REG_ARM_FW:
		return BIT_ULL(33) | id;
	case KVM_REG_ARM_FW_FEAT_BMAP:
		return BIT_ULL(34) | id;
	case KVM_REG_ARM64_SYSREG:
		return BIT_ULL(35) | id;
	case KVM_REG_ARM_DEMUX:
		return BIT_ULL(36) | id;
	default:
		TEST_FAIL("unknown class of register: 0x%lx", (unsigned long)id);
	}
}

struct kind_test {
	void (*run)(void);
	unsigned int results;
};

static inline unsigned int results_on_all_kinds(const struct kind_test *tests,
						unsigned int count)
{
	unsigned int i, results = 0;

	for (i = 0; i < count; i++)
		results += tests[i].results;
	return results * ARRAY_SIZE(reg_list_kinds);
}

static inline void run_on_all_kinds(int kvm, const struct kind_test *tests,
				    unsigned int count)
{
	unsigned int i, j, k;
	const char *lacks;

	for (i = 0; i < ARRAY_SIZE(reg_list_kinds); i++) {
		kind = &reg_list_kinds[i];
		lacks = reg_list_lacks(kvm, kind->features);

		for (j = 0; j < count; j++) {
			if (!lacks)
				tests[j].run();
			for (k = 0; lacks && k < tests[j].results; k++)
				ksft_test_result_skip("%s: no %s on this host\n",
						      kind->name, lacks);
		}
	}
}

#endif /* SELFTEST_KVM_REG_LIST_VCPU_H */
