"""The JWKS: fetched rarely, one fetch at a time, and still used while the issuer is down."""

import asyncio
import json
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from typing import Any

import httpx
import pytest
from joserfc.jwk import ECKey, RSAKey

from gateway.auth import Authenticator, auth_metrics
from gateway.auth.jwks import RemoteJwks
from gateway.errors import UpstreamUnavailable
from gateway.telemetry import Counts
from tests.auth.conftest import Ask, ask
from tests.auth.issuer import AUDIENCE, NAME, Issuer, eventually
from tests.harness import SERVICE, Clock, StartGateway, build_authenticator, settings
from tests.http1.raw_server import Authority, RawServer, answer

USABLE = ECKey.generate_key("P-256").as_dict(private=False)
ENCRYPTING = {**USABLE, "use": "enc"}


def test_the_keys_are_fetched_once_for_any_number_of_tokens(ask_authenticated: Ask, issuer: Issuer) -> None:
    for number in range(20):
        assert ask_authenticated(issuer.token(sub=f"user-{number}")).status_code == 200
    assert issuer.fetches == 1


def test_simultaneous_callers_wait_for_the_same_fetch(ask_authenticated: Ask, issuer: Issuer) -> None:
    issuer.hold()
    with ThreadPoolExecutor(10) as pool:
        waiting = [pool.submit(ask_authenticated, issuer.token(sub=f"user-{number}")) for number in range(10)]
        issuer.wait_for_a_fetch()
        issuer.release()
        assert {each.result().status_code for each in waiting} == {200}
    assert issuer.fetches == 1


def test_a_new_key_is_fetched_when_a_token_names_it(ask_authenticated: Ask, issuer: Issuer, clock: Clock) -> None:
    old = issuer.token()
    assert ask_authenticated(old).status_code == 200
    issuer.rotate("second", keep=True)
    clock.now += 11
    assert ask_authenticated(issuer.token()).status_code == 200
    assert ask_authenticated(old).status_code == 200, "the old key is still published"
    assert issuer.fetches == 2


def test_invented_key_ids_cost_the_issuer_one_fetch_in_ten_seconds(
    ask_authenticated: Ask, issuer: Issuer, clock: Clock
) -> None:
    mine = ECKey.generate_key("P-256")
    assert ask_authenticated(issuer.token()).status_code == 200
    for _ in range(3):
        clock.now += 11
        for number in range(30):
            assert ask_authenticated(issuer.token(header={"kid": f"invented-{number}"}, key=mine)).status_code == 401
        assert ask_authenticated(issuer.token(sub="bob")).status_code == 200
    assert issuer.fetches == 4


def test_a_key_for_encryption_verifies_nothing(ask_authenticated: Ask, issuer: Issuer) -> None:
    """RFC 7517, section 4.2."""
    issuer.rotate("for encryption", keep=True)
    (_, signing), (_, encrypting) = ((kid, key.as_dict(private=False)) for kid, key in issuer.keys.items())
    published = [{**signing, "kid": "first"}, {**encrypting, "kid": "for encryption", "use": "enc"}]
    issuer.answer = 200, json.dumps({"keys": published}).encode()
    assert ask_authenticated(issuer.token()).status_code == 401
    token = issuer.token(header={"kid": "first"}, key=issuer.keys["first"])
    assert ask_authenticated(token).status_code == 200, "a key without a use may be for anything"


def test_members_that_verify_nothing_do_not_hide_a_key(ask_authenticated: Ask, issuer: Issuer) -> None:
    """RFC 7517, section 5: what is not understood is ignored. A key for encryption makes nothing ambiguous."""
    (kid, key), *_ = issuer.keys.items()
    others: list[Any] = [
        1,
        None,
        "x",
        [],
        {},
        {"kty": "new"},
        {"kty": "EC", "crv": "P-256"},
        {**ENCRYPTING, "kid": "enc"},
    ]
    published = [*others, {**key.as_dict(private=False), "kid": kid, "use": "sig"}, *others]
    issuer.answer = 200, json.dumps({"keys": published}).encode()
    assert ask_authenticated(issuer.token()).status_code == 200
    assert ask_authenticated(issuer.token(header={"kid": None})).status_code == 200


async def test_fetches_are_counted_and_a_failure_is_logged_without_its_addresses(
    caplog: pytest.LogCaptureFixture, issuer: Issuer, clock: Clock
) -> None:
    """Errors of libraries have addresses and more in their texts."""
    answers = iter([httpx.ConnectError("no route to 10.1.2.3"), ValueError("HTTP 500"), b"", b""])

    async def fetch() -> bytes:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return issuer.jwks

    counts = Counts()
    keys = RemoteJwks(fetch, 600, counts, clock)
    for failed, ok in ((1, 0), (2, 0), (2, 1), (2, 2)):
        with suppress(UpstreamUnavailable):
            await keys.find("first" if ok < 2 else "unknown", "ES256")
        samples = [each for metric in auth_metrics(counts) for each in metric.samples]
        results = {each.labels["result"]: each.value for each in samples if "result" in each.labels}
        assert results == {"failed": failed, "ok": ok}
        clock.now += 60
    assert [re.findall(r"\((.*?)\)", record.message) for record in caplog.records] == [["ConnectError"], ["HTTP 500"]]


