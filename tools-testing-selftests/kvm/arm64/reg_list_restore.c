// SPDX-License-Identifier: GPL-2.0
/*
 * reg_list_restore - vCPUs that are saved, and restored in the order of
 * KVM_GET_REG_LIST by a client that knows nothing of registers, or no more than
 * which of them come before finalize, must be the same vCPUs.
 *
 * A VM has two of them, so that what the registers of one do to the other is
 * seen.  The state that is lost without the order must not be there because it
 * was written in that order: it is filled in other orders as well, and no write
 * may change another register (reg_list_fill.h).
 */
#include "reg_list_fill.h"
#include "reg_list_vcpu.h"

/* Any will do.  The same one makes a failure come again. */
#define SEED 20210

#define VCPUS 2

struct pair {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu[VCPUS];
	int fd[VCPUS];
};

/* What becomes of the ID registers of a vCPU before all else. */
static struct reg_list_fill ids;

static struct pair create_pair(void)
{
	struct pair pair = { .vm = vm_create_barebones() };
	unsigned int i;

	for (i = 0; i < VCPUS; i++) {
		pair.vcpu[i] = __vm_vcpu_add(pair.vm, i);
		init_vcpu(pair.vcpu[i]);
		pair.fd[i] = pair.vcpu[i]->fd;
	}
	return pair;
}

static struct pair create_source(void)
{
	struct pair pair = create_pair();
	unsigned int i;

	for (i = 0; i < VCPUS; i++)
		finalize_vcpu(pair.vcpu[i]);
	TEST_ASSERT(!reg_list_play(&ids, pair.fd), "an ID register is refused");
	return pair;
}

/* To find out what went wrong.  It has, so nobody frees the VM. */
static const int *another_source(void)
{
	static struct pair pair;

	pair = create_source();
	return pair.fd;
}

static void print_lost(__u64 id)
{
	char name[32];

	reg_list_name(id, name, sizeof(name));
	ksft_print_msg("%s: %s (0x%016llx) is lost\n", kind->name, name, id);
}

/* Nothing was lost that was not listed to begin with. */
static bool same_list(struct kvm_vcpu *vcpu, const struct kvm_reg_list *saved)
{
	struct kvm_reg_list *list = must_list(vcpu);
	bool same;

	same = list->n == saved->n &&
	       !memcmp(list->reg, saved->reg, list->n * sizeof(list->reg[0]));
	free(list);
	return same;
}

static bool restored(const struct reg_list_state *state, bool knows_vls, const char *what)
{
	unsigned int i, errors = 0, lost = 0;
	struct pair to = create_pair();
	bool good = true;

	for (i = 0; i < VCPUS; i++)
		errors += knows_vls ? reg_list_restore(to.fd[i], &state[i]) :
				      reg_list_restore_all(to.fd[i], &state[i], has_sve());
	for (i = 0; i < VCPUS; i++) {
		lost += reg_list_count_lost(to.fd[i], &state[i], print_lost);
		good &= same_list(to.vcpu[i], state[i].list);
	}
	ksft_print_msg("%s, %s%s: %llu registers each, %u errors, %u lost\n", kind->name, what,
		       knows_vls ? ", *_VLS known" : "", state[0].list->n, errors, lost);
	kvm_vm_free(to.vm);
	return good && !errors && !lost;
}

/* Fills a pair of vCPUs, saves it, and restores it into others. */
static bool fill_and_restore(enum reg_list_order order, u64 seed, const char *what)
{
	struct pair from = create_source();
	struct reg_list_state state[VCPUS];
	struct reg_list_fill fill;
	int others, expected;
	unsigned int i;
	bool good;

	others = reg_list_plan(&fill, from.fd, VCPUS, seed);
	ksft_print_msg("%s, %s, %s, seed %lu: %d of %u registers get another value\n", kind->name,
		       what, reg_list_order_names[order], (unsigned long)seed, others, fill.count);
	/*
	 * At least X0 to X30, SP, PC, PSTATE, SP_EL1, ELR_EL1, FPCR, all of V, or
	 * of Z, P and FFR, and 40 system registers: a test of nothing must not pass.
	 */
	expected = VCPUS * (37 + (has_sve() ? 49 : 32) + 40);
	TEST_ASSERT(others >= expected, "%d registers get another value, at least %d expected",
		    others, expected);

	reg_list_arrange(&fill, order, seed);
	good = !reg_list_play(&fill, from.fd);
	good &= !reg_list_check(&fill, from.fd, another_source);

	for (i = 0; i < VCPUS; i++)
		TEST_ASSERT(!reg_list_save(from.fd[i], &state[i]),
			    "a listed register cannot be read: %s", strerror(errno));
	good &= restored(state, true, what);
	good &= restored(state, false, what);

	for (i = 0; i < VCPUS; i++)
		reg_list_free(&state[i]);
	reg_list_fill_free(&fill);
	kvm_vm_free(from.vm);
	return good;
}

/* Every order, the random one with more than one seed. */
static const struct {
	enum reg_list_order order;
	u64 seed;
} orders[] = {
	{ REG_LIST_FORWARDS,	SEED },
	{ REG_LIST_BACKWARDS,	SEED },
	{ REG_LIST_SHUFFLED,	SEED },
	{ REG_LIST_SHUFFLED,	SEED + 1 },
};

