//! `crossgate help`: the page of a code of `check`, or what `--help` says of a command.

use std::process::ExitCode;

use clap::{Args, CommandFactory};

use super::{Cli, Failure, Format, say};
use crate::config::{codes, pages};

#[derive(Debug, Args)]
pub(super) struct Help {
    /// A code such as CG0103, or a command such as `check` or `token mint`.
    #[arg(value_name = "CODE|COMMAND")]
    topic: Vec<String>,
}

impl Help {
    pub(super) fn run(self, format: Option<Format>) -> Result<ExitCode, Failure> {
        if let [topic] = self.topic.as_slice()
            && let Some(id) = pages::asked(topic)
        {
            return of_code(&id, format);
        }
        let mut root = Cli::command();
        // Names in usage lines are those of the whole way to a command.
        root.build();
        let mut command = &mut root;
        for name in &self.topic {
            let known: Vec<String> = command.get_subcommands().map(|known| known.get_name().to_owned()).collect();
            command = command.find_subcommand_mut(name).ok_or_else(|| unknown(name, &known))?;
        }
        say(&command.render_long_help().to_string());
        Ok(ExitCode::SUCCESS)
    }
}

fn of_code(id: &str, format: Option<Format>) -> Result<ExitCode, Failure> {
    let Some(page) = pages::page(id) else {
        let near = pages::near_code(id).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        return Err(Failure::Usage(format!("no problem has the code {id}{near}")));
    };
    if format == Some(Format::Json) {
        let meaning = codes::ALL.iter().find(|code| code.id == id).map(|code| code.meaning);
        say(&format!("{}\n", serde_json::json!({ "code": id, "meaning": meaning, "page": page })));
    } else {
        say(&page);
    }
    Ok(ExitCode::SUCCESS)
}

fn unknown(name: &str, known: &[String]) -> Failure {
    let near = crate::config::near(name, known.iter().map(String::as_str));
    let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    Failure::Usage(format!("`{name}` is neither a command nor a code{near}"))
}
