// SPDX-License-Identifier: GPL-2.0-only
/*
 * reg_list_faults - KVM_GET_REG_LIST and KVM_ARM_VCPU_FINALIZE when the kernel
 * is out of memory or cannot access that of the caller, at each place in turn.
 *
 * A call that fails says so with the documented errno and changes nothing: the
 * same call is good afterwards.  For kernels with CONFIG_FAILSLAB,
 * CONFIG_FAIL_PAGE_ALLOC and CONFIG_FAULT_INJECTION_USERCOPY
 * (Documentation/fault-injection).
 */
#include <fcntl.h>

#include "kselftest.h"
#include "kvm_util.h"
#include "processor.h"
#include "reg_list.h"
#include "sme.h"
#include "test_util.h"

/* More places than one ioctl has in which something can fail. */
#define MAX_FAULTS	200

/* What lets allocations fail that may sleep, as all of these do. */
static const char * const fail_sleeping[] = {
	"/sys/kernel/debug/failslab/ignore-gfp-wait",
	"/sys/kernel/debug/fail_page_alloc/ignore-gfp-wait",
};

static int fail_nth = -1;

/*
 * The nth allocation or copy of this thread from now on fails; none with 0.
 * The second write is for a fault that is left and that the first one meets.
 */
static void fail_from_now(int nth)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%d", nth);

	TEST_ASSERT(pwrite(fail_nth, text, len, 0) == len ||
		    pwrite(fail_nth, text, len, 0) == len, "fail-nth: %s", strerror(errno));
}

/* Whether one has failed since then.  If it is this copy that fails, none had. */
static bool has_failed(void)
{
	char text[16] = {};

	return pread(fail_nth, text, sizeof(text) - 1, 0) > 0 && !atoi(text);
}

static bool let_sleeping_fail(const char *path)
{
	int knob = open(path, O_WRONLY);
	bool good = knob >= 0 && write(knob, "N", 1) == 1;

	if (knob >= 0)
		close(knob);
	return good;
}

/* For this thread: a file that was opened before fork() is that of the parent. */
static bool can_inject(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(fail_sleeping); i++)
		if (!let_sleeping_fail(fail_sleeping[i]))
			return false;

	fail_nth = open("/proc/thread-self/fail-nth", O_RDWR);
	return fail_nth >= 0;
}

/* A call that is made with a fault in it, on a vCPU; @arg is what else it needs. */
struct call {
	int (*run)(struct kvm_vcpu *vcpu, void *arg);
	/* Whether a call that failed has left the vCPU as it was. */
	bool (*unchanged)(struct kvm_vcpu *vcpu, void *arg);
	/* If the call is good only once: another vCPU for the next one. */
	struct kvm_vcpu *(*renew)(struct kvm_vcpu *vcpu);
};

/*
 * Makes a call with a fault in it, in the first place, in the second and so on,
 * until one is good without.  Returns the number of calls that failed, or -1
 * when one of them was not as it should be.
 */
static int fail_everywhere(const struct call *call, struct kvm_vcpu **vcpu, void *arg)
{
	int nth, ret, error, failed = 0;
	bool injected;

	for (nth = 1; nth < MAX_FAULTS; nth++) {
		fail_from_now(nth);
		ret = call->run(*vcpu, arg);
		error = errno;
		injected = has_failed();
		fail_from_now(0);

		if (!injected)
			return ret ? -1 : failed;

		/* A call can do without some of what it asks for. */
		if (!ret) {
			if (call->renew)
				*vcpu = call->renew(*vcpu);
			continue;
		}

		failed++;
		if ((error != ENOMEM && error != EFAULT) || !call->unchanged(*vcpu, arg)) {
			ksft_print_msg("fault %d gives %s\n", nth, strerror(error));
			return -1;
		}
	}

	return -1;
}

/* A list into which a call writes, and what a call without a fault gave. */
struct lists {
	struct kvm_reg_list *list, *good;
};

