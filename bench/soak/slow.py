"""Every kind of slow client, many of each at once, beside good traffic: when is each closed, and does anybody else notice?

Deadlines are short here so that a run takes half a minute; what counts is that each kind is closed by its deadline.
"""

import asyncio
import re
import subprocess
import sys
import time

import stand as bench
import wire
from stand import Stand, free_port, say

EACH = 20
LIMITS = {"header_read": 3, "keepalive": 4, "body_read": 3}
OPTIONAL = {"first_byte": "2s", "body_min_rate": "1KiB"}
# Beyond its deadline a connection may stay this long: timers of a busy machine.
SLACK = 1.5
LONGEST = 20
# Of the API's `/large`.
LARGE = 64 << 20

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\0\0\0\x04\0\0\0\0\0"
# The head of one whose 12,000 bytes are still to come.
LONG_SETTINGS = b"\0\x2e\xe0\x04\0\0\0\0\0"


def h2_headers(path, end_headers, end_stream, method=3):
    """A HEADERS frame on stream 1: literals without Huffman, the method by its index in the static table."""
    def literal(index, text):
        return bytes([index, len(text)]) + text
    block = bytes([0x80 | (2 if method == 2 else 3), 0x86]) + literal(0x04, path) + literal(0x01, b"api.example.com")
    flags = (4 if end_headers else 0) | (1 if end_stream else 0)
    return len(block).to_bytes(3, "big") + bytes([1, flags]) + (1).to_bytes(4, "big") + block


async def until_closed(reader, start):
    """Seconds until crossgate closes; what it says before that is read and dropped."""
    try:
        while await asyncio.wait_for(reader.read(65536), LONGEST):
            pass
    except asyncio.TimeoutError:
        return None
    except OSError:
        pass
    return time.monotonic() - start


async def drip(writer, piece, pause):
    try:
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)
    except OSError:
        pass


async def one(port, script, token):
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    start, dripping = time.monotonic(), None
    try:
        for step, *details in script:
            if step == "send":
                writer.write(details[0].replace(b"TOKEN", token.encode()))
                await writer.drain()
            elif step == "answer":
                head = await wire.read_head(reader)
                await wire.read_body(reader, head[1])
                start = time.monotonic()
            elif step == "frames":
                await asyncio.sleep(0.3)
                start = time.monotonic()
            elif step == "drip":
                dripping = asyncio.create_task(drip(writer, *details))
            elif step == "stall":
                # The end of a stream is seen only behind what was on its way: an answer cut short tells.
                await asyncio.sleep(details[0])
                taken = 0
                try:
                    while piece := await asyncio.wait_for(reader.read(65536), LONGEST):
                        taken += len(piece)
                except OSError:
                    pass
                return float(details[0]) if taken < LARGE else None
        return await until_closed(reader, start)
    finally:
        if dripping:
            dripping.cancel()
        writer.close()


def kinds(ports, has):
    first = 2 if has["first_byte"] else LIMITS["keepalive"]
    head, idle, body = LIMITS["header_read"], LIMITS["keepalive"], LIMITS["body_read"]
    thing = b"/api/orgs/org_1/things/42"
    start = b"GET " + thing + b" HTTP/1.1\r\nhost: api.example.com\r\nauthorization: Bearer TOKEN\r\n"
    post = start.replace(b"GET", b"POST")
    plain, tls, h2c = ports
    found = [
        ("nothing after connecting", plain, [], first),
        ("one byte of a head", plain, [("send", b"G")], head),
        ("half a head", plain, [("send", start)], head),
        ("a head dripped, a byte each 0.2 s", plain, [("drip", b"G", 0.2)], head),
        ("header lines dripped, one each 0.5 s", plain, [("send", start), ("drip", b"x-a: b\r\n", 0.5)], head),
        ("idle after an answer", plain, [("send", start + b"\r\n"), ("answer",)], idle),
        ("half a second head", plain, [("send", start + b"\r\n"), ("answer",), ("send", start)], head),
        ("a body that does not come", plain, [("send", post + b"content-length: 1000\r\n\r\n")], body),
        ("half a body", plain, [("send", post + b"content-length: 1000\r\n\r\n" + b"x" * 500)], body),
        ("half a chunk", plain, [("send", post + b"transfer-encoding: chunked\r\n\r\n100\r\nxx")], body),
        ("an answer that is not read", plain, [("send", start.replace(thing, b"/large") + b"\r\n"), ("stall", body + 2)],
         body + 2),
    ]
    if has["body_min_rate"]:
        found += [
            ("a body dripped, a byte each 0.2 s", plain,
             [("send", post + b"content-length: 100000\r\n\r\n"), ("drip", b"x", 0.2)], body + 2),
            ("chunks dripped, one each 0.5 s", plain,
             [("send", post + b"transfer-encoding: chunked\r\n\r\n"), ("drip", b"1\r\nx\r\n", 0.5)], body + 2),
        ]
    if tls:
        hello = bytes.fromhex("160301020001")
        found += [
            ("tls: nothing", tls, [], first),
            ("tls: one byte", tls, [("send", b"\x16")], head),
            ("tls: half a hello", tls, [("send", hello)], head),
            ("tls: a hello dripped, a byte each 0.2 s", tls, [("send", hello), ("drip", b"\0", 0.2)], head),
        ]
    if h2c:
        found += [
            ("h2: half a preface", h2c, [("send", PREFACE[:10])], head),
            ("h2: a preface, no frames", h2c, [("send", PREFACE)], idle),
            ("h2: settings, then idle", h2c, [("send", PREFACE + SETTINGS), ("frames",)], idle),
            ("h2: half a header block", h2c,
             [("send", PREFACE + SETTINGS + h2_headers(b"/public/x", False, True, 2)), ("frames",)], max(idle, body)),
            ("h2: idle after an answer", h2c,
             [("send", PREFACE + SETTINGS + h2_headers(b"/public/x", True, True, 2)), ("frames",)], idle),
            ("h2: a large frame dripped, a byte each 0.2 s", h2c,
             [("send", PREFACE + SETTINGS + LONG_SETTINGS), ("drip", b"\0", 0.2)], max(idle, body)),
        ]
    return found


