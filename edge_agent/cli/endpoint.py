"""The server or broker of a command: a source of a config, or a URL with options."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from edge_agent.config.types import Secret
from edge_agent.errors import UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from edge_agent.sources.mqtt import MqttSourceConfig
    from edge_agent.sources.opcua import OpcUaSourceConfig

PASSWORD: Final = "EDGE_AGENT_PASSWORD"  # noqa: S105 (the variable's name)

T = TypeVar("T")


def found_text(args: argparse.Namespace, listed: list[str], config: Callable[[], str]) -> str:
    """The found items and a config for them, or only one of the two (`--table`, `--yaml`).

    In a pipe the list is a comment, so that the whole is a config.
    """
    if args.table:
        return "".join(f"{line}\n" for line in listed)
    yaml = config()
    if args.yaml:
        return yaml
    mark = "" if sys.stdout.isatty() else "# "
    return "".join(f"{mark}{line}\n" for line in listed) + "\n" + yaml


def add_source(parser: argparse.ArgumentParser, url: str, text: str) -> None:
    """Declare the endpoint."""
    parser.add_argument("source", metavar=f"SOURCE|{url}", help=text)
    parser.add_argument(
        "-c", "--config", type=Path, metavar="FILE", help="the config that has the SOURCE"
    )


def add_login(parser: argparse.ArgumentParser) -> None:
    """Declare the login for a URL."""
    text = f"with a URL: the user; ${PASSWORD} or --password-file holds the password"
    parser.add_argument("--user", default="", metavar="NAME", help=text)
    parser.add_argument("--password-file", type=Path, metavar="FILE")
    parser.add_argument(
        "--insecure-password", action="store_true", help="send it without encryption"
    )


def login_of(args: argparse.Namespace) -> dict[str, Any]:
    """User and secret, as in a source's struct."""
    if not args.user:
        return {}
    allowed = {"allow_insecure_password": args.insecure_password}
    if args.password_file is not None:
        secret = Secret(file=args.password_file)
        return {"username": args.user, "password": secret, **allowed}
    password = Secret(env=PASSWORD) if PASSWORD in os.environ else None
    return {"username": args.user, "password": password, **allowed}


def login_keys(args: argparse.Namespace) -> dict[str, Any]:
    """The same as keys of a config."""
    if not args.user:
        return {}
    place = {"env": PASSWORD} if args.password_file is None else {"file": str(args.password_file)}
    allowed = {"allow_insecure_password": True} if args.insecure_password else {}
    return {"username": args.user, "password": place, **allowed}


def opcua_source(args: argparse.Namespace) -> tuple[str, OpcUaSourceConfig, bool]:
    """Name and struct of the OPC UA server; and True if it is in a config."""
    from edge_agent.sources.opcua import OpcUaSourceConfig  # noqa: PLC0415 (help needs it not)

    if "://" not in args.source:
        return args.source, _of_config(args, OpcUaSourceConfig, "opcua"), True
    config = _opcua_struct(args)
    _refuse(config.problems())
    return "plc", config, False


def _opcua_struct(args: argparse.Namespace) -> OpcUaSourceConfig:
    from edge_agent.sources import opcua  # noqa: PLC0415

    pinned = Path(args.pin) if args.pin else None
    try:
        security = opcua.Security(
            policy=opcua.SecurityPolicy(args.policy or "None"),
            mode=opcua.SecurityMode(args.mode) if args.mode else None,
            certificate=Path(args.certificate) if args.certificate else None,
            private_key=Path(args.key) if args.key else None,
            server_certificate=pinned,
        )
    except ValueError as error:
        raise UsageError(str(error), hint="see the policies in docs/install.md") from None
    config = opcua.OpcUaSourceConfig(
        url=args.source,
        security=security,
        **login_of(args),
    )
    if pinned is not None and not pinned.exists():
        subject = asyncio.run(opcua.pin(config, pinned))
        print(f"{pinned}: {subject}", file=sys.stderr)
        print("compare this with the certificate as the server itself shows it", file=sys.stderr)
    return config


def mqtt_source(args: argparse.Namespace, topics: list[str]) -> tuple[str, MqttSourceConfig, bool]:
    """Name and struct of the broker, subscribing `topics`; and True if it is in a config."""
    from edge_agent.sources.mqtt import MqttSourceConfig, Subscription  # noqa: PLC0415
    from edge_agent.transport import Tls  # noqa: PLC0415

    if "://" not in args.source:
        return args.source, _of_config(args, MqttSourceConfig, "mqtt"), True
    config = MqttSourceConfig(
        url=args.source,
        subscribe=tuple(Subscription(topic=topic) for topic in topics),
        tls=Tls(ca=args.ca, cert=args.cert, key=args.key),
        **login_of(args),
    )
    _refuse(config.problems())
    return "bus", config, False


def _of_config(args: argparse.Namespace, kind: type[T], word: str) -> T:
    from edge_agent.daemon import load_config  # noqa: PLC0415

    if args.config is None:
        hint = "add -c FILE, or give a URL"
        raise UsageError(f"{args.source!r} is a source of which config?", hint=hint)
    sources: dict[str, object] = dict(load_config(args.config, files=False).sources.items())
    struct = sources.get(args.source)
    if isinstance(struct, kind):
        return struct
    known = [name for name, one in sources.items() if isinstance(one, kind)]
    hint = f"it has: {', '.join(known)}" if known else f"it has no source of type {word}"
    raise UsageError(f"no {word} source {args.source!r}", where=str(args.config), hint=hint)


def _refuse(problems: Any) -> None:  # noqa: ANN401 (an iterator of pairs)
    """UsageError with the first contradiction of a struct that was made from options."""
    for key, text in problems:
        told = text.replace("set allow_insecure_password: true", "use --insecure-password")
        raise UsageError(f"{key}: {told}")
