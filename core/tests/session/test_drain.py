"""A host that is going down: turns come to their end, idle sessions do not wait for them."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest

from xtalk.pipeline import DefaultPipeline
from xtalk.service import DefaultService, Host
from xtalk.testing import virtual_time
from xtalk.testing.fakes import ScriptedAgent, ScriptedASR, ScriptedTTS, loud
from xtalk.testing.transport import MemoryTransport
from xtalk.wire import messages as m

LONG = ("The first sentence is here. ", "The second sentence follows it. ", "And a third one ends.")


async def drain(call: Any, deadline_s: float = 10.0) -> float:
    """How long it took."""
    began = anyio.current_time()
    await call.host.drain(deadline_s)
    assert not call.host.sessions and call.transport.closed[0] == 1001
    return anyio.current_time() - began


def test_an_idle_session_ends_at_once(talk: Any, run: Any) -> None:
    async def main() -> None:
        async with talk() as call:
            await anyio.sleep(1)
            assert await drain(call) < 0.1

    run(main)


@pytest.mark.parametrize("sim_gen", [False, True])
@pytest.mark.parametrize("moment", ["speaking", "decoding", "thinking", "sounding"])
def test_a_turn_under_way_is_heard_to_its_end(
    talk: Any, run: Any, moment: str, sim_gen: bool
) -> None:
    agent = ScriptedAgent(LONG, first_s=0.5)
    after = {"speaking": 0.6, "decoding": 1.7, "thinking": 2.1, "sounding": 4.0}[moment]

    async def main() -> None:
        asr = ScriptedASR(["tell me"], final_s=0.4)
        async with talk(asr=asr, agent=agent, config={"sim_gen": sim_gen}) as call:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(call.say, 1.0)
                await anyio.sleep(after)
                assert call.session.busy
                await drain(call, 20)
            assert call.client.received(m.TtsFinished)

    run(main)
    assert [(r.heard, r.outcome) for r in agent.records] == [("".join(LONG), "done")]


def test_the_deadline_ends_the_rest(talk: Any, run: Any) -> None:
    agent = ScriptedAgent(LONG, first_s=60.0)

    async def main() -> None:
        async with talk(agent=agent) as call:
            await call.say()
            await call.client.wait_for(m.FinishAsr)
            assert await drain(call, 3) == pytest.approx(3, abs=0.1)

    run(main)
    assert [r.outcome for r in agent.records] == ["interrupted"]


def test_a_turn_that_came_to_nothing_is_over_too(talk: Any, run: Any) -> None:
    async def main() -> None:
        async with talk(asr=ScriptedASR([""])) as call, anyio.create_task_group() as tasks:
            tasks.start_soon(call.say, 1.0)
            await anyio.sleep(0.8)
            assert call.session.busy
            assert await drain(call) < 1.0

    run(main)


def test_a_hesitation_that_is_held_in_vain_is_over_too(talk: Any, run: Any) -> None:
    async def main() -> None:
        async with talk(asr=ScriptedASR(["um"])) as call:
            await call.say()
            await call.client.wait_for(m.UpdateAsr)
            assert call.session.busy
            assert await drain(call) < 2.0
            assert call.client.received(m.InvalidAsrResult)

    run(main)


def test_who_comes_or_waits_is_turned_away() -> None:
    async def main() -> None:
        pipeline = DefaultPipeline(
            asr=ScriptedASR(), llm_agent=ScriptedAgent(first_s=2.0), tts=ScriptedTTS()
        )
        host = Host(DefaultService(pipeline=pipeline))
        host.set_limit(1)
        talking, waiting, late = (MemoryTransport() for _ in range(3))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(host.connect, talking)
            await anyio.sleep(0.1)
            tasks.start_soon(host.connect, waiting)
            talking.push('{"action": "vad_speech_start"}')
            for frame in loud(1.0):
                talking.push(frame)
            talking.push('{"action": "vad_speech_end"}')
            await anyio.sleep(0.5)
            assert waiting.closed is None
            tasks.start_soon(host.drain, 10.0)
            await anyio.sleep(0.1)
            tasks.start_soon(host.connect, late)
            await anyio.sleep(0.1)
            assert waiting.closed and late.closed
            assert waiting.closed[0] == late.closed[0] == 1001
            assert talking.closed is None
        said = [json.loads(i)["action"] for _, i in talking.sent if isinstance(i, str)]
        assert said[-1] == "tts_finished" and talking.closed
        assert host.limiter.get_status()["active_sessions"] == 0

    virtual_time.run(main())
