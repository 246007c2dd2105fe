"""MCP servers as tools: real ones, on pipes and over HTTP."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import anyio
import pytest
from asking import calls, opened, results, run, turn
from fake_openai import FakeOpenAI, call, say

from xtalk import schema
from xtalk.agent import ToolCall
from xtalk.errors import ConfigError

pytest.importorskip("mcp", reason="the extra mcp is not installed")

from xtalk_agent_langchain.agent import DefaultAgent

pytestmark = pytest.mark.real_time

SERVER = str(Path(__file__).parent / "mcp_server.py")
PAGES = str(Path(__file__).parent / "mcp_pages.py")
PIPES = {"command": sys.executable, "args": [SERVER], "env": {"SHELF": "Anna"}}
PAGES_ON_PIPES = {"command": sys.executable, "args": [PAGES]}


@pytest.fixture
def address() -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([sys.executable, SERVER, str(port)], stderr=subprocess.DEVNULL)
    try:
        for _ in range(400):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.terminate()
        process.wait(10)


def build(model: dict[str, Any], *, tool_timeout_s: float = 30.0, **servers: Any) -> DefaultAgent:
    limits = {"tool_timeout_s": tool_timeout_s}
    given = {"model": model, "tools": [], "mcp": servers, "limits": limits}
    agent = schema.build(DefaultAgent, given)
    assert isinstance(agent, DefaultAgent)
    return agent


def use(server: FakeOpenAI, agent: DefaultAgent) -> list[list[Any]]:
    """Two sessions of one process call tools of the MCP server."""
    server.script(
        say(calls=[("title", {"number": 3}), ("lend", {"number": 3})]),
        say("ok"),
        call("lend", {"number": -1}),
        say("ok"),
    )
    told: list[list[Any]] = []

    async def test() -> None:
        async with opened(agent):
            for _ in range(2):
                async with opened(agent.clone()) as session:
                    told.append(await turn(session, "go"))

    run(test)
    assert server.faults == []
    return told


def test_on_pipes(server: FakeOpenAI, model: dict[str, Any]) -> None:
    first, second = use(server, build(model, shelf=PIPES))
    assert calls(first) == [("title", {"number": 3}), ("lend", {"number": 3})]
    assert [part["effects"] for part in first if isinstance(part, ToolCall)] == [False, True]
    assert results(first) == ["Book 3 of Anna", "lent 3"]
    assert "failed" in results(second)[0]
    told = [m["content"] for m in server.requests[1]["messages"] if m["role"] == "tool"]
    assert told[0].startswith('<untrusted source="title">')


def test_over_http(server: FakeOpenAI, model: dict[str, Any], address: str) -> None:
    agent = build(model, shelf={"url": address, "headers": {"Authorization": "Bearer x"}})
    first, _ = use(server, agent)
    assert results(first) == ["Book 3 of nobody", "lent 3"]


def test_only_the_chosen_tools(server: FakeOpenAI, model: dict[str, Any]) -> None:
    async def test() -> None:
        async with opened(build(model, shelf={**PIPES, "tools": ["title"]})) as agent:
            await turn(agent, "hello")

    run(test)
    assert [t["function"]["name"] for t in server.requests[0]["tools"]] == ["title"]


async def tools_come_back(server: FakeOpenAI, session: DefaultAgent) -> None:
    """Ask until the model is offered the tools of the MCP server again."""
    while "tools" not in server.requests[-1]:
        await anyio.sleep(0.1)
        await turn(session, "hello")


@pytest.mark.parametrize(
    ("end", "told"), [("die", "failed"), ("stare", "took longer")], ids=["dies", "hangs"]
)
def test_a_server_that_ends_costs_its_tools_until_it_is_back(
    server: FakeOpenAI, model: dict[str, Any], end: str, told: str
) -> None:
    server.script(call(end, {"number": 1}), say("It broke."))

    async def test() -> None:
        agent = build(model, shelf=PIPES, tool_timeout_s=0.5)
        async with opened(agent):
            assert told in results(await turn(agent, "go"))[0]
            while "tools" in server.requests[-1]:
                await turn(agent, "hello")
            await tools_come_back(server, agent)
            server.script(call("lend", {"number": 3}), say("Lent."))
            assert results(await turn(agent, "go")) == ["lent 3"]

    run(test)


@asynccontextmanager
async def pondering(agent: DefaultAgent, server: FakeOpenAI) -> AsyncIterator[None]:
    """A session's call keeps the MCP server from anything else, and the user interrupts it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server.script(call("ponder", {"number": listening.getsockname()[1]}))
        async with anyio.create_task_group() as session:
            session.start_soon(turn, agent, "go")
            asker, _ = await anyio.to_thread.run_sync(listening.accept)
            session.cancel_scope.cancel()
    with asker:
        yield


