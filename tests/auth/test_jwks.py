"""How the issuer's keys are fetched: seldom, one fetch at a time, and never missed while the issuer is in trouble."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from joserfc.jwk import ECKey, RSAKey

from tests.auth.conftest import Ask, ask
from tests.auth.issuer import Issuer, eventually
from tests.harness import Clock, StartGateway


def test_the_keys_are_fetched_once_for_any_number_of_tokens(ask_guarded: Ask, issuer: Issuer) -> None:
    for number in range(20):
        assert ask_guarded(issuer.token(sub=f"user-{number}")).status_code == 200
    assert issuer.fetches == 1


def test_callers_at_the_same_moment_wait_for_the_same_fetch(ask_guarded: Ask, issuer: Issuer) -> None:
    issuer.hold()
    with ThreadPoolExecutor(10) as pool:
        waiting = [pool.submit(ask_guarded, issuer.token(sub=f"user-{number}")) for number in range(10)]
        issuer.wait_for_a_fetch()
        issuer.release()
        assert {each.result().status_code for each in waiting} == {200}
    assert issuer.fetches == 1


def test_a_new_key_is_fetched_when_a_token_names_it(ask_guarded: Ask, issuer: Issuer, clock: Clock) -> None:
    old = issuer.token()
    assert ask_guarded(old).status_code == 200
    issuer.rotate("second", keep=True)
    clock.now += 11
    assert ask_guarded(issuer.token()).status_code == 200
    assert ask_guarded(old).status_code == 200, "its key is still published"
    assert issuer.fetches == 2


def test_made_up_keys_cost_the_issuer_one_fetch_in_ten_seconds(ask_guarded: Ask, issuer: Issuer, clock: Clock) -> None:
    mine = ECKey.generate_key("P-256")
    assert ask_guarded(issuer.token()).status_code == 200
    for _ in range(3):
        clock.now += 11
        for number in range(30):
            assert ask_guarded(issuer.token(header={"kid": f"made-up-{number}"}, key=mine)).status_code == 401
        assert ask_guarded(issuer.token(sub="bob")).status_code == 200
    assert issuer.fetches == 4


def test_a_key_that_is_published_no_more_lets_nobody_in(ask_guarded: Ask, issuer: Issuer, clock: Clock) -> None:
    """Also no token that was verified with it before: a key may be withdrawn because it was stolen."""
    old = issuer.token()
    assert ask_guarded(old).status_code == 200
    issuer.rotate("second")
    clock.now += 601
    eventually(lambda: ask_guarded(old).status_code == 401)
    assert issuer.fetches == 2


def test_a_fetch_that_is_due_keeps_nobody_waiting(ask_guarded: Ask, issuer: Issuer, clock: Clock) -> None:
    token = issuer.token()
    assert ask_guarded(token).status_code == 200
    clock.now += 601
    issuer.hold()
    assert ask_guarded(token).status_code == 200
    issuer.wait_for_a_fetch()
    assert ask_guarded(issuer.token(sub="bob")).status_code == 200
    issuer.release()


def test_after_a_long_rest_nobody_is_let_in_by_keys_that_are_published_no_more(
    ask_guarded: Ask, issuer: Issuer, clock: Clock
) -> None:
    """Also not the first who come, who are the reason why the keys are fetched, nor those who come meanwhile."""
    old = issuer.token()
    stolen = issuer.keys["first"]
    assert ask_guarded(old).status_code == 200
    issuer.rotate("second")
    forged = issuer.token(header={"kid": "first"}, key=stolen, sub="mallory")
    clock.now += 1201
    issuer.hold()
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(ask_guarded, old)
        issuer.wait_for_a_fetch()
        meanwhile = [pool.submit(ask_guarded, token) for token in (forged, issuer.token(sub="bob"))]
        issuer.release()
        assert [each.result().status_code for each in (first, *meanwhile)] == [401, 401, 200]
    assert issuer.fetches == 2


def test_keys_that_cannot_be_had_after_a_long_rest_are_waited_for_once(
    ask_guarded: Ask, issuer: Issuer, clock: Clock
) -> None:
    token = issuer.token()
    assert ask_guarded(token).status_code == 200
    clock.now += 3601
    issuer.answer = WRONG["an error"]
    assert ask_guarded(token).status_code == 200
    assert issuer.fetches == 2
    issuer.hold()
    clock.now += 11
    assert ask_guarded(token).status_code == 200, "an issuer that hangs keeps nobody waiting"
    issuer.wait_for_a_fetch()
    assert ask_guarded(issuer.token(sub="bob")).status_code == 200
    issuer.release()


def test_the_last_good_keys_serve_while_the_issuer_is_down(ask_guarded: Ask, issuer: Issuer, clock: Clock) -> None:
    assert ask_guarded(issuer.token()).status_code == 200
    issuer.stop()
    for hours in range(3):
        clock.now += 3600
        assert ask_guarded(issuer.token(sub=f"user-{hours}")).status_code == 200
    issuer.start()
    issuer.rotate("second", keep=True)
    clock.now += 3600
    eventually(lambda: ask_guarded(issuer.token()).status_code == 200)


WRONG = {
    "an error": (500, b"{}"),
    "a redirect": (302, b""),
    "HTML": (200, b"<html>"),
    "no object": (200, b"[1]"),
    "no keys": (200, b"{}"),
    "an empty set": (200, b'{"keys": []}'),
    "keys that are none": (200, b'{"keys": [1, {"kty": "EC"}, {"kty": "new"}, {"kty": "RSA", "n": 1, "e": "AQAB"}]}'),
    "too many keys": (200, b'{"keys": [' + b"1," * 1000 + b"1]}"),
    "too long": (200, b" " * 300_000 + b"{}"),
    "bytes": (200, b"\xff\xfe\x00"),
}


@pytest.mark.parametrize("answer", WRONG.values(), ids=WRONG.keys())
def test_garbage_does_not_replace_good_keys(
    ask_guarded: Ask, issuer: Issuer, clock: Clock, answer: tuple[int, bytes]
) -> None:
    assert ask_guarded(issuer.token()).status_code == 200
    issuer.answer = answer
    clock.now += 601
    assert ask_guarded(issuer.token(sub="bob")).status_code == 200
    eventually(lambda: issuer.fetches == 2)
    assert ask_guarded(issuer.token(sub="carol")).status_code == 200


def test_without_any_keys_it_is_said_that_no_token_can_be_verified(
    ask_guarded: Ask, issuer: Issuer, clock: Clock
) -> None:
    """It is not the caller's fault: to be told 401, a client would throw a good token away."""
    issuer.answer = WRONG["an error"]
    for _ in range(5):
        response = ask_guarded(issuer.token())
        assert response.status_code == 503
        assert response.json()["errors"][0]["extensions"]["code"] == "UPSTREAM_UNAVAILABLE"
        assert 1 <= int(response.headers["retry-after"]) <= 10
    assert issuer.fetches == 1
    issuer.answer = None
    clock.now += 11
    assert ask_guarded(issuer.token()).status_code == 200


