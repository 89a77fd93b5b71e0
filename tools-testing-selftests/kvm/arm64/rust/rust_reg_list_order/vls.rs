// SPDX-License-Identifier: GPL-2.0-only

//! What `KVM_REG_ARM64_*_VLS` can be written with before and after `KVM_ARM_VCPU_FINALIZE`.

use kvmtest::{
    ktap::{Complaints, Outcome},
    kvm::{Errno, Kvm, Result, Vcpu},
    memory::{ArgMemory, Place},
    names::name,
    reg::{RegId, Value},
    vcpus::{Features, TestVm},
};

/// A set of vector lengths, and what a write of it gives before and after finalize.
struct Write {
    what: &'static str,
    set: Value,
    before: Result,
    after: Result,
}

const EINVAL: Result = Err(Errno::EINVAL);
const EPERM: Result = Err(Errno::EPERM);

/// What can be written to a vCPU of a host with `all` lengths.
fn sets(all: &Value) -> Vec<Write> {
    let len = all.bytes().len();
    let vqs = all.low();
    let longest = 1 << (u64::BITS - 1 - vqs.leading_zeros());
    let shortest = vqs & vqs.wrapping_neg();
    let above = |byte: usize| {
        let mut set = *all;
        set.bytes_mut()[byte] |= 1;
        set
    };
    let write = |what, set, before, after| Write {
        what,
        set,
        before,
        after,
    };
    let number = |what, vqs, before, after| {
        let set = Value::from_u64(vqs, len);
        write(what, set, before, after)
    };

    let mut writes = vec![
        write("the same set", *all, Ok(()), Ok(())),
        number("one more", vqs | longest << 1, EINVAL, EPERM),
        number("longer than a vector can be", vqs | 1 << 63, EINVAL, EPERM),
        write("one in the second word", above(8), EINVAL, EPERM),
        write("one in the last byte", above(len - 1), EINVAL, EPERM),
        number("none", 0, EINVAL, EPERM),
    ];
    if vqs != shortest {
        writes.extend([
            number("all but the longest", vqs ^ longest, Ok(()), EPERM),
            number("the shortest alone", shortest, Ok(()), EPERM),
            number("all but the shortest", vqs ^ shortest, EINVAL, EPERM),
            number("the longest alone", longest, EINVAL, EPERM),
        ]);
    }
    let inner = vqs & !shortest & !longest;
    if inner != 0 {
        writes.push(number(
            "a hole",
            vqs ^ (inner & inner.wrapping_neg()),
            EINVAL,
            EPERM,
        ));
    }
    writes
}

/// A write at a place that cannot be read, whole or in its last byte.
fn faults(vcpu: &Vcpu, id: RegId, want: Errno) -> Result<Vec<(&'static str, Result)>> {
    let places = [
        ("at no address", Place::Null),
        ("at an address of the kernel", Place::Kernel),
        ("where nothing is", Place::At(ArgMemory::WRITABLE)),
        (
            "all but its last byte",
            Place::At(ArgMemory::WRITABLE + 1 - id.bytes()),
        ),
    ];
    let mut memory = ArgMemory::new()?;
    let write = |(what, place)| (what, vcpu.set_at(id, &mut memory, place));
    let other = |(_, error): &(_, Result)| *error != Err(want);
    Ok(places.into_iter().map(write).filter(other).collect())
}

/// All writes to one of the two registers.
pub fn writes(kvm: &Kvm, features: Features, id: RegId) -> Outcome {
    features.require(kvm)?;
    let of = name(id);
    let mut complaints = Complaints::default();
    let make = |own: Option<&Value>, finalized| -> Result<TestVm> {
        let test = TestVm::new(kvm, features, 1)?;
        if let Some(own) = own {
            test.vcpus[0].set(id, own)?;
        }
        if finalized {
            test.vcpus[0].finalize()?;
        }
        Ok(test)
    };

    let all = make(None, false)?.vcpus[0].get(id)?;
    for finalized in [false, true] {
        let when = if finalized { "after" } else { "before" };
        for write in sets(&all) {
            let test = make(None, finalized)?;
            let vcpu = &test.vcpus[0];
            let want = if finalized { write.after } else { write.before };
            let is = vcpu.set(id, &write.set);
            complaints.check(is == want, || {
                format!(
                    "{of}, {when} finalize, {}: {is:?}, not {want:?}",
                    write.what
                )
            });
            let held = vcpu.get(id)?;
            let wanted = if want.is_ok() { write.set } else { all };
            complaints.check(held == wanted, || {
                format!("{of}, {when} finalize, {}: then {held}", write.what)
            });
        }
        let test = make(None, finalized)?;
        for (what, error) in faults(&test.vcpus[0], id, Errno::EFAULT)? {
            complaints.check(false, || {
                format!("{of}, {when} finalize, a value {what}: {error:?}, not EFAULT")
            });
        }
        let held = test.vcpus[0].get(id)?;
        complaints.check(held == all, || {
            format!("{of}, {when} finalize: then {held}")
        });
    }

    // Of its own set and another good one, a finalized vCPU takes its own alone.
    let is_good = |write: &Write| write.before.is_ok();
    let good: Vec<_> = sets(&all).into_iter().filter(is_good).collect();
    for own in &good {
        let test = make(Some(&own.set), true)?;
        let vcpu = &test.vcpus[0];
        for other in &good {
            let want = if other.set == own.set { Ok(()) } else { EPERM };
            let is = vcpu.set(id, &other.set);
            complaints.check(is == want, || {
                let (own, other) = (own.what, other.what);
                format!("{of} is {own}, written with {other}: {is:?}, not {want:?}")
            });
            let held = vcpu.get(id)?;
            complaints.check(held == own.set, || {
                format!("{of} is {}, then {held}", own.what)
            });
        }
    }
    complaints.outcome()
}

/// A vCPU without the feature does not have the register.
pub fn absent(kvm: &Kvm, features: Features, id: RegId) -> Outcome {
    features.require(kvm)?;
    let test = TestVm::new(kvm, features, 1)?;
    let vcpu = &test.vcpus[0];
    let mut complaints = Complaints::default();
    let set = vcpu.set(id, &Value::from_u64(1, id.bytes()));
    complaints.check(set == Err(Errno::ENOENT), || format!("a write: {set:?}"));
    let get = vcpu.get(id).map(drop);
    complaints.check(get == Err(Errno::ENOENT), || format!("a read: {get:?}"));
    for (what, error) in faults(vcpu, id, Errno::ENOENT)? {
        complaints.check(false, || format!("a value {what}: {error:?}, not ENOENT"));
    }
    complaints.outcome()
}
