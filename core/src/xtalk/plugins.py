"""Find the installed plugins, load them, and say what each one brings.

A plugin that cannot be loaded, or whose hook fails, is a row with its reason; it never takes
another plugin with it. So each hook implementation is called by itself, and what it yields is
drained and checked before it is believed; a context that it gives is entered and left so, too.
"""

from __future__ import annotations

import difflib
import inspect
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import pluggy

from xtalk import hookspecs
from xtalk.errors import ConfigError, PluginError
from xtalk.hookspecs import GROUP, SLOTS, Download, Model, Slot, hookspec
from xtalk.versions import normalized, satisfies, split_requirement

if TYPE_CHECKING:
    from importlib_metadata import EntryPoint

__all__ = ["Plugin", "Plugins", "installed_version"]

log = logging.getLogger(__name__)

T = TypeVar("T")

CORE = "xtalk-core"


@dataclass
class Plugin:
    """One plugin, sound or broken: a row of `xtalk plugins`.

    `loaded` says that its hooks are called; `models` what it offers, by slot. `error` says why
    it, or one of its hooks, does not work; `notes` say what else is worth knowing.
    """

    name: str
    distribution: str = ""
    version: str = ""
    target: str = ""
    loaded: bool = False
    hooks: list[str] = field(default_factory=list)
    models: dict[str, list[Model]] = field(default_factory=dict)
    error: str | None = None
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return self.name

    def fail(self, reason: str) -> None:
        """Add a reason to the error; the same reason counts once."""
        if self.error is None:
            self.error = reason
        elif reason not in self.error:
            self.error = f"{self.error}; {reason}"

    def blame(self, hook: str, error: BaseException) -> None:
        """A hook, or what it gave, failed: an error in the row, and a line in the log.

        The row has the first failure of each hook, and so has the log its traceback.
        """
        reason = f"{hook} {_failure(error)}"
        # Every session may bring another one, with a name of its own in it.
        first = f"{hook} " not in (self.error or "")
        if first:
            self.fail(reason)
        log.warning("plugin %s: %s", self, reason, exc_info=error if first else None)

    def goes_by(self, names: Iterable[str]) -> bool:
        """Whether one of the names means this plugin: its own or its distribution's."""
        return not {normalized(self.name), normalized(self.distribution)}.isdisjoint(
            normalized(name) for name in names
        )


class _Manager(pluggy.PluginManager):
    """Looks only at names that may be hooks, so that a lazy attribute of a module stays lazy."""

    def parse_hookimpl_opts(self, plugin: object, name: str) -> pluggy.HookimplOpts | None:
        if not name.startswith("xtalk_") and name not in getattr(plugin, "__dict__", ()):
            return None
        return super().parse_hookimpl_opts(plugin, name)


