"""The exports hold every message, agree with what is really sent, and are the same every time."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from xtalk.wire import messages as m
from xtalk.wire.export import asyncapi, main, message_schema, typescript

ALL = [*m.CLIENT_MESSAGES.values(), *m.SERVER_MESSAGES.values()]


@pytest.mark.parametrize("kind", ["typescript", "asyncapi"])
def test_the_output_is_the_same_in_every_process(kind: str) -> None:
    def run(seed: str) -> bytes:
        command = [sys.executable, "-m", "xtalk.wire.export", kind]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        return subprocess.run(command, check=True, capture_output=True, env=environment).stdout

    assert run("1") == run("2") != b""


def test_typescript_has_every_message() -> None:
    text = typescript()
    for cls in ALL:
        assert f"export interface {cls.__name__}Message {{\n  action: " in text
        assert f'  action: "{cls.ACTION}";\n' in text
        assert f"\n  | {cls.__name__}Message" in text


def test_typescript_says_what_may_be_left_out() -> None:
    text = typescript()
    assert "  timestamp?: number | null;\n  chunk_index: number;\n" in text
    assert "    speaker_id: string | null;\n    reason: string;\n" in text
    assert '  action: "stop_tts";\n  data: "";\n' in text
    assert '  action: "error";\n  data: string;\n' in text
    assert "    is_final: true;\n" in text


def test_asyncapi_has_every_message_and_no_dangling_reference() -> None:
    document = json.loads(asyncapi())
    names = set(document["channels"]["ws"]["messages"])
    assert names == {cls.ACTION for cls in ALL} | {"clientAudio", "serverAudio"}
    used = {
        reference["$ref"].rsplit("/", 1)[1]
        for operation in document["operations"].values()
        for reference in operation["messages"]
    }
    assert used == names


@pytest.mark.parametrize(
    "message",
    [m.UpdateAsr(text="a", turn_id=1), m.Pong(server_recv_timestamp=1), m.SpeakerUpdated()],
    ids=repr,
)
def test_the_schema_names_what_is_sent(message: m.ServerMessage) -> None:
    body = json.loads(message.to_json())
    schema = message_schema(type(message))
    assert schema["required"] == list(schema["properties"]) == list(body)
    if message.LAYOUT == "data":
        assert schema["properties"]["data"]["required"] == list(body["data"])


def test_the_command_refuses_another_format(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["cobol"])
    assert exit_.value.code == 2
    assert "cobol" in capsys.readouterr().err
