//! One crossgate process with its config, its API and its Clerk: made for one test, gone with it.

use std::borrow::BorrowMut;
use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::issuer::{self, Issuer};
use super::origin::Origin;
use super::wire::{Address, Call, Response, Wire};

/// A public tree, a route for whoever is signed in, and a tenant's resource with a role for writing.
pub(crate) const STORY: &str = r#"
routes:
  - id: public
    match: { path: "/public/{*rest}" }
    access: public
  - id: me
    match: { path: "/me/{*rest}" }
  - id: invoice.read
    match: { method: [GET], path: "/api/orgs/{org}/invoices" }
    require: { org: "{org}" }
  - id: invoice.write
    match: { method: [POST], path: "/api/orgs/{org}/invoices" }
    require: { org: "{org}", role: [org:admin] }
"#;

/// Longest wait for anything that a test waits for.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Asks again and again until there is an answer.
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: not within {DEADLINE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A port that nobody listens on, held until the listener is dropped. Below the range that the system hands out for
/// outgoing connections, so that none of these takes it between two tests.
pub(crate) fn reserve() -> TcpListener {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = 10_000 + std::process::id().wrapping_mul(37) % 20_000;
    loop {
        let offset = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 10_000 + (start - 10_000 + offset) % 20_000;
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", u16::try_from(port).unwrap())) {
            return listener;
        }
    }
}

pub(crate) fn crossgate() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_crossgate"));
    command.env_remove("CROSSGATE_CONFIG").env("NO_COLOR", "1");
    command
}

pub(crate) fn signal(process: u32, name: &str) {
    let sent = Command::new("sh").arg("-c").arg(format!("kill -{name} {process}")).status().unwrap();
    assert!(sent.success(), "SIG{name} could not be sent");
}

/// A process's output while it runs.
#[derive(Clone, Default)]
pub(crate) struct Output(Arc<Mutex<Vec<u8>>>);

