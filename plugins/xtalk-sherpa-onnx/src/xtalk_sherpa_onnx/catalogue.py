"""The models of sherpa-onnx that `xtalk models get NAME` can fetch, by slot.

All are archives of the releases of k2-fsa/sherpa-onnx. None of these addresses was tried where
xtalk is developed, which has no network; a name that its project has moved says so when fetched.
"""

from __future__ import annotations

from collections.abc import Mapping

from xtalk.hookspecs import Download

__all__ = ["KINDS", "RECOGNISERS"]

RELEASES = "https://github.com/k2-fsa/sherpa-onnx/releases/download"


def _archive(
    release: str, name: str, summary: str, *types: str, license: str | None = None
) -> Download:
    url = f"{RELEASES}/{release}/{name}.tar.bz2"
    return Download(name, url, summary, types=types, license=license)


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
