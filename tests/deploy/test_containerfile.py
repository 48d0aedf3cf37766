"""deploy/Containerfile says what the manifests of Kubernetes rely on; no image is built here."""

from __future__ import annotations

import re

import yaml

from scripts.rigs import ROOT

TEXT = (ROOT / "deploy" / "Containerfile").read_text(encoding="utf-8")
LINES = re.sub(r"\\\n\s*", "", TEXT).splitlines()


def arguments(instruction: str) -> list[str]:
    """What follows an instruction, in the last stage and in those before."""
    return [line.partition(" ")[2] for line in LINES if line.startswith(f"{instruction} ")]


def container() -> dict[str, object]:
    pod = yaml.safe_load((ROOT / "deploy/kubernetes/gateway-a.yaml").read_text())["spec"][
        "template"
    ]
    found: dict[str, object] = {**pod["spec"]["securityContext"], **pod["spec"]["containers"][0]}
    return found


def test_it_runs_as_the_user_of_the_manifests_and_not_as_root() -> None:
    user, group = arguments("USER")[-1].split(":")
    assert (int(user), int(group)) == (container()["runAsUser"], container()["runAsGroup"])
    assert int(user) > 0


def test_all_that_it_writes_is_a_volume_of_the_manifests() -> None:
    """Its root may be read-only."""
    mounts = {one["mountPath"] for one in container()["volumeMounts"]}  # type: ignore[attr-defined]
    assert set(arguments("VOLUME")) == {"/var/lib/edge-agent"} <= mounts
    assert {"/tmp", "/run/edge-agent"} <= mounts  # noqa: S108 (a mount)
    assert "RUNTIME_DIRECTORY=/run/edge-agent" in arguments("ENV")[-1]


def test_it_is_built_from_locked_wheels_without_an_index() -> None:
    installs = [line for line in LINES if "pip install" in line]
    commands = [part for line in installs for part in line.split("&&") if "pip install" in part]
    assert commands
    assert all("--no-index" in command for command in commands)
    assert "--require-hashes -r requirements.txt" in commands[0]


def test_its_command_is_the_one_that_the_manifests_give() -> None:
    assert yaml.safe_load(arguments("CMD")[-1]) == container()["args"]
    assert yaml.safe_load(arguments("ENTRYPOINT")[-1]) == ["edge-agent"]
