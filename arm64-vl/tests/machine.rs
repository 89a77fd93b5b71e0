// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! What the crate says of a machine, against what the machine was told to be and against what its
//! KVM does.
//!
//! For a machine that is known: `SVE` and `SME` are the lengths that it was made with, separated by
//! commas, `VCPU_SVE` and `VCPU_SME` those of vCPUs, `SME2` and `FA64` are 1 or 0.
//! `CONFIG` is a vCPU as JSON that KVM has to take. `SAVE` is the name of a machine whose states are printed,
//! `STATES` a file of those of others. `SEED` and `SETS` are for vCPUs of made-up CPUs.

#![cfg(all(target_arch = "aarch64", feature = "kvm", feature = "json"))]

mod common;

use arm64_vl::{differences, restore, save, Error, Register, RegisterAccess, SavedVcpu, VcpuRef};
use arm64_vl::{finish_exit, prepare_vcpu, prepare_vm, restore_clock, Clock, Rest};
use arm64_vl::{try_config, Config, Lengths, Machine, Matrix, Offer, Size, Svcr, VcpuKind};
use common::{set_svcr, Vcpu};
use kvm_bindings::{kvm_vcpu_init, KVM_ARM_VCPU_PMU_V3};
use kvm_ioctls::{Kvm, VcpuFd, VmFd};
use std::{cell::Cell, collections::BTreeSet, env, ffi::c_void, fs::File, time::Duration};

const KVM_CREATE_VM: u64 = 0xae01;
const KVM_ARM_VCPU_INIT: u64 = 0x4020_aeae;

thread_local! {
    /// How many VMs this thread has made.
    static VMS: Cell<usize> = const { Cell::new(0) };
    /// An ioctl that fails in this thread, and its errno.
    static FAILS: Cell<Option<(u64, i32)>> = const { Cell::new(None) };
}

/// All ioctls of this program, in the place of libc's.
///
/// # Safety
///
/// As ioctl(2). With one argument behind the second it is called as the function with any number of them is.
#[no_mangle]
unsafe extern "C" fn ioctl(fd: i32, request: u64, argument: *mut c_void) -> i32 {
    if let Some((_, errno)) = FAILS.get().filter(|(one, _)| *one == request) {
        // SAFETY: It is this thread's own.
        unsafe { *libc::__errno_location() = errno };
        return -1;
    }
    VMS.set(VMS.get() + usize::from(request == KVM_CREATE_VM));
    // SAFETY: The caller vouches for it.
    unsafe { libc::syscall(libc::SYS_ioctl, fd, request, argument) as i32 }
}

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
    let offer = machine.kvm.clone().unwrap_or_default();
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

fn kvm() -> File {
    let file = File::options().read(true).write(true).open("/dev/kvm");
    file.unwrap()
}

/// Time is that of VMs: each takes longer than all else that is asked.
#[test]
fn asking_makes_few_vms() {
    offer!();
    let asked = |ask: &dyn Fn() -> Offer| {
        let before = VMS.get();
        ask();
        VMS.get() - before
    };
    assert!(asked(&|| Offer::of(&kvm()).unwrap()) <= 4);
    assert!(asked(&|| Offer::read().unwrap()) <= 10);
}

/// Of SVE, SME, a PMU, pointer authentication and EL2 each with each: KVM has those kinds that the offer has, and
/// they are as it says, asked for or not.
#[test]
fn every_kind_is_as_kvm_has_it() {
    let offer = offer!();
    let mut kinds = 0;
    for set in 0..32u32 {
        let bits = [1 << 4, 1 << 10, 1 << 3, 1 << 5 | 1 << 6, 1 << 7];
        let bits = bits.iter().enumerate().filter(|(n, _)| set >> n & 1 != 0);
        let mut features = [0; 7];
        features[0] = bits.fold(0, |all, (_, bit)| all | bit);
        let mut alone = Offer::default();
        alone.also(&kvm(), features).unwrap();
        let mut found = offer.kinds.clone();
        found.retain(|kind| kind.features == features);
        assert!(
            found == alone.kinds,
            "{:#x}: {found:x?} {alone:x?}",
            features[0]
        );
        kinds += found.len();
    }
    assert_eq!(offer.kinds.len(), kinds);
}

