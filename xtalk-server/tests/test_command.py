"""`xtalk serve` in a process of its own."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from xtalk.cli import main

EXAMPLE = """
asr = "FixedASR"
llm_agent = "EchoAgent"
tts = "ToneTTS"
vad = ""
"""

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

    async def talk() -> None:
        async with connect(url.replace("http", "ws") + "/ws") as socket:
            assert '"session_info"' in str(await socket.recv())
            process.send_signal(signal.SIGTERM)
            with pytest.raises(ConnectionClosed):
                while True:
                    await socket.recv()
            assert socket.close_code == 1001

    asyncio.run(talk())
    process.communicate(timeout=10)
    assert process.returncode in (0, -signal.SIGTERM)


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
    assert f"cannot listen on 127.0.0.1 port {port}: " in capsys.readouterr().err


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
