//! What is anew in each token that is signed: when, until when, and its own id.
//!
//! Claims are rendered without it, since tokens are kept by their claims: a placeholder stands where it belongs, and is
//! filled in when a token is signed. Placeholders begin with a control character, which JSON has nowhere unescaped, so that
//! no fact of a person can be taken for one.

use std::fmt::Write as _;

use super::tokens::Life;

const MARK: char = '\u{1}';

/// What a placeholder stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fresh {
    Time(Time, Form),
    /// 128 bits by chance, in hex.
    Id,
}

/// An end of a token's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Time {
    Issued,
    Expires,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// RFC 3339.
    Text,
    /// Since 1970, a number.
    Seconds,
    Milliseconds,
}

impl Time {
    pub(super) const ALL: [Self; 2] = [Self::Issued, Self::Expires];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Issued => "issued_at",
            Self::Expires => "expires_at",
        }
    }
}

impl Fresh {
    const ALL: [(char, Self); 7] = [
        ('a', Self::Time(Time::Issued, Form::Text)),
        ('b', Self::Time(Time::Issued, Form::Seconds)),
        ('c', Self::Time(Time::Issued, Form::Milliseconds)),
        ('d', Self::Time(Time::Expires, Form::Text)),
        ('e', Self::Time(Time::Expires, Form::Seconds)),
        ('f', Self::Time(Time::Expires, Form::Milliseconds)),
        ('g', Self::Id),
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Time(time, _) => time.as_str(),
            Self::Id => "jti",
        }
    }

    pub(super) const fn is_number(self) -> bool {
        matches!(self, Self::Time(_, Form::Seconds | Form::Milliseconds))
    }

    /// Where it belongs: within quotation marks unless it is a number.
    pub(super) fn placeholder(self, out: &mut String) {
        let letter = Self::ALL.iter().find_map(|(letter, fresh)| (*fresh == self).then_some(*letter));
        out.push(MARK);
        out.extend(letter);
    }

    fn fill(self, life: Life, id: &str, out: &mut String) {
        let Self::Time(time, form) = self else { return out.push_str(id) };
        let seconds = match time {
            Time::Issued => life.issued,
            Time::Expires => life.expires,
        };
        // Writing into a text cannot fail.
        let _ = match form {
            Form::Seconds => write!(out, "{seconds}"),
            Form::Milliseconds => write!(out, "{}", seconds.saturating_mul(1000)),
            Form::Text => match jiff::Timestamp::from_second(seconds) {
                Ok(time) => write!(out, "{time}"),
                // After the year 9999.
                Err(_) => write!(out, "{seconds}"),
            },
        };
    }
}

/// Claims with all of it; `id` is that of the token.
pub(super) fn fill(claims: &str, life: Life, id: &str) -> String {
    let mut pieces = claims.split(MARK);
    let mut filled = String::with_capacity(claims.len() + 80);
    filled.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let mut letters = piece.chars();
        let letter = letters.next();
        if let Some((_, fresh)) = Fresh::ALL.iter().find(|(known, _)| Some(*known) == letter) {
            fresh.fill(life, id, &mut filled);
        }
        filled.push_str(letters.as_str());
    }
    filled
}
