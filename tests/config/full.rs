//! `conf/full.yaml` and `conf/policies/full.yaml`: every key there is, and of each that has a default, that default.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::load;

/// Keys of the schema that stand in the file by reference to the place where they are explained.
const EXPLAINED_ELSEWHERE: [&str; 4] =
    ["legacy.verify.jwt.jwks.file", "legacy.verify.jwt.jwks.pem", "legacy.mint.claims.*", "identity.headers.*"];

/// Keys that have no default, or whose default is said beside them: what stands there is an example.
const EXAMPLES: &[&str] = &[
    "trusted_proxies",
    "upstreams.app.endpoints",
    "upstreams.app.health.path",
    "upstreams.reports.endpoints",
    "clerk.publishable_key",
    "clerk.authorized_parties",
    "legacy.credential.cookie",
    "legacy.verify.jwt.jwks.url",
    "legacy.verify.jwt.issuer",
    "legacy.verify.jwt.audience",
    "identity.headers.subject",
    "identity.headers.permissions",
    "identity.map.file",
    "identity.map.claim",
    "identity.roles",
    "identity.workspaces.claim",
    "identity.assertion.enabled",
    "identity.assertion.issuer",
    "identity.assertion.audience",
    "rollout.percent",
    "rollout.arms.legacy",
    "rollout.arms.clerk",
    "runner.enabled",
    "runner.scopes",
    // Without an assertion it is the default.
    "runner.issuer",
    "policies",
];

type Place = Vec<String>;

/// Every `key:` of a text, with the keys above it. What is commented out counts, and so do flow mappings.
fn keys(text: &str) -> BTreeSet<String> {
    let mut above: Vec<(usize, String)> = Vec::new();
    let mut found = BTreeSet::new();
    for line in text.lines() {
        let Some((indent, key, rest)) = key_of(line) else {
            // An item that is a flow mapping.
            let place: Place = above.iter().map(|(_, key)| key.clone()).collect();
            flow(&place, line, &mut found);
            continue;
        };
        above.retain(|(other, _)| *other < indent);
        above.push((indent, key));
        let place: Place = above.iter().map(|(_, key)| key.clone()).collect();
        found.insert(place.join("."));
        // A rule within a rule is one, too.
        if let Some((last, outer)) = place.split_last() {
            let outer = outer.iter().filter(|key| !["any", "all", "not"].contains(&key.as_str()));
            found.insert(outer.chain([last]).cloned().collect::<Place>().join("."));
        }
        flow(&place, rest, &mut found);
    }
    found
}

/// Indent, key and what follows it, of a line in block style.
fn key_of(line: &str) -> Option<(usize, String, &str)> {
    let mut indent = line.len() - line.trim_start().len();
    let mut rest = line.trim_start();
    if let Some(commented) = rest.strip_prefix("# ") {
        indent += commented.len() - commented.trim_start().len();
        rest = commented.trim_start();
    }
    if let Some(item) = rest.strip_prefix("- ") {
        indent += 2;
        rest = item;
    }
    let (key, value) = rest.split_once(':')?;
    let is_key =
        !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    (is_key && (value.is_empty() || value.starts_with(' '))).then(|| (indent, key.to_owned(), value))
}

/// The keys of the flow mappings in `text`.
fn flow(place: &[String], text: &str, found: &mut BTreeSet<String>) {
    let mut levels: Vec<Option<String>> = Vec::new();
    let mut word = String::new();
    let mut pending = None;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => word = letters.by_ref().take_while(|letter| *letter != '"').collect(),
            ':' if !word.is_empty() && letters.peek().is_none_or(|next| *next == ' ') && !levels.is_empty() => {
                let above = place.iter().chain(levels.iter().flatten());
                found.insert(above.chain([&word]).cloned().collect::<Place>().join("."));
                pending = Some(std::mem::take(&mut word));
            }
            '{' => levels.push(pending.take()),
            '}' => {
                levels.pop();
                pending = None;
            }
            letter if letter.is_alphanumeric() || letter == '_' => {
                word.push(letter);
                continue;
            }
            _ => word.clear(),
        }
        if letter == ',' {
            pending = None;
        }
    }
}

