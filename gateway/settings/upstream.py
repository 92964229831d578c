"""The settings of the REST API and of the cache of its responses."""

from enum import StrEnum
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import AnyHttpUrl, Field, SecretStr, field_validator, model_validator

from gateway.settings.group import Group


class UpstreamIdentity(StrEnum):
    """Whose account is used upstream."""

    PASSTHROUGH = "passthrough"
    SERVICE = "service"


class UpstreamAuth(StrEnum):
    """How the service account authenticates upstream."""

    TOKEN = "token"  # noqa: S105 - the name of a method, not a secret
    BASIC = "basic"


class UpstreamSettings(Group):
    """The REST API: where it is, whose account is used, timeouts, retries and the circuit breaker."""

    url: AnyHttpUrl = Field(
        alias="GATEWAY_UPSTREAM_URL",
        default=AnyHttpUrl("https://api.algoreg.com"),
        description="Address of the REST API; a dedicated instance is `https://api.{instance}.algoreg.com`.",
    )
    identity: UpstreamIdentity = Field(
        alias="GATEWAY_UPSTREAM_IDENTITY",
        default=UpstreamIdentity.PASSTHROUGH,
        description="`passthrough` sends the caller's own `Authorization` header upstream, "
        "`service` uses the gateway's account.",
    )
    username: str | None = Field(
        alias="GATEWAY_UPSTREAM_USERNAME",
        default=None,
        min_length=1,
        description="The service account's email address (service mode).",
    )
    password: SecretStr | None = Field(
        alias="GATEWAY_UPSTREAM_PASSWORD",
        default=None,
        min_length=1,
        description="The service account's password (service mode).",
    )
    auth: UpstreamAuth = Field(
        alias="GATEWAY_UPSTREAM_AUTH",
        default=UpstreamAuth.TOKEN,
        description="How the service account logs in: `token` (one-hour tokens) or `basic`.",
    )
    login_pause: float = Field(
        alias="GATEWAY_UPSTREAM_LOGIN_PAUSE",
        default=900,
        gt=0,
        description="Seconds after a rejected login before the next attempt; "
        "the REST API locks an account after too many.",
    )
    connect_timeout: float = Field(
        alias="GATEWAY_UPSTREAM_CONNECT_TIMEOUT",
        default=3,
        gt=0,
        description="Seconds to open a connection.",
    )
    read_timeout: float = Field(
        alias="GATEWAY_UPSTREAM_READ_TIMEOUT",
        default=8,
        gt=0,
        description="Seconds without a byte from the REST API before a call is given up.",
    )
    max_concurrency: int = Field(
        alias="GATEWAY_UPSTREAM_MAX_CONCURRENCY",
        default=64,
        ge=1,
        le=10_000,
        description="REST calls at the same moment, per worker.",
    )
    max_queue: int = Field(
        alias="GATEWAY_UPSTREAM_MAX_QUEUE",
        default=1500,
        ge=0,
        description="REST calls that wait for a slot, per worker; further calls fail at once.",
    )
    retries: int = Field(
        alias="GATEWAY_UPSTREAM_RETRIES",
        default=2,
        ge=0,
        le=5,
        description="How often a GET is repeated after a temporary failure, at most.",
    )
    max_body: int = Field(
        alias="GATEWAY_UPSTREAM_MAX_BODY",
        default=4 * 1024 * 1024,
        ge=1024,
        description="Largest body accepted from the REST API, in bytes.",
    )
    ca_file: Path | None = Field(
        alias="GATEWAY_UPSTREAM_CA_FILE",
        default=None,
        description="A PEM file with further authorities to trust: those of the REST API, and of the issuer of JWTs.",
    )
    client_cert_file: Path | None = Field(
        alias="GATEWAY_UPSTREAM_CLIENT_CERT_FILE",
        default=None,
        description="A PEM file with the certificate that the gateway shows to the REST API, and its chain.",
    )
    client_key_file: Path | None = Field(
        alias="GATEWAY_UPSTREAM_CLIENT_KEY_FILE",
        default=None,
        description="A PEM file with the private key of that certificate, not encrypted.",
    )
    record: Path | None = Field(
        alias="GATEWAY_RECORD",
        default=None,
        description="A new directory in which each exchange with the REST API is recorded, with everything in it "
        "replaced by invented values: `gochat-gateway sandbox --replay DIR` serves it. Calls take longer meanwhile.",
    )
    proxy: SecretStr | None = Field(  # it may hold a password
        alias="GATEWAY_UPSTREAM_PROXY",
        default=None,
        description="The proxy for calls to the REST API: `http://[user:password@]host[:port]`. "
        "`HTTPS_PROXY` and its like are never read.",
    )
    connection_max_age: float = Field(
        alias="GATEWAY_UPSTREAM_CONNECTION_MAX_AGE",
        default=300,
        gt=0,
        description="Seconds after which a connection is replaced, so that changes of DNS are followed.",
    )
    operation_timeout: float = Field(
        alias="GATEWAY_OPERATION_TIMEOUT",
        default=10,
        gt=0,
        le=300,
        description="Seconds for one operation, all of its REST calls included.",
    )
    coalescing: bool = Field(
        alias="GATEWAY_COALESCING",
        default=True,
        description="Identical GETs with the same credential at the same moment share one REST call.",
    )
    breaker_failure_rate: float = Field(
        alias="GATEWAY_BREAKER_FAILURE_RATE",
        default=0.5,
        gt=0,
        le=1,
        description="Share of failed calls of a route at which its circuit opens.",
    )
    breaker_min_volume: int = Field(
        alias="GATEWAY_BREAKER_MIN_VOLUME",
        default=20,
        ge=1,
        description="Calls of a route within the window below which its circuit stays closed.",
    )
    breaker_window: float = Field(
        alias="GATEWAY_BREAKER_WINDOW",
        default=10,
        gt=0,
        description="Seconds over which failures are counted.",
    )
    breaker_pause: float = Field(
        alias="GATEWAY_BREAKER_PAUSE",
        default=5,
        gt=0,
        description="Seconds an open circuit waits before it tries the route again.",
    )

    @field_validator("url")
    @classmethod
    def _plain_base_url(cls, url: AnyHttpUrl) -> AnyHttpUrl:
        if url.query or url.fragment or url.username or url.password:
            raise ValueError("must have no user, password, query or fragment: only scheme, host, port and path")
        return url

    @field_validator("proxy")
    @classmethod
    def _plain_proxy(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not _is_proxy(url.get_secret_value()):
            raise ValueError(
                "must be `http://[user:password@]host[:port]`; in its password `/`, `?`, `#` and `@` are written "
                "`%2F`, `%3F`, `%23` and `%40`"
            )
        return url

    @field_validator("ca_file", "client_cert_file", "client_key_file")
    @classmethod
    def _readable(cls, path: Path | None) -> Path | None:
        if path is not None and not path.is_file():
            raise ValueError("must be a PEM file that can be read")
        return path

    @model_validator(mode="after")
    def _client_certificate_complete(self) -> Self:
        if (self.client_cert_file is None) is not (self.client_key_file is None):
            raise ValueError("GATEWAY_UPSTREAM_CLIENT_CERT_FILE and GATEWAY_UPSTREAM_CLIENT_KEY_FILE must both be set")
        return self

    @model_validator(mode="after")
    def _service_account_complete(self) -> Self:
        if self.identity is not UpstreamIdentity.SERVICE:
            return self
        values = {"GATEWAY_UPSTREAM_USERNAME": self.username, "GATEWAY_UPSTREAM_PASSWORD": self.password}
        missing = [name for name, value in values.items() if value is None]
        if missing:
            raise ValueError(f"{' and '.join(missing)} must be set when GATEWAY_UPSTREAM_IDENTITY is `service`")
        if ":" in (self.username or ""):
            raise ValueError("GATEWAY_UPSTREAM_USERNAME must have no colon (RFC 7617, section 2)")
        return self


class CacheSettings(Group):
    """The cache of REST responses, and the Redis that workers and gateways share."""

    url: SecretStr | None = Field(  # it may hold a password
        alias="GATEWAY_CACHE_URL",
        default=None,
        description="Where responses are cached: `memory://`, `redis://host:port/db` or `rediss://…`; unset: nowhere.",
    )
    secret: SecretStr | None = Field(
        alias="GATEWAY_CACHE_SECRET",
        default=None,
        min_length=16,
        description="Key of the hash of credentials in cache keys; required for Redis, the same for all gateways.",
    )
    ttl_thread: float = Field(
        alias="GATEWAY_CACHE_TTL_THREAD",
        default=5,
        ge=0,
        description="Seconds a cached thread is fresh; 0: not cached.",
    )
    ttl_messages: float = Field(
        alias="GATEWAY_CACHE_TTL_MESSAGES",
        default=5,
        ge=0,
        description="Seconds a cached page of messages is fresh; 0: not cached.",
    )
    ttl_customer: float = Field(
        alias="GATEWAY_CACHE_TTL_CUSTOMER",
        default=30,
        ge=0,
        description="Seconds a cached customer is fresh; 0: not cached.",
    )
    stale_while_revalidate: float = Field(
        alias="GATEWAY_CACHE_STALE_WHILE_REVALIDATE",
        default=0,
        ge=0,
        description="Further seconds in which a stale response is served while it is fetched again.",
    )
    stale_if_error: float = Field(
        alias="GATEWAY_CACHE_STALE_IF_ERROR",
        default=0,
        ge=0,
        description="Further seconds in which a stale response is served if the REST API fails.",
    )
    max_bytes: int = Field(
        alias="GATEWAY_CACHE_MAX_BYTES",
        default=64 * 1024 * 1024,
        ge=1024 * 1024,
        description="Memory for cached responses and the answers built from them, per worker, in bytes.",
    )
    max_entry: int = Field(
        alias="GATEWAY_CACHE_MAX_ENTRY",
        default=1024 * 1024,
        ge=1024,
        description="Largest response that is cached, in bytes.",
    )
    timeout: float = Field(
        alias="GATEWAY_CACHE_TIMEOUT",
        default=0.1,
        gt=0,
        description="Seconds that Redis may take before the REST API is called.",
    )

    @field_validator("url")
    @classmethod
    def _known_store(cls, url: SecretStr | None) -> SecretStr | None:
        text = "memory://" if url is None else url.get_secret_value()
        if text != "memory://" and not text.startswith(("redis://", "rediss://")):
            raise ValueError("must be `memory://`, or begin with `redis://` or `rediss://`")
        if text != "memory://" and not _has_host(text):
            raise ValueError(
                "must have a host, and a port that is a number; in its password `/`, `?`, `#` and `@` are written "
                "`%2F`, `%3F`, `%23` and `%40`"
            )
        return url

    @model_validator(mode="after")
    def _cache_complete(self) -> Self:
        if self.redis_url is not None and self.secret is None:
            raise ValueError(
                "GATEWAY_CACHE_SECRET must be set where GATEWAY_CACHE_URL is a Redis: the same text of 16 characters "
                "or more for every gateway that uses it"
            )
        return self

    @property
    def redis_url(self) -> str | None:
        """The address of the Redis that gateways and workers share, None where there is none."""
        url = "" if self.url is None else self.url.get_secret_value()
        return url if url.startswith("redis") else None


def _is_proxy(url: str) -> bool:
    """Whether it is an ``http`` URL with nothing but a user, a password, a host and a port."""
    if not _has_host(url):
        return False
    parts = urlsplit(url)
    return parts.scheme == "http" and parts.path in {"", "/"} and not parts.query and not parts.fragment


def _has_host(url: str) -> bool:
    """Whether an address can be read: where it cannot, it might be quoted with the password that made it unreadable."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
