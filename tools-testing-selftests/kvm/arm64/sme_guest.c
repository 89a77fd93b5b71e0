// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guests that use SME: what traps and what does not for vCPUs with SVE, SME, both and
 * neither; vector lengths; the whole state kept over forced exits, moves between CPUs and
 * threads, a save and restore into a new VM, beside other guests and host programs that use
 * SME as well; nothing of one guest seen by another; and the VMM's own SME state.
 */
#include <asm/hwcap.h>
#include <asm/ptrace.h>
#include <asm/sigcontext.h>
#include <elf.h>
#include <pthread.h>
#include <semaphore.h>
#include <linux/psci.h>
#include <sys/auxv.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "sme.h"

/*
 * What host and guest share.  Each VM has a copy of its own of all globals.
 */

#define MAX_MISMATCHES		24
#define ANY_SVCR		~0UL
#define TRAPPED			BIT(63)

struct job {
	/* From the host */
	u64 has, vl, svl, cpu_sve;
	u64 no_zen;			/* leave CPACR_EL1.ZEN alone */
	u64 seed, rounds, steps, svcr;

	/* From the guest */
	u64 exits, checked;
	u64 nr_mismatches;
	struct {
		const char *name;	/* all copies are linked at one address */
		u64 got, want;
	} mismatches[MAX_MISMATCHES];
	u64 rdvl[16], rdsvl[16], streaming_rdvl[16];
	u64 pfr1, smfr0, smidr, tpidr2;
};

static struct job job;
static struct sme_image want, got;

/*
 * Guest code
 */

#define REG_CPACR		S3_0_C1_C0_2
#define REG_ZCR			S3_0_C1_C2_0
#define REG_SMCR		S3_0_C1_C2_6
#define REG_SMPRI		S3_0_C1_C2_4
#define REG_SMIDR		S3_1_C0_C0_6
#define REG_PFR1		S3_0_C0_C4_1
#define REG_SMFR0		S3_0_C0_C4_5

#define CPACR_FPEN		(3UL << 20)
#define CPACR_ZEN		(3UL << 16)
#define CPACR_SMEN		(3UL << 24)
#define SMCR_FA64		BIT(31)
#define SMCR_EZT0		BIT(30)

static __always_inline __sme_code void guest_cpacr(u64 cpacr)
{
	if (job.no_zen)
		cpacr &= ~CPACR_ZEN;
	sme_msr(REG_CPACR, cpacr);
	isb();
}

/* All bits that a feature can have, whether or not the vCPU has it. */
static __always_inline __sme_code void guest_smcr(u64 smcr)
{
	sme_msr(REG_SMCR, smcr);
	isb();
}

static __always_inline __sme_code void guest_enable(void)
{
	guest_cpacr(CPACR_FPEN | CPACR_ZEN | CPACR_SMEN);
	if (job.has & SME_HAS_SVE)
		sme_msr(REG_ZCR, 0xf);
	if (job.has & SME_HAS_SME)
		guest_smcr(0xf | SMCR_FA64 | SMCR_EZT0);
	isb();
}

/* An exit to the VMM that needs no call, and so can be made in streaming mode. */
static __always_inline __sme_code void guest_exit_uncounted(void)
{
	asm volatile("str xzr, [%0]" : : "r"(ucall_exit_mmio_addr) : "memory");
}

static __always_inline __sme_code void guest_exit(void)
{
	job.exits++;
	guest_exit_uncounted();
}

static __always_inline __sme_code void guest_leave(void)
{
	if (job.has & SME_HAS_SME)
		sme_msr(SME_REG_SVCR, 0);
	sme_msr(SME_REG_FPCR, 0);
}

/* Reads the whole state, and compares it to what it should be. */
static __always_inline __sme_code void guest_check(u64 round, u64 step)
{
	enum sme_part part;
	u64 at;

	sme_store_image(&got, job.has);
	part = sme_compare(&want, &got, job.has, &at);
	if (part == SME_PART_NONE) {
		job.checked++;
		return;
	}

	guest_leave();
	GUEST_FAIL("%s is not as it was, byte %lu (SVCR %lu, now %lu, round %lu, step %lu)",
		   sme_part_names[part], at, want.svcr, got.svcr, round, step);
}

/* Holds values in all registers over exits, in the modes asked for. */
static __sme_code void guest_hold(void)
{
	u64 round, step, svcr;

	guest_enable();
	for (round = 0; round < job.rounds; round++) {
		svcr = job.has & SME_HAS_SME ? job.svcr == ANY_SVCR ? round % 4 : job.svcr : 0;
		sme_fill_image(&want, job.has, svcr, job.vl, job.svl, job.seed + round);
		sme_load_image(&want, job.has);
		for (step = 0; step < job.steps; step++) {
			guest_exit();
			guest_check(round, step);
		}
	}
	guest_leave();
	GUEST_DONE();
}

/*
 * Products of matrices, built up by a row and a column at a time: of floating-point numbers
 * that are integers in tile ZA0.S, of bytes in ZA1.S.  Tiles ZA2.S and ZA3.S and all other
 * registers have to keep what they have.
 */

#define MAX_N			(SME_MAX_VL / 4)

static s32 float_sums[MAX_N][MAX_N];
static u32 byte_sums[MAX_N][MAX_N];

/* The encoding of an integer below 2^24 as a float, without using one. */
static __always_inline __sme_code u32 float_bits(s32 value)
{
	u32 sign = value < 0 ? BIT(31) : 0, magnitude = value < 0 ? -value : value;
	u32 exponent;

	if (!magnitude)
		return 0;
	exponent = 31 - __builtin_clz(magnitude);
	return sign | (127 + exponent) << 23 | ((magnitude << (23 - exponent)) & 0x7fffff);
}

/* Operands into Z0 to Z3 of the image, what comes of them into its ZA. */
static __always_inline __sme_code void expect_product(u64 *seed)
{
	u32 *z0 = (u32 *)want.z, *z1 = (u32 *)(want.z + want.vl), *row;
	u8 *z2 = want.z + 2 * want.vl, *z3 = want.z + 3 * want.vl;
	u64 n = want.svl / 4, r, c, i;
	s32 a[MAX_N], b[MAX_N];

	for (i = 0; i < n; i++) {
		a[i] = (s32)(sme_next_random(seed) >> 40) % 100 - 50;
		b[i] = (s32)(sme_next_random(seed) >> 40) % 100 - 50;
		z0[i] = float_bits(a[i]);
		z1[i] = float_bits(b[i]);
	}
	sme_fill(z2, 2 * want.vl, seed);

	for (r = 0; r < n; r++) {
		for (c = 0; c < n; c++) {
			float_sums[r][c] += a[r] * b[c];
			for (i = 0; i < 4; i++)
				byte_sums[r][c] += z2[4 * r + i] * z3[4 * c + i];
		}
	}

	/* Row r of tile n is row 4r + n of ZA. */
	for (r = 0; r < n; r++) {
		row = (u32 *)(want.za + 4 * r * want.svl);
		for (c = 0; c < n; c++)
			row[c] = float_bits(float_sums[r][c]);
		row = (u32 *)(want.za + (4 * r + 1) * want.svl);
		for (c = 0; c < n; c++)
			row[c] = byte_sums[r][c];
	}
}

static __always_inline __sme_code void clear_product(void)
{
	u64 r, c;

	for (r = 0; r < MAX_N; r++) {
		for (c = 0; c < MAX_N; c++) {
			float_sums[r][c] = 0;
			byte_sums[r][c] = 0;
		}
	}
	for (r = 0; r < want.svl; r++)
		for (c = 0; r % 4 < 2 && c < want.svl; c++)
			want.za[r * want.svl + c] = 0;

	/* P0 selects all elements.  Round to nearest, and no flag comes of exact results. */
	for (c = 0; c < want.vl / 8; c++)
		want.p[c] = 0xff;
	want.fpcr &= ~(3UL << 22);
}

static __always_inline __sme_code void multiply(void)
{
	asm volatile(SME_ASM
		     "ldr z0, [%0]\n\t"
		     "ldr z1, [%0, #1, mul vl]\n\t"
		     "ldr z2, [%0, #2, mul vl]\n\t"
		     "ldr z3, [%0, #3, mul vl]\n\t"
		     "fmopa za0.s, p0/m, p0/m, z0.s, z1.s\n\t"
		     "umopa za1.s, p0/m, p0/m, z2.b, z3.b\n\t"
		     : : "r"(want.z) : "memory");
}

static __sme_code void guest_product(void)
{
	u64 round, step, seed;

	guest_enable();
	for (round = 0; round < job.rounds; round++) {
		seed = (job.seed + round) * 2 + 1;
		sme_fill_image(&want, job.has, SME_SM | SME_ZA, job.vl, job.svl,
			       job.seed + round);
		clear_product();
		sme_load_image(&want, job.has);

		for (step = 0; step < job.steps; step++) {
			expect_product(&seed);
			multiply();
			want.tpidr2 = sme_next_random(&seed);
			sme_msr(SME_REG_TPIDR2, want.tpidr2);
			if (job.has & SME_HAS_SME2) {
				sme_fill(want.zt0, SME_ZT0_BYTES, &seed);
				sme_load_zt0(want.zt0);
			}
			guest_exit();
			guest_check(round, step);
		}
	}
	guest_leave();
	GUEST_DONE();
}

/* Fills the machine with a secret, over and over. */
#define SECRET			0x5ec2e75ec2e75ec2UL

static __sme_code void guest_secret(void)
{
	u64 *word = (u64 *)&want, i;

	guest_enable();
	sme_fill_image(&want, job.has, job.svcr, job.vl, job.svl, job.seed);
	for (i = 0; i < offsetof(struct sme_image, ffr) / 8; i++)
		word[i] = SECRET;
	for (i = 0; i < SME_ZT0_BYTES; i += 8)
		*(u64 *)(want.zt0 + i) = SECRET;
	want.tpidr2 = SECRET;
	for (;;) {
		sme_load_image(&want, job.has);
		guest_exit();
	}
}

/* Shows the host all that there is to see: as it was at reset, and in streaming mode. */
static __sme_code void guest_look(void)
{
	u64 smcr = SMCR_FA64 | SMCR_EZT0, i;

	guest_enable();
	sme_store_image(&got, job.has);
	guest_exit();

	if (!(job.has & SME_HAS_SME))
		GUEST_DONE();

	for (i = 0; i < 3; i++) {
		sme_msr(SME_REG_SVCR, i + 1);
		sme_store_image(&got, job.has);
		guest_exit();
		sme_msr(SME_REG_SVCR, 0);
	}

	/* Short vectors, another guest meanwhile, and long ones again */
	guest_smcr(smcr);
	sme_msr(SME_REG_SVCR, SME_SM | SME_ZA);
	guest_exit();
	guest_smcr(smcr | 0xf);
	sme_store_image(&got, job.has);
	guest_exit();
	guest_leave();
	GUEST_DONE();
}

