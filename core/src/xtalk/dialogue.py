"""When to listen, speak, pause, resume and answer: the whole policy, as one pure table.

A Dialogue is fed events and returns the events to post, in order; time is the argument `now`, in
seconds. The row numbers in the comments are those of the table in `docs/dialogue.md`.

    segment   NONE --start--> OPEN --end--> CLOSING --verdict--> NONE      (a start reopens CLOSING)
    reply     IDLE --turn--> THINK --TTSStarted--> TALK --TTSFinished--> DRAIN --ReplyOver--> IDLE
    holding   half a sentence was accepted and waits for its other half

While a segment is not NONE the gate is shut: nothing of the reply leaves. What is believed of the
client: `susp` it is suspended, `ctx` it holds audio output, `ruined` it threw its schedule away.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

from xtalk.events import (
    ASRResultFinal,
    ASRResultPartial,
    BaseEvent,
    ClockSyncReceived,
    ConversationEnded,
    ConversationStarted,
    Decision,
    ReplyAudioReady,
    ReplyOver,
    SpeechCandidate,
    TranscriptReady,
    TTSChunkGenerated,
    TTSFinished,
    TTSPaused,
    TTSResumed,
    TTSStarted,
    TTSStopped,
    TurnAbandoned,
    TurnASREndRequested,
    TurnASRResetRequested,
    TurnASRStartRequested,
    TurnLLMAgentDiscardRequested,
    TurnLLMAgentPauseRequested,
    TurnLLMAgentResumeRequested,
    TurnLLMAgentSpeculateRequested,
    TurnLLMAgentStartRequested,
    TurnLLMAgentStopRequested,
    TurnTTSPauseRequested,
    TurnTTSResumeRequested,
    TurnTTSStopRequested,
    VADLost,
    VADSpeechEnd,
    VADSpeechStart,
    VerificationResult,
)

if TYPE_CHECKING:
    from xtalk.speech.interfaces import EndOfTurn

__all__ = [
    "ANSWERS",
    "CONTINUERS",
    "FILLERS",
    "HESITATIONS",
    "Dialogue",
    "DialogueConfig",
    "Judge",
    "Verdict",
    "judge",
    "strip_tags",
]

Segment = Literal["none", "open", "closing"]
Reply = Literal["idle", "think", "talk", "drain"]
Kind = Literal["complete", "incomplete", "wait", "backchannel", "reject"]

# Said while somebody else speaks, or is about to, all of them mean "go on". In silence the first
# are no answer, behind the second more will come, and the third may be all that somebody says.
# fmt: off
CONTINUERS = frozenset(
    {
        "ah", "aha", "hm", "hmm", "mhm", "mm", "mmhm", "mmhmm", "mmm", "oh", "ooh", "uhhuh",
        "嗯", "啊", "哦", "噢", "喔", "呀", "吧", "呢", "嘛", "咳", "哼", "唉", "诶", "欸",
    }
)
HESITATIONS = frozenset({"er", "erm", "uh", "um", "umm", "呃"})
ANSWERS = frozenset(
    {
        "eh", "huh", "ok", "okay", "right", "sure", "yeah", "yep", "yup",
        "对", "是", "好", "行", "好的", "是的", "对的", "没错",
    }
)
FILLERS = CONTINUERS | HESITATIONS | ANSWERS
# fmt: on

LATE = "decode late"

_TAG = re.compile(r"<[^<>]*>")
_QUESTION = re.compile(r"[?？][^\w?？]*\Z")
WORD = re.compile(r"[\u3040-\u9fff\uac00-\ud7af]|[^\W_\u3040-\u9fff\uac00-\ud7af]+(?:['’-]\w+)*")


# --- the verdict on what was said ---------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Of the same shape as EndOfTurn, which a judge may return as well."""

    kind: Kind
    confidence: float = 1.0
    wait_ms: int | None = None
    reason: str = ""


class Judge(Protocol):
    """Is this text a turn? `tag` is the recogniser's semantic tag, such as `<incomplete>`.

    `agent_speaking` from the moment at which a reply is asked for until it is over, `question`
    when what was heard of the reply before ended in one.
    """

    def __call__(
        self, text: str, *, tag: str | None, agent_speaking: bool, question: bool
    ) -> Verdict | EndOfTurn: ...


def strip_tags(text: str) -> str:
    """The text without any `<...>`."""
    return " ".join(_TAG.sub(" ", text).split())


def words_of(text: str) -> list[str]:
    """Lower-case words without punctuation; an ideograph is a word by itself."""
    return WORD.findall(text.lower())


