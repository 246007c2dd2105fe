"""A detector or an enhancer that hangs, lags or fails: the user is heard, and told once."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import anyio
import pytest

from xtalk.events import VADLost
from xtalk.managers.enhancer import EnhancerManager
from xtalk.managers.vad import VADManager
from xtalk.pipeline import DefaultPipeline
from xtalk.speech.interfaces import VAD, SpeechEnhancer
from xtalk.testing.fakes import LoudnessVAD, ScriptedAgent, ScriptedASR, ScriptedTTS, loud
from xtalk.threads import run_in_thread
from xtalk.wire import messages as m

from .conftest import watch

FOREVER = 1e6


class HangingVAD(LoudnessVAD):
    """Its call number `at` takes `hang_s`, and if that is for ever, so do those behind it."""

    inline = False

    def __init__(self, *, at: int = 1, hang_s: float = FOREVER) -> None:
        super().__init__()
        self.at = at
        self.hang_s = hang_s
        self.calls = 0

    def clone(self) -> HangingVAD:
        return self

    async def async_is_speech(self, frame: bytes) -> bool:
        self.calls += 1
        if self.calls == self.at or (self.calls > self.at and self.hang_s == FOREVER):
            await anyio.sleep(self.hang_s)
        return self.is_speech(frame)


class FailingVAD(LoudnessVAD):
    def is_speech(self, frame: bytes) -> bool:
        raise ValueError("no")


class LongFrames(FailingVAD):
    """A frame of its own is three of the client's."""

    frame_samples = 1536


class LongFramesInThread(LongFrames):
    inline = False


class LongFramesAsync(LongFramesInThread):
    async def async_is_speech(self, frame: bytes) -> bool:
        return self.is_speech(frame)


class Enhancer(SpeechEnhancer):
    """Passes on what it is given, the calls from `first` to `last` after `take_s`."""

    def __init__(self, take_s: float, *, first: int = 1, last: float = FOREVER) -> None:
        self.take_s = take_s
        self.first = first
        self.last = last
        self.calls = 0
        self.forgot = 0

    def enhance(self, audio: bytes) -> bytes:
        raise AssertionError("there is an async one")

    def clone(self) -> Enhancer:
        return self

    def reset(self) -> None:
        self.forgot += 1

    async def async_enhance(self, audio: bytes) -> bytes:
        self.calls += 1
        if self.first <= self.calls <= self.last:
            await anyio.sleep(self.take_s)
        return audio

    async def async_flush(self) -> bytes:
        return b""


async def speak(call: Any, times: int = 1, *, marks: bool) -> list[float]:
    """Say something every 10 s; how long each answer took from the end of speech."""
    waited = []
    for _ in range(times):
        before = len(call.client.timeline)
        if marks:
            await call.client.say_with_marks(b"".join(loud(1.0)))
        else:
            await call.say(1.0)
        end = anyio.current_time()
        await call.client.wait_for(m.StartTts, after=before)
        waited.append(anyio.current_time() - end)
        await anyio.sleep(10)
    return waited


def told(call: Any) -> list[str]:
    return [error.message for error in call.client.received(m.Error)]


# --- the detector ---------------------------------------------------------------------------------


@pytest.mark.parametrize("vad", [HangingVAD(), FailingVAD()])
def test_without_its_detector_a_client_that_marks_is_heard(talk: Any, run: Any, vad: Any) -> None:
    async def main() -> None:
        async with talk(vad=vad) as call:
            await anyio.sleep(300)
            lane = call.session.find(VADManager)._lane
            assert sum(frame.seconds for frame in lane) <= 2.1
            await speak(call, 3, marks=True)
            assert told(call) == ["Speech detection failed."]

    run(main)


@pytest.mark.parametrize("kind", [LongFrames, LongFramesInThread, LongFramesAsync])
def test_a_detector_that_always_fails_is_lost_within_a_second_and_once(
    talk: Any, run: Any, kind: type[VAD]
) -> None:
    async def main() -> None:
        async with talk(vad=kind()) as call:
            lost = watch(call.session, VADLost)
            await anyio.sleep(1.2)
            assert len(lost) == 1
            await anyio.sleep(30)
            assert len(lost) == 1

    run(main)


