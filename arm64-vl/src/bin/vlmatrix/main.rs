// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! Prints the vector lengths and state sizes of this machine, of a pool of machines, or of a process.

mod answers;
mod cli;
mod compare;
mod picture;
mod text;

use answers::{FitAnswer, PoolAnswer, StateAnswer};
use arm64_vl::{
    ascii_json, try_config, Config, Error, Lengths, Machine, Matrix, Pair, SavedVcpu, ThreadView,
};
use clap::Parser;
use cli::{Cli, Command, Wanted};
use compare::Side;
use serde::Serialize;
use std::{fs, io, io::Write, path::PathBuf, process::ExitCode};

impl Wanted {
    fn config(&self) -> Result<Option<Config>, Error> {
        let config = Config {
            sve: Lengths::new(self.sve.iter().copied())?,
            sme: Lengths::new(self.sme.iter().copied())?,
            sme2: self.sme2,
            fa64: self.fa64,
        };
        config.check()?;
        Ok(Some(config).filter(|config| *config != Config::default()))
    }
}

/// An answer as JSON, or as the text that is made of it.
fn shown<T: Serialize + ?Sized>(
    answer: &T,
    json: bool,
    text: fn(&T) -> String,
) -> Result<String, serde_json::Error> {
    if json {
        Ok(ascii_json(answer)? + "\n")
    } else {
        Ok(text(answer))
    }
}

fn machine_of(path: &PathBuf) -> Result<Machine, Box<dyn std::error::Error>> {
    let name = path.display();
    Ok(Machine::from_json(&text_of(path)?).map_err(|error| format!("{name}: {error}"))?)
}

fn text_of(path: &PathBuf) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
}

/// The member `features` of `struct kvm_vcpu_init` with these bits.
fn features_of(bits: &[u32]) -> [u32; 7] {
    let mut features = [0; 7];
    for bit in bits {
        features[*bit as usize / 32] |= 1 << (bit % 32);
    }
    features
}

fn try_all(matrix: &Matrix) -> Vec<(Pair, Option<Error>)> {
    let attempt = |pair: Pair| {
        let config = matrix.config(pair.sve, pair.sme);
        (pair, try_config(&config).err())
    };
    matrix.pairs().map(attempt).collect()
}

fn run(cli: Cli) -> Result<(String, bool), Box<dyn std::error::Error>> {
    let machine = || {
        let mut machine = Machine::read()?;
        machine.name = cli.name.unwrap_or(machine.name);
        if let (Some(offer), false) = (&mut machine.kvm, cli.features.is_empty()) {
            let kvm = fs::File::options()
                .read(true)
                .write(true)
                .open("/dev/kvm")?;
            if !offer.also(&kvm, features_of(&cli.features))? {
                return Err("KVM has no vCPU with these features".into());
            }
        }
        Ok::<_, Box<dyn std::error::Error>>(machine)
    };
    Ok(match cli.command {
        None if cli.json => (machine()?.to_json()? + "\n", true),
        None if cli.svg => (picture::svg(&machine()?), true),
        None => {
            let machine = machine()?;
            if cli.r#try && machine.kvm.is_none() {
                return Err(format!("nothing to try: {}", machine.missing.join("; ")).into());
            }
            let tried = cli
                .r#try
                .then(|| try_all(&Matrix::of(&machine.kvm.clone().unwrap_or_default())));
            let good = tried.iter().flatten().all(|(_, error)| error.is_none());
            (
                text::machine(&machine) + &text::tried(tried.as_deref()),
                good,
            )
        }
        Some(Command::Pool {
            machines,
            wanted,
            features,
            groups,
            json,
        }) => {
            let machines = machines
                .iter()
                .map(machine_of)
                .collect::<Result<Vec<_>, _>>()?;
            let answer = PoolAnswer::new(
                &machines,
                wanted.config()?,
                (!features.is_empty()).then(|| features_of(&features)),
                groups.map(usize::from),
            )?;
            let good = answer.is_good();
            (shown(&answer, json, text::pool)?, good)
        }
        Some(Command::Qemu {
            wanted,
            cpu,
            libvirt,
        }) => {
            let config = wanted.config()?.unwrap_or_default();
            let text = match libvirt {
                true => config.libvirt_cpu()?,
                false => config.qemu_cpu(&cpu)? + "\n",
            };
            (text, true)
        }
        Some(Command::State { wanted, json }) => {
            let offer = Machine::read()?.kvm;
            let config = match (wanted.config()?, &offer) {
                (Some(config), _) => config,
                (None, Some(offer)) => offer.config(),
                (None, None) => {
                    return Err("no vCPU here: say which one, with --sve or --sme".into())
                }
            };
            let answer = StateAnswer::new(&config, offer.as_ref());
            (shown(&answer, json, text::state)?, true)
        }
        Some(Command::Fit {
            vcpu,
            machines,
            json,
        }) => {
            let saved = SavedVcpu::from_json(&text_of(&vcpu)?)
                .map_err(|error| format!("{}: {error}", vcpu.display()))?;
            let fits = machines.iter().map(|path| {
                let machine = machine_of(path)?;
                Ok::<_, Box<dyn std::error::Error>>(FitAnswer::new(&saved, &machine))
            });
            let answers = fits.collect::<Result<Vec<_>, _>>()?;
            let good = answers.iter().all(|answer| answer.whole);
            (shown(&answers[..], json, text::fits)?, good)
        }
        Some(Command::Diff {
            first,
            second,
            json,
        }) => {
            let side = |path: &PathBuf| {
                let side = Side::read(&text_of(path)?);
                side.map_err(|error| format!("{}: {error}", path.display()))
            };
            let sections = Side::diff(&side(&first)?, &side(&second)?)?;
            let good = sections.iter().all(|section| section.is_harmless());
            (shown(&sections[..], json, text::sections)?, good)
        }
        Some(Command::Pid { pid, json }) => {
            let threads = ThreadView::of_process(pid)?;
            (shown(&threads[..], json, text::threads)?, true)
        }
    })
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok((text, good)) => match io::stdout().write_all(text.as_bytes()) {
            Ok(()) if good => ExitCode::SUCCESS,
            // Who reads a part of it has what he wanted.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        },
        Err(error) => {
            eprintln!("vlmatrix: {error}");
            ExitCode::FAILURE
        }
    }
}
