"""The open connections, so that the server can count them and end them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import anyio

from xtalk.transport import Transport

__all__ = ["Connections"]

GOODBYE_S = 3.0


class Connections:
    """`draining`: those that are open may come to their end, and there will be no others."""

    def __init__(self) -> None:
        self.draining = False
        self._open: dict[Transport, anyio.CancelScope] = {}
        self._empty = anyio.Event()

    def __len__(self) -> int:
        return len(self._open)

    @contextmanager
    def holding(self, transport: Transport) -> Iterator[None]:
        """Count this connection; what runs inside is cancelled if it outlives `end`."""
        with anyio.CancelScope() as scope:
            self._open[transport] = scope
            try:
                yield
            finally:
                del self._open[transport]
                if not self._open:
                    self._empty.set()

    async def end(self) -> None:
        """Close every connection with 1001; cancel what has not ended 3 s later."""
        self._empty = anyio.Event()
        for transport in list(self._open):
            await transport.close(1001, "the server is stopping")
        if self._open:
            with anyio.move_on_after(GOODBYE_S):
                await self._empty.wait()
        for scope in self._open.values():
            scope.cancel()
