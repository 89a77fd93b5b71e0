// SPDX-License-Identifier: GPL-2.0-only

//! A guest that runs a stream, with what traps in it skipped and logged by the guest itself.
//!
//! It runs in EL1 with SP_EL0, so that a stream can do what it likes with SP: the handler of
//! exceptions has SP_EL1. What traps to EL2, if the vCPU has it, is handled there by the same code.
//! No page table maps anything but code, log and scratch memory: whatever address an instruction
//! makes up, it traps or stays inside.

use crate::{lengths::allowed, stream::Item};
use kvmtest::{
    fill::fill_vectors,
    guest_code,
    ktap::{fail, Complaints, Outcome},
    kvm::{uapi, Errno, Kvm, Vcpu},
    names::name,
    random::Random,
    reg::{RegId, Value},
    state::{self, restore, same, State},
    vcpus::{Kind, TestVm},
    vectors::{za, Mode, MAX_ROWS},
};

/// Guest memory, and what is where in it.
const MEMORY: u64 = 0x8000_0000;
const VECTORS: u64 = MEMORY;
pub const CODE: u64 = MEMORY + 0x1000;
const LOG: u64 = MEMORY + 0x8000;
const LOG_EL2: u64 = MEMORY + 0xc000;
const SCRATCH: u64 = MEMORY + 0x1_0000;
const TABLES: u64 = MEMORY + 0x3_0000;
const BYTES: usize = 0x3_3000;

/// How many instructions there is room for.
pub const MOST_WORDS: usize = (LOG - CODE) as usize / size_of::<u32>() - 1;
/// Where prepared addresses are: what is near them on both sides is scratch memory too.
pub const ADDRESSES: u64 = SCRATCH + (TABLES - SCRATCH) / 2;

const PAGE: u64 = 4096;
/// Of a descriptor: valid, a table or a page; accessed and inner shareable; read-only.
const TABLE: u64 = 3;
const NORMAL: u64 = TABLE | 1 << 10 | 3 << 8;
const READ_ONLY: u64 = 1 << 7;

const BRK: u32 = 0xd420_0000;
/// Exception classes of exits.
const STEP: u32 = 0x32;
const BREAK: u32 = 0x3c;

guest_code! {
    /// Logs ELR_EL1 and ESR_EL1, and goes on behind the instruction. In EL2 they are those of EL2.
    fn skipping_handler, guest_skip_start, guest_skip_end;
    "str    x0, [sp, #16]",
    "mrs    x0, esr_el1",
    "str    x0, [sp, #8]",
    "mrs    x0, elr_el1",
    "add    x0, x0, #4",
    "msr    elr_el1, x0",
    "str    x0, [sp], #16",
    "ldr    x0, [sp]",
    "eret",
}

const SP_EL0: RegId = RegId::new(RegId::PC.raw() - 2);
const SP_EL1: RegId = RegId::new(RegId::PC.raw() + 4);
const SP_EL2: RegId = RegId::sys(3, 6, 4, 1, 0);
const SPSR_EL1: RegId = RegId::new(RegId::PC.raw() + 8);
const SPSR_EL2: RegId = RegId::sys(3, 4, 4, 0, 0);
pub const SMCR_EL1: RegId = RegId::sys(3, 0, 1, 2, 6);
pub const SMCR_EL2: RegId = RegId::sys(3, 4, 1, 2, 6);
const ZCR_EL2: RegId = RegId::sys(3, 4, 1, 2, 0);
/// Exceptions masked, EL1 or EL2 with SP_EL0.
pub const EL1T: u64 = 0x3c4;
pub const EL2T: u64 = 0x3c8;
/// Single-stepping shows in PSTATE, and where that is saved when an exception is taken.
const SS: u64 = 1 << 21;

