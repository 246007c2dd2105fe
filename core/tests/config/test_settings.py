"""Layers, sources, and what is said about a wrong configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from xtalk.errors import ConfigError, MissingModel
from xtalk.hookspecs import Model, hookimpl
from xtalk.plugins import Plugin, Plugins
from xtalk.registry import PLUGINS, Registry
from xtalk.schema import MASK
from xtalk.settings import (
    Choice,
    Config,
    PluginsConfig,
    ServerConfig,
    ServiceConfig,
    json_schema,
)


class Voice:
    def __init__(
        self, voice: str = "a", speed: float = 1.0, api_key: str = "", pin: int = 0, **more: Any
    ) -> None: ...


class Ear:
    def __init__(self, model: str = "small") -> None: ...


class Models:
    """A plugin whose classes are here."""

    @hookimpl
    def xtalk_tts(self) -> list[Model]:
        return [Model("Voice", f"{__name__}:Voice"), Model("OtherVoice", f"{__name__}:Voice")]

    @hookimpl
    def xtalk_asr(self) -> list[Model]:
        return [Model("Ear", f"{__name__}:Ear")]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration but the test's own; the classes above importable by this file's name."""
    import sys

    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or _this())


def _this() -> Any:
    from types import SimpleNamespace

    return SimpleNamespace(Voice=Voice, Ear=Ear)


def load(
    file: Any = None, environ: dict[str, str] | None = None, *more: object, **given: Any
) -> Config:
    plugins = Plugins()
    for module in (Models(), *more):
        plugins.register(module, type(module).__name__.lower())
    registry = Registry(plugins, given.pop("specs", None))
    return Config.load(file, registry=registry, environ=environ or {}, **given)


