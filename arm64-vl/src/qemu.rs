// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! A configuration in the words of QEMU and libvirt.
//!
//! Source: `docs/system/arm/cpu-features.rst` of QEMU ("SVE CPU Properties", "SME CPU Properties"), and "CPU model
//! and topology" of libvirt's domain format. The model `host` has the properties of SVE alone
//! (`aarch64_host_initfn()`, target/arm/cpu64.c).

use crate::{Config, Error, Result};

const HOST: &str = "host";

impl Config {
    /// What QEMU calls each property, and whether it is on: all lengths that there can be, so that none is left to
    /// a default. SVE and SME with no length are off themselves.
    fn properties(&self, model: &str) -> Result<Vec<(String, bool)>> {
        let mut all = Vec::new();
        let is_host = model.split(',').next() == Some(HOST);
        if is_host && !self.sme.is_empty() {
            let none = "QEMU's CPU model \"host\" has no SME: it knows no length of it";
            return Err(Error::Missing(none.into()));
        }
        let powers = (0..5).map(|n| 16 << n);
        let kinds = [
            (
                "sve",
                self.sve,
                (16..=256).step_by(16).collect::<Vec<u32>>(),
            ),
            ("sme", self.sme, powers.collect()),
        ];
        let known = kinds
            .into_iter()
            .filter(|(name, ..)| !is_host || *name == "sve");
        for (name, lengths, possible) in known {
            all.push((name.to_string(), !lengths.is_empty()));
            if !lengths.is_empty() {
                // In bits.
                let one = |length: u32| (format!("{name}{}", length * 8), lengths.contains(length));
                all.extend(possible.into_iter().map(one));
            }
        }
        if !self.sme.is_empty() {
            all.push(("sme_fa64".into(), self.fa64));
        }
        Ok(all)
    }

    /// The value of QEMU's option `-cpu`, on a model such as `host` or `max`. QEMU has no property for SME2, which
    /// is the model's.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] for SME on the model `host`, which has no property of it.
    ///
    /// # Examples
    ///
    /// ```
    /// use arm64_vl::{Config, Lengths};
    ///
    /// let config = Config { sme: Lengths::new([16, 32])?, ..Config::default() };
    /// assert_eq!(
    ///     config.qemu_cpu("max")?,
    ///     "max,sve=off,sme=on,sme128=on,sme256=on,sme512=off,sme1024=off,sme2048=off,sme_fa64=off"
    /// );
    /// assert!(config.qemu_cpu("host").is_err());
    /// # Ok::<(), arm64_vl::Error>(())
    /// ```
    pub fn qemu_cpu(&self, model: &str) -> Result<String> {
        let properties = self.properties(model)?;
        let words = properties.iter().map(|(name, on)| {
            let on = if *on { "on" } else { "off" };
            format!(",{name}={on}")
        });
        Ok(model.to_string() + &words.collect::<String>())
    }

    /// The element `<cpu>` of a libvirt domain, with the CPU of the host, which is QEMU's model `host`.
    ///
    /// # Errors
    ///
    /// As [`Config::qemu_cpu()`].
    ///
    /// # Examples
    ///
    /// ```
    /// let xml = arm64_vl::Config::default().libvirt_cpu()?;
    /// assert!(xml.contains("<feature policy='disable' name='sve'/>"));
    /// # Ok::<(), arm64_vl::Error>(())
    /// ```
    pub fn libvirt_cpu(&self) -> Result<String> {
        let mut xml = String::from("<cpu mode='host-passthrough'>\n");
        for (name, on) in self.properties(HOST)? {
            let policy = if on { "require" } else { "disable" };
            xml += &format!("  <feature policy='{policy}' name='{name}'/>\n");
        }
        Ok(xml + "</cpu>\n")
    }
}
