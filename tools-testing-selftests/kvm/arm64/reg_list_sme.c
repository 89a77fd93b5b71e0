// SPDX-License-Identifier: GPL-2.0-only
/*
 * reg_list_sme - a vCPU with SME that is saved, in each state of SVCR and with
 * each vector length, and restored in the order of KVM_GET_REG_LIST by a client
 * that knows nothing of registers but which of them come before finalize, must
 * be the same vCPU.  With the greatest vector lengths, which a vCPU begins with,
 * so it must by a client that knows no register at all.
 *
 * The same is done in the order that the list would have without the registers
 * that lead it.  That has to go wrong in streaming mode and with ZA on: if it
 * does not, this test could not see it.
 */
#include "kselftest.h"
#include "kvm_util.h"
#include "processor.h"
#include "reg_list_fill.h"
#include "sme.h"
#include "test_util.h"

struct outcome {
	unsigned int errors, lost;
};

static u64 place_of_svcr(const struct kvm_reg_list *list)
{
	u64 place;

	for (place = 0; list->reg[place] != SME_ID(SVCR); place++)
		;
	return place;
}

static void move_svcr(struct reg_list_state *state, u64 to)
{
	u64 from = place_of_svcr(state->list), step;
	__u64 *id = state->list->reg;
	unsigned char svcr[SME_REG_BYTES];

	memcpy(svcr, state->value[from], sizeof(svcr));
	for (; from != to; from = step) {
		step = from < to ? from + 1 : from - 1;
		id[from] = id[step];
		memcpy(state->value[from], state->value[step], sizeof(svcr));
	}
	id[to] = SME_ID(SVCR);
	memcpy(state->value[to], svcr, sizeof(svcr));
}

/* Where the list would have SVCR as the system register that it is. */
static void put_svcr_among_system_registers(struct reg_list_state *state)
{
	const struct kvm_reg_list *list = state->list;
	u64 to;

	for (to = place_of_svcr(list); to + 1 < list->n; to++) {
		u64 next = list->reg[to + 1];

		/* CNTVCT_EL0 is at the head too. */
		if ((next & KVM_REG_ARM_COPROC_MASK) == KVM_REG_ARM64_SYSREG &&
		    next > SME_ID(SVCR) && next != KVM_REG_ARM_TIMER_CNT)
			break;
	}
	move_svcr(state, to);
}

static struct outcome restore(unsigned int kind, const struct reg_list_state *state,
			      bool knows_vls)
{
	struct kvm_vcpu *vcpu = sme_bare_vcpu(kind);
	struct outcome outcome;

	if (knows_vls)
		outcome.errors = reg_list_restore(vcpu->fd, state);
	else
		outcome.errors = reg_list_restore_all(vcpu->fd, state, true);
	outcome.lost = reg_list_count_lost(vcpu->fd, state, NULL);
	kvm_vm_free(vcpu->vm);
	return outcome;
}

/* Whether a vCPU that is finalized as it begins has these lengths. */
static bool are_greatest(unsigned int kind, u64 sve_vqs, u64 sme_vqs)
{
	struct kvm_vcpu *vcpu = sme_bare_vcpu(kind);
	bool greatest;

	greatest = sme_get_vqs(vcpu, KVM_REG_ARM64_SME_VLS) == sme_vqs;
	if (kind & SME_KIND_SVE)
		greatest &= sme_get_vqs(vcpu, KVM_REG_ARM64_SVE_VLS) == sve_vqs;
	kvm_vm_free(vcpu->vm);
	return greatest;
}

static bool leads(const struct kvm_reg_list *list, unsigned int kind)
{
	const __u64 *id = list->reg;

	return (!(kind & SME_KIND_SVE) || *id++ == KVM_REG_ARM64_SVE_VLS) &&
	       *id++ == KVM_REG_ARM64_SME_VLS && *id == SME_ID(SVCR);
}

/* The vCPU that is saved. */
static struct {
	unsigned int kind;
	u64 svcr, sve_vqs, sme_vqs;
	bool lowered;
} of_source;

static struct kvm_vcpu *create_source(void)
{
	struct kvm_vcpu *vcpu = sme_bare_vcpu_final(of_source.kind, of_source.sve_vqs,
						    of_source.sme_vqs);

	if (of_source.lowered) {
		sme_set_field(vcpu, SME_ID(ID_AA64PFR1_EL1), ID_AA64PFR1_EL1_SME, 1);
		sme_set_field(vcpu, SME_ID(ID_AA64SMFR0_EL1), ID_AA64SMFR0_EL1_FA64, 0);
	}
	sme_set_svcr(vcpu, of_source.svcr);
	return vcpu;
}

/* To find out what went wrong.  It has, so nobody frees the VM. */
static const int *another_source(void)
{
	return &create_source()->fd;
}

