//! Every command says what it is for, with an example that works, in 80 columns.

use clap::{Command, CommandFactory as _};

use super::Cli;

const COLUMNS: usize = 80;

/// Each command that people see, under its whole name, with its help as shown in a terminal of 80 columns.
fn helps() -> Vec<(String, String)> {
    fn walk(command: &mut Command, path: &str, helps: &mut Vec<(String, String)>) {
        let name = format!("{path} {}", command.get_name()).trim_start().to_owned();
        for help in [command.render_long_help(), command.render_help()] {
            helps.push((name.clone(), help.to_string()));
        }
        for inner in command
            .get_subcommands_mut()
            .filter(|inner| !inner.is_hide_set() && (inner.get_name() != "help" || path.is_empty()))
        {
            walk(inner, &name, helps);
        }
    }
    let mut command = Cli::command().term_width(COLUMNS);
    command.build();
    let mut helps = Vec::new();
    walk(&mut command, "", &mut helps);
    assert!(helps.len() > 2 * 25, "the tree is walked: {}", helps.len());
    helps
}

/// The lines below `Example`, those that go on in the next joined.
fn examples(help: &str) -> Vec<String> {
    let mut lines = help.lines().skip_while(|line| !line.starts_with("Example")).skip(1);
    let mut examples = Vec::new();
    while let Some(line) = lines.next().filter(|line| line.starts_with("  ")) {
        let mut whole = line.trim().to_owned();
        while let Some(begun) = whole.strip_suffix('\\') {
            whole = format!("{}{}", begun, lines.next().unwrap_or_default().trim());
        }
        examples.push(whole);
    }
    examples
}

/// The words of what a shell would hand over, for the few things that the examples use.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().unwrap().push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn every_command_has_an_example() {
    for (name, help) in helps() {
        assert!(!examples(&help).is_empty(), "{name} has no `Example`:\n{help}");
    }
}

#[test]
fn every_example_is_a_command_line_that_parses() {
    for (name, help) in helps() {
        for example in examples(&help) {
            let calls: Vec<&str> = example
                .split(" | ")
                .filter_map(|part| part.find("crossgate ").map(|at| &part[at..]))
                .map(|call| call.split(" > ").next().unwrap().trim_end_matches(')'))
                .collect();
            let calls: Vec<Vec<String>> = calls.into_iter().map(words).collect();
            let is_own = calls.iter().any(|words| words.join(" ").starts_with(&name));
            assert!(is_own, "{name}: an example shows the command that it stands at: {example}");
            for words in calls {
                if let Err(wrong) = Cli::command().try_get_matches_from(&words) {
                    // Both are answers.
                    assert!(!wrong.use_stderr(), "{name}: {words:?}\n{wrong}");
                }
            }
        }
    }
}

#[test]
fn every_help_fits_a_terminal() {
    for (name, help) in helps() {
        for line in help.lines() {
            assert!(line.chars().count() <= COLUMNS, "{name}: {line}");
        }
    }
}
