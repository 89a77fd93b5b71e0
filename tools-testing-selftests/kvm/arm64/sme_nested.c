// SPDX-License-Identifier: GPL-2.0-only
/*
 * sme_nested - a guest hypervisor with SME (L1, at EL2 with E2H) and its guest (L2, at EL1):
 * L1 limits the vector lengths of L2 by SMCR_EL2, traps what L2 does, and the state is one for
 * both, over switches between them, exits of either to the VMM, and moves into new VMs.
 */
#include "reg_list.h"
#include "sme.h"

/*
 * What host and guests share.  L1 and L2 have one address space.
 */

#define MAX_MISMATCHES		24
#define TRAPPED			BIT(63)

struct job {
	/* From the host */
	u64 has, vl, svl, rounds, seed;

	/* From the guest */
	u64 checked, exits, nr_mismatches;
	struct {
		const char *name;	/* all copies are linked at one address */
		u64 setup, got, want;
	} mismatches[MAX_MISMATCHES];
	u64 l1_rdsvl[16];
	u64 rdsvl[16][16], rdvl[16][16], streaming_rdvl[16][16];
	u64 trapped;			/* of L2, by L1, where state is to be kept */
};

static struct job job;
static struct sme_image want, got;

/*
 * From L1 to L2 and back
 */

struct l2 {
	u64 regs[31], sp, pc, pstate;
};

static struct l2 l2;
static u64 l1_esr;
u64 l2_esr;		/* for code below, too */
static u8 l2_stack[16384] __aligned(16);

u64 l2_enter(struct l2 *state);
extern u8 l1_vectors[], l2_vectors[];

#define X_2_TO_30	"2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27," \
			"28,29,30"
#define X_19_TO_30	"19,20,21,22,23,24,25,26,27,28,29,30"
#define VECTORS(n)	".rept " #n "\n\tb .\n\t.balign 128\n\t.endr\n\t"

/*
 * With E2H the _EL1 names of registers are those of EL2 to L1.  l2_enter() returns ESR_EL2 when L2
 * has taken an exception to L1.  An exception that L2 takes itself is noted, and the instruction
 * skipped.
 */
asm(".pushsection .text\n\t"
	".balign 2048\n"
	"l1_vectors:\n\t"
	VECTORS(8)
	"b l2_exit\n\t"
	".balign 128\n\t"
	VECTORS(7)

	"l2_vectors:\n\t"
	VECTORS(4)
	"stp x0, x1, [sp, #-16]!\n\t"
	"adrp x1, l2_esr\n\t"
	"add x1, x1, :lo12:l2_esr\n\t"
	"mrs x0, esr_el1\n\t"
	"str x0, [x1]\n\t"
	"mrs x0, elr_el1\n\t"
	"add x0, x0, #4\n\t"
	"msr elr_el1, x0\n\t"
	"ldp x0, x1, [sp], #16\n\t"
	"eret\n\t"
	".balign 128\n\t"
	VECTORS(11)

	"l2_enter:\n\t"
	"sub sp, sp, #112\n\t"
	".irp n, " X_19_TO_30 "\n\t"
	"str x\\n, [sp, #(\\n - 18) * 8]\n\t"
	".endr\n\t"
	"str x0, [sp]\n\t"
	"ldr x1, [x0, #248]\n\t"
	"msr sp_el1, x1\n\t"
	"ldr x1, [x0, #256]\n\t"
	"msr elr_el1, x1\n\t"
	"ldr x1, [x0, #264]\n\t"
	"msr spsr_el1, x1\n\t"
	".irp n, " X_2_TO_30 "\n\t"
	"ldr x\\n, [x0, #\\n * 8]\n\t"
	".endr\n\t"
	"ldp x0, x1, [x0]\n\t"
	"eret\n"

	"l2_exit:\n\t"
	"stp x0, x1, [sp, #-16]!\n\t"
	"ldr x0, [sp, #16]\n\t"
	".irp n, " X_2_TO_30 "\n\t"
	"str x\\n, [x0, #\\n * 8]\n\t"
	".endr\n\t"
	"ldp x1, x2, [sp], #16\n\t"
	"stp x1, x2, [x0]\n\t"
	"mrs x1, sp_el1\n\t"
	"str x1, [x0, #248]\n\t"
	"mrs x1, elr_el1\n\t"
	"str x1, [x0, #256]\n\t"
	"mrs x1, spsr_el1\n\t"
	"str x1, [x0, #264]\n\t"
	"mrs x0, esr_el1\n\t"
	".irp n, " X_19_TO_30 "\n\t"
	"ldr x\\n, [sp, #(\\n - 18) * 8]\n\t"
	".endr\n\t"
	"add sp, sp, #112\n\t"
	"ret\n\t"
	".popsection");

/*
 * Guest code
 */

#define CPTR_FPEN		(3UL << 20)
#define CPTR_ZEN		(3UL << 16)
#define CPTR_SMEN		(3UL << 24)
#define CPTR_ALL		(CPTR_FPEN | CPTR_ZEN | CPTR_SMEN)
#define SMCR_FA64		BIT(31)
#define SMCR_EZT0		BIT(30)
#define SMCR_ALL		(0xf | SMCR_FA64 | SMCR_EZT0)

/* By name where that differs: to L1, L2's registers are those with _EL12. */
#define REG_CPACR_EL1		S3_0_C1_C0_2
#define REG_CPACR_EL12		S3_5_C1_C0_2
#define REG_CPTR_EL2		S3_4_C1_C1_2
#define REG_ZCR_EL1		S3_0_C1_C2_0
#define REG_ZCR_EL12		S3_5_C1_C2_0
#define REG_ZCR_EL2		S3_4_C1_C2_0
#define REG_SMCR_EL1		S3_0_C1_C2_6
#define REG_SMCR_EL12		S3_5_C1_C2_6
#define REG_SMCR_EL2		S3_4_C1_C2_6
#define REG_SMPRI_EL1		S3_0_C1_C2_4
#define REG_SMPRIMAP_EL2	S3_4_C1_C2_5
#define REG_SMIDR_EL1		S3_1_C0_C0_6
#define REG_HCR_EL2		S3_4_C1_C1_0
#define REG_HCRX_EL2		S3_4_C1_C2_2
#define REG_HFGRTR_EL2		S3_4_C1_C1_4
#define REG_HFGWTR_EL2		S3_4_C1_C1_5
#define REG_VTCR_EL2		S3_4_C2_C1_2
#define REG_VTTBR_EL2		S3_4_C2_C1_0

