"""The voices of sherpa-onnx in the process: VITS (Piper, MeloTTS ...), Matcha, Kokoro, KittenTTS.

model  ->  which kind it is, by its metadata and the files beside it
       ->  its files: tokens, lexicon, rules, voices, vocoder
       ->  sherpa_onnx.OfflineTts, shared by all sessions
"""

from __future__ import annotations

import asyncio
import copy
import math
import re
import threading
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from pydantic import Field

from xtalk.audio import float_to_pcm
from xtalk.errors import ConfigError
from xtalk.speech.interfaces import TTS
from xtalk.threads import run_in_thread
from xtalk_sherpa_onnx.files import Provider, Threads, check_tokens, find_file, onnx_file
from xtalk_sherpa_onnx.metadata import check_model, read_metadata

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["SherpaOnnxTTS"]

Kind = Literal["vits", "matcha", "kokoro", "kitten"]
VOCODER = "vocos-22khz-univ"

# What of a model's configuration names files; a lexicon may be several, with commas between.
FILES = ("tokens", "lexicon", "voices")

# What a configuration of sherpa-onnx 2 has and no longer reads, and a method.
UNUSED = ("data_dir", "dict_dir", "lang", "validate")

# Normal form of numbers and dates in Chinese, in the order in which the rules apply.
RULES = ("phone", "date", "number", "new_heteronym", "phone-zh", "date-zh", "number-zh")


