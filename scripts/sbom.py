"""The bill of materials of a build as CycloneDX 1.6 JSON: each package a gateway gets, and models.

    scripts/sbom                  # to standard output
    scripts/sbom --output FILE
    scripts/sbom --check          # only: may each licence be shipped? exit code 1 if not

Packages, versions and hashes are those of requirements/runtime.txt; licences and dependencies come
from the installed packages, so it runs in an environment with the lock `dev` or `runtime`. The
same commit results in the same bytes: the time is that of the commit (SOURCE_DATE_EPOCH overrides).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from edge_agent import __version__
from edge_agent.errors import ConfigError
from scripts.rigs import ROOT

LOCK: Final = ROOT / "requirements" / "runtime.txt"
NAME: Final = "edge-agent-pdm"
# What may be on a gateway: permissive, or copyleft that ends at the package itself.
ALLOWED: Final = frozenset(
    [
        "0BSD",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "CC0-1.0",
        "EPL-2.0",
        "LGPL-3.0-or-later",
        "MIT",
        "MIT-0",
        "MPL-2.0",
        "PSF-2.0",
        "Zlib",
    ]
)
# What packages write instead of an SPDX identifier.
SPELLED: Final = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "GNU Lesser General Public License v3 or later (LGPLv3+)": "LGPL-3.0-or-later",
    "GNU Lesser General Public License v3 or later": "LGPL-3.0-or-later",
    "MIT License": "MIT",
    "Python Software Foundation License": "PSF-2.0",
}
_PINNED: Final = re.compile(r"^(?P<name>[a-z0-9_.-]+)==(?P<version>[^\s;\\]+)", re.MULTILINE)
_HASH: Final = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_TERM: Final = re.compile(r"[A-Za-z0-9.+-]+")
_NAMESPACE: Final = uuid.UUID("5f1b7c0e-6a51-4c43-9a4e-0d1c2f3a4b5c")


@dataclass(frozen=True, slots=True)
class Package:
    """A locked package: its SPDX licence expression ("" if unknown), its direct dependencies."""

    name: str
    version: str
    hashes: tuple[str, ...]
    licence: str
    needs: tuple[str, ...]

    @property
    def purl(self) -> str:
        """Its package URL."""
        return f"pkg:pypi/{self.name}@{self.version}"


def main() -> int:
    """Write the bill, or check it."""
    parser = argparse.ArgumentParser(
        prog="scripts/sbom",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output", type=Path, metavar="FILE")
    parser.add_argument("--check", action="store_true", help="only check the licences")
    args = parser.parse_args()
    packages = locked(LOCK.read_text())
    problems = [text for package in packages if (text := problem_of(package))]
    for text in problems:
        print(text, file=sys.stderr)
    if not args.check:
        text = json.dumps(bill(packages), indent=1, sort_keys=True) + "\n"
        if args.output:
            args.output.write_text(text)
        else:
            sys.stdout.write(text)
    return int(bool(problems))


def locked(text: str) -> list[Package]:
    """The packages of a lock, as `uv pip compile --generate-hashes` writes it."""
    found = list(_PINNED.finditer(text))
    ends = [*(match.start() for match in found[1:]), len(text)]
    return [
        Package(
            match["name"],
            match["version"],
            tuple(sorted(_HASH.findall(text[match.end() : end]))),
            *_described(match["name"]),
        )
        for match, end in zip(found, ends, strict=True)
    ]


def _described(name: str) -> tuple[str, tuple[str, ...]]:
    """Licence and dependencies; of a package for another platform nothing is known here."""
    try:
        said = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return "", ()
    classes = (each for each in said.get_all("Classifier", []) if each.startswith("License ::"))
    names = [each.rsplit("::", 1)[1].strip() for each in classes]
    fields = [text for key in ("License-Expression", "License") for text in said.get_all(key, [])]
    known = (licence for wording in (*fields, *names) if (licence := spdx(wording)))
    needs = {
        re.sub(r"[-_.]+", "-", re.split(r"[\s<>=!~;\[(]", each, maxsplit=1)[0]).lower()
        for each in metadata.requires(name) or ()
        if "extra ==" not in each
    }
    return next(known, ""), tuple(sorted(needs))


def spdx(wording: str) -> str:
    """The SPDX expression that a package's wording means; "" if it is none that may be shipped."""
    text = SPELLED.get(wording.strip(), wording.strip())
    terms = [term for term in _TERM.findall(text) if term not in {"AND", "OR", "WITH"}]
    return text if terms and all(term in ALLOWED for term in terms) else ""


def problem_of(package: Package) -> str:
    """Why it must not be shipped as it is; "" if it may."""
    if not package.hashes:
        return f"{package.name} {package.version}: no hash in {LOCK.name}; run scripts/lock"
    try:
        metadata.version(package.name)
    except metadata.PackageNotFoundError:
        return ""  # for another platform
    if not package.licence:
        where = "add its wording to SPELLED, or decide on it (docs/adr/0002)"
        return (
            f"{package.name} {package.version}: its licence is not one that may be shipped; {where}"
        )
    return ""


def bill(packages: list[Package]) -> dict[str, Any]:
    """The document."""
    names = {package.name for package in packages}
    main_ref = f"pkg:pypi/{NAME}@{__version__}"
    needs = [{"ref": main_ref, "dependsOn": sorted(package.purl for package in packages)}]
    for package in packages:
        own = [each.purl for each in packages if each.name in names & set(package.needs)]
        needs.append({"ref": package.purl, "dependsOn": sorted(own)})
    content: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": commit_time().strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {
                "type": "application",
                "bom-ref": main_ref,
                "name": NAME,
                "version": __version__,
                "purl": main_ref,
                "licenses": [{"expression": "Apache-2.0"}],
            },
        },
        "components": [*map(_component, packages), *_models()],
        "dependencies": needs,
    }
    digest = json.dumps(content, sort_keys=True)
    return {"serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, digest)}", **content}


def commit_time() -> datetime:
    """The time of the commit, so that a build can be repeated. ConfigError outside a checkout."""
    stated = os.environ.get("SOURCE_DATE_EPOCH")
    if stated is None:
        command = ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"]
        asked = subprocess.run(command, capture_output=True, text=True, check=False)
        stated = asked.stdout.strip()
    if not stated.isdigit():
        raise ConfigError("no time of the build: not a git checkout; set SOURCE_DATE_EPOCH")
    return datetime.fromtimestamp(int(stated), UTC)


def _component(package: Package) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "type": "library",
        "bom-ref": package.purl,
        "name": package.name,
        "version": package.version,
        "purl": package.purl,
    }
    if package.licence:
        entry["licenses"] = [{"expression": package.licence}]
    # The hashes are of files of one version for several platforms, so each is a file of its own.
    entry["externalReferences"] = [
        {
            "type": "distribution",
            "url": package.purl,
            "hashes": [{"alg": "SHA-256", "content": content}],
        }
        for content in package.hashes
    ]
    return entry


def _models() -> list[dict[str, Any]]:
    """The shipped bundles; the manifest contains the checksums of all their files."""
    return [
        {
            "type": "machine-learning-model",
            "bom-ref": f"model:{file.parent.name}",
            "name": file.parent.name,
            "hashes": [{"alg": "SHA-256", "content": sha256(file.read_bytes()).hexdigest()}],
        }
        for file in sorted((ROOT / "models").glob("*/model.yaml"))
        if not file.parent.name.startswith("learned-")
    ]


if __name__ == "__main__":
    raise SystemExit(main())
