// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! What the files of this crate have in common: JSON that says what it is, and of which version.

use crate::{Error, Result};
use serde::{
    de::{self, DeserializeOwned},
    Deserialize, Deserializer, Serialize, Serializer,
};

/// JSON in ASCII: no name does anything to a terminal, or to a program that reads lines. For this crate and its
/// command.
pub fn ascii_json(value: &(impl Serialize + ?Sized)) -> serde_json::Result<String> {
    let text = serde_json::to_string_pretty(value)?;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            // There is no more than that outside of strings, and serde_json spells out the rest of C0.
            '\n' | ' '..='~' => out.push(c),
            c => out.extend(
                c.encode_utf16(&mut [0; 2])
                    .iter()
                    .map(|unit| format!("\\u{unit:04x}")),
            ),
        }
    }
    Ok(out)
}

/// A kind of file.
pub(crate) struct Kind {
    /// What it is, for people.
    pub what: &'static str,
    /// What is in its member `format`.
    pub format: &'static str,
    /// The version that is written and can be read.
    pub version: u64,
}

/// What every file has.
#[derive(Deserialize)]
struct Header {
    format: String,
    version: u64,
}

impl Kind {
    /// One of which there is no other version yet.
    pub const fn first(what: &'static str, format: &'static str) -> Self {
        Self {
            what,
            format,
            version: 1,
        }
    }

    /// Text that is not of this kind.
    pub fn wrong(&self, reason: impl ToString) -> Error {
        Error::Format {
            what: self.what,
            reason: reason.to_string(),
        }
    }

    /// Whether a file says that it is of this kind and version.
    pub fn check(&self, format: &str, version: u64) -> Result {
        if format != self.format {
            return Err(self.wrong(format_args!("its format is {format:?}")));
        }
        if version != self.version {
            return Err(Error::Version {
                what: self.what,
                found: version,
                known: self.version,
            });
        }
        Ok(())
    }

    /// Reads a file. Its header comes first: another version can have other members.
    pub fn read<T: DeserializeOwned>(&self, text: &str) -> Result<T> {
        let header: Header = serde_json::from_str(text).map_err(|error| self.wrong(error))?;
        self.check(&header.format, header.version)?;
        serde_json::from_str(text).map_err(|error| self.wrong(error))
    }
}

/// A number that a file has as hexadecimal digits, and a binary format as it is: an id, or a value of an ID
/// register.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Hex(pub u64);

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return serializer.serialize_u64(self.0);
        }
        serializer.collect_str(&format_args!("{:#018x}", self.0))
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return u64::deserialize(deserializer).map(Self);
        }
        let text = String::deserialize(deserializer)?;
        hex(&text)
            .map(Self)
            .ok_or_else(|| de::Error::custom(format!("{text:?} is not the id of a register")))
    }
}

/// A number of hexadecimal digits behind 0x.
pub(crate) fn hex(text: &str) -> Option<u64> {
    text.strip_prefix("0x")
        .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
}

/// A map of such numbers.
pub(crate) mod hex_map {
    use super::{Deserialize, Deserializer, Hex, Serializer};
    use std::collections::BTreeMap;

    pub fn serialize<S: Serializer>(
        map: &BTreeMap<u64, u64>,
        serializer: S,
    ) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_map(map.iter().map(|(id, value)| (Hex(*id), Hex(*value))))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> std::result::Result<BTreeMap<u64, u64>, D::Error> {
        let map = BTreeMap::<Hex, Hex>::deserialize(deserializer)?;
        Ok(map.iter().map(|(id, value)| (id.0, value.0)).collect())
    }
}
