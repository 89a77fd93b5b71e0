// SPDX-License-Identifier: GPL-2.0
/*
 * reg_list_contract - what a VM and its vCPUs have to have before the first
 * register is written back, and what becomes of the registers if they have not.
 *
 * Much of what makes a vCPU is set otherwise than by registers.  For each such
 * thing, a vCPU that has it is restored into one that has it too, where nothing
 * may be lost.  Then one of the two is without, and what comes of that has to
 * be what the documentation says, for every register of the list.
 */
#include <dirent.h>
#include <unistd.h>

#include "reg_list_fill.h"
#include "reg_list_vcpu.h"
#include "vgic.h"

#include <perf/arm_pmuv3.h>

#define SYS_ID(reg)	KVM_ARM64_SYS_REG(SYS_##reg)

/* Further than a counter runs on in this test: a minute at 1 GHz. */
#define RUN_ON		BIT_ULL(36)

/* Where the counters of a guest can be that was started long ago */
#define LONG_AGO	BIT_ULL(50)

/* The fields that say which algorithm of pointer authentication there is. */
#define ISAR1_PAUTH	(ID_AA64ISAR1_EL1_APA_MASK | ID_AA64ISAR1_EL1_API_MASK | \
			 ID_AA64ISAR1_EL1_GPA_MASK | ID_AA64ISAR1_EL1_GPI_MASK)
#define ISAR2_PAUTH	(ID_AA64ISAR2_EL1_APA3_MASK | ID_AA64ISAR2_EL1_GPA3_MASK)

#define PFR2_MTE	(ID_AA64PFR2_EL1_MTEFAR_MASK | ID_AA64PFR2_EL1_MTESTOREONLY_MASK)

#define DISTRIBUTOR	0x08000000
#define REDISTRIBUTORS	0x080a0000

/* What becomes of a register: the error of its write, or NOT_KEPT. */
struct fate {
	u64 id;
	int error;
	/* Only if the register has one of these bits, in the saved vCPU or in the other. */
	u64 if_set;
};

#define NOT_KEPT	-1
#define MAX_FATES	16

enum side { BOTH, SOURCE_ALONE, TARGET_ALONE, SIDES };

static const char * const side_names[] = {
	"both have it", "the source alone has it", "the target alone has it",
};

struct prerequisite {
	const char *name;
	u32 features;			/* of both vCPUs */
	u32 caps[2];			/* what the host has to have for it */
	u32 feature;			/* what it is: a feature, */
	void (*set_vm)(struct kvm_vm *vm);	/* or set before there is a vCPU, */
	void (*set_vcpu)(struct kvm_vcpu *vcpu);	/* or after KVM_ARM_VCPU_INIT */
	void (*prepare)(struct kvm_vcpu *vcpu);	/* for both vCPUs, before that */
	void (*change)(struct kvm_vcpu *vcpu);	/* state of a source that has it */
	bool run;			/* it shows when the vCPUs have run */
	struct fate fates[SIDES][MAX_FATES];
};

#define NR_COUNTERS	2

/* The bits of the counters that a vCPU with fewer than the host's does not have. */
#define OTHER_COUNTERS	GENMASK(30, NR_COUNTERS)

/* All bits of the counters that there are, before there are fewer. */
static void use_counters(struct kvm_vcpu *vcpu)
{
	vcpu_set_reg(vcpu, SYS_ID(PMINTENSET_EL1), ~0ull);
	vcpu_set_reg(vcpu, SYS_ID(PMCNTENSET_EL0), ~0ull);
	vcpu_set_reg(vcpu, SYS_ID(PMOVSSET_EL0), ~0ull);
}

static void set_nr_counters(struct kvm_vcpu *vcpu)
{
	int n = NR_COUNTERS;

	vcpu_device_attr_set(vcpu, KVM_ARM_VCPU_PMU_V3_CTRL,
			     KVM_ARM_VCPU_PMU_V3_SET_NR_COUNTERS, &n);
}

/* The number of the host's PMU among the sources of events, or -1. */
static int host_pmu(void)
{
	const char *path = "/sys/bus/event_source/devices";
	struct dirent *entry;
	char name[512];
	int type = -1;
	DIR *devices;
	FILE *file;

	devices = opendir(path);
	while (devices && (entry = readdir(devices))) {
		/* Only a CPU's PMU has this, whatever the CPU is called. */
		snprintf(name, sizeof(name), "%s/%s/cpus", path, entry->d_name);
		if (access(name, R_OK))
			continue;
		snprintf(name, sizeof(name), "%s/%s/type", path, entry->d_name);
		file = fopen(name, "r");
		if (file && fscanf(file, "%d", &type) != 1)
			type = -1;
		if (file)
			fclose(file);
	}
	if (devices)
		closedir(devices);
	return type;
}

