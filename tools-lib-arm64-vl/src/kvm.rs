// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! What KVM gives to a vCPU, by making some on a scratch VM.

use crate::{config::Config, Lengths, Result, Size};
use serde::{Deserialize, Serialize};

/// How much state a vCPU has besides vector registers, by its vector features. It does not depend
/// on lengths or mode. A PMU or EL2 adds to it.
///
/// ```
/// use arm64_vl::{Others, Size};
///
/// let plain = Size { registers: 230, bytes: 1776, significant: 1776 };
/// let others = Others { plain, ..Others::default() };
/// assert_eq!(others.plain.list_bytes(), 1848);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Others {
    /// Without SVE and SME.
    pub plain: Size,
    /// With SVE.
    pub sve: Size,
    /// With SME.
    pub sme: Size,
    /// With both.
    pub both: Size,
}

/// What the KVM of a host gives to vCPUs.
///
/// ```
/// use arm64_vl::{Lengths, Offer};
///
/// let offer = Offer { sve: Lengths::new([16, 32])?, ..Offer::default() };
/// assert_eq!(offer.config().greatest_size().registers, 49 + 1);
/// # Ok::<(), arm64_vl::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// The greatest set of SVE lengths. KVM accepts it up to any of its lengths, and no other set.
    pub sve: Lengths,
    /// The same of SME. Any of these goes with any of those.
    pub sme: Lengths,
    /// SME2, which a VMM can hide.
    pub sme2: bool,
    /// FA64, which a VMM can hide.
    pub fa64: bool,
    /// What a vCPU has besides.
    pub others: Others,
}

impl Offer {
    /// Makes vCPUs on a scratch VM and asks them.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Missing`] where there is no KVM for arm64, with the reason, and
    /// [`crate::Error::Kernel`] when it refuses a call.
    ///
    /// # Examples
    ///
    /// ```
    /// match arm64_vl::Offer::read() {
    ///     Ok(offer) => println!("a vCPU has SVE vectors of {} bytes", offer.sve),
    ///     Err(error) => println!("no vCPUs here: {error}"),
    /// }
    /// ```
    pub fn read() -> Result<Self> {
        imp::offer()
    }

    /// The greatest vCPU.
    pub fn config(&self) -> Config {
        Config {
            sve: self.sve,
            sme: self.sme,
            sme2: self.sme2,
            fa64: self.fa64,
        }
    }

    /// What a vCPU of this configuration has besides vector registers.
    pub fn others(&self, config: &Config) -> Size {
        match (!config.sve.is_empty(), !config.sme.is_empty()) {
            (false, false) => self.others.plain,
            (true, false) => self.others.sve,
            (false, true) => self.others.sme,
            (true, true) => self.others.both,
        }
    }
}

/// Whether KVM accepts a configuration, by making a vCPU of it.
///
/// # Errors
///
/// [`crate::Error::Config`] for one that no vCPU has, [`crate::Error::Missing`] where there is no
/// KVM or no such feature, and [`crate::Error::Kernel`] with the call that was refused.
///
/// # Examples
///
/// ```
/// use arm64_vl::{try_config, Config, Lengths};
///
/// let lonely = Config { sve: Lengths::new([144])?, ..Config::default() };
/// assert!(try_config(&lonely).is_err());
/// # Ok::<(), arm64_vl::Error>(())
/// ```
pub fn try_config(config: &Config) -> Result {
    config.check()?;
    imp::try_config(config)
}

#[cfg(not(target_arch = "aarch64"))]
mod imp {
    use super::{Config, Offer, Result};
    use crate::Error;
    use std::env::consts::ARCH;

    fn missing<T>() -> Result<T> {
        Err(Error::Missing(format!(
            "no KVM for arm64 on a machine that is {ARCH}"
        )))
    }

    pub fn offer() -> Result<Offer> {
        missing()
    }

    pub fn try_config(_: &Config) -> Result {
        missing()
    }
}

