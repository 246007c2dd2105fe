"""What holds for the models of every slot, and how the suites call into a model."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, ClassVar, Generic, TypeVar

import anyio
import pytest

from xtalk import schema
from xtalk.calls import close_model, open_model
from xtalk.hookspecs import Model
from xtalk.plugins import Plugins
from xtalk.threads import Guard, run_in_thread

__all__ = [
    "CANCEL_S",
    "ODD_TEXTS",
    "SESSIONS",
    "Suite",
    "at_once",
    "clones",
    "given_up",
    "is_free",
    "letters",
    "median_s",
    "run_sync",
    "shared",
    "words",
]

M = TypeVar("M")
T = TypeVar("T")

PACKAGE = f"{__package__}."  # whose classes are suites, not an author's
HEAVY = ("numpy", "pydantic_settings", "fastapi", "langchain_core", "onnxruntime")
SESSIONS = 8
ODD_TEXTS = ("3.14 & <b>50 %</b> [[x]] {y}", "你好，世界。", "Grüße 👋🏽", "\x00\x01\x1b a", "…—!?")
LIMIT_S = 60.0
SETTLE_S = 1.0
CANCEL_S = 0.5
LATE_S = 1.0  # so late a busy machine may be
MIDDLE_S = 0.05  # after which a slow model is in the middle of a call


class Suite(Generic[M]):
    """What holds for the models of every slot.

    `model` is the class, `params` its arguments as they would stand in a configuration; override
    the fixture `arguments` where they are known only during the test. `sdk` names the packages
    that the hook module must not need. With `live` set, what needs the model runs only where
    that environment variable (the key of a service) exists.
    """

    slot: ClassVar[str]
    model: ClassVar[type[Any]]
    params: ClassVar[Mapping[str, Any]] = {}
    sdk: ClassVar[Sequence[str]] = ()
    live: ClassVar[str | None] = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, override in vars(cls).items():
            checks = [base for base in cls.__mro__[1:] if base.__module__.startswith(PACKAGE)]
            overridden = name.startswith("test_") and any(name in vars(base) for base in checks)
            if overridden and not _says_why(override):
                raise TypeError(
                    f"{cls.__name__}.{name} overrides a check of its suite: "
                    "mark it with @pytest.mark.xfail(reason=...)"
                )

    @pytest.fixture
    def arguments(self) -> Mapping[str, Any]:
        """The arguments of the constructor; skips where the live service is not to be had."""
        self.need_service()
        return self.params

    def need_service(self) -> None:
        if self.live and not os.environ.get(self.live):
            pytest.skip(f"needs the real service: set {self.live}")

    # --- the package ----------------------------------------------------------------------------

    def test_it_is_registered_under_its_class_name(self) -> None:
        self.card()

    def test_its_card_tells_the_truth(self, arguments: Mapping[str, Any]) -> None:
        card = self.card()
        assert card.summary, "say in a few words what it is"
        assert card.license, "name the licence of what it wraps"
        self.check_card(card, schema.build(self.model, arguments))

    def test_the_hooks_need_no_sdk(self) -> None:
        """Imported where the SDK, numpy and the like are not installed."""
        code = (
            "import sys, importlib\n"
            "sys.modules.update(dict.fromkeys(sys.argv[2:]))\n"
            "importlib.import_module(sys.argv[1])\n"
        )
        command = [sys.executable, "-c", code, self.row().target, *HEAVY, *self.sdk]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def test_every_argument_is_annotated_and_has_a_schema(self) -> None:
        for argument in inspect.signature(self.model).parameters.values():
            assert argument.annotation is not argument.empty, f"{argument.name} has no annotation"
        json.dumps(schema.json_schema(self.model))
        schema.check(self.model, self.params, "params")

    def row(self) -> Any:
        """The plugin that offers the model."""
        return self._registered()[0]

    def card(self) -> Model:
        """The description that the plugin gives of the model."""
        card: Model = self._registered()[1]
        return card

    def _registered(self) -> tuple[Any, Model]:
        plugins = Plugins.load({})
        for row, card in plugins.models(self.slot):
            if card.name == self.model.__name__:
                module, _, name = card.target.partition(":")
                assert getattr(importlib.import_module(module), name) is self.model
                return row, card
        errors = "; ".join(f"{row}: {row.error}" for row in plugins.rows if row.error)
        raise AssertionError(
            f"no installed plugin offers the {self.slot} {self.model.__name__!r} ({errors})"
        )

    def check_card(self, card: Model, model: Any) -> None:
        """What the suite of the slot can compare."""

    # --- its clones -----------------------------------------------------------------------------

    @asynccontextmanager
    async def guards(self, arguments: Mapping[str, Any], count: int) -> AsyncIterator[Any]:
        """Guards over this many open clones of one model."""
        original = schema.build(self.model, arguments)
        async with AsyncExitStack() as stack:
            guards = []
            for _ in range(count):
                clone = original.clone()
                await open_model(clone)
                stack.push_async_callback(close_model, clone)
                guards.append(Guard(clone, patience_s=CANCEL_S))
            yield guards


def _says_why(override: object) -> bool:
    marks = getattr(override, "pytestmark", ())
    return any(mark.name == "xfail" and mark.kwargs.get("reason") for mark in marks)


Check = Callable[..., Coroutine[Any, Any, None]]


def clones(count: int) -> Callable[[Check], Any]:
    """Run an async check on an event loop, with guards over `count` clones as its arguments."""

    def decorate(check: Check) -> Any:
        async def run(self: Any, arguments: Mapping[str, Any]) -> None:
            async with self.guards(arguments, count) as guards:
                await check(self, *guards)

        return _on_a_loop(check, run)

    return decorate


def shared(check: Check) -> Any:
    """Run an async check on an event loop, with one open model that all sessions would share."""

    async def run(self: Any, arguments: Mapping[str, Any]) -> None:
        model = await run_in_thread(schema.build, self.model, arguments)
        await open_model(model)
        try:
            await check(self, model)
        finally:
            await close_model(model)

    return _on_a_loop(check, run)


async def no_task_left() -> None:
    """Fails if a task beside this one goes on; one that is ending gets a second for it."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    if left:
        _, left = await asyncio.wait(left, timeout=SETTLE_S)
    assert not left, f"tasks left running: {left}"