static void set_pmu(struct kvm_vcpu *vcpu)
{
	int type = host_pmu();

	TEST_ASSERT(type >= 0, "the host's PMU is not among the sources of events");
	vcpu_device_attr_set(vcpu, KVM_ARM_VCPU_PMU_V3_CTRL, KVM_ARM_VCPU_PMU_V3_SET_PMU, &type);
}

static void set_pmu_and_use_counters(struct kvm_vcpu *vcpu)
{
	set_pmu(vcpu);
	use_counters(vcpu);
}

static void set_writable_imp_ids(struct kvm_vm *vm)
{
	vm_enable_cap(vm, KVM_CAP_ARM_WRITABLE_IMP_ID_REGS, 0);
}

/* Another part number, and another revision. */
static void change_imp_ids(struct kvm_vcpu *vcpu)
{
	static const u64 ids[] = { SYS_ID(MIDR_EL1), SYS_ID(REVIDR_EL1), SYS_ID(AIDR_EL1) };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(ids); i++)
		vcpu_set_reg(vcpu, ids[i], vcpu_get_reg(vcpu, ids[i]) ^ 0x10);
}

static void set_mte(struct kvm_vm *vm)
{
	vm_enable_cap(vm, KVM_CAP_ARM_MTE, 0);
}

static void change_mte(struct kvm_vcpu *vcpu)
{
	vcpu_set_reg(vcpu, SYS_ID(RGSR_EL1), 0x12305);
	vcpu_set_reg(vcpu, SYS_ID(GCR_EL1), 0x1fffe);
	vcpu_set_reg(vcpu, SYS_ID(TFSR_EL1), 2);
	vcpu_set_reg(vcpu, SYS_ID(TFSRE0_EL1), 1);
}

static void set_counter_offset(struct kvm_vm *vm)
{
	struct kvm_arm_counter_offset offset = { .counter_offset = LONG_AGO };

	vm_ioctl(vm, KVM_ARM_SET_COUNTER_OFFSET, &offset);
}

/* Has no effect where the VM has a counter offset. */
static void change_counters(struct kvm_vcpu *vcpu)
{
	vcpu_set_reg(vcpu, KVM_REG_ARM_TIMER_CNT, 2 * LONG_AGO);
	vcpu_set_reg(vcpu, KVM_REG_ARM_PTIMER_CNT, 2 * LONG_AGO);
}

static void change_keys(struct kvm_vcpu *vcpu)
{
	u64 crm, op2;

	/* APIAKEYLO_EL1 to APDBKEYHI_EL1, APGAKEYLO_EL1 and APGAKEYHI_EL1 */
	for (crm = 1; crm <= 3; crm++)
		for (op2 = 0; op2 < (crm == 3 ? 2 : 4); op2++)
			vcpu_set_reg(vcpu, ARM64_SYS_REG(3, 0, 2, crm, op2), ~(crm << 8 | op2));
}

/* All that KVM does when a vCPU first runs, but no instruction. */
static void run_nothing(struct kvm_vcpu *vcpu)
{
	vcpu->run->immediate_exit = 1;
	TEST_ASSERT(__vcpu_run(vcpu) == -1 && errno == EINTR, "KVM_RUN: %s", strerror(errno));
}

/* The descriptor of the device, to be closed.  All vCPUs have to be there. */
static int create_gic(struct kvm_vm *vm)
{
	u64 distributor = DISTRIBUTOR, redistributors = REDISTRIBUTORS;
	int gic = kvm_create_device(vm, KVM_DEV_TYPE_ARM_VGIC_V3);

	kvm_device_attr_set(gic, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_DIST,
			    &distributor);
	kvm_device_attr_set(gic, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_REDIST,
			    &redistributors);
	kvm_device_attr_set(gic, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT, NULL);
	return gic;
}

/* The device stays as long as the VM, which would stay as long as its descriptor. */
static void add_gic(struct kvm_vm *vm)
{
	kvm_close(create_gic(vm));
}

static void set_gic(struct kvm_vcpu *vcpu)
{
	add_gic(vcpu->vm);
}

