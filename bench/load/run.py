"""Ratios of one run: crossgate beside a bare Pingora pass-through of the same crates. Started by run.sh; prints Markdown."""

import datetime
import os
import re
import socket
import ssl
import statistics
import subprocess
import sys
import time

import stand
from stand import Stand, cpu_seconds, free_port, resident_mib, say

ROUNDS = int(os.environ.get("ROUNDS", "9"))
SECONDS = 3
RATE = 4000
PATH = "/api/orgs/org_1/things/42"


def wrk(port, token, connections=32, seconds=SECONDS, path=PATH):
    """Requests served; every answer has to be a 200."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-H", f"authorization: Bearer {token}"]
    for line in ["accept: application/json, text/plain, */*", "accept-language: en-GB,en;q=0.9",
                 "user-agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"]:
        command += ["-H", line]
    text = subprocess.run([*command, f"http://127.0.0.1:{port}{path}"], check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in text or "Socket errors" in text:
        raise SystemExit(f"port {port} did not answer 200 to everything:\n{text}")
    return int(re.search(r"(\d+) requests in", text)[1])


def steady(port, token):
    """The same at a rate that no side is strained by."""
    return probe(port, token, RATE, SECONDS)["requests"]


def cost(process, port, token, load):
    """CPU microseconds of one request."""
    before = cpu_seconds(process.pid)
    requests = load(port, token)
    return (cpu_seconds(process.pid) - before) / requests * 1e6


def alternate(sides, token, load):
    """Each side once per round, the order turned every round; gives the samples by name."""
    samples = {name: [] for name, _, _ in sides}
    for name, process, port in sides:
        wrk(port, token, seconds=1)
    for turn in range(ROUNDS):
        for name, process, port in sides if turn % 2 == 0 else sides[::-1]:
            samples[name].append(cost(process, port, token, load))
        say("  " + "  ".join(f"{name} {values[-1]:.1f} us" for name, values in samples.items()))
    return samples


def ratio_row(name, samples, base, of):
    ratios = sorted(a / b for a, b in zip(samples, base))
    middle = statistics.median(ratios)
    return f"| {name} | {statistics.median(samples):.1f} µs | {middle:.2f} × {of} ({ratios[0]:.2f} to {ratios[-1]:.2f}) |"


def upstream(bed):
    port = free_port()
    bed.start(stand.TOOLS, "origin", f"127.0.0.1:{port}", port=port)
    return port


def cpu(bed):
    origin = upstream(bed)
    bare = free_port()
    sides = [("bare", bed.start(stand.TOOLS, "bare", f"127.0.0.1:{bare}", f"127.0.0.1:{origin}", port=bare), bare)]
    with open(bed.folder / "access.log", "wb") as log:
        for name, target in [("no access log", "off"), ("access log to a file", "stdout")]:
            port = free_port()
            path = bed.config(name.replace(" ", "-"), origin, port,
                              sections={"telemetry": f"{{ access_log: {target}, log: warn }}"})
            sides.append((name, bed.crossgate(path, port, stdout=log), port))
        both = [(name, alternate(sides, bed.token, load)) for name, load in LOADS.items()]
    print(f"### CPU per request, cached token, role check, all identity headers ({ROUNDS} rounds)\n")
    print("| | median | median of the rounds' ratios (least to most) |\n|---|---|---|")
    for load, samples in both:
        print(f"| {load}: bare Pingora pass-through | {statistics.median(samples['bare']):.1f} µs | |")
        for name in list(samples)[1:]:
            print(ratio_row(f"crossgate, {name}", samples[name], samples["bare"], "bare"))


def guard(bed):
    origin = upstream(bed)
    sides = []
    for name in ["off", "on"]:
        port = free_port()
        path = bed.config(f"guard-{name}", origin, port)
        sides.append((name, bed.start(stand.TOOLS, "gate", path, name, port=port), port))
    both = [(name, alternate(sides, bed.token, load)) for name, load in LOADS.items()]
    print(f"\n### Guard: CPU per request with and without it, the same gate ({ROUNDS} rounds)\n")
    print("| | median | median of the rounds' ratios (least to most) |\n|---|---|---|")
    for load, samples in both:
        print(f"| {load}: without | {statistics.median(samples['off']):.1f} µs | |")
        print(ratio_row("with", samples["on"], samples["off"], "without"))


# A strained proxy and an unstrained one: with the first, whatever is slower also wakes its neighbours more often.
LOADS = {"as fast as it goes": wrk, f"at {RATE:,} requests/s": steady}


class Crowd:
    """Connections held by the bench's own client."""

    def __init__(self, bed, port, kind, count):
        self.process = bed.start(stand.TOOLS, "crowd", f"127.0.0.1:{port}", kind, count, bed.token,
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if line.split() != ["ready", str(count)]:
            raise SystemExit(f"{count} {kind}: {line}")

    def leave(self):
        out, _ = self.process.communicate("")
        return int(out.split()[-1])


def memory(bed, count=10_000):
    origin, port = upstream(bed), free_port()
    gate = bed.crossgate(bed.config("memory", origin, port), port)
    start = resident_mib(gate.pid)
    crowd = Crowd(bed, port, "idle", count)
    held = resident_mib(gate.pid)
    crowd.leave()
    time.sleep(60)
    after = resident_mib(gate.pid)
    print("\n### Resident memory\n")
    print("| at start | " f"{count:,} idle connections that were served | one minute after they closed |\n|---|---|---|")
    print(f"| {start:.0f} MiB | {held:.0f} MiB | {after:.0f} MiB |")


def probe(port, token, rate=300, seconds=10, path=PATH):
    command = [stand.TOOLS, "probe", f"127.0.0.1:{port}", str(rate), str(seconds), token, path]
    words = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    found = {name: int(value) for name, value in zip(words[::2], words[1::2])}
    if found["failed"]:
        raise SystemExit(f"the probe's requests failed: {found}")
    return found


def crowd(bed, rounds=3):
    origin, port = upstream(bed), free_port()
    bed.crossgate(bed.config("crowd", origin, port), port)
    quiet, crowded, cut = [], [], 0
    for _ in range(rounds):
        quiet.append(probe(port, bed.token))
        crowds = [Crowd(bed, port, "idle", 10_000), Crowd(bed, port, "readers", 500), Crowd(bed, port, "writers", 500)]
        time.sleep(5)  # until the slow readers' answers have filled the buffers of the kernel
        crowded.append(probe(port, bed.token))
        cut += sum(each.leave() for each in crowds)
        time.sleep(2)
        say(f"  quiet {quiet[-1]}  crowded {crowded[-1]}  cut {cut}")
    p99 = lambda found: statistics.median(each["p99_us"] for each in found)
    p50 = lambda found: statistics.median(each["p50_us"] for each in found)
    print(f"\n### 10,000 idle, 500 slow readers, 500 slow writers: other requests at 300/s ({rounds} rounds)\n")
    print("| | p50 | p99 | |\n|---|---|---|---|")
    print(f"| quiet | {p50(quiet)} µs | {p99(quiet)} µs | |")
    print(f"| with the crowd | {p50(crowded)} µs | {p99(crowded)} µs | p99 {p99(crowded) / p99(quiet):.2f} × quiet; "
          f"failed 0, slow clients cut off meanwhile {cut} |")


def handshakes(port, count):
    """Milliseconds of connection, handshake and one answer, each on a fresh connection."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    took = []
    for _ in range(count):
        start = time.perf_counter()
        with socket.create_connection(("127.0.0.1", port), 10) as raw, context.wrap_socket(raw) as stream:
            stream.sendall(b"GET /public/x HTTP/1.1\r\nhost: api.example.com\r\n\r\n")
            if not stream.recv(4096).startswith(b"HTTP/1.1 200"):
                raise SystemExit("a good client got no 200")
        took.append((time.perf_counter() - start) * 1000)
        time.sleep(0.005)
    took.sort()
    return took


def flood(bed, count=1_000):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-keyout", bed.folder / "tls.key", "-out", bed.folder / "tls.crt", "-days", "2",
                    "-subj", "/CN=api.example.com", "-addext", "subjectAltName=DNS:api.example.com"],
                   check=True, capture_output=True)
    origin, port = upstream(bed), free_port()
    listeners = f'[{{ address: "127.0.0.1:{port}", tls: {{ certificate: tls.crt, key: tls.key }} }}]'
    if not bed.takes("tls", {"listeners": listeners}):
        say("  this build has no TLS")
        return
    bed.crossgate(bed.config("flood", origin, listeners=listeners), port)
    handshakes(port, 20)
    quiet = handshakes(port, 300)
    held = []
    for _ in range(count):
        each = socket.create_connection(("127.0.0.1", port), 10)
        each.sendall(b"\x16")
        held.append(each)
    flooded = handshakes(port, 300)
    start = time.monotonic()
    for each in held:
        each.settimeout(60)
        try:
            each.recv(1)
        except ConnectionError:
            pass
    closed = time.monotonic() - start
    print(f"\n### {count:,} TLS connections that send one byte: good clients, each with a fresh handshake and one request\n")
    print("| | p50 | p99 |\n|---|---|---|")
    for name, took in [("quiet", quiet), ("flooded", flooded)]:
        print(f"| {name} | {took[len(took) // 2]:.1f} ms | {took[len(took) * 99 // 100]:.1f} ms |")
    print(f"\nAll {count:,} were closed by crossgate, the last one {closed:.0f} s after the measurement.")


ACT = "/api/orgs/org_1/acts/42"


def durable(admin):
    """Entries of the trail that are on disk."""
    with socket.socket(socket.AF_UNIX) as stream:
        stream.connect(str(admin))
        stream.sendall(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        text = b"".join(iter(lambda: stream.recv(65536), b"")).decode()
    return sum(int(float(count)) for count in re.findall(r"^crossgate_audit_entries_total\{.*\} (\S+)$", text, re.M))


def audit(bed):
    """What a durable record costs: the same rule on a protected and on a privileged route of one process."""
    origin, port = upstream(bed), free_port()
    bed.crossgate(bed.config("audit", origin, port), port)
    wrk(port, bed.token, seconds=1)
    steady_rows, speeds = {PATH: [], ACT: []}, {PATH: [], ACT: []}
    entries = []
    for turn in range(ROUNDS):
        for path in (PATH, ACT) if turn % 2 == 0 else (ACT, PATH):
            steady_rows[path].append(probe(port, bed.token, 1000, SECONDS, path))
            before = durable(bed.folder / "audit.admin")
            speeds[path].append(wrk(port, bed.token, 64, path=path) / SECONDS)
            if path == ACT:
                entries.append((durable(bed.folder / "audit.admin") - before) / SECONDS)
        say(f"  {steady_rows[PATH][-1]} {steady_rows[ACT][-1]} {entries[-1]:.0f} entries/s")
    of = lambda path, key: statistics.median(row[key] for row in steady_rows[path])
    print(f"\n### Audit: a privileged route beside a protected one, trail on {bed.folder} ({ROUNDS} rounds)\n")
    print("| | p50 at 1,000/s | p99 at 1,000/s | requests/s, 64 connections | durable entries/s |\n|---|---|---|---|---|")
    for name, path in [("protected", PATH), ("privileged", ACT)]:
        written = f"{statistics.median(entries):,.0f}" if path == ACT else ""
        print(f"| {name} | {of(path, 'p50_us')} µs | {of(path, 'p99_us')} µs | "
              f"{statistics.median(speeds[path]):,.0f} | {written} |")
    print(f"\nMore for a privileged one: {of(ACT, 'p50_us') - of(PATH, 'p50_us')} µs at the median, "
          f"{of(ACT, 'p99_us') - of(PATH, 'p99_us')} µs at p99.")


PARTS = {"audit": audit, "cpu": cpu, "guard": guard, "memory": memory, "crowd": crowd, "flood": flood}


def main():
    names = sys.argv[1:] or list(PARTS)
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    print(f"{datetime.date.today()}, commit {commit.stdout.strip()}: {stand.machine()}; "
          f"load average {open('/proc/loadavg').read().split()[0]} at the start.\n")
    for name in names:
        say(name)
        with Stand() as bed:
            PARTS[name](bed)
        sys.stdout.flush()


main()
