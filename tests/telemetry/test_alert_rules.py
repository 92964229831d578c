"""The alert rules, run by Prometheus' own promtool: each fires on what it is for, and not on a healthy gateway."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docker.recipe import DOCKER
from tests.requirements import missing
from tests.telemetry.test_alerts import RULES

FILE = DOCKER / "prometheus" / "alerts.yaml"
PREFIX = "gochat_gateway_"
# For each alert the series that make it fire; the values of 31 minutes, as promtool writes them.
FIRING: dict[str, dict[str, str]] = {
    "GatewayDown": {'up{job="gochat-gateway",instance="a"}': "0x30"},
    "GatewayAccountRejected": {f"{PREFIX}account_rejected": "1x30"},
    "GatewayCircuitOpen": {PREFIX + 'breaker_refused_total{route="/r"}': "0+60x30"},
    "GatewayInternalErrors": {PREFIX + 'operations_total{type="query",code="INTERNAL_ERROR"}': "0x20 1x10"},
    "GatewayShedsCalls": {f"{PREFIX}upstream_shed_total": "0+60x30"},
    "GatewayOutOfDescriptors": {
        'process_open_fds{job="gochat-gateway",instance="a"}': "95x30",
        'process_max_fds{job="gochat-gateway",instance="a"}': "100x30",
    },
    "GatewaySlow": {
        PREFIX + 'operation_duration_seconds_bucket{le="2.5"}': "0+9x30",
        PREFIX + "operation_duration_seconds_count": "0+10x30",
    },
    "GatewayEventLoopLags": {
        PREFIX + 'event_loop_lag_seconds_bucket{le="0.1"}': "0+200x30",
        PREFIX + 'event_loop_lag_seconds_bucket{le="0.25"}': "0+240x30",
        PREFIX + 'event_loop_lag_seconds_bucket{le="+Inf"}': "0+240x30",
    },
    "GatewayIssuerKeysFail": {
        PREFIX + 'jwks_fetches_total{result="failed"}': "0+1x30",
        PREFIX + 'jwks_fetches_total{result="ok"}': "0x30",
    },
    "GatewayRedisFails": {PREFIX + 'redis_failures_total{user="cache"}': "0+60x30"},
    "GatewayWrongCredentials": {PREFIX + 'auth_failures_total{reason="expired"}': "0+90x30"},
    "GatewayWritesUnknown": {PREFIX + 'mutations_total{mutation="createMessage",outcome="UNKNOWN"}': "0x10 1x20"},
    "GatewayUpstreamDrift": {PREFIX + 'upstream_drift_total{route="/r",kind="wrong_type"}': "0x10 1x20"},
    "GatewayWebhooksRefused": {PREFIX + 'webhooks_total{outcome="authorization"}': "0+1x30"},
}
HEALTHY = {
    'up{job="gochat-gateway",instance="a"}': "1x30",
    f"{PREFIX}account_rejected": "0x30",
    PREFIX + 'breaker_refused_total{route="/r"}': "5x30",
    PREFIX + 'operations_total{type="query",code="INTERNAL_ERROR"}': "3x30",
    f"{PREFIX}upstream_shed_total": "7x30",
    PREFIX + 'operation_duration_seconds_bucket{le="2.5"}': "0+99x30",
    PREFIX + "operation_duration_seconds_count": "0+100x30",
    PREFIX + 'event_loop_lag_seconds_bucket{le="0.1"}': "0+240x30",
    PREFIX + 'event_loop_lag_seconds_bucket{le="+Inf"}': "0+240x30",
    PREFIX + 'jwks_fetches_total{result="failed"}': "0+1x30",
    PREFIX + 'jwks_fetches_total{result="ok"}': "0+1x30",
    PREFIX + 'redis_failures_total{user="cache"}': "2x30",
    PREFIX + 'auth_failures_total{reason="expired"}': "0+30x30",
    'process_open_fds{job="gochat-gateway",instance="a"}': "60x30",
    'process_max_fds{job="gochat-gateway",instance="a"}': "100x30",
    PREFIX + 'operations_total{type="query",code="OUT_OF_DESCRIPTORS"}': "1x30",
    PREFIX + 'mutations_total{mutation="createMessage",outcome="UNKNOWN"}': "2x30",
    PREFIX + 'mutations_total{mutation="createMessage",outcome="APPLIED"}': "0+9x30",
    PREFIX + 'upstream_drift_total{route="/r",kind="wrong_type"}': "4x30",
    PREFIX + 'webhooks_total{outcome="authorization"}': "3x30",
    PREFIX + 'webhooks_total{outcome="taken"}': "0+9x30",
}


def firing(folder: Path, alert: str, series: dict[str, str]) -> bool:
    """Return whether ``alert`` fires after 25 minutes of these series."""
    test: dict[str, Any] = {
        "rule_files": [str(FILE)],
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "alert_rule_test": [{"eval_time": "25m", "alertname": alert, "exp_alerts": []}],
            }
        ],
    }
    path = folder / "test.yaml"
    path.write_text(yaml.safe_dump(test), encoding="utf-8")
    done = promtool("test", "rules", str(path))
    assert done.returncode == 0 or f"alertname: {alert}" in done.stdout + done.stderr, done.stdout + done.stderr
    return done.returncode != 0


def promtool(*arguments: str) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False, timeout=60)  # noqa: S603, S607 - our own arguments
    except FileNotFoundError:
        missing("promtool", "apt-get install prometheus")


def test_promtool_accepts_the_rules() -> None:
    done = promtool("check", "rules", str(FILE))
    assert done.returncode == 0, done.stderr
    assert f"{len(RULES)} rules found" in done.stdout


def test_the_first_failure_for_want_of_a_descriptor_fires_although_others_are_closed_by_now(tmp_path: Path) -> None:
    first = {PREFIX + 'operations_total{type="query",code="OUT_OF_DESCRIPTORS",instance="a"}': "0x18 1x12"}
    assert firing(tmp_path, "GatewayOutOfDescriptors", first)


@pytest.mark.slow  # it runs promtool
@pytest.mark.parametrize("alert", [rule["alert"] for rule in RULES])
def test_an_alert_fires_on_what_it_is_for_and_not_on_a_healthy_gateway(tmp_path: Path, alert: str) -> None:
    assert firing(tmp_path, alert, FIRING[alert])
    assert not firing(tmp_path, alert, HEALTHY)