#define HCR_L2			(HCR_EL2_RW | HCR_EL2_E2H)
#define HCRX_FPMR		BIT(23)		/* HCRX_EL2.EnFPM */
#define HFGR_TPIDR2		BIT(55)		/* HFGxTR_EL2.nTPIDR2_EL0 */
#define HFGR_SMPRI		BIT(54)		/* HFGxTR_EL2.nSMPRI_EL1 */

#define HVC_DONE		0
#define HVC_YIELD		1

/* An exit to the VMM that needs no call, and so can be made in streaming mode. */
static __always_inline __sme_code void guest_exit(void)
{
	job.exits++;
	asm volatile("str xzr, [%0]" : : "r"(ucall_exit_mmio_addr) : "memory");
}

static __always_inline __sme_code void l1_cptr(u64 cptr)
{
	sme_msr(REG_CPACR_EL1, cptr);
	isb();
}

/* By one name or the other */
static __always_inline __sme_code void l1_smcr(u64 smcr)
{
	if (smcr & 1)
		sme_msr(REG_SMCR_EL1, smcr);
	else
		sme_msr(REG_SMCR_EL2, smcr);
	isb();
}

static __always_inline __sme_code void l1_fgt(u64 bits)
{
	sme_msr(REG_HFGRTR_EL2, bits);
	sme_msr(REG_HFGWTR_EL2, bits);
}

/* Everything for L1, and L2 as a copy of it in which nothing traps. */
static __sme_code void l1_enable(void)
{
	l1_cptr(CPTR_ALL);
	sme_msr(REG_CPACR_EL12, CPTR_ALL);
	if (job.has & SME_HAS_SVE) {
		sme_msr(REG_ZCR_EL1, 0xf);
		sme_msr(REG_ZCR_EL12, 0xf);
	}
	sme_msr(REG_SMCR_EL12, SMCR_ALL);
	l1_smcr(SMCR_ALL);
	l1_fgt(HFGR_TPIDR2 | HFGR_SMPRI);
	if (job.has & SME_HAS_FPMR)
		sme_msr(REG_HCRX_EL2, HCRX_FPMR);

	/* SCTLR, TCR, TTBR0, MAIR */
	sme_msr(S3_5_C1_C0_0, sme_mrs(S3_0_C1_C0_0));
	sme_msr(S3_5_C2_C0_2, sme_mrs(S3_0_C2_C0_2));
	sme_msr(S3_5_C2_C0_0, sme_mrs(S3_0_C2_C0_0));
	sme_msr(S3_5_C10_C2_0, sme_mrs(S3_0_C10_C2_0));
	sme_msr(S3_5_C12_C0_0, l2_vectors);

	/* A guest without stage 2 */
	sme_msr(REG_VTCR_EL2, 0);
	sme_msr(REG_VTTBR_EL2, 0);
	sme_msr(REG_HCR_EL2, HCR_L2);
	isb();
}

static __always_inline __sme_code void l1_leave(void)
{
	sme_msr(SME_REG_SVCR, 0);
	sme_msr(SME_REG_FPCR, 0);
	l1_cptr(CPTR_ALL);
}

/* Runs L2 until it takes an exception. */
static __sme_code u64 l1_run_l2(void)
{
	u64 vbar = read_sysreg(vbar_el1), esr;

	write_sysreg(l1_vectors, vbar_el1);
	isb();
	esr = l2_enter(&l2);
	write_sysreg(vbar, vbar_el1);
	isb();
	return esr;
}

/*
 * Runs L2 until it makes a call.  What it does that traps before is noted and skipped, or, if
 * @then is not 0, allowed by that value of CPTR_EL2 and done once more.
 */
static __sme_code u64 l1_continue(u64 then)
{
	u64 esr;

	for (;;) {
		esr = l1_run_l2();
		if (ESR_ELx_EC(esr) == ESR_ELx_EC_HVC64)
			return esr & 0xffff;
		l1_esr = esr | TRAPPED;
		if (!then) {
			l2.pc += 4;
			continue;
		}
		job.trapped++;
		l1_cptr(then);
	}
}

static __sme_code void l2_returns(void)
{
	asm volatile("hvc %0" : : "i"(HVC_DONE) : "memory");
}

static __always_inline __sme_code void l1_prepare(void (*fn)(void))
{
	l2.pc = (u64)fn;
	l2.regs[30] = (u64)l2_returns;
	l2.sp = (u64)l2_stack + sizeof(l2_stack);
	l2.pstate = 0x3c5;
}

static __always_inline __sme_code void l1_call(void (*fn)(void))
{
	l1_prepare(fn);
	l1_continue(0);
}

/* Calls L1. */
static __always_inline __sme_code void l2_yield(void)
{
	asm volatile("hvc %0" : : "i"(HVC_YIELD) : "memory");
}

static noinline __sme_code void expect(const char *name, u64 setup, u64 got, u64 want)
{
	u64 n = job.nr_mismatches;

	job.checked++;
	if (got == want)
		return;
	if (n < MAX_MISMATCHES) {
		job.mismatches[n].name = name;
		job.mismatches[n].setup = setup;
		job.mismatches[n].got = got;
		job.mismatches[n].want = want;
	}
	job.nr_mismatches++;
}

/*
 * Vector lengths
 */

static u64 l1_len;

