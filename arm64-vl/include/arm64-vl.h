/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */

#ifndef ARM64_VL_H
#define ARM64_VL_H

/* Made of src/ffi.rs by cbindgen: change it there. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// What a thread has of a kind of vector state.
enum arm64_vl_presence {
        // The machine has nothing of the kind.
        ARM64_VL_NOWHERE = 0,
        // Nothing: the mode is another one, or ZA is off.
        ARM64_VL_OFF = 1,
        // The part of it that is V0 to V31.
        ARM64_VL_FPSIMD = 2,
        // All of it.
        ARM64_VL_FULL = 3,
};

// What a function gives.
enum arm64_vl_status {
        // Done.
        ARM64_VL_OK = 0,
        // An argument is not valid: no vector length, no configuration, no text.
        ARM64_VL_INVALID = -1,
        // Text that is not what it should be, or of another version.
        ARM64_VL_FORMAT = -2,
        // There is nothing of the kind on this machine.
        ARM64_VL_MISSING = -3,
        // The kernel refuses a call.
        ARM64_VL_KERNEL = -4,
        // The vCPU is not like the one that was saved. Nothing has been written.
        ARM64_VL_CONFIGURATION = -5,
        // A restore that is not whole: the vCPU must not run.
        ARM64_VL_PARTIAL = -6,
        // A bug of this library.
        ARM64_VL_BUG = -7,
        // An argument is NULL that must not be, or a struct_size is not set.
        ARM64_VL_NULL = -8,
};

// The description of a machine.
struct arm64_vl_machine;

// The vector state of a stopped thread with all registers.
struct arm64_vl_notes;

// A register that was not restored.
struct arm64_vl_failed {
        // Its id.
        uint64_t id;
        // The errno of its write, 0 for one that the vCPU has and that was not saved.
        int error;
};

// A set of vector lengths as KVM_REG_ARM64_SVE_VLS and KVM_REG_ARM64_SME_VLS have it: bit n is
// the length of n + 1 times 16 bytes.
struct arm64_vl_lengths {
        // 512 bits, the lowest first.
        uint64_t words[8];
};

// What of a vCPU decides about its vector registers. No length is no feature.
struct arm64_vl_config {
        // SVE vector lengths.
        struct arm64_vl_lengths sve;
        // SME vector lengths.
        struct arm64_vl_lengths sme;
        // Whether the guest has SME2.
        bool sme2;
        // Whether all instructions can be used in streaming mode.
        bool fa64;
};

// What a machine gives to processes and to vCPUs.
struct arm64_vl_info {
        // sizeof() this struct, which the caller sets: a later library can have more members.
        size_t struct_size;
        // What a process can have.
        struct arm64_vl_config host;
        // The SVE length that a program starts with in bytes, 0 if it is not known.
        uint32_t sve_default;
        // The SME length that a program starts with in bytes, 0 if it is not known.
        uint32_t sme_default;
        // Whether there is a KVM.
        bool has_kvm;
        // The greatest vCPU.
        struct arm64_vl_config vcpu;
};

// How much state there is.
struct arm64_vl_size {
        // The number of registers.
        size_t registers;
        // Bytes that are transferred to read all of them once.
        size_t bytes;
        // Bytes of these that count.
        size_t significant;
};

// Vector state of one kind.
struct arm64_vl_view {
        // What the thread has of it.
        enum arm64_vl_presence presence;
        // The vector length in bytes.
        uint32_t length;
        // The greatest one that the thread can have.
        uint32_t greatest;
        // Bytes of the regset now, with its header of 16.
        size_t size;
        // The bytes that it can have.
        size_t greatest_size;
        // Whether a child that is executed starts with the length.
        bool inherit;
};

// The vector state of a thread.
struct arm64_vl_thread {
        // sizeof() this struct, which the caller sets: a later library can have more members.
        size_t struct_size;
        // Whether it is in streaming mode.
        bool streaming;
        // NT_ARM_SVE.
        struct arm64_vl_view sve;
        // NT_ARM_SSVE.
        struct arm64_vl_view ssve;
        // NT_ARM_ZA.
        struct arm64_vl_view za;
        // Bytes of ZT0, 0 on a machine without SME2.
        size_t zt_size;
        // Whether the machine has FPMR.
        bool has_fpmr;
        // FPMR.
        uint64_t fpmr;
        // Whether the machine has TPIDR2_EL0.
        bool has_tpidr2;
        // TPIDR2_EL0.
        uint64_t tpidr2;
        // Whether the kernel has a tagged address control.
        bool has_tagged_addr_ctrl;
        // The tagged address control.
        uint64_t tagged_addr_ctrl;
        // The id of the thread.
        int tid;
};

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// What was wrong in the last call of this thread that failed. Valid until the next call.
const char *arm64_vl_error(void);

// The errno of the last call of this thread that failed, 0 if it was not the kernel's.
int arm64_vl_errno(void);

// Stores the registers that the last call of this thread did not restore, if it gave ARM64_VL_PARTIAL, as many
// as there is room for. Returns how many there are.
//
// # Safety
//
// `out` is NULL or valid for `room`.
size_t arm64_vl_failed_registers(struct arm64_vl_failed *out,
                                 size_t room);

// Stores the name of a register as a C string, as much as there is room for. Returns its length.
//
// # Safety
//
// `out` is NULL or valid for `room` bytes.
size_t arm64_vl_register_name(uint64_t id,
                              char *out,
                              size_t room);

// Describes this machine. The caller frees *machine by arm64_vl_machine_free().
//
// # Safety
//
// `machine` is NULL or valid for a write.
int arm64_vl_machine_read(struct arm64_vl_machine **machine);

// Describes what the KVM of a descriptor of /dev/kvm gives, and nothing else of the machine: for a program
// that cannot open it any more. The caller frees *machine by arm64_vl_machine_free().
//
// # Safety
//
// `machine` is NULL or valid for a write.
int arm64_vl_machine_of_kvm(int kvm,
                            struct arm64_vl_machine **machine);

// The description as vlmatrix --json prints it, for the functions that take that of this machine or another one. The
// caller frees *json by arm64_vl_free().
//
// # Safety
//
// `machine` is NULL or valid, `json` is NULL or valid for a write.
int arm64_vl_machine_json(const struct arm64_vl_machine *machine,
                          char **json);

// # Safety
//
// `machine` is NULL or comes from arm64_vl_machine_read() or arm64_vl_machine_of_kvm().
void arm64_vl_machine_free(struct arm64_vl_machine *machine);

// The name of the machine, valid as long as the description is. NULL of NULL.
//
// # Safety
//
// `machine` is NULL or valid.
const char *arm64_vl_machine_name(const struct arm64_vl_machine *machine);

// The nth of what is not there, with its reason; NULL behind the last.
//
// # Safety
//
// `machine` is NULL or valid.
const char *arm64_vl_machine_missing(const struct arm64_vl_machine *machine, size_t n);

// What the machine gives to processes and to vCPUs.
//
// # Safety
//
// `machine` is NULL or valid, `info` is NULL or valid for what its struct_size says.
int arm64_vl_machine_info(const struct arm64_vl_machine *machine,
                          struct arm64_vl_info *info);

// The lengths that a vCPU has in common, if the greatest of SVE and of SME are these; 0 is none.
//
// # Safety
//
// `machine` is NULL or valid, `common` is NULL or valid for a write.
int arm64_vl_machine_common(const struct arm64_vl_machine *machine,
                            uint32_t sve,
                            uint32_t sme,
                            struct arm64_vl_lengths *common);

// Stores the lengths of a set in bytes, the shortest first, as many as there is room for. Returns
// how many there are.
//
// # Safety
//
// `lengths` is NULL or valid, `out` is NULL or valid for `room` numbers.
size_t arm64_vl_lengths_bytes(const struct arm64_vl_lengths *lengths,
                              uint32_t *out,
                              size_t room);

// The greatest vCPU that runs on all machines, from what vlmatrix --json has printed on each.
//
// # Safety
//
// `machines` is NULL or valid for `count` C strings or NULLs, `config` is NULL or valid for a write.
int arm64_vl_pool(const char *const *machines,
                  size_t count,
                  struct arm64_vl_config *config);

// Why a vCPU like this does not run on a machine, of which vlmatrix --json has printed the description: a line
// each, and none where it runs. The caller frees *reasons by arm64_vl_free().
//
// # Safety
//
// `config` is NULL or valid, `machine` is NULL or a C string, `reasons` is NULL or valid for a write.
int arm64_vl_config_why_not(const struct arm64_vl_config *config,
                            const char *machine,
                            char **reasons);

// How much vector state a vCPU has in the mode of a value of SVCR. Of all registers of a vCPU tells
// arm64_vl_machine_list_bytes().
//
// # Safety
//
// `config` is NULL or valid, `size` is NULL or valid for a write.
int arm64_vl_config_size(const struct arm64_vl_config *config,
                         uint64_t svcr,
                         struct arm64_vl_size *size);

// The maximum of vector state over all modes.
//
// # Safety
//
// `config` is NULL or valid, `size` is NULL or valid for a write.
int arm64_vl_config_greatest_size(const struct arm64_vl_config *config,
                                  struct arm64_vl_size *size);

// What a vCPU of this machine has besides vector registers, in every mode. A PMU or EL2 adds to it.
// ARM64_VL_MISSING where the machine has no such vCPU.
//
// # Safety
//
// `machine` and `config` are NULL or valid, `size` is NULL or valid for a write.
int arm64_vl_machine_others(const struct arm64_vl_machine *machine,
                            const struct arm64_vl_config *config,
                            struct arm64_vl_size *size);

// The bytes to allocate for struct kvm_reg_list, so that it has room for all registers of a vCPU in any mode.
// A PMU or EL2 adds to it. ARM64_VL_MISSING where the machine has no such vCPU.
//
// # Safety
//
// `machine` and `config` are NULL or valid, `bytes` is NULL or valid for a write.
int arm64_vl_machine_list_bytes(const struct arm64_vl_machine *machine,
                                const struct arm64_vl_config *config,
                                size_t *bytes);

// Reads all registers of a vCPU as JSON, which the caller frees by arm64_vl_free(). features is NULL, or what
// KVM_ARM_VCPU_INIT was given, which is saved as well.
//
// # Safety
//
// `features` is NULL or valid for 7 numbers, `json` is NULL or valid for a write.
int arm64_vl_save(int vcpu,
                  const uint32_t (*features)[7],
                  char **json);

// Writes saved registers to a vCPU that is initialized with the same features and not finalized. features is
// NULL, or what KVM_ARM_VCPU_INIT was given, which is compared. Any status but ARM64_VL_OK: it must not run; of
// ARM64_VL_PARTIAL arm64_vl_failed_registers() tells more.
//
// # Safety
//
// `features` is NULL or valid for 7 numbers, `json` is NULL or a C string.
int arm64_vl_restore(int vcpu,
                     const uint32_t (*features)[7],
                     const char *json);

// Stores the ids of the registers that do not read as they were saved, as many as there is room for, and how
// many there are. Counters go on meanwhile.
//
// # Safety
//
// `json` is NULL or a C string, `ids` is NULL or valid for `room` numbers, `count` is NULL or valid for a write.
int arm64_vl_differences(int vcpu,
                         const char *json,
                         uint64_t *ids,
                         size_t room,
                         size_t *count);

// Stores the ids of a saved vCPU in the order in which they are restored, as many as there is room for, and how
// many there are.
//
// # Safety
//
// `json` is NULL or a C string, `ids` is NULL or valid for `room` numbers, `count` is NULL or valid for a write.
int arm64_vl_saved_ids(const char *json,
                       uint64_t *ids,
                       size_t room,
                       size_t *count);

// Stores the value of a register of a saved vCPU, the lowest byte first, as much as there is room for, and how
// many bytes it has. ARM64_VL_MISSING if it is not there.
//
// # Safety
//
// `json` is NULL or a C string, `value` is NULL or valid for `room` bytes, `bytes` is NULL or valid for a write.
int arm64_vl_saved_value(const char *json,
                         uint64_t id,
                         uint8_t *value,
                         size_t room,
                         size_t *bytes);

// The vCPU of a pool with its registers: lines "set ID to VALUE", both in hexadecimal digits, that a VMM does in
// each new vCPU of these features, and "NAME: WHAT" for what is no good on a machine. The machines are what
// vlmatrix --json has printed. The caller frees *text by arm64_vl_free().
//
// # Safety
//
// `machines` is NULL or valid for `count` C strings or NULLs, `features` is NULL or valid for 7 numbers, `text` is
// NULL or valid for a write.
int arm64_vl_common_vcpu(const char *const *machines,
                         size_t count,
                         const uint32_t (*features)[7],
                         char **text);

// Who keeps the pool of machines from more: a line for each of SVE, SME, SME2 and FA64. The caller frees *text by
// arm64_vl_free().
//
// # Safety
//
// `machines` is NULL or valid for `count` C strings or NULLs, `text` is NULL or valid for a write.
int arm64_vl_blame(const char *const *machines,
                   size_t count,
                   char **text);

// Parts machines into as many pools at most, so that guests have the most: stores the number of its pool for each,
// of which there are count.
//
// # Safety
//
// `machines` is NULL or valid for `count` C strings or NULLs, `group` is NULL or valid for `count` numbers.
int arm64_vl_partition(const char *const *machines,
                       size_t count,
                       size_t groups,
                       size_t *group);

// The value of QEMU's option -cpu, for a model such as "host". The caller frees *text by arm64_vl_free().
//
// # Safety
//
// `config` is NULL or valid, `model` is NULL or a C string, `text` is NULL or valid for a write.
int arm64_vl_qemu_cpu(const struct arm64_vl_config *config,
                      const char *model,
                      char **text);

// The element "cpu" of a libvirt domain, with the CPU of the host. The caller frees *text by arm64_vl_free().
//
// # Safety
//
// `config` is NULL or valid, `text` is NULL or valid for a write.
int arm64_vl_libvirt_cpu(const struct arm64_vl_config *config,
                         char **text);

// How a saved vCPU fits a machine, before one is made there: a line for each register or field that is missing,
// extra, refused, lowered or harmless. *whole says whether arm64_vl_restore() will be ARM64_VL_OK, and can be NULL.
// The caller frees *text by arm64_vl_free().
//
// # Safety
//
// `json` and `machine` are NULL or C strings, `whole` is NULL or valid for a write, `text` is NULL or valid for a
// write.
int arm64_vl_saved_why_not(const char *json,
                           const char *machine,
                           bool *whole,
                           char **text);

// What two saved vCPUs have each in its own way, a line for each register: "-" is what the first has alone, "+" the
// second, "!" what both have otherwise. The caller frees *text by arm64_vl_free().
//
// # Safety
//
// `first` and `second` are NULL or C strings, `text` is NULL or valid for a write.
int arm64_vl_saved_diff(const char *first,
                        const char *second,
                        char **text);

// The same of two lists of ids, as KVM_GET_REG_LIST has them.
//
// # Safety
//
// `first` and `second` are NULL or valid for as many numbers, `text` is NULL or valid for a write.
int arm64_vl_lists_diff(const uint64_t *first,
                        size_t first_count,
                        const uint64_t *second,
                        size_t second_count,
                        char **text);

// arm64_vl_restore() that tolerates that the vCPU does not take some registers, or has them and was not given them:
// those of ids, and with known those that kernels are known to have added or hidden without harm. *report has a line
// for all that was not the same; the caller frees it by arm64_vl_free().
//
// # Safety
//
// `features` is NULL or valid for 7 numbers, `json` is NULL or a C string, `ids` is NULL or valid for `count`
// numbers, `report` is NULL or valid for a write.
int arm64_vl_restore_tolerant(int vcpu,
                              const uint32_t (*features)[7],
                              const char *json,
                              const uint64_t *ids,
                              size_t count,
                              bool known,
                              char **report);

// A saved vCPU from registers that a program has: ids, and their values one behind the other. features is NULL, or
// what KVM_ARM_VCPU_INIT was given. The caller frees *json by arm64_vl_free().
//
// # Safety
//
// `features` is NULL or valid for 7 numbers, `ids` is NULL or valid for `count` numbers, `values` is NULL or valid
// for `bytes`, `json` is NULL or valid for a write.
int arm64_vl_saved_new(const uint32_t (*features)[7],
                       const uint64_t *ids,
                       size_t count,
                       const uint8_t *values,
                       size_t bytes,
                       char **json);

// Finishes what a vCPU has left KVM_RUN for: in the thread of the vCPU, before arm64_vl_save().
int arm64_vl_finish_exit(int vcpu);

// What a VMM does besides a restore, in this order: a line each. The caller frees *text by arm64_vl_free().
//
// # Safety
//
// `text` is NULL or valid for a write.
int arm64_vl_around_restore(char **text);

// Lets the vCPUs of a VM that has none yet have the MIDR_EL1, REVIDR_EL1 and AIDR_EL1 of the saved one, if they are
// not those of the machine, which is this one as arm64_vl_machine_json() has it.
//
// # Safety
//
// `json` and `machine` are NULL or C strings.
int arm64_vl_prepare_vm(int vm,
                        const char *json,
                        const char *machine);

// Gives a vCPU as many PMU counters as the saved one, if it has another number: it is initialized, and has no
// register written.
//
// # Safety
//
// `json` is NULL or a C string.
int arm64_vl_prepare_vcpu(int vcpu,
                          const char *json);

// Sets the clock of a VM once for all its vCPUs, through any of them, after the registers of all and before one
// runs: that of the vCPU that was saved last, and so many nanoseconds more. jsons are all saved vCPUs of the VM.
//
// # Safety
//
// `jsons` is NULL or valid for `count` C strings or NULLs.
int arm64_vl_restore_clock(int vcpu,
                           const char *const *jsons,
                           size_t count,
                           uint64_t nanoseconds);

// Reads the header of a note of a core file, or of a regset: NT_ARM_SVE, NT_ARM_SSVE or NT_ARM_ZA.
//
// # Safety
//
// `note` is NULL or valid for `bytes`, `view` is NULL or valid for a write.
int arm64_vl_view_from_note(uint32_t number,
                            const uint8_t *note,
                            size_t bytes,
                            struct arm64_vl_view *view);

// # Safety
//
// `text` is NULL or is a text that a function of this library has stored.
void arm64_vl_free(char *text);

// The vector state of all threads of a process: as many as there is room for, one behind the other as the struct_size
// of the first one says, and how many there are.
//
// # Safety
//
// `threads` is NULL or valid for `room` structs of the struct_size of the first, `count` is NULL or valid for a write.
int arm64_vl_process_read(int pid,
                          struct arm64_vl_thread *threads,
                          size_t room,
                          size_t *count);

// What a checkpoint of a thread loses that knows NT_PRFPREG alone: a line each, none where it loses nothing. The
// caller frees *text by arm64_vl_free().
//
// # Safety
//
// `text` is NULL or valid for a write.
int arm64_vl_thread_lost(int tid,
                         char **text);

// The vector state of a thread, which is stopped for a moment.
//
// # Safety
//
// `thread` is NULL or valid for what its struct_size says.
int arm64_vl_thread_read(int tid, struct arm64_vl_thread *thread);

// The vector state of a thread that the caller traces and has stopped.
//
// # Safety
//
// `thread` is NULL or valid for what its struct_size says.
int arm64_vl_thread_read_stopped(int tid, struct arm64_vl_thread *thread);

// Reads the vector state with all registers of a thread that the caller traces and has stopped. The caller frees
// *notes by arm64_vl_notes_free().
//
// # Safety
//
// `notes` is NULL or valid for a write.
int arm64_vl_notes_read_stopped(int tid,
                                struct arm64_vl_notes **notes);

// The bytes of one of them by its number, such as NT_ARM_ZA, and how many these are: valid as long as the notes are.
// NULL, and no bytes, for what the thread did not have.
//
// # Safety
//
// `notes` is NULL or comes from arm64_vl_notes_read_stopped(), `bytes` is NULL or valid for a write.
const uint8_t *arm64_vl_notes_get(const struct arm64_vl_notes *notes,
                                  uint32_t number,
                                  size_t *bytes);

// Writes all of them to a thread that the caller traces and has stopped, in the one order that restores them. After
// an error the thread is between two states.
//
// # Safety
//
// `notes` is NULL or comes from arm64_vl_notes_read_stopped().
int arm64_vl_notes_restore(const struct arm64_vl_notes *notes,
                           int tid);

// # Safety
//
// `notes` is NULL or comes from arm64_vl_notes_read_stopped().
void arm64_vl_notes_free(struct arm64_vl_notes *notes);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* ARM64_VL_H */
