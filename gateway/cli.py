"""The command line: serve, demo, sandbox, schema, check, api-key, documents."""

import difflib
import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import httpx
import typer

from gateway import __version__
from gateway.auth.api_keys import generate_api_key
from gateway.errors import BadUserInput, ConfigurationError
from gateway.execution.cost.policy import cost_policy
from gateway.execution.documents.limits import limits_of
from gateway.execution.documents.manifest import read_manifest
from gateway.execution.inspection import inspect
from gateway.schema import build_schema
from gateway.schema.changes import schema_changes
from gateway.server.serve import serve as run_server
from gateway.server.signals import exit_with_0_on_stop_signals
from gateway.settings import LogLevel, load_settings
from gateway.telemetry import discard_logs

# What the gateway itself does not need is imported by its command: `serve` starts in a tenth less time without it.
if TYPE_CHECKING:
    from gateway.check import Finding

app = typer.Typer(
    name="gochat-gateway",
    help="A GraphQL gateway over the Go!Chat REST API. Settings come from GATEWAY_… variables or a .env file.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def main() -> None:
    """Run the command line. Each wrong setting is a line on standard error, and the exit status is 2."""
    try:
        app()
    except ConfigurationError as exc:
        for problem in exc.problems:
            typer.echo(f"gochat-gateway: {problem}", err=True)
        sys.exit(2)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"gochat-gateway {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options of every command."""


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Overrides GATEWAY_HOST.")] = None,
    port: Annotated[int | None, typer.Option(help="Overrides GATEWAY_PORT; 0 picks a free port.")] = None,
    workers: Annotated[int | None, typer.Option(help="Overrides GATEWAY_WORKERS.")] = None,
    log_level: Annotated[LogLevel | None, typer.Option(help="Overrides GATEWAY_LOG_LEVEL.")] = None,
    record: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Overrides GATEWAY_RECORD: where exchanges are recorded.")
    ] = None,
) -> None:
    """Run the gateway with the settings of the environment; options override them."""
    overrides = {"host": host, "port": port, "workers": workers, "log_level": log_level, "record": record}
    run_server(load_settings(overrides), overrides)


@app.command()
def demo(
    port: Annotated[int, typer.Option(min=0, max=65_535, help="The gateway's port; 0 picks a free one.")] = 8000,
    sandbox_port: Annotated[int, typer.Option(min=0, max=65_535, help="The sandbox's port; 0: a free one.")] = 0,
    build: Annotated[bool, typer.Option(help="Build GraphiQL's page if it is missing and npm is installed.")] = True,
    record: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Record the exchanges with the sandbox in this new directory.")
    ] = None,
) -> None:
    """Run the gateway in front of a sandbox of the REST API, reachable only from this machine."""
    from gateway.demo import demo as run_demo  # noqa: PLC0415 - see above

    run_demo(port, sandbox_port, build=build, record=record)


sandbox = typer.Typer(invoke_without_command=True)
app.add_typer(sandbox, name="sandbox")


@sandbox.callback()
def run_sandbox_alone(
    context: typer.Context,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="The port; 0 picks a free one.")] = 9000,
    replay: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", exists=True, file_okay=False, help="Serve what `serve --record DIR` recorded, and no more."
        ),
    ] = None,
) -> None:
    """Run the sandbox of the REST API alone, for a gateway in another process, reachable only from this machine."""
    if context.invoked_subcommand is not None:
        return
    from gateway.sandbox import serve as run_sandbox  # noqa: PLC0415 - see above

    exit_with_0_on_stop_signals()
    try:
        run_sandbox("127.0.0.1", port, replay)
    except ValueError as exc:
        raise ConfigurationError([f"--replay: {exc}."]) from exc


@sandbox.command("fault")
def sandbox_fault(
    report: Annotated[
        Path, typer.Option("--from", exists=True, dir_okay=False, help="A report of `check --drift --report`.")
    ],
    url: Annotated[str | None, typer.Option("--to", help="Add the faults to the sandbox at this address.")] = None,
) -> None:
    """Turn a report of drift into faults, with which the sandbox differs from the contract as the REST API does.

    Prints them as JSON for `POST /_sandbox/faults`.
    """
    from gateway.sandbox import faults_of_drift  # noqa: PLC0415 - see above

    try:
        faults = [each.to_json() for each in faults_of_drift(report.read_bytes())]
        if url is not None:
            httpx.post(f"{url.rstrip('/')}/_sandbox/faults", json=faults, trust_env=False).raise_for_status()
    except ValueError as exc:
        raise ConfigurationError([f"--from: {report}: {exc}."]) from exc
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        raise ConfigurationError([f"--to: {url} does not take the faults: {exc}."]) from exc
    typer.echo(json.dumps(faults, indent=2))


@app.command()
def schema(
    check: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="Print a diff and exit with 1 if this file differs from the schema."
        ),
    ] = None,
    diff: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Exit with 1 if the schema breaks clients of this older one."),
    ] = None,
    field_scopes: Annotated[
        bool, typer.Option("--field-scopes", help="Use the schema of a gateway with GATEWAY_FIELD_SCOPES.")
    ] = False,
    incremental: Annotated[
        bool, typer.Option("--incremental", help="Use the schema of a gateway with GATEWAY_INCREMENTAL.")
    ] = False,
    client: Annotated[bool, typer.Option("--client", help="Leave out what only federation uses.")] = False,
) -> None:
    """Print the schema (SDL)."""
    built = build_schema(incremental=incremental, field_scopes=field_scopes)
    current = (built.as_client_str() if client else built.as_str()) + "\n"
    if check is not None:
        _require_same(check, current)
    if diff is not None:
        _require_compatible(diff, current)
    if check is None and diff is None:
        typer.echo(current, nl=False)