/* In another order than the state before. */
static void fill_source(struct kvm_vcpu *vcpu)
{
	static unsigned int nr;
	enum reg_list_order order = nr++ % 3;
	struct reg_list_fill fill;
	int others;

	others = reg_list_plan(&fill, &vcpu->fd, 1, nr);
	TEST_ASSERT(others >= 0, "filling gives %s", strerror(errno));
	ksft_print_msg("%d of %u registers get another value, %s, seed %u\n", others, fill.count,
		       reg_list_order_names[order], nr);
	SME_CHECK(others > 37 + SME_NR_Z + 40, "only %d registers get another value", others);
	reg_list_arrange(&fill, order, nr);
	SME_CHECK(!reg_list_play(&fill, &vcpu->fd), "a register does not take its value");
	SME_CHECK(!reg_list_check(&fill, &vcpu->fd, another_source),
		  "a register is destroyed by the write of another");
	reg_list_fill_free(&fill);
}

static void one_state(unsigned int kind, u64 svcr, u64 sve_vqs, u64 sme_vqs, bool lowered)
{
	struct reg_list_state state;
	struct outcome ours, usual, recipe, simple = {};
	struct kvm_reg_list *list;
	struct kvm_vcpu *vcpu;
	bool greatest;

	of_source.kind = kind;
	of_source.svcr = svcr;
	of_source.sve_vqs = sve_vqs;
	of_source.sme_vqs = sme_vqs;
	of_source.lowered = lowered;
	vcpu = create_source();

	list = reg_list_read(vcpu->fd);
	TEST_ASSERT(list, "KVM_GET_REG_LIST: %s", strerror(errno));
	SME_CHECK(leads(list, kind), "the list does not begin with *_VLS and SVCR");
	free(list);

	fill_source(vcpu);
	TEST_ASSERT(!reg_list_save(vcpu->fd, &state), "a listed register cannot be read: %s",
		    strerror(errno));

	ours = restore(kind, &state, true);
	greatest = are_greatest(kind, sve_vqs, sme_vqs);
	if (greatest)
		simple = restore(kind, &state, false);
	put_svcr_among_system_registers(&state);
	usual = restore(kind, &state, true);
	/* A client that knows of SVCR gets that list right as well. */
	move_svcr(&state, 0);
	recipe = restore(kind, &state, true);

	ksft_print_msg("%s SM=%d ZA=%d SVL %u%s, %llu registers\n",
		       sme_kind_names[kind], !!(svcr & SME_SM), !!(svcr & SME_ZA),
		       sme_max_vl(sme_get_vqs(vcpu, KVM_REG_ARM64_SME_VLS)),
		       lowered ? ", SME2 and FA64 lowered" : "", state.list->n);
	ksft_print_msg("  in list order %u errors, %u lost; with SVCR in its old place %u, %u\n",
		       ours.errors, ours.lost, usual.errors, usual.lost);

	if (greatest)
		ksft_print_msg("  by a client that knows no register %u errors, %u lost\n",
			       simple.errors, simple.lost);

	SME_CHECK(!simple.errors && !simple.lost,
		  "%u errors, %u lost by a client that knows no register", simple.errors,
		  simple.lost);
	SME_CHECK(!ours.errors && !ours.lost, "%u errors, %u lost", ours.errors, ours.lost);
	SME_CHECK(!recipe.errors && !recipe.lost, "%u errors, %u lost by a client that knows SVCR",
		  recipe.errors, recipe.lost);
	SME_CHECK(!(svcr & SME_ZA) || usual.errors, "the old order has no error with ZA on");
	SME_CHECK(!(svcr & SME_SM) || usual.lost >= SME_NR_Z + SME_NR_P + 1,
		  "the old order loses only %u in streaming mode", usual.lost);

	reg_list_free(&state);
	kvm_vm_free(vcpu->vm);
}

static void all_lengths(unsigned int kind, u64 svcr)
{
	struct kvm_vcpu *vcpu = sme_bare_vcpu(kind);
	u64 sme = sme_get_vqs(vcpu, KVM_REG_ARM64_SME_VLS), sve = 0;
	unsigned int n;

	if (kind & SME_KIND_SVE)
		sve = sme_get_vqs(vcpu, KVM_REG_ARM64_SVE_VLS);
	kvm_vm_free(vcpu->vm);

	for (n = 1; n <= __builtin_popcountll(sme); n++)
		one_state(kind, svcr, sve, sme_first_vqs(sme, n), false);
	for (n = 1; n < __builtin_popcountll(sve); n++)
		one_state(kind, svcr, sme_first_vqs(sve, n), sme, false);
	one_state(kind, svcr, sve, sme, true);
}

static void test_off(unsigned int kind)
{
	all_lengths(kind, 0);
}

static void test_sm(unsigned int kind)
{
	all_lengths(kind, SME_SM);
}

static void test_za(unsigned int kind)
{
	all_lengths(kind, SME_ZA);
}

static void test_sm_za(unsigned int kind)
{
	all_lengths(kind, SME_SM | SME_ZA);
}

static const struct sme_case tests[] = {
	{ "SM = 0, ZA = 0",	SME_WITH_SME,	test_off },
	{ "SM = 1, ZA = 0",	SME_WITH_SME,	test_sm },
	{ "SM = 0, ZA = 1",	SME_WITH_SME,	test_za },
	{ "SM = 1, ZA = 1",	SME_WITH_SME,	test_sm_za },
};

int main(int argc, char **argv)
{
	sme_require_kernel();
	sme_run_cases(tests, ARRAY_SIZE(tests), argc > 1 ? argv[1] : NULL);
}
