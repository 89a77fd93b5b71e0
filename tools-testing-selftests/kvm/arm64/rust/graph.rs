// SPDX-License-Identifier: GPL-2.0-only

//! What the dependency experiment has found: the graph, what it means, and its report.

use crate::{
    kvm::RegId,
    names::{family, name},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// Edges against the order of the list that lose nothing when a saved vCPU is restored, by the
/// families of both registers, where `*` stands for any ending.
#[rustfmt::skip]
const HARMLESS: &[(&str, &str, &str)] = &[
    ("PSTATE", "Xn", "a 32-bit mode narrows them, and a saved one is narrow"),
    ("PSTATE", "PC", "a 32-bit mode narrows it, and a saved one is narrow"),
    ("ID_AA64SMFR0_EL1", "FFR", "no FA64, none in streaming mode, nor in a saved list"),
    ("PMCR_EL0", "PMINTEN*", "N says which bits there are, and a saved one has no others"),
    ("MDCR_EL2", "PMCR_EL0", "N is HPMN outside of EL2, and a write does not change it"),
    ("PMINTENCLR_EL1", "PMINTENSET_EL1", "two names of one register"),
    ("PMCNTENCLR_EL0", "PMCNTENSET_EL0", "two names of one register"),
    ("PMOVSSET_EL0", "PMOVSCLR_EL0", "two names of one register"),
    ("CNTPCT_EL0", "CNTVCT_EL0", "with EL2 both have one offset, which CNTPCT_EL0 sets last"),
    ("CNTVOFF_EL2", "CNTVCT_EL0", "with EL2 it is CNTPCT_EL0 less this, and both are restored"),
];

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
    pub kinds: BTreeSet<&'static str>,
    /// What happened the first time.
    pub example: String,
    /// The kinds of vCPU whose list has the dependent register first.
    pub against_order: BTreeSet<&'static str>,
}

/// All that has been found.
#[derive(Default)]
pub struct Graph {
    /// By the register that decides and the one that depends on it.
    pub edges: BTreeMap<(RegId, RegId), Edge>,
    /// What restores lost, by register and kind of vCPU: how often, and an example.
    pub losses: BTreeMap<(RegId, &'static str), (u32, String)>,
    /// The registers that were there.
    pub registers: BTreeSet<RegId>,
    /// How many vCPUs were restored into a new VM.
    pub round_trips: u32,
    /// The kinds of vCPU that this host does not have.
    pub skipped: Vec<String>,
}

/// How an edge stands.
struct Verdict {
    accepted: bool,
    /// Why, for one that is against the order.
    why: String,
}

impl Graph {
    /// Notes that a restore lost something of a register.
    pub fn add_loss(&mut self, id: RegId, kind: &'static str, loss: impl fmt::Display) {
        let (count, example) = self.losses.entry((id, kind)).or_default();
        *count += 1;
        if *count == 1 {
            *example = loss.to_string();
        }
    }

    fn judge(&self, (first, then): (RegId, RegId), edge: &Edge) -> Verdict {
        let verdict = |accepted, why| Verdict { accepted, why };
        let mut kinds = edge.against_order.iter();
        let lost = kinds.find_map(|kind| self.losses.get(&(then, *kind)));
        let (a, b) = (family(first), family(then));
        let reason = HARMLESS.iter().find(|(x, y, _)| *x == a && is_meant(y, &b));

        match (lost, reason) {
            _ if edge.against_order.is_empty() => verdict(true, String::new()),
            (Some((_, example)), _) => verdict(false, format!("a restore loses it: {example}")),
            (None, Some((_, _, reason))) => verdict(true, (*reason).into()),
            (None, None) => verdict(
                false,
                "no restore lost anything, but no reason is known".into(),
            ),
        }
    }

    /// Prints all of it, in sections. Returns whether the order of the list is as it should be.
    pub fn report(&self, seed: u64) -> bool {
        let verdicts: BTreeMap<_, _> = self
            .edges
            .iter()
            .map(|(k, edge)| (*k, self.judge(*k, edge)))
            .collect();
        // Of each two families one edge, the worst: 32 edges to Z0..Z31 are one line.
        let mut lines: BTreeMap<_, (RegId, RegId)> = BTreeMap::new();
        let rank = |key: &(RegId, RegId)| {
            (
                verdicts[key].accepted,
                self.edges[key].against_order.is_empty(),
            )
        };
        for key in self.edges.keys() {
            let line = lines.entry((family(key.0), family(key.1))).or_insert(*key);
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
        println!("\nagainst the order of the list:");
        for key in lines
            .values()
            .filter(|key| !self.edges[key].against_order.is_empty())
        {
            let Verdict { accepted, why } = &verdicts[key];
            let mark = if *accepted { "accepted" } else { "VIOLATED" };
            println!("{mark}: {} -> {}: {why}", name(key.0), name(key.1));
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
                json(name(key.0)),
                json(name(key.1)),
                json_list(&edge.effects),
                json_list(&edge.kinds),
                json(&edge.example),
                !edge.against_order.is_empty(),
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

/// Whether a name is meant by a pattern, in which `*` stands for any ending.
pub fn is_meant(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
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
