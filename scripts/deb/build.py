"""From a folder with a Python environment to a file that dpkg installs."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from scripts.deb.tree import NAME, fill_tree, set_modes

if TYPE_CHECKING:
    from pathlib import Path

    from scripts.deb.target import Target
    from scripts.deb.tree import Release


def build_package(
    root: Path, folder: Path, release: Release, target: Target, compression: str = "xz"
) -> Path:
    """Complete the tree in `root` and pack it into `folder`; the path of the package.

    dpkg-deb sorts the files, makes root their owner, and dates none later than the release.
    """
    set_modes(root)
    fill_tree(root, release, target)
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / f"{NAME}_{release.for_target(target)}_{target.arch}.deb"
    command = ["dpkg-deb", f"-Z{compression}", "--root-owner-group", "--build", str(root)]
    subprocess.run(
        [*command, str(made)],
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "SOURCE_DATE_EPOCH": str(release.epoch_s)},
    )
    return made
