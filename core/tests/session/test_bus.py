"""The bus: order, mailboxes, waits that cannot close a circle."""

from __future__ import annotations

import asyncio
import functools
import threading

import anyio
import pytest

from xtalk.bus import EventBus, Manager
from xtalk.events import AudioFrameReceived, BaseEvent, ErrorOccurred, create_event_class
from xtalk.testing import virtual_time

A = create_event_class(name="A", fields={"n": 0})
B = create_event_class(name="B", fields={"n": 0})
C = create_event_class(name="C", fields={"n": 0})


def test_priorities_finish_before_lower_ones_begin() -> None:
    bus, seen = EventBus(), []
    bus.subscribe(A, lambda e: seen.append("low"), 1)
    bus.subscribe(A, lambda e: seen.append("high"), 100)
    bus.post(A())
    assert seen == ["high", "low"]


def test_answers_come_before_events_that_were_posted_after_their_cause() -> None:
    bus, seen = EventBus(), []

    def on_a(event: BaseEvent) -> None:
        bus.post(B(n=1))
        bus.post(B(n=2))

    bus.subscribe(A, on_a)
    bus.subscribe(B, lambda e: (seen.append(("b", e.n)), e.n == 1 and bus.post(C(n=9))))
    bus.subscribe(C, lambda e: seen.append(("c", e.n)))

    def both(event: BaseEvent) -> None:
        bus.post(A())
        bus.post(C(n=5))

    start = create_event_class(name="Start")
    bus.subscribe(start, both)
    bus.post(start())
    assert seen == [("b", 1), ("c", 9), ("b", 2), ("c", 5)]


def test_a_handler_never_runs_inside_another() -> None:
    bus, depth, deepest = EventBus(), [0], [0]

    def handler(event: BaseEvent) -> None:
        depth[0] += 1
        deepest[0] = max(deepest[0], depth[0])
        if event.n < 5:
            bus.post(A(n=event.n + 1))
        depth[0] -= 1

    bus.subscribe(A, handler)
    bus.post(A())
    assert deepest[0] == 1


def test_a_failing_handler_costs_its_event_only_and_is_told() -> None:
    bus, seen, errors = EventBus(), [], []

    def bad(event: BaseEvent) -> None:
        raise ValueError("secret of the handler")

    bus.subscribe(A, bad, 10)
    bus.subscribe(A, lambda e: seen.append(e))
    bus.subscribe(ErrorOccurred, errors.append)
    bus.post(A())
    assert len(seen) == 1
    assert errors[0].error_type == "event_handler_error"
    assert "secret" not in errors[0].error_message


def test_unsubscribing_holds_for_the_delivery_under_way() -> None:
    bus, seen = EventBus(), []
    second = seen.append
    bus.subscribe(A, lambda e: bus.unsubscribe(A, second), 10)
    bus.subscribe(A, second)
    bus.post(A())
    assert seen == []
    assert not bus.unsubscribe(A, second)


def test_events_of_one_type_share_handlers_and_subclasses_with_another_do_not() -> None:
    bus, seen = EventBus(), []
    twin = create_event_class(name="Twin", type_name=A.TYPE)
    child = type("Child", (A,), {"TYPE": "child"})
    bus.subscribe(A, seen.append)
    bus.post(twin())
    bus.post(child())
    assert [type(e) for e in seen] == [twin]


def test_async_handlers_of_a_listener_run_one_at_a_time_in_order() -> None:
    async def main() -> list[int]:
        bus, seen, running = EventBus(), [], [0]

        class Listener:
            async def handle(self, event: BaseEvent) -> None:
                running[0] += 1
                assert running[0] == 1
                await anyio.sleep(1 - event.n / 10)
                seen.append(event.n)
                running[0] -= 1

        bus.subscribe(A, Listener().handle)
        for n in range(3):
            bus.post(A(n=n))
        assert seen == []
        await bus.publish(A(n=3), wait_for_completion=True)
        await bus.shutdown()
        return seen

    assert virtual_time.run(main()) == [0, 1, 2, 3]


def test_concurrent_handlers_run_side_by_side() -> None:
    async def main() -> float:
        bus = EventBus()

        async def handle(event: BaseEvent) -> None:
            await anyio.sleep(1)

        bus.subscribe(A, handle, concurrent=True)
        start = asyncio.get_running_loop().time()
        bus.post(A())
        await bus.publish(A(), wait_for_completion=True)
        took = asyncio.get_running_loop().time() - start
        await bus.shutdown()
        return took

    assert virtual_time.run(main()) == pytest.approx(1)


def test_two_listeners_that_wait_for_each_other_both_go_on() -> None:
    async def main() -> dict[str, object]:
        bus, seen = EventBus(), []

        class One:
            async def on_a(self, event: BaseEvent) -> None:
                await bus.publish(B(), wait_for_completion=True)
                seen.append("one")

            async def on_c(self, event: BaseEvent) -> None:
                seen.append("c")

        class Two:
            async def on_b(self, event: BaseEvent) -> None:
                await bus.publish(C(), wait_for_completion=True)
                seen.append("two")

        one, two = One(), Two()
        bus.subscribe(A, one.on_a)
        bus.subscribe(C, one.on_c)
        bus.subscribe(B, two.on_b)
        await bus.publish(A(), wait_for_completion=True)
        await anyio.sleep(1)
        stats = bus.get_stats()
        await bus.shutdown()
        assert sorted(seen) == ["c", "one", "two"]
        return stats

    assert virtual_time.run(main())["waits_skipped"] == 1


