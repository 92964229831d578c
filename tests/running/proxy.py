"""nginx and HAProxy in front of gateways on this machine: nginx with the configuration in docker/."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.programs import free_port, is_open, until
from tests.requirements import require_program

CONFIGURATION = Path(__file__).parents[2] / "docker" / "nginx.conf"

_HAPROXY = """
defaults
    mode http
    timeout connect 1s
    timeout client 30s
    timeout server 30s
    # Each request has a connection of its own to the gateway. HAProxy would keep an idle one until the gateway closes
    # it, and a POST that it sends at that moment would be lost.
    option http-server-close
frontend callers
    bind 127.0.0.1:{port} ssl crt {certificate} alpn h2
    default_backend gateways
backend gateways
{servers}
"""


@contextmanager
def nginx(gateways: Sequence[int], folder: Path, certificate: Path | None = None) -> Iterator[str]:
    """Run nginx in front of the gateways on these ports of 127.0.0.1, and yield its URL. It writes into ``folder``.

    With a ``certificate``, a file that has the key as well, callers speak HTTP/2 with it.
    """
    program = require_program("nginx")
    port = free_port()
    configuration = folder / "nginx.conf"
    configuration.write_text(for_this_machine(port, gateways, folder, certificate), encoding="utf-8")
    command = [program, "-p", str(folder), "-e", "stderr", "-c", str(configuration)]
    with _running(command, f"{'http' if certificate is None else 'https'}://127.0.0.1:{port}", folder) as url:
        yield url


@contextmanager
def haproxy(gateways: Sequence[int], folder: Path, certificate: Path) -> Iterator[str]:
    """Run HAProxy in front of the gateways, as `nginx`."""
    program = require_program("haproxy")
    port = free_port()
    configuration = folder / "haproxy.cfg"
    servers = "\n".join(f"    server gateway-{index} 127.0.0.1:{each}" for index, each in enumerate(gateways, 1))
    configuration.write_text(_HAPROXY.format(port=port, certificate=certificate, servers=servers), encoding="utf-8")
    with _running([program, "-db", "-f", str(configuration)], f"https://127.0.0.1:{port}", folder) as url:
        yield url


@contextmanager
def _running(command: Sequence[str], url: str, folder: Path) -> Iterator[str]:
    """Run a proxy, and yield its URL once it listens."""
    with (folder / "proxy.log").open("w") as log:
        process = subprocess.Popen(command, stderr=log)  # noqa: S603 - our own arguments
        try:
            until(lambda: is_open(url) or process.poll() is not None, "the proxy listens")
            assert process.poll() is None, (folder / "proxy.log").read_text()
            yield url
        finally:
            process.terminate()
            process.wait(10)


def for_this_machine(port: int, gateways: Sequence[int], folder: Path, certificate: Path | None = None) -> str:
    """Return the configuration with this machine's addresses instead of the containers'."""
    text = CONFIGURATION.read_text(encoding="utf-8")
    listen = f"listen 127.0.0.1:{port};"
    if certificate is not None:
        # From nginx 1.25.1 on, `http2 on;` takes the place of the last word, which is still understood.
        listen = f"listen 127.0.0.1:{port} ssl http2; ssl_certificate {certificate}; ssl_certificate_key {certificate};"
        listen += " keepalive_requests 100000;"  # by default 1,000, and then httpx loses what is under way
    swaps = {" /tmp/": f" {folder}/", "listen 8080;": listen}
    swaps["keepalive_timeout 4s;"] = (
        "keepalive_timeout 500ms;"  # gateways of tests have a shorter GATEWAY_SHUTDOWN_DELAY
    )
    swaps |= {f"gateway-{index}:8000": f"127.0.0.1:{each}" for index, each in enumerate(gateways, 1)}
    for ours, theirs in swaps.items():
        assert ours in text, ours
        text = text.replace(ours, theirs)
    assert "server gateway-" not in text, "a gateway of the configuration is not started"
    # Started by root, nginx works as another user, who cannot write into a folder of the tests.
    return f"user root root;\n{text}" if os.geteuid() == 0 else text
