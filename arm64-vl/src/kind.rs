// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! What a host's KVM gives to one kind of vCPU: its registers, and what it says of itself.

use std::collections::{BTreeMap, BTreeSet};

/// A kind of vCPU: what its registers are by the features of `KVM_ARM_VCPU_INIT`.
///
/// ```
/// use arm64_vl::Offer;
///
/// // Those without SVE, SME and more are the first.
/// let plain = Offer::default().kinds.first().map(|kind| kind.registers.len());
/// assert_eq!(plain, None, "nothing is known of an offer that was made up");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VcpuKind {
    /// The member `features` of `struct kvm_vcpu_init`, without the two that change no register:
    /// `KVM_ARM_VCPU_POWER_OFF` and `KVM_ARM_VCPU_PSCI_0_2`.
    pub features: [u32; 7],
    /// The ids of its list besides vector registers, which lengths and mode decide about.
    pub registers: BTreeSet<u64>,
    /// What a new one has in each register that the host limits, by id: ID registers and those of firmware. Of
    /// a vCPU with PSCI 0.2.
    pub limits: BTreeMap<u64, u64>,
}

/// Bits of `features[0]` that change no register.
#[cfg(feature = "kvm")]
const NO_REGISTER: u32 = 1 << 0 | 1 << 2;

/// The features of a kind.
#[cfg(feature = "kvm")]
pub(crate) fn kind_features(mut features: [u32; 7]) -> [u32; 7] {
    features[0] &= !NO_REGISTER;
    features
}

/// Whether a register describes what the CPU is: Op0 3, CRn 0, and Op1 0, 1 or 3 (`is_feature_id_reg()` of
/// arch/arm64/kvm/sys_regs.c). MPIDR_EL1 tells which vCPU it is, and is not one of them.
#[cfg(any(feature = "json", feature = "kvm"))]
pub(crate) fn is_id_register(id: u64) -> bool {
    let number = id & 0xffff;
    let (op0, op1, crn) = (number >> 14, number >> 11 & 7, number >> 7 & 15);
    let is_system = id & !0xffff == 0x6030_0000_0013_0000;
    is_system && op0 == 3 && crn == 0 && [0, 1, 3].contains(&op1) && number != 0xc005
}

/// Whether a host limits what can be written to a register: an ID register, or one of firmware
/// (`KVM_REG_ARM_FW`, `KVM_REG_ARM_FW_FEAT_BMAP` of `asm/kvm.h`).
#[cfg(any(feature = "json", all(feature = "kvm", target_arch = "aarch64")))]
pub(crate) fn is_limited(id: u64) -> bool {
    is_id_register(id) || matches!(id >> 16, 0x6030_0000_0014 | 0x6030_0000_0016)
}

/// As a file has them: the first one whole, the others by what they have more or less.
#[cfg(feature = "json")]
pub(crate) mod json {
    use super::VcpuKind;
    use crate::file::Hex;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::collections::{BTreeMap, BTreeSet};

    #[derive(Serialize, Deserialize)]
    struct Difference {
        features: [u32; 7],
        #[serde(default)]
        more: Vec<Hex>,
        #[serde(default)]
        less: Vec<Hex>,
        #[serde(default)]
        limits: BTreeMap<Hex, Hex>,
    }

    pub fn serialize<S: Serializer>(kinds: &[VcpuKind], serializer: S) -> Result<S::Ok, S::Error> {
        let nothing = VcpuKind::default();
        let difference = |(n, kind): (usize, &VcpuKind)| {
            let first = if n == 0 { &nothing } else { &kinds[0] };
            let changed = kind.limits.iter().filter(|(id, value)| {
                first.limits.get(id) != Some(value) || !kind.registers.contains(id)
            });
            let hex = |ids: &BTreeSet<u64>, without: &BTreeSet<u64>| {
                ids.difference(without).copied().map(Hex).collect()
            };
            Difference {
                features: kind.features,
                more: hex(&kind.registers, &first.registers),
                less: hex(&first.registers, &kind.registers),
                limits: changed.map(|(id, value)| (Hex(*id), Hex(*value))).collect(),
            }
        };
        serializer.collect_seq(kinds.iter().enumerate().map(difference))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<VcpuKind>, D::Error> {
        let mut kinds: Vec<VcpuKind> = Vec::new();
        for difference in Vec::<Difference>::deserialize(deserializer)? {
            let mut kind = kinds.first().cloned().unwrap_or_default();
            kind.features = difference.features;
            for Hex(id) in difference.less {
                kind.registers.remove(&id);
            }
            kind.registers
                .extend(difference.more.iter().map(|Hex(id)| id));
            kind.limits.retain(|id, _| kind.registers.contains(id));
            let own = difference.limits.iter();
            kind.limits
                .extend(own.map(|(Hex(id), Hex(value))| (id, value)));
            kinds.push(kind);
        }
        Ok(kinds)
    }
}
