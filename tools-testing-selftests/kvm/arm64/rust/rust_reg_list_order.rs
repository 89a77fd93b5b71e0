// SPDX-License-Identifier: GPL-2.0-only

//! What `KVM_GET_REG_LIST` promises: which registers it lists in which mode, in what order, into
//! how much room, whatever else goes on, and what SVCR does to those that it decides about.

mod guest;
mod ktap;
mod kvm;
mod names;
mod random;
mod state;
mod vcpus;
mod vectors;

use guest::guest_code;
use ktap::{fail, skip, Case, Complaints, Outcome};
use kvm::{uapi, Errno, Kvm, ListBuffer, RegId, Result, Value, Vcpu};
use names::name;
use random::Random;
use state::{fill_vectors, lost, save, State};
use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
    rc::Rc,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};
use vcpus::{set_field, Features, Shape};
use vectors::{
    is_v, is_vector_class, p, v, z, za, FFR, FPCR, FPMR, FPSR, FPSR_AFTER_SM, ID_AA64PFR1_EL1,
    ID_AA64PFR2_EL1, ID_AA64SMFR0_EL1, MAX_ROWS, NR_P, NR_Z, PFR1_SME, PFR2_FPMR, SM, SMFR0_FA64,
    ZA, ZT0,
};

const SEED: u64 = 20210;

const MPIDR_EL1: RegId = RegId::sys(3, 0, 0, 0, 5);

/// What is listed besides the vector registers with SVE: ZCR_EL1.
const WITH_SVE: [RegId; 1] = [RegId::sys(3, 0, 1, 2, 0)];

/// With SME: SVCR, SMCR_EL1, SMIDR_EL1, TPIDR2_EL0.
const WITH_SME: [RegId; 4] = [
    RegId::SVCR,
    RegId::sys(3, 0, 1, 2, 6),
    RegId::sys(3, 1, 0, 0, 6),
    RegId::TPIDR2_EL0,
];

/// With a PMU, besides PMEVCNTRn_EL0, PMEVTYPERn_EL0 and PMCCFILTR_EL0: op1, CRm and op2 of those
/// with op0 = 3 and CRn = 9.
const WITH_PMU: [(u64, u64, u64); 12] = [
    (0, 14, 1),
    (0, 14, 2),
    (0, 14, 6),
    (3, 12, 0),
    (3, 12, 1),
    (3, 12, 2),
    (3, 12, 3),
    (3, 12, 4),
    (3, 12, 5),
    (3, 13, 0),
    (3, 14, 0),
    (3, 14, 3),
];

/// A register, and those that are restored wrongly before it.
struct Dependency {
    /// The vCPUs that have it.
    of: fn(Features) -> bool,
    first: RegId,
    then: fn(RegId) -> bool,
    what: &'static str,
}

/// What the list has to honour.
const DEPENDENCIES: [Dependency; 5] = [
    Dependency {
        of: |features| features.sve,
        first: RegId::SVE_VLS,
        then: |id| !id.is_vls(),
        what: "SVE_VLS leads, before SVCR and all vectors",
    },
    Dependency {
        of: |features| features.sme,
        first: RegId::SME_VLS,
        then: |id| !id.is_vls(),
        what: "SME_VLS leads, before SVCR and all vectors",
    },
    Dependency {
        of: |features| features.sme,
        first: RegId::SVCR,
        then: |id| is_vector_class(id) && !id.is_vls() || is_v(id) || [FPSR, FPMR].contains(&id),
        what: "SVCR before what it shows and what it zeroes",
    },
    Dependency {
        of: |_| true,
        first: RegId::ID_AA64PFR1_EL1,
        then: |id| id == RegId::WORKAROUND_2,
        what: "ID_AA64PFR1_EL1.SSBS before SMCCC_ARCH_WORKAROUND_2",
    },
    Dependency {
        of: |_| true,
        first: RegId::CNTVCT_EL0,
        then: |id| id == RegId::CNTPCT_EL0,
        what: "CNTVCT_EL0 before CNTPCT_EL0",
    },
];

