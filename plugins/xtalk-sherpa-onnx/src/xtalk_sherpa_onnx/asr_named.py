"""The original's recognisers under their names and with their parameters, on sherpa-onnx.

The original ran two of them on funasr and torch. What steered only those is taken, so that its
configurations load, and a warning names each that was changed and does nothing here.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from xtalk.downloads import locate
from xtalk.errors import ConfigError
from xtalk_sherpa_onnx.asr_local import BATCH_BYTES, LocalASR
from xtalk_sherpa_onnx.files import provider_of
from xtalk_sherpa_onnx.recognisers import FAMILIES, Recogniser, find_files, load

__all__ = ["ParaformerLocal", "SenseVoiceSmallLocal", "ZipformerLocal"]

log = logging.getLogger(__name__)

Unused = Field(description="Of the original; without effect here")


def _note_unused(who: str, given: Mapping[str, Any], usual: Mapping[str, Any]) -> None:
    """Say which arguments were changed in vain."""
    changed = [name for name, value in usual.items() if given[name] != value]
    if changed:
        log.warning("%s ignores %s: sherpa-onnx has no such setting", who, ", ".join(changed))


def _load(who: str, kind: str, model: str, options: Mapping[str, Any]) -> Recogniser:
    return load(kind, find_files(model, kind, {}, int8=True, who=who), options, who=who)


# --- Zipformer ----------------------------------------------------------------------------------

ZIPFORMER = "sherpa-onnx-streaming-zipformer-bilingual-zh-en-2023-02-20"

# Section and key of the original's config.yaml -> option of sherpa-onnx.
_OPTIONS = {
    ("model", "num_threads"): "num_threads",
    ("model", "provider"): "provider",
    ("decoding", "method"): "decoding_method",
    ("decoding", "max_active_paths"): "max_active_paths",
    ("decoding", "sample_rate"): "sample_rate",
    ("lm", "lm_path"): "lm",
    ("lm", "lm_scale"): "lm_scale",
    ("lodr", "fst"): "lodr_fst",
    ("lodr", "scale"): "lodr_scale",
    ("hotwords", "file"): "hotwords_file",
    ("hotwords", "score"): "hotwords_score",
    ("lang", "modeling_unit"): "modeling_unit",
    ("lang", "bpe_vocab"): "bpe_vocab",
    ("penalty", "blank_penalty"): "blank_penalty",
}
_FILE_OPTIONS = {"lm", "lodr_fst", "hotwords_file", "bpe_vocab"}
_USUAL = {"lm_scale": 0.1, "lodr_scale": -0.1, "hotwords_score": 1.5}


class ZipformerLocal(LocalASR):
    """A streaming transducer. Its folder may hold the original's `config.yaml`.

    Without one the files are found by their names, and sherpa-onnx's own settings hold.
    """

    def __init__(
        self,
        model_dir: Annotated[
            str | None,
            Field(description=f"Folder, or name in `xtalk models list`; None is {ZIPFORMER}"),
        ] = None,
        tail_padding_sec: Annotated[
            float | None,
            Field(
                ge=0,
                description="Silence after the last sound; None is config.yaml's, or enough",
            ),
        ] = None,
    ) -> None:
        who, kind = "ZipformerLocal", "online_transducer"
        folder = locate(model_dir or ZIPFORMER)
        config = _read_config(folder / "config.yaml")
        given = {
            name: str(config["model"][name])
            for name in FAMILIES[kind].files
            if config["model"].get(name)
        }
        files = find_files(str(folder), kind, given, int8=True, who=who)
        if tail_padding_sec is None:
            tail_padding_sec = config["penalty"].get("tail_padding_sec")
        chunk_s = config["decoding"].get("chunk_secs")
        super().__init__(
            load(kind, files, _options(config, folder), who=who),
            tail_s=tail_padding_sec,
            batch_bytes=2 * round(16_000 * float(chunk_s)) if chunk_s else BATCH_BYTES,
        )


def _read_config(path: Path) -> dict[str, dict[str, Any]]:
    """The sections below `asr`, each there; ConfigError when the file is not what it should be."""
    sections: dict[str, dict[str, Any]] = {section: {} for section, _ in _OPTIONS}
    if not path.exists():
        return sections
    import yaml

    try:
        asr = yaml.safe_load(path.read_text("utf-8"))["asr"]
        return sections | {name: dict(values or {}) for name, values in asr.items()}
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, ValueError, AttributeError):
        raise ConfigError(
            f"ZipformerLocal: {path} is not YAML with a section `asr` that holds sections"
        ) from None


def _options(config: Mapping[str, Mapping[str, Any]], folder: Path) -> dict[str, Any]:
    options: dict[str, Any] = {"num_threads": 1}
    for (section, key), option in _OPTIONS.items():
        value = config[section].get(key)
        if value in (None, ""):
            continue
        options[option] = str(folder / value) if option in _FILE_OPTIONS else value
    if options.get("lm") or options.get("hotwords_file"):
        options = _USUAL | options
    return options


# --- SenseVoice ---------------------------------------------------------------------------------

SENSE_VOICE = "sherpa-onnx-sense-voice-zh-en-ja-ko-yue-int8-2024-07-17"
_SENSE_VOICE_NAMES = ("FunAudioLLM/SenseVoiceSmall", "iic/SenseVoiceSmall")
_SENSE_VOICE_UNUSED: Mapping[str, Any] = {
    "vad_model": "fsmn-vad",
    "merge_vad": True,
    "merge_length_s": 15,
    "batch_size_s": 60,
    "ban_emo_unk": False,
}


class SenseVoiceSmallLocal(LocalASR):
    """SenseVoice small in ONNX. The texts come without the tags for language, mood and events.

    The original cut long recordings with funasr's own VAD; here xtalk's decides what a segment is.
    """

    def __init__(
        self,
        model: Annotated[
            str,
            Field(
                description="Folder, name in `xtalk models list`, or the original's name, which "
                f"is {SENSE_VOICE} here"
            ),
        ] = "FunAudioLLM/SenseVoiceSmall",
        device: Annotated[str, Field(description="cpu, cuda or mps, as torch calls them")] = "cpu",
        hub: Annotated[str, Unused] = "hf",
        disable_update: Annotated[bool, Unused] = True,
        vad_model: Annotated[str | None, Unused] = "fsmn-vad",
        vad_kwargs: Annotated[Mapping[str, Any] | None, Unused] = None,
        merge_vad: Annotated[bool, Unused] = True,
        merge_length_s: Annotated[float, Unused] = 15,
        language: Annotated[
            str,
            Field(description="auto, zh, en, ja, ko or yue", pattern="^(auto|zh|en|ja|ko|yue)$"),
        ] = "auto",
        use_itn: Annotated[
            bool, Field(description="Write numbers in digits, and punctuate")
        ] = True,
        batch_size_s: Annotated[float, Unused] = 60,
        ban_emo_unk: Annotated[bool, Unused] = False,
        mock_window_size: Annotated[int, Unused] = 5,
        num_threads: Annotated[int, Field(ge=1, description="of one call")] = 1,
    ) -> None:
        _note_unused("SenseVoiceSmallLocal", locals(), _SENSE_VOICE_UNUSED)
        options = {
            "language": "" if language == "auto" else language,
            "use_itn": use_itn,
            "provider": provider_of(device),
            "num_threads": num_threads,
        }
        name = SENSE_VOICE if model in _SENSE_VOICE_NAMES else model
        super().__init__(_load("SenseVoiceSmallLocal", "sense_voice", name, options))


# --- Paraformer ---------------------------------------------------------------------------------

# funasr's names -> the models of the catalogue.
_PARAFORMERS = {
    "paraformer-zh-streaming": "sherpa-onnx-streaming-paraformer-bilingual-zh-en",
    "paraformer-zh": "sherpa-onnx-paraformer-zh-2023-09-14",
    "paraformer-en": "sherpa-onnx-paraformer-en-2024-03-09",
}
_PARAFORMER_UNUSED: Mapping[str, Any] = {
    "vad_model": "fsmn-vad",
    "punc_model": "ct-punc",
    "spk_model": None,
    "output_dir": None,
    "batch_size": 1,
    "batch_size_s": 300,
    "hotword": None,
    "chunk_size": [0, 10, 5],
    "encoder_chunk_look_back": 4,
    "decoder_chunk_look_back": 1,
}


class ParaformerLocal(LocalASR):
    """Paraformer in ONNX: a folder with an encoder and a decoder streams, one with a model not.

    The end of a segment is decoded too, which the original left out when no sound followed.
    Punctuation and speakers are slots of their own.
    """

    def __init__(
        self,
        model: Annotated[
            str,
            Field(
                description="Folder, name in `xtalk models list`, or funasr's paraformer-zh, "
                "paraformer-en or paraformer-zh-streaming"
            ),
        ] = "paraformer-zh-streaming",
        vad_model: Annotated[str | None, Unused] = "fsmn-vad",
        punc_model: Annotated[str | None, Unused] = "ct-punc",
        spk_model: Annotated[str | None, Unused] = None,
        device: Annotated[str, Field(description="cpu, cuda or mps, as torch calls them")] = "cpu",
        ncpu: Annotated[int, Field(ge=1, description="Threads of one call")] = 4,
        output_dir: Annotated[str | None, Unused] = None,
        batch_size: Annotated[int, Unused] = 1,
        hub: Annotated[str, Unused] = "hf",
        batch_size_s: Annotated[float, Unused] = 300,
        hotword: Annotated[str | None, Unused] = None,
        disable_update: Annotated[bool, Unused] = True,
        chunk_size: Annotated[
            Sequence[int] | None, Field(description="Of the original; the model's own holds")
        ] = None,
        encoder_chunk_look_back: Annotated[int, Unused] = 4,
        decoder_chunk_look_back: Annotated[int, Unused] = 1,
    ) -> None:
        given = {**locals(), "chunk_size": list(chunk_size or _PARAFORMER_UNUSED["chunk_size"])}
        _note_unused("ParaformerLocal", given, _PARAFORMER_UNUSED)
        folder = locate(_PARAFORMERS.get(model, model))
        streams = any(folder.glob("*encoder*.onnx"))
        options = {"num_threads": ncpu, "provider": provider_of(device)}
        kind = "online_paraformer" if streams else "paraformer"
        super().__init__(_load("ParaformerLocal", kind, str(folder), options))
