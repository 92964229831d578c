"""Logs, metrics and traces for the operator, and the request ids in them."""

from gateway.telemetry.descriptors import Shortage, descriptor_problem, is_shortage
from gateway.telemetry.json_lines import LEVEL_NAMES, encode_value, time_member
from gateway.telemetry.logs import (
    JsonFormatter,
    configure_logging,
    discard_logs,
    log_fields,
    log_line,
    logger,
)
from gateway.telemetry.metrics import Counts

__all__ = [
    "LEVEL_NAMES",
    "Counts",
    "JsonFormatter",
    "Shortage",
    "configure_logging",
    "descriptor_problem",
    "discard_logs",
    "encode_value",
    "is_shortage",
    "log_fields",
    "log_line",
    "logger",
    "time_member",
]