/* Of vCPUs whose number of counters does not follow PMCR_EL0.N */
#define COUNTERS_ARE_FIXED {						\
	[SOURCE_ALONE] = { { SYS_ID(PMCR_EL0), NOT_KEPT } },		\
	[TARGET_ALONE] = {						\
		{ SYS_ID(PMINTENSET_EL1), NOT_KEPT, OTHER_COUNTERS },	\
		{ SYS_ID(PMINTENCLR_EL1), NOT_KEPT, OTHER_COUNTERS },	\
		{ SYS_ID(PMCR_EL0), NOT_KEPT },				\
		{ SYS_ID(PMCNTENSET_EL0), NOT_KEPT, OTHER_COUNTERS },	\
		{ SYS_ID(PMCNTENCLR_EL0), NOT_KEPT, OTHER_COUNTERS },	\
		{ SYS_ID(PMOVSSET_EL0), NOT_KEPT, OTHER_COUNTERS },	\
		{ SYS_ID(PMOVSCLR_EL0), NOT_KEPT, OTHER_COUNTERS },	\
	},								\
}

static const struct prerequisite prerequisites[] = {
	{
		.name = "a number of PMU counters",
		.features = BIT(KVM_ARM_VCPU_PMU_V3),
		.caps = { KVM_CAP_ARM_PMU_V3 },
		.prepare = use_counters,
		.set_vcpu = set_nr_counters,
		.fates = {
			/* PMCR_EL0.N sets it, too, and comes behind these. */
			[TARGET_ALONE] = {
				{ SYS_ID(PMINTENSET_EL1), NOT_KEPT, OTHER_COUNTERS },
				{ SYS_ID(PMINTENCLR_EL1), NOT_KEPT, OTHER_COUNTERS },
			},
		},
	}, {
		.name = "a number of PMU counters, strict PMU",
		.features = BIT(KVM_ARM_VCPU_PMU_V3) | BIT(KVM_ARM_VCPU_PMU_V3_STRICT),
		.caps = { KVM_CAP_ARM_PMU_V3, KVM_CAP_ARM_PMU_V3_STRICT },
		.prepare = set_pmu_and_use_counters,
		.set_vcpu = set_nr_counters,
		.fates = COUNTERS_ARE_FIXED,
	}, {
		.name = "a number of PMU counters, EL2",
		.features = BIT(KVM_ARM_VCPU_PMU_V3) | BIT(KVM_ARM_VCPU_HAS_EL2),
		.caps = { KVM_CAP_ARM_PMU_V3, KVM_CAP_ARM_EL2 },
		.prepare = use_counters,
		.set_vcpu = set_nr_counters,
		.fates = COUNTERS_ARE_FIXED,
	}, {
		.name = "the PMU of a strict PMU",
		.features = BIT(KVM_ARM_VCPU_PMU_V3) | BIT(KVM_ARM_VCPU_PMU_V3_STRICT),
		.caps = { KVM_CAP_ARM_PMU_V3, KVM_CAP_ARM_PMU_V3_STRICT },
		.set_vcpu = set_pmu,
		.fates = {
			[SOURCE_ALONE] = {
				{ SYS_ID(PMCR_EL0), NOT_KEPT },
				{ SYS_ID(PMMIR_EL1), EINVAL, ARMV8_PMU_SLOTS },
			},
			[TARGET_ALONE] = { { SYS_ID(PMCR_EL0), NOT_KEPT } },
		},
	}, {
		.name = "writable implementation ID registers",
		.caps = { KVM_CAP_ARM_WRITABLE_IMP_ID_REGS },
		.set_vm = set_writable_imp_ids,
		.change = change_imp_ids,
		.fates = {
			[SOURCE_ALONE] = {
				{ SYS_ID(MIDR_EL1), EINVAL },
				{ SYS_ID(REVIDR_EL1), EINVAL },
				{ SYS_ID(AIDR_EL1), EINVAL },
			},
		},
	}, {
		.name = "MTE",
		.caps = { KVM_CAP_ARM_MTE },
		.set_vm = set_mte,
		.change = change_mte,
		.fates = {
			[SOURCE_ALONE] = {
				{ SYS_ID(ID_AA64PFR1_EL1), EINVAL },
				{ SYS_ID(ID_AA64PFR2_EL1), EINVAL, PFR2_MTE },
				{ SYS_ID(RGSR_EL1), ENOENT },
				{ SYS_ID(GCR_EL1), ENOENT },
				{ SYS_ID(TFSR_EL1), ENOENT },
				{ SYS_ID(TFSRE0_EL1), ENOENT },
			},
			[TARGET_ALONE] = { { SYS_ID(ID_AA64PFR1_EL1), EINVAL } },
		},
	}, {
		.name = "pointer authentication",
		.caps = { KVM_CAP_ARM_PTRAUTH_ADDRESS, KVM_CAP_ARM_PTRAUTH_GENERIC },
		.feature = BIT(KVM_ARM_VCPU_PTRAUTH_ADDRESS) | BIT(KVM_ARM_VCPU_PTRAUTH_GENERIC),
		.change = change_keys,
		.fates = {
			[SOURCE_ALONE] = {
				{ SYS_ID(ID_AA64ISAR1_EL1), EINVAL, ISAR1_PAUTH },
				{ SYS_ID(ID_AA64ISAR2_EL1), EINVAL, ISAR2_PAUTH },
				{ SYS_ID(APIAKEYLO_EL1), ENOENT },
				{ SYS_ID(APIAKEYHI_EL1), ENOENT },
				{ SYS_ID(APIBKEYLO_EL1), ENOENT },
				{ SYS_ID(APIBKEYHI_EL1), ENOENT },
				{ SYS_ID(APDAKEYLO_EL1), ENOENT },
				{ SYS_ID(APDAKEYHI_EL1), ENOENT },
				{ SYS_ID(APDBKEYLO_EL1), ENOENT },
				{ SYS_ID(APDBKEYHI_EL1), ENOENT },
				{ SYS_ID(APGAKEYLO_EL1), ENOENT },
				{ SYS_ID(APGAKEYHI_EL1), ENOENT },
			},
			[TARGET_ALONE] = {
				{ SYS_ID(ID_AA64ISAR1_EL1), EINVAL, ISAR1_PAUTH },
				{ SYS_ID(ID_AA64ISAR2_EL1), EINVAL, ISAR2_PAUTH },
			},
		},
	}, {
		.name = "a counter offset",
		.caps = { KVM_CAP_COUNTER_OFFSET },
		.set_vm = set_counter_offset,
		.prepare = change_counters,
		.fates = {
			[TARGET_ALONE] = {
				{ KVM_REG_ARM_TIMER_CNT, NOT_KEPT },
				{ KVM_REG_ARM_PTIMER_CNT, NOT_KEPT },
			},
		},
	}, {
		.name = "an interrupt controller",
		.set_vcpu = set_gic,
		.run = true,
		.fates = {
			[SOURCE_ALONE] = {
				{ SYS_ID(ID_AA64PFR0_EL1), NOT_KEPT, ID_AA64PFR0_EL1_GIC_MASK },
				{ SYS_ID(ID_PFR1_EL1), NOT_KEPT, ID_PFR1_EL1_GIC_MASK },
			},
			[TARGET_ALONE] = {
				{ SYS_ID(ID_AA64PFR0_EL1), NOT_KEPT, ID_AA64PFR0_EL1_GIC_MASK },
				{ SYS_ID(ID_PFR1_EL1), NOT_KEPT, ID_PFR1_EL1_GIC_MASK },
			},
		},
	},
};

