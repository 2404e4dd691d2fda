//! What people see: `check` and `help` in a terminal of 80 columns, with and without colour.
//!
//! Each screen is a file in `screens/`; after a change of looks `UPDATE=1 cargo test --test config`, then read them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn crossgate(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_crossgate"));
    command.args(arguments).env_clear().env("COLUMNS", "80");
    command
}

fn text(output: &Output) -> String {
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Without the escape sequences of colours.
fn bare(text: &str) -> String {
    let mut pieces = text.split('\u{1b}');
    let mut bare = pieces.next().unwrap_or_default().to_owned();
    bare.extend(pieces.map(|piece| piece.split_once('m').unwrap().1));
    bare
}

fn compare(name: &str, told: &str) -> Option<String> {
    let path = PathBuf::from(format!("tests/config/screens/{name}.txt"));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, told).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    (expected != told).then(|| format!("{}:\n--- expected\n{expected}--- told\n{told}", path.display()))
}

#[test]
fn check_fits_a_terminal_with_and_without_colour() {
    let mut failures = Vec::new();
    for (name, config, policy) in [
        ("check-errors", "tests/config/bad/five-mistakes.yaml", ""),
        ("check-long-lines", "tests/config/bad/trust-too-much.yaml", ""),
        ("check-long-policies", "tests/config/bed.yaml", "bad-policies/audit.yaml"),
        ("check-warnings", "tests/config/bed.yaml", "bad-policies/waived.yaml"),
        ("check-ok", "tests/config/bed.yaml", "screens/ok.yaml"),
        ("check-nothing", "tests/config/none.yaml", ""),
    ] {
        let run = |colour: bool, format: &str| {
            let mut command = crossgate(&["check", "-c", config, "--format", format]);
            command.env("POLICY", policy);
            if colour {
                command.env("CLICOLOR_FORCE", "1");
            }
            text(&command.output().unwrap())
        };
        let plain = run(false, "human");
        for line in plain.lines() {
            // A path that is longer than a line stays whole: it may be copied from there.
            assert!(line.chars().count() <= 80, "{name}: {line}");
        }
        let coloured = run(true, "human");
        assert_eq!(bare(&coloured), plain, "{name}: colour only decorates");
        assert_eq!(run(true, "plain"), plain, "{name}: plain never has colour");
        failures.extend(compare(name, &plain));
        failures.extend(compare(&format!("{name}.colour"), &coloured.replace('\u{1b}', "␛")));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn check_counts_what_is_waived_and_lists_it_for_programs() {
    let mut command = crossgate(&["check", "-c", "tests/config/bed.yaml", "--format", "json"]);
    let report = text(&command.env("POLICY", "bad-policies/waived.yaml").output().unwrap());
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!((&report["ok"], &report["warnings"], &report["waived"]), (&true.into(), &3.into(), &3.into()));
    let waived: Vec<_> =
        report["problems"].as_array().unwrap().iter().filter_map(|problem| problem["waived"].as_str()).collect();
    assert_eq!(waived, ["the API compares it", "the API insists on its slashes", "until the end of June, see OPS-17"]);
    assert_eq!(report["access"]["protected"], serde_json::json!(["a", "b", "c", "d"]));
}

#[test]
fn help_explains_codes_and_commands() {
    let page = text(&crossgate(&["help", "CG0103"]).output().unwrap());
    assert_eq!(compare("help-code", &page), None);
    for spelling in ["cg0103", "103", "Cg0103"] {
        assert_eq!(text(&crossgate(&["help", spelling]).output().unwrap()), page, "{spelling}");
    }
    let help = text(&crossgate(&["help"]).output().unwrap());
    assert!(help.contains("Commands:") && help.contains("check"), "{help}");
    assert_eq!(help, text(&crossgate(&["--help"]).output().unwrap()), "the same help");
    for command in [&["check"][..], &["token", "mint"], &["help"]] {
        let of_help = text(&crossgate(&[&["help"], command].concat()).output().unwrap());
        assert_eq!(of_help, text(&crossgate(&[command, &["--help"]].concat()).output().unwrap()), "{command:?}");
    }
    for (wrong, said) in [
        ("CG0117", "no problem has the code CG0117; did you mean CG0107?"),
        ("CG9999", "no problem has the code CG9999"),
        ("chekc", "`chekc` is neither a command nor a code; did you mean `check`?"),
        ("nothing-like-it", "`nothing-like-it` is neither a command nor a code"),
    ] {
        let output = crossgate(&["help", wrong]).output().unwrap();
        assert_eq!((output.status.code(), output.stdout.is_empty()), (Some(2), true), "{wrong}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), format!("crossgate: {said}\n"));
    }
    assert!(Path::new("docs/reference/errors.md").is_file());
}
