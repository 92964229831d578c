"""Switches traces on, as operators know it: by ``OTEL_EXPORTER_OTLP_ENDPOINT``.

The other ``OTEL_…`` variables of the SDK hold too: the service's name and resource, the sampler, headers, certificates,
time-outs.
"""

from collections.abc import Mapping

from gateway.telemetry.logs import logger
from gateway.telemetry.tracing import Tracing

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL = "http/protobuf"


def build_tracing(environment: Mapping[str, str]) -> Tracing | None:
    """Return what the ``OTEL_…`` variables ask for, None where that is nothing; what is wrong is a warning.

    These variables are often set for every program of a platform: they are no reason not to start.
    """
    if not _is_wanted(environment):
        return None
    protocol = next((environment[name] for name in _PROTOCOLS if environment.get(name)), _PROTOCOL)
    if protocol != _PROTOCOL:
        logger.warning("no traces are sent: the protocol must be %s, not %s", _PROTOCOL, protocol)
        return None
    try:
        from gateway.telemetry.otel import OpenTelemetry  # noqa: PLC0415 - an extra, which need not be installed
    except ImportError:
        logger.warning("no traces are sent: OpenTelemetry is missing; `pip install gochat-gateway[otel]` brings it")
        return None
    return OpenTelemetry()


def _is_wanted(environment: Mapping[str, str]) -> bool:
    if not any(environment.get(name) for name in _ENDPOINTS):
        return False
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    return environment.get("OTEL_TRACES_EXPORTER") in {None, "", "otlp"}