static __sme_code void l2_lengths(void)
{
	u64 len;

	for (len = 0; len < 16; len++) {
		sme_msr(REG_SMCR_EL1, len);
		isb();
		job.rdsvl[l1_len][len] = sme_rdsvl();
		if (len & 2)
			guest_exit();
		sme_msr(SME_REG_SVCR, SME_SM);
		if (len & 1)
			guest_exit();
		job.streaming_rdvl[l1_len][len] = sme_rdvl();
		expect("RDSVL of L2 in streaming mode", l1_len, sme_rdsvl(),
		       job.rdsvl[l1_len][len]);
		expect("SMCR_EL1 of L2", l1_len, sme_mrs(REG_SMCR_EL1), len);
		sme_msr(SME_REG_SVCR, 0);
		if (!(job.has & SME_HAS_SVE))
			continue;
		sme_msr(REG_ZCR_EL1, len);
		isb();
		job.rdvl[l1_len][len] = sme_rdvl();
	}
}

static __sme_code void l1_lengths(void)
{
	l1_enable();
	for (l1_len = 0; l1_len < 16; l1_len++) {
		l1_smcr(l1_len);
		if (job.has & SME_HAS_SVE) {
			sme_msr(REG_ZCR_EL2, 15 - l1_len);
			isb();
		}
		job.l1_rdsvl[l1_len] = sme_rdsvl();
		if (l1_len & 4)
			guest_exit();
		l1_call(l2_lengths);
		expect("RDSVL of L1 after L2", l1_len, sme_rdsvl(), job.l1_rdsvl[l1_len]);
		expect("SMCR_EL2", l1_len, sme_mrs(REG_SMCR_EL2), l1_len);
		expect("SMCR_EL1 as SMCR_EL2", l1_len, sme_mrs(REG_SMCR_EL1), l1_len);
		expect("SMCR_EL12", l1_len, sme_mrs(REG_SMCR_EL12), 15);
	}
	l1_leave();
	GUEST_DONE();
}

/*
 * Traps
 */

#define SYNDROME(ec, iss)	(TRAPPED | ((u64)(ec) << ESR_ELx_EC_SHIFT) | (iss))
#define NO_TRAP			0
#define SYS_TRAP		SYNDROME(ESR_ELx_EC_SYS64, 0)
#define FP_TRAP			SYNDROME(ESR_ELx_EC_FP_ASIMD, 0)
#define SVE_TRAP		SYNDROME(ESR_ELx_EC_SVE, 0)
#define UNDEFINED		SYNDROME(ESR_ELx_EC_UNKNOWN, 0)
#define SME_TRAP(smtc)		SYNDROME(ESR_ELx_EC_SME, ESR_ELx_SME_ISS_ ## smtc)

static u64 setup;	/* what L1 has set up, for the messages */

/* Of the details those of SME's own class are asked for. */
static __always_inline __sme_code u64 syndrome(u64 esr)
{
	return esr & (TRAPPED | ESR_ELx_EC_MASK |
		      (ESR_ELx_EC(esr) == ESR_ELx_EC_SME ? 7 : 0));
}

/* Whether the last instruction of L2 has trapped to L1, and whether to L2: set-up 0x100 */
static __sme_code void expect_traps(const char *what, u64 to_l1, u64 to_l2)
{
	expect(what, setup, syndrome(l1_esr), to_l1);
	expect(what, setup | 0x100, syndrome(l2_esr | (l2_esr ? TRAPPED : 0)), to_l2);
}

#define L2_EXPECT(what, to_l1, to_l2, insn)					\
({										\
	l1_esr = 0;								\
	l2_esr = 0;								\
	asm volatile(SME_ASM insn : : "r"(want.z) : "x9", "x12", "memory");	\
	expect_traps(what, to_l1, to_l2);					\
})

#define SMSTART_SM		"msr s0_3_c4_c3_3, xzr"
#define SMSTOP			"msr s0_3_c4_c6_3, xzr"
#define NEON_ADD		".inst 0x4ea08400"	/* add v0.4s, v0.4s, v0.4s */
#define LDR_ZT0			"ldr zt0, [%0]"
#define PTRUE			"ptrue p0.b"
#define RDSVL			"rdsvl x9, #1"
#define ZERO_ZA			"zero {za}"
#define MRS(reg)		"mrs x9, " __stringify(reg)
#define MSR(reg)		"msr " __stringify(reg) ", xzr"

static u64 to_l1, to_l2;

/* All of SME that CPTR_EL2.SMEN and CPACR_EL1.SMEN trap */
static __sme_code void l2_smen(void)
{
	u64 round;

	for (round = 0; round < 2; round++) {
		L2_EXPECT("RDSVL", to_l1, to_l2, RDSVL);
		L2_EXPECT("SMSTART SM", to_l1, to_l2, SMSTART_SM);
		L2_EXPECT("SMSTOP", to_l1, to_l2, SMSTOP);
		L2_EXPECT("read SVCR", to_l1, to_l2, MRS(SME_REG_SVCR));
		L2_EXPECT("read SMCR_EL1", to_l1, to_l2, MRS(REG_SMCR_EL1));
		L2_EXPECT("write SVCR", to_l1, to_l2, MSR(SME_REG_SVCR));
		L2_EXPECT("read SMPRI_EL1", NO_TRAP, NO_TRAP, MRS(REG_SMPRI_EL1));
		L2_EXPECT("read TPIDR2_EL0", NO_TRAP, NO_TRAP, MRS(SME_REG_TPIDR2));
		L2_EXPECT("NEON ADD", NO_TRAP, NO_TRAP, NEON_ADD);
		/* And once more with nothing in the registers */
		guest_exit();
	}
}

static __sme_code void l2_smen_streaming(void)
{
	L2_EXPECT("PTRUE in streaming mode", to_l1, to_l2, PTRUE);
	guest_exit();
	L2_EXPECT("PTRUE in streaming mode, after an exit", to_l1, to_l2, PTRUE);
	L2_EXPECT("ZERO ZA", to_l1, to_l2, ZERO_ZA);
}

static __sme_code void l2_sve(void)
{
	u64 round;

	for (round = 0; round < 2; round++) {
		L2_EXPECT("PTRUE out of streaming mode", to_l1, to_l2, PTRUE);
		guest_exit();
	}
}

