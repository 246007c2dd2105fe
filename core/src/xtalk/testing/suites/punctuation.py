"""What every restorer of punctuation must do."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any, ClassVar

from xtalk.speech.interfaces import PuntRestorer
from xtalk.testing.suites.base import (
    ODD_TEXTS,
    SESSIONS,
    Suite,
    at_once,
    given_up,
    letters,
    shared,
)
from xtalk.threads import run_in_thread

__all__ = ["PuntRestorerSuite"]


class PuntRestorerSuite(Suite[PuntRestorer]):
    """A restorer of punctuation. `texts` are transcripts without any, in its languages."""

    slot = "punt_restorer"
    texts: ClassVar[Sequence[str]] = (
        "hello how are you i am fine thank you",
        "what time is it i have to leave soon",
    )

    @shared
    async def test_it_punctuates(self, restorer: PuntRestorer) -> None:
        for text in self.texts:
            assert marks(await restorer.async_restore(text)) > marks(text)

    @shared
    async def test_the_words_stay_as_they_are(self, restorer: PuntRestorer) -> None:
        for text in (*self.texts, " ".join([*self.texts] * 5)):
            assert letters(await restorer.async_restore(text)) == letters(text)

    @shared
    async def test_no_text_is_no_text(self, restorer: PuntRestorer) -> None:
        for text in ("", " ", "\n"):
            assert (await restorer.async_restore(text)).strip() == ""

    @shared
    async def test_no_text_does_harm(self, restorer: PuntRestorer) -> None:
        expected = await restorer.async_restore(self.texts[0])
        for text in ODD_TEXTS:
            assert isinstance(await restorer.async_restore(text), str)
        assert await restorer.async_restore(self.texts[0]) == expected

    @shared
    async def test_what_is_punctuated_keeps_its_words(self, restorer: PuntRestorer) -> None:
        for text in self.texts:
            once = await restorer.async_restore(text)
            assert letters(await restorer.async_restore(once)) == letters(text)

    @shared
    async def test_async_is_the_same(self, restorer: PuntRestorer) -> None:
        for text in self.texts:
            found = await restorer.async_restore(text)
            assert found == await run_in_thread(restorer.restore, text)

    @shared
    async def test_eight_sessions_at_once_get_what_is_theirs(self, restorer: PuntRestorer) -> None:
        texts = (list(self.texts) * SESSIONS)[:SESSIONS]
        alone = [await restorer.async_restore(text) for text in texts]
        asking: list[Any] = [lambda text=text: restorer.async_restore(text) for text in texts]
        assert await at_once(asking) == alone

    @shared
    async def test_it_is_given_up_at_once(self, restorer: PuntRestorer) -> None:
        expected = await restorer.async_restore(self.texts[0])
        await given_up(lambda: restorer.async_restore(" ".join([*self.texts] * 20)))
        assert await restorer.async_restore(self.texts[0]) == expected


def marks(text: str) -> int:
    """How many marks of punctuation there are."""
    return sum(unicodedata.category(character).startswith("P") for character in text)
