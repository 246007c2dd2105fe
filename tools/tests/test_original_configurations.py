"""Configurations as they were written for the original load unchanged, or are told what to do.

Each row names every parameter that the original's class has, with its default or a likely value.
Nothing is built, so no SDK is needed; `tox -e plugins` has every plugin without its dependencies.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from repository import ROOT
from xtalk.errors import MissingModel
from xtalk.plugins import Plugins
from xtalk.registry import Registry
from xtalk.schema import check

CONFIGURATIONS: list[tuple[str, str, dict[str, Any]]] = [
    ("asr", "DummyASR", {"default_text": "This is a dummy ASR test text"}),
    (
        "asr",
        "SherpaOnnxASR",
        {
            "host": "localhost",
            "port": 6006,
            "mode": "streaming",
            "samples_per_message": 8000,
            "seconds_per_message": 0.0,
            "offline_payload_len": 10240,
            "mock_window_size": 5,
        },
    ),
    ("asr", "SherpaOnnxASR", {"server_addr": "localhost", "server_port": 6006, "mode": "offline"}),
    ("asr", "SherpaOnnxASR", {"mode": "non_streaming"}),
    ("asr", "SherpaOnnxASR", {"mode": "non-streaming"}),
    ("asr", "SherpaOnnxASR", {"mode": "online"}),
    ("asr", "Qwen3ASRFlashRealtime", {"api_key": "sk-1"}),
    (
        "asr",
        "Qwen3ASRFlashRealtime",
        {
            "api_key": "sk-1",
            "config": {
                "model": "qwen3-asr-flash-realtime",
                "url": "wss://example.org/api-ws/v1/realtime",
                "language": "zh",
                "sample_rate": 16000,
                "input_audio_format": "pcm",
                "enable_turn_detection": True,
            },
        },
    ),
    ("asr", "ElevenLabsASR", {"api_key": "k", "mode": "offline", "model_id": "scribe_v1"}),
    (
        "asr",
        "ElevenLabsASR",
        {
            "api_key": "k",
            "mode": "streaming",
            "language_code": "en",
            "base_url": "https://example.org",
            "realtime_url": "wss://example.org",
            "commit_strategy": "manual",
            "include_timestamps": False,
            "include_language_detection": False,
            "enable_logging": True,
            "mock_window_size": 5,
            "request_timeout": 30,
            "always_commit_stream": True,
        },
    ),
    ("asr", "ZipformerLocal", {"model_dir": "models/zipformer", "tail_padding_sec": 0.66}),
    ("asr", "ZipformerLocal", {"model_dir": None}),
    (
        "asr",
        "SenseVoiceSmallLocal",
        {
            "model": "FunAudioLLM/SenseVoiceSmall",
            "device": "cpu",
            "hub": "hf",
            "disable_update": True,
            "vad_model": "fsmn-vad",
            "vad_kwargs": {"max_single_segment_time": 30000},
            "merge_vad": True,
            "merge_length_s": 15,
            "language": "auto",
            "use_itn": True,
            "batch_size_s": 60,
            "ban_emo_unk": False,
            "mock_window_size": 5,
        },
    ),
    (
        "asr",
        "ParaformerLocal",
        {
            "model": "paraformer-zh-streaming",
            "vad_model": "fsmn-vad",
            "punc_model": "ct-punc",
            "spk_model": None,
            "device": "cpu",
            "ncpu": 4,
            "output_dir": None,
            "batch_size": 1,
            "hub": "hf",
            "batch_size_s": 300,
            "hotword": None,
            "disable_update": True,
            "chunk_size": [0, 10, 5],
            "encoder_chunk_look_back": 4,
            "decoder_chunk_look_back": 1,
        },
    ),
    (
        "asr",
        "EasyTurnASR",
        {
            "host": "localhost",
            "port": 50051,
            "language": "zh",
            "task": "<TRANSCRIBE> <BACKCHANNEL> <COMPLETE>",
            "timeout": 30,
        },
    ),
    ("tts", "DummyTTS", {"audio_file": None, "sample_rate": 16000}),
    (
        "tts",
        "CosyVoice",
        {
            "api_key": "sk-1",
            "model": "cosyvoice-v3-flash",
            "voice": "longanyang",
            "stream_timeout": 30,
            "extra_request_params": {"volume": 60},
        },
    ),
    *(
        (
            "tts",
            "CosyVoiceLocal",
            {
                "host": "localhost",
                "port": 50000,
                "mode": mode,
                "spk_id": "001",
                "sample_rate": 48000,
                "stream": False,
                "speed": 1.0,
                "format": "pcm",
                "text_frontend": True,
            },
        )
        for mode in (
            "zero_shot_by_spk_id",
            "sft",
            "zero_shot",
            "cross_lingual",
            "instruct2",
            "instruct2_by_spk_id",
            "register_spk",
        )
    ),
    ("tts", "IndexTTS", {"port": 11996}),
    (
        "tts",
        "IndexTTS",
        {
            "voices": [{"name": "Ann", "path": "/voices/ann.wav"}],
            "host": "localhost",
            "port": 11996,
            "sample_rate": 48000,
            "timeout": 30,
        },
    ),
    ("tts", "IndexTTS2", {"port": 6006}),
    ("tts", "IndexTTS2", {"voices": [{"name": "Ann", "path": "/voices/ann.wav"}]}),
    (
        "tts",
        "GPTSoVITS",
        {
            "ref_audio_paths": ["/voices/ann.wav"],
            "text_lang": "zh",
            "prompt_lang": "zh",
            "prompt_text": "",
            "host": "127.0.0.1",
            "port": 9880,
            "sample_rate": 48000,
            "speed_factor": 1.0,
            "media_type": "wav",
            "timeout": 30,
            "streaming_mode": False,
            "top_k": 5,
            "top_p": 1,
            "temperature": 1,
            "text_split_method": "cut5",
            "batch_size": 1,
            "batch_threshold": 0.75,
            "split_bucket": True,
            "fragment_interval": 0.3,
            "seed": -1,
            "parallel_infer": True,
            "repetition_penalty": 1.35,
            "sample_steps": 32,
            "super_sampling": False,
        },
    ),
    (
        "tts",
        "EdgeTTS",
        {
            "voice": "zh-CN-XiaoyiNeural",
            "sample_rate": 48000,
            "trim_tail": False,
            "threshold_db": -40,
            "min_silence_ms": 100,
            "frame_ms": 20,
            "pad_ms": 100,
        },
    ),
    (
        "tts",
        "ElevenLabsTTS",
        {
            "api_key": "k",
            "voice_id": "JBFqnCBsd6RMkjVDRZzb",
            "model_id": "eleven_multilingual_v2",
        },
    ),
    ("vad", "SileroVAD", {"threshold": 0.5}),
    (
        "speech_enhancer",
        "FastEnhancerS",
        {"model_path": "fastenhancer_s.onnx", "n_fft": 512, "hop_size": 256},
    ),
    (
        "speaker_encoder",
        "PyannoteSpeakerEncoder",
        {
            "model_name": "pyannote/wespeaker-voxceleb-resnet34-LM",
            "device": "auto",
            "min_duration_sec": 3,
        },
    ),
    (
        "captioner",
        "Qwen3OmniCaptioner",
        {"base_url": "http://localhost:8901/v1", "api_key": None, "timeout": 30},
    ),
    (
        "punt_restorer",
        "CTPunctRestorer",
        {"model_name": "ct-punc", "device": "cpu", "hub": "ms", "disable_update": True},
    ),
    ("caption_rewriter", "DefaultCaptionRewriter", {"model": {"model": "m", "base_url": "u"}}),
    ("thought_rewriter", "DefaultThoughtRewriter", {"model": {"model": "m", "base_url": "u"}}),
    (
        "caption_rewriter",
        "SimpleRewriter",
        {"model": {"model": "m", "base_url": "u"}, "system_prompt": "Say it simply."},
    ),
    ("speech_speed_controller", "RubberbandSpeedController", {"sample_rate": 48000}),
    ("embeddings", "OpenAIEmbeddings", {"model": "text-embedding-3-small", "api_key": "k"}),
    ("llm_agent", "DummyAgent", {"default_response": "This is a dummy agent response"}),
    (
        "llm_agent",
        "DefaultAgent",
        {"model": {"model": "m", "api_key": "k", "base_url": "u"}, "system_prompt": "Be brief."},
    ),
]


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry(Plugins.load({}))


@pytest.mark.parametrize(
    ("slot", "name", "params"),
    CONFIGURATIONS,
    ids=[f"{name}-{number}" for number, (_, name, _) in enumerate(CONFIGURATIONS)],
)
def test_a_configuration_of_the_original_is_understood(
    registry: Registry, slot: str, name: str, params: dict[str, Any]
) -> None:
    check(registry.find(slot, name).cls, params, f"{slot}.params")


@pytest.mark.parametrize("name", ["FunASR", "KokoroTTS"])
def test_a_type_that_nobody_has_is_told_in_a_sentence(registry: Registry, name: str) -> None:
    with pytest.raises(MissingModel, match=f"no asr named '{name}'; installed: "):
        registry.find("asr", name)


def test_the_quickstart_of_the_original_is_understood(registry: Registry) -> None:
    quickstart = json.loads((ROOT / "examples" / "quickstart.json").read_text("utf-8"))
    assert set(quickstart) == {"asr", "llm_agent", "tts"}
    for slot, choice in quickstart.items():
        check(registry.find(slot, choice["type"]).cls, choice["params"], f"{slot}.params")
