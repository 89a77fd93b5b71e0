// SPDX-License-Identifier: GPL-2.0
/*
 * clocks - what a restore in list order makes of the clocks of a VM whose
 * vCPUs have EL2 and are hypervisors themselves.
 *
 * The two vCPUs have different CNTVOFF_EL2, as they have when each runs a
 * guest of its own.  Both are saved, and restored into a new VM.  One line of
 * JSON a vCPU: by how many seconds its CNTPCT_EL0 is behind after that, and
 * what the calls of the restore said.
 */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "reg_list.h"

/* Not in older headers */
#ifndef KVM_CAP_ARM_EL2
#define KVM_CAP_ARM_EL2	240
#endif

#define CNTVOFF_EL2	ARM64_SYS_REG(3, 4, 14, 0, 3)
#define VCPUS		2
#define SKIPPED		4	/* as in kselftest: the machine does not have it */

/* Since the start of the guest that each runs, in seconds */
static const __u64 offset[VCPUS] = { 12 * 60, 39 * 60 };

static void must(int good, const char *what)
{
	if (good)
		return;
	perror(what);
	exit(1);
}

static __u64 counter_frequency(void)
{
	__u64 hz;

	asm("mrs %0, cntfrq_el0" : "=r" (hz));
	return hz;
}

static void create(int kvm, int vcpu[VCPUS])
{
	struct kvm_vcpu_init init;
	int vm, i;

	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	must(vm >= 0, "KVM_CREATE_VM");
	must(!ioctl(vm, KVM_ARM_PREFERRED_TARGET, &init), "KVM_ARM_PREFERRED_TARGET");
	init.features[0] |= 1 << KVM_ARM_VCPU_HAS_EL2;

	for (i = 0; i < VCPUS; i++) {
		vcpu[i] = ioctl(vm, KVM_CREATE_VCPU, i);
		must(vcpu[i] >= 0, "KVM_CREATE_VCPU");
		must(!ioctl(vcpu[i], KVM_ARM_VCPU_INIT, &init), "KVM_ARM_VCPU_INIT");
	}
}

static __u64 get(int vcpu, __u64 id)
{
	__u64 value;

	must(!reg_list_get_one(vcpu, id, &value), "KVM_GET_ONE_REG");
	return value;
}

int main(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	struct reg_list_state state[VCPUS];
	int from[VCPUS], to[VCPUS], i;
	unsigned int errors = 0;
	__u64 hz = counter_frequency(), value, behind;

	must(kvm >= 0, "/dev/kvm");
	if (ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_ARM_EL2) <= 0) {
		printf("KVM has no nested virtualization here\n");
		return SKIPPED;
	}

	create(kvm, from);
	create(kvm, to);

	for (i = 0; i < VCPUS; i++) {
		value = offset[i] * hz;
		must(!reg_list_set_one(from[i], CNTVOFF_EL2, &value), "CNTVOFF_EL2");
	}
	for (i = 0; i < VCPUS; i++)
		must(!reg_list_save(from[i], &state[i]), "a listed register cannot be read");
	for (i = 0; i < VCPUS; i++)
		errors += reg_list_restore(to[i], &state[i]);

	/* Both run on meanwhile, which is less than half a minute. */
	for (i = 0; i < VCPUS; i++) {
		behind = get(from[i], KVM_REG_ARM_PTIMER_CNT) + hz / 2 - get(to[i], KVM_REG_ARM_PTIMER_CNT);
		printf("{\"vcpu\":%d,\"errors\":%u,\"behind\":%lld}\n", i, errors, (long long)behind / (long long)hz);
	}

	return 0;
}