/* For a second vCPU beside guest_hold(): its own length, the shortest by SMCR_EL1.LEN. */
static __sme_code void guest_measure(void)
{
	guest_enable();
	guest_smcr(0);
	for (;;) {
		sme_msr(SME_REG_SVCR, SME_SM | SME_ZA);
		guest_exit_uncounted();
		job.rdsvl[0] = sme_rdsvl();
		job.streaming_rdvl[0] = sme_rdvl();
		sme_load_za(got.za, job.rdsvl[0]);
		sme_load_z(got.z);
		guest_exit_uncounted();
		sme_msr(SME_REG_SVCR, 0);
	}
}

/* Registers in use, for long, without any exit that the guest makes: it counts instead. */
static __sme_code void guest_spin(void)
{
	u64 round, i;

	guest_enable();
	for (round = 0; round < job.rounds; round++) {
		sme_fill_image(&want, job.has, SME_SM | SME_ZA, job.vl, job.svl, job.seed + round);
		sme_load_image(&want, job.has);
		for (i = 0; i < job.steps; i++) {
			job.exits++;
			asm volatile("" : : : "memory");
		}
		guest_check(round, 0);
	}
	guest_leave();
	GUEST_DONE();
}

/*
 * What traps
 */

static u64 trap_esr;

static __sme_code void guest_trap(struct ex_regs *regs)
{
	trap_esr = read_sysreg(esr_el1) | TRAPPED;
	regs->pc += 4;
}

/* The syndrome that the last of the instructions gives, or 0. */
#define TRAP_OF(...)								\
({										\
	trap_esr = 0;								\
	asm volatile(SME_ASM __VA_ARGS__ : : "r"(want.z) :			\
		     "x9", "x10", "x12", "memory");				\
	trap_esr;								\
})

#define SYNDROME(ec, iss)	(TRAPPED | ((u64)(ec) << ESR_ELx_EC_SHIFT) | (iss))
#define SYNDROME_MASK		(TRAPPED | ESR_ELx_EC_MASK | 7)
#define NO_TRAP			0
#define UNDEFINED		SYNDROME(ESR_ELx_EC_UNKNOWN, 0)
#define SVE_TRAP		SYNDROME(ESR_ELx_EC_SVE, 0)
#define SME_TRAP(smtc)		SYNDROME(ESR_ELx_EC_SME, ESR_ELx_SME_ISS_ ## smtc)

static noinline __sme_code void guest_expect_value(const char *name, u64 got, u64 want)
{
	u64 n = job.nr_mismatches;

	job.checked++;
	if (got == want)
		return;
	if (n < MAX_MISMATCHES) {
		job.mismatches[n].name = name;
		job.mismatches[n].got = got;
		job.mismatches[n].want = want;
	}
	job.nr_mismatches++;
}

/* QEMU, up to 11.1 at least, leaves out the reason where ZT0 is what is disabled. */
static __always_inline __sme_code u64 zt0_reason(u64 esr)
{
	return (esr & SYNDROME_MASK) == SME_TRAP(SME_DISABLED) ? SME_TRAP(ZT_DISABLED) : esr;
}

static noinline __sme_code void guest_expect_trap(const char *name, u64 got, u64 want)
{
	u64 ec = ESR_ELx_EC(got);

	/* Of the syndrome's details only those of SME's own class are asked for. */
	got &= SYNDROME_MASK;
	if (got && ec != ESR_ELx_EC_SME)
		got &= ~7UL;
	guest_expect_value(name, got, want);
}

/*
 * SVE's instructions out of streaming mode, in a vCPU that may have SME alone: as on a CPU with
 * SME and without SVE, they take an SME trap that says why.
 */
static noinline __sme_code void guest_expect_sve(const char *name, u64 got, u64 reason)
{
	if (job.has & SME_HAS_SVE)
		reason = NO_TRAP;
	guest_expect_trap(name, got, reason);
}

#define EXPECT_SVE(name, insn, reason)	guest_expect_sve(name, TRAP_OF(insn), SME_TRAP(reason))
#define EXPECT(name, insn, want)	guest_expect_trap(name, TRAP_OF(insn), want)

/* Instructions by encoding where an assembler could mind; x9 and x10 are scratch. */
#define SMSTART_SM		"msr s0_3_c4_c3_3, xzr"
#define SMSTART_ZA		"msr s0_3_c4_c5_3, xzr"
#define SMSTOP			"msr s0_3_c4_c6_3, xzr"
#define NEON_ADD		".inst 0x4ea08400"	/* add v0.4s, v0.4s, v0.4s */
#define FMOPA			"fmopa za0.s, p0/m, p0/m, z0.s, z1.s"
#define LDR_ZA			"mov w12, #0\n\tldr za[w12, 0], [%0]"
#define ZERO_ZA			"zero {za}"
#define LDR_ZT0			"ldr zt0, [%0]"
#define PTRUE			"ptrue p0.b"
#define RDFFR			"rdffr p0.b"
#define SETFFR			"setffr"
#define WRFFR			"wrffr p0.b"
#define RDVL			"rdvl x9, #1"
#define RDSVL			"rdsvl x9, #1"
#define MRS(reg)		"mrs x9, " __stringify(reg)
#define MSR(reg)		"msr " __stringify(reg) ", xzr"

static __sme_code void guest_traps_without_sme(void)
{
	u64 hidden = job.has & SME_HAS_IDST ? SYNDROME(ESR_ELx_EC_SYS64, 0) : UNDEFINED;

	EXPECT("SMSTART SM without SME", SMSTART_SM, UNDEFINED);
	EXPECT("SMSTART ZA without SME", SMSTART_ZA, UNDEFINED);
	EXPECT("SMSTOP without SME", SMSTOP, UNDEFINED);
	EXPECT("RDSVL without SME", RDSVL, UNDEFINED);
	EXPECT("read SVCR without SME", MRS(SME_REG_SVCR), UNDEFINED);
	EXPECT("write SVCR without SME", MSR(SME_REG_SVCR), UNDEFINED);
	EXPECT("read SMCR_EL1 without SME", MRS(REG_SMCR), UNDEFINED);
	EXPECT("write SMCR_EL1 without SME", MSR(REG_SMCR), UNDEFINED);
	EXPECT("read TPIDR2_EL0 without SME", MRS(SME_REG_TPIDR2), UNDEFINED);
	EXPECT("write TPIDR2_EL0 without SME", MSR(SME_REG_TPIDR2), UNDEFINED);
	EXPECT("read SMPRI_EL1 without SME", MRS(REG_SMPRI), UNDEFINED);
	EXPECT("write SMPRI_EL1 without SME", MSR(REG_SMPRI), UNDEFINED);
	EXPECT("read SMIDR_EL1 without SME", MRS(REG_SMIDR), hidden);
	EXPECT("ZERO ZA without SME", ZERO_ZA, UNDEFINED);
	EXPECT("FMOPA without SME", FMOPA, UNDEFINED);
	EXPECT("LDR ZT0 without SME", LDR_ZT0, UNDEFINED);
	guest_expect_value("ID_AA64SMFR0_EL1 without SME", sme_mrs(REG_SMFR0), 0);
	guest_expect_value("ID_AA64PFR1_EL1.SME without SME",
			   sme_mrs(REG_PFR1) & ID_AA64PFR1_EL1_SME_MASK, 0);
}

static __sme_code void guest_traps_disabled(void)
{
	/* SMEN off: all of SME, and in streaming mode all of SVE */
	guest_cpacr(CPACR_FPEN | CPACR_ZEN);
	EXPECT("SMSTART SM, SMEN off", SMSTART_SM, SME_TRAP(SME_DISABLED));
	EXPECT("SMSTART ZA, SMEN off", SMSTART_ZA, SME_TRAP(SME_DISABLED));
	EXPECT("RDSVL, SMEN off", RDSVL, SME_TRAP(SME_DISABLED));
	EXPECT("read SVCR, SMEN off", MRS(SME_REG_SVCR), SME_TRAP(SME_DISABLED));
	EXPECT("read SMCR_EL1, SMEN off", MRS(REG_SMCR), SME_TRAP(SME_DISABLED));
	EXPECT("ZERO ZA, SMEN off", ZERO_ZA, SME_TRAP(SME_DISABLED));
	EXPECT("read TPIDR2_EL0, SMEN off", MRS(SME_REG_TPIDR2), NO_TRAP);
	EXPECT_SVE("PTRUE out of streaming mode, SMEN off", PTRUE, SME_DISABLED);

	guest_cpacr(CPACR_FPEN | CPACR_ZEN | CPACR_SMEN);
	EXPECT("SMSTART SM", SMSTART_SM, NO_TRAP);
	guest_cpacr(CPACR_FPEN | CPACR_ZEN);
	EXPECT("PTRUE in streaming mode, SMEN off", PTRUE, SME_TRAP(SME_DISABLED));
	guest_exit();
	EXPECT("PTRUE in streaming mode, SMEN off, after an exit", PTRUE, SME_TRAP(SME_DISABLED));

	/* ZEN off: nothing in streaming mode, whatever the vCPU has */
	guest_cpacr(CPACR_FPEN | CPACR_SMEN);
	EXPECT("PTRUE in streaming mode, ZEN off", PTRUE, NO_TRAP);
	guest_exit();
	EXPECT("PTRUE in streaming mode, ZEN off, after an exit", PTRUE, NO_TRAP);
	EXPECT("SMSTOP", SMSTOP, NO_TRAP);
	guest_expect_trap("PTRUE out of streaming mode, ZEN off", TRAP_OF(PTRUE),
			  job.has & SME_HAS_SVE ? SVE_TRAP : SME_TRAP(SM_DISABLED));
	guest_cpacr(CPACR_FPEN);
	EXPECT("PTRUE out of streaming mode, ZEN and SMEN off", PTRUE,
	       job.has & SME_HAS_SVE ? SVE_TRAP : SME_TRAP(SME_DISABLED));
	guest_exit();
	EXPECT("PTRUE out of streaming mode, ZEN and SMEN off, after an exit", PTRUE,
	       job.has & SME_HAS_SVE ? SVE_TRAP : SME_TRAP(SME_DISABLED));
	guest_cpacr(CPACR_FPEN | CPACR_ZEN | CPACR_SMEN);
}

/*
 * The instructions of FFR, which is SVE's and, in streaming mode, FA64's: a CPU with SME alone
 * has none of them in any mode.  A CPU with SVE has them, and takes an SME trap where the vCPU
 * is to have none.
 *
 * RDFFR with a predicate and RDFFRS are left out: QEMU, up to 11.1 at least, takes SME traps
 * for these two, not for the three here, on a CPU without SVE.
 */
static noinline __sme_code void guest_expect_ffr(const char *name, u64 trap)
{
	guest_expect_trap(name, TRAP_OF(RDFFR), trap);
	guest_expect_trap(name, TRAP_OF(SETFFR), trap);
	guest_expect_trap(name, TRAP_OF(WRFFR), trap);
}