async def test_keys_are_fetched_again_after_one_ttl_and_waited_for_after_two(issuer: Issuer, clock: Clock) -> None:
    async def fetch() -> bytes:
        return issuer.jwks

    counts = Counts()
    keys = RemoteJwks(fetch, 600, counts, clock)
    await keys.find("first", "ES256")
    clock.now += 599.5
    await keys.refresh_if_due()
    await settled()
    assert counts["jwks_fetched"] == 1
    clock.now += 0.5
    await keys.refresh_if_due()
    assert counts["jwks_fetched"] == 1
    await settled()
    assert counts["jwks_fetched"] == 2
    clock.now += 1200
    await keys.refresh_if_due()
    assert counts["jwks_fetched"] == 3


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.parametrize("trusted", [True, False])
async def test_keys_come_only_from_an_issuer_whose_certificate_is_trusted(
    issuer: Issuer, clock: Clock, authority: Authority, trusted: bool
) -> None:
    """An authority of the operator's own may have signed it."""
    async with RawServer(authority.server) as server:
        server.serving(lambda _: answer(issuer.jwks))
        file = authority.folder / "root.pem" if trusted else None
        authenticator = built(clock, jwt_jwks_url=f"{server.url}/keys", upstream_ca_file=file)
        with nullcontext() if trusted else pytest.raises(UpstreamUnavailable):
            viewer = await authenticator.authenticate(f"Bearer {issuer.token()}", None, None)
            assert viewer.caller == "sub:alice"
        await authenticator.aclose()


def built(clock: Clock, **chosen: Any) -> Authenticator:
    tokens = {"inbound_auth": "jwt", "jwt_issuer": NAME, "jwt_audience": AUDIENCE}
    return build_authenticator(settings(**{**SERVICE, **tokens, **chosen}), clock.timing)


async def test_closing_the_authenticator_ends_a_running_fetch(issuer: Issuer, clock: Clock) -> None:
    issuer.hold()
    authenticator = built(clock, jwt_jwks_url=issuer.url)
    waiting = asyncio.create_task(authenticator.authenticate(f"Bearer {issuer.token()}", None, None))
    await asyncio.to_thread(issuer.wait_for_a_fetch)
    await authenticator.aclose()
    with pytest.raises(asyncio.CancelledError):
        await waiting


def test_a_withdrawn_key_is_rejected(ask_authenticated: Ask, issuer: Issuer, clock: Clock) -> None:
    """Also for tokens that were verified with it before: the key may have been stolen."""
    old = issuer.token()
    assert ask_authenticated(old).status_code == 200
    issuer.rotate("second")
    clock.now += 601
    eventually(lambda: ask_authenticated(old).status_code == 401)
    assert issuer.fetches == 2


def test_requests_do_not_wait_for_a_refresh_that_is_due(ask_authenticated: Ask, issuer: Issuer, clock: Clock) -> None:
    token = issuer.token()
    assert ask_authenticated(token).status_code == 200
    clock.now += 601
    issuer.hold()
    assert ask_authenticated(token).status_code == 200
    issuer.wait_for_a_fetch()
    assert ask_authenticated(issuer.token(sub="bob")).status_code == 200
    issuer.release()


def test_keys_not_refreshed_within_two_ttls_are_rejected(ask_authenticated: Ask, issuer: Issuer, clock: Clock) -> None:
    """Also for the first request, which starts the refresh, and for requests during the refresh."""
    old = issuer.token()
    stolen = issuer.keys["first"]
    assert ask_authenticated(old).status_code == 200
    issuer.rotate("second")
    forged = issuer.token(header={"kid": "first"}, key=stolen, sub="mallory")
    clock.now += 1201
    issuer.hold()
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(ask_authenticated, old)
        issuer.wait_for_a_fetch()
        meanwhile = [pool.submit(ask_authenticated, token) for token in (forged, issuer.token(sub="bob"))]
        issuer.release()
        assert [each.result().status_code for each in (first, *meanwhile)] == [401, 401, 200]
    assert issuer.fetches == 2


def test_a_failing_overdue_refresh_is_waited_for_once(ask_authenticated: Ask, issuer: Issuer, clock: Clock) -> None:
    token = issuer.token()
    assert ask_authenticated(token).status_code == 200
    clock.now += 3601
    issuer.answer = WRONG["an error"]
    assert ask_authenticated(token).status_code == 200
    assert issuer.fetches == 2
    issuer.hold()
    clock.now += 11
    assert ask_authenticated(token).status_code == 200, "requests do not wait for an issuer that hangs"
    issuer.wait_for_a_fetch()
    assert ask_authenticated(issuer.token(sub="bob")).status_code == 200
    issuer.release()


