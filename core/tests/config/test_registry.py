"""Where a class is looked for, in which order, and what is said when it is not there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from xtalk.errors import ConfigError, MissingModel
from xtalk.plugins import Plugins
from xtalk.registry import PLUGINS, Registry, import_spec

VOICES = """
class Voice:
    origin = "{origin}"

class Group:
    class Inner:
        pass

def function(): ...
"""


@pytest.fixture
def voices(installed: Any) -> Path:
    path: Path = installed.folder / "my_voices.py"
    path.write_text(VOICES.format(origin="module"))
    return path


def plugin(installed: Any, name: str = "voice", **more: Any) -> Plugins:
    hooks = f"""
        @hookimpl
        def xtalk_tts():
            yield Model("Voice", "{name}_impl:Voice", {more.pop("card", "'speaks'")})
    """
    code = more.pop("code", VOICES.format(origin=f"plugin {name}"))
    installed.add(name, hooks, modules={f"{name}_impl": code})
    plugins: Plugins = installed.load()
    return plugins


@pytest.mark.parametrize(
    "spec, name",
    [
        ("my_voices", "Voice"),
        ("my_voices:Voice", "Voice"),
        ("my_voices:Group", "Inner"),
        ("my_voices:Group.Inner", "Inner"),
        ("{file}", "Voice"),
        ("{file}:Voice", "Voice"),
        ("{file}:Group", "Inner"),
    ],
)
def test_every_form_of_a_spec(voices: Path, spec: str, name: str) -> None:
    registry = Registry(Plugins(), {"tts": [spec.format(file=voices)]})
    assert registry.find("tts", name).cls.__name__ == name


def test_a_path_is_imported_once_under_a_name_of_its_own(voices: Path) -> None:
    first = import_spec(voices)
    assert import_spec(str(voices)) is first
    assert first.__name__.startswith("xtalk_userfile_") and first.__name__ in sys.modules
    assert first is not import_spec("my_voices")


def test_a_file_that_fails_is_not_kept(installed: Any) -> None:
    path = installed.folder / "sick.py"
    path.write_text("raise OSError('not today')")
    with pytest.raises(OSError, match="not today"):
        import_spec(path)
    path.write_text("class Voice: ...")
    assert import_spec(path).Voice


@pytest.mark.parametrize(
    "spec, place, attributes",
    [
        (r"C:\models\voices.py", r"C:\models\voices.py", ""),
        (r"C:\models\voices.py:Fast", r"C:\models\voices.py", "Fast"),
        ("C:/models/voices.py:a.b", "C:/models/voices.py", "a.b"),
        ("voices.py", "voices.py", ""),
        ("package.voices:fast.inner", "package.voices", "fast.inner"),
        (Path("a:b.py"), "a:b.py", ""),
    ],
)
def test_the_colon_of_a_drive_letter(spec: str | Path, place: str, attributes: str) -> None:
    from xtalk.registry import _split

    assert _split(spec) == (place, attributes)


def test_specs_before_the_plugins_shadow_them_and_those_after_follow(
    installed: Any, voices: Path
) -> None:
    plugins = plugin(installed)

    def origin(*specs: str | Path) -> Any:
        return Registry(plugins, {"tts": specs}).find("tts", "Voice").cls.origin  # type: ignore[attr-defined]

    assert origin("my_voices", PLUGINS) == "module"
    assert origin(PLUGINS, "my_voices") == "plugin voice"
    assert Registry(plugins).find("tts", "Voice").source == "xtalk-voice"


def test_a_spec_that_fails_is_said_when_nothing_is_found(installed: Any) -> None:
    (installed.folder / "sick_voices.py").write_text("import no_such_sdk")
    registry = Registry(Plugins(), {"tts": ["sick_voices", PLUGINS]})
    with pytest.raises(MissingModel) as caught:
        registry.find("tts", "Qqqq")
    assert str(caught.value) == (
        "no tts named 'Qqqq'; installed: none. importing sick_voices raised "
        "ModuleNotFoundError: No module named 'no_such_sdk'"
    )


def test_a_spec_that_fails_is_logged_when_another_has_it(
    installed: Any, voices: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Registry(Plugins(), {"tts": ["no_such_module_at_all", "my_voices"]}).find("tts", "Voice")
    assert "no_such_module_at_all" in caplog.text


def test_what_is_not_a_class(voices: Path) -> None:
    with pytest.raises(MissingModel, match="function in my_voices is not a class but function"):
        Registry(Plugins(), {"tts": ["my_voices"]}).find("tts", "function")


@pytest.mark.parametrize(
    "name, answer",
    [
        ("CosyVoice", "no tts named 'CosyVoice'; installed: Voice. "
         "It belongs to the plugin xtalk-tts-cosyvoice, which is not installed"),
        ("Voise", "no tts named 'Voise'; installed: Voice. Did you mean 'Voice'?"),
        ("VOICE", "no tts named 'VOICE'; installed: Voice. Did you mean 'Voice'?"),
        ("CosyVoise", "no tts named 'CosyVoise'; installed: Voice. "
         "Did you mean 'CosyVoice'? "
         "It belongs to the plugin xtalk-tts-cosyvoice, which is not installed. "
         "A class in a file of your own is named with that file: tts = 'my_file.py:CosyVoise'"),
        ("Vocoder", "no tts named 'Vocoder'; installed: Voice. Did you mean 'Voice'? "
         "A class in a file of your own is named with that file: tts = 'my_file.py:Vocoder'"),
        ("Qqqq", "no tts named 'Qqqq'; installed: Voice. "
         "A class in a file of your own is named with that file: tts = 'my_file.py:Qqqq'"),
    ],
)  # fmt: skip
def test_hints(installed: Any, name: str, answer: str) -> None:
    plugins = plugin(installed)
    plugins.rows = [row for row in plugins.rows if row.loaded]  # not what this machine has
    with pytest.raises(MissingModel) as caught:
        Registry(plugins).find("tts", name)
    assert str(caught.value) == answer
    assert "pip install" not in str(caught.value)


DUMMY = """
    @hookimpl
    def xtalk_asr():
        yield Model("DummyASR", "nowhere:DummyASR")
