"""Read the configuration from its layers, and know where each value came from.

    defaults < file < plugins (`xtalk_configure`) < environment (`XTALK_*`) < arguments

The last layer that sets a value wins; a layer that changes the `type` of a slot drops the
`params` of the layers below, which were meant for another model. The file is TOML, or JSON as
the original has it:

    asr = "PocketSphinx"                    # a type name, or "file.py:Class", beside this file
    max_connections = 8
    [tts]                                   # or a type and its constructor's arguments
    type = "CosyVoice"
    params = { voice = "longanyang" }
    [service_config]                        # see ServiceConfig
    [plugins]
    order = ["shout"]                       # these first
    required = ["xtalk-tts-cosyvoice>=0.3"]
    settings = { shout = { factor = 2 } }   # what each plugin's `xtalk_settings` asks for
    [server]                                # read by xtalk-server

In the environment `XTALK_TTS=CosyVoice` and `XTALK_TTS__PARAMS__VOICE=longanyang` say the same.
Such a value is text that the setting's own type converts; `[...]` and `{...}` are read as JSON.
Names are lower case there, so an argument with a capital letter can only be set in a file.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from xtalk import config_file, schema
from xtalk.errors import ConfigError, MissingModel
from xtalk.hookspecs import Slot
from xtalk.plugins import Plugins
from xtalk.registry import Found, Registry, is_in_file

__all__ = ["Choice", "Config", "PluginsConfig", "ServerConfig", "ServiceConfig", "json_schema"]

log = logging.getLogger(__name__)

_NOT_SETTINGS = {"CONFIG", "LOAD_PLUGINS", "BLOCK_PLUGINS", "DEBUG", "MODELS"}
_WITHOUT_MODELS = ("service_config", "plugins", "server")
_SECTIONS = (*_WITHOUT_MODELS, "alternatives")
# Slots that fill themselves when exactly one type for them is installed.
_SELF_FILLING = ("asr", "llm_agent", "tts", "vad")

Section = TypeVar("Section", bound=BaseModel)

# The original's settings that are kept like unknown ones, and why nothing here reads them.
WITHOUT_EFFECT = {
    "debug_log_dir": "session_log names the folder for a log of each session",
    "vad_frame_samples": "a detector says itself how many samples it takes",
    "vad_sample_rate": "detectors hear 16 kHz",
}


class ServiceConfig(BaseModel):
    """`[service_config]`: what every manager receives as `config`.

    Unknown keys are kept, since a custom manager reads its own.
    """

    model_config = ConfigDict(extra="allow", title="service_config")

    data_dir: Annotated[str, Field(description="where sessions keep files")] = "data"
    sim_gen: Annotated[bool, Field(description="answer while the user speaks")] = False
    semantic_timeout_sec: Annotated[
        float, Field(description="how long an incomplete sentence waits; 0 or less: not at all")
    ] = 0.5
    vad_source: Annotated[
        Literal["auto", "client", "server"], Field(description="who detects speech")
    ] = "auto"
    vad_threshold: Annotated[float, Field(ge=0, le=1, description="probability of speech")] = 0.5
    vad_min_speech_ms: Annotated[float, Field(ge=0, description="shorter is no speech")] = 250
    vad_redemption_ms: Annotated[float, Field(ge=0, description="silence that ends it")] = 500
    min_silence_ms: Annotated[
        float, Field(ge=0, description="silence that ends what is surely finished")
    ] = 200
    max_silence_ms: Annotated[
        float, Field(ge=0, description="silence that ends what is surely not")
    ] = 1200
    pre_roll_ms: Annotated[
        float | None,
        Field(ge=0, description="audio kept from before the start; vad_min_speech_ms + 300"),
    ] = None
    similarity_threshold: Annotated[float, Field(ge=-1, le=1, description="same speaker")] = 0.4
    min_audio_length_sec: Annotated[
        float, Field(ge=0, description="least speech that tells a speaker")
    ] = 0.5
    embedding_update_alpha: Annotated[
        float, Field(ge=0, le=1, description="weight of new speech in a speaker's profile")
    ] = 0.05
    speaker_deadline_ms: Annotated[
        float, Field(ge=0, description="how long an answer waits to know who spoke")
    ] = 150
    recording: Annotated[
        str | None,
        Field(
            description="folder for a WAV file of each session, left the user, right the agent; "
            "`<id>.raw.wav` beside it where a `speech_enhancer` runs has the user without it"
        ),
    ] = None
    session_log: Annotated[
        str | None, Field(description="folder for a log of each session: docs/session-log.md")
    ] = None
    speculate: Annotated[
        bool, Field(description="let the agent begin before the end of a turn is certain")
    ] = False
    misfire_sec: Annotated[
        float, Field(ge=0, description="for the detector to hear what a page marks as speech")
    ] = 0.4
    grace_sec: Annotated[
        float, Field(ge=0, description="for a page that pauses itself to mark what is heard")
    ] = 0.15
    no_audio_sec: Annotated[
        float, Field(gt=0, description="without audio; then what was being said has ended")
    ] = 1.5
    segment_sec: Annotated[float, Field(gt=0, description="longest speech in one piece")] = 30
    decode_timeout_sec: Annotated[float, Field(gt=0, description="for the final text")] = 5
    agent_timeout_sec: Annotated[
        float, Field(gt=0, description="without a word of the agent; then the turn fails")
    ] = 60
    tts_timeout_sec: Annotated[
        float, Field(gt=0, description="without a sound of the voice; then the turn fails")
    ] = 20
    update_interval_ms: Annotated[float, Field(ge=0, description="between update_resp")] = 50
    ahead_sec: Annotated[
        float, Field(ge=0.2, description="audio sent ahead of playback; a chunk has up to 0.2")
    ] = 1.0
    asr_backlog_sec: Annotated[float, Field(gt=0, description="undecoded audio kept")] = 30
    history: Annotated[
        Literal["heard", "full", "marked"],
        Field(description="what is remembered of an interrupted reply"),
    ] = "heard"
    session_limit_sec: Annotated[
        float, Field(ge=0, description="longest conversation; 0: no limit")
    ] = 0
    idle_timeout_sec: Annotated[
        float, Field(ge=0, description="without speech, a turn or a command; 0: never")
    ] = 0
    clone_patience_sec: Annotated[
        float, Field(ge=0, description="wait for a busy model before another copy is made")
    ] = 0.25

    @pydantic.model_validator(mode="after")
    def _roll_in_time(self) -> ServiceConfig:
        if self.pre_roll_ms is None:
            self.pre_roll_ms = self.vad_min_speech_ms + 300
        return self

    def as_dict(self) -> dict[str, Any]:
        """Every setting, with its default where it was not set, and the unknown ones."""
        return dict(self)


class ServerConfig(BaseModel):
    """`[server]`, for xtalk-server; the options of `xtalk serve` win over it."""

    model_config = ConfigDict(extra="forbid", frozen=True, title="server")

    host: Annotated[
        str,
        Field(
            description="address to listen on; any but a loopback address makes the server "
            "reachable for others, whose browsers give a page the microphone only over https"
        ),
    ] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="0: any free one")] = 7635
    allowed_origins: Annotated[
        list[str],
        Field(
            description="web pages that may connect besides the server's own: "
            '`"https://example.org"`, or `"*"` for every page; only browsers are asked'
        ),
    ] = []
    drain_sec: Annotated[
        float,
        Field(ge=0, description="how long turns may go on after SIGTERM or SIGINT: docs/deploy.md"),
    ] = 10.0
    upload_bytes: Annotated[int, Field(gt=0, description="largest text file that is taken")] = (
        1024 * 1024
    )
    downloads: Annotated[
        bool,
        Field(
            description="whether who knows the id of a session may have what `recording` and "
            "`session_log` of `[service_config]` write of it"
        ),
    ] = False
    ssl_certfile: Annotated[
        str | None, Field(description="file with the certificate, for https and wss")
    ] = None
    ssl_keyfile: Annotated[
        str | None, Field(description="its key, where that file does not hold it")
    ] = None


class PluginsConfig(BaseModel):
    """`[plugins]`: who comes first, who must be there, and the plugins' own sections."""

    model_config = ConfigDict(extra="forbid", title="plugins")

    order: list[str] = Field(default=[], description="these plugins first")
    required: list[str] = Field(
        default=[], description='name and range of what must be there: `["xtalk-tts-espeak>=0.1"]`'
    )
    settings: dict[str, dict[str, Any]] = Field(
        default={},
        description="a section for each plugin that asks for one, by its entry-point name",
    )


