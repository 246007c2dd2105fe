"""What is asked of a voice: granted in its thread, between two sentences, by every copy of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from xtalk.errors import ModelTimeout
from xtalk.managers.voice import WAITING, Voice, Wish
from xtalk.speech.interfaces import TTS
from xtalk.testing import virtual_time
from xtalk.threads import Guard, run_in_thread


class Singer(TTS):
    """Blocks in `synthesize` until `gate` is open, and in `set_voice` while `shy` is not."""

    voices = ("low", "high")

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.shy = threading.Event()
        self.shy.set()
        self.singing = threading.Event()
        self.changing = threading.Event()
        self.inside = 0
        self.seen: list[tuple[str, bool, int]] = []  # voice, in the main thread?, calls inside

    def synthesize(self, text: str) -> bytes:
        self.inside += 1
        self.singing.set()
        self.gate.wait(5)
        self.inside -= 1
        return bytes(2)

    def set_voice(self, voice_names: list[str]) -> None:
        self.changing.set()
        main = threading.current_thread() is threading.main_thread()
        self.seen.append((voice_names[0], main, self.inside))
        self.shy.wait(5)
        if voice_names[0] not in self.voices:
            raise ValueError("no such voice")

    def clone(self) -> Singer:
        return Singer()


class Asking:
    """A voice, and the answers that came."""

    def __init__(
        self, tasks: Any, *, patience_s: float = 5.0, clone_patience_s: float = 0.1
    ) -> None:
        self.singer = Singer()
        self.answers: list[str] = []
        self.answered = anyio.Event()
        self.retired = anyio.Event()
        guard: Guard[TTS] = Guard(
            self.singer, patience_s=clone_patience_s, retire=lambda model: self.retired.set()
        )
        self.voice = Voice(guard, spawn=tasks.start_soon, patience_s=patience_s)

    def ask(self, name: str) -> None:
        self.voice.ask(
            Wish(
                what="voice",
                make=lambda tts: tts.set_voice([name]),
                granted=partial(self._answer, name),
                refused=partial(self._answer, f"not {name}"),
            )
        )

    def _answer(self, text: str) -> None:
        self.answers.append(text)
        self.answered.set()


async def with_tasks(test: Callable[[Any], Awaitable[None]]) -> None:
    async with anyio.create_task_group() as tasks:
        await test(tasks)


def test_a_wish_waits_for_the_sentence_and_is_answered_when_it_is_granted() -> None:
    async def main(tasks: Any) -> None:
        asking = Asking(tasks)
        singer = asking.singer
        async with asking.voice.lease() as lease:
            tasks.start_soon(lease.run, singer.synthesize, "la")
            await run_in_thread(singer.singing.wait, 5)
            asking.ask("high")
            asking.ask("nobody")
            await anyio.lowlevel.checkpoint()
        assert asking.answers == []
        singer.gate.set()
        await asking.answered.wait()
        async with asking.voice.lease():
            assert asking.answers == ["high", "not nobody"]
        assert singer.seen == [("high", False, 0), ("nobody", False, 0)]

    virtual_time.run(with_tasks(main))


def test_the_next_sentence_is_spoken_as_was_asked() -> None:
    async def main(tasks: Any) -> None:
        asking = Asking(tasks)
        asking.ask("high")
        async with asking.voice.lease():
            assert asking.answers == ["high"]

    virtual_time.run(with_tasks(main))


def test_a_sentence_that_is_given_up_leaves_the_wish_to_others() -> None:
    async def main(tasks: Any) -> None:
        asking = Asking(tasks)
        asking.singer.shy.clear()
        asking.ask("high")
        async with anyio.create_task_group() as sentence:

            async def speak() -> None:
                async with asking.voice.lease():
                    pytest.fail("nothing can be said yet")

            sentence.start_soon(speak)
            await run_in_thread(asking.singer.changing.wait, 5)
            sentence.cancel_scope.cancel()
        asking.singer.shy.set()
        await asking.answered.wait()
        assert asking.answers == ["high"]

    virtual_time.run(with_tasks(main))


def test_a_copy_in_the_place_of_a_stuck_voice_is_told_what_was_granted() -> None:
    async def main(tasks: Any) -> None:
        asking = Asking(tasks)
        stuck = asking.singer
        for name in ("low", "high", "nobody"):
            asking.ask(name)
        async with anyio.create_task_group() as sentence:

            async def speak() -> None:
                async with asking.voice.lease() as lease:
                    await lease.run(stuck.synthesize, "la")

            sentence.start_soon(speak)
            await run_in_thread(stuck.singing.wait, 5)
            sentence.cancel_scope.cancel()
        async with asking.voice.lease() as lease:
            assert lease.model is not stuck
            assert [name for name, *_ in lease.model.seen] == ["high"]  # type: ignore[attr-defined]
        assert asking.answers == ["low", "high", "not nobody"]
        stuck.gate.set()

    virtual_time.run(with_tasks(main))


def test_a_sentence_waits_for_a_wish_that_takes_long() -> None:
    async def main(tasks: Any) -> None:
        asking = Asking(tasks, clone_patience_s=0.0)
        singer = asking.singer
        singer.shy.clear()
        asking.ask("high")
        await run_in_thread(singer.changing.wait, 5)

        async def speak() -> None:
            async with asking.voice.lease() as lease:
                assert lease.model is singer
                assert asking.answers == ["high"]

        async with anyio.create_task_group() as sentence:
            sentence.start_soon(speak)
            for _ in range(10):
                await anyio.lowlevel.checkpoint()
            singer.shy.set()

    virtual_time.run(with_tasks(main))


def test_a_voice_that_was_replaced_while_it_grants_a_wish_leaves_it_to_the_other() -> None:
    async def main(tasks: Any) -> None:
        asking = Asking(tasks)
        old = asking.singer
        old.shy.clear()
        asking.ask("high")
        asking.ask("low")
        await run_in_thread(old.changing.wait, 5)
        await asking.voice.guard.change(old)
        copy: Any = asking.voice.guard.model
        copy.shy.clear()
        async with anyio.create_task_group() as sentence:

            async def speak() -> None:
                async with asking.voice.lease() as lease:
                    assert lease.model is copy

            sentence.start_soon(speak)
            await run_in_thread(copy.changing.wait, 5)
            old.shy.set()
            await asking.retired.wait()
            assert asking.answers == []
            copy.shy.set()
        assert asking.answers == ["high", "low"]
        assert [name for name, *_ in copy.seen] == ["high", "low"]

    virtual_time.run(with_tasks(main))


def test_wishes_that_are_too_many_are_refused_at_once() -> None:
    async def main(tasks: Any) -> None:
        asking = Asking(tasks)
        async with asking.voice.lease():
            for _ in range(WAITING + 2):
                asking.ask("low")
            assert asking.answers == ["not low"] * 2
        async with asking.voice.lease():
            assert asking.answers == ["not low"] * 2 + ["low"] * WAITING

    virtual_time.run(with_tasks(main))


@pytest.mark.real_time
def test_a_voice_that_hangs_over_a_wish_refuses_it_and_fails_the_sentence() -> None:
    async def main(tasks: Any) -> None:
        asking = Asking(tasks, patience_s=1.0)
        stuck = asking.singer
        stuck.shy.clear()
        asking.ask("high")
        with pytest.raises(ModelTimeout, match=r"did not change in 1 s"):
            async with asking.voice.lease():
                pytest.fail("a call runs inside the voice")
        assert asking.answers == ["not high"]
        async with asking.voice.lease() as lease:
            assert lease.model is not stuck and lease.model.seen == []  # type: ignore[attr-defined]
        stuck.shy.set()

    asyncio.run(with_tasks(main))
