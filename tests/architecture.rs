//! Who may import whom. The story looks only leftwards, the request world never sees the config world, and the proxy
//! library is known to the few that wrap it. Read off the `use` lines and paths under `src/`, tests left out.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot read the sources has failed"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A source file: the noun it belongs to and its code, without comments and without its tests.
struct Source {
    path: PathBuf,
    noun: String,
    code: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    collect(&root, &root, &mut found);
    assert!(found.len() > 30, "the sources are not where they were");
    found
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<Source>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, found);
            continue;
        }
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let is_test = ["tests", "testing"].contains(&name.as_str()) || name.ends_with("_tests");
        if path.extension().is_none_or(|ending| ending != "rs") || is_test {
            continue;
        }
        let inside = path.strip_prefix(root).unwrap();
        let first = inside.iter().next().unwrap().to_str().unwrap();
        let noun = first.strip_suffix(".rs").unwrap_or(first).to_owned();
        found.push(Source { code: code(&std::fs::read_to_string(&path).unwrap()), path: inside.to_owned(), noun });
    }
}

/// Without comment lines, and cut where the tests begin.
fn code(text: &str) -> String {
    let body = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let lines = body.lines().map(|line| match line.find("//") {
        // A URL in a literal is no comment.
        Some(at) if !line[..at].ends_with(':') => &line[..at],
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The nouns of this crate that the code names, in `use crate::{…}` and in paths.
fn named(code: &str) -> BTreeSet<String> {
    let mut nouns = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(list) => nouns.extend(heads(list)),
            None => nouns.extend(word(rest)),
        }
    }
    nouns
}

fn word(text: &str) -> Option<String> {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
}

/// The first words of the elements of a `use` list, up to its closing brace.
fn heads(list: &str) -> Vec<String> {
    let (mut depth, mut heads, mut fresh) = (0, Vec::new(), true);
    for (at, letter) in list.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => fresh = true,
            letter if fresh && !letter.is_whitespace() => {
                heads.extend(word(&list[at..]));
                fresh = false;
            }
            _ => {}
        }
    }
    heads
}

/// Each noun, whom it may import in words, and the sentence that is broken when it imports another.
const ARROWS: &[(&str, &str, &str)] = &[
    ("request", "", "a request is read by itself: it knows no route, no person and no policy"),
    ("route", "request", "routes look at requests only"),
    ("identity", "route request clock", "who is calling does not depend on what they may do"),
    (
        "issuer",
        "identity clock braces",
        "tokens say what a verified identity says, and ask for no request and no policy",
    ),
    (
        "rollout",
        "identity route request clock",
        "an arm follows from who somebody is: it knows no policy and no answer",
    ),
    ("policy", "identity route request clock", "policy looks leftwards: identity, route, request"),
    (
        "audit",
        "policy rollout identity route request clock telemetry",
        "the trail writes down what the story decided, and decides nothing",
    ),
    ("inject", "policy identity route request", "inject writes what policy permitted, and asks nobody else"),
    ("clock", "", "the clock is a leaf"),
    ("braces", "", "a grammar knows none of the fields that its readers name"),
    ("hidden", "", "which characters hide is asked by whoever shows text, and asks nobody"),
    ("misfit", "", "the words for a misfit know nothing of what was read"),
    ("certificate", "", "a certificate is DER and knows nobody"),
    ("upstream", "snapshot certificate", "upstreams know addresses, timeouts and how they fare; never who calls"),
    (
        "snapshot",
        "request route identity issuer rollout policy audit upstream telemetry certificate tls status",
        "a snapshot gathers the compiled world and decides nothing",
    ),
    ("status", "braces", "a status is a value: it knows neither credentials nor how it was found"),
    ("tls", "certificate", "TLS is made of certificates and knows no requests"),
    ("guard", "", "the guard watches bytes and knows nothing of requests"),
    (
        "gate",
        "snapshot request route identity issuer rollout policy audit inject upstream telemetry guard clock status",
        "the gate serves a snapshot: it never sees config, cli or admin",
    ),
    ("telemetry", "gate snapshot rollout", "telemetry knows the codes of answers, the arms and where logs go"),
    (
        "config",
        "snapshot request route identity issuer rollout policy audit inject upstream telemetry clock certificate tls status persona hidden misfit",
        "config makes snapshots: it never sees the gate, the server or the proxy library",
    ),
    (
        "persona",
        "identity policy rollout snapshot",
        "a person written down is an identity: who they are does not depend on what is asked about them",
    ),
    (
        "explain",
        "gate snapshot identity request route policy rollout inject persona clock upstream misfit",
        "explaining is deciding with every step told: it never sees config or admin",
    ),
    (
        "suite",
        "config explain gate snapshot persona policy rollout identity request route clock",
        "a policy test asks what explain asks: it serves nothing and writes nothing",
    ),
    (
        "diff",
        "gate snapshot identity request route policy rollout clock",
        "comparing is deciding twice: it never sees config, and reads no file",
    ),
    (
        "reload",
        "config snapshot admin telemetry audit rollout route clock",
        "a reload compiles a config and swaps the snapshot",
    ),
    (
        "admin",
        "snapshot reload drain telemetry gate identity issuer clock upstream request route audit rollout explain persona",
        "the admin listener shows what serves: it never sees config",
    ),
    ("drain", "admin gate guard snapshot", "draining waits for guard and gate and tells the admin listener"),
    (
        "server",
        "gate guard admin reload drain snapshot telemetry identity rollout upstream clock audit",
        "the server runs what others made: it never sees config or cli",
    ),
];

