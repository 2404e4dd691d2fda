//! What docs/audit.md shows is what happens.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crossgate::audit::chain::Line;
use tempfile::TempDir;

use super::trail::{Trail, whole};

fn blocks(language: &str) -> Vec<String> {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/audit.md")).unwrap();
    let fence = format!("```{language}\n");
    page.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

fn folder() -> (TempDir, Trail) {
    let folder = TempDir::new().unwrap();
    let trail = whole(&folder.path().join("audit"));
    for name in ["state", "kept"] {
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    fs::write(folder.path().join("state/audit-token.key"), [7; 32]).unwrap();
    fs::write(folder.path().join("token.txt"), "token\n").unwrap();
    fs::copy(trail.folder.join("audit.pub"), folder.path().join("kept/audit.pub")).unwrap();
    fs::write(folder.path().join("kept/audit.checkpoint"), trail.signed_line()).unwrap();
    (folder, trail)
}

fn is_there(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

#[test]
fn the_line_of_the_book_is_one() {
    let block = blocks("json").remove(0);
    let line = Line::read(block.trim_end().as_bytes()).unwrap();
    assert_eq!(line.check(), Ok(()));
}

#[test]
fn the_commands_of_the_book_run() {
    let (folder, _) = folder();
    let mut seen = 0;
    for line in blocks("console").iter().flat_map(|block| block.lines()) {
        let line = line.strip_prefix("$ crossgate ").unwrap();
        let (arguments, input) = line.split_once('<').map_or((line, None), |(line, input)| (line, Some(input.trim())));
        let stdin = input.map_or(Stdio::null(), |input| fs::File::open(folder.path().join(input)).unwrap().into());
        let output = Command::new(env!("CARGO_BIN_EXE_crossgate"))
            .args(arguments.split_whitespace())
            .current_dir(folder.path())
            .stdin(stdin)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        seen += 1;
    }
    assert!(seen > 5, "{seen}");
}

#[test]
fn other_tools_read_it() {
    if !is_there("jq") {
        return;
    }
    let (folder, _) = folder();
    let lines: Vec<String> = blocks("sh").iter().flat_map(|block| block.lines().map(str::to_owned)).collect();
    let outputs: Vec<String> = lines
        .iter()
        .map(|line| {
            let output = Command::new("sh").args(["-c", line]).current_dir(folder.path()).output().unwrap();
            assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        })
        .collect();
    assert_eq!(outputs[0].lines().count(), 6, "{}", outputs[0]);
    assert!(outputs[0].starts_with("2026-11-27T04:00:"), "{}", outputs[0]);
    let open: Vec<String> = serde_json::from_str(&outputs[1]).unwrap();
    assert_eq!(open.len(), 3);
}

#[test]
fn the_script_of_the_book_proves_and_misses_nothing() {
    if !is_there("python3") {
        return;
    }
    let (folder, trail) = folder();
    let script = blocks("python").remove(0);
    let prove = || {
        let output =
            Command::new("python3").args(["-c", &script, "audit"]).current_dir(folder.path()).output().unwrap();
        (output.status.success(), format!("{:?}", String::from_utf8_lossy(&output.stdout)))
    };
    assert_eq!(prove(), (true, format!("\"ok, up to entry {}\\n\"", trail.link.seq)));
    let text = fs::read_to_string(trail.active()).unwrap();
    for changed in
        [text.replacen("user_2", "user_9", 1), text.lines().skip(1).map(|line| format!("{line}\n")).collect()]
    {
        fs::write(trail.active(), changed).unwrap();
        assert!(!prove().0);
    }
}
