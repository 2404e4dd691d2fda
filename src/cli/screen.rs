//! How output looks: with colour or without, and how wide. Colour only decorates: nothing is said by it alone.

use std::io::IsTerminal;

use super::Format;
use crate::hidden::is_hidden;

/// What a piece of text is, for the eye.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Good,
    Bad,
    Doubtful,
    Quiet,
    Strong,
}

/// Where output goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Screen {
    colour: bool,
    /// In characters; `None` for a file or a pipe, which programs read and where nothing is wrapped.
    width: Option<usize>,
}

/// Narrower screens get lines that are too long, rather than words in pieces.
const MIN_WIDTH: usize = 40;

impl Screen {
    /// stdout: colour on a terminal unless `NO_COLOR` is set or `--format plain` was typed; `CLICOLOR_FORCE` asks for it
    /// elsewhere. The width is `COLUMNS`, else the terminal's.
    pub(super) fn of_stdout(format: Option<Format>) -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let wanted = std::io::stdout().is_terminal() || set("CLICOLOR_FORCE");
        let colour = wanted && !set("NO_COLOR") && !matches!(format, Some(Format::Plain | Format::Json));
        let width = columns().or_else(|| width_of(std::io::stdout()));
        Self { colour, width: width.map(|width| width.max(MIN_WIDTH)) }
    }

    /// stderr: wrapped on a terminal that people read, never in pipes, for `--format plain` or for programs; without colour.
    pub(super) fn of_stderr(format: Option<Format>) -> Self {
        let stderr = std::io::stderr();
        let is_read = stderr.is_terminal() && !matches!(format, Some(Format::Plain | Format::Json));
        let width = if is_read { columns().or_else(|| width_of(stderr)) } else { None };
        Self { colour: false, width: width.map(|width| width.max(MIN_WIDTH)) }
    }

    pub(super) fn paint(&self, style: Style, text: &str) -> String {
        let code = match style {
            Style::Good => "32",
            Style::Bad => "1;31",
            Style::Doubtful => "1;33",
            Style::Quiet => "2",
            Style::Strong => "1",
        };
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// The same for each line of a text.
    pub(super) fn wrap_lines(&self, indent: usize, text: &str) -> String {
        text.lines().map(|line| format!("{}\n", self.wrap(0, indent, line))).collect()
    }

    /// Breaks between words, so that each line fits; lines after the first begin with `indent` spaces. `used`: what stands
    /// before the text on its first line. A word that is longer than a line stays whole: it may be copied from there.
    /// Whoever wrote the text, no character in it turns the screen round: names in configs come from pull requests.
    pub(super) fn wrap(&self, used: usize, indent: usize, text: &str) -> String {
        let text = &shown(text, |letter| is_hidden(letter) && !matches!(letter, '\n' | '\t'));
        let Some(width) = self.width else { return text.clone() };
        let (mut out, mut column) = (String::new(), used);
        for (number, word) in text.split(' ').enumerate() {
            let length = word.chars().count();
            if number > 0 && column + 1 + length > width {
                out.push('\n');
                out.extend(std::iter::repeat_n(' ', indent));
                column = indent;
            } else if number > 0 {
                out.push(' ');
                column += 1;
            }
            out.push_str(word);
            column += length;
        }
        out
    }

    pub(super) const fn width(&self) -> Option<usize> {
        self.width
    }
}

fn columns() -> Option<usize> {
    let columns = std::env::var("COLUMNS").ok().and_then(|text| text.parse::<usize>().ok());
    columns.filter(|columns| *columns > 0)
}

fn width_of(stream: impl IsTerminal + std::os::fd::AsFd) -> Option<usize> {
    if !stream.is_terminal() {
        return None;
    }
    rustix::termios::tcgetwinsize(stream).ok().map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// Text of somebody else's on one line: a terminal must not obey it, and nobody must be shown another order of words or a name
/// that only looks like a known one.
pub(super) fn printable(text: &str) -> String {
    shown(text, is_hidden)
}

fn shown(text: &str, is_escaped: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if is_escaped(letter) {
            shown.extend(letter.escape_unicode());
        } else {
            shown.push(letter);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::{Screen, printable};

    #[test]
    fn each_line_of_a_message_is_wrapped_by_itself() {
        let text = "crossgate: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bbbb\n  cc dd\n";
        let narrow = Screen { colour: false, width: Some(40) };
        assert_eq!(narrow.wrap_lines(2, text), "crossgate:\n  aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bbbb\n  cc dd\n");
        assert_eq!(Screen { colour: false, width: None }.wrap_lines(2, text), text, "a pipe");
    }

    /// What an admin listener sends, or a route is called, may not turn round what stands beside it.
    #[test]
    fn hidden_characters_of_others_are_shown() {
        let table = [
            ("pro\u{202e}gnihtemos", "pro\\u{202e}gnihtemos"),
            ("a\u{200b}b\u{feff}", "a\\u{200b}b\\u{feff}"),
            ("\u{1b}[2J\u{9b}31m\n", "\\u{1b}[2J\\u{9b}31m\\u{a}"),
            ("\u{2066}x\u{2069}\u{61c}", "\\u{2066}x\\u{2069}\\u{61c}"),
            ("\u{e0041}tag", "\\u{e0041}tag"),
            ("é 名 plain", "é 名 plain"),
        ];
        for (text, expected) in table {
            assert_eq!(printable(text), expected);
        }
        for width in [None, Some(40)] {
            let screen = Screen { colour: false, width };
            assert_eq!(screen.wrap(0, 2, "role org:\u{202e}nimda\u{1b}[2J"), "role org:\\u{202e}nimda\\u{1b}[2J");
        }
    }

    #[test]
    fn lines_break_between_words() {
        let table = [
            ("short", 0, 2, "one two", "one two"),
            (
                "broken",
                0,
                2,
                "aaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbb cc",
                "aaaaaaaaaaaaaaaaaaaa\n  bbbbbbbbbbbbbbbbbbbbbbbb cc",
            ),
            ("beside something", 30, 4, "aaaaa bbbbb", "aaaaa\n    bbbbb"),
            (
                "a long word",
                0,
                2,
                "a bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb c",
                "a\n  bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\n  c",
            ),
        ];
        for (name, used, indent, text, expected) in table {
            assert_eq!(Screen { colour: false, width: Some(40) }.wrap(used, indent, text), expected, "{name}");
            assert_eq!(Screen { colour: false, width: None }.wrap(used, indent, text), text, "{name}: a pipe");
        }
    }
}
