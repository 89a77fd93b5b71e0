// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The C API: every function, and what a mistake gives. Prints "ok" or what was wrong.
#include <arm64-vl.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
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
	struct arm64_vl_config wanted = { 0 };
	const char *hosts[2];
	char a[1024], b[1024], *reasons;
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
	EXPECT(arm64_vl_pool(hosts, 2, &config) == ARM64_VL_NULL);
	EXPECT(arm64_vl_pool(hosts, 1, NULL) == ARM64_VL_NULL);
	EXPECT(arm64_vl_pool(NULL, 1, &config) == ARM64_VL_NULL);

	// Z, P and FFR, 32 rows of ZA, ZT0 and two sets of lengths.
	EXPECT(arm64_vl_pool(hosts, 1, &config) == ARM64_VL_OK);
	EXPECT(arm64_vl_config_size(&config, 2, &size) == ARM64_VL_OK && size.registers == 49 + 32 + 1 + 2);
	EXPECT(arm64_vl_config_size(&config, 1, &size) == ARM64_VL_OK && size.registers == 48 + 2);
	EXPECT(arm64_vl_config_size(&config, 4, &size) == ARM64_VL_INVALID);
	EXPECT(arm64_vl_config_greatest_size(&config, &greatest) == ARM64_VL_OK);
	EXPECT(greatest.registers == 49 + 32 + 1 + 2 && greatest.bytes > greatest.significant);
	EXPECT(arm64_vl_config_size(&wrong, 0, &size) == ARM64_VL_INVALID);
	EXPECT(strstr(arm64_vl_error(), "SME2 needs SME"));

	// It runs on the first, and not on the second, which cannot hide 48 bytes.
	snprintf(b, sizeof(b), HOST, "16,32,48,64");
	wanted.sve.words[0] = 3;
	EXPECT(arm64_vl_config_why_not(&wanted, a, &reasons) == ARM64_VL_OK && !*reasons);
	arm64_vl_free(reasons);
	wanted.sve.words[0] = 0xb;
	EXPECT(arm64_vl_config_why_not(&wanted, b, &reasons) == ARM64_VL_OK);
	EXPECT(!strcmp(reasons, "SVE vectors of 48 bytes cannot be hidden\n"));
	arm64_vl_free(reasons);
}

// A machine with vCPUs with SVE and SME that have these registers.
static void named(char *out, const char *name, const char *sve, const char *registers)
{
	char host[1024], *at;

	snprintf(host, sizeof(host), HOST, sve);
	at = strstr(host, "\"h\"");
	*at = 0;
	sprintf(out, "%s\"%s\"%s", host, name, at + 3);
	at = strstr(out, "\"others\"");
	snprintf(host, sizeof(host), "%s", at);
	sprintf(at, "\"kinds\":[{\"features\":[1040,0,0,0,0,0,0],\"more\":[%s]}],%s", registers, host);
}

static void test_fleet(void)
{
	struct arm64_vl_config config = { 0 };
	char a[1024], b[1024], *text = NULL;
	const char *hosts[3] = { a, b, a };
	size_t group[3] = { 9, 9, 9 };

	snprintf(a, sizeof(a), HOST, "16,32,48,64");
	snprintf(b, sizeof(b), HOST, "16,32,64");
	EXPECT(arm64_vl_blame(hosts, 3, &text) == ARM64_VL_OK);
	EXPECT(text && !strcmp(text, "no SVE of 16 32 48 64 because of h: no SVE vectors of 48 bytes\n"));
	arm64_vl_free(text);
	EXPECT(arm64_vl_partition(hosts, 3, 2, group) == ARM64_VL_OK);
	EXPECT(group[0] == 0 && group[1] == 1 && group[2] == 0);
	EXPECT(arm64_vl_partition(hosts, 3, 0, group) == ARM64_VL_MISSING);
	// Nothing is known of the registers of these.
	EXPECT(arm64_vl_common_vcpu(hosts, 3, NULL, &text) == ARM64_VL_MISSING);
	// The name of a machine makes no line.
	named(a, "h\\nset x", "16,32", "\"0x6030000000100000\"");
	named(b, "i\\u009b", "16", "");
	EXPECT(arm64_vl_common_vcpu(hosts, 2, NULL, &text) == ARM64_VL_OK);
	EXPECT(text && !strcmp(text, "h\\nset x: extra: X0 (0x6030000000100000)\n"));
	arm64_vl_free(text);
	hosts[0] = b;
	hosts[1] = a;
	EXPECT(arm64_vl_blame(hosts, 2, &text) == ARM64_VL_OK);
	EXPECT(text && !strcmp(text, "no SVE of 16 32 because of i\\u{9b}: no SVE vectors of 32 bytes\n"));
	arm64_vl_free(text);
	EXPECT(arm64_vl_qemu_cpu(&config, "max", &text) == ARM64_VL_OK && !strcmp(text, "max,sve=off,sme=off"));
	arm64_vl_free(text);
}