static __sme_code void guest_traps_with_sme(void)
{
	u64 no_fa64 = job.has & SME_HAS_FA64 ? NO_TRAP : SME_TRAP(ILL);
	u64 ffr = job.has & SME_HAS_SVE ? NO_TRAP :
		  job.cpu_sve ? SME_TRAP(SM_DISABLED) : UNDEFINED;
	u64 streaming_ffr = job.cpu_sve ? no_fa64 : UNDEFINED;
	u64 svcr;

	guest_expect_value("SVCR at reset", sme_mrs(SME_REG_SVCR), 0);
	guest_traps_disabled();

	/* Neither mode */
	EXPECT("RDSVL", RDSVL, NO_TRAP);
	EXPECT_SVE("PTRUE out of streaming mode", PTRUE, SM_DISABLED);
	EXPECT_SVE("RDVL out of streaming mode", RDVL, SM_DISABLED);
	guest_expect_ffr("FFR out of streaming mode", ffr);
	EXPECT("NEON ADD out of streaming mode", NEON_ADD, NO_TRAP);
	EXPECT("LDR ZA, ZA off", LDR_ZA, SME_TRAP(ZA_DISABLED));
	EXPECT("ZERO ZA, ZA off", ZERO_ZA, SME_TRAP(ZA_DISABLED));
	EXPECT("FMOPA out of streaming mode", FMOPA, SME_TRAP(SM_DISABLED));

	/* Streaming mode alone */
	EXPECT("SMSTART SM", SMSTART_SM, NO_TRAP);
	guest_expect_value("SVCR after SMSTART SM", sme_mrs(SME_REG_SVCR), SME_SM);
	guest_exit();
	EXPECT("PTRUE in streaming mode, after an exit", PTRUE, NO_TRAP);
	guest_expect_value("RDVL in streaming mode", sme_rdvl(), job.svl);
	guest_expect_ffr("FFR in streaming mode", streaming_ffr);
	EXPECT("NEON ADD in streaming mode", NEON_ADD, no_fa64);
	guest_exit();
	EXPECT("NEON ADD in streaming mode, after an exit", NEON_ADD, no_fa64);
	EXPECT("FMOPA, ZA off", FMOPA, SME_TRAP(ZA_DISABLED));
	EXPECT("LDR ZA in streaming mode, ZA off", LDR_ZA, SME_TRAP(ZA_DISABLED));

	/* Streaming mode and ZA */
	EXPECT("SMSTART ZA", SMSTART_ZA, NO_TRAP);
	guest_expect_value("SVCR after SMSTART", sme_mrs(SME_REG_SVCR), SME_SM | SME_ZA);
	guest_exit();
	EXPECT("FMOPA, after an exit", FMOPA, NO_TRAP);
	EXPECT("LDR ZA", LDR_ZA, NO_TRAP);
	if (job.has & SME_HAS_FA64) {
		guest_smcr(0xf);
		EXPECT("NEON ADD in streaming mode, FA64 off", NEON_ADD, SME_TRAP(ILL));
		guest_expect_ffr("FFR in streaming mode, FA64 off", SME_TRAP(ILL));
	}

	/* Nothing but what the vCPU has can be turned on. */
	guest_smcr(0xf | SMCR_FA64 | SMCR_EZT0);
	EXPECT("LDR ZT0, EZT0 on", LDR_ZT0, job.has & SME_HAS_SME2 ? NO_TRAP : UNDEFINED);
	guest_exit();
	EXPECT("LDR ZT0, EZT0 on, after an exit", LDR_ZT0,
	       job.has & SME_HAS_SME2 ? NO_TRAP : UNDEFINED);
	EXPECT("NEON ADD in streaming mode", NEON_ADD, no_fa64);
	if (job.has & SME_HAS_SME2) {
		guest_smcr(0xf | SMCR_FA64);
		guest_expect_trap("LDR ZT0, EZT0 off", zt0_reason(TRAP_OF(LDR_ZT0)),
				  SME_TRAP(ZT_DISABLED));
		guest_exit();
		guest_expect_trap("LDR ZT0, EZT0 off, after an exit", zt0_reason(TRAP_OF(LDR_ZT0)),
				  SME_TRAP(ZT_DISABLED));
		guest_smcr(0xf | SMCR_FA64 | SMCR_EZT0);
	}

	/* ZA alone */
	sme_msr(SME_REG_SVCR, SME_ZA);
	guest_exit();
	svcr = sme_mrs(SME_REG_SVCR);
	guest_expect_value("SVCR after an exit with ZA on", svcr, SME_ZA);
	EXPECT("LDR ZA out of streaming mode, after an exit", LDR_ZA, NO_TRAP);
	EXPECT_SVE("PTRUE out of streaming mode, ZA on", PTRUE, SM_DISABLED);
	EXPECT("FMOPA out of streaming mode, ZA on", FMOPA, SME_TRAP(SM_DISABLED));
	if (job.has & SME_HAS_SME2)
		EXPECT("LDR ZT0, ZA on", LDR_ZT0, NO_TRAP);
	EXPECT("SMSTOP", SMSTOP, NO_TRAP);
	if (job.has & SME_HAS_SME2)
		EXPECT("LDR ZT0, ZA off", LDR_ZT0, SME_TRAP(ZA_DISABLED));
	guest_expect_value("SVCR after SMSTOP", sme_mrs(SME_REG_SVCR), 0);
}

static __sme_code void guest_sme_sysregs(void)
{
	job.smidr = sme_mrs(REG_SMIDR);
	sme_msr(REG_SMPRI, 0xf);
	guest_expect_value("SMPRI_EL1", sme_mrs(REG_SMPRI), 0);
	guest_exit();
	guest_expect_value("SMPRI_EL1 after an exit", sme_mrs(REG_SMPRI), 0);
	sme_msr(SME_REG_TPIDR2, 0x0123456789abcdef);
	guest_expect_value("TPIDR2_EL0", sme_mrs(SME_REG_TPIDR2), 0x0123456789abcdef);
	guest_exit();
	guest_expect_value("TPIDR2_EL0 after an exit", sme_mrs(SME_REG_TPIDR2), 0x0123456789abcdef);
	job.tpidr2 = sme_mrs(SME_REG_TPIDR2);

	guest_smcr(3 | SMCR_FA64);
	guest_exit();
	guest_expect_value("SMCR_EL1.LEN after an exit", sme_mrs(REG_SMCR) & 0xf, 3);
	guest_smcr(0xf | SMCR_FA64 | SMCR_EZT0);
}

static __sme_code void guest_lengths(void)
{
	u64 len;

	for (len = 0; len < 16; len++) {
		if (job.has & SME_HAS_SVE) {
			sme_msr(REG_ZCR, len);
			isb();
			job.rdvl[len] = sme_rdvl();
		}
		if (job.has & SME_HAS_SME) {
			guest_smcr(len);
			sme_msr(SME_REG_SVCR, SME_SM);
			guest_exit();
			job.rdsvl[len] = sme_rdsvl();
			job.streaming_rdvl[len] = sme_rdvl();
			sme_msr(SME_REG_SVCR, 0);
		}
	}
}

static __sme_code void guest_traps(void)
{
	guest_enable();
	if (job.has & SME_HAS_SME)
		EXPECT_SVE("RDVL", RDVL, SM_DISABLED);
	else
		EXPECT("RDVL", RDVL, job.has & SME_HAS_SVE ? NO_TRAP : UNDEFINED);
	EXPECT("read FPMR", MRS(SME_REG_FPMR), job.has & SME_HAS_FPMR ? NO_TRAP : UNDEFINED);
	job.pfr1 = sme_mrs(REG_PFR1);
	job.smfr0 = sme_mrs(REG_SMFR0);

	if (job.has & SME_HAS_SME) {
		guest_traps_with_sme();
		guest_sme_sysregs();
	} else {
		guest_traps_without_sme();
	}
	guest_lengths();
	guest_leave();
	GUEST_DONE();
}

/*
 * Host code
 */

static u64 sve_vqs, sme_vqs;		/* the host's */
static unsigned int nr_exits = 600;	/* of each guest, where many are asked for */
static cpu_set_t cpus;

struct guest {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	struct job *job;
	unsigned int exits;
};

struct kind {
	unsigned int features;
	bool no_sme2, no_fa64;
	u64 sve_vqs, sme_vqs;	/* 0: all that the host has */
};

static u64 vcpu_has(struct kvm_vcpu *vcpu, unsigned int features)
{
	u64 has = features & (SME_HAS_SVE | SME_HAS_SME);

	if (sme_get_field(vcpu, SME_ID(ID_AA64PFR1_EL1), ID_AA64PFR1_EL1_SME_MASK) >= 2)
		has |= SME_HAS_SME2;
	if (sme_get_field(vcpu, SME_ID(ID_AA64SMFR0_EL1), ID_AA64SMFR0_EL1_FA64_MASK))
		has |= SME_HAS_FA64;
	if (sme_get_field(vcpu, SME_ID(ID_AA64PFR2_EL1), ID_AA64PFR2_EL1_FPMR_MASK))
		has |= SME_HAS_FPMR;
	if (sme_get_field(vcpu, SME_ID(ID_AA64MMFR2_EL1), ID_AA64MMFR2_EL1_IDS_MASK))
		has |= SME_HAS_IDST;
	return has;
}

/* Whether the CPU has SVE, be it that the kernel was told not to use it. */
static bool cpu_has_sve(void)
{
	char cmdline[4096] = {};
	FILE *file = fopen("/proc/cmdline", "r");

	TEST_ASSERT(file && fgets(cmdline, sizeof(cmdline), file), "/proc/cmdline");
	fclose(file);
	return kvm_has_cap(KVM_CAP_ARM_SVE) || strstr(cmdline, "arm64.nosve");
}

static struct guest guest_new(const struct kind *kind, void *code)
{
	struct kvm_vm *vm = vm_create(1);
	struct kvm_vcpu_init init = sme_init_for(vm, kind->features);
	struct guest g = { .vm = vm };
	int err;

	g.vcpu = aarch64_vcpu_add(vm, 0, &init, code);
	if (kind->sve_vqs && kind->features & SME_KIND_SVE) {
		err = sme_set_vqs(g.vcpu, KVM_REG_ARM64_SVE_VLS, kind->sve_vqs);
		TEST_ASSERT(!err, "SVE_VLS = %#lx: errno %d", kind->sve_vqs, err);
	}
	if (kind->sme_vqs && kind->features & SME_KIND_SME) {
		err = sme_set_vqs(g.vcpu, KVM_REG_ARM64_SME_VLS, kind->sme_vqs);
		TEST_ASSERT(!err, "SME_VLS = %#lx: errno %d", kind->sme_vqs, err);
	}
	if (kind->features) {
		err = sme_finalize(g.vcpu);
		TEST_ASSERT(!err, "finalize: errno %d", err);
	}
	if (kind->no_sme2)
		sme_set_field(g.vcpu, SME_ID(ID_AA64PFR1_EL1), ID_AA64PFR1_EL1_SME_MASK, 1);
	if (kind->no_fa64)
		sme_set_field(g.vcpu, SME_ID(ID_AA64SMFR0_EL1), ID_AA64SMFR0_EL1_FA64_MASK, 0);

