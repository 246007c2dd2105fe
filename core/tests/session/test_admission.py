"""The queue in front of the sessions: positions, pings, places that never leak."""

from __future__ import annotations

import json
import random
import re
from typing import Any

import anyio
import pytest

from xtalk.limiter import SessionLimiter
from xtalk.pipeline import DefaultPipeline
from xtalk.service import DefaultService, Host
from xtalk.testing import virtual_time
from xtalk.testing.fakes import ScriptedAgent, ScriptedASR, ScriptedTTS
from xtalk.testing.transport import MemoryTransport


def host(limit: int) -> Host:
    pipeline = DefaultPipeline(asr=ScriptedASR(), llm_agent=ScriptedAgent(), tts=ScriptedTTS())
    return Host(DefaultService(pipeline=pipeline), SessionLimiter(limit))


def actions(transport: MemoryTransport) -> list[str]:
    return [json.loads(item)["action"] for _, item in transport.sent if isinstance(item, str)]


def test_who_gets_a_place_at_once_is_told_of_no_queue() -> None:
    async def main() -> None:
        hall, caller = host(1), MemoryTransport()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hall.connect, caller)
            await anyio.sleep(1)
            assert actions(caller) == ["session_info"]
            caller.vanish()
        assert hall.limiter.get_status()["active_sessions"] == 0

    virtual_time.run(main())


def test_who_waits_is_told_its_place_and_answered_its_pings() -> None:
    async def main() -> None:
        hall = host(1)
        callers = [MemoryTransport() for _ in range(3)]
        async with anyio.create_task_group() as tasks:
            for caller in callers:
                tasks.start_soon(hall.connect, caller)
                await anyio.sleep(0.1)
            last = callers[2]
            last.push('{"action": "ping", "timestamp": 7}')
            last.push("rubbish")
            await anyio.sleep(0.1)
            assert actions(last) == ["queue_status", "pong", "error"]
            first = json.loads(last.sent[0][1])
            assert (first["position"], first["limit"], first["active"]) == (2, 1, 1)
            await anyio.sleep(60)
            assert actions(last).count("queue_status") == 13
            callers[0].vanish()
            await anyio.sleep(0.1)
            assert actions(callers[1])[-2:] == ["queue_granted", "session_info"]
            assert json.loads(last.sent[-1][1])["position"] == 1
            callers[1].vanish()
            await anyio.sleep(0.1)
            assert "session_info" in actions(last)
            last.vanish()

    virtual_time.run(main())


def test_a_full_queue_sends_newcomers_away(monkeypatch: Any) -> None:
    monkeypatch.setattr("xtalk.limiter.QUEUE_LIMIT", 1)

    async def main() -> None:
        hall, callers = host(1), [MemoryTransport() for _ in range(3)]
        async with anyio.create_task_group() as tasks:
            for caller in callers:
                tasks.start_soon(hall.connect, caller)
                await anyio.sleep(0.1)
            assert actions(callers[2]) == ["error"]
            assert callers[2].closed == (1013, "the queue is full")
            assert callers[1].closed is None
            for caller in callers:
                caller.vanish()

    virtual_time.run(main())


def test_the_log_tells_when_each_session_begins_and_ends(caplog: Any) -> None:
    caplog.set_level("INFO", "xtalk")

    async def main() -> None:
        hall, callers = host(1), [MemoryTransport() for _ in range(3)]
        callers[0].peer = "203.0.113.7:4711"  # type: ignore[attr-defined]
        async with anyio.create_task_group() as tasks:
            for caller in callers:
                tasks.start_soon(hall.connect, caller)
                await anyio.sleep(1)
            callers[2].vanish()
            await anyio.sleep(1)
            callers[0].vanish()
            await anyio.sleep(1)
            await hall.shutdown()

    virtual_time.run(main())
    lines = [re.sub(r"[0-9a-f-]{36}", "ID", each) for each in caplog.messages]
    assert lines == [
        "session ID of 203.0.113.7:4711 begins",
        "a client is queued at place 1",
        "a client is queued at place 2",
        "a client waits no longer",
        "session ID ended after 4.0 s: the client left",
        "session ID of a client begins",
        "session ID ended after 1.0 s: the server is going down",
    ]


def test_the_log_tells_a_session_that_failed(caplog: Any) -> None:
    caplog.set_level("INFO", "xtalk")

    class Broken(ScriptedASR):
        def open(self) -> None:
            raise OSError("there is no such device")

        def clone(self) -> Broken:
            return Broken()

    pipeline = DefaultPipeline(asr=Broken(), llm_agent=ScriptedAgent(), tts=ScriptedTTS())
    hall = Host(DefaultService(pipeline=pipeline))
    virtual_time.run(hall.connect(MemoryTransport()))
    assert "ended after 0.0 s: broken off" in caplog.messages[-1]


