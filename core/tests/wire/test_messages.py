"""Every message has the name and the shape that the original's clients and server know."""

from __future__ import annotations

import json
from typing import Any

import pytest

from xtalk.errors import ProtocolError
from xtalk.wire import messages as m
from xtalk.wire.protocol import ClientProtocol, ServerProtocol

FROM_SERVER: list[tuple[m.ServerMessage, dict[str, Any]]] = [
    (
        m.QueueStatus(position=2, limit=4, active=4),
        {"action": "queue_status", "position": 2, "limit": 4, "active": 4},
    ),
    (m.QueueGranted(), {"action": "queue_granted"}),
    (
        m.SessionInfo(session_id="abc"),
        {
            "action": "session_info",
            "data": {"session_id": "abc", "sample_rate_in": 16000, "sample_rate_out": 48000},
        },
    ),
    (
        m.Pong(client_timestamp=1700000000000, server_recv_timestamp=5),
        {"action": "pong", "client_timestamp": 1700000000000, "server_recv_timestamp": 5},
    ),
    (
        m.UpdateAsr(text="go", turn_id=1),
        {
            "action": "update_asr",
            "data": {"text": "go", "confidence": 0.0, "is_final": False, "turn_id": 1},
        },
    ),
    (
        m.FinishAsr(text="go on", turn_id=1),
        {
            "action": "finish_asr",
            "data": {"text": "go on", "confidence": 0.0, "is_final": True, "turn_id": 1},
        },
    ),
    (m.InvalidAsrResult(), {"action": "invalid_asr_result", "data": ""}),
    (
        m.InvalidAsrResult(turn_id=3),
        {"action": "invalid_asr_result", "data": "", "turn_id": 3},
    ),
    (
        m.RefineTranscription(text="all"),
        {"action": "refine_transcription", "data": {"text": "all"}},
    ),
    (
        m.UpdateResp(text='a "b"\n\N{PILE OF POO}', turn_id=3),
        {"action": "update_resp", "data": {"text": 'a "b"\n\N{PILE OF POO}', "turn_id": 3}},
    ),
    (
        m.FinishResp(text="ab", turn_id=3),
        {"action": "finish_resp", "data": {"text": "ab", "turn_id": 3}},
    ),
    (m.StartTts(), {"action": "start_tts", "data": ""}),
    (m.TtsChunkMeta(chunk_index=7), {"action": "tts_chunk_meta", "data": {"chunk_index": 7}}),
    (m.TtsFinished(), {"action": "tts_finished", "data": {}}),
    (m.StopTts(), {"action": "stop_tts", "data": ""}),
    (m.PauseTts(), {"action": "pause_tts", "data": ""}),
    (m.ResumeTts(), {"action": "resume_tts", "data": ""}),
    (m.VoiceChanged(name="Ann"), {"action": "voice_changed", "data": {"name": "Ann"}}),
    (
        m.EmotionChanged(name="calm", vector=[0.5]),
        {"action": "emotion_changed", "data": {"name": "calm", "vector": [0.5]}},
    ),
    (m.SpeedChanged(speed=1.2), {"action": "speed_changed", "data": {"speed": 1.2}}),
    (
        m.ToolCalled(name="get_time", args={"zone": None, "n": [1]}),
        {"action": "tool_called", "data": {"name": "get_time", "args": {"zone": None, "n": [1]}}},
    ),
    (
        m.RetrievalUpdated(text="t"),
        {"action": "retrieval_updated", "data": {"text": "t", "is_final": True}},
    ),
    (
        m.ThoughtUpdated(text="t"),
        {"action": "thought_updated", "data": {"text": "t", "is_final": False}},
    ),
    (
        m.CaptionUpdated(text="t"),
        {
            "action": "caption_updated",
            "data": {"text": "t", "is_final": False, "reason": "refresh"},
        },
    ),
    (
        m.SpeakerUpdated(speaker_id=None, reason="too_short"),
        {"action": "speaker_updated", "data": {"speaker_id": None, "reason": "too_short"}},
    ),
    (
        m.LatencyMetrics(asr_latency_ms=12),
        {
            "action": "latency_metrics",
            "data": {
                "network_latency_ms": 0,
                "asr_latency_ms": 12,
                "llm_first_token_ms": 0,
                "llm_sentence_ms": 0,
                "tts_first_chunk_ms": 0,
                "e2e_latency_ms": 0,
            },
        },
    ),
    (
        m.Decision(rule="7a", outcome="rejected", evidence={"words": 0}, turn_id=2),
        {
            "action": "decision",
            "data": {
                "rule": "7a",
                "outcome": "rejected",
                "evidence": {"words": 0},
                "turn_id": 2,
            },
        },
    ),
    (m.Error(message='no "x"'), {"action": "error", "data": 'no "x"'}),
    (
        m.Error(message="No.", error_type="voice_not_changed"),
        {"action": "error", "data": "No.", "error_type": "voice_not_changed"},
    ),
]

