"""The metrics of the engine, read from it when they are scraped."""

from collections.abc import Iterator

from prometheus_client.core import Metric

from gateway.execution.engine import Engine
from gateway.telemetry.metrics import counter, gauge


def engine_metrics(engine: Engine) -> Iterator[Metric]:
    """Yield how operations were executed, and how many documents are kept."""
    counters = engine.counters
    executions: dict[tuple[str, ...], float] = {("planned", ""): counters.planned}
    for result, reasons in (("stood_aside", counters.stood_aside), ("not_plannable", counters.not_plannable)):
        executions.update({(result, reason): number for reason, number in reasons.copy().items()})
    yield counter(
        "plans",
        "Operations by whether a plan answered them, and for what reason not.",
        ("result", "reason"),
        executions,
    )
    yield gauge("documents_kept", "Documents that are kept, parsed and validated.", (), {(): engine.documents.kept})
