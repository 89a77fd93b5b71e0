// SPDX-License-Identifier: GPL-2.0-only

//! Which registers are listed, in what order, and that those and no others can be accessed.

use kvmtest::{
    fill::fill_vectors,
    ktap::{Complaints, Outcome},
    kvm::{uapi, Kvm, Vcpu},
    names::name,
    random::Random,
    reg::{RegId, Value},
    state,
    vcpus::{Features, Kind, TestVm, ALL},
    vectors::{is_v, is_vector_class, FPCR, FPMR, FPSR, ID_AA64PFR2_EL1, PFR2_FPMR, ZT0},
};
use std::collections::BTreeSet;

use crate::SEED;

/// What is listed besides the vector registers with SVE: ZCR_EL1.
const WITH_SVE: [RegId; 1] = [RegId::sys(3, 0, 1, 2, 0)];

/// With SME: SVCR, SMCR_EL1, SMIDR_EL1, TPIDR2_EL0.
const WITH_SME: [RegId; 4] = [
    RegId::SVCR,
    RegId::sys(3, 0, 1, 2, 6),
    RegId::sys(3, 1, 0, 0, 6),
    RegId::TPIDR2_EL0,
];

/// With a PMU, besides PMEVCNTRn_EL0, PMEVTYPERn_EL0 and PMCCFILTR_EL0: op1, CRm and op2 of those
/// with op0 = 3 and CRn = 9.
const WITH_PMU: [(u64, u64, u64); 12] = [
    (0, 14, 1),
    (0, 14, 2),
    (0, 14, 6),
    (3, 12, 0),
    (3, 12, 1),
    (3, 12, 2),
    (3, 12, 3),
    (3, 12, 4),
    (3, 12, 5),
    (3, 13, 0),
    (3, 14, 0),
    (3, 14, 3),
];

/// A register, and those that are restored wrongly before it.
pub struct Dependency {
    /// The vCPUs that have it.
    pub of: fn(Features) -> bool,
    first: RegId,
    then: fn(RegId) -> bool,
    pub what: &'static str,
}

/// What the list has to honour.
pub const DEPENDENCIES: [Dependency; 5] = [
    Dependency {
        of: |features| features.sve,
        first: RegId::SVE_VLS,
        then: |id| !id.is_vls(),
        what: "SVE_VLS leads, before SVCR and all vectors",
    },
    Dependency {
        of: |features| features.sme,
        first: RegId::SME_VLS,
        then: |id| !id.is_vls(),
        what: "SME_VLS leads, before SVCR and all vectors",
    },
    Dependency {
        of: |features| features.sme,
        first: RegId::SVCR,
        then: |id| is_vector_class(id) && !id.is_vls() || is_v(id) || [FPSR, FPMR].contains(&id),
        what: "SVCR before what it shows and what it zeroes",
    },
    Dependency {
        of: |_| true,
        first: RegId::ID_AA64PFR1_EL1,
        then: |id| id == RegId::WORKAROUND_2,
        what: "ID_AA64PFR1_EL1.SSBS before SMCCC_ARCH_WORKAROUND_2",
    },
    Dependency {
        of: |_| true,
        first: RegId::CNTVCT_EL0,
        then: |id| id == RegId::CNTPCT_EL0,
        what: "CNTVCT_EL0 before CNTPCT_EL0",
    },
];

/// Where KVM has always put a register: core, SVE, SME, firmware, bitmaps, system registers,
/// CCSIDRs, and within each by number.
fn usual_place(id: RegId) -> (usize, u64, u64) {
    const CLASSES: [u32; 7] = [
        uapi::KVM_REG_ARM_CORE,
        uapi::KVM_REG_ARM64_SVE,
        uapi::KVM_REG_ARM64_SME,
        uapi::KVM_REG_ARM_FW,
        uapi::KVM_REG_ARM_FW_FEAT_BMAP,
        uapi::KVM_REG_ARM64_SYSREG,
        uapi::KVM_REG_ARM_DEMUX,
    ];
    // The API has the numbers of the virtual counter and its comparator swapped.
    const CNTV_CVAL_EL0: RegId = RegId::sys(3, 3, 14, 0, 2);
    let number = if id == CNTV_CVAL_EL0 {
        RegId::CNTVCT_EL0.number()
    } else {
        id.number()
    };
    let class = CLASSES.iter().position(|class| *class == id.class());
    // ZT0 has the number of a row of ZA, and comes after all of them.
    let size = if id == ZT0 { 1 } else { 0 };
    (class.unwrap_or(CLASSES.len()), size, number)
}