	sme_add_gic(vm, kind->features);
	vm_init_descriptor_tables(vm);
	vcpu_init_descriptor_tables(g.vcpu);
	vm_install_sync_handler(vm, VECTOR_SYNC_CURRENT, ESR_ELx_EC_UNKNOWN, guest_trap);
	vm_install_sync_handler(vm, VECTOR_SYNC_CURRENT, ESR_ELx_EC_SYS64, guest_trap);
	vm_install_sync_handler(vm, VECTOR_SYNC_CURRENT, ESR_ELx_EC_SVE, guest_trap);
	vm_install_sync_handler(vm, VECTOR_SYNC_CURRENT, ESR_ELx_EC_SME, guest_trap);

	g.job = addr_gva2hva(vm, (gva_t)&job);
	g.job->has = vcpu_has(g.vcpu, kind->features);
	if (kind->features & SME_KIND_SVE)
		g.job->vl = sme_max_vl(sme_get_vqs(g.vcpu, KVM_REG_ARM64_SVE_VLS));
	if (kind->features & SME_KIND_SME)
		g.job->svl = sme_max_vl(sme_get_vqs(g.vcpu, KVM_REG_ARM64_SME_VLS));
	g.job->cpu_sve = cpu_has_sve();
	/* As a guest does that has SME alone: ZEN is RES0 for it. */
	g.job->no_zen = (g.job->has & (SME_HAS_SVE | SME_HAS_SME)) == SME_HAS_SME;
	g.job->svcr = ANY_SVCR;
	g.job->seed = sme_next_random(&sme_seed) >> 8;
	g.job->rounds = 1;
	g.job->steps = 1;
	return g;
}

static void guest_free(struct guest *g)
{
	kvm_vm_free(g->vm);
}

/* What has become of KVM_RUN: true if the guest made an exit, false when it is done. */
static bool guest_exited(struct guest *g)
{
	bool exited = sme_guest_exited(g->vcpu);

	g->exits += exited;
	return exited;
}

static bool guest_run(struct guest *g)
{
	vcpu_run(g->vcpu);
	return guest_exited(g);
}

/* Every exit that the guest was to make has been made, and checked by it. */
static void guest_check_work(struct guest *g)
{
	u64 expected = g->job->rounds * g->job->steps;

	TEST_ASSERT(g->exits == expected && g->job->exits == expected &&
		    g->job->checked == expected,
		    "%lu exits were due, the host saw %u, the guest %lu and checked %lu",
		    expected, g->exits, g->job->exits, g->job->checked);
}

static void *guest_va(struct guest *g, void *global)
{
	return addr_gva2hva(g->vm, (gva_t)global);
}

static int nth_cpu(unsigned int n)
{
	int cpu;

	n %= CPU_COUNT(&cpus);
	for (cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &cpus) && !n--)
			return cpu;
	return 0;
}

static void move_to_cpu(unsigned int n)
{
	pin_self_to_cpu(nth_cpu(n));
}

/*
 * Traps, lengths, identification
 */

static void check_traps(const struct kind *kind, const char *what)
{
	struct guest g = guest_new(kind, guest_traps);
	u64 sve, sme, user, i;

	while (guest_run(&g))
		;

	for (i = 0; i < g.job->nr_mismatches && i < MAX_MISMATCHES; i++)
		SME_CHECK(false, "%s: %s: %#lx, not %#lx", what, g.job->mismatches[i].name,
			  g.job->mismatches[i].got, g.job->mismatches[i].want);
	SME_CHECK(!g.job->nr_mismatches, "%s: %lu mismatches", what, g.job->nr_mismatches);
	SME_CHECK(g.job->checked > 15, "%s: no more than %lu checks", what, g.job->checked);

	user = vcpu_get_reg(g.vcpu, SME_ID(ID_AA64PFR1_EL1));
	SME_CHECK(g.job->pfr1 == user, "%s: ID_AA64PFR1_EL1 is %#lx to the guest, %#lx to its VMM",
		  what, g.job->pfr1, user);
	user = vcpu_get_reg(g.vcpu, SME_ID(ID_AA64SMFR0_EL1));
	SME_CHECK(g.job->smfr0 == user,
		  "%s: ID_AA64SMFR0_EL1 is %#lx to the guest, %#lx to its VMM", what, g.job->smfr0,
		  user);
	if (kind->features & SME_KIND_SME) {
		user = vcpu_get_reg(g.vcpu, SME_ID(SMIDR_EL1));
		SME_CHECK(g.job->smidr == user && !(user & SMIDR_EL1_SMPS_MASK),
			  "%s: SMIDR_EL1 is %#lx to the guest, %#lx to its VMM", what,
			  g.job->smidr, user);
		user = vcpu_get_reg(g.vcpu, SME_ID(TPIDR2_EL0));
		SME_CHECK(g.job->tpidr2 == user, "%s: TPIDR2_EL0 is %#lx to its VMM", what, user);
	}

	sve = kind->sve_vqs ?: sve_vqs;
	sme = kind->sme_vqs ?: sme_vqs;
	for (i = 0; i < 16; i++) {
		if (kind->features & SME_KIND_SVE)
			SME_CHECK(g.job->rdvl[i] == sme_vl_for_len(sve, i),
				  "%s: RDVL is %lu for LEN %lu of %#lx", what, g.job->rdvl[i], i,
				  sve);
		if (kind->features & SME_KIND_SME)
			SME_CHECK(g.job->rdsvl[i] == sme_vl_for_len(sme, i) &&
				  g.job->rdsvl[i] == g.job->streaming_rdvl[i],
				  "%s: RDSVL is %lu, RDVL %lu for LEN %lu of %#lx", what,
				  g.job->rdsvl[i], g.job->streaming_rdvl[i], i, sme);
	}
	guest_free(&g);
}

static void test_traps(unsigned int features)
{
	unsigned int n_sve = __builtin_popcountl(sve_vqs), n_sme = __builtin_popcountl(sme_vqs);
	struct kind kind = { features };
	unsigned int i;

	check_traps(&(struct kind){ features }, "whole");
	if (features & SME_KIND_SVE)
		check_traps(&(struct kind){ features, .sve_vqs = sme_first_vqs(sve_vqs, 1) },
			    "short SVE");
	if (!(features & SME_KIND_SME))
		return;

	check_traps(&(struct kind){ features, .no_fa64 = true }, "without FA64");
	check_traps(&(struct kind){ features, .no_sme2 = true }, "without SME2");
	for (i = 1; i < n_sme; i++) {
		kind.no_fa64 = i & 1;
		kind.sve_vqs = sme_first_vqs(sve_vqs, n_sve > i ? n_sve - i + 1 : 1);
		kind.sme_vqs = sme_first_vqs(sme_vqs, i);
		check_traps(&kind, "short SME");
	}
}

/*
 * Host threads that use SME
 */

static u64 host_has(void)
{
	unsigned long hwcap = getauxval(AT_HWCAP), hwcap2 = getauxval(AT_HWCAP2);
	u64 has = 0;

	if (hwcap & HWCAP_SVE)
		has |= SME_HAS_SVE;
	if (hwcap2 & HWCAP2_SME)
		has |= SME_HAS_SME;
	if (hwcap2 & HWCAP2_SME2)
		has |= SME_HAS_SME2;
	if (hwcap2 & HWCAP2_SME_FA64)
		has |= SME_HAS_FA64;
	if (hwcap2 & HWCAP2_FPMR)
		has |= SME_HAS_FPMR;
	return has;
}

struct host {
	struct sme_image want, got;
	u64 has, vl, svl;
	u64 rounds, spins;
	bool stop;
	enum sme_part part;
	u64 at;
};

/* No libc: SVCR and TPIDR2_EL0 would mean something to it. */
static __always_inline __sme_code long host_syscall(long nr, long a0, long a1, long a2)
{
	register long x3 asm("x3") = sizeof(u64);	/* for rt_sigprocmask() */
	register long x8 asm("x8") = nr;
	register long x0 asm("x0") = a0;
	register long x1 asm("x1") = a1;
	register long x2 asm("x2") = a2;

	asm volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
	return x0;
}

static __always_inline __sme_code void host_leave(void)
{
	sme_msr(SME_REG_SVCR, 0);
	sme_msr(SME_REG_TPIDR2, 0);
	sme_msr(SME_REG_FPCR, 0);
}

/* What a system call leaves: the V registers and all of ZA, and no streaming mode. */
static noinline __sme_code enum sme_part host_compare_kept(struct host *h, bool streaming)
{
	u64 i;

	sme_store_image(&h->got, h->has);
	h->at = 0;
	if (h->got.svcr != (h->want.svcr & SME_ZA))
		return SME_PART_SVCR;
	if (h->got.svl != h->want.svl)
		return SME_PART_SVL;
	if (h->got.tpidr2 != h->want.tpidr2)
		return SME_PART_TPIDR2;
	if (h->got.fpcr != h->want.fpcr)
		return SME_PART_FPCR;
	for (i = 0; !streaming && i < SME_NR_Z; i++)
		if (sme_bytes_differ(h->want.z + i * h->want.vl, h->got.z + i * h->got.vl, 16,
				     &h->at))
			return SME_PART_Z;
	if (!(h->want.svcr & SME_ZA))
		return SME_PART_NONE;
	if (sme_bytes_differ(h->want.za, h->got.za, h->svl * h->svl, &h->at))
		return SME_PART_ZA;
	if (h->has & SME_HAS_SME2 &&
	    sme_bytes_differ(h->want.zt0, h->got.zt0, SME_ZT0_BYTES, &h->at))
		return SME_PART_ZT0;
	return SME_PART_NONE;
}

static noinline __sme_code void host_work(struct host *h)
{
	u64 seed = 1000, i;

	while (!h->stop && !h->part) {
		/* Over system calls, in which other threads may run */
		sme_fill_image(&h->want, h->has, SME_ZA, h->vl, h->svl, seed++);
		sme_load_image(&h->want, h->has);
		for (i = 0; i < 3 && !h->part; i++) {
			host_syscall(__NR_sched_yield, 0, 0, 0);
			h->part = host_compare_kept(h, false);
		}

		/* And in streaming mode, where only interrupts get in between */
		sme_fill_image(&h->want, h->has, SME_SM | SME_ZA, h->vl, h->svl, seed++);
		sme_load_image(&h->want, h->has);
		for (i = 0; i < h->spins; i++)
			asm volatile("" : : : "memory");
		sme_store_image(&h->got, h->has);
		if (!h->part)
			h->part = sme_compare(&h->want, &h->got, h->has, &h->at);
		h->rounds++;
	}
	host_leave();
}

static struct host *host_new(unsigned int n)
{
	struct host *h = aligned_alloc(64, sizeof(*h));

	memset(h, 0, sizeof(*h));
	h->has = host_has();
	h->spins = 200000;

	/* A length for each that differs from the guests', where there are as many */
	h->svl = sme_max_vl(sme_first_vqs(sme_vqs, n));
	h->vl = sme_max_vl(sve_vqs);
	return h;
}

static void host_set_vl(struct host *h)
{
	TEST_ASSERT(prctl(PR_SME_SET_VL, h->svl) >= 0, "PR_SME_SET_VL");
	TEST_ASSERT(!(h->has & SME_HAS_SVE) || prctl(PR_SVE_SET_VL, h->vl) >= 0, "PR_SVE_SET_VL");
}

