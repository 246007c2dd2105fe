"""An event loop whose clock jumps to the next timer as soon as nothing is left to do.

A conversation of thirty seconds takes milliseconds and its times are exact. When nothing is
ready, no timer is set and no thread works, nothing can ever happen again: that raises
VirtualDeadlock at once, so a stuck state is found by itself.

It cannot cover sockets and processes: the clock would jump while they work. Where only the order
of limits matters it may, once nothing has come for `patience_s` of real time.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

from xtalk.threads import in_flight

__all__ = ["VirtualDeadlock", "VirtualTimeLoop", "run"]

T = TypeVar("T")

THREAD_LIMIT_S = 10.0
SETTLE_S = 1.0


class VirtualDeadlock(RuntimeError):
    """Nothing is ready, no timer is set, no thread works: the program waits for ever."""


class _Jumping(selectors.BaseSelector):
    """A selector that moves the loop's clock instead of waiting."""

    def __init__(self, loop: VirtualTimeLoop, patience_s: float) -> None:
        self._loop = loop
        self._patience_s = patience_s
        self._inner = selectors.DefaultSelector()

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = self._inner.select(0 if timeout == 0 else self._patience_s)
        if ready or timeout == 0:
            return ready
        if in_flight(self._loop) or (timeout is None and self._patience_s):
            ready = self._inner.select(THREAD_LIMIT_S)
            if not ready:
                raise VirtualDeadlock(f"others have worked for {THREAD_LIMIT_S:g} real seconds")
            return ready
        if timeout is None:
            raise VirtualDeadlock("nothing is ready and no timer is set")
        self._loop.jump(timeout)
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._inner.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._inner.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._inner.modify(fileobj, events, data)

    def get_map(self) -> Any:
        return self._inner.get_map()

    def close(self) -> None:
        self._inner.close()


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An asyncio loop in virtual time; it starts at 1000 s."""

    def __init__(self, patience_s: float = 0.0) -> None:
        self._virtual = 1000.0
        super().__init__(_Jumping(self, patience_s))

    def time(self) -> float:
        return self._virtual

    def jump(self, seconds: float) -> None:
        # A hair more than asked, or rounding leaves the timer just ahead of the clock for ever.
        self._virtual += max(0.0, seconds) + 1e-9


def run(main: Coroutine[Any, Any, T], *, patience_s: float = 0.0) -> T:
    """Run a coroutine to its end in virtual time; tasks that it leaves behind are an error.

    With sockets, `patience_s` is how long nothing may come before the clock jumps, in real seconds.
    """
    loop = VirtualTimeLoop(patience_s)
    try:
        asyncio.set_event_loop(loop)
        result = loop.run_until_complete(main)
        left = _running(loop)
        if left and patience_s:  # a library may still be ending what was called off
            loop.run_until_complete(asyncio.wait(left, timeout=SETTLE_S))
            left = _running(loop)
        if left:
            for task in left:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            names = ", ".join(sorted(_name(task) for task in left))
            raise AssertionError(f"left running: {names}")
        return result
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        if patience_s:  # which also covers the threads that look up names
            loop.run_until_complete(loop.shutdown_default_executor())
        asyncio.set_event_loop(None)
        loop.close()


def _running(loop: asyncio.AbstractEventLoop) -> list[asyncio.Task[Any]]:
    return [task for task in asyncio.all_tasks(loop) if not task.done()]


def _name(task: asyncio.Task[Any]) -> str:
    return str(getattr(task.get_coro(), "__qualname__", task.get_name()))
