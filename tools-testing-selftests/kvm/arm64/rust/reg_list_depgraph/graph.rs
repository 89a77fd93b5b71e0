// SPDX-License-Identifier: GPL-2.0-only

//! What the dependency experiment has found: the graph, what it means, and its report.

use kvmtest::{
    edges,
    names::{family, name},
    reg::RegId,
    vcpus::Kind,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// What the name of a register has behind it if it is another vCPU's.
const BESIDE: &str = "(another-vCPU)";

/// What changes a register.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// A write of another one.
    Write(RegId),
    /// A write of a register of another vCPU of the VM.
    Beside(RegId),
    /// A call that writes none.
    Call(&'static str),
}

impl Cause {
    fn name(self) -> String {
        match self {
            Self::Write(id) => name(id),
            Self::Beside(id) => format!("{}{BESIDE}", name(id)),
            Self::Call(call) => call.into(),
        }
    }

    /// The same for all registers that differ in nothing but a number.
    fn family(self) -> String {
        match self {
            Self::Write(id) => family(id),
            Self::Beside(id) => format!("{}{BESIDE}", family(id)),
            Self::Call(call) => call.into(),
        }
    }
}

/// What depends on what.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Effect {
    /// The dependent register reads differently, or takes another value.
    Value,
    /// It has another size.
    Size,
    /// It comes or goes.
    Presence,
    /// A write of it becomes an error, or good.
    Error,
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Value => "value",
            Self::Size => "size",
            Self::Presence => "presence",
            Self::Error => "error",
        })
    }
}

/// An edge of the graph, and what was seen of it.
#[derive(Default)]
pub struct Edge {
    /// What the first register does to the other one.
    pub effects: BTreeSet<Effect>,
    /// The kinds of vCPU that showed it.
    pub kinds: BTreeSet<String>,
    /// What happened the first time.
    pub example: String,
    /// The kinds of vCPU whose list has the dependent register first.
    pub against_order: BTreeSet<String>,
}

/// All that has been found.
#[derive(Default)]
pub struct Graph {
    /// By what decides and the register that depends on it.
    pub edges: BTreeMap<(Cause, RegId), Edge>,
    /// What restores lost, by register and kind of vCPU: how often, and an example.
    pub losses: BTreeMap<(RegId, String), (u32, String)>,
    /// The registers that were there.
    pub registers: BTreeSet<RegId>,
    /// How many vCPUs were restored into a new VM.
    pub round_trips: u32,
    /// The kinds of vCPU that this host does not have, and calls that a kind does not take.
    pub skipped: Vec<String>,
}

/// How an edge stands.
struct Verdict {
    accepted: bool,
    /// Why, for one that the order does not honour.
    why: String,
}

impl Graph {
    /// An edge that a kind of vCPU shows.
    pub fn edge(&mut self, cause: Cause, then: RegId, kind: &Kind) -> &mut Edge {
        let edge = self.edges.entry((cause, then)).or_default();
        edge.kinds.insert(kind.name());
        edge
    }

    /// Notes that a restore lost something of a register.
    pub fn add_loss(&mut self, id: RegId, kind: String, loss: impl fmt::Display) {
        let (count, example) = self.losses.entry((id, kind)).or_default();
        *count += 1;
        if *count == 1 {
            *example = loss.to_string();
        }
    }

    fn judge(&self, (cause, then): (Cause, RegId), edge: &Edge) -> Verdict {
        let verdict = |accepted, why| Verdict { accepted, why };
        let mut kinds = edge.against_order.iter();
        let lost = kinds.find_map(|kind| self.losses.get(&(then, kind.clone())));
        let reason = match cause {
            Cause::Write(_) if edge.against_order.is_empty() => Some(""),
            Cause::Write(first) => edges::harmless(first, then),
            Cause::Beside(first) => edges::beside(first, then),
            Cause::Call(call) => edges::of_call(call, then),
        };

        match (lost, reason) {
            (Some((_, example)), _) => verdict(false, format!("a restore loses it: {example}")),
            (None, Some(reason)) => verdict(true, reason.into()),
            (None, None) => verdict(false, "no reason is known why this does no harm".into()),
        }
    }