static __sme_code void l2_fp(void)
{
	u64 round;

	for (round = 0; round < 2; round++) {
		L2_EXPECT("NEON ADD, FPEN off", FP_TRAP, NO_TRAP, NEON_ADD);
		L2_EXPECT("RDSVL, FPEN off", FP_TRAP, NO_TRAP, RDSVL);
		guest_exit();
	}
}

static __sme_code void l2_fgt(void)
{
	L2_EXPECT("read TPIDR2_EL0", to_l1, NO_TRAP, MRS(SME_REG_TPIDR2));
	L2_EXPECT("write TPIDR2_EL0", to_l1, NO_TRAP, MSR(SME_REG_TPIDR2));
	L2_EXPECT("read SMPRI_EL1", to_l2, NO_TRAP, MRS(REG_SMPRI_EL1));
	L2_EXPECT("write SMPRI_EL1", to_l2, NO_TRAP, MSR(REG_SMPRI_EL1));
}

static __sme_code void l2_smidr(void)
{
	L2_EXPECT("read SMIDR_EL1", to_l1, NO_TRAP, MRS(REG_SMIDR_EL1));
}

/* QEMU, up to 11.1 at least, leaves out the reason where ZT0 is what is disabled. */
static __sme_code void l2_zt0(void)
{
	u64 round;

	for (round = 0; round < 2; round++) {
		l1_esr = 0;
		l2_esr = 0;
		asm volatile(SME_ASM LDR_ZT0 : : "r"(want.z) : "memory");
		expect("LDR ZT0, trap to L1", setup, ESR_ELx_EC(l1_esr), to_l1);
		expect("LDR ZT0, trap to L2", setup, ESR_ELx_EC(l2_esr), to_l2);
		guest_exit();
	}
}

static __sme_code void l2_fa64(void)
{
	L2_EXPECT("NEON ADD in streaming mode", NO_TRAP, to_l2, NEON_ADD);
	guest_exit();
	L2_EXPECT("NEON ADD in streaming mode, after an exit", NO_TRAP, to_l2, NEON_ADD);
}

static u64 self_esr;

static __sme_code void l1_trap(struct ex_regs *regs)
{
	self_esr = read_sysreg(esr_el1) | TRAPPED;
	regs->pc += 4;
}

/* What L1 does with SME off in its own CPTR_EL2 traps to itself. */
#define L1_EXPECT(what, trap, insn)						\
({										\
	self_esr = 0;								\
	asm volatile(SME_ASM insn : : "r"(want.z) : "x9", "memory");		\
	expect(what " of L1", setup, syndrome(self_esr), trap);			\
})

static __sme_code void l1_own_traps(void)
{
	u64 round;

	for (round = 0; round < 2; round++) {
		setup = round;
		l1_cptr(CPTR_FPEN | CPTR_ZEN);
		L1_EXPECT("read SMCR_EL2, SMEN off", SME_TRAP(SME_DISABLED),
			  MRS(REG_SMCR_EL2));
		L1_EXPECT("write SMCR_EL2, SMEN off", SME_TRAP(SME_DISABLED),
			  MSR(REG_SMCR_EL2));
		L1_EXPECT("read SMCR_EL1, SMEN off", SME_TRAP(SME_DISABLED),
			  MRS(REG_SMCR_EL1));
		L1_EXPECT("read SMPRI_EL1, SMEN off", NO_TRAP, MRS(REG_SMPRI_EL1));
		L1_EXPECT("RDSVL, SMEN off", SME_TRAP(SME_DISABLED), RDSVL);
		l1_cptr(CPTR_ALL);
		L1_EXPECT("read SMCR_EL2", NO_TRAP, MRS(REG_SMCR_EL2));
		L1_EXPECT("RDSVL", NO_TRAP, RDSVL);
		guest_exit();
	}
	expect("SMPRIMAP_EL2", 0, sme_mrs(REG_SMPRIMAP_EL2), 0);
	expect("SMPRI_EL1 of L1", 0, sme_mrs(REG_SMPRI_EL1), 0);
}

static __sme_code void l1_traps_smen(void)
{
	const u64 off = SME_TRAP(SME_DISABLED);
	u64 cptr, cpacr;

	/* Bit 0 of the fields alone counts for L2 in CPTR_EL2, and for EL1 in CPACR_EL1. */
	for (cptr = 0; cptr < 4; cptr++) {
		for (cpacr = 0; cpacr < 4; cpacr++) {
			setup = cptr << 4 | cpacr;
			to_l2 = cpacr & 1 ? NO_TRAP : off;
			to_l1 = !to_l2 && !(cptr & 1) ? off : NO_TRAP;
			sme_msr(REG_CPACR_EL12, CPTR_FPEN | CPTR_ZEN | cpacr << 24);

			l1_cptr(CPTR_FPEN | CPTR_ZEN | cptr << 24);
			l1_call(l2_smen);

			l1_cptr(CPTR_ALL);
			sme_msr(SME_REG_SVCR, SME_SM | SME_ZA);
			l1_cptr(CPTR_FPEN | CPTR_ZEN | cptr << 24);
			l1_call(l2_smen_streaming);
			l1_cptr(CPTR_ALL);
			expect("SVCR after L2", setup, sme_mrs(SME_REG_SVCR), SME_SM | SME_ZA);
			sme_msr(SME_REG_SVCR, 0);
		}
	}
	sme_msr(REG_CPACR_EL12, CPTR_ALL);
}

/* SVE's instructions out of streaming mode; with SME alone they take a trap of SME. */
static __sme_code void l1_traps_sve(void)
{
	u64 off;

	for (off = 0; off < 8; off++) {
		setup = off;
		l1_cptr((off & 1 ? 0 : CPTR_ZEN) | (off & 2 ? 0 : CPTR_SMEN) |
			(off & 4 ? 0 : CPTR_FPEN));
		to_l1 = off & 4 ? FP_TRAP : NO_TRAP;
		if (job.has & SME_HAS_SVE && off & 1)
			to_l1 = SVE_TRAP;
		else if (!(job.has & SME_HAS_SVE) && off & 2)
			to_l1 = SME_TRAP(SME_DISABLED);
		to_l2 = job.has & SME_HAS_SVE || to_l1 ? NO_TRAP : SME_TRAP(SM_DISABLED);
		/* A guest with SME alone leaves ZEN, which is RES0. */
		sme_msr(REG_CPACR_EL12, job.has & SME_HAS_SVE ? CPTR_ALL : CPTR_ALL & ~CPTR_ZEN);
		l1_call(l2_sve);
	}
	sme_msr(REG_CPACR_EL12, CPTR_ALL);
}

