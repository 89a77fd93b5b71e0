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
};

// The description of a machine.
struct arm64_vl_machine;

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
};

// The vector state of a thread.
struct arm64_vl_thread {
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
};

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// What was wrong in the last call of this thread that failed. Valid until the next call.
const char *arm64_vl_error(void);

// Describes this machine. The caller frees *machine by arm64_vl_machine_free().
//
// # Safety
//
// `machine` is null or valid for a write.
int arm64_vl_machine_read(struct arm64_vl_machine **machine);

// # Safety
//
// `machine` is null or comes from arm64_vl_machine_read().
void arm64_vl_machine_free(struct arm64_vl_machine *machine);

// The name of the machine, valid as long as the description is.
//
// # Safety
//
// `machine` comes from arm64_vl_machine_read().
const char *arm64_vl_machine_name(const struct arm64_vl_machine *machine);

// The nth of what is not there, with its reason; NULL behind the last.
//
// # Safety
//
// `machine` comes from arm64_vl_machine_read().
const char *arm64_vl_machine_missing(const struct arm64_vl_machine *machine, size_t n);

// What the machine gives to processes and to vCPUs.
//
// # Safety
//
// `machine` comes from arm64_vl_machine_read(), `info` is null or valid for a write.
int arm64_vl_machine_info(const struct arm64_vl_machine *machine,
                          struct arm64_vl_info *info);

// The lengths that a vCPU has in common, if the greatest of SVE and of SME are these; 0 is none.
//
// # Safety
//
// `machine` comes from arm64_vl_machine_read(), `common` is null or valid for a write.
int arm64_vl_machine_common(const struct arm64_vl_machine *machine,
                            uint32_t sve,
                            uint32_t sme,
                            struct arm64_vl_lengths *common);

// Stores the lengths of a set in bytes, the shortest first, as many as there is room for. Returns
// how many there are.
//
// # Safety
//
// `lengths` is valid, `out` is valid for `room` numbers or null with no room.
size_t arm64_vl_lengths_bytes(const struct arm64_vl_lengths *lengths,
                              uint32_t *out,
                              size_t room);

// The greatest vCPU that runs on all machines, from what vlmatrix --json has printed on each.
//
// # Safety
//
// `machines` is valid for `count` C strings, `config` is null or valid for a write.
int arm64_vl_pool(const char *const *machines,
                  size_t count,
                  struct arm64_vl_config *config);

// How much vector state a vCPU has in the mode of a value of SVCR. Of all registers of a vCPU tells
// arm64_vl_machine_list_bytes().
//
// # Safety
//
// `config` is valid, `size` is null or valid for a write.
int arm64_vl_config_size(const struct arm64_vl_config *config,
                         uint64_t svcr,
                         struct arm64_vl_size *size);

// The maximum of vector state over all modes.
//
// # Safety
//
// `config` is valid, `size` is null or valid for a write.
int arm64_vl_config_greatest_size(const struct arm64_vl_config *config,
                                  struct arm64_vl_size *size);

// The bytes to allocate for struct kvm_reg_list, so that it has room for all registers of a vCPU in any mode.
// A PMU or EL2 adds to it. ARM64_VL_MISSING where the machine has no such vCPU.
//
// # Safety
//
// `machine` comes from arm64_vl_machine_read(), `config` is valid, `bytes` is null or valid for a write.
int arm64_vl_machine_list_bytes(const struct arm64_vl_machine *machine,
                                const struct arm64_vl_config *config,
                                size_t *bytes);

// Reads all registers of a vCPU as JSON, which the caller frees by arm64_vl_free().
//
// # Safety
//
// `json` is null or valid for a write.
int arm64_vl_save(int vcpu, char **json);

// Writes saved registers to a vCPU that is initialized with the same features and not finalized.
// Any status but ARM64_VL_OK: it must not run.
//
// # Safety
//
// `json` is null or a C string.
int arm64_vl_restore(int vcpu,
                     const char *json);

// # Safety
//
// `json` is null or comes from arm64_vl_save().
void arm64_vl_free(char *json);

// The vector state of a thread, which is stopped for a moment.
//
// # Safety
//
// `thread` is null or valid for a write.
int arm64_vl_thread_read(int tid, struct arm64_vl_thread *thread);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* ARM64_VL_H */
