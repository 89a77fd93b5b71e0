// SPDX-License-Identifier: GPL-2.0-only
/*
 * reg_list_sme - a vCPU with SME that is saved, in each state of SVCR and with
 * each vector length, and restored in the order of KVM_GET_REG_LIST by a client
 * that knows nothing of registers but which of them come before finalize, must
 * be the same vCPU.
 *
 * The same is done in the order that the list would have without the registers
 * that lead it.  That has to go wrong in streaming mode and with ZA on: if it
 * does not, this test could not see it.
 */
#include "kselftest.h"
#include "kvm_util.h"
#include "processor.h"
#include "reg_list.h"
#include "sme.h"
#include "test_util.h"

struct outcome {
	unsigned int errors, lost;
};

/* Where the list would have SVCR as the system register that it is. */
static void put_svcr_among_system_registers(struct reg_list_state *state)
{
	struct kvm_reg_list *list = state->list;
	unsigned char svcr[SME_REG_BYTES];
	u64 from, to;

	for (from = 0; list->reg[from] != SME_ID(SVCR); from++)
		;
	memcpy(svcr, state->value[from], sizeof(svcr));

	for (to = from; to + 1 < list->n; to++) {
		u64 next = list->reg[to + 1];

		/* CNTVCT_EL0 is at the head too. */
		if ((next & KVM_REG_ARM_COPROC_MASK) == KVM_REG_ARM64_SYSREG &&
		    next > SME_ID(SVCR) && next != KVM_REG_ARM_TIMER_CNT)
			break;
		list->reg[to] = next;
		memcpy(state->value[to], state->value[to + 1], sizeof(svcr));
	}
	list->reg[to] = SME_ID(SVCR);
	memcpy(state->value[to], svcr, sizeof(svcr));
}

static struct outcome restore(unsigned int shape, const struct reg_list_state *state)
{
	struct kvm_vcpu *vcpu = sme_bare_vcpu(shape);
	struct outcome outcome;

	outcome.errors = reg_list_restore(vcpu->fd, state);
	outcome.lost = reg_list_count_lost(vcpu->fd, state, NULL);
	kvm_vm_free(vcpu->vm);
	return outcome;
}

static bool leads(const struct kvm_reg_list *list, unsigned int shape)
{
	const __u64 *id = list->reg;

	return (!(shape & SME_SHAPE_SVE) || *id++ == KVM_REG_ARM64_SVE_VLS) &&
	       *id++ == KVM_REG_ARM64_SME_VLS && *id == SME_ID(SVCR);
}

static void one_state(unsigned int shape, u64 svcr, u64 sve_vqs, u64 sme_vqs, bool lowered)
{
	struct kvm_vcpu *vcpu = sme_bare_vcpu_final(shape, sve_vqs, sme_vqs);
	struct reg_list_state state;
	struct outcome ours, usual;
	struct kvm_reg_list *list;

	if (lowered) {
		sme_set_field(vcpu, SME_ID(ID_AA64PFR1_EL1), ID_AA64PFR1_EL1_SME, 1);
		sme_set_field(vcpu, SME_ID(ID_AA64SMFR0_EL1), ID_AA64SMFR0_EL1_FA64, 0);
	}
	sme_set_svcr(vcpu, svcr);

	list = reg_list_read(vcpu->fd);
	TEST_ASSERT(list, "KVM_GET_REG_LIST: %s", strerror(errno));
	SME_CHECK(leads(list, shape), "the list does not begin with *_VLS and SVCR");
	TEST_ASSERT(reg_list_fill(vcpu->fd, list, 1) >= 0, "filling gives %s", strerror(errno));
	free(list);
	TEST_ASSERT(!reg_list_save(vcpu->fd, &state), "a listed register cannot be read: %s",
		    strerror(errno));

	ours = restore(shape, &state);
	put_svcr_among_system_registers(&state);
	usual = restore(shape, &state);

	ksft_print_msg("%s SM=%d ZA=%d SVL %u%s, %llu registers\n",
		       sme_shape_names[shape], !!(svcr & SME_SM), !!(svcr & SME_ZA),
		       sme_max_vl(sme_get_vqs(vcpu, KVM_REG_ARM64_SME_VLS)),
		       lowered ? ", SME2 and FA64 lowered" : "", state.list->n);
	ksft_print_msg("  in list order %u errors, %u lost; with SVCR in its old place %u, %u\n",
		       ours.errors, ours.lost, usual.errors, usual.lost);

	SME_CHECK(!ours.errors && !ours.lost, "%u errors, %u lost", ours.errors, ours.lost);
	SME_CHECK(!(svcr & SME_ZA) || usual.errors, "the old order has no error with ZA on");
	SME_CHECK(!(svcr & SME_SM) || usual.lost >= SME_NR_Z + SME_NR_P + 1,
		  "the old order loses only %u in streaming mode", usual.lost);

	reg_list_free(&state);
	kvm_vm_free(vcpu->vm);
}

static void all_lengths(unsigned int shape, u64 svcr)
{
	struct kvm_vcpu *vcpu = sme_bare_vcpu(shape);
	u64 sme = sme_get_vqs(vcpu, KVM_REG_ARM64_SME_VLS), sve = 0;
	unsigned int n;

	if (shape & SME_SHAPE_SVE)
		sve = sme_get_vqs(vcpu, KVM_REG_ARM64_SVE_VLS);
	kvm_vm_free(vcpu->vm);

	for (n = 1; n <= __builtin_popcountll(sme); n++)
		one_state(shape, svcr, sve, sme_first_vqs(sme, n), false);
	for (n = 1; n < __builtin_popcountll(sve); n++)
		one_state(shape, svcr, sme_first_vqs(sve, n), sme, false);
	one_state(shape, svcr, sve, sme, true);
}

static void test_off(unsigned int shape)
{
	all_lengths(shape, 0);
}

static void test_sm(unsigned int shape)
{
	all_lengths(shape, SME_SM);
}

static void test_za(unsigned int shape)
{
	all_lengths(shape, SME_ZA);
}

static void test_sm_za(unsigned int shape)
{
	all_lengths(shape, SME_SM | SME_ZA);
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
