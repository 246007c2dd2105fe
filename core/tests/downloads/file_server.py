"""An HTTP server on a loopback port that gives one file, and misbehaves as it is told."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class FileServer:
    """What it gives and how; a test changes the fields between two requests.

    `cuts` are the lengths after which the next answers end early. `ranges` is whether it honours
    Range, `tagged` whether it sends an ETag (`weak`: one that means about the same; `tag`: this
    one, whatever the content), `sized` whether it says how long the file is, `chunked` whether it
    sends HTTP chunks instead. `asked` are the Range headers of the requests so far, "" where there
    was none.
    """

    content: bytes = b""
    status: int = 200
    cuts: list[int] = field(default_factory=list)
    ranges: bool = True
    heeds_if_range: bool = True
    tagged: bool = True
    sized: bool = True
    chunked: bool = False
    weak: bool = False
    tag: str = ""
    redirect: str = ""
    asked: list[str] = field(default_factory=list)
    at_half: threading.Event | None = None
    go_on: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}"

    @property
    def etag(self) -> str:
        tag = self.tag or f'"{hashlib.md5(self.content).hexdigest()}"'
        return f"W/{tag}" if self.weak else tag


@contextmanager
def serve() -> Iterator[FileServer]:
    server = FileServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with suppress(ConnectionError):  # the client may have given up
                answer(server, self)

        def log_message(self, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server.port = http.server_address[1]
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.go_on.set()
            http.shutdown()
            thread.join()


def answer(server: FileServer, request: BaseHTTPRequestHandler) -> None:
    asked = request.headers.get("Range", "")
    server.asked.append(asked)
    if server.redirect:
        request.send_response(302)
        request.send_header("Location", server.redirect)
        request.end_headers()
        return
    if server.status != 200:
        request.send_error(server.status)
        return
    start = begin(server, asked, request.headers.get("If-Range"))
    if start and start >= len(server.content):
        request.send_error(416)
        return
    total = len(server.content)
    request.send_response(206 if start else 200)
    if start:
        request.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
    if server.chunked:
        request.send_header("Transfer-Encoding", "chunked")
    elif server.sized:
        request.send_header("Content-Length", str(total - start))
    if server.tagged:
        request.send_header("ETag", server.etag)
    request.end_headers()
    body, whole = server.content[start:], True
    if server.cuts:
        body = body[: server.cuts.pop(0)]
        whole = False
    if server.at_half is not None:
        request.wfile.write(body[: len(body) // 2])
        server.at_half.set()
        server.go_on.wait(10)
        body = body[len(body) // 2 :]
    if server.chunked:
        body = b"%x\r\n%s\r\n%s" % (len(body), body, b"0\r\n\r\n" if whole else b"")
    request.wfile.write(body)


def begin(server: FileServer, asked: str, if_range: str | None) -> int:
    """Where the answer starts in the file."""
    if not server.ranges or not asked:
        return 0
    same = not server.weak and if_range == server.etag  # a weak tag there never is
    if server.heeds_if_range and if_range is not None and not same:
        return 0
    return int(asked.removeprefix("bytes=").rstrip("-"))
