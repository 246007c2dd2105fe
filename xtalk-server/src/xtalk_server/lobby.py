"""Where a connection waits while the models are still being built.

Its pings are answered and its messages kept, so that nothing is lost; audio is dropped, since
nobody listens yet. Afterwards the connection is an ordinary Transport that gives the kept
messages first.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

import anyio

from xtalk.errors import ProtocolError
from xtalk.transport import Transport, peer
from xtalk.wire import messages
from xtalk.wire.protocol import ServerProtocol
from xtalk_server.backend import Backend

__all__ = ["Waited"]

KEPT_MESSAGES = 64


class Waited:
    """A Transport that has waited."""

    def __init__(self, transport: Transport) -> None:
        self.peer = peer(transport)
        self._transport = transport
        self._kept: deque[str] = deque(maxlen=KEPT_MESSAGES)
        self._gone = False

    async def wait(self, backend: Backend) -> None:
        """Until the models are there or will never be, or until the client is gone."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._read, tasks.cancel_scope)
            await backend.settled.wait()
            tasks.cancel_scope.cancel()

    async def _read(self, scope: anyio.CancelScope) -> None:
        protocol = ServerProtocol()
        while (item := await self._transport.receive()) is not None:
            if isinstance(item, bytes):
                continue
            try:
                message = protocol.receive_text(item)
            except ProtocolError as error:
                await self.send(protocol.send(messages.Error(message=str(error))))
                continue
            if isinstance(message, messages.Ping):
                pong = messages.Pong(
                    client_timestamp=message.timestamp or 0,
                    server_recv_timestamp=int(time.time() * 1000),
                )
                await self.send(protocol.send(pong))
            else:
                self._kept.append(item)
        self._gone = True
        scope.cancel()

    async def receive(self) -> str | bytes | None:
        if self._kept:
            return self._kept.popleft()
        return None if self._gone else await self._transport.receive()

    async def send(self, items: Sequence[str | bytes]) -> None:
        await self._transport.send(items)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        await self._transport.close(code, reason)
