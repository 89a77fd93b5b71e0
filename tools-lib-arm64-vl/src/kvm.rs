// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! What KVM gives to a vCPU, by making some.

use crate::{config::Config, Lengths, Size};
#[cfg(any(feature = "kvm", feature = "json"))]
use crate::{Error, Result};
#[cfg(feature = "json")]
use serde::{Deserialize, Serialize};
#[cfg(feature = "kvm")]
use std::os::fd::AsRawFd;

/// How much state a vCPU has besides vector registers, by its vector features. It does not depend
/// on lengths or mode. A PMU or EL2 adds to it.
///
/// ```
/// use arm64_vl::{Others, Size};
///
/// let plain = Size { registers: 230, bytes: 1776, significant: 1776 };
/// let others = Others { plain, ..Others::default() };
/// assert_eq!(others.sve, Size::default());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(Serialize, Deserialize))]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(Serialize, Deserialize))]
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
    /// Asks `/dev/kvm`, as [`Offer::of()`] does.
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
    #[cfg(feature = "kvm")]
    pub fn read() -> Result<Self> {
        imp::read()
    }

    /// Makes a VM with a vCPU for each set of features, four at most, and asks these: for a VMM that has the
    /// descriptor of `/dev/kvm` and cannot open it any more. `SECCOMP.md` names the calls that it takes.
    ///
    /// # Errors
    ///
    /// As [`Offer::read()`].
    ///
    /// # Examples
    ///
    /// ```
    /// let not_kvm = std::fs::File::open("/dev/null").unwrap();
    /// assert!(arm64_vl::Offer::of(&not_kvm).is_err());
    /// ```
    #[cfg(feature = "kvm")]
    pub fn of(kvm: &impl AsRawFd) -> Result<Self> {
        imp::offer(kvm)
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

    /// Whether a host can have this: a file can say anything.
    #[cfg(feature = "json")]
    pub(crate) fn check(&self) -> Result {
        self.config().check()?;
        let Others {
            plain,
            sve,
            sme,
            both,
        } = self.others;
        // There are 2^16 system registers, and one has 256 bytes at most.
        let can_be = |size: Size| {
            size.registers < 1 << 20
                && size.bytes <= size.registers << 8
                && size.significant <= size.bytes
        };
        if ![plain, sve, sme, both].into_iter().all(can_be) {
            return Err(Error::Config("its registers are too many, or too large"));
        }
        Ok(())
    }

    /// What a vCPU of this configuration has besides vector registers; nothing where the host has no such vCPU.
    pub fn others(&self, config: &Config) -> Size {
        match (!config.sve.is_empty(), !config.sme.is_empty()) {
            (false, false) => self.others.plain,
            (true, false) => self.others.sve,
            (false, true) => self.others.sme,
            (true, true) => self.others.both,
        }
    }

    /// The bytes that a VMM allocates for `struct kvm_reg_list`, so that it has room for all registers of a vCPU
    /// in any mode: the number, and an id each. `None` where the host has no such vCPU. A PMU or EL2 adds to it.
    ///
    /// ```
    /// use arm64_vl::{Config, Offer, Others, Size};
    ///
    /// let plain = Size { registers: 230, bytes: 1776, significant: 1776 };
    /// let offer = Offer { others: Others { plain, ..Others::default() }, ..Offer::default() };
    /// // V0 to V31 are there as well.
    /// assert_eq!(offer.list_bytes(&Config::default()), Some(8 + (230 + 32) * 8));
    /// ```
    pub fn list_bytes(&self, config: &Config) -> Option<usize> {
        let others = self.others(config);
        let all = others + config.greatest_size();
        (others.registers > 0).then(|| {
            all.registers
                .saturating_add(1)
                .saturating_mul(size_of::<u64>())
        })
    }
}

/// Whether KVM accepts a configuration, by making a vCPU of it. Lengths that cannot be are for KVM to refuse.
///
/// # Errors
///
/// [`crate::Error::Config`] for SME2 or FA64 without SME, [`crate::Error::Missing`] where there is no
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
#[cfg(feature = "kvm")]
pub fn try_config(config: &Config) -> Result {
    if config.sme.is_empty() && (config.sme2 || config.fa64) {
        return Err(Error::Config("SME2 and FA64 need SME"));
    }
    imp::try_config(config)
}

#[cfg(all(feature = "kvm", not(target_arch = "aarch64")))]
mod imp {
    use super::{AsRawFd, Config, Error, Offer, Result};
    use std::env::consts::ARCH;

