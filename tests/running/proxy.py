"""nginx in front of gateways on this machine, with the configuration in docker/."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.programs import free_port, is_open, until
from tests.requirements import missing

CONFIGURATION = Path(__file__).parents[2] / "docker" / "nginx.conf"


def nginx_program() -> str | None:
    """Return the path of nginx. Distributions install it outside the PATH of ordinary users."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/sbin")


@contextmanager
def nginx(gateways: Sequence[int], folder: Path) -> Iterator[str]:
    """Run nginx in front of the gateways on these ports of 127.0.0.1, and yield its URL. It writes into ``folder``."""
    program = nginx_program() or missing("nginx", "apt-get install nginx")
    port = free_port()
    configuration = folder / "nginx.conf"
    configuration.write_text(for_this_machine(port, gateways, folder), encoding="utf-8")
    with (folder / "nginx.log").open("w") as log:
        command = [program, "-p", str(folder), "-e", "stderr", "-c", str(configuration)]
        process = subprocess.Popen(command, stderr=log)  # noqa: S603 - our own arguments
        url = f"http://127.0.0.1:{port}"
        try:
            until(lambda: is_open(url) or process.poll() is not None, "nginx listens")
            assert process.poll() is None, (folder / "nginx.log").read_text()
            yield url
        finally:
            process.terminate()
            process.wait(10)


def for_this_machine(port: int, gateways: Sequence[int], folder: Path) -> str:
    """Return the configuration with this machine's addresses instead of the containers'."""
    text = CONFIGURATION.read_text(encoding="utf-8")
    swaps = {"listen 8080;": f"listen 127.0.0.1:{port};", " /tmp/": f" {folder}/"}
    swaps |= {f"gateway-{index}:8000": f"127.0.0.1:{each}" for index, each in enumerate(gateways, 1)}
    for ours, theirs in swaps.items():
        assert ours in text, ours
        text = text.replace(ours, theirs)
    assert "server gateway-" not in text, "a gateway of the configuration is not started"
    # Started by root, nginx works as another user, who cannot write into a folder of the tests.
    return f"user root root;\n{text}" if os.geteuid() == 0 else text
