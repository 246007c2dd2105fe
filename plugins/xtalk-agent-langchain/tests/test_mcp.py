"""MCP servers as tools: real ones, on pipes and over HTTP."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import calls, opened, results, run, turn
from fake_openai import FakeOpenAI, call, say

from xtalk import schema
from xtalk.agent import ToolCall
from xtalk.errors import ConfigError

pytest.importorskip("mcp", reason="the extra mcp is not installed")

from xtalk_agent_langchain.agent import DefaultAgent

SERVER = str(Path(__file__).parent / "mcp_server.py")
PIPES = {"command": sys.executable, "args": [SERVER], "env": {"SHELF": "Anna"}}


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


def build(model: dict[str, Any], **servers: Any) -> DefaultAgent:
    agent = schema.build(DefaultAgent, {"model": model, "tools": [], "mcp": servers})
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


def test_a_server_that_dies_costs_its_tools_until_the_next_session(
    server: FakeOpenAI, model: dict[str, Any]
) -> None:
    server.script(call("die", {"number": 1}), say("It broke."), say("Hi."), say("Back."))

    async def test() -> None:
        prototype = build(model, shelf=PIPES)
        async with opened(prototype):
            async with opened(prototype.clone()) as session:
                assert "failed" in results(await turn(session, "go"))[0]
                await turn(session, "hello")
            async with opened(prototype.clone()) as session:
                await turn(session, "hello")

    run(test)
    assert "tools" not in server.requests[2]
    assert len(server.requests[3]["tools"]) == 3


def test_a_server_that_is_not_there_costs_its_tools(
    server: FakeOpenAI, model: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        async with opened(build(model, shelf={"command": "no-such-program"})) as agent:
            assert results(await turn(agent, "hello")) == []

    run(test)
    assert "the MCP server shelf cannot be used" in caplog.text


@pytest.mark.parametrize("wrong", [{}, {"command": "x", "url": "y"}, {"url": "y", "comand": "x"}])
def test_a_wrong_table_is_refused(model: dict[str, Any], wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"params\.mcp\.shelf"):
        build(model, shelf=wrong)
