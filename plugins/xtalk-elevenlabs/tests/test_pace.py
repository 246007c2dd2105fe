"""Whether a commit of the service can be the last, by how fast the audio went out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from xtalk_elevenlabs.asr import ElevenLabsASR, _Segment

from xtalk.audio import RATE_IN, AudioFrame, silence
from xtalk.remote import Replay
from xtalk.testing.services import KEY


@pytest.mark.parametrize(
    ("connected_after_s", "ending"), [(0.0, "with the next"), (4.5, "perhaps")]
)
def test_what_waited_for_a_connection_goes_out_faster_than_it_was_said(
    virtual_time: Any, connected_after_s: float, ending: str
) -> None:
    """Then the service may still have commits to tell that it made at pauses before the last."""

    async def speak() -> AsyncIterator[AudioFrame]:
        for _ in range(5):
            await anyio.sleep(1.0)
            yield silence(1.0, RATE_IN)

    async def check() -> None:
        model = ElevenLabsASR(KEY, mode="streaming", commit_strategy="vad")
        segment = _Segment(timed=False)
        async with Replay(speak()) as spoken:
            await anyio.sleep(connected_after_s)
            async for _ in model._messages(spoken, segment):
                pass
        assert segment.ending == ending

    virtual_time(check())
