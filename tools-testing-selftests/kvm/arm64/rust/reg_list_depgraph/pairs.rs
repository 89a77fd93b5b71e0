// SPDX-License-Identifier: GPL-2.0-only

//! All pairs: what a write of each register does to each other one.

use crate::{
    base::{base, prefixes, restore_all, variations},
    graph::{Cause, Effect},
    Experiment,
};
use kvmtest::{
    kvm::{Result, Vcpu},
    names::{family, name},
    reg::{RegId, Value},
    state::{lost, same, State},
    vcpus::{Kind, TestVm},
};
use std::collections::{BTreeMap, BTreeSet};

/// The values that are tried on a register.
pub type Candidates = BTreeMap<RegId, Vec<Value>>;

/// What became of each write of a probe: what reads back, or the error.
pub type Outcomes = Vec<(RegId, Value, Result<Value>)>;

/// What one write has done to others, each with an example.
type Found = BTreeMap<RegId, (BTreeSet<Effect>, String)>;

/// Where all writes of one kind of vCPU begin.
pub struct Start {
    pub base: State,
    pub candidates: Candidates,
    /// What a probe gives without another write before it.
    control: Outcomes,
}

impl Experiment {
    /// A vCPU in a given state: the spare one if it can be brought there, else a new one, which
    /// takes much longer.
    pub fn fresh(&mut self, kind: &Kind, state: &[(RegId, Value)]) -> Result<TestVm> {
        if let Some(test) = self.spare.take() {
            let vcpu = &test.vcpus[0];
            vcpu.init(&test.vm, &kind.features.bits())?;
            restore_all(vcpu, state);
            if lost(vcpu, state).is_empty() {
                return Ok(test);
            }
        }
        let test = TestVm::new(&self.kvm, kind.features, 1)?;
        restore_all(&test.vcpus[0], state);
        Ok(test)
    }

    /// The values to try on each register: some that it takes and some that it refuses.
    fn candidates(&mut self, vcpu: &Vcpu, base: &State, few: bool) -> Candidates {
        let mut all = Candidates::new();
        let (limit, plain_limit) = if few { (3, 1) } else { (8, 4) };

        for (id, now) in base {
            if id.is_vls() {
                all.insert(*id, prefixes(now));
                continue;
            }
            let len = id.bytes();
            let mut ones = Value::zero(len);
            ones.bytes_mut().fill(0xff);
            let plain = [
                self.random.value(len),
                ones,
                Value::zero(len),
                self.random.value(len),
            ];
            let takes = |value: &Value| vcpu.set(*id, value).is_ok();

            let values = if plain.iter().all(takes) {
                plain[..plain_limit].to_vec()
            } else {
                let (mut good, mut bad): (Vec<_>, Vec<_>) =
                    variations(now).into_iter().partition(takes);
                // What they have in common: each field at its least at once.
                let mut least = *now;
                for value in &good {
                    for (byte, other) in least.bytes_mut().iter_mut().zip(value.bytes()) {
                        *byte &= other;
                    }
                }
                self.random.keep(&mut good, limit);
                self.random.keep(&mut bad, limit);
                if takes(&least) && !good.contains(&least) {
                    good.push(least);
                }
                good.append(&mut bad);
                good
            };
            all.insert(*id, values);
            let _ = vcpu.set(*id, now);
        }
        all
    }

    /// All pairs on one kind of vCPU.
    pub fn pairs(&mut self, kind: &Kind) -> Result {
        let base = base(&self.kvm, kind, self.order, &mut self.random)?;
        self.graph.registers.extend(base.iter().map(|&(id, _)| id));

        self.spare = None;
        let test = self.fresh(kind, &base)?;
        let few = self.quick || kind.features.el2();
        let candidates = self.candidates(&test.vcpus[0], &base, few);
        let test = self.fresh(kind, &base)?;
        let control = probe(&test.vcpus[0], &base, &candidates, None);
        let start = Start {
            base,
            candidates,
            control,
        };

        // Of 32 registers like Z0..Z31 two tell enough when there is little time.
        let mut of_family = BTreeMap::new();
        for (first, _) in &start.base {
            let count: &mut u32 = of_family.entry(family(*first)).or_default();
            *count += 1;
            if few && *count > 2 {
                continue;
            }
            for value in &start.candidates[first] {
                self.one_write(kind, &start, *first, *value)?;
            }
        }
        self.beside(kind, &start)
    }

