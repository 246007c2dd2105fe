"""How soon the voice is silent when its listener begins to speak, over the real WebSocket.

Ten callers interrupt at the two worst moments: while the first audio of a reply comes in a
burst, and right after an acknowledgement, when the next chunk is on its way. Three interruptions
of a round are confirmed and bring the next reply; then come two coughs, which are rejected, and
that reply has to arrive whole: each sample once, in order.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
from dataclasses import dataclass, field
from functools import partial

import machine
import scenario
import uvloop
from guest import Guest
from loadgen import BINARY, LOUD, SILENT
from machine import median, quantile

TARGET_MS = 10.0
SPEECH_S = 0.25
BURST_S = 0.1
WHOLE = b"".join(scenario.SPEECH) * len(scenario.SENTENCES)


@dataclass
class Seen:
    """What all callers saw; times in seconds."""

    paused: list[float] = field(default_factory=list)  # start mark to pause_tts
    silent: list[float] = field(default_factory=list)  # start mark to the last audio byte
    confirmed: list[float] = field(default_factory=list)  # end mark to stop_tts
    understood: list[float] = field(default_factory=list)  # end mark to finish_asr
    rejected: list[float] = field(default_factory=list)  # end mark to resume_tts
    late: list[float] = field(default_factory=list)  # stop_tts to the last audio byte
    whole: int = 0
    broken: int = 0


class Interrupter(Guest):
    """One caller."""

    def __init__(self, port: int, seen: Seen) -> None:
        super().__init__(port)
        self._seen = seen
        self._reply = bytearray()
        self._gaps = 0
        self._index = 0
        self._last_audio = self._silent_since = self._stopped = 0.0
        self._sounds = False

    async def converse(self, rounds: int) -> None:
        await self.begin()
        for _ in range(rounds):
            sounds = self.when("audio")
            self.speak()
            await asyncio.sleep(SPEECH_S)
            self.fall_silent()
            await self.meets(sounds)
            for crossing in (False, True, False):
                await self._interrupt(crossing)
            played = self.when("played")
            await self._cough(crossing=False)
            await self._cough(crossing=True)
            await self.meets(played)
            self._compare()
        self.leave()

    async def _interrupt(self, crossing: bool) -> None:
        """An interruption that is meant: until the next reply sounds."""
        seen = self._seen
        began = await self._begin(LOUD, crossing)
        stopped, understood = self.when("stop_tts"), self.when("finish_asr")
        ended = self.fall_silent()
        sounds = self.when("audio")
        seen.confirmed.append(await self.meets(stopped) - ended - scenario.FINAL_S)
        seen.understood.append(await self.meets(understood) - ended - scenario.FINAL_S)
        seen.silent.append(max(0.0, self._silent_since - began))
        await self.meets(sounds)

    async def _cough(self, crossing: bool) -> None:
        """One that is not: until the reply goes on."""
        began = await self._begin(SILENT, crossing)
        resumed = self.when("resume_tts")
        ended = self.fall_silent()
        self._seen.rejected.append(await self.meets(resumed) - ended - scenario.FINAL_S)
        self._seen.silent.append(max(0.0, self._silent_since - began))
        await self.meets(self.when("audio"))

    async def _begin(self, voice: bytes, crossing: bool) -> float:
        if crossing:
            await self.meets(self.when("acknowledged"))
        else:
            await asyncio.sleep(random.uniform(0, BURST_S))
        paused = self.when("pause_tts")
        began = self.speak(voice)
        self._seen.paused.append(await self.meets(paused) - began)
        await asyncio.sleep(SPEECH_S)
        return began

    def _compare(self) -> None:
        """The reply as it came, with what silence may follow it, against what was said."""
        rest = self._reply[len(WHOLE) :]
        if self._reply.startswith(WHOLE) and not any(rest) and not self._gaps:
            self._seen.whole += 1
        else:
            self._seen.broken += 1

    # --- what the server says -------------------------------------------------------------------

    def text(self, now: float, body: bytes) -> None:
        super().text(now, body)
        if b'"stop_tts"' in body or b'"resume_tts"' in body:
            self._silent_since = self._last_audio
        if b'"stop_tts"' in body:
            self._sounds, self._stopped = False, now
            self._seen.late.append(0.0)
        elif b'"start_tts"' in body:
            self._sounds = True
            self._reply.clear()
            self._gaps = 0
        elif b"tts_chunk_meta" in body:
            self._gaps += bool(self._reply) and self._chunk != self._index + 1
            self._index = self._chunk

    def audio(self, now: float, size: int) -> None:
        super().audio(now, size)
        self._last_audio = now
        if not self._sounds:
            self._seen.late[-1] = now - self._stopped

    def _received(self, now: float, opcode: int, start: int, end: int) -> None:
        if opcode == BINARY:
            self._reply += self._buffer[start:end]
        super()._received(now, opcode, start, end)


async def callers(port: int, many: int, rounds: int) -> Seen:
    """All of them, begun a little apart."""
    seen = Seen()
    loop = asyncio.get_running_loop()
    talks = []
    for _ in range(many):
        _, caller = await loop.create_connection(
            partial(Interrupter, port, seen), "127.0.0.1", port
        )
        talks.append(asyncio.ensure_future(caller.converse(rounds)))
        await asyncio.sleep(random.uniform(0.05, 0.25))
    await asyncio.gather(*talks)
    return seen


def report(seen: Seen) -> bool:
    rows = {
        "start mark to pause_tts": seen.paused,
        "start mark to the last audio byte": seen.silent,
        "of these, audio was on its way": [s for s in seen.silent if s],
        "confirmed: end mark to stop_tts, less 50 ms": seen.confirmed,
        "confirmed: end mark to finish_asr, less 50 ms": seen.understood,
        "confirmed: stop_tts to the last audio byte": seen.late,
        "rejected: end mark to resume_tts, less 50 ms": seen.rejected,
    }
    print(f"{'':46} count   p50 ms   p99 ms   max ms")
    reached = not seen.broken
    for name, seconds in rows.items():
        p99 = 1000 * quantile(seconds, 0.99)
        reached = reached and p99 <= TARGET_MS
        print(
            f"{name:46} {len(seconds):5} {1000 * median(seconds):8.2f} {p99:8.2f}"
            f" {1000 * max(seconds):8.2f}"
        )
    print(
        f"after two coughs: {seen.whole} replies came whole, {seen.broken} did not;"
        f" {machine.verdict(reached)}"
    )
    return reached


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--callers", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=8)
    arguments = parser.parse_args()
    print(machine.described(), flush=True)
    with machine.server("ours") as (_, port):
        os.sched_setaffinity(0, {machine.cores()[1]})
        report(uvloop.run(callers(port, arguments.callers, arguments.rounds)))


if __name__ == "__main__":
    main()
