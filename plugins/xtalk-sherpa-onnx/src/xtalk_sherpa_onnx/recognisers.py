"""The recognisers of sherpa-onnx: which kinds there are, the files of each, and one of each loaded.

What sherpa-onnx meets in a wrong file or option ends the whole process. So what can be read is
read beforehand: the metadata of the models, the tokens, the names and paths in the options. A
model from elsewhere than the catalogue, or with options, is then tried in a process of its own.
"""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from xtalk.downloads import locate, models_folder
from xtalk.errors import ConfigError
from xtalk.schema import nearest
from xtalk_sherpa_onnx.catalogue import KINDS
from xtalk_sherpa_onnx.files import check_tokens
from xtalk_sherpa_onnx.metadata import check_model

__all__ = ["FAMILIES", "Family", "Recogniser", "find_files", "kind_of", "load"]


@dataclass(frozen=True)
class Family:
    """One kind of recogniser.

    `constructor` is the class method of sherpa_onnx that makes one. `files` names its arguments
    that are files, each with patterns of file names, the likeliest first; `checks` those with
    metadata, each with its kind in `metadata`.
    """

    constructor: str
    files: Mapping[str, Sequence[str]]
    checks: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    online: bool = False


_TOKENS = {"tokens": ("tokens.txt", "*tokens.txt")}
_MODEL = {"model": ("model*", "ctc*", "*"), **_TOKENS}
_PAIR = {"encoder": ("*encoder*",), "decoder": ("*decoder*",), **_TOKENS}
_TRANSDUCER = {**_PAIR, "joiner": ("*joiner*",)}


def _one(constructor: str, check: str, online: bool = False) -> Family:
    """A family whose model is one file."""
    return Family(constructor, _MODEL, {"model": check}, online=online)


FAMILIES: Mapping[str, Family] = {
    # decoded as the sound comes
    "online_transducer": Family(
        "from_transducer",
        _TRANSDUCER,
        {
            "encoder": "online transducer encoder",
            "decoder": "online transducer decoder",
            "joiner": "online transducer joiner",
        },
        online=True,
    ),
    "online_paraformer": Family(
        "from_paraformer", _PAIR, {"encoder": "online paraformer encoder"}, online=True
    ),
    "online_zipformer2_ctc": _one("from_zipformer2_ctc", "online zipformer2_ctc", online=True),
    "online_wenet_ctc": _one("from_wenet_ctc", "online wenet_ctc", online=True),
    "online_nemo_ctc": _one("from_nemo_ctc", "online nemo_ctc", online=True),
    "online_t_one_ctc": _one("from_t_one_ctc", "online t_one_ctc", online=True),
    # decoded when the recording is there
    "transducer": Family(
        "from_transducer",
        _TRANSDUCER,
        {
            "encoder": "offline bare",
            "decoder": "offline transducer decoder",
            "joiner": "offline bare",
        },
    ),
    "nemo_transducer": Family(
        "from_transducer",
        _TRANSDUCER,
        {
            "encoder": "offline nemo transducer encoder",
            "decoder": "offline bare",
            "joiner": "offline bare",
        },
        fixed={"model_type": "nemo_transducer"},
    ),
    "paraformer": Family(
        "from_paraformer",
        {"paraformer": _MODEL["model"], **_TOKENS},
        {"paraformer": "offline paraformer"},
    ),
    "sense_voice": _one("from_sense_voice", "offline sense_voice"),
    "whisper": Family("from_whisper", _PAIR, {"encoder": "offline whisper encoder"}),
    "moonshine": Family(
        "from_moonshine",
        {
            "preprocessor": ("preprocess*",),
            "encoder": ("encode*",),
            "uncached_decoder": ("uncached_decode*",),
            "cached_decoder": ("cached_decode*",),
            **_TOKENS,
        },
        dict.fromkeys(
            ("preprocessor", "encoder", "uncached_decoder", "cached_decoder"), "offline bare"
        ),
    ),
    "moonshine_v2": Family(
        "from_moonshine_v2", _PAIR, dict.fromkeys(("encoder", "decoder"), "offline bare")
    ),
    "zipformer_ctc": _one("from_zipformer_ctc", "offline bare"),
    "wenet_ctc": _one("from_wenet_ctc", "offline wenet_ctc"),
    "nemo_ctc": _one("from_nemo_ctc", "offline nemo_ctc"),
    "nemo_canary": Family("from_nemo_canary", _PAIR, {"encoder": "offline canary encoder"}),
    "dolphin_ctc": _one("from_dolphin_ctc", "offline dolphin_ctc"),
    "telespeech_ctc": _one("from_telespeech_ctc", "offline bare"),
    "tdnn_ctc": _one("from_tdnn_ctc", "offline tdnn_ctc"),
    "fire_red_asr": Family("from_fire_red_asr", _PAIR, {"encoder": "offline fire_red_asr encoder"}),
    "fire_red_asr_ctc": _one("from_fire_red_asr_ctc", "offline fire_red_asr_ctc"),
    "medasr_ctc": _one("from_medasr_ctc", "offline medasr_ctc"),
    "omnilingual_asr_ctc": _one("from_omnilingual_asr_ctc", "offline bare"),
    # sherpa-onnx reads no key of these that it does not have a default for, as far as is known
    "cohere_transcribe": Family("from_cohere_transcribe", _PAIR),
    "qwen3_asr": Family(
        "from_qwen3_asr",
        {
            "conv_frontend": ("conv_frontend*",),
            "encoder": ("encoder*",),
            "decoder": ("decoder*",),
            "tokenizer": ("tokenizer*", "Qwen3*"),
        },
    ),
    "funasr_nano": Family(
        "from_funasr_nano",
        {
            "encoder_adaptor": ("encoder_adaptor*",),
            "llm": ("llm*",),
            "embedding": ("embedding*",),
            "tokenizer": ("tokenizer*", "Qwen3*"),
        },
    ),
}


