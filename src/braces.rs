//! Text with fields in braces, as operators write it in claims of tokens and in the body of the status: `{…}` is a field, and
//! `{{` and `}}` are braces that are meant. What a field may be called is for its reader to say.
//!
//! Templates of policies are another grammar: they have no doubled braces, and name the byte of a mistake.

/// A piece of such a text. Two of text never follow each other, and none is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece<'a> {
    Text(String),
    /// What stands between the braces.
    Field(&'a str),
}

/// A `{` without its `}`, or the other way round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unbalanced;

/// Reads a text.
///
/// # Errors
/// [`Unbalanced`].
pub fn read(text: &str) -> Result<Vec<Piece<'_>>, Unbalanced> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, tail) = rest.split_at(at);
        literal.push_str(before);
        if let Some(after) = tail.strip_prefix("{{") {
            literal.push('{');
            rest = after;
        } else if let Some(after) = tail.strip_prefix("}}") {
            literal.push('}');
            rest = after;
        } else {
            let (field, after) = tail.strip_prefix('{').and_then(|tail| tail.split_once('}')).ok_or(Unbalanced)?;
            if !literal.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut literal)));
            }
            pieces.push(Piece::Field(field));
            rest = after;
        }
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        pieces.push(Piece::Text(literal));
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::{Piece, Unbalanced, read};

    #[test]
    fn text_and_fields() {
        let text = |text: &str| Piece::Text(text.to_owned());
        let table = [
            ("", vec![]),
            ("a", vec![text("a")]),
            ("{a}", vec![Piece::Field("a")]),
            ("{}", vec![Piece::Field("")]),
            ("x{a}{b}y", vec![text("x"), Piece::Field("a"), Piece::Field("b"), text("y")]),
            ("{{{a}}}", vec![text("{"), Piece::Field("a"), text("}")]),
            ("{{a}}", vec![text("{a}")]),
            ("{a{b}", vec![Piece::Field("a{b")]),
            ("ä{ö}ü", vec![text("ä"), Piece::Field("ö"), text("ü")]),
        ];
        for (given, expected) in table {
            assert_eq!(read(given), Ok(expected), "{given}");
        }
        for given in ["{", "}", "{a", "a}", "{{a}", "{a}}", "{{}"] {
            assert_eq!(read(given), Err(Unbalanced), "{given}");
        }
    }
}
