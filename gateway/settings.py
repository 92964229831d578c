"""The settings: one row per environment variable, checked once at start.

Every value comes from the environment or a ``.env`` file; flags of the command line override both.
"""

import difflib
import math
import os
import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import AnyHttpUrl, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from gateway.errors import ConfigurationError

PREFIX = "GATEWAY_"
_ORIGIN = re.compile(r"\*|https?://[a-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9a-f:]+\](:[0-9]{1,5})?")


class UpstreamIdentity(StrEnum):
    """Whose account is used upstream."""

    PASSTHROUGH = "passthrough"
    SERVICE = "service"


class UpstreamAuth(StrEnum):
    """How the service account authenticates upstream."""

    TOKEN = "token"  # noqa: S105 - the name of a method, not a secret
    BASIC = "basic"


class InboundAuth(StrEnum):
    """How callers authenticate to the gateway in service mode."""

    NONE = "none"
    JWT = "jwt"
    API_KEY = "api_key"
    JWT_OR_API_KEY = "jwt,api_key"


class CostMode(StrEnum):
    """What is done about the REST calls that an operation is predicted to make."""

    OFF = "off"
    MEASURE = "measure"
    ENFORCE = "enforce"


class TrustMode(StrEnum):
    """What is done about documents that are not trusted."""

    LOG = "log"
    PREFER = "prefer"
    REQUIRE = "require"


class CsrfMode(StrEnum):
    """Which GETs are refused because a page of another site may have caused them."""

    OFF = "off"
    CROSS_SITE = "cross-site"
    STRICT = "strict"