FROM_CLIENT: list[tuple[dict[str, Any], m.ClientMessage]] = [
    ({"action": "ping", "timestamp": 1700000000000}, m.Ping(timestamp=1700000000000)),
    (
        {"action": "clock_sync", "client_send_ts": 1.5, "server_recv_ts": 2, "client_recv_ts": 3},
        m.ClockSync(client_send_ts=1.5, server_recv_ts=2, client_recv_ts=3),
    ),
    ({"action": "clock_sync"}, m.ClockSync()),
    (
        {"action": "conversation_start", "timestamp": 1, "mode": "pure_frontend"},
        m.ConversationStart(timestamp=1, mode="pure_frontend"),
    ),
    (
        {"action": "conversation_start", "client": {"pauses_itself": False, "skin": "dark"}},
        m.ConversationStart(client={"pauses_itself": False, "skin": "dark"}),  # type: ignore[typeddict-unknown-key]
    ),
    ({"action": "conversation_end", "reason": "bye"}, m.ConversationEnd(reason="bye")),
    (
        {"action": "vad_speech_start", "timestamp": 5, "turn_id": 9},
        m.VadSpeechStart(timestamp=5, confidence=0.8),
    ),
    (
        {"action": "vad_speech_end", "timestamp": 5.5, "reason": "muted"},
        m.VadSpeechEnd(timestamp=5.5, reason="muted"),
    ),
    ({"action": "tts_playback_finished"}, m.TtsPlaybackFinished()),
    (
        {"action": "tts_chunk_played", "chunk_index": 3.0, "timestamp": 1},
        m.TtsChunkPlayed(chunk_index=3, timestamp=1),
    ),
    ({"action": "change_voice", "voice_name": "Ann"}, m.ChangeVoice(voice_name="Ann")),
    (
        {"action": "change_emotion", "emotion_name": "calm", "emotion_vector": [0, 0.5]},
        m.ChangeEmotion(emotion_name="calm", emotion_vector=[0, 0.5]),
    ),
    ({"action": "change_tts_speed", "speed": 9}, m.ChangeTtsSpeed(speed=1.5)),
    ({"action": "change_tts_speed", "speed": 0.1}, m.ChangeTtsSpeed(speed=0.5)),
    (
        {"action": "change_tts_model", "model_type": "X", "config": {"port": 1}},
        m.ChangeTtsModel(model_type="X", config={"port": 1}),
    ),
    (
        {"action": "change_llm_model", "model_name": "X", "extra_body": None},
        m.ChangeLlmModel(model_name="X"),
    ),
    ({"type": "ping"}, m.Ping()),
    ({"action": "", "type": "ping", "timestamp": None}, m.Ping()),
]


@pytest.mark.parametrize(("message", "shape"), FROM_SERVER, ids=lambda x: type(x).__name__)
def test_server_message_has_the_shape_of_the_original(
    message: m.ServerMessage, shape: dict[str, Any]
) -> None:
    (text,) = ServerProtocol().send(message)
    assert isinstance(text, str)
    assert json.loads(text) == shape
    assert ClientProtocol().receive_text(text) == message


def test_every_server_message_is_covered() -> None:
    assert {type(message) for message, _ in FROM_SERVER} == set(m.SERVER_MESSAGES.values())


@pytest.mark.parametrize(("shape", "message"), FROM_CLIENT, ids=lambda x: type(x).__name__)
def test_client_message_is_understood(shape: dict[str, Any], message: m.ClientMessage) -> None:
    received = ServerProtocol().receive_text(json.dumps(shape))
    assert received == message
    assert type(received) is type(message)


@pytest.mark.parametrize("message", [message for _, message in FROM_CLIENT], ids=repr)
def test_client_message_survives_the_round_trip(message: m.ClientMessage) -> None:
    (text,) = ClientProtocol().send(message)
    assert isinstance(text, str)
    assert ServerProtocol().receive_text(text) == message


def test_every_client_message_is_covered() -> None:
    assert {type(message) for _, message in FROM_CLIENT} == set(m.CLIENT_MESSAGES.values())


def test_a_class_is_called_like_its_action() -> None:
    for action, cls in {**m.CLIENT_MESSAGES, **m.SERVER_MESSAGES}.items():
        assert cls.__name__ == "".join(word.capitalize() for word in action.split("_"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "must be JSON"),
        ("[1]", "must be a JSON object"),
        ("null", "must be a JSON object"),
        ("{}", "must name its action"),
        ('{"action": ["ping"]}', "must name its action"),
        ('{"action": "fly"}', "there is no action 'fly'"),
        ('{"action": "tts_chunk_played"}', "needs the field 'chunk_index'"),
        ('{"action": "change_tts_model", "model_type": ""}', "at least 1 character"),
        ('{"action": "change_llm_model"}', "needs the field 'model_name'"),
        ('{"action": "change_tts_speed", "speed": []}', "valid number; found a list"),
        ('{"action": "vad_speech_start", "timestamp": {}}', "valid number; found an object"),
        ('{"action": "conversation_start", "client": 3}', "'client' of 'conversation_start'"),
        ('{"action": "ping", "timestamp": NaN}', "must be JSON"),
        ('{"action": "ping", "timestamp": 1e400}', "'timestamp' of 'ping' is wrong"),
        ('{"action": "ping", "timestamp": 1' + "0" * 400 + "}", "less than or equal"),
        ("[" * 100_000, "must be JSON"),
        ('{"action": "ping", "x": "' + "a" * (1 << 20) + '"}', "at most 1048576 bytes"),
    ],
)
def test_what_cannot_be_understood_is_said_in_plain_words(text: str, words: str) -> None:
    with pytest.raises(ProtocolError, match=r"^[^\n]{1,200}$") as error:
        ServerProtocol().receive_text(text)
    assert words in str(error.value)


def test_an_error_never_repeats_what_the_client_wrote() -> None:
    with pytest.raises(ProtocolError) as error:
        ServerProtocol().receive_text('{"action": "change_voice", "voice_name": {"a": "sk-1"}}')
    assert "sk-1" not in str(error.value)


def test_a_key_is_not_in_the_repr() -> None:
    assert "sk-1" not in repr(m.ChangeLlmModel(model_name="x", api_key="sk-1"))


def test_a_message_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        m.UpdateResp(text="a", turn_id=1).text = "b"
