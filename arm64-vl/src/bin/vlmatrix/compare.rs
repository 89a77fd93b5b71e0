// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! What "diff" can read.

use arm64_vl::{diff_lists, diff_offers, diff_vcpus, Error, Machine, SavedVcpu, Section};
use serde::Deserialize;

/// One side of a comparison.
pub enum Side {
    Vcpu(SavedVcpu),
    Machine(Box<Machine>),
    List(Vec<u64>),
}

/// What each file of this crate says first.
#[derive(Deserialize)]
struct Header {
    format: String,
}

impl Side {
    /// By what the file says of itself. One that is no JSON is a list: ids, and words behind # that are not read.
    pub fn read(text: &str) -> Result<Self, String> {
        let words = |error: Error| error.to_string();
        if !text.trim_start().starts_with('{') {
            return list(text).map(Self::List);
        }
        let header: Header = serde_json::from_str(text).map_err(|error| error.to_string())?;
        match header.format.as_str() {
            "arm64-vl vcpu" => SavedVcpu::from_json(text).map(Self::Vcpu).map_err(words),
            _ => Machine::from_json(text)
                .map(|machine| Self::Machine(Box::new(machine)))
                .map_err(words),
        }
    }

    pub fn diff(first: &Self, second: &Self) -> Result<Vec<Section>, String> {
        match (first, second) {
            (Self::Vcpu(a), Self::Vcpu(b)) => Ok(diff_vcpus(a, b)),
            (Self::List(a), Self::List(b)) => Ok(diff_lists(a, b)),
            // What one vCPU has, and what is listed elsewhere.
            (Self::Vcpu(a), Self::List(b)) => Ok(diff_lists(&ids(a), b)),
            (Self::List(a), Self::Vcpu(b)) => Ok(diff_lists(a, &ids(b))),
            (Self::Machine(a), Self::Machine(b)) => match (&a.kvm, &b.kvm) {
                (Some(a), Some(b)) => Ok(diff_offers(a, b)),
                _ => Err("a machine without KVM has no registers to compare".into()),
            },
            _ => Err("a machine can be compared with a machine alone".into()),
        }
    }
}

fn ids(vcpu: &SavedVcpu) -> Vec<u64> {
    vcpu.registers().map(|(id, _)| id).collect()
}

fn list(text: &str) -> Result<Vec<u64>, String> {
    let lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or(""));
    let words = lines.flat_map(str::split_whitespace);
    let id = |word: &str| {
        let digits = word.trim_end_matches(',').strip_prefix("0x");
        let id = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
        id.ok_or_else(|| format!("{word:?} is not the id of a register"))
    };
    words.map(id).collect()
}
