"""What the agent may think of the conversation: a note, rewritten when the history changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xtalk import events
from xtalk.bus import EventBus, Manager
from xtalk.managers.background import Background
from xtalk.pipeline import Pipeline

if TYPE_CHECKING:
    from xtalk.session import Session

__all__ = ["ThoughtManager"]

EVERY_S = 1.0
RETRY_S = 30.0

on = Manager.event_handler


class ThoughtManager(Manager):
    """Gives the rewriter the last note and the history; idle without an agent and a rewriter."""

    def __init__(self, event_bus: EventBus, pipeline: Pipeline, session: Session) -> None:
        self.event_bus = event_bus
        self._session = session
        self._pipeline = pipeline
        self._rewriter = pipeline.get_thought_rewriter_model()
        self._background = Background(session, self._think, every_s=EVERY_S, retry_s=RETRY_S)
        self._history = ""
        self._thought = ""

    @property
    def active(self) -> bool:
        return self._rewriter is not None and self._pipeline.get_agent() is not None

    # Agents that keep a history of their own write it when the reply begins or ends, the others
    # when it is over.
    @on(events.LLMFirstChunk, 10, enabled_if=lambda self: self.active)
    @on(events.ReplyTextOver, 10, enabled_if=lambda self: self.active)
    @on(events.ReplyOver, 10, enabled_if=lambda self: self.active)
    def _something_was_said(self, event: events.BaseEvent) -> None:
        self._background.ask()

    async def _think(self) -> None:
        agent = self._pipeline.get_agent()
        history = (agent.get_chat_history() if agent is not None else None) or ""
        if self._rewriter is None or history == self._history:
            return
        chat = f"<thought>{self._thought}</thought>\n<chat>{history}</chat>"
        thought = await self._rewriter.async_rewrite(chat)
        self._history, self._thought = history, thought
        self._session.note("thought", thought)
        self.event_bus.post(events.ThoughtUpdated(text=thought))

    async def shutdown(self) -> None:
        pass
