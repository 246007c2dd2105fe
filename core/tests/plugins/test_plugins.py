"""Finding, loading and calling plugins; a broken one never takes another with it."""

from __future__ import annotations

from typing import Any

import pytest

from xtalk.errors import PluginError
from xtalk.hookspecs import hookimpl
from xtalk.plugins import Plugin, Plugins

GOOD = """
    @hookimpl
    def xtalk_tts():
        yield Model("GoodTTS", "nowhere.good:GoodTTS", "speaks")
"""


def row(plugins: Plugins, name: str) -> Plugin:
    return next(plugin for plugin in plugins.rows if plugin.name == name)


def names(plugins: Plugins, slot: str) -> list[str]:
    return [model.name for _, model in plugins.models(slot)]


def test_an_installed_plugin_is_a_row_with_what_it_brings(installed: Any) -> None:
    installed.add("good", GOOD, version="2.3")
    good = row(installed.load(), "good")
    assert (good.distribution, good.version, good.error, good.loaded) == (
        "xtalk-good", "2.3", None, True,
    )  # fmt: skip
    assert good.hooks == ["xtalk_tts"]
    assert [model.name for model in good.models["tts"]] == ["GoodTTS"]


BROKEN = {
    "an import error": ("import no_such_module_at_all", "No module named 'no_such_module_at_all'"),
    "an exit at import": ("raise SystemExit(3)", "raised SystemExit: 3"),
    "a syntax error": ("def (", "raised SyntaxError"),
    "an unknown hook": ("@hookimpl\ndef xtalk_ttts(): ...", "no hook xtalk_ttts; did you mean"),
    "a wrong argument": (
        "@hookimpl\ndef xtalk_wrap_speak(sesion): ...",
        "xtalk_wrap_speak has an argument 'sesion', but the hook takes session; "
        "did you mean session?",
    ),
    "an argument that a slot hook does not have": (
        "@hookimpl\ndef xtalk_tts(config): ...",
        "the hook takes no arguments",
    ),
    "a default": (
        "@hookimpl\ndef xtalk_wrap_speak(session=None): ...",
        "gives its argument 'session' a default",
    ),
    "a coroutine": ("@hookimpl\nasync def xtalk_tts(): ...", "xtalk_tts is async"),
    "an async generator": (
        "@hookimpl\nasync def xtalk_session(session):\n    yield",
        "an async context manager instead",
    ),
    "a pluggy wrapper": (
        "@hookimpl(wrapper=True)\ndef xtalk_tts():\n    return (yield)",
        "which xtalk does not call",
    ),
    "a hook that raises": ("@hookimpl\ndef xtalk_tts():\n    1 / 0", "raised ZeroDivisionError"),
    "a hook that raises while it yields": (
        "@hookimpl\ndef xtalk_tts():\n    yield Model('A', 'a:A')\n    raise OSError('no disk')",
        "xtalk_tts raised OSError: no disk",
    ),
    "rubbish": ("@hookimpl\ndef xtalk_tts():\n    return 'EdgeTTS'", "gave 'E', expected"),
    "no iterable": ("@hookimpl\ndef xtalk_tts():\n    return 7", "raised TypeError"),
    "a target without class": (
        "@hookimpl\ndef xtalk_tts():\n    yield Model('A', 'somewhere')",
        "gave 'somewhere', expected \"module:Class\"",
    ),
    "the same type twice": (
        "@hookimpl\ndef xtalk_tts():\n    return [Model('A', 'a:A'), Model('A', 'b:A')]",
        "it offers tts A twice",
    ),
    "slots that are none": ("@hookimpl\ndef xtalk_slots():\n    yield 'mine'", "gave 'mine'"),
}


