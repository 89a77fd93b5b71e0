// SPDX-License-Identifier: GPL-2.0-only
/*
 * Protected VMs (pKVM) with SME. The host has none of their state; it is kept while others
 * run, and goes when the vCPU is reset. What traps, and what ID registers say, is what a
 * VM that isn't protected sees.
 *
 * The host can't read the memory of these guests: all they say is a value that they store
 * to MMIO.
 */
#include "sme.h"

#define MAX_PROBES		40
#define TRAPPED			BIT(63)

/* What a guest says: this, and more in the bits above */
enum { SAID_STEP, SAID_BAD, SAID_VALUE, SAID_DONE };
#define SAID_SHIFT		2

/* Written by the host before the guest runs */
static struct {
	u64 has, svl, seed, rounds, steps;
} job;

static struct sme_image want, got;
static u64 trap_esr;

#define REG_CPACR		S3_0_C1_C0_2
#define REG_ZCR			S3_0_C1_C2_0
#define REG_SMPRI		S3_0_C1_C2_4
#define REG_SMCR		S3_0_C1_C2_6
#define REG_SMIDR		S3_1_C0_C0_6
#define REG_PFR1		S3_0_C0_C4_1
#define REG_ZFR0		S3_0_C0_C4_4
#define REG_SMFR0		S3_0_C0_C4_5
/* F8F16, F8F32, SF8FMA, SF8DP4, SF8DP2 */
#define SMFR0_FP8		(GENMASK(41, 40) | GENMASK(30, 28))

#define CPACR_FPEN		(3UL << 20)
#define CPACR_SMEN		(3UL << 24)

static __always_inline __sme_code void guest_say(u64 value)
{
	asm volatile("str %0, [%1]" : : "r"(value), "r"(ucall_exit_mmio_addr) : "memory");
}

static __always_inline __sme_code void guest_enable(void)
{
	sme_msr(REG_CPACR, CPACR_FPEN | CPACR_SMEN);
	isb();
	if (job.has & SME_HAS_SME)
		sme_msr(REG_SMCR, 0xf | BIT(31) | BIT(30));
	isb();
}

/* Holds values in all registers over exits, in each mode. */
static __sme_code void guest_hold(void)
{
	u64 round, step, at;
	enum sme_part part;

	guest_enable();
	for (round = 0; round < job.rounds; round++) {
		sme_fill_image(&want, job.has, round % SME_NR_SVCR, 16, job.svl, job.seed + round);
		sme_load_image(&want, job.has);
		for (step = 0; step < job.steps; step++) {
			guest_say(SAID_STEP);
			sme_store_image(&got, job.has);
			part = sme_compare(&want, &got, job.has, &at);
			if (part != SME_PART_NONE) {
				sme_msr(SME_REG_SVCR, 0);
				guest_say(SAID_BAD | part << SAID_SHIFT);
			}
		}
	}
	sme_msr(SME_REG_SVCR, 0);
	guest_say(SAID_DONE);
}

/* Fills all, says so, and is reset: says then what SVCR and TPIDR2_EL0 are, and if V are 0. */
static __sme_code void guest_reset(void)
{
	u64 i, ones = 0;

	guest_enable();
	guest_say(SAID_VALUE | sme_mrs(SME_REG_SVCR) << SAID_SHIFT);
	guest_say(SAID_VALUE | sme_mrs(SME_REG_TPIDR2) << SAID_SHIFT);
	sme_store_v(got.z);
	for (i = 0; i < 16 * SME_NR_Z; i++)
		ones |= got.z[i];
	guest_say(SAID_VALUE | ones << SAID_SHIFT);

	sme_fill_image(&want, job.has, 0, 16, job.svl, job.seed);
	sme_load_image(&want, job.has);
	sme_msr(SME_REG_SVCR, SME_ZA);
	guest_say(SAID_DONE);
}

static __sme_code void guest_trap(struct ex_regs *regs)
{
	trap_esr = read_sysreg(esr_el1) | TRAPPED;
	regs->pc += 4;
}

/* The syndrome of the last of the instructions, or what they leave in X9 */
#define PROBE(...)								\
({										\
	register u64 x9 asm("x9") = 0;						\
										\
	trap_esr = 0;								\
	asm volatile(SME_ASM __VA_ARGS__ : "+r"(x9) : "r"(want.z) :		\
		     "x10", "x12", "memory");					\
	guest_say(SAID_VALUE | ((trap_esr ? : x9) << SAID_SHIFT));		\
})

