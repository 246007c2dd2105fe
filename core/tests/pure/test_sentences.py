"""Sentences of a reply that is still being written."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xtalk.sentences import Splitter, plain


def split(text: str, tokens: list[str] | None = None) -> list[str]:
    splitter = Splitter()
    pieces = []
    for token in re.findall(r"\s*\S+|\s+$", text) if tokens is None else tokens:
        pieces += splitter.push(token)
    pieces += splitter.flush()
    assert "".join(piece.text for piece in pieces) == text
    at = 0
    for number, piece in enumerate(pieces):
        assert piece.index == number
        assert piece.span == (at, at + len(piece.text))
        at = piece.span[1]
    return [piece.text.strip() for piece in pieces]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("It is 3.14 metres. Then we go.", ["It is 3.14 metres.", "Then we go."]),
        ("Dr. Smith said so. He knows.", ["Dr. Smith said so.", "He knows."]),
        ("Fruit, e.g. apples, is good. Eat it.", ["Fruit, e.g. apples, is good.", "Eat it."]),
        ("Come at 10:30 p.m. or so. Good.", ["Come at 10:30 p.m. or so.", "Good."]),
        ("It ends at 5 p.m. Then we go home.", ["It ends at 5 p.m.", "Then we go home."]),
        ("Look at https://a.com/x?y=1 now. Done.", ["Look at https://a.com/x?y=1 now.", "Done."]),
        ("Ask me@example.org today. Bye now.", ["Ask me@example.org today.", "Bye now."]),
        ("J. R. Hartley wrote it. Yes he did.", ["J. R. Hartley wrote it.", "Yes he did."]),
        ("The U.S. is big. So is China.", ["The U.S. is big.", "So is China."]),
        ("It costs 3. Then it cost 1,000.", ["It costs 3.", "Then it cost 1,000."]),
        ('"Stop!" she said. Then he went.', ['"Stop!"', "she said.", "Then he went."]),
        ("Good (he left.) And then more.", ["Good (he left.)", "And then more."]),
        ("他说：“你好。”然后走了。好", ["他说：“你好。”", "然后走了。", "好"]),
        ("First line\nSecond line", ["First line", "Second line"]),
        ("It was 1998. The year was good.", ["It was 1998.", "The year was good."]),
        ("Version 2.0.1 is out; do try it.", ["Version 2.0.1 is out; do try it."]),
        ("So do I. It is late by now.", ["So do I.", "It is late by now."]),
        ("你好。今天天气很好！我们走吧。", ["你好。", "今天天气很好！", "我们走吧。"]),
        ("Hello there! No. Yes. Go on.", ["Hello there!", "No. Yes.", "Go on."]),
    ],
)
def test_sentences_end_where_a_reader_ends_them(text: str, sentences: list[str]) -> None:
    assert split(text) == sentences


def test_a_clear_end_does_not_wait_for_the_next_token() -> None:
    splitter = Splitter()
    assert [s.spoken for s in splitter.push("A lazy dog.")] == ["A lazy dog."]
    assert not splitter.doubtful


def test_a_doubtful_stop_waits_until_it_is_settled() -> None:
    splitter = Splitter()
    assert splitter.push("It costs 3.") == []
    assert splitter.doubtful
    assert [s.spoken for s in splitter.settle()] == ["It costs 3."]
    splitter = Splitter()
    assert splitter.push("It costs 3.") == []
    assert splitter.push("50 now") == []
    assert not splitter.doubtful


def test_the_first_clause_comes_early_and_later_ones_do_not() -> None:
    text = "When the weather is as fine as this, we go out, and when it rains, we stay."
    assert split(text) == [
        "When the weather is as fine as this,",
        "we go out, and when it rains, we stay.",
    ]


def test_a_chinese_clause_is_early_after_eight_characters() -> None:
    assert [s.text for s in Splitter().push("如果明天天气很好，")] == ["如果明天天气很好，"]


def test_what_cannot_be_spoken_joins_what_can() -> None:
    splitter = Splitter()
    sentences = splitter.push("😀!\n\n---\nHello there.")
    assert [(s.spoken, s.span) for s in sentences] == [("Hello there.", (0, 20))]


def test_nothing_is_longer_than_a_voice_takes() -> None:
    for text in ("word " * 400, "今天天气很好" * 100, "a" * 1000):
        assert max(map(len, split(text))) <= 241


TEXT = st.text(st.sampled_from(list('ab A.!?,:;\n 3"()“”。，你好-*#/…')), max_size=80)


@given(TEXT)
def test_no_character_is_lost_or_doubled(text: str) -> None:
    split(text, list(text))
    split(text, [text])


@given(TEXT)
def test_only_the_last_sentence_may_be_mute(text: str) -> None:
    splitter = Splitter()
    assert all(sentence.spoken for sentence in splitter.push(text))


# Where a stop behind a plain word touches the next word, only the tokens can tell.
CLEAR = st.lists(
    st.sampled_from(
        [
            "Hello there",
            "3.14",
            "e.g. this",
            "Dr. No",
            "fine!",
            "really?",
            "yes.",
            "“好。”",
            "然后。",
            "at 10:30",
            "(so it is.)",
            "it costs 3.",
            "well,",
            "one;",
            "two:",
            "line\n",
        ]
    ),
    max_size=12,
).map(" ".join)


@given(CLEAR, st.data())
def test_the_tokens_make_no_difference(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)))))
    tokens = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert split(text, tokens) == split(text, list(text))


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("**Bold** and _slanted_ and `code`.", "Bold and slanted and code."),
        ("# Title", "Title"),
        ("- an item", "an item"),
        ("See [the page](https://x.org/a).", "See the page."),
        ("Well-known: 3.14, #1, 2 * 3, snake_case, 50%.",) * 2,
        ("Good 😀!", "Good !"),
        ("!! 😀 **", ""),
        ("---", ""),
        ("-5 degrees", "-5 degrees"),
        ("1. First", "1. First"),
        ("2*3*4 is twenty-four", "2*3*4 is twenty-four"),
        ("It costs $5.", "It costs $5."),
        ("2**10 is 1024.", "2**10 is 1024."),
        ("2*(3+4) and (1+2)*-3", "2*(3+4) and (1+2)*-3"),
        ("**GPT**(a model) and *this*(one)", "GPT(a model) and this(one)"),
        ("**2**10** is a power", "2**10 is a power"),
        ("**Cut in the middle.", "Cut in the middle."),
        ("这是**重点**内容", "这是重点内容"),
        (".5 percent", ".5 percent"),
        ("...5 of them", "5 of them"),
        (") .5 percent", ".5 percent"),
        ("20~~30 degrees, ~~not~~ yet", "20~~30 degrees, not yet"),
        ("| City | Temp |", "City, Temp."),
        ("|:-----|-----:|", ""),
        ("|Berlin|-5|\n| Rome | 12 |", "Berlin, -5. Rome, 12."),
        ("a | b is either", "a | b is either"),
        ("```python\nprint(3)\n```", "print(3)"),
        ("```f(x)``` on a line", "f(x) on a line"),
        ("See [Foo (bar)](https://x.org/Foo_(bar)) now.", "See Foo (bar) now."),
        ("1\ufe0f\u20e3 first", "1 first"),
    ],
)
def test_what_is_spoken_keeps_numbers_and_words(text: str, spoken: str) -> None:
    assert plain(text) == spoken


def test_tables_and_code_are_spoken_line_by_line() -> None:
    text = "Look:\n| City | Temp |\n|------|------|\n| Berlin | -5 |\n```python\nx = 3\n```\nDone."
    splitter = Splitter()
    pieces = [piece for char in text for piece in splitter.push(char)] + splitter.flush()
    assert [piece.spoken for piece in pieces if piece.spoken] == [
        "Look:",
        "City, Temp.",
        "Berlin, -5.",
        "x = 3",
        "Done.",
    ]
    assert "".join(piece.text for piece in pieces) == text


def test_a_minus_in_the_middle_of_a_line_is_no_item_of_a_list() -> None:
    splitter = Splitter()
    text = "It freezes! - 5 degrees it is.\n- an item\nDone! \n- another"
    pieces = [*splitter.push(text), *splitter.flush()]
    assert [piece.spoken for piece in pieces] == [
        "It freezes!",
        "- 5 degrees it is.",
        "an item",
        "Done! another",
    ]
