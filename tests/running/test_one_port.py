"""Two programs for one port: one serves, the other ends with status 2 and says which port is taken."""

import socket
from collections.abc import Iterator

import pytest

from gateway.errors import ConfigurationError
from gateway.server.accepting import ListeningSource
from gateway.server.listeners import bind
from tests.harness import SERVICE
from tests.programs import Start, serving, until


@pytest.fixture
def held() -> Iterator[socket.socket]:
    """A port that another program has bound, and does not listen on yet."""
    with bind("127.0.0.1", 0) as listener:
        yield listener


async def test_a_port_that_another_begins_to_listen_on_is_refused(held: socket.socket) -> None:
    """Both have bound it: SO_REUSEADDR allows that while nobody listens."""
    port = held.getsockname()[1]
    with bind("127.0.0.1", port) as listener:
        held.listen()
        with pytest.raises(ConfigurationError, match=rf"Cannot listen on port {port} of 127\.0\.0\.1: .*--port"):
            ListeningSource(listener).start(socket.socket.close)


@pytest.mark.slow
def test_workers_end_where_the_port_is_taken_while_they_start(begin: Start, upstream: str, held: socket.socket) -> None:
    port = str(held.getsockname()[1])
    program = begin("serve", "--port", port, "--workers", "2", **SERVICE, upstream_url=upstream, shutdown_delay="0")
    program.err.until("supervisor .* starts 2 workers")
    held.listen()
    assert program.end() == 2
    assert f"Cannot listen on port {port} of 127.0.0.1: Address already in use." in program.err.all()


@pytest.mark.slow
@pytest.mark.parametrize("number", ["1", "2"])
def test_of_two_gateways_that_start_at_once_one_serves(
    begin: Start, upstream: str, held: socket.socket, number: str
) -> None:
    port = held.getsockname()[1]
    held.close()
    programs = [
        begin("serve", "--port", str(port), workers=number, **SERVICE, upstream_url=upstream, shutdown_delay="0")
        for _ in range(2)
    ]
    until(lambda: any(each.process.poll() is not None for each in programs), "one of them ends")
    refused, served = sorted(programs, key=lambda each: each.process.poll() is None)
    assert refused.end() == 2
    text = refused.err.all()
    assert f"Cannot listen on port {port} of 127.0.0.1: Address already in use." in text
    assert "Traceback" not in text, text
    assert serving(served).endswith(f":{port}/graphql")
    served.process.terminate()
    assert served.end() == 0