static void *host_thread(void *arg)
{
	struct host *h = arg;

	host_set_vl(h);
	sme_clobber();
	host_work(h);
	sme_clobber();
	return NULL;
}

static void host_check_work(struct host *h)
{
	TEST_ASSERT(!h->part, "host thread: %s is not as it was, byte %lu, in round %lu",
		    sme_part_names[h->part], h->at, h->rounds);
	TEST_ASSERT(h->rounds, "host thread: nothing done");
}

/*
 * Products in two guests and two host threads, all moving between CPUs
 */

struct mover {
	struct guest g;
	unsigned int every;
	bool stay;
};

static void *guest_thread(void *arg)
{
	struct mover *m = arg;

	do {
		if (!m->stay && !(m->g.exits % m->every))
			move_to_cpu(sme_next_random(&sme_seed) >> 32);
	} while (guest_run(&m->g));
	return NULL;
}

static void run_together(struct mover *movers, unsigned int n, unsigned int nr_hosts)
{
	pthread_t guests[8], hosts[2];
	struct host *h[2];
	unsigned int i;

	TEST_ASSERT(n <= ARRAY_SIZE(guests) && nr_hosts <= ARRAY_SIZE(hosts), "too many");
	if (!(host_has() & SME_HAS_SME))
		nr_hosts = 0;
	for (i = 0; i < nr_hosts; i++) {
		h[i] = host_new(i + 2);
		TEST_ASSERT(!pthread_create(&hosts[i], NULL, host_thread, h[i]), "pthread_create");
	}
	for (i = 0; i < n; i++)
		TEST_ASSERT(!pthread_create(&guests[i], NULL, guest_thread, &movers[i]),
			    "pthread_create");
	for (i = 0; i < n; i++)
		pthread_join(guests[i], NULL);
	for (i = 0; i < nr_hosts; i++) {
		h[i]->stop = true;
		pthread_join(hosts[i], NULL);
		host_check_work(h[i]);
		free(h[i]);
	}
	for (i = 0; i < n; i++)
		guest_check_work(&movers[i].g);
}

static void set_exits(struct guest *g, unsigned int steps, unsigned int exits)
{
	g->job->steps = steps;
	g->job->rounds = DIV_ROUND_UP(exits, steps);
}

static void test_product(unsigned int features)
{
	struct mover movers[2] = {
		{ guest_new(&(struct kind){ features }, guest_product), .every = 1 },
		{ guest_new(&(struct kind){ features, .sme_vqs = sme_first_vqs(sme_vqs, 3) },
			    guest_product), .every = 3 },
	};

	set_exits(&movers[0].g, 30, nr_exits);
	set_exits(&movers[1].g, 20, nr_exits);
	run_together(movers, 2, 2);
	printf("# %u + %u exits, SVL %lu and %lu\n", movers[0].g.exits, movers[1].g.exits,
	       movers[0].g.job->svl, movers[1].g.job->svl);
	guest_free(&movers[0].g);
	guest_free(&movers[1].g);
}

/* All modes, in vCPUs with and without SME, FA64 and SME2 beside each other on one CPU. */
static void test_neighbours(unsigned int unused)
{
	const struct kind kinds[] = {
		{ 0 },
		{ SME_KIND_SVE },
		{ SME_KIND_SME, .sme_vqs = sme_first_vqs(sme_vqs, 2) },
		{ SME_KIND_SVE | SME_KIND_SME, .no_fa64 = true },
		{ SME_KIND_SVE | SME_KIND_SME, .no_sme2 = true,
		  .sve_vqs = sme_first_vqs(sve_vqs, 3) },
	};
	struct mover movers[ARRAY_SIZE(kinds)];
	unsigned int i, n = 0;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (!sme_host_can(kinds[i].features))
			continue;
		movers[n] = (struct mover){ guest_new(&kinds[i], guest_hold), .stay = true };
		set_exits(&movers[n++].g, 5, nr_exits / 4);
	}

	/* Threads start where this one is. */
	move_to_cpu(0);
	run_together(movers, n, 1);
	for (i = 0; i < n; i++)
		guest_free(&movers[i].g);
}

/*
 * Save, and restore into a new VM
 */

struct saved {
	struct kvm_reg_list *list;
	u8 (*value)[SME_REG_BYTES];
};

static struct saved save_vcpu(struct kvm_vcpu *vcpu)
{
	struct saved saved;
	u64 i;
	int err;

	/* Without this the PC is that of the exit's instruction. */
	vcpu_run_complete_io(vcpu);
	saved.list = vcpu_get_reg_list(vcpu);
	saved.value = calloc(saved.list->n, sizeof(saved.value[0]));
	for (i = 0; i < saved.list->n; i++) {
		err = sme_get(vcpu, saved.list->reg[i], saved.value[i]);
		TEST_ASSERT(!err, "read %#llx: errno %d", saved.list->reg[i], err);
	}
	return saved;
}

static void set_saved(struct kvm_vcpu *vcpu, const struct saved *saved, u64 i)
{
	int err = sme_set(vcpu, saved->list->reg[i], saved->value[i]);

	TEST_ASSERT(!err, "write %#llx: errno %d", saved->list->reg[i], err);
}

static bool is_vls(u64 id)
{
	return id == KVM_REG_ARM64_SVE_VLS || id == KVM_REG_ARM64_SME_VLS;
}

/* SVCR goes first, wherever the list has it: this test is not about the list's order. */
static void restore_vcpu(struct kvm_vcpu *vcpu, const struct saved *saved, unsigned int features)
{
	u64 i, id;

	for (i = 0; i < saved->list->n; i++)
		if (is_vls(saved->list->reg[i]))
			set_saved(vcpu, saved, i);
	TEST_ASSERT(!features || !sme_finalize(vcpu), "finalize: errno %d", errno);
	for (i = 0; i < saved->list->n; i++)
		if (saved->list->reg[i] == SME_ID(SVCR))
			set_saved(vcpu, saved, i);
	for (i = 0; i < saved->list->n; i++) {
		id = saved->list->reg[i];
		if (!is_vls(id) && id != SME_ID(SVCR))
			set_saved(vcpu, saved, i);
	}
}

/* The guest's memory stays where it is: the new VM is made around it. */
static void guest_migrate(struct guest *g, unsigned int features)
{
	struct kvm_vcpu_init init = g->vcpu->init;
	struct saved saved = save_vcpu(g->vcpu);

	kvm_vm_release(g->vm);
	g->vcpu = vm_recreate_with_one_vcpu(g->vm);
	vcpu_ioctl(g->vcpu, KVM_ARM_VCPU_INIT, &init);
	g->vcpu->init = init;
	sme_add_gic(g->vm, features);
	restore_vcpu(g->vcpu, &saved, features);
	free(saved.list);
	free(saved.value);
}

static void run_migrating(struct guest *g, unsigned int features, unsigned int every)
{
	unsigned int migrations = 0;

	while (guest_run(g)) {
		if (g->exits % every)
			continue;
		guest_migrate(g, features);
		migrations++;
	}
	guest_check_work(g);
	TEST_ASSERT(migrations >= 3, "%u migrations", migrations);
	guest_free(g);
}

static void test_migrate_product(unsigned int features)
{
	const struct kind reduced = {
		features, .no_fa64 = true, .no_sme2 = true,
		.sve_vqs = sme_first_vqs(sve_vqs, 1), .sme_vqs = sme_first_vqs(sme_vqs, 2),
	};
	struct guest g;

	g = guest_new(&(struct kind){ features }, guest_product);
	set_exits(&g, 12, 24);
	run_migrating(&g, features, 5);

	g = guest_new(&reduced, guest_product);
	set_exits(&g, 12, 24);
	run_migrating(&g, features, 5);
}

static void test_migrate_modes(unsigned int features)
{
	struct guest g = guest_new(&(struct kind){ features }, guest_hold);

	/* A new mode every other exit */
	g.job->steps = 2;
	g.job->rounds = 8;
	run_migrating(&g, features, 1);

	/* SVE shorter than SME, where there are such lengths */
	g = guest_new(&(struct kind){ features, .sve_vqs = sme_first_vqs(sve_vqs, 1) },
		      guest_hold);
	g.job->steps = 2;
	g.job->rounds = 4;
	run_migrating(&g, features, 1);
}

/*
 * Guest and VMM have one view of the registers: what the one writes the other reads, each in
 * the register of that number, and a write to SVCR by the VMM is as good as the guest's own.
 */

typedef void (*view_fn)(struct guest *g, u64 id, void *value, unsigned int bytes);

/* The registers of an image: each its id, its value there, and how many bytes that has. */
struct view {
	unsigned int count;
	struct {
		u64 id;
		void *value;
		unsigned int bytes;
	} reg[SME_NR_Z + SME_NR_P + SME_MAX_VL + 6];
};

static void view_add(struct view *view, u64 id, void *value, unsigned int bytes)
{
	TEST_ASSERT(view->count < ARRAY_SIZE(view->reg), "more registers than there can be");
	view->reg[view->count].id = id;
	view->reg[view->count].value = value;
	view->reg[view->count++].bytes = bytes;
}

static void view_of_image(struct view *view, struct sme_image *image, u64 has)
{
	unsigned int i;

	view->count = 0;
	for (i = 0; i < SME_NR_Z; i++)
		view_add(view, sme_image_has_z(image, has) ? KVM_REG_ARM64_SVE_ZREG(i, 0) :
			 SME_V_ID(i), image->z + i * image->vl, image->vl);
	for (i = 0; i < SME_NR_P && sme_image_has_z(image, has); i++)
		view_add(view, KVM_REG_ARM64_SVE_PREG(i, 0), image->p + i * image->vl / 8,
			 image->vl / 8);
	if (sme_image_has_ffr(image, has))
		view_add(view, KVM_REG_ARM64_SVE_FFR(0), image->ffr, image->vl / 8);
	for (i = 0; i < image->svl && image->svcr & SME_ZA; i++)
		view_add(view, KVM_REG_ARM64_SME_ZAHREG(i, 0), image->za + i * image->svl,
			 image->svl);
	if (image->svcr & SME_ZA && has & SME_HAS_SME2)
		view_add(view, KVM_REG_ARM64_SME_ZTREG(0), image->zt0, SME_ZT0_BYTES);
	view_add(view, SME_FPSR_ID, &image->fpsr, sizeof(u32));
	view_add(view, SME_FPCR_ID, &image->fpcr, sizeof(u32));
	if (has & SME_HAS_FPMR)
		view_add(view, SME_ID(FPMR), &image->fpmr, sizeof(u64));
	if (has & SME_HAS_SME)
		view_add(view, SME_ID(TPIDR2_EL0), &image->tpidr2, sizeof(u64));
}

