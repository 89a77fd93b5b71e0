// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! What the crate says of a machine, against what the machine was told to be and against what its
//! KVM does.
//!
//! For a machine that is known: `SVE` and `SME` are the lengths that it was made with, separated by
//! commas, `VCPU_SVE` and `VCPU_SME` those of vCPUs, `SME2` and `FA64` are 1 or 0.
//! `CONFIG` is a vCPU as JSON that KVM has to take.

#![cfg(all(target_arch = "aarch64", feature = "kvm", feature = "json"))]

mod common;

use arm64_vl::{differences, restore, save, Error, Register, RegisterAccess, SavedVcpu, VcpuRef};
use arm64_vl::{try_config, Config, Lengths, Machine, Matrix, Offer, Size, Svcr};
use common::{set_svcr, Vcpu};
use kvm_bindings::KVM_ARM_VCPU_PMU_V3;
use kvm_ioctls::Kvm;
use std::{
    env,
    fs::File,
    time::{Duration, Instant},
};

/// Skips a test, with the reason, where there is no KVM.
macro_rules! offer {
    () => {
        match Machine::read().unwrap() {
            Machine {
                kvm: Some(offer), ..
            } => offer,
            Machine { missing, .. } => return println!("skipped: {}", missing.join("; ")),
        }
    };
}

fn told(name: &str) -> Option<String> {
    env::var(name).ok()
}

fn told_lengths(name: &str) -> Option<Lengths> {
    let text = told(name)?;
    let lengths = text.split(',').filter(|word| !word.is_empty());
    Some(Lengths::new(lengths.map(|word| word.parse().unwrap())).unwrap())
}

#[test]
fn machine_is_what_it_was_told_to_be() {
    let machine = Machine::read().unwrap();
    let offer = machine.kvm.unwrap_or_default();
    for (name, is) in [
        ("SVE", machine.host.sve.lengths),
        ("SME", machine.host.sme.lengths),
        ("VCPU_SVE", offer.sve),
        ("VCPU_SME", offer.sme),
    ] {
        if let Some(told) = told_lengths(name) {
            assert_eq!(is, told, "{name}");
        }
    }
    let has_sme = !offer.sme.is_empty();
    for (name, is) in [("SME2", machine.host.sme2), ("FA64", machine.host.fa64)] {
        if let Some(told) = told(name) {
            assert_eq!(is, told == "1", "{name}");
        }
    }
    assert_eq!(offer.sme2, has_sme && machine.host.sme2);
    assert_eq!(offer.fa64, has_sme && machine.host.fa64);
    for vectors in [machine.host.sve, machine.host.sme] {
        assert!(vectors
            .default
            .is_none_or(|length| vectors.lengths.contains(length)));
    }
}

#[test]
fn asking_leaves_the_lengths_of_the_caller_alone() {
    // PR_SVE_GET_VL and PR_SME_GET_VL; -1 where there is none.
    // SAFETY: The calls read a setting of this thread.
    let own = || [51, 64].map(|option| unsafe { libc::prctl(option, 0, 0, 0, 0) });
    let before = own();
    Machine::read().unwrap();
    assert_eq!(own(), before);
}

#[test]
fn kvm_takes_every_pair() {
    let matrix = Matrix::of(&offer!());
    let mut pairs = 0;
    for pair in matrix.pairs() {
        if let Err(error) = try_config(&matrix.config(pair.sve, pair.sme)) {
            panic!("{pair:?}: {error}");
        }
        pairs += 1;
    }
    println!("{pairs} pairs");
    if let Some(config) = told("CONFIG") {
        try_config(&serde_json::from_str(&config).unwrap()).unwrap();
    }
}

/// All sets but the host's own up to one of its lengths. With 16 lengths that is 65,519 vCPUs, so
/// that they are a sample: each with a length left out or one more.
#[test]
fn kvm_takes_no_other_set() {
    let offer = offer!();
    let sve = |sve| Config {
        sve,
        ..Config::default()
    };
    let sme = |sme| Config {
        sme,
        ..Config::default()
    };
    type Make = fn(Lengths) -> Config;
    for (lengths, all, config) in [
        (
            offer.sve,
            (16..=272).step_by(16).collect::<Vec<u32>>(),
            sve as Make,
        ),
        (offer.sme, vec![16, 32, 64, 128, 256], sme as Make),
    ] {
        for max in lengths.iter() {
            let set = lengths.up_to(max);
            for changed in &all {
                let other: Vec<_> = all
                    .iter()
                    .copied()
                    .filter(|one| set.contains(*one) != (one == changed))
                    .collect();
                let other = Lengths::new(other).unwrap();
                if other.is_empty() || lengths.up_to(other.greatest().unwrap()) == other {
                    continue;
                }
                let config = config(other);
                assert!(try_config(&config).is_err(), "{config:?} was taken");
            }
        }
    }
}

