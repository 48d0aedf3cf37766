"""The site of docs/: every page is in its navigation, no link is broken, references are current."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.docs_nav import DOCS, GROUPS, navigation
from scripts.reference import PAGES, configuration

ROOT = Path(__file__).parents[1]


def test_every_page_is_in_the_navigation_once() -> None:
    """Decisions too; a page that nobody put into a group is under «More»."""
    listed = [page for group in navigation() for pages in group.values() for page in pages]
    there = [str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")]
    assert sorted(listed) == sorted(there)


def test_no_page_is_in_two_groups() -> None:
    named = [one for group in GROUPS.values() for one in group]
    assert len(named) == len(set(named))


def test_the_site_has_no_broken_link(tmp_path: Path) -> None:
    """Pages, headings and pictures; mkdocs ends with an error for any of them."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "for-it.html").is_file()


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_reference_is_made_of_the_code(name: str) -> None:
    """`scripts/reference` writes them; scripts/check compares."""
    assert PAGES[name]() == (DOCS / name).read_text("utf-8"), "run scripts/reference"


def test_the_configuration_reference_says_what_each_key_means() -> None:
    rows = re.findall(r"^\| `(\w+)` \| .* \|(.*)\|$", configuration(), re.MULTILINE)
    assert len(rows) > 200
    assert [key for key, text in rows if not text.strip()] == []
