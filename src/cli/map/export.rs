//! `crossgate map export`: a map to stdout, sorted, so that two exports can be compared line by line.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{Notation, csv, read, shown};
use crate::cli::{Failure, complain};
use crate::identity::map::{IdentityMap, entries};

#[derive(Debug, Args)]
pub(super) struct Export {
    /// The map.
    file: PathBuf,
    /// How it is written.
    #[arg(long, value_enum, default_value = "jsonl", value_name = "NOTATION")]
    to: Notation,
}

impl Export {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let loaded = match read(&self.file, Notation::Jsonl) {
            Ok(loaded) => loaded,
            Err(problems) => {
                problems.iter().for_each(|problem| complain(&shown(&self.file, problem)));
                return Ok(ExitCode::FAILURE);
            }
        };
        let mut out = BufWriter::new(io::stdout().lock());
        match write(&loaded.map, self.to, &mut out).and_then(|()| out.flush()) {
            Ok(()) => Ok(ExitCode::SUCCESS),
            // A reader that went away (`| head`) is no error.
            Err(problem) if problem.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
            Err(problem) => Err(Failure::Failed(problem.to_string())),
        }
    }
}

fn write(map: &IdentityMap, notation: Notation, out: &mut impl Write) -> io::Result<()> {
    match notation {
        Notation::Jsonl => entries(map).try_for_each(|entry| entry.write_jsonl(out)),
        Notation::Csv => {
            csv::write_header(out)?;
            entries(map).try_for_each(|entry| csv::write(&entry, out))
        }
    }
}
