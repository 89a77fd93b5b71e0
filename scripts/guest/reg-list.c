// SPDX-License-Identifier: GPL-2.0
/*
 * reg-list - shows what KVM_GET_REG_LIST gives for a vCPU, what it costs, and
 * what is left of the vCPU after a restore in that order.
 *
 * With --states: what is left of it in every state of SVCR and with every vector
 * length, in the order of the list, by a client that knows no register ("all"),
 * and in the order of an unpatched kernel.
 *
 * With --moves: what a save and a restore of all registers cost, in the order of
 * the list and in orders that a client could know by heart.
 *
 * With --ids the list itself, with --unpatched in the order of an unpatched kernel.
 *
 * The figures come as one line of JSON a vCPU.  Those of a cost are
 * nanoseconds of CLOCK_MONOTONIC_RAW per call.  They are instructions only on
 * a machine where one takes the time of the other: under QEMU, that is
 * "-icount shift=0 -smp 1".  Nothing is subtracted for the loop or the system
 * call.
 */
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "reg_list_fill.h"

/* Not in the headers of a released kernel */
#ifndef KVM_ARM_VCPU_SME
#define KVM_ARM_VCPU_SME	10
#define KVM_CAP_ARM_SME		252
#endif

#define SVCR			ARM64_SYS_REG(3, 3, 4, 2, 2)
#define ID_AA64PFR1		ARM64_SYS_REG(3, 0, 0, 4, 1)
#define SVCR_SM			1
#define SVCR_ZA			2

/* Those of a vCPU that has to be finalized */
#define VECTOR_FEATURES		(1U << KVM_ARM_VCPU_SVE | 1U << KVM_ARM_VCPU_SME)

#define WARM_UPS	5
#define ITERATIONS	100
#define MOVES		20
#define HEAD		4

#define STATUS_FAILED	1
#define STATUS_USAGE	2
#define STATUS_SKIPPED	4	/* as in kselftest: the machine does not have it */

struct vcpu {
	int vm;
	int fd;
};

static int kvm;
static __u32 feature_bits;

static void leave(int status, const char *what, const char *why)
{
	fprintf(stderr, "reg-list: %s: %s\n", what, why);
	exit(status);
}

static void add_features(const char *list)
{
	const char *lacks;
	size_t len;

	for (; *list; list += len + (list[len] == ',')) {
		len = strcspn(list, ",");

		if (len == 3 && !strncmp(list, "sve", len))
			feature_bits |= 1 << KVM_ARM_VCPU_SVE;
		else if (len == 3 && !strncmp(list, "sme", len))
			feature_bits |= 1 << KVM_ARM_VCPU_SME;
		else if (len == 3 && !strncmp(list, "pmu", len))
			feature_bits |= 1 << KVM_ARM_VCPU_PMU_V3;
		else
			leave(STATUS_USAGE, "unknown feature", list);
	}

	lacks = reg_list_lacks(kvm, feature_bits);
	if (!lacks && feature_bits & 1U << KVM_ARM_VCPU_SME &&
	    ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_ARM_SME) <= 0)
		lacks = "SME";
	if (lacks)
		leave(STATUS_SKIPPED, "not on this host", lacks);
}

static struct vcpu create(void)
{
	struct kvm_vcpu_init init;
	struct vcpu vcpu;

	vcpu.vm = ioctl(kvm, KVM_CREATE_VM, 0);
	if (vcpu.vm < 0)
		leave(STATUS_FAILED, "KVM_CREATE_VM", strerror(errno));

	vcpu.fd = ioctl(vcpu.vm, KVM_CREATE_VCPU, 0);
	if (vcpu.fd < 0)
		leave(STATUS_FAILED, "KVM_CREATE_VCPU", strerror(errno));

	if (ioctl(vcpu.vm, KVM_ARM_PREFERRED_TARGET, &init))
		leave(STATUS_FAILED, "KVM_ARM_PREFERRED_TARGET", strerror(errno));

