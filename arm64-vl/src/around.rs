// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! What a save and a restore need besides registers: what has to be done, what can be done here through a
//! descriptor, and the clock, which a VM has once.
//!
//! Sources: `Documentation/virt/kvm/api.rst`, `devices/vcpu.rst`, `devices/arm-vgic-v3.rst` and
//! `arm/reg-list.rst`.

use crate::{
    config::ids,
    ioctl::{
        ioctl, DeviceAttr, EnableCap, VcpuEvents, KVM_ARM_VCPU_PMU_V3_CTRL,
        KVM_ARM_VCPU_PMU_V3_SET_NR_COUNTERS, KVM_CAP_ARM_WRITABLE_IMP_ID_REGS, KVM_ENABLE_CAP,
        KVM_GET_MP_STATE, KVM_GET_VCPU_EVENTS, KVM_RUN, KVM_SET_DEVICE_ATTR, KVM_SET_MP_STATE,
        KVM_SET_VCPU_EVENTS,
    },
    kind::is_id_register,
    register_name,
    saved::{not_a_vcpu, not_listed, not_ready},
    Error, Offer, RegisterAccess, Result, SavedVcpu,
};
#[cfg(feature = "json")]
use serde::{Deserialize, Serialize};
use std::{fmt, io, os::fd::AsRawFd, ptr, time::Duration};

/// When something has to be done that is not in a vCPU's registers.
///
/// ```
/// use arm64_vl::{around_restore, When};
///
/// let first = around_restore().iter().filter(|chore| chore.when == When::BeforeVcpus);
/// first.for_each(|chore| println!("{chore}"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum When {
    /// On the source, before its registers are read.
    Saving,
    /// On the VM, before it has a vCPU.
    BeforeVcpus,
    /// On each vCPU, before its registers are written.
    BeforeRegisters,
    /// When the registers of all vCPUs are written, and before one of them runs.
    BeforeRunning,
}

/// Something that a saved vCPU does not hold and a restore does not do.
///
/// ```
/// // What a call of this crate does, if a VMM lets it.
/// let done_here = arm64_vl::around_restore().iter().filter(|chore| chore.here.is_some());
/// assert!(done_here.count() > 3);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Chore {
    /// When.
    pub when: When,
    /// What has to be as it was.
    pub what: &'static str,
    /// The calls for it.
    pub calls: &'static str,
    /// What happens without.
    pub otherwise: &'static str,
    /// What of this crate does it through a descriptor.
    pub here: Option<&'static str>,
}

impl fmt::Display for Chore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            calls,
            otherwise,
            here,
            ..
        } = self;
        write!(f, "{what}: {calls}; otherwise {otherwise}")?;
        here.map_or(Ok(()), |here| write!(f, " ({here} does it)"))
    }
}

const fn chore(
    when: When,
    what: &'static str,
    calls: &'static str,
    otherwise: &'static str,
    here: Option<&'static str>,
) -> Chore {
    Chore {
        when,
        what,
        calls,
        otherwise,
        here,
    }
}

