"""Whether a session gets slower or larger with its length: one caller, 200 turns back to back.

Every delay and every sound is a tenth of the scenario's, so that a turn takes half a second.
What the 20 turns from the fifth on took beyond the models is set against the last 20; memory and
asyncio tasks are read between turns. The processor time is told as well, but has no target: it
follows what else runs on the machine. Each run has a server of its own; the times of all runs
are put together.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import urllib.request
from dataclasses import dataclass, field
from functools import partial

import machine
import scenario
import uvloop
from guest import Guest
from machine import median

SCALE = 0.1
SPEECH_S = 0.1
FIRST = 5  # turns that warm up
WINDOW = 20
GROWTH = 1.1
FLAT_KB = 1024.0  # from turn 20 to the last


@dataclass
class Run:
    overhead: list[float] = field(default_factory=list)  # s, a turn
    cpu: list[float] = field(default_factory=list)  # s, a turn
    rss_kb: dict[int, int] = field(default_factory=dict)  # by turn
    tasks: dict[int, int] = field(default_factory=dict)


def cpu_s(pid: int) -> float:
    """Processor time of the server's loop, to the nanosecond."""
    with open(f"/proc/{pid}/schedstat") as file:
        return int(file.read().split()[0]) / 1e9


def rss_kb(pid: int) -> int:
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


def tasks(port: int) -> int:
    """Its asyncio tasks, of which one answers this."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/tasks", timeout=5) as reply:
        return int(json.load(reply))


async def converse(port: int, pid: int, turns: int) -> Run:
    """One session; each turn begins when the reply before has been played."""
    run = Run()
    loop = asyncio.get_running_loop()
    _, guest = await loop.create_connection(partial(Guest, port), "127.0.0.1", port)
    await guest.begin()
    for turn in range(1, turns + 1):
        used = cpu_s(pid)
        guest.speak()
        await asyncio.sleep(SPEECH_S + random.uniform(0, 0.01))
        sounds, played = guest.when("audio"), guest.when("played")
        ended = guest.fall_silent()
        run.overhead.append(await guest.meets(sounds) - ended - scenario.IDEAL_S)
        await guest.meets(played)
        await asyncio.sleep(0.02)
        run.cpu.append(cpu_s(pid) - used)
        if turn in (WINDOW, turns // 2, turns):
            run.rss_kb[turn], run.tasks[turn] = rss_kb(pid), tasks(port)
    guest.leave()
    return run


def windows(runs: list[list[float]]) -> tuple[float, float]:
    """The median of the early turns and that of the last."""
    early = median(s for run in runs for s in run[FIRST : FIRST + WINDOW])
    return early, median(s for run in runs for s in run[-WINDOW:])


def row(name: str, early: float, late: float) -> None:
    print(
        f"{name:26} turns {FIRST} to {FIRST + WINDOW}: {1000 * early:.2f} ms,"
        f" last {WINDOW}: {1000 * late:.2f} ms, {late / early:.2f} times"
    )


def report(runs: list[Run]) -> None:
    early, late = windows([run.overhead for run in runs])
    kept = late <= early * GROWTH
    row("overhead a turn, p50", early, late)
    row("processor time, no target", *windows([run.cpu for run in runs]))
    for run in runs:
        first, *_, last = run.rss_kb
        grown = run.rss_kb[last] - run.rss_kb[first]
        kept = kept and grown <= FLAT_KB and run.tasks[last] <= run.tasks[first]
        sizes = ", ".join(f"{kb / 1024:.1f} MB at turn {turn}" for turn, kb in run.rss_kb.items())
        alive = ", ".join(str(many) for many in run.tasks.values())
        print(f"{'memory (RSS)':26} {sizes}: {grown / (last - first):.2f} KB a turn; tasks {alive}")
    print(machine.verdict(kept))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=200)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--server", choices=("ours", "floor"), default="ours")
    arguments = parser.parse_args()
    if arguments.turns < 3 * WINDOW:
        parser.error(f"it takes at least {3 * WINDOW} turns")
    print(machine.described(), flush=True)
    server_core, own_core = machine.cores()[:2]
    scenario.scale(SCALE)
    runs = []
    for _ in range(arguments.runs):
        os.sched_setaffinity(0, {server_core, own_core})
        with machine.server(arguments.server, f"--scale={SCALE}") as (process, port):
            os.sched_setaffinity(0, {own_core})
            runs.append(uvloop.run(converse(port, process.pid, arguments.turns)))
    report(runs)


if __name__ == "__main__":
    main()
