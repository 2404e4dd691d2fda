//! How output looks: with colour or without, and how wide. Colour only decorates: nothing is said by it alone.

use std::io::IsTerminal;

use super::Format;

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
        let columns = std::env::var("COLUMNS").ok().and_then(|text| text.parse::<usize>().ok());
        let width = columns.filter(|columns| *columns > 0).or_else(terminal_width);
        Self { colour, width: width.map(|width| width.max(MIN_WIDTH)) }
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

    /// Breaks between words, so that each line fits; lines after the first begin with `indent` spaces. `used`: what stands
    /// before the text on its first line. A word that is longer than a line stays whole: it may be copied from there.
    pub(super) fn wrap(&self, used: usize, indent: usize, text: &str) -> String {
        let Some(width) = self.width else { return text.to_owned() };
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

fn terminal_width() -> Option<usize> {
    let stdout = std::io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    rustix::termios::tcgetwinsize(&stdout).ok().map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

#[cfg(test)]
mod tests {
    use super::Screen;

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
