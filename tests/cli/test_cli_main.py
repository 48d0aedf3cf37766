"""The frame of the command line: exit codes, one line for an error, help that imports nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from edge_agent import __version__, cli
from edge_agent.errors import ConfigError, EdgeAgentError, UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

RUN = [sys.executable, "-m", "edge_agent"]


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Call it with what the command `probe` shall do."""

    def install(action: Callable[[argparse.Namespace], int]) -> None:
        module = ModuleType("edge_agent.cli.probe")
        module.HELP = "Probe."  # type: ignore[attr-defined]
        module.EXAMPLE = "edge-agent probe --word x"  # type: ignore[attr-defined]
        module.add_arguments = lambda parser: parser.add_argument("--word")  # type: ignore[attr-defined]
        module.run = action  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "edge_agent.cli.probe", module)
        monkeypatch.setitem(cli.COMMANDS, "probe", "probe something")

    return install


def raising(error: BaseException) -> Callable[[argparse.Namespace], int]:
    def run(_args: argparse.Namespace) -> int:
        raise error

    return run


@pytest.mark.parametrize("code", [0, 1, 78])
def test_a_commands_result_is_the_exit_code(probe: Callable[..., None], code: int) -> None:
    probe(lambda _args: code)
    assert cli.main(["probe"]) == code


def test_arguments_reach_the_command(
    probe: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    """`--debug` may stand before or after the command."""
    probe(lambda args: sys.stdout.write(f"{args.word} {args.debug}\n") * 0)
    cli.main(["probe", "--word", "run", "--debug"])
    cli.main(["--debug", "probe", "--word", "run"])
    cli.main(["probe", "--word", "run"])
    assert capsys.readouterr().out == "run True\nrun True\nrun False\n"


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (EdgeAgentError("no", where="here", hint="do it"), 1, "here: no (do it)"),
        (ConfigError("bad", where="a.yaml:3"), 78, "a.yaml:3: bad"),
        (UsageError("not so"), 2, "not so"),
        (
            KeyError("x\ny"),
            1,
            "internal error: KeyError: 'x\\ny' (run it again with --debug to see where)",
        ),
        (
            RuntimeError("two\nlines"),
            1,
            "internal error: RuntimeError: two lines (run it again with --debug to see where)",
        ),
        (RecursionError(), 1, None),
        (MemoryError("x" * 10_000), 1, None),
        (OSError(13, "Permission denied", "/x"), 1, None),
    ],
)
def test_an_error_is_one_line(
    probe: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    code: int,
    line: str | None,
) -> None:
    probe(raising(error))
    assert cli.main(["probe"]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert len(captured.err) < 600
    assert line is None or captured.err == f"{line}\n"


@pytest.mark.parametrize("words", [["--debug", "probe"], ["probe", "--debug"]])
def test_debug_shows_the_traceback(
    probe: Callable[..., None], capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    probe(raising(EdgeAgentError("no")))
    assert cli.main(words) == 1
    err = capsys.readouterr().err
    assert err.startswith("Traceback")
    assert err.endswith("\nno\n")


def test_an_interrupt_is_no_error(
    probe: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    probe(raising(KeyboardInterrupt()))
    assert cli.main(["probe"]) == 130
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("words", [[], ["--debug"], ["nothing"], ["probe", "--wrong"], ["--wrong"]])
def test_wrong_use_is_exit_code_2(
    probe: Callable[..., None], capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    probe(lambda _args: 0)
    assert cli.main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "usage: edge-agent" in captured.err


def test_help_shows_the_example(
    probe: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    probe(lambda _args: 0)
    assert cli.main(["probe", "--help"]) == 0
    assert capsys.readouterr().out.endswith("example:\n  edge-agent probe --word x\n")


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    out = capsys.readouterr().out
    entries = out.partition("  COMMAND\n")[2].partition("\n\n")[0].splitlines()
    named = [line.split()[0] for line in entries if line[4] != " "]
    assert named == list(cli.COMMANDS)
    assert "example:" in out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"edge-agent {__version__}\n"


def test_a_command_whose_package_is_missing_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the others go on working."""
    monkeypatch.setitem(cli.COMMANDS, "absent", "is not there")
    assert cli.main(["absent"]) == 1
    assert capsys.readouterr().err == (
        "edge-agent absent: the Python package 'edge_agent.cli.absent' is not installed\n"
    )
    assert cli.main(["--help"]) == 0


def test_help_imports_no_heavy_package() -> None:
    """It is asked for often, on small machines, and by shells that complete words."""
    code = (
        "import sys; from edge_agent.cli import main; main(['--help']); "
        "heavy = {'numpy', 'onnxruntime', 'asyncua', 'yaml', 'paho'} & set(sys.modules); "
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", [["--help"], ["probe"]])
def test_a_reader_that_goes_away_is_no_traceback(words: list[str], unbuffered: str) -> None:
    """`edge-agent ... | head -0`: the pipe breaks while we write, or when Python flushes."""
    code = f"""
import sys
from types import SimpleNamespace
from edge_agent import cli
cli.COMMANDS["probe"] = "probe"
sys.modules["edge_agent.cli.probe"] = SimpleNamespace(
    HELP="", EXAMPLE="", add_arguments=lambda p: None, run=lambda a: print("x" * 100_000) or 0
)
sys.exit(cli.main({words}))
"""
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode in {0, 1}


def test_the_module_is_the_program() -> None:
    done = subprocess.run([*RUN, "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"edge-agent {__version__}\n")
