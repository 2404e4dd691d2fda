//! Files that no editor made: they end in problems, quickly, and never in a panic.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crossgate::config::{Loaded, Problem};
use proptest::prelude::*;

use super::{env, load};

/// What means something to YAML.
const MEANINGFUL: &[u8] = b"[]{}:,&*!|>'\"%@`#-?\t\r\n\0 ~$";

/// Loads one text as configuration and as policy; fails when it takes long.
fn survive(folder: &Path, name: &str, text: &[u8]) {
    let began = Instant::now();
    let config = folder.join("crossgate.yaml");
    fs::write(&config, text).unwrap();
    let loaded = load(&config, &env);
    for problem in &loaded.problems {
        assert!(problem.render().len() < 4_000, "{name}: {}", problem.render());
    }
    refused_with_a_place(name, &loaded);
    fs::write(folder.join("policy.yaml"), text).unwrap();
    let env = |asked: &str| {
        if asked == "POLICY" { Some(folder.join("policy.yaml").display().to_string()) } else { env(asked) }
    };
    refused_with_a_place(name, &load(Path::new("tests/config/bed.yaml"), &env));
    let took = began.elapsed();
    assert!(took < Duration::from_secs(10), "{name} took {took:?}");
}

/// A valid file, or errors of which one says where.
fn refused_with_a_place(name: &str, loaded: &Loaded) {
    let mut errors = loaded.problems.iter().filter(|problem| problem.is_error());
    // Of a file that cannot be read, or is too large, there is no line to blame.
    let has_place = |problem: &Problem| problem.line > 0 || matches!(problem.code, "CG0001" | "CG0002" | "CG0003");
    let told = loaded.problems.iter().map(Problem::render).collect::<String>();
    assert!(loaded.compiled.is_some() || errors.any(has_place), "{name}: refused without a place\n{told}");
}

fn sample(path: &str) -> Vec<u8> {
    fs::read(path).unwrap()
}

#[test]
fn a_file_cut_at_any_byte() {
    let folder = tempfile::tempdir().unwrap();
    for path in ["conf/minimal.yaml", "conf/policies/minimal.yaml", "conf/full.yaml", "conf/policies/full.yaml"] {
        let text = sample(path);
        // Every byte of a short file; of a long one that would only repeat comments.
        let step = (text.len() / 1_000).max(1);
        for end in (0..text.len()).step_by(step) {
            survive(folder.path(), path, &text[..end]);
        }
    }
}

#[test]
fn a_file_with_one_byte_changed() {
    let folder = tempfile::tempdir().unwrap();
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % below
    };
    for path in ["conf/minimal.yaml", "conf/policies/minimal.yaml", "conf/full.yaml", "conf/policies/full.yaml"] {
        let text = sample(path);
        for round in 0..500 {
            let mut changed = text.clone();
            let at = random(changed.len());
            match round % 4 {
                0 => changed[at] ^= 1 << random(8),
                1 => changed[at] = MEANINGFUL[random(MEANINGFUL.len())],
                2 => changed.insert(at, MEANINGFUL[random(MEANINGFUL.len())]),
                _ => drop(changed.remove(at)),
            }
            survive(folder.path(), path, &changed);
        }
    }
}

#[test]
fn files_in_which_one_line_is_another() {
    let folder = tempfile::tempdir().unwrap();
    type Change = fn(&str) -> String;
    let changes: [(&str, Change); 9] = [
        ("twice", |line| format!("{line}\n{line}")),
        ("with a tab", |line| format!("\t{}", line.trim_start())),
        ("deeper", |line| format!("   {line}")),
        ("at the left", |line| line.trim_start().to_owned()),
        ("not there", |_| String::new()),
        ("without its value", |line| line.split_inclusive(':').next().unwrap_or_default().to_owned()),
        ("with an alias", |line| line.replace(": ", ": *a ")),
        ("with an anchor", |line| line.replace(": ", ": &a ")),
        ("with Windows' end", |line| format!("{line}\r")),
    ];
    for path in ["conf/minimal.yaml", "conf/policies/minimal.yaml", "conf/full.yaml", "conf/policies/full.yaml"] {
        let text = String::from_utf8(sample(path)).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for (index, line) in lines.iter().enumerate().filter(|(_, line)| !line.trim_start().starts_with('#')) {
            for (name, change) in changes {
                let mut changed: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
                changed[index] = change(line);
                let name = format!("{path}, line {} {name}", index + 1);
                survive(folder.path(), &name, format!("{}\n", changed.join("\n")).as_bytes());
            }
        }
    }
}

#[test]
fn bombs() {
    let folder = tempfile::tempdir().unwrap();
    let laughs: String = (1..40).map(|n| format!("a{n}: &a{n} [*a{}, *a{}, *a{}]\n", n - 1, n - 1, n - 1)).collect();
    let merges: String = (1..40).map(|n| format!("m{n}: &m{n} {{ <<: *m{}, k{n}: 1 }}\n", n - 1)).collect();
    for (name, text) in [
        ("a billion laughs", format!("a0: &a0 x\n{laughs}")),
        ("merge keys", format!("m0: &m0 {{ k: 1 }}\n{merges}")),
        ("an alias of itself", "a: &a [*a]\n".to_owned()),
        ("a recursive variable", "state_dir: ${A:-${A:-${A:-x}}}\n".to_owned()),
        ("a scalar of tabs", format!("state_dir: \"{}\"\n", "\t".repeat(100_000))),
        ("a thousand documents", "---\na: 1\n".repeat(1_000)),
    ] {
        survive(folder.path(), name, text.as_bytes());
        fs::write(folder.path().join("crossgate.yaml"), &text).unwrap();
        let loaded = load(&folder.path().join("crossgate.yaml"), &env);
        assert!(loaded.compiled.is_none(), "{name}");
    }
}