	init.features[0] |= feature_bits;
	if (ioctl(vcpu.fd, KVM_ARM_VCPU_INIT, &init))
		leave(STATUS_FAILED, "KVM_ARM_VCPU_INIT", strerror(errno));

	return vcpu;
}

static void finalize(struct vcpu vcpu)
{
	int feature = KVM_ARM_VCPU_SVE;

	if (!(feature_bits & VECTOR_FEATURES))
		return;
	if (ioctl(vcpu.fd, KVM_ARM_VCPU_FINALIZE, &feature))
		leave(STATUS_FAILED, "KVM_ARM_VCPU_FINALIZE", strerror(errno));
}

static void destroy(struct vcpu vcpu)
{
	close(vcpu.fd);
	close(vcpu.vm);
}

static __u64 now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_RAW, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static void size_list(int vcpu, struct kvm_reg_list *list)
{
	list->n = 0;
	if (!ioctl(vcpu, KVM_GET_REG_LIST, list) || errno != E2BIG)
		leave(STATUS_FAILED, "KVM_GET_REG_LIST", "no E2BIG with no room");
}

static void get_list(int vcpu, struct kvm_reg_list *list)
{
	if (ioctl(vcpu, KVM_GET_REG_LIST, list))
		leave(STATUS_FAILED, "KVM_GET_REG_LIST", strerror(errno));
}

static void read_list(int vcpu, struct kvm_reg_list *list)
{
	unsigned char value[REG_LIST_MAX_BYTES];
	__u64 i;

	for (i = 0; i < list->n; i++)
		if (reg_list_get_one(vcpu, list->reg[i], value))
			leave(STATUS_FAILED, "KVM_GET_ONE_REG", strerror(errno));
}

static __u64 cost(void (*call)(int vcpu, struct kvm_reg_list *list), int vcpu,
		  struct kvm_reg_list *list)
{
	__u64 start = 0;
	int i;

	for (i = -WARM_UPS; i < ITERATIONS; i++) {
		if (!i)
			start = now();
		call(vcpu, list);
	}

	return (now() - start) / ITERATIONS;
}

/* What became of a vCPU that was restored. */
struct outcome {
	unsigned int errors;
	unsigned int lost;
};

static struct outcome restore(const struct reg_list_state *state)
{
	struct vcpu vcpu = create();
	struct outcome outcome;

	outcome.errors = reg_list_restore(vcpu.fd, state);
	outcome.lost = reg_list_count_lost(vcpu.fd, state, NULL);
	destroy(vcpu);

	return outcome;
}

/* By a client that knows no register: its vCPUs have the vector lengths that they begin with. */
static struct outcome restore_all(const struct reg_list_state *state)
{
	struct vcpu vcpu = create();
	struct outcome outcome;

	outcome.errors = reg_list_restore_all(vcpu.fd, state, feature_bits & VECTOR_FEATURES);
	outcome.lost = reg_list_count_lost(vcpu.fd, state, NULL);
	destroy(vcpu);

	return outcome;
}

static void swap(struct reg_list_state *state, __u64 i, __u64 j)
{
	unsigned char value[REG_LIST_MAX_BYTES];
	__u64 id = state->list->reg[i];

	state->list->reg[i] = state->list->reg[j];
	state->list->reg[j] = id;
	memcpy(value, state->value[i], sizeof(value));
	memcpy(state->value[i], state->value[j], sizeof(value));
	memcpy(state->value[j], value, sizeof(value));
}

/* Stable: what place_of() does not tell apart keeps its order. */
static void sort(struct reg_list_state *state, unsigned int (*place_of)(__u64 id))
{
	__u64 i, j, *id = state->list->reg;

	for (i = 1; i < state->list->n; i++)
		for (j = i; j && place_of(id[j - 1]) > place_of(id[j]); j--)
			swap(state, j - 1, j);
}