static struct kvm_vcpu *add_initialized(struct kvm_vm *vm, u32 id, u32 features)
{
	struct kvm_vcpu *vcpu = __vm_vcpu_add(vm, id);
	struct kvm_vcpu_init init;

	vm_ioctl(vm, KVM_ARM_PREFERRED_TARGET, &init);
	init.features[0] |= features;
	vcpu_ioctl(vcpu, KVM_ARM_VCPU_INIT, &init);
	return vcpu;
}

static struct kvm_vcpu *create(const struct prerequisite *pre, bool has)
{
	struct kvm_vm *vm = vm_create_barebones();
	struct kvm_vcpu *vcpu;

	if (has && pre->set_vm)
		pre->set_vm(vm);
	vcpu = add_initialized(vm, 0, pre->features | (has ? pre->feature : 0));
	if (pre->prepare)
		pre->prepare(vcpu);
	if (has && pre->set_vcpu)
		pre->set_vcpu(vcpu);
	return vcpu;
}

/* A vCPU, what is saved of it, and another one with the error of each write. */
struct trip {
	struct kvm_vcpu *from, *to;
	struct reg_list_state state;
	int *errors;
};

static struct trip plain_trip(void)
{
	const struct prerequisite plain = { };

	return (struct trip){ create(&plain, false), create(&plain, false) };
}

static void free_saved(struct trip *trip)
{
	free(trip->errors);
	reg_list_free(&trip->state);
}

/* Both vCPUs are alone in their VMs. */
static void end_trip(struct trip *trip)
{
	free_saved(trip);
	kvm_vm_free(trip->from->vm);
	kvm_vm_free(trip->to->vm);
}

static void save(struct kvm_vcpu *vcpu, struct reg_list_state *state)
{
	TEST_ASSERT(!reg_list_save(vcpu->fd, state), "a listed register cannot be read: %s",
		    strerror(errno));
}

static u64 value_of(const struct reg_list_state *state, u64 i)
{
	u64 value;

	memcpy(&value, state->value[i], sizeof(value));
	return value;
}