#[test]
fn large_and_deep_files() {
    let folder = tempfile::tempdir().unwrap();
    let mega = 256 * 1024;
    // Long enough for anything quadratic to be seen.
    let repeated = |piece: &str, bytes: usize| piece.repeat(bytes / piece.len()).into_bytes();
    let table = [
        ("9 MB", repeated("a: b\n", 36 * mega)),
        ("one key a million times", repeated("a: b\n", mega)),
        ("many lists in lists", repeated("[", mega)),
        ("many mappings in mappings", repeated("{a: ", mega)),
        ("many items", repeated("- \n", mega)),
        ("many commas", [b"[".to_vec(), repeated("a,", mega)].concat()),
        ("one long line", [b"a: ".to_vec(), repeated("x", mega)].concat()),
        ("one long key", [repeated("x", mega), b": 1".to_vec()].concat()),
        ("many lines of one scalar", [b"a: |\n".to_vec(), repeated("  x\n", mega)].concat()),
        ("many references", [b"a: ".to_vec(), repeated("${NUMBER}", mega)].concat()),
        ("many openings", [b"a: ".to_vec(), repeated("${", mega)].concat()),
        ("many question marks", repeated("? ", mega)),
        ("many unknown keys", (0..10_000).map(|n| format!("k{n}: 1\n")).collect::<String>().into_bytes()),
        ("many listeners", format!("listeners:\n{}", "  - adress: 1\n".repeat(10_000)).into_bytes()),
        ("many bad routes", format!("routes:\n{}", "  - { id: 1 }\n".repeat(10_000)).into_bytes()),
        ("many routes without a path", format!("routes:\n{}", "  - { id: a }\n".repeat(10_000)).into_bytes()),
        (
            "many copies of a route",
            (0..5_000)
                .map(|n| format!("  - {{ id: r{n}, match: {{ path: '/{{a{n}}}' }} }}\n"))
                .fold("routes:\n".to_owned(), |all, one| all + &one)
                .into_bytes(),
        ),
        (
            "many upstreams",
            (0..10_000)
                .map(|n| format!("  u{n}: {{}}\n"))
                .fold("upstreams:\n".to_owned(), |all, one| all + &one)
                .into_bytes(),
        ),
        ("many instances", format!("clerk:\n{}", "  - { issuer: 'https://a.b' }\n".repeat(10_000)).into_bytes()),
        ("many problems in one line", format!("trusted_proxies: [{}]", "x,".repeat(30_000)).into_bytes()),
    ];
    for (name, text) in table {
        survive(folder.path(), name, &text);
    }
}

#[test]
fn files_that_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let missing = load(&folder.path().join("none.yaml"), &env);
    assert!(missing.problems[0].to_string().ends_with("no such file"), "{}", missing.problems[0]);
    let is_folder = load(folder.path(), &env);
    assert!(is_folder.problems[0].to_string().contains("it is a folder"), "{}", is_folder.problems[0]);
    let large = folder.path().join("large.yaml");
    fs::File::create(&large).unwrap().set_len(9 * 1024 * 1024).unwrap();
    let large = load(&large, &env);
    assert!(large.problems[0].to_string().ends_with("is larger than 8 MiB"), "{}", large.problems[0]);
    let huge = folder.path().join("huge.yaml");
    fs::File::create(&huge).unwrap().set_len(100 * 1024 * 1024).unwrap();
    let huge = load(&huge, &env);
    assert!(huge.problems[0].to_string().ends_with("is larger than 8 MiB"), "{}", huge.problems[0]);
    let pipe = folder.path().join("pipe.yaml");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let began = Instant::now();
    let of_pipe = load(&pipe, &env);
    assert!(of_pipe.problems[0].to_string().contains("not a regular file"), "{}", of_pipe.problems[0]);
    assert!(began.elapsed() < Duration::from_secs(10), "nobody writes into the pipe, and nobody waits for it");
    let secret = folder.path().join("secret.yaml");
    fs::write(&secret, "a: 1").unwrap();
    fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
    // Whoever runs as root reads it all the same.
    let unreadable = fs::read(&secret).is_err();
    let secret = load(&secret, &env);
    assert!(!unreadable || secret.problems[0].code == "CG0001", "{}", secret.problems[0]);
    let broken = folder.path().join("link.yaml");
    std::os::unix::fs::symlink("nowhere.yaml", &broken).unwrap();
    assert_eq!(load(&broken, &env).problems[0].code, "CG0001");
    if cfg!(target_os = "linux") {
        let device = load(Path::new("/dev/zero"), &env);
        assert!(device.problems[0].to_string().contains("not a regular file"), "{}", device.problems[0]);
    }
}

/// Found by [`any_text`]: the width of such a key was added to.
#[test]
fn a_key_over_two_lines() {
    let folder = tempfile::tempdir().unwrap();
    for text in ["{\"\n\"]", "\"\n\": |\n  a", "? \"a\n  b\"\n: |\n  $${x} ${y\n"] {
        survive(folder.path(), text, text.as_bytes());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text(text in "[a-c:{}\\[\\]\"'|>&*!%#,?$ \\-\\n\\t]{0,60}") {
        let folder = tempfile::tempdir().unwrap();
        survive(folder.path(), "any text", text.as_bytes());
    }
}
