// SPDX-License-Identifier: GPL-2.0-only
/*
 * SME vCPUs as user space sees them: which registers there are in each mode, how
 * large they are, what a write to SVCR does to the others, and each error that
 * KVM_{GET,SET}_ONE_REG, KVM_ARM_VCPU_FINALIZE and KVM_GET_REG_LIST document, for
 * vCPUs with SVE, SME, both and neither.  No guest runs.
 */
#include "sme.h"

/*
 * The model: what a vCPU is made of, and by it what each access has to give.
 */

struct model {
	struct kvm_vcpu *vcpu;
	bool sve, sme, el2, sme2, fa64, fpmr;
	bool finalized;
	u64 svcr;
	unsigned int sve_vl, sme_vl;
};

enum reg_class {
	REG_Z, REG_P, REG_FFR, REG_ZA, REG_ZT0, REG_V, REG_FPSR, REG_FPCR,
	REG_SVE_VLS, REG_SME_VLS, REG_SVCR, REG_FPMR, REG_SME_SYSREG,
	REG_BAD_VECTOR, REG_BAD_SLICE, REG_BAD_SYSREG, REG_BAD_CORE,
};

struct reg {
	u64 id;
	enum reg_class class;
	unsigned int n;
	const char *name;
};

#define FIELD_SME		ID_AA64PFR1_EL1_SME_MASK
#define FIELD_FA64		ID_AA64SMFR0_EL1_FA64_MASK

static u64 sve_vqs, sme_vqs;	/* the host's */

static bool has_sm(const struct model *m)
{
	return m->svcr & SME_SM;
}

static bool has_za(const struct model *m)
{
	return m->svcr & SME_ZA;
}

static unsigned int model_vl(const struct model *m)
{
	return has_sm(m) ? m->sme_vl : m->sve_vl;
}

/* Takes from the vCPU what can be set in it; the rest is the caller's business. */
static void model_refresh(struct model *m)
{
	m->sme2 = m->sme && sme_get_field(m->vcpu, SME_ID(ID_AA64PFR1_EL1), FIELD_SME) >= 2;
	m->fa64 = m->sme && sme_get_field(m->vcpu, SME_ID(ID_AA64SMFR0_EL1), FIELD_FA64);
	m->fpmr = sme_get_field(m->vcpu, SME_ID(ID_AA64PFR2_EL1), ID_AA64PFR2_EL1_FPMR_MASK);
}

static void model_lengths(struct model *m)
{
	if (m->sve)
		m->sve_vl = sme_max_vl(sme_get_vqs(m->vcpu, KVM_REG_ARM64_SVE_VLS));
	if (m->sme)
		m->sme_vl = sme_max_vl(sme_get_vqs(m->vcpu, KVM_REG_ARM64_SME_VLS));
}

static struct model model_init(unsigned int kind)
{
	struct model m = {
		.vcpu = sme_bare_vcpu(kind),
		.sve = kind & SME_KIND_SVE,
		.sme = kind & SME_KIND_SME,
		.el2 = kind & SME_KIND_EL2,
	};

	model_refresh(&m);
	model_lengths(&m);
	return m;
}

static void model_finalize(struct model *m)
{
	int err;

	model_lengths(m);
	if (m->sve || m->sme) {
		err = sme_finalize(m->vcpu);
		TEST_ASSERT(!err, "finalize gives errno %d", err);
		m->finalized = true;
	}
}

static struct model model_new(unsigned int kind)
{
	struct model m = model_init(kind);

	model_finalize(&m);
	return m;
}

static void model_free(struct model *m)
{
	kvm_vm_free(m->vcpu->vm);
}

static void model_set_svcr(struct model *m, u64 svcr)
{
	if (m->sme)
		sme_set_svcr(m->vcpu, svcr);
	m->svcr = svcr;
}

/* The SVCR states that a vCPU can be in. */
static unsigned int model_nr_svcr(const struct model *m)
{
	return m->sme ? SME_NR_SVCR : 1;
}

struct want {
	int err[3];	/* any of them; 0 is success */
};

#define WANT(...)	((struct want){ { __VA_ARGS__ } })

static bool want_met(struct want want, int err)
{
	int i;

	if (!want.err[0])
		return !err;
	for (i = 0; i < ARRAY_SIZE(want.err); i++)
		if (want.err[i] && want.err[i] == err)
			return true;
	return false;
}

static struct want want_vector(const struct model *m, const struct reg *reg, bool fault)
{
	bool exists;

	switch (reg->class) {
	case REG_FFR:
		exists = has_sm(m) ? m->fa64 : m->sve;
		break;
	case REG_ZA:
		if (m->sme && reg->n >= m->sme_vl)
			return WANT(EINVAL);
		exists = m->sme;
		break;
	case REG_ZT0:
		exists = m->sme2;
		break;
	default:
		exists = m->sve || has_sm(m);
		break;
	}

	if (!exists)
		return WANT(ENOENT);
	if ((reg->class == REG_ZA || reg->class == REG_ZT0) && !has_za(m))
		return WANT(EBUSY);
	if (!m->finalized)
		return WANT(EPERM);
	return WANT(fault ? EFAULT : 0);
}

/* @set: a write, of the value that is there if it can be read. */
static struct want want_access(const struct model *m, const struct reg *reg, bool set, bool fault)
{
	bool exists;

	switch (reg->class) {
	case REG_Z ... REG_ZT0:
		return want_vector(m, reg, fault);
	case REG_V:
		if (m->sve || has_sm(m))
			return WANT(EINVAL);
		return WANT(fault ? EFAULT : 0);
	case REG_FPSR:
	case REG_FPCR:
		return WANT(fault ? EFAULT : 0);
	case REG_SVE_VLS:
	case REG_SME_VLS:
		exists = reg->class == REG_SVE_VLS ? m->sve : m->sme;
		if (!exists)
			return WANT(ENOENT);
		/* Also after finalize: what is written is what is there. */
		return WANT(fault ? EFAULT : 0);
	case REG_SVCR:
	case REG_SME_SYSREG:
	case REG_FPMR:
		if (set && fault)
			return WANT(EFAULT);
		exists = reg->class == REG_FPMR ? m->fpmr : m->sme;
		if (!exists)
			return WANT(ENOENT);
		return WANT(fault ? EFAULT : 0);
	case REG_BAD_VECTOR:
		return WANT(EINVAL);
	case REG_BAD_SLICE:
		return WANT(ENOENT);
	case REG_BAD_SYSREG:
		return WANT(set && fault ? EFAULT : ENOENT);
	case REG_BAD_CORE:
		return WANT(EINVAL);
	}
	TEST_FAIL("no such class");
}

static const char *model_name(const struct model *m)
{
	static char name[96];

	snprintf(name, sizeof(name), "%s%s SM=%d ZA=%d%s%s", m->sve ? "SVE " : "",
		 m->sme ? m->sme2 ? "SME2" : "SME1" : "", has_sm(m), has_za(m),
		 m->fa64 ? " FA64" : "", m->finalized ? "" : " before finalize");
	return name;
}

static void *bad_address;

static void check_access(const struct model *m, const struct reg *reg, bool set, bool fault,
			 void *value)
{
	struct want want = want_access(m, reg, set, fault);
	int err;

	if (set)
		err = sme_set(m->vcpu, reg->id, fault ? bad_address : value);
	else
		err = sme_get(m->vcpu, reg->id, fault ? bad_address : value);

	SME_CHECK(want_met(want, err), "%s: %s %s%u (%#lx)%s: errno %d, not %d or %d",
		  model_name(m), set ? "write" : "read", reg->name, reg->n, reg->id,
		  fault ? " at a bad address" : "", err, want.err[0], want.err[1]);
}

/* Each register: a read, the same with a bad address, and the same for writes. */
static void check_accesses(const struct model *m, const struct reg *reg)
{
	u8 value[SME_REG_BYTES] = {};

	check_access(m, reg, false, false, value);
	check_access(m, reg, false, true, value);
	check_access(m, reg, true, false, value);
	check_access(m, reg, true, true, value);
}

#define RESIZED(id, size)	(((id) & ~KVM_REG_SIZE_MASK) | KVM_REG_SIZE_ ## size)
#define SVE_BAD(size, low)	(KVM_REG_ARM64 | KVM_REG_ARM64_SVE | KVM_REG_SIZE_ ## size | (low))
#define SME_BAD(size, low)	(KVM_REG_ARM64 | KVM_REG_ARM64_SME | KVM_REG_SIZE_ ## size | (low))