/// Every key of a schema, with the keys above it; `*` for names that people choose. Rules within rules are looked at once.
fn in_schema(root: &Value, schema: &Value, place: &[&str], found: &mut BTreeSet<String>) {
    let resolved = schema["$ref"].as_str().and_then(|path| root.pointer(path.trim_start_matches('#')));
    let schema = resolved.unwrap_or(schema);
    for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
        let inside = [place, &[key]].concat();
        found.insert(inside.join("."));
        if !["any", "all", "not"].contains(&key.as_str()) {
            in_schema(root, inner, &inside, found);
        }
    }
    for key in ["anyOf", "oneOf", "allOf"] {
        for inner in schema[key].as_array().into_iter().flatten() {
            in_schema(root, inner, place, found);
        }
    }
    in_schema_of(root, &schema["items"], place, found);
    in_schema_of(root, &schema["additionalProperties"], &[place, &["*"]].concat(), found);
}

fn in_schema_of(root: &Value, schema: &Value, place: &[&str], found: &mut BTreeSet<String>) {
    if schema.is_object() {
        in_schema(root, schema, place, found);
    }
}

/// `upstreams.*.health` is there as `upstreams.app.health`.
fn has(keys: &BTreeSet<String>, wanted: &str) -> bool {
    let parts: Vec<&str> = wanted.split('.').collect();
    keys.iter().any(|key| {
        let there: Vec<&str> = key.split('.').collect();
        there.len() == parts.len() && there.iter().zip(&parts).all(|(there, part)| *part == "*" || there == part)
    })
}

fn missing(file: &str, schema: &str) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap();
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(schema).unwrap()).unwrap();
    let mut wanted = BTreeSet::new();
    in_schema(&schema, &schema, &[], &mut wanted);
    assert!(wanted.len() > 20, "{wanted:?}");
    let there = keys(&text);
    wanted.retain(|key| !has(&there, key) && !EXPLAINED_ELSEWHERE.contains(&key.as_str()));
    wanted.into_iter().collect()
}

#[test]
fn the_full_samples_have_every_key() {
    assert_eq!(missing("conf/full.yaml", "schema/config.schema.json"), Vec::<String>::new());
    let mut of_policies = missing("conf/policies/full.yaml", "schema/policy.schema.json");
    of_policies.retain(|key| !key.starts_with("tests"));
    assert_eq!(of_policies, Vec::<String>::new());
}

/// A leaf of `conf/full.yaml` in block style.
#[derive(Debug)]
struct Leaf {
    place: String,
    /// From here to there in lines, with a parent that would be left without children.
    lines: (usize, usize),
    line: usize,
}

fn leaves(lines: &[&str]) -> Vec<Leaf> {
    let indent = |at: usize| lines.get(at).and_then(|line| key_of(line)).map(|(indent, ..)| indent);
    let is_comment = |at: usize| lines[at].trim_start().starts_with('#') || lines[at].trim().is_empty();
    let written: Vec<usize> = (0..lines.len()).filter(|at| !is_comment(*at) && indent(*at).is_some()).collect();
    let mut above: Vec<(usize, String, usize)> = Vec::new();
    let mut leaves = Vec::new();
    for (nth, at) in written.iter().enumerate() {
        let (depth, key, _) = key_of(lines[*at]).unwrap();
        above.retain(|(other, ..)| *other < depth);
        above.push((depth, key, *at));
        let next = written.get(nth + 1).map_or(0, |next| indent(*next).unwrap());
        let is_item = lines[*at].trim_start().starts_with("- ");
        if next > depth || is_item {
            continue;
        }
        let place = above.iter().map(|(_, key, _)| key.as_str()).collect::<Vec<_>>().join(".");
        // The only child takes its parent along.
        let mut from = *at;
        let mut until = next;
        for (parent_depth, _, parent) in above.iter().rev().skip(1) {
            let is_first = written[..nth].iter().rev().find(|other| **other < from) == Some(parent);
            if !is_first || until > *parent_depth {
                break;
            }
            from = *parent;
            until = until.min(*parent_depth);
        }
        leaves.push(Leaf { place, lines: (from, *at), line: *at });
    }
    leaves
}

