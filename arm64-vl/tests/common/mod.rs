// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! vCPUs for tests.

use arm64_vl::{Config, RegisterAccess, Svcr, VcpuRef};
use kvm_bindings::{kvm_vcpu_init, KVM_ARM_VCPU_SVE};
use kvm_ioctls::{Kvm, VcpuFd, VmFd};

const SVE_VLS: u64 = 0x6060_0000_0015_ffff;
const SME_VLS: u64 = 0x6060_0000_0017_fffe;
/// ID_AA64SMFR0_EL1, whose bit 63 is FA64.
const SMFR0: u64 = 0x6030_0000_0013_c025;
const SVCR: u64 = 0x6030_0000_0013_da12;

/// A vCPU, and the VM that goes with it.
pub struct Vcpu {
    vcpu: VcpuFd,
    _vm: VmFd,
    /// What KVM_ARM_VCPU_INIT was given.
    pub features: [u32; 7],
}

impl Vcpu {
    /// With the features of a configuration, whose lengths are not written.
    pub fn new(config: &Config) -> Self {
        Self::with_features(config, 0).unwrap()
    }

    /// With more features, if KVM has them.
    pub fn with_features(config: &Config, more: u32) -> Option<Self> {
        // The least address size: with that of LPA2 a VM takes seconds.
        let vm = Kvm::new().unwrap().create_vm_with_type(32).unwrap();
        let vcpu = vm.create_vcpu(0).unwrap();
        let mut init = kvm_vcpu_init::default();
        vm.get_preferred_target(&mut init).unwrap();
        if !config.sve.is_empty() {
            init.features[0] |= 1 << KVM_ARM_VCPU_SVE;
        }
        if !config.sme.is_empty() {
            init.features[0] |= 1 << 10;
        }
        init.features[0] |= more;
        vcpu.vcpu_init(&init).ok()?;
        let features = init.features;
        Some(Self {
            vcpu,
            _vm: vm,
            features,
        })
    }

    /// With these features of KVM_ARM_VCPU_INIT, not finalized.
    pub fn of_features(features: [u32; 7]) -> Self {
        Self::with_features(&Config::default(), features[0]).unwrap()
    }

    /// Whether it has to be finalized.
    pub fn has_vectors(&self) -> bool {
        self.features[0] & (1 << KVM_ARM_VCPU_SVE | 1 << 10) != 0
    }

    /// With the lengths of a configuration, finalized.
    pub fn finalized(config: &Config) -> Self {
        let vcpu = Self::new(config);
        for (id, lengths) in [(SVE_VLS, config.sve), (SME_VLS, config.sme)] {
            if !lengths.is_empty() {
                let value: Vec<_> = lengths
                    .register()
                    .iter()
                    .flat_map(|word| word.to_le_bytes())
                    .collect();
                vcpu.access().set(id, &value).unwrap();
            }
        }
        if !config.sme.is_empty() && !config.fa64 {
            let mut value = [0; 8];
            vcpu.access().get(SMFR0, &mut value).unwrap();
            let hidden = u64::from_le_bytes(value) & !(1 << 63);
            vcpu.access().set(SMFR0, &hidden.to_le_bytes()).unwrap();
        }
        if !config.sve.is_empty() || !config.sme.is_empty() {
            vcpu.access().finalize().unwrap();
        }
        vcpu
    }

    /// Its registers.
    pub fn access(&self) -> VcpuRef<'_> {
        VcpuRef::new(&self.vcpu)
    }
}

/// Brings a vCPU with SME into a mode.
pub fn set_svcr(vcpu: &impl RegisterAccess, config: &Config, svcr: Svcr) {
    if !config.sme.is_empty() {
        vcpu.set(SVCR, &svcr.bits().to_le_bytes()).unwrap();
    }
}