def is_filler(text: str, fillers: frozenset[str] = FILLERS) -> bool:
    """Whether nothing but fillers was said: "uh-huh", "okay, yeah", "嗯嗯", "好的"."""
    words = ["".join(c for c in word if c.isalnum()) for word in words_of(text)]
    return "".join(words) in fillers or all(word in fillers for word in words)


def _is_no_answer(text: str, question: bool) -> bool:
    """Whether nobody waits for a reply to it; behind a question "mhm" is a yes."""
    return is_filler(text, HESITATIONS if question else CONTINUERS | HESITATIONS)


def judge(
    text: str,
    *,
    tag: str | None,
    agent_speaking: bool,
    question: bool = False,
    fillers: frozenset[str] = FILLERS,
) -> Verdict:
    """The default: tags decide; then anything counts but fillers, of which silence knows fewer.

    In silence "mhm" counts behind a question, and "um" begins what is still to come.
    """
    if not words_of(text):
        return Verdict(kind="reject", reason="empty")
    if tag == "<backchannel>":
        return Verdict(kind="backchannel", reason="tag")
    if tag == "<incomplete>":
        return Verdict(kind="incomplete", reason="tag")
    if tag == "<wait>":
        return Verdict(kind="wait", reason="tag")
    if tag == "<complete>":
        return Verdict(kind="complete", reason="tag")
    if agent_speaking and is_filler(text, fillers):
        return Verdict(kind="backchannel", reason="filler")
    if is_filler(text, HESITATIONS):
        return Verdict(kind="incomplete", reason="hesitation")
    if _is_no_answer(text, question):
        return Verdict(kind="backchannel", reason="filler")
    return Verdict(kind="complete", reason="words")


# --- settings -----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class DialogueConfig:
    """All times in seconds.

    `vad_source`: "auto" believes the client's marks and the server's detector, whichever comes
    first; "client" ignores the detector; "server" takes a client's start mark for a reflex that
    the detector has to confirm, and its end mark for nothing.
    """

    vad_source: Literal["auto", "client", "server"] = "auto"
    server_vad: bool = False
    misfire_s: float = 0.4
    quiet_s: float = 1.5
    grace_s: float = 0.15
    decode_s: float = 5.0
    hold_s: float = 0.5
    hold_min_s: float = 0.2
    hold_max_s: float = 1.2
    noaudio_s: float = 1.5
    segment_s: float = 30.0
    settle_s: float = 0.1
    crossing_s: float = 0.1
    rtt_s: float = 0.1
    early_words: int = 3
    early_voiced_s: float = 0.8
    hold_words: int = 2
    speculate: bool = False
    guesses: int = 2  # speculations for each end that the detector thinks it hears


@dataclass(slots=True)
class _Speech:
    """What is known of the segment."""

    opened_at: float
    marked: bool  # the client marked its start, and so waits for an answer
    prefix: str = ""  # decoded before it was reopened
    partial: str = ""
    shown: bool = False  # the client was shown some of it
    answered: bool = False  # accepted early: the reply is stopped already
    cut: bool = False  # its last piece that ended was cut off by T_segment
    decodes: int = 0  # finals that are still to come
    guesses: int = 0  # speculations that this segment may still begin
    timers: dict[str, float] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return _join(self.prefix, self.partial)


# --- the table ----------------------------------------------------------------------------------


