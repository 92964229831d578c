"""Turns tracing on by the standard variable ``OTEL_EXPORTER_OTLP_ENDPOINT``.

The SDK reads its other ``OTEL_…`` variables: service name, resource, sampler, headers, certificates and timeouts.

On its own: ``tracing`` is imported by ``otel``, which this module imports where it is installed.
"""

from collections.abc import Mapping

from gateway.telemetry.logs import logger
from gateway.telemetry.tracing import Tracing

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL = "http/protobuf"


def build_tracing(environment: Mapping[str, str]) -> Tracing | None:
    """Return the tracing that the ``OTEL_…`` variables configure, or None.

    A wrong value is a warning and not an error: platforms often set these variables for every program.
    """
    if not _is_enabled(environment):
        return None
    protocol = next((environment[name] for name in _PROTOCOLS if environment.get(name)), _PROTOCOL)
    if protocol != _PROTOCOL:
        logger.warning("tracing is off: the OTLP protocol must be %s, not %s", _PROTOCOL, protocol)
        return None
    try:
        from gateway.telemetry.otel import OpenTelemetry  # noqa: PLC0415 - an extra, which need not be installed
    except ImportError:
        logger.warning("tracing is off: OpenTelemetry is not installed; run `pip install gochat-gateway[otel]`")
        return None
    return OpenTelemetry()


def _is_enabled(environment: Mapping[str, str]) -> bool:
    if not any(environment.get(name) for name in _ENDPOINTS):
        return False
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    return environment.get("OTEL_TRACES_EXPORTER") in {None, "", "otlp"}