static __sme_code void l1_traps(void)
{
	u64 bits;

	l1_enable();
	l1_own_traps();
	l1_traps_smen();
	l1_traps_sve();

	setup = 0;
	l1_cptr(CPTR_ZEN | CPTR_SMEN);
	l1_call(l2_fp);
	l1_cptr(CPTR_ALL);

	for (bits = 0; bits < 4; bits++) {
		setup = bits;
		to_l1 = bits & 1 ? NO_TRAP : SYS_TRAP;
		to_l2 = bits & 2 ? NO_TRAP : SYS_TRAP;
		l1_fgt((bits & 1 ? HFGR_TPIDR2 : 0) | (bits & 2 ? HFGR_SMPRI : 0));
		l1_call(l2_fgt);
	}

	for (bits = 0; bits < 2; bits++) {
		setup = bits;
		to_l1 = bits ? SYS_TRAP : NO_TRAP;
		sme_msr(REG_HCR_EL2, HCR_L2 | (bits ? HCR_EL2_TID1 : 0));
		l1_call(l2_smidr);
	}
	sme_msr(REG_HCR_EL2, HCR_L2);

	/* With ZA on, L1 can deny ZT0, which is not there without SME2. */
	for (bits = 0; bits < 2; bits++) {
		setup = bits;
		l1_smcr(0xf | SMCR_FA64 | (bits ? SMCR_EZT0 : 0));
		to_l1 = bits || !(job.has & SME_HAS_SME2) ? 0 : ESR_ELx_EC_SME;
		to_l2 = 0;	/* and ESR_ELx_EC_UNKNOWN is 0 */
		sme_msr(SME_REG_SVCR, SME_ZA);
		l1_call(l2_zt0);
	}

	/* And in streaming mode what takes FA64, which is a matter of L2's then. */
	for (bits = 0; bits < 2; bits++) {
		setup = bits;
		l1_smcr(0xf | SMCR_EZT0 | (bits ? SMCR_FA64 : 0));
		to_l2 = bits && job.has & SME_HAS_FA64 ? NO_TRAP : SME_TRAP(ILL);
		sme_msr(SME_REG_SVCR, SME_SM);
		l1_call(l2_fa64);
	}

	l1_leave();
	GUEST_DONE();
}

/*
 * State
 */

static __sme_code void check_state(const char *where, u64 round)
{
	enum sme_part part;
	u64 at;

	sme_store_image(&got, job.has);
	part = sme_compare(&want, &got, job.has, &at);
	job.checked++;
	if (part == SME_PART_NONE)
		return;

	sme_msr(SME_REG_SVCR, 0);
	sme_msr(SME_REG_FPCR, 0);
	GUEST_FAIL("%s: %s is not as it was, byte %lu (SVCR %lu, now %lu, round %lu)",
		   where, sme_part_names[part], at, want.svcr, got.svcr, round);
}

static __always_inline __sme_code void fill_state(u64 round, u64 svcr)
{
	sme_fill_image(&want, job.has, svcr % 4, job.vl, job.svl, job.seed + round);
	sme_load_image(&want, job.has);
}

static u64 state_round;

/* Finds what L1 left, leaves something else, and does that once more after a call. */
static __sme_code void l2_state(void)
{
	u64 r = state_round;

	check_state("L2, from L1", r);
	if (r & 8)
		guest_exit();
	check_state("L2, after an exit", r);
	fill_state(4 * r + 1, r / 2);
	if (r & 16)
		guest_exit();
	l2_yield();
	check_state("L2, from L1 again", r);
	fill_state(4 * r + 3, r / 3);
}

/*
 * With traps that L1 sets and takes away when they are taken, as a hypervisor does.  Where SVE or
 * SME trap, vectors have 128 bits, and what there is beyond need not be kept.
 */
static __sme_code u64 lazily(u64 round)
{
	u64 off = 0;

	if (round & 1)
		off |= CPTR_FPEN;
	if (round & 2 && !want.svcr)
		off |= CPTR_SMEN;
	l1_cptr(CPTR_ALL & ~off);
	return off ? CPTR_ALL : 0;
}

static __sme_code void l1_state(void)
{
	u64 r;

	l1_enable();
	for (r = 0; r < job.rounds; r++) {
		state_round = r;
		fill_state(4 * r, r);
		if (r & 4)
			guest_exit();
		l1_prepare(l2_state);
		GUEST_ASSERT_EQ(l1_continue(lazily(r / 4)), HVC_YIELD);
		l1_cptr(CPTR_ALL);
		if (r & 2)
			guest_exit();
		check_state("L1, from L2", r);
		fill_state(4 * r + 2, r + 1);
		GUEST_ASSERT_EQ(l1_continue(lazily(r / 2)), HVC_DONE);
		l1_cptr(CPTR_ALL);
		check_state("L1, from L2 again", r);
	}
	l1_leave();
	GUEST_DONE();
}

/*
 * ZA of L1 that L2, with shorter vectors, writes a part of: what there is outside of that part
 * is kept or becomes 0.
 */
static u8 short_za[SME_MAX_VL * SME_MAX_VL];

static __sme_code void l2_short(void)
{
	u64 svl = sme_rdsvl(), seed = job.seed * 2 + 1;

	expect("RDSVL of L2", l1_len, svl, setup);
	sme_store_za(got.za, svl);
	for (u64 r = 0; r < svl; r++)
		for (u64 c = 0; c < svl; c++)
			job.nr_mismatches += got.za[r * svl + c] != want.za[r * job.svl + c];
	sme_fill(short_za, svl * svl, &seed);
	guest_exit();
	sme_load_za(short_za, svl);
	guest_exit();
}

