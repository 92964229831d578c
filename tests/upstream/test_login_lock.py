"""A wrong password is one wrong login, however many processes and machines use the account."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import redis as redis_client

from gateway.sandbox import PASSWORD, USERNAME, BackgroundServer, Fault, Sandbox, sandbox_config
from tests.harness import NO_CERTIFICATES, SERVICE, Clock, StartGateway
from tests.programs import Start, serving, until
from tests.upstream.redis_server import RedisServer

THREAD = {"query": '{ thread(id: "th-1") { id } }'}
QUERY = THREAD["query"]
WRONG = {**SERVICE, "upstream_password": "wrong"}
CACHE_SECRET = "sixteen or more letters"


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer() as running:
        yield running


@pytest.fixture
def shared(redis: RedisServer) -> dict[str, object]:
    redis.flush()
    return {"cache_url": redis.url, "cache_secret": CACHE_SECRET, "cache_timeout": 5}


def ask_from_everywhere(url: str, times: int = 24) -> list[str]:
    """Ask on many connections at once, so that every worker gets a request; return the codes of the errors."""

    def ask(_: int) -> str:
        answer = httpx.post(url, json=THREAD, trust_env=False, verify=NO_CERTIFICATES, timeout=60).json()
        return str(answer["errors"][0]["extensions"]["code"]) if "errors" in answer else "answered"

    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(ask, range(times)))


def test_without_the_secret_what_redis_keeps_of_a_login_tells_no_password(
    start: StartGateway, redis: RedisServer, shared: dict[str, object]
) -> None:
    """Its name is made of the password: who reads Redis could try passwords until one gives the same name."""
    names = []
    for secret in (CACHE_SECRET, "another secret of the tests"):
        redis.flush()
        start(**{**WRONG, **shared, "cache_secret": secret}).code(QUERY)
        with redis_client.Redis.from_url(redis.url) as client:
            names.append(set(client.scan_iter("*login*")))
    assert all(names)
    assert names[0].isdisjoint(names[1])


@pytest.mark.parametrize("auth", ["token", "basic"])
def test_the_workers_of_a_gateway_try_a_wrong_password_once(
    begin: Start, upstream: str, sandbox: Sandbox, auth: str
) -> None:
    """Without Redis, and also after a worker has died and been replaced."""
    settings = {**WRONG, "upstream_url": upstream, "upstream_auth": auth, "shutdown_delay": "0"}
    program = begin("serve", "--port", "0", "--workers", "3", **settings)
    url = serving(program)
    seen = ask_from_everywhere(url)
    assert set(seen) == {"UNAUTHENTICATED"}
    assert sandbox.accounts.wrong_logins() == 1
    children = Path(f"/proc/{program.process.pid}/task/{program.process.pid}/children").read_text().split()
    os.kill(int(children[-1]), signal.SIGKILL)
    program.err.until("died")
    program.err.until("Application startup complete")
    assert set(ask_from_everywhere(url)) == {"UNAUTHENTICATED"}
    assert sandbox.accounts.wrong_logins() == 1
    program.process.terminate()
    assert program.end() == 0


def test_the_workers_of_a_gateway_share_a_login_that_failed_otherwise(
    begin: Start, upstream: str, sandbox: Sandbox
) -> None:
    sandbox.faults.add(Fault("token", status=429, headers={"retry-after": "600"}))
    program = begin("serve", "--port", "0", "--workers", "3", upstream_url=upstream, shutdown_delay="0", **SERVICE)
    url = serving(program)
    assert set(ask_from_everywhere(url)) == {"RATE_LIMITED"}
    assert sandbox.count("token") == 1
    program.process.terminate()
    assert program.end() == 0


def test_workers_with_a_new_password_try_it(begin: Start, upstream: str, sandbox: Sandbox, tmp_path: Path) -> None:
    """A password corrected in `.env` counts after a SIGHUP."""
    (tmp_path / ".env").write_text("GATEWAY_UPSTREAM_PASSWORD=wrong\n")
    settings = {name: value for name, value in SERVICE.items() if name != "upstream_password"}
    program = begin("serve", "--port", "0", "--workers", "2", upstream_url=upstream, shutdown_delay="0", **settings)
    url = serving(program)
    assert set(ask_from_everywhere(url)) == {"UNAUTHENTICATED"}
    (tmp_path / ".env").write_text(f"GATEWAY_UPSTREAM_PASSWORD={PASSWORD}\n")
    os.kill(program.process.pid, signal.SIGHUP)
    for _ in range(2):
        program.err.until("Finished server process")
    until(lambda: set(ask_from_everywhere(url)) == {"answered"}, "the new password is tried")
    assert sandbox.accounts.wrong_logins() == 0
    program.process.terminate()
    assert program.end() == 0


@pytest.mark.parametrize("auth", ["token", "basic"])
def test_gateways_at_the_same_redis_try_a_wrong_password_once(
    start: StartGateway, sandbox: Sandbox, shared: dict[str, object], auth: str
) -> None:
    first, second = (start(**WRONG, **shared, upstream_auth=auth) for _ in range(2))
    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(lambda gateway: gateway.code(QUERY), [first, second] * 4))
    assert codes == ["UNAUTHENTICATED"] * 8
    assert sandbox.accounts.wrong_logins() == 1
    assert second.http.get("/ready").status_code == 503


def test_gateways_at_the_same_redis_share_a_login_that_failed_otherwise(
    start: StartGateway, sandbox: Sandbox, shared: dict[str, object]
) -> None:
    sandbox.faults.add(Fault("token", status=404))
    gateways = [start(**SERVICE, **shared) for _ in range(2)]
    assert [gateway.code(QUERY) for gateway in gateways * 4] == ["UPSTREAM_ERROR"] * 8
    assert sandbox.count("token") == 1
    assert all(gateway.http.get("/ready").status_code == 200 for gateway in gateways)


def test_a_gateway_waits_for_the_result_of_another_gateways_login(
    start: StartGateway, sandbox: Sandbox, shared: dict[str, object]
) -> None:
    first, second = (start(**WRONG, **shared) for _ in range(2))
    sandbox.faults.add(Fault("token", hold="login", times=1))
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(first.code, QUERY)]
        sandbox.wait_for_calls(1, route="token")
        waiting.append(pool.submit(second.code, QUERY))
        sandbox.release("login")
        assert [each.result() for each in waiting] == ["UNAUTHENTICATED"] * 2
    assert sandbox.count("token") == 1


def test_after_the_pause_one_gateway_tries_again(
    start: StartGateway, sandbox: Sandbox, shared: dict[str, object]
) -> None:
    pause = {"upstream_login_pause": 0.2}
    first, second = (start(**WRONG, **shared, **pause) for _ in range(2))
    assert first.code(QUERY) == "UNAUTHENTICATED"
    until(lambda: second.code(QUERY) == "UNAUTHENTICATED" and sandbox.count("token") > 1, "a gateway tries again")
    assert sandbox.count("token") == 2


def test_valid_credentials_block_no_other_gateway(
    start: StartGateway, sandbox: Sandbox, shared: dict[str, object]
) -> None:
    gateways = [start(**SERVICE, **shared) for _ in range(3)]
    with ThreadPoolExecutor(9) as pool:
        answers = list(pool.map(lambda gateway: gateway.data(QUERY), gateways * 3))
    assert answers == [{"thread": {"id": "th-1"}}] * 9
    assert sandbox.count("token") == 3, "each gateway has its own token"


def test_another_password_or_account_is_tried(start: StartGateway, sandbox: Sandbox, shared: dict[str, object]) -> None:
    assert start(**WRONG, **shared).code(QUERY) == "UNAUTHENTICATED"
    assert start(**{**WRONG, "upstream_password": "also wrong"}, **shared).code(QUERY) == "UNAUTHENTICATED"
    assert sandbox.accounts.wrong_logins() == 2
    assert start(**SERVICE, **shared).data(QUERY) == {"thread": {"id": "th-1"}}


def test_a_login_that_failed_at_one_rest_api_is_tried_at_another(
    start: StartGateway, sandbox: Sandbox, shared: dict[str, object]
) -> None:
    sandbox.faults.add(Fault("token", status=404))
    assert start(**SERVICE, **shared).code(QUERY) == "UPSTREAM_ERROR"
    with BackgroundServer(sandbox_config(Sandbox().app)) as other:
        gateway = start(**SERVICE, **shared, upstream_url=other.url)
        assert gateway.data(QUERY) == {"thread": {"id": "th-1"}}


def test_a_gateway_logs_in_while_redis_is_down(start: StartGateway, sandbox: Sandbox) -> None:
    nowhere = {"cache_url": "redis://127.0.0.1:1/0", "cache_secret": CACHE_SECRET}
    gateway = start(timing=Clock().timing, **SERVICE, **nowhere)
    assert gateway.data(QUERY) == {"thread": {"id": "th-1"}}
    assert sandbox.accounts.wrong_logins(USERNAME) == 0


def test_the_password_is_not_in_redis(start: StartGateway, redis: RedisServer, shared: dict[str, object]) -> None:
    import redis as library  # noqa: PLC0415 - the fixture has its name

    assert start(**WRONG, **shared).code(QUERY) == "UNAUTHENTICATED"
    with library.Redis.from_url(redis.url) as client:
        (key,) = client.keys("*login*")
        assert b"wrong" not in key + client.get(key)
        assert 0 < client.ttl(key) <= 900