    fn missing<T>() -> Result<T> {
        Err(Error::Missing(format!(
            "no KVM for arm64 on a machine that is {ARCH}"
        )))
    }

    pub fn read() -> Result<Offer> {
        missing()
    }

    pub fn offer(_: &impl AsRawFd) -> Result<Offer> {
        missing()
    }

    pub fn try_config(_: &Config) -> Result {
        missing()
    }
}

#[cfg(all(feature = "kvm", target_arch = "aarch64"))]
mod imp {
    use super::{AsRawFd, Config, Error, Lengths, Offer, Others, Result, Size};
    use crate::{
        config::{bytes_of, ids, is_vector},
        ioctl::{
            ioctl, VcpuInit, KVM_ARM_PREFERRED_TARGET, KVM_ARM_VCPU_INIT, KVM_ARM_VCPU_SME,
            KVM_ARM_VCPU_SVE, KVM_CREATE_VCPU, KVM_CREATE_VM,
        },
        RegisterAccess, VcpuRef,
    };
    use std::{
        ffi::c_void,
        fs::File,
        io,
        os::fd::{FromRawFd, OwnedFd, RawFd},
    };

    const FEATURE_SVE: u32 = 1 << KVM_ARM_VCPU_SVE;
    const FEATURE_SME: u32 = 1 << KVM_ARM_VCPU_SME;

    /// `ID_AA64PFR1_EL1.SME`: 2 is SME2.
    const PFR1_SME_SHIFT: u32 = 24;
    const SMFR0_FA64: u64 = 1 << 63;

    /// Bits of the guest's physical addresses, the fewest that KVM has (`KVM_CREATE_VM`, api.rst). What a VM
    /// takes to be made and to go grows with them: seconds with the 52 of LPA2 on an emulated machine.
    const ADDRESS_BITS: usize = 32;

    fn open() -> Result<File> {
        let file = File::options().read(true).write(true).open("/dev/kvm");
        file.map_err(|error| Error::Missing(format!("no KVM: /dev/kvm cannot be opened: {error}")))
    }

