// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! Save and restore on a vCPU that refuses what it is told to refuse: what a real one rarely does.

#![cfg(all(feature = "kvm", feature = "json"))]

use arm64_vl::{
    differences, finish_exit, prepare_vcpu, prepare_vm, restore, restore_clock, save, Clock, Error,
    Machine, Offer, RegisterAccess, Rest, Restore, SavedVcpu, VcpuRef,
};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    io, slice,
};

const SVE_VLS: u64 = 0x6060_0000_0015_ffff;
const SME_VLS: u64 = 0x6060_0000_0017_fffe;
const SVCR: u64 = 0x6030_0000_0013_da12;
const CNTVCT: u64 = 0x6030_0000_0013_df1a;
const X0: u64 = 0x6030_0000_0010_0000;
const Z0: u64 = 0x6080_0000_0015_0000;
const ZA0: u64 = 0x6080_0000_0017_0000;

/// The order of a kernel that does not care.
const KERNEL_ORDER: [u64; 7] = [X0, SVE_VLS, Z0, SME_VLS, ZA0, CNTVCT, SVCR];

#[derive(Default)]
struct Fake {
    registers: BTreeMap<u64, Vec<u8>>,
    list: Vec<u64>,
    finalized: Cell<bool>,
    refuses: Vec<u64>,
    refuses_finalize: bool,
    features: Option<[u32; 7]>,
    written: RefCell<Vec<(u64, Vec<u8>)>>,
}

fn error<T>(errno: i32) -> io::Result<T> {
    Err(io::Error::from_raw_os_error(errno))
}

fn value(id: u64) -> Vec<u8> {
    vec![id as u8 | 1; 1 << (id >> 52 & 15)]
}

impl Fake {
    fn with(ids: &[u64]) -> Self {
        Self {
            registers: ids.iter().map(|id| (*id, value(*id))).collect(),
            list: ids.to_vec(),
            ..Self::default()
        }
    }

    fn saved() -> SavedVcpu {
        let vcpu = Self::with(&KERNEL_ORDER);
        vcpu.finalized.set(true);
        save(&vcpu).unwrap()
    }

    fn written(&self) -> Vec<u64> {
        self.written.borrow().iter().map(|(id, _)| *id).collect()
    }
}

impl RegisterAccess for Fake {
    fn list(&self) -> io::Result<Vec<u64>> {
        if self.finalized.get() || !self.registers.contains_key(&SVE_VLS) {
            return Ok(self.list.clone());
        }
        error(libc::EPERM)
    }

    fn get(&self, id: u64, value: &mut [u8]) -> io::Result<()> {
        let Some(is) = self.registers.get(&id) else {
            return error(libc::ENOENT);
        };
        let written = self.written.borrow();
        let last = written.iter().rev().find(|(one, _)| *one == id);
        value.copy_from_slice(last.map_or(is, |(_, value)| value));
        Ok(())
    }

    fn set(&self, id: u64, value: &[u8]) -> io::Result<()> {
        if self.refuses.contains(&id) {
            return error(libc::EBUSY);
        }
        self.written.borrow_mut().push((id, value.to_vec()));
        Ok(())
    }

    fn finalize(&self) -> io::Result<()> {
        if self.refuses_finalize {
            return error(libc::EINVAL);
        }
        self.finalized.set(true);
        Ok(())
    }

    fn features(&self) -> Option<[u32; 7]> {
        self.features
    }
}

#[test]
fn library_puts_first_what_others_depend_on() {
    let saved = Fake::saved();
    let order: Vec<_> = saved.registers().map(|(id, _)| id).collect();
    assert_eq!(order, [SVE_VLS, SME_VLS, SVCR, CNTVCT, X0, Z0, ZA0]);

    let vcpu = Fake::with(&KERNEL_ORDER);
    restore(&vcpu, &saved).unwrap();
    assert_eq!(vcpu.written(), order);
    assert!(vcpu.finalized.get());
    assert_eq!(differences(&vcpu, &saved).unwrap(), [0u64; 0]);
}

#[test]
fn order_that_is_right_stays() {
    let list = [SVE_VLS, SME_VLS, SVCR, CNTVCT, Z0, X0];
    let vcpu = Fake::with(&list);
    vcpu.finalized.set(true);
    let saved = save(&vcpu as &dyn RegisterAccess).unwrap();
    assert_eq!(
        saved.registers().map(|(id, _)| id).collect::<Vec<_>>(),
        list
    );
}

