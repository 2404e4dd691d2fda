//! Where each value of a file stands: lines and columns by key and index, beside the values themselves.
//!
//! Made by `yaml` in the same pass that makes the values, so that the two cannot disagree, and looked up only
//! when there is a problem to show. Columns count characters, from 1. Never holds a value.

use std::sync::Arc;

use super::source::Source;

/// A run of characters on one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Span {
    pub(crate) line: usize,
    pub(crate) column: usize,
    /// At least 1; cut to the line when shown.
    pub(crate) width: usize,
}

/// The place of one value, and of everything in it.
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    pub(crate) span: Span,
    /// The value came out of the environment: it is nobody's business in a message.
    pub(crate) substituted: bool,
    pub(crate) inner: Inner,
}

#[derive(Debug, Clone)]
pub(crate) enum Inner {
    Scalar,
    List {
        items: Vec<Mark>,
        /// Items were taken out because of problems already told: the list is longer than it looks.
        gaps: bool,
    },
    Map {
        entries: Vec<Entry>,
        /// Keys that were taken out because of a problem already told: they are not missing.
        dropped: Vec<String>,
    },
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) key: Span,
    pub(crate) value: Mark,
}

/// One step into a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
}

impl Mark {
    pub(crate) fn entry(&self, name: &str) -> Option<&Entry> {
        match &self.inner {
            Inner::Map { entries, .. } => entries.iter().find(|entry| entry.name == name),
            Inner::Scalar | Inner::List { .. } => None,
        }
    }

    pub(crate) fn item(&self, index: usize) -> Option<&Self> {
        match &self.inner {
            Inner::List { items, .. } => items.get(index),
            Inner::Scalar | Inner::Map { .. } => None,
        }
    }

    /// Also of what was mistyped: `adress` was told as unknown, with what was meant, and need not be told as missing too.
    pub(crate) fn was_dropped(&self, name: &str) -> bool {
        match &self.inner {
            Inner::Map { dropped, .. } => {
                dropped.iter().any(|key| key == name || super::decode::near(key, [name]).is_some())
            }
            Inner::Scalar | Inner::List { .. } => false,
        }
    }

    /// Takes one value out, as its twin among the values is taken out.
    pub(crate) fn remove(&mut self, step: &Step) {
        match (&mut self.inner, step) {
            (Inner::Map { entries, dropped }, Step::Key(name)) => {
                entries.retain(|entry| entry.name != *name);
                dropped.push(name.clone());
            }
            (Inner::List { items, gaps }, Step::Index(index)) if *index < items.len() => {
                items.remove(*index);
                *gaps = true;
            }
            _ => {}
        }
    }

    pub(crate) fn step_mut(&mut self, step: &Step) -> Option<&mut Self> {
        match (&mut self.inner, step) {
            (Inner::Map { entries, .. }, Step::Key(name)) => {
                entries.iter_mut().find(|entry| entry.name == *name).map(|entry| &mut entry.value)
            }
            (Inner::List { items, .. }, Step::Index(index)) => items.get_mut(*index),
            _ => None,
        }
    }
}

/// A cursor that follows a raw value through its file, to say where it stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At<'a> {
    pub(crate) source: &'a Arc<Source>,
    mark: &'a Mark,
    /// Where the key stands whose value this is.
    key: Option<Span>,
    /// The value asked for is not written; the span is its parent's.
    absent: bool,
    root: bool,
}

impl<'a> At<'a> {
    pub(crate) const fn root(source: &'a Arc<Source>, mark: &'a Mark) -> Self {
        Self { source, mark, key: None, absent: false, root: true }
    }

    /// The value under a key, or the nearest thing around it when it is not written.
    pub(crate) fn key(self, name: &str) -> Self {
        match self.mark.entry(name) {
            Some(entry) if !self.absent => {
                Self { source: self.source, mark: &entry.value, key: Some(entry.key), absent: false, root: false }
            }
            _ => Self { absent: true, ..self },
        }
    }

    /// The value of the n-th key; for mappings with names of people's own, which can be long.
    pub(crate) fn nth(self, index: usize) -> Self {
        let Inner::Map { entries, .. } = &self.mark.inner else { return self };
        match entries.get(index) {
            Some(entry) if !self.absent => {
                Self { source: self.source, mark: &entry.value, key: Some(entry.key), absent: false, root: false }
            }
            _ => self,
        }
    }

    /// Where the keys of this mapping stand.
    pub(crate) fn key_spans(self) -> impl Iterator<Item = Span> {
        let entries = match &self.mark.inner {
            Inner::Map { entries, .. } => entries.as_slice(),
            Inner::Scalar | Inner::List { .. } => &[],
        };
        entries.iter().map(|entry| entry.key)
    }

    /// An item of a list; a value that stands for a list of one is its own first item.
    pub(crate) fn item(self, index: usize) -> Self {
        match self.mark.item(index) {
            Some(mark) if !self.absent => Self { source: self.source, mark, key: None, absent: false, root: false },
            _ => self,
        }
    }

    /// Whether the value came out of the environment, so that it must not be repeated.
    pub(crate) const fn is_substituted(self) -> bool {
        self.mark.substituted
    }

    /// Whether the value stands in the file.
    pub(crate) const fn is_written(self) -> bool {
        !self.absent
    }

    /// Whether this is the whole file, or something that it lacks.
    pub(crate) const fn is_root(self) -> bool {
        self.root
    }

    /// Whether a key is missing because it was taken out for a problem that was told.
    pub(crate) fn was_dropped(self, name: &str) -> bool {
        self.mark.was_dropped(name)
    }