#[test]
fn hidden_features_are_hidden() {
    let offer = offer!();
    for (sme2, fa64) in [(false, false), (true, false), (false, true), (true, true)] {
        let has_sme = !offer.sme.is_empty();
        let config = Config {
            sme2: sme2 && has_sme,
            fa64: fa64 && has_sme && !offer.sve.is_empty(),
            ..offer.config()
        };
        let can = (!config.sme2 || offer.sme2) && (!config.fa64 || offer.fa64);
        assert_eq!(try_config(&config).is_ok(), can, "{config:?}");
    }
}

/// Every feature set, greatest length and mode: the calculator names the vector registers that the
/// kernel lists, and their number and bytes with the others are those of the whole list.
#[test]
fn state_is_what_the_kernel_lists() {
    let offer = offer!();
    let matrix = Matrix::of(&offer);
    let mut lists = 0;
    for pair in matrix.pairs() {
        let config = matrix.config(pair.sve, pair.sme);
        let vcpu = Vcpu::finalized(&config);
        let mut longest = 0;
        for svcr in config.modes() {
            set_svcr(&vcpu.access(), &config, *svcr);
            let list = vcpu.access().list().unwrap();
            longest = longest.max(list.len());
            let mut registers: Vec<_> = config.registers(*svcr).collect();
            let mut vectors: Vec<_> = registers.iter().map(|r| r.id).collect();
            let absent: Vec<_> = vectors.iter().filter(|id| !list.contains(id)).collect();
            assert!(
                absent.is_empty(),
                "{pair:?} {svcr:?}: not in the list: {absent:x?}"
            );

            let size = config.size(*svcr) + offer.others(&config);
            let bytes: usize = list.iter().map(|id| 1usize << (id >> 52 & 15)).sum();
            assert_eq!(
                (size.registers, size.bytes),
                (list.len(), bytes),
                "{pair:?} {svcr:?}"
            );
            vectors.sort_unstable();
            vectors.dedup();
            assert_eq!(
                vectors.len(),
                config.size(*svcr).registers,
                "twice in {pair:?} {svcr:?}"
            );

            registers.retain(|register| !register.is_vls());
            check_significant(&vcpu, &registers);
            lists += 1;
        }
        let greatest = config.modes().iter().map(|svcr| config.size(*svcr));
        assert_eq!(
            greatest.fold(Size::default(), Size::max),
            config.greatest_size()
        );
        assert_eq!(offer.list_bytes(&config), Some(8 + 8 * longest), "{pair:?}");
    }
    println!("{lists} lists");
}

/// As many bytes of each register keep what is written as count.
fn check_significant(vcpu: &Vcpu, registers: &[Register]) {
    // All ones are valid in every register, FFR too.
    let ones = [0xff; 256];
    for register in registers {
        let mut value = [0u8; 256];
        let bytes = register.bytes();
        vcpu.access().set(register.id, &ones[..bytes]).unwrap();
        vcpu.access().get(register.id, &mut value[..bytes]).unwrap();
        let kept = value[..bytes]
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1);
        assert_eq!(kept, register.significant, "{:#x}", register.id);
    }
}

/// Fills the vectors with numbers that differ.
fn fill(vcpu: &Vcpu, config: &Config, svcr: Svcr) {
    let mut number = 1u8;
    for register in config.registers(svcr).filter(|register| !register.is_vls()) {
        let mut value = vec![0; register.bytes()];
        for byte in &mut value[..register.significant] {
            number = number.wrapping_mul(29).wrapping_add(7);
            *byte = number;
        }
        // FFR takes ones up to some element.
        if register.id & 0xfff_ffff == 0x15_0600 {
            value[..register.significant].fill(0xff);
        }
        vcpu.access().set(register.id, &value).unwrap();
    }
}

/// Counters run on, and the timer says whether it is due.
fn runs_on(id: &u64) -> bool {
    let timer = [0xdf01, 0xdf02, 0xdf11, 0xdf19, 0xdf1a];
    id >> 16 & 0xfff == 0x13 && timer.contains(&(id & 0xffff))
}