class LogLevel(StrEnum):
    """The least severe log lines that are written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Settings(BaseSettings):
    """What an operator can set. Each field is the environment variable ``GATEWAY_<NAME>``."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        extra="ignore",
        allow_inf_nan=False,
        frozen=True,
        hide_input_in_errors=True,
    )

    upstream_url: AnyHttpUrl = Field(
        default=AnyHttpUrl("https://api.algoreg.com"),
        description="Address of the REST API; a dedicated instance is `https://api.{instance}.algoreg.com`.",
    )
    upstream_identity: UpstreamIdentity = Field(
        default=UpstreamIdentity.PASSTHROUGH,
        description="`passthrough` sends the caller's own `Authorization` header upstream, "
        "`service` uses the gateway's account.",
    )
    upstream_username: str | None = Field(
        default=None, min_length=1, description="The service account's email address (service mode)."
    )
    upstream_password: SecretStr | None = Field(
        default=None, min_length=1, description="The service account's password (service mode)."
    )
    upstream_auth: UpstreamAuth = Field(
        default=UpstreamAuth.TOKEN,
        description="How the service account logs in: `token` (one-hour tokens) or `basic`.",
    )
    upstream_login_pause: float = Field(
        default=900,
        gt=0,
        description="Seconds after a rejected login before the next attempt; "
        "the REST API locks an account after too many.",
    )
    upstream_connect_timeout: float = Field(default=3, gt=0, description="Seconds to open a connection.")
    upstream_read_timeout: float = Field(
        default=8, gt=0, description="Seconds without a byte from the REST API before a call is given up."
    )
    upstream_max_concurrency: int = Field(
        default=64, ge=1, le=10_000, description="REST calls at the same moment, per worker."
    )
    upstream_max_queue: int = Field(
        default=1000, ge=0, description="REST calls that wait for their turn, per worker; beyond it they fail at once."
    )
    upstream_retries: int = Field(
        default=2, ge=0, le=5, description="How often a GET that failed for a moment is repeated, at most."
    )
    breaker_failure_rate: float = Field(
        default=0.5, gt=0, le=1, description="Share of failed calls of a route at which its circuit opens."
    )
    breaker_min_volume: int = Field(
        default=20, ge=1, description="Calls of a route within the window below which its circuit stays closed."
    )
    breaker_window: float = Field(default=10, gt=0, description="Seconds over which failures are counted.")
    breaker_pause: float = Field(
        default=5, gt=0, description="Seconds an open circuit waits before it tries the route again."
    )
    coalescing: bool = Field(
        default=True, description="Identical GETs with the same credential at the same moment share one REST call."
    )
    cache_url: SecretStr | None = Field(  # it may hold a password
        default=None,
        description="Where answers are cached: `memory://`, `redis://host:port/db` or `rediss://…`; unset: nowhere.",
    )
    cache_secret: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="Keys the hash of credentials in cache keys; Redis needs it, the same everywhere.",
    )
    cache_ttl_thread: float = Field(default=5, ge=0, description="Seconds a cached thread is fresh; 0: not cached.")
    cache_ttl_messages: float = Field(
        default=5, ge=0, description="Seconds a cached page of messages is fresh; 0: not cached."
    )
    cache_ttl_customer: float = Field(
        default=30, ge=0, description="Seconds a cached customer is fresh; 0: not cached."
    )
    cache_stale_while_revalidate: float = Field(
        default=0, ge=0, description="Seconds after that in which it is served while it is fetched anew."
    )
    cache_stale_if_error: float = Field(
        default=0, ge=0, description="Seconds after that in which it is served where the REST API fails."
    )
    cache_max_bytes: int = Field(
        default=64 * 1024 * 1024, ge=1024 * 1024, description="Memory for cached answers, per worker, in bytes."
    )
    cache_max_entry: int = Field(default=1024 * 1024, ge=1024, description="Largest answer that is cached, in bytes.")
    cache_timeout: float = Field(
        default=0.1, gt=0, description="Seconds that Redis may take before the call goes upstream."
    )
    explain: bool = Field(
        default=False,
        description="Answer requests with the header `Gateway-Explain: 1` with their REST calls. Not for production.",
    )
    upstream_max_body: int = Field(
        default=32 * 1024 * 1024, ge=1024, description="Largest body accepted from the REST API, in bytes."
    )
    upstream_ca_file: Path | None = Field(
        default=None, description="A PEM file with further certificate authorities to trust upstream."
    )
    inbound_auth: InboundAuth | None = Field(
        default=None,
        description="How callers authenticate in service mode: `jwt`, `api_key`, `jwt,api_key` (with either), "
        "or `none` (every caller is let in).",
    )
    jwt_jwks_url: AnyHttpUrl | None = Field(
        default=None, description="Where the issuer of the tokens publishes its keys (a JWKS)."
    )
    jwt_public_key_file: Path | None = Field(
        default=None, description="A PEM file with the issuer's public key, in place of a JWKS."
    )
    jwt_issuer: str | None = Field(default=None, min_length=1, description="The `iss` that tokens must have.")
    jwt_audience: str | None = Field(
        default=None, min_length=1, description="The `aud` that tokens must have; of several, one."
    )
    jwt_algorithms: str = Field(default="RS256 ES256", description="The signature algorithms that are accepted.")
    jwt_leeway: int = Field(
        default=30, ge=0, le=600, description="Seconds by which the issuer's clock may be off from the gateway's."
    )
    jwt_jwks_ttl: float = Field(
        default=600, ge=10, description="Seconds after which the keys are fetched anew; an unknown key does so sooner."
    )
    api_keys_file: Path | None = Field(
        default=None, description="A file with the hashes of API keys; `gochat-gateway api-key` makes its lines."
    )
    required_scopes: str | None = Field(default=None, description="Scopes without which nobody is let in.")
    field_scopes: bool = Field(
        default=False,
        description="Whether `customer:personal` and `message:content` are needed to read what their names say.",
    )
    auth_failure_limit: str = Field(
        default="30/minute",
        description="How often wrong credentials may come from one address before it has to wait.",
    )
    trusted_proxies: str | None = Field(
        default=None,
        description="Addresses or networks of the proxies whose `X-Forwarded-For` is believed; unset: of none.",
    )
    rate_limit: str | None = Field(
        default=None, description="How many operations a caller may ask for, such as `100/minute`; unset: any number."
    )
    operation_timeout: float = Field(
        default=10, gt=0, le=300, description="Seconds for one operation, all of its REST calls included."
    )
    max_body: int = Field(default=1024 * 1024, ge=1024, description="Largest request body, in bytes.")
    max_page_size: int = Field(default=100, ge=1, le=10_000, description="Largest `first:` of a connection.")
    max_document: int = Field(default=32_768, ge=1024, description="Largest GraphQL document, in characters.")
    max_tokens: int = Field(default=1500, ge=100, description="Largest GraphQL document, in lexical tokens.")
    max_depth: int = Field(default=20, ge=1, le=200, description="Levels of fields in an operation.")
    max_fields: int = Field(
        default=500, ge=1, description="Fields and spreads of fragments in a document, with its fragments written out."
    )
    max_aliases: int = Field(
        default=50, ge=0, description="Aliases in a document, with its fragments written out; introspection has none."
    )
    max_root_fields: int = Field(default=20, ge=1, description="Fields of `Query` that an operation may ask for.")
    max_directives: int = Field(
        default=100, ge=0, description="Directives in a document, with its fragments written out."
    )
    max_operations: int = Field(default=20, ge=1, description="Operations in a document.")
    max_comparisons: int = Field(
        default=10_000,
        ge=100,
        description="Work to find out whether a document's overlapping fields can be merged, in graphql-core's units.",
    )
    max_list: int = Field(
        default=200, ge=1, description="Items of a list in an argument or a variable, such as `ids` of `threads`."
    )
    cost_mode: CostMode = Field(
        default=CostMode.ENFORCE,
        description="What is done about the REST calls that an operation is predicted to make: `off`, `measure` "
        "(the header `Gateway-Cost` tells them), or `enforce` (and too many are refused).",
    )
    max_cost: int = Field(
        default=1000, ge=1, description="REST calls that an operation may be predicted to make, with `enforce`."
    )
    cost_list_size: int = Field(
        default=5,
        ge=1,
        le=10_000,
        description="Items that a list in an answer is taken to have, where each of them would cost a REST call.",
    )
    document_cache_size: int = Field(
        default=1000, ge=0, description="How many parsed and validated documents are kept, per worker."
    )
    plans: bool = Field(
        default=True, description="Answer ordinary queries by compiled plans; the answers are the same without."
    )
    compress_from: int = Field(
        default=1024, ge=0, description="Smallest answer that is compressed, in bytes; 0: none is."
    )
    max_batch: int = Field(
        default=1, ge=1, le=100, description="Operations in one POST, as a JSON array, at most; 1: no arrays."
    )
    incremental: bool = Field(
        default=False, description="Offer `@defer` and `@stream`: answers in parts, the slow ones later."
    )
    persisted_queries: bool = Field(
        default=True, description="Let clients name a document by its hash, and keep those they send with one."
    )
    persisted_queries_max_bytes: int = Field(
        default=8 * 1024 * 1024, ge=64 * 1024, description="Memory for such documents, per worker, in bytes."
    )
    persisted_queries_ttl: float = Field(
        default=86_400, gt=0, description="Seconds such a document is kept, in memory and in the cache's Redis if any."
    )
    trusted_documents: Path | None = Field(
        default=None,
        description="The documents that clients were built with: a manifest of Apollo or Relay, or a folder of "
        "`.graphql` files.",
    )
    trusted_documents_mode: TrustMode = Field(
        default=TrustMode.LOG,
        description="What is done about other documents: `log` them, `prefer` the trusted ones, which have no limits, "
        "or `require` a trusted one.",
    )
    csrf: CsrfMode = Field(
        default=CsrfMode.CROSS_SITE,
        description="GETs without a header that only a program can add: `strict` refuses all, `cross-site` those that "
        "a browser says another site has caused, `off` none.",
    )
    cors_origins: str | None = Field(
        default=None,
        description="Origins whose pages may ask and read the answers, such as `https://app.example.com`; separated "
        "by commas or spaces; `*` is any.",
    )
    graphiql: bool = Field(default=False, description="Serve GraphiQL to browsers at `/graphql`. Not for production.")
    introspection: bool = Field(
        default=True, description="Answer `__schema` and `__type`; `_service` works either way."
    )
    host: str = Field(default="127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(default=8000, ge=0, le=65_535, description="Port to listen on; 0 picks a free one.")
    workers: int = Field(default=1, ge=1, le=256, description="Worker processes.")
    keep_alive: int = Field(
        default=75,
        ge=1,
        description="Seconds an idle connection is kept; more than what is in front of the gateway keeps one.",
    )
    shutdown_delay: float = Field(
        default=5,
        ge=0,
        description="Seconds it serves on after SIGTERM, while `/ready` is 503, so that a load balancer notices.",
    )
    shutdown_timeout: int | None = Field(
        default=None,
        ge=1,
        description="Seconds after that in which what is under way may end; unset: 5 more than an operation may take.",
    )
    log_level: LogLevel = Field(default=LogLevel.INFO, description="`debug`, `info`, `warning` or `error`.")
    slow_operation: float = Field(
        default=2,
        ge=0,
        description="Seconds from which an operation is slow: logged at `warning`, with its REST calls; 0: none is.",
    )
    metrics_port: int | None = Field(
        default=None,
        ge=0,
        le=65_535,
        description="Port of Prometheus metrics, at `/metrics`, apart from callers; 0 picks a free one; unset: none.",
    )
    metrics_host: str = Field(default="127.0.0.1", min_length=1, description="Address to serve metrics on.")

    @field_validator("upstream_url")
    @classmethod
    def _plain_base_url(cls, url: AnyHttpUrl) -> AnyHttpUrl:
        if url.query or url.fragment or url.username or url.password:
            raise ValueError("must have no user, password, query or fragment: only scheme, host, port and path")
        return url

    @field_validator("upstream_ca_file")
    @classmethod
    def _readable(cls, path: Path | None) -> Path | None:
        if path is not None and not path.is_file():
            raise ValueError("must be a PEM file that can be read")
        return path

    @field_validator("inbound_auth", mode="before")
    @classmethod
    def _in_either_order(cls, value: Any) -> Any:
        if isinstance(value, str):
            return ",".join(sorted((each.strip().lower() for each in value.split(",")), reverse=True))
        return value

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, text: str | None) -> str | None:
        if not all(_ORIGIN.fullmatch(each) for each in words(text)):
            raise ValueError("must be `*` or origins: a scheme, a host in lower case and perhaps a port, nothing else")
        return text

    @field_validator("trusted_documents")
    @classmethod
    def _there(cls, path: Path | None) -> Path | None:
        if path is not None and not path.exists():
            raise ValueError("must be a file or a folder that is there")
        return path

    @field_validator("cache_url")
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
        if self.redis_url is not None and self.cache_secret is None:
            raise ValueError(
                "GATEWAY_CACHE_SECRET must be set where GATEWAY_CACHE_URL is a Redis: the same text of 16 characters "
                "or more for every gateway that uses it"
            )
        return self

    @model_validator(mode="after")
    def _operations_may_end(self) -> Self:
        if self.shutdown_timeout is not None and self.shutdown_timeout < self.operation_timeout:
            raise ValueError(
                "GATEWAY_SHUTDOWN_TIMEOUT must be no less than GATEWAY_OPERATION_TIMEOUT: what is under way is answered"
            )
        return self

    @property
    def redis_url(self) -> str | None:
        """The address of the Redis that gateways and workers share, None where there is none."""
        url = "" if self.cache_url is None else self.cache_url.get_secret_value()
        return url if url.startswith("redis") else None

    @property
    def shutdown_bound(self) -> int:
        """Seconds after which what is still under way is cut off: by then every operation has met its own deadline."""
        return self.shutdown_timeout or math.ceil(self.operation_timeout) + 5

    @model_validator(mode="after")
    def _service_account_complete(self) -> Self:
        if self.upstream_identity is not UpstreamIdentity.SERVICE:
            return self
        missing = [
            PREFIX + name.upper() for name in ("upstream_username", "upstream_password") if getattr(self, name) is None
        ]
        if missing:
            raise ValueError(f"{' and '.join(missing)} must be set when GATEWAY_UPSTREAM_IDENTITY is `service`")
        if ":" in (self.upstream_username or ""):
            raise ValueError("GATEWAY_UPSTREAM_USERNAME must have no colon (RFC 7617, section 2)")
        return self


