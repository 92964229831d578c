"""The settings: bounds, messages that help and never show a value, and which source wins."""

import re
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from gateway.errors import ConfigurationError
from gateway.settings import GROUPS, PREFIX, Settings, catalogue, load_settings, unknown_variables
from tests.harness import FIELDS, NO_ENV_FILE, settings

SECRET = "hunter2-very-secret"
ACCOUNT = {"upstream_identity": "service", "upstream_username": "a@b.example", "upstream_password": SECRET}
# The lowest and the highest value of each number, None where there is no bound; and the nearest wrong ones.
BOUNDS = {
    "heartbeat": (0.001, None),
    "upstream_login_pause": (0.001, None),
    "upstream_connect_timeout": (0.001, None),
    "upstream_read_timeout": (0.001, None),
    "upstream_max_concurrency": (1, 10_000),
    "upstream_max_queue": (0, None),
    "instances": (1, 10_000),
    "upstream_retries": (0, 5),
    "upstream_connection_max_age": (0.001, None),
    "breaker_failure_rate": (0.001, 1),
    "breaker_min_volume": (1, None),
    "breaker_window": (0.001, None),
    "breaker_pause": (0.001, None),
    "cache_ttl_thread": (0, None),
    "cache_ttl_messages": (0, None),
    "cache_ttl_customer": (0, None),
    "cache_stale_while_revalidate": (0, None),
    "cache_stale_if_error": (0, None),
    "cache_max_bytes": (1024 * 1024, None),
    "cache_max_entry": (1024, None),
    "cache_timeout": (0.001, None),
    "upstream_max_body": (1024, None),
    "jwt_leeway": (0, 600),
    "jwt_jwks_ttl": (10, None),
    "operation_timeout": (0.001, 300),
    "max_body": (1024, None),
    "max_upload_bytes": (1024, 100 * 1024 * 1024),
    "upload_directory_max_bytes": (32 * 1024 * 1024, None),
    "max_page_size": (1, 10_000),
    "max_document": (1024, None),
    "max_tokens": (100, None),
    "max_depth": (1, 200),
    "max_fields": (1, None),
    "max_aliases": (0, None),
    "max_root_fields": (1, None),
    "max_directives": (0, None),
    "max_operations": (1, None),
    "max_comparisons": (100, None),
    "max_list": (1, None),
    "max_response_fields": (100, None),
    "max_response": (1024, None),
    "max_upstream_bytes": (1024, None),
    "max_cost": (1, None),
    "cost_list_size": (1, 10_000),
    "compress_from": (0, None),
    "max_batch": (1, 100),
    "persisted_queries_max_bytes": (64 * 1024, None),
    "persisted_queries_ttl": (0.001, None),
    "document_cache_size": (0, None),
    "port": (0, 65_535),
    "workers": (1, 256),
    "keep_alive": (1, None),
    "shutdown_delay": (0, None),
    "slow_operation": (0, None),
    "drift_sample": (0, None),
    "subscription_max_lifetime": (1, None),
    "max_subscriptions": (1, None),
    "max_subscriptions_per_caller": (1, None),
    "max_subscriptions_per_connection": (1, None),
    "resync_interval": (0.1, None),
}


def set_variable(monkeypatch: pytest.MonkeyPatch, name: str, value: object) -> None:
    monkeypatch.setenv(PREFIX + name.upper(), str(value))


def load() -> Settings:
    """Return the settings of the environment, also one that has no effect alone."""
    return load_settings(env_file=NO_ENV_FILE, strict=False)


def problems() -> tuple[str, ...]:
    """Return what is wrong with the settings of the environment."""
    with pytest.raises(ConfigurationError) as caught:
        load()
    return caught.value.problems


def problem() -> str:
    """Return the one thing that is wrong with the settings of the environment."""
    (found,) = problems()
    return found


def test_the_table_of_bounds_has_every_number() -> None:
    numbers = {name for name, field in FIELDS.items() if field.annotation in (int, float)}
    assert set(BOUNDS) == numbers


