//! The published schemas: what editors are told is what the loader takes.
//!
//! After a change of a raw type: `UPDATE=1 cargo test --test config schema`, then read the difference.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use jsonschema::Validator;
use serde_json::{Value, json};

use super::{env, files, load};

/// What is wrong with a file whatever stands in other files: a schema can know.
const SHAPE: &[&str] = &["CG0101", "CG0102", "CG0103", "CG0104", "CG0106"];

/// Where the two do not agree, and why they cannot.
const EXCEPTIONS: &[(&str, &str)] = &[
    (
        "bad/endpoints-status-nothing.yaml",
        "`status:` and `status: null` are one value to a schema, and the latter is good",
    ),
    ("bad/environment-typed-wrong.yaml", "what the environment holds, no editor knows"),
];

const KINDS: [&str; 2] = ["config", "policy"];

fn published(kind: &str) -> PathBuf {
    PathBuf::from(format!("schema/{kind}.schema.json"))
}

fn schema(kind: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(published(kind)).unwrap()).unwrap()
}

fn validator(schema: &Value) -> Validator {
    jsonschema::draft7::meta::validate(schema).unwrap_or_else(|wrong| panic!("no schema: {wrong}"));
    jsonschema::draft7::new(schema).unwrap()
}

#[test]
fn the_published_schemas_are_what_the_command_prints() {
    for kind in KINDS {
        let output = Command::new(env!("CARGO_BIN_EXE_crossgate")).args(["schema", kind]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{kind}");
        let printed = String::from_utf8(output.stdout).unwrap();
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(published(kind), &printed).unwrap();
        }
        let expected = std::fs::read_to_string(published(kind)).unwrap_or_default();
        assert!(printed == expected, "{}: run `UPDATE=1 cargo test --test config schema`", published(kind).display());
    }
}

/// A property of a schema, under the keys that lead to it in a file.
struct Property<'s> {
    path: Vec<String>,
    schema: &'s Value,
}

fn properties<'s>(schema: &'s Value, path: &[String], found: &mut Vec<Property<'s>>) {
    let Some(schema) = schema.as_object() else { return };
    for (name, inner) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let path = [path, std::slice::from_ref(name)].concat();
        found.push(Property { path: path.clone(), schema: inner });
        properties(inner, &path, found);
    }
    for (key, step) in [("items", "[]"), ("additionalProperties", "*")] {
        if let Some(inner) = schema.get(key) {
            properties(inner, &[path, &[step.to_owned()]].concat(), found);
        }
    }
    for key in ["anyOf", "oneOf", "allOf"] {
        for inner in schema.get(key).and_then(Value::as_array).into_iter().flatten() {
            properties(inner, path, found);
        }
    }
    for inner in schema.get("definitions").and_then(Value::as_object).into_iter().flat_map(|map| map.values()) {
        properties(inner, &["definition".to_owned()], found);
    }
}

#[test]
fn every_key_has_a_sentence_and_an_example_that_holds() {
    for (kind, least) in [("config", 150), ("policy", 60)] {
        let schema = schema(kind);
        let mut found = Vec::new();
        properties(&schema, &[], &mut found);
        assert!(found.len() > least, "{kind}: {}", found.len());
        for Property { path, schema: property } in found {
            let path = path.join(".");
            let sentence = property["description"].as_str().unwrap_or_default();
            assert!(sentence.len() > 5 && sentence.ends_with('.'), "{kind}: {path}: no sentence: {property}");
            let examples = property["examples"].as_array().cloned().unwrap_or_default();
            assert!(!examples.is_empty(), "{kind}: {path}: no example");
            let mut whole = property.clone();
            whole["definitions"] = schema["definitions"].clone();
            if whole["definitions"].is_null() {
                whole.as_object_mut().unwrap().remove("definitions");
            }
            let validator = validator(&whole);
            for value in examples.iter().chain(property.get("default")) {
                assert!(validator.is_valid(value), "{kind}: {path}: {value} is no example");
            }
        }
    }
}