class Plugins:
    """A set of plugins. An ordinary object: a test builds its own.

    `Plugins()` is empty, `Plugins.load()` holds what is installed. `rows` has one `Plugin` for
    each, also for broken and blocked ones; `slots` every slot by name.
    """

    def __init__(self) -> None:
        self.rows: list[Plugin] = []
        self.slots: dict[str, Slot] = {slot.name: slot for slot in SLOTS}
        self._order: list[str] = []
        self._manager = _Manager(GROUP)
        self._manager.add_hookspecs(hookspecs)

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> Plugins:
        """The installed plugins, as XTALK_LOAD_PLUGINS and XTALK_BLOCK_PLUGINS narrow them."""
        import importlib_metadata

        environ = os.environ if environ is None else environ
        wanted = _names(environ.get("XTALK_LOAD_PLUGINS"))
        blocked = _names(environ.get("XTALK_BLOCK_PLUGINS")) or []
        found = sorted(importlib_metadata.entry_points(group=GROUP), key=lambda entry: entry.name)
        plugins = cls()
        loaded = []
        core = installed_version()
        for entry in found:
            plugin = _row(entry)
            plugins.rows.append(plugin)
            if wanted is not None and not plugin.goes_by(wanted):
                plugin.notes.append("not loaded: XTALK_LOAD_PLUGINS does not name it")
            elif plugin.goes_by(blocked):
                plugin.notes.append("not loaded: XTALK_BLOCK_PLUGINS names it")
            elif (module := _import(entry, plugin, core)) is not None:
                loaded.append((plugin, module))
        for name in wanted or []:
            if not any(plugin.goes_by([name]) for plugin in plugins.rows):
                plugins.rows.append(
                    Plugin(name, error="XTALK_LOAD_PLUGINS names it, but it is not installed")
                )
        plugins._take(loaded)
        return plugins

    def register(
        self, module: object, name: str = "", *, distribution: str = "", version: str = ""
    ) -> Plugin:
        """Add a plugin that is at hand: a module, or an object with hooks."""
        name = name or getattr(module, "__name__", type(module).__name__)
        plugin = Plugin(name, distribution, version, name)
        self.rows.append(plugin)
        self._take([(plugin, module)])
        return plugin

    def set_order(self, names: Sequence[str]) -> None:
        """These plugins come first, in this order, whatever their hooks ask for."""
        self._order = list(names)
        self.rows.sort(key=self._rank)

    def check_required(self, requirements: Iterable[str]) -> list[str]:
        """One sentence for each requirement (`xtalk-tts-foo>=0.3`) that is not met."""
        return [text for each in requirements if (text := self._unmet(each))]

    @property
    def healthy(self) -> bool:
        """No plugin is broken and no type is offered twice."""
        return all(plugin.error is None for plugin in self.rows) and not self._doubles()

    def models(self, slot: str) -> list[tuple[Plugin, Model]]:
        """What the plugins offer for a slot, in their order."""
        return [(row, model) for row in self.rows for model in row.models.get(slot, ())]

    # --- calling hooks ---------------------------------------------------------------------------

    def call(self, hook: str, **arguments: Any) -> list[tuple[Plugin, Any]]:
        """The answer of each plugin that gave one, in order; iterables come as lists.

        A plugin that raises or answers rubbish gets an error in its row, and one log line.
        """
        found = self.each(hook, **arguments)
        return [(plugin, answer) for plugin, answer in found if answer is not None]

    def each(self, hook: str, **arguments: Any) -> Iterator[tuple[Plugin, Any]]:
        """The same, one plugin after another; None for one that gave no answer, or failed."""
        for plugin, function, given in self._implementations(hook, arguments):
            answer = None
            try:
                answer = _checked(hook, function(*given), self.slots)
            except (Exception, SystemExit) as error:
                plugin.blame(hook, error)
            yield plugin, answer

    def contexts(self, hook: str, **arguments: Any) -> list[AbstractAsyncContextManager[None]]:
        """The context of each plugin that gives one, in order.

        What a context raises when it is entered or left is its plugin's failure and no more; one
        that could not be entered is not left.
        """
        found = self.call(hook, **arguments)
        return [_Context(plugin, hook, context) for plugin, context in found]

    def wrapped(self, hook: str, stage: T, **arguments: Any) -> T:
        """The stage inside the wrappers that plugins have for it, the first of them outermost.

        A wrapper that fails at it is left out.
        """
        for plugin, wrapper in reversed(self.call(hook, **arguments)):
            try:
                around = wrapper(stage)
                _expect(around is not None, around, "a stage")
                stage = around
            except (Exception, SystemExit) as error:
                plugin.blame(hook, error)
        return stage

    def first(self, hook: str, **arguments: Any) -> Any:
        """The first answer that is not None, or None.

        Raises PluginError when a plugin fails: whoever asks for one answer must not silently
        get another one's.
        """
        for plugin, function, given in self._implementations(hook, arguments):
            try:
                answer = _checked(hook, function(*given), self.slots)
            except (Exception, SystemExit) as error:
                reason = f"{hook} {_failure(error)}"
                plugin.fail(reason)
                raise PluginError(f"plugin {plugin}: {reason}") from error
            if answer is not None:
                return answer
        return None

    def _implementations(
        self, hook: str, arguments: Mapping[str, Any]
    ) -> Iterator[tuple[Plugin, Callable[..., Any], list[Any]]]:
        caller: pluggy.HookCaller = getattr(self._manager.hook, hook)
        named = [(self._plugin(impl.plugin), impl) for impl in caller.get_hookimpls()]

        def place(each: tuple[Plugin, pluggy.HookImpl]) -> tuple[int, int, str]:
            plugin, impl = each
            return self._rank(plugin)[0], impl.trylast - impl.tryfirst, plugin.name

        for plugin, impl in sorted(named, key=place):
            yield plugin, impl.function, [arguments[name] for name in impl.argnames]

    def _plugin(self, module: object) -> Plugin:
        name = self._manager.get_name(module)
        return next(row for row in self.rows if _key(row) == name)

    def _rank(self, plugin: Plugin) -> tuple[int, str]:
        for place, name in enumerate(self._order):
            if plugin.goes_by([name]):
                return place, plugin.name
        return len(self._order), plugin.name

    # --- taking plugins in -----------------------------------------------------------------------

    def _take(self, loaded: Sequence[tuple[Plugin, object]]) -> None:
        admitted = [plugin for plugin, module in loaded if self._admit(plugin, module)]
        for plugin, slots in self.call("xtalk_slots"):
            for slot in slots:
                self._add_slot(plugin, slot)
        for plugin in admitted:
            self._refuse_unknown(plugin)
        for slot in self.slots:
            for plugin, models in self.call(f"xtalk_{slot}"):
                plugin.models[slot] = models
        for slot, name, plugins in self._doubles():
            for plugin in plugins:
                others = ", ".join(other.name for other in plugins if other is not plugin)
                note = f"{slot} {name} is also offered by {others}"
                if not others:
                    plugin.fail(f"it offers {slot} {name} twice")
                elif note not in plugin.notes:
                    plugin.notes.append(note)

    def _admit(self, plugin: Plugin, module: object) -> bool:
        """Register with pluggy, or say in the row why not."""
        if self._manager.has_plugin(_key(plugin)):
            plugin.fail(f"{plugin.distribution or 'this set'} has another plugin {plugin.name!r}")
            return False
        try:
            self._inspect(plugin, module)
            self._manager.register(module, _key(plugin))
        except (PluginError, pluggy.PluginValidationError, ValueError) as error:
            # pluggy before 1.7 leaves a plugin half registered when validation fails.
            if self._manager.has_plugin(_key(plugin)):
                self._manager.unregister(name=_key(plugin))
            plugin.fail(str(error))
        else:
            plugin.loaded = True
        return plugin.loaded

    def _inspect(self, plugin: Plugin, module: object) -> None:
        for name in dir(module):
            options = self._manager.parse_hookimpl_opts(module, name)
            if options is not None:
                hook = options["specname"] or name
                if options["wrapper"] or options["hookwrapper"]:
                    raise PluginError(f"{name} is a pluggy wrapper, which xtalk does not call")
                plugin.hooks.append(hook)
                self._inspect_hook(hook, getattr(module, name))
            elif name.startswith("xtalk_") and inspect.isfunction(getattr(module, name)):
                plugin.notes.append(f"{name} lacks @hookimpl and is never called")

    def _inspect_hook(self, name: str, function: Callable[..., Any]) -> None:
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            raise PluginError(
                f"{name} is async, but hooks are called without await; "
                "return a description or an async context manager instead"
            )
        if name in _hooks(self._manager):
            caller: pluggy.HookCaller = getattr(self._manager.hook, name)
            assert caller.spec is not None
            _inspect_arguments(name, function, caller.spec.argnames)

    def _drop(self, plugin: Plugin) -> None:
        self._manager.unregister(name=_key(plugin))
        plugin.loaded = False

    def _refuse_unknown(self, plugin: Plugin) -> None:
        known = _hooks(self._manager)
        unknown = [name for name in plugin.hooks if name not in known]
        if unknown:
            self._drop(plugin)
            name = unknown[0]
            plugin.fail(f"xtalk knows no hook {name}{_nearest(name, known)}")

    def _add_slot(self, plugin: Plugin, slot: Slot) -> None:
        """Make the hook `xtalk_<slot>` that fills a new slot; several may declare the same."""
        name = f"xtalk_{slot.name}"
        if slot.name in self.slots:
            return
        if not slot.name.isidentifier() or name in _hooks(self._manager):
            plugin.fail(f"it declares a slot {slot.name!r}, which cannot be the name of one")
            return

        def models() -> Iterable[Model]:
            raise NotImplementedError

        fillers: pluggy.HookCaller | None = getattr(self._manager.hook, name, None)
        for impl in list(fillers.get_hookimpls()) if fillers else ():
            filler = self._plugin(impl.plugin)
            try:
                _inspect_arguments(name, impl.function, ())
            except PluginError as error:
                self._drop(filler)
                filler.fail(str(error))
        specs = ModuleType(name)
        setattr(specs, name, hookspec(models))
        self._manager.add_hookspecs(specs)
        self.slots[slot.name] = slot

    def _doubles(self) -> list[tuple[str, str, list[Plugin]]]:
        """Slot, type name and plugins of every type that is offered more than once."""
        offers: dict[tuple[str, str], list[Plugin]] = {}
        for slot in self.slots:
            for plugin, model in self.models(slot):
                offers.setdefault((slot, model.name), []).append(plugin)
        return [(*offer, plugins) for offer, plugins in offers.items() if len(plugins) > 1]

    def _unmet(self, requirement: str) -> str | None:
        name, ranges, _ = split_requirement(requirement)
        found = next((row for row in self.rows if row.goes_by([name])), None)
        if found is None:
            return f"the plugin {requirement} is required but not installed"
        if found.error:
            return f"the plugin {requirement} is required but broken: {found.error}"
        if not found.loaded:
            return f"the plugin {requirement} is required but {found.notes[0]}"
        if not satisfies(found.version, ranges):
            return f"the plugin {requirement} is required, but {found.version} is installed"
        return None


