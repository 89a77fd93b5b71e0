// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! A saved vCPU as a file: versioned JSON, checked when it is loaded, or a part of another format.

use super::{Saved, SavedVcpu, WHAT};
use crate::{
    file::{Hex, Kind},
    Error, Result,
};
use serde::{de, Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

const KIND: Kind = Kind::first(WHAT, "arm64-vl vcpu");

/// What a file holds.
#[derive(Serialize, Deserialize)]
pub struct File {
    format: String,
    version: u64,
    #[serde(default)]
    features: Option<[u32; 7]>,
    // That there are none is said after the version has been looked at.
    #[serde(default)]
    registers: Option<Vec<Saved>>,
}

impl TryFrom<File> for SavedVcpu {
    type Error = Error;

    fn try_from(file: File) -> Result<Self> {
        KIND.check(&file.format, file.version)?;
        let registers = file
            .registers
            .ok_or_else(|| KIND.wrong("it has no registers"))?;
        Self::ordered(file.features, registers)
    }
}

impl From<SavedVcpu> for File {
    fn from(saved: SavedVcpu) -> Self {
        Self {
            format: KIND.format.into(),
            version: KIND.version,
            features: saved.features,
            registers: Some(saved.registers),
        }
    }
}

pub fn write_id<S: Serializer>(id: &u64, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    Hex(*id).serialize(serializer)
}

pub fn read_id<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<u64, D::Error> {
    Hex::deserialize(deserializer).map(|Hex(id)| id)
}

pub fn write_value<S: Serializer>(
    value: &[u8],
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    if !serializer.is_human_readable() {
        return serializer.serialize_bytes(value);
    }
    let digits: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
    serializer.serialize_str(&digits)
}

pub fn read_value<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Vec<u8>, D::Error> {
    if !deserializer.is_human_readable() {
        return deserializer.deserialize_byte_buf(Bytes);
    }
    let text = String::deserialize(deserializer)?;
    let digit = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
    text.as_bytes()
        .chunks(2)
        .map(|pair| match *pair {
            [high, low] => Some(digit(high)? << 4 | digit(low)?),
            _ => None,
        })
        .collect::<Option<_>>()
        .ok_or_else(|| de::Error::custom("a value is not pairs of hexadecimal digits"))
}

/// What a binary format gives as bytes.
struct Bytes;

impl de::Visitor<'_> for Bytes {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the value of a register")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> std::result::Result<Vec<u8>, E> {
        Ok(bytes.into())
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> std::result::Result<Vec<u8>, E> {
        Ok(bytes)
    }
}

impl SavedVcpu {
    /// Reads what [`SavedVcpu::to_json()`] has written.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] for text that is something else: broken JSON, a register of another
    /// architecture, one that is there twice, a value that is not as long as its register;
    /// [`Error::Version`] for another version.
    pub fn from_json(text: &str) -> Result<Self> {
        KIND.read::<File>(text)?.try_into()
    }

    /// The state as JSON.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] if it cannot be written, which takes a want of memory.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|error| KIND.wrong(error))
    }
}