def test_a_detector_that_comes_back_hears_again(talk: Any, run: Any) -> None:
    vad = HangingVAD(at=100, hang_s=60.0)

    async def main() -> None:
        async with talk(vad=vad) as call:
            await anyio.sleep(10)
            assert told(call) == ["Speech detection failed."]
            await speak(call, 2, marks=False)

    run(main)
    assert vad.calls > 500


@pytest.mark.parametrize("sim_gen", [False, True])
def test_what_was_said_when_the_detector_hung_is_answered(
    talk: Any, run: Any, sim_gen: bool
) -> None:
    asr = ScriptedASR(["tell me a story"])

    async def main() -> None:
        async with talk(vad=HangingVAD(at=120), asr=asr, config={"sim_gen": sim_gen}) as call:
            await anyio.sleep(2)
            await call.say(10.0)
            await call.client.wait_for(m.FinishAsr, timeout=0)

    run(main)


def test_a_detector_that_failed_now_and_then_is_not_behind_the_audio(talk: Any, run: Any) -> None:
    class Shaky(HangingVAD):
        async def async_is_speech(self, frame: bytes) -> bool:
            self.calls += 1
            if self.calls < 300 and self.calls % 3 == 0:
                raise OSError("no line")
            return self.is_speech(frame)

    async def main() -> None:
        async with talk(vad=Shaky()) as call:
            await anyio.sleep(12)
            await call.say(1.0)
            said = anyio.current_time()
            await call.client.wait_for(m.FinishAsr)
            assert anyio.current_time() - said == pytest.approx(0.55, abs=0.05)

    run(main)


@pytest.mark.real_time
def test_a_detector_that_hangs_in_a_thread_is_replaced_however_long_its_copy_takes_to_open(
    talk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xtalk.managers.breaker.CALL_LIMIT_S", 0.5)
    monkeypatch.setattr("xtalk.managers.breaker.FIRST_REST_S", 0.1)
    gate, inside, closed = threading.Event(), threading.Event(), threading.Event()
    opened = asyncio.Event()

    class Stuck(LoudnessVAD):
        inline = False

        def is_speech(self, frame: bytes) -> bool:
            inside.set()
            gate.wait(30)
            raise OSError("too late")

        def clone(self) -> LoudnessVAD:
            return Stuck() if not inside.is_set() else Working()

        def close(self) -> None:
            closed.set()

    class Working(LoudnessVAD):
        inline = False

        async def open(self) -> None:
            await anyio.sleep(1.0)
            opened.set()

    async def main() -> None:
        async with talk(vad=Stuck()) as call:
            await call.client.until(lambda: told(call), timeout=10)
            with anyio.fail_after(10):
                await opened.wait()
            await call.say(1.0)
            await call.client.wait_for(m.FinishAsr, timeout=10)
            gate.set()
            assert await run_in_thread(closed.wait, 10)

    asyncio.run(main())


# --- the enhancer ---------------------------------------------------------------------------------


def behind(enhancer: SpeechEnhancer) -> DefaultPipeline:
    return DefaultPipeline(
        asr=ScriptedASR(),
        llm_agent=ScriptedAgent(),
        tts=ScriptedTTS(),
        speech_enhancer=enhancer,
        vad=LoudnessVAD(),
    )


@pytest.mark.parametrize("marks", [True, False])
@pytest.mark.parametrize("take_s", [FOREVER, 0.1], ids=["hangs", "is too slow"])
def test_an_enhancer_that_cannot_keep_up_is_passed_by(
    talk: Any, run: Any, take_s: float, marks: bool
) -> None:
    enhancer = Enhancer(take_s)

    async def main() -> None:
        async with talk(pipeline=behind(enhancer)) as call:
            waited = await speak(call, 5, marks=marks)
            assert max(waited) < 4.0
            assert waited[-1] < 1.0
            lane = call.session.find(EnhancerManager)._lane
            assert not lane
            assert told(call) == ["Noise suppression failed."]

    run(main)


def test_an_enhancer_that_comes_back_is_asked_again_and_forgets_what_it_held(
    talk: Any, run: Any
) -> None:
    enhancer = Enhancer(FOREVER, first=50, last=50)

    async def main() -> None:
        async with talk(pipeline=behind(enhancer)) as call:
            await speak(call, 2, marks=True)
            assert len(told(call)) == 1

    run(main)
    assert enhancer.calls > 200
    assert enhancer.forgot == 1
