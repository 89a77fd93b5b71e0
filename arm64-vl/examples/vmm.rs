// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! A VMM whose guest computes in ZA in streaming mode, is saved in the middle of it, and goes on in a
//! new process. Without SME the guest computes in Z, without SVE in V.
//!
//! usage: vmm start FILE; vmm resume FILE

#[cfg(not(target_arch = "aarch64"))]
fn main() {
    eprintln!("vmm: needs an arm64 machine with KVM");
    std::process::exit(1);
}

#[cfg(target_arch = "aarch64")]
fn main() -> std::process::ExitCode {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let done = match &args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["start", file] => vmm::start(file),
        ["resume", file] => vmm::resume(file),
        _ => Err("usage: vmm start FILE; vmm resume FILE".into()),
    };
    done.map_or_else(
        |error| {
            eprintln!("vmm: {error}");
            std::process::ExitCode::FAILURE
        },
        |words| {
            println!("{words}");
            std::process::ExitCode::SUCCESS
        },
    )
}

#[cfg(target_arch = "aarch64")]
mod vmm {
    use arm64_vl::{finish_exit, restore, save, Offer, RegisterAccess, SavedVcpu, VcpuRef};
    use kvm_bindings::{kvm_userspace_memory_region, kvm_vcpu_init, KVM_ARM_VCPU_SVE};
    use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};
    use serde::{Deserialize, Serialize};
    use std::{
        arch::global_asm,
        error, fs, slice,
        sync::atomic::{AtomicU32, Ordering},
    };

    type Result<T> = std::result::Result<T, Box<dyn error::Error>>;

    /// Where the guest has its memory: a page of code, then what it has computed.
    const MEMORY: u64 = 0x8000_0000;
    const PAGES: usize = 17;
    /// No memory is here: a store leaves to the VMM.
    const OUTSIDE: u64 = 0x1000_0000;
    const STEPS: u64 = 8;
    /// The step after which the guest is saved.
    const SAVED_AFTER: u64 = 4;

    const HAS_SVE: u64 = 1;
    const HAS_SME: u64 = 2;

    global_asm!(
        r"
        .pushsection .rodata
        .balign 16
        .arch_extension sve
        .arch_extension sme
    vmm_guest:                              // X0: results, X1: outside, X2: features
        mov     w3, #0x03330000             // no trap of FP, SVE and SME
        msr     cpacr_el1, x3
        isb
        mov     x3, #15                     // the greatest lengths
        mov     w4, #1
        tbnz    x2, #1, 10f
        tbnz    x2, #0, 20f

        adr     x5, 90f                     // V2 += V0 * step
        ldr     q0, [x5]
        movi    v2.4s, #0
    1:  dup     v1.4s, w4
        scvtf   v1.4s, v1.4s
        fmla    v2.4s, v0.4s, v1.4s
        str     x4, [x1]
        add     w4, w4, #1
        cmp     w4, #8
        b.ls    1b
        str     q2, [x0]
        b       80f

    10: msr     S3_0_C1_C2_6, x3            // SMCR_EL1
        isb
        mov     x3, #3
        msr     S3_3_C4_C2_2, x3            // SVCR: SM and ZA
        ptrue   p0.s                        // ZA0 += Z0 x (Z0 * step)
        index   z0.s, #1, #1
        scvtf   z0.s, p0/m, z0.s
    1:  mov     z1.s, w4
        scvtf   z1.s, p0/m, z1.s
        fmul    z1.s, z1.s, z0.s
        fmopa   za0.s, p0/m, p0/m, z0.s, z1.s
        str     x4, [x1]
        add     w4, w4, #1
        cmp     w4, #8
        b.ls    1b
        rdsvl   x5, #1
        mov     w12, #0
    2:  str     za[w12, 0], [x0]            // row n of ZA0 is row 4 n of ZA
        add     x0, x0, x5
        add     w12, w12, #4
        cmp     w12, w5
        b.lo    2b
        b       80f

    20: msr     S3_0_C1_C2_0, x3            // ZCR_EL1
        isb
        ptrue   p0.s                        // Z2 += Z0 * step
        index   z0.s, #1, #1
        scvtf   z0.s, p0/m, z0.s
        mov     z2.s, #0
    1:  mov     z1.s, w4
        scvtf   z1.s, p0/m, z1.s
        fmla    z2.s, p0/m, z0.s, z1.s
        str     x4, [x1]
        add     w4, w4, #1
        cmp     w4, #8
        b.ls    1b
        str     z2, [x0]

    80: str     xzr, [x1]
        b       80b
        .balign 16
    90: .single 1.0, 2.0, 3.0, 4.0
    vmm_guest_end:
        .popsection
        "
    );

    extern "C" {
        static vmm_guest: u8;
        static vmm_guest_end: u8;
    }

    /// A page of memory that the guest writes while the VMM has it too.
    #[repr(C, align(4096))]
    struct Page([AtomicU32; 1024]);

    /// What is in the file: all that the guest is.
    #[derive(Serialize, Deserialize)]
    struct SavedGuest {
        features: u64,
        memory: Vec<u32>,
        vcpu: SavedVcpu,
    }

    struct Machine {
        vcpu: VcpuFd,
        // In the order in which they have to go: the VM accesses the memory.
        _vm: VmFd,
        memory: Vec<Page>,
    }

    impl Machine {
        /// A VM with one vCPU, which is not finalized.
        fn new(features: u64) -> Result<Self> {
            let kvm = Kvm::new()?;
            let vm = kvm.create_vm_with_type(0)?; // 40 bits of address
            let page = || Page([const { AtomicU32::new(0) }; 1024]);
            let memory: Vec<_> = (0..PAGES).map(|_| page()).collect();
            let region = kvm_userspace_memory_region {
                slot: 0,
                flags: 0,
                guest_phys_addr: MEMORY,
                memory_size: (PAGES * size_of::<Page>()) as u64,
                userspace_addr: memory.as_ptr() as u64,
            };
            // SAFETY: The pages outlive the VM, and are accessed by atomic operations alone.
            unsafe { vm.set_user_memory_region(region)? };

            let vcpu = vm.create_vcpu(0)?;
            let mut init = kvm_vcpu_init::default();
            vm.get_preferred_target(&mut init)?;
            if features & HAS_SVE != 0 {
                init.features[0] |= 1 << KVM_ARM_VCPU_SVE;
            }
            if features & HAS_SME != 0 {
                init.features[0] |= 1 << 10; // KVM_ARM_VCPU_SME
            }
            vcpu.vcpu_init(&init)?;
            Ok(Self {
                vcpu,
                _vm: vm,
                memory,
            })
        }

        fn words(&self) -> impl Iterator<Item = &AtomicU32> {
            self.memory.iter().flat_map(|page| &page.0)
        }

        /// Runs until the guest has done `step`; 0 is the end.
        fn run_to(&mut self, step: u64) -> Result<()> {
            loop {
                match self.vcpu.run()? {
                    VcpuExit::MmioWrite(OUTSIDE, data) if data == step.to_le_bytes() => {
                        return Ok(())
                    }
                    VcpuExit::MmioWrite(OUTSIDE, data) if data != [0; 8] => {}
                    exit => return Err(format!("the guest left by {exit:?}").into()),
                }
            }
        }
    }

    /// The id of a general-purpose register, or of PC, which is the 32nd.
    const fn core(n: u64) -> u64 {
        0x6030_0000_0010_0000 + 2 * n
    }

    pub fn start(file: &str) -> Result<String> {
        let offer = Offer::read()?;
        let has = |has: bool, flag| if has { flag } else { 0 };
        let features = has(!offer.sve.is_empty(), HAS_SVE) | has(!offer.sme.is_empty(), HAS_SME);
        let mut machine = Machine::new(features)?;

        // SAFETY: The two symbols are the bounds of the code, which is not changed.
        let code = unsafe {
            let len = (&raw const vmm_guest_end).offset_from(&raw const vmm_guest);
            slice::from_raw_parts(&raw const vmm_guest, len.try_into()?)
        };
        for (word, bytes) in machine.words().zip(code.chunks_exact(4)) {
            word.store(u32::from_le_bytes(bytes.try_into()?), Ordering::Relaxed);
        }
        let vcpu = VcpuRef::new(&machine.vcpu);
        if features != 0 {
            vcpu.finalize()?;
        }
        let arguments = [MEMORY + 4096, OUTSIDE, features];
        for (id, value) in (0..).map(core).zip(arguments).chain([(core(32), MEMORY)]) {
            vcpu.set(id, &value.to_le_bytes())?;
        }

        machine.run_to(SAVED_AFTER)?;
        // The store that the guest has left by is done only when it is run again.
        finish_exit(&machine.vcpu)?;
        let words = machine.words().map(|word| word.load(Ordering::Relaxed));
        let saved = SavedGuest {
            features,
            memory: words.collect(),
            vcpu: save(&VcpuRef::new(&machine.vcpu))?,
        };
        fs::write(file, serde_json::to_string(&saved)?)?;
        Ok(format!(
            "saved after step {SAVED_AFTER}: {} registers",
            saved.vcpu.len()
        ))
    }

    pub fn resume(file: &str) -> Result<String> {
        let saved: SavedGuest = serde_json::from_str(&fs::read_to_string(file)?)?;
        let mut machine = Machine::new(saved.features)?;
        for (word, value) in machine.words().zip(&saved.memory) {
            word.store(*value, Ordering::Relaxed);
        }
        restore(&VcpuRef::new(&machine.vcpu), &saved.vcpu)?;
        for step in SAVED_AFTER + 1..=STEPS {
            machine.run_to(step)?;
        }
        machine.run_to(0)?;

        let (svl, vl) = (saved.vcpu.sme().greatest(), saved.vcpu.sve().greatest());
        let (rows, bytes, what) = match (svl, vl) {
            (Some(svl), _) => (svl / 4, svl, "ZA"),
            (None, Some(vl)) => (1, vl, "Z"),
            (None, None) => (1, 16, "V"),
        };
        let sum: u64 = (1..=STEPS).sum();
        let (rows, columns) = (u64::from(rows), u64::from(bytes / 4));
        let products = (1..=rows).flat_map(|row| (1..=columns).map(move |column| row * column));
        let results = machine.words().skip(1024);
        for (n, (product, result)) in products.zip(results).enumerate() {
            let is = f32::from_bits(result.load(Ordering::Relaxed));
            if is != (product * sum) as f32 {
                return Err(format!("{what}: number {n} is {is}, not {}", product * sum).into());
            }
        }
        Ok(format!(
            "finished in {what}: {} numbers are right",
            rows * columns
        ))
    }
}
