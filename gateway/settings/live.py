"""The settings of subscriptions and of the webhook."""

from ipaddress import ip_network

from pydantic import Field, SecretStr, field_validator

from gateway.settings.group import Group, words


class LiveSettings(Group):
    """Subscriptions, and the webhook that tells the gateway of changes."""

    subscriptions: bool = Field(
        alias="GATEWAY_SUBSCRIPTIONS",
        default=True,
        description="Let callers subscribe; otherwise they get `SUBSCRIPTIONS_DISABLED`.",
    )
    max_lifetime: float = Field(
        alias="GATEWAY_SUBSCRIPTION_MAX_LIFETIME",
        default=3600,
        ge=1,
        description="Seconds after which a subscription ends, more or less by a tenth; the client subscribes again.",
    )
    max_subscriptions: int = Field(
        alias="GATEWAY_MAX_SUBSCRIPTIONS",
        default=20_000,
        ge=1,
        description="Subscriptions that are open at the same time, per worker.",
    )
    max_per_caller: int = Field(
        alias="GATEWAY_MAX_SUBSCRIPTIONS_PER_CALLER",
        default=1000,
        ge=1,
        description="Subscriptions of one caller that are open at the same time, per worker. Callers that cannot be "
        "told apart count by their address.",
    )
    max_per_connection: int = Field(
        alias="GATEWAY_MAX_SUBSCRIPTIONS_PER_CONNECTION",
        default=100,
        ge=1,
        description="Subscriptions that are open at the same time on one WebSocket.",
    )
    heartbeat: float = Field(
        alias="GATEWAY_HEARTBEAT",
        default=12,
        ge=0.001,
        description="Seconds between heartbeats on an open stream; a proxy's read timeout has to be longer. A "
        "WebSocket whose client does not answer one before the next is closed.",
    )
    resync_interval: float = Field(
        alias="GATEWAY_RESYNC_INTERVAL",
        default=300,
        ge=0.1,
        description="Seconds after which what is watched is read again, more or less by a tenth, so that a lost "
        "webhook heals. Without webhooks a short one is polling.",
    )
    webhook_authorization: SecretStr | None = Field(
        alias="GATEWAY_WEBHOOK_AUTHORIZATION",
        default=None,
        min_length=1,
        description="The whole value of the header `Authorization` that webhooks have; unset: there is no webhook.",
    )
    webhook_authorization_previous: SecretStr | None = Field(
        alias="GATEWAY_WEBHOOK_AUTHORIZATION_PREVIOUS",
        default=None,
        min_length=1,
        description="A second value that is accepted, while the first is being replaced.",
    )
    webhook_networks: str | None = Field(
        alias="GATEWAY_WEBHOOK_NETWORKS",
        default=None,
        description="Addresses or networks that may send webhooks, separated by commas or spaces; unset: any.",
    )
    webhook_purge_rate: str = Field(
        alias="GATEWAY_WEBHOOK_PURGE_RATE",
        default="1000/second",
        description="How many threads and customers webhooks may name, in all; above that they get 503.",
    )

    @field_validator("webhook_networks")
    @classmethod
    def _networks(cls, text: str | None) -> str | None:
        for each in words(text):
            try:
                ip_network(each)
            except ValueError:
                raise ValueError("must be addresses or networks, such as `10.0.0.5` or `10.1.0.0/16`") from None
        return text
