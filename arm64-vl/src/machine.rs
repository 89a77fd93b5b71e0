// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! The description of a host, as `vlmatrix --json` prints it.

use crate::{Error, Host, Offer, Result};
#[cfg(feature = "json")]
use serde::{Deserialize, Serialize};
#[cfg(feature = "kvm")]
use std::fs;

/// What a host gives to processes and to vCPUs.
///
/// # Examples
///
/// ```
/// use arm64_vl::Machine;
///
/// let machine = Machine::read()?;
/// assert_eq!(Machine::from_json(&machine.to_json()?)?, machine);
/// # Ok::<(), arm64_vl::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "json", serde(try_from = "json::File", into = "json::File"))]
#[non_exhaustive]
pub struct Machine {
    /// Its name among others.
    pub name: String,
    /// What a process has.
    pub host: Host,
    /// What a vCPU has, `None` where there is no KVM.
    pub kvm: Option<Offer>,
    /// What is not there, and why.
    pub missing: Vec<String>,
}

impl<'a> From<&'a Machine> for Option<&'a Offer> {
    fn from(machine: &'a Machine) -> Self {
        machine.kvm.as_ref()
    }
}

impl Machine {
    /// Describes this machine, under its host name.
    ///
    /// # Errors
    ///
    /// Those of [`Host::read()`] and [`Offer::read()`]. That there is no KVM is none, but part of the
    /// description.
    #[cfg(feature = "kvm")]
    pub fn read() -> Result<Self> {
        let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let mut machine = Self::new(name.trim());
        machine.host = Host::read()?;
        match Offer::read() {
            Ok(offer) => machine.kvm = Some(offer),
            Err(Error::Missing(reason)) => machine.missing.push(reason),
            Err(error) => return Err(error),
        }

        let mut lacks = |lacks: bool, what: &str| {
            if lacks {
                machine.missing.push(what.into());
            }
        };
        let Host { sve, sme, .. } = machine.host;
        lacks(sve.lengths.is_empty(), "no SVE for processes");
        lacks(sme.lengths.is_empty(), "no SME for processes");
        if let Some(offer) = &machine.kvm {
            lacks(offer.sve.is_empty(), "no SVE for vCPUs");
            lacks(offer.sme.is_empty(), "no SME for vCPUs");
        }
        Ok(machine)
    }

    /// What its KVM gives; an error with its name where it has none.
    pub(crate) fn offer(&self) -> Result<&Offer> {
        let reason = || Error::Missing(format!("{:?} has no KVM", self.name));
        self.kvm.as_ref().ok_or_else(reason)
    }

    fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            host: Host::default(),
            kvm: None,
            missing: Vec::new(),
        }
    }

    /// Describes a machine by what its KVM gives.
    pub fn with_offer(name: &str, offer: Offer) -> Self {
        Self {
            kvm: Some(offer),
            ..Self::new(name)
        }
    }
}

#[cfg(feature = "json")]
mod json {
    use super::Machine;
    use crate::{
        file::{ascii_json, Kind},
        Error, Host, Offer, Result,
    };
    use serde::{Deserialize, Serialize};

    const KIND: Kind = Kind::first("a description of a host", "arm64-vl host");

    /// What a file holds.
    #[derive(Serialize, Deserialize)]
    pub struct File {
        format: String,
        version: u64,
        #[serde(default)]
        name: String,
        // That there is none is said after the version has been looked at.
        #[serde(default)]
        host: Option<Host>,
        #[serde(default)]
        kvm: Option<Offer>,
        #[serde(default)]
        missing: Vec<String>,
    }

    impl TryFrom<File> for Machine {
        type Error = Error;

        fn try_from(file: File) -> Result<Self> {
            KIND.check(&file.format, file.version)?;
            let host = file.host.ok_or_else(|| KIND.wrong("it has no host"))?;
            let wrong = |error: Error| match error {
                Error::Config(what) => KIND.wrong(what),
                error => error,
            };
            host.check().map_err(wrong)?;
            if let Some(offer) = &file.kvm {
                offer.check().map_err(wrong)?;
            }
            Ok(Self {
                name: file.name,
                host,
                kvm: file.kvm,
                missing: file.missing,
            })
        }
    }

    impl From<Machine> for File {
        fn from(machine: Machine) -> Self {
            Self {
                format: KIND.format.into(),
                version: KIND.version,
                name: machine.name,
                host: Some(machine.host),
                kvm: machine.kvm,
                missing: machine.missing,
            }
        }
    }

    impl Machine {
        /// Reads what [`Machine::to_json()`] has written.
        ///
        /// # Errors
        ///
        /// [`Error::Format`] for text that is something else, or that describes what no machine has;
        /// [`Error::Version`] for another version.
        pub fn from_json(text: &str) -> Result<Self> {
            KIND.read::<File>(text)?.try_into()
        }

        /// The description as JSON.
        ///
        /// # Errors
        ///
        /// [`Error::Format`] if it cannot be written, which takes a want of memory.
        pub fn to_json(&self) -> Result<String> {
            ascii_json(self).map_err(|error| KIND.wrong(error))
        }
    }
}
