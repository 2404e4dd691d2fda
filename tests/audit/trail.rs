//! A trail as the writer leaves it, made in place: segments, seals, checkpoints, keys.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crossgate::audit::chain::Link;
use crossgate::audit::entry::{Actor, Outcome, Request, Seal, Text, timestamp};
use crossgate::audit::{Entry, Event, Id};

/// 2026-11-27T04:00:00Z, in microseconds.
pub(crate) const START: i64 = 1_795_752_000_000_000;

pub(crate) struct Trail {
    pub(crate) folder: PathBuf,
    pub(crate) key: Vec<u8>,
    pub(crate) link: Link,
    /// Of the active segment.
    pub(crate) first: u64,
    lines: u64,
    signed: u64,
    id: u128,
    name: String,
}

pub(crate) fn new_key() -> Vec<u8> {
    Ed25519KeyPair::generate_pkcs8(&aws_lc_rs::rand::SystemRandom::new()).unwrap().as_ref().to_vec()
}

impl Trail {
    pub(crate) fn begin(folder: &Path) -> Self {
        Self::with_key(folder, new_key())
    }

    pub(crate) fn with_key(folder: &Path, key: Vec<u8>) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(&key).unwrap();
        std::fs::write(folder.join("audit.pub"), format!("{}\n", STANDARD.encode(pair.public_key()))).unwrap();
        let mut trail = Self {
            folder: folder.to_owned(),
            key,
            link: Link::START,
            first: 1,
            lines: 0,
            signed: 0,
            id: 0,
            name: String::new(),
        };
        // As the writer does it: before the first entry.
        trail.sign();
        trail.open("first");
        trail.system("trail.start", |_| {});
        trail
    }

    pub(crate) fn active(&self) -> PathBuf {
        self.folder.join("audit.jsonl")
    }

    pub(crate) fn segment(&self, first: u64) -> PathBuf {
        self.folder.join(format!("audit-{first:020}.jsonl"))
    }

    pub(crate) fn checkpoints(&self) -> PathBuf {
        self.folder.join(format!("audit-{:020}.checkpoints", self.first))
    }

    pub(crate) fn append(&mut self, entry: &Entry<'_>) {
        let mut line = Vec::new();
        self.link = self.link.append(&entry.body(), &mut line);
        self.lines += 1;
        self.write(&line);
    }

    pub(crate) fn write(&self, bytes: &[u8]) {
        use std::io::Write;
        let file = std::fs::OpenOptions::new().append(true).create(true).open(self.active());
        file.unwrap().write_all(bytes).unwrap();
    }

    fn entry(&mut self, event: Event) -> Entry<'static> {
        self.id += 1;
        Entry::new(Id(self.id), START + i64::try_from(self.link.seq).unwrap() * 1_000_000, event)
    }

    pub(crate) fn system(&mut self, action: &'static str, fill: impl FnOnce(&mut Entry<'_>)) {
        let mut entry = self.entry(Event::System);
        entry.action = Some(Text(action));
        fill(&mut entry);
        self.append(&entry);
    }

    pub(crate) fn open(&mut self, reason: &'static str) {
        self.first = self.link.seq + 1;
        self.lines = 0;
        let before = self.name.clone();
        self.system("trail.open", |entry| entry.reason = Some(Text(reason)));
        drop(before);
    }

    /// An attempt of `user` and, if `ends`, its outcome.
    pub(crate) fn action(&mut self, user: &str, ends: bool) {
        let mut attempt = self.entry(Event::Attempt);
        attempt.decision = Some("allow");
        attempt.route = Some(Text("execution.start"));
        attempt.access = Some("privileged");
        attempt.action = Some(Text("execution.start"));
        attempt.resource = Some(Text("workspace:w1"));
        attempt.org = Some(Text("org_1"));
        let request = format!("req-{user}-{}", self.link.seq);
        let mut line = Entry { ..attempt };
        line.actor = Some(Actor {
            subject: Some(Text(user)),
            clerk_user: Some(Text(user)),
            token: Some("session"),
            method: Some("clerk"),
            ..Actor::default()
        });
        line.request = Some(Request {
            id: Text(&request),
            method: Text("POST"),
            path: Text("/v1/executions"),
            client: Text("192.0.2.1"),
            peer: Text("192.0.2.1"),
            ..Request::default()
        });
        let id = line.id;
        self.append(&line);
        if ends {
            let mut outcome = self.entry(Event::Outcome);
            outcome.reason = Some(Text("ok"));
            outcome.outcome = Some(Outcome { status: 201, upstream: Some(Text("app")), duration_us: 1500, bytes: 17 });
            outcome.attempt = Some(id);
            self.append(&outcome);
        }
    }

    pub(crate) fn denied(&mut self, user: &str) {
        let mut denied = self.entry(Event::Denied);
        denied.decision = Some("deny");
        denied.code = Some("forbidden");
        denied.route = Some(Text("invoice.write"));
        let mut denied = Entry { ..denied };
        denied.actor = Some(Actor { subject: Some(Text(user)), ..Actor::default() });
        self.append(&denied);
    }

    /// A checkpoint of where the trail is.
    pub(crate) fn signed_line(&self) -> String {
        self.checkpoint(false)
    }

    /// The one that says that it ends there.
    pub(crate) fn ended_line(&self) -> String {
        self.checkpoint(true)
    }

    /// Closes the trail for good; `close` leaves its checkpoint as one of many.
    pub(crate) fn end(&mut self) {
        self.system("trail.stop", |_| {});
        self.put(&self.ended_line());
    }

    fn checkpoint(&self, end: bool) -> String {
        let pair = Ed25519KeyPair::from_pkcs8(&self.key).unwrap();
        let mut id = String::new();
        for byte in &digest(&SHA256, pair.public_key().as_ref()).as_ref()[..8] {
            let _ = write!(id, "{byte:02x}");
        }
        let time = timestamp(START + i64::try_from(self.link.seq).unwrap() * 1_000_000);
        let (seq, hash) = (self.link.seq, self.link.hash);
        let last = if end { "end\n" } else { "" };
        let signed = format!("crossgate-checkpoint-1\nnode-1\n{seq}\n{hash}\n{time}\n{last}");
        let end = if end { ",\"end\":true" } else { "" };
        let signature = STANDARD.encode(pair.sign(signed.as_bytes()));
        format!(
            "{{\"node\":\"node-1\",\"seq\":{seq},\"hash\":\"{hash}\",\"time\":\"{time}\"{end},\"key\":\"{id}\",\"signature\":\"{signature}\"}}\n"
        )
    }

    pub(crate) fn sign(&mut self) {
        self.put(&self.signed_line());
        self.signed = self.link.seq;
    }

    fn put(&self, checkpoint: &str) {
        use std::io::Write;
        let file = std::fs::OpenOptions::new().append(true).create(true).open(self.checkpoints());
        file.unwrap().write_all(checkpoint.as_bytes()).unwrap();
    }

    pub(crate) fn rotate(&mut self) {
        self.seal();
        std::fs::rename(self.active(), self.segment(self.first)).unwrap();
        self.open("rotated");
    }

    pub(crate) fn seal(&mut self) {
        let (count, seal) = (self.lines, Seal { first: self.first, last: self.link.seq });
        self.system("trail.seal", |entry| {
            entry.count = Some(count);
            entry.seal = Some(seal);
        });
        self.sign();
    }

    /// Says that a segment goes, and takes it away.
    pub(crate) fn retire(&mut self, seal: Seal) {
        let path = self.segment(seal.first);
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let mut entry = self.entry(Event::System);
        entry.action = Some(Text("trail.retire"));
        entry.seal = Some(seal);
        let mut entry = Entry { ..entry };
        entry.resource = Some(Text(&name));
        self.append(&entry);
        std::fs::remove_file(&path).unwrap();
        std::fs::remove_file(path.with_extension("checkpoints")).unwrap();
    }

    pub(crate) fn close(&mut self) {
        self.system("trail.stop", |_| {});
        self.sign();
    }
}

/// Three segments and a clean end: 1 to 12, 13 to 24, 25 to 36.
pub(crate) fn whole(folder: &Path) -> Trail {
    let mut trail = Trail::begin(folder);
    for segment in 0..3 {
        if segment > 0 {
            trail.rotate();
            trail.system("trail.pending", |_| {});
        }
        for user in ["user_1", "user_2", "user_3"] {
            trail.action(user, true);
            if user == "user_2" {
                trail.sign();
            }
        }
        trail.denied("user_4");
        trail.denied("user_5");
        trail.action("user_6", false);
    }
    trail.close();
    trail
}