@pytest.mark.parametrize("code, reason", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_plugin_is_a_row_with_its_reason(installed: Any, code: str, reason: str) -> None:
    # One before and one after it in the order of loading.
    installed.add("a-good", GOOD)
    installed.add("broken", code)
    installed.add("z-good", GOOD.replace("GoodTTS", "OtherTTS"))
    plugins = installed.load()
    assert reason in (row(plugins, "broken").error or "")
    assert {"GoodTTS", "OtherTTS"} <= set(names(plugins, "tts"))
    assert not plugins.healthy


def test_a_refused_plugin_is_never_called(installed: Any) -> None:
    installed.add("typo", GOOD + "\n    @hookimpl\n    def xtalk_ssession(session): ...\n")
    plugins = installed.load()
    assert not row(plugins, "typo").loaded
    assert names(plugins, "tts") == []


@pytest.mark.parametrize("wants", ["xtalk-core>=7", "xtalk_core <0.1", "xtalk-core[testing]==9.*"])
def test_the_range_of_the_core_is_checked_before_the_import(installed: Any, wants: str) -> None:
    module = installed.add("young", "raise SystemError('imported')", requires=[wants])
    error = row(installed.load(), "young").error
    assert error and "it needs xtalk-core" in error and "imported" not in error
    assert module not in __import__("sys").modules


def test_a_range_of_an_extra_does_not_count(installed: Any) -> None:
    installed.add("old", GOOD, requires=["xtalk-core>=0.1", "xtalk-core>=7; extra == 'test'"])
    assert row(installed.load(), "old").error is None


def test_a_type_of_two_packages_is_a_note_in_both(installed: Any) -> None:
    installed.add("one", GOOD)
    installed.add("two", GOOD)
    plugins = installed.load()
    assert row(plugins, "one").notes == ["tts GoodTTS is also offered by two"]
    assert row(plugins, "two").notes == ["tts GoodTTS is also offered by one"]
    assert not plugins.healthy


def test_a_hook_without_its_marker_is_a_note(installed: Any) -> None:
    installed.add("bare", "def xtalk_tts():\n    return []")
    assert row(installed.load(), "bare").notes == ["xtalk_tts lacks @hookimpl and is never called"]


def test_two_plugins_of_one_name() -> None:
    plugins = Plugins()
    plugins.register(Wrapper(print), "same", distribution="one")
    plugins.register(Wrapper(print), "same", distribution="two")
    third = plugins.register(Wrapper(print), "same", distribution="one")
    assert third.error == "one has another plugin 'same'"
    assert len(plugins.call("xtalk_wrap_speak", session=None)) == 2


# --- which are loaded ----------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", ["good", "xtalk-good", "Xtalk_Good,", "other good"])
def test_only_named_plugins_load(installed: Any, wanted: str) -> None:
    installed.add("good", GOOD)
    installed.add("bad", "raise SystemError")
    plugins = Plugins.load({"XTALK_LOAD_PLUGINS": wanted})
    assert names(plugins, "tts") == ["GoodTTS"]
    assert row(plugins, "bad").error is None
    assert row(plugins, "bad").notes == ["not loaded: XTALK_LOAD_PLUGINS does not name it"]


def test_an_empty_list_loads_none(installed: Any) -> None:
    installed.add("good", GOOD)
    plugins = Plugins.load({"XTALK_LOAD_PLUGINS": ""})
    assert not any(plugin.loaded for plugin in plugins.rows)
    assert plugins.healthy


def test_a_name_that_is_not_installed_is_a_row(installed: Any) -> None:
    plugins = Plugins.load({"XTALK_LOAD_PLUGINS": "nobody"})
    assert row(plugins, "nobody").error == "XTALK_LOAD_PLUGINS names it, but it is not installed"


@pytest.mark.parametrize("blocked", ["good", "xtalk-good, other"])
def test_blocked_plugins_do_not_load(installed: Any, blocked: str) -> None:
    installed.add("good", GOOD)
    plugins = installed.load(XTALK_BLOCK_PLUGINS=blocked)
    assert names(plugins, "tts") == []
    assert row(plugins, "good").notes == ["not loaded: XTALK_BLOCK_PLUGINS names it"]


@pytest.mark.parametrize(
    "requirement, answer",
    [
        ("xtalk-good", None),
        ("good>=2", None),
        ("xtalk-good>=3", "is required, but 2.3 is installed"),
        ("xtalk-missing", "is required but not installed"),
        ("xtalk-bad", "is required but broken: importing"),
    ],
)
def test_required_plugins(installed: Any, requirement: str, answer: str | None) -> None:
    installed.add("good", GOOD, version="2.3")
    installed.add("bad", "import no_such_module_at_all")
    unmet = installed.load().check_required([requirement])
    assert (answer is None and not unmet) or (answer is not None and answer in unmet[0])


def test_a_required_plugin_that_is_blocked(installed: Any) -> None:
    installed.add("good", GOOD)
    unmet = installed.load(XTALK_BLOCK_PLUGINS="good").check_required(["xtalk-good"])
    assert unmet == [
        "the plugin xtalk-good is required but not loaded: XTALK_BLOCK_PLUGINS names it"
    ]


# --- new slots -----------------------------------------------------------------------------------

DECLARES = """
    @hookimpl
    def xtalk_slots():
        yield Slot("backchannel", "says mm-hm")
"""
FILLS = """
    @hookimpl
    def xtalk_backchannel():
        yield Model("MmHm", "nowhere:MmHm")
"""


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_a_new_slot_is_filled_by_others(installed: Any, order: tuple[str, str]) -> None:
    installed.add(order[0], DECLARES)
    installed.add(order[1], FILLS)
    plugins = installed.load()
    assert plugins.healthy
    assert names(plugins, "backchannel") == ["MmHm"]
    assert plugins.slots["backchannel"].summary == "says mm-hm"


def test_a_wrong_argument_of_a_new_slots_hook(installed: Any) -> None:
    installed.add("a", FILLS.replace("backchannel()", "backchannel(session)"))
    installed.add("b", DECLARES)
    plugins = installed.load()
    assert "the hook takes no arguments" in (row(plugins, "a").error or "")
    assert row(plugins, "b").error is None


def test_a_hook_under_another_name_fills_a_new_slot(installed: Any) -> None:
    installed.add("a", DECLARES)
    installed.add(
        "b",
        """
        @hookimpl(specname="xtalk_backchannel")
        def fill():
            yield Model("MmHm", "nowhere:MmHm")
        """,
    )
    plugins = installed.load()
    assert plugins.healthy and names(plugins, "backchannel") == ["MmHm"]


@pytest.mark.parametrize("name", ["session", "make_model", "two words", ""])
def test_a_slot_cannot_take_any_name(installed: Any, name: str) -> None:
    installed.add("a", DECLARES.replace("backchannel", name))
    installed.add("b", GOOD)
    plugins = installed.load()
    assert f"it declares a slot {name!r}, which cannot" in (row(plugins, "a").error or "")
    assert names(plugins, "tts") == ["GoodTTS"]


# --- calling -------------------------------------------------------------------------------------


class Wrapper:
    def __init__(self, answer: object) -> None:
        self.answer = answer

    @hookimpl
    def xtalk_wrap_speak(self, session: object) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_a_call_that_fails_costs_only_that_plugin(caplog: pytest.LogCaptureFixture) -> None:
    plugins = Plugins()
    plugins.register(Wrapper(print), "a")
    plugins.register(Wrapper(ValueError("oh")), "b")
    plugins.register(Wrapper("no function"), "c")
    plugins.register(Wrapper(None), "d")
    answers = plugins.call("xtalk_wrap_speak", session=None)
    assert [(plugin.name, answer) for plugin, answer in answers] == [("a", print)]
    assert row(plugins, "b").error == "xtalk_wrap_speak raised ValueError: oh"
    assert "gave 'no function', expected a wrapper" in (row(plugins, "c").error or "")
    assert row(plugins, "d").error is None
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]


