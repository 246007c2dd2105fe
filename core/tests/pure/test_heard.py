"""The ledger: what was heard, and which words that is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xtalk.audio import RATE_OUT
from xtalk.heard import Heard, cut_at_word
from xtalk.speech.interfaces import Sentence, Word

CHUNK = RATE_OUT // 5


def ledger(*texts: str, seconds: float = 1.0, complete: bool = True, rtt: float = 0.02) -> Heard:
    """Each sentence lasts `seconds`; everything is made and sent at 0, in chunks of 200 ms."""
    heard, at = Heard(rtt=rtt), 0
    samples = int(seconds * RATE_OUT)
    for index, text in enumerate(texts):
        sentence = Sentence(index=index, text=text, spoken=text, span=(at, at + len(text)))
        heard.made(sentence, samples)
        at += len(text) + 1
    if complete:
        heard.complete()
    for index in range(1, len(texts) * samples // CHUNK + 1):
        heard.sent(index, (index - 1) * CHUNK, index * CHUNK, 0.2, 0.0)
    return heard


def heard_text(heard: Heard, now: float, *, acks: bool = True) -> str:
    return heard.reply(now, acks=acks).text


def test_whole_sentences_and_then_a_part_of_the_next() -> None:
    heard = ledger("Hello there.", "one two three four")
    for index in range(1, 9):
        heard.ack(index, None, index * 0.2)
    assert heard_text(heard, 1.6) == "Hello there. one two"


def test_nothing_acknowledged_is_nothing_heard() -> None:
    assert heard_text(ledger("Hello there."), 5.0) == ""


def test_the_gap_between_sentences_keeps_the_length_true() -> None:
    heard = Heard()
    heard.made(Sentence(index=0, text="One.", spoken="", span=(0, 4)), CHUNK)
    heard.made(Sentence(index=1, text="Two.", spoken="", span=(6, 10)), CHUNK)
    heard.complete()
    heard.sent(1, 0, 2 * CHUNK, 0.4, 0.0)
    heard.ack(1, None, 0.5)
    assert heard_text(heard, 0.5) == "One.  Two."


def test_the_space_around_a_sentence_takes_no_time() -> None:
    heard = Heard()
    text = " Yes.    "
    heard.made(Sentence(index=0, text=text, spoken="Yes.", span=(0, len(text))), 10 * CHUNK)
    heard.complete()
    assert heard.said(9 * CHUNK) == len(" Yes"), "the stop is still to come"


def test_the_mark_is_finer_than_a_chunk() -> None:
    """As in the browser's trace: acknowledgement 3 at 753 ms, mark at 784: 31 ms into chunk 4."""
    heard = ledger("a b c d e f g h i j")
    for index, stamp in ((1, 353), (2, 553), (3, 753)):
        heard.ack(index, stamp, 0.2 * index + 0.02)
    heard.pause(0.66, 784)
    assert heard.position() == 3 * CHUNK + RATE_OUT * 30 // 1000


def test_a_mark_claims_no_more_than_the_next_chunk() -> None:
    heard = ledger("a b c d e f g h i j")
    heard.ack(1, 1000, 0.22)
    heard.pause(0.9, 1680)
    assert heard.position() == 2 * CHUNK


def test_without_client_clocks_the_server_s_own_is_used() -> None:
    heard = ledger("a b c d e f g h i j")
    heard.ack(1, None, 0.25)
    heard.pause(0.35)
    assert heard.position() - CHUNK == pytest.approx(RATE_OUT * 0.1, abs=2)


def test_the_flood_after_a_destroyed_schedule_is_not_believed() -> None:
    """Browser trace 1: seven acknowledgements, out of order, within 2 ms."""
    heard = ledger("a b c d e f g h i j", seconds=2.0)
    for index in (1, 2, 3):
        heard.ack(index, None, 0.2 * index + 0.02)
    heard.pause(0.63)
    heard.resume(1.63)
    for index in (10, 4, 5, 9, 7, 6, 8):
        heard.ack(index, None, 1.66)
    assert heard.over == 10
    assert heard.position() < 4 * CHUNK


def test_acknowledgements_long_after_the_pause_are_not_believed() -> None:
    heard = ledger("a b c d e f g h i j")
    heard.pause(0.21)
    assert heard.ack(1, None, 0.25), "in flight when the client was suspended"
    heard.ack(2, None, 0.6)
    assert heard.position() < 2 * CHUNK


def test_a_ruined_schedule_proves_nothing() -> None:
    heard = ledger("a b c d e f g h i j")
    heard.ack(1, None, 0.22)
    heard.ruined = True
    heard.ack(5, None, 1.1)
    assert heard.position() == CHUNK


def test_after_a_restart_the_old_indices_are_superseded() -> None:
    heard = ledger("a b c d e f g h i j")
    heard.ack(1, None, 0.22)
    heard.pause(0.3)
    heard.ruined = True
    assert heard.restart(1.0) == CHUNK
    heard.sent(6, CHUNK, 2 * CHUNK, 0.2, 1.0)
    assert not heard.ack(4, None, 1.3)
    assert heard.position() == CHUNK
    assert heard.ack(6, None, 1.25) and heard.position() == 2 * CHUNK


