"""One connection, alive: its task group, its bus, its models and the two ends of its wire."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import anyio
from anyio.abc import TaskGroup

from xtalk import events
from xtalk.agent import Agent
from xtalk.audio import AudioFrame
from xtalk.bus import EventBus, Manager, Override
from xtalk.calls import close_model, open_model
from xtalk.errors import NotAvailable
from xtalk.managers.asr import ASRManager
from xtalk.managers.enhancer import EnhancerManager
from xtalk.managers.input_gateway import InputGateway
from xtalk.managers.output_gateway import OutputGateway
from xtalk.managers.simultaneous import SimultaneousManager
from xtalk.managers.tts import TTSManager
from xtalk.managers.turn_taking import TurnTakingManager
from xtalk.managers.vad import VADManager
from xtalk.pipeline import Pipeline
from xtalk.threads import Guard, exits_as_errors, run_in_thread
from xtalk.transport import Transport
from xtalk.turn import Turn
from xtalk.wire import messages
from xtalk.wire.protocol import ServerProtocol

if TYPE_CHECKING:
    from xtalk.dialogue import Dialogue
    from xtalk.plugins import Plugin, Plugins
    from xtalk.session_log import SessionLog

__all__ = ["Clock", "Session", "SessionView", "StateKey"]

log = logging.getLogger("xtalk.session")

M = TypeVar("M", bound=Manager)
T = TypeVar("T")

OUTBOX_LIMIT = 8 * 1024 * 1024  # bytes; a client that does not read loses its session
SHUTDOWN_S = 5.0
OPEN_S = 30.0  # the longest that a model takes to open in another's place
FLUSH_S = 1.0

# With one of these a turn may be over.
ENDINGS = (
    events.ReplyOver,
    events.VerificationResult,
    events.TranscriptReady,
    events.TurnAbandoned,
    events.ConversationEnded,
)
USES = (events.VADSpeechStart, *ENDINGS)


class Clock:
    """The one clock of a session. Only stamps on the wire and agents see wall-clock time."""

    def now(self) -> float:
        """Seconds on the event loop's clock."""
        return asyncio.get_running_loop().time()

    def wall(self) -> datetime:
        """The time of day, with its zone."""
        return datetime.now().astimezone()

    def wall_ms(self) -> int:
        """Milliseconds since 1970, as browsers count them."""
        return int(time.time() * 1000)


class StateKey(Generic[T]):
    """A typed key of `session.state`; each plugin makes its own."""

    def __init__(self, name: str) -> None:
        self.name = name


