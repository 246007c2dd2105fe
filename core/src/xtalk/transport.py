"""The seam between a session and whatever connection carries it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, Protocol

__all__ = ["StarletteTransport", "Transport", "as_transport", "peer"]


class Transport(Protocol):
    """One connection: whole messages in both directions, in order."""

    async def receive(self) -> str | bytes | None:
        """The next message; None when the client is gone. Safe to cancel."""

    async def send(self, items: Sequence[str | bytes]) -> None:
        """Send these, with nothing between them; ConnectionError when the client is gone."""

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """End the connection; harmless when it has ended."""


class StarletteTransport:
    """A Starlette or FastAPI WebSocket."""

    def __init__(self, websocket: Any) -> None:
        from starlette.websockets import WebSocketDisconnect, WebSocketState

        client = getattr(websocket, "client", None)  # not every ASGI server tells it
        self.peer = "{}:{}".format(*client) if client else ""
        self._websocket = websocket
        self._gone = WebSocketDisconnect
        self._state = WebSocketState

    async def accept(self) -> None:
        """Complete the handshake unless that was done before."""
        if self._websocket.application_state is self._state.CONNECTING:
            await self._websocket.accept()

    async def receive(self) -> str | bytes | None:
        message = await self._websocket.receive()
        if message["type"] != "websocket.receive":
            return None
        # Servers may send the other kind as None beside it.
        text: str | None = message.get("text")
        data: bytes | None = message.get("bytes")
        return text if text is not None else data

    async def send(self, items: Sequence[str | bytes]) -> None:
        if self._websocket.client_state is not self._state.CONNECTED:
            raise ConnectionResetError("the client is gone")
        try:
            for item in items:
                kind = "text" if isinstance(item, str) else "bytes"
                await self._websocket.send({"type": "websocket.send", kind: item})
        except (self._gone, RuntimeError) as error:
            raise ConnectionResetError("the client is gone") from error

    async def close(self, code: int = 1000, reason: str = "") -> None:
        connected = self._state.CONNECTED
        if connected is not self._websocket.client_state:
            return
        if connected is not self._websocket.application_state:
            return
        # It may have ended meanwhile, which is what was asked for.
        with contextlib.suppress(self._gone, RuntimeError, OSError):
            await self._websocket.close(code, reason)


def peer(transport: Transport) -> str:
    """Who is at the other end, for the log: the attribute `peer` of transports that know it."""
    return getattr(transport, "peer", "") or "a client"


def as_transport(connection: Any) -> Transport:
    """A Transport as it is; a Starlette WebSocket, which has methods of the same names, wrapped."""
    return StarletteTransport(connection) if hasattr(connection, "client_state") else connection
