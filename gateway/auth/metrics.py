"""The metrics of the door and of the limits on callers, read from what is counted when they are scraped."""

from collections.abc import Iterator

from prometheus_client.core import Metric

from gateway.telemetry import Counts
from gateway.telemetry.metrics import Labels, counter

_REASON = "auth_failures: "


def door_metrics(counts: Counts) -> Iterator[Metric]:
    """Yield who was kept out, and why."""
    reasons: dict[Labels, float] = {
        (name.removeprefix(_REASON),): n for name, n in counts.copy().items() if name.startswith(_REASON)
    }
    yield counter("auth_failures", "Wrong credentials, by what was wrong with them.", ("reason",), reasons)
    yield counter(
        "auth_failures_limited",
        "Requests from addresses that have to wait, since too many wrong credentials came from there.",
        (),
        {(): counts["auth_failures_limited"]},
    )
    yield counter(
        "jwks_fetches",
        "How often the keys of the tokens' issuer were fetched, by result.",
        ("result",),
        {("ok",): counts["jwks_fetched"], ("failed",): counts["jwks_failed"]},
    )
    yield counter(
        "rate_limited", "Requests refused because their caller asks for too much.", (), {(): counts["rate_limited"]}
    )
    yield counter(
        "rate_store_failures",
        "Times that the Redis of the rate limits did not answer.",
        (),
        {(): counts["rate_limit_store_failures"]},
    )