#[cfg(target_arch = "aarch64")]
mod imp {
    use super::{Config, Offer, Others, Result};
    use crate::{
        config::{bytes_of, ids, is_vector},
        Error, Lengths, RegisterAccess, Size, VcpuRef,
    };
    use kvm_bindings::{kvm_vcpu_init, KVM_ARM_VCPU_SVE};
    use kvm_ioctls::{Kvm, VcpuFd, VmFd};
    use std::io;

    const FEATURE_SVE: u32 = 1 << KVM_ARM_VCPU_SVE;
    /// `KVM_ARM_VCPU_SME`, of a number that upstream has not assigned yet.
    const FEATURE_SME: u32 = 1 << 10;

    /// `ID_AA64PFR1_EL1.SME`: 2 is SME2.
    const PFR1_SME_SHIFT: u32 = 24;
    const SMFR0_FA64: u64 = 1 << 63;

    fn open() -> Result<Kvm> {
        Kvm::new().map_err(|error| {
            let error = io::Error::from(error);
            Error::Missing(format!("no KVM: /dev/kvm cannot be opened: {error}"))
        })
    }

    fn refused(call: &str) -> impl FnOnce(kvm_ioctls::Error) -> Error + '_ {
        move |error| Error::kernel(call, error)
    }

    /// A vCPU and its VM, which goes with it.
    struct Scratch(VcpuFd, #[allow(dead_code)] VmFd);

    /// A vCPU that is not finalized.
    fn vcpu(kvm: &Kvm, features: u32) -> Result<Scratch> {
        let vm = kvm.create_vm().map_err(refused("KVM_CREATE_VM"))?;
        let vcpu = vm.create_vcpu(0).map_err(refused("KVM_CREATE_VCPU"))?;
        let mut init = kvm_vcpu_init::default();
        vm.get_preferred_target(&mut init)
            .map_err(refused("KVM_ARM_PREFERRED_TARGET"))?;
        init.features[0] |= features;
        vcpu.vcpu_init(&init)
            .map_err(refused("KVM_ARM_VCPU_INIT"))?;
        Ok(Scratch(vcpu, vm))
    }

    fn id_register(vcpu: VcpuRef<'_>, id: u64) -> Result<u64> {
        let mut value = [0; 8];
        vcpu.get(id, &mut value)
            .map_err(|error| Error::kernel("KVM_GET_ONE_REG of an ID register", error))?;
        Ok(u64::from_le_bytes(value))
    }

    /// Which of the two features KVM has: INIT refuses the others.
    fn lengths(kvm: &Kvm, feature: u32, vls: u64) -> Result<Lengths> {
        match vcpu(kvm, feature) {
            Ok(Scratch(vcpu, _vm)) => {
                let mut value = [0; 64];
                // No such register: another feature has this number, on a kernel that numbers otherwise.
                let there = VcpuRef::new(&vcpu).get(vls, &mut value).is_ok();
                Ok(if there {
                    Lengths::from_value(&value)
                } else {
                    Lengths::NONE
                })
            }
            Err(Error::Kernel { call, .. }) if call == "KVM_ARM_VCPU_INIT" => Ok(Lengths::NONE),
            Err(error) => Err(error),
        }
    }

    fn others(kvm: &Kvm, features: u32) -> Result<Size> {
        let Scratch(vcpu, _vm) = vcpu(kvm, features)?;
        let vcpu = VcpuRef::new(&vcpu);
        if features != 0 {
            vcpu.finalize()
                .map_err(|error| Error::kernel("KVM_ARM_VCPU_FINALIZE", error))?;
        }
        let list = vcpu
            .list()
            .map_err(|error| Error::kernel("KVM_GET_REG_LIST", error))?;
        Ok(list
            .into_iter()
            .filter(|id| !is_vector(*id))
            .fold(Size::default(), |sum, id| {
                let bytes = bytes_of(id);
                sum + Size {
                    registers: 1,
                    bytes,
                    significant: bytes,
                }
            }))
    }

    pub fn offer() -> Result<Offer> {
        let kvm = open()?;
        let sve = lengths(&kvm, FEATURE_SVE, ids::SVE_VLS)?;
        let sme = lengths(&kvm, FEATURE_SME, ids::SME_VLS)?;
        let mut offer = Offer {
            sve,
            sme,
            ..Offer::default()
        };
        if !sme.is_empty() {
            let Scratch(vcpu, _vm) = vcpu(&kvm, FEATURE_SME)?;
            let vcpu = VcpuRef::new(&vcpu);
            offer.sme2 = id_register(vcpu, ids::ID_AA64PFR1_EL1)? >> PFR1_SME_SHIFT & 15 >= 2;
            offer.fa64 = id_register(vcpu, ids::ID_AA64SMFR0_EL1)? & SMFR0_FA64 != 0;
        }

        let others = |features: u32, there: bool| {
            if there {
                others(&kvm, features)
            } else {
                Ok(Size::default())
            }
        };
        offer.others = Others {
            plain: others(0, true)?,
            sve: others(FEATURE_SVE, !sve.is_empty())?,
            sme: others(FEATURE_SME, !sme.is_empty())?,
            both: others(
                FEATURE_SVE | FEATURE_SME,
                !sve.is_empty() && !sme.is_empty(),
            )?,
        };
        Ok(offer)
    }

    pub fn try_config(config: &Config) -> Result {
        let kvm = open()?;
        let sets = [
            (FEATURE_SVE, ids::SVE_VLS, config.sve, "SVE_VLS"),
            (FEATURE_SME, ids::SME_VLS, config.sme, "SME_VLS"),
        ];
        let features = sets
            .iter()
            .filter(|(_, _, lengths, _)| !lengths.is_empty())
            .fold(0, |all, (feature, ..)| all | feature);
        let Scratch(vcpu, _vm) = vcpu(&kvm, features)?;
        let vcpu = VcpuRef::new(&vcpu);
        for (_, id, lengths, name) in sets.into_iter().filter(|set| !set.2.is_empty()) {
            let value: Vec<u8> = lengths
                .register()
                .iter()
                .flat_map(|word| word.to_le_bytes())
                .collect();
            vcpu.set(id, &value)
                .map_err(|error| Error::kernel(format!("{name} of {lengths}"), error))?;
        }
        if !config.sme.is_empty() {
            hide(vcpu, ids::ID_AA64PFR1_EL1, "SME2", |was| {
                let sme = if config.sme2 { 2 } else { 1 };
                let now = was >> PFR1_SME_SHIFT & 15;
                (
                    was & !(15 << PFR1_SME_SHIFT) | now.min(sme) << PFR1_SME_SHIFT,
                    now >= sme,
                )
            })?;
            hide(vcpu, ids::ID_AA64SMFR0_EL1, "FA64", |was| {
                let there = was & SMFR0_FA64 != 0;
                (
                    if config.fa64 { was } else { was & !SMFR0_FA64 },
                    there || !config.fa64,
                )
            })?;
        }
        if features != 0 {
            vcpu.finalize()
                .map_err(|error| Error::kernel("KVM_ARM_VCPU_FINALIZE", error))?;
        }
        Ok(())
    }

    /// Lowers an ID register as `lower` says, which also says whether the host has what is wanted.
    fn hide(
        vcpu: VcpuRef<'_>,
        id: u64,
        name: &str,
        lower: impl FnOnce(u64) -> (u64, bool),
    ) -> Result {
        let (value, there) = lower(id_register(vcpu, id)?);
        if !there {
            return Err(Error::Missing(format!("this host has no {name}")));
        }
        vcpu.set(id, &value.to_le_bytes())
            .map_err(|error| Error::kernel(format!("hiding {name}"), error))
    }
}