    /// Whether the list lost items, each of them told.
    pub(crate) const fn has_gaps(self) -> bool {
        matches!(self.mark.inner, Inner::List { gaps: true, .. })
    }

    /// Whether the mapping lost keys, each of them told.
    pub(crate) fn lost_keys(self) -> bool {
        matches!(&self.mark.inner, Inner::Map { dropped, .. } if !dropped.is_empty())
    }

    /// Where the value stands; of something absent, where the thing around it is named.
    pub(crate) fn span(self) -> Span {
        if self.absent { self.key.unwrap_or(self.mark.span) } else { self.mark.span }
    }

    /// Where the key stands.
    pub(crate) fn key_span(self) -> Span {
        self.key.unwrap_or(self.mark.span)
    }

    /// The place of one byte of a text: exact where the file shows the text as it is, else the whole value.
    pub(crate) fn within(self, text: &str, byte: usize) -> Span {
        let span = self.span();
        let exact = || {
            let before = text.get(..byte)?;
            let line = self.source.line(span.line)?;
            let (start, _) = line.char_indices().nth(span.column.checked_sub(1)?)?;
            let written = line.get(start..)?;
            let (quote, written) = match written.strip_prefix(['"', '\'']) {
                Some(inner) => (1, inner),
                None => (0, written),
            };
            if self.absent || !written.starts_with(text) {
                return None;
            }
            Some(Span { column: span.column + quote + before.chars().count(), width: 1, ..span })
        };
        exact().or_else(|| self.over_lines(text, byte)).unwrap_or(span)
    }

    /// The same of a text that is written over several lines: in a block, or folded.
    fn over_lines(self, text: &str, byte: usize) -> Option<Span> {
        let span = self.span();
        let first = self.source.line(span.line)?;
        let (start, _) = first.char_indices().nth(span.column.checked_sub(1)?)?;
        let written = first.get(start..)?;
        let quote = usize::from(written.starts_with(['"', '\'']));
        let is_block = written.starts_with(['|', '>']);
        if self.absent || byte >= text.len() {
            return None;
        }
        let mut at = 0;
        for number in span.line + usize::from(is_block).. {
            let line = self.source.line(number)?;
            let from = if number == span.line { start + quote } else { line.len() - line.trim_start().len() };
            let piece = line.get(from..)?.trim_end();
            at += text.get(at..)?.len() - text.get(at..)?.trim_start().len();
            // The last piece of a quoted text has its quote behind it.
            let rest = text.get(at..)?;
            let piece =
                if rest.starts_with(piece) { piece } else { piece.get(..rest.len()).filter(|head| rest == *head)? };
            if byte < at + piece.len() {
                let before = line.get(..from + byte.checked_sub(at)?)?;
                return Some(Span { line: number, column: before.chars().count() + 1, width: 1 });
            }
            at += piece.len();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::{At, Span};
    use crate::config::source::Source;
    use crate::config::yaml;

    const TEXT: &str = "\
# comment
a:
  - b: plain # more
    \"ü c\": \"quoted\"
  - [x, 'y z', { k: v }]
text: |
  two
  lines
空: 値
last: { n: [1, {m: 2}], empty: '', q: \"a\\tb\" }
";

    #[test]
    fn places_are_those_of_an_editor() {
        let source = Arc::new(Source::new(Path::new("x.yaml"), TEXT.to_owned()));
        let mut problems = Vec::new();
        let document = yaml::read(&source, &|_| None, &mut problems).unwrap();
        assert!(problems.is_empty(), "{problems:?}");
        let root = At::root(&source, &document.mark);
        let span = |line, column, width| Span { line, column, width };
        let a = root.key("a");
        let table = [
            ("a list by its first item", a.span(), span(3, 3, 1)),
            ("its key", a.key_span(), span(2, 1, 1)),
            ("plain, before a comment", a.item(0).key("b").span(), span(3, 8, 5)),
            ("quoted, with its quotes", a.item(0).key("ü c").span(), span(4, 12, 8)),
            ("quoted key", a.item(0).key("ü c").key_span(), span(4, 5, 5)),
            ("in a flow list", a.item(1).item(1).span(), span(5, 9, 5)),
            ("in a flow mapping", a.item(1).item(2).key("k").span(), span(5, 21, 1)),
            ("block text by its sign", root.key("text").span(), span(6, 7, 1)),
            ("wide characters count one", root.key("空").span(), span(9, 4, 1)),
            ("deep", root.key("last").key("n").item(1).key("m").span(), span(10, 20, 1)),
            ("absent: the key around it", root.key("last").key("none").span(), span(10, 1, 4)),
            ("absent twice", root.key("none").key("more").span(), root.span()),
        ];
        for (name, found, expected) in table {
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn a_byte_of_a_text_is_found_where_the_file_shows_it() {
        let source = Arc::new(Source::new(Path::new("x.yaml"), TEXT.to_owned()));
        let document = yaml::read(&source, &|_| None, &mut Vec::new()).unwrap();
        let root = At::root(&source, &document.mark);
        let b = root.key("a").item(0).key("b");
        assert_eq!(b.within("plain", 2), Span { line: 3, column: 10, width: 1 });
        let quoted = root.key("a").item(0).key("ü c");
        assert_eq!(quoted.within("quoted", 0).column, 13);
        let block = root.key("text");
        assert_eq!(block.within("two\nlines\n", 6), Span { line: 8, column: 5, width: 1 });
        let escaped = root.key("last").key("q");
        assert_eq!(escaped.within("a\tb", 2), escaped.span(), "the file shows it otherwise");
    }
}