/// What another VMM has saved, or an earlier version of this crate by a kernel that it took at its word.
#[test]
fn order_of_any_list_is_mended_when_it_is_read() {
    let registers = KERNEL_ORDER.map(|id| (id, value(id)));
    let saved = SavedVcpu::new(None, registers).unwrap();
    assert_eq!(saved, Fake::saved());

    let members = KERNEL_ORDER.map(|id| {
        let digits: String = value(id).iter().map(|byte| format!("{byte:02x}")).collect();
        format!(r#"{{"id": "{id:#018x}", "value": "{digits}"}}"#)
    });
    let text = format!(
        r#"{{"format": "arm64-vl vcpu", "version": 1, "registers": [{}]}}"#,
        members.join(",")
    );
    assert_eq!(SavedVcpu::from_json(&text).unwrap(), saved);
}

#[test]
fn list_that_cannot_be_is_refused() {
    for (list, wanted) in [
        (&[X0, X0][..], "twice"),
        (&[X0, 0x2030_0000_0010_0000], "no register of arm64"),
    ] {
        let error = save(&Fake::with(list)).unwrap_err();
        assert!(error.to_string().contains(wanted), "{error}");
    }
}

#[test]
fn what_is_not_restored_is_reported_and_the_rest_is_written() {
    let vcpu = Fake {
        refuses: vec![ZA0, X0],
        ..Fake::with(&KERNEL_ORDER)
    };
    let Err(Error::Partial {
        failed,
        not_given,
        total,
    }) = restore(&vcpu, &Fake::saved())
    else {
        panic!("not partial");
    };
    let ids: Vec<_> = failed.iter().map(|write| write.id).collect();
    assert_eq!((ids, total), (vec![X0, ZA0], 7));
    assert!(not_given.is_empty());
    assert_eq!(failed[0].error.raw_os_error(), Some(libc::EBUSY));
    assert_eq!(vcpu.written(), [SVE_VLS, SME_VLS, SVCR, CNTVCT, Z0]);
}

/// A state with registers missing, with none, and a plain one into a vCPU that has more.
#[test]
fn registers_that_were_not_given_are_reported() {
    for count in 0..KERNEL_ORDER.len() {
        let list = [SVE_VLS, SME_VLS, SVCR, X0, Z0, ZA0, CNTVCT];
        let has_vls = count >= 2;
        let (had, has) = (&list[..count], &list[if has_vls { 0 } else { 2 }..]);
        let had = if has_vls { had } else { &list[2..2 + count] };
        let saved = SavedVcpu::new(None, had.iter().map(|id| (*id, value(*id)))).unwrap();
        let vcpu = Fake::with(has);
        match restore(&vcpu, &saved) {
            Err(Error::Partial {
                failed, not_given, ..
            }) => {
                assert!(failed.is_empty());
                let missing: Vec<_> = has.iter().filter(|id| !had.contains(id)).collect();
                assert_eq!(not_given.iter().collect::<Vec<_>>(), missing);
            }
            other => panic!("{count} registers of {}: {other:?}", has.len()),
        }
        // What was given is there: a caller that knows better can go on.
        assert_eq!(vcpu.written.borrow().len(), count);
    }
}

#[test]
fn features_of_init_are_compared() {
    let with = |features: Option<u32>| Fake {
        features: features.map(|first| [first, 0, 0, 0, 0, 0, 0]),
        ..Fake::with(&[X0])
    };
    let saved = |features| {
        let saved = save(&with(features)).unwrap();
        SavedVcpu::from_json(&saved.to_json().unwrap()).unwrap()
    };
    let (pmu, psci, power_off) = (1 << 3, 1 << 2, 1);
    assert_eq!(saved(Some(pmu)).features(), with(Some(pmu)).features);
    let error = restore(&with(Some(psci)), &saved(Some(psci | pmu))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the saved vCPU was initialized with PSCI_0_2 PMU_V3, \
         the one to restore into was initialized with PSCI_0_2"
    );
    for (from, to) in [
        (Some(pmu), Some(pmu)),
        (Some(pmu), None),
        (None, Some(pmu)),
        (Some(pmu), Some(pmu | power_off)),
    ] {
        restore(&with(to), &saved(from)).unwrap();
    }
}

#[test]
fn vcpu_of_other_features_is_not_touched() {
    for ids in [&[X0][..], &[SVE_VLS, X0], &[SME_VLS, X0]] {
        let vcpu = Fake::with(ids);
        let error = restore(&vcpu, &Fake::saved()).unwrap_err();
        assert!(matches!(error, Error::Configuration { .. }), "{error}");
        assert_eq!(vcpu.written(), [0u64; 0]);
        assert!(!vcpu.finalized.get());
    }
    let finalized = Fake::with(&KERNEL_ORDER);
    finalized.finalized.set(true);
    let error = restore(&finalized, &Fake::saved()).unwrap_err();
    assert!(error.to_string().contains("finalized already"), "{error}");
    assert_eq!(finalized.written(), [0u64; 0]);
}

#[test]
fn lengths_that_are_refused_are_named() {
    let vcpu = Fake {
        refuses: vec![SME_VLS],
        ..Fake::with(&KERNEL_ORDER)
    };
    let error = restore(&vcpu, &Fake::saved()).unwrap_err();
    assert!(
        matches!(&error, Error::Kernel { call, .. } if call.starts_with("SME lengths")),
        "{error}"
    );
    assert!(!vcpu.finalized.get());

    let vcpu = Fake {
        refuses_finalize: true,
        ..Fake::with(&KERNEL_ORDER)
    };
    let error = restore(&vcpu, &Fake::saved()).unwrap_err();
    assert!(
        error.to_string().contains("KVM_ARM_VCPU_FINALIZE"),
        "{error}"
    );
}

#[test]
fn register_that_cannot_be_read_is_named() {
    let mut vcpu = Fake::with(&KERNEL_ORDER);
    vcpu.finalized.set(true);
    vcpu.registers.remove(&Z0);
    let error = save(&vcpu).unwrap_err();
    assert!(error.to_string().contains("0x6080000000150000"), "{error}");
}

/// What is wrong with the vCPU is said, not with a register of it.
#[test]
fn vcpu_that_is_none_or_not_ready_is_named() {
    struct Not(i32);
    impl RegisterAccess for Not {
        fn list(&self) -> io::Result<Vec<u64>> {
            error(self.0)
        }
        fn get(&self, _: u64, _: &mut [u8]) -> io::Result<()> {
            error(self.0)
        }
        fn set(&self, _: u64, _: &[u8]) -> io::Result<()> {
            panic!("it writes")
        }
        fn finalize(&self) -> io::Result<()> {
            panic!("it finalizes")
        }
    }
    for (errno, wanted) in [
        (libc::ENOEXEC, "the vCPU is not initialized"),
        (libc::ENOTTY, "the descriptor is not that of a vCPU"),
        (libc::EBADF, "the descriptor is not that of a vCPU"),
        (libc::EINVAL, "the descriptor is not that of a vCPU"),
    ] {
        let saved = save(&Not(errno)).unwrap_err().to_string();
        let restored = restore(&Not(errno), &Fake::saved())
            .unwrap_err()
            .to_string();
        for text in [saved, restored] {
            assert!(text.starts_with(wanted), "{errno}: {text}");
            assert!(text.matches("(os error").count() <= 1, "{text}");
        }
    }
    let error = save(&Fake::with(&KERNEL_ORDER)).unwrap_err();
    assert!(matches!(error, Error::NotFinalized), "{error}");
}

#[test]
fn failed_registers_are_named_and_fields_of_id_registers_too() {
    const MMFR0: u64 = 0x6030_0000_0013_c038;
    let vcpu = Fake {
        refuses: vec![MMFR0],
        ..Fake::with(&[MMFR0, X0])
    };
    let is = u64::from_le_bytes(value(MMFR0).try_into().unwrap());
    let saved = (is ^ 3 | 5 << 60).to_le_bytes().to_vec();
    let saved = SavedVcpu::new(None, [(MMFR0, saved)]).unwrap();
    let error = restore(&vcpu, &saved).unwrap_err().to_string();
    assert_eq!(
        error,
        "1 of 1 registers could not be restored, the first is ID_AA64MMFR0_EL1 (0x603000000013c038): \
         Device or resource busy (os error 16) (PARANGE 10, not 9; ECV 7, not 3); \
         the vCPU has 1 registers that were not saved, the first is X0 (0x6030000000100000)"
    );
}

#[test]
fn difference_is_seen() {
    let vcpu = Fake::with(&KERNEL_ORDER);
    let saved = Fake::saved();
    restore(&vcpu, &saved).unwrap();
    vcpu.set(X0, &[0; 8]).unwrap();
    assert_eq!(differences(&vcpu, &saved).unwrap(), [X0]);
}

const TCR2: u64 = 0x6030_0000_0013_c103;
const MMFR3: u64 = 0x6030_0000_0013_c03b;
const BMAP_2: u64 = 0x6030_0000_0016_0003;
const SMPRI: u64 = 0x6030_0000_0013_c094;

/// A saved vCPU of these registers and numbers.
fn of(registers: &[(u64, u64)]) -> SavedVcpu {
    let registers = registers.iter();
    let bytes = registers.map(|(id, value)| (*id, value.to_le_bytes().to_vec()));
    SavedVcpu::new(None, bytes).unwrap()
}

/// One that has these registers alone, with 0 in each.
fn vcpu_with(ids: &[u64]) -> Fake {
    Fake {
        registers: ids.iter().map(|id| (*id, vec![0; 8])).collect(),
        list: ids.to_vec(),
        ..Fake::default()
    }
}

/// What the vCPU does not take, by id and by value, and nothing else.
#[test]
fn what_is_tolerated_is_reported_and_no_error() {
    let refusing = || Fake {
        refuses: vec![TCR2],
        ..vcpu_with(&[X0, TCR2])
    };
    let saved = of(&[(X0, 7), (TCR2, 5)]);
    let ids = |result: arm64_vl::Result<arm64_vl::Report>| match result {
        Ok(report) => (
            true,
            report
                .failed
                .iter()
                .map(|write| write.id)
                .collect::<Vec<_>>(),
        ),
        Err(Error::Partial { failed, .. }) => {
            (false, failed.iter().map(|write| write.id).collect())
        }
        Err(error) => panic!("{error}"),
    };
    for (tolerant, good) in [
        (Restore::new(), false),
        (Restore::new().tolerate(TCR2), true),
        (Restore::new().tolerate(X0), false),
        (Restore::new().tolerate_value(TCR2, 5), true),
        (Restore::new().tolerate_value(TCR2, 4), false),
        (Restore::new().tolerate_value(X0, 5), false),
    ] {
        let vcpu = refusing();
        assert_eq!(
            ids(tolerant.run(&vcpu, &saved)),
            (good, vec![TCR2]),
            "{tolerant:?}"
        );
        // All else is written, whatever is tolerated.
        assert_eq!(vcpu.written(), [X0]);
    }

    // One that was not saved.
    let more = of(&[(X0, 7)]);
    for (tolerant, good) in [
        (Restore::new(), false),
        (Restore::new().tolerate(TCR2), true),
        (Restore::new().tolerate_value(TCR2, 0), true),
        (Restore::new().tolerate_value(TCR2, 1), false),
    ] {
        let result = tolerant.run(&vcpu_with(&[X0, TCR2]), &more);
        assert_eq!(result.is_ok(), good, "{tolerant:?}");
        if let Ok(report) = result {
            assert_eq!(report.not_given, [TCR2]);
        }
    }
}

#[test]
fn what_kernels_have_added_and_hidden_is_known() {
    // TCR2_EL1 was listed for guests that have none, up to Linux 6.12.
    let old = of(&[(X0, 7), (TCR2, 0), (MMFR3, 0)]);
    let new = Fake {
        refuses: vec![TCR2],
        ..vcpu_with(&[X0, MMFR3])
    };
    assert!(restore(&new, &old).is_err());
    let report = Restore::new().tolerate_known().run(&new, &old).unwrap();
    let text = report.to_string();
    assert!(
        text.starts_with("not taken: TCR2_EL1 (0x603000000013c103): "),
        "{text}"
    );
    assert!(text.contains("new in Linux 6.13"), "{text}");
    // A guest that has TCR2_EL1 needs it.
    let has = of(&[(X0, 7), (TCR2, 0), (MMFR3, 1)]);
    let new = Fake {
        refuses: vec![TCR2],
        ..vcpu_with(&[X0, MMFR3])
    };
    assert!(Restore::new().tolerate_known().run(&new, &has).is_err());

    let known = || Restore::new().tolerate_known();
    for (id, value, taken) in [
        (BMAP_2, 0, true),
        (BMAP_2, 1, false),
        (SMPRI, 0, true),
        (SMPRI, 1, false),
    ] {
        let vcpu = Fake {
            refuses: vec![id],
            ..vcpu_with(&[X0])
        };
        let saved = of(&[(X0, 7), (id, value)]);
        assert_eq!(
            known().run(&vcpu, &saved).is_ok(),
            taken,
            "{id:#x} of {value}"
        );
    }
    // What the vCPU has more.
    for (id, taken) in [
        (BMAP_2, true),
        (SMPRI, true),
        (0x6030_0000_0014_0003, true),
        (0x6030_0000_0016_0000, true),
        (CNTVCT, false),
    ] {
        let result = known().run(&vcpu_with(&[X0, id]), &of(&[(X0, 7)]));
        assert_eq!(result.is_ok(), taken, "{id:#x}");
    }
}

/// What was taken and does not read so is in the report too.
#[test]
fn what_reads_otherwise_is_reported() {
    struct Masking(Fake);
    impl RegisterAccess for Masking {
        fn list(&self) -> io::Result<Vec<u64>> {
            self.0.list()
        }
        fn get(&self, id: u64, value: &mut [u8]) -> io::Result<()> {
            self.0.get(id, value)
        }
        fn set(&self, id: u64, value: &[u8]) -> io::Result<()> {
            let mut value = value.to_vec();
            value[0] &= if id == TCR2 { 0xf0 } else { 0xff };
            self.0.set(id, &value)
        }
        fn finalize(&self) -> io::Result<()> {
            self.0.finalize()
        }
    }
    let vcpu = Masking(vcpu_with(&[X0, TCR2]));
    let saved = of(&[(X0, 7), (TCR2, 0x17)]);
    let report = Restore::new().run(&vcpu, &saved).unwrap();
    assert_eq!(report.changed, [TCR2]);
    assert_eq!(
        report.to_string(),
        "reads otherwise: TCR2_EL1 (0x603000000013c103)\n"
    );
    restore(&vcpu, &saved).unwrap();
}

const CNTPCT: u64 = 0x6030_0000_0013_df01;

/// The clock is that of the vCPU that was saved last, whichever is restored last.
#[test]
fn clock_is_set_once_for_all_vcpus() {
    let saved = [
        of(&[(CNTVCT, 1000), (CNTPCT, 5000)]),
        of(&[(CNTVCT, 700), (CNTPCT, 6000)]),
        of(&[(CNTVCT, 1200), (CNTPCT, 5500)]),
    ];
    let vcpu = vcpu_with(&[CNTVCT, CNTPCT]);
    restore_clock(&vcpu, &saved, Clock::Verbatim).unwrap();
    assert_eq!(vcpu.written(), [0u64; 0]);
    restore_clock(&vcpu, &saved, Clock::Frozen).unwrap();
    // CNTPCT_EL0 last, and both of one vCPU: with EL2 they have an offset between them.
    let written = vcpu.written.borrow().clone();
    let number = |value: u64| value.to_le_bytes().to_vec();
    assert_eq!(written, [(CNTVCT, number(700)), (CNTPCT, number(6000))]);

    let error = restore_clock(&vcpu, &[of(&[(X0, 1)])], Clock::Frozen).unwrap_err();
    assert!(matches!(error, Error::Missing(_)), "{error}");
    let error = restore_clock(&vcpu, &[], Clock::Frozen).unwrap_err();
    assert!(matches!(error, Error::Missing(_)), "{error}");
}

/// Registers of other VMMs: ids and one buffer, or `struct kvm_regs`.
#[test]
fn registers_come_from_other_vmms_and_go_to_them() {
    let saved = Fake::saved();
    let (ids, values) = saved.clone().into_parts();
    assert_eq!(SavedVcpu::from_parts(None, &ids, &values).unwrap(), saved);
    // In the order of a kernel's list too.
    let kernel: Vec<_> = KERNEL_ORDER.iter().flat_map(|id| value(*id)).collect();
    assert_eq!(
        SavedVcpu::from_parts(None, &KERNEL_ORDER, &kernel).unwrap(),
        saved
    );
    for wrong in [&kernel[1..], &[&kernel[..], &[0]].concat()[..]] {
        let error = SavedVcpu::from_parts(None, &KERNEL_ORDER, wrong).unwrap_err();
        assert!(error.to_string().contains("bytes of values"), "{error}");
    }
    assert!(SavedVcpu::from_parts(None, &[X0, X0], &[0; 16]).is_err());

    // Every byte of struct kvm_regs but what is reserved and what aligns V.
    let all: Vec<u8> = (0..864u32).map(|n| (n % 251) as u8).collect();
    let registers = SavedVcpu::core_registers(&all, false).unwrap();
    assert_eq!(registers.len(), 41 + 32 + 2);
    let find = |id: u64| {
        registers
            .iter()
            .find(|(one, _)| *one == id)
            .map(|(_, value)| &value[..])
    };
    assert_eq!(find(0x6030_0000_0010_003e), Some(&all[248..256]), "SP");
    assert_eq!(
        find(0x6030_0000_0010_0050),
        Some(&all[320..328]),
        "SPSR_fiq"
    );
    assert_eq!(find(0x6040_0000_0010_0054), Some(&all[336..352]), "V0");
    assert_eq!(find(0x6040_0000_0010_00d0), Some(&all[832..848]), "V31");
    assert_eq!(find(0x6020_0000_0010_00d5), Some(&all[852..856]), "FPCR");
    let with_z = SavedVcpu::core_registers(&all, true).unwrap();
    assert_eq!(with_z.len(), 41 + 2);
    let back = SavedVcpu::new(None, registers.clone()).unwrap().kvm_regs();
    assert_eq!(
        (&back[..328], &back[336..856]),
        (&all[..328], &all[336..856])
    );
    assert!(SavedVcpu::core_registers(&all[1..], false).is_err());
}

/// A file can be mapped as a vCPU can, and has to stay as it is.
#[test]
fn descriptor_of_something_else_is_named_and_left_alone() {
    const PMCR: u64 = 0x6030_0000_0013_dce0;
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("no-vcpu");
    std::fs::write(&path, [0xaa; 4096]).unwrap();
    let mut open = std::fs::File::options();
    let file = open.read(true).write(true).open(&path).unwrap();
    let vcpu = VcpuRef::new(&file);
    let saved = of(&[(PMCR, 0), (CNTVCT, 1)]);
    let rest = Rest::default();
    for (name, done) in [
        ("finish_exit", finish_exit(&file)),
        ("Rest::save", Rest::save(&file).map(drop)),
        ("Rest::restore", rest.restore(&file)),
        ("prepare_vcpu", prepare_vcpu(&vcpu, &saved).map(drop)),
        ("differences", differences(&vcpu, &saved).map(drop)),
        (
            "restore_clock",
            restore_clock(&vcpu, slice::from_ref(&saved), Clock::Frozen),
        ),
        ("save", save(&vcpu).map(drop)),
    ] {
        assert!(matches!(done, Err(Error::NotAVcpu(_))), "{name}: {done:?}");
    }
    assert_eq!(std::fs::read(&path).unwrap(), [0xaa; 4096]);
}

/// A VM is not prepared for the implementation of a vCPU by a host of which nothing is known.
#[test]
fn vm_is_not_prepared_for_nobody_knows_what() {
    const MIDR: u64 = 0x6030_0000_0013_c000;
    let no_vm = std::fs::File::open("/dev/null").unwrap();
    let saved = of(&[(MIDR, 0x410f_d4f0)]);
    let unknown = prepare_vm(&no_vm, &saved, &Offer::default());
    assert!(matches!(unknown, Err(Error::Missing(_))), "{unknown:?}");
    assert!(!prepare_vm(&no_vm, &of(&[(X0, 1)]), &Offer::default()).unwrap());

    let machine = Machine::from_json(include_str!("fixtures/large.json")).unwrap();
    let offer = machine.kvm.unwrap();
    let own = of(&[(MIDR, offer.kinds[0].limits[&MIDR])]);
    assert!(!prepare_vm(&no_vm, &own, &offer).unwrap());
    let error = prepare_vm(&no_vm, &saved, &offer).unwrap_err();
    assert!(matches!(error, Error::Kernel { .. }), "{error}");
}
