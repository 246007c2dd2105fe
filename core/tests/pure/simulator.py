"""One random conversation between a model of a client and the pure heart of the server.

A discrete-event simulation: no loop, no sleeping. The recogniser, the agent and the voice are
scripts drawn from a seed; Dialogue, Playback and Heard are the real ones. `run` returns a Report
of everything that went wrong.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from original_page import RATE, Device, OriginalPage, Played, SimplePlayer

from xtalk import events as ev
from xtalk.audio import AudioFrame
from xtalk.dialogue import LATE, Dialogue, DialogueConfig, words_of
from xtalk.playback import USER, Playback
from xtalk.speech.interfaces import Sentence, SpeechChunk, Transcript

KINDS = ("marks", "marks+vad", "vad", "mixed", "device", "ours")
RESENT = int(0.4 * RATE)  # what a restart may repeat: a chunk, and a round trip
PAIRS = 254 * 255
KINDS_OF_SPEECH = ("speech", "half", "cough", "uh-huh", "um", "silence")
WORDS = ["one", "two", "three", "seven", "ten", "yes", "stop", "why", "because", "tomorrow"]


def _ramp() -> bytes:
    """Samples that say where they are, in pairs: a number below PAIRS, then the block with 255.

    No byte of them is 0, so silence is recognisable.
    """
    firsts = [bytes((i % 255 + 1, i // 255 + 1)) for i in range(PAIRS)]
    return b"".join(
        first + second for second in (bytes((k + 1, 255)) for k in range(13)) for first in firsts
    )


RAMP = _ramp()


def tone(turn: int, start: int, samples: int) -> bytes:
    """Samples start.. of the audio of this turn."""
    at = 2 * (turn * 7919 + start)
    return RAMP[at : at + 2 * samples]


def locate(turn: int, pcm: bytes) -> int:
    """The sample of the turn's audio with which these (two or more) begin."""
    second = pcm[1] == 255
    number, block = (pcm[2:4], pcm[:2]) if second else (pcm[:2], pcm[2:4])
    pair = (block[0] - 1) * PAIRS + (number[1] - 1) * 255 + number[0] - 1
    return 2 * (pair - (second and pair % PAIRS > 0)) + second - turn * 7919


# --- scripts ------------------------------------------------------------------------------------


@dataclass
class Utterance:
    start: float
    end: float
    words: list[str]
    tag: str | None = None

    def until(self, at: float) -> int:
        """How many of its words have been said by then."""
        share = (at - self.start) / (self.end - self.start)
        return int(len(self.words) * min(1.0, max(0.0, share)) + 0.001)


@dataclass
class Script:
    """What the agent and the voice will do in one turn."""

    think_s: float
    sentences: list[tuple[str, int]]  # text, samples
    pieces: list[int]  # sizes in samples that the voice yields, in turn
    piece_s: float
    fails_at: int | None = None  # after so many sentences
    silent: bool = False
    tools: dict[int, tuple[bool, float]] = field(default_factory=dict)
    # before which sentence: has it effects, how long does it take


def draw_utterances(rng: random.Random) -> list[Utterance]:
    out, at = [], rng.uniform(0.2, 1.0)
    for _ in range(rng.randint(1, 6)):
        kind = rng.choices(KINDS_OF_SPEECH, (10, 3, 5, 3, 1, 2))[0]
        if kind in ("speech", "half"):
            words = [rng.choice(WORDS) for _ in range(rng.randint(1, 7))]
            length, tag = 0.3 * len(words), "<incomplete>" if kind == "half" else None
        elif kind in ("uh-huh", "um"):
            words, length, tag = [kind], rng.uniform(0.2, 0.5), None
        else:
            words, length, tag = [], rng.uniform(0.05, 0.9), None
        out.append(Utterance(at, at + length, words, tag))
        at += length + rng.choice((rng.uniform(0.02, 1.0), rng.uniform(0.5, 5.0)))
    return out


def draw_script(rng: random.Random) -> Script:
    sentences, pace = [], rng.uniform(0.03, 0.08)  # seconds a letter
    for _ in range(rng.choice((1, 1, 2, 3))):
        text = " ".join(rng.choice(WORDS) for _ in range(rng.randint(1, 8))) + "."
        sentences.append((text, int(len(text) * pace * rng.uniform(0.9, 1.1) * RATE)))
    pieces = rng.choice(([10**9], [4800], [960], [2400, 7, 0, 4099], [48000], [441, 9600]))
    return Script(
        think_s=rng.choice((0.01, 0.2, 1.0)),
        sentences=sentences,
        pieces=pieces,
        piece_s=rng.choice((0.001, 0.01, 0.05)),
        fails_at=rng.choice((None, None, None, None, None, None, 0, 1)),
        silent=rng.random() < 0.05,
        tools={
            number: (rng.random() < 0.5, rng.choice((0.0, 0.3, 2.0)))
            for number in range(len(sentences) + 1)
            if rng.random() < 0.15
        },
    )