#[test]
fn every_mode_is_saved_and_restored() {
    let offer = offer!();
    let config = offer.config();
    for svcr in config.modes() {
        let from = Vcpu::finalized(&config);
        set_svcr(&from.access(), &config, *svcr);
        fill(&from, &config, *svcr);
        let saved = save(&from.access()).unwrap();
        let saved = SavedVcpu::from_json(&saved.to_json().unwrap()).unwrap();
        assert_eq!(
            saved.len(),
            (config.size(*svcr) + offer.others(&config)).registers
        );
        assert_eq!((saved.sve(), saved.sme()), (config.sve, config.sme));

        let to = Vcpu::new(&config);
        restore(&to.access(), &saved).unwrap();
        let mut lost = differences(&to.access(), &saved).unwrap();
        lost.retain(|id| !runs_on(id));
        assert!(lost.is_empty(), "{svcr:?}: lost {lost:x?}");

        // A second time it is finalized, and nothing is written.
        if config != Config::default() {
            let again = restore(&to.access(), &saved).unwrap_err();
            assert!(matches!(again, Error::Configuration { .. }), "{again}");
        }
    }
}

#[test]
fn state_of_another_vcpu_is_refused() {
    let config = offer!().config();
    if config.sve.is_empty() && config.sme.is_empty() {
        return println!("skipped: all vCPUs have the same vectors");
    }
    let from = Vcpu::finalized(&config);
    let saved = save(&from.access()).unwrap();
    let plain = Vcpu::new(&Config::default());
    let before = save(&plain.access()).unwrap();
    let error = restore(&plain.access(), &saved).unwrap_err();
    assert!(matches!(error, Error::Configuration { .. }), "{error}");
    let mut changed = differences(&plain.access(), &before).unwrap();
    changed.retain(|id| !runs_on(id));
    assert!(changed.is_empty(), "it has written {changed:x?}");

    // Lengths that this host does not have.
    let vls = if config.sve.is_empty() {
        "0x606000000017fffe"
    } else {
        "0x606000000015ffff"
    };
    let mut json: serde_json::Value = serde_json::from_str(&saved.to_json().unwrap()).unwrap();
    for register in json["registers"].as_array_mut().unwrap() {
        if register["id"] == vls {
            register["value"] = format!("{}80", "00".repeat(63)).into();
        }
    }
    let other = SavedVcpu::from_json(&json.to_string()).unwrap();
    let error = restore(&Vcpu::new(&config).access(), &other).unwrap_err();
    assert!(matches!(error, Error::Kernel { .. }), "{error}");
    assert!(error.to_string().contains("8192"), "{error}");
}

#[test]
fn plain_state_does_not_do_for_a_vcpu_with_a_pmu() {
    let plain = Config::default();
    let Some(with_pmu) = Vcpu::with_features(&plain, 1 << KVM_ARM_VCPU_PMU_V3) else {
        return println!("skipped: no PMU for vCPUs");
    };
    let from = Vcpu::new(&plain);
    let saved = save(&from.access()).unwrap();
    let Err(Error::Partial {
        failed, not_given, ..
    }) = restore(&with_pmu.access(), &saved)
    else {
        panic!("it is Ok");
    };
    println!("{} registers of the PMU not given", not_given.len());
    assert!(failed.is_empty() && not_given.len() > 30, "{not_given:x?}");
    assert!(not_given.iter().all(|id| saved.value(*id).is_none()));

    let known = |vcpu: &Vcpu| vcpu.features;
    let saved = save(&from.access().with_features(known(&from))).unwrap();
    let access = with_pmu.access().with_features(known(&with_pmu));
    let error = restore(&access, &saved).unwrap_err();
    assert!(
        matches!(error, Error::Configuration { .. }) && error.to_string().contains("PMU_V3"),
        "{error}"
    );
}

/// A VMM asks when it starts. Once in some tries: other load of the machine is not the question.
#[test]
fn asking_kvm_takes_less_than_100_ms() {
    offer!();
    let kvm = File::open("/dev/kvm").unwrap();
    let ask = |_| {
        let start = Instant::now();
        Offer::of(&kvm).unwrap();
        start.elapsed()
    };
    let limit = Duration::from_millis(100);
    let taken: Vec<_> = (0..20).map(ask).collect();
    println!("{:?}", taken.iter().min());
    assert!(taken.iter().any(|time| *time < limit), "{taken:?}");
}