def test_an_uncertain_pause_is_dated_when_it_becomes_certain() -> None:
    heard = ledger("a b c d e f g h i j", rtt=0.0)
    heard.pause(0.2, certain=False)
    heard.pause(0.6)
    heard.resume(1.6)
    heard.ack(3, None, 1.61)
    assert heard.position() == 3 * CHUNK


def test_a_client_that_never_acknowledges_is_estimated_by_the_clock() -> None:
    heard = ledger("one two three four five", rtt=0.1)
    reply = heard.reply(0.6, acks=False)
    assert reply.estimated and reply.text == "one two"
    assert heard_text(heard, 9.0, acks=False) == "one two three four five"


def test_a_client_that_pauses_itself_plays_a_round_trip_less_each_time() -> None:
    heard = ledger("one two three four five", rtt=0.1)
    heard.pause(0.4, 350.0)  # it stopped 50 ms before we knew, and goes on 50 ms after we said so
    heard.resume(50.0)
    assert heard.by_the_clock(50.3) == round(0.5 * RATE_OUT)


def test_the_clock_stands_still_while_it_is_suspended() -> None:
    heard = ledger("one two three four five", rtt=0.0)
    heard.pause(0.4)
    assert heard_text(heard, 50.0, acks=False) == "one two"
    heard.resume(50.0)
    assert heard_text(heard, 50.6, acks=False) == "one two three four five"


def test_an_underrun_is_waited_for() -> None:
    heard = Heard(rtt=0.0)
    heard.made(Sentence(index=0, text="one two", spoken="", span=(0, 7)), 2 * CHUNK)
    heard.complete()
    heard.sent(1, 0, CHUNK, 0.2, 0.0)
    heard.sent(2, CHUNK, 2 * CHUNK, 0.2, 5.0)
    assert heard.dry_in(5.0) == pytest.approx(0.2)
    assert heard_text(heard, 5.1, acks=False) == "one"


def test_a_sentence_still_being_made_is_guessed_with_caution() -> None:
    heard = ledger("one two three four five six seven eight nine ten", complete=False)
    for index in range(1, 6):
        heard.ack(index, None, 0.2 * index)
    assert heard_text(heard, 1.0) == "one two"


def test_times_of_words_are_believed() -> None:
    words = [Word(text="Wait", start=0.0, end=0.1), Word(text="now", start=0.85, end=1.0)]
    heard = Heard(rtt=0.0)
    heard.made(Sentence(index=0, text="Wait, now.", spoken="", span=(0, 10)), 5 * CHUNK, words)
    heard.complete()
    for index in range(1, 6):
        heard.sent(index, (index - 1) * CHUNK, index * CHUNK, 0.2, 0.0)
    for index in range(1, 5):
        heard.ack(index, None, 0.2 * index)
    assert heard_text(heard, 0.8) == "Wait"


def test_audio_that_says_nothing_is_no_text() -> None:
    heard = Heard()
    heard.made(None, CHUNK)
    heard.sent(1, 0, CHUNK, 0.2, 0.0)
    heard.ack(1, None, 0.3)
    assert heard_text(heard, 0.3) == ""


@pytest.mark.parametrize(
    ("text", "length", "expected"),
    [
        ("hello there", 7, "hello"),
        ("hello there", 5, "hello"),
        ("hello there", 11, "hello there"),
        ("don't stop", 4, ""),
        ("well-known fact", 6, ""),
        ("你好世界", 3, "你好世"),
        ("我用Python写", 4, "我用"),
        ("안녕하세요", 2, "안녕"),
        ("naïve café", 8, "naïve"),
        ("3.14 is pi", 3, "3."),
    ],
)
def test_no_word_is_cut_in_half(text: str, length: int, expected: str) -> None:
    assert cut_at_word(text, length) == expected


@given(st.text(), st.integers(0, 50))
def test_a_cut_is_a_prefix_and_never_too_long(text: str, length: int) -> None:
    cut = cut_at_word(text, length)
    assert text.startswith(cut) and len(cut) <= max(length, 0)


@given(st.lists(st.tuples(st.integers(1, 12), st.floats(0, 3)), max_size=20), st.booleans())
def test_whatever_is_acknowledged_the_heard_text_only_grows(
    acks: list[tuple[int, float]], paused: bool
) -> None:
    heard, last = ledger("one two three", "four five six", seconds=1.0), ""
    for index, now in sorted(acks, key=lambda ack: ack[1]):
        heard.ack(index, None, now)
        text = heard_text(heard, now)
        assert text.startswith(last) and "one two three four five six".startswith(text)
        assert heard.position() <= (now + 0.1) * RATE_OUT + CHUNK * paused
        last = text
