"""The suites of what works on texts, with models that keep and that break a promise."""

from __future__ import annotations

import random
import time
from itertools import pairwise
from typing import Any, ClassVar

import pytest
from judging import checks, suite_of

from xtalk.rewriter import Rewriter
from xtalk.speech.interfaces import EndOfTurn, PuntRestorer
from xtalk.testing.suites import (
    EmbeddingsSuite,
    PuntRestorerSuite,
    RewriterSuite,
    Suite,
    TurnDetectorSuite,
)
from xtalk.testing.suites.base import words
from xtalk.turn_detector import TextTurnDetector

# --- models that keep every promise ---------------------------------------------------------------


class ThreadDetector(TextTurnDetector):
    inline = False


class AsyncDetector(ThreadDetector):
    async def async_judge(self, text: str, **asked: Any) -> EndOfTurn:
        return self.judge(text, **asked)


class GoodRestorer(PuntRestorer):
    def restore(self, text: str) -> str:
        bare = text.strip().rstrip(".")
        return f"{bare[:1].upper()}{bare[1:]}." if bare else ""


class AsyncRestorer(GoodRestorer):
    async def async_restore(self, text: str) -> str:
        return self.restore(text)


class GoodEmbeddings:
    """Counts the letters of words, each pair of them in a place of its own."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        vector = [0.01] * 199
        for word in words(text):
            for pair in pairwise(word):
                vector[(31 * ord(pair[0]) + ord(pair[1])) % 199] += 1.0
        return vector


class GoodRewriter(Rewriter):
    def rewrite(self, text: str) -> str:
        return text.upper()


class AsyncRewriter(GoodRewriter):
    async def async_rewrite(self, text: str) -> str:
        return self.rewrite(text)


GOOD: list[tuple[type[Suite[Any]], type]] = [
    (TurnDetectorSuite, TextTurnDetector),
    (TurnDetectorSuite, ThreadDetector),
    (TurnDetectorSuite, AsyncDetector),
    (PuntRestorerSuite, GoodRestorer),
    (PuntRestorerSuite, AsyncRestorer),
    (EmbeddingsSuite, GoodEmbeddings),
    (RewriterSuite, GoodRewriter),
    (RewriterSuite, AsyncRewriter),
]


@pytest.mark.parametrize(
    ("base", "model", "check"),
    [(base, model, check) for base, model in GOOD for check in checks(base)],
)
def test_a_good_model_passes(base: type[Suite[Any]], model: type, check: str) -> None:
    getattr(suite_of(base, model), check)({})


# --- models that break one promise each -----------------------------------------------------------


class Impatient(TextTurnDetector):
    def judge(self, text: str, **asked: Any) -> EndOfTurn:
        return EndOfTurn(kind="complete")


class Patient(TextTurnDetector):
    def judge(self, text: str, **asked: Any) -> EndOfTurn:
        return EndOfTurn(kind="incomplete")


class Percent(TextTurnDetector):
    def judge(self, text: str, **asked: Any) -> EndOfTurn:
        return EndOfTurn(kind="complete", confidence=99.0)


class Counting(TextTurnDetector):
    """Gives in when it has been asked often enough."""

    asked = 0

    def judge(self, text: str, **asked: Any) -> EndOfTurn:
        self.asked += 1
        verdict = super().judge(text, **asked)
        return verdict if self.asked < 6 else EndOfTurn(kind="complete")


class OtherAsyncDetector(ThreadDetector):
    async def async_judge(self, text: str, **asked: Any) -> EndOfTurn:
        return EndOfTurn(kind="reject")


class SharedDetector(ThreadDetector):
    texts: ClassVar[list[str]] = [""]

    def judge(self, text: str, **asked: Any) -> EndOfTurn:
        self.texts[0] = text
        time.sleep(0.05)
        return super().judge(self.texts[0], **asked)


class SlowDetector(TextTurnDetector):
    def judge(self, text: str, **asked: Any) -> EndOfTurn:
        time.sleep(0.006)
        return super().judge(text, **asked)


class VerySlowDetector(ThreadDetector):
    def judge(self, text: str, **asked: Any) -> EndOfTurn:
        time.sleep(0.21)
        return super().judge(text, **asked)


class Lazy(GoodRestorer):
    def restore(self, text: str) -> str:
        return text


class Editor(GoodRestorer):
    def restore(self, text: str) -> str:
        return super().restore(text.replace("i am", "I'm very"))


class Stopping(GoodRestorer):
    def restore(self, text: str) -> str:
        return super().restore(text) or "."


class Ascii(GoodRestorer):
    def restore(self, text: str) -> str:
        return super().restore(text.encode("ascii").decode())


class Confused(GoodRestorer):
    """Reads its own marks as words."""

    def restore(self, text: str) -> str:
        return super().restore(text.replace(".", " period"))


class OtherAsyncRestorer(GoodRestorer):
    async def async_restore(self, text: str) -> str:
        return self.restore(text) + "!"


class SharedRestorer(GoodRestorer):
    def restore(self, text: str) -> str:
        self.text = text
        time.sleep(0.05)
        return super().restore(self.text)


class BlockingRestorer(GoodRestorer):
    async def async_restore(self, text: str) -> str:
        time.sleep(1.2 if len(text) > 500 else 0)  # noqa: ASYNC251
        return self.restore(text)


class Growing(GoodEmbeddings):
    def embed_query(self, text: str) -> list[float]:
        return super().embed_query(text)[: len(text)]


class Sorting(GoodEmbeddings):
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return super().embed_documents(sorted(texts))


class Deaf(GoodEmbeddings):
    def embed_query(self, text: str) -> list[float]:
        return [1.0, 1.0, 1.0]


class Company(GoodEmbeddings):
    """A text depends on those around it."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return super().embed_documents([f"{text} {' '.join(texts)}" for text in texts])


