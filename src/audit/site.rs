//! Where a trail is written and who hears of it: what stays the same while segments come and go.

use std::sync::Arc;

use super::disk::Disk;
use super::entry::Id;
use super::names::Names;
use super::trail::{Options, Shared};

pub(super) struct Site {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) options: Options,
    pub(super) names: Names,
    pub(super) shared: Arc<Shared>,
    /// This machine, on checkpoints.
    pub(super) node: String,
}

impl Site {
    /// # Errors
    /// A sentence, when the options name no file.
    pub(super) fn new(disk: Arc<dyn Disk>, options: Options, shared: Arc<Shared>) -> Result<Self, String> {
        let names = Names::of(&options.file)?;
        Ok(Self { disk, options, names, shared, node: node() })
    }
}

/// The host's name; a random one when it has none that can be signed.
fn node() -> String {
    let name = rustix::system::uname();
    let plain = |name: &&str| {
        let fits = (1..=64).contains(&name.len());
        fits && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
    };
    name.nodename().to_str().ok().filter(plain).map_or_else(|| Id::random().to_string(), str::to_owned)
}
