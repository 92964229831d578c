import base64
import ssl
from collections.abc import Iterator

import httpx
import pytest

from gateway.sandbox import PASSWORD, USERNAME, Accounts, BackgroundServer, Sandbox, sandbox_config, seed

LOGIN = {"grant_type": "password", "username": USERNAME, "password": PASSWORD}
WRONG = (USERNAME, "wrong")
THREAD = "/api/v1/thread/th-1"

# The server has no TLS, and loading the machine's certificates takes 60 ms per client.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

DATA = seed()  # never changed, so all tests share it


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def accounts(clock: Clock) -> Accounts:
    return Accounts({"zoë@two.example": "pässwörd"}, clock=clock)


@pytest.fixture
def client(accounts: Accounts, clock: Clock) -> Iterator[httpx.Client]:
    sandbox = Sandbox(DATA, accounts=accounts, clock=clock, echo_caller=True)
    with (
        BackgroundServer(sandbox_config(sandbox.app)) as server,
        httpx.Client(verify=NO_TLS, base_url=server.url) as http,
    ):
        yield http


def bearer(client: httpx.Client) -> dict[str, str]:
    return {"authorization": f"Bearer {client.post('/api/v1/token', json=LOGIN).json()['access_token']}"}


def code(answer: httpx.Response) -> str:
    return next(str(error["code"]) for error in answer.json()["errors"] if not error["deprecated"])


def test_a_basic_credential_and_a_token_are_both_accepted(client: httpx.Client) -> None:
    assert client.get(THREAD, auth=(USERNAME, PASSWORD)).status_code == 200
    assert client.get(THREAD, headers=bearer(client)).status_code == 200


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Basic",
        "Basic !!!",
        "Basic " + base64.b64encode(b"no colon").decode(),
        "Basic " + base64.b64encode(b"\xff\xfe:x").decode(),
        "Bearer",
        "Bearer nonsense",
        "Digest x",
    ],
)
def test_a_missing_or_malformed_credential_is_401(client: httpx.Client, authorization: str | None) -> None:
    headers = {} if authorization is None else {"authorization": authorization}
    answer = client.get(THREAD, headers=headers)
    assert answer.status_code == 401
    assert "www-authenticate" in answer.headers


def test_every_route_except_the_token_call_needs_a_credential(client: httpx.Client) -> None:
    calls = [
        client.get(THREAD),
        client.get(f"{THREAD}/messages"),
        client.get("/api/v1/customers/cu-1"),
        client.post(THREAD, json={}),
        client.post("/api/v1/message", json={}),
        client.post("/api/v1/chat/token", json={}),
    ]
    assert [answer.status_code for answer in calls] == [401] * 6


def test_an_error_is_listed_twice_once_deprecated_and_once_not(client: httpx.Client) -> None:
    errors = client.get(THREAD).json()["errors"]
    assert [error["deprecated"] for error in errors] == [True, False]
    assert all(set(error) == {"code", "message", "deprecated", "will_be_deprecated"} for error in errors)


def test_two_users_get_responses_that_name_the_caller(client: httpx.Client) -> None:
    other = httpx.BasicAuth("zoë@two.example", "pässwörd")
    for _ in range(2):  # the second time from the encoded bodies
        assert client.get(THREAD, auth=(USERNAME, PASSWORD)).json()["tags"][-1] == f"caller:{USERNAME}"
        assert client.get(THREAD, auth=other).json()["tags"][-1] == "caller:zoë@two.example"
        detail = client.get("/api/v1/customers/cu-1", auth=other).json()
        assert detail["customer"]["comment"] == "caller:zoë@two.example"


def test_the_lifetime_of_a_token_is_announced_unless_switched_off(client: httpx.Client, accounts: Accounts) -> None:
    assert client.post("/api/v1/token", json=LOGIN).json()["expires_in"] == 3600
    accounts.announce_expiry = False
    assert "expires_in" not in client.post("/api/v1/token", json=LOGIN).json()


def test_a_token_expires(client: httpx.Client, clock: Clock) -> None:
    headers = bearer(client)
    clock.now += 3599
    assert client.get(THREAD, headers=headers).status_code == 200
    clock.now += 1
    expired = client.get(THREAD, headers=headers)
    assert (expired.status_code, code(expired)) == (401, "token_expired")


def test_the_lifetime_can_change_while_it_runs(client: httpx.Client, accounts: Accounts, clock: Clock) -> None:
    accounts.token_lifetime = 10
    headers = bearer(client)
    clock.now += 10
    assert client.get(THREAD, headers=headers).status_code == 401


def test_revoked_tokens_are_refused_and_new_ones_are_not(client: httpx.Client, accounts: Accounts) -> None:
    headers = bearer(client)
    accounts.revoke_tokens()
    assert client.get(THREAD, headers=headers).status_code == 401
    assert client.get(THREAD, headers=bearer(client)).status_code == 200


def test_five_wrong_passwords_in_a_row_lock_the_account_by_either_method(
    client: httpx.Client, accounts: Accounts
) -> None:
    headers = bearer(client)
    for _ in range(3):
        assert client.get(THREAD, auth=WRONG).status_code == 401
    for _ in range(2):
        assert client.post("/api/v1/token", json={**LOGIN, "password": "wrong"}).status_code == 401
    assert accounts.is_locked()
    refused = [
        client.get(THREAD, auth=(USERNAME, PASSWORD)),
        client.post("/api/v1/token", json=LOGIN),
        client.get(THREAD, headers=headers),
    ]
    assert [(answer.status_code, code(answer)) for answer in refused] == [(403, "account_locked")] * 3


def test_a_lock_affects_one_account_and_can_be_removed(client: httpx.Client, accounts: Accounts) -> None:
    accounts.lockout_after = 1
    client.get(THREAD, auth=WRONG)
    assert client.get(THREAD, auth=("zoë@two.example", "pässwörd")).status_code == 200
    assert client.get(THREAD, auth=(USERNAME, PASSWORD)).status_code == 403
    accounts.unlock()
    assert client.get(THREAD, auth=(USERNAME, PASSWORD)).status_code == 200


def test_a_right_password_resets_the_count(client: httpx.Client, accounts: Accounts) -> None:
    for _ in range(4):
        client.get(THREAD, auth=WRONG)
    assert accounts.wrong_logins() == 4
    client.get(THREAD, auth=(USERNAME, PASSWORD))
    assert accounts.wrong_logins() == 0


def test_an_unknown_user_is_401_and_locks_nothing(client: httpx.Client, accounts: Accounts) -> None:
    for _ in range(6):
        assert client.get(THREAD, auth=("nobody@two.example", "x")).status_code == 401
    assert accounts.wrong_logins("nobody@two.example") == 0


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"", 400),
        (b"\xff", 400),
        (b"[]", 422),
        (b'{"grant_type": "code", "username": "u", "password": "p"}', 422),
        (b'{"grant_type": "password", "username": "u"}', 422),
        (b'{"grant_type": "password", "username": "u", "password": "p", "scope": "x"}', 422),
    ],
)
def test_a_malformed_login_differs_from_a_wrong_one(client: httpx.Client, body: bytes, status: int) -> None:
    assert client.post("/api/v1/token", content=body).status_code == status
