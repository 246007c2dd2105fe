"""What an ONNX file says of itself, and whether that is enough for sherpa-onnx.

sherpa-onnx reads its settings from the metadata of a model. Where a key is missing it calls
`exit`, and with it the whole process ends without a Python exception; an unknown `model_type` may
end it at the first use. So every file passes `check_model` before it is handed over.

The keys of each kind were found by running sherpa-onnx 2.0 on files without them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from xtalk.errors import ConfigError

__all__ = ["KEYS", "TYPED_KEYS", "check_model", "input_names", "read_metadata"]

_LFR = "vocab_size lfr_window_size lfr_window_shift neg_mean inv_stddev"
_ZIPFORMER2 = (
    "encoder_dims query_head_dims value_head_dims num_heads num_encoder_layers cnn_module_kernels "
    "left_context_len T decode_chunk_len"
)
_SPEAKER = "output_dim sample_rate normalize_samples language"

# A kind of file -> the keys that it needs.
KEYS: Mapping[str, str] = {
    # speech recognition, whole recordings; "bare" are zipformer CTC, omnilingual, TeleSpeech,
    # moonshine, and the encoder and joiner of a transducer
    "offline bare": "",
    "offline transducer decoder": "vocab_size context_size",
    "offline nemo transducer encoder": "vocab_size subsampling_factor pred_rnn_layers pred_hidden",
    "offline paraformer": _LFR,
    "offline sense_voice": (
        f"{_LFR} normalize_samples with_itn without_itn "
        "lang_auto lang_zh lang_en lang_ja lang_ko lang_yue"
    ),
    "offline wenet_ctc": "vocab_size subsampling_factor",
    "offline nemo_ctc": "vocab_size subsampling_factor",
    "offline dolphin_ctc": "vocab_size mean invstd",
    "offline tdnn_ctc": "vocab_size",
    "offline whisper encoder": (
        "n_mels n_text_layer n_text_ctx n_text_state n_vocab sot eot blank_id translate transcribe "
        "is_multilingual no_timestamps no_speech sot_sequence"
    ),
    "offline fire_red_asr encoder": (
        "num_decoder_layers num_head head_dim sos eos max_len cmvn_mean cmvn_inv_stddev"
    ),
    # speech recognition, as it comes
    "online transducer decoder": "vocab_size context_size",
    "online transducer joiner": "",
    "online zipformer2_ctc": _ZIPFORMER2,
    "online wenet_ctc": (
        "head num_blocks output_size cnn_module_kernel right_context subsampling_factor vocab_size"
    ),
    "online nemo_ctc": (
        "window_size chunk_shift subsampling_factor vocab_size "
        "cache_last_channel_dim1 cache_last_channel_dim2 cache_last_channel_dim3 "
        "cache_last_time_dim1 cache_last_time_dim2 cache_last_time_dim3"
    ),
    "online t_one_ctc": "frame_length_ms state_dim sample_rate",
    "online paraformer encoder": (
        f"{_LFR} encoder_output_size decoder_num_blocks decoder_kernel_size"
    ),
    # speech synthesis
    "vits": "sample_rate n_speakers language comment",
    "matcha": "sample_rate n_speakers use_eos_bos pad_id",
    "kokoro": "sample_rate n_speakers style_dim",
    # punctuation
    "ct_transformer punctuation": "tokens punctuations vocab_size unk_symbol",
    "online punctuation": "COMMA PERIOD QUESTION UPPER CAP MIX_CASE",
}

# A kind of file -> the key that names its type, and the types with the keys that each needs.
TYPED_KEYS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "offline medasr_ctc": ("model_type", {"medasr_ctc": "vocab_size"}),
    "offline fire_red_asr_ctc": (
        "model_type",
        {"fire-red-asr-2-ctc": "cmvn_mean cmvn_inv_stddev"},
    ),
    "offline canary encoder": (
        "model_type",
        {"EncDecMultiTaskModel": "vocab_size subsampling_factor feat_dim"},
    ),
    "online transducer encoder": (
        "model_type",
        {
            "zipformer": (
                "encoder_dims attention_dims num_encoder_layers cnn_module_kernels "
                "left_context_len T decode_chunk_len"
            ),
            "zipformer2": _ZIPFORMER2,
            "conformer": (
                "num_encoder_layers T decode_chunk_len left_context encoder_dim pad_length "
                "cnn_module_kernel"
            ),
            "lstm": "num_encoder_layers T decode_chunk_len rnn_hidden_size d_model",
        },
    ),
    "kitten": ("model_type", {"kitten-tts": "sample_rate n_speakers style_dim"}),
    "vocoder": ("model_type", {"hifigan": "", "vocos": ""}),
    "TEN voice activity": ("model_type", {"ten-vad": "mean inv_stddev window"}),
    "speaker embedding": (
        "framework",
        {
            "wespeaker": _SPEAKER,
            "3d-speaker": _SPEAKER,
            "nemo": "output_dim feat_dim sample_rate window_size_ms window_stride_ms language",
        },
    ),
    "gtcrn denoiser": (
        "model_type",
        {
            "gtcrn": (
                "sample_rate n_fft hop_length window_length window_type version "
                "conv_cache_shape tra_cache_shape inter_cache_shape"
            )
        },
    ),
}


def check_model(path: Path | str, kind: str) -> dict[str, str]:
    """The metadata of a model file, once it has what sherpa-onnx needs of this kind.

    `kind` is a key of `KEYS` or `TYPED_KEYS`. ConfigError when there is no such file, when it is
    not ONNX, or when a key is missing or empty. A file in onnxruntime's own format (`.ort`) passes
    unread, with no metadata.
    """
    metadata = read_metadata(path)
    if metadata is None:
        return {}
    missing = [key for key in _needed(path, kind, metadata) if not metadata.get(key)]
    if missing:
        lacks = ", ".join(missing)
        raise ConfigError(
            f"{path} is no {kind} model for sherpa-onnx: its metadata lacks {lacks}. {_ADVICE}"
        )
    return metadata


def _needed(path: Path | str, kind: str, metadata: Mapping[str, str]) -> list[str]:
    if kind in KEYS:
        return KEYS[kind].split()
    type_key, types = TYPED_KEYS[kind]
    found = metadata.get(type_key, "")
    if found not in types:
        raise ConfigError(
            f"{path} is no {kind} model for sherpa-onnx: {type_key} in its metadata is {found!r}, "
            f"expected {' or '.join(map(repr, types))}. {_ADVICE}"
        )
    return types[found].split()


_ADVICE = "Take the file from the releases of k2-fsa/sherpa-onnx, whose exports have these keys."


def read_metadata(path: Path | str) -> dict[str, str] | None:
    """The `metadata_props` of an ONNX file; None for onnxruntime's own format.

    Reads the frame of the file and skips the graph, so a model of 1 GB takes as long as one of
    1 KB. ConfigError when the file is not there or is not ONNX.
    """
    with _model(path) as file:
        if file.read(8)[4:] == b"ORTM":
            return None
        file.seek(0)
        return _metadata_props(file)


def input_names(path: Path | str) -> list[str]:
    """What the graph of an ONNX file takes, in its order. ConfigError as above."""
    with _model(path) as file:
        return _input_names(file)


# --- protocol buffers, as far as it takes to walk over a ModelProto (onnx.proto) -----------------

# The numbers of the fields: of a model, of its graph, of a graph's input, of an entry.
GRAPH, METADATA_PROPS = 7, 14
INPUT = 11
NAME = 1
KEY, VALUE = 1, 2

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5


class _NotProtobuf(Exception):
    pass


@contextmanager
def _model(path: Path | str) -> Iterator[BinaryIO]:
    try:
        with open(path, "rb") as file:
            yield file
    except OSError as error:
        raise ConfigError(f"the model file {path} cannot be read: {error.strerror}") from error
    except _NotProtobuf:
        raise ConfigError(f"{path} is not an ONNX model, or it is cut short") from None


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


def _metadata_props(file: BinaryIO) -> dict[str, str]:
    metadata = {}
    has_graph = False
    for number, end in _fields(file, _size(file)):
        has_graph = has_graph or number == GRAPH
        if number == METADATA_PROPS:
            entry = {n: file.read(e - file.tell()) for n, e in _fields(file, end)}
            metadata[_text(entry.get(KEY))] = _text(entry.get(VALUE))
    if not has_graph:
        raise _NotProtobuf
    return metadata


def _input_names(file: BinaryIO) -> list[str]:
    names = []
    for number, end in _fields(file, _size(file)):
        if number == GRAPH:
            for part, part_end in _fields(file, end):
                if part == INPUT:
                    texts = {n: file.read(e - file.tell()) for n, e in _fields(file, part_end)}
                    names.append(_text(texts.get(NAME)))
    return names


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "replace")


def _fields(file: BinaryIO, end: int) -> Iterator[tuple[int, int]]:
    """The number of each field of a message and where it ends, with the file at its content."""
    while file.tell() < end:
        number, length = _field(file, end)
        field_end = file.tell() + length
        yield number, field_end
        file.seek(field_end)


def _field(file: BinaryIO, end: int) -> tuple[int, int]:
    """A field's number and how many bytes of it follow (none after a varint)."""
    tag = _varint(file)
    number, wire_type = tag >> 3, tag & 7
    if wire_type == VARINT:
        _varint(file)
        return number, 0
    if wire_type == LENGTH:
        length = _varint(file)
    elif wire_type in (FIXED32, FIXED64):
        length = 4 if wire_type == FIXED32 else 8
    else:
        raise _NotProtobuf
    if number == 0 or file.tell() + length > end:
        raise _NotProtobuf
    return number, length


def _varint(file: BinaryIO) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            break
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise _NotProtobuf
