"""The manifests are held to Kubernetes' own schemas, and to the image and the settings."""

from typing import Any

import pytest
import yaml

from gateway import __version__
from gateway.settings import PREFIX
from tests.docker.recipe import DOCKER, stages
from tests.harness import FIELDS, settings
from tests.requirements import require_module

FOLDER = DOCKER / "kubernetes"
KUSTOMIZATION: dict[str, Any] = yaml.safe_load((FOLDER / "kustomization.yaml").read_text(encoding="utf-8"))
RESOURCES: list[dict[str, Any]] = [yaml.safe_load((FOLDER / each).read_text()) for each in KUSTOMIZATION["resources"]]
EXAMPLES: dict[str, dict[str, Any]] = {
    each["kind"]: each for each in (yaml.safe_load(path.read_text()) for path in (FOLDER / "examples").iterdir())
}
POD: dict[str, Any] = RESOURCES[0]["spec"]["template"]["spec"]
(GATEWAY,) = POD["containers"]


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda each: str(each["kind"]))
def test_a_manifest_is_what_kubernetes_takes(resource: dict[str, Any]) -> None:
    schemas = require_module("kubernetes_validate", "kubernetes")
    schemas.validate(resource, schemas.latest_version(), strict=True)


def test_the_schemas_would_refuse_a_misspelt_field() -> None:
    schemas = require_module("kubernetes_validate", "kubernetes")
    wrong = {**RESOURCES[1], "spec": {**RESOURCES[1]["spec"], "selectr": {}}}
    with pytest.raises(schemas.ValidationError, match="selectr"):
        schemas.validate(wrong, schemas.latest_version(), strict=True)


def test_every_manifest_in_the_folder_is_applied() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {*KUSTOMIZATION["resources"], "kustomization.yaml", "examples"}


@pytest.mark.parametrize("kind", ["NetworkPolicy", "HorizontalPodAutoscaler", "Ingress"])
def test_an_example_is_what_kubernetes_takes(kind: str) -> None:
    schemas = require_module("kubernetes_validate", "kubernetes")
    schemas.validate(EXAMPLES[kind], schemas.latest_version(), strict=True)


def test_the_examples_fit_the_manifests() -> None:
    """The schema of a PodMonitor is not Kubernetes' own, so only its names can be compared."""
    assert set(EXAMPLES) == {"NetworkPolicy", "HorizontalPodAutoscaler", "Ingress", "PodMonitor"}
    deployment, service = RESOURCES[0], RESOURCES[1]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    ports = {each["name"] for each in GATEWAY["ports"]}
    policy, monitor = EXAMPLES["NetworkPolicy"]["spec"], EXAMPLES["PodMonitor"]["spec"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    assert {port["port"] for rule in policy["ingress"] for port in rule["ports"]} == ports
    assert monitor["selector"]["matchLabels"].items() <= labels.items()
    assert {each["port"] for each in monitor["podMetricsEndpoints"]} <= ports
    assert labels[monitor["jobLabel"]] == "gochat-gateway", "the job of the alert rules"
    scaled = EXAMPLES["HorizontalPodAutoscaler"]["spec"]
    target = scaled["scaleTargetRef"]
    assert (target["kind"], target["name"]) == (deployment["kind"], deployment["metadata"]["name"])
    assert scaled["minReplicas"] == deployment["spec"]["replicas"]
    (rule,) = EXAMPLES["Ingress"]["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    assert (path["path"], path["pathType"]) == ("/graphql", "Exact"), "callers reach nothing else"
    assert path["backend"]["service"]["name"] == service["metadata"]["name"]
    assert path["backend"]["service"]["port"]["name"] in {each["name"] for each in service["spec"]["ports"]}


def test_the_secret_is_optional() -> None:
    (secret,) = (each["secretRef"] for each in GATEWAY["envFrom"] if "secretRef" in each)
    assert secret["optional"]


def test_the_labels_lead_to_the_pods() -> None:
    labels = RESOURCES[0]["spec"]["template"]["metadata"]["labels"]
    selectors = [
        RESOURCES[0]["spec"]["selector"]["matchLabels"],
        RESOURCES[1]["spec"]["selector"],
        RESOURCES[2]["spec"]["selector"]["matchLabels"],
    ]
    assert all(each.items() <= labels.items() for each in selectors)


def test_the_settings_exist_and_fit_the_ports_and_probes() -> None:
    literals = dict(each.split("=", 1) for each in KUSTOMIZATION["configMapGenerator"][0]["literals"])
    assert {name.removeprefix(PREFIX).lower() for name in literals} <= set(FIELDS)
    given = settings(**{name.removeprefix(PREFIX).lower(): value for name, value in literals.items()})
    ports = {each["name"]: each["containerPort"] for each in GATEWAY["ports"]}
    image = stages()[-1].environment()
    assert ports == {"http": int(image["GATEWAY_PORT"]), "metrics": given.telemetry.metrics_port}
    assert {GATEWAY[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness")} == {"/health"}
    assert GATEWAY["readinessProbe"]["httpGet"]["path"] == "/ready"
    assert POD["terminationGracePeriodSeconds"] > given.server.shutdown_delay + given.shutdown_timeout


def test_the_pods_have_no_more_rights_than_the_image_needs() -> None:
    assert POD["securityContext"]["runAsNonRoot"]
    assert GATEWAY["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert int(stages()[-1].last("USER").text.split(":")[0]) > 0, "or runAsNonRoot refuses it"


def test_the_image_is_this_version() -> None:
    (image,) = KUSTOMIZATION["images"]
    assert (image["name"], image["newTag"]) == (GATEWAY["image"], __version__)
