"""Restarts on passed sockets under load, as systemd does them: the socket stays, one process ends, the next one starts.

While no process runs, connections wait in the kernel. A request fails when it gets no 200; a connection that crossgate
closed while it was idle is opened again, as every HTTP client does, and only counted.
"""

import asyncio
import os
import socket
import sys
import time
from collections import Counter

import wire
from stand import Stand

RATE = 500
KEPT = 40
FRESH = 10


def spawn(binary, config, listeners, log):
    """As systemd passes sockets: descriptors from 3 on, LISTEN_FDS, LISTEN_PID, LISTEN_FDNAMES."""
    pid = os.fork()
    if pid:
        return pid
    try:
        # Out of the way first: a listener may have the number of another one's place.
        moved = [os.dup(listener.fileno()) for listener in listeners]
        while min(moved) < 3 + len(moved):
            moved = [os.dup(each) for each in moved]
        for at, each in enumerate(moved):
            os.dup2(each, 3 + at, inheritable=True)
        os.dup2(log, 2)
        os.closerange(3 + len(moved), 4096)
        environment = {"PATH": os.environ["PATH"], "LISTEN_FDS": str(len(moved)), "LISTEN_PID": str(os.getpid()),
                       "LISTEN_FDNAMES": ":".join(["gate"] * len(moved))}
        os.execve(binary, [binary, "run", "-c", str(config)], environment)
    finally:
        os._exit(127)


class Load:
    def __init__(self, port, token):
        self.port, self.token = port, token
        self.failures, self.served, self.reopened, self.running = Counter(), 0, 0, True
        self.longest = 0.0

    async def client(self, keepalive, gap, offset):
        client = wire.Client(self.port, self.token, keepalive)
        due = time.monotonic() + offset
        while self.running:
            await asyncio.sleep(max(0, due - time.monotonic()))
            due += gap
            start = time.monotonic()
            try:
                status, _ = await client.ask()
            except (OSError, EOFError) as problem:
                self.failures[f"{'kept' if keepalive else 'fresh'}: {type(problem).__name__}: {problem}"] += 1
                continue
            self.longest = max(self.longest, time.monotonic() - start)
            if status == 200:
                self.served += 1
            else:
                self.failures[f"status {status}"] += 1
        if keepalive:
            self.reopened += client.opened - 1
        client.close()


async def soak(bed, count):
    async def answer(*_):
        return b"done"

    server, api = await wire.serve(answer)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen(4096)
    port = listener.getsockname()[1]
    sections = {"server": "{ threads: 2, drain: { delay: 300ms, limit: 10s } }"}
    listeners = "[{ address: systemd }]"
    if not bed.takes("systemd", {"listeners": listeners}):
        raise SystemExit("this build takes no passed sockets")
    path = bed.config("restarts", api, listeners=listeners, sections=sections)
    log = os.open(bed.folder / "log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    pid = spawn(bed.binary, path, [listener], log)
    load = Load(port, bed.token)
    gap = (KEPT + FRESH) / RATE
    tasks = [asyncio.create_task(load.client(at >= FRESH, gap, gap * at / (KEPT + FRESH))) for at in range(KEPT + FRESH)]
    codes, start = Counter(), time.monotonic()
    for _ in range(count):
        await asyncio.sleep(1)
        os.kill(pid, 15)
        _, status = await asyncio.to_thread(os.waitpid, pid, 0)
        codes[os.waitstatus_to_exitcode(status)] += 1
        pid = spawn(bed.binary, path, [listener], log)
    await asyncio.sleep(1)
    load.running = False
    await asyncio.gather(*tasks)
    took = time.monotonic() - start
    os.kill(pid, 15)
    await asyncio.to_thread(os.waitpid, pid, 0)
    server.close()
    print(f"### {count} restarts on a passed socket at {(load.served + load.failures.total()) / took:.0f} requests/s\n")
    print("| requests | failed | longest wait for an answer | idle connections opened again | exit codes |\n|---|---|---|---|---|")
    print(f"| {load.served + load.failures.total()} | {load.failures.total()} | {load.longest:.2f} s | {load.reopened} | "
          f"{dict(codes)} |")
    for problem, times in load.failures.items():
        print(f"\n- {times} × {problem}")
    return load.failures.total() > 0 or set(codes) != {0}


with Stand() as stand:
    sys.exit(asyncio.run(soak(stand, int(sys.argv[1]) if len(sys.argv) > 1 else 30)))