def test_an_interrupted_call_costs_no_other_session_the_tools(
    server: FakeOpenAI, model: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the server, which does one thing at a time, is busy with it."""
    monkeypatch.setattr("xtalk_agent_langchain.mcp.EXAMINE_S", 0.0)
    told: list[list[Any]] = []

    async def ask(session: DefaultAgent) -> None:
        told.append(await turn(session, "go"))

    async def test() -> None:
        prototype = build(model, shelf=PIPES)
        async with opened(prototype), opened(prototype.clone()) as session:
            async with anyio.create_task_group() as other, pondering(prototype, server):
                server.script(call("title", {"number": 3}), say("That one."))
                other.start_soon(ask, session)
                await anyio.wait_all_tasks_blocked()
            await turn(session, "hello")

    run(test)
    assert results(told[0]) == ["Book 3 of Anna"]
    assert "tools" in server.requests[-1]


def test_a_server_that_hangs_is_found_though_the_user_does_not_wait_for_it(
    server: FakeOpenAI, model: dict[str, Any]
) -> None:
    async def test() -> None:
        agent = build(model, shelf=PIPES, tool_timeout_s=0.5)
        async with opened(agent), pondering(agent, server):
            while "tools" in server.requests[-1]:
                await turn(agent, "hello")
            await tools_come_back(server, agent)

    run(test)


@pytest.mark.parametrize(
    "servers",
    [{"one": PIPES, "two": PIPES}, {"slow": {**PAGES_ON_PIPES, "args": [PAGES, "slow"]}}],
    ids=["two servers", "a server that is slow to end"],
)
def test_a_session_has_the_tools_though_it_begins_while_the_last_ends(
    server: FakeOpenAI, model: dict[str, Any], servers: dict[str, Any]
) -> None:
    async def test() -> None:
        prototype = build(model, **servers)
        first, second = prototype.clone(), prototype.clone()
        await first.open()
        async with anyio.create_task_group() as ending:
            ending.start_soon(first.close)
            await anyio.wait_all_tasks_blocked()
            await second.open()
        await turn(second, "hello")
        await second.close()

    run(test)
    assert server.requests[-1].get("tools")


def test_a_session_that_is_opened_again_has_the_tools_again(
    server: FakeOpenAI, model: dict[str, Any]
) -> None:
    agent = build(model, shelf=PIPES)
    told: list[list[str]] = []

    async def test() -> None:
        for number in range(2):
            server.script(call("lend", {"number": number}), say("Lent."))
            async with opened(agent):
                told.append(results(await turn(agent, "go")))

    run(test)
    assert told == [["lent 0"], ["lent 1"]]


def test_no_session_waits_for_a_server_that_hangs(
    server: FakeOpenAI, model: dict[str, Any]
) -> None:
    hangs = {"command": sys.executable, "args": ["-c", "import time; time.sleep(3600)"]}
    prototype = build(model, shelf=PIPES, hangs=hangs)
    waited = []

    async def open_first() -> None:
        await prototype.open()
        waited.append(True)

    async def test() -> None:
        async with anyio.create_task_group() as opening:
            opening.start_soon(open_first)
            await anyio.wait_all_tasks_blocked()
            for _ in range(5):
                async with opened(prototype.clone()) as session:
                    await turn(session, "hello")
                    assert not waited
            async with opened(prototype.clone()) as session:
                await tools_come_back(server, session)
            opening.cancel_scope.cancel()
        await prototype.close()

    run(test)


def test_a_server_that_hangs_is_given_up(
    model: dict[str, Any], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs = {"command": sys.executable, "args": ["-c", "import time; time.sleep(3600)"]}
    monkeypatch.setattr("xtalk_agent_langchain.mcp.OPEN_S", 0.2)

    async def test() -> None:
        async with opened(build(model, hangs=hangs)):
            assert "the MCP server hangs took longer than" in caplog.text
            await anyio.sleep(0.1)  # its end takes longer, and is not disturbed by the next

    run(test)


def test_what_is_no_plain_text_is_told_too(server: FakeOpenAI, model: dict[str, Any]) -> None:
    server.script(call("leaf", {"number": 7}), say("Read."))

    async def test() -> None:
        async with opened(build(model, shelf=PIPES)) as agent:
            (told,) = results(await turn(agent, "go"))
            assert told.split("\n") == [
                "This is page 7.",
                "(image image/png, which is no text)",
                "(more: file:///more.txt)",
            ]

    run(test)


def test_all_pages_of_the_list_of_tools_are_read(server: FakeOpenAI, model: dict[str, Any]) -> None:
    async def test() -> None:
        async with opened(build(model, shelf=PAGES_ON_PIPES)) as agent:
            await turn(agent, "hello")

    run(test)
    assert [t["function"]["name"] for t in server.requests[0]["tools"]] == ["first", "second"]


def test_servers_with_tools_of_one_name_are_told_of_once(
    server: FakeOpenAI, model: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        prototype = build(model, one=PAGES_ON_PIPES, two=PAGES_ON_PIPES)
        async with opened(prototype):
            for _ in range(2):
                async with opened(prototype.clone()) as agent:
                    await turn(agent, "hello")

    run(test)
    assert caplog.messages.count("the tool first takes the place of another one") == 1


def test_a_blocking_call_uses_connections_of_its_own(
    server: FakeOpenAI, model: dict[str, Any]
) -> None:
    agent = build(model, shelf=PIPES)
    for _ in range(2):
        server.script(call("lend", {"number": 3}), say("Lent."))
        assert agent.generate("lend it")[0].endswith("Lent.")
        assert server.requests[-1]["messages"][-1]["content"].count("lent 3") == 1


def test_a_server_that_is_not_there_costs_its_tools(
    server: FakeOpenAI, model: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        async with opened(build(model, shelf={"command": "no-such-program"})) as agent:
            assert results(await turn(agent, "hello")) == []

    run(test)
    assert "the MCP server shelf cannot be used (FileNotFoundError)" in caplog.text


@pytest.fixture
def all_logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Everything that any library logs, as in a program that has just set up logging."""
    known = logging.root.manager.loggerDict.values()
    levels = {each: each.level for each in known if isinstance(each, logging.Logger)}
    for each in levels:
        each.setLevel(logging.NOTSET)
    caplog.set_level(logging.DEBUG)
    yield caplog
    for each, level in levels.items():
        each.setLevel(level)


def test_the_log_of_a_connection_does_not_hold_the_address(
    server: FakeOpenAI, model: dict[str, Any], address: str, all_logged: pytest.LogCaptureFixture
) -> None:
    use(server, build(model, shelf={"url": f"{address}?key=sk-secret"}))
    assert "DEBUG" in all_logged.text
    assert "sk-secret" not in all_logged.text


class Elsewhere(BaseHTTPRequestHandler):
    """Says that what was asked for is now at the same address with a slash."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(301)
        self.send_header("Location", f"{self.path}/")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *said: object) -> None:
        """Nothing."""


def test_the_log_of_a_redirection_does_not_hold_the_address(
    model: dict[str, Any], all_logged: pytest.LogCaptureFixture
) -> None:
    async def test(port: int) -> None:
        async with opened(build(model, shelf={"url": f"http://127.0.0.1:{port}/sk-secret/mcp"})):
            pass

    with HTTPServer(("127.0.0.1", 0), Elsewhere) as elsewhere:
        answering = threading.Thread(target=elsewhere.serve_forever)
        answering.start()
        run(partial(test, elsewhere.server_port))
        elsewhere.shutdown()
        answering.join()
    assert "the MCP server shelf cannot be used" in all_logged.text
    assert "sk-secret" not in all_logged.text


def test_the_log_of_a_failure_does_not_hold_the_address(
    server: FakeOpenAI, model: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        shelf = {"url": "http://127.0.0.1:9/mcp?key=sk-secret"}
        async with opened(build(model, shelf=shelf)) as agent:
            await turn(agent, "hello")

    run(test)
    assert "the MCP server shelf cannot be used (ConnectError)" in caplog.text
    assert "sk-secret" not in caplog.text


@pytest.mark.parametrize("wrong", [{}, {"command": "x", "url": "y"}, {"url": "y", "comand": "x"}])
def test_a_wrong_table_is_refused(model: dict[str, Any], wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"params\.mcp\.shelf"):
        build(model, shelf=wrong)