def test_a_handler_cancelled_from_outside_leaves_its_listener_listening() -> None:
    async def main() -> list[int]:
        bus, seen = EventBus(), []

        class Listener:
            async def handle(self, event: BaseEvent) -> None:
                if event.n == 0:
                    task = asyncio.ensure_future(asyncio.sleep(10))
                    asyncio.get_running_loop().call_later(0.1, task.cancel)
                    await task
                seen.append(event.n)

        bus.subscribe(A, Listener().handle)
        bus.post(A(n=0))
        await bus.publish(A(n=1), wait_for_completion=True)
        await bus.shutdown()
        return seen

    assert virtual_time.run(main()) == [1]


def test_a_full_mailbox_drops_and_says_so_once() -> None:
    async def main() -> tuple[int, int]:
        bus, errors = EventBus(), []

        class Stuck:
            async def handle(self, event: BaseEvent) -> None:
                await anyio.sleep_forever()

        bus.subscribe(A, Stuck().handle)
        bus.subscribe(ErrorOccurred, errors.append)
        for n in range(1100):
            bus.post(A(n=n))
        dropped = bus.get_stats()["events_dropped"]
        await bus.shutdown()
        return dropped, len(errors)

    assert virtual_time.run(main()) == (1100 - 1024, 1)


def test_of_audio_a_full_mailbox_loses_the_oldest() -> None:
    async def main() -> list[bytes]:
        bus, heard = EventBus(), []

        class Recorder:
            async def handle(self, event: AudioFrameReceived) -> None:
                heard.append(event.audio_data)

        bus.subscribe(AudioFrameReceived, Recorder().handle)
        for n in range(1100):  # before the recorder has a chance to run
            bus.post(AudioFrameReceived(audio_data=b"%d" % n))
        await anyio.sleep(1)
        await bus.shutdown()
        return heard

    assert virtual_time.run(main()) == [b"%d" % n for n in range(1100 - 1024, 1100)]


def test_a_waiter_is_let_go_by_shutdown_and_by_the_limit() -> None:
    async def main() -> float:
        bus = EventBus()

        class Slow:
            async def handle(self, event: BaseEvent) -> None:
                await anyio.sleep(100)

        bus.subscribe(A, Slow().handle)
        start = asyncio.get_running_loop().time()
        await bus.publish(A(), wait_for_completion=True)
        took = asyncio.get_running_loop().time() - start
        await bus.shutdown()
        return took

    assert virtual_time.run(main()) == pytest.approx(5)


def test_a_post_arrives_in_the_finally_of_a_cancelled_task() -> None:
    async def main() -> list[BaseEvent]:
        bus, seen = EventBus(), []
        bus.subscribe(A, seen.append)
        with anyio.CancelScope() as scope:
            scope.cancel()
            try:
                await anyio.sleep(1)
            finally:
                await bus.publish(A())
        return seen

    assert len(virtual_time.run(main())) == 1


def test_posting_from_another_thread_is_refused_with_a_way_out() -> None:
    bus, said = EventBus(), []

    def work() -> None:
        try:
            bus.post(A())
        except RuntimeError as error:
            said.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert "call_from_thread" in said[0]


def test_partials_and_awaitables_of_plain_callables_are_handled() -> None:
    async def main() -> list[str]:
        bus, seen = EventBus(), []

        async def handle(tag: str, event: BaseEvent) -> None:
            seen.append(tag)

        bus.subscribe(A, functools.partial(handle, "partial"))
        bus.subscribe(A, lambda event: handle("lambda", event))
        await bus.publish(A(), wait_for_completion=True)
        await bus.shutdown()
        return sorted(seen)

    assert virtual_time.run(main()) == ["lambda", "partial"]


def test_history_and_statistics() -> None:
    bus = EventBus(enable_history=True, max_history=2, session_id="s")
    bus.subscribe(A, lambda e: None)
    for n in range(3):
        bus.post(A(n=n))
    bus.post(B())
    assert [e.n for e in bus.get_history(A)] == [2]
    assert len(bus.get_history(session_id="s")) == 2
    assert bus.get_stats()["events_published"] == 4
    bus.clear_history()
    assert bus.get_history() == []


class Base(Manager):
    def __init__(self, event_bus: EventBus) -> None:
        self.event_bus = event_bus
        self.seen: list[str] = []

    @Manager.event_handler(A, priority=10)
    @Manager.event_handler(B)
    def handle(self, event: BaseEvent) -> None:
        self.seen.append(f"base {type(event).__name__}")

    @Manager.event_handler(C, enabled_if=lambda self: False)
    def never(self, event: BaseEvent) -> None:
        self.seen.append("never")

    async def shutdown(self) -> None:
        pass


class Derived(Base):
    def handle(self, event: BaseEvent) -> None:
        self.seen.append("derived")


def test_managers_subscribe_their_decorated_methods() -> None:
    bus = EventBus()
    manager = Base(bus)
    for event in (A(), B(), C()):
        bus.post(event)
    assert manager.seen == ["base A", "base B"]


def test_an_overridden_method_stays_subscribed() -> None:
    bus = EventBus()
    manager = Derived(bus)
    bus.post(A())
    assert manager.seen == ["derived"]


def test_a_manager_that_keeps_no_bus_is_told_so() -> None:
    class Careless(Base):
        def __init__(self, event_bus: EventBus) -> None:
            pass

    with pytest.raises(TypeError, match=r"must set self\.event_bus"):
        Careless(EventBus())