/// Where KVM has always put a register: core, SVE, SME, firmware, bitmaps, system registers,
/// CCSIDRs, and within each by number.
fn usual_place(id: RegId) -> (usize, u64, u64) {
    const CLASSES: [u32; 7] = [
        uapi::KVM_REG_ARM_CORE,
        uapi::KVM_REG_ARM64_SVE,
        uapi::KVM_REG_ARM64_SME,
        uapi::KVM_REG_ARM_FW,
        uapi::KVM_REG_ARM_FW_FEAT_BMAP,
        uapi::KVM_REG_ARM64_SYSREG,
        uapi::KVM_REG_ARM_DEMUX,
    ];
    // The API has the numbers of the virtual counter and its comparator swapped.
    const CNTV_CVAL_EL0: RegId = RegId::sys(3, 3, 14, 0, 2);
    let number = if id == CNTV_CVAL_EL0 {
        RegId::CNTVCT_EL0.number()
    } else {
        id.number()
    };
    let class = CLASSES.iter().position(|class| *class == id.class());
    // ZT0 has the number of a row of ZA, and comes after all of them.
    let size = if id == ZT0 { 1 } else { 0 };
    (class.unwrap_or(CLASSES.len()), size, number)
}

/// A core register of 64 bits.
fn core(number: u64) -> RegId {
    RegId::new(RegId::x(0).raw() | number)
}

/// The core registers, V apart: X0 to X30, SP, PC, PSTATE, SP_EL1, ELR_EL1, five SPSRs, FPSR, FPCR.
fn core_registers() -> impl Iterator<Item = RegId> {
    (0..0x52).step_by(2).map(core).chain([FPSR, FPCR])
}

/// The registers that a set of features adds, vectors apart.
fn added(features: Features) -> Vec<RegId> {
    let mut ids = Vec::new();
    if features.sve {
        ids.extend(WITH_SVE);
    }
    if features.sme {
        ids.extend(WITH_SME);
    }
    if features.pmu {
        let named = |(op1, crm, op2)| RegId::sys(3, op1, 9, crm, op2);
        ids.extend(WITH_PMU.map(named));
        // Counters 0 to 30, their types, and after those the filter of the cycle counter.
        let counters = (0..31).map(|n| RegId::sys(3, 3, 14, 8 | n >> 3, n & 7));
        ids.extend(counters.chain((0..32).map(|n| RegId::sys(3, 3, 14, 12 | n >> 3, n & 7))));
    }
    ids
}

/// All that is to be listed: computed, but for the system and firmware registers of a plain vCPU.
fn expected(kvm: &Kvm, shape: &Shape, vcpu: &Vcpu) -> Outcome<BTreeSet<RegId>> {
    let plain = Shape::all()[0].machine(kvm, 1)?;
    let is_core = |id: &RegId| id.class() == uapi::KVM_REG_ARM_CORE;
    let others = plain.vcpus[0].list()?.into_iter().filter(|id| !is_core(id));

    let mut ids: BTreeSet<_> = others.chain(core_registers()).collect();
    ids.extend(shape.mode(vcpu)?.registers());
    ids.extend(added(shape.features));
    Ok(ids)
}

fn content(kvm: &Kvm, shape: &Shape) -> Outcome {
    let machine = shape.machine(kvm, 1)?;
    let vcpu = &machine.vcpus[0];
    let list = vcpu.list()?;
    let expected = expected(kvm, shape, vcpu)?;
    let mut complaints = Complaints::default();

    let mut seen = BTreeSet::new();
    for id in &list {
        complaints.check(seen.insert(*id), || format!("{} is there twice", name(*id)));
    }
    for id in expected.difference(&seen) {
        complaints.check(false, || format!("{} is not there", name(*id)));
    }
    for id in seen.difference(&expected) {
        complaints.check(false, || format!("{} is there", name(*id)));
    }
    complaints.check(list.len() == expected.len(), || {
        format!("{} registers, {} expected", list.len(), expected.len())
    });
    let fpmr = vcpu.get(ID_AA64PFR2_EL1)?.low() & PFR2_FPMR != 0;
    complaints.check(list.contains(&FPMR) == fpmr, || {
        format!("ID_AA64PFR2_EL1.FPMR is {fpmr}, FPMR is not")
    });
    complaints.outcome()
}