def kind_of(model: str, kind: str, who: str) -> str:
    """The kind that was given; for "auto" what the catalogue says of a model of that name."""
    known = KINDS.get(Path(model).name) if kind == "auto" else kind
    if known is None:
        raise ConfigError(
            f"{who} does not know of which kind the model {model!r} is; set `kind` to one of "
            f"{', '.join(FAMILIES)}"
        )
    if known not in FAMILIES:
        raise ConfigError(
            f"{who} has no kind {known!r}, only {', '.join(FAMILIES)}{nearest(known, FAMILIES)}"
        )
    return known


# --- files --------------------------------------------------------------------------------------


def find_files(
    model: str, kind: str, given: Mapping[str, str], *, int8: bool, who: str
) -> dict[str, Path]:
    """Each argument of the family that is a file, and its path.

    `given` wins over what is found in the folder; its paths begin in the folder. ConfigError when
    a file is missing, or when several fit.
    """
    needed = FAMILIES[kind].files
    if unknown := [name for name in given if name not in needed]:
        raise ConfigError(
            f"{who}: {kind} takes the files {', '.join(needed)}, not {unknown[0]!r}"
            f"{nearest(unknown[0], needed)}"
        )
    if set(given) == set(needed) and all(Path(each).is_absolute() for each in given.values()):
        folder = Path()
    else:
        folder = _folder(locate(model), who)
    return {
        name: _given(folder / given[name], name, who)
        if name in given
        else _found(folder, name, patterns, int8, f"{who}: {kind}")
        for name, patterns in needed.items()
    }


def _folder(path: Path, who: str) -> Path:
    if not path.is_dir():
        raise ConfigError(f"{who}: {path} is a file; `model` is the folder of a model's files")
    return path


def _given(path: Path, name: str, who: str) -> Path:
    if not path.exists():
        raise ConfigError(f"{who}: there is no {path}, which `files` names as the {name}")
    return path


def _found(folder: Path, name: str, patterns: Sequence[str], int8: bool, what: str) -> Path:
    names = sorted(path.name for path in folder.iterdir() if _may_be(path, name))
    for pattern in patterns:
        fitting = _preferred([each for each in names if fnmatch(each, pattern)], int8)
        if len(fitting) == 1:
            return folder / fitting[0]
        if fitting:
            raise ConfigError(
                f"{what} needs one {name}, and {folder} has {', '.join(fitting)}: name the one to "
                "take in `files`"
            )
    raise ConfigError(
        f"{what} needs a file {name} ({' or '.join(patterns)}), and {folder} has none: is the "
        "kind right, and is it a model for sherpa-onnx (ONNX, not a checkpoint of torch)?"
    )


def _may_be(path: Path, name: str) -> bool:
    if name == "tokenizer":
        return path.is_dir()
    return path.suffix == ".txt" if name == "tokens" else path.suffix in (".onnx", ".ort")


def _preferred(names: list[str], int8: bool) -> list[str]:
    """Of one model in several precisions the one that is wanted, or the one there is."""
    full = [name for name in names if ".int8." not in name and ".fp16." not in name]
    small = [name for name in names if ".int8." in name]
    first, second = (small, full) if int8 else (full, small)
    return first or second or names


# --- options ------------------------------------------------------------------------------------

_PATHS = ("hotwords_file", "bpe_vocab", "lm", "lodr_fst", "ctc_graph", "hr_lexicon", "hr_dict_dir")
_PATH_LISTS = ("rule_fsts", "rule_fars", "hr_rule_fsts")


def _check_options(make: Any, kind: str, options: Mapping[str, Any], who: str) -> None:
    takes = inspect.signature(make).parameters
    free = [name for name in takes if name not in FAMILIES[kind].files]
    for name, value in options.items():
        if name not in free:
            raise ConfigError(
                f"{who}: {kind} has no option {name!r}{nearest(name, free)}; it takes "
                f"{', '.join(free)}"
            )
        _check_type(name, value, takes[name].default, who)
        _check_paths(name, value, who)


def _check_type(name: str, value: Any, default: Any, who: str) -> None:
    number = isinstance(default, (int, float)) and not isinstance(default, bool)
    kind = (int, float) if number else type(default)
    if not isinstance(value, kind) or (number and isinstance(value, bool)):
        raise ConfigError(
            f"{who}: the option {name} is {value!r}, expected something like {default!r}"
        )


