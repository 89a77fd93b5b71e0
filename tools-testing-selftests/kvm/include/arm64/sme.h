/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tests of vCPUs with SME share: the four combinations of SVE and SME,
 * the host's vector lengths, vCPUs made step by step, registers of any size
 * through KVM_{GET,SET}_ONE_REG, a runner that gives each case a process of its
 * own, and access to the SVE and SME state that works in guest and host code.
 */
#ifndef SELFTEST_KVM_SME_H
#define SELFTEST_KVM_SME_H

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <linux/bitfield.h>
#include <linux/kernel.h>
#include <linux/prctl.h>

#include "kvm_util.h"
#include "processor.h"
#include "test_util.h"
#include "vgic.h"

#define SME_SM			BIT(0)
#define SME_ZA			BIT(1)
#define SME_SVCR_MASK		(SME_SM | SME_ZA)
#define SME_NR_SVCR		4

#define SME_MAX_VL		256
#define SME_ZT0_BYTES		64
#define SME_NR_Z		32
#define SME_NR_P		16
#define SME_REG_BYTES		256
#define SME_FPSR_RESET		0x0800009f
#define SME_FPMR_MASK		0x0000003fff7fc1ffUL

/*
 * For code that runs in streaming mode, or that has live values in vector registers: the
 * compiler keeps away from them.  Whatever such code calls in streaming mode has to be
 * marked as well.
 */
#define __sme_code		__attribute__((target("+nofp")))

#define SME_ID(reg)		KVM_ARM64_SYS_REG(SYS_ ## reg)
#define SME_CORE_ID(size, field)						\
	(KVM_REG_ARM64 | KVM_REG_SIZE_ ## size | KVM_REG_ARM_CORE |		\
	 KVM_REG_ARM_CORE_REG(field))
#define SME_FPSR_ID		SME_CORE_ID(U32, fp_regs.fpsr)
#define SME_FPCR_ID		SME_CORE_ID(U32, fp_regs.fpcr)
#define SME_V_ID(n)		(SME_CORE_ID(U128, fp_regs.vregs[0]) + (n) * 4)

/* The combinations of features, by number: bit 0 is SVE, bit 1 is SME, bit 2 is EL2. */
#define SME_NR_KINDS		8
#define SME_KIND_SVE		BIT(0)
#define SME_KIND_SME		BIT(1)
#define SME_KIND_EL2		BIT(2)

static const char * const sme_kind_names[SME_NR_KINDS] = {
	"neither", "sve", "sme", "sve+sme", "el2", "sve+el2", "sme+el2", "sve+sme+el2"
};

/*
 * Cases
 */

#define SME_ANY_KIND		0xcf	/* a bit for each combination */
#define SME_WITH_VEC		0xe
#define SME_WITH_SME		0xcc
#define SME_WITHOUT_EL2		0xf
#define SME_NO_KIND		0	/* one case, for no kind of vCPU */

struct sme_case {
	const char *name;
	unsigned int kinds;
	void (*fn)(unsigned int kind);
	unsigned int timeout;
};

#define SME_CASE_TIMEOUT	1200
#define SME_MAX_COMPLAINTS	25

static u64 sme_seed = 0x9e3779b97f4a7c15ULL;
static unsigned int sme_failures;
static char *sme_skip_reason;

/* Records a failure and goes on, unlike TEST_ASSERT(), so that a table is seen whole. */
static __printf(3, 4) __maybe_unused bool sme_check(bool ok, int line, const char *fmt, ...)
{
	va_list ap;

	if (ok)
		return true;

	if (sme_failures++ < SME_MAX_COMPLAINTS) {
		printf("# line %d: ", line);
		va_start(ap, fmt);
		vprintf(fmt, ap);
		va_end(ap);
		printf("\n");
	}
	return false;
}

#define SME_CHECK(ok, fmt, ...)	sme_check(ok, __LINE__, fmt, ##__VA_ARGS__)

