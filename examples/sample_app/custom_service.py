"""A service of your own: a kind of model, an event, a manager, and other words to the client.

python custom_service.py --config echo.toml --port 7635

    ASRResultFinal --> KeywordManager --(KeywordSpotter)--> KeywordSpotted --> OutputGateway
"""

import argparse
import sys
from dataclasses import dataclass, field

import uvicorn

from xtalk import DefaultPipeline, DefaultService, Manager, Xtalk, create_event_class
from xtalk.errors import XtalkError
from xtalk.events import ASRResultFinal, LLMAgentResponseFinish
from xtalk.serving.module_types import OutputGateway
from xtalk_server import create_app


class KeywordSpotter:
    """A model of a kind that xtalk does not know: it finds words in what was said."""

    def __init__(self, *words: str) -> None:
        self._words = words

    def spot(self, text: str) -> list[str]:
        said = text.lower().split()
        return [word for word in self._words if word in said]


@dataclass(init=False)
class KeywordPipeline(DefaultPipeline):
    """The default pipeline and one more model. Sessions share it: it remembers nothing."""

    spotter: KeywordSpotter | None = field(
        default=None, metadata={"init_key": "spotter", "clone": False}
    )

    def __init__(self, spotter: KeywordSpotter | None = None, **others: object) -> None:
        super().__init__(**others)
        self.spotter = spotter


KeywordSpotted = create_event_class(name="KeywordSpotted", fields={"words": [], "turn_id": 0})


class KeywordManager(Manager):
    """Shows the words of each turn to the model, and tells everybody what it found."""

    def __init__(self, event_bus, session_id, pipeline, config):
        self.event_bus = event_bus
        self.spotter = pipeline.spotter

    @Manager.event_handler(ASRResultFinal)
    def look(self, event: ASRResultFinal) -> None:
        if words := self.spotter.spot(event.text):
            self.event_bus.post(KeywordSpotted(words=words, turn_id=event.turn_id))

    async def shutdown(self) -> None:
        """Nothing to close."""


async def show_keywords(gateway: OutputGateway, event: KeywordSpotted) -> None:
    data = {"words": event.words, "turn_id": event.turn_id}
    await gateway.send_signal({"action": "keyword_spotted", "data": data})


async def show_reply(gateway: OutputGateway, event: LLMAgentResponseFinish) -> None:
    data = {"text": f"[Custom] {event.text}", "turn_id": event.turn_id}
    await gateway.send_signal({"action": "finish_resp", "data": data})


def build(config: str) -> Xtalk:
    pipeline = Xtalk.create_pipeline_from_config(
        pipeline_cls=KeywordPipeline,
        config_path_or_dict=config,
        additional_model_registry={"spotter": KeywordSpotter("hello", "time", "weather")},
    )
    service = DefaultService(pipeline=pipeline)
    service.register_manager(KeywordManager)
    service.subscribe_event(
        event_listener_cls=OutputGateway,
        event_type=KeywordSpotted,
        method_or_handler=show_keywords,
    )
    # The gateway's own handler goes, ours takes its place.
    service.unsubscribe_event(event_listener_cls=OutputGateway, event_type=LLMAgentResponseFinish)
    service.subscribe_event(
        event_listener_cls=OutputGateway,
        event_type=LLMAgentResponseFinish,
        method_or_handler=show_reply,
    )
    return Xtalk(service_prototype=service, max_sessions=10)


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve with a pipeline and managers of your own.")
    parser.add_argument("--config", metavar="FILE", required=True, help="TOML or JSON")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=7635)
    arguments = parser.parse_args()

    app = create_app(build(arguments.config))
    uvicorn.run(app, host=arguments.host, port=arguments.port, ws="websockets-sansio")


if __name__ == "__main__":
    try:
        main()
    except XtalkError as problem:
        sys.exit(str(problem))