#[test]
fn arrows_point_one_way() {
    let nouns: BTreeSet<String> = sources().into_iter().map(|source| source.noun).collect();
    let unlisted: Vec<_> = nouns
        .iter()
        .filter(|noun| {
            !["lib", "main", "cli"].contains(&noun.as_str()) && !ARROWS.iter().any(|(known, ..)| known == noun)
        })
        .collect();
    assert!(unlisted.is_empty(), "{unlisted:?} has no line in ARROWS: say whom it may import");
    let mut broken = Vec::new();
    for source in sources() {
        let Some((_, allowed, sentence)) = ARROWS.iter().find(|(noun, ..)| *noun == source.noun) else { continue };
        for other in named(&source.code) {
            if nouns.contains(&other) && other != source.noun && allowed.split(' ').all(|noun| noun != other) {
                broken.push(format!("src/{} imports `{other}`: {sentence}", source.path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_proxy_library_is_known_to_few() {
    const KNOWN: [&str; 7] = ["gate", "guard", "upstream", "server", "drain", "tls", "admin"];
    let strangers: Vec<String> = sources()
        .iter()
        .filter(|source| !KNOWN.contains(&source.noun.as_str()))
        .filter(|source| source.code.contains("pingora::") || names_a_crate(&source.code))
        .map(|source| source.path.display().to_string())
        .collect();
    assert!(strangers.is_empty(), "only {KNOWN:?} know Pingora, but so does {strangers:?}: speak `http` types instead");
}

/// `pingora_proxy::…` or `use pingora_proxy`; not a word in a string, such as the name of a log target.
fn names_a_crate(code: &str) -> bool {
    let code = code.replace("\"pingora_", "\"");
    code.contains("use pingora_")
        || code.split("pingora_").skip(1).any(|rest| {
            rest.trim_start_matches(|letter: char| letter.is_ascii_alphanumeric() || letter == '_').starts_with("::")
        })
}

#[test]
fn yaml_ends_where_the_config_world_ends() {
    let strangers: Vec<String> = sources()
        .iter()
        .filter(|source| !["config", "cli"].contains(&source.noun.as_str()))
        .filter(|source| source.code.contains("serde_yaml") || source.code.contains("saphyr"))
        .map(|source| source.path.display().to_string())
        .collect();
    assert!(strangers.is_empty(), "nothing that serves requests knows that YAML exists, but {strangers:?} does");
}

/// Two places that disagree on where a credential is found are a hole; so there is one that reads, one that takes
/// away, and the list of names that nobody may nominate.
#[test]
fn credentials_are_read_in_one_place() {
    const MAY: [&str; 6] = [
        "request/credential.rs",
        "request/sanitize.rs",
        "inject.rs",
        // They write them into questions of crossgate's own and see no request.
        "identity/legacy/forward.rs",
        "identity/legacy/introspect.rs",
        // It reads operators' tokens on the admin listener, never a person's credential.
        "admin/access.rs",
    ];
    let strangers: Vec<String> = sources()
        .iter()
        .filter(|source| !MAY.iter().any(|path| source.path == Path::new(path)))
        // Commands write these headers as a client does, and config refuses them as names; neither sees a request.
        .filter(|source| !["cli", "config"].contains(&source.noun.as_str()))
        .filter(|source| {
            let constant = ["AUTHORIZATION", "COOKIE"].iter().any(|name| has_word(&source.code, name));
            let text = ["(\"authorization\"", "(\"cookie\""]
                .iter()
                .any(|name| source.code.to_ascii_lowercase().contains(name));
            constant || text
        })
        .map(|source| source.path.display().to_string())
        .collect();
    assert!(strangers.is_empty(), "only {MAY:?} may name these headers, but so does {strangers:?}");
}

fn has_word(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let edge = |letter: Option<char>| letter.is_none_or(|letter| !letter.is_alphanumeric() && letter != '_');
        edge(code[..at].chars().next_back()) && edge(code[at + word.len()..].chars().next())
    })
}

/// A `Permit` is proof that policy permitted; whoever could make one could skip it.
#[test]
fn only_policy_makes_a_permit() {
    let makers: Vec<String> = sources()
        .iter()
        .filter(|source| source.noun != "policy")
        .filter(|source| source.code.contains("Permit {"))
        .map(|source| source.path.display().to_string())
        .collect();
    assert!(makers.is_empty(), "{makers:?} takes a Permit apart or makes one");
}

#[test]
fn every_module_says_what_it_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for source in sources() {
        let text = std::fs::read_to_string(root.join(&source.path)).unwrap();
        assert!(text.starts_with("//!"), "src/{} does not open with `//!`", source.path.display());
    }
}