/// What a vCPU is given, as far as it has it: the bits that it keeps, and those that are set.
#[rustfmt::skip]
const SET_UP: [(RegId, u64, u64); 21] = [
    (RegId::PC,                    0, CODE),
    (RegId::PSTATE,                0, EL1T),
    (SP_EL0,                       0, ADDRESSES),
    (SP_EL1,                       0, LOG),
    (RegId::sys(3, 0, 12, 0, 0),   0, VECTORS),             // VBAR_EL1
    (RegId::sys(3, 0, 2, 0, 0),    0, TABLES),              // TTBR0_EL1
    // TCR_EL1: 32-bit addresses, inner shareable and cached tables of 4-KiB pages, no TTBR1
    (RegId::sys(3, 0, 2, 0, 2),    0, 32 | 1 << 8 | 1 << 10 | 3 << 12 | 1 << 23),
    (RegId::sys(3, 0, 10, 2, 0),   0, 0xff),                // MAIR_EL1: normal memory
    (RegId::sys(3, 0, 1, 0, 0),   !0, 1 << 12 | 1 << 2 | 1), // SCTLR_EL1: I, C, M
    (RegId::sys(3, 0, 1, 0, 2),    0, 0x0333_0000),         // CPACR_EL1: FPEN, ZEN, SMEN
    (RegId::sys(3, 0, 1, 2, 0),    0, 15),                  // ZCR_EL1
    (SMCR_EL1,                     0, 15),
    // And nothing that there is traps to a guest hypervisor
    (SP_EL2,                       0, LOG_EL2),
    (RegId::sys(3, 4, 12, 0, 0),   0, VECTORS),             // VBAR_EL2
    (RegId::sys(3, 4, 1, 1, 0),   !0, 1 << 31),             // HCR_EL2: RW
    (RegId::sys(3, 4, 1, 2, 2),   !0, 1 << 23),             // HCRX_EL2: EnFPM
    (RegId::sys(3, 4, 1, 1, 2),    0, 0x0333_0000),         // CPTR_EL2, as CPACR_EL1
    (ZCR_EL2,                      0, 15),
    (SMCR_EL2,                     0, 15),
    (RegId::sys(3, 4, 1, 1, 4),   !0, 1 << 55),             // HFGRTR_EL2: nTPIDR2_EL0
    (RegId::sys(3, 4, 1, 1, 5),   !0, 1 << 55),             // HFGWTR_EL2: nTPIDR2_EL0
];

/// All that there is of a guest while it does not run.
pub struct Saved {
    mode: Mode,
    state: State,
    memory: Vec<u64>,
}

impl Saved {
    /// The instructions that trapped, by their number, with the syndrome.
    pub fn traps(&self) -> Vec<(usize, u64)> {
        let mut found = Vec::new();
        for (sp, log) in [(SP_EL1, LOG), (SP_EL2, LOG_EL2)] {
            let end = self.state.iter().find(|(id, _)| *id == sp);
            let end = end.map_or(log, |(_, value)| value.low());
            let at = |address: u64| (address - MEMORY) as usize / 8;
            let entries = self.memory[at(log)..at(end)].chunks_exact(2);
            found.extend(entries.map(|entry| ((entry[0] - CODE) as usize / 4 - 1, entry[1])));
        }
        found
    }

    /// How many bytes of a register the guest sees. Those above are zero or what they were, as the
    /// CPU likes, and an exit can change that (Arm ARM, changes of the vector length).
    fn bytes_seen(&self, id: RegId) -> usize {
        match (0..MAX_ROWS).find(|n| za(*n) == id) {
            Some(n) if n >= self.mode.svl as u64 => 0,
            _ => self.mode.bytes_of(id),
        }
    }

    /// What is not the same in another one.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let ids = |saved: &Self| saved.state.iter().map(|(id, _)| *id).collect::<Vec<_>>();
        if ids(self) != ids(other) {
            return vec!["other registers are listed".into()];
        }
        for ((id, a), (_, b)) in self.state.iter().zip(&other.state) {
            let seen = self.bytes_seen(*id);
            if a.bytes()[..seen] != b.bytes()[..seen] && !same(*id, a, b) {
                found.push(format!("{} is {a} at one go, {b} in steps", name(*id)));
            }
        }
        let pairs = self.memory.iter().zip(&other.memory);
        let first = pairs.clone().position(|(a, b)| a != b);
        if let Some(first) = first {
            let count = pairs.filter(|(a, b)| a != b).count();
            let at = MEMORY + 8 * first as u64;
            found.push(format!("{count} words of memory differ from {at:#x} on"));
        }
        found
    }
}

/// A guest in a VM of its own.
pub struct Guest {
    test: TestVm,
    kind: Kind,
    /// Where the stream ends.
    end: u64,
}

impl Guest {
    /// One that is about to run a stream. All it has is made up from the seed.
    pub fn new(kvm: &Kvm, kind: &Kind, items: &[Item], seed: u64) -> Outcome<Self> {
        let mut random = Random(seed);
        let mut test = kind.test_vm(kvm, 1)?;
        test.vm.add_memory(MEMORY, BYTES)?;
        let words = (SCRATCH - MEMORY) as usize / 8..(TABLES - MEMORY) as usize / 8;
        let scratch: Vec<_> = words.map(|_| random.number()).collect();
        test.vm.write(SCRATCH, &scratch);
        for (at, entry) in page_tables() {
            test.vm.write(at, &[entry]);
        }
        // From the current EL with SP_EL0, and from a lower EL. No other vector is ever taken.
        let mut vectors = vec![BRK; PAGE as usize / size_of::<u32>()];
        let handler = skipping_handler();
        for at in [0, 0x400 / size_of::<u32>()] {
            vectors[at..at + handler.len()].copy_from_slice(handler);
        }
        test.vm.write(VECTORS, &pack(&vectors));
        let mut code: Vec<_> = items.iter().flat_map(|item| item.words.clone()).collect();
        let end = CODE + (code.len() * size_of::<u32>()) as u64;
        code.push(BRK);
        test.vm.write(CODE, &pack(&code));

        let vcpu = &test.vcpus[0];
        let mode = kind.mode(vcpu)?;
        for n in 0..31 {
            vcpu.set(RegId::x(n), &random.value(8))?;
        }
        if mode.sme {
            vcpu.set(RegId::TPIDR2_EL0, &random.value(8))?;
        }
        let list = vcpu.list()?;
        for (id, keep, bits) in SET_UP.into_iter().filter(|(id, ..)| list.contains(id)) {
            let mut value = vcpu.get(id)?.low() & keep | bits;
            if [SMCR_EL1, SMCR_EL2].contains(&id) {
                value |= u64::from(mode.fa64) << 31 | u64::from(mode.sme2) << 30;
            }
            // A guest hypervisor can allow less than the greatest length.
            if [ZCR_EL2, SMCR_EL2].contains(&id) {
                value &= !(random.below(2) * random.below(16)) as u64;
            }
            vcpu.set(id, &Value::from_u64(value, 8))?;
        }
        fill_vectors(vcpu, mode, &mut random)?;
        vcpu.debug(false)?;
        Ok(Self {
            test,
            kind: *kind,
            end,
        })
    }