fn usual_order(kvm: &Kvm, shape: &Shape) -> Outcome {
    let list = shape.machine(kvm, 1)?.vcpus[0].list()?;
    let moves = |id: &RegId| DEPENDENCIES.iter().any(|line| line.first == *id);
    let rest: Vec<_> = list.into_iter().filter(|id| !moves(id)).collect();
    let mut complaints = Complaints::default();
    for pair in rest.windows(2) {
        complaints.check(usual_place(pair[0]) < usual_place(pair[1]), || {
            format!("{} comes before {}", name(pair[0]), name(pair[1]))
        });
    }
    complaints.outcome()
}

/// One line of the table, on all vCPUs of a set of features.
fn dependency(kvm: &Kvm, features: Features, line: &Dependency) -> Outcome {
    let mut complaints = Complaints::default();
    let mut found = 0;
    for shape in Shape::all_with(features) {
        let list = shape.machine(kvm, 1)?.vcpus[0].list()?;
        let Some(place) = list.iter().position(|id| *id == line.first) else {
            continue;
        };
        let early = list[..place].iter().filter(|id| (line.then)(**id));
        for id in early {
            complaints.check(false, || {
                format!("{shape}: {} before {}", name(*id), name(line.first))
            });
        }
        found += list.iter().filter(|id| (line.then)(**id)).count();
    }
    complaints.check(found > 0, || "nothing depends on it".into());
    complaints.outcome()
}

/// Listed: can be read, and takes what was read.
fn listed_is_accessible(kvm: &Kvm, shape: &Shape) -> Outcome {
    let machine = shape.machine(kvm, 1)?;
    let vcpu = &machine.vcpus[0];
    let mut complaints = Complaints::default();
    for id in vcpu.list()? {
        let value = match vcpu.get(id) {
            Ok(value) => value,
            Err(error) => {
                complaints.check(false, || format!("reading {} gives {error}", name(id)));
                continue;
            }
        };
        let written = vcpu.set(id, &value);
        complaints.check(written.is_ok(), || {
            format!("writing {} back gives {written:?}", name(id))
        });
    }
    // As much as fits is kept, from the first byte to the last.
    let mode = shape.mode(vcpu)?;
    let state = fill_vectors(vcpu, mode, &mut Random(SEED))?;
    check_state(&mut complaints, vcpu, &state, "");
    complaints.outcome()
}

/// All ids there could be, but for the vectors: classes, the sizes to try, and numbers.
const ALL_IDS: [(u32, &[u64], std::ops::Range<u64>); 5] = [
    (uapi::KVM_REG_ARM_CORE, &[2, 3, 4], 0..0x110),
    (uapi::KVM_REG_ARM_DEMUX, &[2], 0..0x100),
    (uapi::KVM_REG_ARM_FW, &[3], 0..0x20),
    (uapi::KVM_REG_ARM_FW_FEAT_BMAP, &[3], 0..0x20),
    // System registers with an op0 of 2 or 3.
    (uapi::KVM_REG_ARM64_SYSREG, &[3], 0x8000..0x1_0000),
];