#define SME_SKIP(why) do {						\
	snprintf(sme_skip_reason, SME_REG_BYTES, "%s", why);		\
	exit(KSFT_SKIP);						\
} while (0)

static inline bool sme_host_can(unsigned int kind)
{
	return (!(kind & SME_KIND_SVE) || kvm_has_cap(KVM_CAP_ARM_SVE)) &&
	       (!(kind & SME_KIND_SME) || kvm_has_cap(KVM_CAP_ARM_SME)) &&
	       (!(kind & SME_KIND_EL2) || kvm_has_cap(KVM_CAP_ARM_EL2));
}

static void sme_run_case(const struct sme_case *c, unsigned int kind, const char *name)
{
	int status;
	pid_t pid;

	if (!sme_host_can(kind)) {
		ksft_test_result_skip("%s # KVM has no %s here\n", name, sme_kind_names[kind]);
		return;
	}

	fflush(NULL);
	pid = fork();
	TEST_ASSERT(pid >= 0, "fork() failed");
	if (!pid) {
		alarm(c->timeout ?: SME_CASE_TIMEOUT);
		c->fn(kind);
		exit(sme_failures ? KSFT_FAIL : KSFT_PASS);
	}

	TEST_ASSERT(waitpid(pid, &status, 0) == pid, "waitpid() failed");
	if (WIFSIGNALED(status))
		ksft_print_msg("%s ended by signal %d\n", name, WTERMSIG(status));

	if (WIFEXITED(status) && WEXITSTATUS(status) == KSFT_SKIP)
		ksft_test_result_skip("%s # %s\n", name, sme_skip_reason);
	else
		ksft_test_result(WIFEXITED(status) && !WEXITSTATUS(status), "%s\n", name);
}

/* A part of the kinds of vCPU, for who has no time for all. */
static unsigned int sme_shard, sme_shards = 1;

static __maybe_unused void sme_set_shard(const char *arg)
{
	if (sscanf(arg, "%u/%u", &sme_shard, &sme_shards) == 2 && sme_shard < sme_shards)
		return;
	fprintf(stderr, "-s takes a share I/N of the kinds of vCPU, with I < N: 0/3\n");
	exit(KSFT_FAIL);
}

/*
 * Runs the cases whose name contains @only (all, if it is NULL) on the vCPUs
 * of the shard, and exits.
 */
