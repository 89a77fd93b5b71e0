// SPDX-License-Identifier: GPL-2.0-only

//! Lists into too little room, too early, and while a reset is pending.

use crate::SEED;
use kvmtest::{
    fill::fill_vectors,
    guest_code,
    ktap::{fail, Complaints, Outcome},
    kvm::{uapi, Errno, Kvm},
    memory::ListBuffer,
    names::name,
    random::Random,
    reg::{RegId, Value},
    vcpus::{Kind, IPA_BITS},
};

const MPIDR_EL1: RegId = RegId::sys(3, 0, 0, 0, 5);

/// Where the caller's array is too small, too large, or ends where no memory is.
pub fn room(kvm: &Kvm, kind: &Kind) -> Outcome {
    let test = kind.test_vm(kvm, 1)?;
    let vcpu = &test.vcpus[0];
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
pub fn too_early(kvm: &Kvm, kind: &Kind) -> Outcome {
    let features = kind.features;
    let mut complaints = Complaints::default();
    let buffer = ListBuffer::new(0)?;

    features.require(kvm)?;
    let vm = kvm.create_vm(IPA_BITS)?;
    let vcpu = vm.create_vcpu(0)?;
    let (result, _) = vcpu.list_into(&buffer, 0);
    complaints.check(result == Err(Errno::ENOEXEC), || {
        format!("before init: {result:?}")
    });

    let test = kind.bare(kvm, 1)?;
    let (result, _) = test.vcpus[0].list_into(&buffer, 0);
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
pub fn pending_reset(kvm: &Kvm, kind: &Kind) -> Outcome {
    let mut test = kind.test_vm(kvm, 2)?;
    test.vm.add_code(CODE, psci_caller())?;
    let [caller, target] = &test.vcpus[..] else {
        return Err(fail("not two vCPUs"));
    };
    let mode = kind.mode(target)?;
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
    let mut off = *kind;
    off.svcr = 0;
    let fresh = off.test_vm(kvm, 1)?.vcpus[0].list()?;
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
    if kind.features.sme {
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
