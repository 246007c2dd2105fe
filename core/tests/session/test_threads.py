"""Threads: results, cancellation, iterators that end where they ran, one caller in a clone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import aclosing

import anyio
import anyio.lowlevel
import pytest

from xtalk.errors import ModelBusy
from xtalk.testing import virtual_time
from xtalk.threads import Guard, iterate_in_thread, run_in_thread


class Model:
    def __init__(self, gate: threading.Event) -> None:
        self.gate = gate
        self.entered = threading.Event()
        self.inside = 0
        self.most = 0

    def work(self) -> int:
        self.inside += 1
        self.entered.set()
        self.most = max(self.most, self.inside)
        self.gate.wait(5)
        self.inside -= 1
        return 1

    def clone(self) -> Model:
        return Model(self.gate)


def test_a_result_and_an_error_come_back() -> None:
    def fail() -> None:
        raise KeyError("x")

    async def main() -> int:
        with pytest.raises(KeyError):
            await run_in_thread(fail)
        return await run_in_thread(lambda a, b: a + b, 1, b=2)

    assert virtual_time.run(main()) == 3


def test_virtual_time_stands_still_while_a_thread_works() -> None:
    async def main() -> bool:
        with anyio.move_on_after(0.001) as limit:
            await run_in_thread(threading.Event().wait, 0.05)
        return limit.cancelled_caught

    assert virtual_time.run(main()) is False


def test_an_iterator_is_closed_in_the_thread_where_it_ran() -> None:
    where: list[str] = []
    closed = threading.Event()

    def items() -> Iterator[int]:
        try:
            where.append(threading.current_thread().name)
            yield from range(1000)
        finally:
            where.append(threading.current_thread().name)
            closed.set()

    async def main() -> list[int]:
        got = []
        async with aclosing(iterate_in_thread(items)) as source:
            async for item in source:
                got.append(item)
                if item == 2:
                    break
        return got

    assert virtual_time.run(main()) == [0, 1, 2]
    assert closed.wait(5)
    assert where[0] == where[1] != threading.main_thread().name


def test_an_iterator_that_raises_raises_here_after_its_items() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    async def main() -> list[int]:
        got = []
        with pytest.raises(ValueError, match="broken"):
            async for item in iterate_in_thread(items):
                got.append(item)
        return got

    assert virtual_time.run(main()) == [1]


def test_twenty_cancelled_calls_never_meet_inside_one_clone() -> None:
    gate = threading.Event()
    made: list[Model] = []

    async def fresh(model: Model) -> Model:
        made.append(model.clone())
        return made[-1]

    async def call(guard: Guard[Model]) -> None:
        with anyio.move_on_after(0.01):
            async with guard.lease() as lease:
                await lease.run(lease.model.work)

    async def main() -> None:
        guard = Guard(Model(gate), fresh=fresh, patience_s=0.0)
        made.append(guard.model)
        for _ in range(20):
            scope = anyio.CancelScope()
            async with anyio.create_task_group() as tasks:

                async def one(scope: anyio.CancelScope = scope) -> None:
                    with scope:
                        async with guard.lease() as lease:
                            await lease.run(lease.model.work)

                tasks.start_soon(one)
                await anyio.lowlevel.checkpoint()
                scope.cancel()

    virtual_time.run(main())
    gate.set()
    assert max(model.most for model in made) <= 1


def test_a_model_that_comes_back_in_time_is_used_again() -> None:
    async def fresh(model: object) -> object:
        pytest.fail("no clone was needed")

    async def main() -> None:
        guard = Guard(object(), fresh=fresh, patience_s=1)

        async def hold() -> None:
            async with guard.lease():
                await anyio.sleep(0.5)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hold)
            await anyio.sleep(0.1)
            async with guard.lease() as lease:
                assert lease.model is guard.model

    virtual_time.run(main())


def test_a_model_that_cannot_be_cloned_is_busy() -> None:
    async def fresh(model: object) -> object:
        raise TypeError("cannot")

    async def main() -> None:
        guard = Guard(object(), fresh=fresh, patience_s=0.1)
        async with guard.lease():
            with pytest.raises(ModelBusy):
                async with guard.lease():
                    pass

    virtual_time.run(main())


def test_a_retired_model_is_handed_over_when_its_call_returns() -> None:
    gate, retired = threading.Event(), []

    async def fresh(model: Model) -> Model:
        return model.clone()

    async def main() -> None:
        guard = Guard(Model(gate), fresh=fresh, patience_s=0.0, retire=retired.append)
        old = guard.model

        async def work() -> None:
            async with guard.lease() as lease:
                await lease.run(lease.model.work)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            await anyio.lowlevel.checkpoint()
            await run_in_thread(old.entered.wait, 5)
            tasks.cancel_scope.cancel()
        async with guard.lease() as lease:
            assert lease.model is not old
        assert retired == []
        gate.set()
        await run_in_thread(lambda: None)
        with anyio.fail_after(5):
            while not retired:
                await run_in_thread(threading.Event().wait, 0.01)
        assert retired == [old]

    virtual_time.run(main())


def test_a_stuck_program_is_found_at_once() -> None:
    async def main() -> None:
        await anyio.Event().wait()

    with pytest.raises(virtual_time.VirtualDeadlock):
        virtual_time.run(main())


class Copied:
    """Of `generation` 0; its copies of 1."""

    def __init__(self, generation: int = 0) -> None:
        self.generation = generation


def test_who_is_patient_waits_for_the_model_and_has_none_replaced() -> None:
    async def fresh(model: object) -> object:
        pytest.fail("no copy was needed")

    async def main() -> None:
        guard = Guard(object(), fresh=fresh, patience_s=0.1)
        began = anyio.current_time()
        async with anyio.create_task_group() as tasks:

            async def hold() -> None:
                async with guard.lease():
                    await anyio.sleep(5)

            async def give_up() -> None:
                with anyio.move_on_after(1):
                    async with guard.lease(patient=True):
                        pytest.fail("the model was not free")

            tasks.start_soon(hold)
            await anyio.lowlevel.checkpoint()
            tasks.start_soon(give_up)
            async with guard.lease(patient=True):
                assert anyio.current_time() == pytest.approx(began + 5)

    virtual_time.run(main())


def test_a_spared_model_is_replaced_when_that_ends_and_no_sooner() -> None:
    async def fresh(model: Copied) -> Copied:
        return Copied(1)

    async def main() -> None:
        guard = Guard(Copied(), fresh=fresh, patience_s=0.1)
        began = anyio.current_time()

        async def hold() -> None:
            async with guard.lease() as lease:
                with lease.spared():
                    await anyio.sleep(5)
                await anyio.sleep(5)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hold)
            await anyio.lowlevel.checkpoint()
            async with guard.lease() as lease:
                assert lease.model.generation == 1
                assert anyio.current_time() == pytest.approx(began + 5)

    virtual_time.run(main())


def test_who_waits_for_a_spared_model_has_it_as_soon_as_it_is_free() -> None:
    async def fresh(model: object) -> object:
        pytest.fail("no copy was needed")

    async def main() -> None:
        guard = Guard(object(), fresh=fresh, patience_s=0.1)
        began = anyio.current_time()

        async def hold() -> None:
            async with guard.lease() as lease:
                with lease.spared():
                    await anyio.sleep(5)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hold)
            await anyio.lowlevel.checkpoint()
            async with guard.lease() as lease:
                assert lease.model is guard.model
                assert anyio.current_time() == pytest.approx(began + 5)

    virtual_time.run(main())


def test_who_is_inside_a_model_that_was_changed_stays_there_alone() -> None:
    retired: list[Copied] = []

    async def fresh(model: Copied) -> Copied:
        await anyio.sleep(1)
        return Copied(model.generation + 1)

    async def main() -> None:
        guard = Guard(Copied(), fresh=fresh, patience_s=10, retire=retired.append)
        old, other, began = guard.model, Copied(7), anyio.current_time()
        async with guard.lease() as lease:
            await guard.change(other)
            assert lease.model is old and not retired
            async with guard.lease() as next_lease:
                assert next_lease.model is guard.model and guard.model.generation == 8
            assert anyio.current_time() == pytest.approx(began + 1) and not retired
        assert retired == [old]
        await guard.change(old)
        assert [model.generation for model in retired] == [0, 8] and guard.model.generation == 1

    virtual_time.run(main())


def test_a_change_that_fails_changes_nothing() -> None:
    async def fresh(model: object) -> object:
        raise OSError("no such service")

    async def main() -> None:
        guard = Guard(object(), fresh=fresh)
        model = guard.model
        with pytest.raises(OSError, match="no such service"):
            await guard.change(object())
        async with guard.lease() as lease:
            assert lease.model is model

    virtual_time.run(main())


def test_who_leaves_while_a_copy_is_made_leaves_the_model_to_the_next() -> None:
    async def fresh(model: Copied) -> Copied:
        await anyio.sleep(1)
        return Copied(1)

    async def main() -> None:
        guard = Guard(Copied(), fresh=fresh, patience_s=0.5)
        async with guard.lease():
            with anyio.move_on_after(1):  # in the middle of the copying
                async with guard.lease():
                    pytest.fail("there was no copy yet")
            with anyio.fail_after(2):
                async with guard.lease() as lease:
                    assert lease.model.generation == 1

    virtual_time.run(main())


def test_two_who_wait_for_a_stuck_model_get_one_copy() -> None:
    made: list[Copied] = []

    async def fresh(model: Copied) -> Copied:
        await anyio.sleep(1)
        made.append(Copied(1))
        return made[-1]

    async def main() -> None:
        guard = Guard(Copied(), fresh=fresh, patience_s=0.5)
        async with guard.lease(), anyio.create_task_group() as tasks:

            async def call() -> None:
                async with guard.lease() as lease:
                    assert lease.model is made[0]

            tasks.start_soon(call)
            tasks.start_soon(call)
        assert len(made) == 1

    virtual_time.run(main())
