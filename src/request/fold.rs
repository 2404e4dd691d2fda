//! Reserved header names under every spelling (main author).

use std::collections::HashSet;

use http::HeaderName;

/// The folded names that only crossgate may send to the API.
#[derive(Debug, Clone, Default)]
pub struct Reserved {
    names: HashSet<Box<str>>,
}

impl Reserved {
    /// The names of the contract, plus those that the config gives to identity headers.
    pub fn new(renamed: impl IntoIterator<Item = HeaderName>) -> Self {
        Self { names: renamed.into_iter().map(|name| fold(name.as_str())).collect() }
    }
}

/// Lower case, each non-alphanumeric turned into `-`.
pub fn fold(name: &str) -> Box<str> {
    name.bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b.to_ascii_lowercase()) } else { '-' })
        .collect::<String>()
        .into_boxed_str()
}
