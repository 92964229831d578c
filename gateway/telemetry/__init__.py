"""Logs, metrics and traces for the operator, and the request ids in them."""

from gateway.telemetry.logs import JsonFormatter, configure_logging, log_fields, logger
from gateway.telemetry.metrics import Counts

__all__ = ["Counts", "JsonFormatter", "configure_logging", "log_fields", "logger"]
