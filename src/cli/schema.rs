//! `crossgate schema config|policy`: what editors are told of the files.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::{Failure, say};
use crate::config::schema;

#[derive(Debug, Args)]
pub(super) struct Schema {
    /// Of which kind of file.
    #[arg(value_enum)]
    of: Kind,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// crossgate.yaml.
    Config,
    /// Files with routes.
    Policy,
}

impl Schema {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let schema = match self.of {
            Kind::Config => schema::config(),
            Kind::Policy => schema::policy(),
        };
        say(&format!("{schema:#}\n"));
        Ok(ExitCode::SUCCESS)
    }
}
