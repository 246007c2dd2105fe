"""Halves of characters: joined where both came, replaced where one did not."""

from __future__ import annotations

import os

import pytest

from xtalk.characters import Halves, whole


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("\ufeffmarked 😀", "\ufeffmarked 😀"),
        ("\ud83d\ude00 twice \ud83d\ude00", "😀 twice 😀"),
        ("first \ud83d alone", "first \ufffd alone"),
        ("\ude00\ud83d", "\ufffd\ufffd"),
        (os.fsdecode(b"name-\xff.txt"), "name-\ufffd.txt"),
    ],
)
def test_no_half_is_left(text: str, expected: str) -> None:
    assert whole(text) == expected


def test_halves_in_two_pieces_are_joined() -> None:
    halves = Halves()
    assert [halves.push(piece) for piece in ("a \ud83d", "", "\ude00 b", "c")] == [
        "a ",
        "",
        "😀 b",
        "c",
    ]


def test_a_half_that_is_followed_by_something_else_is_replaced() -> None:
    halves = Halves()
    assert [halves.push(piece) for piece in ("a\ud83d", "b", "\ud83d")] == ["a", "\ufffdb", ""]