/* All rows of the table of errors, and the first and last of each class of register. */
static const struct reg error_regs[] = {
	{ KVM_REG_ARM64_SVE_ZREG(0, 0),	  REG_Z,   0,	"Z" },
	{ KVM_REG_ARM64_SVE_ZREG(31, 0),  REG_Z,   31,	"Z" },
	{ KVM_REG_ARM64_SVE_PREG(0, 0),	  REG_P,   0,	"P" },
	{ KVM_REG_ARM64_SVE_PREG(15, 0),  REG_P,   15,	"P" },
	{ KVM_REG_ARM64_SVE_FFR(0),	  REG_FFR, 0,	"FFR" },
	{ KVM_REG_ARM64_SME_ZAHREG(0, 0), REG_ZA,  0,	"ZA" },
	{ KVM_REG_ARM64_SME_ZAHREG(15, 0), REG_ZA, 15,	"ZA" },
	{ KVM_REG_ARM64_SME_ZTREG(0),	  REG_ZT0, 0,	"ZT" },
	{ KVM_REG_ARM64_SVE_VLS,	  REG_SVE_VLS, 0, "SVE_VLS" },
	{ KVM_REG_ARM64_SME_VLS,	  REG_SME_VLS, 0, "SME_VLS" },
	{ SME_V_ID(0),			  REG_V,   0,	"V" },
	{ SME_V_ID(31),			  REG_V,   31,	"V" },
	{ SME_FPSR_ID,			  REG_FPSR, 0,	"FPSR" },
	{ SME_FPCR_ID,			  REG_FPCR, 0,	"FPCR" },
	{ SME_ID(SVCR),			  REG_SVCR, 0,	"SVCR" },
	{ SME_ID(FPMR),			  REG_FPMR, 0,	"FPMR" },
	{ SME_ID(SMCR_EL1),		  REG_SME_SYSREG, 0, "SMCR_EL" },
	{ SME_ID(SMIDR_EL1),		  REG_SME_SYSREG, 0, "SMIDR_EL" },
	{ SME_ID(TPIDR2_EL0),		  REG_SME_SYSREG, 0, "TPIDR2_EL" },

	/* Another slice than 0 */
	{ KVM_REG_ARM64_SVE_ZREG(3, 1),	  REG_BAD_SLICE, 0, "Z slice" },
	{ KVM_REG_ARM64_SVE_ZREG(31, 31), REG_BAD_SLICE, 0, "Z slice" },
	{ KVM_REG_ARM64_SVE_PREG(3, 1),	  REG_BAD_SLICE, 0, "P slice" },
	{ KVM_REG_ARM64_SVE_FFR(1),	  REG_BAD_SLICE, 0, "FFR slice" },
	{ KVM_REG_ARM64_SME_ZAHREG(0, 1), REG_BAD_SLICE, 0, "ZA slice" },
	{ KVM_REG_ARM64_SME_ZAHREG(15, 31), REG_BAD_SLICE, 0, "ZA slice" },

	/* Another size than the register's */
	{ SVE_BAD(U1024, 0),		  REG_BAD_VECTOR, 0, "Z of 1024 bits" },
	{ SVE_BAD(U64, 0),		  REG_BAD_VECTOR, 0, "Z of 64 bits" },
	{ SVE_BAD(U2048, 0x400),	  REG_BAD_VECTOR, 0, "P of 2048 bits" },
	{ SVE_BAD(U128, 0x400),		  REG_BAD_VECTOR, 0, "P of 128 bits" },
	{ SVE_BAD(U2048, 0x600),	  REG_BAD_VECTOR, 0, "FFR of 2048 bits" },
	{ SVE_BAD(U2048, 0xffff),	  REG_BAD_VECTOR, 0, "SVE_VLS of 2048 bits" },
	{ SVE_BAD(U64, 0xffff),		  REG_BAD_VECTOR, 0, "SVE_VLS of 64 bits" },
	{ SME_BAD(U1024, 0),		  REG_BAD_VECTOR, 0, "ZA of 1024 bits" },
	{ SME_BAD(U512, 0),		  REG_BAD_VECTOR, 0, "ZA of 512 bits" },
	{ SME_BAD(U64, 0),		  REG_BAD_VECTOR, 0, "ZA of 64 bits" },
	{ SME_BAD(U256, 0x600),		  REG_BAD_VECTOR, 0, "ZT0 of 256 bits" },
	{ SME_BAD(U2048, 0xfffe),	  REG_BAD_VECTOR, 0, "SME_VLS of 2048 bits" },
	{ SME_BAD(U64, 0xfffe),		  REG_BAD_VECTOR, 0, "SME_VLS of 64 bits" },
	{ RESIZED(SME_ID(SVCR), U32),	  REG_BAD_SYSREG, 0, "SVCR of 32 bits" },
	{ RESIZED(SME_ID(SVCR), U128),	  REG_BAD_SYSREG, 0, "SVCR of 128 bits" },
	{ RESIZED(SME_ID(TPIDR2_EL0), U32), REG_BAD_SYSREG, 0, "TPIDR2_EL0 of 32 bits" },
	{ RESIZED(SME_V_ID(0), U64),	  REG_BAD_CORE, 0, "V of 64 bits" },
	{ RESIZED(SME_V_ID(0), U2048),	  REG_BAD_CORE, 0, "V of 2048 bits" },
	{ RESIZED(SME_FPSR_ID, U64),	  REG_BAD_CORE, 0, "FPSR of 64 bits" },

	/* Ids that nothing has */
	{ SVE_BAD(U2048, 0x800),	  REG_BAD_VECTOR, 0, "unknown" },
	{ SVE_BAD(U256, 0x620),		  REG_BAD_VECTOR, 0, "unknown" },
	{ SVE_BAD(U512, 0xfffe),	  REG_BAD_VECTOR, 0, "unknown" },
	{ SME_BAD(U2048, 256 << 5),	  REG_BAD_VECTOR, 0, "ZA row 256" },
	{ SME_BAD(U512, 0x601),		  REG_BAD_VECTOR, 0, "ZT0 slice" },
	{ SME_BAD(U512, 0x61f),		  REG_BAD_VECTOR, 0, "ZT0 slice" },
	{ SME_BAD(U512, 0x620),		  REG_BAD_VECTOR, 0, "ZT1" },
	{ SME_BAD(U512, 0xffff),	  REG_BAD_VECTOR, 0, "unknown" },
	{ ARM64_SYS_REG(3, 3, 4, 2, 7),	  REG_BAD_SYSREG, 0, "unknown" },
};

/* Values of SVCR with a bit that it does not have. */
static const u64 bad_svcr[] = { 4, 7, BIT(8), BIT(32) | 1, BIT(63), ~0UL };

static void check_bad_svcr(const struct model *m)
{
	u64 svcr;
	int i, err;

	for (i = 0; i < ARRAY_SIZE(bad_svcr); i++) {
		err = sme_set(m->vcpu, SME_ID(SVCR), &bad_svcr[i]);
		SME_CHECK(err == EINVAL, "%s: SVCR = %#lx gives errno %d", model_name(m),
			  bad_svcr[i], err);
		svcr = vcpu_get_reg(m->vcpu, SME_ID(SVCR));
		SME_CHECK(svcr == m->svcr, "%s: SVCR is %#lx after it was refused %#lx",
			  model_name(m), svcr, bad_svcr[i]);
	}
}

static void check_all_errors(struct model *m)
{
	unsigned int svcr, i;
	struct reg row;

	for (svcr = 0; svcr < model_nr_svcr(m); svcr++) {
		model_set_svcr(m, svcr);
		for (i = 0; i < ARRAY_SIZE(error_regs); i++)
			check_accesses(m, &error_regs[i]);
		if (!m->sme)
			continue;
		check_bad_svcr(m);

		for (i = m->sme_vl; m->finalized && i < KVM_ARM64_SME_MAX_ZAHREG; i++) {
			row = (struct reg){ KVM_REG_ARM64_SME_ZAHREG(i, 0), REG_ZA, i, "ZA" };
			check_accesses(m, &row);
		}
	}
}

/* Turns features of SME off in the guest's ID registers. */
static bool model_lower(struct model *m, bool sme2, bool fa64)
{
	bool can = (!sme2 || m->sme2) && (!fa64 || m->fa64);
	int err;

	if (!can)
		return false;
	if (sme2) {
		err = sme_set_field(m->vcpu, SME_ID(ID_AA64PFR1_EL1), FIELD_SME, 1);
		SME_CHECK(!err, "ID_AA64PFR1_EL1.SME = 1 gives errno %d", err);
	}
	if (fa64) {
		err = sme_set_field(m->vcpu, SME_ID(ID_AA64SMFR0_EL1), FIELD_FA64, 0);
		SME_CHECK(!err, "ID_AA64SMFR0_EL1.FA64 = 0 gives errno %d", err);
	}
	model_refresh(m);
	return SME_CHECK(!(sme2 && m->sme2) && !(fa64 && m->fa64), "%s: not lowered",
			 model_name(m));
}

static void test_errors(unsigned int kind)
{
	struct model m = model_init(kind);

	check_all_errors(&m);
	model_set_svcr(&m, 0);
	model_finalize(&m);
	check_all_errors(&m);

	/* Registers that go with a feature of SME's */
	if (model_lower(&m, true, false))
		check_all_errors(&m);
	if (model_lower(&m, false, true))
		check_all_errors(&m);

	/* The smallest set of rows, and so the most rows that there are not */
	if (m.sme && sme_max_vl(sme_vqs) != sme_max_vl(sme_first_vqs(sme_vqs, 1))) {
		model_free(&m);
		m = model_init(kind);
		sme_set_vqs(m.vcpu, KVM_REG_ARM64_SME_VLS, sme_first_vqs(sme_vqs, 1));
		model_finalize(&m);
		check_all_errors(&m);
	}
	model_free(&m);
}

/* All ids of the sizes that registers have, and one in 61 of the others; else one in 257 of all. */
static bool every_id;

/* What an id of one of the two classes is, by its size and its low bits. */
static struct reg reg_of(u64 id)
{
	const bool sme = (id & KVM_REG_ARM_COPROC_MASK) == KVM_REG_ARM64_SME;
	const unsigned int low = id & 0xffff, number = low >> 5;
	const u64 size = id & KVM_REG_SIZE_MASK;
	struct reg reg = { id, REG_BAD_VECTOR, low, "id " };

