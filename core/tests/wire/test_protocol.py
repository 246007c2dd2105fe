"""Both ends of the wire, called as functions: whatever comes in is a message or a ProtocolError."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xtalk.audio import AudioFrame
from xtalk.errors import AudioError, ProtocolError
from xtalk.wire import messages as m
from xtalk.wire.protocol import MAX_MESSAGE, ClientProtocol, ServerProtocol

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
FIELD_NAMES = sorted({name for cls in m.CLIENT_MESSAGES.values() for name in cls.model_fields})
LIKELY = st.fixed_dictionaries(
    {"action": st.sampled_from([*m.CLIENT_MESSAGES, ""]) | JSON},
    optional={"type": st.sampled_from(list(m.CLIENT_MESSAGES)) | JSON, "data": JSON}
    | dict.fromkeys(FIELD_NAMES, JSON),
)
SERVER_LIKELY = st.fixed_dictionaries(
    {"action": st.sampled_from(list(m.SERVER_MESSAGES)), "data": JSON}
)


def test_a_chunk_goes_out_as_its_meta_and_then_its_audio() -> None:
    assert ServerProtocol().send(m.TtsChunk(3, b"\1\2")) == [
        '{"action":"tts_chunk_meta","data":{"chunk_index":3}}',
        b"\1\2",
    ]


def test_the_meta_by_hand_equals_the_message() -> None:
    meta, _ = ServerProtocol().send(m.TtsChunk(12345, b""))
    assert meta == m.TtsChunkMeta(chunk_index=12345).to_json()
    meta, _ = ServerProtocol().send(m.TtsChunk(7, b"", text_end=0))
    assert meta == m.TtsChunkMeta(chunk_index=7, text_end=0).to_json()


def test_a_chunk_with_half_a_sample_is_refused() -> None:
    with pytest.raises(AudioError, match="whole samples"):
        ServerProtocol().send(m.TtsChunk(1, b"\1"))


def test_a_signal_of_somebodys_own_goes_out_as_it_is() -> None:
    (text,) = ServerProtocol().send(m.Signal({"action": "my_thing", "data": {"n": 1}}))
    assert text == '{"action":"my_thing","data":{"n":1}}'
    received = ClientProtocol().receive_text(str(text))
    assert isinstance(received, m.Signal)
    assert received.body == {"action": "my_thing", "data": {"n": 1}}


def test_microphone_audio_is_16_khz_in_any_size() -> None:
    assert ServerProtocol().receive_bytes(b"\0\1" * 512) == AudioFrame(b"\0\1" * 512, 16000)
    assert ServerProtocol().receive_bytes(b"") == AudioFrame(b"", 16000)
    assert ServerProtocol().receive_bytes(bytes(MAX_MESSAGE)).samples == MAX_MESSAGE // 2


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"\0", "even number of bytes; got 1"), (bytes(MAX_MESSAGE + 2), "at most 1048576 bytes")],
)
def test_audio_that_cannot_be_is_said_in_plain_words(data: bytes, words: str) -> None:
    with pytest.raises(ProtocolError, match=words):
        ServerProtocol().receive_bytes(data)


def test_an_error_costs_one_message_only() -> None:
    server = ServerProtocol()
    for bad in ("{", '{"action": "fly"}'):
        with pytest.raises(ProtocolError):
            server.receive_text(bad)
    with pytest.raises(ProtocolError):
        server.receive_bytes(b"\0")
    assert server.receive_text('{"action": "ping"}') == m.Ping()


def test_the_client_joins_a_meta_to_its_audio() -> None:
    client = ClientProtocol()
    meta, pcm = ServerProtocol().send(m.TtsChunk(9, b"\1\2"))
    client.receive_text(str(meta))
    assert client.receive_bytes(bytes(pcm)) == m.TtsChunk(9, b"\1\2")  # type: ignore[arg-type]
    assert client.receive_bytes(b"\1\2") == m.TtsChunk(0, b"\1\2"), "no meta: index 0"
    for frame in ServerProtocol().send(m.TtsChunk(10, b"\1\2", text_end=4)):
        received = client.receive_text(frame) if isinstance(frame, str) else frame
    assert client.receive_bytes(received) == m.TtsChunk(10, b"\1\2", text_end=4)  # type: ignore[arg-type]
    with pytest.raises(ProtocolError, match="even number"):
        client.receive_bytes(b"\1")


def test_the_client_sends_audio_of_the_wires_rate_only() -> None:
    assert ClientProtocol().send(AudioFrame(b"\1\2", 16000)) == [b"\1\2"]
    with pytest.raises(AudioError, match="16000 Hz"):
        ClientProtocol().send(AudioFrame(b"\1\2", 8000))


@pytest.mark.parametrize(
    "text",
    ['{"action":"update_asr"}', '{"action":"update_resp","data":{}}', '{"action":"error"}', "1"],
)
def test_the_client_refuses_what_a_server_never_says(text: str) -> None:
    with pytest.raises(ProtocolError):
        ClientProtocol().receive_text(text)


@given(st.text() | st.text(st.characters(categories=["Cs"])))
def test_any_text_is_a_message_or_a_protocol_error(text: str) -> None:
    for end in (ServerProtocol(), ClientProtocol()):
        _receive(end, text)


@given(LIKELY | SERVER_LIKELY)
def test_any_object_is_a_message_or_a_protocol_error(body: dict[str, Any]) -> None:
    for end in (ServerProtocol(), ClientProtocol()):
        _receive(end, json.dumps(body))


@given(st.binary())
def test_any_bytes_are_audio_or_a_protocol_error(data: bytes) -> None:
    for end in (ServerProtocol(), ClientProtocol()):
        try:
            end.receive_bytes(data)
        except ProtocolError:
            assert len(data) % 2


@given(st.text(), st.integers(0, 2**53))
def test_any_reply_survives_the_round_trip(text: str, turn: int) -> None:
    message = m.UpdateResp(text=text, turn_id=turn)
    assert ClientProtocol().receive_text(message.to_json()) == message


def _receive(end: ServerProtocol | ClientProtocol, text: str) -> None:
    try:
        message = end.receive_text(text)
    except ProtocolError as error:
        assert 0 < len(str(error)) < 300
    else:
        assert message.to_json()
