"""The blueprint of sessions, and the host that lets connections in and keeps them.

Service   what every session is made of: pipeline, managers, changes to their handlers
Host      the sessions that live in this process
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import anyio

from xtalk.bus import Manager, Override
from xtalk.calls import close_model, open_model
from xtalk.events import BaseEvent
from xtalk.limiter import SessionLimiter
from xtalk.managers.agent import LLMAgentManager
from xtalk.managers.asr import ASRManager
from xtalk.managers.captioner import CaptionerManager
from xtalk.managers.embeddings import EmbeddingsManager
from xtalk.managers.enhancer import EnhancerManager
from xtalk.managers.latency import LatencyManager
from xtalk.managers.retrieval import RetrievalManager
from xtalk.managers.simultaneous import SimultaneousManager
from xtalk.managers.speaker import SpeakerManager
from xtalk.managers.thought import ThoughtManager
from xtalk.managers.tts import TTSManager
from xtalk.managers.turn_taking import TurnTakingManager
from xtalk.managers.vad import VADManager
from xtalk.pipeline import Pipeline
from xtalk.session import Clock, Session, prototypes
from xtalk.settings import ServiceConfig
from xtalk.threads import run_in_thread
from xtalk.transport import StarletteTransport, Transport, as_transport, peer
from xtalk.wire import messages
from xtalk.wire.protocol import ServerProtocol

if TYPE_CHECKING:
    from xtalk.plugins import Plugins

__all__ = ["DefaultService", "Host", "Service"]

log = logging.getLogger("xtalk.service")

SHUTDOWN_S = 10.0
GOODBYE = (1001, "the server is going down")


class Service:
    """A blueprint: it is never alive itself, `open` makes a session from it."""

    MANAGER_CLASSES: ClassVar[tuple[type[Manager], ...]] = ()

    def __init__(
        self,
        *,
        pipeline: Pipeline,
        service_config: Mapping[str, Any] | None = None,
        manager_classes: list[type[Manager]] | None = None,
    ) -> None:
        self.pipeline = pipeline
        self.service_config = ServiceConfig.model_validate(dict(service_config or {})).as_dict()
        chosen = self.MANAGER_CLASSES if manager_classes is None else manager_classes
        self.manager_classes: list[type[Manager]] = list(chosen)
        self._overrides: dict[type, list[Override]] = {}
        self.alternatives: Mapping[str, Mapping[str, Any]] = {}
        """The models that clients may switch to, by slot and name."""

    def register_manager(self, manager_class: type[Manager]) -> None:
        """Add a manager to every session to come; a subclass takes its base's place."""
        for index, known in enumerate(self.manager_classes):
            if manager_class is known:
                return
            if issubclass(manager_class, known):
                self.manager_classes[index] = manager_class
                return
        self.manager_classes.append(manager_class)

    def unregister_manager(self, manager_class: type[Manager]) -> None:
        """Leave a manager out of every session to come."""
        if manager_class not in self.manager_classes:
            raise ValueError(f"{manager_class.__name__} is not registered")
        self.manager_classes.remove(manager_class)

    def subscribe_event(
        self,
        *,
        event_listener_cls: type,
        event_type: type[BaseEvent] | str,
        method_or_handler: str | Callable[..., Any],
        priority: int = 0,
        enabled_if: Callable[[Any], bool] | None = None,
    ) -> None:
        """Add a handler to every listener of exactly this class.

        A method's name, a callable of `(event)`, or one of `(listener, event)`.
        ValueError when the class has no method of that name.
        """
        name = method_or_handler
        if isinstance(name, str) and not hasattr(event_listener_cls, name):
            raise ValueError(f"{event_listener_cls.__name__} has no method {name!r}")
        override = Override(_type(event_type), None, method_or_handler, priority, enabled_if)
        self._overrides.setdefault(event_listener_cls, []).append(override)

    def unsubscribe_event(
        self,
        *,
        event_listener_cls: type,
        event_type: type[BaseEvent] | str,
        method_name: str | None = None,
    ) -> None:
        """Take the decorated handlers of this class for this event away, or the named one."""
        override = Override(_type(event_type), method_name)
        self._overrides.setdefault(event_listener_cls, []).append(override)

    def clone(self) -> Service:
        """Another blueprint with the same pipeline and its own lists."""
        twin = type(self)(
            pipeline=self.pipeline,
            service_config=self.service_config,
            manager_classes=list(self.manager_classes),
        )
        twin.alternatives = self.alternatives
        twin._overrides = {cls: list(changes) for cls, changes in self._overrides.items()}
        return twin

    def open(
        self,
        transport: Transport,
        *,
        pipeline: Pipeline | None = None,
        plugins: Plugins | None = None,
        clock: Clock | None = None,
    ) -> Session:
        """A session on this connection, with a pipeline of its own (a clone unless given)."""
        return Session(
            transport=transport,
            pipeline=pipeline or self.pipeline.clone(),
            prototype=self.pipeline,
            config=dict(self.service_config),
            manager_classes=self._classes(),
            overrides=self._overrides,
            alternatives=self.alternatives,
            plugins=plugins,
            clock=clock,
        )

    def _classes(self) -> list[type[Manager]]:
        """In simultaneous mode another manager stands where turn taking would."""
        if not self.service_config["sim_gen"]:
            return self.manager_classes
        return [
            SimultaneousManager if cls is TurnTakingManager else cls for cls in self.manager_classes
        ]


