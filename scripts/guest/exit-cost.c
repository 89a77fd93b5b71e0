// SPDX-License-Identifier: GPL-2.0
/*
 * exit-cost - what an exit of a guest costs, without SVE and SME, with either,
 * and with SME in each state of SVCR; and what the end of its VM costs.
 *
 * A guest makes hypercalls, which KVM answers by itself, and then stores to a
 * device, for which KVM_RUN returns to user space.  The figures come as one
 * line of JSON a vCPU, in nanoseconds of CLOCK_MONOTONIC_RAW; under QEMU's
 * "-icount shift=0 -smp 1" those are instructions, the guest's own included.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "reg_list.h"

/* Not in the headers of a released kernel */
#ifndef KVM_ARM_VCPU_SME
#define KVM_ARM_VCPU_SME	10
#endif

#define SVCR		ARM64_SYS_REG(3, 3, 4, 2, 2)

#define GUEST_BASE	0x40000000UL
#define DEVICE		0x09000000UL
#define CALLS		100
/* The cheapest counts: no tick of the host came in between. */
#define RUNS		12

/* x19: how many hypercalls; x20: the device (SMCCC lets a call change x0 to x17) */
static const unsigned int guest[] = {
	0xd2b08000,	/* 0: movz x0, #0x8400, lsl #16	(PSCI_VERSION) */
	0xd4000002,	/*    hvc #0 */
	0xf1000673,	/*    subs x19, x19, #1 */
	0x54ffffa1,	/*    b.ne 0b */
	0xf900029f,	/*    str xzr, [x20] */
	0x17fffffb,	/*    b 0b */
};

static const struct {
	const char *name;
	__u32 features;
	__u64 svcr;
} vcpus[] = {
	{ "plain",	   0, 0 },
	{ "SVE",	   1 << KVM_ARM_VCPU_SVE, 0 },
	{ "SME",	   1 << KVM_ARM_VCPU_SME, 0 },
	{ "SVE+SME",	   1 << KVM_ARM_VCPU_SVE | 1 << KVM_ARM_VCPU_SME, 0 },
	{ "SVE+SME SM",	   1 << KVM_ARM_VCPU_SVE | 1 << KVM_ARM_VCPU_SME, 1 },
	{ "SVE+SME ZA",	   1 << KVM_ARM_VCPU_SVE | 1 << KVM_ARM_VCPU_SME, 2 },
	{ "SVE+SME SM ZA", 1 << KVM_ARM_VCPU_SVE | 1 << KVM_ARM_VCPU_SME, 3 },
};

static void must(int good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "exit-cost: %s: %s\n", what, strerror(errno));
	exit(1);
}

static __u64 now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_RAW, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static void set(int vcpu, __u64 id, __u64 value)
{
	must(!reg_list_set_one(vcpu, id, &value), "KVM_SET_ONE_REG");
}

static __u64 least(__u64 a, __u64 b)
{
	return a < b ? a : b;
}

/* From KVM_RUN to its return for the device, with so many hypercalls before. */
static __u64 one_run(int vcpu, const struct kvm_run *run, __u64 calls)
{
	__u64 start;

	set(vcpu, REG_LIST_CORE(regs.regs[19], U64), calls);
	start = now();
	must(!ioctl(vcpu, KVM_RUN, 0), "KVM_RUN");
	start = now() - start;
	must(run->exit_reason == KVM_EXIT_MMIO && run->mmio.phys_addr == DEVICE, "the guest does not get to the device");
	return start;
}

int main(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int finalize = KVM_ARM_VCPU_SVE;
	size_t i;

	must(kvm >= 0, "/dev/kvm");
	/* The end of the first VM waits for what that of later ones does not. */
	close(ioctl(kvm, KVM_CREATE_VM, 0));

	for (i = 0; i < sizeof(vcpus) / sizeof(vcpus[0]); i++) {
		struct kvm_userspace_memory_region region = {
			.guest_phys_addr = GUEST_BASE, .memory_size = 0x10000,
		};
		struct kvm_vcpu_init init;
		struct kvm_run *run;
		__u64 few = ~0ULL, many = ~0ULL, start;
		int vm, vcpu, n;
		void *memory;

		vm = ioctl(kvm, KVM_CREATE_VM, 0);
		vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
		must(vm >= 0 && vcpu >= 0, "KVM_CREATE_VCPU");
		must(!ioctl(vm, KVM_ARM_PREFERRED_TARGET, &init), "KVM_ARM_PREFERRED_TARGET");
		init.features[0] |= vcpus[i].features | 1 << KVM_ARM_VCPU_PSCI_0_2;

		/* A kernel without SME vCPUs does not know the bit. */
		if (ioctl(vcpu, KVM_ARM_VCPU_INIT, &init)) {
			close(vcpu);
			close(vm);
			continue;
		}
		if (vcpus[i].features)
			must(!ioctl(vcpu, KVM_ARM_VCPU_FINALIZE, &finalize), "KVM_ARM_VCPU_FINALIZE");
		if (vcpus[i].svcr)
			set(vcpu, SVCR, vcpus[i].svcr);

		memory = mmap(NULL, region.memory_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		run = mmap(NULL, 0x3000, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
		must(memory != MAP_FAILED && run != MAP_FAILED, "mmap");
		memcpy(memory, guest, sizeof(guest));
		region.userspace_addr = (unsigned long)memory;
		must(!ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
		set(vcpu, REG_LIST_CORE(regs.pc, U64), GUEST_BASE);
		set(vcpu, REG_LIST_CORE(regs.regs[20], U64), DEVICE);

		for (n = 0; n < RUNS; n++) {
			few = least(few, one_run(vcpu, run, 1));
			many = least(many, one_run(vcpu, run, 1 + CALLS));
		}

		munmap(run, 0x3000);
		munmap(memory, region.memory_size);
		start = now();
		close(vcpu);
		close(vm);
		printf("{\"vcpu\":\"%s\",\"hypercall\":%llu,\"kvm_run\":%llu,\"close\":%llu}\n", vcpus[i].name,
		       (many - few) / CALLS, few, now() - start);
	}

	return 0;
}
