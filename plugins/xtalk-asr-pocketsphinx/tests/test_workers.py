"""The processes: their death, their stalls, their number, and that none is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path

import pytest
from xtalk_asr_pocketsphinx.asr import PocketSphinx

from xtalk.audio import RATE_IN, AudioFrame
from xtalk.errors import ModelError, ModelTimeout
from xtalk.testing.recordings import recording

pytestmark = pytest.mark.real_time

Make = Callable[..., PocketSphinx]
Workers = Callable[[], list[int]]
SPEECH = recording("what-time-is-it").pcm


async def frames(pcm: bytes = SPEECH) -> AsyncIterator[AudioFrame]:
    for start in range(0, len(pcm), 640):
        yield AudioFrame(pcm[start : start + 640], RATE_IN)
        await asyncio.sleep(0)


async def understand(recogniser: PocketSphinx, pcm: bytes = SPEECH) -> str:
    return [each async for each in recogniser.transcribe(frames(pcm))][-1].text


def own_worker(recogniser: PocketSphinx, workers: Workers) -> int:
    """The process of this session: the youngest, as no other has come since."""
    recogniser.recognize(SPEECH)
    return max(workers())


def test_a_worker_that_dies_between_segments_is_replaced(make: Make, workers: Workers) -> None:
    recogniser = make()
    os.kill(own_worker(recogniser, workers), signal.SIGKILL)
    while len(workers()) > 1:
        time.sleep(0.001)
    assert recogniser.recognize(SPEECH) == "what time is it"


def test_a_worker_that_dies_costs_its_segment_only(make: Make, workers: Workers) -> None:
    recogniser = make()
    pid = own_worker(recogniser, workers)

    async def cut_short() -> AsyncIterator[AudioFrame]:
        async for frame in frames():
            yield frame
        os.kill(pid, signal.SIGKILL)

    async def run() -> str:
        with pytest.raises(ModelError, match="ended in the middle"):
            async for _ in recogniser.transcribe(cut_short()):
                pass
        return await understand(recogniser)

    assert asyncio.run(run()) == "what time is it"


def test_a_server_that_dies_is_replaced(make: Make, workers: Workers) -> None:
    recogniser = make()
    recogniser.recognize(SPEECH)
    os.kill(min(workers()), signal.SIGKILL)
    with pytest.raises(ModelError):
        for _ in range(2):  # the worker may have outlived its server for a moment
            recogniser.recognize(SPEECH)
    assert recogniser.recognize(SPEECH) == "what time is it"


def test_a_stalled_worker_blocks_neither_the_loop_nor_the_others(
    make: Make, workers: Workers
) -> None:
    stalled = make(timeout_s=5.0)
    other = make(stalled)
    os.kill(own_worker(stalled, workers), signal.SIGSTOP)

    async def run() -> None:
        longest = 0.0

        async def ticks() -> None:
            nonlocal longest
            while True:
                before = time.perf_counter()
                await asyncio.sleep(0.005)
                longest = max(longest, time.perf_counter() - before)

        ticking = asyncio.create_task(ticks())
        # 12 s of audio is twice what the socket takes.
        stuck = asyncio.create_task(understand(stalled, SPEECH * 5))
        assert await understand(other) == "what time is it"
        with pytest.raises(ModelTimeout, match="did not answer"):
            await stuck
        ticking.cancel()
        assert longest < 0.2
        assert await understand(stalled) == "what time is it"

    asyncio.run(run())


@pytest.mark.parametrize("blocking", [False, True])
def test_long_speech_may_take_long_while_there_is_progress(make: Make, blocking: bool) -> None:
    # On an idle machine the language model takes 5 s for these 23 s.
    recogniser = make(grammar=None, timeout_s=2.0)
    if blocking:
        text = recogniser.recognize(SPEECH * 10)
    else:
        text = asyncio.run(understand(recogniser, SPEECH * 10))
    assert text.count("time") > 5


def test_a_stopped_worker_is_gone_after_the_close(make: Make, workers: Workers) -> None:
    recogniser = make()
    os.kill(own_worker(recogniser, workers), signal.SIGSTOP)
    recogniser.close()
    assert workers() == []


def test_given_up_half_way(make: Make) -> None:
    recogniser = make()

    async def run() -> None:
        async with aclosing(recogniser.transcribe(frames())) as partials:  # type: ignore[type-var]
            async for _ in partials:
                break
        hanging = asyncio.create_task(understand(recogniser, SPEECH))
        await asyncio.sleep(0.05)
        hanging.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hanging
        assert await understand(recogniser) == "what time is it"

    asyncio.run(run())


def test_eight_at_once_share_one_server(make: Make, workers: Workers) -> None:
    first = make()
    sessions = [first, *(make(first) for _ in range(7))]

    async def run() -> list[str]:
        return await asyncio.gather(*map(understand, sessions))

    assert asyncio.run(run()) == ["what time is it"] * 8
    assert len(workers()) == 9


def test_the_language_model_takes_turns(make: Make) -> None:
    first = make(grammar=None, language_workers=1)
    sessions = [first, make(first), make(first)]

    async def run() -> list[str]:
        return await asyncio.gather(*map(understand, sessions))

    assert asyncio.run(run()) == ["what time is it"] * 3


def test_the_last_to_close_ends_all(make: Make, workers: Workers) -> None:
    first = make()
    second = make(first)
    for recogniser in (first, second):
        recogniser.open()
        recogniser.recognize(SPEECH)
    first.close()
    assert second.recognize(SPEECH) == "what time is it"
    second.close()
    assert workers() == []
    second.close()
    assert second.recognize(SPEECH) == "what time is it"


def test_one_that_is_forgotten_leaves_no_process(workers: Workers) -> None:
    PocketSphinx(phrases=["what time is it"]).recognize(SPEECH)
    assert workers() == []


@pytest.mark.parametrize("death", ["os._exit(0)", "os.kill(os.getpid(), 9)"])
def test_the_processes_die_with_their_parent(death: str) -> None:
    code = (
        "import os\n"
        "from xtalk.testing.recordings import recording\n"
        "from xtalk_asr_pocketsphinx.asr import PocketSphinx\n"
        "asr = PocketSphinx(phrases=['what time is it'])\n"
        "asr.recognize(recording('what-time-is-it').pcm)\n"
        "me = str(os.getpid())\n"
        "tasks = '/proc/%s/task/%s/children'\n"
        "server = open(tasks % (me, me)).read().split()[0]\n"
        "worker = open(tasks % (server, server)).read().split()[0]\n"
        f"print(server, worker, flush=True)\n{death}\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    pids = done.stdout.split()
    assert len(pids) == 2, done.stderr
    deadline = time.monotonic() + 5
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.005)
    assert not any(alive(pid) for pid in pids)


def alive(pid: str) -> bool:
    """Whether that process still runs; one that its new parent has not yet buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
