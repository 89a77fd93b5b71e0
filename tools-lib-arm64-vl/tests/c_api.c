// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The C API: every function, and what a mistake gives. Prints "ok" or what was wrong.
#include <arm64-vl.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <linux/kvm.h>

#define HOST "{\"format\":\"arm64-vl host\",\"version\":1,\"name\":\"h\",\"missing\":[],\"host\":" \
	"{\"sve\":{\"lengths\":[],\"default\":null},\"sme\":{\"lengths\":[],\"default\":null}," \
	"\"sme2\":false,\"fa64\":false},\"kvm\":{\"sve\":[%s],\"sme\":[32],\"sme2\":true,\"fa64\":false," \
	"\"others\":{\"plain\":" NONE ",\"sve\":" NONE ",\"sme\":" NONE ",\"both\":" NONE "}}}"
#define NONE "{\"registers\":0,\"bytes\":0,\"significant\":0}"

static int failed;

#define EXPECT(condition)                                                         \
	do {                                                                      \
		if (!(condition)) {                                               \
			printf("line %d: %s: %s\n", __LINE__, #condition, arm64_vl_error()); \
			failed = 1;                                               \
		}                                                                 \
	} while (0)

static void test_pool_and_sizes(void)
{
	struct arm64_vl_config config, wrong = { .sme2 = true };
	struct arm64_vl_size size, greatest;
	const char *hosts[2];
	char a[1024], b[1024];
	uint32_t bytes[1];

	snprintf(a, sizeof(a), HOST, "16,32,48");
	snprintf(b, sizeof(b), HOST, "16,32,64");
	hosts[0] = a;
	hosts[1] = b;
	EXPECT(arm64_vl_pool(hosts, 2, &config) == ARM64_VL_OK);
	EXPECT(config.sve.words[0] == 3 && config.sme.words[0] == 2 && config.sme2 && !config.fa64);
	EXPECT(arm64_vl_lengths_bytes(&config.sve, bytes, 1) == 2 && bytes[0] == 16);
	EXPECT(arm64_vl_pool(hosts, 0, &config) == ARM64_VL_MISSING);
	hosts[1] = "{}";
	EXPECT(arm64_vl_pool(hosts, 2, &config) == ARM64_VL_FORMAT);
	hosts[1] = NULL;
	EXPECT(arm64_vl_pool(hosts, 2, &config) == ARM64_VL_INVALID);
	EXPECT(arm64_vl_pool(hosts, 1, NULL) == ARM64_VL_INVALID);

	// Z, P and FFR, 32 rows of ZA, ZT0 and two sets of lengths.
	EXPECT(arm64_vl_pool(hosts, 1, &config) == ARM64_VL_OK);
	EXPECT(arm64_vl_config_size(&config, 2, &size) == ARM64_VL_OK && size.registers == 49 + 32 + 1 + 2);
	EXPECT(arm64_vl_config_size(&config, 1, &size) == ARM64_VL_OK && size.registers == 48 + 2);
	EXPECT(arm64_vl_config_size(&config, 4, &size) == ARM64_VL_INVALID);
	EXPECT(arm64_vl_config_greatest_size(&config, &greatest) == ARM64_VL_OK);
	EXPECT(greatest.registers == 49 + 32 + 1 + 2 && greatest.bytes > greatest.significant);
	EXPECT(arm64_vl_config_size(&wrong, 0, &size) == ARM64_VL_INVALID);
	EXPECT(strstr(arm64_vl_error(), "SME2 needs SME"));
}

#ifdef __aarch64__
static int new_vcpu(int vm, int n, bool sve, bool sme)
{
	struct kvm_vcpu_init init;
	int vcpu = ioctl(vm, KVM_CREATE_VCPU, n);

	EXPECT(!ioctl(vm, KVM_ARM_PREFERRED_TARGET, &init));
	init.features[0] |= sve << KVM_ARM_VCPU_SVE | sme << 10;
	EXPECT(!ioctl(vcpu, KVM_ARM_VCPU_INIT, &init));
	return vcpu;
}

static void test_vcpu(const struct arm64_vl_info *info, size_t list_bytes)
{
	bool sve = info->vcpu.sve.words[0], sme = info->vcpu.sme.words[0];
	int kvm = open("/dev/kvm", O_RDWR), vm = ioctl(kvm, KVM_CREATE_VM, 0);
	int from = new_vcpu(vm, 0, sve, sme), to = new_vcpu(vm, 1, sve, sme), feature = KVM_ARM_VCPU_SVE;
	// All vCPUs of a VM have the same features.
	int plain = new_vcpu(ioctl(kvm, KVM_CREATE_VM, 0), 0, false, false);
	__u64 x0 = 0x1234, read = 0;
	struct kvm_one_reg reg = { .id = 0x6030000000100000, .addr = (__u64)&x0 };
	struct kvm_reg_list *list = calloc(1, list_bytes);
	char *json = NULL;

	EXPECT(!(sve || sme) || !ioctl(from, KVM_ARM_VCPU_FINALIZE, &feature));
	EXPECT(!ioctl(from, KVM_SET_ONE_REG, &reg));
	// In the mode with the most registers the list fits, and has no room left.
	reg.id = 0x603000000013da12;
	x0 = 3;
	EXPECT(!sme || !ioctl(from, KVM_SET_ONE_REG, &reg));
	list->n = list_bytes / 8 - 1;
	EXPECT(!ioctl(from, KVM_GET_REG_LIST, list) && list->n == list_bytes / 8 - 1);
	free(list);
	reg.id = 0x6030000000100000;
	x0 = 0x1234;
	EXPECT(arm64_vl_save(from, &json) == ARM64_VL_OK);
	EXPECT(!(sve || sme) || arm64_vl_restore(plain, json) == ARM64_VL_CONFIGURATION);
	EXPECT(arm64_vl_restore(to, json) == ARM64_VL_OK);
	reg.addr = (__u64)&read;
	EXPECT(!ioctl(to, KVM_GET_ONE_REG, &reg) && read == x0);
	EXPECT(!(sve || sme) || arm64_vl_restore(to, json) == ARM64_VL_CONFIGURATION);
	EXPECT(arm64_vl_save(kvm, &json) == ARM64_VL_KERNEL);
	arm64_vl_free(json);
}
#endif

int main(void)
{
	struct arm64_vl_machine *machine;
	struct arm64_vl_lengths common;
	struct arm64_vl_thread thread;
	struct arm64_vl_info info;
	size_t list_bytes = 0;

	test_pool_and_sizes();
	EXPECT(arm64_vl_machine_read(NULL) == ARM64_VL_INVALID);
	EXPECT(arm64_vl_machine_read(&machine) == ARM64_VL_OK);
	EXPECT(arm64_vl_machine_info(machine, &info) == ARM64_VL_OK);
	EXPECT(arm64_vl_machine_common(machine, 0, 0, &common) == ARM64_VL_OK && !common.words[0]);
	EXPECT(info.has_kvm || arm64_vl_machine_missing(machine, 0));
	EXPECT(!arm64_vl_machine_missing(machine, 1000));
	EXPECT(arm64_vl_machine_name(machine));
	EXPECT(arm64_vl_machine_list_bytes(machine, &info.vcpu, &list_bytes) ==
	       (info.has_kvm ? ARM64_VL_OK : ARM64_VL_MISSING));
	EXPECT(arm64_vl_machine_list_bytes(machine, &info.vcpu, NULL) != ARM64_VL_OK);
	EXPECT(arm64_vl_restore(-1, "{}") == ARM64_VL_FORMAT);
	EXPECT(arm64_vl_restore(-1, NULL) == ARM64_VL_INVALID);
#ifdef __aarch64__
	EXPECT(arm64_vl_thread_read(getpid(), &thread) == ARM64_VL_KERNEL);
	EXPECT(info.has_kvm);
	test_vcpu(&info, list_bytes);
#else
	EXPECT(arm64_vl_thread_read(getpid(), &thread) == ARM64_VL_MISSING);
#endif
	arm64_vl_machine_free(machine);
	arm64_vl_machine_free(NULL);
	arm64_vl_free(NULL);
	if (!failed)
		printf("ok\n");
	return failed;
}