"""


@pytest.mark.parametrize(
    ("hooks", "blocked", "name", "answer"),
    [
        (DUMMY, "", "DummyASR", "DummyASR is for the slot asr"),
        (DUMMY, "", "DummyASRR", None),
        (DUMMY, "", "DummyTTS",
         "It belongs to the plugin xtalk-example, but its version 1.0 lacks it"),
        (DUMMY, "example", "DummyASR", "It belongs to the plugin xtalk-example, "
         "which is not loaded: XTALK_BLOCK_PLUGINS names it"),
        ("import no_such_module", "", "DummyASR",
         "It belongs to the plugin xtalk-example, which is broken"),
    ],
)  # fmt: skip
def test_a_hint_says_only_what_is_so(
    installed: Any, hooks: str, blocked: str, name: str, answer: str | None
) -> None:
    installed.add("example", hooks)
    with pytest.raises(MissingModel) as caught:
        Registry(installed.load(XTALK_BLOCK_PLUGINS=blocked)).find("tts", name)
    if answer is None:
        assert "DummyASR'?" not in str(caught.value)
    else:
        assert str(caught.value).endswith(f". {answer}")


@pytest.mark.parametrize("place", ["my_voices.py", "./my_voices.py", "{folder}/my_voices.py"])
def test_a_type_may_name_the_file_that_it_is_in(
    voices: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(voices.parent)
    name = f"{place.format(folder=voices.parent)}:Voice"
    assert Registry(Plugins()).find("tts", name).cls.origin == "module"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("{file}:Voise", "no tts named 'Voise' in {file}"),
        ("{file}:function", "no tts named 'function' in {file}. "
         "function in {file} is not a class but function"),
        ("none.py:Voice", "no tts named 'Voice' in none.py. "
         "importing none.py raised FileNotFoundError: "),
    ],
)  # fmt: skip
def test_a_type_that_is_not_in_its_file(voices: Path, name: str, answer: str) -> None:
    with pytest.raises(MissingModel) as caught:
        Registry(Plugins()).find("tts", name.format(file=voices))
    assert str(caught.value).startswith(answer.format(file=voices))


def test_a_broken_plugin_is_named_when_a_type_is_missing(installed: Any) -> None:
    installed.add("tts-cosyvoice", "import no_such_sdk")
    with pytest.raises(MissingModel, match=r"the plugin tts-cosyvoice is broken: .*no_such_sdk"):
        Registry(installed.load()).find("tts", "CosyVoice")


def test_a_type_of_two_packages_is_an_error_when_it_is_used(installed: Any) -> None:
    plugin(installed, "one")
    plugins = plugin(installed, "two")
    with pytest.raises(ConfigError, match="'Voice' is offered by xtalk-one and xtalk-two"):
        Registry(plugins).find("tts", "Voice")
    assert Registry(plugins).names("tts") == ["Voice"]


def test_a_missing_extra_is_named(installed: Any) -> None:
    plugins = plugin(installed, code="import no_such_sdk", card="extra='local'")
    with pytest.raises(MissingModel) as caught:
        Registry(plugins).find("tts", "Voice")
    assert str(caught.value) == (
        "Voice of xtalk-voice cannot be imported: No module named 'no_such_sdk'; "
        'it needs: pip install "xtalk-voice[local]"'
    )


@pytest.mark.parametrize(
    "code, answer",
    [
        ("raise RuntimeError('CUDA')", "cannot be imported: RuntimeError: CUDA"),
        ("", "cannot be imported: AttributeError"),
        ("Voice = 3", "voice_impl:Voice of xtalk-voice is not a class"),
    ],
)
def test_a_target_that_cannot_be_used(installed: Any, code: str, answer: str) -> None:
    with pytest.raises(MissingModel, match=answer):
        Registry(plugin(installed, code=code)).find("tts", "Voice")
