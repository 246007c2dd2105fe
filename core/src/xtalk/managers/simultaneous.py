"""Simultaneous mode: the user is answered, as by an interpreter, while still speaking."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import anyio

from xtalk import events
from xtalk.alarm import Alarm
from xtalk.bus import EventBus, Manager
from xtalk.clauses import Clause, Clauses, joined
from xtalk.dialogue import strip_tags
from xtalk.managers.background import Background
from xtalk.pipeline import Pipeline

if TYPE_CHECKING:
    from xtalk.session import Session

__all__ = ["SimultaneousManager"]

log = logging.getLogger("xtalk.simultaneous")

QUEUE = 4  # clauses that wait; more of them are answered together
PATIENCE_S = 15.0  # without a sound, before the next clause is answered instead
RESTORE_S = 1.0
LOG_LIMIT = 50_000  # characters: an hour of speech

on = Manager.event_handler


@dataclass
class _Segment:
    """Speech in one piece; `over` when the user has paused behind it."""

    id: int
    began: float
    clauses: Clauses = field(default_factory=Clauses)
    ended: float | None = None
    over: bool = False


class SimultaneousManager(Manager):
    """Takes the place of turn taking when `sim_gen` is set.

    Speech only starts the recogniser: nothing is paused or stopped by it. Each clause that is
    stable (`ASRStableSegmentReady`, which a program may post too) becomes a turn of its own; they
    are answered one after the other. `update_asr` brings what is new of the clause, `finish_asr`
    the clause, and `refine_transcription` at the end of the utterance all that was said.
    """

    def __init__(
        self,
        event_bus: EventBus,
        pipeline: Pipeline,
        config: dict[str, Any],
        session: Session,
    ) -> None:
        self.event_bus = event_bus
        self._session = session
        self._now = session.clock.now
        self.last_frame = self._now()
        self._source = config["vad_source"]
        self._server_vad = pipeline.get_vad_model() is not None and self._source != "client"
        self._no_audio_s = config["no_audio_sec"]
        self._segment_s = config["segment_sec"]
        self._decode_s = config["decode_timeout_sec"]
        self._restorer = pipeline.get_punt_restorer_model()
        self._punctuate = Background(session, self._restore_partial)
        self._inbox: deque[events.TranscriptReady] = deque()
        self._restoring = False  # the end of a segment; what follows waits for it
        self._segments: deque[_Segment] = deque()  # the last may be open, the others are decoded
        self._last_segment = 0
        self._speaking: set[str] = set()  # whose start mark has had no end yet
        self._said = ""
        self._refined = ""
        self._last_turn = 0
        self._clause_turn = 0  # of the clause that the client is shown
        self._waiting: deque[events.TurnLLMAgentStartRequested] = deque()
        self._live = 0
        self._sounded = False
        self._progress = 0.0
        self._left = False  # the client has ended the conversation, and has not begun another
        self._alarm = Alarm(self._tick)

    @property
    def busy(self) -> bool:
        """Whether somebody speaks, is being understood, or is owed a reply."""
        understanding = self._segments or self._inbox or self._restoring
        return bool(understanding or self._live or self._waiting)

    @property
    def audible(self) -> bool:
        """Clients do not pause in this mode."""
        return True

    # --- the user -------------------------------------------------------------------------------

    @on(events.VADSpeechStart, 95)
    def _started(self, event: events.VADSpeechStart) -> None:
        self._left = False
        self._speaking.add(event.source)
        self._server_vad = self._server_vad or event.source == "server"
        if self._counts(event.source) and self._open is None:
            self.event_bus.post(events.TurnASRStartRequested())

    @on(events.VADSpeechEnd, 95)
    def _ended(self, event: events.VADSpeechEnd) -> None:
        self._speaking.discard(event.source)
        if not self._counts(event.source):
            return
        if self._open is not None:
            self.event_bus.post(events.TurnASREndRequested())
        elif event.source == "client":
            self._free()

    @on(events.VADLost, 95)
    def _detector_lost(self, event: events.VADLost) -> None:
        """Marks count now, if there are any; what the detector alone began is over."""
        alone = self._speaking == {"server"} and self._counts("server")
        self._speaking.discard("server")
        self._server_vad = False
        if alone and self._open is not None:
            self.event_bus.post(events.TurnASREndRequested())

    def _counts(self, source: str) -> bool:
        if source == "server":
            return bool(self._source != "client")
        return not (self._source == "server" and self._server_vad)

    @property
    def _open(self) -> _Segment | None:
        last = self._segments[-1] if self._segments else None
        return last if last is not None and last.ended is None else None

    @on(events.TurnASRStartRequested, 95)
    def _begin(self, event: events.TurnASRStartRequested) -> None:
        if event.turn_id or self._open is not None:
            return
        self._last_segment = event.turn_id = self._last_segment + 1
        self.last_frame = now = self._now()
        self._segments.append(_Segment(self._last_segment, now))
        self._schedule()

    @on(events.TurnASREndRequested, 95)
    @on(events.TurnASRFlushRequested, 95)
    def _close(self, event: events.BaseEvent) -> None:
        """A flush is an end within an utterance."""
        segment = self._open
        if segment is not None:
            segment.ended = self._now()
            segment.over = event.TYPE == events.TurnASREndRequested.TYPE
            self._schedule()

    @on(events.TurnASRResetRequested, 95)
    def _reset(self, event: events.TurnASRResetRequested) -> None:
        self._inbox.clear()
        self._segments.clear()

    # --- what was said --------------------------------------------------------------------------

    @on(events.TranscriptReady, 95)
    def _transcript(self, event: events.TranscriptReady) -> None:
        self._inbox.append(event)
        self._read()

    def _read(self) -> None:
        while self._inbox and not self._restoring:
            event = self._inbox.popleft()
            segment = self._segments[0] if self._segments else None
            if segment is None or event.turn_id not in (0, segment.id):
                continue
            if event.transcript is None:
                segment.over = True
                self._finish(segment)
                continue
            segment.clauses.hear(strip_tags(event.transcript.text), self._now())
            if event.transcript.final:
                self._understood(segment)
            else:
                self._show(segment)
                self._take(segment)
                if self._wants_marks(segment):
                    self._punctuate.ask()
        self._schedule()

    def _understood(self, segment: _Segment) -> None:
        if self._open is segment:
            # The recogniser ended it by itself, and the user goes on.
            segment.ended = self._now()
            segment.over = not segment.clauses.heard
            if not segment.over:
                self.event_bus.post(events.TurnASRStartRequested())
        if self._wants_marks(segment):
            self._restoring = True
            self._session.spawn(self._restore_final, segment)
        else:
            self._finish(segment)

    def _finish(self, segment: _Segment) -> None:
        """Nothing more comes of this segment: what remains of it is a clause."""
        self._take(segment)
        if (clause := segment.clauses.finish()) is not None:
            self._hand_over(clause)
        if segment in self._segments:
            self._segments.remove(segment)
        if self._segments and self._segments[0].ended is not None:
            self._segments[0].ended = self._now()  # its decoding begins now
        if segment.over:
            self._refine()
            self._free()

    def _show(self, segment: _Segment) -> None:
        if delta := segment.clauses.delta():
            self._clause_turn = self._clause_turn or self._number()
            self.event_bus.post(
                events.ASRResultPartial(text=delta, display_text=delta, turn_id=self._clause_turn)
            )

    def _take(self, segment: _Segment) -> None:
        ready = segment.clauses.take(self._now())
        for clause in ready:
            self._hand_over(clause)
        if ready:
            self._show(segment)  # what follows it belongs to the next clause

    def _hand_over(self, clause: Clause) -> None:
        self._said = joined(self._said, clause.text)[-LOG_LIMIT:]
        turn_id, self._clause_turn = self._clause_turn or self._number(), 0
        self.event_bus.post(
            events.Decision(
                rule="clause",
                outcome="answer",
                evidence={"reason": clause.reason, "waiting": len(self._waiting)},
                turn_id=turn_id,
            )
        )
        self.event_bus.post(events.ASRStableSegmentReady(text=clause.text, turn_id=turn_id))

    def _refine(self) -> None:
        if self._said != self._refined:
            self._refined = self._said
            self.event_bus.post(events.TranscriptionRefined(text=self._said))

    def _free(self, turn_id: int = 0) -> None:
        """A page that has marked the end waits for a sound: tell it when there will be none.

        With the turn whose answer should have sounded, where there was one.
        """
        # once all that is posted has happened
        asyncio.get_running_loop().call_soon(self._abandon, turn_id)

    def _abandon(self, turn_id: int) -> None:
        if not (self.busy or self._left):
            self.event_bus.post(
                events.TurnAbandoned(turn_id=turn_id, reason="nothing more will sound")
            )

    # --- punctuation ----------------------------------------------------------------------------

    def _wants_marks(self, segment: _Segment) -> bool:
        return self._restorer is not None and not segment.clauses.marked

    async def _restore_partial(self) -> None:
        segment = self._segments[0] if self._segments and not self._restoring else None
        if segment is not None:
            await self._restore(segment)
            if segment in self._segments and not self._restoring:
                self._take(segment)

    async def _restore_final(self, segment: _Segment) -> None:
        await self._restore(segment)
        self._restoring = False
        if segment in self._segments:
            self._finish(segment)
        self._read()

    async def _restore(self, segment: _Segment) -> None:
        bare = segment.clauses.rest()
        if self._restorer is None or not bare:
            return
        try:
            with anyio.move_on_after(RESTORE_S):
                restored = await self._restorer.async_restore(bare)
                segment.clauses.restore(bare, restored)
        except Exception:
            # Whatever somebody's model raises: the words go on without its help.
            log.exception("the punctuation failed")

    # --- the replies ----------------------------------------------------------------------------

    def _number(self) -> int:
        self._last_turn += 1
        return self._last_turn

    @on(events.ASRStableSegmentReady, 92)
    def _answer(self, event: events.ASRStableSegmentReady) -> None:
        turn_id = event.turn_id or self._number()
        self.event_bus.post(
            events.ASRResultFinal(text=event.text, display_text=event.text, turn_id=turn_id)
        )
        request = events.TurnLLMAgentStartRequested(text=event.text, turn_id=turn_id)
        last = self._waiting[-1] if len(self._waiting) >= QUEUE else None
        if last is not None and not (last.event or last.reply):
            self._waiting[-1] = replace(request, text=joined(last.text, event.text))
        else:
            self._waiting.append(request)
        self._next()

    @on(events.TurnLLMAgentStartRequested, 95)
    def _request(self, event: events.TurnLLMAgentStartRequested) -> None:
        if not event.turn_id:
            self._waiting.append(replace(event, turn_id=self._number()))
            self._next()

    def _next(self) -> None:
        if not (self._live or self._left) and self._waiting:
            request = self._waiting.popleft()
            self._live, self._sounded, self._progress = request.turn_id, False, self._now()
            self.event_bus.post(request)
        self._schedule()

    @on(events.TTSChunkGenerated, 50)
    def _sounds(self, event: events.TTSChunkGenerated) -> None:
        self._sounded, self._progress = True, self._now()

    @on(events.ReplyOver, 95)
    def _reply_over(self, event: events.ReplyOver) -> None:
        if event.turn_id != self._live:
            return
        self._live = 0
        if not self._sounded:
            self._free(event.turn_id)
        self._next()

    # --- the conversation -----------------------------------------------------------------------

    @on(events.ConversationStarted, 95)
    def _conversation_started(self, event: events.ConversationStarted) -> None:
        self._left = False
        self._next()

    @on(events.ConversationEnded, 95)
    def _conversation_ended(self, event: events.ConversationEnded) -> None:
        self._left = True
        self._speaking.clear()
        self._waiting.clear()
        self._said = self._refined = ""
        self._clause_turn = 0
        reason = "conversation ended"
        self.event_bus.post(events.TurnASRResetRequested())
        self.event_bus.post(events.TurnLLMAgentStopRequested(reason=reason))
        self.event_bus.post(events.TurnTTSStopRequested(reason=reason, tell_client=False))

    # --- time -----------------------------------------------------------------------------------

    def _due(self) -> tuple[float, Callable[[], None]] | None:
        """What comes next that only time brings."""
        due: list[tuple[float, Callable[[], None]]] = []
        if (segment := self._open) is not None:
            due.append((self.last_frame + self._no_audio_s, self._end))
            due.append((segment.began + self._segment_s, self._go_on))
        head = self._segments[0] if self._segments and not self._restoring else None
        if head is not None and head.ended is not None:
            due.append((head.ended + self._decode_s, self._give_up))
        if self._live and self._waiting:
            due.append((self._progress + PATIENCE_S, self._pass_over))
        return min(due, key=lambda one: one[0], default=None)

    def _schedule(self) -> None:
        due = self._due()
        self._alarm.set(None if due is None else due[0])

    def _tick(self) -> None:
        due = self._due()
        if due is not None and due[0] <= self._now():
            due[1]()
        self._schedule()

    def _end(self) -> None:
        """No audio comes any more."""
        self.event_bus.post(events.TurnASREndRequested())

    def _go_on(self) -> None:
        """Who never pauses is decoded in pieces."""
        self.event_bus.post(events.TurnASRFlushRequested(reason="long"))
        self.event_bus.post(events.TurnASRStartRequested())

    def _give_up(self) -> None:
        """The recogniser hangs: answer what it has understood, and let it begin anew."""
        speaking = self._open is not None
        known = list(self._segments)
        self.event_bus.post(events.TurnASRResetRequested(turn_id=known[0].id, late=True))
        for segment in known:
            self._finish(segment)
        if speaking:
            self.event_bus.post(events.TurnASRStartRequested())

    def _pass_over(self) -> None:
        """Others wait behind a reply that does not come."""
        reason = "too slow"
        self.event_bus.post(
            events.ErrorOccurred(
                error_type="reply_too_slow",
                error_message="An answer took too long and was left out.",
                component="turn_taking",
            )
        )
        self.event_bus.post(events.TurnLLMAgentStopRequested(reason=reason))
        self.event_bus.post(events.TurnTTSStopRequested(reason=reason, tell_client=self._sounded))

    async def shutdown(self) -> None:
        self._alarm.cancel()
