"""The embedded default under load: eight people talk at once, over sockets, to real models.

`xtalk serve` runs Silero, PocketSphinx, eSpeak NG and the rule agent; each caller speaks one of
the recordings, hears the reply to its end, and speaks again. A gap is counted when a chunk
reaches a caller after the one before it has been played. Server and callers share the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import machine
from machine import median, quantile

from xtalk.audio import RATE_OUT
from xtalk.testing.client import Received, WireClient, connect
from xtalk.testing.recordings import TEXTS, recording
from xtalk.wire import messages as m

LIMIT_MB = 600.0
GAP_S = 0.001  # less than this is the clock's grain
PAUSE_S = 0.5
SILENT_END_S = 0.8  # of each recording
QUESTIONS = ("what-time-is-it", "two-plus-three")  # whose answers are short
XTALK = str(Path(sys.executable).with_name("xtalk"))


@dataclass
class Seen:
    """What all callers saw; times in seconds."""

    turns: int = 0
    understood: int = 0
    unanswered: int = 0
    sounds_s: float = 0.0
    gaps: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)  # end of the words to the first chunk


async def talk(url: str, seconds: float, delay: float, seen: Seen) -> None:
    """One caller."""
    rng = random.Random(delay)
    await anyio.sleep(delay)
    ends = anyio.current_time() + seconds
    async with connect(url) as connection, WireClient(connection) as caller:
        await caller.wait_for(m.SessionInfo)
        while anyio.current_time() < ends:
            name = rng.choice(QUESTIONS)
            spoken = recording(name)
            turn = len(caller.timeline)
            began = await caller.say(spoken.pcm)
            seen.turns += 1
            try:
                await caller.wait_until_heard(after=turn)
            except TimeoutError:
                seen.unanswered += 1
                continue
            entries = caller.timeline[turn:]
            finals = [e.message.text for e in entries if isinstance(e.message, m.FinishAsr)]
            seen.understood += TEXTS[name] in finals
            note(entries, began + spoken.seconds - SILENT_END_S, seen)
            await anyio.sleep(PAUSE_S)


def note(entries: list[Received], words_end: float, seen: Seen) -> None:
    """Play the chunks of a reply as they came and count where nothing was left to play."""
    plays_until = 0.0
    for entry in entries:
        if isinstance(entry.message, m.StartTts):
            plays_until = 0.0
        if not isinstance(entry.message, m.TtsChunk) or not entry.message.pcm:
            continue
        seconds = len(entry.message.pcm) / 2 / RATE_OUT
        if not plays_until:
            seen.waits.append(entry.at - words_end)
        elif entry.at > plays_until + GAP_S:
            seen.gaps.append(entry.at - plays_until)
        plays_until = max(plays_until, entry.at) + seconds
        seen.sounds_s += seconds


def pss_mb(pid: int) -> tuple[float, int]:
    """Proportional memory of a process and all that it has started, and how many they are."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        tasks = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
        return 0.0, 0
    mb = next(int(line.split()[1]) for line in rollup if line.startswith("Pss:")) / 1024
    processes = 1
    for child in (int(word) for children in tasks for word in children.split()):
        more, others = pss_mb(child)
        mb, processes = mb + more, processes + others
    return mb, processes


async def run(port: int, pid: int, callers: int, seconds: float) -> tuple[Seen, float, int]:
    """What they saw, and the most memory and processes at any time."""
    seen = Seen()
    most, processes = 0.0, 0
    url = f"ws://127.0.0.1:{port}/ws"
    talking = [
        asyncio.ensure_future(talk(url, seconds, 0.37 * index, seen)) for index in range(callers)
    ]
    while not all(caller.done() for caller in talking):
        await asyncio.wait(talking, timeout=5)
        mb, count = pss_mb(pid)
        most, processes = max(most, mb), max(processes, count)
    await asyncio.gather(*talking)
    return seen, most, processes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--callers", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60.0)
    arguments = parser.parse_args()
    print(machine.described())
    port = machine.free_port()
    foreign = machine.Foreign()
    process = subprocess.Popen([XTALK, "serve", f"--port={port}", "--log-level=warning"])
    try:
        machine.accepting(process, port)
        machine.ready(port)
        idle, _ = pss_mb(process.pid)
        seen, most, processes = asyncio.run(
            run(port, process.pid, arguments.callers, arguments.seconds)
        )
    finally:
        process.terminate()
        process.wait(20)
    print(
        f"{arguments.callers} callers, {seen.turns} turns, {seen.understood} understood word for"
        f" word, {seen.unanswered} without an answer"
    )
    print(
        f"end of the words to first chunk: p50 {median(seen.waits):.2f} s,"
        f" p95 {quantile(seen.waits, 0.95):.2f} s"
    )
    longest = f", the longest {1000 * max(seen.gaps):.0f} ms" if seen.gaps else ""
    print(f"{seen.sounds_s:.0f} s of audio, {len(seen.gaps)} gaps{longest}")
    print(f"PSS {idle:.0f} MB idle, {most:.0f} MB at most, {processes} processes")
    print(f"others kept {foreign.cores():.2f} cores busy")
    print(machine.verdict(not seen.gaps and not seen.unanswered and most <= LIMIT_MB))


if __name__ == "__main__":
    main()
