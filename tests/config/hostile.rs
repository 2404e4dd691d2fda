//! Files that no editor made: they end in problems, quickly, and never in a panic.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

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
    fs::write(folder.join("policy.yaml"), text).unwrap();
    let env = |asked: &str| {
        if asked == "POLICY" { Some(folder.join("policy.yaml").display().to_string()) } else { env(asked) }
    };
    let _ = load(Path::new("tests/config/bed.yaml"), &env);
    let took = began.elapsed();
    assert!(took < Duration::from_secs(20), "{name} took {took:?}");
}

fn sample(path: &str) -> Vec<u8> {
    fs::read(path).unwrap()
}

#[test]
fn a_file_cut_at_any_byte() {
    let folder = tempfile::tempdir().unwrap();
    for path in ["conf/full.yaml", "conf/policies/full.yaml"] {
        let text = sample(path);
        // Every byte of a long file would only repeat comments.
        let step = (text.len() / 500).max(1);
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
    if cfg!(target_os = "linux") {
        let device = load(Path::new("/dev/zero"), &env);
        assert!(device.problems[0].to_string().contains("not a regular file"), "{}", device.problems[0]);
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