static void test_note(void)
{
	// ZA is off: a header of vectors of 32 bytes, and 64 at most.
	static const uint8_t note[16] = { 16, 0, 0, 0, 16, 16, 0, 0, 32, 0, 64 };
	struct arm64_vl_view view;

	EXPECT(arm64_vl_view_from_note(0x40c, note, sizeof(note), &view) == ARM64_VL_OK);
	EXPECT(view.presence == ARM64_VL_OFF && view.length == 32 && view.greatest_size == 16 + 64 * 64);
	EXPECT(arm64_vl_view_from_note(0x40c, note, 15, &view) == ARM64_VL_FORMAT);
	EXPECT(arm64_vl_view_from_note(0x40d, note, 16, &view) == ARM64_VL_FORMAT);
	EXPECT(arm64_vl_view_from_note(1, note, 16, &view) == ARM64_VL_FORMAT);
}

// NULL for each argument in turn is a status, and nothing is done.
static void test_null(void)
{
	struct arm64_vl_thread thread = { .struct_size = 0 };
	struct arm64_vl_config config = { 0 };
	struct arm64_vl_lengths common;
	struct arm64_vl_size size;
	size_t count;
	char *text;

	EXPECT(arm64_vl_machine_read(NULL) == ARM64_VL_NULL);
	EXPECT(arm64_vl_machine_of_kvm(-1, NULL) == ARM64_VL_NULL);
	EXPECT(arm64_vl_machine_info(NULL, NULL) == ARM64_VL_NULL);
	EXPECT(arm64_vl_machine_common(NULL, 0, 0, &common) == ARM64_VL_NULL);
	EXPECT(arm64_vl_machine_others(NULL, &config, &size) == ARM64_VL_NULL);
	EXPECT(arm64_vl_machine_list_bytes(NULL, &config, &count) == ARM64_VL_NULL);
	EXPECT(!arm64_vl_machine_name(NULL) && !arm64_vl_machine_missing(NULL, 0));
	EXPECT(!arm64_vl_lengths_bytes(NULL, NULL, 0));
	EXPECT(arm64_vl_config_why_not(NULL, "{}", &text) == ARM64_VL_NULL);
	EXPECT(arm64_vl_config_why_not(&config, NULL, &text) == ARM64_VL_NULL);
	EXPECT(arm64_vl_config_why_not(&config, "{}", NULL) == ARM64_VL_NULL);
	EXPECT(arm64_vl_config_size(NULL, 0, &size) == ARM64_VL_NULL);
	EXPECT(arm64_vl_config_size(&config, 0, NULL) == ARM64_VL_NULL);
	EXPECT(arm64_vl_config_greatest_size(NULL, &size) == ARM64_VL_NULL);
	EXPECT(arm64_vl_config_greatest_size(&config, NULL) == ARM64_VL_NULL);
	EXPECT(arm64_vl_save(-1, NULL, NULL) == ARM64_VL_NULL);
	EXPECT(arm64_vl_restore(-1, NULL, NULL) == ARM64_VL_NULL);
	EXPECT(arm64_vl_differences(-1, NULL, NULL, 0, &count) == ARM64_VL_NULL);
	EXPECT(arm64_vl_differences(-1, "{}", NULL, 0, NULL) == ARM64_VL_NULL);
	EXPECT(arm64_vl_saved_ids(NULL, NULL, 0, &count) == ARM64_VL_NULL);
	EXPECT(arm64_vl_saved_value(NULL, 0, NULL, 0, &count) == ARM64_VL_NULL);
	EXPECT(arm64_vl_saved_why_not(NULL, "{}", NULL, &text) == ARM64_VL_NULL);
	EXPECT(arm64_vl_saved_diff("{}", "{}", NULL) == ARM64_VL_NULL);
	EXPECT(arm64_vl_saved_new(NULL, NULL, 1, NULL, 0, &text) == ARM64_VL_NULL);
	EXPECT(arm64_vl_restore_tolerant(-1, NULL, NULL, NULL, 0, true, &text) == ARM64_VL_NULL);
	EXPECT(arm64_vl_restore_tolerant(-1, NULL, "{}", NULL, 1, true, &text) == ARM64_VL_NULL);
	EXPECT(arm64_vl_prepare_vcpu(-1, NULL) == ARM64_VL_NULL);
	EXPECT(arm64_vl_restore_clock(-1, NULL, 1, 0) == ARM64_VL_NULL);
	EXPECT(arm64_vl_blame(NULL, 1, &text) == ARM64_VL_NULL);
	EXPECT(arm64_vl_partition(NULL, 0, 1, NULL) == ARM64_VL_NULL);
	EXPECT(arm64_vl_common_vcpu(NULL, 1, NULL, &text) == ARM64_VL_NULL);
	EXPECT(arm64_vl_qemu_cpu(&config, NULL, &text) == ARM64_VL_NULL);
	EXPECT(arm64_vl_view_from_note(0x405, NULL, 16, NULL) == ARM64_VL_NULL);
	EXPECT(arm64_vl_finish_exit(-1) == ARM64_VL_KERNEL && arm64_vl_errno() == EBADF);
	EXPECT(arm64_vl_machine_json(NULL, &text) == ARM64_VL_NULL);
	EXPECT(arm64_vl_libvirt_cpu(NULL, &text) == ARM64_VL_NULL);
	EXPECT(arm64_vl_lists_diff(NULL, 1, NULL, 0, &text) == ARM64_VL_NULL);
	EXPECT(arm64_vl_around_restore(NULL) == ARM64_VL_NULL);
	EXPECT(arm64_vl_prepare_vm(-1, NULL, "{}") == ARM64_VL_NULL);
	EXPECT(arm64_vl_process_read(0, NULL, 0, NULL) == ARM64_VL_NULL);
	EXPECT(arm64_vl_thread_lost(0, NULL) == ARM64_VL_NULL);
	EXPECT(arm64_vl_thread_read(0, NULL) == ARM64_VL_NULL);
	EXPECT(arm64_vl_thread_read_stopped(0, NULL) == ARM64_VL_NULL);
	EXPECT(arm64_vl_thread_read(0, &thread) != ARM64_VL_OK);
	arm64_vl_machine_free(NULL);
	arm64_vl_free(NULL);
}

