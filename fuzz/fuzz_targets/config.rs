//! Configuration and policies of any content: problems with places, never a panic, and little time.
#![no_main]

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crossgate::config;
use crossgate::telemetry::metrics::Metrics;
use libfuzzer_sys::fuzz_target;

const BED: &str = "
listeners: [{ address: 127.0.0.1:0 }]
upstreams: { app: { endpoints: [127.0.0.1:3000] } }
clerk: [{ publishable_key: pk_test_Y2xlcmsuZXhhbXBsZS5jb20k }]
identity: { workspaces: { claim: workspaces } }
policies: [policy.yaml]
";

thread_local! {
    static WORLD: RefCell<Option<(PathBuf, Metrics)>> = const { RefCell::new(None) };
}

fuzz_target!(|input: (bool, &str)| {
    let (is_policy, text) = input;
    // A pattern that names all files of the machine says nothing about crossgate.
    if text.contains('/') && !is_policy {
        return;
    }
    WORLD.with_borrow_mut(|world| {
        let (folder, metrics) = world.get_or_insert_with(|| {
            let folder = std::env::temp_dir().join(format!("crossgate-fuzz-{}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap_or_else(|problem| panic!("{problem}"));
            (folder, Metrics::new().unwrap_or_else(|problem| panic!("{problem}")))
        });
        let (config, policy) = if is_policy { (BED, text) } else { (text, "routes: []") };
        for (name, text) in [("crossgate.yaml", config), ("policy.yaml", policy)] {
            std::fs::write(folder.join(name), text).unwrap_or_else(|problem| panic!("{problem}"));
        }
        let began = Instant::now();
        let loaded = config::load(&folder.join("crossgate.yaml"), &|_| None, metrics, None);
        let failed = loaded.problems.iter().any(config::Problem::is_error);
        assert_eq!(failed, loaded.compiled.is_none(), "an error, or a result");
        for problem in &loaded.problems {
            assert!(problem.render().len() < 8_000);
        }
        assert!(began.elapsed() < Duration::from_secs(20), "it took {:?}", began.elapsed());
    });
});
