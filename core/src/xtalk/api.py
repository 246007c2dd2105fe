"""`Xtalk`: a configuration becomes models, models a service, a service conversations."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from xtalk.errors import ConfigError, MissingModel, NotAvailable, XtalkError
from xtalk.events import TextForEmbeddingReady
from xtalk.hookspecs import SLOTS
from xtalk.pipeline import DefaultPipeline, Pipeline, with_slots
from xtalk.plugins import Plugins
from xtalk.registry import PLUGINS, Found, Registry, Spec, import_spec
from xtalk.schema import call
from xtalk.settings import Config

if TYPE_CHECKING:
    from xtalk.agent import Agent, ToolLike
    from xtalk.service import Service
    from xtalk.speech.interfaces import ASR

__all__ = ["Xtalk", "build_model", "hand_over_grammar"]

log = logging.getLogger(__name__)

P = TypeVar("P", bound=Pipeline)
Configuration = str | Path | Mapping[str, Any]


class Xtalk:
    """A service that is ready for connections.

    `service_prototype` is the blueprint that each connection's session is made from, `host`
    keeps the sessions, `plugins` is what is installed (loaded when it is not given),
    `plugin_settings` the plugins' own settings by plugin name, `config` the configuration that
    it was built from, if it was.
    """

    MODEL_REGISTRY: ClassVar[dict[str, list[Spec]]] = {slot.name: [PLUGINS] for slot in SLOTS}
    """Where models are looked for: by slot, in order. `PLUGINS` stands for the installed ones."""

    def __init__(
        self,
        *,
        service_prototype: Service,
        max_sessions: int | None = None,
        plugins: Plugins | None = None,
    ) -> None:
        from xtalk.limiter import SessionLimiter
        from xtalk.service import Host

        self.service_prototype = service_prototype
        self.plugins = Plugins.load() if plugins is None else plugins
        self.plugin_settings: dict[str, object] = {}
        self.config: Config | None = None
        self.host = Host(service_prototype, SessionLimiter(max_sessions or 0), self.plugins)

    @classmethod
    def from_config(
        cls,
        path_or_dict: Configuration | None = None,
        *,
        plugins: Plugins | None = None,
        arguments: Mapping[str, Any] | None = None,
    ) -> Xtalk:
        """Read the configuration and build what it names. Blocks: models load here.

        Without a path or dict the file of XTALK_CONFIG is read, else ./xtalk.toml. Raises
        ConfigError (MissingModel for a slot that is needed) in whole sentences.
        """
        from xtalk.service import DefaultService

        config = cls._read(path_or_dict, plugins, arguments)
        config.make_folders()
        settings = config.plugin_settings()
        service = DefaultService(
            pipeline=_build_pipeline(config, _pipeline_class(config), {}),
            service_config={**config.service.as_dict(), "plugins": settings},
        )
        service.alternatives = _alternatives(config, service.pipeline)
        xtalk = cls(
            service_prototype=service,
            max_sessions=config.max_connections,
            plugins=config.registry.plugins,
        )
        xtalk.plugin_settings = settings
        xtalk.config = config
        return xtalk

    @classmethod
    def create_pipeline_from_config(
        cls,
        *,
        pipeline_cls: type[P],
        config_path_or_dict: Configuration | None,
        additional_model_registry: Mapping[str, Any] | None = None,
        plugins: Plugins | None = None,
    ) -> P:
        """A pipeline of your own class. Blocks: models load here.

        `additional_model_registry` holds models that are ready, by slot or constructor argument;
        they take the place of what the configuration says for their slots.
        """
        config = cls._read(config_path_or_dict, plugins, None)
        return _build_pipeline(config, pipeline_cls, additional_model_registry or {})

    @classmethod
    def register_model_search_spec(cls, *, slot: str, spec: Spec, prepend: bool = True) -> None:
        """Look for the slot's types here too, before the plugins or (`prepend=False`) after them.

        A slot that is new becomes an argument of the pipeline's constructor. A spec names any
        code on this machine, so it must not come from a stranger.
        """
        if not slot or not str(spec):
            raise ValueError("register_model_search_spec needs a slot and a spec, one is empty")
        specs = cls.MODEL_REGISTRY.setdefault(slot, [PLUGINS])
        if spec not in specs:
            specs.insert(0 if prepend else len(specs), spec)

    async def connect(self, websocket: Any) -> None:
        """Serve one connection until it ends, its wait in the queue included."""
        await self.host.connect(websocket)

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[Xtalk]:
        """The life of the process: what plugins keep open, and at its end every session closed."""
        async with self.host.lifespan(self):
            yield self

    async def drain(self, deadline_s: float) -> None:
        """Let nobody in any more; end each session when its turn is over, all at the deadline."""
        await self.host.drain(deadline_s)

    def set_session_limit(self, limit: int | None) -> None:
        """At most this many sessions at once; None or 0: no limit. The others queue."""
        self.host.set_limit(limit or 0)

    async def embed_text(self, session_id: str, text: str) -> None:
        """Give a session a text that it can search; returns before that is done.

        ValueError when there is no such session, NotAvailable when its service keeps no texts.
        """
        session = self.host.sessions.get(session_id)
        if session is None:
            raise ValueError(f"there is no session {session_id!r}")
        await session.ready.wait()
        if not session.bus.has(TextForEmbeddingReady):
            raise NotAvailable("this service keeps no texts: it has no EmbeddingsManager")
        session.post(TextForEmbeddingReady(text=text))

    def add_agent_tools(self, tools: Sequence[ToolLike | Callable[..., Any]]) -> None:
        """Offer tools to the agent of every session. RuntimeError while sessions are live.

        NotAvailable from an agent that cannot use tools.
        """
        if self.host.sessions:
            raise RuntimeError(
                "tools must be added before the first session, but "
                f"{len(self.host.sessions)} are live"
            )
        agent = self.service_prototype.pipeline.get_agent()
        if agent is None:
            raise MissingModel("the pipeline has no llm_agent that could use tools")
        agent.add_tools(tools)
        for other in self.service_prototype.alternatives.get("llm_agent", {}).values():
            if other is not agent:
                other.add_tools(tools)

    @classmethod
    def _read(
        cls,
        given: Configuration | None,
        plugins: Plugins | None,
        arguments: Mapping[str, Any] | None,
    ) -> Config:
        registry = Registry(Plugins.load() if plugins is None else plugins, cls.MODEL_REGISTRY)
        config = Config.load(given, registry=registry, arguments=arguments)
        for text in config.warnings:
            log.warning("%s", text)
        if unmet := registry.plugins.check_required(config.plugins.required):
            raise ConfigError("\n".join(unmet))
        return config


def build_model(config: Config, slot: str, alternative: str | None = None) -> Any:
    """The model chosen for a slot, built by the first plugin that will, else by its constructor.

    With `alternative` the one of that name that clients may switch to.

    Raises MissingModel or ConfigError, with the slot and the class in the message. Blocks.
    """
    found, params = config.resolve(slot, alternative)
    try:
        model = config.registry.plugins.first("xtalk_make_model", model=found.cls, params=params)
        model = call(found.cls, params) if model is None else model
    except XtalkError:
        raise
    except ImportError as error:
        raise MissingModel(f"{slot}: {found.cls.__name__}: {error}{_advice(found)}") from error
    except (Exception, SystemExit) as error:
        text = f"{slot}: {found.cls.__name__} cannot be built: {type(error).__name__}: {error}"
        raise ConfigError(text) from error
    interface = config.registry.slots[slot].interface
    if interface and not isinstance(model, import_spec(interface)):
        raise ConfigError(
            f"{slot}: {found.cls.__name__} is not a {interface}, as the slot asks for"
        )
    return model


def _alternatives(config: Config, pipeline: Pipeline) -> dict[str, dict[str, Any]]:
    """What clients may switch to, and the way back to what they began with."""
    first = {"tts": pipeline.get_tts_model(), "llm_agent": pipeline.get_agent()}
    return {
        slot: {config.models[slot].name: first[slot]}
        | {name: build_model(config, slot, name) for name in others}
        for slot, others in config.alternatives.items()
        if others
    }


def hand_over_grammar(agent: Agent, asr: ASR) -> None:
    """Tell the recogniser what the agent understands, where that is a closed set."""
    if grammar := agent.grammar():
        asr.set_grammar(grammar)


def _advice(found: Found) -> str:
    return f'; it needs: pip install "{found.extra}"' if found.extra else ""


def _pipeline_class(config: Config) -> type[DefaultPipeline]:
    """The default, with room for the models that are chosen for the slots of plugins."""
    known = {slot.name for slot in SLOTS}
    chosen = [s for name, s in config.registry.slots.items() if name in config.models]
    added = [slot.argument or slot.name for slot in chosen if slot.name not in known]
    return with_slots(added) if added else DefaultPipeline


def _build_pipeline(config: Config, pipeline_cls: type[P], ready: Mapping[str, Any]) -> P:
    models = dict(ready)
    for slot in config.registry.slots.values():
        argument = slot.argument or slot.name
        if slot.name in ready:
            models[argument] = models.pop(slot.name)
        elif argument not in ready and (slot.required or slot.name in config.models):
            models[argument] = build_model(config, slot.name)
    pipeline = pipeline_cls(**models)
    agent, asr = pipeline.get_agent(), pipeline.get_asr_model()
    if agent is not None and asr is not None:
        hand_over_grammar(agent, asr)
    return pipeline