static __sme_code void l1_short(void)
{
	u64 r, c, svl;
	u8 now;

	l1_enable();
	for (l1_len = 0; l1_len < 16; l1_len = 2 * l1_len + 1) {
		l1_smcr(SMCR_ALL);
		fill_state(l1_len, SME_SM | SME_ZA);
		l1_smcr(l1_len | SMCR_FA64 | SMCR_EZT0);
		svl = sme_rdsvl();
		setup = svl;
		l1_call(l2_short);
		l1_smcr(SMCR_ALL);
		sme_store_za(got.za, job.svl);
		for (r = 0; r < job.svl; r++) {
			for (c = 0; c < job.svl; c++) {
				now = got.za[r * job.svl + c];
				if (r < svl && c < svl)
					job.nr_mismatches += now != short_za[r * svl + c];
				else
					job.nr_mismatches += now &&
						now != want.za[r * job.svl + c];
				job.checked++;
			}
		}
		expect("SVCR of L1", l1_len, sme_mrs(SME_REG_SVCR), SME_SM | SME_ZA);
		expect("TPIDR2_EL0 of L1", l1_len, sme_mrs(SME_REG_TPIDR2), want.tpidr2);
	}
	l1_leave();
	GUEST_DONE();
}

/*
 * A hypervisor without E2H, and without an MMU, in a page of its own: it uses SME, turns it off
 * by CPTR_EL2.TSM, and takes the trap.  X0 has where results go, X5 what exits.
 */

#define CPTR_NVHE_RES1		0x22ff
#define CPTR_NVHE_TSM		BIT(12)

extern const u8 nvhe_start[], nvhe_end[];

asm(".pushsection .rodata\n"
	"nvhe_start:\n\t"
	".org nvhe_start + 0x200\n\t"
	"mrs x3, esr_el2\n\t"
	"str x3, [x0, #24]\n\t"
	"str xzr, [x5]\n\t"
	"b .\n\t"
	".org nvhe_start + 0x800\n\t"
	SME_ASM
	"msr S3_4_C1_C1_2, x1\n\t"		/* CPTR_EL2 */
	"mov x3, #1\n\t"
	"msr S3_4_C1_C2_6, x3\n\t"		/* SMCR_EL2 */
	"isb\n\t"
	"rdsvl x3, #1\n\t"
	"str x3, [x0]\n\t"
	"msr S3_4_C1_C2_6, x8\n\t"
	"isb\n\t"
	"rdsvl x3, #1\n\t"
	"str x3, [x0, #8]\n\t"
	"smstart\n\t"
	"mov w12, #0\n\t"
	"ldr za[w12, 0], [x4]\n\t"
	"ldr z5, [x4]\n\t"
	"str xzr, [x5]\n\t"
	"str za[w12, 0], [x6]\n\t"
	"str z5, [x7]\n\t"
	"mrs x3, S3_4_C1_C2_6\n\t"
	"str x3, [x0, #16]\n\t"
	"msr S3_4_C1_C1_2, x2\n\t"
	"isb\n\t"
	"rdsvl x3, #1\n\t"
	"str xzr, [x5]\n"			/* not reached */
	"nvhe_end:\n\t"
	".popsection");

/*
 * Host code
 */

static u64 sve_vqs, sme_vqs;		/* the host's */

struct kind {
	unsigned int features;
	bool no_sme2, no_fa64;
	u64 sve_vqs, sme_vqs;	/* 0: all that the host has */
};

struct guest {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	struct job *job;
};

static struct guest guest_new(const struct kind *kind, void *code)
{
	struct kvm_vm *vm = vm_create(1);
	struct kvm_vcpu_init init = sme_init_for(vm, kind->features);
	struct guest g = { .vm = vm };
	int err = 0;

	g.vcpu = aarch64_vcpu_add(vm, 0, &init, code);
	if (kind->sve_vqs && kind->features & SME_KIND_SVE)
		err |= sme_set_vqs(g.vcpu, KVM_REG_ARM64_SVE_VLS, kind->sve_vqs);
	if (kind->sme_vqs)
		err |= sme_set_vqs(g.vcpu, KVM_REG_ARM64_SME_VLS, kind->sme_vqs);
	err |= sme_finalize(g.vcpu);
	if (kind->no_sme2)
		err |= sme_set_field(g.vcpu, SME_ID(ID_AA64PFR1_EL1), ID_AA64PFR1_EL1_SME_MASK, 1);
	if (kind->no_fa64)
		err |= sme_set_field(g.vcpu, SME_ID(ID_AA64SMFR0_EL1),
				     ID_AA64SMFR0_EL1_FA64_MASK, 0);
	TEST_ASSERT(!err, "the vCPU is refused something: errno %d", err);

	sme_add_gic(vm, kind->features);
	vm_init_descriptor_tables(vm);
	vcpu_init_descriptor_tables(g.vcpu);
	vm_install_sync_handler(vm, VECTOR_SYNC_CURRENT, ESR_ELx_EC_UNKNOWN, l1_trap);
	vm_install_sync_handler(vm, VECTOR_SYNC_CURRENT, ESR_ELx_EC_SYS64, l1_trap);
	vm_install_sync_handler(vm, VECTOR_SYNC_CURRENT, ESR_ELx_EC_SME, l1_trap);

	g.job = addr_gva2hva(vm, (gva_t)&job);
	g.job->has = kind->features & (SME_HAS_SVE | SME_HAS_SME);
	if (sme_get_field(g.vcpu, SME_ID(ID_AA64PFR1_EL1), ID_AA64PFR1_EL1_SME_MASK) >= 2)
		g.job->has |= SME_HAS_SME2;
	if (sme_get_field(g.vcpu, SME_ID(ID_AA64SMFR0_EL1), ID_AA64SMFR0_EL1_FA64_MASK))
		g.job->has |= SME_HAS_FA64;
	if (sme_get_field(g.vcpu, SME_ID(ID_AA64PFR2_EL1), ID_AA64PFR2_EL1_FPMR_MASK))
		g.job->has |= SME_HAS_FPMR;
	if (kind->features & SME_KIND_SVE)
		g.job->vl = sme_max_vl(sme_get_vqs(g.vcpu, KVM_REG_ARM64_SVE_VLS));
	g.job->svl = sme_max_vl(sme_get_vqs(g.vcpu, KVM_REG_ARM64_SME_VLS));
	g.job->seed = sme_next_random(&sme_seed) >> 8;
	return g;
}