class SherpaOnnxTTS(TTS):
    """A voice on sherpa-onnx. It speaks a text sentence by sentence, each as soon as it is made.

    Sessions share the network, which any number of threads may use at once. Closing a stream
    stops it after the sentence that is being made: a network cannot be stopped in the middle.
    """

    def __init__(
        self,
        model: Annotated[
            str,
            Field(description="a folder, an .onnx file in it, or a name of `xtalk models list`"),
        ] = "vits-melo-tts-zh_en",
        *,
        kind: Annotated[
            Literal["auto", "vits", "matcha", "kokoro", "kitten"],
            Field(description="what sort of network it is; auto sees it by its files"),
        ] = "auto",
        voice: Annotated[
            str | int | None, Field(description="the name or the number of a speaker; None: 0")
        ] = None,
        voices: Annotated[
            dict[str, int] | None,
            Field(description="names for speakers by their numbers; None: those of the model"),
        ] = None,
        speed: Annotated[float, Field(ge=0.5, le=1.5, description="1 is the model's pace")] = 1.0,
        vocoder: Annotated[
            str, Field(description="of a Matcha model: a file, or a name of `xtalk models list`")
        ] = VOCODER,
        options: Annotated[
            dict[str, str | float] | None,
            Field(
                description="what sherpa-onnx knows of this kind besides: tokens, lexicon, voices "
                "(paths, or names of `xtalk models list`), noise_scale, noise_scale_w, length_scale"
            ),
        ] = None,
        silence_scale: Annotated[
            float, Field(ge=0, description="pauses are made so many times as long; 1 keeps them")
        ] = 0.2,
        rule_fsts: Annotated[
            list[str] | None,
            Field(description="rules that rewrite the text; None: those beside the model"),
        ] = None,
        num_threads: Threads = 2,
        provider: Provider = "cpu",
    ) -> None:
        files = _find(model, kind, vocoder, options or {})
        self._tts = _load(files, rule_fsts, num_threads, provider)
        self._kind = files.kind
        self._phonemes = _phonemizer(files)
        self._silence_scale = silence_scale
        self.output_rate = int(self._tts.sample_rate)
        self._speakers = _named(voices, files.metadata) or _speakers(files.metadata)
        self.voices = tuple(self._speakers)
        self._speaker = 0
        if voice is not None:
            self._choose_voice(voice)
        self.set_speed(speed)

    def synthesize(self, text: str) -> bytes:
        pieces = bytearray()

        def take(piece: bytes) -> bool:
            pieces.extend(piece)
            return True

        self._generate(text, take)
        return bytes(pieces)

    async def async_synthesize_stream(
        self, text: str, **kwargs: Any
    ) -> AsyncGenerator[bytes, None]:
        """A chunk a sentence, as they are made; nothing for a text without words."""
        async with aclosing(_pieces(partial(self._generate, text))) as pieces:
            async for piece in pieces:
                yield piece

    def _generate(self, text: str, take: Callable[[bytes], bool]) -> None:
        """Hand each sentence to `take` until that returns False. Blocks, without the GIL."""
        speakable = text.encode("utf-8", "replace").decode()
        if not any(character.isalnum() for character in speakable):
            return

        heard = False

        def hear(samples: npt.NDArray[np.float32], progress: float) -> int:
            nonlocal heard
            heard = True
            return int(take(float_to_pcm(samples)))  # a copy: the samples are gone after this

        audio = self._make(speakable, hear)
        if not heard and (samples := audio.samples):  # KittenTTS never calls back
            take(float_to_pcm(samples))

    def _make(self, text: str, hear: Callable[..., int]) -> Any:
        import sherpa_onnx

        how = sherpa_onnx.GenerationConfig()
        how.sid, how.speed, how.silence_scale = self._speaker, self._speed, self._silence_scale
        if self._kind == "kokoro":
            text, words = _short_pieces(text)
            how.extra = {"max_words_in_sentence": str(words)}
        if self._phonemes is not None:
            how.phoneme_codepoints = self._phonemes(text)
            text = ""
        return self._tts.generate(text, how, callback=hear)

    def set_voice(self, voice_names: list[str]) -> None:
        """By name, or by the number of the speaker."""
        for name in voice_names:
            if (speaker := self._find_voice(name)) is not None:
                self._speaker = speaker
                return
        known = ", ".join(self.voices[:20]) or "no other"
        wanted = " or ".join(map(repr, voice_names))
        raise ValueError(f"the model has no voice {wanted}; it has {known}")

    def _find_voice(self, name: str) -> int | None:
        if name in self._speakers:
            return self._speakers[name]
        number = int(name) if name.isascii() and name.isdecimal() else -1
        return number if 0 <= number < max(1, self._tts.num_speakers) else None

    def _choose_voice(self, voice: str | int) -> None:
        try:
            self.set_voice([str(voice)])
        except ValueError as error:
            raise ConfigError(f"voice: {error}") from None

    def set_speed(self, speed: float) -> None:
        """0.5 to 1.5 times the model's pace; ValueError outside."""
        if not 0.5 <= speed <= 1.5:
            raise ValueError(f"a speed lies between 0.5 and 1.5, got {speed:g}")
        self._speed = speed

    def clone(self) -> SherpaOnnxTTS:
        return copy.copy(self)


# --- what Kokoro can take -----------------------------------------------------------------------

# sherpa-onnx hands it pieces of so many words, and ends the process where one of them holds more
# symbols than there are styles, 510. No word has many more symbols than letters.
WORDS, SYMBOLS = 20, 400

MARKS = re.compile(r"((?:[^\w\s]\s*){3})(?:[^\w\s]\s*)+")  # three in a row say as much as more
JOINT = re.compile(r"(?<=\w)[-'’_](?=\w)")  # sherpa-onnx takes what it joins for one word
WORD = re.compile(r"[^\W\u2e80-\u9fff\uac00-\ud7ff]+")  # a Chinese word is one character


