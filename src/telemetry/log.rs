//! The program's own log on stderr: JSON lines for machines, short lines for terminals.
//!
//! Pingora's targets are capped at `warn`: at `debug` its errors carry up to 2 KiB of the raw request head, tokens
//! included.

use std::io::IsTerminal;

use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use crate::snapshot::LogLevel;

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Human,
    Json,
}

impl Format {
    /// JSON unless somebody is looking.
    pub fn of_stderr() -> Self {
        if std::io::stderr().is_terminal() { Self::Human } else { Self::Json }
    }
}

/// Installs the process's subscriber; a second call changes nothing.
pub fn install(format: Format, level: LogLevel) {
    let level = match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let others = level.min(LevelFilter::from_level(Level::WARN));
    let targets = Targets::new()
        .with_default(others)
        // An error line for every client that goes away in the middle of a head: strangers could fill the log.
        .with_target("pingora_proxy", LevelFilter::OFF)
        // The same for handshakes that end early, and a line for each pooled connection that the API has closed.
        .with_target("pingora_core::apps", LevelFilter::OFF)
        .with_target("pingora_core::connectors", LevelFilter::OFF)
        // A folder that went before its watch did: what matters of watches is told where they are set.
        .with_target("notify", LevelFilter::OFF)
        .with_target("crossgate", level);
    let layer = fmt::layer().with_writer(std::io::stderr).with_target(false);
    let layer = match format {
        Format::Json => layer.json().flatten_event(true).boxed(),
        Format::Human => layer.with_ansi(false).compact().boxed(),
    };
    // A second installation (tests in one process) keeps the first.
    let _ = tracing_subscriber::registry().with(layer.with_filter(targets)).try_init();
}