class Alternative(BaseModel):
    """A model that a client may switch to, by the name of its table."""

    model_config = ConfigDict(extra="forbid", title="alternative")

    type: str
    params: dict[str, Any] = {}


class AlternativesConfig(BaseModel):
    """`[alternatives.tts.NAME]`, `[alternatives.llm_agent.NAME]`: what clients may choose from."""

    model_config = ConfigDict(extra="forbid", title="alternatives")

    tts: dict[str, Alternative] = {}
    llm_agent: dict[str, Alternative] = {}


@dataclass(frozen=True)
class Choice:
    """What is chosen for a slot: a type name and its constructor's arguments, not yet checked."""

    type: str
    params: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The type without the file that it may be in, as a client may be told it."""
        return self.type.rpartition(":")[2]


@dataclass(frozen=True)
class _Layer:
    """One source of values: a tree, and a name for each path in it."""

    name: str
    tree: Mapping[str, Any]
    variables: frozenset[str] = frozenset()
    warnings: tuple[str, ...] = ()

    def source(self, path: Sequence[str]) -> str:
        """The name of the layer; in the environment the variable that holds the value."""
        for end in range(len(path), 0, -1):
            variable = "XTALK_" + "__".join(path[:end]).upper()
            if variable in self.variables:
                return f"environment {variable}"
        return self.name


class Config:
    """The merged configuration.

    `registry` is what it was read for, `models` has a `Choice` for every slot that is filled,
    `sources` the origin of every value by its dotted path, `warnings` a sentence for each thing
    that looks like a slip.
    """

    def __init__(self, registry: Registry, layers: Sequence[_Layer]) -> None:
        self.registry = registry
        self.sources: dict[str, str] = {}
        self.warnings: list[str] = []
        self._tree: dict[str, Any] = {}
        for layer in layers:
            self._add(layer)
        self.models = self._choices()
        self.max_connections = self._max_connections()
        self.service = self._section(ServiceConfig, "service_config")
        self.plugins = self._section(PluginsConfig, "plugins")
        self.server = self._section(ServerConfig, "server")
        self.alternatives = self._alternatives()
        self._warn_of_slips()

    @classmethod
    def load(
        cls,
        file: str | Path | Mapping[str, Any] | None = None,
        *,
        registry: Registry | None = None,
        arguments: Mapping[str, Any] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Config:
        """Read all layers. A mapping takes the place of the file. Raises ConfigError."""
        environ = os.environ if environ is None else environ
        registry = registry or Registry(Plugins.load(environ))
        below = [*_defaults(registry), *_file(file, environ, registry)]
        above = [
            _environment(environ, registry),
            _layer("arguments", arguments or {}, registry),
        ]
        config = cls(registry, below + above)
        registry.plugins.set_order(config.plugins.order)
        overrides = []
        for plugin, tree in registry.plugins.call("xtalk_configure", config=config):
            try:
                overrides.append(_layer(f"plugin {plugin}", tree, registry))
            except ConfigError as error:
                plugin.fail(f"xtalk_configure gave a wrong configuration: {error}")
                log.warning("%s", error)
        return cls(registry, below + overrides + above) if overrides else config

    # --- what it says ----------------------------------------------------------------------------

    def rows(self) -> Iterator[tuple[str, Any, str]]:
        """Path, value and source of every value, as they may be shown: secrets are masked."""
        secrets = {*self._secret_params(), *self._secret_settings()}
        tree = {**self._tree, "service_config": self.service.as_dict()}
        for steps, value in _leaves(tree):
            path = ".".join(steps)
            shown = schema.MASK if path in secrets else schema.masked(steps[-1], value)
            yield path, shown, self.sources.get(path, "default")

    def check(self) -> list[str]:
        """A sentence for everything that is wrong. Imports the chosen classes, builds nothing."""
        problems = self.registry.plugins.check_required(self.plugins.required)
        for slot in self.registry.slots.values():
            if slot.required and slot.name not in self.models:
                problems.append(str(self.missing(slot.name)))
        for name in self.models:
            problems += _problems(partial(self.resolve, name))
        for place, others in self.alternatives.items():
            for other in others:
                problems += _problems(partial(self.resolve, place, other))
        return problems + _problems(self.plugin_settings)

    def resolve(self, slot: str, alternative: str | None = None) -> tuple[Found, dict[str, Any]]:
        """The class chosen for a slot, or an alternative to it, and its checked arguments.

        Raises MissingModel when the slot is empty or its type is not installed, ConfigError when
        the arguments do not fit.
        """
        path, choice = slot, self.models.get(slot)
        if alternative is not None:
            path, choice = (
                f"alternatives.{slot}.{alternative}",
                self.alternatives[slot][alternative],
            )
        if choice is None:
            raise self.missing(slot)
        try:
            found = self.registry.find(slot, choice.type)
        except ConfigError as error:
            raise type(error)(self._told(f"{path}: {error}")) from error
        try:
            return found, schema.check(found.cls, choice.params, f"{path}.params")
        except ConfigError as error:
            raise ConfigError(self._told(str(error))) from None

    def make_folders(self) -> None:
        """Make what sessions write to; ConfigError where nothing can be written."""
        for name in ("recording", "session_log"):
            folder = getattr(self.service, name)
            try:
                if folder:
                    _try_to_write(Path(folder))
            except OSError as error:
                text = f"service_config.{name}: nothing can be written in the folder {folder}: "
                raise ConfigError(self._told(f"{text}{error.strerror}")) from error

    def missing(self, slot: str) -> MissingModel:
        """The error for an empty slot: what is installed for it, and how to choose."""
        names = self.registry.names(slot)
        if not names:
            return MissingModel(f"no {slot} is installed; install a plugin that brings one")
        return MissingModel(
            f"no {slot} is chosen; installed: {', '.join(names)}; "
            f"say {slot} = {names[0]!r} in the configuration, or XTALK_{slot.upper()}={names[0]}"
        )

    def plugin_settings(self) -> dict[str, object]:
        """What each plugin's `xtalk_settings` asks for, built from its section, by plugin name.

        Raises ConfigError for a section that does not fit or that nobody reads. A plugin whose
        class cannot be built without a section is broken, and has no settings here.
        """
        found = self.registry.plugins.call("xtalk_settings")
        problems = self._unread_settings([plugin.name for plugin, _ in found])
        built: dict[str, object] = {}
        for plugin, cls in found:
            path, section = f"plugins.settings.{plugin}", self.plugins.settings.get(plugin.name)
            try:
                built[plugin.name] = schema.build(cls, section or {}, path)
            except ConfigError as error:
                problems.append(self._told(str(error)))
            except (Exception, SystemExit) as error:
                if section:
                    text = f"{path}: {cls.__name__} raised {type(error).__name__}: {error}"
                    problems.append(self._told(text))
                else:
                    plugin.blame("xtalk_settings", error)
        if problems:
            raise ConfigError("\n".join(problems))
        return built

    def _unread_settings(self, readers: Sequence[str]) -> list[str]:
        # A plugin that is broken or blocked keeps its section until it works again.
        rows = self.registry.plugins.rows
        asleep = {plugin.name for plugin in rows if plugin.error or not plugin.loaded}
        return [
            self._told(
                f"plugins.settings.{name}: no plugin reads it{schema.nearest(name, readers)}"
            )
            for name in self.plugins.settings
            if name not in readers and name not in asleep
        ]

    # --- merging ---------------------------------------------------------------------------------

    def _add(self, layer: _Layer) -> None:
        self.warnings += layer.warnings
        for slot in self.registry.slots:
            new, old = layer.tree.get(slot, {}), self._tree.get(slot, {})
            if "type" in new and new["type"] != old.get("type"):
                self._tree.pop(slot, None)
                for name in [name for name in self.sources if name.startswith(f"{slot}.")]:
                    del self.sources[name]
        for path, value in _leaves(layer.tree):
            place = self._tree
            for step in path[:-1]:
                child = place.get(step)
                place[step] = place = child if isinstance(child, dict) else {}
            if value == {} and isinstance(place.get(path[-1]), dict):
                continue
            place[path[-1]] = dict(value) if isinstance(value, Mapping) else value
            self.sources[".".join(path)] = layer.source(path)

    def _choices(self) -> dict[str, Choice]:
        choices = {}
        for slot in self.registry.slots:
            chosen = self._tree.get(slot, {})
            if chosen.get("params") and "type" not in chosen:
                text = f"{slot}.params: set, but {slot}.type is not; {self.missing(slot)}"
                raise ConfigError(self._told(text))
            if chosen.get("type"):
                choices[slot] = Choice(chosen["type"], chosen.get("params") or {})
        return choices

    def _max_connections(self) -> int | None:
        value = self._tree.get("max_connections")
        if value is None or value == "":
            return None
        if not isinstance(value, bool):
            try:
                return pydantic.TypeAdapter(int).validate_python(value)
            except pydantic.ValidationError:
                pass
        text = f"max_connections: expected a whole number, 0 for no limit, found {value!r}"
        raise ConfigError(self._told(text))

    def _alternatives(self) -> dict[str, dict[str, Choice]]:
        section = self._section(AlternativesConfig, "alternatives")
        return {
            slot: {name: Choice(other.type, other.params) for name, other in others.items()}
            for slot, others in (("tts", section.tts), ("llm_agent", section.llm_agent))
        }

    def _section(self, model: type[Section], name: str) -> Section:
        tree = self._tree.get(name, {})
        try:
            return model.model_validate(tree)
        except pydantic.ValidationError as error:
            raise ConfigError(self._told(schema.findings(model, tree, name, error))) from None

    def _warn_of_slips(self) -> None:
        for name in self.service.model_extra or {}:
            if why := WITHOUT_EFFECT.get(name):
                self.warnings.append(self._told(f"service_config.{name}: has no effect; {why}"))
            elif near := schema.nearest(name, ServiceConfig.model_fields):
                text = f"service_config.{name}: not a setting of xtalk's own{near}"
                self.warnings.append(self._told(text))
        if (self.max_connections or 0) < 0:
            text = f"max_connections: {self.max_connections} means no limit, as 0 does"
            self.warnings.append(self._told(text))
        for name in self.plugins.order:
            if not any(plugin.goes_by([name]) for plugin in self.registry.plugins.rows):
                text = f"plugins.order: {name!r} is not an installed plugin"
                self.warnings.append(self._told(text))

    def _told(self, text: str) -> str:
        """Each line, which begins with a path, behind the source of what stands at that path."""
        return "\n".join(f"{self._origin(line)}{line}" for line in text.splitlines())

    def _origin(self, line: str) -> str:
        path = line.partition(": ")[0]
        while path:
            for place in (path, f"{path}.type"):
                if place in self.sources:
                    return f"{self.sources[place]}: "
            path = path.rpartition(".")[0]
        return ""

    def _secret_params(self) -> Iterator[str]:
        chosen = [(slot, slot, choice.type) for slot, choice in self.models.items()]
        for slot, others in self.alternatives.items():
            chosen += [
                (slot, f"alternatives.{slot}.{n}", other.type) for n, other in others.items()
            ]
        for slot, path, name in chosen:
            try:
                yield from _secret_paths(self.registry.find(slot, name).cls, f"{path}.params")
            except ConfigError:
                continue  # `check` says why; its secrets still go by their names

    def _secret_settings(self) -> Iterator[str]:
        for plugin, cls in self.registry.plugins.call("xtalk_settings"):
            yield from _secret_paths(cls, f"plugins.settings.{plugin}")


def _try_to_write(folder: Path) -> None:
    import tempfile

    folder.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=folder).close()


def _secret_paths(cls: type, path: str) -> Iterator[str]:
    for name in schema.secret_names(schema.settings(cls)):
        yield f"{path}.{name}"


def json_schema(registry: Registry) -> dict[str, Any]:
    """JSON Schema of the configuration, with the arguments of every installed model."""
    properties: dict[str, Any] = {
        "max_connections": {"type": ["integer", "null"], "description": "null: no limit"},
        "service_config": schema.json_schema(ServiceConfig),
        "plugins": schema.json_schema(PluginsConfig),
        "server": schema.json_schema(ServerConfig),
        "alternatives": _alternatives_schema(registry),
    }
    sections = properties["plugins"]["properties"]["settings"].setdefault("properties", {})
    for plugin, cls in registry.plugins.call("xtalk_settings"):
        sections[plugin.name] = schema.json_schema(cls)
    for key, slot in _aliases(registry).items():
        properties[key] = _slot_schema(registry, registry.slots[slot])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "xtalk",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }


def _slot_schema(registry: Registry, slot: Slot) -> dict[str, Any]:
    names = registry.names(slot.name)
    only_a_type = {"type": ["string", "null"], "examples": names}
    return {
        "description": slot.summary,
        "anyOf": [only_a_type, *_table_schemas(registry, slot.name)],
    }


def _alternatives_schema(registry: Registry) -> dict[str, Any]:
    about = schema.json_schema(AlternativesConfig)
    del about["$defs"], about["$id"]
    for slot, others in about["properties"].items():
        others["additionalProperties"] = {"anyOf": _table_schemas(registry, slot)}
    return about


def _table_schemas(registry: Registry, slot: str) -> list[dict[str, Any]]:
    """What a table may hold: each installed model, and a type that is found in another place."""
    names = registry.names(slot)
    other = {
        "type": "object",
        "properties": {
            "type": {"type": "string", "not": {"enum": names}},
            "params": {"type": "object"},
        },
        "additionalProperties": False,
    }
    return [*(_model_schema(registry, slot, name) for name in names), other]


def _model_schema(registry: Registry, slot: str, name: str) -> dict[str, Any]:
    params: dict[str, Any] = {"type": "object"}
    try:
        params = schema.json_schema(registry.find(slot, name).cls)
    except ConfigError as error:
        params["description"] = str(error)
    return {
        "type": "object",
        "properties": {"type": {"const": name}, "params": params},
        "required": ["type"],
        "additionalProperties": False,
    }


# --- layers --------------------------------------------------------------------------------------


def _defaults(registry: Registry) -> list[_Layer]:
    alone = {
        slot: {"type": names[0]}
        for slot in _SELF_FILLING
        if len(names := registry.names(slot)) == 1
    }
    return [
        _Layer("the only one installed", alone),
        _Layer("default", {"server": ServerConfig().model_dump()}),
    ]


def _file(
    given: str | Path | Mapping[str, Any] | None, environ: Mapping[str, str], registry: Registry
) -> list[_Layer]:
    if isinstance(given, Mapping):
        return [_layer("the given configuration", given, registry)]
    path = config_file.find(given, environ)
    if path is None:
        return []
    return [_layer(str(path), _beside(config_file.read(path), path.parent), registry)]


def _beside(tree: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The same, with the classes in files (`voices.py:Voice`) looked for in this folder."""
    placed: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and key not in ("params", *_WITHOUT_MODELS):
            value = _beside(value, folder)
        elif isinstance(value, str) and is_in_file(value):
            value = str(folder / value)
        placed[key] = value
    return placed