    /// Whether nothing but the order of the list answers for an edge.
    fn is_ordered(&self, key: &(Cause, RegId)) -> bool {
        matches!(key.0, Cause::Write(_)) && self.edges[key].against_order.is_empty()
    }

    /// Prints all of it, in sections. Returns whether the order of the list is as it should be.
    pub fn report(&self, seed: u64) -> bool {
        let verdicts: BTreeMap<_, _> = self
            .edges
            .iter()
            .map(|(k, edge)| (*k, self.judge(*k, edge)))
            .collect();
        // Of each two families one edge, the worst: 32 edges to Z0..Z31 are one line.
        let mut lines: BTreeMap<_, (Cause, RegId)> = BTreeMap::new();
        let rank = |key: &(Cause, RegId)| (verdicts[key].accepted, self.is_ordered(key));
        for key in self.edges.keys() {
            let line = lines.entry((key.0.family(), family(key.1))).or_insert(*key);
            if rank(key) < rank(line) {
                *line = *key;
            }
        }

        println!("==== text");
        self.skipped
            .iter()
            .for_each(|line| println!("skipped: {line}"));
        println!(
            "seed {seed}: {} registers, {} round trips, {} edges:",
            self.registers.len(),
            self.round_trips,
            self.edges.len()
        );
        for ((first, then), key) in &lines {
            println!("  {first} -> {then}: {}", self.edges[key].example);
        }
        println!(
            "\nagainst the order of the list, of another vCPU, or by calls that write no register:"
        );
        for key in lines.values().filter(|key| !self.is_ordered(key)) {
            let Verdict { accepted, why } = &verdicts[key];
            let mark = if *accepted { "accepted" } else { "VIOLATED" };
            println!("{mark}: {} -> {}: {why}", key.0.name(), name(key.1));
        }
        println!("\nlost by a restore in the order of the list:");
        for ((id, kind), (count, example)) in &self.losses {
            println!("LOST: {} of {kind}, {count} times: {example}", name(*id));
        }

        println!("==== json");
        let edges = self.edges.iter().map(|(key, edge)| {
            format!(
                "{{\"first\": {}, \"then\": {}, \"effects\": {}, \"vcpus\": {}, \"example\": {}, \
                 \"against_order\": {}, \"accepted\": {}, \"why\": {}}}",
                json(key.0.name()),
                json(name(key.1)),
                json_list(&edge.effects),
                json_list(&edge.kinds),
                json(&edge.example),
                !self.is_ordered(key),
                verdicts[key].accepted,
                json(&verdicts[key].why)
            )
        });
        let losses = self.losses.iter().map(|((id, kind), (count, example))| {
            format!(
                "{{\"register\": {}, \"vcpu\": {}, \"times\": {count}, \"example\": {}}}",
                json(name(*id)),
                json(kind),
                json(example)
            )
        });
        println!(
            "{{\"seed\": {seed}, \"registers\": {}, \"round_trips\": {}, \"skipped\": {},\n\
             \"edges\": [\n{}\n],\n\"losses\": [\n{}\n]}}",
            self.registers.len(),
            self.round_trips,
            json_list(&self.skipped),
            edges.collect::<Vec<_>>().join(",\n"),
            losses.collect::<Vec<_>>().join(",\n")
        );

        println!("==== dot");
        for ((first, then), key) in &lines {
            let style = match rank(key) {
                (false, _) => ", color=red, fontcolor=red",
                (true, false) => ", style=dashed",
                (true, true) => "",
            };
            let effects: Vec<_> = self.edges[key]
                .effects
                .iter()
                .map(Effect::to_string)
                .collect();
            println!(
                "\"{first}\" -> \"{then}\" [label=\"{}\"{style}];",
                effects.join(", ")
            );
        }
        println!("==== end");
        self.losses.is_empty() && verdicts.values().all(|verdict| verdict.accepted)
    }
}

/// A string as JSON has it. None here has a character in it that needs more.
fn json(text: impl fmt::Display) -> String {
    format!("\"{text}\"")
}

fn json_list<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<_> = items.into_iter().map(json).collect();
    format!("[{}]", items.join(", "))
}