/* Calls a function for all of them, each time in another order. */
static void view_regs(struct guest *g, struct sme_image *image, view_fn fn)
{
	static struct view view;
	static unsigned int nth[ARRAY_SIZE(view.reg)];
	unsigned int i;

	view_of_image(&view, image, g->job->has);
	sme_arrange(nth, view.count);
	for (i = 0; i < view.count; i++)
		fn(g, view.reg[nth[i]].id, view.reg[nth[i]].value, view.reg[nth[i]].bytes);
}

static void view_check(struct guest *g, u64 id, void *value, unsigned int bytes)
{
	u8 now[SME_REG_BYTES] = {};
	int err = sme_get(g->vcpu, id, now);

	SME_CHECK(!err && !memcmp(now, value, bytes),
		  "exit %u: %#lx is not what the guest put there", g->exits, id);
}

static void view_write(struct guest *g, u64 id, void *value, unsigned int bytes)
{
	u8 buf[SME_REG_BYTES] = {};
	int err;

	memcpy(buf, value, bytes);
	err = sme_set(g->vcpu, id, buf);
	SME_CHECK(!err, "exit %u: write %#lx: errno %d", g->exits, id, err);
}

/* What the guest has to find after a write to SVCR alone */
static void view_change_svcr(struct guest *g, struct sme_image *image, u64 svcr)
{
	u64 changed = image->svcr ^ svcr;

	sme_set_svcr(g->vcpu, svcr);
	image->svcr = svcr;
	if (changed & SME_SM) {
		image->vl = svcr & SME_SM ? image->svl :
			    g->job->has & SME_HAS_SVE ? g->job->vl : 16;
		memset(image->z, 0, sizeof(image->z));
		memset(image->p, 0, sizeof(image->p));
		memset(image->ffr, 0, sizeof(image->ffr));
		image->fpsr = SME_FPSR_RESET;
		image->fpmr = 0;
	}
	if (changed & SME_ZA) {
		memset(image->za, 0, sizeof(image->za));
		memset(image->zt0, 0, sizeof(image->zt0));
	}
}

static void check_views(const struct kind *kind)
{
	struct guest g = guest_new(kind, guest_hold);
	struct sme_image *image = guest_va(&g, &want);
	u64 svcr, now;

	/* For each mode a round of as many exits as there are modes to change to, twice */
	g.job->rounds = 4;
	g.job->steps = 8;
	while (guest_run(&g)) {
		if (g.job->has & SME_HAS_SME) {
			now = vcpu_get_reg(g.vcpu, SME_ID(SVCR));
			SME_CHECK(now == image->svcr, "SVCR is %lu, not %lu", now, image->svcr);
		}
		view_regs(&g, image, view_check);

		svcr = g.job->has & SME_HAS_SME ? (image->svcr + g.exits) % 4 : 0;
		if (g.exits % 2 && g.job->has & SME_HAS_SME) {
			view_change_svcr(&g, image, svcr);
		} else {
			sme_fill_image(image, g.job->has, svcr, g.job->vl, g.job->svl,
				       g.job->seed + 1000 + g.exits);
			if (g.job->has & SME_HAS_SME)
				sme_set_svcr(g.vcpu, svcr);
			view_regs(&g, image, view_write);
		}
		view_regs(&g, image, view_check);
	}
	guest_check_work(&g);
	guest_free(&g);
}

static void test_views(unsigned int features)
{
	const struct kind reduced = {
		features, .no_fa64 = features & SME_KIND_SME,
		.sve_vqs = sme_first_vqs(sve_vqs, 3), .sme_vqs = sme_first_vqs(sme_vqs, 1),
	};

	check_views(&(struct kind){ features });
	if (features)
		check_views(&reduced);
}

/*
 * Nothing of one guest is seen by another
 */

static bool image_has_secret(const struct sme_image *image)
{
	const u64 *word = (const u64 *)image;
	u64 i;

	for (i = 0; i < sizeof(*image) / 8; i++)
		if (word[i] == SECRET)
			return true;
	return false;
}

/* All registers at reset, but for TPIDR2_EL0 and what SMSTART sets FPSR to. */
static void check_blank(const struct sme_image *image, u64 has, u64 fpsr, const char *when)
{
	u64 z = SME_NR_Z * image->vl;

	SME_CHECK(sme_is_zero(image->z, z), "%s: something in Z or V", when);
	if (sme_image_has_z(image, has))
		SME_CHECK(sme_is_zero(image->p, z / 8 / 2), "%s: something in P", when);
	if (sme_image_has_ffr(image, has))
		SME_CHECK(sme_is_zero(image->ffr, image->vl / 8), "%s: something in FFR", when);
	if (image->svcr & SME_ZA) {
		SME_CHECK(sme_is_zero(image->za, image->svl * image->svl), "%s: something in ZA",
			  when);
		SME_CHECK(!(has & SME_HAS_SME2) || sme_is_zero(image->zt0, SME_ZT0_BYTES),
			  "%s: something in ZT0", when);
	}
	SME_CHECK(!(has & SME_HAS_FPMR) || !image->fpmr, "%s: FPMR is %#lx", when, image->fpmr);
	SME_CHECK(!image->fpcr, "%s: FPCR is %#lx", when, image->fpcr);
	SME_CHECK(image->fpsr == fpsr, "%s: FPSR is %#lx", when, image->fpsr);
	SME_CHECK(!image_has_secret(image), "%s: the other guest's secret", when);
}

static void check_isolation(const struct kind *kind, u64 secret_svcr)
{
	const struct kind most = {
		(kvm_has_cap(KVM_CAP_ARM_SVE) ? SME_KIND_SVE : 0) |
		(kvm_has_cap(KVM_CAP_ARM_SME) ? SME_KIND_SME : 0)
	};
	struct guest a = guest_new(&most, guest_secret);
	struct guest b = guest_new(kind, guest_look);
	struct sme_image *seen = guest_va(&b, &got);
	static const char * const when[] = {
		"at reset", "in streaming mode", "with ZA", "with both",
	};
	unsigned int i;

	a.job->svcr = most.features & SME_KIND_SME ? secret_svcr : 0;
	for (i = 0; i < 4; i++) {
		TEST_ASSERT(guest_run(&a), "the guest with the secret ended");
		if (!guest_run(&b))
			break;
		SME_CHECK(seen->svcr == i, "SVCR is %lu", seen->svcr);
		/* Streaming mode sets FPSR, on the way out as well. */
		check_blank(seen, b.job->has, i ? SME_FPSR_RESET : 0, when[i]);
	}

	if (kind->features & SME_KIND_SME) {
		TEST_ASSERT(guest_run(&a) && guest_run(&b), "a guest ended");
		memset(seen, 0, sizeof(*seen));
		TEST_ASSERT(guest_run(&a) && guest_run(&b), "a guest ended");
		SME_CHECK(seen->svcr == (SME_SM | SME_ZA) && seen->svl == b.job->svl,
			  "SVCR is %lu, the length %lu", seen->svcr, seen->svl);
		SME_CHECK(!image_has_secret(seen), "the secret, with the vectors grown longer");
		TEST_ASSERT(!guest_run(&b), "the guest does not end");
	}
	guest_free(&a);
	guest_free(&b);
}

static void test_isolation(unsigned int features)
{
	const struct kind reduced = {
		features, .no_fa64 = true, .no_sme2 = true, .sme_vqs = sme_first_vqs(sme_vqs, 1),
	};

	/* On one CPU, so that they use the same registers */
	move_to_cpu(0);
	check_isolation(&(struct kind){ features }, SME_SM | SME_ZA);
	check_isolation(&(struct kind){ features }, 0);
	if (features & SME_KIND_SME)
		check_isolation(&reduced, SME_SM | SME_ZA);
}

/* Host programs see nothing of a guest that left streaming mode and ZA on. */
static noinline __sme_code void host_look(struct host *h)
{
	sme_store_image(&h->want, h->has);
	sme_msr(SME_REG_SVCR, SME_SM | SME_ZA);
	sme_store_image(&h->got, h->has);
	host_leave();
}

static void *host_look_thread(void *arg)
{
	sme_clobber();
	host_look(arg);
	sme_clobber();
	return NULL;
}

static void test_host_isolation(unsigned int features)
{
	struct guest g = guest_new(&(struct kind){ features }, guest_secret);
	struct host *h = host_new(SME_MAX_VQ);
	pthread_t thread;
	unsigned int i;

	if (!(h->has & SME_HAS_SME))
		SME_SKIP("host programs have no SME");

	move_to_cpu(0);
	for (i = 0; i < 8; i++) {
		g.job->svcr = i % 4;
		TEST_ASSERT(guest_run(&g), "the guest ended");

		/* This thread, and then a new one */
		if (i % 2) {
			host_look_thread(h);
		} else {
			TEST_ASSERT(!pthread_create(&thread, NULL, host_look_thread, h), "thread");
			pthread_join(thread, NULL);
		}
		SME_CHECK(!h->want.svcr, "SVCR is %lu in the host", h->want.svcr);
		SME_CHECK(!image_has_secret(&h->want), "a secret in the host's registers");
		SME_CHECK(!image_has_secret(&h->got), "a secret in the host's ZA");
		SME_CHECK(sme_is_zero(h->got.za, h->got.svl * h->got.svl), "something in ZA");
	}
	guest_free(&g);
	free(h);
}

/*
 * The VMM's own SME state over KVM_RUN
 */

/* Loads, makes the ioctl, and compares. */
static noinline __sme_code long host_kvm_run(struct host *h, int fd, u64 svcr, u64 seed)
{
	long ret;

	sme_fill_image(&h->want, h->has, svcr, h->vl, h->svl, seed);
	sme_load_image(&h->want, h->has);
	ret = host_syscall(__NR_ioctl, fd, KVM_RUN, 0);
	h->part = host_compare_kept(h, svcr & SME_SM);
	host_leave();
	return ret;
}

/* Enters a guest with the secret in all of the caller's own registers. */
static noinline __sme_code long host_run_with_secret(struct host *h, int fd)
{
	long ret;

	sme_load_image(&h->want, h->has);
	ret = host_syscall(__NR_ioctl, fd, KVM_RUN, 0);
	host_leave();
	return ret;
}

/* What the VMM has in its registers, no guest can read. */
static void test_host_secret(unsigned int features)
{
	struct guest g = guest_new(&(struct kind){ features }, guest_look);
	struct sme_image *seen = guest_va(&g, &got);
	struct host *h = host_new(SME_MAX_VQ);
	u64 *word = (u64 *)&h->want;
	unsigned int i;
	long ret;

	if (!(h->has & SME_HAS_SME))
		SME_SKIP("no SME in the host");

	host_set_vl(h);
	do {
		sme_fill_image(&h->want, h->has, SME_ZA, h->vl, h->svl, 1);
		for (i = 0; i < offsetof(struct sme_image, ffr) / sizeof(*word); i++)
			word[i] = SECRET;
		for (i = 0; i < SME_ZT0_BYTES / sizeof(*word); i++)
			((u64 *)h->want.zt0)[i] = SECRET;
		h->want.tpidr2 = SECRET;
		sme_clobber();
		ret = host_run_with_secret(h, g.vcpu->fd);
		sme_clobber();
		TEST_ASSERT(!ret, "KVM_RUN gives %ld", ret);
		SME_CHECK(!image_has_secret(seen), "the VMM's secret");
	} while (guest_exited(&g));
	guest_free(&g);
	free(h);
}