/* Whether L1 or L2 made an exit; it is done otherwise. */
static bool guest_run(struct guest *g)
{
	vcpu_run(g->vcpu);
	return sme_guest_exited(g->vcpu);
}

static void guest_check(struct guest *g, const char *what, u64 least)
{
	u64 i;

	for (i = 0; i < g->job->nr_mismatches && i < MAX_MISMATCHES; i++)
		SME_CHECK(!g->job->mismatches[i].name, "%s: %s, set-up %#lx: %#lx, not %#lx", what,
			  g->job->mismatches[i].name, g->job->mismatches[i].setup,
			  g->job->mismatches[i].got, g->job->mismatches[i].want);
	SME_CHECK(!g->job->nr_mismatches, "%s: %lu mismatches", what, g->job->nr_mismatches);
	SME_CHECK(g->job->checked >= least, "%s: no more than %lu checks", what, g->job->checked);
}

/* The guest's memory stays where it is: a new VM is made around it, wherever the guest is. */
static void guest_migrate(struct guest *g, unsigned int features)
{
	struct kvm_vcpu_init init = g->vcpu->init;
	struct reg_list_state state;

	vcpu_run_complete_io(g->vcpu);
	TEST_ASSERT(!reg_list_save(g->vcpu->fd, &state), "a listed register cannot be read");
	kvm_vm_release(g->vm);
	g->vcpu = vm_recreate_with_one_vcpu(g->vm);
	vcpu_ioctl(g->vcpu, KVM_ARM_VCPU_INIT, &init);
	g->vcpu->init = init;
	sme_add_gic(g->vm, features);
	SME_CHECK(!reg_list_restore(g->vcpu->fd, &state), "a register is refused");
	SME_CHECK(!reg_list_count_lost(g->vcpu->fd, &state, NULL), "a register is lost");
	reg_list_free(&state);
}

/* All that can be different between vCPUs with SME */
static unsigned int kinds_of(unsigned int features, struct kind *kinds)
{
	kinds[0] = (struct kind){ features };
	kinds[1] = (struct kind){ features, .no_sme2 = true, .sme_vqs = sme_first_vqs(sme_vqs, 2) };
	kinds[2] = (struct kind){ features, .no_fa64 = true, .sve_vqs = sme_first_vqs(sve_vqs, 3) };
	return 3;
}

static void check_lengths(const struct kind *kind, const char *what)
{
	u64 sve = kind->sve_vqs ?: sve_vqs, sme = kind->sme_vqs ?: sme_vqs, l1, l2, svl, vl;
	struct guest g = guest_new(kind, l1_lengths);
	const struct job *j = g.job;

	while (guest_run(&g))
		;
	guest_check(&g, what, 16 * 32);
	for (l1 = 0; l1 < 16; l1++) {
		svl = sme_vl_for_len(sme, l1);
		SME_CHECK(j->l1_rdsvl[l1] == svl, "%s: RDSVL of L1 with LEN %lu is %lu, not %lu",
			  what, l1, j->l1_rdsvl[l1], svl);
		for (l2 = 0; l2 < 16; l2++) {
			svl = sme_vl_for_len(sme, min(l1, l2));
			SME_CHECK(j->rdsvl[l1][l2] == svl && j->streaming_rdvl[l1][l2] == svl,
				  "%s: LEN %lu of L1, %lu of L2: RDSVL is %lu, RDVL %lu, not %lu",
				  what, l1, l2, j->rdsvl[l1][l2], j->streaming_rdvl[l1][l2], svl);
			vl = sme_vl_for_len(sve, min(15 - l1, l2));
			SME_CHECK(!(kind->features & SME_KIND_SVE) || j->rdvl[l1][l2] == vl,
				  "%s: ZCR LEN %lu of L1, %lu of L2: RDVL is %lu, not %lu",
				  what, 15 - l1, l2, j->rdvl[l1][l2], vl);
		}
	}
	kvm_vm_free(g.vm);
}

static void test_lengths(unsigned int features)
{
	struct kind kinds[3];
	unsigned int i, n = kinds_of(features, kinds);

	for (i = 0; i < n; i++)
		check_lengths(&kinds[i], i ? "reduced" : "whole");
}

static void run_all(unsigned int features, void *code, u64 rounds, u64 least)
{
	struct kind kinds[3];
	unsigned int i, n = kinds_of(features, kinds);
	struct guest g;

	for (i = 0; i < n; i++) {
		g = guest_new(&kinds[i], code);
		g.job->rounds = rounds;
		while (guest_run(&g))
			;
		printf("# %lu checks, %lu exits, %lu traps\n", g.job->checked, g.job->exits,
		       g.job->trapped);
		guest_check(&g, i ? "reduced" : "whole", least);
		kvm_vm_free(g.vm);
	}
}

static void test_traps(unsigned int features)
{
	run_all(features, l1_traps, 0, 700);
}

static void test_state(unsigned int features)
{
	run_all(features, l1_state, 128, 128 * 5);
}

static void test_short(unsigned int features)
{
	run_all(features, l1_short, 0, 5);
}

static void test_migrate(unsigned int features)
{
	struct guest g = guest_new(&(struct kind){ features }, l1_state);
	unsigned int moves = 0, in_l2 = 0;
	u64 pstate;

	g.job->rounds = 32;
	while (guest_run(&g)) {
		pstate = vcpu_get_reg(g.vcpu, ARM64_CORE_REG(regs.pstate));
		in_l2 += (pstate & PSR_MODE_MASK) == PSR_MODE_EL1h;
		guest_migrate(&g, features);
		moves++;
	}
	guest_check(&g, "migrating", 32 * 5);
	printf("# %u moves, %u of them in L2\n", moves, in_l2);
	SME_CHECK(moves > 40 && in_l2 > 20, "%u moves, %u of them in L2", moves, in_l2);
	kvm_vm_free(g.vm);
}

