"""`xtalk serve` in a process of its own."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from xtalk.cli import main

pytestmark = pytest.mark.real_time

EXAMPLE = """
asr = "FixedASR"
llm_agent = "EchoAgent"
tts = "ToneTTS"
vad = ""
"""

LONG_REPLY = """
llm_agent = "EchoAgent"
tts = "ToneTTS"
vad = ""
asr = {type = "FixedASR", params = {text = "what takes about three seconds to be said by a tone"}}
"""

LIMIT_S = 30

Start = Callable[..., tuple["subprocess.Popen[str]", str, list[str]]]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts `xtalk serve` on a free port; gives the process, its address, its log so far."""
    monkeypatch.delenv("XTALK_CONFIG", raising=False)
    processes = []

    def run(config: str = EXAMPLE, *options: str) -> tuple[subprocess.Popen[str], str, list[str]]:
        (tmp_path / "config.toml").write_text(config)
        command = [sys.executable, "-m", "xtalk.cli", "serve", "--port", "0", *options]
        process = subprocess.Popen(
            [*command, "--config", "config.toml"],
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        assert process.stderr is not None
        log = []
        for line in process.stderr:
            log.append(line)
            if found := re.search(r"listening on (\S+)", line):
                return process, found[1], log
        raise AssertionError("".join(log))

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def test_it_serves_and_sigterm_ends_sessions_with_1001(start: Start) -> None:
    process, url, log = start()
    assert "plugin example (xtalk-example" in "".join(log)

    async def talk() -> str:
        async with connect(url.replace("http", "ws") + "/ws") as socket:
            session_id = json.loads(await socket.recv())["data"]["session_id"]
            process.send_signal(signal.SIGTERM)
            with pytest.raises(ConnectionClosed):
                while True:
                    await socket.recv()
            assert socket.close_code == 1001
            return f"session {session_id} of 127.0.0.1:{socket.local_address[1]} begins"

    begins = asyncio.run(talk())
    _, rest = process.communicate(timeout=10)
    assert process.returncode in (0, -signal.SIGTERM)
    assert begins in rest
    assert re.search(r"session \S+ ended after \d+\.\d s: the server is going down", rest)


def test_sigterm_lets_a_reply_come_to_its_end(start: Start) -> None:
    """Meanwhile newcomers are told to go elsewhere."""
    process, url, _ = start(LONG_REPLY)
    ws = url.replace("http", "ws") + "/ws"

    async def main() -> None:
        async with connect(ws) as idle, connect(ws) as socket:
            reply = await begin_reply(socket)
            process.send_signal(signal.SIGTERM)
            with pytest.raises(ConnectionClosed):
                while True:
                    await idle.recv()
            assert idle.close_code == 1001
            with pytest.raises(InvalidStatus) as refused:
                await connect(ws)
            assert refused.value.response.status_code == 503
            status, health = await asyncio.to_thread(get, url + "/health")
            assert (status, health["status"], health["sessions"]) == (503, "draining", 1)
            with pytest.raises(ConnectionClosed):
                while True:
                    await reply.take()
            assert socket.close_code == 1001
        rest = reply.actions[reply.actions.index("start_tts") :]
        assert rest.count("tts_finished") == 1 and "stop_tts" not in rest
        assert reply.seconds > 2

    asyncio.run(asyncio.wait_for(main(), LIMIT_S))
    process.communicate(timeout=10)
    assert process.returncode in (0, -signal.SIGTERM)


@pytest.mark.parametrize("hasty", ["second signal", "deadline"])
def test_the_deadline_or_a_second_sigterm_ends_it_at_once(start: Start, hasty: str) -> None:
    limit = "0.5" if hasty == "deadline" else "60"
    process, url, _ = start(LONG_REPLY + f"[server]\ndrain_sec = {limit}\n")

    async def main() -> None:
        async with connect(url.replace("http", "ws") + "/ws") as socket:
            reply = await begin_reply(socket)
            process.send_signal(signal.SIGTERM)
            if hasty == "second signal":
                while (await asyncio.to_thread(get, url + "/health"))[1]["status"] != "draining":
                    pass
                process.send_signal(signal.SIGTERM)
            with pytest.raises(ConnectionClosed):
                while True:
                    await reply.take()
            assert socket.close_code == 1001
        assert "tts_finished" not in reply.actions

    asyncio.run(asyncio.wait_for(main(), LIMIT_S))
    process.communicate(timeout=10)
    assert process.returncode in (0, -signal.SIGTERM)


class Reply:
    """What comes of a reply to a client that acknowledges nothing."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.actions: list[str] = []
        self.seconds = 0.0

    async def take(self) -> None:
        item = await self.socket.recv()
        if isinstance(item, bytes):
            self.seconds += len(item) / 96_000
        else:
            self.actions.append(json.loads(item)["action"])


async def begin_reply(socket: ClientConnection) -> Reply:
    """Say something between marks, and wait until its reply sounds."""
    assert '"session_info"' in str(await socket.recv())  # audio before it is lost
    await socket.send('{"action": "conversation_start", "client": {"pauses_itself": false}}')
    await socket.send('{"action": "vad_speech_start"}')
    for _ in range(30):
        await socket.send(bytes(1024))
    await socket.send('{"action": "vad_speech_end"}')
    reply = Reply(socket)
    while not reply.seconds:
        await reply.take()
    return reply


def get(url: str) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_no_log_level_shows_what_was_said(start: Start) -> None:
    process, url, _ = start(EXAMPLE, "--log-level", "debug")

    async def talk() -> None:
        async with connect(url.replace("http", "ws") + "/ws") as socket:
            await socket.recv()
            change = {"action": "change_llm_model", "model_name": "x", "api_key": "sk-secret"}
            await socket.send(json.dumps(change))
            await socket.send('{"action":"change_voice","voice_name":"sk-secret"}')
            await socket.recv()

    asyncio.run(talk())
    process.terminate()
    _, log = process.communicate(timeout=10)
    assert "sk-secret" not in log


@pytest.mark.parametrize("client", ["httpx", "httpx2"])
def test_no_log_level_shows_the_addresses_of_requests(tmp_path: Path, client: str) -> None:
    serve = ["serve", "--log-level", "debug", "--config", str(tmp_path / "absent.toml")]
    code = (
        f"import logging; from xtalk.cli import main; main({serve!r}); "
        "logging.getLogger('xtalk.any').debug('plain'); "
        f"logging.getLogger({client!r}).info('GET http://localhost/?key=sk-secret')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=LIMIT_S
    )
    assert "DEBUG xtalk.any: plain" in done.stderr
    assert "sk-secret" not in done.stderr


def test_models_that_cannot_be_built_end_it(start: Start) -> None:
    process, _, _ = start(EXAMPLE.replace("ToneTTS", "ToneTSS"))
    _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    last = err.splitlines()[-1]
    assert last.startswith("xtalk: ")
    assert "ToneTSS" in last


def test_a_wrong_section_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[server]\nallowed_origin = []\n")
    assert main(["serve", "--config", str(config)]) == 1
    assert "server.allowed_origin" in capsys.readouterr().err


def test_a_port_that_is_taken_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import socket

    config = tmp_path / "config.toml"
    config.write_text(EXAMPLE)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--config", str(config), "--port", str(port)]) == 1
    error = capsys.readouterr().err
    assert f"cannot listen on 127.0.0.1 port {port}: " in error
    assert error.endswith("; take another with --port\n")


@pytest.mark.parametrize("port", ["99999", "-1"])
def test_a_port_that_cannot_be_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], port: str
) -> None:
    config = tmp_path / "config.toml"
    config.write_text(EXAMPLE)
    assert main(["serve", "--config", str(config), "--port", port]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("xtalk: arguments: server.port: ")
    assert line.endswith(f"found {port}")


@pytest.mark.parametrize("options", [["--ssl-certfile", "none.pem"], ["--ssl-keyfile", "k.pem"]])
def test_a_certificate_that_cannot_be_used_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    config = tmp_path / "config.toml"
    config.write_text(EXAMPLE)
    assert main(["serve", "--config", str(config), *options]) == 1
    assert "ssl-certfile" in (error := capsys.readouterr().err) or "none.pem" in error


def test_other_machines_are_warned_of(start: Start) -> None:
    process, _, _ = start(EXAMPLE, "--host", "0.0.0.0")
    assert process.stderr is not None
    assert "reachable from other machines" in process.stderr.readline()


def test_the_hook_module_is_light() -> None:
    code = "import sys, xtalk_server; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"fastapi", "uvicorn", "starlette", "pydantic", "numpy", "websockets"}
    assert heavy.isdisjoint(done.stdout.split())