def test_the_last_good_keys_are_used_while_the_issuer_is_down(
    ask_authenticated: Ask, issuer: Issuer, clock: Clock
) -> None:
    assert ask_authenticated(issuer.token()).status_code == 200
    issuer.stop()
    for hours in range(3):
        clock.now += 3600
        assert ask_authenticated(issuer.token(sub=f"user-{hours}")).status_code == 200
    issuer.start()
    issuer.rotate("second", keep=True)
    clock.now += 3600
    eventually(lambda: ask_authenticated(issuer.token()).status_code == 200)


WRONG = {
    "an error": (500, b"{}"),
    "a redirect": (302, b""),
    "HTML": (200, b"<html>"),
    "no object": (200, b"[1]"),
    "no keys": (200, b"{}"),
    "an empty set": (200, b'{"keys": []}'),
    "keys that are none": (200, b'{"keys": [1, {"kty": "EC"}, {"kty": "new"}, {"kty": "RSA", "n": 1, "e": "AQAB"}]}'),
    "a key for encryption": (200, json.dumps({"keys": [{**ENCRYPTING, "kid": "first"}]}).encode()),
    "too many keys": (200, json.dumps({"keys": [USABLE] * 101}).encode()),
    "too long": (200, b" " * 300_000 + json.dumps({"keys": [USABLE]}).encode()),
    "bytes": (200, b"\xff\xfe\x00"),
}


@pytest.mark.parametrize("answer", WRONG.values(), ids=WRONG.keys())
def test_an_invalid_response_does_not_replace_good_keys(
    ask_authenticated: Ask, issuer: Issuer, clock: Clock, answer: tuple[int, bytes]
) -> None:
    assert ask_authenticated(issuer.token()).status_code == 200
    issuer.answer = answer
    clock.now += 601
    assert ask_authenticated(issuer.token(sub="bob")).status_code == 200
    eventually(lambda: issuer.fetches == 2)
    assert ask_authenticated(issuer.token(sub="carol")).status_code == 200


REASONS = {
    "an error": "HTTP 500",
    "a redirect": "HTTP 302",
    "HTML": "not JSON",
    "no object": "no `keys`, or more than 100",
    "no keys": "no `keys`, or more than 100",
    "an empty set": "no key in it can be used",
    "keys that are none": "no key in it can be used",
    "a key for encryption": "no key in it can be used",
    "too many keys": "no `keys`, or more than 100",
    "too long": "RemoteProtocolError",
    "bytes": "not JSON",
}


@pytest.mark.parametrize(("answer", "reason"), [(WRONG[name], reason) for name, reason in REASONS.items()], ids=REASONS)
def test_without_any_keys_tokens_get_a_503_and_the_log_the_reason(
    ask_authenticated: Ask,
    issuer: Issuer,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    answer: tuple[int, bytes],
    reason: str,
) -> None:
    """It is not the caller's fault: after a 401, a client would discard a valid token."""
    issuer.answer = answer
    for seconds, wait in ((0, "10"), (1, "9"), (8.5, "1")):
        clock.now += seconds
        response = ask_authenticated(issuer.token())
        assert response.status_code == 503
        (error,) = response.json()["errors"]
        assert error["extensions"]["code"] == "UPSTREAM_UNAVAILABLE"
        assert error["message"] == "The token issuer's keys cannot be had."
        assert response.headers["retry-after"] == wait
    assert issuer.fetches == 1
    said = f"the token issuer's keys cannot be fetched ({reason}); the known keys stay in use"
    assert [record.message for record in caplog.records if "issuer" in record.message] == [said]
    issuer.answer = None
    clock.now += 11
    assert ask_authenticated(issuer.token()).status_code == 200


def test_unusable_keys_are_skipped(start_with_tokens: StartGateway, issuer: Issuer) -> None:
    good = issuer.keys["first"]
    with pytest.warns(match="2048"):
        short = RSAKey.generate_key(1024)
    issuer.keys = {"short": short, "first": good}
    gateway = start_with_tokens()
    assert ask(gateway, issuer.token()).status_code == 200
    with pytest.warns(match="2048"):
        weak = issuer.token(header={"kid": "short"}, key=RSAKey.import_key(short.as_dict(private=True)))
    assert ask(gateway, weak).status_code == 401


def test_a_token_without_a_key_id_needs_a_set_of_one_key(ask_authenticated: Ask, issuer: Issuer, clock: Clock) -> None:
    assert ask_authenticated(issuer.token(header={"kid": None})).status_code == 200
    issuer.rotate("second", keep=True)
    clock.now += 601
    eventually(lambda: ask_authenticated(issuer.token()).status_code == 200)
    assert ask_authenticated(issuer.token(header={"kid": None})).status_code == 401, (
        "it is ambiguous which key is meant"
    )


def test_a_cancelled_request_does_not_cancel_the_fetch_for_the_others(ask_authenticated: Ask, issuer: Issuer) -> None:
    issuer.hold()
    with ThreadPoolExecutor(2) as pool:
        impatient = pool.submit(ask_authenticated, issuer.token(sub="bob"))
        issuer.wait_for_a_fetch()
        patient = pool.submit(ask_authenticated, issuer.token())
        issuer.release()
        assert {impatient.result().status_code, patient.result().status_code} == {200}