static void test_host_state(unsigned int features)
{
	struct guest g = guest_new(&(struct kind){ features,
						    .sme_vqs = sme_first_vqs(sme_vqs, 2) },
				   guest_hold);
	unsigned int i, n = __builtin_popcountl(sme_vqs);
	struct host *h = host_new(1);
	int vl;
	long ret;

	if (!(h->has & SME_HAS_SME))
		SME_SKIP("host programs have no SME");

	set_exits(&g, 3, 48);
	for (i = 0; ; i++) {
		/* Longer than the guest's, as long, and shorter */
		h->svl = sme_max_vl(sme_first_vqs(sme_vqs, i % n + 1));
		host_set_vl(h);
		sme_clobber();
		ret = host_kvm_run(h, g.vcpu->fd, i / n % 4, i);
		sme_clobber();
		TEST_ASSERT(!ret, "KVM_RUN gives %ld", ret);
		SME_CHECK(!h->part, "with SVCR %u, the VMM's %s is not as it was, byte %lu",
			  i / n % 4, sme_part_names[h->part], h->at);
		vl = prctl(PR_SME_GET_VL) & PR_SME_VL_LEN_MASK;
		SME_CHECK(vl == h->svl, "the VMM's length is %d, not %lu", vl, h->svl);
		if (!guest_exited(&g))
			break;
	}
	guest_check_work(&g);
	guest_free(&g);
	free(h);
}

/*
 * Signals that arrive in KVM_RUN, while the guest is in streaming mode: the frame has the
 * VMM's state, not the guest's.
 */

static struct host *signal_host;
static unsigned int nr_signals, bad_frames;
static unsigned int bad_frame_line;

#define FRAME_CHECK(ok) do {				\
	if (!(ok)) {					\
		bad_frames++;				\
		bad_frame_line = __LINE__;		\
	}						\
} while (0)

static void check_frame(struct _aarch64_ctx *ctx)
{
	const struct host *h = signal_host;
	struct tpidr2_context *tpidr2;
	struct extra_context *extra;
	struct sve_context *sve;
	struct za_context *za;
	struct zt_context *zt;
	bool seen_za = false;

	while (ctx->magic) {
		switch (ctx->magic) {
		case EXTRA_MAGIC:
			extra = (struct extra_context *)ctx;
			ctx = (struct _aarch64_ctx *)extra->datap;
			continue;
		case SVE_MAGIC:
			sve = (struct sve_context *)ctx;
			FRAME_CHECK(!(sve->flags & SVE_SIG_FLAG_SM));
			break;
		case TPIDR2_MAGIC:
			tpidr2 = (struct tpidr2_context *)ctx;
			FRAME_CHECK(tpidr2->tpidr2 == h->want.tpidr2);
			break;
		case ZA_MAGIC:
			za = (struct za_context *)ctx;
			seen_za = true;
			FRAME_CHECK(za->vl == h->svl);
			FRAME_CHECK(ctx->size > ZA_SIG_REGS_OFFSET);
			if (ctx->size > ZA_SIG_REGS_OFFSET)
				FRAME_CHECK(!memcmp((char *)za + ZA_SIG_REGS_OFFSET, h->want.za,
						    h->svl * h->svl));
			break;
		case ZT_MAGIC:
			zt = (struct zt_context *)ctx;
			FRAME_CHECK(!memcmp((char *)zt + ZT_SIG_REGS_OFFSET, h->want.zt0,
					    SME_ZT0_BYTES));
			break;
		}
		ctx = (struct _aarch64_ctx *)((char *)ctx + ctx->size);
	}
	FRAME_CHECK(seen_za);
}

static void signal_handler(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	nr_signals++;
	check_frame((struct _aarch64_ctx *)uc->uc_mcontext.__reserved);
}

struct killer {
	pthread_t victim;
	bool stop;
};

static void *killer_thread(void *arg)
{
	struct killer *k = arg;

	while (!k->stop) {
		/* Less and less often, so that the guest gets on if a signal takes long. */
		usleep(2000 + 100 * READ_ONCE(nr_signals));
		pthread_kill(k->victim, SIGUSR1);
	}
	return NULL;
}

/* Signals come in between load and compare alone: what they show is what was loaded. */
static noinline __sme_code long host_run_signalled(struct host *h, int fd)
{
	u64 usr1 = BIT(SIGUSR1 - 1);
	long ret;

	sme_load_image(&h->want, h->has);
	host_syscall(__NR_rt_sigprocmask, SIG_UNBLOCK, (long)&usr1, 0);
	ret = host_syscall(__NR_ioctl, fd, KVM_RUN, 0);
	host_syscall(__NR_rt_sigprocmask, SIG_BLOCK, (long)&usr1, 0);
	h->part = host_compare_kept(h, false);
	host_leave();
	return ret;
}

static void test_signals(unsigned int features)
{
	struct guest g = guest_new(&(struct kind){ features }, guest_spin);
	struct sigaction action = { .sa_sigaction = signal_handler, .sa_flags = SA_SIGINFO };
	struct killer killer = { .victim = pthread_self() };
	struct host *h = host_new(2);
	unsigned int interrupted = 0;
	pthread_t thread;
	sigset_t usr1;
	long ret;

	if (!(h->has & SME_HAS_SME))
		SME_SKIP("host programs have no SME");

	signal_host = h;
	host_set_vl(h);
	sme_fill_image(&h->want, h->has, SME_ZA, h->vl, h->svl, 1);
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	sigprocmask(SIG_BLOCK, &usr1, NULL);
	sigaction(SIGUSR1, &action, NULL);
	TEST_ASSERT(!pthread_create(&thread, NULL, killer_thread, &killer), "pthread_create");

	g.job->rounds = 20;
	g.job->steps = 3000000;
	do {
		sme_clobber();
		ret = host_run_signalled(h, g.vcpu->fd);
		sme_clobber();
		TEST_ASSERT(!ret || ret == -EINTR, "KVM_RUN gives %ld", ret);
		SME_CHECK(!h->part, "the VMM's %s is not as it was, byte %lu",
			  sme_part_names[h->part], h->at);
		interrupted += !!ret;
	} while (ret || guest_exited(&g));

	killer.stop = true;
	pthread_join(thread, NULL);
	SME_CHECK(!bad_frames, "%u wrong things in %u signal frames, the last on line %u",
		  bad_frames, nr_signals, bad_frame_line);
	TEST_ASSERT(interrupted > 5 && nr_signals >= interrupted,
		    "KVM_RUN was interrupted %u times, by %u signals", interrupted, nr_signals);
	TEST_ASSERT(g.job->checked == g.job->rounds, "the guest made %lu rounds of %lu",
		    g.job->checked, g.job->rounds);
	guest_free(&g);
	free(h);
}

/*
 * What a debugger sees of the VMM while the guest is in streaming mode
 */

struct watch {
	bool ready, done;
	unsigned int stops, bad, bad_line;
};

static void watch_check(struct watch *w, bool ok, unsigned int line)
{
	w->bad += !ok;
	w->bad_line = ok ? w->bad_line : line;
}

#define WATCH_CHECK(w, ok)	watch_check(w, ok, __LINE__)

static long get_regset(pid_t pid, long type, void *buf, size_t size)
{
	struct iovec iov = { buf, size };

	return ptrace(PTRACE_GETREGSET, pid, type, &iov) ? -errno : (long)iov.iov_len;
}

static void check_regsets(struct watch *w, pid_t pid, const struct host *h)
{
	static u8 buf[ZA_PT_SIZE(SME_MAX_VQ)];
	struct user_za_header *za = (void *)buf;
	struct user_sve_header *sve = (void *)buf;
	u64 *tls = (void *)buf;
	long ret;

	ret = get_regset(pid, NT_ARM_ZA, buf, sizeof(buf));
	WATCH_CHECK(w, ret > 0 && za->size == ZA_PT_SIZE(h->svl / 16));
	WATCH_CHECK(w, za->vl == h->svl);
	WATCH_CHECK(w, !memcmp(buf + ZA_PT_ZA_OFFSET, h->want.za, h->svl * h->svl));

	if (h->has & SME_HAS_SME2) {
		ret = get_regset(pid, NT_ARM_ZT, buf, SME_ZT0_BYTES);
		WATCH_CHECK(w, ret == SME_ZT0_BYTES);
		WATCH_CHECK(w, !memcmp(buf, h->want.zt0, SME_ZT0_BYTES));
	}

	ret = get_regset(pid, NT_ARM_TLS, buf, 2 * sizeof(*tls));
	WATCH_CHECK(w, ret == 16 && tls[1] == h->want.tpidr2);

	/* Not in streaming mode: a header without registers */
	memset(buf, 0, sizeof(buf));
	ret = get_regset(pid, NT_ARM_SSVE, buf, sizeof(buf));
	WATCH_CHECK(w, ret > 0 && sve->vl == h->svl && sve->size == sizeof(*sve));
}

static void watch_process(struct watch *w, pid_t pid, const struct host *h)
{
	int i, status;

	while (!READ_ONCE(w->ready))
		usleep(1000);
	WATCH_CHECK(w, !ptrace(PTRACE_SEIZE, pid, NULL, NULL));
	for (i = 0; i < 20; i++) {
		usleep(20000);
		WATCH_CHECK(w, !ptrace(PTRACE_INTERRUPT, pid, NULL, NULL));
		WATCH_CHECK(w, waitpid(pid, &status, 0) == pid && WIFSTOPPED(status));
		check_regsets(w, pid, h);
		w->stops++;
		WRITE_ONCE(w->done, i == 19);
		ptrace(i == 19 ? PTRACE_DETACH : PTRACE_CONT, pid, NULL, NULL);
	}
	exit(0);
}

/* Enters the guest again and again, with one state, as long as the debugger works. */
static noinline __sme_code long host_run_watched(struct host *h, int fd, struct watch *w)
{
	long ret;

	sme_load_image(&h->want, h->has);
	w->ready = true;
	do {
		ret = host_syscall(__NR_ioctl, fd, KVM_RUN, 0);
	} while (ret == -EINTR && !w->done);
	h->part = host_compare_kept(h, false);
	host_leave();
	return ret;
}