/// What can be read, of all ids there could be, is listed, and nothing else.
fn readable_is_listed(kvm: &Kvm, shape: &Shape) -> Outcome {
    let machine = shape.machine(kvm, 1)?;
    let vcpu = &machine.vcpus[0];
    let list: BTreeSet<_> = vcpu.list()?.into_iter().collect();
    let mut complaints = Complaints::default();
    let mut found = list.iter().filter(|id| is_vector_class(**id)).count();
    for (class, sizes, numbers) in ALL_IDS {
        for (size, number) in sizes
            .iter()
            .flat_map(|size| numbers.clone().map(move |n| (size, n)))
        {
            let id = RegId::new(uapi::KVM_REG_ARM64 | size << 52 | u64::from(class) | number);
            let (read, listed) = (vcpu.get(id).is_ok(), list.contains(&id));
            found += usize::from(read);
            complaints.check(read == listed, || {
                format!("{}: can be read {read}, is listed {listed}", name(id))
            });
        }
    }
    complaints.check(found == list.len(), || {
        format!("{} registers listed, {found} found", list.len())
    });
    complaints.outcome()
}

/// Not listed: the error that is documented.
fn unlisted_is_refused(kvm: &Kvm, shape: &Shape) -> Outcome {
    let machine = shape.machine(kvm, 1)?;
    let vcpu = &machine.vcpus[0];
    let list: BTreeSet<_> = vcpu.list()?.into_iter().collect();
    let mut complaints = Complaints::default();

    for (id, error, why) in shape.mode(vcpu)?.absent() {
        complaints.check(!list.contains(&id), || {
            format!("{} is listed: {why}", name(id))
        });
        let read = vcpu.get(id).map(drop);
        let written = vcpu.set(id, &Value::zero(id.bytes()));
        complaints.check((read, written) == (Err(error), Err(error)), || {
            let id = format!("{} {:#x}", name(id), id.raw());
            format!("{id}: read {read:?}, write {written:?}, not {error}: {why}")
        });
    }
    complaints.outcome()
}

/// Where the caller's array is too small, too large, or ends where no memory is.
fn room(kvm: &Kvm, shape: &Shape) -> Outcome {
    let machine = shape.machine(kvm, 1)?;
    let vcpu = &machine.vcpus[0];
    let list = vcpu.list()?;
    let count = list.len();
    let n = count as u64;
    let mut complaints = Complaints::default();

    // What the caller says, the room there is, and the error.
    let table = [
        (0, 0, Err(Errno::E2BIG)),
        (0, 1, Err(Errno::E2BIG)),
        (1, 1, Err(Errno::E2BIG)),
        (n / 2, count, Err(Errno::E2BIG)),
        (n - 1, count - 1, Err(Errno::E2BIG)),
        (n - 1, count, Err(Errno::E2BIG)),
        (n, count, Ok(())),
        (n, count + 1, Ok(())),
        (n + 1, count + 1, Ok(())),
        (n + 1, count, Ok(())),
        (1 << 61, count, Ok(())),
        (u64::MAX, count, Ok(())),
        (n, count - 1, Err(Errno::EFAULT)),
        (1 << 61, count - 1, Err(Errno::EFAULT)),
        (u64::MAX, 0, Err(Errno::EFAULT)),
    ];
    for (said, there, error) in table {
        let buffer = ListBuffer::new(there)?;
        let (result, number) = vcpu.list_into(&buffer, said);
        let ids = buffer.ids();
        let untouched = |ids: &[RegId]| ids.iter().all(|id| id.raw() == ListBuffer::UNTOUCHED);
        let good = match error {
            Ok(()) => number == n && ids[..count] == list && untouched(&ids[count..]),
            Err(Errno::E2BIG) => number == n && untouched(&ids),
            Err(_) => true,
        };
        complaints.check(result == error && good, || {
            format!("n {said} with room for {there} of {n}: {result:?}, n {number}, ids {good}")
        });
    }
    complaints.outcome()
}

