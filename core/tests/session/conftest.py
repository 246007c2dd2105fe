"""A whole conversation in virtual time: host, session and client in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import pytest

from xtalk.events import BaseEvent
from xtalk.limiter import SessionLimiter
from xtalk.pipeline import DefaultPipeline
from xtalk.service import DefaultService, Host
from xtalk.session import Session
from xtalk.testing import virtual_time
from xtalk.testing.client import MemoryConnection, WireClient
from xtalk.testing.fakes import (
    LoudnessVAD,
    ScriptedAgent,
    ScriptedASR,
    ScriptedTTS,
    loud,
    quiet,
)
from xtalk.testing.transport import MemoryTransport
from xtalk.wire import messages as m


@dataclass
class Call:
    """One caller in a conversation, and what stands behind it."""

    client: WireClient
    host: Host
    transport: MemoryTransport

    @property
    def session(self) -> Session:
        return next(iter(self.host.sessions.values()))

    async def say(self, seconds: float = 1.0) -> None:
        """Speech of that length, and then silence."""
        await self.client.say(b"".join(loud(seconds)))

    def actions(self, after: int = 0) -> list[str]:
        """What the client was told, without chunks, their metas and latency figures."""
        skip = (m.TtsChunk, m.TtsChunkMeta, m.LatencyMetrics, m.SessionInfo, m.Pong)
        return [
            entry.message.ACTION
            for entry in self.client.timeline[after:]
            if not isinstance(entry.message, skip)
        ]

    def heard(self) -> bytes:
        return b"".join(sound.pcm for sound in self.client.speaker.heard)


Talk = Callable[..., AbstractAsyncContextManager[Call]]


@pytest.fixture
def talk() -> Talk:
    """Open a conversation; keywords are models, a `config`, a `service`, or the client's."""
    return _talk


@asynccontextmanager
async def _talk(
    *,
    asr: Any = None,
    agent: Any = None,
    tts: Any = None,
    vad: Any = True,
    config: dict[str, Any] | None = None,
    service: Callable[[DefaultService], object] | None = None,
    limit: int = 0,
    latency_s: float = 0.0,
    pipeline: Any = None,
    plugins: Any = None,
    **client: Any,
) -> AsyncIterator[Call]:
    made = pipeline or DefaultPipeline(
        asr=asr or ScriptedASR(),
        llm_agent=agent or ScriptedAgent(),
        tts=tts or ScriptedTTS(),
        vad=LoudnessVAD() if vad is True else vad,
    )
    blueprint = DefaultService(pipeline=made, service_config=config)
    if service is not None:
        service(blueprint)
    host = Host(blueprint, SessionLimiter(limit), plugins)
    transport = MemoryTransport(latency_s=latency_s)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(host.connect, transport)
        async with WireClient(MemoryConnection(transport), **client) as caller:
            await caller.wait_for(m.SessionInfo)
            yield Call(caller, host, transport)
        transport.vanish()
    assert not host.sessions


@pytest.fixture
def run() -> Callable[[Callable[[], Awaitable[Any]]], Any]:
    """Run an async test in virtual time."""

    def run(main: Callable[[], Awaitable[Any]]) -> Any:
        async def body() -> Any:
            return await main()

        return virtual_time.run(body())

    return run


def watch(session: Session, *kinds: type[BaseEvent]) -> list[BaseEvent]:
    """A list that fills with these events."""
    seen: list[BaseEvent] = []
    for kind in kinds:
        session.subscribe(kind, seen.append)
    return seen


__all__ = ["Call", "Talk", "loud", "quiet", "watch"]
