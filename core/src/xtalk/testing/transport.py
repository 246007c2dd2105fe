"""A connection in memory, with the far end in the test's hands."""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from collections.abc import Callable, Sequence

__all__ = ["MemoryTransport"]


class MemoryTransport:
    """`push` and `vanish` are the client; `sent` is all that it was sent, with times.

    `latency_s` delays every message in both directions, in order, as a network does.
    """

    def __init__(self, *, latency_s: float = 0.0) -> None:
        self.sent: list[tuple[float, str | bytes]] = []
        self.closed: tuple[int, str] | None = None
        self.stalled = False
        self._latency_s = latency_s
        self._inbox: deque[str | bytes | None] = deque()
        self._outbox: deque[str | bytes] = deque()
        self._line: deque[Callable[[], object]] = deque()
        self._arrived = asyncio.Event()
        self._reached = asyncio.Event()
        self._thaw = asyncio.Event()
        self._gone = False

    # --- the client's end -----------------------------------------------------------------------

    def push(self, item: str | bytes) -> None:
        """The client sends."""
        self._later(lambda: self._put(item))

    def vanish(self) -> None:
        """The client is gone, without a word."""
        self._later(lambda: self._put(None))

    def stall(self, stalled: bool = True) -> None:
        """The client does not read (any more)."""
        self.stalled = stalled
        if not stalled:
            self._thaw.set()

    async def next(self) -> str | bytes | None:
        """What reaches the client next; None when the server has closed."""
        while not self._outbox:
            if self.closed is not None:
                return None
            self._reached.clear()
            await self._reached.wait()
        return self._outbox.popleft()

    # --- the server's end -----------------------------------------------------------------------

    async def receive(self) -> str | bytes | None:
        while not self._inbox:
            if self._gone or self.closed is not None:
                return None
            self._arrived.clear()
            await self._arrived.wait()
        item = self._inbox.popleft()
        if item is None:
            self._gone = True
        return item

    async def send(self, items: Sequence[str | bytes]) -> None:
        while self.stalled and not self._gone:
            self._thaw.clear()
            await self._thaw.wait()
        if self._gone or self.closed is not None:
            raise ConnectionResetError("the client is gone")
        now = asyncio.get_running_loop().time()
        for item in items:
            self.sent.append((now, item))
            self._later(functools.partial(self._reach, item))

    async def close(self, code: int = 1000, reason: str = "") -> None:
        if self.closed is None:
            self.closed = (code, reason)
            self._arrived.set()
            self._later(self._reached.set)

    def _later(self, call: Callable[[], object]) -> None:
        if self._latency_s:
            # A loop's timers that are due together come in any order; what was said must not.
            self._line.append(call)
            asyncio.get_running_loop().call_later(self._latency_s, self._pass_on)
        else:
            call()

    def _pass_on(self) -> None:
        self._line.popleft()()

    def _put(self, item: str | bytes | None) -> None:
        if item is None:
            self._gone = True
            self._thaw.set()
        self._inbox.append(item)
        self._arrived.set()

    def _reach(self, item: str | bytes) -> None:
        self._outbox.append(item)
        self._reached.set()