def _environment(environ: Mapping[str, str], registry: Registry) -> _Layer:
    aliases = _aliases(registry)
    known = {*aliases, *_SECTIONS, "max_connections"}
    variables, warnings = {}, []
    for variable, text in sorted(environ.items()):
        name = variable.lower().removeprefix("xtalk_")
        key = name.partition("__")[0]
        if not variable.upper().startswith("XTALK_") or key.upper() in _NOT_SETTINGS:
            continue
        if key in known:
            # `XTALK_TTS=Espeak` names the type, unless it holds the whole table as JSON.
            short = name in aliases and isinstance(_json_or_text(text), str)
            variables[f"{name}__type" if short else name] = (variable, text)
        else:
            near = schema.nearest(key, known)
            warnings.append(f"environment: {variable} is not a setting of xtalk's own{near}")
    tree = _nest(variables)
    layer = _layer("environment", tree, registry)
    names = frozenset(variable.upper() for variable, _ in variables.values())
    return replace(layer, variables=names, warnings=tuple(warnings))


def _nest(variables: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    """The tree that names such as `tts__params__voice` describe."""
    if not variables:
        return {}
    from pydantic.fields import FieldInfo
    from pydantic_settings import BaseSettings, EnvSettingsSource

    values: dict[str, Any] = {}
    for name, (_, text) in variables.items():
        values |= _flat(name, _json_or_text(text))
    for name in values:
        below = [other for other in variables if other.startswith(f"{name}__")]
        if below:
            variable = variables[below[0]][0]
            raise ConfigError(f"environment {variable}: another variable says what is above it")
    source = EnvSettingsSource(BaseSettings, env_nested_delimiter="__")
    # As text: only the schema of what a value is for knows its type.
    field = FieldInfo(annotation=str)
    return {
        key: source.explode_env_vars(key, field, values) or values[key]
        for key in {name.partition("__")[0] for name in values}
    }


def _flat(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not value:
        return {name: value}
    return {k: v for key, item in value.items() for k, v in _flat(f"{name}__{key}", item).items()}


def _json_or_text(text: str) -> Any:
    if not text.startswith(("[", "{")):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _layer(name: str, tree: Mapping[str, Any], registry: Registry) -> _Layer:
    """The tree with every slot under its own name and as a table. ConfigError for what is wrong."""
    aliases = _aliases(registry)
    normal: dict[str, Any] = {}
    problems = []
    for key, value in tree.items():
        try:
            if key in aliases:
                normal[aliases[key]] = _slot_table(key, value)
            elif key == "max_connections":
                normal[key] = value
            elif key in _SECTIONS:
                normal[key] = _table(key, value)
            else:
                near = schema.nearest(str(key), [*aliases, *_SECTIONS, "max_connections"])
                raise ConfigError(f"{key}: unknown{near}")
        except ConfigError as error:
            problems.append(f"{name}: {error}")
    if problems:
        raise ConfigError("\n".join(problems))
    return _Layer(name, normal)


def _aliases(registry: Registry) -> dict[str, str]:
    """The slot that each key means: its name, or the argument of the pipeline's constructor."""
    slots = registry.slots.values()
    return {name: slot.name for slot in slots for name in (slot.name, slot.argument or slot.name)}


def _slot_table(key: str, value: Any) -> Mapping[str, Any]:
    if value is None or isinstance(value, str):
        return {"type": value or ""}
    if not isinstance(value, Mapping):
        found = type(value).__name__
        raise ConfigError(
            f"{key}: expected a type name or a table with type and params, found {found}"
        )
    for name in value:
        if name not in ("type", "params"):
            near = schema.nearest(str(name), ("type", "params"))
            advice = near or f"; arguments of the model belong into {key}.params"
            raise ConfigError(f"{key}.{name}: unknown{advice}")
    if not isinstance(value.get("type", ""), str):
        raise ConfigError(f"{key}.type: expected a type name, found {value['type']!r}")
    table = {name: each for name, each in value.items() if name == "type"}
    if params := _table(f"{key}.params", value.get("params") or {}):
        table["params"] = params
    return table


def _table(key: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{key}: expected a table, found {type(value).__name__}")
    return value


def _leaves(
    tree: Mapping[str, Any], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, (*path, str(key)))
        else:
            yield (*path, str(key)), value


def _problems(attempt: Callable[[], object]) -> list[str]:
    try:
        attempt()
    except ConfigError as error:
        return str(error).splitlines()
    return []