/*
 * Where an unpatched kernel has a register: a stable sort by this puts those
 * that lead the list back, and moves no other.
 */
static unsigned int unpatched_place(__u64 id)
{
	switch (id & KVM_REG_ARM_COPROC_MASK) {
	case KVM_REG_ARM_CORE:
		return 0;
	case KVM_REG_ARM64_SVE:
		return reg_list_is_vls(id) ? 1 : 2;
	case KVM_REG_ARM64_SME:
		return reg_list_is_vls(id) ? 3 : 4;
	case KVM_REG_ARM64_SYSREG:
		/* The numbers of these two are swapped in the UAPI, but not in KVM. */
		if (id == KVM_REG_ARM_TIMER_CNT)
			id = KVM_REG_ARM_TIMER_CVAL;
		else if (id == KVM_REG_ARM_TIMER_CVAL)
			id = KVM_REG_ARM_TIMER_CNT;
		return 6 + (id & 0xffff);
	case KVM_REG_ARM_DEMUX:
		return 6 + 0x10000;
	default:	/* firmware */
		return 5;
	}
}

/* Z, P, FFR, ZA or ZT0 */
static bool is_vector(__u64 id)
{
	__u64 class = id & KVM_REG_ARM_COPROC_MASK;

	return (class == KVM_REG_ARM64_SVE || class == KVM_REG_ARM64_SME) && !reg_list_is_vls(id);
}

/* Orders that a client could know by heart: what others depend on, then each kind in turn. */
static unsigned int leads(__u64 id)
{
	return reg_list_is_vls(id) || id == SVCR || id == ID_AA64PFR1 ||
	       id == KVM_REG_ARM_TIMER_CNT;
}

static unsigned int vectors_first(__u64 id)
{
	return leads(id) ? 0 : is_vector(id) ? 1 : 2;
}

static unsigned int vectors_last(__u64 id)
{
	return leads(id) ? 0 : is_vector(id) ? 2 : 1;
}

static unsigned int system_first(__u64 id)
{
	return leads(id) ? 0 : (id & KVM_REG_ARM_COPROC_MASK) == KVM_REG_ARM64_SYSREG ? 1 : 2;
}

/*
 * Gives the registers of a vCPU other values, in no order: what a register
 * destroys that comes late in the list would be gone before it is saved.
 */
static void fill(struct vcpu vcpu)
{
	struct reg_list_fill writes;

	if (reg_list_plan(&writes, &vcpu.fd, 1, 1) < 0)
		leave(STATUS_FAILED, "cannot fill the vCPU", strerror(errno));
	reg_list_arrange(&writes, REG_LIST_SHUFFLED, 1);
	if (reg_list_play(&writes, &vcpu.fd))
		leave(STATUS_FAILED, "cannot fill the vCPU", "a register does not take its value");
	reg_list_fill_free(&writes);
}

/* Reads all registers of one vCPU and writes them to another, in the order of the state's list. */
static __u64 cost_of_move(struct vcpu from, struct reg_list_state *state)
{
	__u64 n, start, total = 0;
	struct vcpu to;
	int i;

	for (i = -WARM_UPS; i < MOVES; i++) {
		to = create();
		start = now();
		for (n = 0; n < state->list->n; n++)
			if (reg_list_get_one(from.fd, state->list->reg[n], state->value[n]))
				leave(STATUS_FAILED, "KVM_GET_ONE_REG", strerror(errno));
		if (reg_list_restore(to.fd, state))
			leave(STATUS_FAILED, "cannot restore the vCPU", strerror(errno));
		if (i >= 0)
			total += now() - start;
		destroy(to);
	}

	return total / MOVES;
}

