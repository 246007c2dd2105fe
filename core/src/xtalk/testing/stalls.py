"""How long the machine stood still: what a test in real time cannot be asked to survive."""

from __future__ import annotations

import threading
import time
from types import TracebackType

__all__ = ["StallWatch"]

EVERY_S = 0.01


class StallWatch:
    """While it is entered, a thread sleeps 10 ms again and again; `worst_s` is its worst delay."""

    def __init__(self) -> None:
        self.worst_s = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="xtalk-stalls", daemon=True)

    def __enter__(self) -> StallWatch:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        due = time.monotonic() + EVERY_S
        while not self._over.wait(EVERY_S):
            now = time.monotonic()
            self.worst_s = max(self.worst_s, now - due)
            due = now + EVERY_S
