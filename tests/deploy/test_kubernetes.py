"""The manifests of deploy/kubernetes fit Kubernetes, each other, the config and the daemon."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from status_support import ListStatus

from edge_agent.config import secrets_of
from edge_agent.daemon.tables import load_config
from edge_agent.ops.metrics import Metrics
from edge_agent.service import status_routes
from scripts.rigs import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_agent.config import Config

FOLDER = ROOT / "deploy" / "kubernetes"
KUBERNETES = "1.33.0"
NO_SCHEMA = {"kustomization.yaml", "edge-agent.yaml", "monitor.yaml"}  # of other makers, or ours


def objects() -> Iterator[dict[str, Any]]:
    for file in sorted(FOLDER.glob("*.yaml")):
        if file.name != "edge-agent.yaml":
            yield from yaml.safe_load_all(file.read_text())


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [one for one in objects() if one["kind"] == kind]


def named(kind: str, name: str) -> dict[str, Any]:
    (found,) = [one for one in of_kind(kind) if one["metadata"]["name"] == name]
    return found


def pods() -> list[dict[str, Any]]:
    return [
        one["spec"]["template"] for kind in ("StatefulSet", "Deployment") for one in of_kind(kind)
    ]


def containers() -> list[dict[str, Any]]:
    return [one for pod in pods() for one in pod["spec"]["containers"]]


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> Config:
    """The config as pod 2 of the second gateway reads it."""
    for name, value in {"SHARD": "2", "GATEWAY_ID": "gw-2", "MEMBER": "b"}.items():
        monkeypatch.setenv(name, value)
    return load_config(FOLDER / "edge-agent.yaml", files=False)


def validated(python: Path, *files: Path) -> subprocess.CompletedProcess[str]:
    command = [str(python), "-m", "kubernetes_validate", "--strict", "-k", KUBERNETES]
    return subprocess.run(
        [*command, *map(str, files)], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.slow
@pytest.mark.integration
def test_the_manifests_are_those_of_kubernetes(clients_python: Path) -> None:
    """By its own schemas, which allow no key that they do not know."""
    files = [file for file in sorted(FOLDER.glob("*.yaml")) if file.name not in NO_SCHEMA]
    done = validated(clients_python, *files)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert said.count("passed for resource") == sum(
        len(list(yaml.safe_load_all(file.read_text()))) for file in files
    )


@pytest.mark.slow
@pytest.mark.integration
def test_a_misspelt_key_is_refused(clients_python: Path, tmp_path: Path) -> None:
    """The control of the test above."""
    broken = tmp_path / "broken.yaml"
    broken.write_text((FOLDER / "gateway-a.yaml").read_text().replace("replicas:", "replica:"))
    assert validated(clients_python, broken).returncode != 0


def test_the_config_is_that_of_a_pair_in_its_shard(config: Config) -> None:
    assert (config.gateway.id, config.gateway.member, config.shard.index) == ("gw-2", "b", 2)
    assert config.standby.enabled
    assert {one["spec"]["replicas"] for one in of_kind("StatefulSet")} == {config.shard.of}


def test_both_gateways_of_a_pair_differ_in_one_letter() -> None:
    first, second = (named("StatefulSet", f"edge-agent-{letter}") for letter in "ab")
    text = yaml.safe_dump(first).replace("member: a", "member: b").replace("agent-a", "agent-b")
    assert yaml.safe_load(text.replace("value: a\n", "value: b\n")) == second


def test_the_ordinal_is_the_shard_and_part_of_the_id() -> None:
    (container,) = named("StatefulSet", "edge-agent-a")["spec"]["template"]["spec"]["containers"]
    variables = {one["name"]: one for one in container["env"]}
    field = variables["SHARD"]["valueFrom"]["fieldRef"]["fieldPath"]
    assert field == "metadata.labels['apps.kubernetes.io/pod-index']"
    assert variables["GATEWAY_ID"]["value"] == "gw-$(SHARD)"
    assert list(variables).index("SHARD") < list(variables).index("GATEWAY_ID")


def test_ports_and_probes_are_those_of_the_daemon(config: Config) -> None:
    """A probe that asks for a path that is not there would restart the gateway for ever."""
    known = {route.path for route in status_routes(ListStatus([], []), Metrics())}
    for letter in "ab":
        pod = named("StatefulSet", f"edge-agent-{letter}")["spec"]["template"]
        (container,) = pod["spec"]["containers"]
        assert container["ports"] == [{"name": "http", "containerPort": config.http.port}]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            asked = container[probe]["httpGet"]
            assert asked["path"] in known
            assert asked["port"] == "http"
    assert config.http.host == "0.0.0.0"  # noqa: S104
    assert named("ServiceMonitor", "edge-agent")["spec"]["endpoints"][0]["path"] in known


def test_every_file_of_the_config_is_mounted(config: Config) -> None:
    """Secrets, models and the store are below a volume; all else is read-only."""
    (container,) = named("StatefulSet", "edge-agent-a")["spec"]["template"]["spec"]["containers"]
    mounts = {one["mountPath"]: one.get("readOnly", False) for one in container["volumeMounts"]}
    secrets = {str(one.file.parent) for _, one in secrets_of(config) if one.file}
    assert secrets == {"/run/secrets/edge-agent"}
    assert mounts["/run/secrets/edge-agent"]
    for path in (config.store.path, config.models_dir):
        assert not mounts[str(path.parent)]
    assert container["args"][-1].rpartition("/")[0] in mounts


@pytest.mark.parametrize("container", containers(), ids=lambda one: str(one["name"]))
def test_no_container_may_more_than_it_needs(container: dict[str, Any]) -> None:
    context = container["securityContext"]
    assert context["readOnlyRootFilesystem"]
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert {"requests", "limits"} <= container["resources"].keys()
    assert {"startupProbe", "livenessProbe", "readinessProbe"} <= container.keys()


@pytest.mark.parametrize("pod", pods(), ids=lambda one: str(one["metadata"]["labels"]))
def test_no_pod_is_root_or_asks_kubernetes(pod: dict[str, Any]) -> None:
    assert pod["spec"]["securityContext"]["runAsNonRoot"]
    assert pod["spec"]["securityContext"]["runAsUser"] > 0
    assert pod["spec"]["automountServiceAccountToken"] is False


def test_selectors_find_the_pods() -> None:
    """A budget or a policy that selects nothing protects nothing, and nobody is told."""
    labels = [pod["metadata"]["labels"] for pod in pods()]
    selectors = [one["spec"]["podSelector"]["matchLabels"] for one in of_kind("NetworkPolicy")]
    selectors += [one["spec"]["selector"]["matchLabels"] for one in of_kind("PodDisruptionBudget")]
    selectors += [one["spec"]["selector"] for one in of_kind("Service")]
    assert all(any(wanted.items() <= have.items() for have in labels) for wanted in selectors)
    for kind in ("StatefulSet", "Deployment"):
        for one in of_kind(kind):
            wanted = one["spec"]["selector"]["matchLabels"]
            assert wanted.items() <= one["spec"]["template"]["metadata"]["labels"].items()


def test_the_network_lets_through_what_the_config_needs(config: Config) -> None:
    policy = named("NetworkPolicy", "edge-agent")["spec"]
    out = {port["port"] for rule in policy["egress"] for port in rule["ports"]}
    brokers = [*config.sources.values(), *config.sinks.values()]
    assert {one.port for one in brokers if hasattr(one, "port")} <= out
    assert policy["ingress"][0]["ports"] == [{"port": config.http.port, "protocol": "TCP"}]


def test_kustomize_has_every_file() -> None:
    """All but the one that needs a CRD, which it shows as a comment."""
    text = (FOLDER / "kustomization.yaml").read_text()
    listed = yaml.safe_load(text)
    files = {file.name for file in FOLDER.glob("*.yaml")}
    configs = {file for one in listed["configMapGenerator"] for file in one["files"]}
    rest = {"kustomization.yaml", "monitor.yaml"}
    assert set(listed["resources"]) | configs | rest == files
    assert "#- monitor.yaml" in text
    (pod, *_) = pods()
    volumes = {one["name"]: one for one in pod["spec"]["volumes"]}
    assert volumes["config"]["configMap"]["name"] == listed["configMapGenerator"][0]["name"]
