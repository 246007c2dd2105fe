"""Models of a user's own, found by specs and chosen by configurations as the original has them."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from xtalk import DefaultPipeline, DefaultService, Xtalk
from xtalk.errors import MissingModel
from xtalk.testing.fakes import ScriptedAgent, ScriptedASR, ScriptedTTS
from xtalk.wire import messages as m

MODELS = '''
"""A user's file: models written for the original."""
from xtalk.model_types import ASR, TTS, Agent


class FixedASR(ASR):
    def __init__(self, text="from the file"):
        self.text = text

    def recognize(self, audio):
        return self.text

    def reset(self):
        pass

    def clone(self):
        return FixedASR(self.text)


class BeepTTS(TTS):
    def synthesize(self, text):
        return b"\\x10\\x27" * 4800

    def clone(self):
        return BeepTTS()


class EchoAgent(Agent):
    def __init__(self, prefix="Echo: "):
        self.prefix = prefix

    def generate(self, input):
        text = input["content"] if isinstance(input, dict) else input
        return self.prefix + text

    def clone(self):
        return EchoAgent(self.prefix)


class Shelf:
    class EchoAgent(EchoAgent):
        def __init__(self, prefix="Shelf: "):
            super().__init__(prefix)
'''


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "my_original_models.py"
    path.write_text(MODELS)
    monkeypatch.syspath_prepend(tmp_path)
    yield path
    sys.modules.pop("my_original_models", None)


CONFIG = {"asr": "FixedASR", "llm_agent": "EchoAgent", "tts": {"type": "BeepTTS"}}


def register(path: Path) -> None:
    for slot in ("asr", "llm_agent", "tts"):
        Xtalk.register_model_search_spec(slot=slot, spec=str(path))


SPECS = {
    "dotted module": lambda path: "my_original_models",
    "module:attribute chain": lambda path: "my_original_models:Shelf",
    "file": str,
    "file:attribute": lambda path: f"{path}:Shelf",
    "Path": lambda path: path,
}


@pytest.mark.parametrize("form", SPECS)
def test_a_model_is_found_by_every_form_of_spec(registry: Any, models: Path, form: str) -> None:
    register(models)
    registry["llm_agent"].clear()
    Xtalk.register_model_search_spec(slot="llm_agent", spec=SPECS[form](models))
    app = Xtalk.from_config(CONFIG)
    agent = app.service_prototype.pipeline.get_agent()
    assert agent.generate("hi") == ("Shelf: hi" if ":" in form else "Echo: hi")


@pytest.mark.parametrize("prepend", [True, False])
def test_a_spec_before_or_after_the_plugins(registry: Any, models: Path, prepend: bool) -> None:
    from xtalk.hookspecs import Model, hookimpl
    from xtalk.plugins import Plugins

    class Plugin:
        @hookimpl
        def xtalk_llm_agent(self) -> Any:
            yield Model("EchoAgent", "my_plugin_models:EchoAgent")

    (models.parent / "my_plugin_models.py").write_text(MODELS.replace("Echo: ", "Plugin: "))
    plugins = Plugins()
    plugins.register(Plugin())
    register(models)
    registry["llm_agent"].remove(str(models))
    Xtalk.register_model_search_spec(slot="llm_agent", spec=models, prepend=prepend)
    app = Xtalk.from_config(CONFIG, plugins=plugins)
    agent = app.service_prototype.pipeline.get_agent()
    assert agent.generate("hi") == ("Echo: hi" if prepend else "Plugin: hi")
    sys.modules.pop("my_plugin_models", None)


def test_the_registry_shows_every_slot_and_what_was_registered(registry: Any, models: Path) -> None:
    assert {
        "asr",
        "llm_agent",
        "tts",
        "embeddings",
        "speaker_encoder",
        "captioner",
        "caption_rewriter",
        "thought_rewriter",
        "vad",
        "speech_enhancer",
        "speech_speed_controller",
    } <= set(Xtalk.MODEL_REGISTRY)
    before = len(Xtalk.MODEL_REGISTRY["asr"])
    register(models)
    register(models)  # a duplicate is ignored
    assert Xtalk.MODEL_REGISTRY["asr"][0] == str(models)
    assert len(Xtalk.MODEL_REGISTRY["asr"]) == before + 1
    for slot, spec in (("", "x"), ("asr", "")):
        with pytest.raises(ValueError, match="empty"):
            Xtalk.register_model_search_spec(slot=slot, spec=spec)


TOML = """
asr = "FixedASR"
max_connections = 3
[llm_agent]
type = "EchoAgent"
params = { prefix = "You said " }
[tts]
type = "BeepTTS"
[service_config]
semantic_timeout_sec = 0.7
mine = "kept"
"""
JSON = {
    "asr": "FixedASR",
    "max_connections": 3,
    "llm_agent": {"type": "EchoAgent", "params": {"prefix": "You said "}},
    "tts": {"type": "BeepTTS"},
    "service_config": {"semantic_timeout_sec": 0.7, "mine": "kept"},
}


@pytest.mark.parametrize("given", ["dict", "json", "toml", "Path"])
def test_a_configuration_as_dict_json_or_toml(
    registry: Any, models: Path, tmp_path: Path, given: str, dial: Any, run: Any
) -> None:
    register(models)
    (tmp_path / "c.json").write_text(json.dumps(JSON))
    (tmp_path / "c.toml").write_text(TOML)
    config = {
        "dict": JSON,
        "json": str(tmp_path / "c.json"),
        "toml": str(tmp_path / "c.toml"),
        "Path": tmp_path / "c.json",
    }[given]
    app = Xtalk.from_config(config)
    assert app.host.limiter.get_status()["max_sessions"] == 3
    assert app.service_prototype.service_config["mine"] == "kept"
    assert app.service_prototype.service_config["semantic_timeout_sec"] == 0.7

    async def main() -> None:
        async with dial(app) as call:
            await call.turn()
            assert call.client.received(m.FinishResp)[0].text == "You said from the file"

    run(main)


def test_the_names_of_a_slot_and_of_its_argument_both_work(registry: Any, models: Path) -> None:
    models.write_text(
        MODELS
        + """
from xtalk.speech.interfaces import PuntRestorer


class Dot(PuntRestorer):
    def restore(self, text):
        return text + "."
"""
    )
    register(models)
    registry.setdefault("punt_restorer", [])
    for slot in ("punt_restorer", "punt_restorer_model"):
        if slot in Xtalk.MODEL_REGISTRY:
            Xtalk.register_model_search_spec(slot=slot, spec=str(models))
    for key in ("punt_restorer_model", "punt_restorer"):
        app = Xtalk.from_config({**CONFIG, key: "Dot"})
        restorer = app.service_prototype.pipeline.get_punt_restorer_model()
        assert restorer.restore("a") == "a."


@dataclass(init=False)
class MoodyPipeline(DefaultPipeline):
    mood: Any = field(default=None, metadata={"init_key": "mood", "clone": False})

    def __init__(self, mood: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mood = mood


def test_a_new_slot_becomes_an_argument_of_the_pipeline(registry: Any, models: Path) -> None:
    models.write_text(
        MODELS + "\nclass Mood:\n    def __init__(self, level=1):\n        self.level = level\n"
    )
    register(models)
    Xtalk.register_model_search_spec(slot="mood", spec=f"{models}")
    pipeline = Xtalk.create_pipeline_from_config(
        pipeline_cls=MoodyPipeline,
        config_path_or_dict={**CONFIG, "mood": {"type": "Mood", "params": {"level": 7}}},
        additional_model_registry={},
    )
    assert isinstance(pipeline, MoodyPipeline)
    assert pipeline.mood.level == 7
    assert pipeline.clone().mood is pipeline.mood


def test_ready_models_take_the_place_of_configured_ones(
    registry: Any, models: Path, dial: Any, run: Any
) -> None:
    register(models)
    agent = ScriptedAgent(["Ready."])
    pipeline = Xtalk.create_pipeline_from_config(
        pipeline_cls=MoodyPipeline,
        config_path_or_dict=CONFIG,
        additional_model_registry={"llm_agent": agent, "mood": "calm"},
    )
    assert (pipeline.get_agent(), pipeline.mood) == (agent, "calm")
    app = Xtalk(service_prototype=DefaultService(pipeline=pipeline), max_sessions=2)

    async def main() -> None:
        async with dial(app) as call:
            await call.turn()
            assert call.client.received(m.FinishResp)[0].text == "Ready."

    run(main)


def test_errors_say_what_was_looked_for_and_why_it_failed(registry: Any, tmp_path: Path) -> None:
    """Trap 103: a required slot that stays empty, a typo and a broken import each say so."""
    with pytest.raises(MissingModel, match="asr"):
        Xtalk.from_config({"llm_agent": "EchoAgent", "tts": "BeepTTS"})
    broken = tmp_path / "broken_models.py"
    broken.write_text("import no_such_sdk\n")
    Xtalk.register_model_search_spec(slot="asr", spec=str(broken))
    with pytest.raises(MissingModel, match="no_such_sdk"):
        Xtalk.from_config({**CONFIG, "asr": "Whatever"})
    with pytest.raises(ValueError, match="asr"):
        Xtalk.from_config({**CONFIG, "asr": {"params": {}}})


def test_the_whole_of_it_without_any_configuration(dial: Any, run: Any) -> None:
    """Objects put together by hand, as the original's `custom_service` example does."""
    app = Xtalk(
        service_prototype=DefaultService(
            pipeline=DefaultPipeline(
                asr=ScriptedASR(), llm_agent=ScriptedAgent(), tts=ScriptedTTS()
            ),
            service_config={},
        ),
        max_sessions=10,
    )

    async def main() -> None:
        async with dial(app) as call:
            await call.turn()

    run(main)