def test_what_was_said_in_the_queue_reaches_the_session() -> None:
    async def main() -> None:
        hall, one, two = host(1), MemoryTransport(), MemoryTransport()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hall.connect, one)
            await anyio.sleep(0.1)
            tasks.start_soon(hall.connect, two)
            two.push('{"action": "conversation_start", "client": {"decisions": true}}')
            two.push(b"\0\0" * 100)
            await anyio.sleep(0.1)
            one.vanish()
            await anyio.sleep(0.1)
            session = next(iter(hall.sessions.values()))
            gateway = next(g for g in session.managers if type(g).__name__ == "OutputGateway")
            assert gateway._wants_decisions
            two.vanish()

    virtual_time.run(main())


SWITCH = '{"action": "change_tts_model", "model_type": "none such"}'
LONG = SWITCH[:-1] + ', "padding": "' + "x" * 40_000 + '"}'


@pytest.mark.parametrize(("message", "kept"), [(SWITCH, 63), (LONG, 1)])
def test_of_too_many_messages_in_the_queue_the_first_are_kept_and_the_client_is_told_once(
    message: str, kept: int
) -> None:
    async def main() -> None:
        hall, one, two = host(1), MemoryTransport(), MemoryTransport()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hall.connect, one)
            await anyio.sleep(0.1)
            tasks.start_soon(hall.connect, two)
            await anyio.sleep(0.1)
            two.push('{"action": "conversation_start", "client": {"decisions": true}}')
            for _ in range(70):
                two.push(message)
            await anyio.sleep(0.1)
            assert actions(two) == ["queue_status", "error"]
            assert "first 64 messages" in json.loads(two.sent[1][1])["data"]
            one.vanish()
            await anyio.sleep(0.1)
            session = next(iter(hall.sessions.values()))
            gateway = next(g for g in session.managers if type(g).__name__ == "OutputGateway")
            assert gateway._wants_decisions
            assert actions(two).count("error") == 1 + kept
            two.vanish()

    virtual_time.run(main())


def test_a_limit_can_be_raised_while_clients_wait() -> None:
    async def main() -> None:
        hall, callers = host(1), [MemoryTransport() for _ in range(3)]
        async with anyio.create_task_group() as tasks:
            for caller in callers:
                tasks.start_soon(hall.connect, caller)
            await anyio.sleep(0.1)
            assert hall.limiter.get_status()["queue_length"] == 2
            hall.set_limit(0)
            await anyio.sleep(0.1)
            assert len(hall.sessions) == 3
            for caller in callers:
                caller.vanish()

    virtual_time.run(main())


def test_no_place_leaks_whoever_leaves_whenever() -> None:
    async def main() -> None:
        dice, hall = random.Random(1), host(3)

        async def come_and_go() -> None:
            await anyio.sleep(dice.uniform(0, 5))
            caller = MemoryTransport()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(hall.connect, caller)
                await anyio.sleep(dice.choice([0, 0.01, 1, 3]))
                if dice.random() < 0.3:
                    tasks.cancel_scope.cancel()
                caller.vanish()

        async with anyio.create_task_group() as tasks:
            for _ in range(200):
                tasks.start_soon(come_and_go)
        status: dict[str, Any] = hall.limiter.get_status()
        assert (status["active_sessions"], status["queue_length"]) == (0, 0)
        assert not hall.sessions

    virtual_time.run(main())


def test_a_session_that_cannot_be_built_gives_its_place_back() -> None:
    class Broken(ScriptedASR):
        def open(self) -> None:
            raise OSError("the model file of /secret/path is gone")

        def clone(self) -> Broken:
            return Broken()

    async def main() -> None:
        pipeline = DefaultPipeline(asr=Broken(), llm_agent=ScriptedAgent(), tts=ScriptedTTS())
        hall = Host(DefaultService(pipeline=pipeline), SessionLimiter(1))
        for _ in range(2):
            caller = MemoryTransport()
            await hall.connect(caller)
            assert caller.closed == (1011, "Internal server error")
            assert not any("secret" in str(item) for _, item in caller.sent)
        assert hall.limiter.get_status()["active_sessions"] == 0

    virtual_time.run(main())


def test_going_down_ends_every_session() -> None:
    async def main() -> None:
        hall, callers = host(0), [MemoryTransport() for _ in range(3)]
        async with anyio.create_task_group() as tasks:
            for caller in callers:
                tasks.start_soon(hall.connect, caller)
            await anyio.sleep(0.1)
            await hall.shutdown()
            assert {caller.closed and caller.closed[0] for caller in callers} == {1001}

    virtual_time.run(main())


def test_going_down_ends_a_session_that_is_still_opening() -> None:
    class Slow(ScriptedASR):
        async def open(self) -> None:
            await anyio.sleep(100)

        def clone(self) -> Slow:
            return Slow()

    async def main() -> None:
        pipeline = DefaultPipeline(asr=Slow(), llm_agent=ScriptedAgent(), tts=ScriptedTTS())
        hall, caller = Host(DefaultService(pipeline=pipeline)), MemoryTransport()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hall.connect, caller)
            await anyio.sleep(1)
            await hall.shutdown()
            assert caller.closed == (1001, "the server is going down")
            assert anyio.current_time() < 1010

    virtual_time.run(main())
