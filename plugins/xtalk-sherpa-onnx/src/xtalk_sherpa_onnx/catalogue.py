"""The models of sherpa-onnx that `xtalk models get NAME` can fetch, by slot.

All are files of the releases of k2-fsa/sherpa-onnx. None of these addresses was tried where
xtalk is developed, which has no network; a name that its project has moved says so when fetched.
"""

from __future__ import annotations

from collections.abc import Mapping

from xtalk.hookspecs import Download

__all__ = ["DENOISERS", "KINDS", "PUNCTUATION", "RECOGNISERS", "SPEAKERS", "VADS", "VOICES"]

RELEASES = "https://github.com/k2-fsa/sherpa-onnx/releases/download"


def _archive(
    release: str, name: str, summary: str, *types: str, license: str | None = None
) -> Download:
    url = f"{RELEASES}/{release}/{name}.tar.bz2"
    return Download(name, url, summary, types=types, license=license)


def _file(
    release: str, file: str, summary: str, *types: str, license: str | None = None
) -> Download:
    name, _, _ = file.rpartition(".")
    return Download(name, f"{RELEASES}/{release}/{file}", summary, types=types, license=license)


# --- recognition --------------------------------------------------------------------------------

FUNASR = "FunASR Model Open Source License 1.1"

# (name without "sherpa-onnx-", kind in `recognisers.FAMILIES`, summary, licence)
_RECOGNISERS = (
    ("streaming-zipformer-en-2023-06-26", "online_transducer", "English", "Apache-2.0"),
    ("streaming-zipformer-en-20M-2023-02-17", "online_transducer", "English, small", "Apache-2.0"),
    (
        "streaming-zipformer-bilingual-zh-en-2023-02-20",
        "online_transducer",
        "Chinese and English",
        "Apache-2.0",
    ),
    (
        "streaming-zipformer-small-bilingual-zh-en-2023-02-20",
        "online_transducer",
        "Chinese and English, small",
        "Apache-2.0",
    ),
    ("streaming-zipformer-korean-2024-06-16", "online_transducer", "Korean", "Apache-2.0"),
    (
        "streaming-zipformer-ctc-multi-zh-hans-2023-12-13",
        "online_zipformer2_ctc",
        "Chinese",
        "Apache-2.0",
    ),
    (
        "nemo-streaming-fast-conformer-ctc-en-80ms",
        "online_nemo_ctc",
        "English, a decision each 80 ms",
        "CC-BY-4.0",
    ),
    (
        "streaming-paraformer-bilingual-zh-en",
        "online_paraformer",
        "Chinese and English",
        FUNASR,
    ),
    (
        "streaming-paraformer-trilingual-zh-cantonese-en",
        "online_paraformer",
        "Chinese, Cantonese and English",
        FUNASR,
    ),
    ("zipformer-en-2023-06-26", "transducer", "English", "Apache-2.0"),
    ("paraformer-zh-2023-09-14", "paraformer", "Chinese and English", FUNASR),
    ("paraformer-zh-small-2024-03-09", "paraformer", "Chinese and English, small", FUNASR),
    ("paraformer-en-2024-03-09", "paraformer", "English", FUNASR),
    (
        "sense-voice-zh-en-ja-ko-yue-int8-2024-07-17",
        "sense_voice",
        "Chinese, English, Japanese, Korean, Cantonese; 8 bits",
        FUNASR,
    ),
    (
        "sense-voice-zh-en-ja-ko-yue-2024-07-17",
        "sense_voice",
        "Chinese, English, Japanese, Korean, Cantonese; full precision and 8 bits",
        FUNASR,
    ),
    ("whisper-tiny.en", "whisper", "English, the smallest Whisper", "MIT"),
    ("whisper-base.en", "whisper", "English, a small Whisper", "MIT"),
    ("whisper-small", "whisper", "99 languages", "MIT"),
    ("whisper-turbo", "whisper", "99 languages, the best Whisper", "MIT"),
    ("moonshine-tiny-en-int8", "moonshine", "English, tiny; 8 bits", "MIT"),
    ("moonshine-base-en-int8", "moonshine", "English; 8 bits", "MIT"),
    (
        "nemo-parakeet-tdt-0.6b-v2-int8",
        "nemo_transducer",
        "English, punctuated; 8 bits",
        "CC-BY-4.0",
    ),
    (
        "nemo-parakeet-tdt-0.6b-v3-int8",
        "nemo_transducer",
        "25 European languages, punctuated; 8 bits",
        "CC-BY-4.0",
    ),
    (
        "dolphin-base-ctc-multi-lang-int8-2025-04-02",
        "dolphin_ctc",
        "40 Eastern languages; 8 bits",
        "Apache-2.0",
    ),
)

_NAMED_TYPES = {
    "online_transducer": "ZipformerLocal",
    "online_paraformer": "ParaformerLocal",
    "paraformer": "ParaformerLocal",
    "sense_voice": "SenseVoiceSmallLocal",
}


def _recogniser(name: str, kind: str, summary: str, license: str) -> Download:
    how = "as it comes" if kind.startswith("online_") else "whole recordings"
    types = ("SherpaOnnxLocal", *filter(None, [_NAMED_TYPES.get(kind)]))
    return _archive(
        "asr-models",
        f"sherpa-onnx-{name}",
        f"recognition, {how}: {summary} ({kind})",
        *types,
        license=license,
    )


RECOGNISERS: tuple[Download, ...] = tuple(_recogniser(*row) for row in _RECOGNISERS)