// A file can be mapped as a vCPU can, and has to stay as it is.
static void test_no_vcpu(void)
{
	char bytes[] = "no vCPU", after[sizeof(bytes)] = "";
	FILE *file = tmpfile();

	EXPECT(file && fwrite(bytes, sizeof(bytes), 1, file) == 1 && !fflush(file));
	EXPECT(arm64_vl_finish_exit(fileno(file)) == ARM64_VL_KERNEL && arm64_vl_errno() == ENOTTY);
	EXPECT(pread(fileno(file), after, sizeof(after), 0) == sizeof(after) && !memcmp(bytes, after, sizeof(bytes)));
	fclose(file);
}

static void test_saved(void)
{
	static const char json[] = "{\"format\":\"arm64-vl vcpu\",\"version\":1,\"registers\":["
		"{\"id\":\"0x6030000000100000\",\"value\":\"0102030405060708\"},"
		"{\"id\":\"0x603000000013da12\",\"value\":\"0300000000000000\"}]}";
	static const uint8_t values[16] = { 1, 2, 3, 4, 5, 6, 7, 8, 2 };
	uint8_t value[4] = { 0 };
	uint64_t ids[3] = { 0 };
	char name[5], host[1024], *other = NULL, *text = NULL;
	bool whole = true;
	size_t n;

	// SVCR comes first, whatever the order of the file.
	EXPECT(arm64_vl_saved_ids(json, ids, 3, &n) == ARM64_VL_OK && n == 2 && !ids[2]);
	EXPECT(ids[0] == 0x603000000013da12 && ids[1] == 0x6030000000100000);
	EXPECT(arm64_vl_saved_value(json, ids[1], value, 3, &n) == ARM64_VL_OK && n == 8);
	EXPECT(value[2] == 3 && !value[3]);
	EXPECT(arm64_vl_saved_value(json, 0, NULL, 0, &n) == ARM64_VL_MISSING);
	EXPECT(arm64_vl_register_name(ids[0], name, sizeof(name)) == 4 && !strcmp(name, "SVCR"));
	EXPECT(arm64_vl_register_name(0x603000000013c038, name, sizeof(name)) == 16 && !strcmp(name, "ID_A"));
	EXPECT(arm64_vl_register_name(0, NULL, 0) == 18);
	EXPECT(arm64_vl_restore(-1, NULL, json) == ARM64_VL_KERNEL && arm64_vl_errno() == EBADF);
	EXPECT(arm64_vl_restore(-1, NULL, "{}") == ARM64_VL_FORMAT && !arm64_vl_errno());
	EXPECT(!arm64_vl_failed_registers(NULL, 0));

	// The same from registers of a program, in another order, and another SVCR.
	n = ids[0];
	ids[0] = ids[1];
	ids[1] = n;
	EXPECT(arm64_vl_saved_new(NULL, ids, 2, values, 15, &other) == ARM64_VL_FORMAT);
	EXPECT(arm64_vl_saved_new(NULL, ids, 2, values, 16, &other) == ARM64_VL_OK);
	EXPECT(arm64_vl_saved_diff(json, json, &text) == ARM64_VL_OK && !*text);
	arm64_vl_free(text);
	EXPECT(arm64_vl_saved_diff(json, other, &text) == ARM64_VL_OK);
	EXPECT(!strcmp(text, "registers:\n    ! SVCR (0x603000000013da12): 0x3 -> 0x2\n"));
	arm64_vl_free(text);
	arm64_vl_free(other);

	snprintf(host, sizeof(host), HOST, "16");
	EXPECT(arm64_vl_saved_why_not(json, host, &whole, &text) == ARM64_VL_OK && !whole);
	EXPECT(!strcmp(text, "refused: no vCPU of these features in its description\n"));
	arm64_vl_free(text);
	EXPECT(arm64_vl_restore_tolerant(-1, NULL, json, ids, 2, true, &text) == ARM64_VL_KERNEL);
	// A vCPU without a clock.
	other = (char *)json;
	EXPECT(arm64_vl_restore_clock(-1, (const char *const *)&other, 1, 0) == ARM64_VL_MISSING);
}

