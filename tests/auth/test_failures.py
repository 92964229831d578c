"""An address with too many wrong credentials is blocked; verified credentials are still accepted."""

import logging
from pathlib import Path

import pytest

from gateway.auth.api_keys import generate_api_key
from gateway.auth.failures import AuthFailures, client_of
from gateway.auth.gcra import build_rate
from gateway.auth.rate_limits import Standing
from gateway.errors import ConfigurationError, RateLimited
from gateway.storage.shared import Shared
from gateway.telemetry import Counts
from tests.auth.conftest import ask
from tests.auth.issuer import Issuer
from tests.harness import Clock, StartGateway


def test_too_many_wrong_tokens_are_answered_429(start_with_tokens: StartGateway, issuer: Issuer) -> None:
    gateway = start_with_tokens(auth_failure_limit="3/hour")
    good = issuer.token()
    assert ask(gateway, good).status_code == 200
    wrong = [issuer.token(sub=f"user-{number}", aud="other") for number in range(5)]
    assert [ask(gateway, token).status_code for token in wrong] == [401, 401, 401, 429, 429]
    refused = ask(gateway, wrong[0])
    (error,) = refused.json()["errors"]
    assert error["message"] == "Too many wrong credentials came from this address: it has to wait."
    assert error["extensions"]["code"] == "RATE_LIMITED"
    assert error["extensions"]["retryAfter"] == int(refused.headers["retry-after"])
    assert 1 <= int(refused.headers["retry-after"]) <= 1200
    assert ask(gateway, good).status_code == 200, "a verified token is accepted from a blocked address"
    assert ask(gateway, issuer.token(sub="new")).status_code == 429, "no signature is verified for a blocked address"


def test_another_address_is_not_blocked(start_with_tokens: StartGateway, issuer: Issuer) -> None:
    gateway = start_with_tokens(auth_failure_limit="1/hour", trusted_proxies="127.0.0.1")
    wrong = issuer.token(aud="other")
    answers = [ask(gateway, wrong, x_forwarded_for=f"192.0.2.{host}") for host in (1, 2, 1)]
    assert [each.status_code for each in answers] == [401, 401, 429]


def test_after_the_wait_the_address_may_try_again(
    start_with_tokens: StartGateway, issuer: Issuer, clock: Clock
) -> None:
    gateway = start_with_tokens(auth_failure_limit="1/hour")
    assert [ask(gateway, "wrong").status_code for _ in range(3)] == [401, 429, 429]
    clock.now += 3600
    assert ask(gateway, issuer.token()).status_code == 200


def test_a_valid_key_is_accepted_from_a_blocked_address(start: StartGateway, tmp_path: Path) -> None:
    key, line = generate_api_key("mobile-app", [], None)
    file = tmp_path / "keys.toml"
    file.write_text(line)
    gateway = start(inbound_auth="api_key", api_keys_file=file, auth_failure_limit="2/hour")
    assert [ask(gateway, x_api_key=f"{key}x").status_code for _ in range(4)] == [401, 401, 429, 429]
    assert ask(gateway, x_api_key=key).status_code == 200


def test_a_request_without_credentials_is_no_failure(start_with_tokens: StartGateway, issuer: Issuer) -> None:
    gateway = start_with_tokens(auth_failure_limit="1/hour")
    assert {ask(gateway).status_code for _ in range(5)} == {401}
    assert ask(gateway, issuer.token()).status_code == 200


def test_the_response_does_not_contain_the_reason(start_with_tokens: StartGateway, issuer: Issuer) -> None:
    gateway = start_with_tokens()
    for token in (issuer.token(exp=1), issuer.token(aud="other"), "nonsense", issuer.token(header={"kid": "other"})):
        assert ask(gateway, token).json()["errors"][0]["message"] == "The credentials are not valid."


class Refusing:
    """A rate of which nothing is left for ten seconds."""

    limit, window = 1, 10

    async def take(self, name: str, cost: int = 1) -> Standing | None:  # noqa: ARG002 - the protocol's signature
        return Standing(allowed=False, limit=1, remaining=0, reset_after=10.0, retry_after=10.0)

    async def aclose(self) -> None:
        pass


async def test_an_address_is_blocked_until_its_wait_is_over_and_no_other_is() -> None:
    clock, counts = Clock(), Counts()
    clock.now = 0.0
    failures = AuthFailures(Refusing(), counts, clock)
    with pytest.raises(RateLimited):
        await failures.add("192.0.2.1", "expired")
    for seconds, wait in ((0, 10.0), (9.5, 1.0)):
        clock.now += seconds
        with pytest.raises(RateLimited) as caught:
            failures.require_unblocked("192.0.2.1")
        assert caught.value.retry_after == wait
        failures.require_unblocked("192.0.2.2")
    clock.now += 0.5
    failures.require_unblocked("192.0.2.1")
    assert counts["auth_failures_limited"] == 2


async def test_the_log_names_the_reason_and_the_address(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    failures = AuthFailures(build_rate("auth_failure_limit", "2/hour", Shared()), Counts(), Clock())
    await failures.add("2001:db8:1:2::1", "expired")
    (record,) = caplog.records
    assert record.message == "credentials were refused"
    assert vars(record)["fields"] == {"reason": "expired", "address": "2001:db8:1:2::/64"}


async def test_failures_are_counted_by_their_reason() -> None:
    counts = Counts()
    rate = build_rate("auth_failure_limit", "2/hour", Shared(counts))
    failures = AuthFailures(rate, counts, Clock())
    for reason in ("expired", "signature"):
        await failures.add("192.0.2.1", reason)
    for _ in range(2):
        with pytest.raises(RateLimited):
            await failures.add("192.0.2.1", "expired")
    await failures.add("192.0.2.2", "expired")
    assert counts == {
        "auth_failures": 4,
        "auth_failures: expired": 3,
        "auth_failures: signature": 1,
        "auth_failures_limited": 1,
    }


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        (None, "unknown"),
        ("", "unknown"),
        ("testclient", "unknown"),
    ],
)
def test_what_counts_as_one_client(address: str | None, client: str) -> None:
    assert client_of(address) == client


@pytest.mark.parametrize(
    "text", ["", "many", "0/minute", "-1/minute", "10", "10/fortnight", "1/minute,2/hour", "1.5/second"]
)
def test_an_invalid_limit_is_rejected_at_startup(text: str) -> None:
    with pytest.raises(ConfigurationError, match="GATEWAY_AUTH_FAILURE_LIMIT: must be"):
        build_rate("auth_failure_limit", text, Shared())
