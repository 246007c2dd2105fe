"""What every model of embeddings must do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from xtalk.model_types import Embeddings
from xtalk.testing.suites.base import ODD_TEXTS, SESSIONS, Suite, at_once, shared
from xtalk.threads import run_in_thread

__all__ = ["EmbeddingsSuite"]


class EmbeddingsSuite(Suite[Embeddings]):
    """Text to vectors. `query` asks for the first of `texts`, and for none of the others."""

    slot = "embeddings"
    texts: ClassVar[Sequence[str]] = (
        "the code of the front door is four seven one one",
        "tea is best with a little milk",
        "the train to the coast leaves at noon",
    )
    query: ClassVar[str] = "which code opens the front door"

    @shared
    async def test_every_text_is_a_vector_of_one_length(self, model: Embeddings) -> None:
        vectors = [*await documents(model, self.texts), await query(model, self.query)]
        assert len(vectors) == len(self.texts) + 1
        assert len({len(vector) for vector in vectors}) == 1 and len(vectors[0]) > 1
        assert all(math.isfinite(value) for vector in vectors for value in vector)
        assert all(any(vector) for vector in vectors), "a vector of zeros is like nothing"

    @shared
    async def test_vectors_come_in_the_order_of_the_texts(self, model: Embeddings) -> None:
        there = await documents(model, self.texts)
        back = await documents(model, self.texts[::-1])
        assert all(near(*pair) > 0.999 for pair in zip(there, back[::-1], strict=True))

    @shared
    async def test_a_question_is_nearest_to_its_answer(self, model: Embeddings) -> None:
        asked = await query(model, self.query)
        right, *wrong = [near(asked, vector) for vector in await documents(model, self.texts)]
        assert right > max(wrong)

    @shared
    async def test_a_text_alone_is_as_among_others(self, model: Embeddings) -> None:
        together = await documents(model, self.texts)
        for text, vector in zip(self.texts, together, strict=True):
            [alone] = await documents(model, [text])
            assert near(alone, vector) > 0.999

    @shared
    async def test_no_text_does_harm(self, model: Embeddings) -> None:
        expected = await query(model, self.query)
        odd = [*ODD_TEXTS, "a long text " * 300]
        assert len(await documents(model, odd)) == len(odd)
        assert near(await query(model, self.query), expected) > 0.999

    @shared
    async def test_eight_sessions_at_once_get_what_is_theirs(self, model: Embeddings) -> None:
        texts = (list(self.texts) * SESSIONS)[:SESSIONS]
        alone = [await query(model, text) for text in texts]
        asking: list[Any] = [lambda text=text: query(model, text) for text in texts]
        for found, expected in zip(await at_once(asking), alone, strict=True):
            assert near(found, expected) > 0.999


async def documents(model: Embeddings, texts: Sequence[str]) -> list[list[float]]:
    """The vectors of the texts; called in a thread, as the engine does."""
    return await run_in_thread(model.embed_documents, list(texts))


async def query(model: Embeddings, text: str) -> list[float]:
    return await run_in_thread(model.embed_query, text)


def near(one: Sequence[float], other: Sequence[float]) -> float:
    """The cosine of two vectors, 0 where one of them is nothing."""
    norm = math.hypot(*one) * math.hypot(*other)
    return sum(a * b for a, b in zip(one, other, strict=True)) / norm if norm else 0.0
