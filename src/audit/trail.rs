//! STUB to compile against; replaced by the writer's branch.
use super::{Event, Id};
use std::path::PathBuf;
use std::time::Duration;
pub struct Options {
    pub file: PathBuf,
    pub rotate_size: u64,
    pub rotate_keep: usize,
    pub state_dir: PathBuf,
    pub copy: Option<Box<dyn Fn(&[u8]) + Send>>,
    pub committed: Option<Box<dyn Fn(Duration) + Send>>,
}
impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Options")
    }
}
#[derive(Debug, Clone)]
pub struct Trail(());
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Attempt(Id),
    Outcome(Id),
    Other,
}
#[derive(Debug, Clone, Copy)]
pub struct Unavailable;
impl Trail {
    pub fn open(_options: Options) -> Result<Trail, String> {
        Ok(Trail(()))
    }
    pub fn open_when_possible(_options: Options) -> Trail {
        Trail(())
    }
    pub fn off() -> Trail {
        Trail(())
    }
    pub async fn commit(&self, _kind: Kind, _event: Event, _body: Vec<u8>) -> Result<(), Unavailable> {
        Ok(())
    }
    pub fn post(&self, _kind: Kind, _event: Event, _body: Vec<u8>) {}
    pub fn finish(&self, _limit: Duration) {}
    pub fn status(&self) -> Status {
        Status::default()
    }
    pub fn token_hash(&self, _digest: &[u8; 32]) -> Option<String> {
        None
    }
}
#[derive(Debug, Default)]
pub struct Status {
    pub available: bool,
    pub problem: Option<String>,
    pub queue_entries: usize,
    pub queue_bytes: usize,
    pub last_durable: Option<Duration>,
    pub entries: Vec<(Event, u64)>,
    pub failures: Vec<(&'static str, u64)>,
    pub dropped: u64,
    pub free_permille: Option<u32>,
}
