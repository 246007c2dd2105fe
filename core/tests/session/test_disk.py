"""Writing off the loop: in order, in a thread, and not without bound."""

from __future__ import annotations

import threading
from typing import Any

import anyio
import pytest

from xtalk import disk
from xtalk.disk import Disk
from xtalk.wav import WavFile


def test_jobs_are_done_in_order_and_never_on_the_loop(run: Any) -> None:
    done: list[tuple[int, int]] = []

    async def main() -> None:
        it = Disk("a test")
        for number in range(100):
            it.put(lambda number=number: done.append((number, threading.get_ident())), 1)
            await anyio.sleep(0.1)
        assert len(done) >= 90
        await it.close(lambda: done.append((100, threading.get_ident())))

    run(main)
    assert [number for number, _ in done] == list(range(101))
    assert threading.get_ident() not in {thread for _, thread in done}


def test_a_disk_that_does_not_keep_up_is_given_up(run: Any, caplog: Any) -> None:
    async def main() -> None:
        it = Disk("the recording of a test")
        for _ in range(100):
            it.put(lambda: None, disk.WAITING_LIMIT // 50)
        assert it.failed
        assert not it._jobs
        await it.close(lambda: None)

    run(main)
    assert "the recording of a test ends here: the disk does not keep up" in caplog.text


def test_a_disk_that_keeps_up_may_take_more_than_the_bound_in_all(run: Any) -> None:
    async def main() -> None:
        it = Disk("a test")
        for _ in range(100):
            it.put(lambda: None, disk.WAITING_LIMIT // 50)
            await anyio.sleep(0.5)
        assert not it.failed
        await it.close(lambda: None)

    run(main)


def test_a_job_that_fails_ends_it_and_the_last_one_is_done_all_the_same(
    run: Any, caplog: Any
) -> None:
    done: list[str] = []

    def full() -> None:
        raise OSError("no space left")

    async def main() -> None:
        it = Disk("a test")
        it.put(full, 1)
        it.put(lambda: done.append("after"), 1)
        await it.close(lambda: done.append("closed"))

    run(main)
    assert done == ["closed"]
    assert "no space left" in caplog.text


def test_a_wav_file_is_never_overwritten_and_never_too_long(tmp_path: Any) -> None:
    file = WavFile(tmp_path / "a.wav", 48_000, channels=2)
    file.MOST = 8  # type: ignore[misc]
    file.write(bytes(8))
    with pytest.raises(OSError, match="cannot be longer"):
        file.write(bytes(4))
    file.close()
    assert (tmp_path / "a.wav").stat().st_size == 52
    with pytest.raises(FileExistsError):
        WavFile(tmp_path / "a.wav", 48_000)