static int get_list(struct kvm_vcpu *vcpu, void *arg)
{
	struct lists *lists = arg;

	memset(lists->list->reg, 0, lists->good->n * sizeof(lists->good->reg[0]));
	lists->list->n = lists->good->n;
	return __vcpu_ioctl(vcpu, KVM_GET_REG_LIST, lists->list);
}

static bool still_lists(struct kvm_vcpu *vcpu, void *arg)
{
	struct lists *lists = arg;
	struct kvm_reg_list *now = reg_list_read(vcpu->fd);
	bool same = now && now->n == lists->good->n &&
		    !memcmp(now->reg, lists->good->reg, now->n * sizeof(now->reg[0]));

	free(now);
	return same;
}

static int finalize(struct kvm_vcpu *vcpu, void *arg)
{
	int feature = KVM_ARM_VCPU_SVE;

	return __vcpu_ioctl(vcpu, KVM_ARM_VCPU_FINALIZE, &feature);
}

/* Not finalized: the lengths can still be read and written, the list not yet. */
static bool not_finalized(struct kvm_vcpu *vcpu, void *arg)
{
	u64 vls = *(u64 *)arg;
	u64 set[KVM_ARM64_SVE_VLS_WORDS];
	struct kvm_reg_list sizing = {};

	return !sme_get(vcpu, vls, set) && !sme_set(vcpu, vls, set) &&
	       __vcpu_ioctl(vcpu, KVM_GET_REG_LIST, &sizing) && errno == EPERM;
}

static unsigned int finalize_kind;

static struct kvm_vcpu *another_vcpu(struct kvm_vcpu *vcpu)
{
	kvm_vm_free(vcpu->vm);
	return sme_bare_vcpu(finalize_kind);
}

static const struct call list_call = { get_list, still_lists };
static const struct call finalize_call = { finalize, not_finalized, another_vcpu };

static void check(const struct call *call, struct kvm_vcpu **vcpu, void *arg, const char *what)
{
	int failed;

	TEST_ASSERT(can_inject(), "fail-nth: %s", strerror(errno));
	failed = fail_everywhere(call, vcpu, arg);
	ksft_print_msg("%s failed %d times\n", what, failed);
	SME_CHECK(failed > 0, "%s: no call failed, or one was half done", what);
}

static void test_list(unsigned int kind)
{
	struct kvm_vcpu *vcpu = sme_bare_vcpu_final(kind, 0, 0);
	struct lists lists = { .good = reg_list_read(vcpu->fd) };

	TEST_ASSERT(lists.good, "KVM_GET_REG_LIST: %s", strerror(errno));
	lists.list = calloc(1 + lists.good->n, sizeof(lists.good->reg[0]));
	check(&list_call, &vcpu, &lists, "KVM_GET_REG_LIST");
	SME_CHECK(!memcmp(lists.list, lists.good, (1 + lists.good->n) * sizeof(u64)),
		  "the list is another one in the end");

	free(lists.list);
	free(lists.good);
	kvm_vm_free(vcpu->vm);
}

static void test_finalize(unsigned int kind)
{
	struct kvm_vcpu *vcpu = sme_bare_vcpu(kind);
	u64 vls = sme_vls_id(kind & SME_KIND_SVE ? SME_KIND_SVE : SME_KIND_SME);
	struct kvm_reg_list *list;

	finalize_kind = kind;
	check(&finalize_call, &vcpu, &vls, "KVM_ARM_VCPU_FINALIZE");
	list = reg_list_read(vcpu->fd);
	SME_CHECK(list, "the vCPU is not finalized in the end");

	free(list);
	kvm_vm_free(vcpu->vm);
}

static const struct sme_case tests[] = {
	{ "list",		SME_ANY_KIND,	test_list },
	{ "finalize",	SME_WITH_VEC,	test_finalize },
};

int main(int argc, char **argv)
{
	if (!can_inject())
		ksft_exit_skip("the kernel has no fault injection: /proc/thread-self/fail-nth\n");
	sme_run_cases(tests, ARRAY_SIZE(tests), argc > 1 ? argv[1] : NULL);
}