#define READ(reg)		PROBE("mrs x9, " __stringify(reg))
#define WRITE(reg)		PROBE("msr " __stringify(reg) ", xzr")

/* Which probe of the below reads it, from 0 */
#define PROBE_SMFR0		1

static __sme_code void guest_probe(void)
{
	u64 svcr;

	guest_enable();

	PROBE("mrs x9, " __stringify(REG_PFR1) "\n\tubfx x9, x9, #24, #4");
	READ(REG_SMFR0);	/* PROBE_SMFR0 */
	/* FA64, which the line above shifts out */
	PROBE("mrs x9, " __stringify(REG_SMFR0) "\n\tlsr x9, x9, #60");
	READ(REG_ZFR0);
	READ(REG_SMIDR);
	READ(REG_SMPRI);
	WRITE(REG_SMPRI);
	WRITE(SME_REG_TPIDR2);
	READ(SME_REG_TPIDR2);
	READ(REG_ZCR);
	WRITE(REG_ZCR);
	READ(REG_SMCR);
	READ(SME_REG_SVCR);
	PROBE("ptrue p0.b");
	PROBE("rdsvl x9, #1");
	PROBE("rdvl x9, #1");
	PROBE("zero {za}");
	PROBE("ldr zt0, [%1]");

	if (job.has & SME_HAS_SME) {
		for (svcr = 1; svcr < SME_NR_SVCR; svcr++) {
			sme_msr(SME_REG_SVCR, svcr);
			PROBE("ptrue p0.b");
			PROBE("rdvl x9, #1");
			PROBE("rdffr p0.b");
			PROBE("zero {za}");
			PROBE("ldr zt0, [%1]");
		}
		sme_msr(SME_REG_SVCR, 0);
	}

	/* No FP at all, then FP alone */
	sme_msr(REG_CPACR, 0);
	isb();
	PROBE("ptrue p0.b");
	PROBE("rdsvl x9, #1");
	sme_msr(REG_CPACR, CPACR_FPEN);
	isb();
	PROBE("ptrue p0.b");
	PROBE("rdsvl x9, #1");
	guest_say(SAID_DONE);
}

/*
 * Host code
 */

static struct kvm_vcpu *guest(bool protected, unsigned int kind, void *code, u64 svl, u64 seed)
{
	struct vm_shape shape = { .mode = VM_MODE_DEFAULT };
	struct kvm_vcpu_init init;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	int err;

	if (protected)
		shape.type = KVM_VM_TYPE_ARM_PROTECTED;
	vm = __vm_create(shape, 1, 0);
	TEST_ASSERT(!!vm_check_cap(vm, KVM_CAP_ARM_SME) == sme_host_can(SME_KIND_SME),
		    "KVM_CAP_ARM_SME of a VM is %d", vm_check_cap(vm, KVM_CAP_ARM_SME));

	init = sme_init_for(vm, kind);
	init.features[0] |= BIT(KVM_ARM_VCPU_PSCI_0_2);
	vcpu = aarch64_vcpu_add(vm, 0, &init, code);
	if (kind & SME_KIND_SME) {
		if (svl) {
			err = sme_set_vqs(vcpu, KVM_REG_ARM64_SME_VLS,
					  sme_get_vqs(vcpu, KVM_REG_ARM64_SME_VLS) &
					  (BIT(svl / 16) - 1));
			TEST_ASSERT(!err, "SME_VLS gives errno %d", err);
		}
		err = sme_finalize(vcpu);
		TEST_ASSERT(!err, "finalize gives errno %d", err);
	}
	kvm_arch_vm_finalize_vcpus(vm);

	vm_init_descriptor_tables(vm);
	vcpu_init_descriptor_tables(vcpu);
	vm_install_sync_handler(vm, VECTOR_SYNC_CURRENT, ESR_ELx_EC_UNKNOWN, guest_trap);
	vm_install_sync_handler(vm, VECTOR_SYNC_CURRENT, ESR_ELx_EC_SYS64, guest_trap);
	vm_install_sync_handler(vm, VECTOR_SYNC_CURRENT, ESR_ELx_EC_SVE, guest_trap);
	vm_install_sync_handler(vm, VECTOR_SYNC_CURRENT, ESR_ELx_EC_SME, guest_trap);
	vm_install_sync_handler(vm, VECTOR_SYNC_CURRENT, ESR_ELx_EC_FP_ASIMD, guest_trap);