static void test_words(void)
{
	static const char midr[] = "{\"format\":\"arm64-vl vcpu\",\"version\":1,\"registers\":"
				   "[{\"id\":\"0x603000000013c000\",\"value\":\"0000000000000000\"}]}";
	const uint64_t ids[] = { 0x6030000000100000, 0x6030000000100002 };
	struct arm64_vl_config config = { 0 };
	char host[1024], *text = NULL;

	EXPECT(arm64_vl_libvirt_cpu(&config, &text) == ARM64_VL_OK && strstr(text, "policy='disable' name='sve'"));
	arm64_vl_free(text);
	config.sme.words[0] = 1;
	EXPECT(arm64_vl_libvirt_cpu(&config, &text) == ARM64_VL_MISSING);
	EXPECT(arm64_vl_qemu_cpu(&config, "host", &text) == ARM64_VL_MISSING);
	EXPECT(arm64_vl_lists_diff(ids, 2, ids, 1, &text) == ARM64_VL_OK);
	EXPECT(!strcmp(text, "registers:\n    - X1 (0x6030000000100002)\n"));
	arm64_vl_free(text);
	EXPECT(arm64_vl_around_restore(&text) == ARM64_VL_OK && strstr(text, "KVM_GET_MP_STATE"));
	arm64_vl_free(text);
	// Nothing is known of the host.
	snprintf(host, sizeof(host), HOST, "16");
	EXPECT(arm64_vl_prepare_vm(-1, midr, host) == ARM64_VL_MISSING);
}

