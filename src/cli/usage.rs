//! What stands below the options of each command's `--help`: examples, and what its exit code says.
//!
//! Every example parses, and every line fits 80 columns: the tests in `help_tests` read them all.

/// A literal with an end of line after each line; the last part begins after an empty one.
macro_rules! usage {
    ($($example:literal)+ ; $codes:literal) => {
        concat!(usage!(@title $($example)+), $("\n  ", $example,)+ "\n\nExit codes: ", $codes)
    };
    (@title $one:literal) => { "Example:" };
    (@title $($many:literal)+) => { "Examples:" };
}

pub(super) const CROSSGATE: &str = usage!(
    "crossgate demo"
    "crossgate check -c conf/crossgate.yaml"
    "crossgate run -c conf/crossgate.yaml";
    "0 done, 1 problems, 2 wrong usage; each command says more."
);
pub(super) const RUN: &str = usage!(
    "crossgate run -c conf/crossgate.yaml";
    "0 drained, 1 it could not start, 2 wrong usage."
);
pub(super) const DEMO: &str = usage!(
    "crossgate demo --port 8080";
    "0 ended by a signal, 1 it could not start, 2 wrong usage."
);
pub(super) const CHECK: &str = usage!(
    "crossgate check -c conf/crossgate.yaml --format json";
    "0 no errors, 1 errors, 2 wrong usage."
);
pub(super) const EXPLAIN: &str = usage!(
    "crossgate explain GET /orgs/org_1/invoices/7 -H 'authorization: Bearer …'"
    "crossgate explain POST /orgs/org_1/invoices --as conf/people/admin.yaml"
    "crossgate explain GET /me --as '{ user: u1 }' --format json";
    "0 allow, 3 deny, 1 config or person cannot be used, 2 wrong\nusage."
);
pub(super) const TEST: &str = usage!(
    "crossgate test -c conf/crossgate.yaml"
    "crossgate test conf/policies/invoices_test.yaml --filter member"
    "crossgate test --coverage --fail-under 90 --format json";
    "0 all passed, 1 one failed, none was found, the coverage is too\nlow or the config has errors, 2 wrong usage."
);
pub(super) const DIFF: &str = usage!(
    "git worktree add /tmp/old main \\\n    && crossgate diff /tmp/old/conf/crossgate.yaml conf/crossgate.yaml"
    "crossgate diff old/conf/crossgate.yaml conf/crossgate.yaml \\\n    --fail-on widening";
    "0 nothing changes, 1 something does or could, 2 one of the two\ncannot be loaded, or wrong usage."
);
pub(super) const AUDIT: &str = usage!(
    "crossgate audit verify -c conf/crossgate.yaml"
    "crossgate audit show --actor user_1 --since 24h"
    "crossgate audit tail -f";
    "0 done, 1 the chain is broken or cannot be read, 2 wrong usage."
);
pub(super) const MAP: &str = usage!(
    "crossgate map verify map.jsonl"
    "crossgate map import people.csv --into map.jsonl --dry-run"
    "crossgate map export map.jsonl --to csv";
    "0 done, 1 problems or refused conflicts, 2 wrong usage."
);
pub(super) const REPORT: &str = usage!(
    "crossgate report"
    "crossgate report invoice.write --format json"
    "crossgate report --admin unix:/run/crossgate/admin.sock \\\n    --token-file ops.token";
    "0 shown, 1 the admin listener refuses or does not answer,\n2 wrong usage."
);
pub(super) const ROLLOUT: &str = usage!(
    "crossgate rollout status"
    "crossgate rollout set 25 --token-file ci.token --reason 'week 2'"
    "crossgate rollout rollback --admin unix:/run/crossgate/admin.sock";
    "0 done, or so already; 1 refused, with the reason; 2 wrong usage."
);
pub(super) const KEYS: &str = usage!(
    "crossgate keys show"
    "crossgate keys rotate -c conf/crossgate.yaml";
    "0 done, 1 problems, 2 wrong usage."
);
pub(super) const TOKEN: &str = usage!(
    "crossgate token mint --key dev.pem --issuer https://clerk.example.com"
    "crossgate token decode eyJhbGciOi…";
    "0 done, 1 no token came of it, 2 wrong usage."
);
pub(super) const MINT: &str = usage!(
    "crossgate token mint --key dev.pem --jwks keys.json --ttl 1h \\\n    --issuer https://clerk.example.com --sub user_1 --org org_1 --role admin";
    "0 made, 1 a file cannot be read or written, 2 wrong usage."
);
pub(super) const DECODE: &str = usage!(
    "crossgate token mint --key dev.pem --issuer https://clerk.example.com \\\n    | crossgate token decode -";
    "0 shown, 1 this is no token, 2 wrong usage."
);
pub(super) const SCHEMA: &str = usage!(
    "crossgate schema config > config.schema.json"
    "crossgate schema policy > policy.schema.json";
    "0 printed, 2 wrong usage."
);
pub(super) const COMPLETIONS: &str = usage!(
    "source <(crossgate completions bash)"
    "crossgate completions zsh > ~/.zfunc/_crossgate"
    "crossgate completions fish > ~/.config/fish/completions/crossgate.fish";
    "0 printed, 2 wrong usage."
);
pub(super) const HELP: &str = usage!(
    "crossgate help CG0103"
    "crossgate help check";
    "0 shown, 2 there is no such code or command."
);
pub(super) const VERSION: &str = usage!("crossgate version"; "0 printed, 2 wrong usage.");
