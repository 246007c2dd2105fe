"""How long a barge-in takes to end the turn while its voice blocks a thread.

One caller in memory interrupts again and again, on a real loop with real threads. The clock
runs from the accepted barge-in (TurnLLMAgentStopRequested) until the turn's scope has ended and
the loop has come round once more. Two voices: one blocks as a socket does, one computes in
Python and so competes for the interpreter's lock.
"""

from __future__ import annotations

import argparse
import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any

import anyio
import machine
import scenario
import uvloop
from machine import median, quantile

from xtalk import hookimpl
from xtalk.events import TurnLLMAgentStopRequested
from xtalk.pipeline import DefaultPipeline
from xtalk.plugins import Plugins
from xtalk.service import DefaultService, Host
from xtalk.speech.interfaces import TTS
from xtalk.testing.fakes import ScriptedAgent, ScriptedASR, loud
from xtalk.testing.transport import MemoryTransport

TARGET_MS = 5.0
PATIENCE_S = 5.0


class StuckTTS(TTS):
    """Speaks 100 ms and is then stuck in its thread until the bench lets it go."""

    def __init__(self, stick: Callable[[threading.Event], object]) -> None:
        self.stick = stick
        self._released = threading.Event()
        self.release()

    @property
    def stuck(self) -> bool:
        return not self._released.is_set()

    def release(self) -> None:
        self._released.set()

    async def until_stuck(self) -> None:
        while not self.stuck:  # noqa: ASYNC110 - set by a thread that shall do no more than that
            await asyncio.sleep(0.002)

    def synthesize(self, text: str) -> bytes:
        return scenario.CHUNK

    def clone(self) -> StuckTTS:
        return self  # one caller, who wants to know whether it is stuck

    def synthesize_stream(self, text: str, **kwargs: Any) -> Iterable[bytes]:
        yield scenario.CHUNK
        released = self._released = threading.Event()
        self.stick(released)


def compute(released: threading.Event) -> None:
    while not released.is_set():
        sum(range(1000))


STICKS: dict[str, Callable[[threading.Event], object]] = {
    "blocks": threading.Event.wait,
    "computes": compute,
}


class Stopwatch:
    """A plugin that sees turns being stopped and ending."""

    def __init__(self, voice: StuckTTS) -> None:
        self._voice = voice
        self._asked = 0.0
        self.times: list[float] = []
        self.ended = asyncio.Event()

    @hookimpl
    @asynccontextmanager
    async def xtalk_session(self, session: Any) -> AsyncIterator[None]:
        session.subscribe(TurnLLMAgentStopRequested, self._stop, 1000)
        yield

    def _stop(self, event: TurnLLMAgentStopRequested) -> None:
        if self._voice.stuck:
            self._asked = perf_counter()

    @hookimpl
    @asynccontextmanager
    async def xtalk_turn(self, session: Any, turn: Any) -> AsyncIterator[None]:
        yield
        if self._asked:
            asyncio.get_running_loop().call_soon(self._loop_free)

    def _loop_free(self) -> None:
        self.times.append(perf_counter() - self._asked)
        self._asked = 0.0
        self._voice.release()
        self.ended.set()


async def measure(stick: Callable[[threading.Event], object], runs: int) -> list[float]:
    """The seconds that each interruption took."""
    voice = StuckTTS(stick)
    watch = Stopwatch(voice)
    plugins = Plugins()
    plugins.register(watch, "stopwatch")
    pipeline = DefaultPipeline(
        asr=ScriptedASR(final_s=0.002), llm_agent=ScriptedAgent(first_s=0.002), tts=voice
    )
    host = Host(DefaultService(pipeline=pipeline), plugins=plugins)
    transport = MemoryTransport()
    serving = asyncio.ensure_future(host.connect(transport))
    while len(watch.times) < runs:
        watch.ended.clear()
        transport.push('{"action":"vad_speech_start"}')
        for frame in loud(0.2):
            transport.push(frame)
        transport.push('{"action":"vad_speech_end"}')
        with anyio.fail_after(PATIENCE_S):
            if voice.stuck:
                await watch.ended.wait()
            await voice.until_stuck()
    voice.release()
    transport.vanish()
    await serving
    return watch.times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=300)
    arguments = parser.parse_args()
    print(machine.described())
    print("the voice   runs   p50 ms   p99 ms   max ms  foreign cores")
    for name, stick in STICKS.items():
        foreign = machine.Foreign()
        took = [1000 * s for s in uvloop.run(measure(stick, arguments.runs))]
        p99 = quantile(took, 0.99)
        # The target is for a voice that blocks; nobody can promise when a lock is let go.
        reached = machine.verdict(p99 <= TARGET_MS) if name == "blocks" else "no target"
        print(
            f"{name:9} {len(took):6} {median(took):8.2f} {p99:8.2f} {max(took):8.2f}"
            f" {foreign.cores():14.2f}  {reached}"
        )


if __name__ == "__main__":
    main()