# The name of a recogniser's model, and its kind.
KINDS: Mapping[str, str] = {f"sherpa-onnx-{name}": kind for name, kind, *_ in _RECOGNISERS}


# --- voices -------------------------------------------------------------------------------------

PIPER = "a Piper voice: MIT; its data has its own, see MODEL_CARD"

# (name, summary, licence). Those that "read phonemes" want the extra `espeak`, or a lexicon, or
# sherpa-onnx 1.
_VOICES = (
    ("vits-melo-tts-zh_en", "Chinese and English, one voice", "MIT"),
    ("vits-melo-tts-en", "English, one voice", "MIT"),
    ("kokoro-multi-lang-v1_0", "Chinese and English, 53 voices", "Apache-2.0"),
    ("kokoro-multi-lang-v1_1", "Chinese and English, 103 voices", "Apache-2.0"),
    ("kokoro-int8-multi-lang-v1_1", "Chinese and English, 103 voices; 8 bits", "Apache-2.0"),
    ("kokoro-en-v0_19", "English, 11 voices; reads phonemes", "Apache-2.0"),
    ("kitten-nano-en-v0_2-fp16", "English, 8 voices, small; reads phonemes", "Apache-2.0"),
    ("kitten-mini-en-v0_1-fp16", "English, 8 voices; reads phonemes", "Apache-2.0"),
    (
        "matcha-icefall-zh-baker",
        "Chinese, one voice; wants vocos-22khz-univ",
        "non-commercial data",
    ),
    (
        "matcha-icefall-en_US-ljspeech",
        "English, one voice; reads phonemes; wants vocos-22khz-univ",
        "public-domain data",
    ),
    ("vits-icefall-zh-aishell3", "Chinese, 174 voices", "Apache-2.0"),
    ("vits-ljs", "English, one voice", "MIT"),
    ("vits-vctk", "English, 109 voices", "MIT; CC-BY-4.0 data"),
    ("vits-piper-en_US-amy-low", "English, fast; reads phonemes", PIPER),
    ("vits-piper-en_US-lessac-medium", "English; reads phonemes", PIPER),
    ("vits-piper-en_US-libritts_r-medium", "English, 904 voices; reads phonemes", PIPER),
    ("vits-piper-en_GB-alan-medium", "British English; reads phonemes", PIPER),
    ("vits-piper-de_DE-thorsten-medium", "German; reads phonemes", PIPER),
    ("vits-piper-fr_FR-siwis-medium", "French; reads phonemes", PIPER),
    ("vits-piper-es_ES-davefx-medium", "Spanish; reads phonemes", PIPER),
    ("vits-piper-zh_CN-huayan-medium", "Chinese; reads phonemes", PIPER),
)


def _voice(name: str, summary: str, license: str) -> Download:
    return _archive("tts-models", name, f"voice: {summary}", "SherpaOnnxTTS", license=license)


VOICES: tuple[Download, ...] = (
    *(_voice(*row) for row in _VOICES),
    *(
        _file(
            "vocoder-models",
            f"vocos-{khz}khz-univ.onnx",
            f"vocoder of Matcha voices at {khz} kHz",
            "SherpaOnnxTTS",
            license="MIT",
        )
        for khz in (16, 22)
    ),
    _file(
        "tts-models",
        "lexicon-en-us.txt",
        "American English for voices that read phonemes, with sherpa-onnx 2",
        "SherpaOnnxTTS",
    ),
)

# --- the other slots ----------------------------------------------------------------------------

VADS: tuple[Download, ...] = (
    _file("asr-models", "silero_vad.onnx", "voice activity", "SherpaOnnxVAD", license="MIT"),
    _file(
        "asr-models",
        "ten-vad.onnx",
        "voice activity in frames of 16 ms",
        "SherpaOnnxVAD",
        license="Apache-2.0 with conditions of TEN",
    ),
)

PUNCTUATION: tuple[Download, ...] = (
    _archive(
        "punctuation-models",
        "sherpa-onnx-punct-ct-transformer-zh-en-vocab272727-2024-04-12",
        "punctuation, Chinese and English",
        "CTPunctRestorer",
        license=FUNASR,
    ),
    _archive(
        "punctuation-models",
        "sherpa-onnx-online-punct-en-2024-08-06",
        "punctuation and capitals, English",
        "CTPunctRestorer",
    ),
)

# (file, summary, licence); the release is spelt so.
_SPEAKERS = (
    ("wespeaker_en_voxceleb_resnet34_LM.onnx", "English, as the original had it", "CC-BY-4.0"),
    ("wespeaker_en_voxceleb_resnet34.onnx", "English", "CC-BY-4.0"),
    ("wespeaker_en_voxceleb_CAM++.onnx", "English, fast", "CC-BY-4.0"),
    ("wespeaker_zh_cnceleb_resnet34_LM.onnx", "Chinese", "CC-BY-4.0"),
    ("3dspeaker_speech_campplus_sv_zh-cn_16k-common.onnx", "Chinese, fast", "Apache-2.0"),
    ("nemo_en_titanet_small.onnx", "English", "CC-BY-4.0"),
)

SPEAKERS: tuple[Download, ...] = tuple(
    _file(
        "speaker-recongition-models",
        file,
        f"voices as vectors: {summary}",
        "WespeakerResNet34",
        "PyannoteSpeakerEncoder",
        license=license,
    )
    for file, summary, license in _SPEAKERS
)

DENOISERS: tuple[Download, ...] = (
    _file(
        "speech-enhancement-models",
        "gtcrn_simple.onnx",
        "noise suppression, 0.5 MB",
        "SherpaOnnxDenoiser",
        license="MIT",
    ),
)
