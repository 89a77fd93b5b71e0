// SPDX-License-Identifier: GPL-2.0-only

//! Which vector registers a vCPU has in which mode, and what an access to one gives: section 4.68
//! of `Documentation/virt/kvm/api.rst` once more, apart from the kernel's own code.

use crate::{
    kvm::{uapi, Errno, Result, Vcpu},
    reg::RegId,
};

/// FPSR after a change of SVCR.SM.
pub const FPSR_AFTER_SM: u64 = 0x0800_009f;

/// The bits of SVCR.
pub const SM: u64 = 1;
/// ZA and ZT0 are on.
pub const ZA: u64 = 2;

/// Features of the guest.
pub const ID_AA64PFR1_EL1: RegId = RegId::ID_AA64PFR1_EL1;
/// Features of the guest, FPMR among them.
pub const ID_AA64PFR2_EL1: RegId = RegId::sys(3, 0, 0, 4, 2);
/// Features of the guest's SME.
pub const ID_AA64SMFR0_EL1: RegId = RegId::sys(3, 0, 0, 4, 5);
/// The field in ID_AA64PFR1_EL1, ID_AA64PFR2_EL1 or ID_AA64SMFR0_EL1.
pub const PFR1_SME: u64 = 0xf << 24;
pub const PFR2_FPMR: u64 = 0xf << 32;
pub const SMFR0_FA64: u64 = 1 << 63;

pub const FPMR: RegId = RegId::sys(3, 3, 4, 4, 2);
pub const FPSR: RegId = core(0xd4, 2);
pub const FPCR: RegId = core(0xd5, 2);
pub const FFR: RegId = sized(uapi::KVM_REG_ARM64_SVE, 5, 0x600);
pub const ZT0: RegId = sized(uapi::KVM_REG_ARM64_SME, 6, 0x600);

/// How many there are.
pub const NR_Z: u64 = 32;
pub const NR_P: u64 = 16;
/// The rows of ZA of a vCPU with the greatest vector length there can be.
pub const MAX_ROWS: u64 = 256;

/// A register of a class with 2 to the power of `size` bytes.
const fn sized(class: u32, size: u64, number: u64) -> RegId {
    RegId::new(uapi::KVM_REG_ARM64 | size << 52 | class as u64 | number)
}

const fn core(number: u64, size: u64) -> RegId {
    sized(uapi::KVM_REG_ARM_CORE, size, number)
}

pub const fn v(n: u64) -> RegId {
    core(0x54 + 4 * n, 4)
}

pub const fn z(n: u64) -> RegId {
    sized(uapi::KVM_REG_ARM64_SVE, 8, n << 5)
}

pub const fn p(n: u64) -> RegId {
    sized(uapi::KVM_REG_ARM64_SVE, 5, 0x400 | n << 5)
}

/// ZA.H\[n\].
pub const fn za(n: u64) -> RegId {
    sized(uapi::KVM_REG_ARM64_SME, 8, n << 5)
}

/// Whether a register is one of V0 to V31.
pub fn is_v(id: RegId) -> bool {
    id == v(id.number().wrapping_sub(v(0).number()) / 4 % NR_Z)
}

/// Whether a register belongs to a class of vector registers.
pub fn is_vector_class(id: RegId) -> bool {
    [uapi::KVM_REG_ARM64_SVE, uapi::KVM_REG_ARM64_SME].contains(&id.class())
}

/// What decides about the vector registers of a vCPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode {
    /// Features of the vCPU, and of the guest.
    pub sve: bool,
    pub sme: bool,
    pub sme2: bool,
    pub fa64: bool,
    /// The bits of SVCR.
    pub sm: bool,
    pub za: bool,
    /// The greatest vector lengths in bytes.
    pub vl: usize,
    pub svl: usize,
}

impl Mode {
    /// The mode of a finalized vCPU with or without SVE and SME, as far as its ID registers, vector
    /// lengths and SVCR say.
    pub fn of(vcpu: &Vcpu, sve: bool, sme: bool) -> Result<Self> {
        let low = |id, there: bool| {
            if there {
                vcpu.get(id).map(|v| v.low())
            } else {
                Ok(0)
            }
        };
        let svcr = low(RegId::SVCR, sme)?;
        Ok(Self {
            sve,
            sme,
            sme2: low(ID_AA64PFR1_EL1, sme)? & PFR1_SME >= 2 << 24,
            fa64: low(ID_AA64SMFR0_EL1, sme)? & SMFR0_FA64 != 0,
            sm: svcr & SM != 0,
            za: svcr & ZA != 0,
            vl: greatest(low(RegId::SVE_VLS, sve)?),
            svl: greatest(low(RegId::SME_VLS, sme)?),
        })
    }

