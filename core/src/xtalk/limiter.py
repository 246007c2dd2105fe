"""Admission: at most so many sessions at once, the rest queued in the order of their arrival."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio

from xtalk.transport import Transport, peer
from xtalk.waiting import Waiting
from xtalk.wire import messages
from xtalk.wire.protocol import ServerProtocol

__all__ = ["SessionLimiter", "Slot"]

log = logging.getLogger("xtalk.limiter")

NOTIFY_S = 5.0
QUEUE_LIMIT = 1000


class Slot:
    """A place, or the wait for one. `kept` is the text that the client sent while it waited."""

    def __init__(self) -> None:
        self.granted = anyio.Event()
        self.moved = anyio.Event()
        self.waiting = anyio.CancelScope()
        self.kept: list[str | bytes] = []


class SessionLimiter:
    """`max_sessions` of 0 or less lets everybody in."""

    def __init__(self, max_sessions: int = 0) -> None:
        self.max_sessions = max_sessions
        self._active: set[Slot] = set()
        self._queue: deque[Slot] = deque()

    @property
    def is_limited(self) -> bool:
        return self.max_sessions > 0

    def set_limit(self, max_sessions: int) -> None:
        """A new limit. Who is in stays in; who waits is let in as far as it allows."""
        self.max_sessions = max_sessions
        self._admit()

    def get_status(self) -> dict[str, Any]:
        return {
            "max_sessions": self.max_sessions,
            "active_sessions": len(self._active),
            "queue_length": len(self._queue),
            "is_limited": self.is_limited,
        }

    @asynccontextmanager
    async def slot(
        self, transport: Transport, wall_ms: Callable[[], int]
    ) -> AsyncIterator[Slot | None]:
        """A place for one session, after a wait if need be; None when the client went away.

        While it waits the client is told its position, at once, when it changes, and every 5 s,
        and its pings are answered.
        """
        slot = Slot()
        if self._has_room() and not self._queue:
            self._take(slot)
        elif len(self._queue) >= QUEUE_LIMIT:
            await _refuse(transport)
            yield None
            return
        else:
            self._queue.append(slot)
            log.info("%s is queued at place %d", peer(transport), len(self._queue))
        try:
            if not slot.granted.is_set():
                client = Waiting(transport, wall_ms)
                slot.kept = client.kept
                with slot.waiting:
                    await _Queued(self, slot, client).run()
            if slot.granted.is_set():
                yield slot
            else:
                log.info("%s waits no longer", peer(transport))
                yield None
        finally:
            self._leave(slot)

    def turn_away(self) -> None:
        """Whoever waits now waits in vain."""
        for slot in self._queue:
            slot.waiting.cancel()

    def position(self, slot: Slot) -> int:
        return self._queue.index(slot) + 1

    @property
    def active(self) -> int:
        return len(self._active)

    def _has_room(self) -> bool:
        return not self.is_limited or len(self._active) < self.max_sessions

    def _take(self, slot: Slot) -> None:
        self._active.add(slot)
        slot.granted.set()

    def _leave(self, slot: Slot) -> None:
        self._active.discard(slot)
        if slot in self._queue:
            self._queue.remove(slot)
            self._tell_queue()
        self._admit()

    def _admit(self) -> None:
        moved = False
        while self._queue and self._has_room():
            self._take(self._queue.popleft())
            moved = True
        if moved:
            self._tell_queue()

    def _tell_queue(self) -> None:
        for slot in self._queue:
            slot.moved.set()
            slot.moved = anyio.Event()


async def _refuse(transport: Transport) -> None:
    log.warning("%s is refused: %d wait already", peer(transport), QUEUE_LIMIT)
    error = messages.Error(message="The queue is full; try again later.")
    await transport.send(ServerProtocol().send(error))
    await transport.close(1013, "the queue is full")


class _Queued:
    """One client in the queue: tell it where it stands, and notice when it leaves."""

    def __init__(self, limiter: SessionLimiter, slot: Slot, client: Waiting) -> None:
        self._limiter = limiter
        self._slot = slot
        self._client = client

    async def run(self) -> None:
        """Until a place is granted or the client is gone."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._read, tasks.cancel_scope)
            tasks.start_soon(self._notify, tasks.cancel_scope)
            await self._slot.granted.wait()
            tasks.cancel_scope.cancel()
        if self._slot.granted.is_set():
            await self._client.send(messages.QueueGranted())

    async def _notify(self, scope: anyio.CancelScope) -> None:
        while not self._slot.granted.is_set():
            moved = self._slot.moved
            status = messages.QueueStatus(
                position=self._limiter.position(self._slot),
                limit=self._limiter.max_sessions,
                active=self._limiter.active,
            )
            if not await self._client.send(status):
                scope.cancel()
                return
            with anyio.move_on_after(NOTIFY_S):
                await moved.wait()

    async def _read(self, scope: anyio.CancelScope) -> None:
        await self._client.read()
        scope.cancel()
