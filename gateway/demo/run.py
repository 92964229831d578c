"""Runs the gateway in front of the sandbox, both on loopback."""

import json
import secrets
import signal
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx

from gateway.app import GRAPHQL_PATH, create_app
from gateway.demo.controls import SANDBOX_PATH, SandboxControls
from gateway.errors import ConfigurationError
from gateway.sandbox import PASSWORD, USERNAME, BackgroundServer, Sandbox, Target, sandbox_config
from gateway.server.config import gateway_config
from gateway.server.signals import STOP_SIGNALS, ignore_stop_signals
from gateway.settings import load_settings
from gateway.telemetry import configure_logging
from gateway.web.graphiql.build import build as build_page
from gateway.web.graphiql.build import can_build, is_built
from gateway.web.graphiql.page import EXAMPLE, GraphiQLPage

QUERY = EXAMPLE
"""The query that the demo shows. The README shows it too, with its response."""

_HOST = "127.0.0.1"


def demo(port: int, sandbox_port: int, *, build: bool = True, record: Path | None = None) -> None:
    """Start both, print how to use them, and stop both on Ctrl-C or SIGTERM.

    ``record`` is the directory in which exchanges with the sandbox are recorded. Raises ConfigurationError if a port is
    taken, or the directory cannot be used.
    """
    configure_logging("warning", "auto")
    stop = threading.Event()
    for number in STOP_SIGNALS:
        signal.signal(number, lambda *_: stop.set())
    with ExitStack() as servers:
        data, secret = Sandbox(), f"Bearer {secrets.token_urlsafe()}"
        sandbox = servers.enter_context(_server(sandbox_config(data.app), sandbox_port, "--sandbox-port"))
        app = create_app(_settings(sandbox.url, secret, record))
        app.state.graphiql.offer_sandbox(SANDBOX_PATH)
        gateway = servers.enter_context(_server(gateway_config(SandboxControls(app, data)), port, "--port"))
        data.webhooks.send_to(Target(f"{gateway.url}/webhooks/gochat", secret))
        print(_welcome(gateway.url + GRAPHQL_PATH, sandbox.url), flush=True)  # noqa: T201 - the demo's output
        if build and can_build() and not is_built():
            _build_page(app.state.graphiql, stop)
        stop.wait()
    ignore_stop_signals()
    print("Stopped.")  # noqa: T201 - as above


def _build_page(page: GraphiQLPage, stop: threading.Event) -> None:
    """Build GraphiQL's page while the demo is running. Until then the page comes from a CDN."""
    print("Building GraphiQL's page with npm (only once). Until then it comes from a CDN …", flush=True)  # noqa: T201 - as above
    problem = build_page(stop, retries=0)
    if stop.is_set():
        return
    if problem is None:
        page.refresh()
    print(problem or "Built: reload the page.", flush=True)  # noqa: T201 - as above


def _server(config: Any, port: int, option: str) -> BackgroundServer:
    try:
        return BackgroundServer(config, port=port)
    except OSError as exc:
        problem = f"Cannot listen on port {port} of {_HOST}: {exc.strerror}. Choose another with {option}; 0 picks one."
        raise ConfigurationError([problem]) from exc


def _settings(upstream_url: str, webhook: str, record: Path | None) -> Any:
    """Return settings that reach only the sandbox, whatever the environment says."""
    return load_settings(
        {
            "upstream_url": upstream_url,
            "upstream_identity": "service",
            "upstream_auth": "token",
            "upstream_username": USERNAME,
            "upstream_password": PASSWORD,
            "inbound_auth": "none",
            "field_scopes": False,
            "mutations": True,
            "webhook_authorization": webhook,
            "graphiql": True,
            "explain": True,
            "resync_interval": 15,  # a webhook that the page lets get lost heals while somebody looks
            "drift_sample": 1,  # drift that the page causes is seen at once
            "record": record,
        },
        strict=False,
    )


def _welcome(graphql_url: str, sandbox_url: str) -> str:
    answer = httpx.post(graphql_url, json={"query": QUERY}, trust_env=False).raise_for_status().json()
    body = json.dumps({"query": " ".join(QUERY.split())})
    return f"""
The gateway runs in front of a sandbox of the REST API ({sandbox_url}).

  GraphiQL   {graphql_url}

  curl -s {graphql_url} -H 'content-type: application/json' -d '{body}'

Its response:

{json.dumps(answer, indent=2, ensure_ascii=False)}

Ctrl-C stops both.
"""