/// `conf/full.yaml` says them to people; where it shows another value than the default, it is named here.
#[test]
fn the_defaults_are_those_of_the_full_config() {
    const OTHERS: &[&str] = &["trusted_proxies", "legacy.verify.jwt.algorithms", "runner.enabled"];
    let full: Value = serde_yaml::from_str(&std::fs::read_to_string("conf/full.yaml").unwrap()).unwrap();
    let schema = schema("config");
    let mut found = Vec::new();
    properties(&schema, &[], &mut found);
    let mut compared = 0;
    let mut wrong = Vec::new();
    for Property { path, schema } in found {
        let Some(default) = schema.get("default") else { continue };
        let mut written = vec![&full];
        for step in &path {
            written = match step.as_str() {
                "[]" => written.into_iter().filter_map(Value::as_array).flatten().collect(),
                "*" => written.into_iter().filter_map(Value::as_object).flat_map(|map| map.values()).collect(),
                key => written.into_iter().filter_map(|value| value.get(key)).collect(),
            };
        }
        let path = path.join(".");
        if OTHERS.contains(&path.as_str()) {
            assert!(written.iter().all(|value| *value != default), "{path} is its default after all");
            continue;
        }
        compared += written.len();
        wrong.extend(written.into_iter().filter(|value| *value != default).map(|value| format!("{path}: {value}")));
    }
    assert!(wrong.is_empty(), "conf/full.yaml has other values than the schema has defaults: {wrong:?}");
    assert!(compared > 50, "{compared}");
}

/// A file as a validator sees it; `None` where it is no YAML, and no editor comes as far as the schema.
fn instance(path: &Path) -> Option<Value> {
    let text = std::fs::read_to_string(path).ok()?;
    let yaml: serde_yaml::Value = serde_yaml::from_str(&text).ok()?;
    serde_json::to_value(yaml).ok()
}

/// What the loader says of one file: code and whether it is an error, by file.
fn told(path: &Path, kind: &str) -> Vec<(String, bool)> {
    let loaded = if kind == "config" {
        load(path, &env)
    } else {
        let name = path.strip_prefix("tests/config").map(|rest| rest.display().to_string());
        let name = name.unwrap_or_else(|_| format!("../../{}", path.display()));
        let env = |asked: &str| if asked == "POLICY" { Some(name.clone()) } else { env(asked) };
        load(Path::new("tests/config/bed.yaml"), &env)
    };
    let file = path.display().to_string();
    let problems = loaded.problems.iter().filter(|problem| {
        let told = &*problem.file;
        told == file || Path::new(told).canonicalize().ok() == Path::new(&file).canonicalize().ok()
    });
    problems.map(|problem| (problem.code.to_owned(), problem.is_error())).collect()
}

