"""SIGTERM with 50 requests of 3 s in flight: all finish, and the process ends within a second of the last."""

import asyncio
import sys
import time

import wire
from stand import Stand, free_port

REQUESTS = 50
TOOK = 3.0


async def soak(bed):
    begun = 0

    async def answer(*_):
        nonlocal begun
        begun += 1
        await asyncio.sleep(TOOK)
        return b"done"

    server, api = await wire.serve(answer)
    port = free_port()
    gate = await asyncio.to_thread(bed.crossgate, bed.config("drain", api, port), port)
    ends = []

    async def one():
        status, body = await wire.Client(port, bed.token).ask()
        ends.append(time.monotonic())
        return status == 200 and body == b"done"

    tasks = [asyncio.create_task(one()) for _ in range(REQUESTS)]
    while begun < REQUESTS:
        await asyncio.sleep(0.01)
    signalled = time.monotonic()
    gate.terminate()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    code = await asyncio.to_thread(gate.wait, 30)
    ended = time.monotonic()
    server.close()
    good = sum(outcome is True for outcome in outcomes)
    late = ended - max(ends, default=signalled)
    print(f"### SIGTERM with {REQUESTS} requests of {TOOK:g} s in flight\n")
    print("| finished | first to last answer after the signal | exit after the last answer | exit code |\n|---|---|---|---|")
    print(f"| {good} of {REQUESTS} | {min(ends) - signalled:.2f} to {max(ends) - signalled:.2f} s | {late:.2f} s | {code} |")
    return good != REQUESTS or late > 1 or code != 0


with Stand() as stand:
    sys.exit(asyncio.run(soak(stand)))
