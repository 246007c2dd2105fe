"""`Xtalk`, as programs written for the original use it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest

import xtalk
from xtalk import DefaultPipeline, DefaultService, Xtalk
from xtalk.api import build_model
from xtalk.errors import ConfigError, MissingModel, NotAvailable
from xtalk.hookspecs import SLOTS, Slot, hookimpl
from xtalk.plugins import Plugins
from xtalk.registry import PLUGINS, Registry
from xtalk.settings import Config
from xtalk.testing import virtual_time
from xtalk.testing.client import MemoryConnection, WireClient
from xtalk.testing.transport import MemoryTransport
from xtalk.wire import messages

MODELS = """
from xtalk.model_types import ASR, TTS, Agent

class Ear(ASR):
    grammar = None
    def __init__(self, threshold=1):
        self.threshold = threshold
    def recognize(self, audio): return "hello"
    def reset(self): ...
    def clone(self): return self
    def set_grammar(self, jsgf): self.grammar = jsgf

class Mind(Agent):
    tools = ()
    def __init__(self, rules: str | None = None):
        self.rules = rules
    def generate(self, input): return "well"
    def clone(self): return self
    def grammar(self): return self.rules
    def add_tools(self, tools): self.tools = tools

class Mouth(TTS):
    def __init__(self, voice: str = "alto", fail: bool = False):
        if fail:
            raise OSError("no sound card")
        self.voice = voice
    def synthesize(self, text): return bytes(960)
    def clone(self): return self

class SdkMouth(Mouth):
    def __init__(self):
        import no_such_sdk

class Mood:
    def __init__(self, kind: str = "calm"):
        self.kind = kind
