"""Predictions for clients, in a process of their own, which starts with the first question."""

from __future__ import annotations

import asyncio
import logging
import pickle
import signal
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import orjson

from edge_agent.errors import NotFoundError
from edge_agent.models import child_command, child_environment
from edge_agent.service.predict_api import PREDICT_S
from edge_agent.service.prediction_child import LENGTH, Question
from edge_agent.service.prediction_config import config_of_asset, config_of_model

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.config.schema import Config
    from edge_agent.models import VerifiedBundles
    from edge_agent.plant import Plant
    from edge_agent.service.predict_api import SentTable
    from edge_agent.service.prediction import ReplayLoader

log = logging.getLogger("edge_agent.service")

IDLE_S: Final = 60.0  # without a question; then the process ends
_MODULE: Final = "edge_agent.service.prediction_child"
_PIECE: Final = 1 << 16  # bytes: as much as a pipe takes at once
_TOO_LONG: Final = -signal.SIGALRM


class Predictions:
    """Hands questions to the process, one at a time; implements `predict_api.Predictor`.

    plant: the present config and its assets. load: what runs a recording, in the process.
    verified: bundles that the process need not try again.
    """

    def __init__(
        self,
        plant: Callable[[], tuple[Config, Plant]],
        load: ReplayLoader,
        verified: VerifiedBundles,
    ) -> None:
        self._plant = plant
        self._load = load
        self._verified = verified
        self._child: asyncio.subprocess.Process | None = None
        self._idle: asyncio.TimerHandle | None = None

    async def predict(self, table: SentTable) -> tuple[int, bytes]:
        """The HTTP status and the answer as JSON; NotFoundError, or ModelError if it cannot be."""
        config, asset = await self._plant_of(table)
        mine = replace(table, asset=asset, body=b"")
        question = Question(mine, config, self._load, self._verified.as_bytes(), PREDICT_S)
        raw = pickle.dumps(question)
        if self._idle is not None:
            self._idle.cancel()
        alive = self._child is not None and self._child.returncode is None
        child = self._child if alive and self._child else await self._start()
        is_whole = False
        try:
            answer = await _exchange(child, raw, table.body)
            is_whole = True
        except (asyncio.IncompleteReadError, ConnectionError):
            await child.wait()
            return _ended(child.returncode)
        finally:
            if not is_whole:  # the client has waited for too long, or the process is gone
                await self.stop()
        self._idle = asyncio.get_running_loop().call_later(IDLE_S, self._release)
        return answer[0] * 100 + answer[1], answer[2:]

    async def stop(self) -> None:
        """End the process; safe if there is none."""
        if self._idle is not None:
            self._idle.cancel()
        child, self._child = self._child, None
        if child is not None:
            with suppress(ProcessLookupError):
                child.kill()
            await child.wait()

    async def _plant_of(self, table: SentTable) -> tuple[Config, str]:
        """The config of the table's asset alone, and the asset."""
        present, plant = self._plant()
        if table.model:
            return await asyncio.to_thread(config_of_model, present, table.model)
        asset = plant.assets.get(table.asset)
        if asset is None:
            raise NotFoundError("no such asset", where=repr(table.asset), hint="GET /api/assets")
        return config_of_asset(present, asset), table.asset

    async def _start(self) -> asyncio.subprocess.Process:
        self._child = await asyncio.create_subprocess_exec(
            *child_command(_MODULE),
            env=child_environment(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        return self._child

    def _release(self) -> None:
        """Let the process end by itself, as its questions do."""
        child, self._child = self._child, None
        if child is not None and child.stdin is not None:
            child.stdin.close()


async def _exchange(child: asyncio.subprocess.Process, raw: bytes, body: bytes) -> bytes:
    """Send a question and its body, which is never copied: it may be large."""
    assert child.stdin is not None  # noqa: S101 (we made the pipes)
    assert child.stdout is not None  # noqa: S101 (same)
    child.stdin.write(LENGTH.pack(len(raw)) + raw + LENGTH.pack(len(body)))
    for start in range(0, len(body), _PIECE):
        child.stdin.write(memoryview(body)[start : start + _PIECE])
        await child.stdin.drain()
    (length,) = LENGTH.unpack(await child.stdout.readexactly(LENGTH.size))
    return await child.stdout.readexactly(length)


def _ended(code: int | None) -> tuple[int, bytes]:
    if code == _TOO_LONG:
        said = {"error": f"no answer within {PREDICT_S:g} s", "hint": "send fewer rows"}
        return 504, orjson.dumps(said)
    log.error("the process of predictions ended", extra={"code": code})
    hint = "too much memory? send fewer rows; the daemon's log may say more"
    return 500, orjson.dumps({"error": f"its process ended with code {code}", "hint": hint})
