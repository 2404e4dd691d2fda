//! Routes that a path nearly reaches: what an operator looks for who asks why none, or another one, was found.
//!
//! Asked by `explain` only; looks at every route, one after the other. Never chooses one.

use std::fmt;

use super::Route;
use super::pattern::Part;
use super::table::Routes;
use crate::request::CanonicalPath;
use crate::request::path::Segment;

/// A route that differs from a path in one place.
#[derive(Debug)]
pub struct Near<'r> {
    pub route: &'r Route,
    pub miss: Miss<'r>,
    /// Literal segments that are the same.
    pub same: usize,
}

/// The one difference. Segments count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Miss<'r> {
    Literal {
        segment: usize,
        asked: &'r [u8],
    },
    /// The pattern goes on where the path ends.
    Shorter {
        segment: usize,
    },
    /// The path goes on where the pattern ends.
    Longer {
        segment: usize,
    },
    Slash {
        asked: bool,
    },
}

impl fmt::Display for Miss<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal { segment, asked } => {
                write!(f, "segment {segment} is not `{}`", String::from_utf8_lossy(asked))
            }
            Self::Shorter { segment } => write!(f, "the path ends before segment {segment}"),
            Self::Longer { segment } => write!(f, "the path goes on with segment {segment}"),
            Self::Slash { asked: true } => f.write_str("the path has no trailing slash"),
            Self::Slash { asked: false } => f.write_str("the path has a trailing slash"),
        }
    }
}

impl Routes {
    /// Routes that differ from the path in one place, those with most in common first; at most `limit`, and how many more
    /// there are.
    pub fn near(&self, path: &CanonicalPath, limit: usize) -> (Vec<Near<'_>>, usize) {
        let has_slash = path.as_str().len() > 1 && path.as_str().ends_with('/');
        let mut segments: Vec<Segment<'_>> = path.segments().collect();
        if has_slash {
            segments.pop();
        }
        let mut found: Vec<Near<'_>> = self.iter().filter_map(|route| near(route, &segments, has_slash)).collect();
        found.sort_by_key(|near| std::cmp::Reverse(near.same));
        // Beside those that share something, those that share nothing are no help.
        if found.first().is_some_and(|near| near.same > 0) {
            found.retain(|near| near.same > 0);
        }
        let more = found.len().saturating_sub(limit);
        found.truncate(limit);
        (found, more)
    }
}

/// `None` for a route that the path reaches, and for one that differs in more than one place.
fn near<'r>(route: &'r Route, segments: &[Segment<'_>], has_slash: bool) -> Option<Near<'r>> {
    let parts = route.pattern.parts();
    let (fixed, has_tail) = match parts.split_last() {
        Some((Part::Tail, before)) => (before, true),
        _ => (parts, false),
    };
    let mut misses = Vec::new();
    let mut same = 0;
    for (at, (part, segment)) in fixed.iter().zip(segments).enumerate() {
        match part {
            Part::Literal(asked) if !segment.eq_decoded(asked) => {
                misses.push(Miss::Literal { segment: at + 1, asked });
            }
            Part::Literal(_) => same += 1,
            Part::Segment | Part::Tail => {}
        }
        if misses.len() > 1 {
            return None;
        }
    }
    match (fixed.len(), segments.len()) {
        (asked, sent) if asked == sent + 1 => misses.push(Miss::Shorter { segment: asked }),
        (asked, sent) if !has_tail && sent == asked + 1 => misses.push(Miss::Longer { segment: sent }),
        (asked, sent) if asked > sent || (!has_tail && sent > asked) => return None,
        _ if !has_tail && route.pattern.trailing_slash() != has_slash => misses.push(Miss::Slash { asked: !has_slash }),
        _ => {}
    }
    let [miss] = misses.as_slice() else { return None };
    Some(Near { route, miss: *miss, same })
}

#[cfg(test)]
mod tests {
    use super::super::table::tests::routes;
    use crate::request::CanonicalPath;

    #[test]
    fn a_near_route_differs_in_one_place() {
        let routes =
            routes(&["/", "/api/orgs/{org}", "/api/orgs/{org}/members", "/api/users/{user}", "/files/{*rest}", "/x/"]);
        let cases = [
            ("/api/orgs/acme/member", "/api/orgs/{org}/members: segment 4 is not `members`"),
            ("/api/orgz/acme", "/api/orgs/{org}: segment 2 is not `orgs`"),
            ("/api/orgs", "/api/orgs/{org}: the path ends before segment 3"),
            ("/file/a/b", "/files/{*rest}: segment 1 is not `files`"),
            ("/x", "/x/: the path has no trailing slash"),
            ("/api/orgs/acme/", "/api/orgs/{org}: the path has a trailing slash"),
        ];
        for (path, expected) in cases {
            let path = CanonicalPath::parse(path.as_bytes()).unwrap();
            let (near, _) = routes.near(&path, 9);
            let told: Vec<String> =
                near.iter().map(|near| format!("{}: {}", near.route.pattern.as_str(), near.miss)).collect();
            assert!(told.iter().any(|told| told == expected), "{path}: {told:?}");
        }
        let path = CanonicalPath::parse(b"/nothing/like/any/of/them").unwrap();
        assert!(routes.near(&path, 9).0.iter().all(|near| near.same == 0));
        let member = CanonicalPath::parse(b"/api/orgs/acme/member").unwrap();
        let (none, left) = routes.near(&member, 0);
        assert!(none.is_empty() && left > 0);
    }
}
