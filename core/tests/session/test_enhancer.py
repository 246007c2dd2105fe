"""The enhancer: in order, flushed at the end of an utterance, in line or in a lane of its own."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from xtalk.pipeline import DefaultPipeline
from xtalk.speech.interfaces import SpeechEnhancer
from xtalk.testing.fakes import ScriptedAgent, ScriptedASR, ScriptedTTS, loud
from xtalk.wire import messages as m


class Late(SpeechEnhancer):
    """Holds 100 ms back."""

    HELD = 3200

    def __init__(self) -> None:
        self.held = b""

    def enhance(self, audio: bytes) -> bytes:
        self.held += audio
        ready, self.held = self.held[: -self.HELD], self.held[-self.HELD :]
        return ready

    def flush(self) -> bytes:
        rest, self.held = self.held, b""
        return rest

    def clone(self) -> Late:
        return type(self)()


class Inline(Late):
    inline = True


class Remote(Late):
    async def async_enhance(self, audio: bytes) -> bytes:
        await anyio.sleep(0.005)
        return self.enhance(audio)

    async def async_flush(self) -> bytes:
        return self.flush()


@pytest.mark.parametrize("kind", [Late, Inline, Remote])
def test_no_sample_of_an_utterance_stays_in_the_enhancer(talk: Any, run: Any, kind: Any) -> None:
    whole: list[float] = []

    class Counting(ScriptedASR):
        def clone(self) -> Counting:
            twin = Counting()
            twin.heard = whole
            return twin

    pipeline = DefaultPipeline(
        asr=Counting(),
        llm_agent=ScriptedAgent(),
        tts=ScriptedTTS(),
        speech_enhancer=kind(),
    )

    async def main() -> None:
        async with talk(pipeline=pipeline, microphone=False, config={"pre_roll_ms": 0}) as call:
            call.client.mark_start()
            for frame in loud(1.0):
                call.client.send(frame)
            call.client.mark_end()
            await call.client.wait_for(m.FinishAsr)

    run(main)
    assert whole == [pytest.approx(1.0, abs=0.021)]
