// SPDX-License-Identifier: GPL-2.0
/*
 * reg_list_room - what KVM_GET_REG_LIST leaves in user memory, whatever room
 * there is for the list, and whatever other vCPUs do meanwhile.
 */
#include <pthread.h>
#include <sys/mman.h>

#include <linux/psci.h>
#include <asm/cputype.h>

#include "arch_timer.h"
#include "reg_list_vcpu.h"
#include "vgic.h"

#define CPU_ON_ENTRY	0xfeedf00dul
#define CPU_ON_CONTEXT	0xdeadc0deul

#define PMU_PPI		23

/* No register has this id. */
#define POISON		0x5a5a5a5a5a5a5a5aull

#define RACE_MIN	2000
#define RACE_MAX	200000

static void skip(const char *name, const char *reason)
{
	ksft_test_result_skip("%s: %s: %s\n", kind->name, name, reason);
}

/* The errno of a listing, or 0. */
static int list_errno(struct kvm_vcpu *vcpu, struct kvm_reg_list *list)
{
	return __vcpu_ioctl(vcpu, KVM_GET_REG_LIST, list) ? errno : 0;
}

/* A list in memory that ends, after room for n ids, at an unmapped page. */
struct guarded_list {
	void *memory;
	size_t size;
	struct kvm_reg_list *list;
};

static struct guarded_list guarded_alloc(u64 room)
{
	size_t used = sizeof(struct kvm_reg_list) + room * sizeof(u64);
	size_t page = getpagesize();
	size_t body = (used + page - 1) / page * page;
	struct guarded_list guarded = { .size = body + page };

