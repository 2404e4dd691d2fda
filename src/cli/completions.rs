//! `crossgate completions SHELL`: what a shell completes the command line by.

use std::process::ExitCode;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{Cli, Failure, say};

#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell that is to complete.
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "crossgate", &mut script);
        say(&String::from_utf8_lossy(&script));
        Ok(ExitCode::SUCCESS)
    }
}
