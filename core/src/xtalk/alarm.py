"""One timer for whatever is due next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["Alarm"]


class Alarm:
    """Calls `ring` at the time that was set last, or before it.

    An alarm that rings too early costs one question for nothing, so a later time keeps the timer
    that is there: most times are put off many times before they come.
    """

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._timer: asyncio.TimerHandle | None = None

    def set(self, at: float | None) -> None:
        """Ring at that time of the loop; None asks for nothing."""
        if at is None or (self._timer is not None and self._timer.when() <= at):
            return
        self.cancel()
        self._timer = asyncio.get_running_loop().call_at(at, self._due)

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _due(self) -> None:
        self._timer = None
        self._ring()