	if (size == KVM_REG_SIZE_U512 && low == (sme ? 0xfffe : 0xffff))
		reg.class = sme ? REG_SME_VLS : REG_SVE_VLS;
	else if (size == KVM_REG_SIZE_U512 && sme && low == 0x600)
		reg.class = REG_ZT0;
	else if (size == KVM_REG_SIZE_U2048 && number < (sme ? KVM_ARM64_SME_MAX_ZAHREG : SME_NR_Z))
		reg = (struct reg){ id, sme ? REG_ZA : REG_Z, number, sme ? "ZA" : "Z" };
	else if (size == KVM_REG_SIZE_U256 && !sme && number >= SME_NR_Z &&
		 number <= SME_NR_Z + SME_NR_P)
		reg = (struct reg){ id, number == SME_NR_Z + SME_NR_P ? REG_FFR : REG_P,
				    number - SME_NR_Z, "P" };

	/* Z, P, FFR and ZA have one slice. */
	if (reg.class >= REG_Z && reg.class <= REG_ZA && low & 0x1f)
		reg.class = REG_BAD_SLICE;
	return reg;
}

/* P and FFR, *_VLS and ZT0, Z and ZA */
static bool has_registers(u64 ids)
{
	return KVM_REG_SIZE(ids) == 32 || KVM_REG_SIZE(ids) == 64 || KVM_REG_SIZE(ids) == 256;
}

static void check_every_id(const struct model *m)
{
	static const u64 classes[] = { KVM_REG_ARM64_SVE, KVM_REG_ARM64_SME };
	unsigned int class, low, step;
	u8 value[SME_REG_BYTES];
	struct reg reg;
	u64 size;

	for (class = 0; class < ARRAY_SIZE(classes); class++) {
		for (size = 0; size < 16; size++) {
			const u64 ids = KVM_REG_ARM64 | size << KVM_REG_SIZE_SHIFT | classes[class];
			/* Primes, so that each place of a slice and each number come by. */
			step = !every_id ? 257 : has_registers(ids) ? 1 : 61;
			for (low = 0; low <= 0xffff; low += step) {
				reg = reg_of(ids | low);
				check_access(m, &reg, false, false, value);
			}
		}
	}
}

static void test_every_id(unsigned int kind)
{
	struct model m = model_init(kind);
	unsigned int svcr;

	for (svcr = 0; svcr < model_nr_svcr(&m); svcr++) {
		model_set_svcr(&m, svcr);
		check_every_id(&m);
	}
	model_set_svcr(&m, 0);
	model_finalize(&m);
	for (svcr = 0; svcr < model_nr_svcr(&m); svcr++) {
		model_set_svcr(&m, svcr);
		check_every_id(&m);
	}
	model_free(&m);
}

/* Before KVM_ARM_VCPU_INIT there is nothing. */
static void test_uninit(unsigned int kind)
{
	struct kvm_vm *vm = vm_create_barebones();
	struct kvm_vcpu *vcpu = __vm_vcpu_add(vm, 0);
	struct kvm_reg_list list = { .n = 0 };
	u8 value[SME_REG_BYTES] = {};
	int i, err;

	for (i = 0; i < ARRAY_SIZE(error_regs); i++) {
		err = sme_get(vcpu, error_regs[i].id, value);
		SME_CHECK(err == ENOEXEC, "read %#lx: errno %d", error_regs[i].id, err);
		err = sme_set(vcpu, error_regs[i].id, value);
		SME_CHECK(err == ENOEXEC, "write %#lx: errno %d", error_regs[i].id, err);
		err = sme_set(vcpu, error_regs[i].id, bad_address);
		SME_CHECK(err == ENOEXEC, "bad write %#lx: errno %d", error_regs[i].id, err);
	}
	err = sme_finalize(vcpu);
	SME_CHECK(err == ENOEXEC, "finalize: errno %d", err);
	err = __vcpu_ioctl(vcpu, KVM_GET_REG_LIST, &list) ? errno : 0;
	SME_CHECK(err == ENOEXEC, "KVM_GET_REG_LIST: errno %d", err);
	err = __vcpu_run(vcpu) ? errno : 0;
	SME_CHECK(err == ENOEXEC, "KVM_RUN: errno %d", err);
	kvm_vm_free(vm);
}

/* The capability and KVM_ARM_VCPU_INIT agree. */
static void test_capability(unsigned int kind)
{
	struct kvm_vm *vm = vm_create_barebones();
	struct kvm_vcpu *vcpu = __vm_vcpu_add(vm, 0);
	struct kvm_vcpu_init init = sme_init_for(vm, SME_KIND_SME);
	int cap = vm_check_cap(vm, KVM_CAP_ARM_SME);
	int err;

	SME_CHECK(cap == 0 || cap == 1, "the capability is %d", cap);
	SME_CHECK(cap == kvm_check_cap(KVM_CAP_ARM_SME), "the VM's capability differs");
	SME_CHECK(!cap || sme_vqs, "a host without SME offers it");
	err = __vcpu_ioctl(vcpu, KVM_ARM_VCPU_INIT, &init) ? errno : 0;
	SME_CHECK(cap ? !err : err == EINVAL || err == ENOENT,
		  "init with SME: errno %d, capability %d", err, cap);

	/* The bit above stays unknown. */
	init.features[0] = BIT(KVM_ARM_VCPU_SME + 1);
	err = __vcpu_ioctl(vcpu, KVM_ARM_VCPU_INIT, &init) ? errno : 0;
	SME_CHECK(err == ENOENT, "init with an unknown feature: errno %d", err);
	kvm_vm_free(vm);
}

/*
 * Vector lengths and finalize
 */

static void check_vls_writes(struct kvm_vcpu *vcpu, u64 id, u64 host)
{
	unsigned int max_vq = sme_max_vl(host) / 16, vq;
	u64 vqs[KVM_ARM64_SVE_VLS_WORDS] = {};
	u64 set;
	int err;

	err = sme_set_vqs(vcpu, id, 0);
	SME_CHECK(err == EINVAL, "an empty set: errno %d", err);

	/* Each set that is the host's up to a length of the host's, and nothing else */
	for (vq = 1; vq <= SME_MAX_VQ + 1; vq++) {
		set = (host & (BIT(vq) - 1)) | BIT(vq - 1);
		err = sme_set_vqs(vcpu, id, set);
		if (host & BIT(vq - 1)) {
			SME_CHECK(!err, "%#lx of the host's %#lx: errno %d", set, host, err);
			SME_CHECK(sme_get_vqs(vcpu, id) == set, "%#lx was written, %#lx is there",
				  set, sme_get_vqs(vcpu, id));
		} else {
			SME_CHECK(err == EINVAL, "%#lx on a host with %#lx: errno %d", set, host,
				  err);
		}
	}

	/* A hole, for each of the host's lengths but the greatest */
	for (vq = 1; vq < max_vq; vq++) {
		if (!(host & BIT(vq - 1)))
			continue;
		err = sme_set_vqs(vcpu, id, host & ~BIT(vq - 1));
		SME_CHECK(err == EINVAL, "%#lx, with a hole at %u: errno %d", host, vq, err);
	}

	/* A length that the host does not have, below one that it has */
	for (vq = 1; vq < max_vq; vq++) {
		if (host & BIT(vq - 1))
			continue;
		err = sme_set_vqs(vcpu, id, host | BIT(vq - 1));
		SME_CHECK(err == EINVAL, "%#lx, with %u too: errno %d", host, vq, err);
	}

	/* Above what there can be, in another word too */
	err = sme_set_vqs(vcpu, id, host | BIT(63));
	SME_CHECK(err == EINVAL, "bit 63: errno %d", err);
	vqs[0] = host;
	vqs[ARRAY_SIZE(vqs) - 1] = BIT(63);
	err = sme_set(vcpu, id, vqs);
	SME_CHECK(err == EINVAL, "the last bit: errno %d", err);
	memset(vqs, 0xff, sizeof(vqs));
	err = sme_set(vcpu, id, vqs);
	SME_CHECK(err == EINVAL, "all ones: errno %d", err);

	/* What was refused changed nothing. */
	SME_CHECK(sme_get_vqs(vcpu, id) == host, "%#lx is left, not the %#lx written last",
		  sme_get_vqs(vcpu, id), host);
}

static void check_unfinished(struct kvm_vcpu *vcpu)
{
	struct kvm_reg_list list = { .n = 0 };
	int err;

	err = __vcpu_ioctl(vcpu, KVM_GET_REG_LIST, &list) ? errno : 0;
	SME_CHECK(err == EPERM, "KVM_GET_REG_LIST before finalize: errno %d", err);
	err = __vcpu_run(vcpu) ? errno : 0;
	SME_CHECK(err == EPERM, "KVM_RUN before finalize: errno %d", err);
}

static void check_finalize(unsigned int kind, u64 sve, u64 sme)
{
	struct kvm_vcpu *vcpu = sme_bare_vcpu_final(kind, sve, sme);
	struct kvm_reg_list list = { .n = 0 };
	int err;

	if (kind & SME_KIND_SVE) {
		SME_CHECK(sme_get_vqs(vcpu, KVM_REG_ARM64_SVE_VLS) == (sve ?: sve_vqs),
			  "SVE_VLS changes at finalize");
		err = sme_set_vqs(vcpu, KVM_REG_ARM64_SVE_VLS, sve ?: sve_vqs);
		SME_CHECK(!err, "SVE_VLS after finalize: errno %d", err);
	}
	if (kind & SME_KIND_SME) {
		SME_CHECK(sme_get_vqs(vcpu, KVM_REG_ARM64_SME_VLS) == (sme ?: sme_vqs),
			  "SME_VLS changes at finalize");
		err = sme_set_vqs(vcpu, KVM_REG_ARM64_SME_VLS, sme ?: sme_vqs);
		SME_CHECK(!err, "SME_VLS after finalize: errno %d", err);
		err = sme_set_vqs(vcpu, KVM_REG_ARM64_SME_VLS, (sme ?: sme_vqs) | BIT(16));
		SME_CHECK(err == EPERM, "a larger SME_VLS after finalize: errno %d", err);
		err = sme_set_vqs(vcpu, KVM_REG_ARM64_SME_VLS, (sme ?: sme_vqs) & 1);
		SME_CHECK((sme ?: sme_vqs) == 1 ? !err : err == EPERM,
			  "a smaller SME_VLS after finalize: errno %d", err);
		err = sme_set_vqs(vcpu, KVM_REG_ARM64_SME_VLS, 0);
		SME_CHECK(err == EPERM, "an empty SME_VLS after finalize: errno %d", err);
	}
	err = sme_finalize(vcpu);
	SME_CHECK(err == EPERM, "second finalize: errno %d", err);
	err = __vcpu_ioctl(vcpu, KVM_GET_REG_LIST, &list) ? errno : 0;
	SME_CHECK(err == E2BIG && list.n > 100, "KVM_GET_REG_LIST: errno %d, %llu registers", err,
		  list.n);
	kvm_vm_free(vcpu->vm);
}

