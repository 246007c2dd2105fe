"""A server on loopback that speaks OpenAI's protocol, strictly, and fails as it is told.

It runs on a thread and an event loop of its own, so what a client sees is a real connection.
`FakeOpenAI.answer` makes an `Answer` of each request that passes the validator.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import anyio

NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
KEY = "sk-test-0123456789"


@dataclass(frozen=True)
class Answer:
    """What the server does with one request."""

    text: Sequence[str] = ()
    calls: Sequence[tuple[str, Any]] = ()  # name and arguments (an object, or text as it is)
    first_s: float = 0.0
    gap_s: float = 0.0
    status: int = 200
    code: str | None = None
    retry_after: str | None = None
    cut: bool = False  # the connection breaks after the text
    raw: bytes | None = None  # this instead of a stream of events
    indexed: bool = True  # False: every call at index 0, whole, as some servers send it
    ending: str | None = "stop"  # None: no word that it is over, as when a proxy cuts it
    id: str = "call_{unique}"  # "call_{index}": used again; "": none
    escaped: bool = False  # all but ASCII as \\u escapes, which can be half a character


def say(*text: str, **how: Any) -> Answer:
    return Answer(text=text, **how)


def call(name: str, args: Any = None, *, text: Sequence[str] = (), **how: Any) -> Answer:
    return Answer(text=text, calls=[(name, {} if args is None else args)], **how)


def last_user(request: dict[str, Any]) -> str:
    return str([m["content"] for m in request["messages"] if m["role"] == "user"][-1])


def echo(request: dict[str, Any]) -> Answer:
    words = re.findall(r"\S+\s*", f"You said: {last_user(request)}.")
    return Answer(text=words)


def fault(request: dict[str, Any]) -> str | None:
    """What a strict server would not accept in this request, or None."""
    tools = {tool["function"]["name"] for tool in request.get("tools", ())}
    for name in tools:
        if not NAME.fullmatch(name):
            return f"bad tool name {name!r}"
    if len(tools) != len(request.get("tools", ())):
        return "two tools have one name"
    waiting: set[str] = set()
    seen: set[str] = set()
    if not request.get("messages"):
        return "no messages"
    for number, message in enumerate(request["messages"]):
        where = f"messages[{number}]"
        role, content = message["role"], message.get("content")
        if waiting and role != "tool":
            return f"{where}: calls without an answer: {waiting}"
        if "name" in message and not NAME.fullmatch(message["name"]):
            return f"{where}: bad name {message['name']!r}"
        if role == "tool":
            if message["tool_call_id"] not in waiting:
                return f"{where}: answers no call"
            waiting.discard(message["tool_call_id"])
            continue
        if role not in ("system", "user", "assistant"):
            return f"{where}: bad role {role!r}"
        if role == "system" and number:
            return f"{where}: a system message that is not the first"
        if number and role == "user" == request["messages"][number - 1]["role"]:
            return f"{where}: two messages of the user in a row"
        calls = message.get("tool_calls") or []
        if not content and not calls:
            return f"{where}: an empty message"
        for made in calls:
            if not NAME.fullmatch(made["function"]["name"]):
                return f"{where}: bad name of a function {made['function']['name']!r}"
            if not isinstance(json.loads(made["function"]["arguments"]), dict):
                return f"{where}: arguments are no object"
            if made["id"] in seen:
                return f"{where}: an id is used twice"
            seen.add(made["id"])
            waiting.add(made["id"])
    if waiting:
        return f"calls without an answer at the end: {waiting}"
    if request["messages"][-1]["role"] == "assistant":
        return "the assistant has the last word already"
    return None


@dataclass
class FakeOpenAI:
    """Start it with `running`."""

    answer: Callable[[dict[str, Any]], Answer] = echo
    requests: list[dict[str, Any]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    connections: int = 0
    gone_at: list[float] = field(default_factory=list)  # when clients left in mid-answer
    port: int = 0
    paths: list[str] = field(default_factory=list)
    searches: list[dict[str, Any]] = field(default_factory=list)
    _ids: int = 0
    _open: dict[asyncio.Task[None], asyncio.StreamWriter] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def script(self, *answers: Answer) -> None:
        """Answer with these, one a request; then with an echo."""
        left = deque(answers)
        self.answer = lambda request: left.popleft() if left else echo(request)

    async def serve(self, started: Callable[[asyncio.AbstractEventLoop], None]) -> None:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        started(asyncio.get_running_loop())
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            server.close()
            await asyncio.sleep(0)  # for a client that has just come
            for task, writer in self._open.items():
                task.cancel()
                writer.transport.abort()
            await asyncio.sleep(0)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One that is cancelled before it begins would leave its connection open."""
        task = asyncio.get_running_loop().create_task(self._connection(reader, writer))
        self._open[task] = writer
        task.add_done_callback(self._open.pop)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while await self._request(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        method, path, _ = head.split(" ", 2)
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head.split("\r\n")[1:])
        }
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        self.paths.append(f"{method} {path}")
        if path.endswith("/chat/completions"):
            self.keys.append(headers.get("authorization", ""))
            return await self._chat(json.loads(body), reader, writer)
        if path.endswith("/embeddings"):
            self._json(writer, 200, embeddings(json.loads(body)))
        elif path.endswith("/search"):
            self.searches.append({**json.loads(body), "key": headers.get("x-api-key")})
            self._json(writer, 200, SEARCH)
        else:
            self._json(writer, 200, {"object": "list", "data": []})
        await writer.drain()
        return True

    async def _chat(
        self,
        request: dict[str, Any],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        self.requests.append(request)
        if found := fault(request):
            self.faults.append(found)
            self._json(writer, 400, {"error": {"message": found, "code": "invalid_request"}})
            return True
        answer = self.answer(request)
        if answer.first_s and not await self._stays(reader, answer.first_s):
            return False
        if answer.status != 200:
            more = {} if answer.retry_after is None else {"Retry-After": answer.retry_after}
            error = {"message": f"no, {KEY}", "code": answer.code, "type": "some"}
            self._json(writer, answer.status, {"error": error}, more)
            return True
        if answer.raw is not None:
            self._head(writer, 200, {"Content-Length": str(len(answer.raw))})
            writer.write(answer.raw)
            return True
        if not request.get("stream"):
            self._json(writer, 200, whole(answer))
            return True
        return await self._stream(answer, request, reader, writer)

    async def _stream(
        self,
        answer: Answer,
        request: dict[str, Any],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        self._head(
            writer, 200, {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"}
        )
        for number, event in enumerate(self._events(answer, request)):
            if number > 1 and answer.gap_s and not await self._stays(reader, answer.gap_s):
                return False
            data = b"data: " + json.dumps(event, ensure_ascii=answer.escaped).encode() + b"\n\n"
            writer.write(b"%x\r\n%s\r\n" % (len(data), data))
            await writer.drain()
        if answer.cut:
            writer.transport.abort()
            return False
        done = b"" if answer.ending is None else b"e\r\ndata: [DONE]\n\n\r\n"
        writer.write(done + b"0\r\n\r\n")
        await writer.drain()
        return True

    def _events(self, answer: Answer, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        yield chunk({"role": "assistant", "content": ""})
        for text in answer.text:
            yield chunk({"content": text})
        if answer.cut or answer.ending is None:
            return
        for index, (name, args) in enumerate(answer.calls):
            self._ids += 1
            made = answer.id.format(unique=self._ids, index=index)
            yield from self._call(index, made, name, args, answer.indexed)
        yield chunk({}, "tool_calls" if answer.calls else answer.ending)
        if (request.get("stream_options") or {}).get("include_usage"):
            yield {**chunk({}), "choices": [], "usage": USAGE}

    def _call(
        self, index: int, id: str, name: str, args: Any, indexed: bool
    ) -> Iterator[dict[str, Any]]:
        text = args if isinstance(args, str) else json.dumps(args, ensure_ascii=False)
        about = {"index": index, "type": "function"} | ({"id": id} if id else {})
        if not indexed:
            function = {"name": name, "arguments": text}
            yield chunk({"tool_calls": [{**about, "index": 0, "function": function}]})
            return
        yield chunk({"tool_calls": [{**about, "function": {"name": name, "arguments": ""}}]})
        for start in range(0, len(text), 5):
            piece = {"index": index, "function": {"arguments": text[start : start + 5]}}
            yield chunk({"tool_calls": [piece]})

    async def _stays(self, reader: asyncio.StreamReader, seconds: float) -> bool:
        """Wait; False at once, with the time noted, when the client leaves meanwhile."""
        try:
            with anyio.fail_after(seconds):
                if not await reader.read(1):
                    self.gone_at.append(time.monotonic())
                    return False
        except TimeoutError:
            return True
        except ConnectionError:
            self.gone_at.append(time.monotonic())
            return False
        raise AssertionError("the client sent a second request before the first was answered")

    def _head(self, writer: asyncio.StreamWriter, status: int, headers: dict[str, str]) -> None:
        lines = [f"HTTP/1.1 {status} x", *(f"{name}: {value}" for name, value in headers.items())]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())

    def _json(
        self,
        writer: asyncio.StreamWriter,
        status: int,
        body: object,
        more: dict[str, str] | None = None,
    ) -> None:
        data = json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Content-Length": str(len(data))}
        self._head(writer, status, headers | (more or {}))
        writer.write(data)


USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
SEARCH = {
    "organic": [
        {"title": f"Title {n}", "snippet": f"Snippet {n}", "link": f"https://example.org/{n}"}
        for n in range(1, 9)
    ]
}


def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    about = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 0, "model": "fake"}
    return {**about, "choices": [choice]}


def whole(answer: Answer) -> dict[str, Any]:
    message = {"role": "assistant", "content": "".join(answer.text)}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    about = {"id": "chatcmpl-1", "object": "chat.completion", "created": 0, "model": "fake"}
    return {**about, "choices": [choice], "usage": USAGE}


def embeddings(request: dict[str, Any]) -> dict[str, Any]:
    """Vectors of hashed words: texts that share words are near."""
    texts = request["input"] if isinstance(request["input"], list) else [request["input"]]
    data = [
        {"object": "embedding", "index": index, "embedding": vector(text)}
        for index, text in enumerate(texts)
    ]
    return {"object": "list", "data": data, "model": "fake", "usage": USAGE}


def vector(text: str) -> list[float]:
    found = [0.0] * 64
    for word in re.findall(r"[\u4e00-\u9fff]|\w+", text.lower()):
        found[hashlib.sha256(word.encode()).digest()[0] % 64] += 1.0
    return found


@contextmanager
def running(answer: Callable[[dict[str, Any]], Answer] = echo) -> Iterator[FakeOpenAI]:
    """The server, on a thread of its own."""
    fake = FakeOpenAI(answer=answer)
    ready = threading.Event()
    loops: list[asyncio.AbstractEventLoop] = []
    tasks: list[asyncio.Task[None]] = []

    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)

        def started(loop: asyncio.AbstractEventLoop) -> None:
            loops.append(loop)
            ready.set()

        with suppress(asyncio.CancelledError):
            await fake.serve(started)

    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield fake
    finally:
        loops[0].call_soon_threadsafe(tasks[0].cancel)
        thread.join(10)