/* As it was saved; the counters, as far as they can have run on since. */
static bool kept(struct kvm_vcpu *vcpu, const struct reg_list_state *state, u64 i)
{
	u64 id = state->list->reg[i], now;
	unsigned char value[REG_LIST_MAX_BYTES];

	if (reg_list_get_one(vcpu->fd, id, value))
		return false;
	if (id != KVM_REG_ARM_TIMER_CNT && id != KVM_REG_ARM_PTIMER_CNT)
		return reg_list_same(id, value, state->value[i]);
	memcpy(&now, value, sizeof(now));
	return now - value_of(state, i) < RUN_ON;
}

/* Writes the registers in the order of the list: none of these vCPUs has to be finalized. */
static void restore(struct trip *trip)
{
	const struct reg_list_state *state = &trip->state;
	u64 i;

	trip->errors = calloc(state->list->n, sizeof(trip->errors[0]));
	for (i = 0; i < state->list->n; i++)
		if (reg_list_set_one(trip->to->fd, state->list->reg[i], state->value[i]))
			trip->errors[i] = errno;
}

static void print_fate(u64 id, const char *what, int error)
{
	char name[32];

	reg_list_name(id, name, sizeof(name));
	ksft_print_msg("%s (0x%lx) %s: %s\n", name, (unsigned long)id, what,
		       error == NOT_KEPT ? "not kept" : error ? strerror(error) : "kept");
}

/*
 * Whether every register of the restored vCPU met its expected fate, and every
 * expected fate was met.  @before: what the vCPU was before.
 */
static bool as_wanted(const struct trip *trip, const struct reg_list_state *before,
		      const struct fate *fates)
{
	const struct reg_list_state *state = &trip->state;
	const struct fate *fate;
	unsigned int met = 0, wanted = 0;
	bool good = true;
	int want, is;
	u64 i, j, bits;

	for (fate = fates; fate < fates + MAX_FATES && fate->id; fate++)
		wanted += !fate->if_set;

	for (i = 0; i < state->list->n; i++) {
		u64 id = state->list->reg[i];

		bits = value_of(state, i);
		for (j = 0; before && j < before->list->n; j++)
			if (before->list->reg[j] == id)
				bits |= value_of(before, j);

		want = 0;
		for (fate = fates; fate < fates + MAX_FATES && fate->id; fate++) {
			if (fate->id != id || (fate->if_set && !(fate->if_set & bits)))
				continue;
			want = fate->error;
			met += !fate->if_set;
		}

		is = trip->errors[i] ?: kept(trip->to, state, i) ? 0 : NOT_KEPT;
		if (is || want)
			print_fate(id, "is", is);
		if (is == want)
			continue;
		print_fate(id, "should be", want);
		good = false;
	}

	if (met != wanted)
		ksft_print_msg("%u registers of %u are not listed\n", wanted - met, wanted);
	return good && met == wanted;
}

static bool host_has(const struct prerequisite *pre)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(pre->caps); i++)
		if (pre->caps[i] && !kvm_check_cap(pre->caps[i]))
			return false;
	return true;
}

static void test_prerequisite(const struct prerequisite *pre, enum side side)
{
	struct reg_list_state before;
	struct trip trip;

	if (!host_has(pre)) {
		ksft_test_result_skip("%s, %s: not on this host\n", pre->name, side_names[side]);
		return;
	}

	ksft_print_msg("%s, %s\n", pre->name, side_names[side]);
	trip.from = create(pre, side != TARGET_ALONE);
	trip.to = create(pre, side != SOURCE_ALONE);
	if (pre->change && side != TARGET_ALONE)
		pre->change(trip.from);
	if (pre->run)
		run_nothing(trip.from);

	save(trip.from, &trip.state);
	save(trip.to, &before);
	restore(&trip);
	if (pre->run)
		run_nothing(trip.to);
	ksft_test_result(as_wanted(&trip, &before, pre->fates[side]), "%s, %s\n", pre->name,
			 side_names[side]);

	reg_list_free(&before);
	end_trip(&trip);
}

/*
 * Of two vCPUs of a VM one is restored, and has run when the other is restored:
 * the ID registers are fixed by then.  What KVM itself has changed in them cannot
 * be what was saved before the VM first ran, and is refused.
 */
