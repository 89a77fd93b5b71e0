// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! A configuration in the words of QEMU and libvirt.
//!
//! Source: `docs/system/arm/cpu-features.rst` of QEMU ("SVE CPU Properties", "SME CPU Properties"), and "CPU model
//! and topology" of libvirt's domain format.

use crate::Config;

impl Config {
    /// What QEMU calls each property, and whether it is on: all lengths that there can be, so that none is left to
    /// a default. SVE and SME with no length are off themselves.
    fn properties(&self) -> Vec<(String, bool)> {
        let mut all = Vec::new();
        let powers = (0..5).map(|n| 16 << n);
        let kinds = [
            (
                "sve",
                self.sve,
                (16..=256).step_by(16).collect::<Vec<u32>>(),
            ),
            ("sme", self.sme, powers.collect()),
        ];
        for (name, lengths, possible) in kinds {
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
        all
    }

    /// The value of QEMU's option `-cpu`, on a model such as `host` or `max`. QEMU has no property for SME2, which
    /// is the model's.
    ///
    /// # Examples
    ///
    /// ```
    /// use arm64_vl::{Config, Lengths};
    ///
    /// let config = Config { sme: Lengths::new([16, 32])?, ..Config::default() };
    /// assert_eq!(
    ///     config.qemu_cpu("max"),
    ///     "max,sve=off,sme=on,sme128=on,sme256=on,sme512=off,sme1024=off,sme2048=off,sme_fa64=off"
    /// );
    /// # Ok::<(), arm64_vl::Error>(())
    /// ```
    pub fn qemu_cpu(&self, model: &str) -> String {
        let properties = self.properties();
        let words = properties.iter().map(|(name, on)| {
            let on = if *on { "on" } else { "off" };
            format!(",{name}={on}")
        });
        model.to_string() + &words.collect::<String>()
    }

    /// The element `<cpu>` of a libvirt domain, with the CPU of the host. A libvirt that does not know the features
    /// of SME takes them in `<qemu:commandline>`, as the value of `-cpu`.
    ///
    /// # Examples
    ///
    /// ```
    /// let xml = arm64_vl::Config::default().libvirt_cpu();
    /// assert!(xml.contains("<feature policy='disable' name='sve'/>"));
    /// ```
    pub fn libvirt_cpu(&self) -> String {
        let mut xml = String::from("<cpu mode='host-passthrough'>\n");
        for (name, on) in self.properties() {
            let policy = if on { "require" } else { "disable" };
            xml += &format!("  <feature policy='{policy}' name='{name}'/>\n");
        }
        xml + "</cpu>\n"
    }
}
