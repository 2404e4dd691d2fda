//! The binary: see [`crossgate`] for the story and `crossgate::cli` for the commands.

use std::process::ExitCode;

// Of the binary, not of the library: who links that chooses for itself.
#[cfg(all(feature = "jemalloc", target_os = "linux", target_env = "gnu"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    crossgate::cli::main()
}
