"""The original's quickstart holds a conversation, with fakes of its three services.

Nothing of the file changes but the key and the addresses.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from xtalk.testing.recordings import TEXTS, recording
from xtalk.testing.services import KEY, Fault, running
from xtalk.wire import messages as m

ROOT = Path(__file__).parents[2]
for package in ("xtalk-agent-langchain", "xtalk-asr-qwen3", "xtalk-tts-cosyvoice"):
    sys.path.append(str(ROOT / "plugins" / package / "tests"))

import fake_openai  # noqa: E402
from fake_dashscope import FakeDashScope  # noqa: E402
from fake_realtime import FakeRealtime  # noqa: E402

pytestmark = pytest.mark.real_time

QUESTION = "what-time-is-it"


def configured(openai: str, realtime: int, dashscope: int) -> dict[str, Any]:
    """The quickstart with a key, and with loopback addresses in the place of DashScope's."""
    text = (ROOT / "examples" / "quickstart.json").read_text("utf-8")
    found: dict[str, Any] = json.loads(text.replace("<your key of DashScope>", KEY))
    api = "ws://127.0.0.1:{}/api-ws/v1/{}"
    found["asr"]["params"]["config"] = {"url": api.format(realtime, "realtime")}
    found["llm_agent"]["params"]["model"]["base_url"] = openai
    found["tts"]["params"]["url"] = api.format(dashscope, "inference")
    return found


@contextmanager
def served(start: Any, folder: Path) -> Iterator[tuple[str, FakeRealtime]]:
    """Where the quickstart runs, and its recogniser."""
    with (
        fake_openai.running() as openai,
        running(FakeRealtime()) as realtime,
        running(FakeDashScope()) as dashscope,
    ):
        config = folder / "quickstart.json"
        config.write_text(json.dumps(configured(openai.url, realtime.port, dashscope.port)))
        url = start("configurable_server.py", "--config", config)
        yield url, realtime


def test_the_quickstart_answers_a_spoken_question(
    start: Any, dial: Any, run: Any, tmp_path: Path
) -> None:
    async def main() -> None:
        async with dial(url) as client:
            await client.wait_for(m.SessionInfo)
            await client.say_with_marks(recording(QUESTION).pcm)
            await client.wait_until_heard()
            assert client.received(m.FinishAsr)[0].text == TEXTS[QUESTION]
            assert client.received(m.FinishResp)[0].text == f"You said: {TEXTS[QUESTION]}."
            assert sum(len(sound.pcm) for sound in client.speaker.heard) > 48_000

    with served(start, tmp_path) as (url, _):
        run(main)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault.REFUSED, "Qwen3-ASR cannot be reached; check that this machine reaches it"),
        (Fault.STALL, "Qwen3-ASR took too long to answer; check that this machine reaches it"),
    ],
)
def test_a_recogniser_that_is_down_is_told_once_and_by_its_name(
    start: Any, dial: Any, run: Any, tmp_path: Path, fault: Fault, says: str
) -> None:
    """All limits are the defaults: the adaptor's own sentence comes before the engine's."""

    async def main() -> None:
        async with dial(url) as client:
            await client.wait_for(m.SessionInfo)
            await client.say_with_marks(recording(QUESTION).pcm)
            error = await client.wait_for(m.Error, timeout=20)
            assert error.message.startswith(says)
            await client.wait_for(m.InvalidAsrResult)
            assert len(client.received(m.Error)) == 1

    with served(start, tmp_path) as (url, realtime):
        realtime.fail(fault)
        run(main)
