// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! What the files of this crate have in common: JSON that says what it is, and of which version.

use crate::{Error, Result};
use serde::{de::DeserializeOwned, Deserialize};

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
