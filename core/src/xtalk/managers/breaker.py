"""A limit for each call into a model that hears all the time, and a rest for one that hung."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import anyio

from xtalk.errors import ModelError

if TYPE_CHECKING:
    from xtalk.session import Session

__all__ = ["Breaker"]

CALL_LIMIT_S = 2.0
FIRST_REST_S = 2.0

T = TypeVar("T")


class Breaker:
    """A circuit breaker: a model that hung is left alone for twice as long as the last time.

    A call that hangs in a thread keeps it, and threads are few, so the rests never get shorter.
    """

    def __init__(self, session: Session) -> None:
        self._now = session.clock.now
        self._limit_s = CALL_LIMIT_S + session.config["clone_patience_sec"]
        self._until = float("-inf")
        self._rest_s = FIRST_REST_S

    @property
    def resting(self) -> bool:
        """Whether the model is to be left alone."""
        return self._now() < self._until

    def trip(self) -> None:
        """The rest begins."""
        self._until = self._now() + self._rest_s
        self._rest_s *= 2

    async def call(self, function: Callable[..., Awaitable[T]], *args: object) -> T:
        """What a call under a lease brings. ModelError when it hangs, and the rest begins."""
        with anyio.move_on_after(self._limit_s):
            return await function(*args)
        self.trip()
        raise ModelError(f"the model did not answer within {self._limit_s:g} s")