static void nvhe_exit(struct kvm_vcpu *vcpu)
{
	vcpu_run(vcpu);
	TEST_ASSERT(vcpu->run->exit_reason == KVM_EXIT_MMIO &&
		    vcpu->run->mmio.phys_addr == vcpu->vm->ucall_mmio_addr,
		    "unexpected exit %u (%s)", vcpu->run->exit_reason,
		    exit_reason_str(vcpu->run->exit_reason));
}

static void test_nvhe(unsigned int features)
{
	const u64 smcr = SMCR_ALL & ~SMCR_FA64;
	struct kvm_vm *vm = vm_create(1);
	struct kvm_vcpu_init init = sme_init_for(vm, features);
	unsigned int svl = sme_max_vl(sme_vqs), i;
	u8 za[SME_REG_BYTES] = {}, z[SME_REG_BYTES] = {};
	struct kvm_vcpu *vcpu;
	u64 code, *data, x[9];
	u8 *bytes;
	int err;

	if (!kvm_has_cap(KVM_CAP_ARM_EL2_E2H0))
		SME_SKIP("KVM has no EL2 without E2H here");

	init.features[0] |= BIT(KVM_ARM_VCPU_HAS_EL2_E2H0);
	vcpu = aarch64_vcpu_add(vm, 0, &init, NULL);
	err = sme_finalize(vcpu);
	TEST_ASSERT(!err, "finalize: errno %d", err);
	sme_add_gic(vm, features);

	code = vm_phy_pages_alloc(vm, 2, KVM_GUEST_PAGE_TABLE_MIN_PADDR, 0);
	memcpy(addr_gpa2hva(vm, code), nvhe_start, nvhe_end - nvhe_start);
	x[0] = code + vm->page_size;
	data = addr_gpa2hva(vm, x[0]);
	bytes = (u8 *)data;
	sme_fill_random(bytes + 0x400, SME_REG_BYTES);
	x[1] = CPTR_NVHE_RES1;
	x[2] = CPTR_NVHE_RES1 | CPTR_NVHE_TSM;
	x[3] = 0;
	x[4] = x[0] + 0x400;
	x[5] = vm->ucall_mmio_addr;
	x[6] = x[0] + 0x600;
	x[7] = x[0] + 0x800;
	x[8] = smcr;
	for (i = 0; i < ARRAY_SIZE(x); i++)
		vcpu_set_reg(vcpu, ARM64_CORE_REG(regs.regs[i]), x[i]);
	vcpu_set_reg(vcpu, ARM64_CORE_REG(regs.pc), code + 0x800);
	vcpu_set_reg(vcpu, SME_ID(VBAR_EL2), code);
	vcpu_set_reg(vcpu, SME_ID(SCTLR_EL2), 0x30c50830);
	vcpu_set_reg(vcpu, SME_ID(HCR_EL2), HCR_EL2_RW);

	nvhe_exit(vcpu);
	SME_CHECK(data[0] == sme_vl_for_len(sme_vqs, 1) && data[1] == svl,
		  "RDSVL is %lu and %lu", data[0], data[1]);
	SME_CHECK(vcpu_get_reg(vcpu, SME_ID(SVCR)) == (SME_SM | SME_ZA), "SVCR");
	SME_CHECK(vcpu_get_reg(vcpu, SME_ID(SMCR_EL2)) == smcr, "SMCR_EL2");
	SME_CHECK(!sme_get(vcpu, KVM_REG_ARM64_SME_ZAHREG(0, 0), za) &&
		  !memcmp(za, bytes + 0x400, svl), "ZA.H[0]");
	SME_CHECK(!sme_get(vcpu, KVM_REG_ARM64_SVE_ZREG(5, 0), z) &&
		  !memcmp(z, bytes + 0x400, svl), "Z5");
	sme_fill_random(za, svl);
	SME_CHECK(!sme_set(vcpu, KVM_REG_ARM64_SME_ZAHREG(0, 0), za), "write ZA.H[0]");

	nvhe_exit(vcpu);
	SME_CHECK(!memcmp(za, bytes + 0x600, svl), "ZA.H[0] that was written");
	SME_CHECK(!memcmp(z, bytes + 0x800, svl), "Z5 after an exit");
	SME_CHECK(data[2] == smcr, "SMCR_EL2 is %#lx to its hypervisor", data[2]);
	SME_CHECK(ESR_ELx_EC(data[3]) == ESR_ELx_EC_SME && !(data[3] & 7),
		  "with TSM the syndrome is %#lx", data[3]);
	kvm_vm_free(vm);
}

#define SME_WITH_EL2		(SME_WITH_SME & ~SME_WITHOUT_EL2)

static const struct sme_case tests[] = {
	{ "lengths",	SME_WITH_EL2,	test_lengths },
	{ "traps",	SME_WITH_EL2,	test_traps },
	{ "state",	SME_WITH_EL2,	test_state },
	{ "short ZA",	SME_WITH_EL2,	test_short },
	{ "migrate",	SME_WITH_EL2,	test_migrate },
	{ "no E2H",	SME_WITH_EL2,	test_nvhe },
};

/* usage: sme_nested [CASE]: those alone whose names contain CASE */
int main(int argc, char *argv[])
{
	test_disable_default_vgic();
	sme_require_kernel();
	TEST_REQUIRE(kvm_check_cap(KVM_CAP_ARM_EL2));
	sve_vqs = sme_host_vqs(PR_SVE_SET_VL, PR_SVE_GET_VL);
	sme_vqs = sme_host_vqs(PR_SME_SET_VL, PR_SME_GET_VL);

	sme_run_cases(tests, ARRAY_SIZE(tests), argc > 1 ? argv[1] : NULL);
}