def _require_same(check: Path, current: str) -> None:
    given = check.read_text(encoding="utf-8")
    diff = difflib.unified_diff(given.splitlines(), current.splitlines(), str(check), "the schema", lineterm="")
    lines = list(diff)
    if lines or given != current:
        typer.echo("\n".join(lines))
        typer.echo(f"{check} is out of date: update it with `gochat-gateway schema > {check}`", err=True)
        raise typer.Exit(1)
    typer.echo(f"{check} is up to date")


def _require_compatible(old: Path, current: str) -> None:
    try:
        changes = schema_changes(old.read_text(encoding="utf-8"), current)
    except BadUserInput as exc:
        raise ConfigurationError([f"{old}: {exc}"]) from exc
    for kind, lines in (("breaking", changes.breaking), ("dangerous", changes.dangerous)):
        for line in lines:
            typer.echo(f"{kind}: {line}")
    if changes.breaking:
        raise typer.Exit(1)
    typer.echo(f"no breaking changes for clients of {old}")


@app.command()
def check(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, for a program.")] = False,
    write: Annotated[
        str | None,
        typer.Option(
            metavar="THREAD_ID",
            help="Also WRITE a message to this thread, to nobody, and look for it by its id. Use a test thread.",
        ),
    ] = None,
    drift: Annotated[
        str | None,
        typer.Option(metavar="THREAD_ID", help="Also compare the REST API with what is known of it, by GETs alone."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="With --drift: write a report without values to this file.")
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="With --drift: only what this earlier report lacks is a failure."
        ),
    ] = None,
) -> None:
    """Check whether the settings work: reach the REST API, Redis and the token issuer, and try the credentials once.

    Exits with 0 if all is well or there are only warnings, with 1 if something failed, and with 2 if the settings are
    wrong, as `serve` would.
    """
    if drift is None and (report or baseline):
        raise ConfigurationError(["--report and --baseline belong to --drift THREAD_ID, which is missing."])
    if write is not None:
        typer.echo(f"note  this writes a message to the thread {write}", err=True)
    from gateway.check import DriftRequest, Finding, Level  # noqa: PLC0415 - see above
    from gateway.check import check as check_settings  # noqa: PLC0415 - see above

    discard_logs()  # what they would say is in the findings
    try:
        request = None if drift is None else DriftRequest(drift, report, baseline)
        findings = check_settings(load_settings(), write, drift=request)
    except ConfigurationError as exc:
        findings = [Finding(Level.FAIL, "settings", problem) for problem in exc.problems]
    _show(findings, as_json=as_json)
    failed = {finding.subject for finding in findings if not finding.ok}
    if failed:
        raise typer.Exit(2 if "settings" in failed else 1)


def _show(findings: "Sequence[Finding]", *, as_json: bool) -> None:
    if as_json:
        ok = all(finding.ok for finding in findings)
        typer.echo(json.dumps({"ok": ok, "findings": [finding.as_dict() for finding in findings]}, indent=2))
        return
    colours = {"ok": "green", "warn": "yellow", "fail": "red"} if "NO_COLOR" not in os.environ else {}
    for finding in findings:  # `echo` removes the colours where the output is no terminal
        level, rest = str(finding)[:5], str(finding)[5:]
        colour = colours.get(finding.level.value)
        typer.echo((typer.style(level, fg=colour) if colour else level) + rest)


@app.command("api-key")
def api_key(
    identifier: Annotated[str, typer.Argument(help="The name of its caller in the log, such as `mobile-app`.")],
    scope: Annotated[list[str] | None, typer.Option(help="A scope of the key; can be given several times.")] = None,
    expires: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="The day (UTC) from which the key is rejected."),
    ] = None,
) -> None:
    """Create an API key: print the key, which is shown only once, and the line for GATEWAY_API_KEYS_FILE."""
    if expires is not None and expires.replace(tzinfo=UTC) <= datetime.now(UTC):
        raise ConfigurationError(["--expires: must be in the future."])
    key, line = generate_api_key(identifier, scope or [], None if expires is None else expires.date())
    typer.echo("The key, for its caller only. It is shown this once:", err=True)
    typer.echo(key)
    typer.echo("The line for GATEWAY_API_KEYS_FILE:", err=True)
    typer.echo(line)


@app.command()
def documents(
    path: Annotated[Path, typer.Argument(exists=True, help="A manifest of Apollo or Relay, or a folder.")],
) -> None:
    """Check a manifest of trusted documents against the schema and the limits; exit with 1 if one is rejected."""
    settings = load_settings()
    schema = build_schema(incremental=settings.graphql.incremental, field_scopes=settings.auth.field_scopes)
    lines = list(inspect(read_manifest(path), schema, limits_of(settings.limits), cost_policy(settings.limits)))
    for line in lines:
        typer.echo(str(line))
    if not lines:
        typer.echo(f"{path} holds no documents", err=True)
    if not lines or not all(line.ok for line in lines):
        raise typer.Exit(1)
