// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! Prints the vector lengths and state sizes of this machine, of a pool of machines, or of a process.

mod answers;
mod picture;
mod text;

use answers::{PoolAnswer, StateAnswer};
use arm64_vl::{pool, try_config, Config, Error, Lengths, Machine, Matrix, Pair, ThreadView};
use clap::{Args, Parser, Subcommand};
use serde::Serialize;
use std::{fs, io, io::Write, path::PathBuf, process::ExitCode};

/// SVE and SME vector lengths of this machine: of its processes, of its vCPUs, and which pairs a
/// vCPU can have
#[derive(Parser)]
#[command(name = "vlmatrix", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// The description of this machine as JSON, for "vlmatrix pool"
    #[arg(long)]
    json: bool,
    /// The pairs as a picture
    #[arg(long, conflicts_with = "json")]
    svg: bool,
    /// Makes a vCPU of every pair, and says which of them KVM refuses
    #[arg(long, conflicts_with_all = ["json", "svg"])]
    r#try: bool,
    /// What to call this machine; its host name by default
    #[arg(long)]
    name: Option<String>,
}

#[derive(Subcommand)]
enum Command {
    /// The greatest vCPU that runs on all machines, from what "vlmatrix --json" printed on each
    Pool {
        /// What "vlmatrix --json" printed
        #[arg(required = true)]
        machines: Vec<PathBuf>,
        #[command(flatten)]
        wanted: Wanted,
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
    /// How many registers and bytes the state of a vCPU is, in every mode
    State {
        #[command(flatten)]
        wanted: Wanted,
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
    /// In which mode the threads of a process are, and how much vector state they have
    Pid {
        /// The process
        pid: i32,
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
}

/// A vCPU. Of "pool", why it does not run on a machine; of "state", this machine's by default.
#[derive(Args)]
struct Wanted {
    /// SVE vector lengths in bytes, such as 16,32,48,64
    #[arg(long, value_delimiter = ',')]
    sve: Vec<u32>,
    /// SME vector lengths in bytes
    #[arg(long, value_delimiter = ',')]
    sme: Vec<u32>,
    /// With SME2
    #[arg(long)]
    sme2: bool,
    /// With FA64
    #[arg(long)]
    fa64: bool,
}

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
        Ok(serde_json::to_string_pretty(answer)? + "\n")
    } else {
        Ok(text(answer))
    }
}

fn machine_of(path: &PathBuf) -> Result<Machine, Box<dyn std::error::Error>> {
    let name = path.display();
    let text =
        fs::read_to_string(path).map_err(|error| format!("{name} cannot be read: {error}"))?;
    Ok(Machine::from_json(&text).map_err(|error| format!("{name}: {error}"))?)
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
        Ok::<_, Error>(machine)
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
                .then(|| try_all(&Matrix::of(&machine.kvm.unwrap_or_default())));
            let good = tried.iter().flatten().all(|(_, error)| error.is_none());
            (
                text::machine(&machine) + &text::tried(tried.as_deref()),
                good,
            )
        }
        Some(Command::Pool {
            machines,
            wanted,
            json,
        }) => {
            let machines = machines
                .iter()
                .map(machine_of)
                .collect::<Result<Vec<_>, _>>()?;
            let common = pool(&machines)?;
            let wanted = wanted.config()?;
            let good =
                wanted.is_none_or(|config| machines.iter().all(|m| config.why_not(m).is_empty()));
            let answer = PoolAnswer::new(&machines, common, wanted);
            (shown(&answer, json, text::pool)?, good)
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
