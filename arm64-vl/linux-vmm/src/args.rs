// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! The command line.

use crate::Result;
use std::{collections::HashMap, str::FromStr};

const USAGE: &str = "usage: linux-vmm start KERNEL [OPTION VALUE]...
       linux-vmm resume FILE [OPTION VALUE]...
start: --initrd FILE, --append WORDS (of the kernel command line), --cpus N (1), --memory MIB (256), --pauth true
  --sve BYTES, --sme BYTES: the greatest vector length, 0 for none; without it all that there is
resume: all of these, and so can start: --every MS: stops the guest, saves it, and goes on with it in a fresh VM
  --file FILE --times N: behind N such stops, or at one when there is FILE.now, it is saved to the file; exit
    status 10, resume goes on with it
  --order ORDER: in which registers are restored: safe, on every kernel; listed; svcr-last, as a VMM that sorts can
  --go-on true: runs a guest that is not what it was";

/// What to do: start or resume, with what, and how.
pub struct Args {
    pub resume: bool,
    pub operand: String,
    options: HashMap<String, String>,
}

impl Args {
    pub fn parse(words: &[String]) -> Result<Self> {
        let [command, operand, options @ ..] = words else {
            return Err(USAGE.into());
        };
        let its = USAGE
            .find(&format!("\n{command}: "))
            .map_or("", |at| &USAGE[at..]);
        let known = |pair: &[String]| pair.len() == 2 && its.contains(&format!("{} ", pair[0]));
        if its.is_empty() || !options.chunks(2).all(known) {
            return Err(USAGE.into());
        }
        let owned = |pair: &[String]| (pair[0].clone(), pair[1].clone());
        Ok(Self {
            resume: command == "resume",
            operand: operand.clone(),
            options: options.chunks(2).map(owned).collect(),
        })
    }

    pub fn get(&self, name: &str) -> Option<&String> {
        self.options.get(name)
    }

    /// A number, or true or false.
    pub fn value<T: FromStr>(&self, name: &str) -> Result<Option<T>> {
        let parse = |value: &String| value.parse().map_err(|_| format!("{name} {value}?"));
        Ok(self.get(name).map(parse).transpose()?)
    }
}