def _on_a_loop(check: Check, run: Check) -> Any:
    """A test that fails when the check does, takes too long or leaves a task behind."""

    def test(self: Any, arguments: Mapping[str, Any]) -> None:
        async def limited() -> None:
            with anyio.fail_after(LIMIT_S):
                await run(self, arguments)
            await no_task_left()

        asyncio.run(limited())

    test.__name__, test.__doc__ = check.__name__, check.__doc__
    test.__qualname__, test.__module__ = check.__qualname__, check.__module__
    return test


async def at_once(asking: Sequence[Callable[[], Coroutine[Any, Any, T]]]) -> list[T]:
    """What all of them answer, in their order, asked at the same time."""
    answers: list[Any] = [None] * len(asking)

    async def ask(number: int) -> None:
        answers[number] = await asking[number]()

    async with anyio.create_task_group() as group:
        for number in range(len(asking)):
            group.start_soon(ask, number)
    return answers


async def given_up(call: Callable[[], Coroutine[Any, Any, object]]) -> None:
    """Cancel a call in its middle; fails when it holds on to its caller, or to the event loop."""
    began = time.monotonic()
    async with anyio.create_task_group() as group:
        group.start_soon(call)
        await anyio.sleep(MIDDLE_S)
        cancelled = time.monotonic()
        group.cancel_scope.cancel()
    assert time.monotonic() - cancelled < CANCEL_S, "it holds on to its caller"
    assert cancelled - began < MIDDLE_S + LATE_S, "it holds up the event loop"


def median_s(function: Callable[[Any], object], arguments: Sequence[Any]) -> float:
    """The median time of a blocking call, in seconds."""
    times = []
    for argument in arguments:
        began = time.perf_counter()
        function(argument)
        times.append(time.perf_counter() - began)
    return sorted(times)[len(times) // 2]


async def is_free(guard: Guard[Any]) -> None:
    """Fails when a thread is still at work in the model."""
    with anyio.move_on_after(CANCEL_S):
        async with guard.lease(patient=True):
            return
    raise AssertionError(f"a thread still works in the model after {CANCEL_S} s")


async def run_sync(guard: Guard[Any], function: Callable[..., Any], *args: Any) -> Any:
    """A blocking method of the model, in a thread."""
    async with guard.lease() as lease:
        return await lease.run(function, *args)


def words(text: str) -> list[str]:
    """The words without case and punctuation, to compare texts."""
    kept = "".join(character if character.isalnum() else " " for character in text.lower())
    return kept.split()


def letters(text: str) -> str:
    """The letters and digits alone, without case: what punctuation must not change."""
    return "".join(words(text))
