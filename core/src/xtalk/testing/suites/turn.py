"""What every judge of the end of a turn must do."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, get_args, get_type_hints

from xtalk.calls import judge_turn
from xtalk.speech.interfaces import EndOfTurn, TurnDetector
from xtalk.testing.suites.base import ODD_TEXTS, SESSIONS, Suite, at_once, clones
from xtalk.threads import Guard, run_in_thread

__all__ = ["TurnDetectorSuite"]

KINDS = get_args(get_type_hints(EndOfTurn)["kind"])
LIMIT_S = {True: 0.005, False: 0.2}  # by `inline`; a slower verdict is not waited for


class TurnDetectorSuite(Suite[TurnDetector]):
    """A judge of the end of a turn, by texts that are one and texts that are not."""

    slot = "turn_detector"
    finished: ClassVar[Sequence[str]] = ("What time is it?", "Thank you, goodbye.")
    unfinished: ClassVar[Sequence[str]] = ("I would like to buy a", "What is the weather and")

    @clones(1)
    async def test_a_finished_text_is_a_turn(self, guard: Guard[TurnDetector]) -> None:
        for text in self.finished:
            assert (await judge(guard, text)).kind == "complete"

    @clones(1)
    async def test_an_unfinished_text_is_waited_for(self, guard: Guard[TurnDetector]) -> None:
        for text in self.unfinished:
            assert (await judge(guard, text)).kind in ("incomplete", "wait")

    @clones(1)
    async def test_every_verdict_is_one(self, guard: Guard[TurnDetector]) -> None:
        for text in ("", *self.finished, *self.unfinished, *ODD_TEXTS, "and then " * 200):
            for silence_ms in (0.0, 300.0, 60_000.0):
                for speaking in (False, True):
                    verdict = await judge(guard, text, silence_ms, speaking)
                    assert verdict.kind in KINDS and 0 <= verdict.confidence <= 1
                    assert verdict.wait_ms is None or verdict.wait_ms >= 0

    @clones(1)
    async def test_asking_again_changes_nothing(self, guard: Guard[TurnDetector]) -> None:
        texts = (*self.unfinished, *self.finished)
        expected = [await judge(guard, text) for text in texts]
        assert [await judge(guard, text) for text in texts] == expected

    @clones(1)
    async def test_async_is_the_same(self, guard: Guard[TurnDetector]) -> None:
        detector = guard.model
        for text in (*self.finished, *self.unfinished):
            found = await detector.async_judge(text, silence_ms=300.0, agent_speaking=False)
            asked = partial(detector.judge, text, silence_ms=300.0, agent_speaking=False)
            assert found == await run_in_thread(asked)

    @clones(SESSIONS)
    async def test_eight_clones_at_once_judge_as_if_alone(
        self, *guards: Guard[TurnDetector]
    ) -> None:
        texts = ((*self.finished, *self.unfinished) * SESSIONS)[:SESSIONS]
        alone = [await judge(guards[0], text) for text in texts]
        pairs = zip(guards, texts, strict=True)
        asking: list[Any] = [lambda g=g, text=text: judge(g, text) for g, text in pairs]
        assert await at_once(asking) == alone

    @clones(1)
    async def test_it_is_quick_enough(self, guard: Guard[TurnDetector]) -> None:
        times = []
        for text in [*self.finished, *self.unfinished] * 3:
            began = time.perf_counter()
            await judge(guard, text)
            times.append(time.perf_counter() - began)
        assert sorted(times)[len(times) // 2] < LIMIT_S[guard.model.inline]


async def judge(
    guard: Guard[TurnDetector], text: str, silence_ms: float = 300.0, speaking: bool = False
) -> EndOfTurn:
    """The verdict, asked for as the engine does."""
    async with guard.lease() as lease:
        return await judge_turn(lease, text, silence_ms=silence_ms, agent_speaking=speaking)