def wrong(file: Any = None, environ: dict[str, str] | None = None, **given: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load(file, environ, **given)
    return str(caught.value)


# --- layers ---------------------------------------------------------------------------------------


def test_the_last_layer_wins_and_each_value_knows_its_source(tmp_path: Path) -> None:
    class Overrides:
        @hookimpl
        def xtalk_configure(self, config: Config) -> Any:
            assert config.models["tts"].params["voice"] == "argument"
            return {"service_config": {"ahead_sec": 2, "grace_sec": 0.3, "misfire_sec": 0.7}}

    file = tmp_path / "my.toml"
    file.write_text(
        'tts = {type = "Voice", params = {voice = "file", speed = 2, pin = 1}}\n'
        "[service_config]\nmisfire_sec = 0.1\nahead_sec = 9\n"
    )
    config = load(
        file,
        {"XTALK_TTS__PARAMS__SPEED": "3", "XTALK_SERVICE_CONFIG__GRACE_SEC": "0.2"},
        Overrides(),
        arguments={"tts": {"params": {"voice": "argument"}}},
    )
    shown = {path: (value, source) for path, value, source in config.rows()}
    environment = "environment XTALK_"
    assert shown["tts.type"] == ("Voice", str(file))
    assert shown["tts.params.pin"] == (1, str(file))
    assert shown["tts.params.speed"] == ("3", f"{environment}TTS__PARAMS__SPEED")
    assert shown["tts.params.voice"] == ("argument", "arguments")
    assert shown["service_config.misfire_sec"] == (0.7, "plugin overrides")
    assert shown["service_config.ahead_sec"] == (2, "plugin overrides")
    assert shown["service_config.grace_sec"] == (0.2, f"{environment}SERVICE_CONFIG__GRACE_SEC")
    assert shown["service_config.no_audio_sec"] == (1.5, "default")
    assert shown["server.port"] == (7635, "default")
    assert shown["asr.type"] == ("Ear", "the only one installed")


@pytest.mark.parametrize("text", ["Voice", '{"type": "Voice"}'])
def test_a_type_from_the_environment_erases_nothing(text: str) -> None:
    config = load(
        {"tts": {"type": "Voice", "params": {"pin": 4}}},
        {"XTALK_TTS": text, "XTALK_TTS__PARAMS__VOICE": "b"},
    )
    assert config.models["tts"] == Choice("Voice", {"pin": 4, "voice": "b"})


def test_variables_that_contradict_each_other() -> None:
    text = wrong({}, {"XTALK_SERVICE_CONFIG": "x", "XTALK_SERVICE_CONFIG__SIM_GEN": "1"})
    assert text == (
        "environment XTALK_SERVICE_CONFIG__SIM_GEN: another variable says what is above it"
    )


def test_a_layer_that_changes_the_type_drops_the_params_below() -> None:
    config = load(
        {"tts": {"type": "Voice", "params": {"voice": "a", "pin": 4}}},
        {"XTALK_TTS": "OtherVoice", "XTALK_TTS__PARAMS__SPEED": "2"},
    )
    assert config.models["tts"] == Choice("OtherVoice", {"speed": "2"})
    assert not any("pin" in path for path, _, _ in config.rows())


def test_text_of_the_environment_is_converted_by_the_setting() -> None:
    config = load(
        {"tts": "Voice"},
        {
            "XTALK_TTS__PARAMS__VOICE": "8",
            "XTALK_TTS__PARAMS__PIN": "8",
            "XTALK_TTS__PARAMS__LIST": '["a", 1]',
            "XTALK_TTS__PARAMS__PROMPT": "{not json",
            "XTALK_MAX_CONNECTIONS": "5",
            "XTALK_SERVICE_CONFIG__SIM_GEN": "true",
            "XTALK_PLUGINS__ORDER": '["models"]',
            "XTALK_SERVER__PORT": "0",
        },
    )
    _, params = config.resolve("tts")
    assert params == {"voice": "8", "pin": 8, "list": ["a", 1], "prompt": "{not json"}
    assert config.max_connections == 5
    assert config.service.sim_gen is True
    assert config.plugins.order == ["models"]
    assert config.server.port == 0


def test_what_is_no_setting_in_the_environment() -> None:
    config = load(
        None,
        {
            "XTALK_LOAD_PLUGINS": "x",
            "XTALK_BLOCK_PLUGINS": "y",
            "XTALK_DEBUG": "1",
            "XTALK_TSS": "Voice",
            "OTHER": "z",
        },
    )
    assert config.warnings == [
        "environment: XTALK_TSS is not a setting of xtalk's own; did you mean 'tts'?"
    ]


def test_the_file_that_is_found(tmp_path: Path) -> None:
    (tmp_path / "xtalk.toml").write_text("max_connections = 1")
    (tmp_path / "named.toml").write_text("max_connections = 2")
    (tmp_path / "given.json").write_text('{"max_connections": 3}')
    assert load().max_connections == 1
    assert load(None, {"XTALK_CONFIG": "named.toml"}).max_connections == 2
    assert load("given.json", {"XTALK_CONFIG": "named.toml"}).max_connections == 3


def test_the_originals_json_is_the_same_tree(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    tree = {
        "asr": "Ear",
        "tts": {"type": "Voice", "params": {"voice": "x"}},
        "captioner": None,
        "vad": {},
        "service_config": {"sim_gen": True, "my_manager": {"depth": 3}},
    }
    file.write_text(json.dumps(tree))
    config = load(file)
    assert config.models == {"asr": Choice("Ear"), "tts": Choice("Voice", {"voice": "x"})}
    assert config.service.as_dict()["my_manager"] == {"depth": 3}


@pytest.mark.parametrize("key", ["punt_restorer", "punt_restorer_model"])
def test_a_slot_goes_by_its_own_name_and_its_arguments(key: str) -> None:
    assert load({key: "Comma"}).models["punt_restorer"] == Choice("Comma")
    assert load({}, {f"XTALK_{key.upper()}": "Comma"}).models["punt_restorer"].type == "Comma"


def test_a_slot_that_a_spec_made_is_a_key() -> None:
    specs = {"mood": ["somewhere", PLUGINS]}
    assert load({"mood": "Happy"}, specs=specs).models["mood"] == Choice("Happy")


# --- what fills itself ----------------------------------------------------------------------------


def test_the_only_one_installed_is_taken_and_can_be_refused() -> None:
    assert load().models == {"asr": Choice("Ear")}
    assert load({"asr": ""}).models == {}
    assert load({}, {"XTALK_ASR": ""}).models == {}
    assert load({}, {"XTALK_ASR__PARAMS__MODEL": "big"}).models["asr"].params == {"model": "big"}


def test_missing_models_say_what_is_there() -> None:
    config = load()
    with pytest.raises(MissingModel) as several:
        config.resolve("tts")
    assert str(several.value) == (
        "no tts is chosen; installed: Voice, OtherVoice; "
        "say tts = 'Voice' in the configuration, or XTALK_TTS=Voice"
    )
    with pytest.raises(MissingModel, match="no llm_agent is installed"):
        config.resolve("llm_agent")


def test_a_file_of_a_model_is_beside_the_configuration_that_names_it(tmp_path: Path) -> None:
    folder = tmp_path / "experiment"
    folder.mkdir()
    (folder / "mine.py").write_text("class Mine: ...")
    (folder / "xtalk.toml").write_text("""
        asr = "mine.py:Mine"
        tts = {type = "mine.py:Mine", params = {}}
        alternatives.tts.other = {type = "mine.py:Mine", params = {name = "mine.py:Mine"}}
    """)
    config = load(folder / "xtalk.toml")
    beside = f"{folder}/mine.py:Mine"
    assert config.models["asr"].type == config.models["tts"].type == beside
    other = config.alternatives["tts"]["other"]
    assert (other.type, other.params) == (beside, {"name": "mine.py:Mine"})
    assert config.resolve("asr")[0].cls.__name__ == config.models["asr"].name == "Mine"


def test_a_file_of_a_model_that_the_environment_names_is_in_the_working_folder(
    tmp_path: Path,
) -> None:
    (tmp_path / "mine.py").write_text("class Mine: ...")
    config = load(None, {"XTALK_ASR": "mine.py:Mine"})
    assert config.resolve("asr")[0].cls.__name__ == "Mine"


# --- what is wrong --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tree, answer",
    [
        ({"tss": "Voice"}, "tss: unknown; did you mean 'tts'?"),
        ({"llm": "Voice"}, "llm: unknown; did you mean 'llm_agent'?"),
        ({"tts": 7}, "tts: expected a type name or a table with type and params, found int"),
        ({"tts": {"typ": "Voice"}}, "tts.typ: unknown; did you mean 'type'?"),
        (
            {"tts": {"type": "Voice", "voice": "x"}},
            "tts.voice: unknown; arguments of the model belong into tts.params",
        ),
        ({"tts": {"type": 3}}, "tts.type: expected a type name, found 3"),
        ({"tts": {"type": "Voice", "params": 3}}, "tts.params: expected a table, found int"),
        (
            {"max_connections": "many"},
            "max_connections: expected a whole number, 0 for no limit, found 'many'",
        ),
        (
            {"max_connections": True},
            "max_connections: expected a whole number, 0 for no limit, found True",
        ),
        ({"service_config": []}, "service_config: expected a table, found list"),
        (
            {"service_config": {"vad_threshold": 3}},
            "service_config.vad_threshold: should be less than or equal to 1, found 3",
        ),
        (
            {"service_config": {"vad_source": "both"}},
            "service_config.vad_source: should be 'auto', 'client' or 'server', found 'both'",
        ),
        (
            {"service_config": {"ahead_sec": 0.1}},  # a chunk would never fit
            "service_config.ahead_sec: should be greater than or equal to 0.2, found 0.1",
        ),
        ({"plugins": {"odrer": []}}, "plugins.odrer: unknown; plugins takes order, required"),
        ({"server": {"port": 99999}}, "server.port: should be less than or equal to 65535"),
        (
            {"server": {"prot": 1}},
            "server.prot: unknown; server takes host, port, allowed_origins, drain_sec, "
            "upload_bytes, downloads, ssl_certfile, ssl_keyfile; did you mean 'port'?",
        ),
    ],
)
def test_each_error_names_file_path_found_and_expected(
    tmp_path: Path, tree: dict[str, Any], answer: str
) -> None:
    file = tmp_path / "my.json"
    file.write_text(json.dumps(tree))
    assert wrong(file).startswith(f"{file}: {answer}")


def test_params_without_a_type() -> None:
    text = wrong({"tts": {"params": {"voice": "x"}}})
    assert "tts.params: set, but tts.type is not; no tts is chosen; installed" in text


def test_all_wrong_keys_are_said_at_once() -> None:
    assert len(wrong({"tss": "x", "asrr": "y"}).splitlines()) == 2


@pytest.mark.parametrize(
    "name, text, answer",
    [
        ("a.toml", "asr = [", "a.toml: is not valid TOML"),
        ("a.json", "{", "a.json: is not valid JSON"),
        ("config", "{", "config: is not valid JSON"),
        ("a.json", "[1]", "a.json: expected an object at the top, found list"),
        ("a.toml", None, "a.toml: cannot be read: No such file"),
    ],
)
def test_files_that_cannot_be_read(
    tmp_path: Path, name: str, text: str | None, answer: str
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    assert wrong(name).startswith(answer)


def test_check_names_every_problem_with_its_source() -> None:
    config = load(
        {"tts": {"type": "Voise"}, "plugins": {"required": ["xtalk-none"], "settings": {"x": {}}}},
        {"XTALK_ASR__PARAMS__MODELL": "big"},
    )
    assert config.check() == [
        "the plugin xtalk-none is required but not installed",
        "no llm_agent is installed; install a plugin that brings one",
        "environment XTALK_ASR__PARAMS__MODELL: asr.params.modell: unknown; Ear takes model; "
        "did you mean 'model'?",
        "the given configuration: tts: no tts named 'Voise'; installed: Voice, OtherVoice. "
        "Did you mean 'Voice'?",
        "the given configuration: plugins.settings.x: no plugin reads it",
    ]


def test_every_setting_says_what_it_is_for() -> None:
    for section in (ServiceConfig, PluginsConfig, ServerConfig):
        assert [name for name, f in section.model_fields.items() if not f.description] == []


def test_a_limit_below_zero_is_said_to_be_none() -> None:
    config = load({"max_connections": -5})
    assert config.warnings == [
        "the given configuration: max_connections: -5 means no limit, as 0 does"
    ]


def test_slips_are_warnings() -> None:
    config = load({"service_config": {"vad_treshold": 1, "mine": 2}, "plugins": {"order": ["no"]}})
    assert config.warnings == [
        "the given configuration: service_config.vad_treshold: not a setting of xtalk's own; "
        "did you mean 'vad_threshold'?",
        "the given configuration: plugins.order: 'no' is not an installed plugin",
    ]


def test_settings_of_the_originals_that_do_nothing_are_kept_and_said_to_do_nothing() -> None:
    given = {"vad_sample_rate": 8000, "vad_frame_samples": 256, "debug_log_dir": "logs"}
    config = load({"service_config": given})
    assert config.warnings == [
        "the given configuration: service_config.vad_sample_rate: has no effect; "
        "detectors hear 16 kHz",
        "the given configuration: service_config.vad_frame_samples: has no effect; "
        "a detector says itself how many samples it takes",
        "the given configuration: service_config.debug_log_dir: has no effect; "
        "session_log names the folder for a log of each session",
    ]
    assert given.items() <= config.service.as_dict().items()


def test_secrets_are_not_shown() -> None:
    class Hush:
        def __init__(self, phrase: SecretStr) -> None: ...

    class Shout:
        @hookimpl
        def xtalk_settings(self) -> type:
            return Hush

    config = load(
        {
            "tts": {"type": "Voice", "params": {"api_key": "sk-1", "pin": 5}},
            "llm_agent": {"type": "NotThere", "params": {"api_key": "sk-3"}},
            "service_config": {"auth_token": "sk-2"},
            "plugins": {"settings": {"shout": {"phrase": "sesame"}}},
        },
        None,
        Shout(),
    )
    shown = {path: value for path, value, _ in config.rows()}
    assert shown["plugins.settings.shout.phrase"] == MASK
    assert shown["llm_agent.params.api_key"] == MASK
    assert shown["tts.params.api_key"] == MASK and shown["tts.params.pin"] == 5
    assert shown["service_config.auth_token"] == MASK


# --- the sections ---------------------------------------------------------------------------------


def test_plugin_settings_are_built_from_their_sections() -> None:
    class Louder:
        def __init__(self, factor: float = 2.0) -> None:
            self.factor = factor

    class Shout:
        @hookimpl
        def xtalk_settings(self) -> type:
            return Louder

    tree = {"plugins": {"settings": {"shout": {"factor": "3"}}}}
    built = load(tree, None, Shout()).plugin_settings()
    assert built["shout"].factor == 3.0  # type: ignore[attr-defined]
    assert load({}, None, Shout()).plugin_settings()["shout"].factor == 2.0  # type: ignore[attr-defined]
    config = load({"plugins": {"settings": {"shout": {"factr": 3}}}}, None, Shout())
    with pytest.raises(ConfigError, match=r"settings\.shout\.factr: unknown; Louder takes"):
        config.plugin_settings()


class Strict:
    def __init__(self, folder: str = "") -> None:
        raise OSError(f"no folder {folder!r}")


@pytest.mark.parametrize(
    ("cls", "reason"),
    [
        (int, "int does not tell its constructor's arguments"),
        (Strict, "xtalk_settings raised OSError: no folder ''"),
    ],
)
def test_settings_that_cannot_be_built_cost_their_plugin_only(
    caplog: pytest.LogCaptureFixture, cls: type, reason: str
) -> None:
    class Odd:
        @hookimpl
        def xtalk_settings(self) -> type:
            return cls

    class Shout:
        @hookimpl
        def xtalk_settings(self) -> type:
            return Ear

    config = load({}, None, Odd(), Shout())
    assert list(config.plugin_settings()) == ["shout"]
    assert list(config.rows()) and json_schema(config.registry)
    odd = next(row for row in config.registry.plugins.rows if row.name == "odd")
    assert reason in str(odd.error)
    assert "plugin odd: xtalk_settings " in caplog.text


def test_a_value_that_the_settings_class_refuses_is_a_wrong_configuration() -> None:
    class Odd:
        @hookimpl
        def xtalk_settings(self) -> type:
            return Strict

    config = load({"plugins": {"settings": {"odd": {"folder": "x"}}}}, None, Odd())
    problem = "plugins.settings.odd: Strict raised OSError: no folder 'x'"
    assert config.check()[-1] == problem


def test_a_section_waits_for_a_plugin_that_does_not_load() -> None:
    plugins = Plugins()
    plugins.rows.append(Plugin("shout", notes=["not loaded: XTALK_BLOCK_PLUGINS names it"]))
    tree = {"plugins": {"settings": {"shout": {"factor": 3}}}}
    config = Config.load(tree, registry=Registry(plugins), environ={})
    assert config.plugin_settings() == {}


def test_a_plugin_that_configures_nonsense_is_broken_and_ignored() -> None:
    class Meddler:
        @hookimpl
        def xtalk_configure(self, config: Config) -> Any:
            return {"tss": "Voice"}

    plugins = Plugins()
    plugins.register(Meddler(), "meddler")
    Config.load({}, registry=Registry(plugins), environ={})
    assert plugins.rows[0].error == (
        "xtalk_configure gave a wrong configuration: "
        "plugin meddler: tss: unknown; did you mean 'tts'?"
    )


def test_order_is_obeyed_when_plugins_are_asked() -> None:
    asked: list[str] = []

    class First:
        @hookimpl
        def xtalk_configure(self, config: Config) -> None:
            asked.append("first")

    class Second:
        @hookimpl
        def xtalk_configure(self, config: Config) -> None:
            asked.append("second")

    load({"plugins": {"order": ["second"]}}, None, First(), Second())
    assert asked == ["second", "first"]


def test_the_managers_see_every_setting() -> None:
    settings = ServiceConfig(vad_min_speech_ms=100).as_dict()
    assert settings["pre_roll_ms"] == 400 and settings["data_dir"] == "data"
    assert ServiceConfig(pre_roll_ms=0).as_dict()["pre_roll_ms"] == 0


def test_objects_in_the_service_config_stay_what_they_are() -> None:
    thing = ServiceConfig()
    assert ServiceConfig.model_validate({"mine": thing}).as_dict()["mine"] is thing


def test_the_schema_of_everything() -> None:
    plugins = Plugins()
    plugins.register(Models(), "models")
    shown = json_schema(Registry(plugins))
    assert json.dumps(shown)
    models = shown["properties"]["tts"]["anyOf"][1:-1]
    assert [model["properties"]["type"]["const"] for model in models] == ["Voice", "OtherVoice"]
    assert models[0]["properties"]["params"]["properties"]["speed"]["type"] == "number"
    assert shown["properties"]["service_config"]["properties"]["sim_gen"]["default"] is False


VALID: list[dict[str, Any]] = [
    {"asr": "Ear", "tts": {"type": "Voice", "params": {"voice": "b", "more": 1}}},
    {"tts": None, "punt_restorer_model": "Comma", "max_connections": None},
    {"tts": {"type": "voices.py:Voice", "params": {"any": 1}}},
    {"asr": {"params": {"model": "big"}}},
    {"alternatives": {"tts": {"B": {"type": "OtherVoice", "params": {"pin": 2}}}}},
    {"alternatives": {"llm_agent": {"B": {"type": "minds.py:Mind"}}}},
    {"server": {"port": 0, "allowed_origins": ["*"], "drain_sec": 3, "ssl_certfile": "a"}},
    {"service_config": {"my_own": 1}, "plugins": {"order": ["a"], "settings": {"b": {"c": 1}}}},
]
WRONG: list[dict[str, Any]] = [
    {"ttss": "Voice"},
    {"asr": {"type": "Ear", "params": {"modl": "big"}}},
    {"asr": {"typ": "Ear"}},
    {"server": {"prot": 1}},
    {"alternatives": {"asr": {"B": {"type": "Ear"}}}},
    {"alternatives": {"tts": {"B": {"type": "Voice", "params": {"pin": "x"}}}}},
]


@pytest.mark.parametrize("tree", [*VALID, *WRONG])
def test_the_schema_takes_what_the_configuration_takes(tree: dict[str, Any]) -> None:
    plugins = Plugins()
    plugins.register(Models(), "models")
    assert fits(json_schema(Registry(plugins)), tree) is (tree in VALID)
    if tree in VALID:
        assert load(tree).models
    else:
        with pytest.raises(ConfigError, match=r"Voice takes|Ear takes|unknown|valid integer"):
            config = load(tree)
            config.resolve("asr")
            config.resolve("tts", "B")


KINDS: dict[str, Any] = {
    "object": dict, "array": list, "string": str, "integer": int, "number": (int, float),
    "boolean": bool, "null": type(None),
}  # fmt: skip


def fits(schema: dict[str, Any], value: Any) -> bool:
    """Whether the value is as the schema says, as far as these configurations need it."""
    wanted = schema.get("type", list(KINDS))
    wanted = [wanted] if isinstance(wanted, str) else wanted
    if not any(isinstance(value, KINDS[kind]) for kind in wanted):
        return False
    if "const" in schema and value != schema["const"]:
        return False
    if "not" in schema and value in schema["not"]["enum"]:
        return False
    if "anyOf" in schema and not any(fits(each, value) for each in schema["anyOf"]):
        return False
    if not isinstance(value, dict):
        return True
    known, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    if isinstance(others, bool):
        others = {} if others else {"type": []}
    return set(schema.get("required", ())) <= set(value) and all(
        fits(known.get(name, others), each) for name, each in value.items()
    )


def test_a_class_that_does_not_tell_its_arguments_leaves_the_schema_of_the_others() -> None:
    class Odd:
        @hookimpl
        def xtalk_vad(self) -> list[Model]:
            return [Model("Odd", "builtins:int")]

    config = load({"vad": "Odd"}, None, Odd())
    assert json_schema(config.registry) and list(config.rows())
    problem = "the given configuration: vad.params: int does not tell its constructor's arguments"
    assert any(text.startswith(problem) for text in config.check())


def test_alternatives_are_checked() -> None:
    given = {"alternatives": {"tts": {"Other": {"type": "Voicee"}}}}
    problems = "\n".join(load(given).check())
    assert "alternatives.tts.Other: no tts named 'Voicee'" in problems
    assert "alternatives.vad" in wrong({"alternatives": {"vad": {}}})
