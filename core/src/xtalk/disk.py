"""Write what a session leaves on disk off the event loop: in order, with bounded memory."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from xtalk.threads import run_in_thread

__all__ = ["Disk"]

log = logging.getLogger("xtalk.disk")

PERIOD_S = 1.0  # at most so much is lost when the process dies
WAITING_LIMIT = 32 * 1024 * 1024  # bytes; a disk that is so far behind is given up


class Disk:
    """Jobs that write, done one after the other in a thread, once a second.

    The first job that fails ends it: what follows would have a hole. The session goes on.
    `purpose` names it in the log.
    """

    def __init__(self, purpose: str) -> None:
        self.failed = False
        self._purpose = purpose
        self._jobs: deque[tuple[Callable[[], object], int]] = deque()
        # One counter for each thread, since neither may change the other's.
        self._put = self._done = 0
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def put(self, job: Callable[[], object], size: int) -> None:
        """Do this later; `size` is what it holds in memory, in bytes. Never blocks."""
        if self.failed:
            return
        self._jobs.append((job, size))
        self._put += size
        if self._put - self._done > WAITING_LIMIT:
            self._fail("the disk does not keep up")
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(PERIOD_S, self._due)

    def _due(self) -> None:
        loop = asyncio.get_running_loop()
        if self._task is not None and not self._task.done():
            self._timer = loop.call_later(PERIOD_S, self._due)
            return
        self._timer = None
        self._task = loop.create_task(run_in_thread(self._work))

    def _work(self) -> None:
        while True:
            try:
                job, size = self._jobs.popleft()
            except IndexError:  # the loop's thread may have emptied it at any time
                return
            try:
                job()
            except Exception as error:  # the boundary of this thread
                self._fail(str(error), None if isinstance(error, OSError) else error)
            self._done += size

    def _fail(self, why: str, bug: Exception | None = None) -> None:
        self.failed = True
        self._jobs.clear()
        log.error("%s ends here: %s", self._purpose, why, exc_info=bug)

    async def close(self, last: Callable[[], object]) -> None:
        """Do what is left, and then `last`, which closes the files also after a failure."""
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            await asyncio.wait([self._task])
        await run_in_thread(self._work)
        await run_in_thread(last)
