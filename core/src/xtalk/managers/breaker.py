"""A limit for each call into a model that hears all the time, and a rest for one that hung."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

import anyio

from xtalk.errors import ModelBusy, ModelError
from xtalk.threads import Guard, exits_as_errors

__all__ = ["Breaker"]

log = logging.getLogger("xtalk.session")

CALL_LIMIT_S = 2.0
FIRST_REST_S = 2.0

M = TypeVar("M")
T = TypeVar("T")


class Breaker(Generic[M]):
    """A circuit breaker: a model that hung is left alone for twice as long as the last time.

    A call that hangs in a thread keeps it, and threads are few, so the rests never get shorter.
    Where it still hangs after its rest, that lasts until a copy of the model has opened.
    """

    def __init__(self, guard: Guard[M], *, spawn: Callable[..., object]) -> None:
        self._guard = guard
        self._spawn = spawn
        self._rest_s = FIRST_REST_S
        self.resting = False  # the model is to be left alone

    def trip(self) -> None:
        """The rest begins."""
        self.resting = True
        self._spawn(self._rest)

    async def call(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        """What the function brings, called with a lease and `args`.

        ModelError when it hangs, and the rest begins.
        """
        async with self._guard.lease() as lease:
            with anyio.move_on_after(CALL_LIMIT_S), exits_as_errors():
                return await function(lease, *args)
        self.trip()
        raise ModelError(f"the model did not answer within {CALL_LIMIT_S:g} s")

    async def _rest(self) -> None:
        while self.resting:
            await anyio.sleep(self._rest_s)
            self._rest_s *= 2
            try:
                async with self._guard.lease():
                    self.resting = False
            except ModelBusy as error:
                log.warning("%s", error)