def _check_paths(name: str, value: Any, who: str) -> None:
    paths = [value] if name in _PATHS else value.split(",") if name in _PATH_LISTS else []
    for path in filter(None, paths):
        if not Path(path).exists():
            raise ConfigError(f"{who}: the option {name} names {path}, which does not exist")


# --- loading ------------------------------------------------------------------------------------

TAIL_S = 0.66  # what most encoders look ahead, and the rest of their last chunk
# Paraformer's chunk is 0.6 s, of which the last 0.18 s wait for the next.
TAILS_S = {"online_paraformer": 1.0}
HARMLESS = {"num_threads", "provider", "use_itn"}  # options that cannot end the process
TRIAL_S = 300.0  # to read and try the largest model from a slow disk


class Recogniser:
    """A loaded model. All sessions share it: each segment is a stream of its own.

    `tail_s` is how much silence flushes what an online one holds back.
    """

    def __init__(
        self, kind: str, files: Mapping[str, Path], sherpa: Any, *, tail_s: float = TAIL_S
    ) -> None:
        self.kind = kind
        self.files = files
        self.online = FAMILIES[kind].online
        self.sherpa = sherpa
        self.tail_s = tail_s


_loaded: WeakValueDictionary[tuple[object, ...], Recogniser] = WeakValueDictionary()
_tried: set[tuple[object, ...]] = set()
_loading = threading.Lock()


def load(
    kind: str, files: Mapping[str, Path], options: Mapping[str, Any], *, who: str
) -> Recogniser:
    """The recogniser of these files and options: the one that is loaded, if it is. Blocks.

    It is freed with the last that holds it. ConfigError when sherpa-onnx would not take it.
    """
    key = (
        kind,
        *sorted((name, path, path.stat().st_mtime_ns) for name, path in files.items()),
        *sorted((name, repr(value)) for name, value in options.items()),
    )
    with _loading:
        recogniser = _loaded.get(key)
        if recogniser is None:
            recogniser = _loaded[key] = _load(kind, files, options, key, who)
        return recogniser


def _load(
    kind: str,
    files: Mapping[str, Path],
    options: Mapping[str, Any],
    key: tuple[object, ...],
    who: str,
) -> Recogniser:
    make = _constructor(kind, who)
    _check_options(make, kind, options, who)
    tail_s = _check_files(kind, files)
    arguments = {**{name: str(path) for name, path in files.items()}, **options}
    arguments |= FAMILIES[kind].fixed
    if key not in _tried and not _is_known(make, files, options):
        _try(kind, arguments, who)
        _tried.add(key)
    try:
        return Recogniser(kind, files, make(**arguments), tail_s=tail_s)
    except (RuntimeError, ValueError) as error:
        raise ConfigError(f"{who}: sherpa-onnx does not load this {kind}: {error}") from error


def _constructor(kind: str, who: str) -> Any:
    import sherpa_onnx

    family = FAMILIES[kind]
    owner = sherpa_onnx.OnlineRecognizer if family.online else sherpa_onnx.OfflineRecognizer
    make = getattr(owner, family.constructor, None)
    if make is None:
        raise ConfigError(f"{who}: this version of sherpa-onnx has no {kind}; update it")
    return make


def _check_files(kind: str, files: Mapping[str, Path]) -> float:
    """Refuse what can be seen to be wrong; otherwise the tail that the models need, in seconds."""
    metadata: dict[str, str] = {}
    for name, check in FAMILIES[kind].checks.items():
        metadata |= check_model(files[name], check)
    if "tokens" in files:
        check_tokens(files["tokens"])
    chunk = metadata.get("T") or metadata.get("window_size") or ""  # in frames of 10 ms
    chunk_s = int(chunk) / 100 if chunk.isdecimal() else 0.0
    return max(TAILS_S.get(kind, TAIL_S), chunk_s)


def _is_known(make: Any, files: Mapping[str, Path], options: Mapping[str, Any]) -> bool:
    """Whether it is a model that was fetched, with no option that matters."""
    takes = inspect.signature(make).parameters
    fetched = models_folder().absolute()
    return all(
        name in HARMLESS or value == takes[name].default for name, value in options.items()
    ) and all(fetched in path.absolute().parents for path in files.values())


def _try(kind: str, arguments: Mapping[str, Any], who: str) -> None:
    """Load it in another process first: sherpa-onnx ends its process over much that is wrong."""
    family = FAMILIES[kind]
    job = {
        "online": family.online,
        "constructor": family.constructor,
        "arguments": dict(arguments),
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", "xtalk_sherpa_onnx.trial"],
            input=json.dumps(job),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TRIAL_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ConfigError(f"{who}: loading this {kind} takes longer than {TRIAL_S:g} s") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["it gives no reason"]
        reason = re.sub(r"^\S+:\d+ ", "", lines[-1])
        raise ConfigError(f"{who}: sherpa-onnx does not load this {kind}: {reason}")
