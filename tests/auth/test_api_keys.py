"""API keys: made by the command line, known to a file by their hashes, shown in the header X-API-Key."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.auth import build_authenticator
from gateway.auth.api_keys import generate_api_key
from gateway.errors import ConfigurationError
from tests.auth.conftest import ask
from tests.auth.issuer import Issuer
from tests.auth.test_jwt import refusal
from tests.harness import SERVICE, Clock, Gateway, StartGateway, settings


@pytest.fixture
def start_with_keys(start: StartGateway, tmp_path: Path, clock: Clock) -> StartGateway:
    """Start a gateway whose file of keys has the lines given."""

    def start_gateway(*lines: str, **overrides: Any) -> Gateway:
        file = tmp_path / "keys.toml"
        file.write_text("# our clients\n" + "\n".join(lines), encoding="utf-8")
        return start(timing=clock.timing, **{"inbound_auth": "api_key", "api_keys_file": file, **overrides})

    return start_gateway


def test_a_key_lets_its_caller_in(start_with_keys: StartGateway) -> None:
    key, line = generate_api_key("mobile-app", [], None)
    response = ask(start_with_keys(line), x_api_key=key)
    assert (response.status_code, response.json()) == (200, {"data": {"thread": {"id": "th-1"}}})


def test_several_keys_serve_at_the_same_time_so_that_one_can_follow_the_other(start_with_keys: StartGateway) -> None:
    made = [generate_api_key(name, [], None) for name in ("mobile-1", "mobile-2", "billing")]
    gateway = start_with_keys(*(line for _, line in made))
    assert [ask(gateway, x_api_key=key).status_code for key, _ in made] == [200, 200, 200]
    gateway = start_with_keys(*(line for _, line in made[1:]))
    assert [ask(gateway, x_api_key=key).status_code for key, _ in made] == [401, 200, 200]


def test_every_wrong_key_gets_the_same_answer(start_with_keys: StartGateway) -> None:
    key, line = generate_api_key("mobile-app", [], None)
    other, _ = generate_api_key("mobile-app", [], None)
    unknown, _ = generate_api_key("unknown", [], None)
    gateway = start_with_keys(line)
    wrong = [other, unknown, key[:-1], f"{key}x", key.upper(), "gochat_mobile-app_", "gochat", "_", "\t", "ä" * 50]
    answers = [ask(gateway, x_api_key=each.encode()) for each in wrong if each.strip()]
    refused = {"message": "The credentials are not valid.", "code": "UNAUTHENTICATED"}
    assert [refusal(each) for each in answers] == [refused] * len(answers)
    assert {each.headers["www-authenticate"] for each in answers} == {'ApiKey realm="gochat-gateway"'}
    assert len({len(each.content) for each in answers}) == 1, "the request's id apart, byte for byte"


def test_no_key_at_all_is_told_what_is_needed(start_with_keys: StartGateway) -> None:
    key, line = generate_api_key("mobile-app", [], None)
    gateway = start_with_keys(line)
    for headers in ({}, {"authorization": f"Bearer {key}"}, {"x_api_key": ""}):
        assert refusal(ask(gateway, **headers))["message"] == "This call needs an API key in the header X-API-Key."


@pytest.mark.parametrize("written", ["2030-01-01", "2030-01-01T00:00:00Z", "2030-01-01T02:00:00+02:00"])
def test_a_key_may_expire(start_with_keys: StartGateway, clock: Clock, written: str) -> None:
    key, line = generate_api_key("mobile-app", [], date(2030, 1, 1))
    gateway = start_with_keys(line.replace("2030-01-01", written))
    clock.now = datetime(2030, 1, 1, tzinfo=UTC).timestamp() - 1
    assert ask(gateway, x_api_key=key).status_code == 200
    clock.now += 1
    assert refusal(ask(gateway, x_api_key=key))["message"] == "The credentials are not valid."


def test_a_key_has_scopes(start_with_keys: StartGateway) -> None:
    reader, reading = generate_api_key("reader", ["chat:read"], None)
    other, nothing = generate_api_key("other", [], None)
    gateway = start_with_keys(reading, nothing, required_scopes="chat:read")
    assert ask(gateway, x_api_key=reader).status_code == 200
    assert ask(gateway, x_api_key=other).status_code == 403


def test_tokens_and_keys_may_both_be_taken(start_with_keys: StartGateway, issuer: Issuer) -> None:
    key, line = generate_api_key("mobile-app", [], None)
    tokens = {
        "inbound_auth": " API_KEY, jwt",
        "jwt_jwks_url": issuer.url,
        "jwt_issuer": "https://issuer.example",
        "jwt_audience": "gochat-gateway",
    }
    gateway = start_with_keys(line, **tokens)
    assert ask(gateway, x_api_key=key).status_code == 200
    assert ask(gateway, issuer.token()).status_code == 200
    assert ask(gateway, issuer.token(), x_api_key=key).status_code == 200
    assert ask(gateway, issuer.token(), x_api_key=f"{key}x").status_code == 401, "of both, the key counts"
    nothing = ask(gateway)
    assert nothing.headers["www-authenticate"] == 'Bearer realm="gochat-gateway", ApiKey realm="gochat-gateway"'
    assert "bearer token in the header Authorization or an API key in the header X-API-Key" in nothing.text


HASH = f"sha256:{'0' * 32}:{'0' * 64}"
WRONG_FILES = {
    "": "has no keys",
    "mobile": "is not TOML",
    "a = 1\na = 2": "is not TOML",
    "mobile = 7": "mobile must be",
    "mobile = {}": "mobile must be",
    f'mobile = {{ hash = "{HASH}", scope = ["x"] }}': "mobile must be",
    f'"a_b" = {{ hash = "{HASH}" }}': "an id must be",
    f'"{"x" * 65}" = {{ hash = "{HASH}" }}': "an id must be",
    'mobile = { hash = "md5:0:0" }': "mobile: hash must be",
    "mobile = { hash = 7 }": "mobile: hash must be",
    f'mobile = {{ hash = "{HASH}", scopes = "x" }}': "mobile: scopes must be",
    f'mobile = {{ hash = "{HASH}", scopes = ["a b"] }}': "mobile: scopes must be",
    f'mobile = {{ hash = "{HASH}", scopes = [7] }}': "mobile: scopes must be",
    f'mobile = {{ hash = "{HASH}", expires = "2030-01-01" }}': "mobile: expires must be",
    f'mobile = {{ hash = "{HASH}", expires = 2030-01-01T00:00:00 }}': "mobile: expires must be",
    "\x00": "is not TOML",
}


@pytest.mark.parametrize(("text", "said"), WRONG_FILES.items())
def test_a_wrong_file_is_named_at_the_start_with_what_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "keys.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        build_authenticator(settings(**{**SERVICE, "inbound_auth": "api_key", "api_keys_file": file}))
    (problem,) = caught.value.problems
    assert problem.startswith(f"GATEWAY_API_KEYS_FILE: {file} ")
    assert said in problem
    assert "0" * 32 not in problem


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes(b"\xff")
    for file, said in (
        (tmp_path, "directory"),
        (tmp_path / "none", "No such file"),
        (tmp_path / "latin.toml", "UTF-8"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            build_authenticator(settings(**{**SERVICE, "inbound_auth": "api_key", "api_keys_file": file}))


@pytest.mark.parametrize(("identifier", "scopes"), [("a_b", []), ("", []), ("a", ["x y"]), ("a", ['x"']), ("a", [""])])
def test_no_key_is_made_that_the_file_would_refuse(identifier: str, scopes: list[str]) -> None:
    with pytest.raises(ConfigurationError):
        generate_api_key(identifier, scopes, None)
