"""Time to the first token of `DefaultAgent` beyond raw httpx, against the same server.

Both ask the fake server of the plugin's tests, which answers at once, in turns: the agent with
its tools, its history and langchain's client, and a bare POST that reads the stream line by line.
The server runs on a thread of this process, so both pay for its work.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import sys
from contextlib import aclosing
from pathlib import Path
from time import perf_counter
from typing import Any

import machine
from machine import median, quantile

PLUGIN = Path(__file__).parent.parent / "plugins" / "xtalk-agent-langchain"
sys.path.insert(0, str(PLUGIN / "tests"))

from fake_openai import FakeOpenAI, running, say  # noqa: E402
from xtalk_agent_langchain.agent import DefaultAgent  # noqa: E402

from xtalk.agent import Text, TurnRecord  # noqa: E402

TARGET_MS = 5.0
TURNS = 10  # in the history
QUESTION = "what is the time in Hamburg"


async def by_agent(agent: DefaultAgent) -> float:
    """Seconds to the first text."""
    began = perf_counter()
    async with aclosing(agent.async_generate_stream(QUESTION)) as parts:
        async for part in parts:
            if isinstance(part, Text):
                first = perf_counter() - began
    return first


async def by_hand(client: Any, url: str, body: bytes) -> float:
    """The same over httpx, with the body ready."""
    began = perf_counter()
    first = 0.0
    headers = {"Content-Type": "application/json"}
    async with client.stream("POST", f"{url}/chat/completions", content=body, headers=headers) as r:
        async for line in r.aiter_lines():
            if not first and line.startswith("data: {"):
                delta = json.loads(line[6:])["choices"][0]["delta"]
                if delta.get("content"):
                    first = perf_counter() - began
    return first


async def measure(server: FakeOpenAI, runs: int) -> tuple[list[float], list[float]]:
    import httpx

    agent = DefaultAgent({"model": "fake", "base_url": server.url, "stream_usage": False})
    for number in range(TURNS):
        text = f"answer {number}"
        agent.commit(
            TurnRecord(
                turn_id=number, user="x", reply=text, heard=text, remembered=text, outcome="done"
            )
        )
    ours, floor = [], []
    await agent.open()
    try:
        async with httpx.AsyncClient() as client:
            await by_agent(agent)
            body = json.dumps(server.requests[-1]).encode()
            gc.freeze()
            for number in range(runs + 20):
                pair = (await by_agent(agent), await by_hand(client, server.url, body))
                if number >= 20:  # the first ones warm up
                    ours.append(1000 * pair[0])
                    floor.append(1000 * pair[1])
    finally:
        await agent.close()
    return ours, floor


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=300)
    runs = parser.parse_args().runs
    with running(lambda request: say("It ", "is ", "noon.")) as server:
        ours, floor = asyncio.run(measure(server, runs))
    print(machine.described())
    print(f"{runs} questions each, in turns; ms to the first token\n")
    print("| | median | p95 |\n|---|---|---|")
    for name, times in (("httpx", floor), ("DefaultAgent", ours)):
        print(f"| {name} | {median(times):.2f} | {quantile(times, 0.95):.2f} |")
    more = median(ours) - median(floor)
    print(f"\nDefaultAgent takes {more:.2f} ms more in the median; the target is {TARGET_MS:g}")
    return int(more > TARGET_MS)


if __name__ == "__main__":
    sys.exit(main())