const CHORES: [Chore; 14] = [
    chore(
        When::Saving,
        "an exit for a device or a call that is not finished",
        "KVM_RUN with immediate_exit",
        "the guest does that instruction twice",
        Some("finish_exit()"),
    ),
    chore(
        When::Saving,
        "interrupts that are pending in memory",
        "KVM_DEV_ARM_VGIC_SAVE_PENDING_TABLES, KVM_DEV_ARM_ITS_SAVE_TABLES",
        "they are lost",
        None,
    ),
    chore(
        When::BeforeVcpus,
        "the greatest guest address",
        "the type of KVM_CREATE_VM",
        "ID_AA64MMFR0_EL1.PARANGE promises memory that is not there",
        None,
    ),
    chore(
        When::BeforeVcpus,
        "memory tags",
        "KVM_CAP_ARM_MTE; tags by KVM_ARM_MTE_COPY_TAGS",
        "ID_AA64PFR1_EL1 and the registers of MTE are refused",
        None,
    ),
    chore(
        When::BeforeVcpus,
        "what the implementation says of itself",
        "KVM_CAP_ARM_WRITABLE_IMP_ID_REGS",
        "another MIDR_EL1, REVIDR_EL1 or AIDR_EL1 is refused",
        Some("prepare_vm()"),
    ),
    chore(
        When::BeforeVcpus,
        "no offset of its counters",
        "not KVM_ARM_SET_COUNTER_OFFSET",
        "writes of the counters are ignored without an error",
        None,
    ),
    chore(
        When::BeforeRegisters,
        "all vCPUs of the VM, none of which has run",
        "KVM_CREATE_VCPU, KVM_ARM_VCPU_INIT with the same features",
        "ID registers are refused with EBUSY",
        None,
    ),
    chore(
        When::BeforeRegisters,
        "the PMU",
        "KVM_ARM_VCPU_PMU_V3_SET_PMU, _FILTER, _IRQ, _INIT",
        "counters count something else, or not at all",
        None,
    ),
    chore(
        When::BeforeRegisters,
        "the number of counters",
        "KVM_ARM_VCPU_PMU_V3_SET_NR_COUNTERS",
        "PMCR_EL0.N of a guest with EL2 or a strict PMU is lost without an error",
        Some("prepare_vcpu()"),
    ),
    chore(
        When::BeforeRegisters,
        "interrupts of the timers, stolen time",
        "KVM_ARM_VCPU_TIMER_CTRL, KVM_ARM_VCPU_PVTIME_CTRL",
        "timers raise other interrupts, the guest sees no stolen time",
        None,
    ),
    chore(
        When::BeforeRunning,
        "the interrupt controller",
        "KVM_CREATE_DEVICE; its registers and tables by KVM_SET_DEVICE_ATTR",
        "interrupts are lost",
        None,
    ),
    chore(
        When::BeforeRunning,
        "events that are pending in KVM",
        "KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS",
        "an SError is lost",
        Some("Rest"),
    ),
    chore(
        When::BeforeRunning,
        "whether the vCPU is on",
        "KVM_GET_MP_STATE, KVM_SET_MP_STATE",
        "one that waits for PSCI CPU_ON runs, or one that ran stays off",
        Some("Rest"),
    ),
    chore(
        When::BeforeRunning,
        "the clock",
        "CNTVCT_EL0, CNTPCT_EL0, written once for the VM",
        "the vCPU that is written last decides, and the time that a restore takes is lost",
        Some("restore_clock()"),
    ),
];

/// What a VMM does besides, in this order.
///
/// # Examples
///
/// ```
/// for chore in arm64_vl::around_restore() {
///     println!("{chore}");
/// }
/// ```
pub fn around_restore() -> &'static [Chore] {
    &CHORES
}

/// Makes a call on a descriptor with a struct.
fn call<T>(fd: &impl AsRawFd, request: u32, argument: &mut T) -> io::Result<()> {
    // SAFETY: Every caller passes the struct of its request.
    unsafe { ioctl(fd.as_raw_fd(), request, ptr::from_mut(argument).cast()) }.map(drop)
}

/// Whether a vCPU is on: what each takes, initialized or not, and what nothing else takes.
fn mp_state(vcpu: &impl AsRawFd) -> Result<u32> {
    let mut state = 0u32;
    call(vcpu, KVM_GET_MP_STATE, &mut state)
        .map_err(|error| not_a_vcpu("KVM_GET_MP_STATE", error))?;
    Ok(state)
}

