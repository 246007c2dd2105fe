"""Where a connection waits while the models are still being built.

Afterwards it is an ordinary Transport that first gives the messages that were kept.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import anyio

from xtalk.transport import Transport, peer
from xtalk.waiting import Waiting
from xtalk_server.backend import Backend

__all__ = ["Waited"]


class Waited:
    """A Transport that has waited."""

    def __init__(self, transport: Transport) -> None:
        self.peer = peer(transport)
        self._transport = transport
        self._client = Waiting(transport, lambda: int(time.time() * 1000))
        self._gone = False

    async def wait(self, backend: Backend) -> None:
        """Until the models are there or will never be, or until the client is gone."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._read, tasks.cancel_scope)
            await backend.settled.wait()
            tasks.cancel_scope.cancel()

    async def _read(self, scope: anyio.CancelScope) -> None:
        await self._client.read()
        self._gone = True
        scope.cancel()

    async def receive(self) -> str | bytes | None:
        if self._client.kept:
            return self._client.kept.pop(0)
        return None if self._gone else await self._transport.receive()

    async def send(self, items: Sequence[str | bytes]) -> None:
        await self._transport.send(items)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        await self._transport.close(code, reason)
