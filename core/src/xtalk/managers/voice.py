"""The voice of a session: one speaker at a time, who first grants what was asked of the voice.

A wish (another voice, emotion or speed) is granted in the model's thread, under its lease, by
whoever has that next: the next sentence, or a task of its own while nothing is being said. A
model that takes another's place is told what was granted before.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import anyio

from xtalk.calls import adjust
from xtalk.errors import ModelTimeout
from xtalk.speech.interfaces import TTS
from xtalk.threads import Guard, Lease

__all__ = ["Voice", "Wish"]

log = logging.getLogger("xtalk.tts")

WAITING = 16  # wishes; one that comes when so many wait is refused


def _nothing() -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Wish:
    """`make` changes `what` of the model, and raises where it cannot. One of the others follows."""

    what: str
    make: Callable[[Any], object]
    granted: Callable[[], object] = _nothing
    refused: Callable[[], object] = _nothing


class Voice:
    """A guard, and the wishes. `patience_s`: after so long a wish has failed."""

    def __init__(
        self, guard: Guard[TTS], *, spawn: Callable[..., object], patience_s: float
    ) -> None:
        self.guard = guard
        self._spawn = spawn
        self._patience_s = patience_s
        self._told = guard.model  # knows what was granted
        self._granter: Lease[TTS] | None = None  # the last that began to grant
        self._granted: dict[str, Wish] = {}
        self._asked: deque[Wish] = deque()
        self._waits = False

    def ask(self, wish: Wish) -> None:
        """Have a wish granted before the next sentence."""
        if len(self._asked) >= WAITING:
            wish.refused()
            return
        self._asked.append(wish)
        if not self._waits:
            self._waits = True
            self._spawn(self._grant_when_free)

    def remember(self, wish: Wish) -> None:
        """Something was granted without this model: one in its place may have to do it."""
        self._granted[wish.what] = replace(wish, granted=_nothing, refused=_nothing)

    @asynccontextmanager
    async def lease(self, *, patient: bool = False) -> AsyncIterator[Lease[TTS]]:
        """The model, alone and as it was asked to be.

        Raises what `Guard.lease` raises, and ModelTimeout when a wish takes too long.
        """
        async with self.guard.lease(patient=patient) as lease:
            await self._grant(lease)
            yield lease

    async def _grant_when_free(self) -> None:
        while self._asked:
            with suppress(ModelTimeout):  # whoever asked was told
                async with self.lease(patient=True):
                    pass
        self._waits = False

    async def _grant(self, lease: Lease[TTS]) -> None:
        if lease.model is not self._told:
            self._told = lease.model
            self._asked.extendleft(reversed(self._granted.values()))
        self._granter = lease
        with lease.spared():
            while self._asked and self._granter is lease:
                # It stays in front until it is answered: who has the lease may be cancelled.
                made = False
                with anyio.move_on_after(self._patience_s) as limit:
                    made = await self._make(self._asked[0], lease)
                if self._granter is lease:  # or it is for the model in this one's place
                    self._answer(made)
                if limit.cancelled_caught:
                    raise ModelTimeout(f"A voice did not change in {self._patience_s:g} s.")

    def _answer(self, made: bool) -> None:
        wish = self._asked.popleft()
        if made:
            self.remember(wish)
            wish.granted()
        else:
            wish.refused()

    async def _make(self, wish: Wish, lease: Lease[TTS]) -> bool:
        try:
            await adjust(lease, wish.make)
        except Exception as error:
            # Unknown names are ordinary: the client or the agent made them up.
            log.info("the voice refused its %s: %s", wish.what, type(error).__name__)
            return False
        return True
