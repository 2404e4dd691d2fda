//! The access log: one JSON line a request, through a writer that never makes a request wait.
//!
//! What a client wrote is escaped by the JSON writer and capped; queries, cookies, tokens and bodies are never
//! written. When the disk is slow, lines are dropped and counted rather than requests delayed.

use std::fs::OpenOptions;
use std::io::{BufWriter, Write};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};

use super::copies::{Copied, Copies};
use crate::snapshot::AccessLog;
use crate::telemetry::log::Format;

/// How long the writer rests after it has written all lines there were. Under load many lines come meanwhile, and are
/// one wake-up and one write instead of one each; the queue holds three million lines a second.
const REST: Duration = Duration::from_millis(5);
/// Bytes of a typical line, so that it does not grow in steps.
const LINE: usize = 640;

/// One request, as operators read it. Names are those of the audit trail where both say the same.
#[derive(Debug, Serialize)]
pub struct Line<'a> {
    pub time: String,
    pub request_id: &'a str,
    pub trace: &'a str,
    pub client: String,
    pub peer: String,
    pub method: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<&'a str>,
    /// Canonical, capped; absent when the request was refused before it had one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<&'a str>,
    pub decision: &'static str,
    pub code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The code that report mode let through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reported: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub org: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arm: Option<&'static str>,
    pub status: u16,
    /// The deadline that ended the request, as its key is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<&'static str>,
    pub duration_us: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<&'a str>,
    pub snapshot: &'a str,
}

/// Where lines go; cheap to clone.
#[derive(Debug, Clone)]
pub struct Log {
    writer: Option<NonBlocking>,
    format: Format,
    dropped: Option<ErrorCounter>,
    copies: Arc<Copies>,
    // Held so that the writer's thread flushes when the last clone goes.
    _worker: Option<Arc<WorkerGuard>>,
}

impl Log {
    /// Opens the target.
    ///
    /// # Errors
    /// When the file cannot be opened for appending.
    pub fn open(target: &AccessLog, format: Format) -> std::io::Result<Self> {
        let off = Self { writer: None, format, dropped: None, copies: Arc::default(), _worker: None };
        Ok(match target {
            AccessLog::Off => off,
            AccessLog::Stdout => Self::through(std::io::stdout(), format),
            AccessLog::Stderr => Self::through(std::io::stderr(), format),
            AccessLog::File(path) => Self::through(OpenOptions::new().create(true).append(true).open(path)?, format),
        })
    }

    fn through(target: impl Write + Send + 'static, format: Format) -> Self {
        let copies = Arc::<Copies>::default();
        let target = BufWriter::with_capacity(64 * 1024, target);
        let (writer, worker) = NonBlockingBuilder::default()
            .lossy(true)
            .buffered_lines_limit(16_384)
            .thread_name("access-log")
            .finish(Gathering { target, copies: Arc::clone(&copies) });
        let dropped = Some(writer.error_counter());
        Self { dropped, writer: Some(writer), format, copies, _worker: Some(Arc::new(worker)) }
    }

    /// Whether anybody reads the lines; building one costs more than dropping it.
    pub fn is_on(&self) -> bool {
        self.writer.is_some()
    }

    /// Queues one line.
    pub fn write(&self, line: &Line<'_>) {
        let Some(mut writer) = self.writer.clone() else { return };
        let mut text = match self.format {
            Format::Json => {
                let mut text = Vec::with_capacity(LINE);
                // A line is plain data: nothing in it fails to be written.
                let _ = serde_json::to_writer(&mut text, line);
                text
            }
            Format::Human => human(line).into_bytes(),
        };
        text.push(b'\n');
        // Never blocks: a full queue drops the line, which the counter shows.
        let _ = writer.write_all(&text);
    }

