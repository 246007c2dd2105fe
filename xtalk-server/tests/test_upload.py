"""A document on its way to a real session: from the form to the agent's search."""

from __future__ import annotations

from typing import Any

import anyio
import httpx
import pytest
from xtalk_example.asr import FixedASR
from xtalk_example.tts import ToneTTS

from xtalk.api import Xtalk
from xtalk.pipeline import DefaultPipeline
from xtalk.service import DefaultService
from xtalk.testing.client import WireClient, connect
from xtalk.testing.fakes import LoudnessVAD, ScriptedAgent
from xtalk.wire import messages as m
from xtalk_server.testing import Running, running

pytestmark = pytest.mark.real_time

TEXT = "The office is in Hamburg. " * 500 + "\n\nThe door code is 4711.\n"


class Librarian(ScriptedAgent):
    def __init__(self) -> None:
        super().__init__(["It is ready."])
        self.tools: list[Any] = []

    def clone(self) -> Librarian:
        return self

    def add_tools(self, tools: Any) -> None:
        self.tools.extend(tools)


def test_a_document_is_announced_and_found() -> None:
    agent = Librarian()
    pipeline = DefaultPipeline(FixedASR("go on"), agent, ToneTTS(), vad=LoudnessVAD())

    async def main(server: Running) -> None:
        async with connect(server.ws) as connection, WireClient(connection) as client:
            session = (await client.wait_for(m.SessionInfo)).session_id
            async with httpx.AsyncClient(base_url=server.http) as http:
                files = {"file": ("office.txt", TEXT.encode())}
                gone = {"session_id": "nobody"}
                answer = await http.post("/api/upload", data=gone, files=files)
                assert answer.status_code == 404
                mine = {"session_id": session}
                answer = await http.post("/api/upload", data=mine, files=files)
                assert answer.json() == {"status": "ok"}
            await client.wait_until_heard()
            assert client.received(m.FinishResp)[0].text == "It is ready."
            (tool,) = agent.tools
            assert "4711" in tool.invoke({"query": "door code", "k": 1})

    with running(Xtalk(service_prototype=DefaultService(pipeline=pipeline))) as server:
        anyio.run(main, server)
    assert agent.inputs[0].event == "document_ready"
    assert agent.tools[0].invoke({"query": "door code"}) == "Nothing was found."
