"""`xtalk serve`: options, the listening socket, logging, and the server until it ends."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket

    from xtalk_server.config import ServerConfig

__all__ = ["add"]

LOG_LEVELS = ("critical", "error", "warning", "info", "debug")


def add(commands: argparse._SubParsersAction[Any]) -> None:
    parser = commands.add_parser(
        "serve",
        help="run the server",
        description="Serve conversations over a WebSocket. Without a configuration it runs "
        "offline models: Silero, PocketSphinx, eSpeak NG and a rule agent.",
    )
    parser.add_argument(
        "--config", metavar="FILE", help="TOML or JSON; else XTALK_CONFIG, else ./xtalk.toml"
    )
    parser.add_argument("--host", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port; 0 takes a free one (default: 7635)")
    parser.add_argument("--ssl-certfile", metavar="FILE", help="certificate, for https and wss")
    parser.add_argument("--ssl-keyfile", metavar="FILE", help="the key of the certificate")
    parser.add_argument("--log-level", choices=LOG_LEVELS, default="info")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Serve until a signal comes; XtalkError when it cannot begin or its models fail."""
    import logging

    from xtalk.errors import ConfigError
    from xtalk_server.config import ServerConfig, Source

    logging.basicConfig(
        level=arguments.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    options = {name: getattr(arguments, name, None) for name in ServerConfig.model_fields}
    given = {name: value for name, value in options.items() if value is not None}
    source = Source.find(arguments.config, arguments.plugins, options=given)
    config = source.server
    _check_certificate(config)
    listening = _listen(config)
    # The socket accepts from here on; what follows takes a few hundred milliseconds.
    from xtalk_server.app import create_app
    from xtalk_server.server import Server

    app = create_app(source)
    _announce(config, listening)
    Server(app, config, log_level=arguments.log_level).run(sockets=[listening])
    if failure := app.state.backend.failure:
        raise ConfigError(failure)


def _check_certificate(config: ServerConfig) -> None:
    import ssl

    from xtalk.errors import ConfigError

    if config.ssl_certfile is None:
        if config.ssl_keyfile is not None:
            raise ConfigError("--ssl-keyfile needs --ssl-certfile")
        return
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(config.ssl_certfile, config.ssl_keyfile)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(f"{config.ssl_certfile} cannot be used as certificate: {error}") from None


def _listen(config: ServerConfig) -> socket.socket:
    import errno
    import socket

    from xtalk.errors import NotAvailable

    try:
        # It knows names, IPv4 and IPv6 alike; the first answer is the preferred one.
        family, kind, protocol, _, address = socket.getaddrinfo(
            config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
        try:
            if sys.platform != "win32":
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(2048)
        except BaseException:
            listening.close()
            raise
    except OSError as error:
        reason = error.strerror or error
        advice = "; take another with --port" if error.errno == errno.EADDRINUSE else ""
        raise NotAvailable(
            f"cannot listen on {config.host} port {config.port}: {reason}{advice}"
        ) from error
    return listening


def _announce(config: ServerConfig, listening: socket.socket) -> None:
    import logging

    log = logging.getLogger("xtalk_server")
    scheme = "https" if config.ssl_certfile else "http"
    address, port = listening.getsockname()[:2]
    host = f"[{address}]" if ":" in address else address
    log.info("listening on %s://%s:%d", scheme, host, port)
    if not _is_loopback(address) and not config.ssl_certfile:
        log.warning(
            "%s is reachable from other machines: their browsers give a page the microphone "
            "only over https (--ssl-certfile) or on localhost, and whoever can connect can talk",
            address,
        )


def _is_loopback(address: str) -> bool:
    import ipaddress

    return ipaddress.ip_address(address.partition("%")[0]).is_loopback