static void report_moves(struct vcpu vcpu, struct reg_list_state *state)
{
	static const struct {
		const char *name;
		unsigned int (*place_of)(__u64 id);
	} orders[] = {
		{ "vectors_first",	vectors_first },
		{ "vectors_last",	vectors_last },
		{ "system_first",	system_first },
	};
	unsigned int i;

	fill(vcpu);

	printf("{\"registers\":%llu,\"list_order\":%llu", state->list->n,
	       cost_of_move(vcpu, state));
	for (i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
		sort(state, orders[i].place_of);
		printf(",\"%s\":%llu", orders[i].name, cost_of_move(vcpu, state));
	}
	printf("}\n");
}

/* The vector lengths of a vCPU that is not finalized yet: bit n for 16 * (n + 1) bytes. */
static __u64 lengths(struct vcpu vcpu, __u64 vls)
{
	__u64 set[REG_LIST_MAX_BYTES / sizeof(__u64)] = { };

	/* Fails, and leaves an empty set, if the vCPU does not have the feature. */
	reg_list_get_one(vcpu.fd, vls, set);
	return set[0];
}

/* Leaves a vCPU the n shortest of its vector lengths.  Returns the greatest in bytes. */
static unsigned int lower(struct vcpu vcpu, __u64 vls, unsigned int n)
{
	__u64 all = lengths(vcpu, vls), set[REG_LIST_MAX_BYTES / sizeof(__u64)] = { };

	if (!n)
		return 0;
	for (; n--; all &= all - 1)
		set[0] |= all & -all;
	if (reg_list_set_one(vcpu.fd, vls, set))
		leave(STATUS_FAILED, "cannot set vector lengths", strerror(errno));

	return 16 * (64 - __builtin_clzll(set[0]));
}

/* A vCPU with the n shortest lengths of each kind, saved with values in its registers. */
static void report_state(__u64 svcr, unsigned int sve, unsigned int sme, const char *feature_list)
{
	struct outcome ours, all, unpatched;
	struct reg_list_state state;
	struct vcpu vcpu = create();
	unsigned int vl, svl;

	vl = lower(vcpu, KVM_REG_ARM64_SVE_VLS, sve);
	svl = lower(vcpu, KVM_REG_ARM64_SME_VLS, sme);
	finalize(vcpu);
	if (svcr && reg_list_set_one(vcpu.fd, SVCR, &svcr))
		leave(STATUS_FAILED, "cannot set SVCR", strerror(errno));

	fill(vcpu);
	if (reg_list_save(vcpu.fd, &state))
		leave(STATUS_FAILED, "cannot save the vCPU", strerror(errno));

	ours = restore(&state);
	all = restore_all(&state);
	sort(&state, unpatched_place);
	unpatched = restore(&state);

	printf("{\"features\":\"%s\",\"sm\":%d,\"za\":%d,\"sve_vl\":%u,\"sme_vl\":%u,\"registers\":%llu,",
	       feature_list, !!(svcr & SVCR_SM), !!(svcr & SVCR_ZA), vl, svl, state.list->n);
	printf("\"errors\":%u,\"lost\":%u,\"all_errors\":%u,\"all_lost\":%u,",
	       ours.errors, ours.lost, all.errors, all.lost);
	printf("\"unpatched_errors\":%u,\"unpatched_lost\":%u}\n", unpatched.errors, unpatched.lost);

	reg_list_free(&state);
	destroy(vcpu);
}

/* Every state of SVCR with every vector length of the machine, the greatest first. */
static void report_states(const char *feature_list)
{
	struct vcpu vcpu = create();
	unsigned int n, sve = __builtin_popcountll(lengths(vcpu, KVM_REG_ARM64_SVE_VLS));
	unsigned int sme = __builtin_popcountll(lengths(vcpu, KVM_REG_ARM64_SME_VLS));
	__u64 svcr;

	destroy(vcpu);
	for (svcr = 0; svcr <= (sme ? SVCR_SM | SVCR_ZA : 0); svcr++) {
		report_state(svcr, sve, sme, feature_list);
		for (n = 1; n < sme; n++)
			report_state(svcr, sve, n, feature_list);
		for (n = 1; n < sve; n++)
			report_state(svcr, n, sme, feature_list);
	}
}