def _short_pieces(text: str) -> tuple[str, int]:
    """The text, spoken as before, and how many words of it make a piece that is short enough."""
    text = MARKS.sub(r"\1", text)
    longest = max(map(len, WORD.findall(text)), default=1)
    joints = max((len(JOINT.findall(part)) for part in text.split()), default=0)
    if joints > 3:
        text = JOINT.sub(" ", text)
    return text, min(WORDS, max(1, SYMBOLS // (longest + 4)))


async def _pieces(make: Callable[[Callable[[bytes], bool]], None]) -> AsyncGenerator[bytes, None]:
    """What a blocking function hands to its callback, as it comes.

    Closing this makes the callback return False; the thread ends when the function does.
    """
    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[bytes | None] = asyncio.Queue()  # no more than the text is long
    stopped = threading.Event()

    def take(piece: bytes) -> bool:
        if not stopped.is_set():
            loop.call_soon_threadsafe(pieces.put_nowait, piece)
        return not stopped.is_set()

    work = asyncio.ensure_future(run_in_thread(make, take))
    work.add_done_callback(lambda _: pieces.put_nowait(None))
    try:
        while (piece := await pieces.get()) is not None:
            yield piece
        await work
    finally:
        stopped.set()
        work.cancel()
        await asyncio.wait((work,))
        if not work.cancelled():
            work.exception()  # nobody is left to hear of it, and asyncio need not complain


# --- the files of a model -----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Files:
    """A model and what sherpa-onnx is told of it: the fields of its configuration of the kind."""

    kind: Kind
    model: Path
    metadata: Mapping[str, str]
    settings: dict[str, str | float] = field(default_factory=dict)


def _find(model: str, kind: str, vocoder: str, options: Mapping[str, str | float]) -> _Files:
    network = onnx_file(model)
    found = _kind(network) if kind == "auto" else cast("Kind", kind)
    metadata = check_model(network, found)
    if not metadata:
        raise ConfigError(f"{network} is in onnxruntime's own format; give the .onnx file")
    settings = _beside(network.parent, found)
    settings["acoustic_model" if found == "matcha" else "model"] = str(network)
    if found == "matcha":
        settings["vocoder"] = str(_vocoder(vocoder, metadata["sample_rate"]))
    settings |= {name: _resolved(name, value) for name, value in options.items()}
    files = _Files(kind=found, model=network, metadata=metadata, settings=settings)
    _check_files(files)
    return files


def _resolved(name: str, value: str | float) -> str | float:
    """Where the files of an option are: each is a path, or a name under which it was fetched."""
    if name not in FILES:
        return value
    return ",".join(str(find_file(file.strip(), name)) for file in str(value).split(","))


def _kind(network: Path) -> Kind:
    """By what only this kind has; VITS is what is left."""
    metadata = read_metadata(network) or {}
    if metadata.get("model_type") == "kitten-tts":
        return "kitten"
    if (network.parent / "voices.bin").exists():
        return "kokoro"
    return "matcha" if "use_eos_bos" in metadata else "vits"


def _beside(folder: Path, kind: Kind) -> dict[str, str | float]:
    """The files under the names that they have in the published archives."""
    found: dict[str, str | float] = {"tokens": str(folder / "tokens.txt")}
    if kind in ("kokoro", "kitten"):
        found["voices"] = str(folder / "voices.bin")
    if lexicons := _lexicons(folder):
        found["lexicon"] = ",".join(map(str, lexicons))
    return found


def _lexicons(folder: Path) -> list[Path]:
    """The lexicon; of Kokoro's, which has one each for British and American, the latter."""
    names = ("lexicon.txt", "lexicon-us-en.txt", "lexicon-zh.txt")
    return [folder / name for name in names if (folder / name).exists()]


def _vocoder(vocoder: str, rate: str) -> Path:
    path = find_file(vocoder, "vocoder")
    found = check_model(path, "vocoder").get("sample_rate") or "22050"
    if found != rate:
        raise ConfigError(
            f"the vocoder {path} makes sound at {found} Hz, but the model speaks at {rate} Hz"
        )
    return path


def _check_files(files: _Files) -> None:
    """What sherpa-onnx would end the process over."""
    for name in FILES:
        for path in filter(None, str(files.settings.get(name, "")).split(",")):
            if not Path(path).exists():
                raise ConfigError(
                    f"{files.model} needs its {name}, and there is no {path}; "
                    f"name it in `options` as {name!r}"
                )
    check_tokens(Path(str(files.settings["tokens"])))
    spells = files.metadata.get("frontend") == "characters"
    if not (files.settings.get("lexicon") or spells or _reads_phonemes(files.metadata)):
        raise ConfigError(
            f"{files.model} needs a lexicon, and there is no lexicon.txt beside it; "
            "name it in `options` as 'lexicon'"
        )
    if "voices" in files.settings:
        _check_voices(files)


def _check_voices(files: _Files) -> None:
    """The styles of all speakers, as float32."""
    voices = Path(str(files.settings["voices"]))
    shape = [int(size) for size in files.metadata["style_dim"].split(",")]
    expected = 4 * math.prod(shape) * int(files.metadata["n_speakers"])
    if voices.stat().st_size != expected:
        raise ConfigError(
            f"{voices} has {voices.stat().st_size} bytes, but {files.model} takes {expected}; "
            "do they come from the same archive?"
        )


def _speakers(metadata: Mapping[str, str]) -> dict[str, int]:
    """The names that the model gives to its speakers, else their numbers; nothing to one alone."""
    names = [name.strip() for name in metadata.get("speaker_names", "").split(",")]
    count = int(metadata.get("n_speakers", 1))
    if len(names) != count or not all(names):
        names = [str(number) for number in range(count)] if count > 1 else []
    return {name: number for number, name in enumerate(names)}


def _named(voices: Mapping[str, int] | None, metadata: Mapping[str, str]) -> dict[str, int]:
    count = max(1, int(metadata.get("n_speakers", 1)))
    for name, number in (voices or {}).items():
        if not 0 <= number < count:
            raise ConfigError(f"voices: {name} is speaker {number}, but the model has {count}")
    return dict(voices or {})


# --- sherpa-onnx --------------------------------------------------------------------------------


def _load(files: _Files, rule_fsts: Sequence[str] | None, num_threads: int, provider: str) -> Any:
    import sherpa_onnx

    network = sherpa_onnx.OfflineTtsModelConfig()
    network.num_threads, network.provider = num_threads, provider
    kind = getattr(network, files.kind)
    for name, value in files.settings.items():
        _set(kind, name, value, files)
    config = sherpa_onnx.OfflineTtsConfig(model=network, max_num_sentences=1)
    config.rule_fsts = ",".join(map(str, _rules(files, rule_fsts)))
    if not config.validate():
        raise ConfigError(
            f"sherpa-onnx does not take the {files.kind} model {files.model}; "
            "it says why on the standard error"
        )
    return sherpa_onnx.OfflineTts(config)


def _set(config: Any, name: str, value: str | float, files: _Files) -> None:
    known = [known for known in dir(config) if known[0] != "_" and known not in UNUSED]
    if name not in known:
        raise ConfigError(
            f"options: sherpa-onnx knows no {name!r} of a {files.kind} model; it knows "
            f"{', '.join(known)}"
        )
    try:
        setattr(config, name, value)
    except TypeError:
        raise ConfigError(f"options: {name} of a {files.kind} model cannot be {value!r}") from None


def _rules(files: _Files, given: Iterable[str] | None) -> list[Path]:
    if given is not None:
        return [find_file(rule, "rule_fsts") for rule in given]
    beside = [files.model.parent / f"{name}.fst" for name in RULES]
    return [rule for rule in beside if rule.exists()]


def _phonemizer(files: _Files) -> Callable[[str], list[list[int]]] | None:
    """For a model that reads phonemes and has no lexicon for them."""
    if files.settings.get("lexicon") or not _reads_phonemes(files.metadata):
        return None
    from xtalk_sherpa_onnx.phonemes import Phonemizer

    return Phonemizer(files.metadata.get("voice") or "en-us")


def _reads_phonemes(metadata: Mapping[str, str]) -> bool:
    makers = ("piper", "coqui", "icefall", "inflect")
    return metadata.get("has_espeak") == "1" or metadata.get("comment") in makers