/// Another value of the same kind, for kinds where there is one.
fn another(line: &str) -> Option<String> {
    let (head, rest) = line.split_once(": ")?;
    let value = rest.split(" #").next().unwrap().trim();
    let digits = value.bytes().take_while(u8::is_ascii_digit).count();
    let changed = match value {
        "true" => "false".to_owned(),
        "false" => "true".to_owned(),
        _ if digits > 0 && value[digits..].bytes().all(|byte| byte.is_ascii_alphabetic()) => {
            format!("{}{}", value[..digits].parse::<u64>().ok()? + 1, &value[digits..])
        }
        _ => return None,
    };
    Some(format!("{head}: {changed}"))
}

/// What can be compared of a compiled config; `None` where it does not compile.
/// Sorted, since sets have no order, and without the time of the load.
fn told(folder: &Path, lines: &[String]) -> Option<Vec<String>> {
    let path = folder.join("full.yaml");
    std::fs::write(&path, lines.join("\n")).unwrap();
    let compiled = load(&path, &|_| None).compiled?;
    let snapshot = compiled.snapshot;
    let instances: Vec<_> = snapshot.instances.iter().collect();
    let parts = format!(
        "{:#?}\n{:#?}\n{:#?}\n{:#?}",
        compiled.settings,
        (snapshot.request, snapshot.headers, snapshot.workspaces_claim, snapshot.rollout, snapshot.shadow.is_some()),
        (
            snapshot.cors,
            snapshot.endpoints,
            snapshot.admin,
            snapshot.audit,
            snapshot.policies,
            snapshot.mint,
            snapshot.shown_id.is_some()
        ),
        (snapshot.upstreams, instances, snapshot.legacy, snapshot.runner, snapshot.assertion, snapshot.linking),
    );
    let mut told: Vec<String> =
        parts.lines().filter(|line| !line.contains("tv_") && !line.contains("0x")).map(str::to_owned).collect();
    told.sort();
    Some(told)
}

#[test]
fn the_full_sample_is_the_defaults_but_for_its_examples() {
    let folder = tempfile::tempdir().unwrap();
    for (from, to) in
        [("conf/policies/full.yaml", "policies/full.yaml"), ("conf/identity/map.jsonl", "identity/map.jsonl")]
    {
        std::fs::create_dir_all(folder.path().join(to).parent().unwrap()).unwrap();
        std::fs::copy(from, folder.path().join(to)).unwrap();
    }
    let text = std::fs::read_to_string("conf/full.yaml").unwrap();
    // Of what is off, the other keys show nowhere.
    let text = text.replacen("    enabled: false\n", "    enabled: true\n", 1);
    let lines: Vec<&str> = text.lines().collect();
    let owned = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    let whole = told(folder.path(), &owned(&lines)).unwrap();
    let again = told(folder.path(), &owned(&lines)).unwrap();
    let differs: Vec<_> = whole.iter().filter(|line| !again.contains(line)).collect();
    assert!(differs.is_empty(), "differs from load to load: {differs:?}");
    let (mut examples, mut blind) = (Vec::new(), Vec::new());
    let leaves = leaves(&lines);
    assert!(leaves.len() > 80, "{} leaves", leaves.len());
    for leaf in leaves {
        let mut without = owned(&lines);
        without.drain(leaf.lines.0..=leaf.lines.1);
        if told(folder.path(), &without).as_ref() != Some(&whole) {
            examples.push(leaf.place);
            continue;
        }
        // A key that shows nowhere would always look like its default.
        let Some(other) = another(lines[leaf.line]) else { continue };
        let mut changed = owned(&lines);
        changed[leaf.line] = other;
        if told(folder.path(), &changed).as_ref() == Some(&whole) {
            blind.push(leaf.place);
        }
    }
    assert_eq!(examples, EXAMPLES, "these are no defaults");
    assert_eq!(blind, Vec::<String>::new(), "another value of these shows nowhere in `told`: add where it is kept");
}