    /// Queues lines that are whole already, for copies of other records on the same target: two writers on one stdout would
    /// break each other's lines. Never waits; at most 8 MiB wait for a reader.
    pub fn copy(&self, lines: &[u8]) -> Copied {
        let Some(mut writer) = self.writer.clone() else { return Copied::Queued };
        let (copied, wake) = self.copies.push(lines);
        if wake {
            // Nothing in it: it wakes the log's thread, and where there is no room for it that is awake.
            let _ = writer.write(&[]);
        }
        copied
    }

    /// Lines dropped so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.as_ref().map_or(0, |counter| u64::try_from(counter.dropped_lines()).unwrap_or(u64::MAX))
    }
}

/// A target whose flush is followed by a rest; on the log's own thread.
struct Gathering<T: Write> {
    target: BufWriter<T>,
    copies: Arc<Copies>,
}

impl<T: Write> Gathering<T> {
    fn take_copies(&mut self) -> std::io::Result<()> {
        while let Some(lines) = self.copies.next() {
            let done = self.target.write_all(&lines);
            self.copies.written(lines.len());
            done?;
        }
        Ok(())
    }
}

impl<T: Write> Write for Gathering<T> {
    /// A line fits into the buffer, so that this is called between lines.
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.take_copies()?;
        self.target.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.take_copies()?;
        self.target.flush()?;
        std::thread::sleep(REST);
        Ok(())
    }
}

/// A line for a terminal. Values of the client are printed through JSON strings: no escape sequence survives.
fn human(line: &Line<'_>) -> String {
    let quoted = |text: &str| serde_json::to_string(text).unwrap_or_default();
    let who = line.subject.unwrap_or("-");
    let path = line.path.map_or_else(|| "-".to_owned(), quoted);
    let mut more = String::new();
    if let Some(reported) = line.reported {
        more.push_str(&format!(" reported={reported}"));
    }
    if let Some(reason) = &line.reason {
        more.push_str(&format!(" reason={}", quoted(reason)));
    }
    format!(
        "{} {} {} {} {} {} route={} subject={} {}us{more}",
        line.time,
        line.status,
        line.code,
        line.method,
        path,
        line.client,
        line.route.unwrap_or("-"),
        who,
        line.duration_us
    )
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, Instant};

    use super::{Copied, Format, Log};

    /// A stdout that nobody reads until it is told.
    struct Stalled {
        go: Receiver<()>,
        page: Arc<Mutex<Vec<u8>>>,
    }

    impl std::io::Write for Stalled {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            // Gone: read from now on.
            let _ = self.go.recv();
            self.page.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_stalls_costs_bounded_memory_and_whole_lines_only() {
        let (go, stalled) = channel();
        let page = Arc::<Mutex<Vec<u8>>>::default();
        let log = Log::through(Stalled { go: stalled, page: Arc::clone(&page) }, Format::Json);
        let batch = |number: u64| format!("{number:0>999}\n").repeat(1000).into_bytes();
        let (mut kept, mut told, mut dropped) = (Vec::new(), 0, 0);
        for number in 0..100 {
            match log.copy(&batch(number)) {
                Copied::Queued => kept.push(number),
                Copied::Dropped { lines, first } => {
                    dropped += lines;
                    told += u32::from(first);
                }
                Copied::Again { .. } => panic!("nobody reads"),
            }
        }
        // 8 MiB and what the writer's own thread holds already.
        assert!((8..=10).contains(&kept.len()), "{}", kept.len());
        assert_eq!((told, dropped), (1, (100 - kept.len() as u64) * 1000));
        drop(go);
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            match log.copy(&batch(100)) {
                Copied::Again { missing } => break assert!(missing >= dropped),
                Copied::Queued => panic!("it was not told that lines are missing"),
                Copied::Dropped { first, .. } => assert!(!first && Instant::now() < deadline),
            }
        }
        kept.push(100);
        drop(log);
        let read = page.lock().unwrap().clone();
        assert!(
            read == kept.into_iter().flat_map(batch).collect::<Vec<u8>>(),
            "lines are missing, broken or out of order"
        );
    }
}