/// Lets the vCPUs of a new VM have another MIDR_EL1, REVIDR_EL1 and AIDR_EL1 than the host, if one of them does
/// (`KVM_CAP_ARM_WRITABLE_IMP_ID_REGS`). Says whether. The VM has no vCPU yet.
///
/// # Errors
///
/// [`Error::Missing`] where nothing is known of the host; [`Error::Kernel`] where KVM does not know the capability, or
/// there is a vCPU already.
///
/// # Examples
///
/// ```
/// use arm64_vl::{prepare_vm, Offer, SavedVcpu};
///
/// # let vm = std::fs::File::open("/dev/null").unwrap();
/// let saved = SavedVcpu::new(None, [])?;
/// assert!(!prepare_vm(&vm, &saved, &Offer::default())?, "nothing differs");
/// # Ok::<(), arm64_vl::Error>(())
/// ```
pub fn prepare_vm(vm: &impl AsRawFd, saved: &SavedVcpu, host: &Offer) -> Result<bool> {
    let own = |id: u64| {
        host.kinds
            .first()
            .and_then(|kind| kind.limits.get(&id).copied())
    };
    let names = ["MIDR_EL1", "REVIDR_EL1", "AIDR_EL1"];
    let ids = saved.registers().map(|(id, _)| id);
    let ids: Vec<_> = ids
        .filter(|id| is_id_register(*id) && names.contains(&register_name(*id).as_str()))
        .collect();
    if !ids.is_empty() && host.kinds.is_empty() {
        return Err(Error::Missing(
            "what this host says of itself is not known".into(),
        ));
    }
    let is_other = |id: &u64| own(*id).is_some() && saved.number(*id) != own(*id);
    if !ids.iter().any(is_other) {
        return Ok(false);
    }
    let mut cap = EnableCap {
        cap: KVM_CAP_ARM_WRITABLE_IMP_ID_REGS,
        ..EnableCap::default()
    };
    call(vm, KVM_ENABLE_CAP, &mut cap)
        .map_err(|error| Error::kernel("KVM_CAP_ARM_WRITABLE_IMP_ID_REGS", error))?;
    Ok(true)
}

/// Gives a vCPU as many counters as the saved one, if it has another number
/// (`KVM_ARM_VCPU_PMU_V3_SET_NR_COUNTERS`). Says whether. It is initialized and has no register written.
///
/// # Errors
///
/// [`Error::NotInitialized`] and [`Error::NotAVcpu`]; [`Error::Kernel`] where KVM does not have as many, or the vCPU
/// has a strict PMU and was not told which (`KVM_ARM_VCPU_PMU_V3_SET_PMU`).
///
/// # Examples
///
/// ```
/// use arm64_vl::{prepare_vcpu, SavedVcpu, VcpuRef};
///
/// # let file = std::fs::File::open("/dev/null").unwrap();
/// let without_pmu = SavedVcpu::new(None, [])?;
/// assert!(!prepare_vcpu(&VcpuRef::new(&file), &without_pmu)?);
/// # Ok::<(), arm64_vl::Error>(())
/// ```
pub fn prepare_vcpu(vcpu: &(impl RegisterAccess + AsRawFd), saved: &SavedVcpu) -> Result<bool> {
    let counters = |pmcr: u64| (pmcr >> 11 & 31) as u32;
    let Some(wanted) = saved.number(ids::PMCR_EL0) else {
        return Ok(false);
    };
    match vcpu.list().map_err(not_listed) {
        Ok(_) | Err(Error::NotFinalized) => {}
        Err(error) => return Err(error),
    }
    let mut value = [0; 8];
    match vcpu.get(ids::PMCR_EL0, &mut value) {
        // It has no PMU, which a restore tells.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(false),
        read => read.map_err(|error| Error::kernel("KVM_GET_ONE_REG of PMCR_EL0", error))?,
    }
    let mut wanted = counters(wanted);
    if wanted == counters(u64::from_le_bytes(value)) {
        return Ok(false);
    }
    let mut attr = DeviceAttr {
        flags: 0,
        group: KVM_ARM_VCPU_PMU_V3_CTRL,
        attr: KVM_ARM_VCPU_PMU_V3_SET_NR_COUNTERS,
        addr: (&raw mut wanted) as u64,
    };
    call(vcpu, KVM_SET_DEVICE_ATTR, &mut attr)
        .map_err(|error| Error::kernel("KVM_ARM_VCPU_PMU_V3_SET_NR_COUNTERS", error))?;
    Ok(true)
}

/// What a vCPU has besides registers that its descriptor tells: whether it is on, and pending events.
///
/// # Examples
///
/// ```
/// use arm64_vl::Rest;
///
/// let not_a_vcpu = std::fs::File::open("/dev/null").unwrap();
/// assert!(Rest::save(&not_a_vcpu).is_err());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "json", serde(default))]
#[non_exhaustive]
pub struct Rest {
    /// `KVM_MP_STATE_RUNNABLE` (0), `_STOPPED` (5) or `_SUSPENDED` (10).
    pub mp_state: u32,
    /// An SError is pending.
    pub serror_pending: bool,
    /// Its syndrome, if the guest has RAS.
    pub serror_esr: Option<u64>,
}

