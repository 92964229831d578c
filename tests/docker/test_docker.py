"""What docker/ says is held to what is there; `python -m tests.docker` runs it."""

import re
import runpy
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from gateway.settings import PREFIX, load_settings
from tests.docker.recipe import DOCKER, ROOT, build_context, compose, stages
from tests.docker.supergraph import SUPERGRAPH, composed
from tests.harness import FIELDS, NO_ENV_FILE, Gateway
from tests.javascript import project

PINNED = re.compile(r"[\w./-]+:[\w.-]*\d[\w.-]*")
BUILT = {stage.name for stage in stages()}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SERVICES = compose()["services"]


def requirements(name: str) -> dict[str, Requirement]:
    """Return the pins of a file by their names; each is one version, and has its hashes."""
    text = (DOCKER / name).read_text(encoding="utf-8").replace("\\\n", "")
    found: dict[str, Requirement] = {}
    for line in text.splitlines():
        pin, *hashes = line.split(" --hash=sha256:")
        assert hashes, line
        requirement = Requirement(pin)
        found[canonicalize_name(requirement.name)] = requirement
    return found


def wanted() -> Iterator[Requirement]:
    extras = PROJECT["project"].get("optional-dependencies", {}).values()
    for texts in (PROJECT["project"]["dependencies"], *extras):
        yield from map(Requirement, texts)


def test_the_pinned_requirements_are_in_step_with_the_project() -> None:
    pins = requirements("requirements.txt")
    for requirement in wanted():
        pin = pins.get(canonicalize_name(requirement.name))
        assert pin is not None, f"{requirement} is not pinned: uv run docker/lock.py"
        (version,) = (each.version for each in pin.specifier)
        assert requirement.specifier.contains(version), f"{pin} is not {requirement}: uv run docker/lock.py"
    pins = requirements("requirements-build.txt")
    assert all(canonicalize_name(Requirement(text).name) in pins for text in PROJECT["build-system"]["requires"])


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-build.txt"])
def test_the_pinned_requirements_say_nothing_of_where_they_come_from(name: str) -> None:
    text = (DOCKER / name).read_text(encoding="utf-8")
    assert "://" not in text
    assert not re.search(r"^\s*-", re.sub(r"^\s+--hash=", "", text, flags=re.MULTILINE), re.MULTILINE), "no option"


def test_every_base_image_and_every_image_has_a_version() -> None:
    images = [stage.base for stage in stages()] + [each["image"] for each in SERVICES.values()]
    assert [each for each in images if each != "gochat-gateway" and not PINNED.fullmatch(each)] == []


def test_every_file_that_is_copied_is_in_the_build_context() -> None:
    context = set(build_context())
    folders = {str(folder) for path in context for folder in Path(path).parents}
    for stage in stages():
        for step in stage.steps:
            if step.name != "COPY":
                continue
            if origin := step.option("from"):
                assert origin in BUILT
                continue
            assert [source for source in step.words[:-1] if source not in context | folders] == []


def test_nothing_gets_into_the_build_that_is_not_for_the_image() -> None:
    context = set(build_context())
    assert {Path(path).parts[0] for path in context} == {"LICENSE", "README.md", "docker", "gateway", "pyproject.toml"}
    assert not [path for path in context if re.search(r"node_modules|__pycache__|\.env|graphiql/dist", path)]


def test_the_image_runs_without_root_and_without_a_shell() -> None:
    last = stages()[-1]
    user, _, group = last.last("USER").text.partition(":")
    assert int(user) > 0, "a number: a platform that refuses root cannot look names up"
    assert int(group) > 0
    for instruction in ("ENTRYPOINT", "CMD"):
        assert last.last(instruction).text.startswith("["), "a shell would be process 1, and keep the signals"
    assert "CMD [" in last.last("HEALTHCHECK").text


def test_the_image_and_the_services_set_only_settings_that_exist() -> None:
    known = {PREFIX + name.upper() for name in FIELDS}
    environments: list[dict[str, Any]] = [stages()[-1].environment()]
    environments += [each.get("environment", {}) for each in SERVICES.values()]
    named = {name for each in environments for name in each if name.startswith(PREFIX)}
    assert named <= known
    assert named


def test_the_services_settings_fit_together(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SERVICES["gateway-1"]["environment"].items():
        monkeypatch.setenv(name, "a secret of 16 characters" if value.startswith("${") else value)
    settings = load_settings(env_file=NO_ENV_FILE)
    grace = int(SERVICES["gateway-1"]["stop_grace_period"].removesuffix("s"))
    assert grace > settings.server.shutdown_delay + settings.shutdown_timeout, "or what is under way is killed"


def test_no_service_has_a_password_by_default() -> None:
    """Whoever starts them chooses it, and they do not start without it."""
    environments = {name: each.get("environment", {}) for name, each in SERVICES.items()}
    secret = re.compile(r"SECRET|PASSWORD|CREDENTIAL|TOKEN|AUTHORIZATION")
    values = {key: value for each in environments.values() for key, value in each.items() if secret.search(key)}
    assert values
    for key, value in values.items():
        assert value.startswith(f"${{{key}:?"), key
    assert "GF_SECURITY_ADMIN_PASSWORD" not in environments["grafana"]
    assert environments["grafana"]["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true", "admin, with admin"


def test_every_service_is_locked_down() -> None:
    for name, service in SERVICES.items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name


def test_what_the_services_mount_is_there() -> None:
    sources = [volume.split(":")[0] for each in SERVICES.values() for volume in each.get("volumes", [])]
    assert [each for each in sources if not (DOCKER / each).exists()] == []


def test_the_proxys_times_fit_the_gateways() -> None:
    text = (DOCKER / "nginx.conf").read_text(encoding="utf-8")

    def seconds(name: str) -> int:
        (found,) = re.findall(rf"\b{name}[ =](\d+)s\b", text)
        return int(found)

    defaults = {name: field.default for name, field in FIELDS.items()}
    assert seconds("keepalive_timeout") < min(defaults["keep_alive"], defaults["shutdown_delay"])
    assert seconds("proxy_read_timeout") > defaults["operation_timeout"]
    assert set(re.findall(r"fail_timeout=(\d+)s", text)) == {"1"}
    assert defaults["shutdown_delay"] > 1
    most = int(re.findall(r"client_max_body_size (\d+)m;", text)[0]) * 1024 * 1024
    assert most > defaults["max_upload_bytes"] + defaults["max_body"] + 1024 * 1024
    assert "non_idempotent" not in text


def test_the_health_check_says_whether_the_gateway_answers(gateway: Gateway) -> None:
    alive = runpy.run_path(str(DOCKER / "healthcheck.py"))["alive"]
    assert alive(httpx.URL(gateway.url).port)
    assert not alive(1)


@pytest.mark.slow
def test_the_routers_supergraph_is_up_to_date() -> None:
    current = composed(project("federation"))
    assert SUPERGRAPH.read_text(encoding="utf-8") == current, "stale: uv run python -m tests.docker.supergraph"


def test_the_router_is_configured_as_the_tests_run_it() -> None:
    ours = ROOT / "tests" / "federation" / "gateway.config.mjs"
    assert (DOCKER / "router" / "gateway.config.mjs").read_bytes() == ours.read_bytes()
    package = (ROOT / "tests" / "federation" / "package.json").read_text(encoding="utf-8")
    assert SERVICES["router"]["image"].rpartition(":")[2] in package


def test_no_port_is_open_to_other_machines() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(ports) == 4
    assert all(port.startswith("127.0.0.1:") for port in ports)
