// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! Writes the manual pages of vlmatrix, and what completes its words in shells, into a folder.
//!
//! usage: vlmatrix-man FOLDER

#[path = "vlmatrix/cli.rs"]
#[allow(dead_code)] // Nobody asks what was given here.
mod cli;

use clap::CommandFactory;
use clap_complete::{generate_to, Shell};
use std::{env, fs, io, path::Path, process::ExitCode};

fn write(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    clap_mangen::generate_to(cli::Cli::command(), folder)?;
    for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
        generate_to(shell, &mut cli::Cli::command(), "vlmatrix", folder)?;
    }
    Ok(())
}

fn main() -> ExitCode {
    let Some(folder) = env::args_os().nth(1) else {
        eprintln!("usage: vlmatrix-man FOLDER");
        return ExitCode::FAILURE;
    };
    match write(Path::new(&folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vlmatrix-man: {error}");
            ExitCode::FAILURE
        }
    }
}