"""

CHOSEN = {"asr": "Ear", "llm_agent": "Mind", "tts": "Mouth"}


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file of models, and specs that are forgotten after the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XTALK_LOAD_PLUGINS", "")
    before = {slot: list(specs) for slot, specs in Xtalk.MODEL_REGISTRY.items()}
    path = tmp_path / "my_models.py"
    path.write_text(MODELS)
    for slot in CHOSEN:
        Xtalk.register_model_search_spec(slot=slot, spec=path)
    yield path
    Xtalk.MODEL_REGISTRY.clear()
    Xtalk.MODEL_REGISTRY.update(before)


def test_the_public_names_come_with_a_star() -> None:
    names: dict[str, Any] = {}
    exec("from xtalk import *", names)
    originals = (
        "Xtalk Pipeline DefaultPipeline Service DefaultService BaseEvent create_event_class "
        "Manager EventBus hookimpl Model"
    )
    assert set(originals.split()) <= set(names)
    assert set(xtalk.__all__) <= set(dir(xtalk))
    with pytest.raises(AttributeError, match="no attribute 'Xtolk'"):
        xtalk.Xtolk  # noqa: B018


@pytest.mark.parametrize("as_file", [False, True])
def test_from_config(models: Path, tmp_path: Path, as_file: bool) -> None:
    tree = {
        **CHOSEN,
        "tts": {"type": "Mouth", "params": {"voice": "bass"}},
        "max_connections": 3,
        "service_config": {"semantic_timeout_sec": 0, "mine": 7},
    }
    file = tmp_path / "config.json"
    file.write_text(json.dumps(tree))
    made = Xtalk.from_config(str(file) if as_file else tree)
    service = made.service_prototype
    assert isinstance(service, DefaultService)
    assert service.pipeline.get_tts_model().voice == "bass"  # type: ignore[union-attr]
    assert service.service_config["mine"] == 7
    assert service.service_config["data_dir"] == "data"
    assert made.host.limiter.max_sessions == 3


@pytest.mark.parametrize("setting", ["recording", "session_log"])
def test_a_folder_that_cannot_be_written_is_told_before_anything_is_built(
    models: Path, tmp_path: Path, setting: str
) -> None:
    tree = {**CHOSEN, "service_config": {setting: "deep/down"}}
    Xtalk.from_config(tree)
    assert list((tmp_path / "deep/down").iterdir()) == []
    (tmp_path / "deep/file").write_text("")
    tree = {**CHOSEN, "tts": "Nothing", "service_config": {setting: "deep/file/below"}}
    with pytest.raises(ConfigError) as told:
        Xtalk.from_config(tree)
    assert str(told.value) == (
        f"the given configuration: service_config.{setting}: "
        "nothing can be written in the folder deep/file/below: Not a directory"
    )


def test_a_client_is_not_told_in_which_file_a_model_is(models: Path) -> None:
    voices = {"deep": {"type": f"{models}:Mouth", "params": {"voice": "bass"}}}
    tree = {**CHOSEN, "tts": f"{models}:Mouth", "alternatives": {"tts": voices}}
    service = Xtalk.from_config(tree).service_prototype
    assert list(service.alternatives["tts"]) == ["Mouth", "deep"]


def test_a_slot_that_is_needed_is_empty(models: Path) -> None:
    with pytest.raises(MissingModel, match="no llm_agent is installed"):
        Xtalk.from_config({"asr": "Ear", "tts": "Mouth"})


def test_a_required_plugin_is_missing(models: Path) -> None:
    with pytest.raises(ConfigError, match=r"cosyvoice>=0\.3 is required but not"):
        Xtalk.from_config({**CHOSEN, "plugins": {"required": ["xtalk-tts-cosyvoice>=0.3"]}})


def test_the_agents_grammar_reaches_the_recogniser(models: Path) -> None:
    tree = {**CHOSEN, "llm_agent": {"type": "Mind", "params": {"rules": "#JSGF V1.0;"}}}
    asr: Any = Xtalk.from_config(tree).service_prototype.pipeline.get_asr_model()
    assert asr.grammar == "#JSGF V1.0;"
    asr = Xtalk.from_config(CHOSEN).service_prototype.pipeline.get_asr_model()
    assert asr.grammar is None


def test_values_of_the_environment_reach_the_constructor(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XTALK_ASR__PARAMS__THRESHOLD", "8")
    asr: Any = Xtalk.from_config(CHOSEN).service_prototype.pipeline.get_asr_model()
    assert asr.threshold == 8


# --- looking for models ---------------------------------------------------------------------------


def test_the_registry_shows_every_slot_and_spec(models: Path) -> None:
    assert {slot.name for slot in SLOTS} <= set(Xtalk.MODEL_REGISTRY)
    assert Xtalk.MODEL_REGISTRY["tts"] == [models, PLUGINS]
    Xtalk.register_model_search_spec(slot="tts", spec="last", prepend=False)
    Xtalk.register_model_search_spec(slot="tts", spec="last", prepend=True)
    assert Xtalk.MODEL_REGISTRY["tts"] == [models, PLUGINS, "last"]


def test_changing_the_registry_in_place_counts(models: Path) -> None:
    Xtalk.MODEL_REGISTRY["tts"].remove(models)
    with pytest.raises(MissingModel, match="no tts named 'Mouth'"):
        Xtalk.from_config(CHOSEN)


@pytest.mark.parametrize("slot, spec", [("", "x"), ("tts", "")])
def test_an_empty_slot_or_spec_is_refused(slot: str, spec: str) -> None:
    with pytest.raises(ValueError, match="needs a slot and a spec"):
        Xtalk.register_model_search_spec(slot=slot, spec=spec)


# --- pipelines of one's own -----------------------------------------------------------------------


@dataclass(init=False)
class MoodyPipeline(DefaultPipeline):
    mood: Any = field(default=None, metadata={"init_key": "mood", "clone": False})

    def __init__(self, mood: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mood = mood


def test_a_new_slot_becomes_an_argument_of_the_pipeline(models: Path) -> None:
    Xtalk.register_model_search_spec(slot="mood", spec=models)
    pipeline = Xtalk.create_pipeline_from_config(
        pipeline_cls=MoodyPipeline,
        config_path_or_dict={**CHOSEN, "mood": {"type": "Mood", "params": {"kind": "glad"}}},
        additional_model_registry={},
    )
    assert pipeline.mood.kind == "glad"
    assert pipeline.clone().mood is pipeline.mood  # type: ignore[attr-defined]


@pytest.mark.parametrize("key", ["punt_restorer", "punt_restorer_model"])
def test_ready_objects_take_the_place_of_the_configured(models: Path, key: str) -> None:
    voice, comma = object(), object()
    pipeline = Xtalk.create_pipeline_from_config(
        pipeline_cls=MoodyPipeline,
        config_path_or_dict={"asr": "Ear", "llm_agent": "Mind", "tts": "NotThere"},
        additional_model_registry={"tts": voice, key: comma, "mood": "ready"},
    )
    assert pipeline.tts_model is voice
    assert pipeline.punt_restorer_model is comma
    assert pipeline.mood == "ready"


# --- building -------------------------------------------------------------------------------------


def chosen(path: Path, tts: Any, plugins: Plugins | None = None) -> Config:
    registry = Registry(plugins or Plugins(), {"tts": [path, PLUGINS]})
    return Config.load({"tts": tts}, registry=registry, environ={})


def test_a_constructor_that_fails_is_named(models: Path) -> None:
    config = chosen(models, {"type": "Mouth", "params": {"fail": True}})
    with pytest.raises(ConfigError, match="tts: Mouth cannot be built: OSError: no sound card"):
        build_model(config, "tts")


def test_a_constructor_that_misses_its_sdk_names_the_extra(installed: Any) -> None:
    hooks = """
        @hookimpl
        def xtalk_tts():
            yield Model("SdkMouth", "mouth_impl:SdkMouth", extra="sdk")
    """
    installed.add("mouth", hooks, modules={"mouth_impl": MODELS})
    config = Config.load(registry=Registry(installed.load()), environ={})
    with pytest.raises(MissingModel) as caught:
        build_model(config, "tts")
    assert str(caught.value) == (
        "tts: SdkMouth: No module named 'no_such_sdk'; it needs: pip install \"xtalk-mouth[sdk]\""
    )


def test_a_plugin_may_build_the_model(models: Path) -> None:
    class Maker:
        @hookimpl
        def xtalk_make_model(self, model: type, params: Any) -> object:
            return (model.__name__, params)

    plugins = Plugins()
    plugins.register(Maker(), "maker")
    config = chosen(models, {"type": "Mouth", "params": {"fail": "no"}}, plugins)
    assert build_model(config, "tts") == ("Mouth", {"fail": False})


def test_a_slot_may_ask_for_an_interface(models: Path) -> None:
    class Declares:
        @hookimpl
        def xtalk_slots(self) -> list[Slot]:
            return [Slot("mood", interface="xtalk.rewriter:Rewriter")]

    plugins = Plugins()
    plugins.register(Declares(), "declares")
    registry = Registry(plugins, {"mood": [models]})
    config = Config.load({"mood": "Mood"}, registry=registry, environ={})
    with pytest.raises(ConfigError, match=r"mood: Mood is not a xtalk\.rewriter:Rewriter"):
        build_model(config, "mood")


# --- while it runs --------------------------------------------------------------------------------


def test_settings_of_plugins_reach_the_sessions(models: Path) -> None:
    @dataclass
    class Louder:
        factor: float = 2

    class Shout:
        @hookimpl
        def xtalk_settings(self) -> type:
            return Louder

    plugins = Plugins()
    plugins.register(Shout(), "shout")
    tree = {**CHOSEN, "plugins": {"settings": {"shout": {"factor": 3}}}}
    made = Xtalk.from_config(tree, plugins=plugins)
    assert made.plugin_settings == {"shout": Louder(3)}
    assert made.service_prototype.service_config["plugins"] == {"shout": Louder(3)}


def test_sessions_limit_tools_and_texts(models: Path) -> None:
    made = Xtalk.from_config(CHOSEN)
    made.set_session_limit(5)
    assert made.host.limiter.max_sessions == 5
    made.set_session_limit(None)
    assert not made.host.limiter.is_limited
    made.add_agent_tools(["tool"])  # type: ignore[list-item]
    assert made.service_prototype.pipeline.get_agent().tools == ["tool"]  # type: ignore[union-attr]

    async def main() -> None:
        transport = MemoryTransport()
        async with made.lifespan(), anyio.create_task_group() as tasks:
            tasks.start_soon(made.connect, transport)
            async with WireClient(MemoryConnection(transport)) as client:
                info = await client.wait_for(messages.SessionInfo)
                with pytest.raises(ValueError, match="there is no session 'x'"):
                    await made.embed_text("x", "text")
                await made.embed_text(info.session_id, "text")
                with pytest.raises(RuntimeError, match="before the first session, but 1 are live"):
                    made.add_agent_tools([])
            transport.vanish()

    virtual_time.run(main())


def test_an_agent_without_tools_says_so(models: Path) -> None:
    models.write_text(MODELS.replace("def add_tools", "def no_tools"))
    with pytest.raises(NotAvailable, match="Mind cannot use tools"):
        Xtalk.from_config(CHOSEN).add_agent_tools([])


def test_a_service_of_ones_own(models: Path) -> None:
    pipeline = Xtalk.create_pipeline_from_config(
        pipeline_cls=DefaultPipeline,
        config_path_or_dict=CHOSEN,
        additional_model_registry=None,
    )
    service = DefaultService(pipeline=pipeline)
    made = Xtalk(service_prototype=service, max_sessions=2)
    assert made.service_prototype is service
    assert made.host.limiter.max_sessions == 2