static void test_vls(unsigned int kind)
{
	struct kvm_vcpu *vcpu = sme_bare_vcpu(kind);
	int err, feature;

	if (!kind) {
		err = sme_finalize(vcpu);
		SME_CHECK(err == EINVAL, "finalize without a vector feature: errno %d", err);
		kvm_vm_free(vcpu->vm);
		return;
	}

	/* By default all that the host has. */
	if (kind & SME_KIND_SVE)
		SME_CHECK(sme_get_vqs(vcpu, KVM_REG_ARM64_SVE_VLS) == sve_vqs,
			  "SVE lengths: %#lx, the host's: %#lx",
			  sme_get_vqs(vcpu, KVM_REG_ARM64_SVE_VLS), sve_vqs);
	if (kind & SME_KIND_SME)
		SME_CHECK(sme_get_vqs(vcpu, KVM_REG_ARM64_SME_VLS) == sme_vqs,
			  "SME lengths: %#lx, the host's: %#lx",
			  sme_get_vqs(vcpu, KVM_REG_ARM64_SME_VLS), sme_vqs);
	check_unfinished(vcpu);

	if (kind & SME_KIND_SVE)
		check_vls_writes(vcpu, KVM_REG_ARM64_SVE_VLS, sve_vqs);
	if (kind & SME_KIND_SME)
		check_vls_writes(vcpu, KVM_REG_ARM64_SME_VLS, sme_vqs);
	check_unfinished(vcpu);

	/* Features that nothing finalizes, and that change nothing */
	for (feature = 0; feature <= KVM_ARM_VCPU_SME + 1; feature++) {
		if (feature == KVM_ARM_VCPU_VEC)
			continue;
		err = __vcpu_ioctl(vcpu, KVM_ARM_VCPU_FINALIZE, &feature) ? errno : 0;
		SME_CHECK(err == EINVAL, "finalize of feature %d: errno %d", feature, err);
	}
	check_unfinished(vcpu);
	kvm_vm_free(vcpu->vm);

	TEST_ASSERT(KVM_ARM_VCPU_VEC == KVM_ARM_VCPU_SVE, "one finalize for both");
	check_finalize(kind, 0, 0);
	check_finalize(kind, sme_first_vqs(sve_vqs, 1), sme_first_vqs(sme_vqs, 1));
	check_finalize(kind, sme_first_vqs(sve_vqs, 2), sme_first_vqs(sme_vqs, 2));
}

/*
 * The vCPU's whole FP, SVE and SME state, as user space reads and writes it
 */

struct state {
	u8 z[SME_NR_Z][SME_REG_BYTES];
	u8 p[SME_NR_P][SME_REG_BYTES];
	u8 ffr[SME_REG_BYTES];
	u8 za[SME_MAX_VL][SME_REG_BYTES];
	u8 zt0[SME_REG_BYTES];
	u8 v[SME_NR_Z][SME_REG_BYTES];
	u8 fpsr[SME_REG_BYTES], fpcr[SME_REG_BYTES], fpmr[SME_REG_BYTES];
	u8 tpidr2[SME_REG_BYTES];
};

static bool reg_exists(const struct model *m, const struct reg *reg)
{
	return want_met(want_access(m, reg, false, false), 0);
}

/* The bytes of the register that mean something; the rest of its container is zero. */
static unsigned int reg_bytes(const struct model *m, const struct reg *reg)
{
	switch (reg->class) {
	case REG_Z:
		return model_vl(m);
	case REG_P:
	case REG_FFR:
		return model_vl(m) / 8;
	case REG_ZA:
		return m->sme_vl;
	default:
		return KVM_REG_SIZE(reg->id);
	}
}

typedef void (*reg_fn)(const struct model *m, const struct reg *reg, u8 *value, void *data);

static void walk_regs(const struct model *m, struct state *s, reg_fn fn, void *data)
{
	const struct reg ffr = { KVM_REG_ARM64_SVE_FFR(0), REG_FFR, 0, "FFR" };
	const struct reg zt0 = { KVM_REG_ARM64_SME_ZTREG(0), REG_ZT0, 0, "ZT" };
	const struct reg fpsr = { SME_FPSR_ID, REG_FPSR, 0, "FPSR" };
	const struct reg fpcr = { SME_FPCR_ID, REG_FPCR, 0, "FPCR" };
	const struct reg fpmr = { SME_ID(FPMR), REG_FPMR, 0, "FPMR" };
	const struct reg tpidr2 = { SME_ID(TPIDR2_EL0), REG_SME_SYSREG, 0, "TPIDR2_EL" };
	struct reg reg;
	int i;

	for (i = 0; i < SME_NR_Z; i++) {
		reg = (struct reg){ KVM_REG_ARM64_SVE_ZREG(i, 0), REG_Z, i, "Z" };
		fn(m, &reg, s->z[i], data);
		reg = (struct reg){ SME_V_ID(i), REG_V, i, "V" };
		fn(m, &reg, s->v[i], data);
	}
	for (i = 0; i < SME_NR_P; i++) {
		reg = (struct reg){ KVM_REG_ARM64_SVE_PREG(i, 0), REG_P, i, "P" };
		fn(m, &reg, s->p[i], data);
	}
	for (i = 0; i < SME_MAX_VL; i++) {
		reg = (struct reg){ KVM_REG_ARM64_SME_ZAHREG(i, 0), REG_ZA, i, "ZA" };
		fn(m, &reg, s->za[i], data);
	}
	fn(m, &ffr, s->ffr, data);
	fn(m, &zt0, s->zt0, data);
	fn(m, &fpsr, s->fpsr, data);
	fn(m, &fpcr, s->fpcr, data);
	fn(m, &fpmr, s->fpmr, data);
	fn(m, &tpidr2, s->tpidr2, data);
}

static void randomize_one(const struct model *m, const struct reg *reg, u8 *value)
{
	int err;

	if (!reg_exists(m, reg))
		return;

	/* Past the vector length too: that must be ignored. */
	sme_fill_random(value, SME_REG_BYTES);
	if (reg->class == REG_FPMR)
		*(u64 *)value &= SME_FPMR_MASK;
	if (reg->class == REG_FPCR)
		*(u32 *)value &= 0x07c00000;
	if (reg->class == REG_FPSR)
		*(u32 *)value &= SME_FPSR_RESET;
	if (reg->class == REG_FPSR && *(u32 *)value == SME_FPSR_RESET)
		*(u32 *)value = 1;

	err = sme_set(m->vcpu, reg->id, value);
	SME_CHECK(!err, "%s: write %s%u: errno %d", model_name(m), reg->name, reg->n, err);
	memset(value + reg_bytes(m, reg), 0, SME_REG_BYTES - reg_bytes(m, reg));
}

static void check_one(const struct model *m, const struct reg *reg, u8 *value, void *data)
{
	unsigned int size = KVM_REG_SIZE(reg->id), at;
	const char *what = data;
	u8 now[SME_REG_BYTES];
	int err;

	if (!reg_exists(m, reg))
		return;

	memset(now, 0xa5, sizeof(now));
	err = sme_get(m->vcpu, reg->id, now);
	SME_CHECK(!err, "%s, %s: read %s%u: errno %d", what, model_name(m), reg->name, reg->n, err);
	for (at = 0; at < size && now[at] == value[at]; at++)
		;
	SME_CHECK(at == size, "%s, %s: %s%u byte %u of %u: %#x, not %#x", what, model_name(m),
		  reg->name, reg->n, at, reg_bytes(m, reg), now[at], value[at]);
	for (at = size; at < SME_REG_BYTES && now[at] == 0xa5; at++)
		;
	SME_CHECK(at == SME_REG_BYTES, "%s: read %s%u wrote past its %u bytes", what, reg->name,
		  reg->n, size);
}

/* All that a walk comes by, to go through it in another order. */
struct walked {
	unsigned int count;
	struct {
		struct reg reg;
		u8 *value;
	} at[2 * SME_NR_Z + SME_NR_P + SME_MAX_VL + 6];
};

static void note_one(const struct model *m, const struct reg *reg, u8 *value, void *data)
{
	struct walked *walked = data;

	TEST_ASSERT(walked->count < ARRAY_SIZE(walked->at), "more registers than there can be");
	walked->at[walked->count].reg = *reg;
	walked->at[walked->count++].value = value;
}

/*
 * Random values in all registers of the present mode.  All are written before any is
 * read, so that registers which share storage show it, and each time in another order,
 * so that one which destroys others does not come before them always.
 */