class _Context(AbstractAsyncContextManager[None]):
    """A plugin's context; what it raises goes to the plugin's row."""

    def __init__(
        self, plugin: Plugin, hook: str, context: AbstractAsyncContextManager[object]
    ) -> None:
        self._blame = partial(plugin.blame, hook)
        self._context = context
        self._entered = False

    async def __aenter__(self) -> None:
        try:
            await self._context.__aenter__()
            self._entered = True
        except (Exception, SystemExit) as error:
            self._blame(error)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        if not self._entered:
            return False
        try:
            return await self._context.__aexit__(kind, error, traceback)
        except (Exception, SystemExit) as raised:
            if raised is not error:
                self._blame(raised)
            if error is not None and not isinstance(error, Exception):
                raise  # a task group of its own cancels what it surrounds, and then says why
            return False


# --- reading what is installed -------------------------------------------------------------------


def _names(text: str | None) -> list[str] | None:
    return None if text is None else re.findall(r"[^\s,]+", text)


def _key(plugin: Plugin) -> str:
    return f"{plugin.distribution}:{plugin.name}"


def _row(entry: EntryPoint) -> Plugin:
    header = _header(entry.dist)
    name, version = (header.get(key, [""])[0] for key in ("name", "version"))
    return Plugin(entry.name, name, version, entry.value)