def heard_by_detector(
    utterances: Iterable[Utterance],
    rng: random.Random,
    *,
    onset: float,
    hangover: float,
    miss: float,
) -> list[tuple[float, bool]]:
    """(time, is start) of the marks that a detector makes."""
    spans: list[list[float]] = []
    for said in utterances:
        if said.end - said.start < onset or rng.random() < miss:
            continue
        begin, end = said.start + onset, said.end + hangover
        if spans and begin <= spans[-1][1]:
            spans[-1][1] = max(spans[-1][1], end)
        else:
            spans.append([begin, end])
    return [mark for begin, end in spans for mark in ((begin, True), (end, False))]


# --- the report ---------------------------------------------------------------------------------


@dataclass
class Report:
    """Each list holds sentences on what went wrong; an uninterrupted reply may never lose sound."""

    audio: list[str] = field(default_factory=list)
    unheard: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    bubbles: list[str] = field(default_factory=list)
    wire: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    replies: int = 0
    restarts: int = 0
    interrupted: int = 0
    rejected: int = 0
    cut: int = 0  # segments went on in a new piece
    paused: int = 0  # the same, as the recogniser took a pause for the end
    kept: int = 0  # the last piece was lost, and those before it were answered
    tools: int = 0
    late_tools: int = 0  # ended after their turn was interrupted
    speculated: int = 0
    promoted: int = 0
    begun_by_server: int = 0
    muted: int = 0
    deaf: int = 0  # the microphone's audio was lost for good

    @property
    def counts(self) -> dict[str, int]:
        return {name: value for name, value in vars(self).items() if isinstance(value, int)}

    @property
    def faults(self) -> list[str]:
        return [*self.audio, *self.unheard, *self.stuck, *self.bubbles, *self.wire, *self.words]


# --- the simulation -----------------------------------------------------------------------------


@dataclass
class Turn:
    """The scripted agent and voice of one turn, and what came of it."""

    turn_id: int
    script: Script
    text: str = ""
    said: str = ""  # text that an update_resp has carried
    finish_owed: bool = False
    alive: bool = True
    made: int = 0
    sentence_ends: list[tuple[Sentence, int, int]] = field(default_factory=list)
    over: ev.ReplyOver | None = None
    stopped: bool = False
    called: list[int] = field(default_factory=list)
    done: list[int] = field(default_factory=list)  # tools with effects that ended
    waiting: Callable[[], None] | None = None


