// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! What can go wrong, each with its reason.

use crate::register_name;
use std::{fmt, io};

/// The result of what this crate does.
pub type Result<T = ()> = std::result::Result<T, Error>;

/// Why something was not done.
///
/// # Examples
///
/// ```
/// use arm64_vl::{Error, Machine};
///
/// let error = Machine::from_json("{}").unwrap_err();
/// assert!(matches!(error, Error::Format { .. }));
/// assert!(error.to_string().starts_with("not a description of a host"));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A number that is no vector length.
    Length(u32),
    /// A configuration that no vCPU has.
    Config(&'static str),
    /// Text that is not what it should be.
    Format {
        /// What it should be.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Of another version than this crate can read.
    Version {
        /// What it is.
        what: &'static str,
        /// The version that it has.
        found: u64,
        /// The version that is understood.
        known: u64,
    },
    /// There is nothing of the kind on this machine.
    Missing(String),
    /// The kernel refuses a call.
    Kernel {
        /// What was called, and for what.
        call: String,
        /// What it gave.
        error: io::Error,
    },
    /// `KVM_ARM_VCPU_INIT` has not been called yet (`ENOEXEC`).
    NotInitialized,
    /// `KVM_ARM_VCPU_FINALIZE` has not been called yet, which a vCPU with SVE or SME takes (`EPERM`).
    NotFinalized,
    /// A descriptor of something else, such as `/dev/kvm` or a VM, or a closed one.
    NotAVcpu(io::Error),
    /// The vCPU that a state is to be restored into is not like the one that was saved. Nothing has
    /// been written.
    Configuration {
        /// What was saved.
        saved: String,
        /// What is there.
        found: String,
    },
    /// A restore that is not whole. All that could be written is: a caller that knows each of these
    /// registers, and that what the vCPU has in it is right, can run it all the same. Another one must not.
    Partial {
        /// Registers that were not written, and why.
        failed: Vec<FailedWrite>,
        /// The ids of registers that the vCPU has and that were not saved, in the order of its list.
        not_given: Vec<u64>,
        /// How many were saved in all.
        total: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(length) => write!(
                f,
                "{length} bytes is no vector length: a multiple of 16 up to 8192 is"
            ),
            Self::Config(what) => write!(f, "no vCPU is like this: {what}"),
            Self::Format { what, reason } => write!(f, "not {what}: {reason}"),
            Self::Version { what, found, known } => write!(
                f,
                "{what} of version {found}: this program reads version {known}"
            ),
            Self::Missing(what) => f.write_str(what),
            Self::Kernel { call, error } => write!(f, "{call}: {error}"),
            Self::NotInitialized => {
                f.write_str("the vCPU is not initialized, by KVM_ARM_VCPU_INIT")
            }
            Self::NotFinalized => {
                f.write_str("the vCPU is not finalized, by KVM_ARM_VCPU_FINALIZE")
            }
            Self::NotAVcpu(error) => write!(f, "the descriptor is not that of a vCPU: {error}"),
            Self::Configuration { saved, found } => {
                write!(f, "the saved vCPU {saved}, the one to restore into {found}")
            }
            Self::Partial {
                failed,
                not_given,
                total,
            } => f.write_str(&partial(failed, not_given, *total)),
        }
    }
}

impl std::error::Error for Error {}

/// A register that a vCPU has not taken.
///
/// # Examples
///
/// ```
/// use arm64_vl::FailedWrite;
///
/// /// Whether this host has not the feature of a register at all.
/// fn is_missing(failed: &FailedWrite) -> bool {
///     failed.error.raw_os_error() == Some(2) // ENOENT
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct FailedWrite {
    /// The id of the register; [`register_name()`] tells its name.
    pub id: u64,
    /// What its write gave.
    pub error: io::Error,
    /// Of an ID register, the fields in which the saved value differs from what the vCPU has.
    pub fields: Option<String>,
}

impl fmt::Display for FailedWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", named(self.id), self.error)?;
        match &self.fields {
            Some(fields) => write!(f, " ({fields})"),
            None => Ok(()),
        }
    }
}

/// A register by name and id.
pub(crate) fn named(id: u64) -> String {
    let (name, id) = (register_name(id), format!("{id:#018x}"));
    if name == id {
        return id;
    }
    format!("{name} ({id})")
}

fn partial(failed: &[FailedWrite], not_given: &[u64], total: usize) -> String {
    let mut parts = Vec::new();
    if let Some(first) = failed.first() {
        let count = failed.len();
        parts.push(format!(
            "{count} of {total} registers could not be restored, the first is {first}"
        ));
    }
    if let Some(first) = not_given.first() {
        let count = not_given.len();
        parts.push(format!(
            "the vCPU has {count} registers that were not saved, the first is {}",
            named(*first)
        ));
    }
    parts.join("; ")
}

impl Error {
    /// The error of a call, with the words for it.
    #[cfg(any(feature = "kvm", feature = "ptrace", target_arch = "aarch64"))]
    pub(crate) fn kernel(call: impl Into<String>, error: impl Into<io::Error>) -> Self {
        Self::Kernel {
            call: call.into(),
            error: error.into(),
        }
    }
}
