"""`edge-agent completion`: the scripts are sourced in their shells, and complete."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from edge_agent.cli import COMMANDS, main, parser_of
from edge_agent.cli.completion_tree import levels_of, names_of

if TYPE_CHECKING:
    from pathlib import Path

SHELLS = ("bash", "zsh", "fish")
# What is typed (the last word is completed), and what is proposed among others.
CASES = [
    ("edge-agent al", "alarms"),
    ("edge-agent alarms s", "shelve"),
    ("edge-agent alarms list --st", "--state"),
    ("edge-agent alarms list --state un", "unack"),
    ("edge-agent --debug models act", "activate"),
    ("edge-agent models activate pump --j", "--json"),
    ("edge-agent top --on", "--once"),
    ("edge-agent completion z", "zsh"),
    ("edge-agent check -c con", "config.yaml"),
    ("edge-agent check --config con", "config.yaml"),
    ("edge-agent keys create mes --file con", "config.yaml"),
    ("edge-agent models sign con", "config.yaml"),
]
NOTHING = ["edge-agent alarms list --url ", "edge-agent check nosuch", "edge-agent nosuch --js"]


@pytest.fixture
def script(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> Path:
    """The script of a shell, in a folder with a file config.yaml."""
    (tmp_path / "config.yaml").touch()
    assert main(["completion", request.param]) == 0
    file = tmp_path / f"edge-agent.{request.param}"
    file.write_text(capsys.readouterr().out, "utf-8")
    return file


def of_shell(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("script", [name], indirect=True)


def ran(shell: str, script: Path, *commands: str) -> list[str]:
    """The lines that commands print in a shell that has sourced the script."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    plain = {"bash": ["--norc", "--noprofile"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    text = "\n".join([*_BEFORE.get(shell, []), f"source {shlex.quote(str(script))}", *commands])
    done = subprocess.run(
        [shell, *plain, "-c", text],
        capture_output=True,
        text=True,
        cwd=script.parent,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.split("\n")


_BEFORE = {
    # Outside of a completion these do nothing; here they print what they would propose.
    "zsh": [
        "compdef() { }",
        '_describe() { print -l -- ${${(P)2}%%:*} | grep -e "^$words[CURRENT]" }',
        "_files() { print -l -- $words[CURRENT]*(N) }",
    ],
}


def asked(shell: str, typed: str) -> str:
    """The command of a shell that prints the proposals for a line."""
    words = typed.split(" ")
    listed = " ".join(shlex.quote(word) for word in words)
    return {
        "bash": f"COMP_WORDS=({listed}); COMP_CWORD={len(words) - 1}; _edge_agent;"
        ' printf "%s\\n" "${COMPREPLY[@]}"',
        "zsh": f"words=({listed}); CURRENT={len(words)}; _edge_agent",
        "fish": f"complete -C {shlex.quote(typed)} | string replace -r '\\t.*' ''",
    }[shell]


def proposed(shell: str, script: Path, typed: str) -> list[str]:
    return [line for line in ran(shell, script, asked(shell, typed)) if line]


@of_shell("bash")
@pytest.mark.parametrize(("typed", "wanted"), CASES)
def test_bash_completes(script: Path, typed: str, wanted: str) -> None:
    found = proposed("bash", script, typed)
    assert wanted in found
    assert all(one.startswith(typed.rpartition(" ")[2]) for one in found)


@of_shell("zsh")
@pytest.mark.parametrize(("typed", "wanted"), CASES)
def test_zsh_completes(script: Path, typed: str, wanted: str) -> None:
    assert wanted in proposed("zsh", script, typed)


@of_shell("fish")
@pytest.mark.parametrize(("typed", "wanted"), CASES)
def test_fish_completes(script: Path, typed: str, wanted: str) -> None:
    assert wanted in proposed("fish", script, typed)


@of_shell("bash")
@pytest.mark.parametrize("typed", NOTHING)
def test_what_is_not_known_is_not_proposed(script: Path, typed: str) -> None:
    assert proposed("bash", script, typed) == []


@of_shell("bash")
def test_every_option_of_every_command_is_proposed(script: Path) -> None:
    levels = levels_of(parser_of(COMMANDS))
    assert {level.path.partition(" ")[0] for level in levels} == {"", *COMMANDS}
    lines = [asked("bash", f"edge-agent {level.path} -".replace("  ", " ")) for level in levels]
    found = ran("bash", script, *(line for one in lines for line in (one, "echo =")))
    answers = "\n".join(found).split("=\n")
    for level, answer in zip(levels, answers, strict=False):
        wanted = {name for name in names_of(level) if name.startswith("-")}
        assert wanted <= set(answer.split()), level.path


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_is_printed_whole(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in COMMANDS)
    assert "None" not in out