static void test_late(bool gic)
{
	static const struct fate refused[MAX_FATES] = {
		{ SYS_ID(ID_AA64PFR0_EL1), EBUSY, ID_AA64PFR0_EL1_GIC_MASK },
		{ SYS_ID(ID_PFR1_EL1), EBUSY, ID_PFR1_EL1_GIC_MASK },
	}, none[MAX_FATES];
	const char *name = gic ? "a vCPU that is restored late, with an interrupt controller" :
				 "a vCPU that is restored late";
	struct kvm_vm *source = vm_create_barebones(), *target = vm_create_barebones();
	struct trip trips[2];
	unsigned int i;

	for (i = 0; i < 2; i++) {
		trips[i].from = add_initialized(source, i, 0);
		trips[i].to = add_initialized(target, i, 0);
	}
	if (gic) {
		add_gic(source);
		add_gic(target);
	}

	ksft_print_msg("%s\n", name);
	for (i = 0; i < 2; i++) {
		save(trips[i].from, &trips[i].state);
		restore(&trips[i]);
		if (!i)
			run_nothing(trips[i].to);
	}
	ksft_test_result(as_wanted(&trips[1], NULL, gic ? none : refused), "%s\n", name);

	for (i = 0; i < 2; i++)
		free_saved(&trips[i]);
	kvm_vm_free(source);
	kvm_vm_free(target);
}

/*
 * The counters of all vCPUs of a VM have one offset: a vCPU that is restored when
 * another one has run for long sets the clocks of that one back, too.
 */
static void test_late_clocks(void)
{
	static const u64 counters[] = { KVM_REG_ARM_TIMER_CNT, KVM_REG_ARM_PTIMER_CNT };
	const char *name = "a vCPU that is restored late moves the clocks of one that runs";
	struct kvm_vm *source = vm_create_barebones(), *target = vm_create_barebones();
	unsigned int i, running = 0, moved = 0;
	struct trip trips[2];
	u64 now;

	for (i = 0; i < 2; i++) {
		trips[i].from = add_initialized(source, i, 0);
		trips[i].to = add_initialized(target, i, 0);
	}
	for (i = 0; i < ARRAY_SIZE(counters); i++)
		vcpu_set_reg(trips[0].from, counters[i], LONG_AGO);
	for (i = 0; i < 2; i++)
		save(trips[i].from, &trips[i].state);

	restore(&trips[0]);
	run_nothing(trips[0].to);
	/* As if it had run for long */
	for (i = 0; i < ARRAY_SIZE(counters); i++)
		vcpu_set_reg(trips[0].to, counters[i], 3 * LONG_AGO);
	for (i = 0; i < ARRAY_SIZE(counters); i++)
		running += vcpu_get_reg(trips[0].to, counters[i]) - 3 * LONG_AGO < RUN_ON;

	restore(&trips[1]);
	for (i = 0; i < ARRAY_SIZE(counters); i++) {
		now = vcpu_get_reg(trips[0].to, counters[i]);
		ksft_print_msg("0x%lx of the vCPU that runs was 0x%llx, is 0x%lx\n",
			       (unsigned long)counters[i], 3 * LONG_AGO, (unsigned long)now);
		moved += now - LONG_AGO < RUN_ON;
	}
	ksft_test_result(running == ARRAY_SIZE(counters) && moved == ARRAY_SIZE(counters),
			 "%s\n", name);

	for (i = 0; i < 2; i++)
		free_saved(&trips[i]);
	kvm_vm_free(source);
	kvm_vm_free(target);
}

static void swap_registers(struct reg_list_state *state, u64 a, u64 b)
{
	unsigned char value[REG_LIST_MAX_BYTES];
	u64 id = state->list->reg[a];

	memcpy(value, state->value[a], sizeof(value));
	state->list->reg[a] = state->list->reg[b];
	memcpy(state->value[a], state->value[b], sizeof(value));
	state->list->reg[b] = id;
	memcpy(state->value[b], value, sizeof(value));
}

/* Sorts the registers, and leaves those as they are that have the same place. */
static void sort(struct reg_list_state *state, u64 (*place)(u64 id))
{
	u64 i, j;

	for (i = 1; i < state->list->n; i++)
		for (j = i; j && place(state->list->reg[j - 1]) > place(state->list->reg[j]); j--)
			swap_registers(state, j - 1, j);
}

/* Of a client that does not trust the order: the recipe of the documentation. */
static u64 place_of_recipe(u64 id)
{
	switch (id) {
	case KVM_REG_ARM64_SVE_VLS:
		return 0;
	case SYS_ID(SVCR):
		return 1;
	case SYS_ID(ID_AA64PFR1_EL1):
		return 2;
	case KVM_REG_ARM_TIMER_CNT:
		return 3;
	default:
		return 4;
	}
}

/*
 * The vCPUs of a VM are hypervisors, and each has set CNTVOFF_EL2 for its guest.
 * CNTVCT_EL0 and CNTPCT_EL0 have one offset, of the whole VM: the clocks of all
 * go on where they were only if CNTPCT_EL0, which CNTVOFF_EL2 does not shift, is
 * written last.
 */