/// What SECCOMP.md says that a filter has to let through.
fn calls_in_the_page() -> (Vec<u32>, Vec<u32>) {
    let page = include_str!("../SECCOMP.md");
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let rows: Vec<Vec<_>> = rows
        .map(|row| row.split('|').map(str::trim).collect())
        .collect();
    let number = |row: &Vec<&str>| {
        let word = row[2].trim_matches('`');
        match word.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16).unwrap(),
            None => word.parse().unwrap(),
        }
    };
    let (ioctls, calls): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row[1].contains("KVM_"));
    (
        calls.into_iter().map(number).collect(),
        ioctls.into_iter().map(number).collect(),
    )
}

/// Refuses all other calls of this thread with an errno that nothing else gives, where the kernel has seccomp.
fn confine(calls: &[u32], ioctls: &[u32]) -> bool {
    let filter = |code, k, jt, jf| libc::sock_filter { code, jt, jf, k };
    let (load, equal, give) = (0x20, 0x15, 0x06);
    let allow = filter(give, libc::SECCOMP_RET_ALLOW, 0, 0);
    // struct seccomp_data: the number of the call at 0, the second argument at 24.
    let mut program = vec![filter(load, 0, 0, 0)];
    for call in calls {
        program.extend([filter(equal, *call, 0, 1), allow]);
    }
    let rest = 2 * ioctls.len() as u8 + 1;
    program.extend([
        filter(equal, libc::SYS_ioctl as u32, 0, rest),
        filter(load, 24, 0, 0),
    ]);
    for request in ioctls {
        program.extend([filter(equal, *request, 0, 1), allow]);
    }
    program.push(filter(
        give,
        libc::SECCOMP_RET_ERRNO | libc::ENOLCK as u32,
        0,
        0,
    ));
    let program = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: The kernel reads the filter, which is for this thread alone.
    let done = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            &program,
        )
    };
    let error = std::io::Error::last_os_error();
    assert!(
        done == 0 || error.raw_os_error() == Some(libc::ENOSYS),
        "{error}"
    );
    done == 0
}

#[test]
fn jailed_vmm_can_ask_save_and_restore() {
    let offer = offer!();
    let config = offer.config();
    let kvm = File::options()
        .read(true)
        .write(true)
        .open("/dev/kvm")
        .unwrap();
    let (from, to) = (Vcpu::finalized(&config), Vcpu::new(&config));
    let jailed = std::thread::scope(|scope| {
        let body = || {
            let (mut calls, ioctls) = calls_in_the_page();
            calls.push(libc::SYS_write as u32); // of a test that fails
            if !confine(&calls, &ioctls) {
                return Ok(None);
            }
            assert!(File::open("/dev/kvm").is_err());
            let again = Offer::of(&kvm)?;
            let saved = save(&from.access())?;
            restore(&to.access(), &saved)?;
            Ok::<_, Error>(Some(again))
        };
        scope.spawn(body).join().unwrap()
    });
    match jailed.unwrap() {
        Some(again) => assert_eq!(again, offer),
        None => println!("skipped: no seccomp in this kernel"),
    }
}

#[test]
fn descriptor_or_vcpu_that_will_not_do_is_named() {
    let null = File::open("/dev/null").unwrap();
    let error = save(&VcpuRef::new(&null)).unwrap_err();
    assert!(matches!(error, Error::NotAVcpu(_)), "{error}");

    let config = offer!().config();
    let kvm = Kvm::new().unwrap();
    let vm = kvm.create_vm_with_type(32).unwrap();
    let vcpu = vm.create_vcpu(0).unwrap();
    let saved = save(&Vcpu::finalized(&config).access()).unwrap();
    for wrong in [VcpuRef::new(&kvm), VcpuRef::new(&vm)] {
        let error = save(&wrong).unwrap_err();
        assert!(matches!(error, Error::NotAVcpu(_)), "{error}");
        let error = restore(&wrong, &saved).unwrap_err();
        assert!(matches!(error, Error::NotAVcpu(_)), "{error}");
    }
    let error = save(&VcpuRef::new(&vcpu)).unwrap_err();
    assert!(matches!(error, Error::NotInitialized), "{error}");
    let error = restore(&VcpuRef::new(&vcpu), &saved).unwrap_err();
    assert!(matches!(error, Error::NotInitialized), "{error}");
    if config != Config::default() {
        let error = save(&Vcpu::new(&config).access()).unwrap_err();
        assert!(matches!(error, Error::NotFinalized), "{error}");
    }
}
