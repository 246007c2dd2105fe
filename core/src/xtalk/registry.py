"""Find the class for a slot and a type name.

For each slot there is a list of specs, searched in order. One of them, `PLUGINS`, stands for the
installed plugins; what comes before it shadows them, what comes after it follows them. Any other
spec says where to look for a class of the type's name:

    my_package.voices        a module
    my_package:voices.fast   an attribute of a module: a namespace, or the class itself
    voices.py                a file; also voices.py:fast, and a Path

A type name may say itself where its class is: `voices.py:Voice`. Like a spec it names any code on
this machine, so it must not come from a stranger; a client only chooses among the operator's names.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import logging
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

from xtalk.errors import ConfigError, MissingModel
from xtalk.hookspecs import Model, Slot
from xtalk.plugins import Plugin, Plugins
from xtalk.suggest import closest

__all__ = ["PLUGINS", "Found", "Registry", "Spec", "import_spec", "is_in_file"]

log = logging.getLogger(__name__)

Spec = str | Path

PLUGINS = "the installed plugins"

_IN_FILE = re.compile(r"(.+\.py):([A-Za-z_]\w*)")

# The plugin that holds each known type, for the hint when it is not installed.
_KNOWN = {
    "CTPunctRestorer": "xtalk-sherpa-onnx",
    "CosyVoice": "xtalk-tts-cosyvoice",
    "CosyVoiceLocal": "xtalk-tts-cosyvoice",
    "DefaultAgent": "xtalk-agent-langchain",
    "DefaultCaptionRewriter": "xtalk-agent-langchain",
    "DefaultThoughtRewriter": "xtalk-agent-langchain",
    "DummyASR": "xtalk-example",
    "DummyAgent": "xtalk-example",
    "DummyTTS": "xtalk-example",
    "EasyTurnASR": "xtalk-asr-easy-turn",
    "EchoAgent": "xtalk-example",
    "EdgeTTS": "xtalk-tts-edge",
    "ElevenLabsASR": "xtalk-elevenlabs",
    "ElevenLabsTTS": "xtalk-elevenlabs",
    "Espeak": "xtalk-tts-espeak",
    "FastEnhancerS": "xtalk-enhancer-fastenhancer",
    "GPTSoVITS": "xtalk-tts-gpt-sovits",
    "IndexTTS": "xtalk-tts-index",
    "IndexTTS2": "xtalk-tts-index",
    "OpenAIEmbeddings": "xtalk-agent-langchain",
    "ParaformerLocal": "xtalk-sherpa-onnx",
    "PocketSphinx": "xtalk-asr-pocketsphinx",
    "PyannoteSpeakerEncoder": "xtalk-sherpa-onnx",
    "Qwen3ASRFlashRealtime": "xtalk-asr-qwen3",
    "Qwen3OmniCaptioner": "xtalk-captioner-qwen3-omni",
    "RubberbandSpeedController": "xtalk-speed-rubberband",
    "RuleAgent": "xtalk-agent-rules",
    "SignalCaptioner": "xtalk-captioner-signal",
    "SenseVoiceSmallLocal": "xtalk-sherpa-onnx",
    "SherpaOnnxASR": "xtalk-sherpa-onnx",
    "SherpaOnnxDenoiser": "xtalk-sherpa-onnx",
    "SherpaOnnxLocal": "xtalk-sherpa-onnx",
    "SherpaOnnxTTS": "xtalk-sherpa-onnx",
    "SherpaOnnxVAD": "xtalk-sherpa-onnx",
    "SileroVAD": "xtalk-vad-silero",
    "SimpleRewriter": "xtalk-agent-langchain",
    "WespeakerResNet34": "xtalk-sherpa-onnx",
    "ZipformerLocal": "xtalk-sherpa-onnx",
}


@dataclass(frozen=True)
class Found:
    """A class, where it comes from, and what has to be installed should its SDK be missing."""

    cls: type
    source: str
    extra: str | None = None


class Registry:
    """The specs and the plugins, searched together."""

    def __init__(self, plugins: Plugins, specs: Mapping[str, Sequence[Spec]] | None = None) -> None:
        self.plugins = plugins
        self._specs = specs or {}

    @property
    def slots(self) -> dict[str, Slot]:
        """Every slot: ours, those that plugins declare, and those that only specs fill."""
        return {**{name: Slot(name) for name in self._specs}, **self.plugins.slots}

    def names(self, slot: str) -> list[str]:
        """The type names that the installed plugins offer for a slot, each once."""
        return list(dict.fromkeys(model.name for _, model in self.plugins.models(slot)))

    def find(self, slot: str, name: str) -> Found:
        """The class. Raises MissingModel that tells what was tried and what to do."""
        if in_file := _IN_FILE.fullmatch(name):
            return _of_file(slot, *in_file.groups())
        failures: list[str] = []
        for spec in self._specs.get(slot, (PLUGINS,)):
            found = self._installed(slot, name) if spec == PLUGINS else _look(spec, name, failures)
            if found is not None:
                for failure in failures:
                    log.warning("while looking for %s %s: %s", slot, name, failure)
                return found
        raise MissingModel(self._not_found(slot, name, failures))

    def _installed(self, slot: str, name: str) -> Found | None:
        offers = [each for each in self.plugins.models(slot) if each[1].name == name]
        if not offers:
            return None
        if len(offers) > 1:
            owners = " and ".join(plugin.distribution or plugin.name for plugin, _ in offers)
            raise ConfigError(
                f"{slot} {name!r} is offered by {owners}; "
                "keep one of them: XTALK_BLOCK_PLUGINS names those to leave out"
            )
        return _load(*offers[0])

    def _not_found(self, slot: str, name: str, failures: Sequence[str]) -> str:
        installed = ", ".join(self.names(slot)) or "none"
        broken = [
            f"the plugin {plugin} is broken: {plugin.error}"
            for plugin in self.plugins.rows
            if plugin.error and plugin.goes_by([_KNOWN.get(name, plugin.name)])
        ]
        sentences = [f"no {slot} named {name!r}; installed: {installed}", *failures, *broken]
        if others := [other for other in self.slots if name in self.names(other)]:
            return ". ".join([*sentences, f"{name} is for the slot {' or '.join(others)}"])
        if meant := self._hint(slot, name):
            sentences.append(meant)
        text = ". ".join(sentences)
        if failures or name in _KNOWN or _is_slip(name, closest(name, self.names(slot))):
            return text
        return f"{text}{'' if text.endswith('?') else '.'} {_advice(slot, name)}"

    def _hint(self, slot: str, name: str) -> str:
        """Where a type that nobody offers may be found, or which one may be meant, if any."""
        if name in _KNOWN:
            return self._whose(name)
        if meant := closest(name, self.names(slot)):
            return f"Did you mean {meant!r}?"
        here = {each for other in self.slots for each in self.names(other)}
        if meant := closest(name, [known for known in _KNOWN if known not in here]):
            return f"Did you mean {meant!r}? {self._whose(meant)}"
        return ""

    def _whose(self, name: str) -> str:
        owner = _KNOWN[name]
        row = next((row for row in self.plugins.rows if row.goes_by([owner])), None)
        if row is None:
            state = "which is not installed"
        elif row.error:
            state = "which is broken"
        elif not row.loaded:
            state = f"which is {row.notes[0]}"
        else:
            state = f"but its version {row.version} lacks it"
        return f"It belongs to the plugin {owner}, {state}"


def _is_slip(name: str, meant: str) -> bool:
    """Whether it is a name mistyped, and not another that is like it (MyTTS and DummyTTS)."""
    return bool(meant) and abs(len(meant) - len(name)) <= 1


def _advice(slot: str, name: str) -> str:
    return f"A class in a file of your own is named with that file: {slot} = 'my_file.py:{name}'"


def is_in_file(name: str) -> bool:
    """Whether a type name says in which file its class is: `voices.py:Voice`."""
    return _IN_FILE.fullmatch(name) is not None


def import_spec(spec: Spec) -> Any:
    """What a spec points to. Whatever the import raises passes."""
    place, attributes = _split(spec)
    module = _import_file(Path(place)) if _is_file(place) else importlib.import_module(str(place))
    return reduce(getattr, attributes.split("."), module) if attributes else module


# --- specs ---------------------------------------------------------------------------------------


def _split(spec: Spec) -> tuple[str, str]:
    """Place and attributes. The colon of a drive letter (`C:\\voices.py`) divides nothing."""
    if isinstance(spec, Path):
        return str(spec), ""
    match = re.fullmatch(r"(.+?\.py|[^:\\/]+):([A-Za-z_][\w.]*)", spec)
    return (match[1], match[2]) if match else (spec, "")


def _is_file(place: str) -> bool:
    return place.endswith(".py") or "/" in place or "\\" in place


def _import_file(path: Path) -> Any:
    """A module of its own for each file, under a name that no other module has."""
    path = path.resolve()
    name = f"xtalk_userfile_{hashlib.sha256(str(path).encode()).hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _look(spec: Spec, name: str, failures: list[str]) -> Found | None:
    """The class of that name in one spec; a reason is added where there was one not to find it."""
    try:
        place = import_spec(spec)
        found = place if getattr(place, "__name__", None) == name else getattr(place, name, None)
    except (Exception, SystemExit) as error:
        # A user's own module may raise anything; it is said, and the search goes on.
        failures.append(f"importing {spec} raised {type(error).__name__}: {error}")
        return None
    if isinstance(found, type):
        return Found(found, str(spec))
    if found is not None:
        failures.append(f"{name} in {spec} is not a class but {type(found).__name__}")
    return None


def _of_file(slot: str, place: str, name: str) -> Found:
    failures: list[str] = []
    if found := _look(place, name, failures):
        return found
    raise MissingModel(". ".join([f"no {slot} named {name!r} in {place}", *failures]))


def _load(plugin: Plugin, model: Model) -> Found:
    owner = plugin.distribution or plugin.name
    extra = f"{owner}[{model.extra}]" if model.extra else None
    place, _, attributes = model.target.partition(":")
    try:
        cls: Any = reduce(getattr, attributes.split("."), importlib.import_module(place))
    except ImportError as error:
        advice = f'; it needs: pip install "{extra}"' if extra else ""
        raise MissingModel(
            f"{model.name} of {owner} cannot be imported: {error}{advice}"
        ) from error
    except (Exception, SystemExit) as error:
        raise MissingModel(
            f"{model.name} of {owner} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(cls, type):
        raise MissingModel(f"{model.target} of {owner} is not a class")
    return Found(cls, owner, extra)
