"""Clauses that can be answered while somebody is still speaking."""

from __future__ import annotations

import pytest

from xtalk.clauses import Clause, Clauses, joined


def grow(text: str, *, step_s: float = 0.3, by: int = 1) -> tuple[list[Clause], list[str]]:
    """What becomes of a text that is recognised word by word: clauses and deltas."""
    clauses, given, deltas = Clauses(), [], []
    words = text.split()
    for count in range(by, len(words) + by, by):
        clauses.hear(" ".join(words[:count]), count * step_s)
        deltas.append(clauses.delta())
        given += clauses.take(count * step_s)
    rest = clauses.finish()
    return [*given, rest] if rest else given, deltas


def texts(given: list[Clause]) -> list[str]:
    return [clause.text for clause in given]


def test_a_clause_ends_at_a_mark_that_something_follows() -> None:
    given, _ = grow("the cat sat on the mat, and then it slept. nobody knows why it did")
    assert given == [
        Clause("the cat sat on the mat,", "mark"),
        Clause("and then it slept.", "mark"),
        Clause("nobody knows why it did", "end"),
    ]


def test_text_without_marks_is_cut_by_length() -> None:
    words = [f"word{n}" for n in range(30)]
    given, _ = grow(" ".join(words), step_s=0.1)
    assert [len(clause.text.split()) for clause in given] == [12, 12, 6]
    assert " ".join(texts(given)) == " ".join(words)
    assert [clause.reason for clause in given] == ["length", "length", "end"]


def test_and_by_time_where_somebody_speaks_slowly() -> None:
    given, _ = grow("one two three four five six seven eight", step_s=1.0)
    assert given[0] == Clause("one two three", "time")
    assert " ".join(texts(given)) == "one two three four five six seven eight"


@pytest.mark.parametrize(
    "text", ["it is 3.14 metres long", "at 10:30 we all went", "I saw Dr. Smith there today"]
)
def test_what_is_no_end_of_a_clause(text: str) -> None:
    assert texts(grow(text, step_s=0.1)[0]) == [text]


def test_a_short_piece_goes_with_the_next() -> None:
    given, _ = grow("Well, I do not know. Yes, I really do", step_s=0.1)
    assert texts(given) == ["Well, I do not know.", "Yes, I really do"]


def test_chinese_is_cut_at_its_marks() -> None:
    clauses, given = Clauses(), []
    for text in ("今天天气", "今天天气很好，我们", "今天天气很好，我们去公园"):
        clauses.hear(text, 0.0)
        given += clauses.take(0.0)
    assert texts(given) == ["今天天气很好，"]
    assert clauses.finish() == Clause("我们去公园", "end")


def test_words_that_still_change_are_not_given_out() -> None:
    clauses = Clauses()
    clauses.hear("I want to eat, ice", 0.0)
    assert clauses.take(0.0) == []  # only one transcript says so
    clauses.hear("I want two, eat ice cream today", 0.3)
    assert clauses.take(0.3) == []
    clauses.hear("I want two, eat ice cream today please", 0.6)
    assert texts(clauses.take(0.6)) == ["I want two,"]


def test_nothing_is_said_twice_when_the_recogniser_takes_words_back() -> None:
    clauses, given = Clauses(), []
    for text in ("one two three, four", "one two three, four five", "one two", "one two three"):
        clauses.hear(text, 0.0)
        given += clauses.take(0.0)
    assert texts(given) == ["one two three,"]
    assert clauses.finish() is None


def test_the_deltas_are_the_text() -> None:
    text = "the cat sat, on a mat and slept"
    clauses, deltas = Clauses(), []
    words = text.split()
    for count in range(1, len(words) + 1):
        clauses.hear(" ".join(words[:count]), 0.0)
        deltas.append(clauses.delta())
    assert deltas[:3] == ["the", " cat", " sat"]
    assert "".join(deltas) == text


def test_behind_a_clause_the_deltas_begin_anew() -> None:
    clauses = Clauses()
    clauses.hear("the cat sat, and", 0.0)
    clauses.delta()
    clauses.hear("the cat sat, and then", 0.0)
    clauses.delta()
    assert texts(clauses.take(0.0)) == ["the cat sat,"]
    assert clauses.delta() == "and then"
    assert clauses.delta() == ""


def test_restored_marks_end_clauses() -> None:
    clauses = Clauses()
    for text in ("the cat sat on the mat then it", "the cat sat on the mat then it slept"):
        clauses.hear(text, 0.0)
    bare = clauses.rest()
    clauses.restore(bare, "The cat sat on the mat, then it slept.")
    assert texts(clauses.take(0.0)) == ["The cat sat on the mat,"]
    assert clauses.finish() == Clause("then it slept", "end")


def test_other_words_than_those_asked_for_are_not_restored() -> None:
    clauses = Clauses()
    clauses.hear("the cat sat", 0.0)
    clauses.restore(clauses.rest(), "A dog ran, away.")
    clauses.restore("the hat", "The hat.")
    assert clauses.rest() == "the cat sat"


def test_pieces_are_joined_as_they_are_written() -> None:
    assert joined("one", "two") == "one two"
    assert joined("你好，", "世界") == "你好，世界"
    assert joined("", "two") == "two" and joined("one", "") == "one"
