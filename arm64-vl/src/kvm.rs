// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! What KVM gives to a vCPU, by making some.

#[cfg(feature = "json")]
use crate::kind::is_limited;
use crate::{config::Config, Lengths, Size, VcpuKind};
#[cfg(any(feature = "kvm", feature = "json"))]
use crate::{Error, Result};
#[cfg(feature = "json")]
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
#[cfg(feature = "kvm")]
use std::os::fd::AsRawFd;

/// How much state a vCPU has besides vector registers, by its vector features. It does not depend
/// on lengths or mode. A PMU or EL2 adds to it.
///
/// ```
/// use arm64_vl::{Others, Size};
///
/// let mut others = Others::default();
/// others.plain.registers = 230;
/// assert_eq!(others.sve, Size::default());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(Serialize, Deserialize))]
#[non_exhaustive]
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
/// let mut offer = Offer::default();
/// offer.sve = Lengths::new([16, 32])?;
/// assert_eq!(offer.config().greatest_size().registers, 49 + 1);
/// # Ok::<(), arm64_vl::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(Serialize, Deserialize))]
#[non_exhaustive]
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
    /// The kinds of vCPUs that are known: those without a feature besides SVE and SME first. None in a file
    /// of version 0.1.
    #[cfg_attr(feature = "json", serde(default, with = "crate::kind::json"))]
    pub kinds: Vec<VcpuKind>,
    /// The bits that can be written of each ID register, by id (`KVM_ARM_GET_REG_WRITABLE_MASKS`), of a VM whose
    /// vCPUs can still be of any kind; none on a kernel without that call.
    #[cfg_attr(feature = "json", serde(default, with = "crate::file::hex_map"))]
    pub writable: BTreeMap<u64, u64>,
}

impl From<Config> for Offer {
    /// One of which no more is known than its greatest vCPU.
    fn from(config: Config) -> Self {
        Self {
            sve: config.sve,
            sme: config.sme,
            sme2: config.sme2,
            fa64: config.fa64,
            ..Self::default()
        }
    }
}

impl Offer {
    /// Asks `/dev/kvm`, as [`Offer::of()`] does, and for the same kinds of vCPU with EL2, for a PMU and for pointer
    /// authentication too, as far as it gives them. Those with more of these follow: a PMU and pointer authentication
    /// change what nothing else does.
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