def _header(distribution: Any) -> dict[str, list[str]]:
    """The fields of a distribution's metadata; several times faster than parsing all of it."""
    text = ""
    if distribution is not None:
        text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    fields: dict[str, list[str]] = {}
    for line in text.splitlines():
        if not line:
            break
        name, colon, value = line.partition(":")
        if colon and not name[:1].isspace():
            fields.setdefault(name.lower(), []).append(value.strip())
    return fields


def installed_version() -> str | None:
    """The version of xtalk-core, None where it runs without having been installed."""
    import importlib_metadata

    try:
        return _header(importlib_metadata.distribution(CORE)).get("version", [None])[0]
    except importlib_metadata.PackageNotFoundError:
        return None


def _import(entry: EntryPoint, plugin: Plugin, core: str | None) -> object | None:
    for text in _header(entry.dist).get("requires-dist", ()):
        name, ranges, marker = split_requirement(text)
        if name == CORE and core and "extra" not in marker and not satisfies(core, ranges):
            plugin.fail(f"it needs {CORE}{ranges}, but {core} is installed")
            return None
    try:
        module: object = entry.load()
    except (Exception, SystemExit) as error:
        plugin.fail(f"importing {entry.value} {_failure(error)}")
        log.debug("plugin %s: importing %s", plugin, entry.value, exc_info=error)
        return None
    return module