def test_the_same_failure_is_said_once() -> None:
    plugins = Plugins()
    plugins.register(Wrapper(ValueError("oh")), "b")
    for _ in range(3):
        plugins.call("xtalk_wrap_speak", session=None)
    assert row(plugins, "b").error == "xtalk_wrap_speak raised ValueError: oh"


def test_order_then_asked_for_then_alphabet() -> None:
    class Last:
        @hookimpl(trylast=True)
        def xtalk_wrap_speak(self, session: object) -> Any:
            return print

    class First:
        @hookimpl(tryfirst=True)
        def xtalk_wrap_speak(self, session: object) -> Any:
            return print

    plugins = Plugins()
    for name, module in [("d", Wrapper(print)), ("a", Last()), ("c", First()), ("b", Wrapper(id))]:
        plugins.register(module, name)

    def called() -> list[str]:
        return [str(plugin) for plugin, _ in plugins.call("xtalk_wrap_speak", session=None)]

    assert called() == ["c", "b", "d", "a"]
    plugins.set_order(["a", "d"])
    assert called() == ["a", "d", "c", "b"]
    assert [plugin.name for plugin in plugins.rows] == ["a", "d", "b", "c"]


def test_first_asks_until_somebody_answers_and_hides_no_failure() -> None:
    class Maker:
        def __init__(self, answer: object) -> None:
            self.answer = answer

        @hookimpl
        def xtalk_make_model(self, model: type, params: object) -> object:
            if isinstance(self.answer, Exception):
                raise self.answer
            return self.answer

    plugins = Plugins()
    assert plugins.first("xtalk_make_model", model=str, params={}) is None
    plugins.register(Maker(None), "a")
    plugins.register(Maker("made"), "b")
    assert plugins.first("xtalk_make_model", model=str, params={}) == "made"
    plugins.register(Maker(OSError("no room")), "A")
    with pytest.raises(PluginError, match="plugin A: xtalk_make_model raised OSError: no room"):
        plugins.first("xtalk_make_model", model=str, params={})


def test_a_returned_coroutine_is_refused_and_closed() -> None:
    async def later() -> None: ...

    class Lazy:
        @hookimpl
        def xtalk_configure(self, config: object) -> Any:
            return later()

    plugins = Plugins()
    plugins.register(Lazy(), "lazy")
    assert plugins.call("xtalk_configure", config=None) == []
    assert "returned a coroutine" in (row(plugins, "lazy").error or "")


def test_an_attribute_that_is_made_late_stays_unmade() -> None:
    class Heavy:
        def __dir__(self) -> list[str]:
            return ["sdk"]

        @property
        def sdk(self) -> object:
            raise AssertionError("nobody asked for it")

    assert Plugins().register(Heavy(), "heavy").loaded