static void randomize(const struct model *m, struct state *s)
{
	static struct walked walked;
	static unsigned int nth[ARRAY_SIZE(walked.at)];
	unsigned int i;

	walked.count = 0;
	walk_regs(m, s, note_one, &walked);
	sme_arrange(nth, walked.count);
	for (i = 0; i < walked.count; i++)
		randomize_one(m, &walked.at[nth[i]].reg, walked.at[nth[i]].value);
}

static void check_state(const struct model *m, struct state *s, const char *what)
{
	walk_regs(m, s, check_one, (void *)what);
}

/* What a write of SVCR does to the state: the table of the documentation, in C. */
static void expect_svcr(struct model *m, struct state *s, u64 svcr)
{
	u64 changed = m->svcr ^ svcr;

	if (changed & SME_SM) {
		memset(s->z, 0, sizeof(s->z));
		memset(s->p, 0, sizeof(s->p));
		memset(s->ffr, 0, sizeof(s->ffr));
		memset(s->v, 0, sizeof(s->v));
		memset(s->fpmr, 0, sizeof(s->fpmr));
		*(u32 *)s->fpsr = SME_FPSR_RESET;
	}
	if (changed & SME_ZA) {
		memset(s->za, 0, sizeof(s->za));
		memset(s->zt0, 0, sizeof(s->zt0));
	}
}

static void change_svcr(struct model *m, struct state *s, u64 svcr)
{
	u64 now;

	expect_svcr(m, s, svcr);
	model_set_svcr(m, svcr);
	if (!m->sme)
		return;
	now = vcpu_get_reg(m->vcpu, SME_ID(SVCR));
	SME_CHECK(now == svcr, "%s: SVCR reads %#lx", model_name(m), now);
}

static void test_svcr(unsigned int kind)
{
	struct model m = model_new(kind);
	unsigned int from, to;
	struct state s = {};

	for (from = 0; from < SME_NR_SVCR; from++) {
		for (to = 0; to < SME_NR_SVCR; to++) {
			change_svcr(&m, &s, from);
			randomize(&m, &s);
			check_state(&m, &s, "as written");
			change_svcr(&m, &s, to);
			check_state(&m, &s, "after a write of SVCR");

			/* ZA that went away is not there when it comes back. */
			change_svcr(&m, &s, to | SME_ZA);
			check_state(&m, &s, "with ZA on again");
			change_svcr(&m, &s, to ^ SME_SM);
			change_svcr(&m, &s, to);
			check_state(&m, &s, "there and back");
		}
	}
	model_free(&m);
}

/* SVCR can be written before finalize, and does there what it does later. */
static void test_svcr_early(unsigned int kind)
{
	unsigned int from, to;
	struct state s = {};
	struct model m;

	for (from = 0; from < SME_NR_SVCR; from++) {
		m = model_init(kind);
		for (to = 0; to < SME_NR_SVCR; to++) {
			change_svcr(&m, &s, from);
			randomize(&m, &s);
			check_state(&m, &s, "before finalize");
			change_svcr(&m, &s, to);
			check_state(&m, &s, "before finalize, SVCR written");
		}
		change_svcr(&m, &s, from);
		model_finalize(&m);
		SME_CHECK(vcpu_get_reg(m.vcpu, SME_ID(SVCR)) == from,
			  "SVCR is not %u any more after finalize", from);

		/* Nothing has been written to these. */
		memset(s.z, 0, sizeof(s.z));
		memset(s.p, 0, sizeof(s.p));
		memset(s.ffr, 0, sizeof(s.ffr));
		memset(s.za, 0, sizeof(s.za));
		memset(s.zt0, 0, sizeof(s.zt0));
		check_state(&m, &s, "fresh after finalize");
		randomize(&m, &s);
		check_state(&m, &s, "written after finalize");
		model_free(&m);
	}
}

static void check_sizes(unsigned int kind, u64 sve, u64 sme)
{
	struct model m = model_init(kind);
	struct state s = {};
	unsigned int svcr;

	SME_CHECK(!m.sve || !sme_set_vqs(m.vcpu, KVM_REG_ARM64_SVE_VLS, sve), "SVE %#lx", sve);
	SME_CHECK(!m.sme || !sme_set_vqs(m.vcpu, KVM_REG_ARM64_SME_VLS, sme), "SME %#lx", sme);
	model_finalize(&m);
	SME_CHECK(!m.sve || m.sve_vl == sme_max_vl(sve), "SVE length %u", m.sve_vl);
	SME_CHECK(!m.sme || m.sme_vl == sme_max_vl(sme), "SME length %u", m.sme_vl);

	/* All is zero, but this resets to something unknown. */
	if (m.sme)
		sme_get(m.vcpu, SME_ID(TPIDR2_EL0), s.tpidr2);
	check_state(&m, &s, "fresh");
	for (svcr = 0; svcr < model_nr_svcr(&m); svcr++) {
		change_svcr(&m, &s, svcr);
		check_state(&m, &s, "before any write");
		randomize(&m, &s);
		check_state(&m, &s, "written");
		randomize(&m, &s);
		check_state(&m, &s, "written twice");
	}
	model_free(&m);
}

/* Registers are as long as the mode's vector length, for each length. */
static void test_sizes(unsigned int kind)
{
	unsigned int i, n_sve = __builtin_popcountl(sve_vqs), n_sme = __builtin_popcountl(sme_vqs);

	/* The SVE lengths against the grain: long ones go with short SME ones. */
	if (!(kind & SME_KIND_SME)) {
		check_sizes(kind, sme_first_vqs(sve_vqs, 1), 0);
		check_sizes(kind, sme_first_vqs(sve_vqs, n_sve / 2 ?: 1), 0);
		check_sizes(kind, sve_vqs, 0);
		return;
	}
	for (i = 1; i <= n_sme; i++)
		check_sizes(kind,
			    sme_first_vqs(sve_vqs, i == n_sme || n_sve <= i ? 1 : n_sve - i + 1),
			    sme_first_vqs(sme_vqs, i));
}

/*
 * The list
 */