impl Rest {
    /// Asks a vCPU, which does not run meanwhile.
    ///
    /// # Errors
    ///
    /// [`Error::NotInitialized`] and [`Error::NotAVcpu`]; [`Error::Kernel`] with the call that is refused.
    pub fn save(vcpu: &impl AsRawFd) -> Result<Self> {
        let mp_state = mp_state(vcpu)?;
        let mut events = VcpuEvents::default();
        call(vcpu, KVM_GET_VCPU_EVENTS, &mut events)
            .map_err(|error| not_ready("KVM_GET_VCPU_EVENTS", error))?;
        Ok(Self {
            mp_state,
            serror_pending: events.serror_pending != 0,
            serror_esr: (events.serror_has_esr != 0).then_some(events.serror_esr),
        })
    }

    /// Sets what was saved. The registers have been written.
    ///
    /// # Errors
    ///
    /// As [`Rest::save()`].
    pub fn restore(&self, vcpu: &impl AsRawFd) -> Result {
        mp_state(vcpu)?;
        let mut events = VcpuEvents {
            serror_pending: self.serror_pending.into(),
            serror_has_esr: self.serror_esr.is_some().into(),
            serror_esr: self.serror_esr.unwrap_or(0),
            ..VcpuEvents::default()
        };
        call(vcpu, KVM_SET_VCPU_EVENTS, &mut events)
            .map_err(|error| not_ready("KVM_SET_VCPU_EVENTS", error))?;
        let mut mp_state = self.mp_state;
        call(vcpu, KVM_SET_MP_STATE, &mut mp_state)
            .map_err(|error| not_ready("KVM_SET_MP_STATE", error))
    }
}

/// Finishes what a vCPU has left for: an access to a device, whose result a VMM has put into `struct kvm_run`, or
/// a call. The guest does not go on. In the thread of the vCPU, before [`crate::save()`].
///
/// # Errors
///
/// [`Error::NotAVcpu`], [`Error::NotInitialized`] and [`Error::NotFinalized`]; [`Error::Kernel`] with what KVM finds
/// instead of the end.
///
/// # Examples
///
/// ```
/// let not_a_vcpu = std::fs::File::open("/dev/null").unwrap();
/// assert!(arm64_vl::finish_exit(&not_a_vcpu).is_err());
/// ```
pub fn finish_exit(vcpu: &impl AsRawFd) -> Result {
    /// `immediate_exit` of `struct kvm_run`, a byte, in its first page.
    const IMMEDIATE_EXIT: usize = 1;
    const LENGTH: usize = 2;
    // Anything else can be mapped as well, and would be written to.
    mp_state(vcpu)?;
    let fd = vcpu.as_raw_fd();
    let (access, shared) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
    // SAFETY: A new mapping changes none that is there.
    let run = unsafe { libc::mmap(ptr::null_mut(), LENGTH, access, shared, fd, 0) };
    if run == libc::MAP_FAILED {
        return Err(Error::kernel(
            "mapping struct kvm_run",
            io::Error::last_os_error(),
        ));
    }
    // SAFETY: The mapping has a page, and nobody else writes to this byte: the vCPU is ours.
    let set = |value: u8| unsafe { run.cast::<u8>().add(IMMEDIATE_EXIT).write_volatile(value) };
    set(1);
    // SAFETY: The call has no argument.
    let done = unsafe { ioctl(fd, KVM_RUN, ptr::null_mut()) };
    set(0);
    // SAFETY: It was mapped above, and is used no more.
    unsafe { libc::munmap(run, LENGTH) };
    match done {
        Err(error) if error.raw_os_error() == Some(libc::EINTR) => Ok(()),
        Err(error) => Err(not_ready("KVM_RUN", error)),
        Ok(_) => {
            let reason = "the vCPU has left again, for something else";
            Err(Error::kernel("KVM_RUN", io::Error::other(reason)))
        }
    }
}

