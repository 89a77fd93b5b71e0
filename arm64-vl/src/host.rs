// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! What a host gives to a process: `Documentation/arch/arm64/sve.rst` and `sme.rst`.

#[cfg(feature = "json")]
use crate::Config;
#[cfg(any(feature = "json", target_arch = "aarch64"))]
use crate::Error;
use crate::{Lengths, Result};
#[cfg(feature = "json")]
use serde::{Deserialize, Serialize};

/// The vector lengths of one kind that a process can have.
///
/// ```
/// let none = arm64_vl::Vectors::default();
/// assert!(none.lengths.is_empty() && none.default.is_none());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(Serialize, Deserialize))]
#[non_exhaustive]
pub struct Vectors {
    /// The lengths, [`Lengths::NONE`] where there is no such feature.
    pub lengths: Lengths,
    /// The one that a program starts with: `/proc/sys/abi/sve_default_vector_length` and
    /// `sme_default_vector_length`, in bytes.
    pub default: Option<u32>,
}

/// What this host gives to a process.
///
/// ```
/// let host = arm64_vl::Host::read()?;
/// // A program starts with a length that there is.
/// assert!(host.sve.default.is_none_or(|length| host.sve.lengths.contains(length)));
/// # Ok::<(), arm64_vl::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "json", serde(default))]
#[non_exhaustive]
pub struct Host {
    /// SVE.
    pub sve: Vectors,
    /// SME.
    pub sme: Vectors,
    /// SME2, and with it ZT0.
    pub sme2: bool,
    /// All instructions in streaming mode.
    pub fa64: bool,
}

impl Host {
    /// Asks the kernel, in a thread of its own: the caller's vector lengths stay as they are.
    ///
    /// A machine that is not arm64 has nothing of this, and that is the answer.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Kernel`] when there can be no thread, or when the kernel refuses a length of
    /// a feature that it says it has.
    ///
    /// # Examples
    ///
    /// ```
    /// let host = arm64_vl::Host::read()?;
    /// println!("SVE: {}, SME: {}", host.sve.lengths, host.sme.lengths);
    /// assert!(!host.sme2 || !host.sme.lengths.is_empty());
    /// # Ok::<(), arm64_vl::Error>(())
    /// ```
    pub fn read() -> Result<Self> {
        imp::read()
    }

    /// Whether there can be such a host: a file can say anything.
    #[cfg(feature = "json")]
    pub(crate) fn check(&self) -> Result {
        let config = Config {
            sve: self.sve.lengths,
            sme: self.sme.lengths,
            sme2: self.sme2,
            fa64: self.fa64,
        };
        config.check()?;
        let known = |Vectors { lengths, default }: Vectors| {
            default.is_none_or(|length| lengths.contains(length))
        };
        if !known(self.sve) || !known(self.sme) {
            return Err(Error::Config(
                "a program starts with a length that there is not",
            ));
        }
        Ok(())
    }
}

#[cfg(not(target_arch = "aarch64"))]
mod imp {
    use super::{Host, Result};

    pub fn read() -> Result<Host> {
        Ok(Host::default())
    }
}

#[cfg(target_arch = "aarch64")]
mod imp {
    use super::{Error, Host, Lengths, Result, Vectors};
    use std::{fs, io, thread};

    // uapi/asm/hwcap.h
    const HWCAP_SVE: u64 = 1 << 22;
    const HWCAP2_SME: u64 = 1 << 23;
    const HWCAP2_SME_FA64: u64 = 1 << 30;
    const HWCAP2_SME2: u64 = 1 << 37;

    // uapi/linux/prctl.h
    const PR_SVE_SET_VL: i32 = 50;
    const PR_SME_SET_VL: i32 = 63;
    const VL_LEN_MASK: u32 = 0xffff;

    /// The greatest length that the ABI allows: `SVE_VL_MAX` of uapi/asm/sve_context.h.
    const MAX: u32 = 8192;

    pub fn read() -> Result<Host> {
        // SAFETY: The call reads what the process was started with.
        let hwcap = unsafe { libc::getauxval(libc::AT_HWCAP) };
        // SAFETY: As above.
        let hwcap2 = unsafe { libc::getauxval(libc::AT_HWCAP2) };
        let sve = hwcap & HWCAP_SVE != 0;
        let sme = hwcap2 & HWCAP2_SME != 0;
        Ok(Host {
            sve: vectors(sve, PR_SVE_SET_VL, "sve")?,
            sme: vectors(sme, PR_SME_SET_VL, "sme")?,
            sme2: sme && hwcap2 & HWCAP2_SME2 != 0,
            // A kernel that hides SVE (arm64.nosve) says it all the same; it needs SVE2.
            fa64: sve && sme && hwcap2 & HWCAP2_SME_FA64 != 0,
        })
    }

    fn vectors(there: bool, option: i32, name: &str) -> Result<Vectors> {
        if !there {
            return Ok(Vectors::default());
        }
        let lengths = thread::Builder::new()
            .spawn(move || lengths(option))
            .map_err(|error| Error::kernel("starting a thread", error))?
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread that asks has ended")))
            .map_err(|error| Error::kernel(format!("prctl() for the lengths of {name}"), error))?;
        let default = fs::read_to_string(format!("/proc/sys/abi/{name}_default_vector_length"));
        Ok(Vectors {
            lengths: Lengths::new(lengths)?,
            default: default.ok().and_then(|text| text.trim().parse().ok()),
        })
    }

    /// The kernel takes the greatest length up to the one that is asked for, or the least one.
    fn lengths(option: i32) -> io::Result<Vec<u32>> {
        let mut found = Vec::new();
        let mut wanted = MAX;
        while wanted > 0 {
            // SAFETY: The calling thread is this function's own, and compiled code keeps nothing in
            // vector registers across a call.
            let got = unsafe { libc::prctl(option, libc::c_ulong::from(wanted), 0, 0, 0) };
            if got < 0 {
                return Err(io::Error::last_os_error());
            }
            let got = got as u32 & VL_LEN_MASK;
            if got > wanted {
                break;
            }
            found.push(got);
            wanted = got - 16;
        }
        Ok(found)
    }
}
