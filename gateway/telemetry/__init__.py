"""What the gateway tells its operator: request ids, the log, metrics and traces."""

from gateway.telemetry.counts import Counts
from gateway.telemetry.identity import request_id
from gateway.telemetry.logs import JsonFormatter, configure_logging, log_fields, logger

__all__ = ["Counts", "JsonFormatter", "configure_logging", "log_fields", "logger", "request_id"]
