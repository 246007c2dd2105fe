"""The whole demo server from one configuration: page, models, voices, uploads, conversations.

python configurable_server.py --config echo.toml --port 7635
"""

import argparse
import sys

import uvicorn

from xtalk.errors import XtalkError
from xtalk_server import create_app


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve what a configuration says.")
    parser.add_argument("--config", metavar="FILE", help="TOML or JSON; else the offline default")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=7635)
    arguments = parser.parse_args()

    app = create_app(arguments.config)
    uvicorn.run(app, host=arguments.host, port=arguments.port, ws="websockets-sansio")


if __name__ == "__main__":
    try:
        main()
    except XtalkError as problem:
        sys.exit(str(problem))