class Simulation:
    def __init__(
        self,
        seed: int,
        kind: str,
        *,
        dialogue: type[Dialogue] = Dialogue,
        playback: type[Playback] = Playback,
    ) -> None:
        self.rng = rng = random.Random(f"{kind} {seed}")
        self.kind = kind
        self.now = 0.0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._counter = 0
        self.rtt = rng.uniform(0.002, 0.18)
        self._line = {"up": 0.0, "down": 0.0}
        vad = kind not in ("marks", "ours")
        config = DialogueConfig(
            server_vad=vad,
            rtt_s=self.rtt,
            speculate=rng.random() < 0.5,
            segment_s=rng.choice((30.0, 30.0, 30.0, 1.5)),
        )
        self.dialogue = dialogue(config, 0.0)
        self.dialogue.last_frame = float("inf")
        self.playback = playback()
        self.playback.rtt = self.rtt
        marks = kind in ("marks", "marks+vad", "mixed")
        simple = {"device": Device, "ours": SimplePlayer}.get(kind)
        self.page = simple() if simple else OriginalPage(marks=marks)
        self.decode_s = rng.choice((0.05, 0.05, 0.3, 1.0, 9.0))
        self.turns: dict[int, Turn] = {}
        self.turn: Turn | None = None
        self.agent_shut = False
        self.agent_held: list[Callable[[], None]] = []
        self.shadow: tuple[int, str, float, Script] | None = None
        self.asked = 0  # turns that the server has begun
        self.muted = self.deaf = False
        self.unfinished: set[str] = set()  # detectors that a mute caught in mid-speech
        self.hearing: set[str] = set()
        self.asr: list[object] = []  # the live tokens: a reset takes them all
        self.asr_from = self.asr_ended = self.asr_cut = self.asr_free = 0.0
        self.asr_open: object | None = None  # the token of the piece that is heard
        self.understood: set[str] = set()  # the words of the segment's pieces so far
        self.log: list[tuple[str, object]] = []
        self.report = Report()
        self.open_segment = False
        self.answers = 0
        self.left = False
        self.sent_in: dict[int, int] = {}  # chunk index -> turn
        self.finals: dict[int, str] = {}
        self._page_at: float | None = None
        self._tick_at: float | None = None
        self._poll_at: float | None = None

    # --- time ---------------------------------------------------------------------------

    def at(self, time: float, action: Callable[[], None]) -> None:
        self._counter += 1
        heapq.heappush(self._heap, (max(time, self.now), self._counter, action))

    def run(self) -> Report:
        self.plan()
        steps = 0
        while self._heap:
            steps += 1
            if steps > 40_000 or self.now > 400:
                self.report.stuck.append("the conversation never ends")
                break
            self.now, _, action = heapq.heappop(self._heap)
            action()
            self._rearm()
        self.judge()
        return self.report

    def _rearm(self) -> None:
        """Timers of the page, the dialogue and the playback, each in the heap at most once."""
        at = self.page.next_at
        if at is not None and at != self._page_at:
            self._page_at = at
            self.at(at, self._page_timer)
        at = self.dialogue.deadline
        if at is not None and at != float("inf") and at != self._tick_at:
            self._tick_at = at
            self.at(at, self._tick)
        at = self.playback.wake
        if at is not None and at != self._poll_at:
            self._poll_at = at
            self.at(at, self._poll)

    def _page_timer(self) -> None:
        self._page_at = None
        at = self.page.next_at
        if at is not None and at <= self.now:
            self._from_page(self.page.advance(self.now))

    def _tick(self) -> None:
        self._tick_at = None
        self.post_all(self.dialogue.tick(self.now))

    def _poll(self) -> None:
        self._poll_at = None
        self.post_all(self.playback.poll(self.now))
        self._make_more()

    # --- the people ---------------------------------------------------------------------

    def plan(self) -> None:
        rng = self.rng
        self.utterances = draw_utterances(rng)
        mixed = self.kind == "mixed"
        if self.page.marks:
            onset, miss = rng.uniform(0.0, 0.1), 0.3 if mixed else 0.05
            for at, start in heard_by_detector(
                self.utterances, rng, onset=onset, hangover=0.5, miss=miss
            ):
                self.at(at, self._page_start if start else self._page_end)
        if self.kind == "ours":
            self.post(ev.ConversationStarted(client={"pauses_itself": False}))
        if self.dialogue.config.server_vad:
            miss = 0.3 if mixed else 0.05
            for at, start in heard_by_detector(
                self.utterances, rng, onset=0.25, hangover=0.5, miss=miss
            ):
                self.at(at + self.rtt / 2, self._vad_start if start else self._vad_end)
            for said in self.utterances:
                self.at(said.end + 0.12 + self.rtt / 2, self._candidate)
        for _ in range(rng.choice((0, 0, 0, 1, 1, 3))):
            self.at(rng.uniform(0.5, 10), self._ask)
        if rng.random() < 0.2:
            self.at(rng.uniform(0.5, 10.0), self._mute)
        elif rng.random() < 0.06:
            self.at(rng.uniform(0.5, 10.0), self._lose_audio)
        if rng.random() < 0.05:
            self.at(rng.uniform(1.0, 12.0), self._leave)

    def _leave(self) -> None:
        """The user presses Stop: the page is silent, idle and deaf from now on."""
        self.left = True
        self.page.on_stop_tts(None, self.now)
        self.page.state = "idle"
        self._deliver("up", lambda: self.post(ev.ConversationEnded()))

    def _ask(self) -> None:
        self.asked += 1
        self.post(ev.TurnLLMAgentStartRequested(text=""))

    def _mute(self) -> None:
        """Nothing is heard, and a detector in mid-speech stays there."""
        if self.left:
            return
        self.report.muted += 1
        self.muted = True
        self.unfinished |= self.hearing
        until = self.now + self.rng.uniform(0.1, 4.0)
        self._silence(until)
        self.dialogue.last_frame = self.now
        self._from_page(self.page.mute(self.now))
        self.at(until, self._unmute)

    def _unmute(self) -> None:
        self.muted = False
        self.dialogue.last_frame = float("inf")
        self.at(self.now + 0.5, lambda: self._page_end() if "page" in self.unfinished else None)
        self.at(self.now + 0.5, lambda: self._vad_end() if "vad" in self.unfinished else None)

    def _lose_audio(self) -> None:
        """The page's microphone is gone, and nobody says so."""
        self.report.deaf += 1
        self.deaf = True
        self._silence(float("inf"))
        self.dialogue.last_frame = self.now

    def _silence(self, until: float) -> None:
        """What is said from now on reaches nobody."""
        for said in self.utterances:
            if said.start < self.now < said.end:
                share = (self.now - said.start) / (said.end - said.start)
                said.words, said.end = said.words[: int(len(said.words) * share)], self.now
            elif self.now <= said.start < until:
                said.words = []

    def _detects(self, who: str, start: bool) -> bool:
        """Whether this detector says so. In mid-speech it makes no start, whatever it missed."""
        if self.left or self.muted or self.deaf:
            return False
        if start:
            known = who in self.unfinished
            self.hearing.add(who)
            return not known
        self.hearing.discard(who)
        self.unfinished.discard(who)
        return True

    def _page_start(self) -> None:
        if self._detects("page", True):
            self._from_page(self.page.speech_start(self.now))

    def _page_end(self) -> None:
        if self._detects("page", False):
            self._from_page(self.page.speech_end(self.now))

    def _vad_start(self) -> None:
        if self._detects("vad", True):
            self.post(ev.VADSpeechStart(source="server"))

    def _vad_end(self) -> None:
        if self._detects("vad", False):
            self.post(ev.VADSpeechEnd(source="server"))

    def _candidate(self) -> None:
        if "vad" in self.hearing and not (self.left or self.muted or self.deaf):
            self.post(ev.SpeechCandidate(silence_ms=120))

    # --- the line -----------------------------------------------------------------------

    def _deliver(self, way: str, action: Callable[[], None]) -> None:
        delay = self.rtt / 2 * self.rng.uniform(0.8, 1.2)
        self._line[way] = max(self._line[way] + 1e-6, self.now + delay)
        self.at(self._line[way], action)

    def _from_page(self, messages: list[tuple[str, int]]) -> None:
        if self.left:
            return
        stamp = int(self.now * 1000)
        for action, value in messages:
            event = _input(action, value, stamp)
            self._deliver("up", lambda event=event: self.post(event))

    def send(self, action: str, data: object = None) -> None:
        if action in ("chunk", "update_resp", "tool_called") and self.dialogue.segment != "none":
            self.report.wire.append(f"{action} through a shut gate")
        self.log.append((action, data))
        self._deliver("down", lambda: self._to_page(action, data))

    def _to_page(self, action: str, data: object) -> None:
        if not self.left:
            self._from_page(self.page.receive(action, data, self.now))

    # --- the bus: depth first, as the real one --------------------------------------------

    def post_all(self, events: Iterable[ev.BaseEvent]) -> None:
        for event in events:
            self.post(event)

    def post(self, event: ev.BaseEvent) -> None:
        name = type(event).__name__
        out = list(self.dialogue.feed(event, self.now))
        handler = getattr(self, "on_" + name, None)
        if handler is not None:
            out += handler(event) or []
        gateway = _WIRE.get(name)
        if gateway is not None:
            gateway(self, event)
        self.post_all(out)
        if name in ("TTSChunkPlayedConfirm", "TTSPlaybackFinished"):
            self._make_more()

    # --- the recogniser -----------------------------------------------------------------

    def on_TurnASRStartRequested(self, event: ev.TurnASRStartRequested) -> None:
        cut = event.resume and self.asr_ended == self.now
        self.report.cut += cut
        self.asr_cut = self.now if cut else 0.0
        if not cut:
            self.asr_from = self.now - 0.5
        if not event.resume:
            if self.open_segment:
                self.report.wire.append("a segment opened before the last was answered")
            self.open_segment, self.answers = True, 0
            self.understood = set()
        self.asr_open = token = object()
        self.asr.append(token)
        if self.decode_s < 1.0:
            self.at(self.now + 0.3, lambda: self._partial(token, event.turn_id))
        if self.rng.random() < 0.1:
            at = self.now + self.rng.uniform(0.1, 3.0)
            self.at(at, lambda: self._end_early(token, event.turn_id))

    def _spoken(self) -> list[Utterance]:
        since, late = self.asr_from - 0.3, self._late()
        return [u for u in self.utterances if since <= u.start < late]

    def _words(self) -> str:
        return " ".join(
            word
            for said in self._spoken()
            for word in said.words[said.until(self._late(self.asr_cut)) : said.until(self._late())]
        )

    def _late(self, at: float | None = None) -> float:
        """When what is heard at that time was said."""
        return (self.now if at is None else at) - self.rtt / 2

    def _partial(self, token: object, turn_id: int) -> None:
        if token not in self.asr or self.dialogue.segment == "none":
            return
        if text := self._words():
            self.post(ev.TranscriptReady(transcript=Transcript(text=text), turn_id=turn_id))
        if self.dialogue.segment == "open":
            self.at(self.now + 0.3, lambda: self._partial(token, turn_id))

    def _end_early(self, token: object, turn_id: int) -> None:
        """The recogniser takes a pause for the end, once it has no other piece to decode."""
        if token is self.asr_open and self.asr_free <= self.now:
            self.report.paused += 1
            self.asr_open, self.asr_ended = None, self.now
            self.post(ev.TranscriptReady(transcript=self._final(), turn_id=turn_id))

    def _final(self) -> Transcript:
        spoken = self._spoken()
        tag = next((u.tag for u in reversed(spoken) if u.until(self._late())), None)
        return Transcript(text=self._words(), final=True, tag=tag)

    def on_TurnASREndRequested(self, event: ev.TurnASREndRequested) -> None:
        if self.asr_open is None:
            return
        token = object()
        self.asr.append(token)
        self.asr_open, self.asr_ended = None, self.now
        final = self._final()
        delay = self.decode_s * self.rng.uniform(0.5, 1.0)
        ready = ev.TranscriptReady(transcript=final, turn_id=event.turn_id)
        if self.rng.random() < 0.03:
            ready = ev.TranscriptReady(error="it failed", turn_id=event.turn_id)
        self.asr_free = max(self.asr_free, self.now) + delay
        self.at(self.asr_free, lambda: self.post(ready) if token in self.asr else None)

    def on_TranscriptReady(self, event: ev.TranscriptReady) -> None:
        if event.transcript is not None and event.transcript.final:
            self.understood |= set(event.transcript.text.split())

    def on_TurnASRResetRequested(self, event: ev.TurnASRResetRequested) -> None:
        if event.late and self.asr_free <= self.now:
            self.report.words.append("a text was awaited that nobody was to give")
        self.asr.clear()
        self.asr_open, self.asr_free = None, 0.0

    # --- the agent ----------------------------------------------------------------------

    def on_TurnLLMAgentStartRequested(self, event: ev.TurnLLMAgentStartRequested) -> list:
        if event.turn_id == 0:
            return []
        if event.turn_id in self.turns:
            self.report.wire.append(f"turn {event.turn_id} began twice")
        self.agent_held, self.agent_shut = [], False
        script, begun = self._script_of(event)
        turn = self.turn = Turn(event.turn_id, script)
        self.turns[event.turn_id] = turn
        self.report.replies += 1
        self.report.begun_by_server += not event.text
        self.at(begun + turn.script.think_s, lambda: self._say(turn, 0))
        return self.playback.begin(event.turn_id, self.now)

    def _script_of(self, event: ev.TurnLLMAgentStartRequested) -> tuple[Script, float]:
        """What the agent will say, and since when it thinks about it."""
        shadow, self.shadow = self.shadow, None
        if not event.speculated:
            if shadow is not None:
                self.report.wire.append("a turn began beside a speculation")
            return draw_script(self.rng), self.now
        if shadow is None:
            self.report.wire.append(f"nothing became turn {event.turn_id}")
            return draw_script(self.rng), self.now
        if shadow[0] != event.turn_id or words_of(shadow[1]) != words_of(event.text):
            self.report.wire.append(f"{shadow[:2]} became turn {event.turn_id}: {event.text}")
        self.report.promoted += 1
        return shadow[3], shadow[2]

    def on_TurnLLMAgentSpeculateRequested(self, event: ev.TurnLLMAgentSpeculateRequested) -> None:
        if self.shadow is not None or self.dialogue.reply != "idle" or not self.open_segment:
            self.report.wire.append("a speculation that must not be")
        self.report.speculated += 1
        self.shadow = (event.turn_id, event.text, self.now, draw_script(self.rng))

    def on_TurnLLMAgentDiscardRequested(self, event: ev.TurnLLMAgentDiscardRequested) -> None:
        if self.shadow is None:
            self.report.wire.append("a discard of nothing")
        self.shadow = None

    def _call_tool(self, turn: Turn, number: int) -> None:
        effects, seconds = turn.script.tools[number]
        turn.called.append(number)
        self.report.tools += 1
        self._tell(lambda: self.send("tool_called", (turn.turn_id, number)))
        self.at(self.now + seconds, lambda: self._tool_over(turn, number, effects))

    def _tool_over(self, turn: Turn, number: int, effects: bool) -> None:
        """One with effects runs to its end in any case; of a dead turn nobody hears."""
        if effects:
            turn.done.append(number)
            self.report.late_tools += not turn.alive
        self._say(turn, number)

    def _say(self, turn: Turn, number: int) -> None:
        if not turn.alive:
            return
        script = turn.script
        if number in script.tools and number not in turn.called:
            self._call_tool(turn, number)
            return
        if script.fails_at == number:
            self.post(ev.ErrorOccurred(error_message="it failed"))
            self._finish_text(turn)
            self.post(ev.ReplyFailed(turn_id=turn.turn_id, stage="agent"))
            return
        if number == len(script.sentences):
            self._finish_text(turn)
            self.post(ev.ReplyTextOver(turn_id=turn.turn_id, text=turn.text))
            if turn.alive:
                self.post_all(self.playback.end(self.now))
            return
        text, samples = script.sentences[number]
        start = len(turn.text) + bool(turn.text)
        turn.text = turn.text + " " * bool(turn.text) + text
        self._update(turn, finish=False)
        sentence = Sentence(index=number, text=text, spoken=text, span=(start, len(turn.text)))
        if script.silent:
            self._say(turn, number + 1)
            return
        turn.sentence_ends.append((sentence, turn.made, turn.made + samples))
        self._synthesise(turn, sentence, samples, number)

    def _synthesise(self, turn: Turn, sentence: Sentence, left: int, number: int) -> None:
        if not turn.alive:
            return
        if self.playback.room_s <= 0:
            turn.waiting = lambda: self._synthesise(turn, sentence, left, number)
            return
        if not left:
            self._say(turn, number + 1)
            return
        pieces = turn.script.pieces
        size = min(left, pieces[self._counter % len(pieces)])
        frame = AudioFrame(tone(turn.turn_id, turn.made, size), RATE)
        turn.made += size
        self.post_all(self.playback.feed(SpeechChunk(audio=frame, sentence=sentence), self.now))
        wait = turn.script.piece_s
        self.at(self.now + wait, lambda: self._synthesise(turn, sentence, left - size, number))

    def _make_more(self) -> None:
        turn = self.turn
        if turn and turn.waiting and self.playback.room_s > 0:
            waiting, turn.waiting = turn.waiting, None
            waiting()

    def _update(self, turn: Turn, *, finish: bool) -> None:
        self._tell(lambda: self._update_now(turn, finish=finish))

    def _tell(self, send: Callable[[], None]) -> None:
        if self.agent_shut:
            self.agent_held.append(send)
        else:
            send()

    def _update_now(self, turn: Turn, *, finish: bool) -> None:
        if finish:
            turn.finish_owed = False
            self.send("finish_resp", (turn.turn_id, turn.text))
        else:
            turn.finish_owed = True
            self.send("update_resp", (turn.turn_id, turn.text))

    def _finish_text(self, turn: Turn) -> None:
        if turn.text:
            self._update(turn, finish=True)

    def on_TurnLLMAgentPauseRequested(self, event: ev.BaseEvent) -> None:
        self.agent_shut = True

    def on_TurnLLMAgentResumeRequested(self, event: ev.BaseEvent) -> None:
        self.agent_shut = False
        held, self.agent_held = self.agent_held, []
        for send in held:
            send()

    def on_TurnLLMAgentStopRequested(self, event: ev.BaseEvent) -> None:
        self.agent_held, self.agent_shut = [], False
        if self.turn is not None:
            self.turn.alive = False
            if self.turn.finish_owed:
                self.turn.finish_owed = False
                self.send("finish_resp", (self.turn.turn_id, self.turn.text))

    # --- the voice ----------------------------------------------------------------------

    def on_TurnTTSPauseRequested(self, event: ev.TurnTTSPauseRequested) -> list:
        return self.playback.shut(
            USER,
            self.now,
            tell_client=event.tell_client,
            ruined=event.ruined,
            client_timestamp=event.client_timestamp,
        )

    def on_TurnTTSResumeRequested(self, event: ev.TurnTTSResumeRequested) -> list:
        self.report.restarts += event.restart
        return self.playback.open(
            USER, self.now, tell_client=event.tell_client, restart=event.restart
        )

    def on_TurnTTSStopRequested(self, event: ev.TurnTTSStopRequested) -> list:
        if self.playback.active:
            self.turns[self.playback.turn_id].stopped = True
        return self.playback.stop(self.now, tell_client=event.tell_client)

    def on_ReplyFailed(self, event: ev.ReplyFailed) -> list:
        return self.playback.fail(self.now)

    def on_TTSChunkPlayedConfirm(self, event: ev.TTSChunkPlayedConfirm) -> list:
        return self.playback.ack(event.chunk_index, event.client_timestamp, self.now)

    def on_TTSPlaybackFinished(self, event: ev.TTSPlaybackFinished) -> list:
        return self.playback.playback_finished(self.now)

    def on_TTSStarted(self, event: ev.TTSStarted) -> None:
        self.speaking_turn = event.turn_id

    def on_TTSChunkGenerated(self, event: ev.TTSChunkGenerated) -> None:
        self.sent_in[event.chunk_index] = self.speaking_turn

    def on_ReplyOver(self, event: ev.ReplyOver) -> None:
        turn = self.turns[event.turn_id]
        if turn.over is not None:
            self.report.wire.append(f"reply {event.turn_id} was over twice")
        turn.over = event
        if event.outcome != "done":
            turn.alive = False
        self.report.interrupted += event.outcome == "interrupted"

    def on_Decision(self, event: ev.Decision) -> None:
        self.report.kept += event.rule == "7h"

    def on_ConversationEnded(self, event: ev.ConversationEnded) -> None:
        self.open_segment = False

    def on_VerificationResult(self, event: ev.VerificationResult) -> None:
        self.answers += 1
        if not self.open_segment or self.answers != 1:
            self.report.wire.append("a segment was not answered exactly once")
        self.open_segment = False
        self.report.rejected += not event.is_valid
        lost = event.reason in ("it failed", LATE) and self.understood - {"um", "uh-huh"}
        if lost and not event.is_valid:
            self.report.words.append(f"{lost} were understood and thrown away")

    # --- the verdict --------------------------------------------------------------------

    def judge(self) -> None:
        self._judge_state()
        self._judge_answers()
        self._judge_bubbles()
        self._judge_wire()
        played: dict[int, list[Played]] = {}
        for piece in self.page.played:
            played.setdefault(self.sent_in[piece.index], []).append(piece)
        for turn in self.turns.values():
            self._judge_sound(turn, played.get(turn.turn_id, []))

    def _judge_state(self) -> None:
        dialogue, page, stuck = self.dialogue, self.page, self.report.stuck
        if (dialogue.segment, dialogue.reply, dialogue.holding) != ("none", "idle", False):
            stuck.append(f"server: {dialogue.segment}, {dialogue.reply}, {dialogue.holding}")
        if self.playback.active or self.open_segment or self.shadow is not None:
            stuck.append("the playback, a segment or a speculation is still open")
        if not self.left and self.report.begun_by_server != self.asked:
            stuck.append("a reply that the server asked for was never begun")
        for turn in self.turns.values():
            acted = [number for number in turn.called if turn.script.tools[number][0]]
            if acted != turn.done:
                stuck.append(f"tools of turn {turn.turn_id} never ended")
        if page.marks and page.state != "idle":
            stuck.append(f"page: {page.state}")
        if page.scheduled or page.queue:
            stuck.append("the page holds sound that it does not play")
        stuck += [f"reply {t.turn_id} is never over" for t in self.turns.values() if not t.over]

    def _judge_answers(self) -> None:
        """No agent of these asks anything, so a backchannel is never an answer."""
        for turn, text in self.finals.items():
            if set(text.split()) <= {"um", "uh-huh"}:
                self.report.wire.append(f"turn {turn} answers {text!r}")

    def _judge_bubbles(self) -> None:
        for lost, by in self.page.removed:
            held = self.left and by == self.dialogue.turn_id + 1  # accepted, but then they left
            if by not in self.finals and not held:
                self.report.bubbles.append(f"the bubble of turn {lost} was lost to {by}")

    def _judge_wire(self) -> None:
        wrong, finished, answered = self.report.wire, set(), set()
        started = finish_sent = False
        last_index = last_asr = 0
        previous = ""
        for action, data in self.log:
            if action in ("update_asr", "finish_asr"):
                turn = data[0]
                if turn < 1 or turn < last_asr or turn in finished:
                    wrong.append(f"{action} of turn {turn} after {last_asr}")
                last_asr = turn
                if action == "finish_asr":
                    finished.add(turn)
            elif action in ("update_resp", "finish_resp", "tool_called"):
                if data[0] in self.finals and data[0] not in finished:
                    wrong.append(f"{action} of turn {data[0]} before its finish_asr")
                if data[0] in answered or data[0] < 1:
                    wrong.append(f"{action} of turn {data[0]} after its finish_resp")
                if action == "finish_resp":
                    answered.add(data[0])
            elif action == "start_tts":
                if started and not finish_sent:
                    wrong.append("start_tts within a reply")
                started, finish_sent = True, False
            elif action == "stop_tts":
                started = False
            elif action == "chunk":
                wrong += _judge_chunk(data, last_index, started)
                last_index = data[0]
            elif action == "tts_finished":
                if finish_sent or not started or previous != "chunk":
                    wrong.append("tts_finished twice, without start_tts, or not with a chunk")
                finish_sent = True
            previous = action
        if started and not finish_sent and not self.left:
            wrong.append("a start_tts without its tts_finished")
        said = {turn.turn_id for turn in self.turns.values() if turn.finish_owed}
        wrong += [f"finish_resp of turn {turn} was never sent" for turn in said]

    def _judge_sound(self, turn: Turn, pieces: list[Played]) -> None:
        over = turn.over
        if over is None:
            return
        position = again_until = generation = 0
        for piece in pieces:
            pcm = piece.pcm.rstrip(b"\0")
            if len(pcm) < 4:
                position += len(pcm) // 2
                continue
            offset = locate(turn.turn_id, pcm)
            if tone(turn.turn_id, offset, len(pcm) // 2) != pcm:
                self.report.audio.append(f"turn {turn.turn_id}: spoilt samples")
            if generation and piece.generation != generation and position - offset < RESENT:
                again_until = position  # a restart may repeat what it is not sure of
            generation = piece.generation
            if offset < position and position > again_until:
                self.report.audio.append(f"turn {turn.turn_id}: {position - offset} played twice")
            if offset <= position:  # what sounds beyond a gap counts only once the gap is filled
                position = max(position, offset + len(pcm) // 2)
        dropped = over.outcome == "failed" and turn.turn_id not in self.sent_in.values()
        if not turn.stopped and position < turn.made and not dropped:
            self.report.audio.append(f"turn {turn.turn_id}: {turn.made - position} samples lost")
        self._judge_heard(turn, over, position)

    def _judge_heard(self, turn: Turn, over: ev.ReplyOver, position: int) -> None:
        if not turn.text.startswith(over.heard):
            self.report.unheard.append(f"turn {turn.turn_id}: not a prefix: {over.heard!r}")
        slack = int(0.1 * RATE) if over.estimated else 1
        for sentence, start, end in turn.sentence_ends:
            said = min(len(over.heard), sentence.span[1]) - sentence.span[0]
            if said <= 0:
                continue
            until = start + (end - start) * said / len(sentence.text)
            if until > position + slack:
                behind = (until - position) / RATE
                self.report.unheard.append(f"turn {turn.turn_id}: {behind:.3f} s were not heard")
                return


def _judge_chunk(data: tuple[int, bytes], last_index: int, started: bool) -> list[str]:
    index, pcm = data
    wrong = []
    if index != last_index + 1:
        wrong.append(f"chunk {index} after {last_index}")
    if not started:
        wrong.append(f"chunk {index} without start_tts")
    if len(pcm) % 960 or not 960 <= len(pcm) <= 19_200:
        wrong.append(f"chunk {index} has {len(pcm)} bytes")
    return wrong


def _input(action: str, value: int, stamp: int) -> ev.BaseEvent:
    if action == "vad_speech_start":
        return ev.VADSpeechStart(client_timestamp=stamp)
    if action == "vad_speech_end":
        return ev.VADSpeechEnd(client_timestamp=stamp)
    if action == "tts_chunk_played":
        return ev.TTSChunkPlayedConfirm(chunk_index=value, client_timestamp=stamp)
    return ev.TTSPlaybackFinished()


def _finish_asr(sim: Simulation, event: ev.ASRResultFinal) -> None:
    sim.finals[event.turn_id] = event.text
    sim.send("finish_asr", (event.turn_id, event.text))


def _invalid(sim: Simulation, event: ev.VerificationResult) -> None:
    if not event.is_valid and event.show:
        sim.send("invalid_asr_result")


_WIRE: dict[str, Callable] = {
    "ASRResultPartial": lambda sim, e: sim.send("update_asr", (e.turn_id, e.text)),
    "ASRResultFinal": _finish_asr,
    "VerificationResult": _invalid,
    "ErrorOccurred": lambda sim, e: sim.send("error", e.error_message),
    "TurnAbandoned": lambda sim, e: sim.send("invalid_asr_result"),
    "TTSStarted": lambda sim, e: sim.send("start_tts"),
    "TTSChunkGenerated": lambda sim, e: sim.send("chunk", (e.chunk_index, e.audio_chunk)),
    "TTSFinished": lambda sim, e: sim.send("tts_finished"),
    "TTSPaused": lambda sim, e: sim.send("pause_tts"),
    "TTSResumed": lambda sim, e: sim.send("resume_tts"),
    "TTSStopped": lambda sim, e: sim.send("stop_tts"),
}
