//! The binary: see [`crossgate`] for the story and `crossgate::cli` for the commands.

use std::process::ExitCode;

fn main() -> ExitCode {
    crossgate::cli::main()
}
