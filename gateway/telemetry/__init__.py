"""Logs, metrics and traces for the operator, and the request ids in them."""

from gateway.telemetry.descriptors import Shortage, descriptor_problem, is_shortage
from gateway.telemetry.logs import JsonFormatter, configure_logging, discard_logs, log_fields, logger
from gateway.telemetry.metrics import Counts

__all__ = [
    "Counts",
    "JsonFormatter",
    "Shortage",
    "configure_logging",
    "descriptor_problem",
    "discard_logs",
    "is_shortage",
    "log_fields",
    "logger",
]
