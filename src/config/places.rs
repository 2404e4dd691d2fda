//! Where each value of a file stands: lines and columns by key and index, beside the values themselves.
//!
//! Made by `yaml` in the same pass that makes the values, so that the two cannot disagree, and looked up only
//! when there is a problem to show. Columns count characters, from 1. Never holds a value.

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

    pub(crate) fn was_dropped(&self, name: &str) -> bool {
        match &self.inner {
            Inner::Map { dropped, .. } => dropped.iter().any(|key| key == name),
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
    pub(crate) source: &'a super::source::Source,
    mark: &'a Mark,
    /// Where the key stands whose value this is.
    key: Option<Span>,
    /// The value asked for is not written; the span is its parent's.
    absent: bool,
}

impl<'a> At<'a> {
    pub(crate) const fn root(source: &'a super::source::Source, mark: &'a Mark) -> Self {
        Self { source, mark, key: None, absent: false }
    }

    /// The value under a key, or the nearest thing around it when it is not written.
    pub(crate) fn key(self, name: &str) -> Self {
        match self.mark.entry(name) {
            Some(entry) if !self.absent => {
                Self { source: self.source, mark: &entry.value, key: Some(entry.key), absent: false }
            }
            _ => Self { absent: true, ..self },
        }
    }

    /// An item of a list; a value that stands for a list of one is its own first item.
    pub(crate) fn item(self, index: usize) -> Self {
        match self.mark.item(index) {
            Some(mark) if !self.absent => Self { source: self.source, mark, key: None, absent: false },
            _ => self,
        }
    }

    /// Whether the value stands in the file.
    pub(crate) const fn is_written(self) -> bool {
        !self.absent
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
        exact().unwrap_or(span)
    }
}