/// Before there is a list.
fn too_early(kvm: &Kvm, shape: &Shape) -> Outcome {
    let features = shape.features;
    let mut complaints = Complaints::default();
    let buffer = ListBuffer::new(0)?;

    features.require(kvm)?;
    let vm = kvm.create_vm(vcpus::IPA_BITS)?;
    let vcpu = vm.create_vcpu(0)?;
    let (result, _) = vcpu.list_into(&buffer, 0);
    complaints.check(result == Err(Errno::ENOEXEC), || {
        format!("before init: {result:?}")
    });

    let machine = shape.bare(kvm, 1)?;
    let (result, _) = machine.vcpus[0].list_into(&buffer, 0);
    let vectors = features.sve || features.sme;
    let expected = if vectors { Errno::EPERM } else { Errno::E2BIG };
    complaints.check(result == Err(expected), || {
        format!("before finalize: {result:?}")
    });
    complaints.outcome()
}

guest_code! {
    /// Calls PSCI with X0 to X3, and tells what it said by a store to the address in X4.
    fn psci_caller, guest_psci_start, guest_psci_end;
    "hvc #0",
    "str x0, [x4]",
    "b .",
}

const CODE: u64 = 0x8000_0000;
const NOWHERE: u64 = 0x1000_0000;
const CPU_ON: u64 = 0xc400_0003;
const ENTRY: u64 = 0xfeed_f00c;
const CONTEXT: u64 = 0xdead_c0de;

/// CPU_ON leaves a reset for the target to do later. A listing has to do it, as reads do: else the
/// list would not be of the state that is read after it.
fn pending_reset(kvm: &Kvm, shape: &Shape) -> Outcome {
    let mut machine = shape.machine(kvm, 2)?;
    machine.vm.add_code(CODE, psci_caller())?;
    let [caller, target] = &machine.vcpus[..] else {
        return Err(fail("not two vCPUs"));
    };
    let mode = shape.mode(target)?;
    fill_vectors(target, mode, &mut Random(SEED))?;
    target.set_mp_state(uapi::KVM_MP_STATE_STOPPED)?;
    let before = target.list()?;

    let affinity = target.get(MPIDR_EL1)?.low() & 0xff_00ff_ffff;
    let arguments = [CPU_ON, affinity, ENTRY, CONTEXT, NOWHERE];
    for (n, argument) in (0..).zip(arguments) {
        caller.set(RegId::x(n), &Value::from_u64(argument, 8))?;
    }
    caller.set(RegId::PC, &Value::from_u64(CODE, 8))?;
    let exit = caller.run()?;
    let answer = caller.get(RegId::x(0))?.low();
    if (exit, answer) != (uapi::KVM_EXIT_MMIO, 0) {
        return Err(fail(format!("CPU_ON: exit {exit}, answer {answer:#x}")));
    }

    // What a vCPU has that has just been reset: a list first, before anything that would do it.
    let list = target.list()?;
    let mut off = *shape;
    off.svcr = 0;
    let fresh = off.machine(kvm, 1)?.vcpus[0].list()?;
    let mut complaints = Complaints::default();
    complaints.check(list == fresh, || {
        let (n, was, fresh) = (list.len(), before.len(), fresh.len());
        format!("{n} registers listed, {was} before the reset, {fresh} after one")
    });
    for id in &list {
        let read = target.get(*id);
        complaints.check(read.is_ok(), || {
            format!("{} is listed: {:?}", name(*id), read.err())
        });
    }
    let mut reads = vec![(RegId::PC, ENTRY), (RegId::x(0), CONTEXT)];
    if shape.features.sme {
        reads.push((RegId::SVCR, 0));
    }
    for (id, expected) in reads {
        let is = target.get(id)?.low();
        complaints.check(is == expected, || format!("{} is {is:#x}", name(id)));
    }
    // The vectors of before are gone.
    let after = off.mode(target)?;
    for id in after.registers().into_iter().filter(|id| !id.is_vls()) {
        let is = target.get(id)?;
        complaints.check(is.extent() == 0, || {
            format!("{} is {is} after reset", name(id))
        });
    }
    complaints.outcome()
}

/// How long a race goes on at least, and until all of its lists have been seen at most.
const RACE_LISTINGS: u32 = 600;
const RACE_LIMIT: Duration = Duration::from_secs(60);

