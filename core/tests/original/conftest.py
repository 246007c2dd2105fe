"""Programs as users of the original wrote them, run against the engine in virtual time."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest

from xtalk import DefaultPipeline, DefaultService, Xtalk
from xtalk.events import BaseEvent
from xtalk.plugins import Plugins
from xtalk.session import Session
from xtalk.testing import virtual_time
from xtalk.testing.client import MemoryConnection, WireClient
from xtalk.testing.fakes import ScriptedAgent, ScriptedASR, ScriptedTTS, tone
from xtalk.testing.transport import MemoryTransport
from xtalk.wire import messages as m

sys.path.insert(0, str(Path(__file__).parent))  # for the tables that tests share

SPEECH = tone(1.0, rate=16_000, level=8000)


@dataclass
class Call:
    """A caller with the original's habits: it marks its speech and pauses itself."""

    client: WireClient
    xtalk: Xtalk
    transport: MemoryTransport

    @property
    def session(self) -> Session:
        return next(iter(self.xtalk.host.sessions.values()))

    async def say(self) -> None:
        await self.client.say_with_marks(SPEECH, end_delay_s=0.1)

    async def turn(self) -> None:
        """Say something and hear the whole reply."""
        before = len(self.client.timeline)
        await self.say()
        await self.client.wait_until_heard(after=before)

    def signals(self, after: int = 0) -> list[dict[str, Any]]:
        """Every JSON message that has reached the client, as it was on the wire."""
        texts = [item for _, item in self.transport.sent[after:] if isinstance(item, str)]
        return [json.loads(text) for text in texts]

    def actions(self, after: int = 0) -> list[str]:
        return [signal["action"] for signal in self.signals(after)]

    def post(self, event: BaseEvent) -> None:
        self.session.post(event)

    def watch(self, *kinds: type[BaseEvent]) -> list[Any]:
        seen: list[Any] = []
        for kind in kinds:
            self.session.subscribe(kind, seen.append)
        return seen

    def heard(self) -> bytes:
        return b"".join(sound.pcm for sound in self.client.speaker.heard)


Dial = Callable[..., AbstractAsyncContextManager[Call]]


@asynccontextmanager
async def _dial(xtalk: Any, **client: Any) -> AsyncIterator[Call]:
    if isinstance(xtalk, DefaultService):
        xtalk = Xtalk(service_prototype=xtalk, plugins=Plugins())
    transport = MemoryTransport()
    client.setdefault("pauses_itself", True)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(xtalk.connect, transport)
        async with WireClient(MemoryConnection(transport), **client) as caller:
            await caller.wait_for(m.SessionInfo)
            await anyio.sleep(0.05)  # its models and managers are made after that word
            yield Call(caller, xtalk, transport)
        transport.vanish()
    assert not xtalk.host.sessions


@pytest.fixture(scope="session")
def dial() -> Dial:
    """Call a service, or an Xtalk."""
    return _dial


@pytest.fixture
def run() -> Callable[[Callable[[], Awaitable[Any]]], Any]:
    """Run an async test in virtual time."""

    def run(main: Callable[[], Awaitable[Any]]) -> Any:
        async def body() -> Any:
            return await main()

        return virtual_time.run(body())

    return run


@pytest.fixture
def service() -> Callable[..., DefaultService]:
    """A DefaultService of scripted models; keywords replace its models or its arguments."""

    def build(**changes: Any) -> DefaultService:
        models = {"asr": ScriptedASR(), "llm_agent": ScriptedAgent(), "tts": ScriptedTTS()}
        arguments = {
            k: changes.pop(k) for k in ("service_config", "manager_classes") if k in changes
        }
        return DefaultService(pipeline=DefaultPipeline(**{**models, **changes}), **arguments)

    return build


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, list[Any]]]:
    """MODEL_REGISTRY is the process's own; what a test registers is gone afterwards."""
    fresh = copy.deepcopy(Xtalk.MODEL_REGISTRY)
    monkeypatch.setattr(Xtalk, "MODEL_REGISTRY", fresh)
    monkeypatch.setenv("XTALK_LOAD_PLUGINS", "")
    yield fresh
