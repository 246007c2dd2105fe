"""A model of your own, without a package: a file is named, a configuration chooses its class.

python custom_model.py --config echo.toml --port 7635
"""

import argparse
import sys
from pathlib import Path

import uvicorn

from xtalk import Xtalk
from xtalk.errors import XtalkError
from xtalk_server import create_app

AGENT = Path(__file__).with_name("echo_agent.py")


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve with the agent of echo_agent.py.")
    parser.add_argument("--config", metavar="FILE", required=True, help="TOML or JSON")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=7635)
    arguments = parser.parse_args()

    # From here on `llm_agent = "EchoAgent"` means the class in that file, even where a plugin
    # that is installed offers a type of this name.
    Xtalk.register_model_search_spec(slot="llm_agent", spec=AGENT)
    app = create_app(Xtalk.from_config(arguments.config))
    uvicorn.run(app, host=arguments.host, port=arguments.port, ws="websockets-sansio")


if __name__ == "__main__":
    try:
        main()
    except XtalkError as problem:
        sys.exit(str(problem))
