"""Ten thousand random conversations, and the proof that the simulator can see a bad rule."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from simulator import KINDS, Simulation

from xtalk import events as ev
from xtalk.dialogue import Dialogue
from xtalk.heard import Heard
from xtalk.playback import Playback, PlaybackConfig

CONVERSATIONS = 10_000


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_lost_doubled_unheard_or_stuck(kind: str) -> None:
    totals: Counter[str] = Counter()
    for seed in range(CONVERSATIONS // len(KINDS)):
        report = Simulation(seed, kind).run()
        assert not report.faults, f"Simulation({seed}, {kind!r}): {report.faults}"
        totals.update(report.counts)
    least = {"replies": 1000, "interrupted": 200, "rejected": 500, "begun_by_server": 500}
    least |= {"tools": 500, "late_tools": 5, "speculated": 300, "promoted": 150, "muted": 100}
    least |= {"deaf": 20, "cut": 100, "paused": 50, "kept": 50}
    short = {name: totals[name] for name in least if totals[name] < least[name]}
    assert not short, "the conversations have to be worth their name"
    if kind in ("marks", "marks+vad", "mixed"):
        assert totals["restarts"] > 10


@settings(
    max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
@given(seed=st.integers(min_value=10**6, max_value=10**9), kind=st.sampled_from(KINDS))
def test_conversations_that_hypothesis_picks(seed: int, kind: str) -> None:
    report = Simulation(seed, kind).run()
    assert not report.faults


class NaiveDialogue(Dialogue):
    """Pause at every start, resume at every rejection, and no thought for the page's ways."""

    def _client_start(self, event: ev.VADSpeechStart, now: float) -> list[ev.BaseEvent]:
        sounding, was = self.sounding, self.segment
        out = super()._client_start(event, now)
        self.ruined = False
        for command in out:
            if isinstance(command, ev.TurnTTSPauseRequested):
                command.tell_client = sounding and was == "none"
                command.ruined = False
        return out

    def _audio_ready(self, event: ev.ReplyAudioReady, now: float) -> list[ev.BaseEvent]:
        return []

    @property
    def _will_mark(self) -> bool:
        return False


class BelievingHeard(Heard):
    """Every acknowledgement is true."""

    def _credible(self, chunk: object, now: float) -> bool:
        return True


class NaivePlayback(Playback):
    """No waiting after a resume and no chunk to wake the page up with."""

    def __init__(self) -> None:
        super().__init__(PlaybackConfig(settle_s=0.0))

    def _reset(self, turn_id: int) -> None:
        super()._reset(turn_id)
        self._heard = BelievingHeard(rtt=self.rtt)

    def _kick(self, now: float) -> list[ev.BaseEvent]:
        self._owed = False
        return []


class Careless(Dialogue):
    """Does not free a page that was muted."""

    def _idle_end(self) -> list[ev.BaseEvent]:
        return []


class Hasty(Dialogue):
    """Begins the server's turns whoever speaks."""

    def _serve_queue(self) -> list[ev.BaseEvent]:
        return [self._begin_turn(self._queue.popleft())] if self._queue else []


class Credulous(Dialogue):
    """Uses whatever was speculated."""

    def _discard(self, reason: str) -> list[ev.BaseEvent]:
        return []


class Patient(Dialogue):
    """Waits for audio for ever."""

    def _fire(self, name: str, now: float) -> list[ev.BaseEvent]:
        if name in ("noaudio", "segment"):
            self.last_frame = float("inf")
            self._speech.timers.pop("segment", None)
            return []
        return super()._fire(name, now)


class Wasteful(Dialogue):
    """Rejects a segment when its last piece is lost."""

    def _give_up(self, reason: str, now: float) -> list[ev.BaseEvent]:
        return self._reject("7", reason, now)


class Deaf(Dialogue):
    """Believes the recogniser that there is no more to hear."""

    def _hear_on(self, now: float) -> list[ev.BaseEvent]:
        return []


@pytest.mark.parametrize(
    ("dialogue", "kind", "what"),
    [
        (Careless, "marks", "stuck"),
        (Hasty, "vad", "wire"),
        (Credulous, "vad", "wire"),
        (Patient, "device", "stuck"),
        (Wasteful, "ours", "words"),
        (Deaf, "ours", "words"),
    ],
)
def test_the_simulator_sees_what_goes_wrong_without_a_rule(
    dialogue: type[Dialogue], kind: str, what: str
) -> None:
    reports = [Simulation(seed, kind, dialogue=dialogue).run() for seed in range(300)]
    assert sum(bool(getattr(report, what)) for report in reports) > 1


@pytest.mark.parametrize("kind", ["marks", "marks+vad"])
def test_the_naive_rule_loses_audio_and_believes_what_nobody_heard(kind: str) -> None:
    lost = unheard = 0
    for seed in range(500):
        report = Simulation(seed, kind, dialogue=NaiveDialogue, playback=NaivePlayback).run()
        lost += bool(report.audio)
        unheard += bool(report.unheard)
    assert lost > 25, "one conversation in twenty, at the least"
    assert unheard > 25