class Dialogue:
    """One conversation. Feed it what happens, post what it answers, tick it at its deadline."""

    def __init__(
        self,
        config: DialogueConfig = DialogueConfig(),
        now: float = 0.0,
        *,
        judge: Judge = judge,
    ) -> None:
        self.config = config
        self.last_frame = now  # when audio last came in
        self.segment: Segment = "none"
        self.reply: Reply = "idle"
        self.turn_id = 0  # n, of the last turn; the segment is m = n + 1
        self.held: str | None = None
        self.shadow: str | None = None  # what the agent answers already, unheard
        self.question = False  # what was heard of the last reply ends in one
        self.susp = self.ctx = self.ruined = False
        self.rtt = config.rtt_s
        self._judge = judge
        self._reply_id = 0
        self._speech = _Speech(now, False)
        self._hold_until: float | None = None
        self._queue: deque[TurnLLMAgentStartRequested] = deque()
        self._meet_client({})
        self._server_vad = config.server_vad and config.vad_source != "client"
        self._server_speaking = False
        self._started_at = self._resumed_at = float("-inf")
        self._left = False  # the client has ended the conversation, and has not begun another
        self._telling = False  # the gate opens, and what the agent said meanwhile is still held
        self._reopened = False  # the gate was opened for a reply, and nothing came of it yet
        self._on: dict[str, Callable[[Any, float], list[BaseEvent]]] = {
            VADSpeechStart.TYPE: self._start,
            VADSpeechEnd.TYPE: self._end,
            VADLost.TYPE: self._detector_lost,
            SpeechCandidate.TYPE: self._candidate,
            TurnASRStartRequested.TYPE: self._listen,
            TurnASREndRequested.TYPE: self._listened,
            TurnASRResetRequested.TYPE: self._forget,
            TranscriptReady.TYPE: self._transcript,
            TurnLLMAgentStartRequested.TYPE: self._request,
            TurnLLMAgentResumeRequested.TYPE: self._told,
            ReplyAudioReady.TYPE: self._audio_ready,
            ReplyOver.TYPE: self._reply_over,
            TTSStarted.TYPE: self._tts_started,
            TTSChunkGenerated.TYPE: self._tts_chunk,
            TTSFinished.TYPE: self._tts_finished,
            TTSPaused.TYPE: self._tts_paused,
            TTSResumed.TYPE: self._tts_resumed,
            TTSStopped.TYPE: self._tts_stopped,
            ClockSyncReceived.TYPE: self._clock_sync,
            ConversationStarted.TYPE: self._conversation_started,
            ConversationEnded.TYPE: self._conversation_ended,
        }

    # --- the surface ------------------------------------------------------------------------

    def feed(self, event: BaseEvent, now: float) -> list[BaseEvent]:
        """The events to post because of this one, in order. Types it does not know are ignored."""
        handler = self._on.get(event.TYPE)
        return handler(event, now) + self._serve_queue() if handler else []

    def tick(self, now: float) -> list[BaseEvent]:
        """The events of all timers that are due."""
        out: list[BaseEvent] = []
        while (due := self._next_timer()) and due[0] <= now:
            out += self._fire(due[1], now)
        return out + self._serve_queue()

    @property
    def deadline(self) -> float | None:
        """When `tick` is due; None while nothing is timed."""
        due = self._next_timer()
        return due[0] if due else None

    @property
    def holding(self) -> bool:
        return self.held is not None

    @property
    def sounding(self) -> bool:
        return self.reply in ("talk", "drain")

    @property
    def replying(self) -> bool:
        """Whether a reply sounds, or is being made."""
        return self.reply != "idle"

    @property
    def busy(self) -> bool:
        """Whether somebody speaks, is being understood, or is owed the rest of a reply."""
        idle = self.segment == "none" and self.reply == "idle" and not self.holding
        return not idle or bool(self._queue and not self._left)

    @property
    def audible(self) -> bool:
        """Whether the client would play at once what it is sent, as far as is known."""
        return not (self._left or self.susp or (self._marks and self._pauses_itself))

    def with_prefix(self, text: str) -> str:
        """The segment's text, when this is what its last decode makes of it."""
        return _join(self._speech.prefix, text)

    @property
    def _m(self) -> int:
        return self.turn_id + 1

    # --- rows 1 and 2: somebody begins to speak ---------------------------------------------

    def _start(self, event: VADSpeechStart, now: float) -> list[BaseEvent]:
        if event.source == "client":
            return self._client_start(event, now)
        if self.config.vad_source == "client":
            return []
        self._server_vad = self._server_speaking = True
        return self._server_start(now)

    def _client_start(self, event: VADSpeechStart, now: float) -> list[BaseEvent]:
        """The mark of a page that pauses itself is a fact about it, whatever the segment does."""
        self._marks = self._mark_open = True
        crossed = self._crossed(now)
        ruined = crossed or (self._pauses_itself and self.ctx and self.susp)
        tell = self.sounding and (crossed or not (self._pauses_itself or self.susp))
        if self._pauses_itself:
            self.susp = True
        self.ruined = self.ruined or ruined
        was = self.segment
        out = self._begin(now, marked=True)
        if was == "none" and self._server_vad and not self._server_speaking:
            self._speech.timers["misfire"] = now + self.config.misfire_s
        if self._pauses_itself:
            self._speech.timers.pop("pause", None)  # it has paused: `pause_tts` would ruin it
        pause = TurnTTSPauseRequested(
            tell_client=tell, ruined=ruined, client_timestamp=event.client_timestamp
        )
        if was == "none":
            return [TurnLLMAgentPauseRequested(), pause, *out]
        return [pause, *out]

    def _crossed(self, now: float) -> bool:
        """The page paused before our start or resume reached it, and runs again by now."""
        sent_at = max(self._started_at, self._resumed_at)
        recent = now - sent_at < self.rtt + self.config.crossing_s
        return self._pauses_itself and self.sounding and recent

    def _server_start(self, now: float) -> list[BaseEvent]:
        was = self.segment
        self._speech.timers.pop("misfire", None)
        out = self._begin(now, marked=False)
        if was != "none":
            return out
        shut: list[BaseEvent] = [
            TurnLLMAgentPauseRequested(),
            TurnTTSPauseRequested(tell_client=False),
        ]
        if self.sounding and not self.susp:
            wait = self.config.grace_s if self._will_mark else 0.0
            self._speech.timers["pause"] = max(now + wait, self._resumed_at + self.config.settle_s)
            if self._speech.timers["pause"] <= now:
                del self._speech.timers["pause"]
                shut[1] = TurnTTSPauseRequested(tell_client=True)
        return [*shut, *out]

    @property
    def _will_mark(self) -> bool:
        """A page that pauses itself is about to say so; `pause_tts` on top would ruin it."""
        return self._marks and self._pauses_itself and not self._mark_open

    def _begin(self, now: float, *, marked: bool) -> list[BaseEvent]:
        self._left = False
        if self.segment == "none":
            self.segment = "open"
            self._hold_until = None
            self._speech = _Speech(now, marked)
            self._arm_open(now)
            return [TurnASRStartRequested(turn_id=self._m)]
        self._speech.marked = self._speech.marked or marked
        if self.segment == "open":
            return []
        self.segment = "open"  # row 1b: the decode under way becomes the segment's prefix
        self._speech.timers.pop("decode", None)
        self._arm_open(now)
        return [TurnASRStartRequested(turn_id=self._m, resume=True)]

    def _arm_open(self, now: float) -> None:
        self.last_frame = max(self.last_frame, now)
        self._speech.timers["segment"] = now + self.config.segment_s
        if self._server_vad:
            self._speech.timers["quiet"] = now + self.config.quiet_s

    # --- the same by command: those that are not numbered are not our own --------------------

    def _listen(self, event: TurnASRStartRequested, now: float) -> list[BaseEvent]:
        """A button is pressed: a start that needs no detector to confirm it."""
        if event.turn_id:
            return []
        out = self._server_start(now)
        self._speech.timers.pop("quiet", None)
        return out

    def _listened(self, event: TurnASREndRequested, now: float) -> list[BaseEvent]:
        if event.turn_id or self.segment != "open":
            return []
        return self._close(now, "command")

    def _forget(self, event: TurnASRResetRequested, now: float) -> list[BaseEvent]:
        if event.turn_id or self.segment == "none":
            return []
        return self._reject("7", "reset", now)

    # --- row 5: somebody stops speaking -----------------------------------------------------

    def _end(self, event: VADSpeechEnd, now: float) -> list[BaseEvent]:
        if event.source == "client":
            self._mark_open = False
            counts = self.config.vad_source != "server" or not self._server_vad
        else:
            self._server_speaking = False
            counts = self.config.vad_source != "client"
        if self.segment == "open" and counts:
            if event.source == "client":
                return self._close(now, "mark")
            return self._close(now, "detector", silence_ms=round(event.silence_ms))
        if self.segment == "none" and event.source == "client":
            return self._idle_end()
        return []

    def _detector_lost(self, event: VADLost, now: float) -> list[BaseEvent]:
        """Nothing confirms a mark any more, and nothing ends what the detector alone began."""
        began, self._server_speaking, self._server_vad = self._server_speaking, False, False
        for name in ("quiet", "misfire"):
            self._speech.timers.pop(name, None)
        alone = began and self.segment == "open" and not self._mark_open
        return self._close(now, "detector lost") if alone else []

    def _idle_end(self) -> list[BaseEvent]:
        """Row 5a: the page says "processing" now, and nothing else will free it."""
        if self.reply != "idle" or self.holding:
            return []
        return [TurnAbandoned(turn_id=self._m, reason="nothing was open")]

    def _close(self, now: float, by: str, **evidence: Any) -> list[BaseEvent]:
        speech, self.segment = self._speech, "closing"
        for name in ("segment", "quiet", "misfire"):
            speech.timers.pop(name, None)
        speech.timers["decode"] = now + self.config.decode_s
        speech.decodes += 1
        speech.cut = False
        speech.guesses = max(speech.guesses, 1)
        evidence |= {"by": by, "speech_s": self._speech_s(now)}
        decision = self._decide("5", "end of speech", **evidence)
        return [decision, TurnASREndRequested(turn_id=self._m), *self._guess()]

    def _cut(self, now: float) -> list[BaseEvent]:
        """Row 5b: whoever speaks goes on, in a new piece; the one before becomes the prefix."""
        speech = self._speech
        speech.timers["segment"] = now + self.config.segment_s
        speech.decodes += 1
        speech.cut = True
        return [
            self._decide("5b", "a new piece", speech_s=self._speech_s(now)),
            TurnASREndRequested(turn_id=self._m),
            TurnASRStartRequested(turn_id=self._m, resume=True),
        ]

    def _speech_s(self, now: float) -> float:
        return round(now - self._speech.opened_at, 3)

    # --- row 4: the agent begins before the words are certain ---------------------------------

    def _candidate(self, event: SpeechCandidate, now: float) -> list[BaseEvent]:
        if self.segment == "none":
            return []
        speech = self._speech
        speech.guesses = self.config.guesses
        left = speech.timers.get("segment", float("inf")) - now
        pause = self._cut(now) if left < self.config.segment_s / 5 else []  # better than in a word
        return [*self._guess(), *pause]

    def _guess(self) -> list[BaseEvent]:
        """Answer what was understood so far, as if it were all; it must not have sounded yet.

        A recogniser lags, so the words may change behind the end that the detector hears: one
        guess more, and then it was no end.
        """
        speech, text = self._speech, _join(self.held or "", self._speech.text)
        if not self.config.speculate or self.reply != "idle" or _same(self.shadow, text):
            return []
        out = self._discard("other words")
        if speech.guesses and self._verdict(speech.text, None).kind == "complete":
            speech.guesses -= 1
            self.shadow = text
            guess = Verdict(kind="complete", reason="candidate")
            out.append(self._decide("4", "speculate", guess))
            out.append(TurnLLMAgentSpeculateRequested(text=text, turn_id=self._m))
        return out

    def _discard(self, reason: str) -> list[BaseEvent]:
        if self.shadow is None:
            return []
        self.shadow = None
        decision = self._decide("4", "discard", Verdict(kind="reject", reason=reason))
        return [decision, TurnLLMAgentDiscardRequested(turn_id=self._m, reason=reason)]

    # --- rows 3 and 6: what was said --------------------------------------------------------

    def _transcript(self, event: TranscriptReady, now: float) -> list[BaseEvent]:
        if self.segment == "none" or event.turn_id not in (0, self._m):
            return []
        if event.error or event.transcript is None:
            return self._lost(event.error or "decode failed", now)
        raw = event.transcript.text
        found = _TAG.search(raw)
        tag = event.transcript.tag or (found.group().lower() if found else None)
        if event.transcript.final:
            return self._final(strip_tags(raw), tag, now)
        return self._partial(strip_tags(raw), now)

    def _partial(self, text: str, now: float) -> list[BaseEvent]:
        speech = self._speech
        if not text or text == speech.partial:
            return []
        speech.partial = text
        if self.reply == "think":  # 3a: the page would replace the accepted bubble with it
            return []
        guess = self._guess()
        if self.holding and _length(speech.text) < self.config.hold_words:
            return guess
        out = self._accept_early(now) if self.sounding else []
        if self.sounding:
            return []
        return [*out, self._show(), *guess]

    def _show(self) -> BaseEvent:
        self._speech.shown = True
        text = _join(self.held or "", self._speech.text)
        return ASRResultPartial(text=text, display_text=text, turn_id=self._m)

    def _accept_early(self, now: float) -> list[BaseEvent]:
        """Row 3c: enough was said to stop the reply before the end of the segment."""
        speech = self._speech
        words, voiced = _length(speech.text), now - speech.opened_at
        if words < self.config.early_words and voiced < self.config.early_voiced_s:
            return []
        verdict = self._verdict(speech.text, None)
        if not _accepts(verdict):
            return []
        decision = self._decide("3c", "stop the reply", verdict, words=words, voiced_s=voiced)
        return [decision, *self._interrupt("early")]

    def _final(self, text: str, tag: str | None, now: float) -> list[BaseEvent]:
        speech = self._speech
        out = self._hear_on(now) if self.segment == "open" and not speech.decodes else []
        speech.decodes = max(0, speech.decodes - 1)
        if self.segment == "closing" and not speech.decodes:
            return self._judge_final(_join(speech.prefix, text), tag, now)
        speech.prefix, speech.partial = _join(speech.prefix, text), ""
        if speech.cut and not speech.decodes and not words_of(text):
            return self._close(now, "no words")  # noise, or the end of speech was never told
        verdict = self._verdict(speech.prefix, tag)
        if self.sounding and _accepts(verdict):  # row 6e
            out.append(self._decide("6e", "stop the reply", verdict))
            out += self._interrupt("reopened")
        return out

    def _hear_on(self, now: float) -> list[BaseEvent]:
        """Row 5d: the recogniser took a pause for the end; who speaks goes on, in a new piece."""
        self._speech.cut = False
        return [
            self._decide("5d", "a new piece", speech_s=self._speech_s(now)),
            TurnASRStartRequested(turn_id=self._m, resume=True),
        ]

    def _lost(self, reason: str, now: float) -> list[BaseEvent]:
        """A piece cannot be understood; the segment goes on if there is another behind it."""
        speech = self._speech
        behind = speech.decodes if self.segment == "open" else speech.decodes - 1
        if behind <= 0:
            return self._give_up(reason, now)
        speech.decodes -= 1
        speech.prefix, speech.partial = speech.text, ""
        if self.segment == "closing":
            speech.timers["decode"] = now + self.config.decode_s
        return [self._decide("7g", "go on", Verdict(kind="reject", reason=reason))]

    def _give_up(self, reason: str, now: float) -> list[BaseEvent]:
        """Nothing more is understood; row 7h: what the pieces before it brought is the text."""
        speech = self._speech
        if speech.answered or not speech.prefix:
            return self._reject("7", reason, now)
        verdict = self._verdict(speech.text, None)
        if not _accepts(verdict):
            return self._reject("7", reason, now)
        left_out = self._decide("7h", "leave out the rest", Verdict(kind="reject", reason=reason))
        return [left_out, *self._stop_listening(reason), *self._accept(speech.text, verdict, now)]

    def _judge_final(self, text: str, tag: str | None, now: float) -> list[BaseEvent]:
        verdict = self._verdict(text, tag)
        if not _accepts(verdict):
            return self._reject("7", verdict.reason or verdict.kind, now)
        return self._accept(text, verdict, now)

    def _verdict(self, text: str, tag: str | None) -> Verdict | EndOfTurn:
        speaking, question = self.replying, self.question
        return self._judge(text, tag=tag, agent_speaking=speaking, question=question)

    def _accept(self, text: str, verdict: Verdict | EndOfTurn, now: float) -> list[BaseEvent]:
        speech, self.segment = self._speech, "none"
        speech.timers.clear()
        out: list[BaseEvent] = [
            VerificationResult(
                is_valid=True,
                text=text,
                confidence=verdict.confidence,
                reason=verdict.reason,
                text_length=len(text),
            )
        ]
        if speech.answered:  # another mark may have shut the gate since
            out += [TurnTTSResumeRequested(tell_client=False), TurnLLMAgentResumeRequested()]
        else:
            out += self._interrupt("accepted")
        text = _join(self.held or "", text)
        if verdict.kind in ("incomplete", "wait"):
            return [*out, *self._hold(text, verdict, now)]
        decision = self._decide("6c", "answer", verdict, words=_length(text))
        return [*out, decision, *self._answer(text)]

    def _interrupt(self, reason: str) -> list[BaseEvent]:
        """Rows 6a and 6b: the reply is over, and a page that marked is told so in any case.

        Without `stop_tts` it would keep its suspended output and play the next reply into it.
        """
        tell = self._speech.marked or self.ctx or self.susp
        self._speech.answered = True
        self._speech.timers.pop("pause", None)
        self.reply = "idle"
        return [
            TurnLLMAgentStopRequested(reason=reason),
            TurnTTSStopRequested(reason=reason, tell_client=tell),
        ]

    def _answer(self, text: str) -> list[BaseEvent]:
        """Row 6c, and 9: the turn begins."""
        self.held, self._hold_until = None, None
        speculated = _same(self.shadow, text)
        out = [] if speculated else self._discard("other words")
        self.shadow = None
        return [
            *out,
            ASRResultFinal(text=text, display_text=text, turn_id=self._m),
            self._begin_turn(TurnLLMAgentStartRequested(text=text, speculated=speculated)),
        ]

    def _begin_turn(self, request: TurnLLMAgentStartRequested) -> BaseEvent:
        self.turn_id += 1
        self._reply_id = self.turn_id
        self.reply = "think"
        return replace(request, turn_id=self.turn_id)

    def _hold(self, text: str, verdict: Verdict | EndOfTurn, now: float) -> list[BaseEvent]:
        """Row 6d: half a sentence; its other half may come."""
        wait = max(0.0, self.config.hold_s)
        if verdict.wait_ms is not None:
            wait = min(max(verdict.wait_ms / 1000, self.config.hold_min_s), self.config.hold_max_s)
        self.held, self._hold_until = text, now + wait
        decision = self._decide("6d", "wait for more", verdict, wait_s=wait, words=_length(text))
        return [*self._discard("incomplete"), decision, self._show_held()]

    def _show_held(self) -> BaseEvent:
        text = self.held or ""
        return ASRResultPartial(text=text, display_text=text, turn_id=self._m)

    # --- row 7: it was nothing --------------------------------------------------------------

    def _reject(self, rule: str, reason: str, now: float) -> list[BaseEvent]:
        speech = self._speech
        out = self._stop_listening(reason)
        if speech.answered:  # the last partial is the text
            return out + self._accept(speech.text, Verdict(kind="complete", reason=reason), now)
        out += self._discard("rejected")
        self.segment = "none"
        speech.timers.clear()
        phase = "hold" if self.holding else self.reply
        verdict = Verdict(kind="reject", reason=reason)
        out.append(self._decide(rule, "ignore", verdict, phase=phase))
        out.append(VerificationResult(reason=reason, text=speech.text, show=not self.sounding))
        return out + self._go_on(now)

    def _stop_listening(self, reason: str) -> list[BaseEvent]:
        if self.segment == "closing" and not self._speech.decodes:
            return []
        return [TurnASRResetRequested(turn_id=self._m, late=reason == LATE)]

    def _go_on(self, now: float) -> list[BaseEvent]:
        """Rows 7a to 7f: the gate opens; the client is woken where it waits for that."""
        speech = self._speech
        self._telling = True
        tell = restart = False
        after: list[BaseEvent] = []
        if self.sounding:
            tell = self.susp or speech.marked
            restart = self.ruined
            self._reopened = True
        elif self.holding:  # no `resume_tts`: it would remove the held bubble
            self._hold_until = now + self.config.hold_s
            after = [self._show_held()] if speech.shown else []
        elif self.reply == "idle":
            tell = speech.shown or (self.ctx and speech.marked)
        return [
            TurnTTSResumeRequested(tell_client=tell, restart=restart),
            TurnLLMAgentResumeRequested(),
            *after,
        ]

    # --- row 17: replies that the server begins ---------------------------------------------

    def _request(self, event: TurnLLMAgentStartRequested, now: float) -> list[BaseEvent]:
        if event.turn_id == 0:
            self._queue.append(event)
        return []

    def _told(self, event: TurnLLMAgentResumeRequested, now: float) -> list[BaseEvent]:
        """Now a reply that was over before the gate opened has also been told to its end."""
        self._telling = False
        return []

    def _serve_queue(self) -> list[BaseEvent]:
        taken = self.segment != "none" or self.holding or self.reply != "idle"
        if taken or self._telling or self._left or not self._queue:
            return []
        stop: list[BaseEvent] = [TTSStopped()] if self.ctx or self.susp else []
        return [*stop, self._begin_turn(self._queue.popleft())]

    # --- rows 10 to 16: what became of the reply --------------------------------------------

    def _audio_ready(self, event: ReplyAudioReady, now: float) -> list[BaseEvent]:
        """Row 11: a suspended page must throw its output away to make a running one."""
        return [TTSStopped()] if self.susp else []

    def _reply_over(self, event: ReplyOver, now: float) -> list[BaseEvent]:
        self.question = not self._left and bool(_QUESTION.search(event.heard))
        if self.reply == "idle" or event.turn_id != self._reply_id:
            return []
        silent = self.reply == "think" or self._reopened
        self.reply = "idle"
        if not silent or self.segment != "none":
            return []
        return [TurnAbandoned(turn_id=event.turn_id, reason=event.outcome)]  # rows 7f, 13, 13b

    # --- beliefs follow what was really sent ------------------------------------------------

    def _tts_started(self, event: TTSStarted, now: float) -> list[BaseEvent]:
        if not event.turn_id:  # a backchannel
            return []
        self.reply = "talk"
        self._reply_id = event.turn_id
        self._started_at = now
        return []

    def _tts_chunk(self, event: TTSChunkGenerated, now: float) -> list[BaseEvent]:
        self.ctx, self._reopened = True, False
        return []

    def _tts_finished(self, event: TTSFinished, now: float) -> list[BaseEvent]:
        if event.turn_id:
            self.reply = "drain"
        return []

    def _tts_paused(self, event: TTSPaused, now: float) -> list[BaseEvent]:
        self.susp = True
        return []

    def _tts_resumed(self, event: TTSResumed, now: float) -> list[BaseEvent]:
        self.susp, self.ctx, self._resumed_at = False, True, now
        return []

    def _tts_stopped(self, event: TTSStopped, now: float) -> list[BaseEvent]:
        self.susp = self.ctx = self.ruined = False
        return []

    def _clock_sync(self, event: ClockSyncReceived, now: float) -> list[BaseEvent]:
        rtt = event.client_recv_ts - event.client_send_ts
        if 0.0 < rtt < 5.0:
            self.rtt = rtt
        return []

    # --- row 18, and its opposite -----------------------------------------------------------

    def _conversation_started(self, event: ConversationStarted, now: float) -> list[BaseEvent]:
        self._left = False
        self._meet_client(event.client)
        return []

    def _meet_client(self, client: dict[str, Any]) -> None:
        """The original's page says nothing of itself, marks, and pauses itself at each mark."""
        self._marks = self._mark_open = False
        self._pauses_itself = bool(client.get("pauses_itself", True))

    def _conversation_ended(self, event: ConversationEnded, now: float) -> list[BaseEvent]:
        self._left, self._telling = True, False
        self._queue.clear()
        self.susp = self.ctx = self.ruined = self.question = False
        self.held, self._hold_until = None, None
        out = self._discard("conversation ended")
        if self.segment != "none":
            self.segment = "none"
            self._speech.timers.clear()
            out.append(TurnASRResetRequested(turn_id=self._m))
        self.reply = "idle"
        self._mark_open = self._server_speaking = False
        return [
            *out,
            TurnLLMAgentStopRequested(reason="conversation ended"),
            TurnTTSStopRequested(reason="conversation ended", tell_client=False),
        ]

    # --- timers -----------------------------------------------------------------------------

    def _next_timer(self) -> tuple[float, str] | None:
        timers = [(at, name) for name, at in self._speech.timers.items()]
        if self._hold_until is not None:
            timers.append((self._hold_until, "hold"))
        if self.segment == "open":
            timers.append((self.last_frame + self.config.noaudio_s, "noaudio"))
        return min(timers, default=None)

    def _fire(self, name: str, now: float) -> list[BaseEvent]:
        self._speech.timers.pop(name, None)
        if name == "noaudio":
            return self._close(now, "no audio")
        if name == "segment":
            return self._cut(now)
        if name == "decode":
            return self._give_up(LATE, now)
        if name == "hold":
            return self._hold_over()
        if name == "pause":
            return self._pause_late()
        return self._silence(name, now)

    def _pause_late(self) -> list[BaseEvent]:
        pause = self.sounding and not self.susp
        return [TurnTTSPauseRequested(tell_client=True)] if pause else []

    def _silence(self, name: str, now: float) -> list[BaseEvent]:
        """Row 8: a mark that the detector did not confirm, or a segment without speech or text."""
        speech = self._speech
        if self._server_speaking or speech.answered or speech.text:
            return []
        return self._reject("8", name, now)

    def _hold_over(self) -> list[BaseEvent]:
        """Row 9: the other half did not come."""
        text = self.held or ""
        if _is_no_answer(text, self.question):
            return self._hold_in_vain()
        verdict = Verdict(kind="complete", reason="no more came")
        decision = self._decide("9", "answer", verdict, words=_length(text))
        return [decision, *self._answer(text)]

    def _hold_in_vain(self) -> list[BaseEvent]:
        """Row 9a: an "um" was all. Its bubble is taken back, as in row 7a."""
        self.held, self._hold_until = None, None
        verdict = Verdict(kind="backchannel", reason="no more came")
        return [
            self._decide("9a", "ignore", verdict),
            TurnAbandoned(turn_id=self._m, reason="hesitation"),
            TurnTTSResumeRequested(tell_client=True),
        ]

    def _decide(
        self,
        rule: str,
        outcome: str,
        verdict: Verdict | EndOfTurn | None = None,
        *,
        words: int | None = None,
        **evidence: Any,
    ) -> BaseEvent:
        """For the page and the log: never what was said, only why."""
        if verdict is not None:
            evidence |= {
                "verdict": verdict.kind,
                "reason": verdict.reason,
                "confidence": verdict.confidence,
            }
        evidence["words"] = _length(self._speech.text) if words is None else words
        return Decision(rule=rule, outcome=outcome, evidence=evidence, turn_id=self._m)


def _accepts(verdict: Verdict | EndOfTurn) -> bool:
    return verdict.kind in ("complete", "incomplete", "wait")


def _same(before: str | None, after: str) -> bool:
    """Whether the words are the same, up to case and punctuation."""
    return before is not None and words_of(before) == words_of(after)


def _length(text: str) -> int:
    """Words; two ideographs count as one."""
    words = words_of(text)
    ideographs = sum(len(word) == 1 and word >= "\u3040" for word in words)
    return len(words) - ideographs // 2


def _join(before: str, after: str) -> str:
    """Two pieces of one utterance; ideographs are joined without a space."""
    if not before or not after:
        return before or after
    wide = before[-1] >= "\u3000" and after[0] >= "\u3000"
    return before + ("" if wide else " ") + after