class SessionView(Protocol):
    """What plugins see of a session."""

    @property
    def id(self) -> str: ...

    @property
    def config(self) -> Mapping[str, Any]: ...

    @property
    def pipeline(self) -> Pipeline: ...

    @property
    def clock(self) -> Clock: ...

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]: ...

    @property
    def state(self) -> dict[StateKey[Any], Any]: ...

    def spawn(self, function: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """Run a coroutine for as long as the session lives; a crash is logged, no more."""

    def post(self, event: events.BaseEvent) -> None:
        """Post an event on the session's bus."""

    def subscribe(
        self, event: type[events.BaseEvent], handler: Callable[..., Any], priority: int = 0
    ) -> None:
        """Listen to the session's bus."""


class Session:
    """One connection. `run` lives as long as it does; everything it starts ends with it."""

    def __init__(
        self,
        *,
        transport: Transport,
        pipeline: Pipeline,
        prototype: Pipeline,
        config: dict[str, Any],
        manager_classes: Iterable[type[Manager]],
        overrides: Mapping[type, Iterable[Override]] | None = None,
        alternatives: Mapping[str, Mapping[str, Any]] | None = None,
        plugins: Plugins | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.id = str(uuid.uuid4())
        self.config = config
        self.pipeline = pipeline
        self.clock = clock or Clock()
        self.log = logging.LoggerAdapter(log, {"session_id": self.id})
        self.state: dict[StateKey[Any], Any] = {}
        self.protocol = ServerProtocol()
        self.turn: Turn | None = None
        self.alternatives = alternatives or {}
        self.ready = anyio.Event()  # its managers listen
        self.before_turn: list[Callable[[], asyncio.Future[None] | None]] = []
        self.noted: dict[str, float] = {}
        self.bus = EventBus(session_id=self.id, clock=self.clock.now, overrides=overrides)
        self.managers: list[Manager] = []
        self._tools: list[Any] = []
        self._shared = prototypes(prototype, self.alternatives)
        self._opened: list[object] = []  # the models that are this session's alone, now
        self._closing: set[asyncio.Task[None]] = set()
        self._transport = transport
        self._manager_classes = list(manager_classes)
        self._plugins = plugins
        self._turns: TurnTakingManager | None = None
        self._dialogue: Dialogue | SimultaneousManager | None = None
        self._tasks: TaskGroup | None = None
        self._talking = anyio.CancelScope()
        self._outbox: list[str | bytes] = []
        self._outbox_bytes = 0
        self._wake: asyncio.Future[None] | None = None
        self._sending = False
        self._gone = False
        self._sent_all: asyncio.Future[None] | None = None
        self._close: tuple[int, str] = (1000, "")
        self._used_at = 0.0
        self.began = 0.0
        self.tap: SessionLog | None = None  # writes down all that crosses the boundary, if wanted

    # --- life -----------------------------------------------------------------------------------

    async def run(self, first: Iterable[str | bytes] = ()) -> None:
        """Talk until the client is gone. `first` is what it sent while it was queued."""
        self.began = self.clock.now()
        _name_the_loop()
        async with AsyncExitStack() as around:
            if self.config["session_log"]:
                from xtalk.session_log import SessionLog

                self.tap = SessionLog(self, self.config["session_log"])
                around.push_async_callback(self.tap.close)
            self.send(messages.SessionInfo(session_id=self.id))
            for context in self._contexts("xtalk_session"):
                await around.enter_async_context(context)
            around.push_async_callback(self._close_models)  # once nothing calls them any more
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                tasks.start_soon(self._write)
                try:
                    with exits_as_errors(), self._talking:
                        await self._open()
                        self.ready.set()
                        for item in first:
                            self._receive(item)
                        await self._read()
                except Exception:
                    self._close = (1011, "Internal server error")
                    self.send(messages.Error(message="The server failed to run this session."))
                    raise
                finally:
                    self.ready.set()
                    with anyio.CancelScope(shield=True):
                        await self._end()
                    tasks.cancel_scope.cancel()

    def close(self, code: int = 1000, reason: str = "") -> None:
        """End the session; `run` returns soon."""
        self._close = (code, reason)
        self._talking.cancel()

    @property
    def ending(self) -> str:
        """Why it ended, for the log."""
        return self._close[1] or "the client left"

    @property
    def busy(self) -> bool:
        """Whether somebody speaks, is being understood, or is owed the rest of a reply."""
        if self._dialogue is not None:
            return self._dialogue.busy
        return self.turn is not None and self.turn.running

    @property
    def audible(self) -> bool:
        """Whether the client would play at once what it is sent, as far as is known."""
        return self._dialogue is None or self._dialogue.audible

    async def settled(self) -> None:
        """Wait until no turn is under way."""
        await self.ready.wait()
        quiet = anyio.Event()

        def look() -> None:
            if not self.busy:
                quiet.set()

        def later(event: events.BaseEvent) -> None:
            # What follows from the event may begin the next turn.
            asyncio.get_running_loop().call_soon(look)

        for ending in ENDINGS:
            self.bus.subscribe(ending, later)
        look()
        await quiet.wait()

    async def _open(self) -> None:
        self._opened = [m for m in models_of(self.pipeline) if not self._is_shared(m)]
        async with anyio.create_task_group() as opening:
            for model in self._opened:
                opening.start_soon(open_model, model)
        self._build()
        self._offer_tools()

    def _build(self) -> None:
        needed: list[type[Manager]] = [InputGateway, OutputGateway]
        if self.config["recording"]:
            from xtalk.managers.recording import RecordingManager

            needed.append(RecordingManager)
        for cls in self._manager_classes:
            self.managers.append(self._construct(cls))
        self._add_plugins_managers()
        for cls in needed:
            if self.find(cls) is None:
                self.managers.append(self._construct(cls))
        self._input = self._need(InputGateway)
        self._enhancer = self.find(EnhancerManager)
        self._vad = self.find(VADManager)
        self._asr = self.find(ASRManager)
        self._turns = turns = self.find(TurnTakingManager)
        self._dialogue = turns.dialogue if turns else self.find(SimultaneousManager)
        if self.config["idle_timeout_sec"]:
            self.spawn(self._watch_idle, float(self.config["idle_timeout_sec"]))
        if self.config["session_limit_sec"]:
            self.spawn(self._watch_length, float(self.config["session_limit_sec"]))

    def _add_plugins_managers(self) -> None:
        """Those that can be made; for any other its plugin is to blame."""
        found = self._hook("xtalk_managers", pipeline=self.pipeline, config=self.config)
        for plugin, cls in [(plugin, cls) for plugin, classes in found for cls in classes]:
            try:
                self.managers.append(self._construct(cls))
            except (Exception, SystemExit) as error:
                plugin.blame("xtalk_managers", error)

    def _construct(self, cls: type[Manager]) -> Manager:
        """Call a manager's constructor with those of our keywords that it names."""
        offered = {
            "event_bus": self.bus,
            "session_id": self.id,
            "pipeline": self.pipeline,
            "config": self.config,
            "session": self,
        }
        parameters = inspect.signature(cls.__init__).parameters.values()
        if any(p.kind is p.VAR_KEYWORD for p in parameters):
            return cls(**offered)
        names = {p.name for p in parameters}
        return cls(**{name: value for name, value in offered.items() if name in names})

    def _offer_tools(self) -> None:
        for plugin, tools in self._hook("xtalk_tools", session=self):
            try:
                self.offer_tools(list(tools), str(plugin))
            except (Exception, SystemExit) as error:
                plugin.blame("xtalk_tools", error)

    def offer_tools(self, tools: list[Any], whose: str) -> bool:
        """Give the agent these tools, and every agent that takes its place in this session.

        False when the agent there is now cannot use them.
        """
        agent = self.pipeline.get_agent()
        if not tools or agent is None:
            return False
        usable = True
        try:
            agent.add_tools(tools)
        except NotAvailable as error:
            log.warning("the tools of %s are not used: %s", whose, error)
            usable = False
        self._tools.extend(tools)
        return usable

    async def _end(self) -> None:
        self.bus.post(events.ConversationEnded(reason="disconnected"))
        with anyio.move_on_after(FLUSH_S):
            await self._flush()
        with anyio.move_on_after(SHUTDOWN_S) as limit:
            async with anyio.create_task_group() as ending:
                for manager in self.managers:
                    ending.start_soon(self._shut_down, manager)
            await self.bus.shutdown()
        if limit.cancelled_caught:
            log.error("session %s: managers took more than %.0f s to end", self.id, SHUTDOWN_S)
        await self._transport.close(*self._close)

    async def _shut_down(self, manager: Manager) -> None:
        try:
            await manager.shutdown()
        except Exception:
            log.exception("%s failed to shut down", type(manager).__name__)

    async def _close_models(self) -> None:
        """Those with which the session ended: a retired one is closed when its call returns."""
        with anyio.move_on_after(SHUTDOWN_S, shield=True):
            async with anyio.create_task_group() as closing:
                for model in self._opened:
                    closing.start_soon(self._close_model, model)

    async def _close_model(self, model: object) -> None:
        try:
            await close_model(model)
        except Exception:
            log.exception("%s failed to close", type(model).__name__)

    def _is_shared(self, model: object) -> bool:
        """Whether other sessions speak to this very object, as when `clone()` returns itself."""
        return any(model is shared for shared in self._shared)

    def used(self) -> None:
        """Somebody wants something of the session: it is not idle."""
        self._used_at = self.clock.now()

    async def _watch_idle(self, idle_s: float) -> None:
        """Speech, turns and commands are use; pings and a microphone that hears nothing are not."""
        for kind in USES:
            self.bus.subscribe(kind, lambda event: self.used())
        self.used()
        while (left := self._used_at + idle_s - self.clock.now()) > 0:
            await anyio.sleep(left)
            if self.busy:
                self.used()
        self.send(messages.Error(message=f"Nothing was heard for {idle_s:g} s; good-bye."))
        self.close(1000, "idle")

    async def _watch_length(self, limit_s: float) -> None:
        await anyio.sleep(limit_s)
        self.send(messages.Error(message=f"A conversation lasts {limit_s:g} s at most; good-bye."))
        self.close(1000, "time is up")

    # --- in -------------------------------------------------------------------------------------

    async def _read(self) -> None:
        receive = self._transport.receive
        while (item := await receive()) is not None:
            self._receive(item)

    def _receive(self, item: str | bytes) -> None:
        if self.tap is not None:
            self.tap.received(item)
        frame = self._input.receive(item)
        if frame is not None and frame.pcm:
            self.hear(frame)

    def hear(self, frame: AudioFrame) -> None:
        """Raw audio of the microphone, on its way by plain calls."""
        if self._dialogue is not None:
            self._dialogue.last_frame = self.clock.now()
        if self.bus.has(events.AudioFrameReceived):
            self.bus.post(events.AudioFrameReceived(audio_data=frame.pcm))
        if self._enhancer is not None:
            self._enhancer.push(frame)
        else:
            self.hear_clean(frame)

    def hear_clean(self, frame: AudioFrame) -> None:
        """Audio behind the enhancer: first the detectors, then the taps, then the recogniser."""
        if self._vad is not None:
            self._vad.push(frame)
        if self._turns is not None:
            self._turns.hear(frame)
        if self.bus.has(events.EnhancedAudioFrameReceived):
            self.bus.post(events.EnhancedAudioFrameReceived(audio_data=frame.pcm))
        if self._asr is not None:
            self._asr.push(frame)

    def after_audio(self, call: Callable[[], None]) -> None:
        """Run a call behind all audio that has arrived; at once when no lane stands between.

        What the detector causes belongs behind the audio that it has heard, which is less.
        """
        if self._enhancer is not None:
            self._enhancer.after(call, heard=self._vad is not None and self._vad.starting)
        else:
            call()

    # --- out ------------------------------------------------------------------------------------

    def send(self, message: Any) -> None:
        """Put a message into the outbox; never waits for the network."""
        if self._gone:
            return
        items = self.protocol.send(message)
        if self.tap is not None:
            self.tap.sent(items)
        self._outbox.extend(items)
        self._outbox_bytes += sum(map(len, items))
        if self._outbox_bytes > OUTBOX_LIMIT:
            self._leave(1008, "the client does not read")
        elif self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def _write(self) -> None:
        while True:
            if not self._outbox:
                self._wake = asyncio.get_running_loop().create_future()
                if self._sent_all is not None:
                    self._sent_all.set_result(None)
                    self._sent_all = None
                await self._wake
                continue
            items, self._outbox, self._outbox_bytes = self._outbox, [], 0
            self._sending = True
            try:
                await self._transport.send(items)
            except ConnectionError:
                self._leave(*self._close)
                return
            finally:
                self._sending = False

    def _leave(self, code: int, reason: str) -> None:
        """The client takes nothing more: end the session without another word."""
        self._gone = True
        self._outbox.clear()
        if self._sent_all is not None and not self._sent_all.done():
            self._sent_all.set_result(None)
        self.close(code, reason)

    async def _flush(self) -> None:
        """Wait until the client has been sent everything, or is gone."""
        if (self._outbox or self._sending) and not self._gone:
            self._sent_all = asyncio.get_running_loop().create_future()
            await self._sent_all

    # --- what managers and plugins use ----------------------------------------------------------

    def note(self, name: str, value: Any) -> None:
        """Put something into the pipeline's context, with the time at which it was known."""
        self.pipeline.context[name] = value
        self.noted[name] = self.clock.now()

    def spawn(self, function: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """Run a coroutine for as long as the session lives; a crash is logged, no more."""
        if self._tasks is None:
            raise RuntimeError("the session has not started")
        self._tasks.start_soon(self._run, function, args)

    async def _run(self, function: Callable[..., Awaitable[Any]], args: tuple[Any, ...]) -> None:
        try:
            with exits_as_errors():
                await function(*args)
        except Exception:
            name = getattr(function, "__qualname__", repr(function))
            log.exception("session %s: %s failed", self.id, name)

    def post(self, event: events.BaseEvent) -> None:
        self.bus.post(event)

    def subscribe(
        self, event: type[events.BaseEvent], handler: Callable[..., Any], priority: int = 0
    ) -> None:
        self.bus.subscribe(event, handler, priority)

    def find(self, cls: type[M]) -> M | None:
        """The first manager of that class, if the session has one."""
        return next((m for m in self.managers if isinstance(m, cls)), None)

    def _need(self, cls: type[M]) -> M:
        manager = self.find(cls)
        assert manager is not None
        return manager

    @property
    def takes_turns(self) -> bool:
        """Whether turn taking gives the turns their numbers."""
        return self._dialogue is not None

    def new_turn(self, turn_id: int, user: str) -> Turn:
        """The turn that is live from now on."""
        sink = self.find(TTSManager)
        if sink is None:
            raise RuntimeError("a turn needs a TTSManager to speak through")
        self.turn = Turn(turn_id, user=user, sink=sink)
        return self.turn

    def around_turn(self, turn: Turn) -> list[AbstractAsyncContextManager[None]]:
        return self._contexts("xtalk_turn", turn=turn)

    def guard(self, model: Any, tell: Callable[[Any], None] = lambda model: None) -> Guard[Any]:
        """One caller at a time inside a model of this session.

        `tell` is called with each model that is about to take its place.
        """

        async def fresh(source: Any) -> Any:
            return await self._successor(guard.model, source, tell)

        patience_s = self.config["clone_patience_sec"]
        guard = Guard(model, fresh=fresh, patience_s=patience_s, retire=self._retire)
        return guard

    async def switch(self, guard: Guard[Any], slot: str, name: str) -> bool:
        """Put a copy of the alternative of that name in a guard's care; False for no such name.

        Raises what making and opening it raises; the model there is then stays.
        """
        prototype = self.alternatives.get(slot, {}).get(name)
        if prototype is None:
            return False
        await guard.change(prototype)
        return True

    async def _successor(self, old: Any, source: Any, tell: Callable[[Any], None]) -> Any:
        """A copy of `source`, made and opened off the loop, that knows what it must.

        Once it is open nothing is awaited, so it comes to the pipeline and to the guard at once.
        """
        with anyio.fail_after(OPEN_S):
            made = await run_in_thread(source.clone)
            try:
                if not self._is_shared(made):
                    await open_model(made)
                if self._tools and isinstance(made, Agent):
                    with contextlib.suppress(NotAvailable):
                        made.add_tools(self._tools)
                tell(made)
            except BaseException:
                self._retire(made)
                raise
        self._replace(old, made)
        return made

    def _replace(self, old: object, made: object) -> None:
        for name, value in list(vars(self.pipeline).items()):
            if value is old:
                setattr(self.pipeline, name, made)
        self._opened = [model for model in self._opened if model is not old]
        if not self._is_shared(made):
            self._opened.append(made)

    def _retire(self, model: object) -> None:
        """Nobody calls it any more, perhaps long after the session: close it, if it was ours."""
        if self._is_shared(model):
            return
        task = asyncio.get_running_loop().create_task(self._close_model(model))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def wrapped(self, stage_name: str, stage: T) -> T:
        """A stage inside the wrappers that the plugins have for it."""
        if self.tap is not None:
            stage = self.tap.stage(stage_name, stage)
        if self._plugins is None:
            return stage
        return self._plugins.wrapped(f"xtalk_wrap_{stage_name}", stage, session=self)

    def watched(self, model: T) -> T:
        """A detector, whose calls are no stage, watched by the session's log if there is one."""
        return model if self.tap is None else self.tap.model(model)

    def _contexts(self, hook: str, **arguments: Any) -> list[AbstractAsyncContextManager[None]]:
        plugins = self._plugins
        return [] if plugins is None else plugins.contexts(hook, session=self, **arguments)

    def _hook(self, name: str, **arguments: Any) -> list[tuple[Plugin, Any]]:
        return [] if self._plugins is None else self._plugins.call(name, **arguments)


def _name_the_loop() -> None:
    """Where sniffio is installed anyio asks it for the loop, and in a timer it knows of none.

    Every task and timer of the session inherits this answer.
    """
    sniffio = sys.modules.get("sniffio")
    if sniffio is not None:
        sniffio.current_async_library_cvar.set("asyncio")


_GETTERS = (
    "get_asr_model",
    "get_tts_model",
    "get_agent",
    "get_vad_model",
    "get_turn_detector",
    "get_enhancer_model",
    "get_speaker_encoder",
    "get_captioner_model",
    "get_punt_restorer_model",
    "get_caption_rewriter_model",
    "get_thought_rewriter_model",
    "get_speed_controller",
    "get_embeddings_model",
)


def prototypes(pipeline: Pipeline, alternatives: Mapping[str, Mapping[str, Any]]) -> list[object]:
    """The models that sessions copy, each once."""
    others = [model for group in alternatives.values() for model in group.values()]
    return list({id(model): model for model in [*models_of(pipeline), *others]}.values())


def models_of(pipeline: Pipeline) -> list[object]:
    """Every model in a pipeline."""
    models = (getattr(pipeline, getter)() for getter in _GETTERS)
    return [model for model in models if model is not None]
