"""Install every package, editable, with what its tests need, into the environment that runs this.

uv is on the path and reads UV_RESOLUTION: with `lowest-direct` the oldest versions that the
packages claim are installed.
"""

from __future__ import annotations

import subprocess
import sys

from repository import packages

EXTRAS = {"xtalk-server": "offline,testing"}

if __name__ == "__main__":
    wanted = [
        word
        for name, folder in packages().items()
        for word in ("-e", f"{folder}[{EXTRAS.get(name, 'testing')}]")
    ]
    subprocess.run(
        ["uv", "pip", "install", "--quiet", "--python", sys.executable, *wanted], check=True
    )
