"""The transition table, one test a row, named by row; and the rule that accepts or rejects."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xtalk import events as ev
from xtalk.dialogue import Dialogue, DialogueConfig, Verdict, is_filler, judge, strip_tags
from xtalk.speech.interfaces import Transcript

WIRE = {
    "ASRResultPartial": "update_asr",
    "ASRResultFinal": "finish_asr",
    "TurnAbandoned": "invalid_asr_result",
    "TTSStarted": "start_tts",
    "TTSFinished": "tts_finished",
    "TTSPaused": "pause_tts",
    "TTSResumed": "resume_tts",
    "TTSStopped": "stop_tts",
}


class Talk:
    """A dialogue whose commands are obeyed at once by the smallest possible owners.

    `sent` is what the client would see, `asked` the commands and `decisions` why; all since the
    last `clear`.
    """

    def __init__(self, *, client: dict[str, object] | None = None, **config: object) -> None:
        self.now = 0.0
        self.dialogue = Dialogue(DialogueConfig(**config), 0.0)
        self.sent: list[str] = []
        self.asked: list[ev.BaseEvent] = []
        self.decisions: list[ev.Decision] = []
        if client is not None:
            self.post(ev.ConversationStarted(client=client))

    def post(self, event: ev.BaseEvent) -> None:
        name = type(event).__name__
        if name.endswith("Requested"):
            self.asked.append(event)
        if isinstance(event, ev.Decision):
            self.decisions.append(event)
        if name in WIRE:
            text = getattr(event, "text", "")
            self.sent.append(f"{WIRE[name]} {text}".strip())
        if isinstance(event, ev.VerificationResult) and event.show and not event.is_valid:
            self.sent.append("invalid_asr_result")
        for follower in [*self.dialogue.feed(event, self.now), *self._owners(event)]:
            self.post(follower)

    def _owners(self, event: ev.BaseEvent) -> list[ev.BaseEvent]:
        if isinstance(event, ev.TurnTTSPauseRequested) and event.tell_client:
            return [ev.TTSPaused()]
        if isinstance(event, ev.TurnTTSStopRequested) and event.tell_client:
            return [ev.TTSStopped()]
        if isinstance(event, ev.TurnTTSResumeRequested) and event.tell_client:
            again = [ev.TTSStopped(), ev.TTSStarted(turn_id=self.dialogue.turn_id)]
            return [*(again if event.restart else []), ev.TTSResumed()]
        return []

    def clear(self) -> None:
        self.sent.clear()
        self.asked.clear()
        self.decisions.clear()

    def at(self, seconds: float) -> None:
        """Let that much time pass, with audio coming in, and fire what is due on the way."""
        until = self.now + seconds
        while (at := self.dialogue.deadline) is not None and at <= until:
            self.now = max(at, self.now)
            self.dialogue.last_frame = self.now
            for event in self.dialogue.tick(self.now):
                self.post(event)
        self.now = until
        self.dialogue.last_frame = until

    def mark(self, start: bool = True, source: str = "client") -> None:
        self.post((ev.VADSpeechStart if start else ev.VADSpeechEnd)(source=source))

    def say(self, text: str, *, final: bool = False, tag: str | None = None) -> None:
        transcript = Transcript(text=text, final=final, tag=tag)
        self.post(ev.TranscriptReady(transcript=transcript, turn_id=self.dialogue.turn_id + 1))

    def utter(self, text: str, *, tag: str | None = None, source: str = "client") -> None:
        self.mark(source=source)
        self.mark(False, source=source)
        self.say(text, final=True, tag=tag)

    def speak(self, *, finished: bool = False) -> None:
        """The reply begins to sound, long ago."""
        turn = self.dialogue.turn_id
        self.post(ev.ReplyAudioReady(turn_id=turn))
        self.post(ev.TTSStarted(turn_id=turn))
        self.post(ev.TTSChunkGenerated(chunk_index=1))
        if finished:
            self.post(ev.TTSFinished(turn_id=turn))
        self.at(1.0)
        self.clear()

    def thinking(self, **source: str) -> Talk:
        self.utter("hello there", **source)
        self.clear()
        return self

    def talking(self, *, finished: bool = False, **source: str) -> Talk:
        self.thinking(**source).speak(finished=finished)
        return self

    def command(self, cls: type[ev.BaseEvent]) -> ev.BaseEvent | None:
        found = [event for event in self.asked if isinstance(event, cls)]
        assert len(found) <= 1, f"{cls.__name__} was asked for {len(found)} times"
        return found[0] if found else None

    @property
    def state(self) -> tuple[str, str, bool]:
        return self.dialogue.segment, self.dialogue.reply, self.dialogue.holding


# --- rows 1 and 2: a start ----------------------------------------------------------------------


def test_row_1_a_mark_shuts_the_gate_and_sends_nothing() -> None:
    talk = Talk().talking()
    talk.mark()
    assert talk.sent == []
    assert [type(event).__name__ for event in talk.asked] == [
        "TurnLLMAgentPauseRequested",
        "TurnTTSPauseRequested",
        "TurnASRStartRequested",
    ]
    assert talk.state == ("open", "talk", False)
    assert talk.dialogue.susp and not talk.dialogue.ruined


def test_row_1_a_client_that_does_not_pause_itself_is_paused() -> None:
    talk = Talk(client={"pauses_itself": False}).talking()
    talk.mark()
    assert talk.sent == ["pause_tts"]


def test_row_1_a_mark_that_crossed_our_start_ruins_the_schedule() -> None:
    talk = Talk().thinking()
    talk.post(ev.TTSStarted(turn_id=1))
    talk.post(ev.TTSChunkGenerated(chunk_index=1))
    talk.clear()
    talk.at(0.15)
    talk.mark()
    assert talk.sent == ["pause_tts"] and talk.dialogue.ruined


def test_row_1_no_round_trip_takes_a_quarter_of_an_hour() -> None:
    talk = Talk().talking()
    talk.post(ev.ClockSyncReceived(client_send_ts=0, client_recv_ts=900))
    talk.mark()
    assert talk.sent == [] and not talk.dialogue.ruined


def test_row_1a_a_second_start_changes_nothing() -> None:
    talk = Talk()
    talk.mark()
    talk.clear()
    talk.mark()
    assert talk.sent == [] and talk.command(ev.TurnASRStartRequested) is None


def test_row_1b_a_start_reopens_the_segment_and_its_decode_becomes_the_prefix() -> None:
    talk = Talk()
    talk.mark()
    talk.mark(False)
    talk.mark()
    assert talk.command(ev.TurnASREndRequested)
    assert [e.resume for e in talk.asked if isinstance(e, ev.TurnASRStartRequested)] == [
        False,
        True,
    ]
    talk.say("what is", final=True)
    assert talk.state[0] == "open"
    talk.say("the time")
    talk.mark(False)
    talk.say("the time now", final=True)
    assert talk.sent == [
        "update_asr what is the time",
        "stop_tts",
        "finish_asr what is the time now",
    ]


def test_row_1c_a_start_stops_the_hold_timer() -> None:
    talk = Talk()
    talk.utter("I would like", tag="<incomplete>")
    talk.mark()
    talk.at(3.0)
    assert talk.state == ("open", "idle", True)


def test_row_2_the_detector_alone_sends_nothing_while_nothing_sounds() -> None:
    talk = Talk(server_vad=True)
    talk.mark(source="server")
    assert talk.sent == [] and talk.dialogue.segment == "open" and not talk.dialogue.susp


def test_row_2a_a_client_without_marks_is_paused_at_once() -> None:
    talk = Talk(server_vad=True).talking(source="server")
    talk.mark(source="server")
    assert talk.sent == ["pause_tts"] and talk.dialogue.susp


def test_row_2a_a_marking_client_gets_its_grace() -> None:
    talk = Talk(server_vad=True).talking()
    talk.mark(source="server")
    talk.at(0.1)
    assert talk.sent == []
    talk.at(0.1)
    assert talk.sent == ["pause_tts"]


def test_row_2a_a_mark_within_the_grace_saves_the_schedule() -> None:
    talk = Talk(server_vad=True).talking()
    talk.mark(source="server")
    talk.at(0.1)
    talk.mark()
    talk.at(0.2)
    assert talk.sent == [] and not talk.dialogue.ruined


def test_row_2a_a_mark_after_our_pause_ruins_the_schedule() -> None:
    talk = Talk(server_vad=True).talking()
    talk.mark(source="server")
    talk.at(0.2)
    talk.mark()
    assert talk.sent == ["pause_tts"] and talk.dialogue.ruined


def test_row_2a_no_pause_within_100_ms_of_a_resume() -> None:
    talk = Talk(server_vad=True).talking(source="server")
    talk.utter("", source="server")
    assert talk.sent == ["pause_tts", "resume_tts"]
    talk.mark(source="server")
    assert talk.sent == ["pause_tts", "resume_tts"]
    talk.at(0.1)
    assert talk.sent == ["pause_tts", "resume_tts", "pause_tts"]


# --- the same by command ------------------------------------------------------------------------


def test_a_button_opens_and_closes_a_segment_like_a_detector() -> None:
    talk = Talk(server_vad=True).talking(source="server")
    talk.post(ev.TurnASRStartRequested())
    assert talk.state == ("open", "talk", False) and talk.sent == ["pause_tts"]
    talk.at(3.0)
    assert talk.state[0] == "open", "who holds a button may think before he speaks"
    talk.post(ev.TurnASREndRequested())
    talk.say("and now", final=True)
    assert talk.state == ("none", "think", False) and talk.sent[-1] == "finish_asr and now"


def test_a_segment_that_somebody_resets_is_rejected_at_once() -> None:
    talk = Talk().talking(source="server")
    talk.post(ev.TurnASRStartRequested())
    talk.post(ev.TurnASRResetRequested())
    assert talk.state == ("none", "talk", False) and talk.sent == ["pause_tts", "resume_tts"]
    talk.post(ev.TurnASREndRequested())
    assert talk.sent == ["pause_tts", "resume_tts"]


# --- row 3: partials ----------------------------------------------------------------------------


def test_row_3_a_partial_is_shown() -> None:
    talk = Talk()
    talk.mark()
    talk.say("hello <happy> there")
    assert talk.sent == ["update_asr hello there"]


def test_row_3a_a_partial_is_kept_back_while_the_agent_thinks() -> None:
    talk = Talk().thinking()
    talk.mark()
    talk.say("and another thing")
    assert talk.sent == []


def test_row_3b_held_text_grows_only_from_two_words_on() -> None:
    talk = Talk()
    talk.utter("I would like", tag="<incomplete>")
    talk.clear()
    talk.mark()
    talk.say("some")
    assert talk.sent == []
    talk.say("some tea")
    assert talk.sent == ["update_asr I would like some tea"]


def test_row_3c_three_words_stop_the_reply_before_the_end_of_the_segment() -> None:
    talk = Talk().talking()
    talk.mark()
    talk.say("no wait")
    assert talk.sent == []
    talk.say("no wait stop")
    assert talk.sent == ["stop_tts", "update_asr no wait stop"]
    assert talk.command(ev.TurnLLMAgentStopRequested)
    assert talk.state == ("open", "idle", False)


def test_row_3c_so_do_0_8_seconds_of_speech_but_not_of_backchannel() -> None:
    talk = Talk().talking()
    talk.mark()
    talk.at(0.9)
    talk.say("uh-huh")
    assert talk.sent == []
    talk.say("stop")
    assert talk.sent == ["stop_tts", "update_asr stop"]


def guessing(text: str = "turn left", **config: object) -> Talk:
    """Somebody said this, and is silent for 120 ms."""
    talk = Talk(server_vad=True, **{"speculate": True, **config})
    talk.mark(source="server")
    talk.say(text)
    talk.post(ev.SpeechCandidate(silence_ms=120))
    talk.sent.clear()
    return talk


def test_row_4_a_candidate_end_sends_nothing() -> None:
    talk = guessing()
    assert talk.sent == [] and talk.state == ("open", "idle", False)
    guess = talk.command(ev.TurnLLMAgentSpeculateRequested)
    assert (guess.text, guess.turn_id) == ("turn left", 1)


def test_row_4_speculation_is_off_unless_it_is_turned_on() -> None:
    talk = guessing(speculate=False)
    talk.mark(False, source="server")
    talk.say("turn left", final=True)
    assert talk.command(ev.TurnLLMAgentSpeculateRequested) is None
    assert not talk.command(ev.TurnLLMAgentStartRequested).speculated


@pytest.mark.parametrize("final", ["turn left", "Turn left!", "turn, LEFT."])
def test_row_6c_the_same_words_promote_it(final: str) -> None:
    talk = guessing()
    talk.mark(False, source="server")
    talk.say(final, final=True)
    start = talk.command(ev.TurnLLMAgentStartRequested)
    assert (start.text, start.turn_id, start.speculated) == (final, 1, True)
    assert talk.command(ev.TurnLLMAgentDiscardRequested) is None
    assert talk.command(ev.TurnLLMAgentSpeculateRequested) is not None, "once"


@pytest.mark.parametrize("final", ["turn right", "turn left now", "turn", "turnleft"])
def test_row_6c_other_words_discard_it(final: str) -> None:
    talk = guessing()
    talk.mark(False, source="server")
    talk.say(final, final=True)
    assert not talk.command(ev.TurnLLMAgentStartRequested).speculated
    assert talk.command(ev.TurnLLMAgentDiscardRequested).reason == "other words"


def test_row_4_a_late_partial_is_a_second_guess_and_the_last() -> None:
    talk = guessing()
    talk.clear()
    talk.say("turn left now")
    assert [type(event).__name__ for event in talk.asked] == [
        "TurnLLMAgentDiscardRequested",
        "TurnLLMAgentSpeculateRequested",
    ]
    talk.clear()
    talk.say("turn left now please")
    assert [type(event).__name__ for event in talk.asked] == ["TurnLLMAgentDiscardRequested"]
    talk.clear()
    talk.say("turn left now please and")
    assert talk.asked == []


def test_row_4_the_end_of_a_segment_is_a_candidate_too() -> None:
    talk = Talk(speculate=True)
    talk.mark()
    talk.say("turn left")
    assert talk.command(ev.TurnLLMAgentSpeculateRequested) is None
    talk.mark(False)
    assert talk.command(ev.TurnLLMAgentSpeculateRequested).text == "turn left"


def test_row_4_nothing_is_speculated_while_a_reply_lives() -> None:
    for talk in (
        Talk(speculate=True, server_vad=True).thinking(source="server"),
        Talk(speculate=True, server_vad=True).talking(source="server"),
    ):
        talk.mark(source="server")
        talk.say("turn left")
        talk.post(ev.SpeechCandidate(silence_ms=120))
        assert talk.command(ev.TurnLLMAgentSpeculateRequested) is None


@pytest.mark.parametrize("how", ["cough", "half", "gone"])
def test_row_4_whatever_ends_the_segment_otherwise_discards_it(how: str) -> None:
    talk = guessing()
    if how == "gone":
        talk.post(ev.ConversationEnded())
    else:
        talk.mark(False, source="server")
        talk.say("" if how == "cough" else "turn left", final=True, tag="<incomplete>")
    assert talk.command(ev.TurnLLMAgentDiscardRequested) is not None
    assert talk.dialogue.shadow is None


def test_row_4_both_halves_of_a_sentence_are_speculated_on() -> None:
    talk = Talk(speculate=True)
    talk.utter("turn", tag="<incomplete>")
    talk.clear()
    talk.mark()
    talk.say("left")
    talk.mark(False)
    assert talk.command(ev.TurnLLMAgentSpeculateRequested).text == "turn left"


# --- row 5: the end -----------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["client", "server"])
def test_row_5_the_first_end_closes_the_segment(source: str) -> None:
    talk = Talk(server_vad=True)
    talk.mark()
    talk.mark(source="server")
    talk.mark(False, source=source)
    talk.mark(False, source="client" if source == "server" else "server")
    assert talk.sent == [] and talk.command(ev.TurnASREndRequested)
    assert talk.state[0] == "closing"


def test_row_5_silence_on_the_line_ends_a_segment() -> None:
    talk = Talk()
    talk.mark()
    assert talk.dialogue.deadline == pytest.approx(1.5)
    talk.now = 1.5
    for event in talk.dialogue.tick(1.5):
        talk.post(event)
    assert talk.command(ev.TurnASREndRequested)


@pytest.mark.parametrize(
    ("end", "evidence"),
    [
        (ev.VADSpeechEnd(), {"by": "mark"}),
        (ev.VADSpeechEnd(source="server", silence_ms=512.0), {"by": "detector", "silence_ms": 512}),
        (ev.TurnASREndRequested(), {"by": "command"}),
        (None, {"by": "no audio"}),
    ],
)
def test_row_5_what_ended_the_segment_is_told(
    end: ev.BaseEvent | None, evidence: dict[str, object]
) -> None:
    talk = Talk(server_vad=True)
    talk.mark()
    talk.mark(source="server")
    talk.say("hello there")
    talk.now = 2.0
    for event in talk.dialogue.tick(2.0) if end is None else [end]:
        talk.post(event)
    told = [(e.rule, e.evidence) for e in talk.decisions]
    assert told == [("5", {**evidence, "speech_s": 2.0, "words": 2})]


def test_row_5b_speech_goes_on_after_30_seconds_and_becomes_one_turn() -> None:
    talk = Talk()
    talk.mark()
    talk.at(29.9)
    talk.say("the first half")
    assert talk.command(ev.TurnASREndRequested) is None
    talk.at(0.1)
    assert talk.state[0] == "open"
    assert [type(event).__name__ for event in talk.asked[-2:]] == [
        "TurnASREndRequested",
        "TurnASRStartRequested",
    ]
    assert talk.asked[-1].resume and talk.decisions[-1].rule == "5b"
    talk.say("the first half of it", final=True)
    talk.at(20.0)
    talk.say("and the")
    talk.mark(False)
    talk.say("and the rest", final=True)
    assert talk.sent == [
        "update_asr the first half",
        "update_asr the first half of it and the",
        "stop_tts",
        "finish_asr the first half of it and the rest",
    ]


@pytest.mark.parametrize(("at", "pieces"), [(23.9, 1), (24.1, 2)])
def test_row_5b_in_the_last_fifth_a_pause_is_taken(at: float, pieces: int) -> None:
    talk = Talk(server_vad=True)
    talk.mark(source="server")
    talk.at(at)
    talk.post(ev.SpeechCandidate(silence_ms=120))
    assert sum(isinstance(e, ev.TurnASRStartRequested) for e in talk.asked) == pieces
    assert talk.state[0] == "open"


def test_row_5b_30_seconds_without_a_word_are_no_speech() -> None:
    talk = Talk(server_vad=True).talking(source="server")
    talk.mark(source="server")
    talk.at(30.0)
    assert talk.sent == ["pause_tts"]
    talk.say("", final=True)
    assert talk.state[0] == "closing" and talk.decisions[-1].evidence["by"] == "no words"
    talk.say("", final=True)
    assert talk.sent == ["pause_tts", "resume_tts"]


def test_row_5b_an_end_that_is_never_told_keeps_what_was_said() -> None:
    talk = Talk()
    talk.mark()
    for text in ("hello", ""):
        talk.at(30.0)
        talk.say(text, final=True)
    talk.say("", final=True)
    assert talk.sent == ["stop_tts", "finish_asr hello"]


def test_row_5b_a_click_before_speech_does_not_end_it() -> None:
    """Only a piece that T_segment cut off is long enough to tell noise from speech."""
    talk = Talk()
    talk.mark()
    talk.at(30.0)
    talk.mark(False)
    talk.mark()
    talk.say("hello", final=True)
    talk.say("", final=True)
    assert talk.state[0] == "open"


def test_row_5d_a_final_text_before_the_end_begins_a_new_piece() -> None:
    talk = Talk()
    talk.mark()
    talk.clear()
    talk.say("the first half", final=True)
    start = talk.command(ev.TurnASRStartRequested)
    assert start.resume and start.turn_id == 1
    assert talk.state[0] == "open" and talk.decisions[-1].rule == "5d"
    talk.say("and the")
    talk.mark(False)
    talk.say("and the rest", final=True)
    assert talk.sent[-1] == "finish_asr the first half and the rest"


def test_row_5d_the_text_of_a_piece_that_was_ended_begins_none() -> None:
    talk = Talk()
    talk.mark()
    talk.at(30.0)
    talk.clear()
    talk.say("the first half", final=True)
    assert talk.command(ev.TurnASRStartRequested) is None


def test_row_5d_a_pause_behind_a_cut_is_not_taken_for_the_end() -> None:
    talk = Talk()
    talk.mark()
    talk.at(30.0)
    talk.say("the first half", final=True)
    talk.say("", final=True)
    assert talk.state[0] == "open"


def test_row_5d_an_accepted_piece_stops_the_reply() -> None:
    talk = Talk().talking()
    talk.mark()
    talk.clear()
    talk.say("stop it", final=True)
    assert talk.sent == ["stop_tts"] and talk.state == ("open", "idle", False)
    assert talk.command(ev.TurnASRStartRequested).resume


def test_row_5a_an_end_without_a_segment_frees_the_page() -> None:
    talk = Talk()
    talk.mark(False)
    assert talk.sent == ["invalid_asr_result"]


def test_row_5a_but_not_while_a_reply_is_on_its_way() -> None:
    talk = Talk().thinking()
    talk.mark(False)
    assert talk.sent == []


# --- row 6: accepted ----------------------------------------------------------------------------


def test_row_6a_6b_6c_the_reply_is_stopped_before_the_answer_begins() -> None:
    talk = Talk().talking()
    talk.mark()
    talk.mark(False)
    talk.say("what about tomorrow", final=True)
    assert talk.sent == ["stop_tts", "finish_asr what about tomorrow"]
    assert [type(event).__name__ for event in talk.asked[-3:]] == [
        "TurnLLMAgentStopRequested",
        "TurnTTSStopRequested",
        "TurnLLMAgentStartRequested",
    ]
    assert talk.dialogue.turn_id == 2 and talk.state == ("none", "think", False)


def test_row_6b_a_client_that_neither_marks_nor_has_audio_gets_no_stop() -> None:
    talk = Talk(server_vad=True)
    talk.utter("hello", source="server")
    assert talk.sent == ["finish_asr hello"]


def test_row_6c_the_answer_carries_the_id_of_its_segment() -> None:
    talk = Talk()
    talk.utter("hello")
    request = talk.command(ev.TurnLLMAgentStartRequested)
    assert (request.text, request.turn_id) == ("hello", 1)


@pytest.mark.parametrize("tag", ["<incomplete>", "<wait>"])
def test_row_6d_half_a_sentence_is_held(tag: str) -> None:
    talk = Talk()
    talk.utter("I would like " + tag)
    assert talk.sent == ["stop_tts", "update_asr I would like"]
    assert talk.state == ("none", "idle", True) and talk.dialogue.turn_id == 0


def test_row_6d_the_two_halves_become_one_turn() -> None:
    talk = Talk()
    talk.utter("I would like", tag="<incomplete>")
    talk.utter("some tea")
    assert talk.sent[-1] == "finish_asr I would like some tea"


def test_row_6e_an_accepted_prefix_stops_the_reply_at_once() -> None:
    talk = Talk().talking()
    talk.mark()
    talk.mark(False)
    talk.mark()
    talk.clear()
    talk.say("no stop", final=True)
    assert talk.sent == ["stop_tts"] and talk.state == ("open", "idle", False)
    talk.mark(False)
    talk.say("", final=True)
    assert talk.sent == ["stop_tts", "finish_asr no stop"]


# --- row 7: rejected ----------------------------------------------------------------------------


def test_row_7_an_answered_segment_keeps_its_last_partial() -> None:
    talk = Talk().talking()
    talk.mark()
    talk.say("please stop it")
    talk.mark(False)
    talk.post(ev.TranscriptReady(error="it failed", turn_id=2))
    assert talk.sent[-1] == "finish_asr please stop it"


def test_row_7g_a_piece_that_is_lost_costs_no_other() -> None:
    talk = Talk()
    talk.mark()
    talk.mark(False)
    talk.mark()
    talk.post(ev.TranscriptReady(error="it hangs", turn_id=1))
    assert talk.state == ("open", "idle", False) and not talk.sent
    talk.mark(False)
    talk.at(4.9)
    talk.say("hello again", final=True)
    assert talk.sent == ["stop_tts", "finish_asr hello again"]


def test_row_7g_the_last_piece_gets_its_time_once_the_one_before_is_lost() -> None:
    talk = Talk()
    for _ in range(2):
        talk.mark()
        talk.mark(False)
    talk.at(4.0)
    talk.post(ev.TranscriptReady(error="it hangs", turn_id=1))
    talk.at(4.9)
    assert talk.state[0] == "closing"
    talk.at(0.2)
    assert talk.sent == ["invalid_asr_result"] and talk.state[0] == "none"


def test_row_7g_every_piece_is_lost() -> None:
    talk = Talk()
    for _ in range(2):
        talk.mark()
        talk.mark(False)
    for _ in range(2):
        talk.post(ev.TranscriptReady(error="it failed", turn_id=1))
    assert talk.sent == ["invalid_asr_result"] and talk.state[0] == "none"


def _two_pieces(first: str) -> Talk:
    """The first is understood; the second has ended, and is decoded."""
    talk = Talk()
    talk.mark()
    talk.at(30.0)
    talk.say(first, final=True)
    talk.mark(False)
    talk.clear()
    return talk


@pytest.mark.parametrize("late", [False, True])
def test_row_7h_a_last_piece_that_is_lost_costs_no_other(late: bool) -> None:
    talk = _two_pieces("the first half")
    if late:
        talk.at(5.0)
    else:
        talk.post(ev.TranscriptReady(error="it failed", turn_id=1))
    assert talk.sent == ["stop_tts", "finish_asr the first half"]
    assert talk.command(ev.TurnASRResetRequested).late is late
    reasons = [(e.rule, e.evidence["reason"]) for e in talk.decisions]
    assert reasons == [("7h", "decode late" if late else "it failed"), ("6c", "words")]


def test_row_7h_what_was_shown_of_the_last_piece_is_kept() -> None:
    talk = _two_pieces("the first half")
    talk.say("and some")
    talk.post(ev.TranscriptReady(error="it failed", turn_id=1))
    assert talk.sent[-1] == "finish_asr the first half and some"


def test_row_7h_a_piece_that_fails_while_somebody_speaks() -> None:
    talk = Talk()
    talk.mark()
    talk.at(30.0)
    talk.say("the first half", final=True)
    talk.post(ev.TranscriptReady(error="it failed", turn_id=1))
    assert talk.sent == ["stop_tts", "finish_asr the first half"]


def test_row_7h_nothing_that_counts_was_understood() -> None:
    talk = _two_pieces("mhm")
    talk.post(ev.TranscriptReady(error="it failed", turn_id=1))
    assert talk.sent == ["invalid_asr_result"] and talk.state == ("none", "idle", False)


def test_row_7a_noise_in_silence() -> None:
    talk = Talk()
    talk.utter("")
    assert talk.sent == ["invalid_asr_result"] and talk.state == ("none", "idle", False)


def test_row_7a_a_shown_bubble_is_taken_back() -> None:
    talk = Talk()
    talk.mark()
    talk.say("hello")
    talk.mark(False)
    talk.at(5.0)
    assert talk.sent == ["update_asr hello", "invalid_asr_result", "resume_tts"]
    assert talk.command(ev.TurnASRResetRequested).late


def test_row_7a_a_marked_page_with_output_is_woken() -> None:
    talk = Talk().talking(finished=True)
    talk.post(ev.ReplyOver(turn_id=1))
    talk.utter("")
    assert talk.sent == ["invalid_asr_result", "resume_tts"]


def test_row_7b_the_held_bubble_survives() -> None:
    talk = Talk()
    talk.utter("I would like", tag="<incomplete>")
    talk.clear()
    talk.mark()
    talk.say("hm hm hm")
    talk.mark(False)
    talk.say("", final=True)
    assert talk.sent == [
        "update_asr I would like hm hm hm",
        "invalid_asr_result",
        "update_asr I would like",
    ]
    talk.at(0.6)
    assert talk.sent[-1] == "finish_asr I would like"


def test_row_7c_noise_while_the_agent_thinks() -> None:
    talk = Talk().thinking()
    talk.utter("")
    assert talk.sent == ["invalid_asr_result"]
    assert talk.command(ev.TurnLLMAgentResumeRequested)
    talk.post(ev.ReplyAudioReady(turn_id=1))
    assert talk.sent == ["invalid_asr_result", "stop_tts"]


@pytest.mark.parametrize("text", ["uh-huh", "um", "okay", "嗯"])
def test_row_7c_a_backchannel_leaves_the_answer_that_is_on_its_way(text: str) -> None:
    talk = Talk().thinking()
    talk.utter(text)
    assert talk.sent == ["invalid_asr_result"]
    assert talk.command(ev.TurnLLMAgentStopRequested) is None
    assert talk.state == ("none", "think", False)


@pytest.mark.parametrize("finished", [False, True])
def test_row_7d_noise_while_it_speaks(finished: bool) -> None:
    talk = Talk().talking(finished=finished)
    talk.utter("uh-huh")
    assert talk.sent == ["resume_tts"]
    names = [type(event).__name__ for event in talk.asked]
    assert names.index("TurnTTSResumeRequested") < names.index("TurnLLMAgentResumeRequested")
    assert talk.command(ev.TurnTTSResumeRequested).restart is False


def test_row_7e_a_ruined_page_is_restarted() -> None:
    talk = Talk(server_vad=True).talking()
    talk.mark(source="server")
    talk.at(0.2)
    talk.mark()
    talk.clear()
    talk.mark(False)
    talk.say("", final=True)
    assert talk.command(ev.TurnTTSResumeRequested).restart is True
    assert talk.sent == ["stop_tts", "start_tts", "resume_tts"]
    assert not talk.dialogue.ruined


def test_row_7f_nothing_was_left_to_play() -> None:
    talk = Talk().talking(finished=True)
    talk.utter("")
    talk.post(ev.ReplyOver(turn_id=1))
    assert talk.sent == ["resume_tts", "invalid_asr_result"]
    assert talk.state == ("none", "idle", False)


# --- rows 8 and 9 -------------------------------------------------------------------------------


def test_row_8_a_mark_that_the_detector_does_not_confirm() -> None:
    talk = Talk(server_vad=True).talking()
    talk.mark()
    talk.at(0.4)
    assert talk.sent == ["resume_tts"] and talk.state == ("none", "talk", False)
    talk.mark(False)  # row 5a
    assert talk.sent == ["resume_tts"]


def test_row_8_a_confirmed_mark_stays() -> None:
    talk = Talk(server_vad=True)
    talk.mark()
    talk.at(0.2)
    talk.mark(source="server")
    talk.at(1.0)
    assert talk.state[0] == "open"


def test_row_8_nothing_said_and_nothing_heard_for_1_5_seconds() -> None:
    talk = Talk(server_vad=True)
    talk.mark()
    talk.mark(source="server")
    talk.mark(False, source="server")
    talk.mark()  # reopened by the client alone
    talk.at(1.5)
    assert talk.state[0] == "none"


def test_row_8_the_open_mark_costs_the_next_start_its_grace() -> None:
    talk = Talk(server_vad=True).talking()
    talk.mark()
    talk.at(1.0)
    talk.clear()
    talk.mark(source="server")
    assert talk.sent == ["pause_tts"]


def test_row_9_the_other_half_never_came() -> None:
    talk = Talk()
    talk.utter("I would like", tag="<incomplete>")
    talk.clear()
    talk.at(0.5)
    assert talk.sent == ["finish_asr I would like"]
    assert talk.dialogue.turn_id == 1 and talk.state == ("none", "think", False)


def test_row_9_what_follows_a_hesitation_is_one_turn_with_it() -> None:
    talk = Talk()
    talk.utter("um")
    assert talk.state == ("none", "idle", True)
    talk.utter("what time is it")
    assert talk.sent[-1] == "finish_asr um what time is it"


def test_row_9a_a_hesitation_that_nothing_follows_is_not_answered() -> None:
    talk = Talk()
    talk.utter("um")
    talk.clear()
    talk.at(0.5)
    assert talk.sent == ["invalid_asr_result", "resume_tts"]
    assert talk.state == ("none", "idle", False) and talk.dialogue.turn_id == 0


# --- rows 10 to 16: the reply -------------------------------------------------------------------


def test_row_10_the_text_of_the_reply_is_no_business_of_the_table() -> None:
    talk = Talk().thinking()
    talk.post(ev.LLMAgentResponseUpdate(text="hi", turn_id=1))
    assert talk.sent == []


@pytest.mark.parametrize("susp", [False, True])
def test_row_11_a_suspended_page_is_stopped_before_it_is_started(susp: bool) -> None:
    talk = Talk().thinking()
    if susp:
        talk.utter("")
        talk.clear()
    talk.post(ev.ReplyAudioReady(turn_id=1))
    talk.post(ev.TTSStarted(turn_id=1))
    assert talk.sent == (["stop_tts", "start_tts"] if susp else ["start_tts"])
    assert talk.dialogue.reply == "talk"


def test_row_12_the_finish_begins_the_drain() -> None:
    talk = Talk().talking(finished=True)
    assert talk.dialogue.reply == "drain"


@pytest.mark.parametrize("outcome", ["failed", "done"])
def test_row_13_and_13b_a_turn_without_sound_frees_the_page(outcome: str) -> None:
    talk = Talk().thinking()
    talk.post(ev.ReplyOver(turn_id=1, outcome=outcome))
    assert talk.sent == ["invalid_asr_result"] and talk.dialogue.reply == "idle"


def test_row_13a_14_15_16_a_reply_that_sounded_just_ends() -> None:
    talk = Talk().talking(finished=True)
    talk.post(ev.ReplyOver(turn_id=1))
    assert talk.sent == [] and talk.dialogue.reply == "idle"


def test_rows_14_15_16_are_the_playback_s() -> None:
    talk = Talk().talking()
    talk.post(ev.TTSChunkPlayedConfirm(chunk_index=1))
    talk.post(ev.TTSPlaybackFinished())
    assert talk.sent == [] and talk.dialogue.reply == "talk"


# --- rows 17 and 18 -----------------------------------------------------------------------------


def test_row_17_a_reply_that_the_server_begins() -> None:
    talk = Talk()
    talk.post(ev.TurnLLMAgentStartRequested(text=""))
    echo = talk.asked[-1]
    assert isinstance(echo, ev.TurnLLMAgentStartRequested) and echo.turn_id == 1
    assert talk.sent == [] and talk.dialogue.reply == "think"


def test_row_17_it_waits_for_its_time_and_stops_old_output() -> None:
    talk = Talk().talking()
    talk.post(ev.TurnLLMAgentStartRequested(text="news"))
    assert talk.dialogue.turn_id == 1
    talk.post(ev.TTSFinished(turn_id=1))
    talk.post(ev.ReplyOver(turn_id=1))
    assert talk.sent == ["tts_finished", "stop_tts"]
    assert talk.dialogue.turn_id == 2


def test_row_17_it_waits_until_the_reply_before_is_told_to_its_end() -> None:
    talk = Talk().thinking()
    talk.mark()
    talk.post(ev.TurnLLMAgentStartRequested(text="a document came"))
    talk.mark(False)
    talk.clear()
    owners = talk._owners
    talk._owners = lambda event: (
        [ev.ReplyOver(turn_id=1)] if isinstance(event, ev.TurnTTSResumeRequested) else owners(event)
    )
    talk.say("", final=True)
    assert [type(event).__name__ for event in talk.asked] == [
        "TurnTTSResumeRequested",
        "TurnLLMAgentResumeRequested",
        "TurnLLMAgentStartRequested",
    ]


def test_row_17_ids_stay_in_step() -> None:
    talk = Talk()
    talk.post(ev.TurnLLMAgentStartRequested(text="news"))
    talk.post(ev.ReplyOver(turn_id=1))
    talk.utter("hello")
    assert talk.asked[-1].turn_id == 2


@pytest.mark.parametrize("before", ["open", "hold", "talk"])
def test_row_18_the_end_of_the_conversation_sends_nothing(before: str) -> None:
    talk = Talk()
    if before == "open":
        talk.mark()
    elif before == "hold":
        talk.utter("I would like", tag="<incomplete>")
    else:
        talk.talking()
    talk.clear()
    talk.post(ev.ConversationEnded())
    talk.at(60.0)
    assert talk.sent == [] and talk.state == ("none", "idle", False)
    assert talk.command(ev.TurnLLMAgentStopRequested)
    assert talk.command(ev.TurnTTSStopRequested)


def test_row_18_nobody_is_spoken_to_until_somebody_is_there_again() -> None:
    talk = Talk()
    talk.post(ev.ConversationEnded())
    talk.post(ev.TurnLLMAgentStartRequested(text="news"))
    assert talk.dialogue.reply == "idle"
    talk.post(ev.ConversationStarted())
    assert talk.dialogue.reply == "think"


# --- beliefs, sources, decisions ------------------------------------------------------------------


def test_the_beliefs_follow_what_was_really_sent() -> None:
    dialogue = Talk().dialogue
    dialogue.feed(ev.TTSChunkGenerated(chunk_index=1), 0.0)
    dialogue.feed(ev.TTSPaused(), 0.0)
    assert dialogue.ctx and dialogue.susp
    dialogue.feed(ev.TTSResumed(), 0.0)
    assert dialogue.ctx and not dialogue.susp
    dialogue.feed(ev.TTSStopped(), 0.0)
    assert not dialogue.ctx


def test_row_5c_what_a_lost_detector_began_is_over() -> None:
    talk = Talk(server_vad=True)
    talk.mark(source="server")
    talk.post(ev.VADLost())
    assert talk.state[0] == "closing"


def test_row_5c_a_client_that_marks_goes_on_without_its_detector() -> None:
    talk = Talk(server_vad=True)
    talk.mark()
    talk.post(ev.VADLost())
    talk.at(3.0)
    assert talk.state[0] == "open"  # neither T_misfire nor the quiet segment
    talk.mark(False)
    talk.say("hello", final=True)
    talk.clear()
    talk.mark(source="server")  # it is back, and confirms marks again
    talk.mark(False, source="server")
    talk.say("", final=True)
    talk.mark()
    talk.at(0.5)
    assert talk.sent.count("invalid_asr_result") == 2


def test_row_5c_who_speaks_behind_both_marks_is_not_cut_off() -> None:
    talk = Talk(server_vad=True)
    talk.mark()
    talk.mark(source="server")
    talk.post(ev.VADLost())
    assert talk.state[0] == "open"


def test_vad_source_client_ignores_the_detector() -> None:
    talk = Talk(vad_source="client", server_vad=True)
    talk.mark(source="server")
    assert talk.state[0] == "none"


def test_vad_source_server_needs_the_detector_to_confirm_and_to_end() -> None:
    talk = Talk(vad_source="server", server_vad=True)
    talk.mark()
    talk.mark(source="server")
    talk.mark(False)
    assert talk.state[0] == "open"
    talk.mark(False, source="server")
    assert talk.state[0] == "closing"


def test_a_transcript_of_an_earlier_segment_is_ignored() -> None:
    talk = Talk().thinking()
    talk.mark()
    talk.post(ev.TranscriptReady(error="late", turn_id=1))
    assert talk.state[0] == "open"


def test_another_judge_may_decide_and_say_how_long_to_wait() -> None:
    def patient(text: str, *, tag: str | None, agent_speaking: bool, question: bool) -> Verdict:
        return Verdict(kind="wait", wait_ms=5000)

    talk = Talk()
    talk.dialogue = Dialogue(judge=patient)
    talk.utter("well")
    talk.at(1.1)
    assert talk.dialogue.holding
    talk.at(0.2)
    assert talk.sent[-1] == "finish_asr well"


def test_decisions_tell_why_but_not_what_was_said() -> None:
    dialogue, seen = Dialogue(), []
    dialogue.feed(ev.VADSpeechStart(), 0.0)
    dialogue.feed(ev.VADSpeechEnd(), 0.5)
    transcript = Transcript(text="my secret", final=True)
    seen = dialogue.feed(ev.TranscriptReady(transcript=transcript, turn_id=1), 1.0)
    decision = next(event for event in seen if isinstance(event, ev.Decision))
    assert decision.rule == "6c" and decision.evidence["reason"] == "words"
    assert decision.evidence["words"] == 2, "of the final text: nothing was shown before"
    assert "secret" not in repr(decision)


# --- the judge ----------------------------------------------------------------------------------


ANSWERING = ["stop", "yes", "3", "okay", "Yeah.", "好", "对", "是的", "huh", "um okay", "嗯好"]


@pytest.mark.parametrize("text", ANSWERING)
def test_while_the_agent_is_silent_what_may_be_an_answer_counts(text: str) -> None:
    assert judge(text, tag=None, agent_speaking=False).kind == "complete"


CONTINUING = ["uh-huh", "Mhm.", "mm-hmm", "mm hmm", "oh", "嗯", "嗯嗯。", "哦", "um, uh-huh"]


@pytest.mark.parametrize("text", CONTINUING)
def test_while_it_is_silent_a_backchannel_counts_only_behind_a_question(text: str) -> None:
    assert judge(text, tag=None, agent_speaking=False).kind == "backchannel"
    assert judge(text, tag=None, agent_speaking=False, question=True).kind == "complete"
    assert judge(text, tag=None, agent_speaking=True, question=True).kind == "backchannel"


@pytest.mark.parametrize("question", [False, True])
@pytest.mark.parametrize("text", ["um", "Er...", "uh, um", "呃"])
def test_while_it_is_silent_more_will_come_behind_a_hesitation(text: str, question: bool) -> None:
    verdict = judge(text, tag=None, agent_speaking=False, question=question)
    assert verdict.kind == "incomplete"


@pytest.mark.parametrize(
    ("heard", "answered"),
    [
        ("Shall I go on?", True),
        ('He asked: "Why?"', True),
        ("要继续吗？ ", True),
        ("Why? Because.", False),
        ("Shall I go", False),  # it was cut off
        ("", False),
    ],
)
def test_a_backchannel_answers_the_question_that_was_heard(heard: str, answered: bool) -> None:
    talk = Talk().talking(finished=True)
    talk.post(ev.ReplyOver(turn_id=1, heard=heard))
    talk.utter("mhm")
    assert (talk.dialogue.turn_id == 2) is answered
    assert ("finish_asr mhm" in talk.sent) is answered


@pytest.mark.parametrize("heard_first", [True, False])
def test_a_question_is_forgotten_with_its_conversation(heard_first: bool) -> None:
    """The end of the conversation stops the reply, so what was heard of it is told later."""
    talk = Talk().talking(finished=True)
    events = [ev.ReplyOver(turn_id=1, heard="Shall I go on?"), ev.ConversationEnded()]
    for event in events if heard_first else reversed(events):
        talk.post(event)
    talk.utter("mhm")
    assert talk.dialogue.turn_id == 1


@pytest.mark.parametrize("text", ["um", "Uh-huh.", "okay, yeah", "mm hmm", "嗯", "嗯嗯", "好的。"])
def test_while_it_speaks_fillers_do_not(text: str) -> None:
    assert judge(text, tag=None, agent_speaking=True).kind == "backchannel"


@pytest.mark.parametrize("text", ["stop", "no", "okay stop", "等一下", "不", "what"])
def test_while_it_speaks_words_do(text: str) -> None:
    assert judge(text, tag=None, agent_speaking=True).kind == "complete"


@pytest.mark.parametrize("text", ["", "  ", "...", "。"])
@pytest.mark.parametrize("tag", [None, "<complete>"])
def test_nothing_is_nothing(text: str, tag: str | None) -> None:
    assert judge(text, tag=tag, agent_speaking=False).kind == "reject"


@pytest.mark.parametrize("tag", ["complete", "incomplete", "wait", "backchannel"])
def test_a_tag_decides(tag: str) -> None:
    assert judge("yes", tag=f"<{tag}>", agent_speaking=True).kind == tag


@given(st.text())
def test_no_tag_survives_and_no_text_breaks_the_judge(text: str) -> None:
    stripped = strip_tags(f"<|zh|>{text}<wait>")
    assert not stripped.startswith("<|zh|>")
    judge(stripped, tag=None, agent_speaking=True)
    is_filler(stripped)