class AsciiEmbeddings(GoodEmbeddings):
    def embed_query(self, text: str) -> list[float]:
        return super().embed_query(text.encode("ascii").decode())


class SharedEmbeddings(GoodEmbeddings):
    def embed_query(self, text: str) -> list[float]:
        self.text = text
        time.sleep(0.05)
        return super().embed_query(self.text)


class Mute(GoodRewriter):
    def rewrite(self, text: str) -> str:
        return " "


class OtherAsyncRewriter(GoodRewriter):
    async def async_rewrite(self, text: str) -> str:
        return text.lower()


class Moody(GoodRewriter):
    def rewrite(self, text: str) -> str:
        return f"{text} {random.random()}"


class SharedRewriter(GoodRewriter):
    def rewrite(self, text: str) -> str:
        self.text = text
        time.sleep(0.05)
        return super().rewrite(self.text)


class BlockingRewriter(GoodRewriter):
    async def async_rewrite(self, text: str) -> str:
        time.sleep(1.2 if len(text) > 500 else 0)  # noqa: ASYNC251
        return self.rewrite(text)


BROKEN: list[tuple[type[Suite[Any]], type, str]] = [
    (TurnDetectorSuite, Patient, "test_a_finished_text_is_a_turn"),
    (TurnDetectorSuite, Impatient, "test_an_unfinished_text_is_waited_for"),
    (TurnDetectorSuite, Percent, "test_every_verdict_is_one"),
    (TurnDetectorSuite, Counting, "test_asking_again_changes_nothing"),
    (TurnDetectorSuite, OtherAsyncDetector, "test_async_is_the_same"),
    (TurnDetectorSuite, SharedDetector, "test_eight_clones_at_once_judge_as_if_alone"),
    (TurnDetectorSuite, SlowDetector, "test_it_is_quick_enough"),
    (TurnDetectorSuite, VerySlowDetector, "test_it_is_quick_enough"),
    (PuntRestorerSuite, Lazy, "test_it_punctuates"),
    (PuntRestorerSuite, Editor, "test_the_words_stay_as_they_are"),
    (PuntRestorerSuite, Stopping, "test_no_text_is_no_text"),
    (PuntRestorerSuite, Ascii, "test_no_text_does_harm"),
    (PuntRestorerSuite, Confused, "test_what_is_punctuated_keeps_its_words"),
    (PuntRestorerSuite, OtherAsyncRestorer, "test_async_is_the_same"),
    (PuntRestorerSuite, SharedRestorer, "test_eight_sessions_at_once_get_what_is_theirs"),
    (PuntRestorerSuite, BlockingRestorer, "test_it_is_given_up_at_once"),
    (EmbeddingsSuite, Growing, "test_every_text_is_a_vector_of_one_length"),
    (EmbeddingsSuite, Sorting, "test_vectors_come_in_the_order_of_the_texts"),
    (EmbeddingsSuite, Deaf, "test_a_question_is_nearest_to_its_answer"),
    (EmbeddingsSuite, Company, "test_a_text_alone_is_as_among_others"),
    (EmbeddingsSuite, AsciiEmbeddings, "test_no_text_does_harm"),
    (EmbeddingsSuite, SharedEmbeddings, "test_eight_sessions_at_once_get_what_is_theirs"),
    (RewriterSuite, Mute, "test_it_rewrites"),
    (RewriterSuite, OtherAsyncRewriter, "test_async_is_the_same"),
    (RewriterSuite, Moody, "test_no_text_does_harm"),
    (RewriterSuite, SharedRewriter, "test_eight_sessions_at_once_get_what_is_theirs"),
    (RewriterSuite, BlockingRewriter, "test_it_is_given_up_at_once"),
]


@pytest.mark.parametrize(("base", "model", "check"), BROKEN)
def test_a_broken_model_fails(base: type[Suite[Any]], model: type, check: str) -> None:
    with pytest.raises((Exception, pytest.fail.Exception)):
        getattr(suite_of(base, model), check)({})


@pytest.mark.parametrize(
    "base", [TurnDetectorSuite, PuntRestorerSuite, EmbeddingsSuite, RewriterSuite]
)
def test_every_check_has_a_model_that_fails_it(base: type[Suite[Any]]) -> None:
    assert {check for suite, _, check in BROKEN if suite is base} == set(checks(base))
