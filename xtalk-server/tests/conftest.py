"""An Xtalk that a test can script, and a server around it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from xtalk.limiter import SessionLimiter
from xtalk.pipeline import DefaultPipeline
from xtalk.plugins import Plugins
from xtalk.settings import ServiceConfig
from xtalk.transport import StarletteTransport, as_transport
from xtalk.wire import messages as m
from xtalk.wire.protocol import ServerProtocol
from xtalk_server.testing import Running, running


class Blueprint:
    def __init__(self) -> None:
        self.pipeline = DefaultPipeline()
        self.alternatives: dict[str, dict[str, Any]] = {}
        self.service_config = ServiceConfig().as_dict()


class ScriptedXtalk:
    """As much of an Xtalk as the server needs: it says its name and repeats what it is sent."""

    def __init__(self) -> None:
        self.plugins = Plugins()
        self.host = SimpleNamespace(limiter=SessionLimiter())
        self.config: Any = None
        self.service_prototype = Blueprint()
        self.life: list[str] = []
        self.uploads: list[tuple[str, str]] = []
        self.upload_error: Exception | None = None

    async def connect(self, connection: Any) -> None:
        transport = as_transport(connection)
        if isinstance(transport, StarletteTransport):
            await transport.accept()
        async with self.host.limiter.slot(transport, int) as slot:
            if slot is None:
                return
            await transport.send(ServerProtocol().send(m.SessionInfo(session_id="s1")))
            while (item := await transport.receive()) is not None:
                await transport.send([item])

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[ScriptedXtalk]:
        self.life.append("begun")
        try:
            yield self
        finally:
            # Whoever ends may still await, as a plugin that closes its connections does.
            await anyio.lowlevel.checkpoint()
            self.life.append("ended")

    async def drain(self, deadline_s: float) -> None:
        self.life.append("drained")

    async def embed_text(self, session_id: str, text: str) -> None:
        if self.upload_error is not None:
            raise self.upload_error
        self.uploads.append((session_id, text))


@pytest.fixture
def scripted() -> ScriptedXtalk:
    return ScriptedXtalk()


@pytest.fixture
def server(scripted: Any) -> Iterator[Running]:
    with running(scripted) as server:
        yield server
