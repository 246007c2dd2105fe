"""Work beside the conversation: on request, one call at a time, not too often, never waited for."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from xtalk.session import Session

__all__ = ["Background"]

log = logging.getLogger("xtalk.background")


class Background:
    """Calls `work` after it was asked for, `every_s` apart at least; requests meanwhile are one.

    Its task lives only while there is something to do, so an idle session has none. A call
    that never returns costs one task and one thread, and nothing else. One that raises is
    logged, and there is none for `retry_s`.
    """

    def __init__(
        self,
        session: Session,
        work: Callable[[], Awaitable[None]],
        *,
        every_s: float = 0.0,
        retry_s: float = 0.0,
    ) -> None:
        self._session = session
        self._work = work
        self._every_s = every_s
        self._retry_s = retry_s
        self._not_before = 0.0
        self._asked = False
        self._running = False

    def ask(self) -> None:
        """There is something to do."""
        self._asked = True
        if not self._running:
            self._running = True
            self._session.spawn(self._run)

    async def _run(self) -> None:
        now = self._session.clock.now
        while self._asked:
            await anyio.sleep(max(self._every_s, self._not_before - now()))
            self._asked = False
            try:
                await self._work()
            except Exception:
                # Whatever somebody's model raises: the conversation goes on without its help.
                log.exception("%s failed", getattr(self._work, "__qualname__", self._work))
                self._not_before = now() + self._retry_s
        self._running = False
