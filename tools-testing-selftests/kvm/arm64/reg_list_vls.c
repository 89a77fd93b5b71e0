// SPDX-License-Identifier: GPL-2.0
/*
 * reg_list_vls - what KVM_REG_ARM64_SVE_VLS can be written with before and
 * after KVM_ARM_VCPU_FINALIZE.
 */
#include <sys/mman.h>

#include "reg_list_vcpu.h"

#define WORDS	KVM_ARM64_SVE_VLS_WORDS

/* A set of vector lengths, and what a write of it gives. */
struct vls_case {
	const char *name;
	u64 set[WORDS];
	int before, after;
};

static int get_vls(struct kvm_vcpu *vcpu, u64 *set)
{
	return reg_list_get_one(vcpu->fd, KVM_REG_ARM64_SVE_VLS, set);
}

/* The errno of a write, or 0. */
static int set_vls(struct kvm_vcpu *vcpu, const void *set)
{
	return reg_list_set_one(vcpu->fd, KVM_REG_ARM64_SVE_VLS, set) ? errno : 0;
}

static bool has_set(struct kvm_vcpu *vcpu, const u64 *set)
{
	u64 now[WORDS];

	return !get_vls(vcpu, now) && !memcmp(now, set, sizeof(now));
}

static struct kvm_vcpu *new_vcpu(void)
{
	struct kvm_vcpu *vcpu = __vm_vcpu_add(vm_create_barebones(), 0);

	init_vcpu(vcpu);
	return vcpu;
}

/* Of two sets that differ, a finalized vCPU with one takes that one alone. */
static bool takes_its_own_alone(const u64 *own, const u64 *other)
{
	struct kvm_vcpu *vcpu = new_vcpu();
	bool good;

	good = !set_vls(vcpu, own);
	finalize_vcpu(vcpu);
	good &= !set_vls(vcpu, own) && set_vls(vcpu, other) == EPERM && has_set(vcpu, own);
	kvm_vm_free(vcpu->vm);
	return good;
}

static bool check_case(const struct vls_case *c, const u64 *all, bool finalized)
{
	struct kvm_vcpu *vcpu = new_vcpu();
	int want = finalized ? c->after : c->before, err;
	bool good;

	if (finalized)
		finalize_vcpu(vcpu);
	err = set_vls(vcpu, c->set);
	good = err == want && has_set(vcpu, err ? all : c->set);
	if (!good)
		ksft_print_msg("%s %s finalize: errno %d, not %d, or the set has changed\n",
			       c->name, finalized ? "after" : "before", err, want);
	kvm_vm_free(vcpu->vm);
	return good;
}

static bool check_fault(const u64 *all, bool finalized)
{
	struct kvm_vcpu *vcpu = new_vcpu();
	void *nothing = mmap(NULL, getpagesize(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool good;

	TEST_ASSERT(nothing != MAP_FAILED, "mmap: %s", strerror(errno));
	if (finalized)
		finalize_vcpu(vcpu);
	good = set_vls(vcpu, nothing) == EFAULT && has_set(vcpu, all);
	munmap(nothing, getpagesize());
	kvm_vm_free(vcpu->vm);
	return good;
}

static void test_vls(void)
{
	struct vls_case equal = { "the same set", {}, 0, 0 };
	struct vls_case smaller = { "fewer lengths", {}, 0, EPERM };
	struct vls_case larger = { "longer than the host has", {}, EINVAL, EPERM };
	struct vls_case hole = { "without the smallest", {}, EINVAL, EPERM };
	const struct vls_case none = { "none", {}, EINVAL, EPERM };
	struct kvm_vcpu *vcpu = new_vcpu();
	u64 set[WORDS] = {};
	bool good = true;

	if (!has_sve()) {
		result(get_vls(vcpu, set) && errno == ENOENT && set_vls(vcpu, set) == ENOENT,
		       "no SVE_VLS without SVE");
		kvm_vm_free(vcpu->vm);
		return;
	}

	TEST_ASSERT(!get_vls(vcpu, set), "SVE_VLS cannot be read");
	kvm_vm_free(vcpu->vm);

	/* Arm has no length above 2048 bits, which is bit 15. */
	memcpy(equal.set, set, sizeof(set));
	memcpy(larger.set, set, sizeof(set));
	larger.set[0] |= BIT(16);
	memcpy(hole.set, set, sizeof(set));
	hole.set[0] &= hole.set[0] - 1;
	smaller.set[0] = set[0] & -set[0];

	good &= check_case(&equal, set, false) && check_case(&equal, set, true);
	good &= check_case(&larger, set, false) && check_case(&larger, set, true);
	good &= check_case(&hole, set, false) && check_case(&hole, set, true);
	good &= check_case(&none, set, false) && check_case(&none, set, true);
	good &= check_fault(set, false) && check_fault(set, true);
	if (smaller.set[0] != set[0]) {
		good &= check_case(&smaller, set, false) && check_case(&smaller, set, true);
		good &= takes_its_own_alone(smaller.set, set);
		good &= takes_its_own_alone(set, smaller.set);
	}
	result(good, "SVE_VLS before and after finalize");
}

static const struct kind_test tests[] = {
	{ test_vls,	1 },
};

int main(void)
{
	int kvm;

	ksft_print_header();
	kvm = open_kvm_dev_path_or_exit();
	ksft_set_plan(results_on_all_kinds(tests, ARRAY_SIZE(tests)));
	run_on_all_kinds(kvm, tests, ARRAY_SIZE(tests));

	close(kvm);
	ksft_finished();
}