static unsigned int count_clocks_kept(bool usual_order)
{
	static const u64 guest_offset[] = { 1ULL << 40, 3ULL << 40 };
	struct kvm_vm *source = vm_create_barebones(), *target = vm_create_barebones();
	struct trip trips[ARRAY_SIZE(guest_offset)], *trip;
	unsigned int i, count = 0;
	u64 n, id;

	for (i = 0; i < ARRAY_SIZE(trips); i++) {
		trips[i].from = add_initialized(source, i, BIT(KVM_ARM_VCPU_HAS_EL2));
		trips[i].to = add_initialized(target, i, BIT(KVM_ARM_VCPU_HAS_EL2));
		vcpu_set_reg(trips[i].from, SYS_ID(CNTVOFF_EL2), guest_offset[i]);
	}
	vcpu_set_reg(trips[0].from, KVM_REG_ARM_PTIMER_CNT, LONG_AGO);

	for (trip = trips; trip < trips + ARRAY_SIZE(trips); trip++) {
		save(trip->from, &trip->state);
		if (usual_order)
			sort(&trip->state, usual_place);
		restore(trip);
	}
	for (trip = trips; trip < trips + ARRAY_SIZE(trips); trip++) {
		for (n = 0; n < trip->state.list->n; n++) {
			id = trip->state.list->reg[n];
			count += (id == KVM_REG_ARM_TIMER_CNT || id == KVM_REG_ARM_PTIMER_CNT) &&
				 kept(trip->to, &trip->state, n);
		}
		free_saved(trip);
	}

	kvm_vm_free(source);
	kvm_vm_free(target);
	return count;
}

static void test_clocks(void)
{
	const char *name = "clocks of two vCPUs with EL2 and different CNTVOFF_EL2";
	unsigned int ours, usual;

	if (!kvm_check_cap(KVM_CAP_ARM_EL2)) {
		ksft_test_result_skip("%s: not on this host\n", name);
		return;
	}

	ours = count_clocks_kept(false);
	usual = count_clocks_kept(true);
	ksft_print_msg("%u of 4 go on in the order of the list, %u in the usual order\n", ours,
		       usual);
	ksft_test_result(ours == 4 && usual < 4, "%s\n", name);
}

/* A guest without SSBS, in the list of a kernel and by a client, each with the order or without. */
static void test_order_of_others(bool usual_order, bool recipe)
{
	static const struct fate refused[MAX_FATES] = {
		{ KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_2, EINVAL },
	}, none[MAX_FATES];
	struct trip trip = plain_trip();
	u64 pfr1 = vcpu_get_reg(trip.from, SYS_ID(ID_AA64PFR1_EL1));
	u64 level, host_level;
	char name[128];

	snprintf(name, sizeof(name), "no SSBS, a list %s the order, %s",
		 usual_order ? "without" : "with", recipe ? "by the recipe" : "as it is");
	ksft_print_msg("%s\n", name);
	vcpu_set_reg(trip.from, SYS_ID(ID_AA64PFR1_EL1), pfr1 & ~ID_AA64PFR1_EL1_SSBS_MASK);
	level = vcpu_get_reg(trip.from, KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_2);
	host_level = vcpu_get_reg(trip.to, KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_2);

	save(trip.from, &trip.state);
	if (usual_order)
		sort(&trip.state, usual_place);
	if (recipe)
		sort(&trip.state, place_of_recipe);
	restore(&trip);
	if (level == host_level)
		ksft_test_result_skip("%s: SSBS decides about nothing on this host\n", name);
	else
		ksft_test_result(as_wanted(&trip, NULL, usual_order && !recipe ? refused : none),
				 "%s\n", name);

	end_trip(&trip);
}

/* A guest with an SSBS that the host has not, as if it came from another one. */
static void test_greater_ssbs(void)
{
	static const struct fate refused[MAX_FATES] = {
		{ SYS_ID(ID_AA64PFR1_EL1), EINVAL },
	};
	struct trip trip = plain_trip();
	u64 i, pfr1;

	save(trip.from, &trip.state);
	for (i = 0; trip.state.list->reg[i] != SYS_ID(ID_AA64PFR1_EL1); i++)
		;
	pfr1 = value_of(&trip.state, i);
	pfr1 += SYS_FIELD_PREP(ID_AA64PFR1_EL1, SSBS, 1);
	memcpy(trip.state.value[i], &pfr1, sizeof(pfr1));

	ksft_print_msg("an SSBS that the host does not have\n");
	restore(&trip);
	ksft_test_result(as_wanted(&trip, NULL, refused),
			 "an SSBS that the host does not have\n");

	end_trip(&trip);
}