/// Lists a vCPU, into much room and little, while `change` goes on in another thread with numbers
/// from 0 on. Each list has to be one of `lists`, and more than one of them has to be seen.
fn race(vcpu: &Vcpu, lists: &[Vec<RegId>], change: impl Fn(u64) -> Result + Sync) -> Outcome {
    let stop = AtomicBool::new(false);
    let sizes: BTreeSet<_> = lists.iter().map(Vec::len).collect();
    let refused = thread::scope(|scope| {
        let changer = scope.spawn(|| {
            let turns = (0..).take_while(|_| !stop.load(Ordering::Relaxed));
            turns.filter_map(|n| change(n).err()).next()
        });
        let seen = list_in_race(vcpu, lists, &sizes);
        stop.store(true, Ordering::Relaxed);
        let refused = changer.join().ok().flatten();
        seen.map(|()| refused)
    })?;
    match refused {
        Some(error) => Err(fail(format!("the change was refused: {error}"))),
        None => Ok(()),
    }
}

fn list_in_race(vcpu: &Vcpu, lists: &[Vec<RegId>], sizes: &BTreeSet<usize>) -> Outcome {
    let start = Instant::now();
    let mut seen = BTreeSet::new();
    let mut count = 0;
    while count < RACE_LISTINGS || seen.len() < 2 {
        for &size in sizes {
            count += 1;
            let buffer = ListBuffer::new(size)?;
            let (result, n) = vcpu.list_into(&buffer, size as u64);
            let n = n as usize;
            let ids = buffer.ids();
            let (written, rest) = match result {
                Ok(()) => ids.split_at(n.min(size)),
                Err(_) => ids.split_at(0),
            };
            let known = match result {
                Ok(()) => lists.iter().position(|list| list == written),
                Err(Errno::E2BIG) if n > size => lists.iter().position(|list| list.len() == n),
                Err(_) => None,
            };
            let untouched = rest.iter().all(|id| id.raw() == ListBuffer::UNTOUCHED);
            let (Some(known), true) = (known, untouched) else {
                let what =
                    format!("room for {size}: {result:?}, n {n}, rest untouched {untouched}");
                return Err(fail(format!("no list of any mode: {what}")));
            };
            seen.insert(known);
        }
        if start.elapsed() > RACE_LIMIT {
            return Err(fail(format!(
                "only {} lists met in {count} listings",
                seen.len()
            )));
        }
    }
    Ok(())
}

/// Another thread writes SVCR of the same vCPU.
fn race_svcr(kvm: &Kvm, shape: &Shape) -> Outcome {
    if !shape.features.sme {
        return Err(skip("no SVCR without SME"));
    }
    let machine = shape.machine(kvm, 1)?;
    let vcpu = &machine.vcpus[0];
    let set = |n: u64| vcpu.set(RegId::SVCR, &Value::from_u64(n % 4, 8));
    let lists = (0..4)
        .map(|n| set(n).and_then(|()| vcpu.list()))
        .collect::<Result<Vec<_>>>()?;
    race(vcpu, &lists, set)
}

/// Fields of ID registers that show or hide registers, each with the lower value.
const SHOWING: [(RegId, u64, u64); 3] = [
    (ID_AA64PFR2_EL1, PFR2_FPMR, 0),
    (ID_AA64PFR1_EL1, PFR1_SME, 1),
    (ID_AA64SMFR0_EL1, SMFR0_FA64, 0),
];