// A description of this machine is what the other functions take.
static void test_json(const struct arm64_vl_machine *machine, const struct arm64_vl_info *info)
{
	struct arm64_vl_config config;
	char *json = NULL;

	EXPECT(arm64_vl_machine_json(machine, &json) == ARM64_VL_OK);
	EXPECT(arm64_vl_pool((const char *const *)&json, 1, &config) == (info->has_kvm ? ARM64_VL_OK : ARM64_VL_MISSING));
	EXPECT(!info->has_kvm || !memcmp(&config.sve, &info->vcpu.sve, sizeof(config.sve)));
	arm64_vl_free(json);
}

static void test_process(void)
{
	struct arm64_vl_thread threads[2] = { { .struct_size = sizeof(threads[0]) } };
	int child = fork();
	char *lost = NULL;
	size_t count = 9;

	if (!child)
		for (;;)
			pause();
#ifdef __aarch64__
	EXPECT(arm64_vl_process_read(child, threads, 2, &count) == ARM64_VL_OK && count == 1);
	EXPECT(threads[0].tid == child && !threads[0].streaming && !threads[1].tid);
	EXPECT(arm64_vl_process_read(child, NULL, 0, &count) == ARM64_VL_OK && count == 1);
	threads[0].struct_size = 12;
	EXPECT(arm64_vl_process_read(child, threads, 1, &count) == ARM64_VL_NULL);
	EXPECT(arm64_vl_thread_lost(child, &lost) == ARM64_VL_OK && !strstr(lost, "ZA"));
#else
	EXPECT(arm64_vl_process_read(child, threads, 2, &count) == ARM64_VL_MISSING && count == 9);
	EXPECT(arm64_vl_thread_lost(child, &lost) == ARM64_VL_MISSING);
#endif
	arm64_vl_free(lost);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

// What a debugger does around a call in the thread that it has stopped.
static void test_notes(void)
{
	struct arm64_vl_notes *notes = NULL, *now = NULL;
	unsigned char fpsimd[528], other[528];
	struct iovec iov = { fpsimd, sizeof(fpsimd) }, wrong = { other, sizeof(other) };
	size_t bytes = 9;
	int child = fork();

	if (!child) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		for (;;)
			raise(SIGSTOP);
	}
	waitpid(child, NULL, WUNTRACED);
	EXPECT(arm64_vl_notes_read_stopped(child, NULL) == ARM64_VL_NULL);
	EXPECT(arm64_vl_notes_restore(NULL, child) == ARM64_VL_NULL);
	EXPECT(!arm64_vl_notes_get(NULL, NT_PRFPREG, &bytes) && !bytes);
#ifdef __aarch64__
	EXPECT(arm64_vl_notes_read_stopped(child, &notes) == ARM64_VL_OK);
	EXPECT(!ptrace(PTRACE_GETREGSET, child, NT_PRFPREG, &iov) && iov.iov_len == sizeof(fpsimd));
	EXPECT(!arm64_vl_notes_get(notes, 0x4711, &bytes) && !bytes);
	EXPECT(arm64_vl_notes_get(notes, NT_PRFPREG, NULL));
	EXPECT(!memcmp(arm64_vl_notes_get(notes, NT_PRFPREG, &bytes), fpsimd, sizeof(fpsimd)) && bytes == sizeof(fpsimd));

	// Other V registers; FPSR and FPCR, which have bits that are not there, stay.
	memcpy(other, fpsimd, sizeof(other));
	memset(other, 0x5a, 512);
	EXPECT(!ptrace(PTRACE_SETREGSET, child, NT_PRFPREG, &wrong));
	EXPECT(arm64_vl_notes_read_stopped(child, &now) == ARM64_VL_OK);
	EXPECT(!memcmp(arm64_vl_notes_get(now, NT_PRFPREG, NULL), other, sizeof(other)));
	EXPECT(arm64_vl_notes_restore(notes, child) == ARM64_VL_OK);
	EXPECT(!ptrace(PTRACE_GETREGSET, child, NT_PRFPREG, &wrong) && !memcmp(other, fpsimd, sizeof(other)));
	EXPECT(arm64_vl_notes_restore(notes, 0) == ARM64_VL_KERNEL);
#else
	(void)iov, (void)wrong;
	EXPECT(arm64_vl_notes_read_stopped(child, &notes) == ARM64_VL_MISSING && !notes);
#endif
	arm64_vl_notes_free(notes);
	arm64_vl_notes_free(now);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

// A program that was built with a later library: what this one does not know stays as it is. And an earlier one.
static void test_struct_size(const struct arm64_vl_machine *machine)
{
	struct { struct arm64_vl_info info; char more[16]; } later;
	struct { size_t struct_size; char before; char behind[sizeof(struct arm64_vl_info)]; } earlier;

	memset(&later, 0x55, sizeof(later));
	later.info.struct_size = sizeof(later);
	EXPECT(arm64_vl_machine_info(machine, &later.info) == ARM64_VL_OK);
	EXPECT(later.info.struct_size == sizeof(later) && later.more[0] == 0x55);
	memset(&earlier, 0x55, sizeof(earlier));
	earlier.struct_size = sizeof(size_t) + 1;
	EXPECT(arm64_vl_machine_info(machine, (void *)&earlier) == ARM64_VL_OK);
	EXPECT(earlier.before != 0x55 && earlier.behind[0] == 0x55);
	earlier.struct_size = 0;
	EXPECT(arm64_vl_machine_info(machine, (void *)&earlier) == ARM64_VL_NULL);
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
	int tolerant = new_vcpu(ioctl(kvm, KVM_CREATE_VM, 0), 0, false, false);
	__u64 x0 = 0x1234, read = 0;
	struct kvm_one_reg reg = { .id = 0x6030000000100000, .addr = (__u64)&x0 };
	const uint32_t with_pmu[7] = { 1 << 3 }, with_none[7] = { 0 };
	struct arm64_vl_failed failure;
	uint64_t ids[1];
	size_t n;
	struct kvm_reg_list *list = calloc(1, list_bytes);
	struct arm64_vl_info again = { .struct_size = sizeof(again) };
	struct arm64_vl_machine *machine;
	char *json = NULL, *text = NULL, *report = NULL;

	EXPECT(!(sve || sme) || !ioctl(from, KVM_ARM_VCPU_FINALIZE, &feature));
	EXPECT(!ioctl(from, KVM_SET_ONE_REG, &reg));
	// In the mode with the most registers the list fits, and has no room left. Without FA64 that is out of
	// streaming mode, where FFR is. A vCPU with SME alone can have an FFR that it should not have.
	reg.id = 0x603000000013da12;
	x0 = info->vcpu.fa64 ? 3 : 2;
	EXPECT(!sme || !ioctl(from, KVM_SET_ONE_REG, &reg));
	list->n = list_bytes / 8 - 1;
	EXPECT(!ioctl(from, KVM_GET_REG_LIST, list));
	EXPECT((sme && !sve) || list->n == list_bytes / 8 - 1);
	free(list);
	reg.id = 0x6030000000100000;
	x0 = 0x1234;
	EXPECT(arm64_vl_save(from, &with_none, &json) == ARM64_VL_OK);
	EXPECT(!(sve || sme) || arm64_vl_restore(plain, NULL, json) == ARM64_VL_CONFIGURATION);
	EXPECT(arm64_vl_restore(to, &with_pmu, json) == ARM64_VL_CONFIGURATION);
	EXPECT(arm64_vl_restore(to, &with_none, json) == ARM64_VL_OK);
	EXPECT(arm64_vl_differences(from, json, ids, 0, &n) == ARM64_VL_OK);
	// All but X0 are not given to a plain one, and which of them is the first is up to the kernel.
	EXPECT(arm64_vl_restore(plain, NULL, "{\"format\":\"arm64-vl vcpu\",\"version\":1,\"registers\":"
				"[{\"id\":\"0x6030000000100000\",\"value\":\"0000000000000000\"}]}") == ARM64_VL_PARTIAL);
	EXPECT(arm64_vl_failed_registers(&failure, 1) > 200 && failure.id != reg.id && !failure.error);
	EXPECT(arm64_vl_save(plain, NULL, &text) == ARM64_VL_OK);
	EXPECT(arm64_vl_prepare_vcpu(tolerant, text) == ARM64_VL_OK);
	EXPECT(arm64_vl_restore_tolerant(tolerant, NULL, text, ids, 0, true, &report) == ARM64_VL_OK && report);
	arm64_vl_free(report);
	EXPECT(arm64_vl_restore_clock(tolerant, (const char *const *)&text, 1, 1000) == ARM64_VL_OK);
	EXPECT(arm64_vl_finish_exit(tolerant) == ARM64_VL_OK);
	arm64_vl_free(text);
	reg.addr = (__u64)&read;
	EXPECT(!ioctl(to, KVM_GET_ONE_REG, &reg) && read == x0);
	EXPECT(!(sve || sme) || arm64_vl_restore(to, NULL, json) == ARM64_VL_CONFIGURATION);
	arm64_vl_free(json);
	json = NULL;
	EXPECT(arm64_vl_save(kvm, NULL, &json) == ARM64_VL_KERNEL && !json && arm64_vl_errno());
	EXPECT(arm64_vl_machine_of_kvm(kvm, &machine) == ARM64_VL_OK);
	EXPECT(arm64_vl_machine_info(machine, &again) == ARM64_VL_OK && again.has_kvm);
	EXPECT(!memcmp(&again.vcpu, &info->vcpu, sizeof(again.vcpu)));
	arm64_vl_machine_free(machine);
}
#endif

int main(void)
{
	struct arm64_vl_thread thread = { .struct_size = sizeof(thread) };
	struct arm64_vl_info info = { .struct_size = sizeof(info) };
	struct arm64_vl_machine *machine;
	struct arm64_vl_lengths common;
	struct arm64_vl_size others;
	size_t list_bytes = 0;

	test_pool_and_sizes();
	test_fleet();
	test_note();
	test_null();
	test_no_vcpu();
	test_saved();
	test_words();
	test_process();
	test_notes();
	EXPECT(arm64_vl_machine_read(&machine) == ARM64_VL_OK);
	EXPECT(arm64_vl_machine_info(machine, &info) == ARM64_VL_OK);
	test_struct_size(machine);
	test_json(machine, &info);
	EXPECT(arm64_vl_machine_common(machine, 0, 0, &common) == ARM64_VL_OK && !common.words[0]);
	EXPECT(info.has_kvm || arm64_vl_machine_missing(machine, 0));
	EXPECT(!arm64_vl_machine_missing(machine, 1000));
	EXPECT(arm64_vl_machine_name(machine));
	EXPECT(arm64_vl_machine_list_bytes(machine, &info.vcpu, &list_bytes) ==
	       (info.has_kvm ? ARM64_VL_OK : ARM64_VL_MISSING));
	EXPECT(arm64_vl_machine_others(machine, &info.vcpu, &others) ==
	       (info.has_kvm ? ARM64_VL_OK : ARM64_VL_MISSING));
#ifdef __aarch64__
	EXPECT(arm64_vl_thread_read(getpid(), &thread) == ARM64_VL_KERNEL && arm64_vl_errno() == EPERM);
	EXPECT(arm64_vl_thread_read_stopped(getpid(), &thread) == ARM64_VL_KERNEL && arm64_vl_errno() == ESRCH);
	EXPECT(info.has_kvm);
	test_vcpu(&info, list_bytes);
#else
	EXPECT(arm64_vl_thread_read(getpid(), &thread) == ARM64_VL_MISSING);
	EXPECT(arm64_vl_thread_read_stopped(getpid(), &thread) == ARM64_VL_MISSING);
#endif
	arm64_vl_machine_free(machine);
	if (!failed)
		printf("ok\n");
	return failed;
}
