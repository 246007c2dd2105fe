"""A document over HTTP, a question over the WebSocket, and the answer spoken out of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from xtalk.testing.fakes import tone
from xtalk.wire import messages as m

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "plugins" / "xtalk-agent-langchain" / "tests"))

from fake_openai import Answer, call, running, say  # noqa: E402

pytestmark = pytest.mark.real_time

SPEECH = tone(0.3, rate=16_000)


@pytest.mark.parametrize(
    ("text", "question", "told"),
    [
        (
            "The library opens at nine. The code of the door is seven four one. Cats are welcome.",
            "what is the code of the door",
            "seven four one",
        ),
        ("图书馆九点开门。大门的密码是七四一。欢迎带猫。", "大门的密码是多少", "七四一"),
    ],
    ids=["English", "Chinese"],
)
def test_an_uploaded_document_answers_a_spoken_question(
    start: Any, dial: Any, run: Any, tmp_path: Path, text: str, question: str, told: str
) -> None:
    def answer(request: dict[str, Any]) -> Answer:
        """A model that looks up what it is asked, and says the sentence that fits."""
        last = request["messages"][-1]
        if last["role"] == "tool":
            sentences = last["content"].replace("。", ".").split(".")
            fitting = [each.strip() for each in sentences if told in each]
            return say(f"{fitting[0]}." if fitting else "I do not know.")
        if "local_search" in last["content"]:
            return say("It is ready.")
        return call("local_search", {"query": last["content"]})

    config = tmp_path / "config.json"
    models = {
        "vad": "",
        "asr": {"type": "FixedASR", "params": {"text": question}},
        "llm_agent": {"type": "DefaultAgent", "params": {"model": {"model": "fake"}}},
        "tts": {"type": "ToneTTS", "params": {"character_ms": 1}},
    }
    config.write_text(json.dumps(models))

    async def main() -> None:
        async with dial(url) as client, httpx.AsyncClient() as http:
            session = await client.wait_for(m.SessionInfo)
            uploaded = await http.post(
                f"{url}/api/upload",
                data={"session_id": session.session_id},
                files={"file": ("notes.txt", text.encode(), "text/plain")},
            )
            assert uploaded.json() == {"status": "ok"}
            await client.wait_until_heard()
            assert client.received(m.FinishResp)[-1].text == "It is ready."
            before = len(client.timeline)
            await client.say_with_marks(SPEECH)
            await client.wait_until_heard(after=before)
            assert told in client.received(m.FinishResp, after=before)[-1].text
            assert [each.name for each in client.received(m.ToolCalled)] == ["local_search"]
            assert told in client.received(m.RetrievalUpdated)[0].text

    with running(answer) as fake:
        environment = {"OPENAI_BASE_URL": fake.url, "OPENAI_API_KEY": "none"}
        url = start("configurable_server.py", "--config", config, **environment)
        run(main)
    assert not fake.faults
