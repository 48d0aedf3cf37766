"""`edge-agent completion`: the script by which a shell completes commands, options and choices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.cli import COMMANDS, parser_of
from edge_agent.cli.completion_scripts import SCRIPTS
from edge_agent.cli.completion_tree import levels_of

if TYPE_CHECKING:
    import argparse

HELP = (
    "Print the script by which a shell completes the commands, their options and choices. It is "
    "made from the commands themselves: print it again after an upgrade."
)
EXAMPLE = "edge-agent completion bash | sudo tee /etc/bash_completion.d/edge-agent"

_SHELLS: Final = tuple(SCRIPTS)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's argument."""
    text = (
        "bash: a file of /etc/bash_completion.d; zsh: a file _edge-agent in a folder of $fpath; "
        "fish: a file of ~/.config/fish/completions"
    )
    parser.add_argument("shell", choices=_SHELLS, help=text)


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    print(script_for(args.shell), end="")
    return 0


def script_for(shell: str) -> str:
    """The script of bash, zsh or fish."""
    return SCRIPTS[shell](levels_of(parser_of(COMMANDS)))