class DefaultService(Service):
    """The service with every manager that core has."""

    MANAGER_CLASSES: ClassVar[tuple[type[Manager], ...]] = (
        ASRManager,
        LLMAgentManager,
        TTSManager,
        TurnTakingManager,
        LatencyManager,
        VADManager,
        EnhancerManager,
        CaptionerManager,
        ThoughtManager,
        SpeakerManager,
        EmbeddingsManager,
        RetrievalManager,
    )


class Host:
    """The sessions of this process."""

    def __init__(
        self,
        service: Service,
        limiter: SessionLimiter | None = None,
        plugins: Plugins | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.service = service
        self.limiter = limiter or SessionLimiter()
        self.plugins = plugins
        self.sessions: dict[str, Session] = {}
        self.draining = False
        self._clock = clock or Clock()
        self._empty: anyio.Event | None = None

    def set_limit(self, max_sessions: int) -> None:
        """How many sessions may live at once; 0 or less for as many as come."""
        self.limiter.set_limit(max_sessions)

    async def connect(self, connection: Any) -> None:
        """The whole life of one connection: a Starlette WebSocket or a Transport.

        Never raises for what goes wrong inside the session: that is logged, and the client sees
        close code 1011.
        """
        transport = as_transport(connection)
        if isinstance(transport, StarletteTransport):
            await transport.accept()
        if await self._turned_away(transport):
            return
        try:
            async with self.limiter.slot(transport, self._clock.wall_ms) as slot:
                if not await self._turned_away(transport) and slot is not None:
                    await self._serve(transport, slot.kept)
        except ConnectionError:
            log.debug("a client left before its session began")

    async def _turned_away(self, transport: Transport) -> bool:
        if self.draining:
            await transport.close(*GOODBYE)
        return self.draining

    async def _serve(self, transport: Transport, kept: list[str | bytes]) -> None:
        session: Session | None = None
        ending = "broken off"
        try:
            # Cloning a pipeline may connect or load, so it does not happen on the loop.
            pipeline = await run_in_thread(self.service.pipeline.clone)
            session = self.service.open(
                transport, pipeline=pipeline, plugins=self.plugins, clock=self._clock
            )
            self.sessions[session.id] = session
            if self.draining:
                session.close(*GOODBYE)
            log.info("session %s of %s begins", session.id, peer(transport))
            await session.run(kept)
            ending = session.ending
        except Exception:
            log.exception("session %s failed", session.id if session else "(not yet open)")
            await _apologise(transport)
        finally:
            if session is not None:
                self.sessions.pop(session.id, None)
                lasted_s = self._clock.now() - session.began
                log.info("session %s ended after %.1f s: %s", session.id, lasted_s, ending)
            if not self.sessions and self._empty is not None:
                self._empty.set()

    async def drain(self, deadline_s: float) -> None:
        """Let nobody in any more; end each session when its turn is over, all at the deadline.

        A turn is over when nobody speaks, is being understood, or is owed the rest of a reply.
        """
        self.draining = True
        self.limiter.turn_away()
        with anyio.move_on_after(deadline_s):
            async with anyio.create_task_group() as tasks:
                for session in list(self.sessions.values()):
                    tasks.start_soon(self._see_off, session)
        await self.shutdown()

    async def _see_off(self, session: Session) -> None:
        await session.settled()
        session.close(*GOODBYE)

    async def shutdown(self, code: int = GOODBYE[0], reason: str = GOODBYE[1]) -> None:
        """End every session; returns when they have ended, after 10 s at the latest."""
        self._empty = anyio.Event()
        for session in list(self.sessions.values()):
            session.close(code, reason)
        if self.sessions:
            with anyio.move_on_after(SHUTDOWN_S):
                await self._empty.wait()

    @asynccontextmanager
    async def lifespan(self, xtalk: object) -> AsyncIterator[None]:
        """The life of the process: the plugins' contexts, and the models that sessions copy.

        Those are open as long, so that what they share (a worker, a pool of connections) is warm.
        """
        async with AsyncExitStack() as stack:
            if self.plugins is not None:
                for context in self.plugins.contexts("xtalk_lifespan", xtalk=xtalk):
                    await stack.enter_async_context(context)
            await run_in_thread(_warm)
            for model in prototypes(self.service.pipeline, self.service.alternatives):
                stack.push_async_callback(close_model, model)
                try:
                    await open_model(model)
                except Exception:
                    # It may work by the time a session asks for it, which is told if it does not.
                    log.exception("%s could not be opened", type(model).__name__)
            try:
                yield
            finally:
                await self.shutdown()


def _warm() -> None:
    """Import off the loop what the first audio of the process would import on it."""
    import numpy  # noqa: F401
    import soxr  # noqa: F401


async def _apologise(transport: Transport) -> None:
    try:
        await transport.send(
            ServerProtocol().send(messages.Error(message="The server failed to run this session."))
        )
    except ConnectionError:
        return
    await transport.close(1011, "Internal server error")


def _type(event: type[BaseEvent] | str) -> str:
    return event if isinstance(event, str) else event.TYPE
