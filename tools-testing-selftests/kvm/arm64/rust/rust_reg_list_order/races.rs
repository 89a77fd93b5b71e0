// SPDX-License-Identifier: GPL-2.0-only

//! Lists while something changes what there is to list.

use kvmtest::{
    ktap::{fail, skip, Outcome},
    kvm::{Errno, Kvm, Result, Vcpu},
    memory::ListBuffer,
    reg::{RegId, Value},
    vcpus::{set_field, Kind},
    vectors::{
        ID_AA64PFR1_EL1, ID_AA64PFR2_EL1, ID_AA64SMFR0_EL1, PFR1_SME, PFR2_FPMR, SMFR0_FA64,
    },
};
use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

/// How long a race goes on at least, and until all of its lists have been seen at most.
const RACE_LISTINGS: u32 = 600;
const RACE_LIMIT: Duration = Duration::from_secs(600);

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
pub fn race_svcr(kvm: &Kvm, kind: &Kind) -> Outcome {
    if !kind.features.sme {
        return Err(skip("no SVCR without SME"));
    }
    let test = kind.test_vm(kvm, 1)?;
    let vcpu = &test.vcpus[0];
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
pub fn race_id_registers(kvm: &Kvm, kind: &Kind) -> Outcome {
    let test = kind.test_vm(kvm, 2)?;
    let [vcpu, other] = &test.vcpus[..] else {
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
