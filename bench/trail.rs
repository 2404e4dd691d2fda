//! Writes an audit trail of a given size, for `audit verify` and `show` to be measured on:
//! `cargo run --profile demo --example trail -- FOLDER MEBIBYTES`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "what cannot write its trail has nothing to measure")]

#[path = "../tests/audit/trail.rs"]
#[allow(dead_code, reason = "tests make more of it than a bench")]
mod trail;

use std::path::Path;

/// As `audit.rotate.size` is by default.
const SEGMENT: u64 = 256 << 20;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let size: u64 = arguments[2].parse::<u64>().unwrap() << 20;
    let mut made = trail::Trail::begin(Path::new(&arguments[1]));
    let (mut written, mut user) = (0, 0_u64);
    loop {
        for _ in 0..5_000 {
            user += 1;
            made.action(&format!("user_{}", user % 10_000), true);
        }
        made.sign();
        let length = std::fs::metadata(made.active()).unwrap().len();
        if written + length >= size {
            made.close();
            return;
        }
        if length >= SEGMENT {
            written += length;
            made.rotate();
        }
    }
}
