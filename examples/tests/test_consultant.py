"""mental_consultant_server.py in a process of its own, with a language model that obeys."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from xtalk.testing.client import WireClient
from xtalk.testing.fakes import tone
from xtalk.wire import messages as m

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "plugins" / "xtalk-agent-langchain" / "tests"))

from fake_openai import Answer, call, running, say  # noqa: E402

pytestmark = pytest.mark.real_time

SPEECH = tone(0.3, rate=16_000)
TOOL = "mental_questionnaire"


def obey(request: dict[str, Any]) -> Answer:
    """Hand what the user says to the questionnaire, and read out what that returns."""
    messages = request["messages"]
    if messages[-1]["role"] == "tool":
        step = json.loads(messages[-1]["content"])
        return say(step.get("question") or f"{step['message']} {step['recommendation']}")
    begun = any(message["role"] == "tool" for message in messages)
    return call(TOOL, {"answer": int(messages[-1]["content"])} if begun else {})


def config(folder: Path) -> Path:
    path = folder / "config.json"
    models = {
        "vad": "",
        "asr": {"type": "FixedASR", "params": {"text": "2"}},
        "llm_agent": {
            "type": "DefaultAgent",
            "params": {"model": {"model": "fake"}, "system_prompt": "You sell cars."},
        },
        "tts": {"type": "ToneTTS", "params": {"character_ms": 1}},
    }
    path.write_text(json.dumps(models))
    return path


async def turn(client: WireClient) -> str:
    before = len(client.timeline)
    await client.say_with_marks(SPEECH)
    await client.wait_until_heard(after=before)
    return client.received(m.FinishResp, after=before)[0].text


def test_nine_questions_and_a_result(start: Any, dial: Any, run: Any, tmp_path: Path) -> None:
    async def main() -> None:
        async with dial(url) as client:
            questions = [await turn(client) for _ in range(9)]
            assert len(set(questions)) == 9
            assert all(question.startswith("How often") for question in questions)
            result = await turn(client)
            assert "add up to 18 of 27, which is moderately severe" in result
            assert "get help now" in result
            assert [called.name for called in client.received(m.ToolCalled)] == [TOOL] * 10
        async with dial(url) as client:
            assert await turn(client) == questions[0]

    with running(obey) as fake:
        environment = {"OPENAI_BASE_URL": fake.url, "OPENAI_API_KEY": "none"}
        url = start("mental_consultant_server.py", "--config", config(tmp_path), **environment)
        run(main)
    assert not fake.faults
    prompt = fake.requests[0]["messages"][0]["content"]
    assert "no doctor and no therapist" in prompt
    assert "You sell cars." not in prompt
