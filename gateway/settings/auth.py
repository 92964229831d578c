"""The settings of who may call, and how often."""

from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import AnyHttpUrl, Field, field_validator

from gateway.settings.group import Group


class InboundAuth(StrEnum):
    """How callers authenticate to the gateway in service mode."""

    NONE = "none"
    JWT = "jwt"
    API_KEY = "api_key"
    JWT_OR_API_KEY = "jwt,api_key"


class AuthSettings(Group):
    """How callers authenticate, their scopes, and how many operations each may run."""

    inbound: InboundAuth | None = Field(
        alias="GATEWAY_INBOUND_AUTH",
        default=None,
        description="How callers authenticate in service mode: `jwt`, `api_key`, `jwt,api_key` (with either), "
        "or `none` (every caller is accepted).",
    )
    jwt_jwks_url: AnyHttpUrl | None = Field(
        alias="GATEWAY_JWT_JWKS_URL",
        default=None,
        description="Where the issuer of the tokens publishes its keys (a JWKS).",
    )
    jwt_public_key_file: Path | None = Field(
        alias="GATEWAY_JWT_PUBLIC_KEY_FILE",
        default=None,
        description="A PEM file with the issuer's public key, in place of a JWKS.",
    )
    jwt_issuer: str | None = Field(
        alias="GATEWAY_JWT_ISSUER",
        default=None,
        min_length=1,
        description="The `iss` that tokens must have.",
    )
    jwt_audience: str | None = Field(
        alias="GATEWAY_JWT_AUDIENCE",
        default=None,
        min_length=1,
        description="The `aud` that tokens must have; of several, one.",
    )
    jwt_algorithms: str = Field(
        alias="GATEWAY_JWT_ALGORITHMS",
        default="RS256 ES256",
        description="The signature algorithms that are accepted.",
    )
    jwt_leeway: int = Field(
        alias="GATEWAY_JWT_LEEWAY",
        default=30,
        ge=0,
        le=600,
        description="Seconds by which the issuer's clock may be off from the gateway's.",
    )
    jwt_jwks_ttl: float = Field(
        alias="GATEWAY_JWT_JWKS_TTL",
        default=600,
        ge=10,
        description="Seconds after which the keys are fetched again; an unknown key causes an earlier fetch.",
    )
    api_keys_file: Path | None = Field(
        alias="GATEWAY_API_KEYS_FILE",
        default=None,
        description="A file with the hashes of API keys; `gochat-gateway api-key` prints its lines.",
    )
    required_scopes: str | None = Field(
        alias="GATEWAY_REQUIRED_SCOPES",
        default=None,
        description="Scopes that every caller must have.",
    )
    field_scopes: bool = Field(
        alias="GATEWAY_FIELD_SCOPES",
        default=False,
        description="Whether personal data and message content need a scope: `customer:personal`, `message:content`.",
    )
    failure_limit: str = Field(
        alias="GATEWAY_AUTH_FAILURE_LIMIT",
        default="30/minute",
        description="How often one address may send wrong credentials before it has to wait.",
    )
    rate_limit: str | None = Field(
        alias="GATEWAY_RATE_LIMIT",
        default=None,
        description="How many operations a caller may run, such as `100/minute`; unset: any number.",
    )

    @field_validator("inbound", mode="before")
    @classmethod
    def _in_either_order(cls, value: Any) -> Any:
        if isinstance(value, str):
            return ",".join(sorted((each.strip().lower() for each in value.split(",")), reverse=True))
        return value
