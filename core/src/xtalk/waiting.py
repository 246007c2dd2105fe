"""A client that has to wait: for a place, or for the models behind the server."""

from __future__ import annotations

from collections.abc import Callable

from xtalk.errors import ProtocolError
from xtalk.transport import Transport
from xtalk.wire import messages
from xtalk.wire.messages import ServerMessage
from xtalk.wire.protocol import ServerProtocol

__all__ = ["Waiting"]

KEPT_MESSAGES = 64
KEPT_CHARACTERS = 64 * 1024  # a thousand that wait must not fill the memory
FULL = (
    f"Only the first {KEPT_MESSAGES} messages, of {KEPT_CHARACTERS} characters together, are kept "
    "until the session begins, and this is more: send it again, and all that follow it, after "
    "session_info."
)


class Waiting:
    """Its pings are answered, and its first 64 messages kept for the session.

    Of more than those the newest are lost, since the first say what the client is; it is told so
    once. Audio is dropped: nobody listens yet.
    """

    def __init__(self, transport: Transport, wall_ms: Callable[[], int]) -> None:
        self.kept: list[str | bytes] = []
        self._transport = transport
        self._wall_ms = wall_ms
        self._protocol = ServerProtocol()
        self._room = KEPT_CHARACTERS
        self._told = False

    async def read(self) -> None:
        """Until the client is gone. Who cancels this loses no message."""
        while (item := await self._transport.receive()) is not None:
            if isinstance(item, str):
                await self._receive(item)

    async def send(self, message: ServerMessage) -> bool:
        """False when the client is gone."""
        try:
            await self._transport.send(self._protocol.send(message))
        except ConnectionError:
            return False
        return True

    async def _receive(self, text: str) -> None:
        try:
            message = self._protocol.receive_text(text)
        except ProtocolError as error:
            await self.send(messages.Error(message=str(error)))
            return
        if isinstance(message, messages.Ping):
            await self._answer(message)
        elif not self._told:
            await self._keep(text)

    async def _keep(self, text: str) -> None:
        self._room -= len(text)
        if self._room >= 0 and len(self.kept) < KEPT_MESSAGES:
            self.kept.append(text)
        else:
            self._told = True
            await self.send(messages.Error(message=FULL))

    async def _answer(self, ping: messages.Ping) -> None:
        sent, received = ping.timestamp or 0, self._wall_ms()
        await self.send(messages.Pong(client_timestamp=sent, server_recv_timestamp=received))
