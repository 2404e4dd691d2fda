"""10,000 routes in 200 files: how long `check` and a reload take, what requests feel of it, what 10,000 reloads leave behind."""

import datetime
import http.client
import json
import os
import re
import resource
import socket
import statistics
import subprocess
import sys
import threading
import time

from stand import TOOLS, Stand, free_port, machine, resident_mib, say

ROUTES, FILES = 10_000, 200
ROUNDS = int(os.environ.get("ROUNDS", "9"))
RELOADS = int(os.environ.get("RELOADS", "10000"))
RATE, SECONDS = 1000, 6
# A policy as people write it: tenant, role, permission, an action for the trail in one of ten.
ROUTE = """  - id: {service}.{item}
    match: {{ method: [GET, POST], path: "/api/{service}/orgs/{{org}}/{item}/{{id}}" }}
    require: {{ org: "{{org}}", role: [org:admin, org:operator], permission: "org:{service}:{item}" }}
"""
ACTION = """    access: privileged
    audit: {{ action: {service}.{item}, resource: "{item}:{{id}}" }}
"""


class Local(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def ask(admin, method, target):
    connection = Local(admin)
    connection.request(method, target)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


def write_policies(stand, routes, files, generation=0):
    """Route ids are others in each generation."""
    for number in range(files):
        text = "routes:\n"
        for index in range(routes // files):
            names = {"service": f"service{number}", "item": f"item{index}g{generation}"}
            text += ROUTE.format(**names) + (ACTION.format(**names) if index % 10 == 0 else "")
        (stand.folder / f"policies/p{number:03}.yaml").write_text(text)


def gate(stand, name):
    port, upstream = free_port(), free_port()
    stand.start(TOOLS, "origin", f"127.0.0.1:{upstream}", port=upstream)
    path = stand.config(name, upstream, port, sections={"policies": "[policies/*.yaml]"})
    process = stand.crossgate(path, port, stderr=open(stand.folder / f"{name}.log", "w"))
    return process, port, stand.folder / f"{name}.admin", path


def reload(admin):
    begun = time.monotonic()
    status, body = ask(admin, "POST", "/v1/reload")
    if status != 200:
        raise SystemExit(f"the reload was answered {status}: {body[:500]}")
    return time.monotonic() - begun, json.loads(body)


def spread(values, unit="s", digits=2):
    values = sorted(values)
    return f"**{statistics.median(values):.{digits}f} {unit}** ({values[0]:.{digits}f} to {values[-1]:.{digits}f})"


def check(stand):
    path = stand.config("check", 3000, 8080, sections={"policies": "[policies/*.yaml]"})
    took, cpu = [], []
    for _ in range(ROUNDS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        begun = time.monotonic()
        subprocess.run([stand.binary, "check", "-c", path], check=True, capture_output=True)
        took.append(time.monotonic() - begun)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    print(f"| `check` | {spread(took)} | {spread(cpu)} |")


def reloads(stand):
    process, _, admin, _ = gate(stand, "reload")
    took = []
    for generation in range(ROUNDS):
        write_policies(stand, ROUTES, FILES, generation % 2)
        seconds, shown = reload(admin)
        assert len(shown["routes"]) >= ROUTES
        took.append(seconds)
    print(f"| `POST /v1/reload`, all files changed | {spread(took)} | |")
    stand.stop(process)


def probe(port, token, during=None):
    command = [TOOLS, "probe", f"127.0.0.1:{port}", str(RATE), str(SECONDS), token]
    running = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True)
    timer = threading.Timer(SECONDS / 3, during or (lambda: None))
    timer.start()
    text = running.communicate()[0]
    timer.join()
    found = dict(re.findall(r"(\w+) (\d+)", text))
    if found["failed"] != "0":
        raise SystemExit(f"requests failed: {text}")
    return {key: int(found[key]) for key in ("p50_us", "p99_us", "max_us")}


def latency(stand):
    process, port, admin, _ = gate(stand, "latency")
    time.sleep(2)
    probe(port, stand.token)
    rows = {False: [], True: []}
    for at in range(ROUNDS):
        for with_reload in ([False, True] if at % 2 else [True, False]):
            rows[with_reload].append(probe(port, stand.token, (lambda: reload(admin)) if with_reload else None))
    print(f"\n| {RATE} requests/s for {SECONDS} s, one reload in it | without | with | ratio |\n|---|---|---|---|")
    for key in ("p50_us", "p99_us", "max_us"):
        without, with_reload = ([row[key] for row in rows[side]] for side in (False, True))
        ratios = [b / a for a, b in zip(without, with_reload)]
        median = statistics.median
        name = key.split("_")[0]
        print(f"| {name} | {median(without):.0f} µs | {median(with_reload):.0f} µs | {spread(ratios, '', 2)} |")
    stand.stop(process)


def memory(stand):
    """Small, so that it ends: 200 routes whose ids are others each time, every tenth reload refused."""
    for old in (stand.folder / "policies").glob("p*.yaml"):
        old.unlink()
    write_policies(stand, 200, 4)
    process, _, admin, _ = gate(stand, "memory")
    marks = {}
    begun = time.monotonic()
    for number in range(1, RELOADS + 1):
        write_policies(stand, 200, 4, number)
        if number % 10 == 0:
            (stand.folder / "policies/p000.yaml").write_text("routes: [")
            assert ask(admin, "POST", "/v1/reload")[0] == 422
        else:
            reload(admin)
        if number in (100, RELOADS // 10, RELOADS // 2, RELOADS):
            time.sleep(5)  # the allocator gives back after a second
            marks[number] = resident_mib(process.pid)
            say(f"{number} reloads: {marks[number]:.1f} MiB")
    series = ask(admin, "GET", "/metrics")[1].count(b"\n")
    print("\n| reloads | " + " | ".join(f"{number:,}" for number in marks) + " |\n|---|" + "---|" * len(marks))
    print("| resident | " + " | ".join(f"{mib:.1f} MiB" for mib in marks.values()) + " |")
    print(f"\n{RELOADS:,} reloads took {time.monotonic() - begun:.0f} s; {series} lines of metrics at the end.")
    stand.stop(process)


def main():
    asked = sys.argv[1:] or ["check", "reload", "latency", "memory"]
    print(f"{datetime.date.today()}, {machine()}, `bench/reload.sh {' '.join(sys.argv[1:])}`\n")
    with Stand() as stand:
        write_policies(stand, ROUTES, FILES)
        if {"check", "reload"} & set(asked):
            print("| 10,000 routes in 200 files | time | CPU |\n|---|---|---|")
        for name, part in (("check", check), ("reload", reloads), ("latency", latency), ("memory", memory)):
            if name in asked:
                part(stand)
                sys.stdout.flush()


main()