static void order_result(bool good, const char *what, unsigned int n)
{
	ksft_test_result(good, "%s, %s, %s, seed %lu\n", kind->name, what,
			 reg_list_order_names[orders[n].order], (unsigned long)orders[n].seed);
}

static void test_restore(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(orders); i++)
		order_result(fill_and_restore(orders[i].order, orders[i].seed, "random values"),
			     "random values", i);
}

/*
 * A guest without SSBS has another level of SMCCC_ARCH_WORKAROUND_2, which a
 * vCPU takes only once it has no SSBS either.
 */
static void test_restore_without_ssbs(void)
{
	struct reg_list_write pfr1 = { .id = KVM_ARM64_SYS_REG(SYS_ID_AA64PFR1_EL1) };
	struct pair pair = create_source();

	pfr1.value[0] = vcpu_get_reg(pair.vcpu[0], pfr1.id);
	kvm_vm_free(pair.vm);
	if (!SYS_FIELD_GET(ID_AA64PFR1_EL1, SSBS, pfr1.value[0])) {
		ksft_test_result_skip("%s: no SSBS on this host\n", kind->name);
		return;
	}

	pfr1.value[0] &= ~ID_AA64PFR1_EL1_SSBS_MASK;
	ids = (struct reg_list_fill){ .count = 1, .write = &pfr1 };
	result(fill_and_restore(REG_LIST_SHUFFLED, SEED, "without SSBS"), "without SSBS");
	ids = (struct reg_list_fill){ };
}

static bool is_id_register(u64 id)
{
	return id >= KVM_ARM64_SYS_REG(SYS_ID_PFR0_EL1) &&
	       id <= KVM_ARM64_SYS_REG(sys_reg(3, 0, 0, 7, 7));
}

/* Lowers some fields of an ID register, as far as KVM takes it.  Returns how many. */
static unsigned int lower_fields(int vcpu, struct reg_list_write *write, __u64 *seed)
{
	u64 value, field, wanted;
	unsigned int lowered = 0, shift;

	TEST_ASSERT(!reg_list_get_one(vcpu, write->id, &value), "an ID register cannot be read");
	for (shift = 0; shift < 64; shift += 4) {
		field = value >> shift & 0xf;
		wanted = value - (reg_list_random(seed) % (field + 1) << shift);
		if (wanted == value || reg_list_set_one(vcpu, write->id, &wanted))
			continue;
		value = wanted;
		lowered++;
	}

	write->value[0] = value;
	return lowered;
}

/* Makes up ID registers of a guest with fewer features than the host, one after the other. */
static struct reg_list_fill lower_ids(enum reg_list_order order, __u64 seed, bool *good)
{
	struct pair pair = create_source();
	struct kvm_reg_list *list = must_list(pair.vcpu[0]);
	struct reg_list_fill fill = { .write = calloc(list->n, sizeof(*fill.write)) };
	unsigned int i, lowered = 0;

	for (i = 0; i < list->n; i++)
		if (is_id_register(list->reg[i]))
			fill.write[fill.count++].id = list->reg[i];
	reg_list_arrange(&fill, order, seed);
	for (i = 0; i < fill.count; i++)
		lowered += lower_fields(pair.fd[0], &fill.write[i], &seed);
	TEST_ASSERT(lowered >= 16, "only %u fields of ID registers were lowered", lowered);
	*good = !reg_list_check(&fill, pair.fd, another_source);

	free(list);
	kvm_vm_free(pair.vm);
	return fill;
}

/* A guest with fewer features than the host, as a VMM makes it for a pool of hosts. */
static void test_restore_lowered(void)
{
	struct reg_list_fill lowered;
	unsigned int i;
	bool good;

	for (i = 0; i < ARRAY_SIZE(orders); i++) {
		lowered = lower_ids(orders[i].order, orders[i].seed + kind->features, &good);
		ids = lowered;
		good &= fill_and_restore(orders[i].order, orders[i].seed, "ID registers lowered");
		order_result(good, "ID registers lowered", i);
		ids = (struct reg_list_fill){ };
		reg_list_fill_free(&lowered);
	}
}

static const struct kind_test tests[] = {
	{ test_restore,			ARRAY_SIZE(orders) },
	{ test_restore_without_ssbs,	1 },
	{ test_restore_lowered,		ARRAY_SIZE(orders) },
};

int main(void)
{
	const struct reg_list_exempt *exempt;
	int kvm;

	ksft_print_header();
	kvm = open_kvm_dev_path_or_exit();
	ksft_set_plan(results_on_all_kinds(tests, ARRAY_SIZE(tests)));

	for (exempt = reg_list_exempt; exempt->id; exempt++)
		ksft_print_msg("exempt: 0x%016llx, bits 0x%llx: %s\n", exempt->id,
			       exempt->ignored, exempt->reason);

	run_on_all_kinds(kvm, tests, ARRAY_SIZE(tests));

	close(kvm);
	ksft_finished();
}
