"""The `xtalk` command: what it prints where, and its exit status."""

from __future__ import annotations

import json
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from xtalk.cli import main

pytestmark = pytest.mark.real_time

HOOKS = """
@hookimpl
def xtalk_asr():
    yield Model("Ear", "cli_models:Ear", languages=("en",), sample_rates=(16000,), streaming=False)

@hookimpl
def xtalk_tts():
    yield Model("Mouth", "cli_models:Mouth", "says aah", voices=("alto",), license="MIT")
"""
MODELS = """
from xtalk.speech.interfaces import ASR, TTS

life = []

class Ear(ASR):
    def __init__(self, *, api_key: str = ""): ...
    def recognize(self, audio):
        life.append(len(audio))
        return f"{len(audio) // 2} samples"
    def reset(self): ...
    def clone(self): return self
    def open(self): life.append("open")
    async def close(self): life.append("close")

class StreamingEar(Ear):
    heard = 0
    async def async_recognize_stream(self, audio, *, is_final=False):
        self.heard += len(audio)
        return f"{self.heard // 2} streamed" if is_final else ""

class Mouth(TTS):
    output_rate = 8000
    def synthesize(self, text): raise AssertionError("not the most specific")
    def synthesize_stream(self, text):
        life.append(text)
        if text == "fail":
            raise OSError("no  lungs\\nleft")
        for letter in text:
            yield b"\\1\\0" * 800
    def clone(self): return self
    def close(self): life.append("close")
"""
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(installed: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `xtalk` here: exit status, stdout, stderr."""
    installed.add("cli", HOOKS, modules={"cli_models": MODELS})

    def run(*arguments: str | Path, **environ: str) -> tuple[int, str, str]:
        for name, value in installed.environ(**environ).items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as leaving:
            status = int(leaving.code or 0)
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


def life() -> list[Any]:
    import cli_models  # type: ignore[import-not-found]

    happened: list[Any] = cli_models.life
    return happened


# --- the command itself ---------------------------------------------------------------------------


def test_version_and_help(run: Run) -> None:
    status, out, _ = run("--version")
    assert status == 0 and out.startswith("xtalk ")
    status, out, _ = run("--help")
    assert status == 0
    assert all(name in out for name in ("plugins", "config", "say", "transcribe", "Exit status"))


@pytest.mark.parametrize("command", [["say", "hi"], ["talk"]])
def test_a_name_that_promises_another_format_is_refused(run: Run, command: list[str]) -> None:
    status, _, err = run(*command, "-o", "x.mp3")
    assert status == 2
    assert err.endswith("argument -o/--output: only WAV files are written: name it x.wav\n")


@pytest.mark.parametrize("arguments", [[], ["sing"], ["say", "x"], ["config"]])
def test_a_wrong_command_line_is_status_2(run: Run, arguments: list[str]) -> None:
    status, out, err = run(*arguments)
    assert status == 2 and not out and "usage: xtalk" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["plugins"],
        ["models", "list"],
        ["config", "show"],
        ["config", "check"],
        ["config", "schema"],
        ["say"],
        ["transcribe"],
    ],
)
def test_every_command_has_help(run: Run, arguments: list[str]) -> None:
    status, out, _ = run(*arguments, "--help")
    assert status == 0 and "--config" in out and "--json" in out


def test_plugins_add_commands_but_replace_none(run: Run, installed: Any) -> None:
    hook = """
        @hookimpl
        def xtalk_commands(commands):
            parser = commands.add_parser("{name}")
            parser.set_defaults(run=lambda arguments: print(len(arguments.plugins.rows)) or 5)
    """
    installed.add("adds", hook.format(name="count"))
    installed.add("steals", hook.format(name="say"))
    status, out, _ = run("count")
    assert status == 5 and int(out) >= 3
    status, out, _ = run("plugins")
    assert status == 1 and "BROKEN: xtalk_commands adds the command 'say', which exists" in out
    assert run("say", "hi", "-o", installed.folder / "x.wav")[0] == 0


def test_a_command_with_nothing_to_run_names_its_plugin(run: Run, installed: Any) -> None:
    hook = """
        @hookimpl
        def xtalk_commands(commands):
            {adds}
    """
    installed.add("idle", hook.format(adds='commands.add_parser("rest")'))
    installed.add("later", hook.format(adds='commands.add_parser("work")'))
    assert run("rest") == (
        1, "", "xtalk: the command 'rest' of the plugin idle has nothing to run; "
        "it should say parser.set_defaults(run=...)\n",
    )  # fmt: skip


def test_unforeseen_errors_are_one_line_unless_debugging(run: Run, tmp_path: Path) -> None:
    say = ("say", "fail", "-o", tmp_path / "o.wav")
    assert run(*say) == (1, "", "xtalk: OSError: no lungs left (--debug shows where)\n")
    with pytest.raises(OSError, match="no  lungs"):
        run("--debug", *say)
    with pytest.raises(OSError, match="no  lungs"):
        run(*say, "--debug")
    with pytest.raises(OSError, match="no  lungs"):
        run(*say, XTALK_DEBUG="1")


# --- plugins --------------------------------------------------------------------------------------


def test_the_listing_shows_cards_without_importing_classes(run: Run) -> None:
    import sys

    status, out, err = run("plugins")
    assert (status, err) == (0, "")
    assert "cli (xtalk-cli 1.0)" in out
    assert "tts: Mouth - says aah\n      voices: alto; licence: MIT" in out
    assert "asr: Ear\n      languages: en; Hz: 16000; no streaming" in out
    assert "cli_models" not in sys.modules


def test_a_broken_plugin_is_listed_and_is_status_1(run: Run, installed: Any) -> None:
    installed.add("sick", "import no_such_sdk")
    status, out, _ = run("plugins")
    assert status == 1
    assert "sick (xtalk-sick 1.0)\n  BROKEN: importing throwaway_sick raised ModuleNot" in out
    assert "tts: Mouth" in out
    status, out, _ = run("plugins", "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert status == 1 and "no_such_sdk" in rows["sick"]["error"]
    assert rows["cli"]["models"]["tts"][0]["voices"] == ["alto"]


def test_a_type_offered_twice_is_status_1(run: Run, installed: Any) -> None:
    installed.add("twin", HOOKS)
    status, out, _ = run("plugins")
    assert status == 1 and "note: tts Mouth is also offered by twin" in out


def test_requirements(run: Run) -> None:
    status, out, _ = run("plugins", "--requirements")
    assert status == 0 and "xtalk-cli==1.0" in out.splitlines()


def test_the_listing_obeys_order_and_required(run: Run, installed: Any) -> None:
    installed.add("zebra")
    Path("xtalk.toml").write_text('[plugins]\norder = ["zebra"]\nrequired = ["xtalk-cli>=2"]\n')
    status, out, err = run("plugins")
    assert out.index("zebra") < out.index("xtalk-cli")
    assert status == 1
    assert err == "xtalk: the plugin xtalk-cli>=2 is required, but 1.0 is installed\n"


@pytest.mark.parametrize("text", ["plugins = 3", "[plugins]\norder = 7", "not toml"])
def test_a_wrong_file_does_not_hide_the_listing(run: Run, text: str) -> None:
    Path("xtalk.toml").write_text(text)
    status, out, err = run("plugins")
    assert status == 1 and "tts: Mouth" in out and err.startswith("xtalk: xtalk.toml: ")


# --- config ---------------------------------------------------------------------------------------


def test_config_show(run: Run) -> None:
    Path("xtalk.toml").write_text('asr = {type = "Ear", params = {api_key = "sk-123"}}')
    status, out, err = run("config", "show", XTALK_TTS="Mouth", XTALK_TSS="x")
    assert status == 0 and "sk-123" not in out
    lines = {line.partition(" = ")[0]: line for line in out.splitlines()}
    assert lines["asr.type"].split("# ")[1] == "xtalk.toml"
    assert '"********"' in lines["asr.params.api_key"]
    assert lines["tts.type"].split("# ")[1] == "environment XTALK_TTS"
    assert "did you mean 'tts'?" in err
    rows = json.loads(run("config", "show", "--json")[1])
    assert {"path": "asr.type", "value": "Ear", "source": "xtalk.toml"} in rows


def test_config_check(run: Run, installed: Any) -> None:
    status, _, err = run("config", "check")
    assert status == 1 and err.startswith("xtalk: no llm_agent is ")
    Path("mind.py").write_text("class Mind: ...")
    installed.add(
        "mind",
        "@hookimpl\ndef xtalk_llm_agent():\n    yield Model('Mind', 'mind_impl:Mind')",
        modules={"mind_impl": "class Mind:\n    def __init__(self): raise SystemExit('built!')"},
    )
    assert run("config", "check") == (0, "The configuration is right.\n", "")
    Path("wrong.json").write_text('{"tts": {"type": "Mouth", "params": {"a": 1}}, "asr": "Eer"}')
    status, out, err = run("config", "check", "--config", "wrong.json")
    assert (status, out) == (1, "")
    assert err.splitlines() == [
        "xtalk: wrong.json: asr: no asr named 'Eer'; installed: Ear. Did you mean 'Ear'?",
        "xtalk: wrong.json: tts.params.a: unknown; Mouth takes no arguments",
    ]
    status, out, err = run("config", "check", "--config", "wrong.json", "--json")
    assert (status, err) == (1, "") and len(json.loads(out)["problems"]) == 2


def test_config_check_warns_of_a_plugin_that_is_broken(run: Run, installed: Any) -> None:
    installed.add("odd", "@hookimpl\ndef xtalk_settings(): return int")
    _, _, err = run("config", "check")
    assert (
        "xtalk: warning: the plugin odd is broken: xtalk_settings int does not tell its "
        "constructor's arguments"
    ) in err


def test_config_schema(run: Run) -> None:
    status, out, _ = run("config", "schema")
    assert status == 0 and json.loads(out)["properties"]["tts"]


# --- say and transcribe ---------------------------------------------------------------------------


def test_say_writes_what_the_voice_made(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "o.wav"
    status, out, _ = run("say", "abc", "-o", file, "--json")
    report = json.loads(out)
    assert status == 0
    assert (report["tts"], report["seconds"], report["sample_rate"]) == ("Mouth", 0.3, 8000)
    with wave.open(str(file)) as reader:
        assert reader.getparams()[:4] == (1, 2, 8000, 2400)
        assert reader.readframes(2400) == b"\1\0" * 2400
    assert life()[-1] == "close"


def test_say_speaks_a_long_text_sentence_by_sentence(run: Run, tmp_path: Path) -> None:
    text = "This is the first sentence of two. And this is the second one."
    run("say", text, "-o", tmp_path / "o.wav")
    assert life()[-1] == "close" and len(life()) == 3


def test_say_finds_errors(run: Run, tmp_path: Path) -> None:
    status, _, err = run("say", "hi", "-o", tmp_path / "o.wav", "--tts", "Moth")
    assert status == 1
    assert err == (
        "xtalk: arguments: tts: no tts named 'Moth'; installed: Mouth. Did you mean 'Mouth'?\n"
    )
    assert run("say", "", "-o", tmp_path / "o.wav")[2] == (
        "xtalk: Mouth made no sound of this text\n"
    )
    status, _, err = run("say", "hi", "-o", tmp_path / "no" / "o.wav")
    assert status == 1 and "cannot be written: No such file or directory" in err


def write(file: Path, rate: int, channels: int, seconds: float = 1.0) -> Path:
    with wave.open(str(file), "wb") as writer:
        writer.setnchannels(channels)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(bytes(2 * channels * int(rate * seconds)))
    return file


def test_transcribe_hands_over_the_whole_recording_once(run: Run, tmp_path: Path) -> None:
    file = write(tmp_path / "i.wav", 44_100, 2, 3.0)
    status, out, _ = run("transcribe", file)
    assert (status, out) == (0, "48000 samples\n")
    assert life() == ["open", 96_000, "close"]
    assert json.loads(run("transcribe", file, "--json")[1]) == {
        "text": "48000 samples",
        "asr": "Ear",
        "seconds": 3.0,
    }


def test_transcribe_streams_into_a_recogniser_that_streams(run: Run, tmp_path: Path) -> None:
    (tmp_path / "site" / "throwaway_cli.py").write_text(
        "from xtalk.hookspecs import Model, hookimpl\n" + HOOKS.replace("Ear", "StreamingEar")
    )
    file = write(tmp_path / "i.wav", 16_000, 1, 1.1)
    assert run("transcribe", file)[:2] == (0, "17600 streamed\n")


def test_transcribe_refuses_what_is_no_wav(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "i.mp3"
    file.write_bytes(b"ID3 and so on")
    status, _, err = run("transcribe", file)
    assert status == 1 and err.startswith(f"xtalk: {file}: is not a WAV file; convert it")
    status, _, err = run("transcribe", tmp_path / "none.wav")
    assert status == 1 and err.endswith("none.wav: cannot be read: No such file or directory\n")


AGENT = """
    @hookimpl
    def xtalk_asr():
        yield Model("GrammarEar", "grammar_models:GrammarEar")

    @hookimpl
    def xtalk_llm_agent():
        yield Model("Mind", "grammar_models:Mind")
"""
AGENT_MODELS = """
from cli_models import Ear
from xtalk.agent import Agent

class GrammarEar(Ear):
    jsgf = "nothing"
    def recognize(self, audio): return self.jsgf
    def set_grammar(self, jsgf): self.jsgf = jsgf

class Mind(Agent):
    def __init__(self, api_key: str = "x"):
        if not api_key:
            raise ValueError("no key")
    def generate(self, input): ...
    def clone(self): ...
    def grammar(self): return "the grammar"
"""


def test_transcribe_understands_what_the_conversation_would(
    run: Run, installed: Any, tmp_path: Path
) -> None:
    installed.add("mind", AGENT, modules={"grammar_models": AGENT_MODELS})
    file = write(tmp_path / "i.wav", 16_000, 1)
    assert run("transcribe", file, "--asr", "GrammarEar") == (0, "the grammar\n", "")
    status, out, err = run("transcribe", file, "--asr", "Ear", XTALK_LLM_AGENT__PARAMS__API_KEY="")
    assert (status, out, err) == (0, "16000 samples\n", "")
    status, out, err = run("transcribe", file, "--asr", "GrammarEar")
    assert (status, out) == (0, "nothing\n")
    assert err == (
        "xtalk: warning: no grammar, since there is no agent: "
        "llm_agent: Mind cannot be built: ValueError: no key\n"
    )