    /// What one write does to all others.
    fn one_write(&mut self, kind: &Kind, start: &Start, first: RegId, value: Value) -> Result {
        let Start {
            base,
            candidates,
            control,
        } = start;
        let mut state = base.clone();
        if first.is_vls() {
            // It has to be there from the beginning.
            let changed = state.iter_mut().filter(|(id, _)| *id == first);
            changed.for_each(|(_, v)| *v = value);
        }
        let test = self.fresh(kind, &state)?;
        let vcpu = &test.vcpus[0];
        if !first.is_vls() && vcpu.set(first, &value).is_err() {
            self.spare = Some(test);
            return Ok(());
        }

        let mut found = Found::new();
        let mut note = |id, effect, what: &dyn Fn() -> String| {
            let (effects, example) = found.entry(id).or_default();
            effects.insert(effect);
            if example.is_empty() {
                *example = what();
            }
        };
        let after = self.order.save(vcpu)?;
        let before: BTreeMap<_, _> = base.iter().copied().collect();
        let now: BTreeMap<_, _> = after.iter().copied().collect();
        for (&id, was) in &before {
            match now.get(&id) {
                None => note(id, Effect::Presence, &|| "is gone".into()),
                Some(is) if !same(id, was, is) => {
                    note(id, Effect::Value, &|| format!("was {was}, is {is}"));
                }
                _ => {}
            }
        }
        for &id in now.keys().filter(|id| !before.contains_key(id)) {
            note(id, Effect::Presence, &|| "is there".into());
        }

        let outcomes = probe(vcpu, base, candidates, Some(first));
        for ((id, wrote, is), (_, _, was)) in outcomes.iter().zip(control) {
            let effect = match (was, is) {
                (Ok(a), Ok(b)) if a.bytes().len() > 16 && a.extent() != b.extent() => Effect::Size,
                (Ok(a), Ok(b)) if !same(*id, a, b) => Effect::Value,
                (Err(a), Err(b)) if a != b => Effect::Error,
                (Ok(_), Err(_)) | (Err(_), Ok(_)) => Effect::Error,
                _ => continue,
            };
            note(*id, effect, &|| {
                format!("a write of {wrote} gave {}, now {}", show(was), show(is))
            });
        }
        found.remove(&first);

        let is_against = |then| {
            // A register that came or went has its place in one of the lists alone.
            let list = if now.contains_key(&then) {
                &after
            } else {
                base
            };
            let place = |id| list.iter().position(|&(other, _)| other == id);
            place(first) > place(then)
        };
        // The vCPU has what `first` now has, and all else written after it. Is this state restored?
        if found.keys().any(|&then| is_against(then)) {
            self.round_trip(kind, &test)?;
        } else {
            self.spare = Some(test);
        }
        for (then, (effects, what)) in found {
            let edge = self.graph.edge(Cause::Write(first), then, kind);
            edge.effects.extend(effects);
            if edge.example.is_empty() {
                edge.example = format!("{} = {value}: {} {what}", name(first), name(then));
            }
            if is_against(then) {
                edge.against_order.insert(kind.name());
            }
        }
        Ok(())
    }
}

/// Writes every register but one, in the order of the base: the candidates, then its base value.
fn probe(vcpu: &Vcpu, base: &State, candidates: &Candidates, but: Option<RegId>) -> Outcomes {
    let mut outcomes = Vec::new();

    for (id, value) in base {
        if id.is_vls() {
            continue;
        }
        for value in candidates[id].iter().chain([value]) {
            // A placeholder keeps the outcomes of all probes alike.
            let outcome = if but == Some(*id) {
                Ok(*value)
            } else {
                vcpu.set(*id, value).and_then(|()| vcpu.get(*id))
            };
            outcomes.push((*id, *value, outcome));
        }
    }
    outcomes
}

pub fn show(outcome: &Result<Value>) -> String {
    match outcome {
        Ok(value) => value.to_string(),
        Err(error) => error.to_string(),
    }
}
