//! The parts of the load bench, one program so that they are built once: `bench/load/run.sh` puts them together.
//!
//! ```text
//! load origin LISTEN                        an API that answers at once
//! load bare LISTEN UPSTREAM                 a Pingora pass-through, what crossgate is measured against
//! load gate CONFIG on|off                   crossgate's gate with and without the guard below it
//! load probe ADDRESS RATE SECONDS [TOKEN [TARGET]]   requests at a fixed rate; prints p50, p99 and the longest
//! load crowd ADDRESS KIND COUNT [TOKEN]     holds connections until stdin ends: idle, readers, writers
//! ```
//!
//! Never shipped: an example of the package, not a binary.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a bench that cannot set up its world has nothing to measure"
)]

mod bare;
mod crowd;
mod gate;
mod origin;
mod probe;

use std::time::Duration;

// The same allocator on both sides of a ratio.
#[cfg(all(feature = "jemalloc", target_os = "linux", target_env = "gnu"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["origin", listen] => on_runtime(origin::serve(listen)),
        ["bare", listen, upstream] => bare::serve(listen, upstream.parse().unwrap()),
        ["gate", config, guard @ ("on" | "off")] => gate::serve(config, guard == "on"),
        ["probe", address, rate, seconds, ref token @ ..] => {
            let seconds = Duration::from_secs(seconds.parse().unwrap());
            let target = token.get(1).copied().unwrap_or(TARGET);
            on_runtime(probe::run(address, rate.parse().unwrap(), seconds, token.first().copied(), target));
        }
        ["crowd", address, kind, count, ref token @ ..] => {
            on_runtime(crowd::hold(address, kind, count.parse().unwrap(), token.first().copied()));
        }
        _ => panic!("see bench/load/main.rs"),
    }
}

fn on_runtime(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
}

/// A request as a browser's page sends it; the token makes it one that needs an identity.
fn request(token: Option<&str>, target: &str) -> String {
    let credential = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    format!(
        "GET {target} HTTP/1.1\r\nhost: api.example.com\r\n{credential}accept: application/json, text/plain, */*\r\n\
         accept-language: en-GB,en;q=0.9\r\nuser-agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\n\r\n"
    )
}

const TARGET: &str = "/api/orgs/org_1/things/42";