static void report(struct vcpu vcpu, struct kvm_reg_list *list, const char *feature_list)
{
	struct kvm_reg_list sizing;
	struct reg_list_state state;
	struct outcome outcome;
	long vls = -1, vector = -1;
	char name[32];
	__u64 i;

	for (i = 0; i < list->n; i++) {
		if (vls < 0 && reg_list_is_vls(list->reg[i]))
			vls = i;
		if (vector < 0 && is_vector(list->reg[i]))
			vector = i;
	}

	fill(vcpu);
	if (reg_list_save(vcpu.fd, &state))
		leave(STATUS_FAILED, "cannot save the vCPU", strerror(errno));

	outcome = restore(&state);

	printf("{\"features\":\"%s\",\"registers\":%llu,\"sve_vls\":%ld,\"first_vector\":%ld",
	       feature_list, list->n, vls, vector);

	printf(",\"head\":[");
	for (i = 0; i < HEAD && i < list->n; i++)
		printf("%s\"0x%016llx\"", i ? "," : "", list->reg[i]);

	printf("],\"head_names\":[");
	for (i = 0; i < HEAD && i < list->n; i++) {
		reg_list_name(list->reg[i], name, sizeof(name));
		printf("%s\"%s\"", i ? "," : "", name);
	}

	printf("],\"sizing_instructions\":%llu", cost(size_list, vcpu.fd, &sizing));
	printf(",\"list_instructions\":%llu", cost(get_list, vcpu.fd, list));
	printf(",\"read_instructions\":%llu", cost(read_list, vcpu.fd, list));
	printf(",\"restore_errors\":%u,\"restore_lost\":%u}\n",
	       outcome.errors, outcome.lost);

	reg_list_free(&state);
}

int main(int argc, char **argv)
{
	const char *feature_list = "";
	struct reg_list_state state;
	bool ids = false, states = false, sort_back = false, moves = false;
	struct vcpu vcpu;
	__u64 i, svcr = 0;
	int arg;

	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0)
		leave(STATUS_SKIPPED, "/dev/kvm", strerror(errno));

	for (arg = 1; arg < argc; arg++) {
		if (!strcmp(argv[arg], "--ids")) {
			ids = true;
		} else if (!strcmp(argv[arg], "--unpatched")) {
			ids = sort_back = true;
		} else if (!strcmp(argv[arg], "--moves")) {
			moves = true;
		} else if (!strcmp(argv[arg], "--states")) {
			states = true;
		} else if (!strcmp(argv[arg], "--svcr") && arg + 1 < argc) {
			svcr = strtoull(argv[++arg], NULL, 0);
		} else if (!strcmp(argv[arg], "--features") && arg + 1 < argc) {
			feature_list = argv[++arg];
			add_features(feature_list);
		} else {
			leave(STATUS_USAGE, "usage",
			      "reg-list [--features sve,sme,pmu] [--svcr N] [--ids | --unpatched | --states | --moves]");
		}
	}

	if (states) {
		report_states(feature_list);
		return 0;
	}

	vcpu = create();
	finalize(vcpu);
	if (svcr && reg_list_set_one(vcpu.fd, SVCR, &svcr))
		leave(STATUS_FAILED, "cannot set SVCR", strerror(errno));

	if (reg_list_save(vcpu.fd, &state))
		leave(STATUS_FAILED, "cannot save the vCPU", strerror(errno));
	if (sort_back)
		sort(&state, unpatched_place);

	if (moves)
		report_moves(vcpu, &state);
	else if (ids)
		for (i = 0; i < state.list->n; i++)
			printf("0x%016llx\n", state.list->reg[i]);
	else
		report(vcpu, state.list, feature_list);

	reg_list_free(&state);
	destroy(vcpu);
	return 0;
}