	job.has = kind & SME_KIND_SME ? SME_HAS_SME : 0;
	if (kind & SME_KIND_SME &&
	    sme_get_field(vcpu, SME_ID(ID_AA64PFR1_EL1), ID_AA64PFR1_EL1_SME_MASK) > 1)
		job.has |= SME_HAS_SME2;
	job.svl = svl;
	job.seed = seed;
	job.rounds = 2 * SME_NR_SVCR;
	job.steps = 3;
	sync_global_to_guest(vm, job);
	return vcpu;
}

/* Runs until the guest says something. */
static u64 run(struct kvm_vcpu *vcpu, u64 *more)
{
	struct kvm_run *run = vcpu->run;
	u64 said = 0;

	/* What vcpu_run() takes for the address of a struct ucall is not one. */
	TEST_ASSERT(!__vcpu_run(vcpu), "KVM_RUN gives errno %d", errno);
	TEST_ASSERT(run->exit_reason == KVM_EXIT_MMIO && run->mmio.is_write && run->mmio.len == 8,
		    "exit for reason %u", run->exit_reason);
	memcpy(&said, run->mmio.data, sizeof(said));
	*more = said >> SAID_SHIFT;
	return said & (BIT(SAID_SHIFT) - 1);
}

/* Nothing of the state is there for the host, whatever it does. */
static void check_unseen(struct kvm_vcpu *vcpu)
{
	u8 v[16];
	int n, err;

	SME_CHECK(!vcpu_get_reg(vcpu, SME_ID(SVCR)), "the host sees SVCR");
	SME_CHECK(!vcpu_get_reg(vcpu, SME_ID(SMCR_EL1)), "the host sees SMCR_EL1");
	SME_CHECK(!vcpu_get_reg(vcpu, SME_ID(TPIDR2_EL0)), "the host sees TPIDR2_EL0");
	for (n = 0; n < SME_NR_Z; n++) {
		err = sme_get(vcpu, SME_V_ID(n), v);
		SME_CHECK(!err && sme_is_zero(v, sizeof(v)), "V%d: errno %d, or the host sees it",
			  n, err);
	}
}

/* Four guests take turns, one of which isn't protected. */
static void test_hold(unsigned int kind)
{
	struct kvm_vcpu *vcpus[4];
	u64 vqs, svl, more, done, said;
	int i;

	vqs = sme_get_vqs(sme_bare_vcpu(SME_KIND_SME), KVM_REG_ARM64_SME_VLS);
	for (; vqs; vqs &= ~BIT(svl / 16 - 1)) {
		svl = sme_max_vl(vqs);
		for (i = 0; i < ARRAY_SIZE(vcpus); i++)
			vcpus[i] = guest(i < 3, SME_KIND_SME, guest_hold, svl,
					 sme_next_random(&sme_seed) >> 1);

		for (done = 0, i = 0; done != BIT(ARRAY_SIZE(vcpus)) - 1;
		     i = (i + 1) % ARRAY_SIZE(vcpus)) {
			if (done & BIT(i))
				continue;
			said = run(vcpus[i], &more);
			if (i < 3)
				check_unseen(vcpus[i]);
			SME_CHECK(said != SAID_BAD, "guest %d, SVL %lu: %s is not as it was", i,
				  svl, sme_part_names[more]);
			if (said == SAID_DONE || said == SAID_BAD)
				done |= BIT(i);
		}
	}
}

/* What the host writes is not for the guest: a round of it, between any two exits. */
static void test_host_writes(unsigned int kind)
{
	u64 svl = sme_max_vl(sme_get_vqs(sme_bare_vcpu(SME_KIND_SME), KVM_REG_ARM64_SME_VLS));
	struct kvm_vcpu *vcpu = guest(true, SME_KIND_SME, guest_hold, svl, 1);
	u64 said, more, svcr, ones = ~0UL;
	u8 v[16];

	memset(v, 0x55, sizeof(v));
	do {
		said = run(vcpu, &more);
		SME_CHECK(said != SAID_BAD, "%s is not as it was", sme_part_names[more]);
		for (svcr = 0; svcr < SME_NR_SVCR; svcr++)
			sme_set(vcpu, SME_ID(SVCR), &svcr);
		sme_set(vcpu, SME_ID(TPIDR2_EL0), &ones);
		sme_set(vcpu, SME_ID(SMCR_EL1), &ones);
		svcr = 0;
		sme_set(vcpu, SME_ID(SVCR), &svcr);
		sme_set(vcpu, SME_V_ID(7), v);
	} while (said == SAID_STEP);
}