/// A core register of 64 bits.
fn core(number: u64) -> RegId {
    RegId::new(RegId::x(0).raw() | number)
}

/// The core registers, V apart: X0 to X30, SP, PC, PSTATE, SP_EL1, ELR_EL1, five SPSRs, FPSR, FPCR.
fn core_registers() -> impl Iterator<Item = RegId> {
    (0..0x52).step_by(2).map(core).chain([FPSR, FPCR])
}

/// The registers that a set of features adds, vectors apart.
fn added(features: Features) -> Vec<RegId> {
    let mut ids = Vec::new();
    if features.sve {
        ids.extend(WITH_SVE);
    }
    if features.sme {
        ids.extend(WITH_SME);
    }
    if features.pmu {
        let named = |(op1, crm, op2)| RegId::sys(3, op1, 9, crm, op2);
        ids.extend(WITH_PMU.map(named));
        // Counters 0 to 30, their types, and after those the filter of the cycle counter.
        let counters = (0..31).map(|n| RegId::sys(3, 3, 14, 8 | n >> 3, n & 7));
        ids.extend(counters.chain((0..32).map(|n| RegId::sys(3, 3, 14, 12 | n >> 3, n & 7))));
    }
    ids
}

/// All that is to be listed: computed, but for the system and firmware registers of a plain vCPU.
fn expected(kvm: &Kvm, kind: &Kind, vcpu: &Vcpu) -> Outcome<BTreeSet<RegId>> {
    let plain = TestVm::new(kvm, ALL[0], 1)?;
    let is_core = |id: &RegId| id.class() == uapi::KVM_REG_ARM_CORE;
    let others = plain.vcpus[0].list()?.into_iter().filter(|id| !is_core(id));

    let mut ids: BTreeSet<_> = others.chain(core_registers()).collect();
    ids.extend(kind.mode(vcpu)?.registers());
    ids.extend(added(kind.features));
    Ok(ids)
}

pub fn content(kvm: &Kvm, kind: &Kind) -> Outcome {
    let test = kind.test_vm(kvm, 1)?;
    let vcpu = &test.vcpus[0];
    let list = vcpu.list()?;
    let expected = expected(kvm, kind, vcpu)?;
    let mut complaints = Complaints::default();

    let mut seen = BTreeSet::new();
    for id in &list {
        complaints.check(seen.insert(*id), || format!("{} is there twice", name(*id)));
    }
    for id in expected.difference(&seen) {
        complaints.check(false, || format!("{} is not there", name(*id)));
    }
    for id in seen.difference(&expected) {
        complaints.check(false, || format!("{} is there", name(*id)));
    }
    complaints.check(list.len() == expected.len(), || {
        format!("{} registers, {} expected", list.len(), expected.len())
    });
    let fpmr = vcpu.get(ID_AA64PFR2_EL1)?.low() & PFR2_FPMR != 0;
    complaints.check(list.contains(&FPMR) == fpmr, || {
        format!("ID_AA64PFR2_EL1.FPMR is {fpmr}, FPMR is not")
    });
    complaints.outcome()
}

pub fn usual_order(kvm: &Kvm, kind: &Kind) -> Outcome {
    let list = kind.test_vm(kvm, 1)?.vcpus[0].list()?;
    let moves = |id: &RegId| DEPENDENCIES.iter().any(|line| line.first == *id);
    let rest: Vec<_> = list.into_iter().filter(|id| !moves(id)).collect();
    let mut complaints = Complaints::default();
    for pair in rest.windows(2) {
        complaints.check(usual_place(pair[0]) < usual_place(pair[1]), || {
            format!("{} comes before {}", name(pair[0]), name(pair[1]))
        });
    }
    complaints.outcome()
}

