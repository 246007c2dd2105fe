"""What a recogniser may give, and what is said of one that gives something else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from xtalk.audio import AudioFrame
from xtalk.speech.interfaces import ASR
from xtalk.wire import messages as m


class Ear(ASR):
    """The smallest recogniser: one call."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def recognize(self, audio: bytes) -> Any:
        return self.answer

    def reset(self) -> None: ...

    def clone(self) -> Ear:
        return Ear(self.answer)


class PullingEar(Ear):
    async def transcribe(self, frames: AsyncIterator[AudioFrame]) -> Any:
        async for _ in frames:
            pass
        yield self.answer

    def clone(self) -> PullingEar:
        return PullingEar(self.answer)


async def after_a_sentence(talk: Any, asr: ASR) -> tuple[list[str], float]:
    """Every error, and the seconds from the end of speech until the turn was given up."""
    async with talk(asr=asr) as call:
        await call.say()
        end = anyio.current_time()
        await call.client.wait_for(m.InvalidAsrResult)
        waited_s = anyio.current_time() - end
        return [error.message for error in call.client.received(m.Error)], waited_s


def test_none_is_nothing_heard(talk: Any, run: Any) -> None:
    errors, waited_s = run(lambda: after_a_sentence(talk, Ear(None)))
    assert errors == []
    assert waited_s < 2


@pytest.mark.parametrize(
    ("asr", "error"),
    [
        (Ear(b"hello"), "Ear gave bytes, not text."),
        (Ear(5), "Ear gave int, not text."),
        (PullingEar("hello"), "PullingEar gave str, not a Transcript."),
    ],
)
def test_what_is_no_text_is_the_recognisers_failure(
    talk: Any, run: Any, asr: ASR, error: str
) -> None:
    errors, waited_s = run(lambda: after_a_sentence(talk, asr))
    assert errors == [error]
    assert waited_s < 2
