"""The rest of a model that hung, and the copy that takes its place meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from xtalk.errors import ModelError
from xtalk.managers.breaker import CALL_LIMIT_S, FIRST_REST_S, Breaker
from xtalk.testing import virtual_time
from xtalk.threads import Guard, Lease, run_in_thread

PATIENCE_S = 0.25


class Stuck:
    """Its call stays in its thread until `gate` is open."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.inside = threading.Event()

    def work(self) -> None:
        self.inside.set()
        self.gate.wait(5)


async def hang(lease: Lease[Stuck]) -> None:
    """Nobody waits for the thread, so that the virtual clock goes on."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lease.run, lease.model.work)
        await run_in_thread(lease.model.inside.wait, 5)
        tasks.cancel_scope.cancel()
    await anyio.sleep_forever()


async def model_of(lease: Lease[Any]) -> Any:
    return lease.model


class Rested(Breaker[Any]):
    """Its rest begins when the test says so."""

    def __init__(self, guard: Guard[Any]) -> None:
        self.rests: list[Callable[[], Awaitable[None]]] = []
        super().__init__(guard, spawn=self.rests.append)

    async def rest(self) -> float:
        """How long it lasted."""
        assert self.resting
        began = anyio.current_time()
        await self.rests.pop()()
        assert not self.resting
        return anyio.current_time() - began


@pytest.mark.parametrize("opening_s", [0.0, 10.0])
def test_the_rest_lasts_until_the_copy_of_a_model_that_hangs_has_opened(opening_s: float) -> None:
    async def fresh(model: Stuck) -> Stuck:
        await anyio.sleep(opening_s)
        return Stuck()

    async def main() -> None:
        stuck = Stuck()
        breaker = Rested(Guard(stuck, fresh=fresh, patience_s=PATIENCE_S))
        began = anyio.current_time()
        with pytest.raises(ModelError, match="did not answer within 2 s"):
            await breaker.call(hang)
        assert anyio.current_time() - began == pytest.approx(CALL_LIMIT_S)
        assert await breaker.rest() == pytest.approx(FIRST_REST_S + PATIENCE_S + opening_s)
        assert await breaker.call(model_of) is not stuck
        stuck.gate.set()

    virtual_time.run(main())


def test_a_model_that_came_back_in_its_rest_is_used_again() -> None:
    async def main() -> None:
        guard = Guard(object())
        breaker = Rested(guard)
        model = guard.model
        for rest_s in (FIRST_REST_S, 2 * FIRST_REST_S):
            with pytest.raises(ModelError):
                await breaker.call(lambda lease: anyio.sleep_forever())
            assert await breaker.rest() == pytest.approx(rest_s)
        assert await breaker.call(model_of) is model

    virtual_time.run(main())


def test_a_model_that_hangs_and_cannot_be_copied_is_left_alone_longer() -> None:
    tries: list[float] = []

    async def fresh(model: Stuck) -> Stuck:
        tries.append(anyio.current_time())
        if len(tries) < 3:
            raise OSError("no service")
        return Stuck()

    async def main() -> None:
        stuck = Stuck()
        breaker = Rested(Guard(stuck, fresh=fresh, patience_s=PATIENCE_S))
        with pytest.raises(ModelError):
            await breaker.call(hang)
        await breaker.rest()
        assert tries[1] - tries[0] == pytest.approx(2 * FIRST_REST_S + PATIENCE_S)
        assert tries[2] - tries[1] == pytest.approx(4 * FIRST_REST_S + PATIENCE_S)
        stuck.gate.set()

    virtual_time.run(main())