@pytest.mark.parametrize("name", BOUNDS)
def test_a_number_within_its_bounds_is_taken(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for bound in BOUNDS[name]:
        if bound is not None:
            set_variable(monkeypatch, name, bound)
            setting = catalogue()[name]
            assert getattr(getattr(load(), setting.group), setting.attribute) == bound


@pytest.mark.parametrize("name", BOUNDS)
def test_a_number_outside_its_bounds_is_named_with_what_is_right(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    lowest, highest = BOUNDS[name]
    for wrong in (lowest - 1, *([] if highest is None else [highest + 1])):
        set_variable(monkeypatch, name, wrong)
        assert re.match(rf"{PREFIX}{name.upper()}: input should be (greater|less) than .*\d\. [A-Z]", problem())


@pytest.mark.parametrize("name", BOUNDS)
@pytest.mark.parametrize("wrong", ["many", "nan", "inf", "1e999", "1 2"])
def test_what_is_no_finite_number_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, wrong: str) -> None:
    set_variable(monkeypatch, name, wrong)
    assert problem().startswith(f"{PREFIX}{name.upper()}: ")


@pytest.mark.parametrize(
    ("name", "wrong", "right"),
    [
        ("upstream_identity", "pass", "'passthrough' or 'service'"),
        ("upstream_auth", "oauth", "'token' or 'basic'"),
        ("inbound_auth", "open", "'none'"),
        ("log_level", "loud", "'debug', 'info', 'warning' or 'error'"),
        ("graphiql", "perhaps", "a valid boolean"),
        ("upstream_url", "api.algoreg.com", "a valid URL"),
        ("upstream_url", "ftp://api.algoreg.com", "'http' or 'https'"),
        ("upstream_url", "https://api.algoreg.com/?a=b", "no user, password, query or fragment"),
        ("upstream_url", f"https://me:{SECRET}@api.algoreg.com", "no user, password, query or fragment"),
        ("csrf", "on", "'off', 'cross-site' or 'strict'"),
        ("cors_origins", "https://app.example.com/", "must be `*` or origins"),
        ("cors_origins", "app.example.com", "must be `*` or origins"),
        ("cors_origins", "https://*.example.com", "must be `*` or origins"),
        ("cors_origins", "https://App.example.com", "must be `*` or origins"),
        ("cors_origins", "null", "must be `*` or origins"),
        ("cost_mode", "on", "'off', 'measure' or 'enforce'"),
        ("trusted_documents_mode", "on", "'log', 'prefer' or 'require'"),
        ("cache_url", f"memcached://me:{SECRET}@cache.example", "`memory://`, or begin with `redis://`"),
        ("cache_url", f"redis://:{SECRET}/with/slashes@cache.example:6379/0", "`%2F`"),
        ("cache_url", f"redis://:{SECRET}@/0", "must have a host"),
        ("cache_secret", "short", "at least 16"),
        ("upstream_ca_file", "/nowhere/ca.pem", "a PEM file that can be read"),
        ("upstream_client_cert_file", "/nowhere/cert.pem", "a PEM file that can be read"),
        ("upstream_client_key_file", "/nowhere/key.pem", "a PEM file that can be read"),
        ("upstream_proxy", f"https://me:{SECRET}@proxy.example:3128", "`http://[user:password@]host[:port]`"),
        ("upstream_proxy", f"http://me:{SECRET}/@proxy.example:3128", "`%2F`"),
        ("upstream_proxy", f"http://me:{SECRET}@proxy.example:many", "`http://[user:password@]host[:port]`"),
        ("upstream_proxy", "proxy.example:3128", "`http://[user:password@]host[:port]`"),
        ("upstream_proxy", "http://proxy.example/path", "`http://[user:password@]host[:port]`"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_right_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, wrong: str, right: str
) -> None:
    set_variable(monkeypatch, name, wrong)
    line = problem()
    assert line.startswith(f"{PREFIX}{name.upper()}: ")
    assert right in line
    assert SECRET not in line
    assert "\n" not in line


def test_every_wrong_setting_is_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    set_variable(monkeypatch, "port", "high")
    set_variable(monkeypatch, "workers", 0)
    assert [line.partition(":")[0] for line in problems()] == ["GATEWAY_PORT", "GATEWAY_WORKERS"]


@pytest.mark.parametrize(
    ("left_out", "named"),
    [
        (["upstream_username"], "GATEWAY_UPSTREAM_USERNAME must be set"),
        (["upstream_password"], "GATEWAY_UPSTREAM_PASSWORD must be set"),
        (
            ["upstream_username", "upstream_password"],
            "GATEWAY_UPSTREAM_USERNAME and GATEWAY_UPSTREAM_PASSWORD must be set",
        ),
    ],
)
def test_service_mode_needs_a_whole_account(monkeypatch: pytest.MonkeyPatch, left_out: list[str], named: str) -> None:
    for name, value in ACCOUNT.items():
        if name not in left_out:
            set_variable(monkeypatch, name, value)
    line = problem()
    assert line.startswith(named)
    assert SECRET not in line


@pytest.mark.parametrize("given", ["upstream_client_cert_file", "upstream_client_key_file"])
def test_a_client_certificate_needs_its_key(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    set_variable(monkeypatch, given, __file__)
    assert "GATEWAY_UPSTREAM_CLIENT_CERT_FILE and GATEWAY_UPSTREAM_CLIENT_KEY_FILE must both be set" in problem()


def test_an_empty_password_is_a_missing_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**ACCOUNT, "upstream_password": ""}.items():
        set_variable(monkeypatch, name, value)
    assert "GATEWAY_UPSTREAM_PASSWORD must be set" in problem()


def test_a_username_with_a_colon_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**ACCOUNT, "upstream_username": "a:b"}.items():
        set_variable(monkeypatch, name, value)
    assert "GATEWAY_UPSTREAM_USERNAME must have no colon" in problem()


def test_a_shared_cache_needs_its_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    set_variable(monkeypatch, "cache_url", f"redis://:{SECRET}@cache.example/0")
    line = problem()
    assert line.startswith("GATEWAY_CACHE_SECRET must be set")
    assert SECRET not in line


def test_secrets_are_never_shown() -> None:
    cache = {"cache_url": f"redis://:{SECRET}@cache.example/0", "cache_secret": SECRET}
    proxy = {"upstream_proxy": f"http://me:{SECRET}@proxy.example:3128"}
    settings = load_settings({**ACCOUNT, **cache, **proxy}, env_file=NO_ENV_FILE)
    for text in (
        str(settings),
        repr(settings),
        f"{settings.upstream.password} {settings.cache.secret} {settings.cache.url} {settings.upstream.proxy}",
    ):
        assert SECRET not in text
    assert settings.upstream.password is not None
    assert settings.upstream.password.get_secret_value() == SECRET


def test_no_error_shows_a_secret_even_in_its_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**ACCOUNT, "upstream_username": f"{SECRET}:x", "port": SECRET}.items():
        set_variable(monkeypatch, name, value)
    with pytest.raises(ConfigurationError) as caught:
        load()
    assert SECRET not in str(caught.value)
    assert caught.value.__context__ is None, "a traceback would show what pydantic says"


def test_the_environment_wins_over_the_file_and_overrides_win_over_both(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / ".env"
    file.write_text("GATEWAY_PORT=1001\nGATEWAY_HOST=file.example\nGATEWAY_WORKERS=2\n")
    set_variable(monkeypatch, "host", "environment.example")
    set_variable(monkeypatch, "workers", 3)
    settings = load_settings({"workers": 4, "log_level": None}, env_file=file)
    assert (settings.server.port, settings.server.host, settings.server.workers) == (1001, "environment.example", 4)
    assert settings.telemetry.log_level == "info", "an override that is None is none"


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    set_variable(monkeypatch, "port", "")
    assert load().server.port == 8000


def test_a_file_that_does_not_exist_is_no_error(tmp_path: Path) -> None:
    assert load_settings(env_file=tmp_path / ".env") == load()


def test_variables_of_others_are_no_concern_of_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("PATHOLOGICAL=1\n")
    monkeypatch.setenv("HOST", "elsewhere")
    assert load_settings(env_file=file).server.host == "127.0.0.1"
    assert unknown_variables(env_file=file) == []


def test_a_misspelt_variable_is_noticed_wherever_it_stands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("GATEWAY_WORKRES=2\ngateway_prot=1\n")
    monkeypatch.setenv("GATEWAY_UPSTREAM_PASWORD", SECRET)
    monkeypatch.setenv("GATEWAY_XYZZY", SECRET)
    set_variable(monkeypatch, "port", 1)
    assert unknown_variables(env_file=file) == [
        "GATEWAY_UPSTREAM_PASWORD is not a setting and is ignored; did you mean GATEWAY_UPSTREAM_PASSWORD?",
        "GATEWAY_WORKRES is not a setting and is ignored; did you mean GATEWAY_WORKERS?",
        "GATEWAY_XYZZY is not a setting and is ignored",
        "gateway_prot is not a setting and is ignored; did you mean GATEWAY_PORT?",
    ]


@pytest.mark.parametrize("spelling", ["GATEWAY_PORT", "gateway_port", "Gateway_Port"])
def test_variables_may_be_written_in_any_case(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, spelling: str) -> None:
    file = tmp_path / ".env"
    file.write_text(f"{spelling}=1002\n")
    assert load_settings(env_file=file).server.port == 1002
    assert unknown_variables(env_file=file) == []
    monkeypatch.setenv(spelling, "1003")
    assert load_settings(env_file=file).server.port == 1003
    assert unknown_variables(env_file=file) == []


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load().server.port = 1  # type: ignore[misc]  # that it is refused is the point
    with pytest.raises(FrozenInstanceError):
        load().server = load().server  # type: ignore[misc]  # as above


def test_every_variable_is_one_setting_of_one_group() -> None:
    variables = [field.alias for group in GROUPS.values() for field in group.model_fields.values()]
    assert len(set(variables)) == len(variables) == len(catalogue())
    assert all(str(each).startswith(PREFIX) for each in variables)


def test_what_is_wrong_in_several_groups_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("max_depth", "port", "cache_timeout"):
        set_variable(monkeypatch, name, "x")
    assert sorted(line.split(":")[0] for line in problems()) == [
        "GATEWAY_CACHE_TIMEOUT",
        "GATEWAY_MAX_DEPTH",
        "GATEWAY_PORT",
    ]


def test_an_upload_fits_into_its_directory() -> None:
    with pytest.raises(ConfigurationError, match="GATEWAY_UPLOAD_DIRECTORY_MAX_BYTES must be 1 MB more than"):
        settings(upload_directory_max_bytes=64 * 2**20, max_upload_bytes=63 * 2**20 + 1)
    settings(upload_directory_max_bytes=64 * 2**20, max_upload_bytes=63 * 2**20)


def test_callers_and_metrics_have_two_ports() -> None:
    with pytest.raises(ConfigurationError, match="GATEWAY_METRICS_PORT must differ from GATEWAY_PORT"):
        settings(port=8000, metrics_port=8000)
    for port, metrics in ((8000, 8001), (0, 0), (8000, None)):
        assert settings(port=port, metrics_port=metrics).telemetry.metrics_port == metrics