static void test_ptrace(unsigned int features)
{
	struct guest g = guest_new(&(struct kind){ features }, guest_spin);
	struct host *h = host_new(2);
	struct watch *w;
	pid_t vmm = getpid(), pid;
	long ret;

	if (!(h->has & SME_HAS_SME))
		SME_SKIP("host programs have no SME");

	w = mmap(NULL, sizeof(*w), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	TEST_ASSERT(w != MAP_FAILED, "mmap() failed");
	host_set_vl(h);
	sme_fill_image(&h->want, h->has, SME_ZA, h->vl, h->svl, 2);
	fflush(NULL);
	pid = fork();
	TEST_ASSERT(pid >= 0, "fork() failed");
	if (!pid)
		watch_process(w, vmm, h);

	/* The guest has work for longer than the debugger. */
	g.job->rounds = 1000000;
	g.job->steps = 100000;
	sme_clobber();
	ret = host_run_watched(h, g.vcpu->fd, w);
	sme_clobber();
	TEST_ASSERT(ret == -EINTR, "KVM_RUN gives %ld", ret);
	waitpid(pid, NULL, 0);

	SME_CHECK(!h->part, "the VMM's %s is not as it was, byte %lu", sme_part_names[h->part],
		  h->at);
	SME_CHECK(!w->bad, "%u wrong things in %u stops, the last on line %u", w->bad, w->stops,
		  w->bad_line);
	TEST_ASSERT(w->stops == 20, "%u stops", w->stops);
	TEST_ASSERT(g.job->exits, "the guest did nothing");
	guest_free(&g);
	free(h);
}

/*
 * One vCPU, run by two threads in turn
 */

struct turn {
	struct guest *g;
	sem_t *mine, *other;
	unsigned int cpu;
	bool *done;
};

static void *turn_thread(void *arg)
{
	struct turn *t = arg;

	move_to_cpu(t->cpu);
	for (;;) {
		sem_wait(t->mine);
		if (!*t->done)
			*t->done = !guest_run(t->g);
		sem_post(t->other);
		if (*t->done)
			return NULL;
	}
}

static void test_turns(unsigned int features)
{
	struct guest g = guest_new(&(struct kind){ features }, guest_hold);
	pthread_t threads[2];
	struct turn turns[2];
	bool done = false;
	sem_t sems[2];
	int i;

	set_exits(&g, 5, nr_exits / 4);
	for (i = 0; i < 2; i++) {
		sem_init(&sems[i], 0, !i);
		turns[i] = (struct turn){ &g, &sems[i], &sems[!i], i, &done };
	}
	for (i = 0; i < 2; i++)
		TEST_ASSERT(!pthread_create(&threads[i], NULL, turn_thread, &turns[i]),
			    "pthread_create");
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	guest_check_work(&g);
	guest_free(&g);
}

/* Two vCPUs of one VM, with different lengths, in turn on one CPU */
static void test_two_lengths(unsigned int features)
{
	struct guest g = guest_new(&(struct kind){ features }, guest_hold);
	struct kvm_vcpu_init init = sme_init_for(g.vm, features);
	struct guest other = g;
	u64 vqs, svl;
	int err;

	vqs = sme_first_vqs(sme_vqs, 2);
	svl = sme_vl_for_len(vqs, 0);
	if (svl == g.job->svl)
		SME_SKIP("there is one length only");

	other.vcpu = aarch64_vcpu_add(g.vm, 1, &init, guest_measure);
	err = sme_set_vqs(other.vcpu, KVM_REG_ARM64_SME_VLS, vqs) ?: sme_finalize(other.vcpu);
	TEST_ASSERT(!err, "the second vCPU: errno %d", err);

	move_to_cpu(0);
	set_exits(&g, 5, 60);
	while (guest_run(&g)) {
		TEST_ASSERT(guest_run(&other), "the second vCPU ends");
		SME_CHECK(g.exits < 3 ||
			  (g.job->rdsvl[0] == svl && g.job->streaming_rdvl[0] == svl),
			  "RDSVL is %lu, RDVL %lu, not %lu", g.job->rdsvl[0],
			  g.job->streaming_rdvl[0], svl);
	}
	guest_check_work(&g);
	guest_free(&g);
}

/*
 * CPU_ON resets the vCPU that it starts, when that vCPU is next looked at: whatever the look,
 * the list has to be of the vCPU after reset, and so have the registers.
 */

static void guest_cpu_on(u64 mpidr)
{
	struct arm_smccc_res res;

	smccc_hvc(PSCI_0_2_FN64_CPU_ON, mpidr, 0, 0, 0, 0, 0, 0, &res);
	GUEST_ASSERT_EQ(res.a0, 0UL);
	GUEST_DONE();
}

static struct kvm_vcpu *add_final_vcpu(struct kvm_vm *vm, unsigned int id, unsigned int features,
				       u32 more, void *code)
{
	struct kvm_vcpu_init init = sme_init_for(vm, features);
	struct kvm_vcpu *vcpu;
	int err;

	init.features[0] |= BIT(KVM_ARM_VCPU_PSCI_0_2) | more;
	vcpu = aarch64_vcpu_add(vm, id, &init, code);
	err = features ? sme_finalize(vcpu) : 0;
	TEST_ASSERT(!err, "finalize: errno %d", err);
	return vcpu;
}

static void test_pending_reset(unsigned int features)
{
	struct kvm_vm *vm = vm_create(2);
	struct guest g = { .vm = vm };
	struct kvm_vcpu *target;
	struct kvm_reg_list *list;
	u8 value[SME_REG_BYTES];
	u64 i, id, mpidr;
	int err;

	g.vcpu = add_final_vcpu(vm, 0, features, 0, guest_cpu_on);
	target = add_final_vcpu(vm, 1, features, BIT(KVM_ARM_VCPU_POWER_OFF), guest_cpu_on);
	mpidr = vcpu_get_reg(target, SME_ID(MPIDR_EL1)) & 0xff00ffffffUL;
	vcpu_args_set(g.vcpu, 1, mpidr);

	if (features & SME_KIND_SME)
		sme_set_svcr(target, SME_SM | SME_ZA);
	memset(value, 0x5a, sizeof(value));
	if (features)
		TEST_ASSERT(!sme_set(target, KVM_REG_ARM64_SVE_ZREG(7, 0), value), "Z7");
	if (features & SME_KIND_SME)
		TEST_ASSERT(!sme_set(target, KVM_REG_ARM64_SME_ZAHREG(7, 0), value), "ZA7");

	TEST_ASSERT(!guest_run(&g), "CPU_ON");

	list = vcpu_get_reg_list(target);
	for (i = 0; i < list->n; i++) {
		id = list->reg[i];
		err = sme_get(target, id, value);
		SME_CHECK(!err, "%#lx is listed and gives errno %d", id, err);
		if ((id & KVM_REG_ARM_COPROC_MASK) == KVM_REG_ARM64_SME)
			SME_CHECK(is_vls(id), "%#lx is listed after reset", id);
		if ((id & KVM_REG_ARM_COPROC_MASK) == KVM_REG_ARM64_SVE && !is_vls(id))
			SME_CHECK(sme_is_zero(value, KVM_REG_SIZE(id)), "%#lx is not zero", id);
	}
	free(list);
	if (features & SME_KIND_SME)
		SME_CHECK(!vcpu_get_reg(target, SME_ID(SVCR)), "SVCR is not reset");
	kvm_vm_free(vm);
}

/*
 * CPUs that go and come back
 */

static void *hotplug_guest_thread(void *arg)
{
	while (guest_run(arg))
		;
	return NULL;
}

static void set_online(int fd, bool online)
{
	char c = online ? '1' : '0';

	TEST_ASSERT(pwrite(fd, &c, 1, 0) == 1, "a CPU cannot be taken %s: errno %d",
		    online ? "online" : "offline", errno);
}

static void test_hotplug(unsigned int features)
{
	struct guest a, b;
	pthread_t threads[2];
	unsigned int times;
	char path[64];
	int fd, cpu;

	if (CPU_COUNT(&cpus) < 2)
		SME_SKIP("there is one CPU");
	cpu = nth_cpu(1);
	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/online", cpu);
	fd = open(path, O_WRONLY);
	if (fd < 0)
		SME_SKIP("the CPU cannot be taken offline");

	a = guest_new(&(struct kind){ features }, guest_product);
	b = guest_new(&(struct kind){ features, .sme_vqs = sme_first_vqs(sme_vqs, 2) },
		      guest_hold);
	set_exits(&a, 10, nr_exits / 4);
	set_exits(&b, 5, nr_exits / 2);
	TEST_ASSERT(!pthread_create(&threads[0], NULL, hotplug_guest_thread, &a), "thread");
	TEST_ASSERT(!pthread_create(&threads[1], NULL, hotplug_guest_thread, &b), "thread");

	for (times = 0; times < 8; times++) {
		set_online(fd, false);
		usleep(20000);
		set_online(fd, true);
		usleep(20000);
	}
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	guest_check_work(&a);
	guest_check_work(&b);
	guest_free(&a);
	guest_free(&b);
	close(fd);
}

/* All modes, with the thread moved before each entry. */
static void test_hold(unsigned int features)
{
	struct mover m = {
		guest_new(&(struct kind){ features }, guest_hold), .every = 1
	};

	set_exits(&m.g, 5, nr_exits / 4);
	run_together(&m, 1, 1);
	guest_free(&m.g);
}

static const struct sme_case tests[] = {
	{ "traps",		SME_ANY_KIND,	test_traps },
	{ "hold",		SME_ANY_KIND,	test_hold },
	{ "product",		SME_WITH_SME,	test_product },
	{ "neighbours",		SME_NO_KIND,	test_neighbours },
	{ "migrate product",	SME_WITH_SME,	test_migrate_product },
	{ "migrate modes",	SME_ANY_KIND,	test_migrate_modes },
	{ "views",		SME_ANY_KIND,	test_views },
	{ "isolation",		SME_ANY_KIND,	test_isolation },
	{ "host isolation",	SME_WITH_SME,	test_host_isolation },
	{ "host secret",	SME_ANY_KIND,	test_host_secret },
	{ "host state",		SME_ANY_KIND,	test_host_state },
	{ "signals",		SME_WITH_SME,	test_signals },
	{ "ptrace",		SME_WITH_SME,	test_ptrace },
	{ "turns",		SME_WITH_SME,	test_turns },
	{ "two lengths",	SME_WITH_SME & SME_WITHOUT_EL2, test_two_lengths },
	{ "pending reset",	SME_WITH_VEC,	test_pending_reset },
	{ "hotplug",		SME_WITH_SME,	test_hotplug },
};

static void help(const char *name)
{
	printf("usage: %s [-n EXITS] [-s I/N] [CASE]\n"
	       "  -n EXITS  forced exits of each guest, where there are many (default %u)\n"
	       "  -s I/N    the share I of N of the kinds of vCPU (default 0/1)\n"
	       "  CASE      those cases alone whose names contain it\n", name, nr_exits);
	exit(KSFT_FAIL);
}

int main(int argc, char *argv[])
{
	int opt;

	while ((opt = getopt(argc, argv, "n:s:h")) != -1) {
		if (opt == 'n')
			nr_exits = atoi_positive("number of exits", optarg);
		else if (opt == 's')
			sme_set_shard(optarg);
		else
			help(argv[0]);
	}

	test_disable_default_vgic();
	sme_require_kernel();
	TEST_ASSERT(!sched_getaffinity(0, sizeof(cpus), &cpus), "sched_getaffinity");
	sve_vqs = sme_host_vqs(PR_SVE_SET_VL, PR_SVE_GET_VL);
	sme_vqs = sme_host_vqs(PR_SME_SET_VL, PR_SME_GET_VL);

	sme_run_cases(tests, ARRAY_SIZE(tests), optind < argc ? argv[optind] : NULL);
}
