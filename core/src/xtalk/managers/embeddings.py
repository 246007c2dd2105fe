"""Texts that are given to a session: cut, indexed and embedded, off the loop and one by one."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING

import anyio

from xtalk import events
from xtalk.bus import EventBus, Manager
from xtalk.managers.background import Background
from xtalk.pipeline import Pipeline
from xtalk.retrieval import Store, summarise
from xtalk.threads import run_in_thread

if TYPE_CHECKING:
    from xtalk.session import Session

__all__ = ["EmbeddingsManager"]

log = logging.getLogger("xtalk.embeddings")

LIMIT = 2 * 1024 * 1024  # characters that one session may keep
BATCH_LIMIT_S = 30.0  # for one call of the embeddings model

on = Manager.event_handler


class EmbeddingsManager(Manager):
    """Obeys `TextForEmbeddingReady`; what can be searched then is told by `TextSearchable`.

    The store is in memory, is this session's alone, and is gone with it. In the context:
    `vector_store_instance`, `text_to_embed`, and `embedding_status` (idle, processing,
    finished).
    """

    def __init__(self, event_bus: EventBus, pipeline: Pipeline, session: Session) -> None:
        self.event_bus = event_bus
        self._context = pipeline.context
        self._context["embedding_status"] = "idle"
        self._store = Store(pipeline.get_embeddings_model())
        self._background = Background(session, self._work)
        self._waiting: deque[str] = deque()
        self._kept = 0

    @on(events.TextForEmbeddingReady, 100)
    def _take(self, event: events.TextForEmbeddingReady) -> None:
        if not event.text.strip():
            self._refuse("That text is empty.")
            return
        if self._kept + len(event.text) > LIMIT:
            self._refuse(f"One conversation can keep {LIMIT:,} characters of text at most.")
            return
        self._kept += len(event.text)
        self._waiting.append(event.text)
        self._context["text_to_embed"] = event.text
        self._context["embedding_status"] = "processing"
        self._background.ask()

    def _refuse(self, message: str) -> None:
        self.event_bus.post(
            events.ErrorOccurred(
                error_type="text_refused", error_message=message, component="embeddings"
            )
        )

    async def _work(self) -> None:
        short, passages = [], 0
        while self._waiting:
            text = self._waiting.popleft()
            passages += await run_in_thread(self._store.add, text)
            await self._embed()
            short.append(await run_in_thread(summarise, text))
        if not short:
            return
        self._context["vector_store_instance"] = self._store
        self._context["text_to_embed"] = None
        self._context["embedding_status"] = "finished"
        self.event_bus.post(events.TextSearchable(text=" ".join(short), passages=passages))

    async def _embed(self) -> None:
        """A model that fails or hangs costs the vectors; the words stay."""
        try:
            more = True
            while more:
                with anyio.fail_after(BATCH_LIMIT_S):
                    more = await run_in_thread(self._store.embed)
        except Exception:
            log.exception("texts are found by their words from now on: they cannot be embedded")
            self._store.give_up_vectors()

    async def shutdown(self) -> None:
        self._waiting.clear()
        self._context.update(
            vector_store_instance=None, text_to_embed=None, embedding_status="idle"
        )
