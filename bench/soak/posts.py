"""POSTs with gaps around the API's idle timeout: is one sent twice, or lost on a connection that the API has just closed?

Two gates in front of one API that closes a connection after a second of silence: `below` keeps its connections for 0.8 s
(what `upstreams.<name>.timeouts.idle` asks for), `above` for 3 s, which is a mistake that must still never send a POST twice.
"""

import asyncio
import random
import sys
import time
from collections import Counter

import wire
from stand import Stand, free_port, say

API_IDLE = 1.0
CLIENTS = 40


async def client(port, token, name, until, result):
    connection = wire.Client(port, token)
    number = 0
    while time.monotonic() < until:
        identity = f"{name}-{number}"
        number += 1
        try:
            status, _ = await connection.ask("POST", body=b"x" * random.randrange(1, 2000), headers=[("x-soak", identity)])
        except (OSError, EOFError) as problem:
            status = type(problem).__name__
        result[identity] = status
        # Most gaps end within a few milliseconds of the timeouts; the rest are anywhere.
        middle = random.choice([0.8, API_IDLE, API_IDLE, API_IDLE])
        gap = random.gauss(middle, 0.01) if random.random() < 0.8 else random.uniform(0, 2 * API_IDLE)
        await asyncio.sleep(max(0, gap))
    connection.close()


async def soak(bed, minutes):
    seen = Counter()

    async def answer(_method, _path, headers, _body):
        seen[headers["x-soak"]] += 1
        return b"done"

    server, api = await wire.serve(answer, API_IDLE)
    until = time.monotonic() + minutes * 60
    results, tasks, broken = {}, [], False
    for name, idle in [("below", "800ms"), ("above", "3s")]:
        port = free_port()
        upstreams = f'{{ app: {{ endpoints: ["127.0.0.1:{api}"], timeouts: {{ idle: {idle} }} }} }}'
        path = bed.config(name, api, port, sections={"upstreams": upstreams})
        # In a thread: waiting for the port must not stop the API.
        await asyncio.to_thread(bed.crossgate, path, port)
        results[name] = {}
        tasks += [client(port, bed.token, f"{name}{at}", until, results[name]) for at in range(CLIENTS)]
    await asyncio.gather(*tasks)
    server.close()
    print(f"### POSTs for {minutes:g} minutes, gaps around the API's idle timeout of {API_IDLE:g} s\n")
    print("| `idle` | POSTs | answered 200 | 502 | other | run twice by the API | 200 but never run | failed but run |")
    print("|---|---|---|---|---|---|---|---|")
    for name, idle in [("below", "0.8 s"), ("above", "3 s")]:
        found = results[name]
        statuses = Counter(found.values())
        twice = sum(seen[each] > 1 for each in found)
        ghost = sum(status == 200 and seen[each] == 0 for each, status in found.items())
        run = sum(status != 200 and seen[each] > 0 for each, status in found.items())
        other = {status: count for status, count in statuses.items() if status not in (200, 502)}
        print(f"| {idle} | {len(found)} | {statuses[200]} | {statuses[502]} | {other or 0} | {twice} | {ghost} | {run} |")
        broken |= twice > 0 or ghost > 0 or (name == "below" and statuses[200] != len(found))
    say("a promise was broken" if broken else "held")
    return broken


with Stand() as stand:
    sys.exit(asyncio.run(soak(stand, float(sys.argv[1]) if len(sys.argv) > 1 else 20)))
