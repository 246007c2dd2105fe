"""Each program of examples/sample_app in a process of its own, and a conversation with it."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from xtalk.testing.fakes import tone
from xtalk.testing.recordings import recording
from xtalk.wire import messages as m

pytestmark = pytest.mark.real_time

APP = Path(__file__).parent.parent / "sample_app"
ECHO = APP / "echo.toml"
SPEECH = tone(0.3, rate=16_000)

# In the original's format. Nobody listens but the recogniser, so the caller marks its speech.
FAKES = {
    "vad": "",
    "asr": {"type": "FixedASR", "params": {"text": "hello there"}},
    "llm_agent": "EchoAgent",
    "tts": {"type": "ToneTTS", "params": {"character_ms": 10}},
}


PROGRAMS = ["configurable_server", "custom_model", "custom_service", "mental_consultant_server"]


def fakes(folder: Path) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(FAKES))
    return path


def test_the_configurable_server_runs_the_offline_default(start: Any, dial: Any, run: Any) -> None:
    url = start("configurable_server.py")

    async def main() -> None:
        async with dial(url) as client, httpx.AsyncClient(base_url=url) as http:
            session_id = (await client.wait_for(m.SessionInfo)).session_id
            await client.say(recording("two-plus-three").pcm)
            await client.wait_until_heard()
            assert client.received(m.FinishAsr)[0].text == "what is two plus three"
            assert client.received(m.FinishResp)[0].text == "2 plus 3 is 5."

            assert "/static/page/page.js" in (await http.get("/")).text
            assert "xtalk talk" in (await http.get("/status")).text
            voices = (await http.get("/api/voices")).json()["audios"]
            assert {"name": "British"} in voices
            for kind in ("tts", "llm"):
                models = (await http.get(f"/api/available-{kind}-models")).json()["models"]
                assert models, kind

            before = len(client.timeline)
            text = {"file": ("opening.txt", b"The library opens at nine o'clock.", "text/plain")}
            sent = await http.post("/api/upload", data={"session_id": session_id}, files=text)
            assert sent.json() == {"status": "ok"}
            reply = await client.wait_for(m.FinishResp, after=before)
            assert reply.text == "Your text has arrived."

    run(main)


def test_the_configurable_server_obeys_its_configuration(
    start: Any, dial: Any, run: Any, tmp_path: Path
) -> None:
    url = start("configurable_server.py", "--config", fakes(tmp_path))

    async def main() -> None:
        async with dial(url) as client, httpx.AsyncClient(base_url=url) as http:
            await client.say_with_marks(SPEECH)
            assert (await client.wait_for(m.FinishResp)).text == "You said: hello there "
            voices = (await http.get("/api/voices")).json()
            assert voices == {"audios": [{"name": "low"}, {"name": "high"}]}

    run(main)


def test_the_custom_model_is_the_one_in_the_file(start: Any, dial: Any, run: Any) -> None:
    url = start("custom_model.py", "--config", ECHO)

    async def main() -> None:
        async with dial(url) as client:
            await client.say(recording("what-time-is-it").pcm)
            await client.wait_until_heard()
            heard = client.received(m.FinishAsr)[0].text
            assert "time" in heard
            # The plugin's agent of the same name would have begun with "You said".
            assert client.received(m.FinishResp)[0].text == f"Echo: {heard}"
            assert any(any(sound.pcm) for sound in client.speaker.heard)

    run(main)


def test_the_custom_service_spots_keywords_and_changes_the_reply(
    start: Any, dial: Any, run: Any, tmp_path: Path
) -> None:
    url = start("custom_service.py", "--config", fakes(tmp_path))

    async def main() -> None:
        async with dial(url) as client:
            await client.say_with_marks(SPEECH)
            assert (await client.wait_for(m.FinishResp)).text == "[Custom] You said: hello there "
            signals = [e.message.body for e in client.timeline if isinstance(e.message, m.Signal)]
            data = {"words": ["hello"], "turn_id": 1}
            assert signals == [{"action": "keyword_spotted", "data": data}]

    run(main)


def test_the_custom_service_lets_ten_in_and_the_eleventh_wait(
    start: Any, dial: Any, run: Any, tmp_path: Path
) -> None:
    url = start("custom_service.py", "--config", fakes(tmp_path))

    async def main() -> None:
        async with AsyncExitStack() as callers:
            for _ in range(10):
                client = await callers.enter_async_context(dial(url))
                await client.wait_for(m.SessionInfo)
            eleventh = await callers.enter_async_context(dial(url))
            queued = await eleventh.wait_for(m.QueueStatus)
            assert (queued.position, queued.limit) == (1, 10)

    run(main)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_problem_is_one_sentence(program: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, APP / f"{program}.py", "--config", "nope.toml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr == "nope.toml: cannot be read: No such file or directory\n"
