//! The command line: what was typed becomes one call, and its outcome an exit code.
//!
//! Data goes to stdout, everything else to stderr. Exit codes are part of the product: 0, 1 for problems, 2 for wrong
//! usage, 3 for a denial of `explain`.

mod admin;
mod audit;
mod check;
mod completions;
mod demo;
mod diff;
mod explain;
mod help;
#[cfg(test)]
mod help_tests;
mod keys;
mod map;
mod plain;
mod problems;
mod report;
mod rollout;
mod run;
mod schema;
mod screen;
mod test;
mod token;
mod usage;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// A sidecar that moves a live API from its legacy login to Clerk without changing the API.
#[derive(Debug, Parser)]
#[command(
    name = "crossgate",
    version,
    // Wider lines are hard to read, and a terminal of 80 columns breaks them in the middle of a word.
    max_term_width = 80,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = usage::CROSSGATE
)]
struct Cli {
    /// How output is written; logs of `run` are JSON unless stderr is a terminal.
    #[arg(long, global = true, value_enum)]
    format: Option<Format>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve.
    #[command(after_help = usage::RUN)]
    Run(run::Run),
    /// Try it: an echo API, its old login and Clerk as stand-ins, crossgate in front, all on loopback.
    #[command(after_help = usage::DEMO)]
    Demo(demo::Demo),
    /// Compile the config and all policies; show every problem.
    #[command(after_help = usage::CHECK)]
    Check(check::Check),
    /// Show the decision on one request, and why.
    #[command(after_help = usage::EXPLAIN)]
    Explain(explain::Explain),
    /// Run the policy tests.
    #[command(after_help = usage::TEST)]
    Test(test::Test),
    /// Show which decisions change between two configs, and for whom.
    #[command(after_help = usage::DIFF)]
    Diff(diff::Diff),
    /// Prove and read the audit trail.
    #[command(after_help = usage::AUDIT)]
    Audit(audit::Audit),
    /// The identity map: check it, replace it, write it out.
    #[command(after_help = usage::MAP)]
    Map(map::Map),
    /// Show what the routes in report mode would have refused, why, and whose.
    #[command(after_help = usage::REPORT)]
    Report(report::Report),
    /// Show and move the rollout of a running crossgate.
    #[command(after_help = usage::ROLLOUT)]
    Rollout(rollout::Rollout),
    /// Show and rotate the keys that assertions and runner tokens are signed with.
    #[command(after_help = usage::KEYS)]
    Keys(keys::Keys),
    /// Make and read tokens, for development only.
    #[command(after_help = usage::TOKEN)]
    Token(token::Token),
    /// Print the JSON Schema of config or policy files, for editors.
    #[command(after_help = usage::SCHEMA)]
    Schema(schema::Schema),
    /// Print what a shell completes the command line by.
    #[command(after_help = usage::COMPLETIONS)]
    Completions(completions::Completions),
    /// Explain a code of `check`, or a command.
    #[command(after_help = usage::HELP)]
    Help(help::Help),
    /// Print the version.
    #[command(after_help = usage::VERSION)]
    Version,
}

impl Command {
    /// Whether programs read one object from its stdout: they get one also where it cannot do its work.
    const fn answers(&self) -> bool {
        match self {
            Self::Check(_) | Self::Explain(_) | Self::Test(_) | Self::Diff(_) | Self::Report(_) => true,
            Self::Run(_)
            | Self::Demo(_)
            | Self::Audit(_)
            | Self::Map(_)
            | Self::Rollout(_)
            | Self::Keys(_)
            | Self::Token(_)
            | Self::Schema(_)
            | Self::Completions(_)
            | Self::Help(_)
            | Self::Version => false,
        }
    }
}

/// Where the config is.
#[derive(Debug, Args)]
struct ConfigPath {
    /// The config file.
    #[arg(short, long, env = "CROSSGATE_CONFIG", default_value = "conf/crossgate.yaml", value_name = "FILE")]
    config: PathBuf,
}

/// How output is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people; colour on a terminal.
    Human,
    /// For people, never with colour.
    Plain,
    /// For programs.
    Json,
}

/// Parses the process's arguments and carries them out.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => {
            // Help and version are answers (stdout, 0), wrong usage is not (stderr, 2).
            let _ = usage.print();
            return ExitCode::from(if usage.use_stderr() { 2 } else { 0 });
        }
    };
    // Before anything can build a TLS client: with two providers linked in, a builder without a choice panics.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let format = cli.format;
    let answers = cli.command.answers();
    let outcome = match cli.command {
        Command::Run(command) => command.run(format),
        Command::Demo(command) => command.run(format),
        Command::Check(command) => command.run(format),
        Command::Explain(command) => command.run(format),
        Command::Test(command) => command.run(format),
        Command::Diff(command) => command.run(format),
        Command::Audit(command) => command.run(format),
        Command::Map(command) => command.run(format),
        Command::Report(command) => command.run(format),
        Command::Rollout(command) => command.run(format),
        Command::Keys(command) => command.run(format),
        Command::Token(command) => command.run(format),
        Command::Schema(command) => command.run(),
        Command::Completions(command) => command.run(),
        Command::Help(command) => command.run(format),
        Command::Version => {
            say(&match format {
                Some(Format::Json) => format!("{}\n", serde_json::json!({ "version": env!("CARGO_PKG_VERSION") })),
                Some(Format::Human | Format::Plain) | None => format!("crossgate {}\n", env!("CARGO_PKG_VERSION")),
            });
            Ok(ExitCode::SUCCESS)
        }
    };
    outcome.unwrap_or_else(|failure| {
        let (reason, code) = match failure {
            Failure::Usage(reason) => (reason, 2),
            Failure::Failed(reason) => (reason, 1),
        };
        if format == Some(Format::Json) && answers {
            say(&format!("{}\n", serde_json::json!({ "ok": false, "problem": reason })));
        }
        match format {
            Some(Format::Json) => {
                complain(&format!("{}\n", serde_json::json!({ "level": "ERROR", "message": reason })));
            }
            Some(Format::Human | Format::Plain) | None => tell(&format!("crossgate: {reason}\n"), format),
        }
        ExitCode::from(code)
    })
}

/// Why a command could not do its work.
#[derive(Debug)]
enum Failure {
    /// What was typed makes no sense: exit code 2.
    Usage(String),
    /// Exit code 1.
    Failed(String),
}

impl From<String> for Failure {
    fn from(reason: String) -> Self {
        Self::Failed(reason)
    }
}

/// What stops a command that needs a config: the first problem in one line, and where the others are.
fn first_problem(problems: &[crate::config::Problem], path: &std::path::Path) -> String {
    let mut errors = problems.iter().filter(|problem| problem.is_error());
    let Some(first) = errors.next() else { return format!("{} cannot be used", path.display()) };
    let help = first.help.as_ref().map(|help| format!(" ({})", help.replace('\n', " "))).unwrap_or_default();
    match errors.count() {
        0 => format!("{first}{help}"),
        more => format!("{first}{help}; and {more} more: crossgate check -c {} shows all", path.display()),
    }
}

/// Data, to stdout. A reader that went away (`| head`) is no error.
fn say(text: &str) {
    use std::io::Write;
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

/// Everything else, to stderr.
fn complain(text: &str) {
    use std::io::Write;
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// A message for people, to stderr, as wide as their terminal.
fn tell(text: &str, format: Option<Format>) {
    complain(&screen::Screen::of_stderr(format).wrap_lines(2, text));
}
