"""What a microphone frame costs the event loop: callbacks, new tasks, thread hops, timers.

Counted in the server on the plain asyncio loop, over 250 frames of 20 ms of one caller, while
nobody speaks and while a segment is open, for the floor and for ours.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from typing import IO

import loadgen
import machine

FRAMES = 250
SETTLE = 50  # frames before counting, so that what a mark sets off is over
ALLOWED = {"callbacks": 2.0, "tasks": 0.0, "threads": 0.0}

Counts = dict[str, int]


def counts(process: subprocess.Popen[str]) -> Counts:
    """What the server's loop has done so far."""
    process.send_signal(signal.SIGUSR1)
    lines: IO[str] | None = process.stdout
    assert lines is not None
    found: Counts = json.loads(lines.readline())
    return found


async def stream(client: loadgen.WebSocket, sound: bytes, frames: int) -> None:
    """A microphone's frames, on time."""
    loop = asyncio.get_running_loop()
    begins = loop.time()
    for index in range(frames):
        client.transport.write(sound)
        await asyncio.sleep(max(0.0, begins + (index + 1) * loadgen.TICK_S - loop.time()))


async def measure(process: subprocess.Popen[str], port: int) -> dict[str, dict[str, float]]:
    """Each counter a frame, while nobody speaks and while somebody does."""
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(lambda: loadgen.WebSocket(port), "127.0.0.1", port)
    await client.opened
    found = {}
    for phase, mark, sound in (
        ("nobody speaks", loadgen.START, loadgen.SILENT),
        ("somebody speaks", loadgen.SPEECH_START, loadgen.LOUD),
    ):
        client.transport.write(mark)
        await stream(client, sound, SETTLE)
        before = counts(process)
        await stream(client, sound, FRAMES)
        after = counts(process)
        found[phase] = {what: (after[what] - before[what]) / FRAMES for what in after}
    client.leave()
    return found


def main() -> None:
    print(machine.described())
    found = {}
    for name in ("floor", "ours"):
        with machine.server(name, "--count") as (process, port):
            found[name] = asyncio.run(measure(process, port))
    print("a frame, while...  callbacks    tasks  threads   timers")
    for phase, floor in found["floor"].items():
        ours = found["ours"][phase]
        for name, row in (("floor", floor), ("ours", ours)):
            print(f"{phase:16} {name:6}", *(f"{value:8.2f}" for value in row.values()))
        reached = all(ours[what] - floor[what] <= more + 0.05 for what, more in ALLOWED.items())
        print(f"{phase:16} {machine.verdict(reached)}")


if __name__ == "__main__":
    main()
