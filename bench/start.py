"""How long a start takes: `xtalk serve` until it accepts, `xtalk plugins` with 20 plugins and none.

Three moments of `xtalk serve` count from the start of its process: the port is open, a WebSocket
is accepted (this is what the target means), the models of the embedded default are ready.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
from importlib.metadata import entry_points
from pathlib import Path

import machine
from machine import median

ACCEPTING_S = 0.7
PLUGINS_S = 0.3
PLUGINS_TIMES = 1.5
XTALK = str(Path(sys.executable).with_name("xtalk"))

HANDSHAKE = (
    "GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)

PLUGIN = """
from xtalk import Model, hookimpl

@hookimpl
def xtalk_tts():
    yield Model("Voice{number}", "{module}.voice:Voice", "voice number {number}")
"""


def serve() -> tuple[float, float, float]:
    """Seconds until the port is open, a WebSocket is accepted, the models are ready."""
    port = machine.free_port()
    began = time.monotonic()
    process = subprocess.Popen(
        [XTALK, "serve", f"--port={port}", "--log-level=warning"], stderr=subprocess.DEVNULL
    )
    try:
        machine.accepting(process, port)
        is_open = time.monotonic() - began
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(HANDSHAKE.encode())
            if b" 101 " not in connection.recv(64):
                raise SystemExit("xtalk serve refused a WebSocket")
            accepts = time.monotonic() - began
            machine.ready(port)
            return is_open, accepts, time.monotonic() - began
    finally:
        process.terminate()
        process.wait(20)


def make_plugins(folder: Path, count: int) -> None:
    """Installed distributions with one voice each, as files in a folder on the path."""
    for number in range(count):
        module = f"xtalk_bench_{number:02}"
        (folder / f"{module}.py").write_text(PLUGIN.format(number=number, module=module), "utf-8")
        info = folder / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n", "utf-8"
        )
        (info / "entry_points.txt").write_text(f"[xtalk]\n{module} = {module}\n", "utf-8")


def list_plugins(path: Path) -> float:
    """Seconds of one `xtalk plugins` that sees the plugins of this folder and no other."""
    installed = ",".join(entry.name for entry in entry_points(group="xtalk"))
    paths = [str(path), os.environ.get("PYTHONPATH", "")]
    environ = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "XTALK_BLOCK_PLUGINS": installed,
    }
    began = time.monotonic()
    subprocess.run([XTALK, "plugins"], env=environ, stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=11)
    arguments = parser.parse_args()
    print(machine.described())

    starts = [serve() for _ in range(arguments.runs)]
    for what, times in zip(
        ("port open", "WebSocket", "models"), zip(*starts, strict=True), strict=True
    ):
        reached = (
            f"  {machine.verdict(median(times) <= ACCEPTING_S)}" if what == "WebSocket" else ""
        )
        print(f"xtalk serve, {what:12} {median(times):6.3f} s{reached}")

    with tempfile.TemporaryDirectory() as folder:
        none, many = Path(folder, "none"), Path(folder, "many")
        none.mkdir()
        many.mkdir()
        make_plugins(many, 20)
        runs = [(list_plugins(none), list_plugins(many)) for _ in range(arguments.runs + 1)][1:]
    without, twenty = (median(times) for times in zip(*runs, strict=True))
    ratio = twenty / without
    reached = machine.verdict(twenty < PLUGINS_S and ratio <= PLUGINS_TIMES)
    print(f"xtalk plugins, none       {without:6.3f} s")
    print(f"xtalk plugins, 20         {twenty:6.3f} s, {ratio:.2f} times  {reached}")


if __name__ == "__main__":
    main()