static __noreturn __maybe_unused void sme_run_cases(const struct sme_case *tests, int n,
						    const char *only)
{
	unsigned int plan = 0, all = 0, kind;
	char name[64];
	int i, pass;

	sme_skip_reason = mmap(NULL, SME_REG_BYTES, PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	TEST_ASSERT(sme_skip_reason != MAP_FAILED, "mmap() failed");

	ksft_print_header();
	for (pass = 0; pass < 2; pass++) {
		for (i = 0; i < n; i++) {
			for (kind = 0; kind < SME_NR_KINDS; kind++) {
				if (tests[i].kinds ? !(tests[i].kinds & BIT(kind)) : kind)
					continue;
				/* Without nested virtualization there is nothing to skip. */
				if (kind & SME_KIND_EL2 && !kvm_has_cap(KVM_CAP_ARM_EL2))
					continue;
				snprintf(name, sizeof(name), "%s%s%s", tests[i].name,
					 tests[i].kinds ? ": " : "",
					 tests[i].kinds ? sme_kind_names[kind] : "");
				if (only && !strstr(name, only))
					continue;
				all += !pass;
				if (kind % sme_shards != sme_shard)
					continue;
				if (pass)
					sme_run_case(&tests[i], kind, name);
				else
					plan++;
			}
		}
		if (pass)
			break;
		ksft_set_plan(plan);
		ksft_print_msg("shard %u/%u: %u of %u cases\n", sme_shard, sme_shards, plan, all);
		ksft_print_msg("each case begins with seed %#lx\n", (unsigned long)sme_seed);
	}
	ksft_finished();
}

/* Skips all where the kernel is older than SME vCPUs, which init says by ENOENT. */
static __maybe_unused void sme_require_kernel(void)
{
	struct kvm_vm *vm = vm_create_barebones();
	struct kvm_vcpu *vcpu = __vm_vcpu_add(vm, 0);
	struct kvm_vcpu_init init = {};
	int ret;

	vm_ioctl(vm, KVM_ARM_PREFERRED_TARGET, &init);
	init.features[0] |= BIT(KVM_ARM_VCPU_SME);
	ret = __vcpu_ioctl(vcpu, KVM_ARM_VCPU_INIT, &init);
	__TEST_REQUIRE(!ret || errno != ENOENT, "this kernel does not know KVM_ARM_VCPU_SME");
	kvm_vm_free(vm);
}

/*
 * Data
 */

/* xorshift64*: no libc, so that guests can use it too. */
static __always_inline __sme_code u64 sme_next_random(u64 *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dULL;
}

static __maybe_unused void sme_fill_random(void *buf, size_t bytes)
{
	u8 *p = buf;
	size_t i;

	for (i = 0; i < bytes; i++)
		p[i] = sme_next_random(&sme_seed) >> 32;
}

static __maybe_unused bool sme_is_zero(const void *buf, size_t bytes)
{
	const u8 *p = buf;
	size_t i;

	for (i = 0; i < bytes; i++)
		if (p[i])
			return false;
	return true;
}

/*
 * Another order of @count things at each call: as they are, backwards, and at random.
 * What is written in one order alone does not show what it destroys before that.
 */
static __maybe_unused void sme_arrange(unsigned int *nth, unsigned int count)
{
	static unsigned int calls;
	unsigned int order = calls++ % 3, i, pick, other;

	for (i = 0; i < count; i++)
		nth[i] = order == 1 ? count - 1 - i : i;
	for (i = count; order == 2 && i > 1; i--) {
		pick = sme_next_random(&sme_seed) % i;
		other = nth[pick];
		nth[pick] = nth[i - 1];
		nth[i - 1] = other;
	}
}

/*
 * Vector lengths
 */

#define SME_MAX_VQ		(SME_MAX_VL / 16)

/*
 * The lengths that the host offers its own programs, bit VQ - 1 for each.  @set is
 * PR_SVE_SET_VL or PR_SME_SET_VL, @get its counterpart.
 */
static __maybe_unused u64 sme_host_vqs(int set, int get)
{
	int vq, ret, old = prctl(get);
	u64 vqs = 0;

	for (vq = SME_MAX_VQ; vq > 0; vq--) {
		ret = prctl(set, vq * 16);
		if (ret < 0)
			return 0;
		/* The greatest that is not above, or else the smallest there is. */
		if ((ret & PR_SME_VL_LEN_MASK) == vq * 16)
			vqs |= BIT(vq - 1);
	}
	prctl(set, old & PR_SME_VL_LEN_MASK);
	return vqs;
}

static inline unsigned int sme_max_vl(u64 vqs)
{
	return vqs ? (64 - __builtin_clzl(vqs)) * 16 : 0;
}

/* The set cut off above its n-th length, counted from 1. */
static inline u64 sme_first_vqs(u64 vqs, unsigned int n)
{
	u64 out = 0;

	for (; vqs && n; n--) {
		out |= vqs & -vqs;
		vqs &= vqs - 1;
	}
	return out;
}

/* The vector length in force for LEN in ZCR_EL1 or SMCR_EL1. */
static inline unsigned int sme_vl_for_len(u64 vqs, unsigned int len)
{
	u64 fit = vqs & (BIT(len + 1) - 1);

	return fit ? sme_max_vl(fit) : sme_max_vl(vqs & -vqs);
}

/*
 * vCPUs
 */

static inline u64 sme_vls_id(unsigned int feature)
{
	return feature == SME_KIND_SVE ? KVM_REG_ARM64_SVE_VLS : KVM_REG_ARM64_SME_VLS;
}

static inline int sme_get(struct kvm_vcpu *vcpu, u64 id, void *buf)
{
	return __vcpu_get_reg(vcpu, id, buf) ? errno : 0;
}

static inline int sme_set(struct kvm_vcpu *vcpu, u64 id, const void *buf)
{
	struct kvm_one_reg reg = { .id = id, .addr = (u64)buf };

	return __vcpu_ioctl(vcpu, KVM_SET_ONE_REG, &reg) ? errno : 0;
}

static __maybe_unused u64 sme_get_vqs(struct kvm_vcpu *vcpu, u64 id)
{
	u64 vqs[KVM_ARM64_SVE_VLS_WORDS];
	int err = sme_get(vcpu, id, vqs);

	TEST_ASSERT(!err, "%#lx gives errno %d", id, err);
	TEST_ASSERT(sme_is_zero(vqs + 1, sizeof(vqs) - sizeof(vqs[0])),
		    "%#lx has lengths beyond what there can be", id);
	return vqs[0];
}

static __maybe_unused int sme_set_vqs(struct kvm_vcpu *vcpu, u64 id, u64 set)
{
	u64 vqs[KVM_ARM64_SVE_VLS_WORDS] = { set };

	return sme_set(vcpu, id, vqs);
}

static inline struct kvm_vcpu_init sme_init_for(struct kvm_vm *vm, unsigned int kind)
{
	struct kvm_vcpu_init init = {};

	vm_ioctl(vm, KVM_ARM_PREFERRED_TARGET, &init);
	if (kind & SME_KIND_SVE)
		init.features[0] |= BIT(KVM_ARM_VCPU_SVE);
	if (kind & SME_KIND_SME)
		init.features[0] |= BIT(KVM_ARM_VCPU_SME);
	if (kind & SME_KIND_EL2)
		init.features[0] |= BIT(KVM_ARM_VCPU_HAS_EL2);
	return init;
}

/* A vCPU with EL2 does not run without an interrupt controller. */
static __maybe_unused void sme_add_gic(struct kvm_vm *vm, unsigned int kind)
{
	if (!(kind & SME_KIND_EL2))
		return;

	vm->arch.gic_fd = __vgic_v3_setup(vm, 1, 64);
	TEST_ASSERT(vm->arch.gic_fd >= 0, "the GIC: errno %d", errno);
	vm->arch.has_gic = true;
	kvm_arch_vm_finalize_vcpus(vm);
}

static inline int sme_finalize(struct kvm_vcpu *vcpu)
{
	int feature = KVM_ARM_VCPU_VEC;

	return __vcpu_ioctl(vcpu, KVM_ARM_VCPU_FINALIZE, &feature) ? errno : 0;
}

/*
 * What has become of KVM_RUN: true if the guest made an exit of its own, an access to the
 * page of the ucalls, false when it is done.
 */
static __maybe_unused bool sme_guest_exited(struct kvm_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	struct ucall uc;

	switch (get_ucall(vcpu, &uc)) {
	case UCALL_NONE:
		TEST_ASSERT(run->exit_reason == KVM_EXIT_MMIO &&
			    run->mmio.phys_addr == vcpu->vm->ucall_mmio_addr,
			    "unexpected exit %u (%s)", run->exit_reason,
			    exit_reason_str(run->exit_reason));
		return true;
	case UCALL_DONE:
		return false;
	case UCALL_ABORT:
		REPORT_GUEST_ASSERT(uc);
		break;
	default:
		TEST_FAIL("unexpected ucall %lu", uc.cmd);
	}
	return false;
}

/* A vCPU that is initialized and not finalized, in a VM that has no memory. */
static __maybe_unused struct kvm_vcpu *sme_bare_vcpu(unsigned int kind)
{
	struct kvm_vm *vm = vm_create_barebones();
	struct kvm_vcpu *vcpu = __vm_vcpu_add(vm, 0);
	struct kvm_vcpu_init init = sme_init_for(vm, kind);

	vcpu_ioctl(vcpu, KVM_ARM_VCPU_INIT, &init);
	vcpu->init = init;
	return vcpu;
}

/* The same, finalized, with the lengths lowered to the given sets where they are not 0. */
static __maybe_unused struct kvm_vcpu *sme_bare_vcpu_final(unsigned int kind, u64 sve_vqs,
							   u64 sme_vqs)
{
	struct kvm_vcpu *vcpu = sme_bare_vcpu(kind);
	int err;

	if (kind & SME_KIND_SVE && sve_vqs) {
		err = sme_set_vqs(vcpu, KVM_REG_ARM64_SVE_VLS, sve_vqs);
		TEST_ASSERT(!err, "SVE_VLS %#lx gives errno %d", sve_vqs, err);
	}
	if (kind & SME_KIND_SME && sme_vqs) {
		err = sme_set_vqs(vcpu, KVM_REG_ARM64_SME_VLS, sme_vqs);
		TEST_ASSERT(!err, "SME_VLS %#lx gives errno %d", sme_vqs, err);
	}
	if (kind) {
		err = sme_finalize(vcpu);
		TEST_ASSERT(!err, "finalize gives errno %d", err);
	}
	return vcpu;
}

static __maybe_unused void sme_set_svcr(struct kvm_vcpu *vcpu, u64 svcr)
{
	int err = sme_set(vcpu, SME_ID(SVCR), &svcr);

	TEST_ASSERT(!err, "SVCR = %lu gives errno %d", svcr, err);
}

static __maybe_unused int sme_set_field(struct kvm_vcpu *vcpu, u64 id, u64 mask, u64 value)
{
	u64 reg = vcpu_get_reg(vcpu, id);

	reg = (reg & ~mask) | (value << __builtin_ctzl(mask));
	return sme_set(vcpu, id, &reg);
}

static inline u64 sme_get_field(struct kvm_vcpu *vcpu, u64 id, u64 mask)
{
	return (vcpu_get_reg(vcpu, id) & mask) >> __builtin_ctzl(mask);
}

/*
 * Access to the state, in guest and host code alike
 */

#define SME_HAS_SVE		BIT(0)	/* as SME_KIND_SVE */
#define SME_HAS_SME		BIT(1)	/* as SME_KIND_SME */
#define SME_HAS_SME2		BIT(2)
#define SME_HAS_FA64		BIT(3)
#define SME_HAS_FPMR		BIT(4)
#define SME_HAS_IDST		BIT(5)

/* The state in memory, packed as the instructions that load and store it want it. */
struct sme_image {
	u8 za[SME_MAX_VL * SME_MAX_VL];
	u8 z[SME_NR_Z * SME_MAX_VL];
	u8 p[SME_NR_P * SME_MAX_VL / 8];
	u8 ffr[SME_MAX_VL / 8];
	u8 zt0[SME_ZT0_BYTES];
	u64 svcr, fpsr, fpcr, fpmr, tpidr2;
	u64 vl, svl;
} __aligned(64);

#define SME_ASM			".arch_extension sve\n\t.arch_extension sme2\n\t"
#define SME_NR_0_15		"0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15"
#define SME_NR_0_31		SME_NR_0_15 ",16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31"

/* By encoding: the names take an assembler that knows the extension. */
#define SME_REG_FPCR		S3_3_C4_C4_0
#define SME_REG_FPSR		S3_3_C4_C4_1
#define SME_REG_FPMR		S3_3_C4_C4_2
#define SME_REG_SVCR		S3_3_C4_C2_2
#define SME_REG_TPIDR2		S3_3_C13_C0_5

#define sme_mrs(reg)							\
({									\
	u64 __v;							\
									\
	asm volatile("mrs %0, " __stringify(reg) : "=r"(__v) : : "memory");	\
	__v;								\
})

#define sme_msr(reg, value)						\
({									\
	asm volatile("msr " __stringify(reg) ", %0" : : "r"((u64)(value)) : "memory");	\
})

/* For a function that is not marked and calls one that is: v8 to v15 are to be preserved. */
static __always_inline void sme_clobber(void)
{
	asm volatile("" : : : "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15", "memory");
}

static __always_inline __sme_code u64 sme_rdsvl(void)
{
	u64 vl;

	asm volatile(SME_ASM "rdsvl %0, #1" : "=r"(vl) : : "memory");
	return vl;
}

static __always_inline __sme_code u64 sme_rdvl(void)
{
	u64 vl;

	asm volatile(SME_ASM "rdvl %0, #1" : "=r"(vl) : : "memory");
	return vl;
}

/* LDR or STR of each register of a kind, which are one behind the other in memory. */
#define sme_move_all(insn, reg, numbers, memory)				\
({										\
	asm volatile(SME_ASM							\
		     ".irp n, " numbers "\n\t"					\
		     insn " " reg "\\n, [%0, #\\n, mul vl]\n\t"			\
		     ".endr" : : "r"(memory) : "memory");			\
})

static __always_inline __sme_code void sme_load_z(const void *from)
{
	sme_move_all("ldr", "z", SME_NR_0_31, from);
}

static __always_inline __sme_code void sme_store_z(void *to)
{
	sme_move_all("str", "z", SME_NR_0_31, to);
}

/* LDR Qn and STR Qn by encoding, for the same reason. */
static __always_inline __sme_code void sme_load_v(const void *from)
{
	register const void *x1 asm("x1") = from;

	asm volatile(".irp n, " SME_NR_0_31 "\n\t"
		     ".inst 0x3dc00020 | (\\n << 10) | \\n\n\t"
		     ".endr" : : "r"(x1) : "memory");
}

static __always_inline __sme_code void sme_store_v(void *to)
{
	register void *x1 asm("x1") = to;

	asm volatile(".irp n, " SME_NR_0_31 "\n\t"
		     ".inst 0x3d800020 | (\\n << 10) | \\n\n\t"
		     ".endr" : : "r"(x1) : "memory");
}

static __always_inline __sme_code void sme_load_p(const void *from)
{
	sme_move_all("ldr", "p", SME_NR_0_15, from);
}

static __always_inline __sme_code void sme_store_p(void *to)
{
	sme_move_all("str", "p", SME_NR_0_15, to);
}

/* P0 goes with it: load FFR before P, and store it after. */
static __always_inline __sme_code void sme_load_ffr(const void *from)
{
	asm volatile(SME_ASM "ldr p0, [%0]\n\twrffr p0.b" : : "r"(from) : "memory");
}

static __always_inline __sme_code void sme_store_ffr(void *to)
{
	asm volatile(SME_ASM "rdffr p0.b\n\tstr p0, [%0]" : : "r"(to) : "memory");
}

static __always_inline __sme_code void sme_load_za(const u8 *from, u64 svl)
{
	register u64 row asm("x12");

	for (row = 0; row < svl; row++)
		asm volatile(SME_ASM "ldr za[w12, 0], [%0]" : : "r"(from + row * svl), "r"(row) :
			     "memory");
}

static __always_inline __sme_code void sme_store_za(u8 *to, u64 svl)
{
	register u64 row asm("x12");

	for (row = 0; row < svl; row++)
		asm volatile(SME_ASM "str za[w12, 0], [%0]" : : "r"(to + row * svl), "r"(row) :
			     "memory");
}

static __always_inline __sme_code void sme_load_zt0(const void *from)
{
	asm volatile(SME_ASM "ldr zt0, [%0]" : : "r"(from) : "memory");
}

static __always_inline __sme_code void sme_store_zt0(void *to)
{
	asm volatile(SME_ASM "str zt0, [%0]" : : "r"(to) : "memory");
}

static __always_inline __sme_code bool sme_image_has_z(const struct sme_image *image, u64 has)
{
	return has & SME_HAS_SVE || image->svcr & SME_SM;
}

static __always_inline __sme_code bool sme_image_has_ffr(const struct sme_image *image, u64 has)
{
	return image->svcr & SME_SM ? has & SME_HAS_FA64 : has & SME_HAS_SVE;
}

/* Takes the whole state from the image, SVCR included. */
static __maybe_unused noinline __sme_code void sme_load_image(const struct sme_image *image,
							      u64 has)
{
	if (has & SME_HAS_SME) {
		sme_msr(SME_REG_SVCR, image->svcr);
		sme_msr(SME_REG_TPIDR2, image->tpidr2);
		if (image->svcr & SME_ZA) {
			sme_load_za(image->za, image->svl);
			if (has & SME_HAS_SME2)
				sme_load_zt0(image->zt0);
		}
	}

	if (sme_image_has_z(image, has)) {
		if (sme_image_has_ffr(image, has))
			sme_load_ffr(image->ffr);
		sme_load_p(image->p);
		sme_load_z(image->z);
	} else {
		sme_load_v(image->z);
	}

	sme_msr(SME_REG_FPSR, image->fpsr);
	sme_msr(SME_REG_FPCR, image->fpcr);
	if (has & SME_HAS_FPMR)
		sme_msr(SME_REG_FPMR, image->fpmr);
}

/* Leaves the state as it is and the image a copy of it. */
static __maybe_unused noinline __sme_code void sme_store_image(struct sme_image *image, u64 has)
{
	image->svcr = 0;
	image->svl = 0;
	image->vl = 16;

	if (has & SME_HAS_SME) {
		image->svcr = sme_mrs(SME_REG_SVCR);
		image->tpidr2 = sme_mrs(SME_REG_TPIDR2);
		image->svl = sme_rdsvl();
		if (image->svcr & SME_ZA) {
			sme_store_za(image->za, image->svl);
			if (has & SME_HAS_SME2)
				sme_store_zt0(image->zt0);
		}
	}

	if (sme_image_has_z(image, has)) {
		image->vl = sme_rdvl();
		sme_store_z(image->z);
		sme_store_p(image->p);
		if (sme_image_has_ffr(image, has)) {
			sme_store_ffr(image->ffr);
			sme_load_p(image->p);
		}
	} else {
		sme_store_v(image->z);
	}

	image->fpsr = sme_mrs(SME_REG_FPSR);
	image->fpcr = sme_mrs(SME_REG_FPCR);
	if (has & SME_HAS_FPMR)
		image->fpmr = sme_mrs(SME_REG_FPMR);
}

/* @bytes: a multiple of 8 */
static __always_inline __sme_code void sme_fill(u8 *to, u64 bytes, u64 *seed)
{
	u64 i;

	for (i = 0; i < bytes; i += 8)
		*(u64 *)(to + i) = sme_next_random(seed);
}

/* Something for each register to hold in the given mode, legal in each. */
static __maybe_unused noinline __sme_code void sme_fill_image(struct sme_image *image, u64 has,
							      u64 svcr, u64 vl, u64 svl, u64 seed)
{
	u64 i, elements;

	seed = seed * 2 + 1;
	for (i = 0; i < 4; i++)
		sme_next_random(&seed);

	image->svcr = svcr;
	image->svl = svl;
	image->vl = svcr & SME_SM ? svl : has & SME_HAS_SVE ? vl : 16;
	sme_fill(image->z, SME_NR_Z * image->vl, &seed);
	sme_fill(image->p, SME_NR_P * image->vl / 8, &seed);

	/* The first-fault register has ones up to somewhere, and zeroes from there. */
	elements = sme_next_random(&seed) % (image->vl + 1);
	for (i = 0; i < image->vl / 8; i++)
		image->ffr[i] = elements >= i * 8 + 8 ? 0xff :
				elements <= i * 8 ? 0 : (1 << (elements - i * 8)) - 1;

	if (svcr & SME_ZA) {
		sme_fill(image->za, svl * svl, &seed);
		sme_fill(image->zt0, SME_ZT0_BYTES, &seed);
	}

	image->fpsr = sme_next_random(&seed) & SME_FPSR_RESET;
	image->fpcr = sme_next_random(&seed) & 0x03c00000;	/* DN, FZ, RMode */
	image->fpmr = sme_next_random(&seed) & 0xff7f0000;	/* NSCALE, LSCALE */
	image->tpidr2 = sme_next_random(&seed);
}

enum sme_part {
	SME_PART_NONE, SME_PART_SVCR, SME_PART_SVL, SME_PART_VL, SME_PART_Z, SME_PART_P,
	SME_PART_FFR, SME_PART_ZA, SME_PART_ZT0, SME_PART_FPSR, SME_PART_FPCR, SME_PART_FPMR,
	SME_PART_TPIDR2,
};

static const char * const sme_part_names[] __maybe_unused = {
	"nothing", "SVCR", "SVL", "VL", "Z", "P", "FFR", "ZA", "ZT0", "FPSR", "FPCR", "FPMR",
	"TPIDR2_EL0",
};

static __always_inline __sme_code bool sme_bytes_differ(const u8 *a, const u8 *b, u64 bytes,
							u64 *at)
{
	u64 i = 0;

	/* All sizes are even, and most are multiples of 8. */
	for (; i + 8 <= bytes; i += 8)
		if (*(const u64 *)(a + i) != *(const u64 *)(b + i))
			break;
	for (; i < bytes; i++) {
		if (a[i] != b[i]) {
			*at = i;
			return true;
		}
	}
	return false;
}

/* Where two images differ first: the part, and in *@at the byte in it. */
static __maybe_unused noinline __sme_code enum sme_part
sme_compare(const struct sme_image *a, const struct sme_image *b, u64 has, u64 *at)
{
	*at = 0;
	if (a->svcr != b->svcr)
		return SME_PART_SVCR;
	if (has & SME_HAS_SME && a->svl != b->svl)
		return SME_PART_SVL;
	if (a->vl != b->vl)
		return SME_PART_VL;
	if (sme_bytes_differ(a->z, b->z, SME_NR_Z * a->vl, at))
		return SME_PART_Z;
	if (sme_image_has_z(a, has) && sme_bytes_differ(a->p, b->p, SME_NR_P * a->vl / 8, at))
		return SME_PART_P;
	if (sme_image_has_ffr(a, has) && sme_bytes_differ(a->ffr, b->ffr, a->vl / 8, at))
		return SME_PART_FFR;
	if (a->svcr & SME_ZA && sme_bytes_differ(a->za, b->za, a->svl * a->svl, at))
		return SME_PART_ZA;
	if (a->svcr & SME_ZA && has & SME_HAS_SME2 &&
	    sme_bytes_differ(a->zt0, b->zt0, SME_ZT0_BYTES, at))
		return SME_PART_ZT0;
	if (a->fpsr != b->fpsr)
		return SME_PART_FPSR;
	if (a->fpcr != b->fpcr)
		return SME_PART_FPCR;
	if (has & SME_HAS_FPMR && a->fpmr != b->fpmr)
		return SME_PART_FPMR;
	if (has & SME_HAS_SME && a->tpidr2 != b->tpidr2)
		return SME_PART_TPIDR2;
	return SME_PART_NONE;
}

#endif /* SELFTEST_KVM_SME_H */
