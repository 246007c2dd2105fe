"""Cutting, summing up and finding texts: no loop, no model but a scripted one."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xtalk.retrieval import BATCH, Lexical, Store, split, summarise, tokens

CITIES = (
    "Paris is the capital of France. It lies on the Seine.\n\n"
    "Berlin is the capital of Germany. Its river is the Spree.\n\n"
    "The Danube flows through Vienna, the capital of Austria.\n\n"
)


@given(st.text(st.sampled_from("ab .。\n!3é中"), max_size=600), st.integers(10, 80))
def test_nothing_is_lost_and_nothing_is_too_long(text: str, size: int) -> None:
    passages = split(text, size, size // 4)
    assert all(0 < len(passage) <= size for passage in passages)
    at = 0
    for passage in passages:
        # Each passage is found where the last one ended or before: no gap but white space.
        start = text.rindex(passage, 0, min(at + size + len(passage), len(text)))
        assert text[at:start].strip() == "" or start < at
        at = max(at, start + len(passage))
    assert text[at:].strip() == ""


def test_passages_end_where_the_text_does_something() -> None:
    sentence = "The value of pi is 3.14 and v1.2.3 of it is no sentence. "
    for passage in split(sentence * 30)[:-1]:
        assert passage.endswith("sentence.")
        assert 128 < len(passage) <= 256
    assert split("第一句话说明天气很好。" * 60)[0].endswith("。")
    assert split("a" * 200 + "\n\n" + "b. " * 60)[0] == "a" * 200
    assert split("word " * 100)[0].endswith("word")
    assert split("x" * 1000)[0] == "x" * 256


def test_passages_overlap_by_whole_words() -> None:
    first, second = split(" ".join(f"word{i}" for i in range(60)))[:2]
    overlap = second.split()[0]
    assert overlap in first.split()
    assert 0 < len(first) - first.index(overlap) <= 32


def test_an_overlap_that_would_never_end_is_refused() -> None:
    with pytest.raises(ValueError, match="less than half"):
        split("text", 20, 10)


def test_english_and_chinese_words() -> None:
    assert tokens("The Cat's 2 cats") == ["the", "cat", "s", "2", "cats"]
    assert tokens("北京 ok") == ["北", "京", "北京", "ok"]


def test_the_rarest_words_of_a_question_decide() -> None:
    store = Store()
    store.add(CITIES * 3)
    assert "Vienna" in store.search("what is the capital of Austria", 1)[0]
    store.add("北京是中国的首都。\n\n" + "上海是中国最大的城市。" * 20)
    assert "首都" in store.search("中国的首都是哪里？", 1)[0]
    assert store.search("zebra 斑马") == []


def test_the_best_comes_first_and_a_tie_stays_in_order() -> None:
    index = Lexical()
    index.add([Counter(tokens(t)) for t in ("a cat", "a dog", "cat cat dog", "a dog")])
    assert index.search("cat dog", 4) == [2, 0, 1, 3]
    assert index.search("dog", 2) == [1, 3]


def test_a_second_text_is_found_beside_the_first() -> None:
    store = Store()
    store.add("The first is about apples.")
    store.add("The second is about pears.")
    assert store.search("apples") == ["The first is about apples."]
    assert store.search("pears") == ["The second is about pears."]


class Colours:
    """Vectors by the colours in a text."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.error: Exception | None = None

    def embed_query(self, text: str) -> list[float]:
        if self.error is not None:
            raise self.error
        return [float(word in text) + 0.01 for word in ("red", "green", "blue")]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.batches.append(len(texts))
        return [self.embed_query(text) for text in texts]


def embedded(model: Any, *texts: str) -> Store:
    store = Store(model)
    for text in texts:
        store.add(text)
    while store.embed():
        pass
    return store


def test_vectors_find_by_meaning_and_come_in_batches() -> None:
    model = Colours()
    store = embedded(model, *(f"number {i} is red" for i in range(BATCH)), "a blue one", "green")
    assert model.batches == [BATCH, 2]
    assert store.search("something blue please", 1) == ["a blue one"]
    assert len(store.search("green", 5)) == 5


def test_words_find_until_every_passage_has_a_vector_and_when_the_model_is_gone(
    caplog: Any,
) -> None:
    model = Colours()
    store = embedded(model, "a blue sky")
    store.add("a blue sea")
    assert store.search("sea", 1) == ["a blue sea"]
    assert store.embed() is False
    assert store.search("sea", 1) == ["a blue sky"]  # no colour: both are as near
    model.error = OSError("down")
    assert store.search("sea", 1) == ["a blue sea"]
    assert caplog.records
    model.error = None
    store.give_up_vectors()
    assert store.search("sea", 1) == ["a blue sea"]


def test_a_model_that_embeds_too_little_is_refused() -> None:
    class Short(Colours):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return []

    store = Store(Short())
    store.add("text")
    with pytest.raises(ValueError, match="1 passages were embedded as 0 vectors"):
        store.embed()


def test_a_summary_is_made_of_telling_sentences_in_their_order() -> None:
    filler = [f"Well, so it goes on for item {i}, as ever." for i in range(9)]
    telling = "Solar panels turn sunlight into solar power, and solar power drives the solar pump."
    text = " ".join(["This report is about solar power.", *filler[:5], telling, *filler[5:]])
    found = summarise(text)
    assert found.startswith("This report is about solar power.")
    assert telling in found
    assert len(found) < len(text) / 2
    assert summarise("  A short one.  It stays. ") == "A short one.  It stays."
    assert len(summarise("。".join(["机器学习很有用处"] * 100)).split()) == 6
