//! Paths as other products write them: regular expressions, globs, the segments of Express, Flask and Next.js, whole URLs.
//!
//! Called before a pattern is parsed. Some of these would parse, as literals that no request has: the route would never be
//! found, and its requests fall to a laxer one.

/// What is wrong, at which characters, and what is meant.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Slip {
    /// Byte of the text.
    pub(super) at: usize,
    /// In characters.
    pub(super) width: usize,
    pub(super) message: &'static str,
    pub(super) help: String,
}

/// `None` for what reads like a pattern of ours, right or wrong.
pub(super) fn of_path(text: &str) -> Option<Slip> {
    let whole = |message, help| Some(Slip { at: 0, width: text.chars().count(), message, help });
    if let Some((_, rest)) = text.split_once("://") {
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        return whole("a path is no URL", format!("write path: /{path}, and host: {host} where that matters"));
    }
    if let Some((method, path)) = text.split_once(' ')
        && method.len() <= 16
        && !method.is_empty()
        && method.bytes().all(|byte| byte.is_ascii_uppercase())
        && path.starts_with('/')
    {
        return whole("a path holds no method", format!("write match: {{ method: {method}, path: {path} }}"));
    }
    if text.starts_with('^')
        || text.ends_with('$')
        || [".*", ".+", "\\d", "\\w", "]+", "]*"].iter().any(|sign| text.contains(sign))
    {
        let help = "write {name} for one segment and {*rest} for all that follows";
        return whole("a path is no regular expression", help.to_owned());
    }
    let is_query =
        |(path, query): &(&str, &str)| path.starts_with('/') && query.starts_with(|c: char| c.is_alphanumeric());
    if let Some((path, query)) = text.split_once('?').filter(is_query) {
        let (name, value) = query.split('&').next().and_then(|pair| pair.split_once('=')).unwrap_or(("name", "value"));
        let help = format!("write match: {{ path: {path}, query: {{ {name}: \"{value}\" }} }}");
        return Some(Slip { at: path.len(), width: query.chars().count() + 1, message: "a path holds no query", help });
    }
    let body = text.strip_prefix('/')?;
    let mut at = 1;
    let mut segments = body.split('/').peekable();
    while let Some(segment) = segments.next() {
        if let Some((message, help)) = of_segment(segment, segments.peek().is_none()) {
            return Some(Slip { at, width: segment.chars().count(), message, help });
        }
        at += segment.len() + 1;
    }
    None
}

fn of_segment(segment: &str, is_last: bool) -> Option<(&'static str, String)> {
    let tail = || "write {*rest} for all that follows".to_owned();
    let one = |name: &str| format!("write {{{name}}} for one segment");
    if segment == "*" || segment == "**" {
        let message = "`*` stands for itself here";
        return Some((message, if is_last { tail() } else { one("name") }));
    }
    if segment.contains('*') && !segment.contains('{') {
        return Some(("a path is no glob: `*` stands for itself", one("name")));
    }
    if let Some(name) = segment.strip_prefix(':').filter(|name| is_name(name.trim_end_matches('?'))) {
        return Some(("`:name` stands for itself here", one(name.trim_end_matches('?'))));
    }
    if let Some(inner) = segment.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')) {
        return Some(match inner.rsplit_once(':') {
            Some(("path", _)) => ("`<path:name>` is no segment here", tail()),
            Some((_, name)) => ("`<type:name>` is no segment here", one(name)),
            None => ("`<name>` is no segment here", one(inner)),
        });
    }
    if let Some(inner) = segment.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return Some(match inner.trim_matches(['[', ']']).strip_prefix("...") {
            Some(_) => ("`[...name]` is no tail here", tail()),
            None if is_name(inner) => ("`[name]` is no segment here", one(inner)),
            None => ("a path is no regular expression", one("name")),
        });
    }
    if segment.starts_with('(') && segment.contains('|') {
        return Some(("a path has no alternatives", "write a route for each, or {name} for any segment".to_owned()));
    }
    if let Some(inner) = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        if let Some((name, _)) = inner.split_once(':').filter(|(name, _)| is_name(name)) {
            return Some(("a segment has no type and no regular expression", one(name)));
        }
        let is_tail = inner.starts_with("**") || inner.ends_with('*') || inner.contains("...");
        if is_tail && inner != "*" {
            return Some(("the tail is written with one star in front", tail()));
        }
        if inner.ends_with('?') {
            let help = format!("write a route without the segment, too, or {{*{}}}", inner.trim_end_matches('?'));
            return Some(("a segment is not optional", help));
        }
    }
    None
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::of_path;

    #[test]
    fn paths_of_other_products() {
        let table = [
            ("/api/*", Some(("`*` stands for itself here", 5, 1))),
            ("/api/**", Some(("`*` stands for itself here", 5, 2))),
            ("/api/*/x", Some(("`*` stands for itself here", 5, 1))),
            ("/api/*.json", Some(("a path is no glob: `*` stands for itself", 5, 6))),
            ("/users/:id", Some(("`:name` stands for itself here", 7, 3))),
            ("/users/:id/x", Some(("`:name` stands for itself here", 7, 3))),
            ("/users/<int:id>", Some(("`<type:name>` is no segment here", 7, 8))),
            ("/files/<path:p>", Some(("`<path:name>` is no segment here", 7, 8))),
            ("/users/[id]", Some(("`[name]` is no segment here", 7, 4))),
            ("/docs/[...slug]", Some(("`[...name]` is no tail here", 6, 9))),
            ("^/api/.*", Some(("a path is no regular expression", 0, 8))),
            ("/a/[0-9]+", Some(("a path is no regular expression", 0, 9))),
            ("/a/(b|c)", Some(("a path has no alternatives", 3, 5))),
            ("/a/{id:int}", Some(("a segment has no type and no regular expression", 3, 8))),
            ("/a/{**rest}", Some(("the tail is written with one star in front", 3, 8))),
            ("/a/{rest...}", Some(("the tail is written with one star in front", 3, 9))),
            ("/a/{id?}", Some(("a segment is not optional", 3, 5))),
            ("/a?b=c", Some(("a path holds no query", 2, 4))),
            ("https://x.example.com/a", Some(("a path is no URL", 0, 23))),
            ("GET /a", Some(("a path holds no method", 0, 6))),
            ("/v1/things:cancel", None),
            ("/a/{b}/{*rest}", None),
            ("/{}", None),
            ("/{*}", None),
            ("a", None),
            ("/", None),
            ("/%3Aid", None),
        ];
        for (text, expected) in table {
            let slip = of_path(text);
            assert_eq!(slip.map(|slip| (slip.message, slip.at, slip.width)), expected, "{text}");
        }
    }
}
