"""An agent in a file of its own: `custom_model.py` tells xtalk where it is."""

from xtalk.agent import Agent


class EchoAgent(Agent):
    """Says what you said. These two methods are all that an agent needs."""

    def __init__(self, prefix: str = "Echo: ") -> None:
        self._prefix = prefix

    def generate(self, input: str | dict) -> str:
        return self._prefix + (input if isinstance(input, str) else input["content"])

    def clone(self) -> "EchoAgent":
        return EchoAgent(self._prefix)
