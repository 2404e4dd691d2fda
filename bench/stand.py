"""What the load bench and the soaks share: a folder with keys, token and config, processes on free loopback ports."""

import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
BINARY = pathlib.Path(os.environ.get("CROSSGATE", TARGET / "release/crossgate"))
TOOLS = TARGET / "release/examples/load"
ISSUER = "https://clerk.example.com"
PARTY = "https://app.example.com"
POLICY = """routes:
  - id: thing
    match: { method: [GET, POST], path: "/api/orgs/{org}/things/{id}" }
    require: { org: "{org}", role: [org:admin, org:operator] }
  - id: act
    match: { method: [GET, POST], path: "/api/orgs/{org}/acts/{id}" }
    access: privileged
    require: { org: "{org}", role: [org:admin, org:operator] }
    audit: { action: act, resource: "act:{id}" }
  - id: large
    match: { path: /large }
    require: { org: any, role: [org:admin, org:operator] }
  - id: public
    match: { path: "/public/{*rest}" }
    access: public
"""
# What a Clerk token of an organisation says; `o` makes every identity header appear.
CLAIMS = {
    "o": {"id": "org_1", "slg": "acme", "rol": "admin", "per": "read,write", "fpm": "3"},
    "fea": "o:things",
    "pla": "o:pro",
    "workspaces": ["w1", "w2"],
}


def say(text):
    print(text, file=sys.stderr, flush=True)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(port, process=None, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process is not None and process.poll() is not None:
            raise SystemExit(f"{process.args[0]} ended with {process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise SystemExit(f"nothing listens on port {port}")


class Stand:
    """A folder for one run; `with` ends what it started."""

    def __init__(self, binary=BINARY):
        self.binary = str(binary)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="crossgate-bench-"))
        (self.folder / "policies").mkdir()
        (self.folder / "policies/main.yaml").write_text(POLICY)
        self.processes = []
        self.token = self.mint()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            self.stop(process)
        subprocess.run(["rm", "-rf", self.folder], check=False)

    def mint(self):
        command = [self.binary, "token", "mint", "--key", self.folder / "dev.pem", "--jwks", self.folder / "keys.json"]
        command += ["--issuer", ISSUER, "--azp", PARTY, "--sub", "user_2GIpXOEpVyJw51rkZn9Kmnc6Sxr", "--ttl", "86400"]
        for name, value in CLAIMS.items():
            command += ["--claim", f"{name}={json.dumps(value)}"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def config(self, name, upstream, port=None, listeners=None, sections=()):
        """Writes `name`.yaml and gives its path. `sections` are further top-level lines, or replace the ones below."""
        base = {
            "listeners": listeners or f"[{{ address: \"127.0.0.1:{port}\" }}]",
            "admin": f"{{ address: \"unix:{self.folder}/{name}.admin\" }}",
            "server": "{ threads: 2, drain: { delay: 0s, limit: 30s } }",
            "upstreams": f"{{ app: {{ endpoints: [\"127.0.0.1:{upstream}\"] }} }}",
            "clerk": f"[{{ name: bench, issuer: {ISSUER}, jwks: {{ file: keys.json }}, authorized_parties: [{PARTY}] }}]",
            "identity": "{ workspaces: { claim: workspaces } }",
            "state_dir": f"{name}.state",
            "audit": f"{{ file: {name}.audit/audit.jsonl }}",
            "policies": "[policies/main.yaml]",
            "telemetry": "{ access_log: off, log: warn }",
        }
        base.update(sections)
        path = self.folder / f"{name}.yaml"
        path.write_text("".join(f"{key}: {value}\n" for key, value in base.items()))
        return path

    def takes(self, name, sections):
        """Whether this build knows these keys."""
        path = self.config(f"try-{name}", 3000, 8080, sections=sections)
        return subprocess.run([self.binary, "check", "-c", path], capture_output=True, check=False).returncode == 0

    def start(self, *command, port=None, **options):
        process = subprocess.Popen([str(part) for part in command], **options)
        self.processes.append(process)
        if port is not None:
            wait_for(port, process)
        return process

    def crossgate(self, path, port=None, **options):
        return self.start(self.binary, "run", "-c", path, port=port, **options)

    def stop(self, process):
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
        if process.poll() is None:
            process.kill()
            process.wait()


def cpu_seconds(pid):
    """User and system time of a process so far, from the scheduler's own count of each of its threads."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def resident_mib(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


def machine():
    cpu = re.search(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text())
    memory = int(re.search(r"MemTotal:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text())[1]) / 2**20
    return f"{os.cpu_count()} cores ({cpu[1] if cpu else 'unknown'}), {memory:.0f} GiB, Linux {os.uname().release}"
