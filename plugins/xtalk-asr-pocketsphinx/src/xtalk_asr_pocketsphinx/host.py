"""The parent's side of the recognising processes: the server's life, and a socket per worker.

Nothing here blocks: what a slow or stopped worker does not take stays in a buffer of its own.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import select
import socket
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import anyio

from xtalk.errors import ModelError, ModelTimeout
from xtalk_asr_pocketsphinx.framing import KILL, ORDER, Unpacker

__all__ = ["Host", "Settings", "Worker"]


_SILENT = "PocketSphinx's worker did not answer in time"


@dataclass(frozen=True)
class Settings:
    """What the server is started with."""

    grammar: str | None
    gate: float
    language_model: bool
    language_workers: int
    pronunciations: dict[str, str] = field(default_factory=dict)


class Host:
    """The server for one set of settings, shared by all recognisers that have them.

    It starts with the first user and ends with the last: `retain` and `release` come in pairs.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._users = 0
        self._lock = threading.Lock()
        self._server: _Server | None = None

    def retain(self) -> None:
        """Start the server unless it runs. Returns at once; loading takes some 0.5 s."""
        with self._lock:
            self._users += 1
            self._running()

    def release(self) -> None:
        """The last user ends the server and every worker; takes some milliseconds."""
        with self._lock:
            self._users -= 1
            if not self._users and self._server is not None:
                self._server.end()
                self._server = None

    def worker(self, kind: bytes) -> Worker:
        """A fresh worker. It may be written to at once, whether or not the server is ready."""
        with self._lock:
            server = self._running()
            ours, theirs = socket.socketpair()
            with theirs:
                ours.setblocking(False)
                number = next(server.numbers)
                try:
                    server.order(kind, number, theirs)
                except OSError as error:
                    ours.close()
                    raise ModelError(server.reason()) from error
            return Worker(ours, server, number)

    def _running(self) -> _Server:
        if self._server is not None and self._server.ended:
            self._server.end()
            self._server = None
        if self._server is None:
            self._server = _Server(self.settings)
        return self._server


class _Server:
    """One running server process."""

    def __init__(self, settings: Settings) -> None:
        self.numbers = itertools.count(1)
        self._control, theirs = socket.socketpair()
        self._control.setblocking(False)
        self._reason = ""
        with theirs, tempfile.TemporaryFile("w+") as stdin:
            json.dump(asdict(settings), stdin)
            stdin.seek(0)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "xtalk_asr_pocketsphinx.worker", str(theirs.fileno())],
                stdin=stdin,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        # A model that nobody closed must not leave processes behind.
        self.end = weakref.finalize(self, _end, self._control, self._process)

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def order(self, what: bytes, number: int, sock: socket.socket | None = None) -> None:
        fds = [] if sock is None else [sock.fileno()]
        socket.send_fds(self._control, [ORDER.pack(what, number)], fds)

    def reason(self) -> str:
        """Why a worker is gone: what the server said when it could not start, if it did."""
        with contextlib.suppress(OSError):
            self._reason = self._reason or self._control.recv(1 << 16).decode()
        return self._reason or "PocketSphinx's worker process ended in the middle of its work"


def _end(control: socket.socket, process: subprocess.Popen[bytes]) -> None:
    """Close the control socket; a server that does not end by that within 2 s is killed."""
    control.close()
    try:
        process.wait(2)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Worker:
    """A socket to one worker process. Every call returns at once, but for the two waits."""

    def __init__(self, sock: socket.socket, server: _Server, number: int) -> None:
        self._sock = sock
        weakref.finalize(self, sock.close)
        self._server = server
        self._number = number
        self._unsent = bytearray()
        self._unpacker = Unpacker()

    def send(self, message: bytes = b"") -> None:
        """Hand over what the worker takes now; the rest waits for the next call."""
        self._unsent += message
        try:
            while self._unsent:
                del self._unsent[: self._sock.send(self._unsent)]
        except BlockingIOError:
            pass
        except OSError as error:
            raise ModelError(self._server.reason()) from error

    def poll(self) -> Iterator[tuple[bytes, dict[str, Any]]]:
        """The messages that have come."""
        try:
            received = self._sock.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError as error:
            raise ModelError(self._server.reason()) from error
        if not received:
            raise ModelError(self._server.reason())
        for kind, payload in self._unpacker.push(received):
            yield kind, json.loads(payload)

    @property
    def dead(self) -> bool:
        """Whether the process is gone. Asked between segments, when nothing is to be read."""
        try:
            return not self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    async def wait(self, seconds: float) -> None:
        """Until the worker takes or brings something; ModelTimeout after `seconds` of neither."""
        try:
            with anyio.fail_after(seconds):
                await (anyio.wait_writable if self._unsent else anyio.wait_readable)(self._sock)
        except TimeoutError:
            raise ModelTimeout(_SILENT) from None

    def wait_blocking(self, seconds: float) -> None:
        """The same for a thread."""
        poll = select.poll()
        poll.register(self._sock, select.POLLOUT if self._unsent else select.POLLIN)
        if not poll.poll(max(0.0, seconds) * 1000):
            raise ModelTimeout(_SILENT)

    def close(self) -> None:
        """End the process, whatever it does."""
        self._sock.close()
        with contextlib.suppress(OSError):  # the server is gone, and its workers with it
            self._server.order(KILL, self._number)