static void test_reset(unsigned int kind)
{
	u64 svl = sme_max_vl(sme_get_vqs(sme_bare_vcpu(SME_KIND_SME), KVM_REG_ARM64_SME_VLS));
	struct kvm_vcpu *vcpu = guest(true, SME_KIND_SME, guest_reset, svl, 1);
	struct kvm_vcpu_init init = sme_init_for(vcpu->vm, SME_KIND_SME);
	u64 sp = vcpu_get_reg(vcpu, ctxt_reg_alias(vcpu, SYS_SP_EL1)), more;
	int i, n;

	init.features[0] |= BIT(KVM_ARM_VCPU_PSCI_0_2);
	for (i = 0; i < 3; i++) {
		for (n = 0; n < 3; n++) {
			TEST_ASSERT_EQ(run(vcpu, &more), SAID_VALUE);
			SME_CHECK(!more, "reset %d: value %d is %#lx", i, n, more);
		}
		TEST_ASSERT_EQ(run(vcpu, &more), SAID_DONE);

		aarch64_vcpu_setup(vcpu, &init);
		vcpu_set_reg(vcpu, ctxt_reg_alias(vcpu, SYS_SP_EL1), sp);
		vcpu_arch_set_entry_point(vcpu, guest_reset);
	}
}

/* A protected guest sees what one does that isn't, but for FP8: it has no FPMR. */
static void test_probe(unsigned int kind)
{
	struct kvm_vcpu *a = guest(true, kind, guest_probe, 0, 1);
	struct kvm_vcpu *b = guest(false, kind, guest_probe, 0, 1);
	u64 said, more, other, n;

	for (n = 0; n < MAX_PROBES; n++) {
		said = run(a, &more);
		TEST_ASSERT_EQ(said, run(b, &other));
		if (said == SAID_DONE)
			break;
		if (n == PROBE_SMFR0)
			other &= ~SMFR0_FP8;
		SME_CHECK(more == other, "probe %lu: %#lx, %#lx where not protected", n, more,
			  other);
	}
	SME_CHECK(n >= 20, "%lu probes", n);
}

/* Memory is donated and comes back: in a host of this size, not for long without. */
static void test_many(unsigned int kind)
{
	u64 svl = sme_max_vl(sme_get_vqs(sme_bare_vcpu(SME_KIND_SME), KVM_REG_ARM64_SME_VLS));
	u64 more;
	int i;

	for (i = 0; i < 20; i++) {
		pid_t pid = fork();
		int status;

		TEST_ASSERT(pid >= 0, "fork() failed");
		if (!pid) {
			struct kvm_vcpu *vcpu = guest(true, SME_KIND_SME, guest_hold, svl, i);

			while (run(vcpu, &more) == SAID_STEP)
				;
			exit(0);
		}
		TEST_ASSERT(waitpid(pid, &status, 0) == pid && !status, "guest %d failed", i);
	}
}

static const struct sme_case tests[] = {
	{ "state is kept and not seen", SME_NO_KIND, test_hold },
	{ "writes of the host", SME_NO_KIND, test_host_writes },
	{ "reset", SME_NO_KIND, test_reset },
	{ "traps and ID registers", BIT(0) | BIT(SME_KIND_SME), test_probe },
	{ "one after another", SME_NO_KIND, test_many },
};

int main(int argc, char *argv[])
{
	struct vm_shape shape = { .type = KVM_VM_TYPE_ARM_PROTECTED };
	int fd = open_kvm_dev_path_or_exit();
	int vm = ioctl(fd, KVM_CREATE_VM, (unsigned long)shape.type);

	sme_require_kernel();
	__TEST_REQUIRE(vm >= 0, "KVM is not in protected mode");
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_ARM_SME));
	close(vm);
	close(fd);

	sme_run_cases(tests, ARRAY_SIZE(tests), argc > 1 ? argv[1] : NULL);
}