    fn refused(call: &str) -> impl FnOnce(io::Error) -> Error + '_ {
        move |error| Error::kernel(call, error)
    }

    /// Makes a descriptor of its own.
    fn create(fd: RawFd, request: u32, argument: usize) -> io::Result<OwnedFd> {
        loop {
            // SAFETY: The argument is a number.
            match unsafe { ioctl(fd, request, argument as *mut c_void) } {
                // SAFETY: The descriptor is new.
                Ok(new) => return Ok(unsafe { OwnedFd::from_raw_fd(new) }),
                // A signal for the caller, which KVM_CREATE_VM looks out for.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// A vCPU that is not finalized, and its VM, which goes with it.
    struct Scratch {
        vcpu: OwnedFd,
        _vm: OwnedFd,
    }

    impl Scratch {
        fn new(kvm: RawFd, features: u32) -> Result<Self> {
            let vm = create(kvm, KVM_CREATE_VM, ADDRESS_BITS)
                // A kernel before 4.20 knows the default alone.
                .or_else(|_| create(kvm, KVM_CREATE_VM, 0))
                .map_err(refused("KVM_CREATE_VM"))?;
            let fd = vm.as_raw_fd();
            let vcpu = create(fd, KVM_CREATE_VCPU, 0).map_err(refused("KVM_CREATE_VCPU"))?;
            let mut init = VcpuInit::default();
            let at = (&raw mut init).cast();
            // SAFETY: The kernel writes to `init`.
            unsafe { ioctl(fd, KVM_ARM_PREFERRED_TARGET, at) }
                .map_err(refused("KVM_ARM_PREFERRED_TARGET"))?;
            init.features[0] |= features;
            let at = (&raw mut init).cast();
            // SAFETY: The kernel reads from `init`.
            unsafe { ioctl(vcpu.as_raw_fd(), KVM_ARM_VCPU_INIT, at) }
                .map_err(refused("KVM_ARM_VCPU_INIT"))?;
            Ok(Self { vcpu, _vm: vm })
        }

        /// One of a feature that KVM may not have: INIT refuses it then. Or another feature has this number, on
        /// a kernel that numbers otherwise, and there is no such register.
        fn with(kvm: RawFd, feature: u32, vls: u64) -> Result<Option<(Self, Lengths)>> {
            let scratch = match Self::new(kvm, feature) {
                Err(Error::Kernel { call, .. }) if call == "KVM_ARM_VCPU_INIT" => return Ok(None),
                scratch => scratch?,
            };
            let mut value = [0; 64];
            let there = scratch.access().get(vls, &mut value).is_ok();
            Ok(there.then(|| (scratch, Lengths::from_value(&value))))
        }

        fn access(&self) -> VcpuRef<'_> {
            VcpuRef::new(&self.vcpu)
        }

        fn id_register(&self, id: u64) -> Result<u64> {
            let mut value = [0; 8];
            self.access()
                .get(id, &mut value)
                .map_err(refused("KVM_GET_ONE_REG of an ID register"))?;
            Ok(u64::from_le_bytes(value))
        }

        fn finalize(&self) -> Result {
            self.access()
                .finalize()
                .map_err(refused("KVM_ARM_VCPU_FINALIZE"))
        }

        /// What it has besides vector registers. It is finalized.
        fn others(&self) -> Result<Size> {
            let list = self.access().list().map_err(refused("KVM_GET_REG_LIST"))?;
            let others = list.into_iter().filter(|id| !is_vector(*id)).map(bytes_of);
            Ok(others.fold(Size::default(), |sum, bytes| {
                sum + Size {
                    registers: 1,
                    bytes,
                    significant: bytes,
                }
            }))
        }
    }

    pub fn offer(kvm: &impl AsRawFd) -> Result<Offer> {
        let kvm = kvm.as_raw_fd();
        let mut offer = Offer {
            others: Others {
                plain: Scratch::new(kvm, 0)?.others()?,
                ..Others::default()
            },
            ..Offer::default()
        };
        if let Some((scratch, lengths)) = Scratch::with(kvm, FEATURE_SVE, ids::SVE_VLS)? {
            offer.sve = lengths;
            scratch.finalize()?;
            offer.others.sve = scratch.others()?;
        }
        if let Some((scratch, lengths)) = Scratch::with(kvm, FEATURE_SME, ids::SME_VLS)? {
            offer.sme = lengths;
            offer.sme2 = scratch.id_register(ids::ID_AA64PFR1_EL1)? >> PFR1_SME_SHIFT & 15 >= 2;
            scratch.finalize()?;
            offer.others.sme = scratch.others()?;
        }
        if !offer.sve.is_empty() && !offer.sme.is_empty() {
            let scratch = Scratch::new(kvm, FEATURE_SVE | FEATURE_SME)?;
            scratch.finalize()?;
            offer.others.both = scratch.others()?;
            // FA64 needs SVE2: a vCPU without SVE does not have it.
            offer.fa64 = scratch.id_register(ids::ID_AA64SMFR0_EL1)? & SMFR0_FA64 != 0;
        }
        Ok(offer)
    }

    pub fn read() -> Result<Offer> {
        offer(&open()?)
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
        let scratch = Scratch::new(kvm.as_raw_fd(), features)?;
        let vcpu = scratch.access();
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
            hide(&scratch, ids::ID_AA64PFR1_EL1, "SME2", |was| {
                let sme = if config.sme2 { 2 } else { 1 };
                let now = was >> PFR1_SME_SHIFT & 15;
                (
                    was & !(15 << PFR1_SME_SHIFT) | now.min(sme) << PFR1_SME_SHIFT,
                    now >= sme,
                )
            })?;
            hide(&scratch, ids::ID_AA64SMFR0_EL1, "FA64", |was| {
                let there = was & SMFR0_FA64 != 0;
                (
                    if config.fa64 { was } else { was & !SMFR0_FA64 },
                    there || !config.fa64,
                )
            })?;
        }
        if features != 0 {
            scratch.finalize()?;
        }
        Ok(())
    }

    /// Lowers an ID register as `lower` says, which also says whether the host has what is wanted.
    fn hide(
        scratch: &Scratch,
        id: u64,
        name: &str,
        lower: impl FnOnce(u64) -> (u64, bool),
    ) -> Result {
        let was = scratch.id_register(id)?;
        let (value, there) = lower(was);
        if !there {
            return Err(Error::Missing(format!("this host has no {name}")));
        }
        if value == was {
            return Ok(());
        }
        scratch
            .access()
            .set(id, &value.to_le_bytes())
            .map_err(|error| Error::kernel(format!("hiding {name}"), error))
    }
}
