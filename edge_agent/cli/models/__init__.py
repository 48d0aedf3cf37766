"""`edge-agent models`: model bundles, from a file to the active model."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from edge_agent.cli.models import look, make, report, repository

if TYPE_CHECKING:
    from types import ModuleType

HELP = "Model bundles: list, verify, sign and pack them, install and activate versions."
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
    """Run the action."""
    code: int = args.act(args)
    return code