	guarded.memory = mmap(NULL, guarded.size, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	TEST_ASSERT(guarded.memory != MAP_FAILED, "mmap: %s", strerror(errno));
	TEST_ASSERT(!mprotect(guarded.memory + body, page, PROT_NONE),
		    "mprotect: %s", strerror(errno));

	guarded.list = guarded.memory + body - used;
	return guarded;
}

static void guarded_free(struct guarded_list *guarded)
{
	munmap(guarded->memory, guarded->size);
}

static void poison(struct kvm_reg_list *list, u64 from, u64 to)
{
	for (; from < to; from++)
		list->reg[from] = POISON;
}

static bool poisoned(const struct kvm_reg_list *list, u64 from, u64 to)
{
	for (; from < to; from++)
		if (list->reg[from] != POISON)
			return false;
	return true;
}

static bool same_ids(const struct kvm_reg_list *a, const struct kvm_reg_list *b)
{
	return a->n == b->n && !memcmp(a->reg, b->reg, a->n * sizeof(u64));
}

static void test_room(void)
{
	struct kvm_vm *vm = vm_create_barebones();
	struct kvm_vcpu *vcpu = add_vcpu(vm, 0);
	struct kvm_reg_list *list = must_list(vcpu);
	struct guarded_list guarded;
	u64 n = list->n;
	int err;

	/* No room for any id, neither claimed nor there. */
	guarded = guarded_alloc(0);
	guarded.list->n = 0;
	err = list_errno(vcpu, guarded.list);
	result(err == E2BIG && guarded.list->n == n, "n of 0 gives E2BIG and the number");
	guarded_free(&guarded);

	guarded = guarded_alloc(n);
	poison(guarded.list, 0, n);
	guarded.list->n = n - 1;
	err = list_errno(vcpu, guarded.list);
	result(err == E2BIG && guarded.list->n == n && poisoned(guarded.list, 0, n),
	       "n one short gives E2BIG, the number and no id");

	guarded.list->n = n;
	err = list_errno(vcpu, guarded.list);
	result(!err && same_ids(guarded.list, list), "n that fits, and no more memory");

	poison(guarded.list, 0, n);
	guarded.list->n = 1ull << 61;
	err = list_errno(vcpu, guarded.list);
	result(!err && same_ids(guarded.list, list), "n of 2^61 lists what there is");
	guarded_free(&guarded);

	guarded = guarded_alloc(n + 1);
	poison(guarded.list, 0, n + 1);
	guarded.list->n = n + 1;
	err = list_errno(vcpu, guarded.list);
	result(!err && same_ids(guarded.list, list) && poisoned(guarded.list, n, n + 1),
	       "n one over leaves the last alone");
	guarded_free(&guarded);

	guarded = guarded_alloc(n - 1);
	guarded.list->n = n;
	result(list_errno(vcpu, guarded.list) == EFAULT, "no memory for the last id is EFAULT");
	guarded_free(&guarded);

	free(list);
	kvm_vm_free(vm);
}

static void test_too_early(void)
{
	struct kvm_vm *vm = vm_create_barebones();
	struct kvm_vcpu *vcpu = __vm_vcpu_add(vm, 0);
	struct kvm_reg_list list = { .n = 0 };

	result(list_errno(vcpu, &list) == ENOEXEC, "before init ENOEXEC");

	init_vcpu(vcpu);
	result(list_errno(vcpu, &list) == (has_sve() ? EPERM : E2BIG),
	       has_sve() ? "before finalize EPERM" : "no finalize needed");

	kvm_vm_free(vm);
}

/* Leaves the line of a timer's interrupt high. */
static void guest_fire_timer(void)
{
	timer_set_cval(VIRTUAL, 0);
	timer_set_ctl(VIRTUAL, CTL_ENABLE);
	while (!(timer_get_ctl(VIRTUAL) & CTL_ISTATUS))
		;
	GUEST_DONE();
}

static void guest_cpu_on(u64 target)
{
	struct arm_smccc_res res;

	do_smccc(PSCI_0_2_FN64_CPU_ON, target, CPU_ON_ENTRY, CPU_ON_CONTEXT,
		 0, 0, 0, 0, &res);
	GUEST_ASSERT_EQ(res.a0, PSCI_RET_SUCCESS);
	GUEST_DONE();
}

/* A vCPU with a PMU does not run before the PMU has an interrupt. */
static void init_pmu(struct kvm_vcpu *vcpu)
{
	int irq = PMU_PPI;

	if (!(kind->features & BIT(KVM_ARM_VCPU_PMU_V3)))
		return;

	vcpu_device_attr_set(vcpu, KVM_ARM_VCPU_PMU_V3_CTRL, KVM_ARM_VCPU_PMU_V3_IRQ, &irq);
	vcpu_device_attr_set(vcpu, KVM_ARM_VCPU_PMU_V3_CTRL, KVM_ARM_VCPU_PMU_V3_INIT, NULL);
}

static void run_until_done(struct kvm_vcpu *vcpu)
{
	struct ucall uc;

	vcpu_run(vcpu);
	switch (get_ucall(vcpu, &uc)) {
	case UCALL_DONE:
		break;
	case UCALL_ABORT:
		REPORT_GUEST_ASSERT(uc);
		break;
	default:
		TEST_FAIL("unexpected ucall: %lu", (unsigned long)uc.cmd);
	}
}

/* The levels of the private interrupts' lines, of which bit n is number n. */
static u32 line_levels(struct kvm_vcpu *vcpu, u64 mpidr)
{
	u32 levels;

	kvm_device_attr_get(vcpu->vm->arch.gic_fd, KVM_DEV_ARM_VGIC_GRP_LEVEL_INFO,
			    mpidr << KVM_DEV_ARM_VGIC_V3_MPIDR_SHIFT |
			    VGIC_LEVEL_INFO_LINE_LEVEL << KVM_DEV_ARM_VGIC_LINE_LEVEL_INFO_SHIFT,
			    &levels);
	return levels;
}

/*
 * CPU_ON leaves a reset for the target to do later.  The list has to be that of
 * the vCPU after it, of which all the ids in it can then be read.  No register
 * tells whether the listing or the access to the register did the reset.  The
 * line of a timer that was firing does: the reset lowers it.
 */
static void test_pending_reset(void)
{
	struct kvm_mp_state stopped = { .mp_state = KVM_MP_STATE_STOPPED };
	struct kvm_vcpu *source, *target;
	struct kvm_reg_list *list, *before;
	struct kvm_vcpu_init init;
	struct kvm_vm *vm;
	u64 mpidr, pc, x0;
	u32 high, low;

	if (!kvm_supports_vgic_v3()) {
		skip("listing with a reset pending", "no GICv3 to ask for a timer's line");
		skip("the listing does a pending reset", "no GICv3 to ask for a timer's line");
		return;
	}

	vm = vm_create(2);
	kvm_get_default_vcpu_target(vm, &init);
	init.features[0] |= BIT(KVM_ARM_VCPU_PSCI_0_2) | kind->features;
	source = aarch64_vcpu_add(vm, 0, &init, guest_cpu_on);
	target = aarch64_vcpu_add(vm, 1, &init, guest_fire_timer);
	finalize_vcpu(source);
	finalize_vcpu(target);
	kvm_arch_vm_finalize_vcpus(vm);

	init_pmu(source);
	init_pmu(target);

	run_until_done(target);
	vcpu_mp_state_set(target, &stopped);
	before = must_list(target);

	mpidr = vcpu_get_reg(target, KVM_ARM64_SYS_REG(SYS_MPIDR_EL1)) & MPIDR_HWID_BITMASK;
	vcpu_args_set(source, 1, mpidr);
	run_until_done(source);

	high = line_levels(target, mpidr);
	list = must_list(target);
	low = line_levels(target, mpidr);
	pc = vcpu_get_reg(target, ARM64_CORE_REG(regs.pc));
	x0 = vcpu_get_reg(target, ARM64_CORE_REG(regs.regs[0]));
	result(pc == CPU_ON_ENTRY && x0 == CPU_ON_CONTEXT && same_ids(list, before) &&
	       all_accessible(target, list), "listing with a reset pending");
	ksft_print_msg("lines that are high: 0x%x, and 0x%x after the listing\n", high, low);
	result(high && !low, "the listing does a pending reset");

	free(list);
	free(before);
	kvm_vm_free(vm);
}

/* Changes, for all of the VM, whether FPMR is there, as fast as it can. */
struct flipper {
	struct kvm_vcpu *vcpu;
	u64 with, without;
	bool stop;
	unsigned int refused;
};

static void *flip(void *arg)
{
	const u64 id = KVM_ARM64_SYS_REG(SYS_ID_AA64PFR2_EL1);
	struct flipper *flipper = arg;

	while (!READ_ONCE(flipper->stop)) {
		flipper->refused += !!__vcpu_set_reg(flipper->vcpu, id, flipper->without);
		flipper->refused += !!__vcpu_set_reg(flipper->vcpu, id, flipper->with);
	}

	return NULL;
}

/*
 * One listing in the race, where the number is one of two and can be either
 * by the time of the call.  Returns it, or 0 if the answer is wrong.
 */
static u64 list_in_race(struct kvm_vcpu *vcpu, struct kvm_reg_list *list, u64 room,
			const struct kvm_reg_list *with, const struct kvm_reg_list *without)
{
	int err;

	poison(list, 0, room);
	list->n = room;
	err = list_errno(vcpu, list);

	if (err == E2BIG && room < with->n && list->n == with->n && poisoned(list, 0, room))
		return list->n;
	if (!err && same_ids(list, with))
		return list->n;
	if (!err && same_ids(list, without) && poisoned(list, list->n, room))
		return list->n;

	ksft_print_msg("room for %lu: errno %d, n %llu\n", (unsigned long)room, err, list->n);
	return 0;
}

static void test_race(void)
{
	const u64 pfr2 = KVM_ARM64_SYS_REG(SYS_ID_AA64PFR2_EL1);
	const u64 fpmr = KVM_ARM64_SYS_REG(SYS_FPMR);
	static const char *name = "listing while another vCPU changes the VM";
	struct kvm_vm *vm = vm_create_barebones();
	struct kvm_vcpu *vcpu = add_vcpu(vm, 0);
	struct flipper flipper = { .vcpu = add_vcpu(vm, 1) };
	struct kvm_reg_list *with, *without;
	struct guarded_list large, small;
	unsigned int i, long_ones = 0, short_ones = 0;
	pthread_t thread;
	bool ok = true;
	u64 n;

	with = must_list(vcpu);
	flipper.with = vcpu_get_reg(vcpu, pfr2);
	flipper.without = flipper.with & ~(u64)ID_AA64PFR2_EL1_FPMR;
	if (!listed(with, fpmr)) {
		skip(name, "no FPMR to take away");
		goto free_with;
	}
	if (__vcpu_set_reg(flipper.vcpu, pfr2, flipper.without)) {
		skip(name, "ID_AA64PFR2_EL1 cannot be written");
		goto free_with;
	}

	without = must_list(vcpu);
	if (without->n != with->n - 1 || listed(without, fpmr)) {
		ksft_print_msg("FPMR is there without its ID field\n");
		result(false, name);
		goto free_without;
	}

	/* In each, an id more than the caller asked for would be a fault. */
	large = guarded_alloc(with->n);
	small = guarded_alloc(without->n);
	TEST_ASSERT(!pthread_create(&thread, NULL, flip, &flipper), "pthread_create");

	for (i = 0; ok && i < RACE_MAX; i++) {
		if (i >= RACE_MIN && long_ones && short_ones)
			break;

		if (i & 1)
			n = list_in_race(vcpu, small.list, without->n, with, without);
		else
			n = list_in_race(vcpu, large.list, with->n, with, without);

		ok = n;
		long_ones += n == with->n;
		short_ones += n == without->n;
	}

	WRITE_ONCE(flipper.stop, true);
	pthread_join(thread, NULL);
	ksft_print_msg("%u listings with FPMR, %u without\n", long_ones, short_ones);

	if (ok && !flipper.refused && (!long_ones || !short_ones))
		skip(name, "the two never met");
	else
		result(ok && !flipper.refused, name);

	guarded_free(&large);
	guarded_free(&small);
free_without:
	free(without);
free_with:
	free(with);
	kvm_vm_free(vm);
}

static const struct kind_test tests[] = {
	{ test_room,		6 },
	{ test_too_early,	2 },
	{ test_pending_reset,	2 },
	{ test_race,		1 },
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
