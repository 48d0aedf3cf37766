"""`models install`, `activate`, `rollback` and `shadow`: commands on a gateway."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_agent.cli.models.verb import (
    Verb,
    add_where,
    complain,
    config_of,
    models_dir_of,
    private_copy,
    say,
    trust_of,
)
from edge_agent.cli.models.wait import add_wait, outcome, wish
from edge_agent.cli.waiting import waiting
from edge_agent.errors import ModelError
from edge_agent.models import (
    SUFFIX,
    UNSIGNED,
    ModelRepository,
    check_version,
    checked_signer,
    choose_version,
    expect_sound,
    keyring,
    parse_ref,
)
from edge_agent.ops.owner import as_owner_of

if TYPE_CHECKING:
    import argparse

    from edge_agent.cli.models.wait import Wish
    from edge_agent.config.schema import Config
    from edge_agent.models import Keyring


def _declare_install(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, metavar="PATH", help=f"a {SUFFIX} file, or a folder")
    parser.add_argument("--activate", action="store_true", help="activate it at once")
    parser.add_argument(
        "--allow-unsigned",
        action="append",
        default=[],
        metavar="NAME",
        help="accept the bundle of this name without a trusted signature",
    )
    add_where(parser)
    add_wait(parser)


def _declare_ref(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "bundle", metavar="NAME[@VERSION]", help="default: the version installed last"
    )
    add_where(parser)
    add_wait(parser)


def _declare_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", metavar="NAME")
    add_where(parser)
    add_wait(parser)


def _declare_shadow(parser: argparse.ArgumentParser) -> None:
    _declare_ref(parser)
    parser.add_argument("--off", action="store_true", help="end the shadow of NAME")


def _install(args: argparse.Namespace) -> int:
    config = config_of(args)
    keys = keyring(trust_of(config))
    models_dir = models_dir_of(args, config)
    repository = ModelRepository(models_dir)
    with private_copy(args.source) as folder:
        signer = _trusted(folder, keys.by_name_only(tuple(args.allow_unsigned)))
        with waiting(f"trying {args.source}"):
            trial = expect_sound(folder)
        with as_owner_of(models_dir, folder):
            manifest = repository.install(folder)
    name, version = manifest.name, manifest.version
    row = {"name": name, "version": version, "signer": signer, "variant": trial.chosen}
    text = f"{name} {version}: installed ({_signed(signer)}, {trial.chosen})"
    if signer == UNSIGNED and keys.keys and not keys.allows(name):
        complain([f"the daemon refuses it until trust.allow_unsigned contains {name}"])
    if not args.activate:
        say(args, row, text)
        return 0
    wished = wish(name, version, "active")
    with as_owner_of(models_dir):
        repository.activate(name, version)
    return _awaited(args, config, wished, row)


def _activate(args: argparse.Namespace) -> int:
    config = config_of(args)
    models_dir = models_dir_of(args, config)
    repository = ModelRepository(models_dir)
    name, version = choose_version(repository, args.bundle)
    keys = keyring(trust_of(config))
    with waiting(f"trying {name}@{version}"):
        signer, trial = check_version(repository.folder(name, version), keys)
    row = {"name": name, "version": version, "signer": signer, "variant": trial.chosen}
    wished = wish(name, version, "active")
    with as_owner_of(models_dir):
        repository.activate(name, version)
    return _awaited(args, config, wished, row)


def _rollback(args: argparse.Namespace) -> int:
    config = config_of(args)
    models_dir = models_dir_of(args, config)
    with as_owner_of(models_dir):
        version = ModelRepository(models_dir).rollback(args.bundle)
    row = {"name": args.bundle, "version": version}
    return _awaited(args, config, wish(args.bundle, version, "active"), row)


def _shadow(args: argparse.Namespace) -> int:
    config = config_of(args)
    models_dir = models_dir_of(args, config)
    repository = ModelRepository(models_dir)
    if args.off:
        name = parse_ref(args.bundle).name
        with as_owner_of(models_dir):
            repository.set_shadow(name, None)
        say(args, {"name": name, "shadow": None}, f"{name}: no shadow")
        return 0
    name, version = choose_version(repository, args.bundle)
    wished = wish(name, version, "shadow")
    with as_owner_of(models_dir):
        repository.set_shadow(name, version)
    return _awaited(args, config, wished, {"name": name, "version": version})


def _trusted(folder: Path, keys: Keyring) -> str:
    """The signer; an unsigned bundle must be allowed by its exact name, not by a pattern."""
    try:
        return checked_signer(folder, keys)
    except ModelError as error:
        hint = "sign it with a key of trust.keys, or use --allow-unsigned NAME"
        raise ModelError(error.message, where=error.where, hint=error.hint and hint) from error


def _awaited(
    args: argparse.Namespace, config: Config | None, wished: Wish, row: dict[str, Any]
) -> int:
    """Print the outcome: at once if no daemon runs, else when the daemon has decided."""
    found = outcome(args, config, wished)
    say(args, row | {"state": found.state, "detail": found.detail}, found.text(wished))
    return 1 if found.failed else 0


def _signed(signer: str) -> str:
    return f"signed by {signer}" if signer else "not signed"


VERBS: Final = {
    "install": Verb(
        "verify a bundle and install it",
        "edge-agent models install pump-1.2.eab -c /etc/edge-agent/edge-agent.yaml",
        _declare_install,
        _install,
    ),
    "activate": Verb(
        "activate an installed version, and wait until it is active",
        "edge-agent models activate pump@1.2 -c /etc/edge-agent/edge-agent.yaml",
        _declare_ref,
        _activate,
    ),
    "rollback": Verb(
        "activate the previous version again",
        "edge-agent models rollback pump -c /etc/edge-agent/edge-agent.yaml",
        _declare_name,
        _rollback,
    ),
    "shadow": Verb(
        "let a version score in parallel with the active one, without alarms",
        "edge-agent models shadow pump@1.3 -c /etc/edge-agent/edge-agent.yaml",
        _declare_shadow,
        _shadow,
    ),
}
