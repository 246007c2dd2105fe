"""The event bus of a session, and the base class of everything that listens to it.

`post` is synchronous and runs to completion, depth-first: an event reaches all its listeners, in
priority order, before what they post in answer is delivered, and those answers come before
events that were posted earlier but after it. So a cause and all its consequences lie next to
each other, which is the order that the wire needs.

`def` handlers run inline. `async def` handlers go to the mailbox of their listener: one task a
listener, one handler at a time. A mailbox never makes its publisher wait.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from abc import ABCMeta, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from xtalk.events import (
    AudioFrameReceived,
    BaseEvent,
    EnhancedAudioFrameReceived,
    ErrorOccurred,
)

__all__ = ["EventBus", "Manager", "Override"]

log = logging.getLogger("xtalk.bus")

Handler = Callable[..., Any]
H = TypeVar("H", bound=Handler)

MAILBOX_SIZE = 1024
WAIT_LIMIT_S = 5.0
HANDLER_LIMIT_S = 1.0
DROP_OLDEST = {AudioFrameReceived.TYPE, EnhancedAudioFrameReceived.TYPE}


class Spec(NamedTuple):
    """What `@Manager.event_handler` notes on a method."""

    event: str
    priority: int
    enabled_if: Callable[[Any], bool] | None
    concurrent: bool


@dataclass(frozen=True)
class Override:
    """A change to the handlers of one listener class: `handler` None takes them away."""

    event: str
    method_name: str | None = None
    handler: Handler | str | None = None
    priority: int = 0
    enabled_if: Callable[[Any], bool] | None = None


@dataclass(eq=False)
class Subscription:
    event: str
    handler: Handler
    priority: int
    mailbox: Mailbox
    is_async: bool
    concurrent: bool
    alive: bool = True
    calls: int = 0
    errors: int = 0

    @property
    def name(self) -> str:
        handler = self.handler
        return str(getattr(handler, "__qualname__", None) or type(handler).__qualname__)


class Letter(NamedTuple):
    subscription: Subscription
    event: BaseEvent
    answer: Awaitable[Any] | None
    done: asyncio.Future[None]


@dataclass(eq=False)
class Mailbox:
    """The async handlers of one listener, one at a time, in order of posting."""

    listener: object
    letters: deque[Letter] = field(default_factory=deque)
    task: asyncio.Task[None] | None = None
    wake: asyncio.Future[None] | None = None
    full: bool = False


def _type_of(event: type[BaseEvent] | str) -> str:
    return event if isinstance(event, str) else str(getattr(event, "TYPE", event.__name__))


def _is_async(handler: Handler) -> bool:
    while hasattr(handler, "func"):  # functools.partial
        handler = handler.func
    call = getattr(handler, "__call__", None)  # noqa: B004 - an object may have an async one
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(call)


class EventBus:
    """Who listens to what, and the delivery of events."""

    def __init__(
        self,
        enable_history: bool = False,
        max_history: int = 1000,
        *,
        session_id: str = "",
        clock: Callable[[], float] | None = None,
        overrides: Mapping[type, Iterable[Override]] | None = None,
    ) -> None:
        self.session_id = session_id
        self.overrides = dict(overrides or {})
        self._clock = clock
        self._thread = threading.get_ident()
        self._subscriptions: dict[str, list[Subscription]] = {}
        self._mailboxes: dict[int, Mailbox] = {}
        self._answers: list[BaseEvent] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: dict[asyncio.Task[Any], set[asyncio.Task[Any]]] = {}
        self._closed = False
        self._history: deque[BaseEvent] | None = (
            deque(maxlen=max_history) if enable_history else None
        )
        self._stats = {"published": 0, "processed": 0, "errors": 0, "dropped": 0, "waits": 0}

    # --- who listens ----------------------------------------------------------------------------

    def subscribe(
        self,
        event: type[BaseEvent] | str,
        handler: Handler,
        priority: int = 0,
        *,
        concurrent: bool = False,
    ) -> None:
        """Call `handler(event)` for each event of that TYPE, higher priorities first.

        With `concurrent` each call of an async handler runs in a task of its own.
        """
        key = _type_of(event)
        listener = getattr(handler, "__self__", None)
        if listener is None:
            listener = getattr(handler, "listener", handler)
        mailbox = self._mailboxes.setdefault(id(listener), Mailbox(listener))
        subscription = Subscription(key, handler, priority, mailbox, _is_async(handler), concurrent)
        # A new list: a delivery under way keeps the old one.
        self._subscriptions[key] = sorted(
            [*self._subscriptions.get(key, ()), subscription], key=lambda s: -s.priority
        )

    def unsubscribe(self, event: type[BaseEvent] | str, handler: Handler) -> bool:
        """Take the first subscription of this handler away; False when there is none."""
        key = _type_of(event)
        for subscription in self._subscriptions.get(key, ()):
            if subscription.handler == handler:
                self._remove(subscription)
                return True
        return False

    def unsubscribe_listener(self, listener: object) -> None:
        """Take all subscriptions of a listener away; who waits for it goes on."""
        for subscriptions in list(self._subscriptions.values()):
            for subscription in subscriptions:
                if subscription.mailbox.listener is listener:
                    self._remove(subscription)

    def _remove(self, subscription: Subscription) -> None:
        subscription.alive = False
        rest = [s for s in self._subscriptions[subscription.event] if s is not subscription]
        if rest:
            self._subscriptions[subscription.event] = rest
        else:
            del self._subscriptions[subscription.event]

    def has(self, event: type[BaseEvent] | str) -> bool:
        """Whether anybody listens; audio events are only made when somebody does."""
        return _type_of(event) in self._subscriptions

    # --- delivery -------------------------------------------------------------------------------

    def post(self, event: BaseEvent) -> None:
        """Deliver an event and all that it causes. Never waits, never raises a handler's error."""
        if threading.get_ident() != self._thread:
            raise RuntimeError(
                "EventBus.post was called from another thread; use EventBus.call_from_thread"
            )
        if self._answers is not None:
            self._answers.append(event)
        else:
            self._run([event])

    def call_from_thread(self, loop: asyncio.AbstractEventLoop, event: BaseEvent) -> None:
        """Post from a thread that is not the session's; `loop` is the session's loop."""
        loop.call_soon_threadsafe(self.post, event)

    async def publish(self, event: BaseEvent, wait_for_completion: bool = False) -> bool:
        """`post`, and with `wait_for_completion` wait until the async handlers are done too.

        A mailbox that itself waits for the caller, directly or through others, is not waited
        for: its letter arrives all the same, and no circle can close.
        """
        if self._answers is not None:  # only a sync handler that drives a coroutine by hand
            self._answers.append(event)
            return True
        letters = self._run([event])
        if wait_for_completion and letters:
            await self._wait(letters)
        return True

    def _run(self, events: list[BaseEvent]) -> list[Letter]:
        """Deliver depth-first; the letters that the first of the events became."""
        pending = deque(events)
        letters: list[Letter] | None = None
        try:
            while pending:
                self._answers = []
                sent = self._deliver(pending.popleft())
                letters = sent if letters is None else letters
                if self._answers:
                    pending.extendleft(reversed(self._answers))
        finally:
            self._answers = None
        return letters or []

    def _deliver(self, event: BaseEvent) -> list[Letter]:
        if self._closed:
            return []
        if not event.session_id:
            event.session_id = self.session_id
        if self._clock is not None:
            event.at = self._clock()
        self._stats["published"] += 1
        if self._history is not None:
            self._history.append(event)
        letters: list[Letter] = []
        for subscription in self._subscriptions.get(event.TYPE, ()):
            if not subscription.alive:
                continue
            if subscription.is_async:
                self._send(subscription, event, None, letters)
                continue
            try:
                answer = subscription.handler(event)
            except (Exception, SystemExit) as error:
                self._failed(subscription, event, error)
            else:
                subscription.calls += 1
                self._stats["processed"] += 1
                if answer is not None and inspect.isawaitable(answer):
                    self._send(subscription, event, answer, letters)
        return letters

    def _send(
        self,
        subscription: Subscription,
        event: BaseEvent,
        answer: Awaitable[Any] | None,
        letters: list[Letter],
    ) -> None:
        mailbox = subscription.mailbox
        loop = asyncio.get_running_loop()
        letter = Letter(subscription, event, answer, loop.create_future())
        if subscription.concurrent:
            letters.append(letter)
            self._start(self._open(letter))
            return
        if len(mailbox.letters) >= MAILBOX_SIZE and not self._make_room(mailbox, event):
            return
        mailbox.letters.append(letter)
        letters.append(letter)
        if mailbox.task is None:
            mailbox.task = self._start(self._empty(mailbox))
        elif mailbox.wake is not None and not mailbox.wake.done():
            mailbox.wake.set_result(None)

    def _make_room(self, mailbox: Mailbox, event: BaseEvent) -> bool:
        """A full mailbox means a stuck listener: audio loses its oldest, the rest its newest."""
        self._stats["dropped"] += 1
        if event.TYPE in DROP_OLDEST:
            self._settle(mailbox.letters.popleft())
            return True
        if not mailbox.full:
            mailbox.full = True
            name = type(mailbox.listener).__name__
            log.error("%s does not empty its mailbox; events to it are dropped", name)
            self.post(
                ErrorOccurred(
                    error_type="listener_stuck",
                    error_message=f"A part of the server ({name}) does not answer.",
                    component=name,
                )
            )
        return False

    def _start(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _empty(self, mailbox: Mailbox) -> None:
        while True:
            while mailbox.letters:
                await self._open(mailbox.letters.popleft())
            mailbox.full = False
            mailbox.wake = asyncio.get_running_loop().create_future()
            await mailbox.wake
            mailbox.wake = None

    async def _open(self, letter: Letter) -> None:
        """Run one handler; whatever it raises costs this event only."""
        subscription, event, answer, _ = letter
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            if answer is not None:
                await answer
            elif subscription.alive:
                await subscription.handler(event)
                subscription.calls += 1
                self._stats["processed"] += 1
        except asyncio.CancelledError as error:
            # Somebody cancelled what the handler awaited; only shutdown cancels the mailbox.
            if self._closed:
                raise
            self._failed(subscription, event, error)
        except (Exception, SystemExit) as error:
            self._failed(subscription, event, error)
        finally:
            self._settle(letter)
        took = loop.time() - started
        if took > HANDLER_LIMIT_S and not subscription.concurrent:
            log.warning("%s held its mailbox for %.1f s", subscription.name, took)

    @staticmethod
    def _settle(letter: Letter) -> None:
        if not letter.done.done():
            letter.done.set_result(None)

    def _failed(self, subscription: Subscription, event: BaseEvent, error: BaseException) -> None:
        subscription.errors += 1
        self._stats["errors"] += 1
        log.error("%s failed on %s", subscription.name, type(event).__name__, exc_info=error)
        if isinstance(event, ErrorOccurred):
            return
        self.post(
            ErrorOccurred(
                error_type="event_handler_error",
                error_message=f"A part of the server ({subscription.name}) failed.",
                component=f"Handler:{subscription.name}",
            )
        )

    # --- waiting --------------------------------------------------------------------------------

    async def _wait(self, letters: list[Letter]) -> None:
        me = asyncio.current_task()
        assert me is not None
        wanted: list[asyncio.Future[None]] = []
        tasks: set[asyncio.Task[Any]] = set()
        for letter in letters:
            task = letter.subscription.mailbox.task
            if task is not None and not letter.subscription.concurrent:
                if self._waits_for(task, me):
                    self._stats["waits"] += 1
                    log.debug("%s is not waited for: it waits itself", letter.subscription.name)
                    continue
                tasks.add(task)
            wanted.append(letter.done)
        if not wanted:
            return
        self._waiting[me] = tasks
        try:
            _, late = await asyncio.wait(wanted, timeout=WAIT_LIMIT_S)
        finally:
            del self._waiting[me]
        if late:
            log.warning("%d handlers took more than %.0f s", len(late), WAIT_LIMIT_S)

    def _waits_for(self, task: asyncio.Task[Any], goal: asyncio.Task[Any]) -> bool:
        seen: set[asyncio.Task[Any]] = set()
        todo = [task]
        while todo:
            task = todo.pop()
            if task is goal:
                return True
            if task not in seen:
                seen.add(task)
                todo.extend(self._waiting.get(task, ()))
        return False

    # --- the past and the end -------------------------------------------------------------------

    def get_history(
        self, event_type: type[BaseEvent] | str | None = None, session_id: str | None = None
    ) -> list[BaseEvent]:
        """Past events, oldest first, when the bus was made with `enable_history`."""
        key = None if event_type is None else _type_of(event_type)
        return [
            event
            for event in self._history or ()
            if key in (None, event.TYPE) and session_id in (None, event.session_id)
        ]

    def clear_history(self) -> None:
        if self._history is not None:
            self._history.clear()

    def get_stats(self) -> dict[str, Any]:
        """Counters of the bus and of each handler."""
        subscriptions = [s for group in self._subscriptions.values() for s in group]
        return {
            "events_published": self._stats["published"],
            "events_processed": self._stats["processed"],
            "errors_occurred": self._stats["errors"],
            "events_dropped": self._stats["dropped"],
            "waits_skipped": self._stats["waits"],
            "handlers_count": len(subscriptions),
            "handler_stats": {
                s.name: {"calls": s.calls, "errors": s.errors} for s in subscriptions
            },
            "active_tasks": len(self._tasks),
            "history_enabled": self._history is not None,
            "history_count": len(self._history or ()),
        }

    async def shutdown(self) -> None:
        """Deliver nothing more, end the mailboxes, let every waiter go on."""
        self._closed = True
        letters = [letter for box in self._mailboxes.values() for letter in box.letters]
        for letter in letters:
            self._settle(letter)
            if inspect.iscoroutine(letter.answer):
                letter.answer.close()
        me = asyncio.current_task()
        tasks = [task for task in self._tasks if task is not me]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._subscriptions.clear()
        self._mailboxes.clear()


class _Subscribing(ABCMeta):
    """Subscribes the decorated methods of a listener once its constructor has returned."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        listener = super().__call__(*args, **kwargs)
        bus = getattr(listener, "event_bus", None)
        if bus is None:
            raise TypeError(
                f"{cls.__name__}.__init__ must set self.event_bus to the bus it is given"
            )
        for spec, handler in _handlers(listener, bus.overrides.get(cls, ())):
            bus.subscribe(spec.event, handler, spec.priority, concurrent=spec.concurrent)
        return listener


class Manager(metaclass=_Subscribing):
    """Listens to the bus of one session.

    The constructor is called by keyword with those of `event_bus`, `session_id`, `pipeline`,
    `config` and `session` that it names, and must set `self.event_bus`.
    """

    event_bus: EventBus

    @staticmethod
    def event_handler(
        event_type: type[BaseEvent] | str,
        priority: int = 0,
        enabled_if: Callable[[Any], bool] | None = None,
        *,
        concurrent: bool = False,
    ) -> Callable[[H], H]:
        """Mark a method as the handler of an event; stackable.

        `enabled_if(self)` is asked once, after the constructor. Higher priorities have finished
        before lower ones begin, as far as they are `def`.
        """
        spec = Spec(_type_of(event_type), priority, enabled_if, concurrent)

        def decorate(method: H) -> H:
            method.__dict__.setdefault("__xtalk_handles__", []).append(spec)
            return method

        return decorate

    @abstractmethod
    async def shutdown(self) -> None:
        """Give back what this listener holds; the session is over."""


def _handlers(listener: object, overrides: Iterable[Override]) -> Iterable[tuple[Spec, Handler]]:
    """The handlers of a listener after the service's overrides, base classes first."""
    overrides = list(overrides)
    table: dict[str, list[Spec]] = {}
    for base in reversed(type(listener).__mro__):
        for name, member in vars(base).items():
            specs = getattr(member, "__xtalk_handles__", None)
            if specs:
                table[name] = specs
    for name, specs in table.items():
        for spec in specs:
            removed = any(
                o.handler is None and o.event == spec.event and o.method_name in (None, name)
                for o in overrides
            )
            if not removed and (spec.enabled_if is None or spec.enabled_if(listener)):
                yield spec, getattr(listener, name)
    for override in overrides:
        if override.handler is None:
            continue
        if override.enabled_if is None or override.enabled_if(listener):
            spec = Spec(override.event, override.priority, None, False)
            yield spec, _bind(listener, override.handler)


def _bind(listener: object, handler: Handler | str) -> Handler:
    """A method by its name, a callable of (event), or one of (listener, event)."""
    if isinstance(handler, str):
        method: Handler = getattr(listener, handler)
        return method
    if inspect.ismethod(handler):
        return handler
    required = [
        p
        for p in inspect.signature(handler).parameters.values()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty
    ]
    if len(required) < 2:
        return handler
    import types

    return types.MethodType(handler, listener)