/// Which time it is for a VM that goes on.
///
/// ```
/// use arm64_vl::Clock;
/// use std::time::{Duration, SystemTime};
///
/// fn as_if_it_had_run(saved_at: SystemTime) -> Clock {
///     Clock::Advanced(saved_at.elapsed().unwrap_or(Duration::ZERO))
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Clock {
    /// As it is after the registers of the last vCPU: what was saved of it, and what has passed since it was
    /// written.
    Verbatim,
    /// That of the vCPU that was saved last: the guest does not see that it was saved. It never goes back.
    Frozen,
    /// The same and this much more: the guest sees the time that has passed.
    Advanced(Duration),
}

/// Sets the clock of a VM, once for all of its vCPUs: after the registers of all of them, through any one, and
/// just before the first of them runs. `saved` are all of them.
///
/// All vCPUs have one clock, and each restore of a vCPU sets it (`KVM_REG_ARM_TIMER_CNT`, `timer_set_offset()` in
/// arch/arm64/kvm). With EL2 CNTVCT_EL0 follows from CNTPCT_EL0, which is written last (`arm/reg-list.rst`).
///
/// # Errors
///
/// [`Error::NotInitialized`], [`Error::NotFinalized`] and [`Error::NotAVcpu`]; [`Error::Missing`] when no vCPU was
/// saved with a clock, or, for [`Clock::Advanced`], on a machine that is not arm64, whose frequency is not known;
/// [`Error::Kernel`] with the register that is refused.
///
/// # Examples
///
/// ```
/// use arm64_vl::{restore_clock, save, Clock};
#[doc = include_str!("fake_vcpu.doc")]
///
/// # let (vcpu, other) = (Fake::default(), Fake::default());
/// # vcpu.set(0x6030_0000_0013_df1a, &7u64.to_le_bytes())?;
/// # other.set(0x6030_0000_0013_df1a, &9u64.to_le_bytes())?;
/// let saved = [save(&vcpu)?, save(&other)?];
/// restore_clock(&vcpu, &saved, Clock::Frozen)?;
/// # let mut value = [0; 8];
/// # vcpu.get(0x6030_0000_0013_df1a, &mut value)?;
/// # assert_eq!(u64::from_le_bytes(value), 9);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn restore_clock(
    vcpu: &(impl RegisterAccess + ?Sized),
    saved: &[SavedVcpu],
    clock: Clock,
) -> Result {
    let more = match clock {
        Clock::Verbatim => return Ok(()),
        Clock::Frozen => 0,
        Clock::Advanced(time) => ticks(time)?,
    };
    let time = |saved: &&SavedVcpu| {
        let physical = saved.number(ids::CNTPCT_EL0);
        (physical, saved.number(ids::CNTVCT_EL0))
    };
    let none = || Error::Missing("no vCPU was saved with a clock".into());
    let last = saved.iter().max_by_key(time).ok_or_else(none)?;
    let clocks = [ids::CNTVCT_EL0, ids::CNTPCT_EL0];
    let values: Vec<_> = clocks
        .into_iter()
        .filter_map(|id| Some((id, last.number(id)?)))
        .collect();
    if values.is_empty() {
        return Err(none());
    }
    vcpu.list().map_err(not_listed)?;
    for (id, value) in values {
        vcpu.set(id, &value.wrapping_add(more).to_le_bytes())
            .map_err(|error| Error::kernel(register_name(id), error))?;
    }
    Ok(())
}

/// How often the counters of this machine tick in a time.
#[cfg(target_arch = "aarch64")]
fn ticks(time: Duration) -> Result<u64> {
    let frequency: u64;
    // SAFETY: The register can be read in EL0, and reading it changes nothing.
    unsafe { std::arch::asm!("mrs {}, cntfrq_el0", out(reg) frequency, options(nomem, nostack)) };
    let ticks = time.as_nanos() * u128::from(frequency) / 1_000_000_000;
    Ok(ticks as u64)
}

#[cfg(not(target_arch = "aarch64"))]
fn ticks(_: Duration) -> Result<u64> {
    let arch = std::env::consts::ARCH;
    Err(Error::Missing(format!(
        "no counter of arm64 on a machine that is {arch}"
    )))
}
