//! `gatehouse manual FOLDER`, for whoever packages the program: its man pages, one for each
//! command, and completions for shells.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_complete::{Shell, generate_to};

use super::{Arguments, complain};

/// The folder cannot be written to.
const UNWRITABLE: u8 = 1;

/// Writes them into `folder`, which is there.
pub(super) fn manual(folder: &Path) -> ExitCode {
    match write(folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("error: cannot write to {}: {error}\n", folder.display()));
            ExitCode::from(UNWRITABLE)
        }
    }
}

fn write(folder: &Path) -> io::Result<()> {
    // `help` is explained by its own name, and would double every page.
    let command = Arguments::command().disable_help_subcommand(true);
    let mut command = command.mut_subcommands(|one| one.disable_help_subcommand(true));
    let name = command.get_name().to_owned();
    for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
        generate_to(shell, &mut command, &name, folder)?;
    }
    clap_mangen::generate_to(command, folder)
}