def load_settings(overrides: Mapping[str, Any] | None = None, *, env_file: Path = Path(".env")) -> Settings:
    """Read the settings from ``env_file``, then the environment, then ``overrides`` (field name → value).

    Raises ConfigurationError that names every wrong setting, and never shows a value.
    """
    given = {name: value for name, value in (overrides or {}).items() if value is not None}
    try:
        return Settings(_env_file=env_file, **given)
    except ValidationError as exc:
        raise ConfigurationError([_explain(dict(error)) for error in exc.errors()]) from None


def unknown_variables(*, env_file: Path = Path(".env")) -> list[str]:
    """Return one line for each ``GATEWAY_`` variable that is not a setting, with the nearest one that is."""
    known = [name.upper() for name in Settings.model_fields]
    lines = []
    for name in sorted({*os.environ, *dotenv_values(env_file)}):
        # Their case does not matter (pydantic-settings), and the prefix, which all have, makes no two alike.
        bare = name.upper().removeprefix(PREFIX)
        if bare != name.upper() and bare not in known:
            near = difflib.get_close_matches(bare, known, n=1)
            hint = f"; did you mean {PREFIX}{near[0]}?" if near else ""
            lines.append(f"{name} is not a setting and is ignored{hint}")
    return lines


def _has_host(url: str) -> bool:
    """Whether an address can be read: where it cannot, it might be quoted with the password that made it unreadable."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def words(text: str | None) -> list[str]:
    """Return the members of a setting that is a list: separated by spaces, or by commas."""
    return [each for each in re.split(r"[\s,]+", text or "") if each]


def _explain(error: dict[str, Any]) -> str:
    """One line of a pydantic error: which variable, and what would be right."""
    message = str(error["msg"]).removeprefix("Value error, ")
    if not error["loc"]:
        return message
    name = PREFIX + str(error["loc"][0]).upper()
    field = Settings.model_fields[str(error["loc"][0])]
    return f"{name}: {message[0].lower()}{message[1:]}. {field.description}"
