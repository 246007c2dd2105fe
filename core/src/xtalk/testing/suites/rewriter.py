"""What every rewriter must do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from xtalk.rewriter import Rewriter
from xtalk.testing.suites.base import ODD_TEXTS, SESSIONS, Suite, at_once, given_up, shared
from xtalk.threads import run_in_thread

__all__ = ["RewriterSuite"]


class RewriterSuite(Suite[Rewriter]):
    """A rewriter of captions; of thoughts with `slot = "thought_rewriter"`."""

    slot = "caption_rewriter"
    texts: ClassVar[Sequence[str]] = (
        "The recording holds a calm female voice, with a dog that barks far away.",
        "A man speaks fast and loudly; he may be upset.",
    )

    @shared
    async def test_it_rewrites(self, rewriter: Rewriter) -> None:
        for text in self.texts:
            assert (await rewriter.async_rewrite(text)).strip()

    @shared
    async def test_async_is_the_same(self, rewriter: Rewriter) -> None:
        for text in self.texts:
            found = await rewriter.async_rewrite(text)
            assert found == await run_in_thread(rewriter.rewrite, text)

    @shared
    async def test_no_text_does_harm(self, rewriter: Rewriter) -> None:
        expected = await rewriter.async_rewrite(self.texts[0])
        for text in ("", *ODD_TEXTS):
            assert isinstance(await rewriter.async_rewrite(text), str)
        assert await rewriter.async_rewrite(self.texts[0]) == expected

    @shared
    async def test_eight_sessions_at_once_get_what_is_theirs(self, rewriter: Rewriter) -> None:
        texts = (list(self.texts) * SESSIONS)[:SESSIONS]
        alone = [await rewriter.async_rewrite(text) for text in texts]
        asking: list[Any] = [lambda text=text: rewriter.async_rewrite(text) for text in texts]
        assert await at_once(asking) == alone

    @shared
    async def test_it_is_given_up_at_once(self, rewriter: Rewriter) -> None:
        expected = await rewriter.async_rewrite(self.texts[0])
        await given_up(lambda: rewriter.async_rewrite(" ".join([*self.texts] * 20)))
        assert await rewriter.async_rewrite(self.texts[0]) == expected