/// A want of memory does not say that there is no such vCPU.
#[test]
fn init_that_fails_is_not_a_feature_that_is_missing() {
    let mut offer = offer!();
    offer.kinds.clear();
    for (errno, is_error) in [
        (libc::ENOMEM, true),
        (libc::EINVAL, false),
        (libc::ENOENT, false),
    ] {
        FAILS.set(Some((KVM_ARM_VCPU_INIT, errno)));
        let also = offer.also(&kvm(), [1 << 4, 0, 0, 0, 0, 0, 0]);
        FAILS.set(None);
        assert_eq!(also.is_err(), is_error, "{also:?}");
    }
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

/// Xorshift: the same numbers for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// A saved vCPU of a kind whose ID registers say something else: in one to three fields anything, less in one field
/// of half of them, or that without what KVM refuses. As many registers are left as a vCPU has that is like this, if
/// KVM takes it.
fn of_another_cpu(kind: &VcpuKind, features: [u32; 7], random: &mut Random) -> SavedVcpu {
    let from = Vcpu::of_features(features);
    let ids: Vec<_> = kind.limits.keys().copied().collect();
    let mut changed = kind.limits.clone();
    let mut change = |id: u64, shift: u64, new: u64| {
        let value = changed.get_mut(&id).unwrap();
        *value = *value & !(15 << shift) | new << shift;
    };
    let field = |id: u64, shift: u64| kind.limits[&id] >> shift & 15;
    let how = random.below(3);
    if how == 0 {
        for _ in 0..=random.below(3) {
            let id = ids[random.below(ids.len() as u64) as usize];
            change(id, 4 * random.below(16), random.below(16));
        }
    } else {
        for id in ids {
            let there: Vec<_> = (0..16)
                .map(|n| 4 * n)
                .filter(|n| field(id, *n) > 0)
                .collect();
            if !there.is_empty() && random.below(2) == 0 {
                let shift = there[random.below(there.len() as u64) as usize];
                change(id, shift, random.below(field(id, shift)));
            }
        }
    }
    // That of a vCPU without PSCI 0.2 is its own.
    changed.remove(&0x6030_0000_0014_0000);
    changed.retain(|id, value| {
        let is_taken = from.access().set(*id, &value.to_le_bytes()).is_ok();
        is_taken || how < 2
    });
    if from.has_vectors() {
        from.access().finalize().unwrap();
    }
    let saved = save(&from.access()).unwrap();
    let registers = saved.registers().map(|(id, value)| match changed.get(&id) {
        Some(new) => (id, new.to_le_bytes().to_vec()),
        None => (id, value.to_vec()),
    });
    SavedVcpu::new(Some(from.features), registers).unwrap()
}

/// What `why_not()` says of `SETS` (300) vCPUs of other CPUs, of all kinds, is what KVM does: the same registers
/// are refused, the same are too many, and all else is taken.
#[test]
fn why_not_says_what_kvm_does() {
    let offer = offer!();
    let number = |name, default| told(name).map_or(default, |word| word.parse().unwrap());
    let seed = number("SEED", 0x2026);
    let mut random = Random(seed);
    let (mut whole, mut refused) = (0, 0);
    for (n, kind) in (0..number("SETS", 300)).zip(offer.kinds.iter().cycle()) {
        // With and without PSCI 0.2.
        let mut features = kind.features;
        features[0] |= (n as u32 & 1) << 2;
        let saved = of_another_cpu(kind, features, &mut random);
        let fit = saved.why_not(&offer);
        let to = Vcpu::of_features(features);
        let (failed, not_given) = match restore(&to.access(), &saved) {
            Ok(()) => (BTreeSet::new(), BTreeSet::new()),
            Err(Error::Partial {
                failed, not_given, ..
            }) => (
                failed.iter().map(|write| write.id).collect(),
                not_given.into_iter().collect(),
            ),
            Err(error) => panic!("{error}"),
        };
        let foretold = fit.refused.iter().map(|difference| difference.id);
        let what = format!("SEED={seed}, set {n} of features {features:x?}:\n{fit}");
        assert_eq!(foretold.collect::<BTreeSet<_>>(), failed, "refused, {what}");
        assert_eq!(
            fit.extra.iter().copied().collect::<BTreeSet<_>>(),
            not_given,
            "extra, {what}"
        );
        assert!(fit.missing.is_empty() && fit.reasons.is_empty(), "{what}");
        assert_eq!(fit.is_whole(), failed.is_empty() && not_given.is_empty());
        match fit.is_whole() {
            true => whole += 1,
            false => refused += 1,
        }
    }
    println!("{whole} taken, {refused} refused, as foretold");
    // Both are there, or the test shows nothing.
    assert!(whole > 10 && refused > 10, "{whole} and {refused}");
}

/// Each four bits of each register that the host limits, one more, one less and none, of each kind: KVM takes those
/// of which `why_not()` says so.
#[test]
fn each_field_alone_is_taken_as_foretold() {
    /// Its versions are no fields.
    const PSCI_VERSION: u64 = 0x6030_0000_0014_0000;
    let offer = offer!();
    let (mut taken, mut refused, mut wrong) = (0, 0, Vec::new());
    let mut seen = BTreeSet::new();
    for kind in &offer.kinds {
        let mut features = kind.features;
        features[0] |= 1 << 2; // KVM_ARM_VCPU_PSCI_0_2
        let from = Vcpu::of_features(features);
        if from.has_vectors() {
            from.access().finalize().unwrap();
        }
        let saved = save(&from.access()).unwrap();
        let to = Vcpu::of_features(features);
        // What an earlier kind has as well is taken in the same way, but for rules of guests with EL2.
        let has_el2 = features[0] >> 7 & 1;
        let mut limits = kind.limits.clone();
        limits.retain(|id, own| *id != PSCI_VERSION && seen.insert((*id, *own, has_el2)));
        for ((id, own), shift) in limits
            .iter()
            .flat_map(|limit| (0..64).step_by(4).map(move |n| (limit, n)))
        {
            let is = own >> shift & 15;
            let others = BTreeSet::from([0, is.saturating_sub(1), (is + 1).min(15)]);
            for new in others.into_iter().filter(|new| *new != is) {
                let value = (own & !(15 << shift) | new << shift).to_le_bytes();
                let registers = saved.registers().filter(|(_, is)| is.len() <= 64);
                let registers = registers.map(|(one, is)| match one == *id {
                    true => (one, value.to_vec()),
                    false => (one, is.to_vec()),
                });
                let changed = SavedVcpu::new(Some(features), registers).unwrap();
                let fit = changed.why_not(&offer);
                let foretold = fit.refused.iter().all(|difference| difference.id != *id);
                let is_taken = to.access().set(*id, &value).is_ok();
                to.access().set(*id, &own.to_le_bytes()).unwrap();
                match is_taken {
                    true => taken += 1,
                    false => refused += 1,
                }
                if is_taken != foretold {
                    let name = arm64_vl::register_name(*id);
                    let features = features[0];
                    wrong.push(format!(
                        "{features:#x} {name} {own:#x}, {new} at {shift}: {is_taken}"
                    ));
                }
            }
        }
    }
    println!("{taken} taken, {refused} refused");
    assert!(
        wrong.is_empty(),
        "{} not as foretold:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(taken > 100 && refused > 100);
}

/// A vCPU of each kind, with its greatest lengths, into files of `SAVE`: the first half of the next test.
#[test]
fn a_state_of_each_kind_is_saved() {
    let (offer, Some(name)) = (offer!(), told("SAVE")) else {
        return println!("skipped: SAVE names no machine");
    };
    for kind in &offer.kinds {
        let from = Vcpu::of_features(kind.features);
        if from.has_vectors() {
            from.access().finalize().unwrap();
        }
        let saved = save(&from.access().with_features(from.features)).unwrap();
        println!("state {name} {}", saved.to_json().unwrap());
    }
}

/// States of other machines, lines of the file `STATES`: KVM takes those of which `why_not()` says so.
#[test]
fn states_of_other_machines_fit_as_foretold() {
    let (offer, Some(file)) = (offer!(), told("STATES")) else {
        return println!("skipped: STATES names no file");
    };
    for line in std::fs::read_to_string(file).unwrap().lines() {
        let (name, state) = line.split_once(' ').unwrap();
        let saved = SavedVcpu::from_json(state).unwrap();
        let fit = saved.why_not(&offer);
        let features = saved.features().unwrap();
        let to = Vcpu::with_features(&Config::default(), features[0]);
        let restored = to.map(|to| restore(&to.access(), &saved));
        let whole = matches!(restored, Some(Ok(())));
        println!("fit {name} {:#x} {whole}", features[0]);
        assert_eq!(
            fit.is_whole(),
            whole,
            "{name} {features:x?}: {restored:?}\n{fit}"
        );
    }
}

/// A VM with two vCPUs, which are not initialized otherwise.
fn two_vcpus() -> (VmFd, [VcpuFd; 2]) {
    let vm = Kvm::new().unwrap().create_vm_with_type(32).unwrap();
    let vcpu = |n| {
        let vcpu = vm.create_vcpu(n).unwrap();
        let mut init = kvm_vcpu_init::default();
        vm.get_preferred_target(&mut init).unwrap();
        vcpu.vcpu_init(&init).unwrap();
        vcpu
    };
    let vcpus = [vcpu(0), vcpu(1)];
    (vm, vcpus)
}

fn number(vcpu: &impl RegisterAccess, id: u64) -> u64 {
    let mut value = [0; 8];
    vcpu.get(id, &mut value).unwrap();
    u64::from_le_bytes(value)
}

const CNTVCT: u64 = 0x6030_0000_0013_df1a;

/// Whichever vCPU is restored last: the clock of the VM goes on from that of the vCPU that was saved last.
#[test]
fn clock_of_a_vm_goes_on() {
    offer!();
    let frequency: u64;
    // SAFETY: The register can be read, and reading it changes nothing.
    unsafe { std::arch::asm!("mrs {}, cntfrq_el0", out(reg) frequency) };
    let (_source, from) = two_vcpus();
    let first = save(&VcpuRef::new(&from[0])).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let second = save(&VcpuRef::new(&from[1])).unwrap();
    let saved = [first, second];
    let clock =
        |saved: &SavedVcpu| u64::from_le_bytes(saved.value(CNTVCT).unwrap().try_into().unwrap());
    let last = clock(&saved[1]);
    assert!(last >= clock(&saved[0]) + frequency / 4);
    for order in [[0, 1], [1, 0]] {
        for (how, seconds) in [
            (Clock::Frozen, 0),
            (Clock::Advanced(Duration::from_secs(3600)), 3600),
        ] {
            let (_vm, to) = two_vcpus();
            for n in order {
                restore(&VcpuRef::new(&to[n]), &saved[n]).unwrap();
            }
            std::thread::sleep(Duration::from_millis(100));
            restore_clock(&VcpuRef::new(&to[order[0]]), &saved, how).unwrap();
            for vcpu in &to {
                let passed = number(&VcpuRef::new(vcpu), CNTVCT) - last;
                let wanted = seconds * frequency..(seconds + 600) * frequency;
                assert!(
                    wanted.contains(&passed),
                    "{how:?} {order:?}: {passed} of {wanted:?}"
                );
            }
        }
    }
}

/// What is not in registers, by descriptors.
#[test]
fn rest_of_a_vcpu_is_saved_and_restored() {
    offer!();
    let (_source, from) = two_vcpus();
    let mut rest = Rest::save(&from[0]).unwrap();
    assert_eq!((rest.mp_state, rest.serror_pending), (0, false));
    rest.mp_state = 5; // KVM_MP_STATE_STOPPED
    rest.serror_pending = true;
    rest.restore(&from[0]).unwrap();
    let rest = Rest::save(&from[0]).unwrap();
    assert_eq!((rest.mp_state, rest.serror_pending), (5, true));
    let (vm, to) = two_vcpus();
    rest.restore(&to[1]).unwrap();
    assert_eq!(Rest::save(&to[1]).unwrap(), rest);
    for error in [
        Rest::save(&Kvm::new().unwrap()).unwrap_err(),
        finish_exit(&vm).unwrap_err(),
    ] {
        assert!(matches!(error, Error::NotAVcpu(_)), "{error}");
    }
}

/// Another CPU's MIDR_EL1, in a VM that was made for it and in one that was not.
#[test]
fn vm_can_be_prepared_for_another_implementation() {
    const MIDR: u64 = 0x6030_0000_0013_c000;
    let offer = offer!();
    let (_source, from) = two_vcpus();
    let saved = save(&VcpuRef::new(&from[0])).unwrap();
    let vm = || Kvm::new().unwrap().create_vm_with_type(32).unwrap();
    assert!(!prepare_vm(&vm(), &saved, &offer).unwrap());
    let other = saved.registers().map(|(id, value)| match id {
        MIDR => (id, 0x410f_d4f0u64.to_le_bytes().to_vec()),
        _ => (id, value.to_vec()),
    });
    let other = SavedVcpu::new(None, other).unwrap();
    let (unprepared, to) = two_vcpus();
    let Err(Error::Partial { failed, .. }) = restore(&VcpuRef::new(&to[0]), &other) else {
        panic!("another MIDR_EL1 is taken");
    };
    assert_eq!(
        failed.iter().map(|write| write.id).collect::<Vec<_>>(),
        [MIDR]
    );
    // It has vCPUs already.
    assert!(prepare_vm(&unprepared, &other, &offer).is_err());

    let vm = vm();
    match prepare_vm(&vm, &other, &offer) {
        Ok(done) => assert!(done),
        Err(error) => return println!("skipped: {error}"),
    }
    let vcpu = vm.create_vcpu(0).unwrap();
    let mut init = kvm_vcpu_init::default();
    vm.get_preferred_target(&mut init).unwrap();
    vcpu.vcpu_init(&init).unwrap();
    restore(&VcpuRef::new(&vcpu), &other).unwrap();
    assert_eq!(number(&VcpuRef::new(&vcpu), MIDR), 0x410f_d4f0);
}

/// A guest that has less counters than its host.
#[test]
fn vcpu_can_be_prepared_for_its_counters() {
    const PMCR: u64 = 0x6030_0000_0013_dce0;
    let counters = |vcpu: &Vcpu| number(&vcpu.access(), PMCR) >> 11 & 31;
    offer!();
    let mut tried = 0;
    for more in [1 << 3, 1 << 3 | 1 << 7] {
        let (Some(from), Some(to)) = (
            Vcpu::with_features(&Config::default(), more),
            Vcpu::with_features(&Config::default(), more),
        ) else {
            println!("no vCPU with {more:#x}");
            continue;
        };
        tried += 1;
        let all = counters(&from);
        let saved = save(&from.access()).unwrap();
        assert!(!prepare_vcpu(&from.access(), &saved).unwrap());
        let less = saved.registers().map(|(id, value)| match id {
            PMCR => {
                let value = u64::from_le_bytes(value.try_into().unwrap());
                let value = value & !(31 << 11) | (all - 1) << 11;
                (id, value.to_le_bytes().to_vec())
            }
            _ => (id, value.to_vec()),
        });
        let less = SavedVcpu::new(None, less).unwrap();
        assert!(prepare_vcpu(&to.access(), &less).unwrap());
        assert_eq!(counters(&to), all - 1, "{more:#x}");
    }
    if tried == 0 {
        println!("skipped: no PMU for vCPUs");
    }
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
    let mut offer = offer!();
    let config = offer.config();
    let kvm = kvm();
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
        Some(again) => {
            // The rest are kinds that Machine::read() asks for besides.
            offer.kinds.truncate(again.kinds.len());
            assert_eq!(again, offer);
        }
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
    let access = VcpuRef::new(&vcpu);
    let with_pmu = SavedVcpu::new(None, [(0x6030_0000_0013_dce0, vec![0; 8])]).unwrap();
    for (name, done) in [
        ("finish_exit", finish_exit(&vcpu)),
        ("Rest::save", Rest::save(&vcpu).map(drop)),
        ("Rest::restore", Rest::default().restore(&vcpu)),
        ("prepare_vcpu", prepare_vcpu(&access, &with_pmu).map(drop)),
        ("differences", differences(&access, &saved).map(drop)),
        (
            "restore_clock",
            restore_clock(&access, &[saved], Clock::Frozen),
        ),
    ] {
        let good = matches!(done, Err(Error::NotInitialized));
        assert!(good, "{name}: {done:?}");
    }
    if config != Config::default() {
        let error = save(&Vcpu::new(&config).access()).unwrap_err();
        assert!(matches!(error, Error::NotFinalized), "{error}");
    }
}
