//! The allocator that the binary was built with, and its options: set at build time, so only the binary can tell.
#![cfg(all(feature = "jemalloc", target_os = "linux", target_env = "gnu"))]

use std::process::Stdio;

use super::bed::crossgate;

#[test]
fn memory_of_closed_connections_goes_back_by_itself() {
    let ended =
        crossgate().arg("version").env("_RJEM_MALLOC_CONF", "stats_print:true").stdin(Stdio::null()).output().unwrap();
    let stats = String::from_utf8_lossy(&ended.stderr);
    for option in ["opt.background_thread: true", "opt.dirty_decay_ms: 1000", "opt.muzzy_decay_ms: 0"] {
        assert!(stats.lines().any(|line| line.trim().starts_with(option)), "{option} is not in effect:\n{stats}");
    }
}
