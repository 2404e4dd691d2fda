//! The page of a code: what it means, why it is refused, and how it is written right.
//!
//! `docs/reference/errors.md` is the one source, compiled in, so that the book and `crossgate help CG0103` cannot
//! differ. Its lines are short enough for any terminal and are shown as they are; only the signs of Markdown go.

use super::codes;

const BOOK: &str = include_str!("../../docs/reference/errors.md");

/// The code that somebody typed, in any case, also without `CG`. `None` when it does not read like a code.
pub fn asked(text: &str) -> Option<String> {
    let upper = text.to_ascii_uppercase();
    let digits = upper.strip_prefix("CG").unwrap_or(&upper);
    let reads_like_one = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    reads_like_one.then(|| format!("CG{digits:0>4}"))
}

/// The page of a code as plain text, each line of at most 80 columns.
pub fn page(id: &str) -> Option<String> {
    let code = codes::ALL.iter().find(|code| code.id == id)?;
    let body = section(id)?;
    // The meaning stands there for who reads the book; here it is the first line.
    let (_, rest) = body.split_once("**\n")?;
    let mut text = format!("{}: {}\n", code.id, code.meaning);
    let mut in_block = false;
    for line in rest.lines() {
        if line.starts_with("```") {
            in_block = !in_block;
        } else if in_block && !line.is_empty() {
            text.push_str(&format!("    {line}\n"));
        } else {
            text.push_str(&format!("{line}\n"));
        }
    }
    Some(format!("{}\n", text.trim_end()))
}

/// The code that was probably meant: one digit is another, or two changed places.
pub fn near_code(text: &str) -> Option<&'static str> {
    let id = asked(text)?;
    let near = |other: &&'static str| strsim::damerau_levenshtein(&id, other) == 1;
    codes::ALL.iter().map(|code| code.id).find(near).filter(|_| id.len() == 6)
}

fn section(id: &str) -> Option<&'static str> {
    let (_, rest) = BOOK.split_once(&format!("\n## {id}\n"))?;
    Some(rest.split("\n## ").next().unwrap_or(rest))
}

#[cfg(test)]
mod tests {
    use super::{BOOK, asked, near_code, page, section};
    use crate::config::codes;

    #[test]
    fn each_code_has_its_section_and_each_section_its_code() {
        let ids: Vec<&str> = codes::ALL.iter().map(|code| code.id).collect();
        let headings: Vec<&str> = BOOK.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        assert_eq!(headings, ids, "one section for each code, in their order");
        for code in codes::ALL {
            let body = section(code.id).unwrap();
            let meaning = body.split("**").nth(1).unwrap().replace('\n', " ");
            assert_eq!(meaning, code.meaning, "{}", code.id);
        }
    }

    #[test]
    fn pages_fit_a_terminal() {
        for code in codes::ALL {
            let page = page(code.id).unwrap();
            assert!(page.starts_with(code.id) && page.lines().count() > 3, "{page}");
            for line in page.lines() {
                assert!(line.chars().count() <= 80, "{}: {line}", code.id);
                assert!(!line.contains("```"), "{}: {line}", code.id);
            }
        }
    }

    #[test]
    fn what_reads_like_a_code() {
        let table = [
            ("CG0103", Some("CG0103")),
            ("cg0103", Some("CG0103")),
            ("0103", Some("CG0103")),
            ("103", Some("CG0103")),
            ("cg103", Some("CG0103")),
            ("check", None),
            ("CG", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(asked(text).as_deref(), expected, "{text:?}");
        }
        assert_eq!(near_code("cg0117"), Some("CG0107"));
        assert_eq!(near_code("CG9999"), None);
        assert_eq!(near_code("CG99999999"), None);
    }
}