/// Another vCPU writes ID registers, which are the VM's.
fn race_id_registers(kvm: &Kvm, shape: &Shape) -> Outcome {
    let machine = shape.machine(kvm, 2)?;
    let [vcpu, other] = &machine.vcpus[..] else {
        return Err(fail("not two vCPUs"));
    };
    let mut fields = Vec::new();
    for (id, mask, low) in SHOWING {
        let high = (other.get(id)?.low() & mask) >> mask.trailing_zeros();
        if high > low && set_field(other, id, mask, low).is_ok() {
            set_field(other, id, mask, high)?;
            fields.push((id, mask, low, high));
        }
    }
    // One field changes at a time, so that all combinations come by.
    let set = |n: u64| {
        let changed = n.trailing_zeros() as usize;
        let gray = n ^ n >> 1;
        match fields.get(changed) {
            Some((id, mask, low, high)) => {
                let value = if gray >> changed & 1 != 0 { low } else { high };
                set_field(other, *id, *mask, *value)
            }
            None => Ok(()),
        }
    };
    let mut lists: Vec<Vec<RegId>> = Vec::new();
    for n in 0..2 << fields.len() {
        set(n)?;
        let list = vcpu.list()?;
        if !lists.contains(&list) {
            lists.push(list);
        }
    }
    if lists.len() < 2 {
        return Err(skip("no ID register hides a register of this vCPU"));
    }
    race(vcpu, &lists, set)
}

/// Complains of each register that does not read as it should.
fn check_state(complaints: &mut Complaints, vcpu: &Vcpu, state: &State, when: &str) {
    for (id, was, is) in lost(vcpu, state) {
        complaints.check(false, || match is {
            Ok(is) => format!("{when}{} is {is}, not {was}", name(id)),
            Err(error) => format!("{when}{} cannot be read: {error}", name(id)),
        });
    }
}

/// What the vector state has to be after a write of SVCR, by what it was.
fn after_svcr(from: u64, to: u64, before: &State, list: &[RegId]) -> State {
    let before: BTreeMap<_, _> = before.iter().copied().collect();
    let sm_changed = (from ^ to) & SM != 0;
    let za_on = !from & to & ZA != 0;
    let vectors: BTreeSet<_> = (0..NR_Z)
        .flat_map(|n| [z(n), v(n)])
        .chain((0..NR_P).map(p))
        .chain([FFR, FPMR])
        .collect();
    let array: BTreeSet<_> = (0..MAX_ROWS).map(za).chain([ZT0]).collect();

    let value = |id: &RegId| {
        let zeroed = sm_changed && vectors.contains(id) || za_on && array.contains(id);
        let value = if zeroed {
            Value::zero(id.bytes())
        } else if sm_changed && *id == FPSR {
            Value::from_u64(FPSR_AFTER_SM, 4)
        } else {
            *before.get(id)?
        };
        Some((*id, value))
    };
    list.iter().filter_map(value).collect()
}

/// A write of SVCR, and the way back.
fn svcr_effects(kvm: &Kvm, features: Features, from: u64, to: u64) -> Outcome {
    let mut complaints = Complaints::default();
    let shapes = Shape::all_with(features).into_iter();
    for (seed, shape) in (SEED..).zip(shapes.filter(|shape| shape.svcr == from)) {
        let machine = shape.machine(kvm, 1)?;
        let vcpu = &machine.vcpus[0];
        fill_vectors(vcpu, shape.mode(vcpu)?, &mut Random(seed))?;
        vcpu.set(RegId::TPIDR2_EL0, &Value::from_u64(seed, 8))?;

        let mut mode = from;
        // What was there before must not come up again after the way back.
        for next in [to, from] {
            let before = save(vcpu)?;
            vcpu.set(RegId::SVCR, &Value::from_u64(next, 8))?;
            let mut expected = after_svcr(mode, next, &before, &vcpu.list()?);
            let svcr = expected.iter_mut().filter(|(id, _)| *id == RegId::SVCR);
            svcr.for_each(|(_, value)| *value = Value::from_u64(next, 8));
            check_state(
                &mut complaints,
                vcpu,
                &expected,
                &format!("{shape}, {mode} to {next}: "),
            );
            mode = next;
        }
        for id in [ZT0, za(0)].into_iter().filter(|_| mode & ZA == 0) {
            complaints.check(vcpu.get(id).is_err(), || format!("{} without ZA", name(id)));
        }
    }
    complaints.outcome()
}

