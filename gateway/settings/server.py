"""The settings of HTTP, of the process, and of its telemetry."""

import re
from enum import StrEnum

from pydantic import Field, field_validator

from gateway.settings.group import Group, words

_ORIGIN = re.compile(r"\*|https?://[a-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9a-f:]+\](:[0-9]{1,5})?")


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


class LogFormat(StrEnum):
    """How log lines are written."""

    AUTO = "auto"
    JSON = "json"
    TEXT = "text"


class HttpSettings(Group):
    """HTTP: pages of other sites, proxies, compression and what GraphiQL needs."""

    csrf: CsrfMode = Field(
        alias="GATEWAY_CSRF",
        default=CsrfMode.CROSS_SITE,
        description="Which GETs without a header that only a program can add are refused: `strict` all, `cross-site` "
        "those that another site caused, as the browser says, `off` none.",
    )
    cors_origins: str | None = Field(
        alias="GATEWAY_CORS_ORIGINS",
        default=None,
        description="Origins whose pages may call the gateway, such as `https://app.example.com`; separated "
        "by commas or spaces; `*` is any.",
    )
    trusted_proxies: str | None = Field(
        alias="GATEWAY_TRUSTED_PROXIES",
        default=None,
        description="Addresses or networks of the proxies whose `X-Forwarded-For` is used; unset: none.",
    )
    compress_from: int = Field(
        alias="GATEWAY_COMPRESS_FROM",
        default=1024,
        ge=0,
        description="Smallest response that is compressed, in bytes; 0: no response is.",
    )
    graphiql: bool = Field(
        alias="GATEWAY_GRAPHIQL",
        default=False,
        description="Serve GraphiQL to browsers at `/graphql`. Not for production.",
    )
    explain: bool = Field(
        alias="GATEWAY_EXPLAIN",
        default=False,
        description="Answer requests with the header `Gateway-Explain: 1` with their REST calls, and serve "
        "`/graphql/explain`, which predicts the calls of an operation. Not for production.",
    )

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, text: str | None) -> str | None:
        if not all(_ORIGIN.fullmatch(each) for each in words(text)):
            raise ValueError("must be `*` or origins: a scheme, a host in lower case and perhaps a port, nothing else")
        return text


class ServerSettings(Group):
    """The process: where it listens, its workers, and how it stops."""

    host: str = Field(
        alias="GATEWAY_HOST",
        default="127.0.0.1",
        min_length=1,
        description="Address to listen on.",
    )
    port: int = Field(
        alias="GATEWAY_PORT",
        default=8000,
        ge=0,
        le=65_535,
        description="Port to listen on; 0 picks a free one.",
    )
    workers: int = Field(
        alias="GATEWAY_WORKERS",
        default=1,
        ge=1,
        le=256,
        description="Worker processes.",
    )
    instances: int = Field(
        alias="GATEWAY_INSTANCES",
        default=1,
        ge=1,
        le=10_000,
        description="How many gateways answer the same callers. Several workers or gateways without a common Redis "
        "take no idempotency keys.",
    )
    keep_alive: int = Field(
        alias="GATEWAY_KEEP_ALIVE",
        default=75,
        ge=1,
        description="Seconds an idle connection is kept; longer than the proxy in front of the gateway keeps one.",
    )
    shutdown_delay: float = Field(
        alias="GATEWAY_SHUTDOWN_DELAY",
        default=5,
        ge=0,
        description="Seconds it still serves after SIGTERM, while `/ready` is 503, so that a load balancer notices.",
    )
    shutdown_timeout: int | None = Field(
        alias="GATEWAY_SHUTDOWN_TIMEOUT",
        default=None,
        ge=1,
        description="Seconds after that for operations in progress; unset: 5 more than an operation may take.",
    )


class TelemetrySettings(Group):
    """The log, the metrics, and the search for drift."""

    log_level: LogLevel = Field(
        alias="GATEWAY_LOG_LEVEL",
        default=LogLevel.INFO,
        description="`debug`, `info`, `warning` or `error`.",
    )
    log_format: LogFormat = Field(
        alias="GATEWAY_LOG_FORMAT",
        default=LogFormat.AUTO,
        description="`json`, `text`, or `auto`: text where standard error is a terminal, else JSON.",
    )
    slow_operation: float = Field(
        alias="GATEWAY_SLOW_OPERATION",
        default=2,
        ge=0,
        description="Seconds from which an operation is slow: logged at `warning`, with its REST calls; 0: never.",
    )
    drift_sample: int = Field(
        alias="GATEWAY_DRIFT_SAMPLE",
        default=100,
        ge=0,
        description="Of so many responses of each REST route one is compared with the contract, after the operation's "
        "answer was sent; 0: none is.",
    )
    metrics_port: int | None = Field(
        alias="GATEWAY_METRICS_PORT",
        default=None,
        ge=0,
        le=65_535,
        description="Port of Prometheus metrics, at `/metrics`, apart from callers; 0 picks a free one; unset: none.",
    )
    metrics_host: str = Field(
        alias="GATEWAY_METRICS_HOST",
        default="127.0.0.1",
        min_length=1,
        description="Address to serve metrics on.",
    )