/* The registers of the CPU interface, and what to have in them. */
static const struct {
	u64 id;
	u64 set, clear;
} icc[] = {
	{ SYS_ID(ICC_PMR_EL1),		0xa0,	0xff },
	{ SYS_ID(ICC_BPR0_EL1),		5,	7 },
	{ SYS_ID(ICC_AP0R0_EL1),	4,	0 },
	{ SYS_ID(ICC_AP1R0_EL1),	8,	0 },
	{ SYS_ID(ICC_BPR1_EL1),		6,	7 },
	{ SYS_ID(ICC_CTLR_EL1),		2,	1 },	/* EOImode, and not CBPR */
	{ SYS_ID(ICC_SRE_EL1),		0,	0 },
	{ SYS_ID(ICC_IGRPEN0_EL1),	1,	0 },
	{ SYS_ID(ICC_IGRPEN1_EL1),	1,	0 },
};

static u64 icc_attr(struct kvm_vcpu *vcpu, unsigned int i)
{
	return (u64)vcpu->id << KVM_DEV_ARM_VGIC_V3_MPIDR_SHIFT |
	       (icc[i].id & KVM_DEV_ARM_VGIC_SYSREG_INSTR_MASK);
}

static u64 get_icc(int gic, struct kvm_vcpu *vcpu, unsigned int i)
{
	u64 value;

	kvm_device_attr_get(gic, KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS, icc_attr(vcpu, i), &value);
	return value;
}

static void set_icc(int gic, struct kvm_vcpu *vcpu, unsigned int i, u64 value)
{
	kvm_device_attr_set(gic, KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS, icc_attr(vcpu, i), &value);
}

/* The interrupt controller has registers of a vCPU that are not in its list. */
static void test_icc(bool list_first)
{
	static const struct fate none[MAX_FATES];
	struct trip trip = plain_trip();
	int source = create_gic(trip.from->vm), target = create_gic(trip.to->vm);
	u64 saved[ARRAY_SIZE(icc)], value;
	unsigned int i, changed = 0;
	bool good;
	u64 n;

	for (i = 0; i < ARRAY_SIZE(icc); i++) {
		value = (get_icc(source, trip.from, i) & ~icc[i].clear) | icc[i].set;
		set_icc(source, trip.from, i, value);
	}
	run_nothing(trip.from);
	save(trip.from, &trip.state);
	for (i = 0; i < ARRAY_SIZE(icc); i++) {
		saved[i] = get_icc(source, trip.from, i);
		changed += saved[i] != get_icc(target, trip.to, i);
	}
	TEST_ASSERT(changed >= 7, "only %u registers of the interrupt controller change", changed);

	if (list_first)
		restore(&trip);
	for (i = 0; i < ARRAY_SIZE(icc); i++)
		set_icc(target, trip.to, i, saved[i]);
	if (!list_first)
		restore(&trip);
	run_nothing(trip.to);

	good = as_wanted(&trip, NULL, none);
	for (i = 0; i < ARRAY_SIZE(icc); i++) {
		if (get_icc(target, trip.to, i) == saved[i])
			continue;
		ksft_print_msg("0x%lx of the interrupt controller is not kept\n",
			       (unsigned long)icc[i].id);
		good = false;
	}
	/* Those are not in the list: who saves the list alone loses them. */
	for (n = 0; n < trip.state.list->n; n++)
		for (i = 0; i < ARRAY_SIZE(icc); i++)
			good &= trip.state.list->reg[n] != icc[i].id;
	ksft_test_result(good, "registers of the interrupt controller, %s the list\n",
			 list_first ? "after" : "before");

	kvm_close(source);
	kvm_close(target);
	end_trip(&trip);
}

int main(void)
{
	unsigned int i;
	enum side side;

	ksft_print_header();
	TEST_REQUIRE(kvm_check_cap(KVM_CAP_ARM_REG_LIST_ORDER));
	TEST_REQUIRE(kvm_supports_vgic_v3());
	ksft_set_plan(ARRAY_SIZE(prerequisites) * SIDES + 11);

	for (i = 0; i < ARRAY_SIZE(prerequisites); i++)
		for (side = BOTH; side < SIDES; side++)
			test_prerequisite(&prerequisites[i], side);
	test_late(false);
	test_late(true);
	test_late_clocks();
	test_clocks();
	for (i = 0; i < 4; i++)
		test_order_of_others(i & 1, i & 2);
	test_greater_ssbs();
	test_icc(true);
	test_icc(false);

	ksft_finished();
}