#[test]
fn the_schemas_and_the_loader_agree() {
    let validators: BTreeMap<&str, Validator> = KINDS.map(|kind| (kind, validator(&schema(kind)))).into();
    let folders = [
        ("config", "tests/config/good"),
        ("config", "tests/config/warned"),
        ("config", "tests/config/bad"),
        ("policy", "tests/config/policies"),
        ("policy", "tests/config/bad-policies"),
    ];
    let mut wrong = Vec::new();
    let (mut compared, mut refused) = (0, 0);
    let mut excused: Vec<&str> = EXCEPTIONS.iter().map(|(file, _)| *file).collect();
    for (kind, folder) in folders {
        for path in files(folder) {
            let Some(instance) = instance(&path) else { continue };
            let told = told(&path, kind);
            let is_shape = told.iter().any(|(code, is_error)| *is_error && SHAPE.contains(&code.as_str()));
            let is_bad = told.iter().any(|(_, is_error)| *is_error);
            let problems: Vec<String> = validators[kind]
                .iter_errors(&instance)
                .map(|problem| format!("{}: {problem}", problem.instance_path()))
                .collect();
            let agree = match problems.is_empty() {
                true => !is_shape,
                false => is_bad,
            };
            compared += 1;
            refused += usize::from(is_shape);
            let name = path.strip_prefix("tests/config").unwrap().display().to_string();
            if let Some(at) = excused.iter().position(|file| *file == name) {
                assert!(!agree, "{name} is no exception any more");
                excused.remove(at);
            } else if !agree {
                wrong.push(format!("{name}: the loader says {told:?}, the schema {problems:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(excused.is_empty(), "there is no such file: {excused:?}");
    assert!(compared > 100 && refused > 30, "{compared} files, {refused} of them of a wrong shape");
}

/// All files below a folder that end in .yaml.
fn below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            below(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml") {
            found.push(path);
        }
    }
}

#[test]
fn every_sample_names_its_schema_and_holds_to_it() {
    let mut samples = Vec::new();
    below(Path::new("conf"), &mut samples);
    let mut seen = 0;
    for path in samples {
        let text = std::fs::read_to_string(&path).unwrap();
        let instance = instance(&path).unwrap();
        // Persons, and what belongs to other programs, are neither.
        let kind = if instance.get("listeners").is_some() {
            "config"
        } else if instance.get("routes").is_some() || instance.get("tests").is_some() {
            "policy"
        } else {
            continue;
        };
        let first = text.lines().next().unwrap_or_default();
        let named = first.strip_prefix("# yaml-language-server: $schema=");
        let named = named.unwrap_or_else(|| panic!("{}: its first line names no schema", path.display()));
        let target = path.parent().unwrap().join(named).canonicalize();
        let target = target.unwrap_or_else(|_| panic!("{}: there is no {named}", path.display()));
        assert_eq!(target, published(kind).canonicalize().unwrap(), "{}", path.display());
        let validator = validator(&schema(kind));
        let problems: Vec<String> = validator.iter_errors(&instance).map(|problem| problem.to_string()).collect();
        assert!(problems.is_empty(), "{}: {problems:?}", path.display());
        seen += 1;
    }
    assert!(seen >= 8, "{seen} samples");
}

/// What the samples do not show: that a wrong type is refused while a value from the environment is not.
#[test]
fn a_value_from_the_environment_is_of_any_type() {
    let table = [
        ("h2c", json!(true), true),
        ("h2c", json!("${H2C}"), true),
        ("h2c", json!("${H2C:-false}"), true),
        ("h2c", json!("yes"), false),
        ("h2c", json!(1), false),
        ("threads", json!("auto"), true),
        ("threads", json!("${THREADS}"), true),
        ("threads", json!("many"), false),
        ("log", json!("${LEVEL}"), true),
        ("log", json!("info"), true),
        ("log", json!("loud"), false),
        ("wait", json!("${WAIT}s"), true),
        ("wait", json!("30s"), true),
        ("wait", json!("30 s"), false),
        ("wait", json!(30), false),
        ("body", json!("none"), true),
        ("body", json!(1024), true),
        ("body", json!("${MAX:-1MiB}"), true),
        ("body", json!("1MB"), false),
        ("body", Value::Null, false),
    ];
    let validator = validator(&schema("config"));
    for (key, value, expected) in table {
        let mut config = json!({
            "listeners": [{ "address": "127.0.0.1:8080" }],
            "upstreams": { "app": { "endpoints": ["127.0.0.1:3000"] } },
            "policies": ["policies/*.yaml"],
            "clerk": [{ "issuer": "https://clerk.example.com" }],
            "server": { "ready": {} },
            "limits": {},
            "telemetry": {},
        });
        let at = match key {
            "h2c" => &mut config["listeners"][0][key],
            "threads" => &mut config["server"][key],
            "wait" => &mut config["server"]["ready"][key],
            "log" => &mut config["telemetry"][key],
            key => &mut config["limits"][key],
        };
        *at = value.clone();
        assert_eq!(validator.is_valid(&config), expected, "{key}: {value}");
    }
}