def test_what_cannot_verify_is_passed_over(start_with_tokens: StartGateway, issuer: Issuer) -> None:
    good = issuer.keys["first"]
    with pytest.warns(match="2048"):
        short = RSAKey.generate_key(1024)
    issuer.keys = {"short": short, "first": good}
    gateway = start_with_tokens()
    assert ask(gateway, issuer.token()).status_code == 200
    with pytest.warns(match="2048"):
        weak = issuer.token(header={"kid": "short"}, key=RSAKey.import_key(short.as_dict(private=True)))
    assert ask(gateway, weak).status_code == 401


def test_a_token_without_a_key_id_is_for_a_set_of_one(ask_guarded: Ask, issuer: Issuer, clock: Clock) -> None:
    assert ask_guarded(issuer.token(header={"kid": None})).status_code == 200
    issuer.rotate("second", keep=True)
    clock.now += 601
    eventually(lambda: ask_guarded(issuer.token()).status_code == 200)
    assert ask_guarded(issuer.token(header={"kid": None})).status_code == 401, "which of the two would be a guess"


def test_a_caller_who_leaves_does_not_take_the_keys_from_the_others(ask_guarded: Ask, issuer: Issuer) -> None:
    issuer.hold()
    with ThreadPoolExecutor(2) as pool:
        impatient = pool.submit(ask_guarded, issuer.token(sub="bob"))
        issuer.wait_for_a_fetch()
        patient = pool.submit(ask_guarded, issuer.token())
        issuer.release()
        assert {impatient.result().status_code, patient.result().status_code} == {200}
