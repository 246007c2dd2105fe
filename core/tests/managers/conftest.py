"""Conversations in virtual time whose pipeline has more than ears, a mind and a voice."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import pytest

from xtalk import DefaultPipeline, DefaultService, Xtalk
from xtalk.agent import AgentInput
from xtalk.events import BaseEvent
from xtalk.plugins import Plugins
from xtalk.session import Session
from xtalk.testing import virtual_time
from xtalk.testing.client import MemoryConnection, WireClient
from xtalk.testing.fakes import LoudnessVAD, ScriptedAgent, ScriptedASR, ScriptedTTS, tone
from xtalk.testing.transport import MemoryTransport
from xtalk.wire import messages as m


@dataclass
class Call:
    client: WireClient
    xtalk: Xtalk
    session: Session

    async def say(self, seconds: float = 1.0, hertz: float = 220.0) -> None:
        """A voice of that pitch."""
        await self.client.say(tone(seconds, hertz=hertz, rate=16_000, level=8000))

    async def turn(self, seconds: float = 1.0, hertz: float = 220.0) -> None:
        """Say something and hear the whole reply."""
        before = len(self.client.timeline)
        await self.say(seconds, hertz)
        await self.client.wait_until_heard(after=before)

    async def upload(self, text: str) -> None:
        await self.xtalk.embed_text(self.session.id, text)

    def watch(self, *kinds: type[BaseEvent]) -> list[Any]:
        seen: list[Any] = []
        for kind in kinds:
            self.session.subscribe(kind, seen.append)
        return seen


class Noting(ScriptedAgent):
    """Keeps what it knew when it was asked: the context itself goes on changing."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[AgentInput] = []

    def clone(self) -> Noting:
        return self

    async def async_generate_stream(self, input: Any) -> AsyncIterator[Any]:
        known = dict(input.context)
        self.seen.append(AgentInput(input.text, context=known, ages=input["ages"]))
        async with aclosing(super().async_generate_stream(input)) as parts:
            async for part in parts:
                yield part


@pytest.fixture
def noting() -> Any:
    return Noting()


Converse = Callable[..., AbstractAsyncContextManager[Call]]


@pytest.fixture
def converse() -> Converse:
    """Open a conversation; keywords are models by their slot, a `config`, the `managers`.

    When it ends nothing may be left of it: `run` fails on a task that is still there.
    """
    return _converse


@asynccontextmanager
async def _converse(
    *,
    config: dict[str, Any] | None = None,
    managers: Any = None,
    rewire: Callable[[DefaultService], None] = lambda service: None,
    **models: Any,
) -> AsyncIterator[Call]:
    scripted = {
        "asr": ScriptedASR(),
        "llm_agent": ScriptedAgent(),
        "tts": ScriptedTTS(),
        "vad": LoudnessVAD(),
    }
    service = DefaultService(
        pipeline=DefaultPipeline(**{**scripted, **models}),
        service_config=config,
        manager_classes=managers,
    )
    rewire(service)
    xtalk = Xtalk(service_prototype=service, plugins=Plugins())
    transport = MemoryTransport()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(xtalk.connect, transport)
        async with WireClient(MemoryConnection(transport)) as client:
            await client.wait_for(m.SessionInfo)
            (session,) = xtalk.host.sessions.values()
            await session.ready.wait()
            yield Call(client, xtalk, session)
        transport.vanish()
    assert not xtalk.host.sessions


@pytest.fixture
def run() -> Callable[[Callable[[], Awaitable[Any]]], Any]:
    """Run an async test in virtual time."""

    def run(main: Callable[[], Awaitable[Any]]) -> Any:
        async def body() -> Any:
            return await main()

        return virtual_time.run(body())

    return run
