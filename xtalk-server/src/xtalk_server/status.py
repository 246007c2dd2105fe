"""The plain page at `/status`: what is running and how to talk to it, without a script."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

__all__ = ["HEADERS", "render"]

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}

_STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; }
th, td { text-align: left; padding: .2rem 1.5rem .2rem 0; vertical-align: top; }
code { overflow-wrap: anywhere; }
"""


def render(
    *,
    url: str,
    status: str,
    version: str,
    models: Mapping[str, str],
    plugins: Iterable[Mapping[str, Any]],
) -> str:
    """The page as HTML. `url` is the WebSocket's."""
    said = {"ok": "ready", "starting": "starting: the models are being built"}
    command = f"xtalk talk --wav question.wav -o answer.wav --url {url}"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>xtalk</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>xtalk {escape(version)}</h1>
<p role="status">This server is {escape(said.get(status, status))}.</p>
<h2>Talk to it</h2>
<p>From a command line, with a recording or, without <code>--wav</code> and <code>-o</code>,
with your microphone:</p>
<pre><code>{escape(command)}</code></pre>
<p>Programs and devices connect to <code>{escape(url)}</code>.</p>
<h2>Models</h2>
{_table("Models by slot", ("slot", "model"), models.items())}
<h2>Plugins</h2>
{_table("Installed plugins", ("plugin", "version", "state"), _plugin_rows(plugins))}
<p><a href="./">Talk in this browser</a>, or read the
<a href="health">state of the server as JSON</a>.</p>
</main>
</body>
</html>
"""


def _plugin_rows(plugins: Iterable[Mapping[str, Any]]) -> Iterable[tuple[str, str, str]]:
    for row in plugins:
        state = "works" if row["works"] else "broken; the server's log says why"
        yield row["name"], row["version"], state


def _table(caption: str, head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    body = [f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows]
    if not body:
        return "<p>None yet.</p>"
    columns = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    return (
        f"<table><caption>{escape(caption)}</caption>"
        f"<thead><tr>{columns}</tr></thead><tbody>\n{chr(10).join(body)}\n</tbody></table>"
    )