static int compare_u64(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

static bool in_list(const struct kvm_reg_list *list, u64 id)
{
	return bsearch(&id, list->reg, list->n, sizeof(list->reg[0]), compare_u64);
}

/* Sorted; the order is another test's business. */
static struct kvm_reg_list *sorted_list(struct kvm_vcpu *vcpu)
{
	struct kvm_reg_list *list = vcpu_get_reg_list(vcpu);
	u64 i;

	qsort(list->reg, list->n, sizeof(list->reg[0]), compare_u64);
	for (i = 1; i < list->n; i++)
		SME_CHECK(list->reg[i - 1] != list->reg[i], "%#llx is listed twice", list->reg[i]);
	return list;
}

static void check_listed(const struct model *m, const struct reg *reg, u8 *value, void *data)
{
	bool listed = in_list(data, reg->id), exists = reg_exists(m, reg);

	SME_CHECK(listed == exists, "%s: %s%u is %slisted", model_name(m), reg->name, reg->n,
		  listed ? "" : "not ");

	/* What cannot be there gives its own error, what is there takes its value back. */
	check_accesses(m, reg);
}

static bool is_mode_reg(u64 id)
{
	u64 class = id & KVM_REG_ARM_COPROC_MASK;

	return class == KVM_REG_ARM64_SVE || class == KVM_REG_ARM64_SME ||
	       (class == KVM_REG_ARM_CORE && (id & KVM_REG_SIZE_MASK) == KVM_REG_SIZE_U128);
}

static void check_list(const struct model *m, const struct kvm_reg_list *base)
{
	struct kvm_reg_list *list = sorted_list(m->vcpu);
	u64 i, counted = 0, expected = 0;
	u8 value[SME_REG_BYTES];
	struct state *s;
	struct reg reg;
	int err;

	s = calloc(1, sizeof(*s));
	walk_regs(m, s, check_listed, list);
	free(s);

	reg = (struct reg){ KVM_REG_ARM64_SVE_VLS, REG_SVE_VLS, 0, "SVE_VLS" };
	check_listed(m, &reg, NULL, list);
	reg = (struct reg){ KVM_REG_ARM64_SME_VLS, REG_SME_VLS, 0, "SME_VLS" };
	check_listed(m, &reg, NULL, list);
	reg = (struct reg){ SME_ID(SVCR), REG_SVCR, 0, "SVCR" };
	check_listed(m, &reg, NULL, list);
	reg = (struct reg){ SME_ID(SMCR_EL1), REG_SME_SYSREG, 0, "SMCR_EL" };
	check_listed(m, &reg, NULL, list);
	reg = (struct reg){ SME_ID(SMIDR_EL1), REG_SME_SYSREG, 0, "SMIDR_EL" };
	check_listed(m, &reg, NULL, list);
	SME_CHECK(in_list(list, SME_ID(SMCR_EL2)) == (m->sme && m->el2),
		  "%s: SMCR_EL2 is or is not listed", model_name(m));
	SME_CHECK(!in_list(list, SME_ID(SMPRIMAP_EL2)), "%s: SMPRIMAP_EL2 is listed",
		  model_name(m));

	/* No more vector registers than those of the documentation */
	for (i = 0; i < list->n; i++)
		counted += is_mode_reg(list->reg[i]);
	expected = (m->sve || has_sm(m) ? SME_NR_Z + SME_NR_P : SME_NR_Z) + m->sve + m->sme +
		   (has_sm(m) ? m->fa64 : m->sve) +
		   (has_za(m) ? m->sme_vl + m->sme2 : 0);
	SME_CHECK(counted == expected, "%s: %lu vector registers are listed, not %lu",
		  model_name(m), counted, expected);

	/* All the rest is as in a vCPU without vectors, but for the registers of the feature. */
	for (i = 0; i < list->n; i++) {
		u64 id = list->reg[i];

		if (is_mode_reg(id) || in_list(base, id) || id == SME_ID(FPMR) ||
		    (m->sve && (id == SME_ID(ZCR_EL1) || id == SME_ID(ZCR_EL2))))
			continue;
		SME_CHECK(m->sme && (id == SME_ID(SVCR) || id == SME_ID(SMCR_EL1) ||
				     id == SME_ID(SMCR_EL2) ||
				     id == SME_ID(SMIDR_EL1) ||
				     id == SME_ID(TPIDR2_EL0)),
			  "%s: lists %#lx too", model_name(m), id);
	}
	for (i = 0; i < base->n; i++)
		SME_CHECK(is_mode_reg(base->reg[i]) || in_list(list, base->reg[i]),
			  "%s: does not list %#llx", model_name(m), base->reg[i]);

	/* Listed is accessible: reads, and takes back what was read. */
	for (i = 0; i < list->n; i++) {
		err = sme_get(m->vcpu, list->reg[i], value);
		SME_CHECK(!err, "%s: read %#llx: errno %d", model_name(m), list->reg[i], err);
		err = sme_set(m->vcpu, list->reg[i], value);
		SME_CHECK(!err, "%s: write %#llx back: errno %d", model_name(m), list->reg[i], err);
	}
	free(list);
}

static void check_lists(struct model *m, const struct kvm_reg_list *base)
{
	unsigned int svcr;

	for (svcr = 0; svcr < model_nr_svcr(m); svcr++) {
		model_set_svcr(m, svcr);
		check_list(m, base);
	}
}

static void test_list(unsigned int kind)
{
	struct model m = model_new(kind & SME_KIND_EL2);
	struct kvm_reg_list *base;

	base = sorted_list(m.vcpu);
	SME_CHECK(in_list(base, SME_ID(ID_AA64SMFR0_EL1)), "ID_AA64SMFR0_EL1 is not listed");
	model_free(&m);

	m = model_new(kind);
	check_lists(&m, base);
	if (model_lower(&m, false, true))
		check_lists(&m, base);
	if (model_lower(&m, true, false))
		check_lists(&m, base);
	model_free(&m);

	if (m.sme) {
		m = model_init(kind);
		sme_set_vqs(m.vcpu, KVM_REG_ARM64_SME_VLS, sme_first_vqs(sme_vqs, 1));
		model_finalize(&m);
		check_lists(&m, base);
		model_free(&m);
	}
	free(base);
}

/*
 * ID registers
 */

static const struct smfr0_field {
	const char *name;
	u64 mask;
} smfr0_fields[] = {
#define FIELD(f)	{ #f, ID_AA64SMFR0_EL1_ ## f ## _MASK }
	{ "SMEver", GENMASK_ULL(59, 56) }, { "LUTv2", BIT(60) },
	FIELD(FA64), FIELD(I16I64), FIELD(F64F64), FIELD(I16I32),
	FIELD(B16B16), FIELD(F16F16), FIELD(F8F16), FIELD(F8F32),
	FIELD(I8I32), FIELD(F16F32), FIELD(B16F32), FIELD(BI32I32), FIELD(F32F32),
	FIELD(SF8FMA), FIELD(SF8DP4), FIELD(SF8DP2),
#undef FIELD
};

static void check_id_write(struct kvm_vcpu *vcpu, const char *name, u64 id, u64 value, int want)
{
	u64 before = vcpu_get_reg(vcpu, id), now;
	int err = sme_set(vcpu, id, &value);

	SME_CHECK(err == want, "%s = %#lx gives errno %d, not %d", name, value, err, want);
	now = vcpu_get_reg(vcpu, id);
	SME_CHECK(now == (want ? before : value), "%s is %#lx after a write of %#lx", name, now,
		  value);
}

static void check_smfr0(struct kvm_vcpu *vcpu)
{
	const u64 id = SME_ID(ID_AA64SMFR0_EL1);
	u64 host = vcpu_get_reg(vcpu, id), field, other;
	int i;

	SME_CHECK(host & ID_AA64SMFR0_EL1_F32F32_MASK, "ID_AA64SMFR0_EL1 is %#lx", host);
	for (i = 0; i < ARRAY_SIZE(smfr0_fields); i++) {
		const struct smfr0_field *f = &smfr0_fields[i];

		field = host & f->mask;
		if (field) {
			check_id_write(vcpu, f->name, id, host & ~f->mask, 0);
			check_id_write(vcpu, f->name, id, host, 0);
		}

		/* Neither the host's value nor 0 */
		other = field ? (field - 1) & f->mask & (field ^ (f->mask & -f->mask)) : f->mask;
		if (other && other != field)
			check_id_write(vcpu, f->name, id, (host & ~f->mask) | other, EINVAL);
	}
	check_id_write(vcpu, "ID_AA64SMFR0_EL1", id, 0, 0);
	check_id_write(vcpu, "ID_AA64SMFR0_EL1", id, host, 0);
	check_id_write(vcpu, "reserved bits", id, host | BIT(20), EINVAL);
}

/* What is written to SMCR_ELx is what is there, but for bits that the vCPU does not have. */
static void check_smcr(struct model *m, u64 id)
{
	static const u64 values[] = {
		0, 5, SMCR_ELx_FA64_MASK | 1, SMCR_ELx_EZT0_MASK | 2, ~0UL, BIT(4) | 3, BIT(63),
		SMCR_ELx_FA64_MASK | SMCR_ELx_EZT0_MASK | SMCR_ELx_LEN_MASK,
	};
	u64 bits, now;
	int i, lowered;

	/* As it is, without FA64, and without SME2 too: the last value goes with the feature. */
	for (lowered = 0; lowered < 3; lowered++) {
		if (lowered)
			model_lower(m, lowered == 2, lowered == 1);
		bits = SMCR_ELx_LEN_MASK | (m->fa64 ? SMCR_ELx_FA64_MASK : 0) |
		       (m->sme2 ? SMCR_ELx_EZT0_MASK : 0);
		for (i = lowered ? -1 : 0; i < (int)ARRAY_SIZE(values); i++) {
			u64 value = i < 0 ? values[ARRAY_SIZE(values) - 1] : values[i];

			if (i >= 0)
				vcpu_set_reg(m->vcpu, id, value);
			now = vcpu_get_reg(m->vcpu, id);
			SME_CHECK(now == (value & bits), "%s: %#lx = %#lx reads as %#lx",
				  model_name(m), id, value, now);
		}
	}
}

static void test_idregs(unsigned int kind)
{
	const u64 pfr1 = SME_ID(ID_AA64PFR1_EL1), smfr0 = SME_ID(ID_AA64SMFR0_EL1);
	struct model m = model_new(kind);
	u64 host = vcpu_get_reg(m.vcpu, pfr1), sme, value, zfr0;
	unsigned int step;
	int err;

	sme = FIELD_GET(FIELD_SME, host);
	SME_CHECK(m.sme ? sme == 1 || sme == 2 : !sme, "ID_AA64PFR1_EL1.SME is %lu", sme);
	err = sme_get(m.vcpu, smfr0, &value);
	SME_CHECK(!err, "ID_AA64SMFR0_EL1: errno %d", err);

	/* It describes streaming mode too.  A host told not to use SVE hides all of it, though. */
	zfr0 = vcpu_get_reg(m.vcpu, SME_ID(ID_AA64ZFR0_EL1));
	SME_CHECK(kind ? zfr0 || !sve_vqs : !zfr0, "ID_AA64ZFR0_EL1 is %#lx", zfr0);
	SME_CHECK(!sme_get_field(m.vcpu, SME_ID(ID_AA64PFR0_EL1), ID_AA64PFR0_EL1_SVE_MASK) ==
		  !m.sve, "ID_AA64PFR0_EL1.SVE is there without SVE");

	if (!m.sme) {
		SME_CHECK(!value, "ID_AA64SMFR0_EL1 is %#lx without SME", value);
		check_id_write(m.vcpu, "ID_AA64PFR1_EL1", pfr1, host, 0);
		check_id_write(m.vcpu, "PFR1.SME", pfr1, host | FIELD_PREP(FIELD_SME, 1), EINVAL);
		check_id_write(m.vcpu, "PFR1.SME", pfr1, host | FIELD_PREP(FIELD_SME, 2), EINVAL);
		check_id_write(m.vcpu, "ID_AA64SMFR0_EL1", smfr0, 0, 0);
		check_id_write(m.vcpu, "SMFR0.F32F32", smfr0, ID_AA64SMFR0_EL1_F32F32_MASK, EINVAL);
		model_free(&m);
		return;
	}

	check_id_write(m.vcpu, "PFR1.SME", pfr1, host & ~FIELD_SME, EINVAL);
	for (step = 1; step <= 15; step++) {
		value = (host & ~FIELD_SME) | FIELD_PREP(FIELD_SME, step);
		check_id_write(m.vcpu, "PFR1.SME", pfr1, value, step <= sme ? 0 : EINVAL);
	}
	check_id_write(m.vcpu, "PFR1.SME", pfr1, host, 0);
	check_smfr0(m.vcpu);

	value = vcpu_get_reg(m.vcpu, SME_ID(SMIDR_EL1));
	SME_CHECK(!(value & SMIDR_EL1_SMPS_MASK), "SMIDR_EL1 is %#lx, with SMPS", value);
	err = sme_get(m.vcpu, SME_ID(SMPRI_EL1), &value);
	SME_CHECK(err == ENOENT, "SMPRI_EL1: errno %d", err);

	/* Registers that take any value that they have bits for */
	check_smcr(&m, SME_ID(SMCR_EL1));
	vcpu_set_reg(m.vcpu, SME_ID(TPIDR2_EL0), 0x123456789abcdef0);
	SME_CHECK(vcpu_get_reg(m.vcpu, SME_ID(TPIDR2_EL0)) == 0x123456789abcdef0,
		  "TPIDR2_EL0 is %#lx", vcpu_get_reg(m.vcpu, SME_ID(TPIDR2_EL0)));
	model_free(&m);

	if (kind & SME_KIND_EL2) {
		m = model_new(kind);
		check_smcr(&m, SME_ID(SMCR_EL2));
		model_free(&m);
	}
}

/* A vCPU with SME alone has nothing that needs SVE, and cannot get it, whatever the host has. */
static void test_no_sve(unsigned int kind)
{
	static const struct {
		const char *name;
		u64 id;
		unsigned int shift, bits;
	} fields[] = {
		{ "PFR0.SVE",	  SME_ID(ID_AA64PFR0_EL1),  32, 4 },
		{ "SMFR0.FA64",	  SME_ID(ID_AA64SMFR0_EL1), 63, 1 },
		{ "ZFR0.SVEver",  SME_ID(ID_AA64ZFR0_EL1),   0, 4 },
		{ "ZFR0.AES",	  SME_ID(ID_AA64ZFR0_EL1),   4, 4 },
		{ "ZFR0.EltPerm", SME_ID(ID_AA64ZFR0_EL1),  12, 4 },
		{ "ZFR0.BitPerm", SME_ID(ID_AA64ZFR0_EL1),  16, 4 },
		{ "ZFR0.B16B16",  SME_ID(ID_AA64ZFR0_EL1),  24, 4 },
		{ "ZFR0.SHA3",	  SME_ID(ID_AA64ZFR0_EL1),  32, 4 },
		{ "ZFR0.SM4",	  SME_ID(ID_AA64ZFR0_EL1),  40, 4 },
		{ "ZFR0.F16MM",	  SME_ID(ID_AA64ZFR0_EL1),  48, 4 },
		{ "ZFR0.F32MM",	  SME_ID(ID_AA64ZFR0_EL1),  52, 4 },
		{ "ZFR0.F64MM",	  SME_ID(ID_AA64ZFR0_EL1),  56, 4 },
	};
	struct model m = model_new(kind);
	u64 svcr, value;
	int i, err;

	for (i = 0; i < ARRAY_SIZE(fields); i++) {
		value = vcpu_get_reg(m.vcpu, fields[i].id);
		SME_CHECK(!(value >> fields[i].shift & (BIT(fields[i].bits) - 1)), "%s: %#lx",
			  fields[i].name, value);
		check_id_write(m.vcpu, fields[i].name, fields[i].id, value | BIT(fields[i].shift),
			       EINVAL);
	}
	/* CPACR_EL1.ZEN is RES0. */
	vcpu_set_reg(m.vcpu, SME_ID(CPACR_EL1), 0x3330000);
	value = vcpu_get_reg(m.vcpu, SME_ID(CPACR_EL1));
	SME_CHECK(value == 0x3300000, "CPACR_EL1 is %#lx", value);

	for (svcr = 0; svcr < SME_NR_SVCR; svcr++) {
		u8 ffr[SME_REG_BYTES] = {};

		model_set_svcr(&m, svcr);
		err = sme_get(m.vcpu, KVM_REG_ARM64_SVE_FFR(0), ffr);
		SME_CHECK(err == ENOENT, "%s: FFR: errno %d", model_name(&m), err);
	}
	model_free(&m);
}

/* What the VM says can be written in the ID registers of SME, for vCPUs with the features. */
static void check_masks(struct kvm_vm *vm, bool sve, bool sme, const char *when)
{
	const struct {
		const char *name;
		unsigned int index;
		u64 field;
		bool writable;
	} fields[] = {
		{ "ID_AA64PFR1_EL1.SME",   KVM_ARM_FEATURE_ID_RANGE_IDX(3, 0, 0, 4, 1),
		  FIELD_SME, sme },
		{ "ID_AA64PFR1_EL1.BT",    KVM_ARM_FEATURE_ID_RANGE_IDX(3, 0, 0, 4, 1),
		  ID_AA64PFR1_EL1_BT_MASK, true },
		{ "ID_AA64SMFR0_EL1.F32F32", KVM_ARM_FEATURE_ID_RANGE_IDX(3, 0, 0, 4, 5),
		  ID_AA64SMFR0_EL1_F32F32_MASK, sme },
		{ "ID_AA64SMFR0_EL1.FA64", KVM_ARM_FEATURE_ID_RANGE_IDX(3, 0, 0, 4, 5),
		  FIELD_FA64, sme && sve },
		{ "SMIDR_EL1",		   KVM_ARM_FEATURE_ID_RANGE_IDX(3, 1, 0, 0, 6),
		  SMIDR_EL1_IMPLEMENTER_MASK, sme },
	};
	u64 masks[KVM_ARM_FEATURE_ID_RANGE_SIZE];
	struct reg_mask_range range = { .addr = (u64)masks };
	int i;

	vm_ioctl(vm, KVM_ARM_GET_REG_WRITABLE_MASKS, &range);
	for (i = 0; i < ARRAY_SIZE(fields); i++) {
		u64 want = fields[i].writable ? fields[i].field : 0;
		u64 mask = masks[fields[i].index];

		SME_CHECK((mask & fields[i].field) == want, "%s: the mask of %s is %#lx", when,
			  fields[i].name, mask);
	}
}

static void test_masks(unsigned int kind)
{
	struct kvm_vm *vm = vm_create_barebones();
	struct model m;

	check_masks(vm, kvm_has_cap(KVM_CAP_ARM_SVE), kvm_has_cap(KVM_CAP_ARM_SME),
		    "before the first vCPU");
	kvm_vm_free(vm);

	m = model_init(kind);
	check_masks(m.vcpu->vm, m.sve, m.sme, model_name(&m));
	model_finalize(&m);
	check_masks(m.vcpu->vm, m.sve, m.sme, model_name(&m));
	model_free(&m);
}

/* SME registers that a vCPU without SME does not have are checked as errors; SMPRI_EL1 here. */
static void test_hidden(unsigned int kind)
{
	static const u64 ids[] = {
		SME_ID(SVCR), SME_ID(SMCR_EL1), SME_ID(SMPRI_EL1), SME_ID(SMIDR_EL1),
		SME_ID(TPIDR2_EL0),
	};
	struct model m = model_new(kind);
	struct kvm_reg_list *list;
	u64 value = 0;
	int i, err;

	list = sorted_list(m.vcpu);
	for (i = 0; i < ARRAY_SIZE(ids); i++) {
		SME_CHECK(!in_list(list, ids[i]), "%#lx is listed", ids[i]);
		err = sme_get(m.vcpu, ids[i], &value);
		SME_CHECK(err == ENOENT, "read %#lx: errno %d", ids[i], err);
		err = sme_set(m.vcpu, ids[i], &value);
		SME_CHECK(err == ENOENT, "write %#lx: errno %d", ids[i], err);
	}
	free(list);
	model_free(&m);
}

/*
 * What is allocated at finalize stays, whatever becomes of the ID registers.  It takes a
 * kernel with KASAN to see a store beyond it; others see what such a store destroys.
 */
static void test_allocation(unsigned int kind)
{
	unsigned int early, i;
	struct state s;
	struct model m;

	for (early = 0; early < 2; early++) {
		m = model_init(kind);
		if (!m.sme2)
			SME_SKIP("this host has no SME2");
		memset(&s, 0, sizeof(s));
		if (early)
			model_lower(&m, true, false);
		model_finalize(&m);
		change_svcr(&m, &s, SME_SVCR_MASK);
		for (i = 0; i < 4; i++) {
			randomize(&m, &s);
			check_state(&m, &s, m.sme2 ? "raised" : "lowered");
			sme_set_field(m.vcpu, SME_ID(ID_AA64PFR1_EL1), FIELD_SME, m.sme2 ? 1 : 2);
			model_refresh(&m);
			change_svcr(&m, &s, m.svcr ^ SME_ZA);
			change_svcr(&m, &s, m.svcr ^ SME_ZA);
			check_state(&m, &s, "after a change of SME2");
		}
		model_free(&m);
	}
}

static u64 round_up_pow2(u64 bytes)
{
	return 1UL << (64 - __builtin_clzl(bytes - 1));
}

/* The bytes that finalize takes for a vCPU, by what is free before and after. */
static long memory_of_state(unsigned int kind)
{
	struct kvm_vm *vm = vm_create_barebones();
	struct kvm_vcpu_init init = sme_init_for(vm, kind);
	struct kvm_vcpu *vcpus[64];
	long free, used;
	int i, err;

	for (i = 0; i < ARRAY_SIZE(vcpus); i++) {
		vcpus[i] = __vm_vcpu_add(vm, i);
		vcpu_ioctl(vcpus[i], KVM_ARM_VCPU_INIT, &init);
	}

	free = sysconf(_SC_AVPHYS_PAGES);
	for (i = 0; i < ARRAY_SIZE(vcpus); i++) {
		err = sme_finalize(vcpus[i]);
		TEST_ASSERT(!err, "finalize: errno %d", err);
	}
	used = (free - sysconf(_SC_AVPHYS_PAGES)) * getpagesize() / (int)ARRAY_SIZE(vcpus);
	kvm_vm_free(vm);

	return used;
}

/* The state takes what its size is rounded up to, and no more. */
static void test_memory(unsigned int kind)
{
	long svl = sme_max_vl(sme_vqs), vl = svl, needed, used;
	int tries;

	/* Smaller ones don't stand out from what else the kernel allocates. */
	if (svl < 256)
		SME_SKIP("the vectors are short");
	if (kind & SME_KIND_SVE)
		vl = sme_max_vl(sve_vqs) > vl ? sme_max_vl(sve_vqs) : vl;

	/* ZA; and Z, P and FFR */
	needed = svl * svl + round_up_pow2(SME_NR_Z * vl + (SME_NR_P + 1) * vl / 8);

	/* What others take or give back meanwhile is no fault of the vCPU: once right will do. */
	for (tries = 0; tries < 8; tries++) {
		used = memory_of_state(kind);
		if (used > needed / 2 && used < needed * 5 / 4)
			return;
	}
	SME_CHECK(false, "a vCPU with vectors of %ld and %ld bytes took %ld bytes, not about %ld",
		  vl, svl, used, needed);
}

static void reinit(struct model *m)
{
	struct kvm_vcpu_init init = m->vcpu->init;

	vcpu_ioctl(m->vcpu, KVM_ARM_VCPU_INIT, &init);
}

/* A second KVM_ARM_VCPU_INIT clears what the first life left, and keeps the lengths. */
static void test_reinit(unsigned int kind)
{
	struct model m = model_new(kind);
	unsigned int svcr;
	struct state s;
	u64 now;
	int err;

	for (svcr = 0; svcr < model_nr_svcr(&m); svcr++) {
		memset(&s, 0, sizeof(s));
		model_set_svcr(&m, svcr);
		randomize(&m, &s);
		check_state(&m, &s, "first life");
		reinit(&m);
		if (m.sme) {
			now = vcpu_get_reg(m.vcpu, SME_ID(SVCR));
			SME_CHECK(!now, "SVCR is %#lx after init", now);
			m.svcr = 0;
		}

		/* TPIDR2_EL0 resets to something unknown that is not the first life's. */
		now = *(u64 *)s.tpidr2;
		if (m.sme)
			SME_CHECK(sme_get(m.vcpu, SME_ID(TPIDR2_EL0), s.tpidr2) == 0 &&
				  (!now || now != *(u64 *)s.tpidr2), "TPIDR2_EL0 survives");
		now = *(u64 *)s.tpidr2;
		memset(&s, 0, sizeof(s));
		*(u64 *)s.tpidr2 = now;
		check_state(&m, &s, "second life");
		if (m.sme) {
			change_svcr(&m, &s, SME_ZA);
			check_state(&m, &s, "second life, ZA");
			change_svcr(&m, &s, SME_SM | SME_ZA);
			check_state(&m, &s, "second life, SM");
		}

		if (!kind)
			continue;
		err = sme_finalize(m.vcpu);
		SME_CHECK(err == EPERM, "finalize in the second life: errno %d", err);
		if (m.sve)
			SME_CHECK(sme_get_vqs(m.vcpu, KVM_REG_ARM64_SVE_VLS) == sve_vqs,
				  "SVE_VLS changed");
		if (m.sme)
			SME_CHECK(sme_get_vqs(m.vcpu, KVM_REG_ARM64_SME_VLS) == sme_vqs,
				  "SME_VLS changed");
	}
	model_free(&m);
}

/* A write whose value ends in the middle, where there is no more memory. */
static void fault_one(const struct model *m, const struct reg *reg, u8 *value, void *data)
{
	unsigned int bytes = reg_bytes(m, reg), half = bytes / 2;
	u8 other[SME_REG_BYTES], *page = data;
	int err;

	if (!reg_exists(m, reg) || !half)
		return;

	sme_fill_random(other, sizeof(other));
	memcpy(page + getpagesize() - half, other, half);
	err = sme_set(m->vcpu, reg->id, page + getpagesize() - half);
	SME_CHECK(err == EFAULT, "%s: a write of half of %s%u: errno %d", model_name(m), reg->name,
		  reg->n, err);
	err = sme_get(m->vcpu, reg->id, page + getpagesize() - half);
	SME_CHECK(err == EFAULT, "%s: a read of half of %s%u: errno %d", model_name(m), reg->name,
		  reg->n, err);
}

static void test_fault(unsigned int kind)
{
	struct model m = model_new(kind);
	unsigned int svcr;
	struct state s;
	u8 *page;

	page = mmap(NULL, 2 * getpagesize(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		    -1, 0);
	TEST_ASSERT(page != MAP_FAILED, "mmap() failed");
	munmap(page + getpagesize(), getpagesize());

	for (svcr = 0; svcr < model_nr_svcr(&m); svcr++) {
		memset(&s, 0, sizeof(s));
		model_set_svcr(&m, svcr);
		randomize(&m, &s);
		walk_regs(&m, &s, fault_one, page);
		check_state(&m, &s, "after a write that faulted");
	}
	model_free(&m);
}

/* A read leaves the vCPU as it is and fills the buffer; a write does the opposite. */
static void test_direction(unsigned int kind)
{
	struct model m = model_new(kind);
	u8 a[SME_REG_BYTES], b[SME_REG_BYTES];
	const struct {
		u64 id;
		unsigned int bytes;
	} regs[] = {
		{ KVM_REG_ARM64_SME_ZAHREG(m.sme_vl - 1, 0), m.sme_vl },
		{ KVM_REG_ARM64_SME_ZTREG(0), m.sme2 ? SME_ZT0_BYTES : 0 },
		{ KVM_REG_ARM64_SVE_ZREG(31, 0), m.sme_vl },
	};
	int i;

	model_set_svcr(&m, SME_SVCR_MASK);
	for (i = 0; i < ARRAY_SIZE(regs); i++) {
		if (!regs[i].bytes)
			continue;
		memset(a, 0x11, sizeof(a));
		SME_CHECK(!sme_set(m.vcpu, regs[i].id, a), "write %#lx fails", regs[i].id);
		SME_CHECK(a[0] == 0x11 && !memcmp(a, a + 1, sizeof(a) - 1),
			  "a write of %#lx changed user memory", regs[i].id);
		memset(b, 0x22, sizeof(b));
		SME_CHECK(!sme_get(m.vcpu, regs[i].id, b), "read %#lx fails", regs[i].id);
		SME_CHECK(!memcmp(a, b, regs[i].bytes), "a read of %#lx gives %#x", regs[i].id,
			  b[0]);
		memset(b, 0x22, sizeof(b));
		SME_CHECK(!sme_get(m.vcpu, regs[i].id, b), "read %#lx fails", regs[i].id);
		SME_CHECK(!memcmp(a, b, regs[i].bytes), "a read of %#lx changed it to %#x",
			  regs[i].id, b[0]);
	}
	model_free(&m);
}

/* SMIDR_EL1 is the host's, unless user space has asked for writable implementation ID registers. */
static void test_smidr(unsigned int kind)
{
	const u64 id = SME_ID(SMIDR_EL1);
	int writable;

	for (writable = 0; writable < 2; writable++) {
		struct kvm_vm *vm = vm_create_barebones();
		struct kvm_vcpu_init init = sme_init_for(vm, kind);
		struct kvm_vcpu *vcpu;
		u64 host;

		if (writable)
			vm_enable_cap(vm, KVM_CAP_ARM_WRITABLE_IMP_ID_REGS, 0);
		vcpu = __vm_vcpu_add(vm, 0);
		vcpu_ioctl(vcpu, KVM_ARM_VCPU_INIT, &init);
		host = vcpu_get_reg(vcpu, id);
		check_id_write(vcpu, "SMIDR_EL1.SMPS", id, host | SMIDR_EL1_SMPS_MASK, EINVAL);
		check_id_write(vcpu, "SMIDR_EL1.Revision", id, host ^ BIT(16),
			       writable ? 0 : EINVAL);
		kvm_vm_free(vm);
	}
}

static const struct sme_case tests[] = {
	{ "capability",		SME_NO_KIND,	test_capability },
	{ "uninitialized",	SME_NO_KIND,	test_uninit },
	{ "lengths",		SME_ANY_KIND,	test_vls },
	{ "errors",		SME_ANY_KIND,	test_errors },
	{ "every id",		SME_ANY_KIND,	test_every_id, 600 },
	{ "svcr",		SME_WITH_SME,	test_svcr },
	{ "early svcr",		SME_WITH_SME,	test_svcr_early },
	{ "sizes",		SME_WITH_VEC,	test_sizes },
	{ "list",		SME_ANY_KIND,	test_list },
	{ "id registers",	SME_ANY_KIND,	test_idregs },
	{ "smidr",		SME_WITH_SME,	test_smidr },
	{ "without SVE",	0x4,		test_no_sve },
	{ "writable masks",	SME_ANY_KIND,	test_masks },
	{ "hidden registers",	0x3,		test_hidden },
	{ "allocation",		SME_WITH_SME,	test_allocation },
	{ "memory",		SME_WITH_SME,	test_memory },
	{ "second init",	SME_ANY_KIND,	test_reinit },
	{ "fault",		SME_ANY_KIND,	test_fault },
	{ "direction",		SME_WITH_SME,	test_direction },
};

/*
 * usage: sme_regs [CASE]: those alone whose names contain CASE; "every id" is thorough
 * if it is asked for like that
 */
int main(int argc, char *argv[])
{
	test_disable_default_vgic();
	sme_require_kernel();
	sve_vqs = sme_host_vqs(PR_SVE_SET_VL, PR_SVE_GET_VL);
	sme_vqs = sme_host_vqs(PR_SME_SET_VL, PR_SME_GET_VL);

	bad_address = mmap(NULL, getpagesize(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	TEST_ASSERT(bad_address != MAP_FAILED, "mmap() failed");

	every_id = argc > 1 && !strcmp(argv[1], "every id");
	sme_run_cases(tests, ARRAY_SIZE(tests), argc > 1 ? argv[1] : NULL);
}
