"""`edge-agent models`: model bundles, from a file on somebody's desk to the model at work."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from edge_agent.cli.models import look, make, report, repository

if TYPE_CHECKING:
    from types import ModuleType

HELP = "Model bundles: look at them, sign and pack them, put versions on the shelf and to work."
EXAMPLE = "edge-agent models install pump-1.2.eab --activate -c /etc/edge-agent/edge-agent.yaml"

# Each has VERBS: name -> Verb.
_GROUPS: Final[tuple[ModuleType, ...]] = (
    look,
    make,
    repository,
    report,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One action for each verb of each group."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for group in _GROUPS:
        for name, verb in group.VERBS.items():
            action = actions.add_parser(
                name,
                help=verb.help,
                description=verb.help,
                epilog=f"example:\n  {verb.example}",
                formatter_class=argparse.RawDescriptionHelpFormatter,
            )
            verb.declare(action)
            action.set_defaults(act=verb.run)


def run(args: argparse.Namespace) -> int:
    """Do it."""
    code: int = args.act(args)
    return code
