"""`edge-agent run`: the daemon."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import resource
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge_agent.errors import EdgeAgentError

if TYPE_CHECKING:
    import argparse

    from edge_agent.config.schema import Config

HELP = "run the daemon until SIGTERM; SIGHUP reads the config again"
EXAMPLE = "edge-agent run -c /etc/edge-agent/edge-agent.yaml"

log = logging.getLogger("edge_agent.daemon")

_MAIN: Final = threading.main_thread()
_ONLY_US: Final = 0o077
_ROOT: Final = 0
_KEEPS_ROOT: Final = "its owner may not run this program, so it runs as root"
_SET_DUMPABLE: Final = 4  # PR_SET_DUMPABLE of prctl(2)
_LINGER_TURNS: Final = 50
_LINGER_TURN_S: Final = 0.02


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("-c", "--config", required=True, type=Path, help="the config (YAML)")


def run(args: argparse.Namespace) -> int:
    """Run until a signal stops the daemon."""
    # Here, not above: the help of all commands must not wait for ONNX Runtime.
    from edge_agent.config import warnings  # noqa: PLC0415
    from edge_agent.daemon import Daemon, load_config  # noqa: PLC0415
    from edge_agent.ops import logs  # noqa: PLC0415

    os.umask(_ONLY_US)  # store, keys and bundles, also without the unit's UMask
    user = ""
    if os.geteuid() == _ROOT:
        user = _become_owner(load_config(args.config, files=False))
    config = load_config(args.config)
    forbid_core_dumps()
    logs.setup(config.log.level, json=config.log.json)
    if user:
        log.warning("root acts as the owner of the store's folder", extra={"user": user})
    for warning in warnings(config):  # most services start without a call of `check`
        log.warning("config", extra={"warning": warning})
    asyncio.run(_run(Daemon, config, args.config))
    return 0


def forbid_core_dumps() -> None:
    """Make no core dump of this process, and let only root read its memory and environment.

    Passwords are in both. The limit alone is not enough: the kernel ignores it if it pipes cores
    to a program. A change of the user resets the flag, so call this after it.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(_SET_DUMPABLE, 0, 0, 0, 0)


def _become_owner(config: Config) -> str:
    """Root becomes the owner of the store's folder; returns the name, empty if nothing changed.

    What root left there, the service could not open, and links there would lead root anywhere.
    """
    from edge_agent.ops.owner import as_owner_of, become_owner_of  # noqa: PLC0415

    folder = config.store.path.parent
    try:
        with as_owner_of(folder):
            may_run = os.access(sys.executable, os.X_OK)
        if may_run:
            return become_owner_of(folder)
        print(f"{folder}: {_KEEPS_ROOT} ({sys.executable})", file=sys.stderr)
    except EdgeAgentError as error:  # in a container without the right to change users
        print(error, file=sys.stderr)
    return ""


async def _run(daemon: type, config: object, path: Path) -> None:
    blocking = ThreadPoolExecutor(thread_name_prefix="blocking")
    asyncio.get_running_loop().set_default_executor(blocking)
    await daemon(config, path=path).run()
    blocking.shutdown(wait=False, cancel_futures=True)
    if not await _threads_end():
        # Everything is stored and closed. Python would wait for a name server or a firewall.
        logging.shutdown()
        os._exit(0)


async def _threads_end() -> bool:
    """True if every thread ends that the interpreter would wait for."""
    for _ in range(_LINGER_TURNS):
        if not any(t for t in threading.enumerate() if t is not _MAIN and not t.daemon):
            return True
        await asyncio.sleep(_LINGER_TURN_S)
    return False
