// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! Registers that kernels are known to have added, hidden or shown by mistake, and when one of them that only
//! one side has does no harm.

use crate::{fit::field, kind::is_id_register, register_name, Harmless, SavedVcpu};

/// Which of the two sides has the register.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Only {
    /// It was saved, and the host or vCPU does not have it.
    Saved,
    /// The host or vCPU has it, and it was not saved.
    Found,
}

/// When it does no harm.
enum When {
    Always,
    /// Its value is 0.
    Zero,
    /// The guest cannot use it: the field of the ID register is 0.
    FieldIsZero(&'static str, &'static str),
}

struct Known {
    name: &'static str,
    only: &'static [Only],
    when: When,
    why: &'static str,
    source: &'static str,
}

const BOTH: &[Only] = &[Only::Saved, Only::Found];
const SHOWN: &str = "up to Linux 6.12 it is listed where the guest does not have it";
const SHOWN_SOURCE: &str =
    "tcr2_visibility(), s1pie_visibility(), arch/arm64/kvm/sys_regs.c, new in Linux 6.13";
const BITMAP: &str = "the calls were there before this register was";
const BITMAP_SOURCE: &str =
    "Documentation/virt/kvm/arm/fw-pseudo-registers.rst, registers that user space does not know";

const KNOWN: [Known; 12] = [
    known(
        "TCR2_EL1",
        BOTH,
        When::FieldIsZero("ID_AA64MMFR3_EL1", "TCRX"),
        SHOWN,
        SHOWN_SOURCE,
    ),
    known(
        "PIR_EL1",
        BOTH,
        When::FieldIsZero("ID_AA64MMFR3_EL1", "S1PIE"),
        SHOWN,
        SHOWN_SOURCE,
    ),
    known(
        "PIRE0_EL1",
        BOTH,
        When::FieldIsZero("ID_AA64MMFR3_EL1", "S1PIE"),
        SHOWN,
        SHOWN_SOURCE,
    ),
    known(
        "SMPRI_EL1",
        BOTH,
        When::Zero,
        "it is 0 for ever: there are no priorities for guests",
        "SMPRI_EL1, arch/arm64/kvm/sys_regs.c",
    ),
    known(
        "KVM_REG_ARM_VENDOR_HYP_BMAP_2",
        &[Only::Saved],
        When::Zero,
        "it allows no call",
        "Documentation/virt/kvm/arm/fw-pseudo-registers.rst",
    ),
    known(
        "KVM_REG_ARM_VENDOR_HYP_BMAP_2",
        &[Only::Found],
        When::Always,
        "it is reset to 0, and allows no call",
        "Documentation/virt/kvm/arm/fw-pseudo-registers.rst",
    ),
    known(
        "KVM_REG_ARM_STD_BMAP",
        &[Only::Found],
        When::Always,
        BITMAP,
        BITMAP_SOURCE,
    ),
    known(
        "KVM_REG_ARM_STD_HYP_BMAP",
        &[Only::Found],
        When::Always,
        BITMAP,
        BITMAP_SOURCE,
    ),
    known(
        "KVM_REG_ARM_VENDOR_HYP_BMAP",
        &[Only::Found],
        When::Always,
        BITMAP,
        BITMAP_SOURCE,
    ),
    known(
        "KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_1",
        &[Only::Found],
        When::Always,
        LEVEL,
        LEVEL_SOURCE,
    ),
    known(
        "KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_2",
        &[Only::Found],
        When::Always,
        LEVEL,
        LEVEL_SOURCE,
    ),
    known(
        "KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_3",
        &[Only::Found],
        When::Always,
        LEVEL,
        LEVEL_SOURCE,
    ),
];
const LEVEL: &str = "a write of it is checked and changes nothing";
const LEVEL_SOURCE: &str = "kvm_arm_set_fw_reg(), arch/arm64/kvm/hypercalls.c";

const fn known(
    name: &'static str,
    only: &'static [Only],
    when: When,
    why: &'static str,
    source: &'static str,
) -> Known {
    Known {
        name,
        only,
        when,
        why,
        source,
    }
}

/// Whether a register that one side alone has is known to do no harm to a saved vCPU. Without one, only what holds
/// for every vCPU is known.
pub(crate) fn harmless(id: u64, only: Only, saved: Option<&SavedVcpu>) -> Option<Harmless> {
    let name = register_name(id);
    let is_zero = |saved: &SavedVcpu| {
        // What was not saved has the value of a new vCPU, which is 0 for all of the table.
        saved
            .value(id)
            .is_none_or(|value| value.iter().all(|byte| *byte == 0))
    };
    let field_is_zero = |saved: &SavedVcpu, register: &str, name: &str| {
        let ids = saved
            .registers()
            .map(|(id, _)| id)
            .filter(|id| is_id_register(*id));
        // A kernel that has no such ID register shows it as 0.
        ids.filter_map(|id| field(register, name, saved.number(id)?, id))
            .all(|value| value == 0)
    };
    let holds = |known: &&Known| {
        known.name == name
            && known.only.contains(&only)
            && match (&known.when, saved) {
                (When::Always, _) => true,
                (_, None) => false,
                (When::Zero, Some(saved)) => is_zero(saved),
                (When::FieldIsZero(register, name), Some(saved)) => {
                    field_is_zero(saved, register, name)
                }
            }
    };
    KNOWN.iter().find(holds).map(|known| Harmless {
        id,
        why: known.why,
        source: known.source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_the_table_is_that_of_a_register() {
        let firmware = (0..4).flat_map(|n| [0x6030_0000_0014_0000 | n, 0x6030_0000_0016_0000 | n]);
        let system = (0x8000..0x1_0000).map(|number| 0x6030_0000_0013_0000 | number);
        let names: Vec<_> = firmware.chain(system).map(register_name).collect();
        for known in &KNOWN {
            assert!(
                names.iter().any(|name| name == known.name),
                "{}",
                known.name
            );
            if let When::FieldIsZero(register, field) = known.when {
                let id = 0x6030_0000_0013_c03b;
                assert_eq!(register_name(id), register);
                assert!(
                    crate::fit::field(register, field, 0, id).is_some(),
                    "{field}"
                );
            }
        }
    }
}
