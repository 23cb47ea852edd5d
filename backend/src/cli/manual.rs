//! `nomation manual FOLDER`, for whoever packages the program: its man pages, one for each
//! command, and completions for shells.

use std::io;
use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::{Shell, generate_to};

/// Writes them into `folder`, which is there.
///
/// # Errors
/// When the folder cannot be written to.
pub(super) fn write(folder: &Path) -> io::Result<()> {
    // `help` is explained by its own name, and would double every page.
    let command = super::Arguments::command().disable_help_subcommand(true);
    let mut command = command.mut_subcommands(|one| one.disable_help_subcommand(true));
    let name = command.get_name().to_owned();
    for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
        generate_to(shell, &mut command, &name, folder)?;
    }
    clap_mangen::generate_to(command, folder)
}