# --- checking hooks and their answers ------------------------------------------------------------


def _hooks(manager: pluggy.PluginManager) -> list[str]:
    callers = vars(manager.hook).items()
    return [name for name, caller in callers if getattr(caller, "spec", None) is not None]


def _inspect_arguments(name: str, function: Callable[..., Any], known: Sequence[str]) -> None:
    takes = ", ".join(known) or "no arguments"
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name not in known:
            raise PluginError(
                f"{name} has an argument {parameter.name!r}, but the hook takes {takes}"
                f"{_nearest(parameter.name, known)}"
            )
        if parameter.default is not parameter.empty:
            raise PluginError(
                f"{name} gives its argument {parameter.name!r} a default; "
                "such arguments are never filled, so take the default away"
            )


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _failure(error: BaseException) -> str:
    if isinstance(error, PluginError):
        return str(error)
    text = " ".join(str(error).split())
    return f"raised {type(error).__name__}" + (f": {text}" if text else "")


def _checked(hook: str, answer: Any, slots: Mapping[str, Slot]) -> Any:
    """The answer, drained if it is iterable; PluginError when it is not what the hook asks for."""
    if answer is None:
        return None
    if inspect.iscoroutine(answer):
        answer.close()
        raise PluginError("returned a coroutine, but hooks are called without await")
    if hook.removeprefix("xtalk_") in slots:
        return _items(answer, Model)
    if hook == "xtalk_slots":
        return _items(answer, Slot)
    if hook == "xtalk_downloads":
        return _items(answer, Download)
    if hook == "xtalk_managers":
        return _items(answer, type)
    if hook == "xtalk_tools":
        return _items(answer, object)
    if hook.startswith("xtalk_wrap_"):
        return _expect(callable(answer), answer, "a wrapper, which is a function of the stage")
    if hook in ("xtalk_lifespan", "xtalk_session", "xtalk_turn"):
        return _expect(hasattr(answer, "__aenter__"), answer, "an async context manager")
    if hook == "xtalk_settings":
        return _configurable(_expect(isinstance(answer, type), answer, "a class"))
    if hook == "xtalk_configure":
        return _expect(isinstance(answer, Mapping), answer, "a mapping")
    return answer


def _configurable(cls: type) -> type:
    from xtalk.schema import settings

    try:
        settings(cls)
    except ConfigError as error:
        raise PluginError(str(error)) from error
    return cls


def _items(answer: Any, kind: type) -> list[Any]:
    items = list(answer)
    for item in items:
        _expect(isinstance(item, kind), item, f"objects of the class {kind.__name__}")
        if isinstance(item, Model):
            _expect(re.fullmatch(r"[\w.]+:[\w.]+", item.target), item.target, '"module:Class"')
    return items


def _expect(right: object, found: object, expected: str) -> Any:
    if not right:
        raise PluginError(f"gave {found!r}, expected {expected}")
    return found