async def soak(bed):
    api, plain, tls, h2c = (free_port() for _ in range(4))
    bed.start(bench.TOOLS, "origin", f"127.0.0.1:{api}", port=api)
    limits = {name: f"{seconds}s" for name, seconds in LIMITS.items()}
    has = {name: bed.takes(name, {"limits": f"{{ {name}: {value} }}"}) for name, value in OPTIONAL.items()}
    limits.update({name: OPTIONAL[name] for name in OPTIONAL if has[name]})
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-keyout", bed.folder / "tls.key", "-out", bed.folder / "tls.crt", "-days", "2",
                    "-subj", "/CN=api.example.com"], check=True, capture_output=True)
    listeners = [f'{{ address: "127.0.0.1:{plain}" }}']
    with_tls = f'{{ address: "127.0.0.1:{tls}", tls: {{ certificate: tls.crt, key: tls.key }} }}'
    with_h2c = f'{{ address: "127.0.0.1:{h2c}", h2c: true }}'
    for name, line in [("tls", with_tls), ("h2c", with_h2c)]:
        has[name] = bed.takes(name, {"listeners": f"[{line}]"})
        if has[name]:
            listeners.append(line)
    text = ", ".join(f"{name}: {value}" for name, value in limits.items())
    path = bed.config("slow", api, listeners=f"[{', '.join(listeners)}]", sections={"limits": f"{{ {text} }}"})
    gate = bed.crossgate(path, plain)
    # Good traffic the whole time, in a process of its own.
    probe = bed.start(bench.TOOLS, "probe", f"127.0.0.1:{plain}", "200", str(LONGEST + 5), bed.token,
                      stdout=subprocess.PIPE, text=True)
    found = kinds((plain, tls if has["tls"] else None, h2c if has["h2c"] else None), has)
    runs = [asyncio.gather(*(one(port, script, bed.token) for _ in range(EACH)), return_exceptions=True)
            for _, port, script, _ in found]
    results = await asyncio.gather(*runs)
    good = (await asyncio.to_thread(probe.communicate))[0]
    print(f"### Slow clients, {EACH} of each kind at once, beside 200 good requests/s\n")
    print(f"limits: `{text}`\n")
    print("| kind | deadline | closed | first | last | |\n|---|---|---|---|---|---|")
    broken = False
    for (name, _, _, deadline), closed in zip(found, results):
        errors = [each for each in closed if isinstance(each, Exception)]
        times = sorted(each for each in closed if isinstance(each, float))
        fine = len(times) == EACH and times[-1] <= deadline + SLACK
        broken |= not fine
        span = f"{times[0]:.1f} s | {times[-1]:.1f} s" if times else "- | -"
        note = "" if fine else f"**too late** {errors[:1] or ''}"
        print(f"| {name} | {deadline} s | {len(times)} of {EACH} | {span} | {note} |")
    print(f"\nGood traffic meanwhile: {good.strip()}.")
    if missing := [name for name, there in has.items() if not there]:
        print(f"\nNot in this build, hence not tried: {', '.join(missing)}.")
    broken |= re.search(r"failed 0 ", good) is None or gate.poll() is not None
    say("a promise was broken" if broken else "held")
    return broken


with Stand() as bed:
    sys.exit(asyncio.run(soak(bed)))