    /// Whether the vectors are Z, P and FFR, not V.
    pub fn has_z(self) -> bool {
        self.sve || self.sm
    }

    /// Whether FFR is there.
    pub fn has_ffr(self) -> bool {
        if self.sm {
            self.fa64
        } else {
            self.sve
        }
    }

    /// How many bytes of the vectors count in this mode.
    pub fn vector_bytes(self) -> usize {
        match (self.sm, self.sve) {
            (true, _) => self.svl,
            (false, true) => self.vl,
            (false, false) => 16,
        }
    }

    /// How many bytes of a vector register count. The rest is zero.
    pub fn bytes_of(self, id: RegId) -> usize {
        match (id.class(), id.bytes()) {
            (uapi::KVM_REG_ARM64_SVE, 256) => self.vector_bytes(),
            (uapi::KVM_REG_ARM64_SVE, 32) => self.vector_bytes() / 8,
            (uapi::KVM_REG_ARM64_SME, 256) => self.svl,
            (_, bytes) => bytes,
        }
    }

    /// The vector registers in this mode, V among them.
    pub fn registers(self) -> Vec<RegId> {
        let mut ids = Vec::new();
        if self.sve {
            ids.push(RegId::SVE_VLS);
        }
        if self.sme {
            ids.push(RegId::SME_VLS);
        }
        if self.has_z() {
            ids.extend((0..NR_Z).map(z));
            ids.extend((0..NR_P).map(p));
        } else {
            ids.extend((0..NR_Z).map(v));
        }
        if self.has_ffr() {
            ids.push(FFR);
        }
        if self.za {
            ids.extend((0..self.svl as u64).map(za));
            if self.sme2 {
                ids.push(ZT0);
            }
        }
        ids
    }

    /// What an access to a vector register gives that is not there in this mode, with the reason.
    pub fn absent(self) -> Vec<(RegId, Errno, &'static str)> {
        let mut ids = Vec::new();
        let mut add = |when: bool, id: RegId, error, why| {
            if when {
                ids.push((id, error, why));
            }
        };
        add(!self.sve, RegId::SVE_VLS, Errno::ENOENT, "no SVE");
        add(!self.sme, RegId::SME_VLS, Errno::ENOENT, "no SME");
        for id in (0..NR_Z).map(z).chain((0..NR_P).map(p)) {
            add(!self.has_z(), id, Errno::ENOENT, "neither SVE nor SM");
            let slice = RegId::new(id.raw() | 1);
            add(true, slice, Errno::ENOENT, "a slice other than 0");
        }
        for id in (0..NR_Z).map(v) {
            add(self.has_z(), id, Errno::EINVAL, "Z is the way");
        }
        add(!self.has_ffr(), FFR, Errno::ENOENT, "no FFR");
        for n in 0..MAX_ROWS {
            let beyond = n >= self.svl as u64;
            add(!self.sme, za(n), Errno::ENOENT, "no SME");
            add(self.sme && beyond, za(n), Errno::EINVAL, "beyond ZA");
            add(
                self.sme && !beyond && !self.za,
                za(n),
                Errno::EBUSY,
                "ZA is off",
            );
        }
        let slice = RegId::new(za(0).raw() | 1);
        add(true, slice, Errno::ENOENT, "a slice other than 0");
        add(true, za(MAX_ROWS), Errno::EINVAL, "no vCPU has a row 256");
        add(!self.sme2, ZT0, Errno::ENOENT, "no SME2");
        let low_bits = RegId::new(ZT0.raw() | 1);
        add(true, low_bits, Errno::EINVAL, "ZT0 has no slices");
        add(self.sme2 && !self.za, ZT0, Errno::EBUSY, "ZA is off");
        ids
    }
}

/// The greatest vector length of a set, in bytes.
pub fn greatest(vqs: u64) -> usize {
    16 * (u64::BITS - vqs.leading_zeros()) as usize
}
