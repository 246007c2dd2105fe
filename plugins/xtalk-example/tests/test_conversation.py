"""The three models in a whole conversation: the smallest configuration that works."""

from __future__ import annotations

import anyio
import pytest

from xtalk.api import Xtalk
from xtalk.audio import RATE_OUT
from xtalk.testing import virtual_time
from xtalk.testing.client import MemoryConnection, WireClient
from xtalk.testing.fakes import loud
from xtalk.testing.transport import MemoryTransport
from xtalk.wire import messages as m


@pytest.mark.parametrize(
    ("models", "heard", "reply", "seconds"),
    [
        (("FixedASR", "EchoAgent", "ToneTTS"), "hello", "You said: hello", 15 * 0.06),
        (
            ("DummyASR", "DummyAgent", "DummyTTS"),
            "This is a dummy ASR test text",
            "This is a dummy agent response",
            None,  # silence, of which the engine may leave out as much as it likes
        ),
    ],
)
def test_a_turn(
    models: tuple[str, str, str], heard: str, reply: str, seconds: float | None
) -> None:
    xtalk = Xtalk.from_config(dict(zip(("asr", "llm_agent", "tts"), models, strict=True)))

    async def talk() -> None:
        transport = MemoryTransport()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(xtalk.host.connect, transport)
            async with WireClient(MemoryConnection(transport), pauses_itself=True) as caller:
                await caller.say_with_marks(b"".join(loud(1.0)))
                assert (await caller.wait_for(m.FinishAsr)).text == heard
                await caller.wait_until_heard()
                assert caller.received(m.UpdateResp)[-1].text.strip() == reply
                assert caller.received(m.Error) == []
                sound = b"".join(sound.pcm for sound in caller.speaker.heard)
                if seconds is not None:
                    assert len(sound) / 2 / RATE_OUT == pytest.approx(seconds, abs=0.15)
                    assert max(memoryview(sound).cast("h")) > 7000

    virtual_time.run(talk())