/// One line of the table, on all vCPUs of a set of features.
pub fn dependency(kvm: &Kvm, features: Features, line: &Dependency) -> Outcome {
    let mut complaints = Complaints::default();
    let mut found = 0;
    for kind in Kind::all_with(features) {
        let list = kind.test_vm(kvm, 1)?.vcpus[0].list()?;
        let Some(place) = list.iter().position(|id| *id == line.first) else {
            continue;
        };
        let early = list[..place].iter().filter(|id| (line.then)(**id));
        for id in early {
            complaints.check(false, || {
                format!("{kind}: {} before {}", name(*id), name(line.first))
            });
        }
        found += list.iter().filter(|id| (line.then)(**id)).count();
    }
    complaints.check(found > 0, || "nothing depends on it".into());
    complaints.outcome()
}

/// Listed: can be read, and takes what was read.
pub fn listed_is_accessible(kvm: &Kvm, kind: &Kind) -> Outcome {
    let test = kind.test_vm(kvm, 1)?;
    let vcpu = &test.vcpus[0];
    let mut complaints = Complaints::default();
    for id in vcpu.list()? {
        let value = match vcpu.get(id) {
            Ok(value) => value,
            Err(error) => {
                complaints.check(false, || format!("reading {} gives {error}", name(id)));
                continue;
            }
        };
        let written = vcpu.set(id, &value);
        complaints.check(written.is_ok(), || {
            format!("writing {} back gives {written:?}", name(id))
        });
    }
    // As much as fits is kept, from the first byte to the last.
    let mode = kind.mode(vcpu)?;
    let state = fill_vectors(vcpu, mode, &mut Random(SEED))?;
    state::check(&mut complaints, vcpu, &state, "");
    complaints.outcome()
}

/// All ids there could be, but for the vectors: classes, the sizes to try, and numbers.
const ALL_IDS: [(u32, &[u64], std::ops::Range<u64>); 5] = [
    (uapi::KVM_REG_ARM_CORE, &[2, 3, 4], 0..0x110),
    (uapi::KVM_REG_ARM_DEMUX, &[2], 0..0x100),
    (uapi::KVM_REG_ARM_FW, &[3], 0..0x20),
    (uapi::KVM_REG_ARM_FW_FEAT_BMAP, &[3], 0..0x20),
    // System registers with an op0 of 2 or 3.
    (uapi::KVM_REG_ARM64_SYSREG, &[3], 0x8000..0x1_0000),
];

/// What can be read, of all ids there could be, is listed, and nothing else.
pub fn readable_is_listed(kvm: &Kvm, kind: &Kind) -> Outcome {
    let test = kind.test_vm(kvm, 1)?;
    let vcpu = &test.vcpus[0];
    let list: BTreeSet<_> = vcpu.list()?.into_iter().collect();
    let mut complaints = Complaints::default();
    let mut found = list.iter().filter(|id| is_vector_class(**id)).count();
    for (class, sizes, numbers) in ALL_IDS {
        for (size, number) in sizes
            .iter()
            .flat_map(|size| numbers.clone().map(move |n| (size, n)))
        {
            let id = RegId::new(uapi::KVM_REG_ARM64 | size << 52 | u64::from(class) | number);
            let (read, listed) = (vcpu.get(id).is_ok(), list.contains(&id));
            found += usize::from(read);
            complaints.check(read == listed, || {
                format!("{}: can be read {read}, is listed {listed}", name(id))
            });
        }
    }
    complaints.check(found == list.len(), || {
        format!("{} registers listed, {found} found", list.len())
    });
    complaints.outcome()
}

/// Not listed: the error that is documented.
pub fn unlisted_is_refused(kvm: &Kvm, kind: &Kind) -> Outcome {
    let test = kind.test_vm(kvm, 1)?;
    let vcpu = &test.vcpus[0];
    let list: BTreeSet<_> = vcpu.list()?.into_iter().collect();
    let mut complaints = Complaints::default();

    for (id, error, why) in kind.mode(vcpu)?.absent() {
        complaints.check(!list.contains(&id), || {
            format!("{} is listed: {why}", name(id))
        });
        let read = vcpu.get(id).map(drop);
        let written = vcpu.set(id, &Value::zero(id.bytes()));
        complaints.check((read, written) == (Err(error), Err(error)), || {
            let id = format!("{} {:#x}", name(id), id.raw());
            format!("{id}: read {read:?}, write {written:?}, not {error}: {why}")
        });
    }
    complaints.outcome()
}
