"""Cutting, the tail, pacing, the gate, the finish: Playback by function calls."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xtalk import events as ev
from xtalk.audio import RATE_OUT, AudioFrame
from xtalk.playback import USER, Playback
from xtalk.speech.interfaces import Sentence, SpeechChunk

NOISE = bytes(random.Random(1).choices(range(1, 256), k=2 * RATE_OUT * 25))


def chunk(samples: int, at: int = 0, sentence: Sentence | None = None) -> SpeechChunk:
    frame = AudioFrame(NOISE[2 * at : 2 * (at + samples)], RATE_OUT)
    return SpeechChunk(audio=frame, sentence=sentence)


def ms(milliseconds: float) -> int:
    return round(milliseconds * RATE_OUT / 1000)


def names(events: list[ev.BaseEvent]) -> list[str]:
    return [type(event).__name__ for event in events]


def lengths(events: list[ev.BaseEvent]) -> list[int]:
    """Milliseconds of each chunk."""
    chunks = [e for e in events if isinstance(e, ev.TTSChunkGenerated)]
    return [len(e.audio_chunk) // (2 * ms(1)) for e in chunks]


def audio(events: list[ev.BaseEvent]) -> bytes:
    return b"".join(e.audio_chunk for e in events if isinstance(e, ev.TTSChunkGenerated))


def indices(events: list[ev.BaseEvent]) -> list[int]:
    return [e.chunk_index for e in events if isinstance(e, ev.TTSChunkGenerated)]


def begun() -> Playback:
    playback = Playback()
    playback.begin(1, 0.0)
    return playback


def acking(playback: Playback) -> Playback:
    """Of a client that is known to acknowledge: a short reply went before."""
    playback.begin(9, -1.0)
    sent = playback.feed(chunk(ms(100)), -1.0) + playback.end(-1.0)
    for index in indices(sent):
        playback.ack(index, None, -0.5)
    assert not playback.active and playback.acks
    playback.begin(1, 0.0)
    return playback


# --- cutting and the tail -----------------------------------------------------------------------


def test_the_first_audio_leaves_at_once_but_for_its_tail() -> None:
    out = begun().feed(chunk(ms(100)), 0.0)
    assert names(out) == ["ReplyAudioReady", "TTSStarted", "TTSChunkGenerated"]
    assert lengths(out) == [50]


@pytest.mark.parametrize("first", [20, 40, 60])
def test_even_the_smallest_first_audio_does_not_wait_for_more(first: int) -> None:
    assert lengths(begun().feed(chunk(ms(first)), 0.0))


def test_chunks_are_at_most_200_ms_and_60_ms_wait() -> None:
    playback = begun()
    out = playback.feed(chunk(ms(730)), 0.0)
    assert lengths(out) == [200, 200, 200, 70]
    assert playback.buffered_s == pytest.approx(0.06)


def test_each_chunk_says_how_much_of_the_text_it_ends() -> None:
    """In proportion within a sentence, never in the middle of a word; silence adds nothing."""
    playback = begun()
    sentence = Sentence(index=0, text="one two three four", spoken="", span=(0, 18))
    sent = playback.feed(chunk(ms(880), sentence=sentence), 0.0) + playback.end(0.0)
    assert [e.text_end for e in sent if isinstance(e, ev.TTSChunkGenerated)] == [0, 3, 3, 7, 7, 18]


def test_a_sound_beside_the_replies_says_no_text() -> None:
    sent = Playback().aside(bytes(2 * ms(100)), 0.0)
    assert [e.text_end for e in sent if isinstance(e, ev.TTSChunkGenerated)] == [None]


def test_the_finish_leaves_with_the_tail() -> None:
    playback = begun()
    playback.feed(chunk(ms(260)), 0.0)
    out = playback.end(0.0)
    assert names(out) == ["TTSChunkGenerated", "TTSFinished"]
    assert lengths(out) == [60]


def test_a_short_last_chunk_is_padded_with_silence() -> None:
    playback = begun()
    out = playback.feed(chunk(ms(10)), 0.0) + playback.end(0.0)
    assert names(out) == ["ReplyAudioReady", "TTSStarted", "TTSChunkGenerated", "TTSFinished"]
    assert lengths(out) == [60]
    assert audio(out) == NOISE[: 2 * ms(10)] + bytes(2 * ms(50))


def test_no_last_chunk_is_left_shorter_than_the_tail() -> None:
    playback = begun()
    playback.feed(chunk(ms(260)), 0.0)
    out = playback.feed(chunk(ms(150), ms(260)), 0.0) + playback.end(0.0)
    assert lengths(out) == [150, 60]


def test_a_client_about_to_run_dry_gets_the_tail_and_the_finish_gets_silence() -> None:
    playback = begun()
    playback.feed(chunk(ms(260)), 0.0)
    assert playback.wake == pytest.approx(0.2 - 0.03)
    assert lengths(playback.poll(0.17)) == [60]
    out = playback.end(0.5)
    assert names(out) == ["TTSChunkGenerated", "TTSFinished"]
    assert audio(out) == bytes(2 * ms(100))


def test_no_audio_means_no_start() -> None:
    out = begun().end(1.0)
    assert names(out) == ["ReplyOver"]
    assert (out[0].turn_id, out[0].heard, out[0].outcome) == (1, "", "done")


def test_empty_and_odd_sizes_pass() -> None:
    playback, out, at = begun(), [], 0
    for samples in (0, 1, 1, 7, 0, 4099, 441, 3):
        out += playback.feed(chunk(samples, at), 0.0)
        at += samples
    out += playback.end(0.0)
    assert audio(out).rstrip(b"\0") == NOISE[: 2 * at]


@settings(max_examples=300, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 30_000), max_size=30),
    gaps=st.lists(st.floats(0, 0.4), min_size=1, max_size=10),
)
def test_whatever_the_voice_yields_the_wire_carries_it_all_in_order(
    sizes: list[int], gaps: list[float]
) -> None:
    playback, out, now, at = begun(), [], 0.0, 0

    def wait(until: float) -> None:
        nonlocal now, out
        for _ in range(10_000):
            wake = playback.wake
            if wake is None or wake > until:
                now = until
                return
            now = max(now, wake)
            out += playback.poll(now)
        raise AssertionError("poll does not advance")

    for number, samples in enumerate(sizes):
        out += playback.feed(chunk(samples, at), now)
        at = (at + samples) % (20 * RATE_OUT)
        wait(now + gaps[number % len(gaps)])
    out += playback.end(now)
    wait(now + 60.0)
    total = audio(out)
    silent = total.replace(b"\0\0", b"") if b"\0" in total else total
    expected, at = b"", 0
    for samples in sizes:
        expected += NOISE[2 * at : 2 * (at + samples)]
        at = (at + samples) % (20 * RATE_OUT)
    assert silent == expected
    assert all(length % 10 == 0 and 10 <= length <= 200 for length in lengths(out))
    assert names(out).count("TTSStarted") == names(out).count("TTSFinished") == bool(expected)
    assert names(out)[-1] == "ReplyOver"


# --- pacing -------------------------------------------------------------------------------------


def test_a_silent_client_is_paced_by_the_clock() -> None:
    playback = begun()
    assert sum(lengths(playback.feed(chunk(ms(5000)), 0.0))) == 1000
    assert playback.wake == pytest.approx(0.2)
    assert lengths(playback.poll(0.19)) == []
    assert lengths(playback.poll(0.2)) == [200]


def test_an_acknowledging_client_is_paced_by_its_acknowledgements() -> None:
    playback = acking(Playback())
    out = playback.feed(chunk(ms(5000)), 0.0)
    assert sum(lengths(out)) == 1000
    assert playback.poll(1.5) == []
    assert lengths(playback.ack(indices(out)[0], None, 1.5)) == [200]


def test_room_is_for_two_seconds() -> None:
    playback = begun()
    assert playback.room_s == 2.0
    playback.feed(chunk(ms(2500)), 0.0)
    assert playback.room_s == pytest.approx(0.5)
    playback.feed(chunk(ms(2500)), 0.0)
    assert playback.room_s < 0


def test_indices_go_on_from_reply_to_reply() -> None:
    playback = begun()
    out = playback.feed(chunk(ms(300)), 0.0) + playback.stop(0.1)
    playback.begin(2, 1.0)
    out += playback.feed(chunk(ms(300)), 1.0)
    assert indices(out) == list(range(1, len(indices(out)) + 1))


# --- the gate -----------------------------------------------------------------------------------


def test_nothing_passes_a_shut_gate_not_even_the_end() -> None:
    playback = begun()
    playback.shut(USER, 0.0)
    assert playback.feed(chunk(ms(500)), 0.1) == [] and playback.end(0.2) == []
    assert playback.wake is None
    assert names(playback.open(USER, 0.3))[-1] == "TTSFinished"
    playback = begun()
    playback.shut(USER, 0.0)
    assert playback.end(0.2) == []
    assert names(playback.open(USER, 0.3)) == ["ReplyOver"]


def test_the_gate_opens_with_the_last_reason() -> None:
    playback = begun()
    playback.shut(USER, 0.0)
    playback.shut("a plugin", 0.0, suspended=False)
    playback.feed(chunk(ms(500)), 0.0)
    assert playback.open(USER, 0.1, tell_client=True) == []
    out = playback.open("a plugin", 0.2)
    assert names(out)[0] == "TTSResumed", "the client still waits for it"
    assert "TTSChunkGenerated" in names(out)


def test_a_soft_resume_waits_100_ms_and_then_owes_a_chunk() -> None:
    playback = acking(Playback())
    playback.feed(chunk(ms(5000)), 0.0)
    assert names(playback.shut(USER, 0.1, tell_client=True)) == ["TTSPaused"]
    assert names(playback.open(USER, 1.0, tell_client=True)) == ["TTSResumed"]
    assert playback.wake == pytest.approx(1.1)
    assert playback.poll(1.05) == []
    assert lengths(playback.poll(1.1)) == [200], "though a second is unacknowledged already"


def test_a_soft_resume_with_nothing_left_sends_one_silent_chunk() -> None:
    playback = acking(Playback())
    playback.feed(chunk(ms(300)), 0.0)
    playback.end(0.0)
    playback.shut(USER, 0.1)
    playback.open(USER, 1.0, tell_client=True)
    out = playback.poll(1.1)
    assert lengths(out) == [60] and audio(out) == bytes(2 * ms(60))


def test_a_hard_resume_sends_again_what_was_not_heard_with_new_indices() -> None:
    playback = acking(Playback())
    first = playback.feed(chunk(ms(500)), 0.0) + playback.end(0.0)
    playback.ack(indices(first)[0], 10_000, 0.25)
    playback.shut(USER, 0.3, ruined=True, client_timestamp=10_051)
    out = playback.open(USER, 1.0, tell_client=True, restart=True)
    assert names(out)[:3] == ["TTSStopped", "TTSStarted", "TTSResumed"]
    assert names(out)[-1] == "TTSFinished" and names(out).count("TTSFinished") == 1
    resent = audio(out).rstrip(b"\0")
    assert NOISE[2 * ms(200) : 2 * ms(500)] == resent, "a ruined schedule proves nothing more"
    assert min(indices(out)) > max(indices(first))
    assert playback.ack(indices(first)[-1], None, 1.1) == [] and playback.active


def test_a_hard_resume_with_nothing_left_just_ends() -> None:
    playback = acking(Playback())
    sent = indices(playback.feed(chunk(ms(300)), 0.0) + playback.end(0.0))
    playback.shut(USER, 0.5)
    for index in sent:
        playback.ack(index, None, 0.55)
    playback.shut(USER, 0.6, ruined=True)
    out = playback.open(USER, 1.0, tell_client=True, restart=True)
    assert names(out) == ["TTSResumed", "ReplyOver"]


# --- the end ------------------------------------------------------------------------------------


def test_the_last_acknowledgement_ends_the_reply() -> None:
    playback = acking(Playback())
    sent = indices(playback.feed(chunk(ms(300)), 0.0) + playback.end(0.0))
    assert playback.ack(sent[0], None, 0.25) == []
    assert names(playback.ack(sent[-1], None, 0.4)) == ["ReplyOver"]
    assert playback.playback_finished(0.4) == []


def test_without_acknowledgements_the_clock_ends_it() -> None:
    playback = begun()
    sentence = Sentence(index=0, text="Hello there.", spoken="", span=(0, 12))
    playback.feed(chunk(ms(300), sentence=sentence), 0.0)
    playback.end(0.0)
    out = playback.poll(playback.wake)
    assert names(out) == ["ReplyOver"]
    assert (out[0].heard, out[0].estimated) == ("Hello there.", True)


def test_a_word_that_it_is_over_is_only_advice() -> None:
    playback = acking(Playback())
    playback.feed(chunk(ms(3000)), 0.0)
    assert playback.playback_finished(0.1) == []
    playback.end(0.2)
    assert playback.playback_finished(0.3) == [] and playback.active


def test_a_page_that_gave_up_too_early_is_started_again() -> None:
    playback = acking(Playback())
    sent = indices(playback.feed(chunk(ms(300)), 0.0))
    playback.ack(sent[0], None, 0.25)
    out = playback.playback_finished(0.25)
    assert names(out)[:2] == ["TTSStopped", "TTSStarted"] and "TTSResumed" not in names(out)
    assert audio(out) == NOISE[2 * ms(200) : 2 * ms(300)][: len(audio(out))]


def test_a_page_that_gave_up_behind_a_shut_gate_is_started_again_at_its_opening() -> None:
    playback = acking(Playback())
    sent = indices(playback.feed(chunk(ms(300)), 0.0))
    playback.shut(USER, 0.25)
    playback.ack(sent[0], None, 0.3)
    assert playback.playback_finished(0.3) == []
    out = playback.open(USER, 1.0, tell_client=True)
    assert names(out)[:3] == ["TTSStopped", "TTSStarted", "TTSResumed"]


def test_a_stalled_client_is_kicked_three_times_and_then_let_go() -> None:
    playback = acking(Playback())
    playback.feed(chunk(ms(300)), 0.0)
    playback.end(0.0)
    for _ in range(3):
        assert lengths(playback.poll(playback.wake)) == [60]
    out = playback.poll(playback.wake)
    assert names(out) == ["ReplyOver"] and not out[0].estimated


def test_a_stall_in_mid_reply_goes_on_in_the_end() -> None:
    playback = acking(Playback())
    playback.feed(chunk(ms(3000)), 0.0)
    for _ in range(3):
        assert lengths(playback.poll(playback.wake)) == [60]
    assert sum(lengths(playback.poll(playback.wake))) == 1000


def test_stop_tells_what_was_heard() -> None:
    playback = acking(Playback())
    sentence = Sentence(index=0, text="one two three four five", spoken="", span=(0, 23))
    sent = indices(playback.feed(chunk(ms(1000), sentence=sentence), 0.0))
    playback.end(0.0)
    for index in sent[:2]:
        playback.ack(index, None, 0.45)
    out = playback.stop(0.6)
    assert names(out) == ["TTSStopped", "ReplyOver"]
    assert (out[1].heard, out[1].outcome, out[1].estimated) == ("one two", "interrupted", False)
    assert not playback.active and playback.stop(0.7, tell_client=False) == []


def test_stop_after_the_last_acknowledgement_is_no_interruption() -> None:
    playback = acking(Playback())
    sent = indices(playback.feed(chunk(ms(300)), 0.0) + playback.end(0.0))
    playback.shut(USER, 0.41)
    playback.ack(sent[-1], None, 0.42)
    assert playback.stop(0.6)[1].outcome == "done"


def test_a_failure_before_the_first_sound() -> None:
    playback = begun()
    playback.shut(USER, 0.0)
    playback.feed(chunk(ms(300)), 0.0)
    playback.fail(0.1)
    out = playback.open(USER, 0.2)
    assert names(out) == ["ReplyOver"] and out[0].outcome == "failed"


def test_a_failure_in_mid_reply_still_finishes() -> None:
    playback = begun()
    playback.feed(chunk(ms(260)), 0.0)
    out = playback.fail(0.1)
    assert names(out) == ["TTSChunkGenerated", "TTSFinished"]
    assert playback.poll(playback.wake)[0].outcome == "failed"


def test_a_voice_that_broke_within_a_sentence_has_not_said_it() -> None:
    playback = begun()
    sentence = Sentence(index=0, text="one two three four five six", spoken="", span=(0, 27))
    playback.feed(chunk(ms(300), sentence=sentence), 0.0)
    playback.fail(0.1)
    assert playback.poll(playback.wake)[0].heard == "one"


def test_a_new_reply_stops_the_old_one() -> None:
    playback = begun()
    playback.feed(chunk(ms(300)), 0.0)
    out = playback.begin(2, 0.1)
    assert names(out) == ["TTSStopped", "ReplyOver"] and playback.turn_id == 2


def test_indices_that_were_never_sent_mean_nothing() -> None:
    playback = begun()
    playback.feed(chunk(ms(300)), 0.0)
    assert playback.ack(0, None, 0.1) == playback.ack(99, None, 0.1) == []
    assert not playback.acks