    /// Asks for one more kind of vCPU, that with these features of `KVM_ARM_VCPU_INIT`, unless it is known:
    /// `false` where KVM has none. What else a VMM sets, such as the MTE of the VM, is not asked for.
    ///
    /// # Errors
    ///
    /// As [`Offer::read()`].
    ///
    /// # Examples
    ///
    /// ```
    /// # let kvm = std::fs::File::open("/dev/null").unwrap();
    /// use arm64_vl::Offer;
    ///
    /// let with_pmu = [1 << 3, 0, 0, 0, 0, 0, 0]; // KVM_ARM_VCPU_PMU_V3
    /// let mut offer = Offer::default();
    /// assert!(offer.also(&kvm, with_pmu).is_err(), "that is not /dev/kvm");
    /// ```
    #[cfg(feature = "kvm")]
    pub fn also(&mut self, kvm: &impl AsRawFd, features: [u32; 7]) -> Result<bool> {
        imp::also(self, kvm, features)
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
        let arm64 = |id: &u64| id >> 56 == 0x60;
        let limited = |kind: &VcpuKind| {
            let limits = kind.limits.keys();
            kind.registers.iter().all(arm64)
                && limits
                    .into_iter()
                    .all(|id| kind.registers.contains(id) && is_limited(*id))
        };
        if !self.kinds.iter().all(limited) || !self.writable.keys().all(|id| is_limited(*id)) {
            return Err(Error::Config("it has registers that are none"));
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
    /// use arm64_vl::{Config, Offer};
    ///
    /// let mut offer = Offer::default();
    /// offer.others.plain.registers = 230;
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

    pub fn also(_: &mut Offer, _: &impl AsRawFd, _: [u32; 7]) -> Result<bool> {
        missing()
    }

    pub fn try_config(_: &Config) -> Result {
        missing()
    }
}

#[cfg(all(feature = "kvm", target_arch = "aarch64"))]
mod imp {
    use super::{AsRawFd, BTreeMap, Config, Error, Lengths, Offer, Result, Size};
    use crate::{
        config::{bytes_of, ids, is_vector},
        ioctl::{
            ioctl, RegMaskRange, VcpuInit, KVM_ARM_GET_REG_WRITABLE_MASKS,
            KVM_ARM_PREFERRED_TARGET, KVM_ARM_VCPU_HAS_EL2, KVM_ARM_VCPU_INIT, KVM_ARM_VCPU_PMU_V3,
            KVM_ARM_VCPU_PSCI_0_2, KVM_ARM_VCPU_PTRAUTH_ADDRESS, KVM_ARM_VCPU_PTRAUTH_GENERIC,
            KVM_ARM_VCPU_SME, KVM_ARM_VCPU_SVE, KVM_CREATE_VCPU, KVM_CREATE_VM,
        },
        kind::{is_limited, kind_features},
        RegisterAccess, VcpuKind, VcpuRef,
    };
    use std::{
        collections::BTreeSet,
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

    fn create_vm(kvm: RawFd) -> Result<OwnedFd> {
        create(kvm, KVM_CREATE_VM, ADDRESS_BITS)
            // A kernel before 4.20 knows the default alone.
            .or_else(|_| create(kvm, KVM_CREATE_VM, 0))
            .map_err(refused("KVM_CREATE_VM"))
    }

    /// What a vCPU can have besides SVE and SME that brings registers.
    const MORE: [u32; 2] = [
        1 << KVM_ARM_VCPU_PMU_V3,
        1 << KVM_ARM_VCPU_PTRAUTH_ADDRESS | 1 << KVM_ARM_VCPU_PTRAUTH_GENERIC,
    ];
    /// Such VMs take a tenth of a second each to be made on an emulated machine.
    const EL2: u32 = 1 << KVM_ARM_VCPU_HAS_EL2;

    fn word(features: u32) -> [u32; 7] {
        [features, 0, 0, 0, 0, 0, 0]
    }

    /// A vCPU that is not finalized, and its VM, which goes with it.
    struct Scratch {
        vcpu: OwnedFd,
        _vm: OwnedFd,
        features: [u32; 7],
    }

    impl Scratch {
        fn new(kvm: RawFd, features: [u32; 7]) -> Result<Self> {
            Self::in_vm(create_vm(kvm)?, features)
        }

        fn in_vm(vm: OwnedFd, features: [u32; 7]) -> Result<Self> {
            let fd = vm.as_raw_fd();
            let vcpu = create(fd, KVM_CREATE_VCPU, 0).map_err(refused("KVM_CREATE_VCPU"))?;
            let mut init = VcpuInit::default();
            let at = (&raw mut init).cast();
            // SAFETY: The kernel writes to `init`.
            unsafe { ioctl(fd, KVM_ARM_PREFERRED_TARGET, at) }
                .map_err(refused("KVM_ARM_PREFERRED_TARGET"))?;
            for (word, more) in init.features.iter_mut().zip(features) {
                *word |= more;
            }
            init.features[0] |= 1 << KVM_ARM_VCPU_PSCI_0_2;
            let at = (&raw mut init).cast();
            // SAFETY: The kernel reads from `init`.
            unsafe { ioctl(vcpu.as_raw_fd(), KVM_ARM_VCPU_INIT, at) }
                .map_err(refused("KVM_ARM_VCPU_INIT"))?;
            Ok(Self {
                vcpu,
                _vm: vm,
                features,
            })
        }

        /// One of features that KVM may not have: INIT refuses it then, with ENOENT for a number that it does not
        /// know (kvm_vcpu_init_check_features()).
        fn if_there(kvm: RawFd, features: [u32; 7]) -> Result<Option<Self>> {
            let none = |error: &io::Error| {
                matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOENT))
            };
            match Self::new(kvm, features) {
                Err(Error::Kernel { call, error })
                    if call == "KVM_ARM_VCPU_INIT" && none(&error) =>
                {
                    Ok(None)
                }
                scratch => scratch.map(Some),
            }
        }

        /// One of a feature that KVM may not have. Or another feature has this number, on a kernel that numbers
        /// otherwise, and there is no such register.
        fn with(kvm: RawFd, feature: u32, vls: u64) -> Result<Option<(Self, Lengths)>> {
            let Some(scratch) = Self::if_there(kvm, word(feature))? else {
                return Ok(None);
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

        /// What it is, once it is finalized if it has to be.
        fn kind(&self) -> Result<VcpuKind> {
            if self.features[0] & (FEATURE_SVE | FEATURE_SME) != 0 {
                self.finalize()?;
            }
            let list = self.access().list().map_err(refused("KVM_GET_REG_LIST"))?;
            let mut kind = VcpuKind {
                features: kind_features(self.features),
                ..VcpuKind::default()
            };
            for id in list.into_iter().filter(|id| !is_vector(*id)) {
                kind.registers.insert(id);
                if is_limited(id) {
                    kind.limits.insert(id, self.id_register(id)?);
                }
            }
            Ok(kind)
        }
    }

    /// The bits that can be written of each ID register, of a VM that has no vCPU yet: KVM may name those alone that
    /// the vCPUs of a VM have once there is one (api.rst, on the masks of SME). What a vCPU does not have is 0 in it,
    /// and can be nothing else, whatever the mask is.
    fn writable(vm: &OwnedFd) -> BTreeMap<u64, u64> {
        let mut masks = [0u64; 3 * 64];
        let mut range = RegMaskRange {
            addr: (&raw mut masks) as u64,
            ..RegMaskRange::default()
        };
        let at = (&raw mut range).cast();
        // SAFETY: The kernel writes 3 * 64 numbers to the address (KVM_ARM_FEATURE_ID_RANGE_SIZE).
        if unsafe { ioctl(vm.as_raw_fd(), KVM_ARM_GET_REG_WRITABLE_MASKS, at) }.is_err() {
            return BTreeMap::new();
        }
        // KVM_ARM_FEATURE_ID_RANGE_IDX: Op1, which is 0, 1 or 3, CRm and Op2.
        let id = |n: usize| {
            let (op1, crm_op2) = ([0, 1, 3][n / 64], (n % 64) as u64);
            0x6030_0000_0013_0000 | 3 << 14 | op1 << 11 | crm_op2
        };
        let all = masks.into_iter().enumerate().map(|(n, mask)| (id(n), mask));
        all.filter(|(id, mask)| *mask != 0 && is_limited(*id))
            .collect()
    }

    /// How much state a kind has besides vector registers.
    fn size_of_kind(kind: &VcpuKind) -> Size {
        let bytes = kind.registers.iter().map(|id| bytes_of(*id));
        bytes.fold(Size::default(), |sum, bytes| {
            sum + Size {
                registers: 1,
                bytes,
                significant: bytes,
            }
        })
    }

    pub fn offer(kvm: &impl AsRawFd) -> Result<Offer> {
        let kvm = kvm.as_raw_fd();
        let vm = create_vm(kvm)?;
        let writable = writable(&vm);
        let mut offer = Offer {
            kinds: vec![Scratch::in_vm(vm, word(0))?.kind()?],
            writable,
            ..Offer::default()
        };
        if let Some((scratch, lengths)) = Scratch::with(kvm, FEATURE_SVE, ids::SVE_VLS)? {
            offer.sve = lengths;
            offer.kinds.push(scratch.kind()?);
            offer.others.sve = size_of_kind(&offer.kinds[1]);
        }
        if let Some((scratch, lengths)) = Scratch::with(kvm, FEATURE_SME, ids::SME_VLS)? {
            offer.sme = lengths;
            offer.sme2 = scratch.id_register(ids::ID_AA64PFR1_EL1)? >> PFR1_SME_SHIFT & 15 >= 2;
            let kind = scratch.kind()?;
            offer.others.sme = size_of_kind(&kind);
            offer.kinds.push(kind);
        }
        if !offer.sve.is_empty() && !offer.sme.is_empty() {
            let scratch = Scratch::new(kvm, word(FEATURE_SVE | FEATURE_SME))?;
            let kind = scratch.kind()?;
            offer.others.both = size_of_kind(&kind);
            offer.kinds.push(kind);
            // FA64 needs SVE2: a vCPU without SVE does not have it.
            offer.fa64 = scratch.id_register(ids::ID_AA64SMFR0_EL1)? & SMFR0_FA64 != 0;
        }
        offer.others.plain = size_of_kind(&offer.kinds[0]);
        Ok(offer)
    }

    pub fn also(offer: &mut Offer, kvm: &impl AsRawFd, features: [u32; 7]) -> Result<bool> {
        let features = kind_features(features);
        if offer.kinds.iter().any(|kind| kind.features == features) {
            return Ok(true);
        }
        let Some(scratch) = Scratch::if_there(kvm.as_raw_fd(), features)? else {
            return Ok(false);
        };
        offer.kinds.push(scratch.kind()?);
        Ok(true)
    }

    /// Asks for ten kinds at most: a VM takes long to be made, and all its vCPUs have the same features. What depends
    /// on SVE or SME and EL2 both is there, such as ZCR_EL2.
    pub fn read() -> Result<Offer> {
        let kvm = open()?;
        let mut offer = offer(&kvm)?;
        let vectors: Vec<_> = offer.kinds.iter().map(|kind| kind.features[0]).collect();
        for features in vectors {
            // Where there is none with EL2 alone there is none with EL2 and others.
            if !also(&mut offer, &kvm, word(features | EL2))? && features == 0 {
                break;
            }
        }
        for more in MORE {
            let known = offer.kinds.len();
            if also(&mut offer, &kvm, word(more))? {
                let with = offer.kinds[known].clone();
                let plain = &offer.kinds[0];
                let merged: Vec<_> = offer.kinds[1..known]
                    .iter()
                    .map(|kind| merged(plain, kind, &with))
                    .collect();
                offer.kinds.extend(merged);
            }
        }
        Ok(offer)
    }

    /// The kind with the features of both: what each of them has otherwise than the plain one.
    fn merged(plain: &VcpuKind, one: &VcpuKind, other: &VcpuKind) -> VcpuKind {
        let mut features = one.features;
        features[0] |= other.features[0];
        let all = one.registers.union(&other.registers).copied();
        let stays = |id: &u64| {
            let both = one.registers.contains(id) && other.registers.contains(id);
            both || !plain.registers.contains(id)
        };
        let registers: BTreeSet<_> = all.filter(stays).collect();
        let of = |kind: &VcpuKind, id: &u64| kind.limits.get(id).copied().unwrap_or(0);
        let limit = |id: &u64| {
            let changed = of(one, id) ^ of(plain, id);
            (*id, of(one, id) & changed | of(other, id) & !changed)
        };
        let limits = registers.iter().filter(|id| is_limited(**id)).map(limit);
        VcpuKind {
            features,
            limits: limits.collect(),
            registers,
        }
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
        let scratch = Scratch::new(kvm.as_raw_fd(), word(features))?;
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
