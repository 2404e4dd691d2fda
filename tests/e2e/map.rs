//! The identity map's commands, as people and programs call them.

use std::path::PathBuf;
use std::process::{Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::bed::crossgate;

const OLD: &str = r#"{"kind":"org","legacy":"acme","clerk":"org_1"}
{"kind":"user","legacy":"41","clerk":"user_1","state":"sealed"}
{"kind":"user","legacy":"42","clerk":"user_2","state":"linked"}
{"kind":"membership","user":"42","org":"acme","role":"member","workspaces":["w1","w2"]}
"#;

struct Folder(TempDir);

impl Folder {
    fn new(map: &str) -> Self {
        let folder = Self(TempDir::new().unwrap());
        folder.write("map.jsonl", map);
        folder
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// Runs in the folder.
    fn run(&self, arguments: &[&str]) -> Output {
        crossgate().arg("map").args(arguments).current_dir(self.0.path()).stdin(Stdio::null()).output().unwrap()
    }

    fn import(&self, new: &str, options: &[&str]) -> (Option<i32>, Value) {
        self.write("new.jsonl", new);
        let arguments = [&["import", "new.jsonl", "--into", "map.jsonl", "--format", "json"], options].concat();
        let output = self.run(&arguments);
        let report = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{}{}", text(&output.stdout), text(&output.stderr)));
        (output.status.code(), report)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn verify_tells_every_problem_with_its_line() {
    let folder = Folder::new(
        "{\"kind\":\"user\",\"legacy\":\"1\",\"clerk\":\"user_1\",\"state\":\"linked\"}\n\
         {\"kind\":\"user\",\"legacy\":\"1\",\"clerk\":\"user_2\",\"state\":\"linked\"}\n\n\
         {\"kind\":\"membership\",\"user\":\"7\",\"org\":\"acme\"}\n{\"kind\":\"us",
    );
    let output = folder.run(&["verify", "map.jsonl"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output.stdout),
        "map.jsonl:2: legacy id `1` is a user's already, on line 1\n\
         map.jsonl:4: no line has the user `7` of this membership\n\
         map.jsonl:4: no line has the org `acme` of this membership\n\
         map.jsonl:5: the object does not end on its line: the line is broken or the file cut off\n\
         map.jsonl, 4 problems\n"
    );
    let json = folder.run(&["verify", "map.jsonl", "--format", "json"]);
    let report: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((report["ok"].as_bool(), report["problems"][3]["line"].as_u64()), (Some(false), Some(5)));
    let missing = folder.run(&["verify", "nothing.jsonl"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stdout).starts_with("cannot read nothing.jsonl: no such file\n"));
    assert_eq!(folder.run(&["verify", "."]).status.code(), Some(1), "a folder");
}

#[test]
fn verify_counts_and_warns() {
    let folder = Folder::new(&OLD.replace("\"42\"", "\"Bob\"").replace("\"41\"", "\"bob\""));
    let output = folder.run(&["verify", "map.jsonl"]);
    assert_eq!(output.status.code(), Some(0));
    let shown = text(&output.stdout);
    assert!(shown.contains("map.jsonl:3: warning: legacy user ids `"), "{shown}");
    assert!(shown.ends_with("map.jsonl: ok, 2 users (1 linked, 1 sealed), 1 org, 1 membership\n"), "{shown}");
    let json = folder.run(&["verify", "map.jsonl", "--format", "json"]);
    let report: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(report["counts"]["users"]["sealed"], 1);
    assert_eq!(report["counts"]["memberships"], 1);
    assert_eq!(report["warnings"].as_array().unwrap().len(), 1);
}

#[test]
fn import_writes_what_export_shows() {
    let folder = Folder::new(OLD);
    let csv = folder.run(&["export", "map.jsonl", "--to", "csv"]);
    assert_eq!(csv.status.code(), Some(0));
    folder.write("people.csv", &text(&csv.stdout));
    // Into a map that is not there yet, without a dry run making it.
    let dry = folder.run(&["import", "people.csv", "--into", "fresh.jsonl", "--dry-run"]);
    assert_eq!(dry.status.code(), Some(0), "{}", text(&dry.stdout));
    assert!(!folder.path("fresh.jsonl").exists());
    let output = folder.run(&["import", "people.csv", "--into", "fresh.jsonl"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    assert_eq!(folder.read("fresh.jsonl"), OLD);
    assert_eq!(text(&folder.run(&["export", "fresh.jsonl"]).stdout), OLD);
    let names: Vec<_> = std::fs::read_dir(folder.0.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 3, "nothing temporary stays: {names:?}");
}

#[test]
fn import_reports_and_refuses() {
    let folder = Folder::new(OLD);
    let line = |text: &str| OLD.lines().find(|line| line.contains(text)).unwrap();
    let unsealed = OLD.replace("\"sealed\"", "\"linked\"");
    let raised = OLD.replace("\"member\"", "\"admin\"");
    let reused = OLD.replace("\"user_2\"", "\"user_3\"");
    let shrunk = OLD.replace(line("\"role\""), "");
    let twins = OLD.to_owned() + r#"{"kind":"org","legacy":"Acme"}"#;
    let table: &[(&str, &str, &str)] = &[
        (&unsealed, "sealed_regression", "sealed-regression"),
        (&raised, "role_raise", "role-raise"),
        (&reused, "id_reuse", "id-reuse"),
        (&shrunk, "shrink", "shrink"),
        (&twins, "twins", "twins"),
    ];
    for (new, kind, word) in table {
        let (code, report) = folder.import(new, &[]);
        assert_eq!(code, Some(1), "{kind}: {report}");
        assert_eq!(report["conflicts"][0]["kind"], *kind, "{report}");
        assert_eq!(report["conflict_counts"].as_object().unwrap().len(), 1, "{report}");
        assert_eq!((&report["written"], &report["ok"]), (&false.into(), &false.into()));
        assert_eq!(folder.read("map.jsonl"), OLD, "{kind}");
        assert_eq!(folder.import(new, &["--dry-run"]).0, Some(1), "{kind}");
        let (code, report) = folder.import(new, &["--dry-run", "--allow", word]);
        assert_eq!((code, &report["written"]), (Some(0), &false.into()), "{kind}: {report}");
        assert_eq!(folder.read("map.jsonl"), OLD, "{kind}");
    }
    let (code, report) = folder.import(&shrunk, &["--force"]);
    assert_eq!((code, &report["written"], &report["memberships"]["removed"]), (Some(0), &true.into(), &1.into()));
    assert_eq!(folder.read("map.jsonl").lines().count(), 3);
}

#[test]
fn import_takes_a_merge_only_when_the_line_says_so() {
    let folder = Folder::new(OLD);
    let merge = r#"{"kind":"org","legacy":"beta","clerk":"org_1"}"#;
    let (code, report) = folder.import(&(OLD.to_owned() + merge), &["--force"]);
    assert_eq!((code, &report["problems"][0]["line"]), (Some(1), &5.into()), "an error is not forced: {report}");
    let said = merge.replace('}', ",\"merge\":true}");
    let (code, report) = folder.import(&(OLD.to_owned() + &said), &[]);
    assert_eq!((code, &report["conflicts"][0]["kind"]), (Some(0), &"org_merge".into()), "{report}");
    assert!(folder.read("map.jsonl").contains(&said));
}

#[test]
fn import_leaves_a_broken_map_unless_forced() {
    let folder = Folder::new("{\"kind\":\"us");
    let (code, report) = folder.import(OLD, &[]);
    assert_eq!((code, &report["ok"]), (Some(1), &false.into()));
    assert_eq!(folder.read("map.jsonl"), "{\"kind\":\"us");
    assert_eq!(folder.import(OLD, &["--force"]).0, Some(0));
    assert_eq!(folder.read("map.jsonl"), OLD);
    let (code, report) = folder.import(OLD, &[]);
    assert_eq!((code, &report["written"]), (Some(0), &false.into()), "nothing to do");
}

#[test]
fn import_keeps_the_permissions_of_the_map() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new(OLD);
    std::fs::set_permissions(folder.path("map.jsonl"), std::fs::Permissions::from_mode(0o640)).unwrap();
    let new = OLD.replace("\"w2\"", "\"w3\"");
    assert_eq!(folder.import(&new, &[]).0, Some(0));
    assert_eq!(folder.read("map.jsonl"), new);
    assert_eq!(std::fs::metadata(folder.path("map.jsonl")).unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn tables_are_told_their_mistakes_by_line() {
    let folder = Folder::new(OLD);
    let table = [
        ("", 0),
        ("kind,email\nuser,a@b.c\n", 1),
        ("kind,legacy,clerk,state\nuser,42,,linked\nuser,43\n\"user,44\n", 3),
    ];
    for (csv, problems) in table {
        folder.write("people.csv", csv);
        let arguments = ["import", "people.csv", "--into", "map.jsonl", "--format", "json"];
        let output = folder.run(&arguments);
        assert_eq!(output.status.code(), Some(1), "{csv}");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["problems"].as_array().unwrap().len(), problems, "{report}");
        assert_eq!(folder.read("map.jsonl"), OLD);
    }
}