    pub fn vcpu(&self) -> &Vcpu {
        &self.test.vcpus[0]
    }

    /// With the vector lengths that EL2 allows, if the vCPU has it.
    pub fn mode(&self) -> Outcome<Mode> {
        let mut mode = self.kind.mode(self.vcpu())?;
        let low = |id| self.vcpu().get(id).map(|value| value.low());
        if let (Ok(vqs), Ok(zcr)) = (low(RegId::SVE_VLS), low(ZCR_EL2)) {
            mode.vl = allowed(vqs, zcr);
        }
        if let (Ok(vqs), Ok(smcr)) = (low(RegId::SME_VLS), low(SMCR_EL2)) {
            mode.svl = allowed(vqs, smcr);
        }
        Ok(mode)
    }

    /// Runs to where the stream ends, or to the next instruction if the vCPU is stepped. Returns
    /// whether the stream has ended.
    pub fn run(&self) -> Outcome<bool> {
        loop {
            match self.vcpu().run() {
                Ok(uapi::KVM_EXIT_DEBUG) => break,
                Err(Errno::EINTR) => {}
                other => return Err(fail(format!("{}: exit {other:?}", self.kind))),
            }
        }
        let pc = self.vcpu().get(RegId::PC)?.low();
        match self.vcpu().debug_class() {
            STEP => Ok(false),
            BREAK if pc == self.end => Ok(true),
            class => Err(fail(format!(
                "{}: stopped at {pc:#x}, exception class {class:#x}",
                self.kind
            ))),
        }
    }

    /// What it is. Stops the vCPU's being stepped.
    pub fn save(&self) -> Outcome<Saved> {
        self.vcpu().debug(false)?;
        let mut state = state::save(self.vcpu())?;
        for (id, value) in &mut state {
            if [RegId::PSTATE, SPSR_EL1, SPSR_EL2].contains(id) {
                *value = Value::from_u64(value.low() & !SS, 8);
            }
        }
        Ok(Saved {
            mode: self.mode()?,
            state,
            memory: self.test.vm.read(MEMORY, BYTES / 8),
        })
    }

    /// The same guest in another VM, restored from what is saved of it.
    pub fn moved(&self, kvm: &Kvm) -> Outcome<Self> {
        let saved = self.save()?;
        let mut test = self.kind.bare(kvm, 1)?;
        test.vm.add_memory(MEMORY, BYTES)?;
        test.vm.write(MEMORY, &saved.memory);
        let mut complaints = Complaints::default();
        for (id, error) in restore(&test.vcpus[0], &saved.state) {
            complaints.check(false, || format!("writing {} gives {error}", name(id)));
        }
        complaints.outcome()?;
        Ok(Self { test, ..*self })
    }
}

/// Two instructions a word.
fn pack(code: &[u32]) -> Vec<u64> {
    let word = |pair: &[u32]| {
        pair.iter()
            .rev()
            .fold(0, |word, half| word << 32 | u64::from(*half))
    };
    code.chunks(2).map(word).collect()
}

/// Three levels of tables, a page each, that map all pages below them at their own address: where
/// each entry is, and what it is.
fn page_tables() -> Vec<(u64, u64)> {
    let [first, second, third] = [0, 1, 2].map(|n| TABLES + n * PAGE);
    let mut entries = vec![
        (first + 8 * (MEMORY >> 30), second | TABLE),
        (second, third | TABLE),
    ];
    for page in 0..(TABLES - MEMORY) / PAGE {
        let at = MEMORY + page * PAGE;
        let access = if at < LOG { READ_ONLY } else { 0 };
        entries.push((third + 8 * page, at | NORMAL | access));
    }
    entries
}
