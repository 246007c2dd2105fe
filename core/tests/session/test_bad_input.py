"""Whatever a client sends, the session lives, and nothing of another's is touched."""

from __future__ import annotations

import random
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xtalk.testing import virtual_time
from xtalk.testing.fakes import loud, quiet
from xtalk.wire import messages as m

from .test_admission import actions, host

RUBBISH: list[Any] = [
    "",
    "not json",
    "[]",
    "null",
    "3",
    "{}",
    '{"action": 5}',
    '{"action": "no_such_thing"}',
    '{"action": "tts_chunk_played", "chunk_index": "x"}',
    '{"action": "change_tts_speed", "speed": {}}',
    '{"action": "change_tts_model", "model_type": "X", "config": {"host": "evil"}}',
    '{"action": "change_llm_model", "model_name": "x", "base_url": "http://evil"}',
    "\ud800".encode("utf-16", "surrogatepass").decode("utf-16", "replace"),
    b"\0",
    b"\0\0\0",
    b"\0" * (2 << 20),
    '{"action": "' + "x" * 100_000 + '"}',
    "[" * 10_000,
]


@pytest.mark.parametrize("item", RUBBISH, ids=lambda item: repr(item[:20]))
def test_rubbish_is_answered_in_words_and_the_conversation_goes_on(
    talk: Any, run: Any, item: Any
) -> None:
    async def main() -> None:
        async with talk() as call:
            call.client.send(item)
            error = await call.client.wait_for(m.Error)
            assert error.message
            assert "Traceback" not in error.message
            assert "evil" not in error.message
            await call.say()
            await call.client.wait_until_heard()

    run(main)


def test_empty_audio_is_no_mistake(talk: Any, run: Any) -> None:
    async def main() -> None:
        async with talk() as call:
            call.client.send(b"")
            await call.say()
            await call.client.wait_until_heard()
            assert not call.client.received(m.Error)

    run(main)


ITEMS = st.one_of(
    st.sampled_from(RUBBISH[:-3]),
    st.sampled_from(
        [
            '{"action": "vad_speech_start"}',
            '{"action": "vad_speech_end"}',
            '{"type": "vad_speech_start", "timestamp": 1}',
            '{"action": "tts_playback_finished"}',
            '{"action": "tts_chunk_played", "chunk_index": 99999}',
            '{"action": "tts_chunk_played", "chunk_index": -1}',
            '{"action": "conversation_start"}',
            '{"action": "conversation_end"}',
            '{"action": "clock_sync", "client_send_ts": 1e300}',
            '{"action": "change_voice", "voice_name": "high"}',
            "loud",
            "quiet",
            "wait",
        ]
    ),
    st.binary(max_size=2000),
    st.text(max_size=50),
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(ITEMS, max_size=25))
def test_any_sequence_leaves_the_neighbour_alone_and_nothing_behind(items: list[Any]) -> None:
    from xtalk.testing.transport import MemoryTransport

    async def main() -> None:
        hall, wild, tame = host(0), MemoryTransport(), MemoryTransport()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hall.connect, wild)
            tasks.start_soon(hall.connect, tame)
            await anyio.sleep(0.1)
            for item in items:
                for frame in {"loud": loud(0.5), "quiet": quiet(0.5)}.get(item, ()):  # type: ignore[call-overload]
                    wild.push(frame)
                if item not in ("loud", "quiet", "wait"):
                    wild.push(item)
                await anyio.sleep(0.5 if item == "wait" else 0.001)
            assert len(hall.sessions) == 2, "a session died of its input"
            tame.push('{"action": "vad_speech_start"}')
            for frame in loud(1.0):
                tame.push(frame)
            tame.push('{"action": "vad_speech_end"}')
            await anyio.sleep(5)
            assert "tts_finished" in actions(tame)
            wild.vanish()
            tame.vanish()
        assert not hall.sessions

    virtual_time.run(main())


def test_vanishing_at_any_moment_leaves_nothing() -> None:
    dice = random.Random(7)

    async def main() -> None:
        from xtalk.testing.transport import MemoryTransport

        hall = host(0)
        for _ in range(60):
            caller = MemoryTransport()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(hall.connect, caller)
                caller.push('{"action": "vad_speech_start"}')
                for frame in loud(1.0):
                    caller.push(frame)
                caller.push('{"action": "vad_speech_end"}')
                await anyio.sleep(dice.uniform(0, 1.5))
                caller.vanish()
            assert not hall.sessions

    virtual_time.run(main())
