// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! A saved vCPU from what another VMM has, and as that again.

use crate::{config::bytes_of, saved::WHAT, Error, Result, SavedVcpu};

/// The id of a core register of as many bytes (as a power of two), at a word of 32 bits of `struct kvm_regs`.
const fn core(size: u64, word: u64) -> u64 {
    0x6000_0000_0010_0000 | size << 52 | word
}

/// `struct kvm_regs` of `asm/kvm.h`: the first word, how many registers, and their size as a power of two. X0 to
/// X30, SP, PC, PSTATE, SP_EL1, ELR_EL1 and five SPSRs; V0 to V31; FPSR and FPCR.
const CORE: [(u64, u64, u64); 3] = [(0, 41, 3), (0x54, 32, 4), (0xd4, 2, 2)];
/// Its bytes, with what is reserved at its end.
const KVM_REGS: usize = 0x360;

/// Of each register of `struct kvm_regs` its id and where it is, in bytes.
fn core_ids() -> impl Iterator<Item = (u64, usize)> {
    CORE.into_iter().flat_map(|(first, count, size)| {
        let words = (1 << size) / 4;
        (0..count).map(move |n| {
            let word = first + n * words;
            (core(size, word), 4 * word as usize)
        })
    })
}

fn wrong<T>(reason: impl Into<String>) -> Result<T> {
    Err(Error::Format {
        what: WHAT,
        reason: reason.into(),
    })
}

impl SavedVcpu {
    /// From ids, and the values one behind the other: as Firecracker has them in a snapshot. In any order.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] for more or less bytes than the ids say, and as [`SavedVcpu::new()`].
    ///
    /// # Examples
    ///
    /// ```
    /// use arm64_vl::SavedVcpu;
    ///
    /// let (x0, fpsr) = (0x6030_0000_0010_0000, 0x6020_0000_0010_00d4);
    /// let saved = SavedVcpu::from_parts(None, &[x0, fpsr], &[1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0])?;
    /// assert_eq!(saved.value(fpsr), Some(&[2, 0, 0, 0][..]));
    /// assert_eq!(saved.into_parts().0, [x0, fpsr]);
    /// # Ok::<(), arm64_vl::Error>(())
    /// ```
    pub fn from_parts(features: Option<[u32; 7]>, ids: &[u64], values: &[u8]) -> Result<Self> {
        let sizes = ids.iter().map(|id| bytes_of(*id));
        let wanted: usize = sizes.sum();
        if wanted != values.len() {
            return wrong(format!("{} bytes of values, not {wanted}", values.len()));
        }
        let mut rest = values;
        let registers = ids.iter().map(|id| {
            let (value, behind) = rest.split_at(bytes_of(*id));
            rest = behind;
            (*id, value.to_vec())
        });
        let registers: Vec<_> = registers.collect();
        Self::new(features, registers)
    }

    /// The ids in the order in which they are restored, and the values one behind the other.
    pub fn into_parts(self) -> (Vec<u64>, Vec<u8>) {
        let ids = self.registers().map(|(id, _)| id).collect();
        let values = self.registers().flat_map(|(_, value)| value);
        (ids, values.copied().collect())
    }

    /// The core registers of a `struct kvm_regs`, as Cloud Hypervisor and others have them, for
    /// [`SavedVcpu::new()`]. A vCPU that has Z has no V: `has_z` is for one with SVE, or in streaming mode.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] for another number of bytes than `struct kvm_regs` has, which is 864.
    ///
    /// # Examples
    ///
    /// ```
    /// use arm64_vl::SavedVcpu;
    ///
    /// let mut kvm_regs = [0; 864];
    /// kvm_regs[0x100] = 4; // PC
    /// let saved = SavedVcpu::new(None, SavedVcpu::core_registers(&kvm_regs, false)?)?;
    /// assert_eq!(saved.value(0x6030_0000_0010_0040).unwrap()[0], 4);
    /// assert_eq!(saved.kvm_regs(), kvm_regs);
    /// # Ok::<(), arm64_vl::Error>(())
    /// ```
    pub fn core_registers(kvm_regs: &[u8], has_z: bool) -> Result<Vec<(u64, Vec<u8>)>> {
        if kvm_regs.len() != KVM_REGS {
            return wrong(format!(
                "struct kvm_regs has {KVM_REGS} bytes, not {}",
                kvm_regs.len()
            ));
        }
        let there = core_ids().filter(|(id, _)| !(has_z && bytes_of(*id) == 16));
        let register = |(id, at): (u64, usize)| (id, kvm_regs[at..at + bytes_of(id)].to_vec());
        Ok(there.map(register).collect())
    }

    /// The core registers as a `struct kvm_regs`; zeroes for those that were not saved.
    pub fn kvm_regs(&self) -> Vec<u8> {
        let mut all = vec![0; KVM_REGS];
        for (id, at) in core_ids() {
            if let Some(value) = self.value(id) {
                all[at..at + value.len()].copy_from_slice(value);
            }
        }
        all
    }
}