impl Output {
    pub(crate) fn collect(mut from: impl Read + Send + 'static) -> (Self, JoinHandle<()>) {
        let output = Self::default();
        let into = output.clone();
        let reader = std::thread::spawn(move || {
            let mut chunk = [0; 8192];
            while let Ok(read @ 1..) = from.read(&mut chunk) {
                into.0.lock().unwrap().extend_from_slice(&chunk[..read]);
            }
        });
        (output, reader)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

/// What a bed is to be.
pub(crate) struct Bed {
    /// Top-level keys of the config with their text.
    sections: Vec<(String, String)>,
    policy: String,
    upstream: Vec<String>,
    clerk: Vec<String>,
    instances: Vec<String>,
    environment: Vec<(String, String)>,
    issuer: Issuer,
    origin: Origin,
    folder: TempDir,
}

impl Bed {
    /// The policies of [`STORY`], an API that echoes, one Clerk instance with its key server.
    pub(crate) fn new() -> Self {
        Self {
            sections: Vec::new(),
            policy: STORY.to_owned(),
            upstream: Vec::new(),
            clerk: Vec::new(),
            instances: Vec::new(),
            environment: Vec::new(),
            issuer: Issuer::start(),
            origin: Origin::start(),
            folder: TempDir::new().unwrap(),
        }
    }

    /// Other policies.
    pub(crate) fn policy(mut self, text: &str) -> Self {
        text.clone_into(&mut self.policy);
        self
    }

    /// A top-level key of the config, instead of what it was; `{gate}` stands for the address to listen on, `{admin}` for the
    /// admin listener's.
    pub(crate) fn section(mut self, text: &str) -> Self {
        let key = text.split(':').next().unwrap().trim().to_owned();
        self.sections.retain(|(other, _)| *other != key);
        self.sections.push((key, text.to_owned()));
        self
    }

    /// Without this top-level key of the config.
    pub(crate) fn without(mut self, key: &str) -> Self {
        self.sections.retain(|(other, _)| other != key);
        self.sections.push((key.to_owned(), String::new()));
        self
    }

    /// A key of `upstreams.app`, in one line.
    pub(crate) fn upstream_option(mut self, line: &str) -> Self {
        self.upstream.push(line.to_owned());
        self
    }

    /// A key of the Clerk instance, in one line; `{keys}` stands for the address of its key server.
    pub(crate) fn clerk_option(mut self, line: &str) -> Self {
        self.clerk.push(line.to_owned());
        self
    }

    /// A further Clerk instance, as a flow mapping.
    pub(crate) fn instance(mut self, mapping: &str) -> Self {
        self.instances.push(mapping.to_owned());
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// For what must be so before the process starts.
    pub(crate) fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// For configs that name the API's address themselves.
    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes the config with these addresses.
    fn write(&self, gate: &Address, admin: &Address) -> PathBuf {
        let url = self.issuer.url();
        let mut upstream = format!("upstreams:\n  app:\n    endpoints: [\"{}\"]\n", self.origin.address);
        for line in &self.upstream {
            upstream.push_str(&format!("    {line}\n"));
        }
        let mut clerk = "clerk:\n  - name: first\n".to_owned();
        let mut lines =
            vec![format!("issuer: {}", issuer::ISSUER), format!("jwks: {{ url: \"{url}\", allow_private: true }}")];
        for line in &self.clerk {
            let key = line.split(':').next().unwrap();
            lines.retain(|other| other.split(':').next() != Some(key));
            lines.push(line.replace("{keys}", &url));
        }
        for line in lines {
            clerk.push_str(&format!("    {line}\n"));
        }
        for instance in &self.instances {
            clerk.push_str(&format!("  - {instance}\n"));
        }
        let mut sections = vec![
            ("listeners".to_owned(), format!("listeners: [{{ address: \"{gate}\" }}]")),
            ("admin".to_owned(), format!("admin: {{ address: \"{admin}\" }}")),
            ("server".to_owned(), "server: { threads: 2, drain: { delay: 0s, limit: 5s } }".to_owned()),
            ("upstreams".to_owned(), upstream),
            ("clerk".to_owned(), clerk),
            ("policies".to_owned(), "policies: [policies/*.yaml]".to_owned()),
            ("state_dir".to_owned(), "state_dir: state".to_owned()),
            ("telemetry".to_owned(), "telemetry: { access_log: stdout, log: info }".to_owned()),
        ];
        for (key, text) in &self.sections {
            sections.retain(|(other, _)| other != key);
            sections
                .push((key.clone(), text.replace("{gate}", &gate.to_string()).replace("{admin}", &admin.to_string())));
        }
        let text: Vec<String> = sections.into_iter().map(|(_, text)| text).collect();
        std::fs::create_dir_all(self.folder().join("policies")).unwrap();
        std::fs::write(self.folder().join("policies/main.yaml"), &self.policy).unwrap();
        let path = self.folder().join("crossgate.yaml");
        std::fs::write(&path, text.join("\n")).unwrap();
        path
    }

    /// The command that runs it, and where it will listen.
    fn command(&self, gate: &Address, admin: &Address) -> Command {
        let config = self.write(gate, admin);
        let mut command = crossgate();
        command.arg("run").arg("-c").arg(config).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts on free loopback ports and waits until it serves.
    pub(crate) fn start(self) -> Running {
        let (gate, admin) = (reserve(), reserve());
        let address = |listener: &TcpListener| Address::Tcp(listener.local_addr().unwrap());
        let (gate_address, admin_address) = (address(&gate), address(&admin));
        drop((gate, admin));
        self.start_at(gate_address, admin_address)
    }

    /// Starts on unix sockets in its folder.
    pub(crate) fn start_on_sockets(self) -> Running {
        let at = |name: &str| Address::Unix(self.folder().join(name));
        let (gate, admin) = (at("gate.sock"), at("admin.sock"));
        self.start_at(gate, admin)
    }

    pub(crate) fn start_at(self, gate: Address, admin: Address) -> Running {
        self.start_while(gate, admin, |_, _| {})
    }

    /// The same, with something that happens during the start.
    pub(crate) fn start_while(self, gate: Address, admin: Address, act: impl FnOnce(&Process, &Path)) -> Running {
        let process = Process::spawn(self.command(&gate, &admin));
        act(&process, self.folder());
        let mut running = Running { bed: self, gate, admin, process };
        running.wait_until_it_serves();
        running
    }

    /// Starts with a socket passed as a service manager does it: as descriptor 3, under the name `web`.
    pub(crate) fn start_passed(self, socket: &TcpListener) -> Running {
        let (gate, admin) =
            (Address::Tcp(socket.local_addr().unwrap()), Address::Unix(self.folder().join("admin.sock")));
        let config = self.write(&gate, &admin);
        let mut command = Command::new("sh");
        let script = "exec 3<&0 0</dev/null; LISTEN_FDS=1 LISTEN_FDNAMES=web LISTEN_PID=$$ exec \"$@\"";
        command.args(["-c", script, "sh"]).arg(crossgate().get_program()).arg("run").arg("-c").arg(config);
        command.stdin(Stdio::from(std::os::fd::OwnedFd::from(socket.try_clone().unwrap())));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let process = Process::spawn(command);
        let mut running = Running { bed: self, gate, admin, process };
        running.wait_until_it_serves();
        running
    }

    /// Runs what is expected not to start, and waits for its end.
    pub(crate) fn fail_at(&self, gate: &Address, admin: &Address) -> Ended {
        Process::spawn(self.command(gate, admin)).wait()
    }
}

/// A child process whose output is collected; killed when dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) stdout: Output,
    pub(crate) stderr: Output,
    readers: Vec<JoinHandle<()>>,
    started: Instant,
}

/// A process that came to its end.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

impl Process {
    pub(crate) fn spawn(mut command: impl BorrowMut<Command>) -> Self {
        let mut child = command.borrow_mut().spawn().unwrap();
        let (stdout, first) = Output::collect(child.stdout.take().unwrap());
        let (stderr, second) = Output::collect(child.stderr.take().unwrap());
        Self { child, stdout, stderr, readers: vec![first, second], started: Instant::now() }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(self.id(), name);
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub(crate) fn wait(mut self) -> Ended {
        let status = until("the end of the process", || self.child.try_wait().unwrap());
        let took = self.started.elapsed();
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        Ended { status, stdout: self.stdout.text(), stderr: self.stderr.text(), took }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A bed that serves.
pub(crate) struct Running {
    bed: Bed,
    pub(crate) gate: Address,
    pub(crate) admin: Address,
    pub(crate) process: Process,
}

impl Running {
    fn wait_until_it_serves(&mut self) {
        let (gate, admin) = (self.gate.clone(), self.admin.clone());
        let process = &mut self.process;
        let serves = |address: &Address, target: &str| {
            let mut wire = Wire::try_connect(address).ok()?;
            wire.write(&Call::new(address, "GET", target).bytes());
            wire.response("GET")
        };
        until("readiness", || {
            assert!(!process.has_ended(), "crossgate ended: {}{}", process.stdout.text(), process.stderr.text());
            let report: Value = serde_json::from_slice(&serves(&admin, "/readyz")?.body).ok()?;
            let starting = report["reasons"].as_array()?.iter().any(|reason| reason["code"] == "starting");
            (!starting).then_some(())
        });
        until("the gate", || Wire::try_connect(&gate).ok());
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.bed.origin
    }

    pub(crate) fn issuer(&self) -> &Issuer {
        &self.bed.issuer
    }

    pub(crate) fn folder(&self) -> &Path {
        self.bed.folder()
    }

    pub(crate) fn call(&self, method: &str, target: &str) -> Call {
        Call::new(&self.gate, method, target)
    }

    pub(crate) fn get(&self, target: &str) -> Call {
        self.call("GET", target)
    }

    pub(crate) fn post(&self, target: &str) -> Call {
        self.call("POST", target)
    }

    pub(crate) fn connect(&self) -> Wire {
        Wire::connect(&self.gate)
    }

    /// Sends these bytes as they are and takes everything until crossgate closes.
    pub(crate) fn raw(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut wire = self.connect();
        wire.write(bytes.as_ref());
        wire.close_write();
        String::from_utf8_lossy(&wire.rest()).into_owned()
    }

    /// Sends these bytes and reads one answer; `None` when crossgate closes without one.
    pub(crate) fn answer_to(&self, bytes: impl AsRef<[u8]>) -> Option<Response> {
        let mut wire = self.connect();
        wire.write(bytes.as_ref());
        wire.response("GET")
    }

    pub(crate) fn ask_admin(&self, target: &str) -> Response {
        Call::new(&self.admin, "GET", target).send()
    }

    /// A series of `/metrics` by its whole name with labels; 0 while it does not exist.
    pub(crate) fn metric(&self, series: &str) -> f64 {
        let text = self.ask_admin("/metrics").text();
        text.lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))
            .map_or(0.0, |value| value.trim().parse().unwrap())
    }

    /// The codes of the reasons on `/readyz`.
    pub(crate) fn reasons(&self) -> Vec<String> {
        let report = self.ask_admin("/readyz").json();
        let reasons = report["reasons"].as_array().unwrap();
        reasons.iter().map(|reason| reason["code"].as_str().unwrap().to_owned()).collect()
    }

    /// Access lines, once there are at least this many.
    pub(crate) fn access_lines(&self, at_least: usize) -> Vec<Value> {
        until("access lines", || {
            let text = self.process.stdout.text();
            let complete = text.rfind('\n').map_or("", |end| &text[..end]);
            let lines: Vec<&str> = complete.lines().collect();
            (lines.len() >= at_least).then(|| {
                lines
                    .iter()
                    .map(|line| serde_json::from_str(line).unwrap_or_else(|problem| panic!("{problem}: {line}")))
                    .collect()
            })
        })
    }

    /// Ends the process in the orderly way and takes everything it said.
    pub(crate) fn stop(self) -> Ended {
        self.process.signal("TERM");
        self.process.wait()
    }

    /// As [`Running::stop`], with the folder kept as long as the bed is held.
    pub(crate) fn stop_keeping_folder(self) -> (Bed, Ended) {
        self.process.signal("TERM");
        (self.bed, self.process.wait())
    }

    /// Starts it again after its process was killed: same config, addresses, state.
    pub(crate) fn start_again(self) -> Self {
        let Self { bed, gate, admin, process } = self;
        process.wait();
        bed.start_at(gate, admin)
    }

    /// Ends the process and starts it again: same config, addresses, state.
    pub(crate) fn restart(self) -> Self {
        let Self { bed, gate, admin, process } = self;
        process.signal("TERM");
        process.wait();
        bed.start_at(gate, admin)
    }
}
