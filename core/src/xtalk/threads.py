"""The one place that starts threads: blocking calls, blocking iterators, and a guard per model.

A call that was given up keeps its thread until it returns: nothing can stop it. So the thread,
not the task, gives the model back, and threads are daemons, so that a stuck backend does not
hold the process. `in_flight` tells a virtual clock that real work is under way.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import Any, Generic, TypeVar

from xtalk.errors import ModelBusy

__all__ = [
    "Guard",
    "Lease",
    "exits_as_errors",
    "in_flight",
    "iterate_in_thread",
    "run_in_thread",
]

T = TypeVar("T")
M = TypeVar("M")

THREAD_LIMIT = 64
BUFFERED_ITEMS = 16


class _Pool:
    """Daemon threads that wait for work; a new one starts only when none is idle."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._jobs: deque[Callable[[], None]] = deque()
        self._ready = threading.Condition()
        self._idle = 0
        self._threads = 0

    def submit(self, job: Callable[[], None]) -> None:
        with self._ready:
            self._jobs.append(job)
            if self._idle >= len(self._jobs) or self._threads >= self._limit:
                self._ready.notify()
                return
            self._threads += 1
        threading.Thread(target=self._work, name="xtalk-model", daemon=True).start()

    def _work(self) -> None:
        while True:
            with self._ready:
                self._idle += 1
                while not self._jobs:
                    self._ready.wait()
                self._idle -= 1
                job = self._jobs.popleft()
            job()
            del job  # or an idle thread keeps what its last call was for


_pool = _Pool(THREAD_LIMIT)
_flying: dict[int, int] = {}


def in_flight(loop: asyncio.AbstractEventLoop) -> int:
    """How many calls in threads somebody on this loop still waits for."""
    return _flying.get(id(loop), 0)


def _fly(loop: asyncio.AbstractEventLoop, by: int) -> None:
    count = _flying.get(id(loop), 0) + by
    if count:
        _flying[id(loop)] = count
    else:
        _flying.pop(id(loop), None)


