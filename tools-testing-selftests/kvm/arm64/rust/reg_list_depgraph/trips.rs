// SPDX-License-Identifier: GPL-2.0-only

//! Round trips: what a restore in the order of the list loses.

use crate::{base::set_up, Experiment};
use kvmtest::{
    fill::{fill, Order, Which},
    kvm::{uapi, Errno, Result, Vcpu},
    reg::{RegId, Value},
    state::{lost, restore},
    vcpus::{Kind, TestVm},
};
use std::{collections::BTreeMap, fmt};

/// Where the guest has its code, and nothing.
const CODE: u64 = 0x8000_0000;
const NOWHERE: u64 = 0x1000_0000;

/// A guest that changes a few registers and turns its virtual timer on. X1 is [`NOWHERE`].
const GUEST: &[u32] = &[
    0xd2824680, // mov x0, #0x1234
    0xd518d080, // msr tpidr_el1, x0
    0xd51bd040, // msr tpidr_el0, x0
    0xd2800022, // mov x2, #1
    0xd51be35f, // msr cntv_cval_el0, xzr
    0xd51be322, // msr cntv_ctl_el0, x2
    0xd5033fdf, // isb
    0xb9000020, // str w0, [x1]
    0x14000000, // b .
];

/// What a restore in the order of a list lost.
#[derive(Clone)]
enum Loss {
    Error(Errno),
    Value(Box<(Value, Result<Value>)>),
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(error) => write!(f, "the write fails with {error}"),
            Self::Value(values) => match &**values {
                (was, Ok(is)) => write!(f, "was {was}, is {is}"),
                (was, Err(error)) => write!(f, "was {was}, cannot be read: {error}"),
            },
        }
    }
}

impl Experiment {
    /// Restores the vCPUs of a VM into a new one, and notes what is lost.
    pub fn round_trip(&mut self, kind: &Kind, from: &TestVm) -> Result {
        let saved = from.vcpus.iter().map(|vcpu| self.order.save(vcpu));
        let states = saved.collect::<Result<Vec<_>>>()?;
        let to = TestVm::new(&self.kvm, kind.features, states.len() as u32)?;
        let mut all: BTreeMap<RegId, Loss> = BTreeMap::new();
        let mut compare = |vcpu, state: &[(RegId, Value)]| {
            for (id, was, is) in lost(vcpu, state) {
                let loss = || Loss::Value(Box::new((was, is)));
                all.entry(id).or_insert_with(loss);
            }
        };
        self.graph.round_trips += 1;

        let mut errors = Vec::new();
        for (vcpu, state) in to.vcpus.iter().zip(&states) {
            errors.extend(restore(vcpu, state));
        }
        for (vcpu, state) in to.vcpus.iter().zip(&states) {
            compare(vcpu, state);
        }
        // What KVM does to the registers of a vCPU before it first runs must not tell them apart.
        if kind.features.can_run() {
            let both = from.vcpus.iter().chain(&to.vcpus);
            both.clone().try_for_each(Vcpu::load)?;
            for (source, vcpu) in from.vcpus.iter().zip(&to.vcpus) {
                compare(vcpu, &self.order.save(source)?);
            }
        }

        all.extend(
            errors
                .into_iter()
                .map(|(id, error)| (id, Loss::Error(error))),
        );
        for (id, loss) in all {
            self.graph.add_loss(id, kind.name(), loss);
        }
        Ok(())
    }

    /// Round trips from random states of one kind of vCPU, which are filled in the order of the
    /// list, backwards, and in any order.
    pub fn random_trips(&mut self, kind: &Kind, count: u32) -> Result {
        let features = kind.features;
        for n in 0..count {
            let mut test = TestVm::new(&self.kvm, features, 1 + n % 2)?;
            for vcpu in &test.vcpus {
                let random = (n > 1).then_some(&mut self.random);
                set_up(vcpu, kind, random)?;
            }
            if n % 4 == 3 && features.pstate.is_none() && features.can_run() {
                test.vm.add_code(CODE, GUEST)?;
                run_guest(&test.vcpus[0])?;
            }
            let order = [Order::List, Order::Backwards, Order::Random][n as usize % 3];
            let which = Which::All;
            fill(&test.vcpus, which, order, features.pstate, &mut self.random)?;
            if n % 4 == 1 && features.can_run() {
                test.vcpus.iter().try_for_each(Vcpu::load)?;
            }
            self.round_trip(kind, &test)?;
        }
        Ok(())
    }
}

/// Runs [`GUEST`] up to its end.
fn run_guest(vcpu: &Vcpu) -> Result {
    vcpu.set(RegId::PC, &Value::from_u64(CODE, 8))?;
    vcpu.set(RegId::x(1), &Value::from_u64(NOWHERE, 8))?;
    // Its timer can interrupt it before it is there.
    for _ in 0..100 {
        match vcpu.run() {
            // The store is complete only when the vCPU is entered again.
            Ok(uapi::KVM_EXIT_MMIO) => return vcpu.load(),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Errno::EINTR)
}