/// The bits of SVCR that there are not.
fn svcr_reserved(kvm: &Kvm, features: Features) -> Outcome {
    let mut complaints = Complaints::default();
    for shape in Shape::all_with(features) {
        let machine = shape.machine(kvm, 1)?;
        let vcpu = &machine.vcpus[0];
        fill_vectors(vcpu, shape.mode(vcpu)?, &mut Random(SEED))?;
        let before = save(vcpu)?;
        for value in (2..64).map(|bit| 1 << bit | (shape.svcr ^ (bit % 4))) {
            let result = vcpu.set(RegId::SVCR, &Value::from_u64(value, 8));
            complaints.check(result == Err(Errno::EINVAL), || {
                format!("{shape}: SVCR = {value:#x} gives {result:?}")
            });
        }
        check_state(
            &mut complaints,
            vcpu,
            &before,
            &format!("{shape}, after EINVAL: "),
        );
    }
    complaints.outcome()
}

type ShapeTest = fn(&Kvm, &Shape) -> Outcome;

/// The tests of each vCPU.
const OF_SHAPE: [(&str, ShapeTest); 4] = [
    ("which registers are listed", content),
    ("all that need not move is where it was", usual_order),
    ("listed means accessible", listed_is_accessible),
    ("not listed means refused", unlisted_is_refused),
];

/// The tests of one vCPU for each state of SVCR.
const OF_MODE: [(&str, ShapeTest); 6] = [
    ("all that can be read is listed", readable_is_listed),
    ("room for the list", room),
    ("too early", too_early),
    ("a list with a reset pending", pending_reset),
    ("a list while SVCR changes", race_svcr),
    ("a list while ID registers change", race_id_registers),
];

fn cases(kvm: &Rc<Kvm>) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: String, test: Box<dyn Fn(&Kvm) -> Outcome>| {
        let kvm = kvm.clone();
        cases.push(Case::new(name, move || test(&kvm)));
    };

    add(
        "KVM_CAP_ARM_REG_LIST_ORDER is 1".into(),
        Box::new(
            |kvm| match kvm.capability(uapi::KVM_CAP_ARM_REG_LIST_ORDER) {
                Ok(1) => Ok(()),
                other => Err(fail(format!("it is {other:?}"))),
            },
        ),
    );
    for features in vcpus::ALL {
        let of = features.name;
        for line in DEPENDENCIES.iter().filter(|line| (line.of)(features)) {
            let name = format!("{of}: {}", line.what);
            add(name, Box::new(move |kvm| dependency(kvm, features, line)));
        }
        for shape in Shape::all_with(features) {
            for (test, run) in OF_SHAPE {
                add(
                    format!("{shape}: {test}"),
                    Box::new(move |kvm| run(kvm, &shape)),
                );
            }
        }
        let mut modes = Shape::all_with(features);
        modes.dedup_by_key(|shape| shape.svcr);
        for shape in modes {
            for (test, run) in OF_MODE {
                if features.sme || !test.contains("SVCR") {
                    add(
                        format!("{shape}: {test}"),
                        Box::new(move |kvm| run(kvm, &shape)),
                    );
                }
            }
        }
        if features.sme {
            for (from, to) in (0..16).map(|n| (n / 4, n % 4)) {
                let name = format!("{of}: SVCR from {from} to {to}");
                add(
                    name,
                    Box::new(move |kvm| svcr_effects(kvm, features, from, to)),
                );
            }
            let name = format!("{of}: SVCR with a bit that it has not");
            add(name, Box::new(move |kvm| svcr_reserved(kvm, features)));
        }
    }
    cases
}

fn main() -> ExitCode {
    let Ok(kvm) = Kvm::open() else {
        return ktap::skip_all("no /dev/kvm");
    };
    ktap::run_chosen(cases(&Rc::new(kvm)))
}