def _tell(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    """Call back on the loop; a loop that has closed meanwhile needs no answer."""
    try:
        loop.call_soon_threadsafe(callback)
    except RuntimeError:
        if not loop.is_closed():
            raise


def _carried(error: BaseException) -> Exception:
    """The error as a task can raise it: no StopIteration, and nothing that would end the loop."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    failure = RuntimeError(f"a blocking call raised {type(error).__name__}: {error}")
    failure.__cause__ = error
    return failure


@contextmanager
def exits_as_errors() -> Iterator[None]:
    """A model or a plugin that calls `sys.exit` has failed; the process goes on.

    For what runs on the loop: asyncio would end it.
    """
    try:
        yield
    except SystemExit as error:
        raise RuntimeError(f"sys.exit was called: {error}") from error


async def run_in_thread(
    function: Callable[..., T],
    /,
    *args: Any,
    on_return: Callable[[], None] | None = None,
    **kwargs: Any,
) -> T:
    """The function's result, computed in a daemon thread.

    Cancelling gives the result up at once; the thread ends when the function returns.
    `on_return` is called on the loop when it has, also after a cancellation.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def finish(result: Any, error: Exception | None) -> None:
        if on_return is not None:
            on_return()
        if future.done():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def job() -> None:
        result, error = None, None
        if not future.cancelled():
            try:
                result = function(*args, **kwargs)
            except BaseException as raised:  # carried to the caller, whatever it is
                error = _carried(raised)
        _tell(loop, lambda: finish(result, error))

    _fly(loop, +1)
    try:
        _pool.submit(job)
        return await future
    finally:
        _fly(loop, -1)


async def iterate_in_thread(
    make: Callable[[], Iterable[T]], *, on_return: Callable[[], None] | None = None
) -> AsyncGenerator[T, None]:
    """The items of a blocking iterable, which runs whole in one thread.

    At most 16 items are made ahead. Closing this generator stops the iterable between two items
    and closes it in the thread where it ran, so that its `finally` runs.
    """
    loop = asyncio.get_running_loop()
    items: deque[T] = deque()
    room = threading.Semaphore(BUFFERED_ITEMS)
    stopped = threading.Event()
    arrived = asyncio.Event()
    state: dict[str, Exception | None] = {}

    def deliver(item: T) -> None:
        items.append(item)
        arrived.set()

    def finish(error: Exception | None) -> None:
        if on_return is not None:
            on_return()
        state["error"] = error
        arrived.set()

    def job() -> None:
        error: Exception | None = None
        iterator: Any = None
        try:
            iterator = iter(make())
            for item in iterator:
                room.acquire()
                if stopped.is_set():
                    break
                _tell(loop, lambda item=item: deliver(item))  # type: ignore[misc]
        except BaseException as raised:
            error = _carried(raised)
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                try:
                    close()
                except BaseException as raised:
                    error = error or _carried(raised)
        _tell(loop, lambda: finish(error))

    _pool.submit(job)
    try:
        while True:
            if not items and not state:
                arrived.clear()
                _fly(loop, +1)
                try:
                    await arrived.wait()
                finally:
                    _fly(loop, -1)
            while items:
                room.release()
                yield items.popleft()
            if state and not items:
                if state["error"] is not None:
                    raise state["error"]
                return
    finally:
        stopped.set()
        room.release()


class Lease(Generic[M]):
    """The right to call into one model, until its last thread has returned."""

    def __init__(self, guard: Guard[M], model: M) -> None:
        self._guard = guard
        self.model = model
        self._threads = 0
        self._ended = False
        self._spared: asyncio.Future[None] | None = None

    @contextmanager
    def spared(self) -> Iterator[None]:
        """While this lasts the model is not replaced: what is done in it has a limit of its own."""
        over = self._spared = asyncio.get_running_loop().create_future()
        try:
            yield
        finally:
            self._spared = None
            over.set_result(None)

    async def unspared(self, freed: asyncio.Future[None]) -> None:
        """Until the model is free or may be replaced."""
        if self._spared is not None:
            await asyncio.wait((freed, self._spared), return_when=asyncio.FIRST_COMPLETED)

    async def run(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
        """A blocking call into the model."""
        self._threads += 1
        return await run_in_thread(function, *args, on_return=self._returned, **kwargs)

    async def iterate(self, make: Callable[[], Iterable[T]]) -> AsyncGenerator[T, None]:
        """A blocking iteration over the model."""
        self._threads += 1
        async with aclosing(iterate_in_thread(make, on_return=self._returned)) as items:
            async for item in items:
                yield item

    def _returned(self) -> None:
        self._threads -= 1
        self._give_back()

    def _end(self) -> None:
        self._ended = True
        self._give_back()

    def _give_back(self) -> None:
        if self.over:
            self._guard._returned(self)

    @property
    def over(self) -> bool:
        """Whether nobody calls into the model any more."""
        return self._ended and not self._threads


class Guard(Generic[M]):
    """One caller at a time inside a model that is not made for more.

    A caller waits up to `patience_s` for the model to come back, and longer while it is spared.
    Then a `fresh` one takes its place: its `clone()`, made off the loop, unless told otherwise. So
    does a copy of another model on `change`. Whoever is still inside the old one stays there;
    `retire` is called with it when its last call has returned.
    """

    def __init__(
        self,
        model: M,
        *,
        fresh: Callable[[M], Awaitable[M]] | None = None,
        patience_s: float = 0.25,
        retire: Callable[[M], None] = lambda model: None,
    ) -> None:
        self.model = model
        self._fresh = fresh or _clone
        self._patience_s = patience_s
        self._retire = retire
        self._lease: Lease[M] | None = None  # on `model`, always
        self._freed: asyncio.Future[None] | None = None
        self._changing = asyncio.Lock()
        self._last_wish = 0

    @asynccontextmanager
    async def lease(self, *, patient: bool = False) -> AsyncIterator[Lease[M]]:
        """The model, alone. ModelBusy when it does not come back and cannot be replaced.

        Who is `patient` waits however long it takes and has nothing replaced.
        """
        while self._lease is not None:
            await self._wait(self._lease, None if patient else self._patience_s)
        lease = self._lease = Lease(self, self.model)
        try:
            yield lease
        finally:
            lease._end()

    async def change(self, source: M) -> None:
        """From the next lease on a fresh copy of `source`. Raises what making one raises.

        One change at a time; of those that wait only the last one asked for is made.
        """
        wish = self._last_wish = self._last_wish + 1
        async with self._changing:
            if wish == self._last_wish:
                self._put(await self._fresh(source))

    async def _wait(self, busy: Lease[M], patience_s: float | None) -> None:
        """Until the model is free; after `patience_s` make it so."""
        if self._freed is None:
            self._freed = asyncio.get_running_loop().create_future()
        freed = self._freed
        await asyncio.wait((freed,), timeout=patience_s)
        await busy.unspared(freed)
        if not freed.done():
            await self._replace(busy)

    async def _replace(self, stuck: Lease[M]) -> None:
        async with self._changing:
            if stuck is not self._lease:
                return  # it came back, or another model has taken its place
            try:
                fresh = await self._fresh(stuck.model)
            except Exception as error:
                name = type(stuck.model).__name__
                raise ModelBusy(
                    f"A call still runs inside {name}, and it cannot be cloned."
                ) from error
            self._put(fresh)

    def _put(self, model: M) -> None:
        old, self.model = self.model, model
        if self._lease is not None:
            self._release()
        elif old is not model:
            self._retire(old)

    def _returned(self, lease: Lease[M]) -> None:
        if lease is self._lease:
            self._release()
        elif lease.model is not self.model:
            self._retire(lease.model)

    def _release(self) -> None:
        self._lease = None
        freed, self._freed = self._freed, None
        if freed is not None:
            freed.set_result(None)


async def _clone(model: Any) -> Any:
    return await run_in_thread(model.clone)
