// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! The words of the command, of which the manual page and the completions are made as well.

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// SVE and SME vector lengths of this machine: of its processes, of its vCPUs, and which pairs a
/// vCPU can have
#[derive(Parser)]
#[command(name = "vlmatrix", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The description of this machine as JSON, for "vlmatrix pool"
    #[arg(long)]
    pub json: bool,
    /// Asks KVM for a vCPU with these bits of KVM_ARM_VCPU_INIT too: SVE (4), SME (10), a PMU (3), pointer
    /// authentication (5,6) and EL2 (7) are there in any case, each with each
    #[arg(long, requires = "json", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(..224))]
    pub features: Vec<u32>,
    /// The pairs as a picture
    #[arg(long, conflicts_with = "json")]
    pub svg: bool,
    /// Makes a vCPU of every pair, and says which of them KVM refuses
    #[arg(long, conflicts_with_all = ["json", "svg"])]
    pub r#try: bool,
    /// What to call this machine; its host name by default
    #[arg(long)]
    pub name: Option<String>,
}

#[derive(Subcommand)]
pub enum Command {
    /// The greatest vCPU that runs on all machines, from what "vlmatrix --json" printed on each
    Pool {
        /// What "vlmatrix --json" printed
        #[arg(required = true)]
        machines: Vec<PathBuf>,
        #[command(flatten)]
        wanted: Wanted,
        /// A vCPU with these bits of KVM_ARM_VCPU_INIT, such as 3 for a PMU, 5,6 for pointer authentication
        #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u32).range(..224))]
        features: Vec<u32>,
        /// Parts the machines into as many pools at most, so that guests have the most
        #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
        groups: Option<u16>,
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
    /// Whether machines take a saved vCPU, before one is made there: what would be missing, extra, refused, lowered
    /// or harmless
    Fit {
        /// The saved vCPU; one that has not run yet will do
        vcpu: PathBuf,
        /// What "vlmatrix --json" printed on each machine
        #[arg(required = true)]
        machines: Vec<PathBuf>,
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
    /// The value of QEMU's -cpu and libvirt's element "cpu" for a vCPU
    Qemu {
        #[command(flatten)]
        wanted: Wanted,
        /// QEMU's model
        #[arg(long, default_value = "host")]
        cpu: String,
        /// The element of libvirt instead
        #[arg(long)]
        libvirt: bool,
    },
    /// In which registers and fields two saved vCPUs, two lists of ids or two machines differ: "-" is what the
    /// first has alone, "+" the second, "!" what both have otherwise
    Diff {
        /// A saved vCPU, what "vlmatrix --json" printed, or ids such as 0x6030000000100000, a line each
        first: PathBuf,
        /// The same of the other one
        second: PathBuf,
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

/// A vCPU. Of "pool", why it does not run on a machine; of "state", this machine's by default; of "qemu", one
/// without SVE and SME by default.
#[derive(Args)]
pub struct Wanted {
    /// SVE vector lengths in bytes, such as 16,32,48,64
    #[arg(long, value_delimiter = ',')]
    pub sve: Vec<u32>,
    /// SME vector lengths in bytes
    #[arg(long, value_delimiter = ',')]
    pub sme: Vec<u32>,
    /// With SME2
    #[arg(long)]
    pub sme2: bool,
    /// With FA64
    #[arg(long)]
    pub fa64: bool,
}
