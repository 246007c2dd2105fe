"""The agent: owns its clone, the `respond` stage, the live turn and what is committed of it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from xtalk import events
from xtalk.agent import (
    Agent,
    AgentInput,
    ReplyPart,
    Text,
    ToolCall,
    ToolResult,
    TurnRecord,
)
from xtalk.alarm import Alarm
from xtalk.answer import Answer, can_speculate
from xtalk.bus import EventBus, Manager
from xtalk.calls import respond
from xtalk.errors import ModelError, ModelTimeout
from xtalk.pipeline import Pipeline
from xtalk.speech.interfaces import SpeechChunk
from xtalk.stages import Respond
from xtalk.turn import Turn

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from xtalk.session import Session

__all__ = ["LLMAgentManager"]

log = logging.getLogger("xtalk.agent")

RETRIEVING = ("local_search", "web_search")
HISTORY = 200  # turns that a fresh clone is told again
CUT = "[interrupted]"

on = Manager.event_handler


class LLMAgentManager(Manager):
    """Obeys `TurnLLMAgent*Requested`.

    While paused, nothing of the reply leaves: it is told all at once when resumed, and dropped
    when stopped.
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
        self._pipeline = pipeline
        self._policy = config["history"]
        self._interval_s = config["update_interval_ms"] / 1000
        self._deadline_s = config["speaker_deadline_ms"] / 1000
        self._patience_s = config["agent_timeout_sec"]
        self._patience = Alarm(self._out_of_patience)
        self._progress = 0.0
        self._records: deque[TurnRecord] = deque(maxlen=HISTORY)
        agent = pipeline.get_agent()
        self._guard = None if agent is None else session.guard(agent, self._tell_all)
        self._respond: Respond = session.wrapped("respond", self._ask)
        self._turn: Turn | None = None
        self._unrecorded: dict[int, Turn] = {}
        self._ahead: Answer | None = None
        self._promoted: Answer | None = None
        self.discarded = 0  # speculations that were in vain
        self._paused = False
        self._held: list[events.BaseEvent] = []
        self._started = self._shown = self._finished = False
        self._finish_owed = False  # an update was shown that no finish has followed
        self._shown_text = ""
        self._shown_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    # --- commands -------------------------------------------------------------------------------

    @on(events.TurnLLMAgentStartRequested, 98)
    def _start(self, event: events.TurnLLMAgentStartRequested) -> None:
        turn_id = event.turn_id
        if not turn_id:
            if self._session.takes_turns:
                return  # turn taking numbers it and asks again when its time has come
            turn_id = 1 + max([0, *self._unrecorded, *(r.turn_id for r in self._records)])
            event.turn_id = turn_id
        self._stop_turn()
        if event.speculated:
            self._promoted, self._ahead = self._ahead, None
        else:
            self._drop()
        turn = self._turn = self._session.new_turn(turn_id, event.text)
        turn.event = event.event
        self._unrecorded[turn_id] = turn
        self._started = self._shown = self._finished = False
        self._shown_text = ""
        self._shown_at = 0.0
        self._progress = self._session.clock.now()
        self._patience.set(self._progress + self._patience_s)
        around = self._session.around_turn(turn)
        self._session.spawn(turn.run, lambda: self._think(turn, event), around)

    @on(events.TurnLLMAgentSpeculateRequested, 98)
    def _speculate(self, event: events.TurnLLMAgentSpeculateRequested) -> None:
        self._drop()
        agent = None if self._guard is None else self._guard.model
        if agent is None or not can_speculate(agent):
            return
        context = dict(self._pipeline.context)
        ahead = self._ahead = Answer(agent, context, self._late(event.turn_id))
        agent_input = self._input(event.text, event.turn_id, context, speculative=True)
        self._session.spawn(ahead.run, self._respond(agent_input))

    @on(events.TurnLLMAgentDiscardRequested, 98)
    def _discard(self, event: events.TurnLLMAgentDiscardRequested) -> None:
        self._drop()

    def _drop(self) -> None:
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            self._waste(ahead)

    def _waste(self, ahead: Answer) -> None:
        self.discarded += 1
        ahead.leave()

    def _usable(self, turn_id: int) -> Answer | None:
        """What was speculated on these words, if the agent would be told the same now."""
        ahead = self._promoted
        if ahead is None or self._guard is None:
            return None
        if ahead.error is not None:
            why = "the agent failed"
        elif ahead.agent is not self._guard.model:
            why = "another agent"
        elif ahead.context != self._pipeline.context:
            why = "other context"
        else:
            return ahead
        self._promoted = None
        self._waste(ahead)
        self._post(
            events.Decision(rule="4", outcome="discard", evidence={"reason": why}, turn_id=turn_id)
        )
        return None

    @on(events.TurnLLMAgentStopRequested, 95)
    def _stop(self, event: events.TurnLLMAgentStopRequested) -> None:
        self._stop_turn()

    def _stop_turn(self) -> None:
        turn, self._turn = self._turn, None
        promoted, self._promoted = self._promoted, None
        if promoted is not None:
            promoted.leave()
        self._cancel_timer()
        self._held.clear()
        self._paused = False
        if turn is None:
            return
        turn.cancel()
        if self._finish_owed:
            self._post(events.LLMAgentResponseFinish(text=self._shown_text, turn_id=turn.id))

    @on(events.TurnLLMAgentPauseRequested, 96)
    def _pause(self, event: events.TurnLLMAgentPauseRequested) -> None:
        self._paused = True

    @on(events.TurnLLMAgentResumeRequested, 95)
    def _resume(self, event: events.TurnLLMAgentResumeRequested) -> None:
        self._paused = False
        held, self._held = self._held, []
        if self._turn is not None and not self._finished:
            self._show()
        for item in held:
            self._post(item)

    # --- the reply ------------------------------------------------------------------------------

    def _out_of_patience(self) -> None:
        """An agent from which nothing comes any more fails its turn."""
        turn = self._turn
        if turn is None or self._finished or not turn.running:
            return
        due = self._progress + self._patience_s
        if due > self._session.clock.now():
            self._patience.set(due)
        else:
            self._fail(turn, ModelTimeout("The agent took too long to answer."))

    async def _think(self, turn: Turn, request: events.TurnLLMAgentStartRequested) -> None:
        if request.reply:
            self._take(turn, Text(text=request.reply))
            self._text_over(turn)
            return
        await self._wait_for_others()
        answer = self._usable(turn.id) or self._begin_answer(turn, request)
        try:
            async with aclosing(answer.parts()) as parts:
                async for part in parts:
                    self._take(turn, part)
        except Exception as error:
            log.exception("turn %d could not be answered", turn.id)
            self._fail(turn, error)
            return
        self._text_over(turn)

    def _begin_answer(self, turn: Turn, request: events.TurnLLMAgentStartRequested) -> Answer:
        context = self._pipeline.context
        answer = Answer(None, context, self._late(turn.id))
        agent_input = self._input(request.text, turn.id, context, event=request.event)
        self._session.spawn(answer.run, self._respond(agent_input))
        return answer

    def _late(self, turn_id: int) -> Callable[[ToolResult], None]:
        """Note what a tool did after its turn was interrupted: agents to come are told of it."""

        def note(result: ToolResult) -> None:
            for index, record in enumerate(self._records):
                if record.turn_id == turn_id:
                    results = (*record.tool_results, result)
                    self._records[index] = replace(record, tool_results=results)

        return note

    def _input(self, text: str, turn_id: int, context: dict[str, Any], **more: Any) -> AgentInput:
        clock = self._session.clock
        now = clock.now()
        ages = {name: now - at for name, at in self._session.noted.items()}
        return AgentInput(
            text, context=context, turn_id=turn_id, now=clock.wall(), ages=ages, **more
        )

    async def _wait_for_others(self) -> None:
        """Let the answer know what is about to be known, as who spoke: but not for long."""
        pending = [known for ask in self._session.before_turn if (known := ask()) is not None]
        if pending:
            await asyncio.wait(pending, timeout=self._deadline_s)

    async def _ask(self, agent_input: AgentInput) -> AsyncGenerator[ReplyPart, None]:
        if self._guard is None:
            raise ModelError("This server has no agent.")
        async with self._guard.lease() as lease, aclosing(respond(lease, agent_input)) as parts:
            async for part in parts:
                yield part

    def _is_live(self, turn: Turn) -> bool:
        """Not stopped, nor failed on the voice's side, though its scope may still run."""
        return turn is self._turn and turn.running

    def _take(self, turn: Turn, part: ReplyPart) -> None:
        if not self._is_live(turn):
            return
        self._progress = self._session.clock.now()
        if not self._started:
            self._started = True
            self._post(events.LLMFirstChunk(turn_id=turn.id))
        if isinstance(part, Text):
            self._say(turn, part)
        elif isinstance(part, ToolCall):
            turn.tool_calls.append(part)
            self._tell(events.ToolCallOccurred(name=part.name, args=part.args, turn_id=turn.id))
        elif isinstance(part, ToolResult):
            turn.tool_results.append(part)
            if part.name in RETRIEVING:
                self._tell(events.RetrievalUpdated(text=part.content))
        elif isinstance(part, SpeechChunk):
            self._post(events.TurnTTSStartRequested(turn_id=turn.id))
            self._post(events.TurnTTSTextAppendRequested(reason="llm", chunk=part))

    def _say(self, turn: Turn, part: Text) -> None:
        if not part.text:
            return
        first = not turn.reply
        turn.reply += part.text
        self._show_soon()
        if first:
            self._post(events.TurnTTSStartRequested(turn_id=turn.id))
        self._post(
            events.TurnTTSTextAppendRequested(
                text=part.text, reason="llm", spoken=part.spoken, lang=part.lang
            )
        )

    def _text_over(self, turn: Turn) -> None:
        if not self._is_live(turn):
            return
        self._finish(turn)
        # Also when nothing was said: the voice then reports that the reply is over.
        self._post(events.TurnTTSStartRequested(turn_id=turn.id))
        self._post(events.TurnTTSFlushRequested())
        self._post(events.ReplyTextOver(turn_id=turn.id, text=turn.reply))

    def _fail(self, turn: Turn, error: Exception) -> None:
        if not self._is_live(turn):
            return
        turn.outcome = "failed"
        self._post(
            events.ErrorOccurred(
                error_type="llm_stream_error",
                error_message=(
                    str(error) if isinstance(error, ModelError) else "The agent failed to answer."
                ),
                component="llm_agent",
            )
        )
        self._finish(turn)
        self._post(events.ReplyFailed(turn_id=turn.id, stage="agent"))

    @on(events.ReplyFailed, 95)
    def _reply_failed(self, event: events.ReplyFailed) -> None:
        if self._turn is not None and self._turn.id == event.turn_id:
            self._finish(self._turn)  # also when it was the voice that failed

    # --- what the client sees -------------------------------------------------------------------

    def _show_soon(self) -> None:
        """The first text at once, then at most one update each interval."""
        if self._paused or self._timer is not None:
            return
        loop = asyncio.get_running_loop()
        wait = self._shown_at + self._interval_s - loop.time()
        if not self._shown or wait <= 0:
            self._show()
        else:
            self._timer = loop.call_later(wait, self._show_later)

    def _show_later(self) -> None:
        self._timer = None
        self._show()

    def _show(self) -> None:
        turn = self._turn
        if turn is None or self._paused or turn.reply == self._shown_text:
            return
        self._shown = self._finish_owed = True
        self._shown_text = turn.reply
        self._shown_at = asyncio.get_running_loop().time()
        self._post(events.LLMAgentResponseUpdate(text=turn.reply, turn_id=turn.id))

    def _finish(self, turn: Turn) -> None:
        self._cancel_timer()
        if not turn.reply or self._finished:
            return
        self._finished = True
        if self._paused:
            self._held.append(events.LLMAgentResponseUpdate(text=turn.reply, turn_id=turn.id))
        else:
            self._show()
        self._tell(events.LLMAgentResponseFinish(text=turn.reply, turn_id=turn.id))

    def _tell(self, event: events.BaseEvent) -> None:
        if self._paused:
            self._held.append(event)
        else:
            self._post(event)

    def _post(self, event: events.BaseEvent) -> None:
        if isinstance(event, events.LLMAgentResponseFinish):
            self._finish_owed = False
        self.event_bus.post(event)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # --- the record -----------------------------------------------------------------------------

    @on(events.ReplyOver, 90)
    def _reply_over(self, event: events.ReplyOver) -> None:
        turn = self._unrecorded.pop(event.turn_id, None)
        if turn is None:
            return
        if turn is self._turn and event.outcome == "interrupted":
            self._stop_turn()  # somebody stopped the voice alone
        outcome = "failed" if turn.outcome == "failed" else event.outcome
        record = TurnRecord(
            turn_id=turn.id,
            user=turn.user,
            reply=turn.reply,
            heard=event.heard,
            remembered=self._remembered(turn, event.heard),
            outcome=outcome,  # type: ignore[arg-type]
            estimated=event.estimated,
            tool_calls=tuple(turn.tool_calls),
            tool_results=tuple(turn.tool_results),
            event=turn.event,
        )
        turn.end(record.outcome)
        self._records.append(record)
        if self._guard is not None:
            self._guard.model.commit(record)

    # --- another model --------------------------------------------------------------------------

    @on(
        events.LLMModelSwitchRequested,
        100,
        lambda self: bool(self._session.alternatives.get("llm_agent")),
    )
    def _switch(self, event: events.LLMModelSwitchRequested) -> None:
        self._session.spawn(self._switch_to, event.model_name)

    async def _switch_to(self, name: str) -> None:
        guard = self._guard
        try:
            known = guard is not None and await self._session.switch(guard, "llm_agent", name)
        except Exception:
            log.exception("the agent %r could not be opened", name)
            known = False
        if not known:
            self._post(
                events.ErrorOccurred(
                    error_type="model_not_changed",
                    error_message="This server has no agent of that name.",
                    component="llm_agent",
                )
            )

    def _remembered(self, turn: Turn, heard: str) -> str:
        if self._policy == "full" or len(heard) >= len(turn.reply):
            return turn.reply
        return f"{heard.rstrip()} {CUT}".lstrip() if self._policy == "marked" else heard

    def _tell_all(self, agent: Agent) -> None:
        """An agent that takes another's place knows the conversation so far."""
        for record in self._records:
            agent.commit(record)

    async def shutdown(self) -> None:
        self._patience.cancel()
        self._drop()
        self._stop_turn()
