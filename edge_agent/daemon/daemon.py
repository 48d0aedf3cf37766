"""Start, run and stop of the whole service, in a fixed order.

Start: store -> sinks -> models -> sources; stop in reverse. An external failure (broker, server,
disk) never ends the service: it is retried, shown as a metric and, if it lasts, as an alarm.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from edge_agent import __version__
from edge_agent.clock import SystemClock
from edge_agent.daemon import asset_learning, asset_removal, certificates, supervisor
from edge_agent.daemon.build import Parts
from edge_agent.daemon.pipeline_loop import within
from edge_agent.ops import notify
from edge_agent.service import MANUALS_EVERY_S
from edge_agent.serving import RECONCILE_EVERY_S

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path

    from edge_agent.clock import Clock
    from edge_agent.config.schema import Config
    from edge_agent.daemon.runtime import Runtime

TRENDS_EVERY_S = 1.0
TEND_EVERY_S = 5.0  # models of other programs
OPCUA_EVERY_S = 1.0
CAMERAS_EVERY_S = 5.0  # do cameras that learn have enough pictures
START_S = 2.0  # then limits and the models that are loaded begin to work

T = TypeVar("T")

log = logging.getLogger("edge_agent.daemon")


class _StoppedError(Exception):
    """The service was stopped while it started."""


class Daemon:
    """The service; `run` returns after `stop`."""

    def __init__(
        self, config: Config, *, path: Path | None = None, clock: Clock | None = None
    ) -> None:
        self._config = config  # at the start
        self._stop = asyncio.Event()
        self.parts = Parts(config, path, clock or SystemClock())

    @property
    def runtime(self) -> Runtime:
        """The runtime of the present config; RuntimeError before the start."""
        return self.parts.runtime()

    async def run(self, *, on_ready: asyncio.Event | None = None) -> None:
        """Start everything, serve until `stop`, then stop everything in reverse order."""
        with self._signals():
            try:
                async with self.parts.replacer.busy:  # a SIGHUP waits until there is a runtime
                    with contextlib.suppress(_StoppedError):
                        await self.startup()
                if not self.parts.is_ready:
                    return
                notify.ready()
                if on_ready is not None:
                    on_ready.set()
                gateway = self._config.gateway.id
                log.info("ready", extra={"version": __version__, "gateway": gateway})
                await self.serve()
            finally:
                notify.stopping()
                await self.shutdown()

    def stop(self) -> None:
        """Ask `run` to end; safe from a signal handler and when repeated."""
        self._stop.set()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        actions = {
            signal.SIGTERM: self.stop,
            signal.SIGINT: self.stop,
            signal.SIGHUP: self.parts.reloader.hang_up,
        }
        for number, action in actions.items():
            loop.add_signal_handler(number, action)
        try:
            yield
        finally:
            for number in actions:
                loop.remove_signal_handler(number)

    async def startup(self) -> None:
        """Store, sinks, models and sources, in this order; nothing waits for a server.

        Models that are not loaded after `START_S` come into service later, each when it is loaded.
        """
        parts = self.parts
        alarms = await parts.publisher.start()
        memory = await parts.publisher.load_memory()
        await parts.baseline_reset.restore()
        await parts.removal.restore()
        await parts.verified.restore()
        models = await self._unless_stopped(parts.builder.load_models(self._config, START_S))
        parts.replace_runtime(parts.builder.build(self._config, models, alarms, memory))
        await self.runtime.attach_to(parts.publisher, memory)
        await parts.rul_store.restore()
        await parts.followed.restore()
        await parts.feedback.restore()
        await parts.positions.restore()
        await parts.optional.restore()
        parts.service_loop.start()
        await parts.service_loop.run(parts.http.start())
        for source in self.runtime.sources.values():
            await source.start()
        await parts.pair.start()
        parts.is_ready = True

    async def _unless_stopped(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`; _StoppedError after `stop`, without waiting for its end."""
        task, stop = asyncio.ensure_future(work), asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise _StoppedError
            return task.result()
        finally:
            task.cancel()
            stop.cancel()

    async def serve(self) -> None:
        """Run all permanent tasks until `stop`."""
        parts, repeat = self.parts, self.parts.boundary.repeat
        read = parts.certificates.read_files
        jobs = {
            "pipeline": parts.loop.run(),
            "watch": parts.supervisor.watch(parts.boundary),
            "heartbeat": supervisor.heartbeat(parts.loop.is_alive),
            "learn": repeat("learn", asset_learning.EVERY_S, parts.learning.learn),
            "upkeep": repeat("upkeep", RECONCILE_EVERY_S, parts.reconciler.reconcile),
            "processes": repeat("processes", RECONCILE_EVERY_S, parts.tend_processes),
            "forget": repeat("forget", asset_removal.EVERY_S, parts.removal.remove_ghosts),
            "manuals": repeat("manuals", MANUALS_EVERY_S, parts.questions.tend),
            "certificates": repeat("certificates", certificates.EVERY_S, read, first_s=0.0),
        }
        if (trends := parts.trends) is not None:
            jobs["trends"] = repeat("trends", TRENDS_EVERY_S, trends.record, first_s=0.0)
        jobs |= parts.optional.jobs(parts.boundary)
        if parts.cameras is not None:
            learning = parts.cameras.learning
            jobs["pictures"] = parts.cameras.run()
            jobs["learn pictures"] = repeat("learn", CAMERAS_EVERY_S, learning.learn)
        if parts.served is not None:
            tend = partial(self._apart, parts.served.tend)
            jobs["served models"] = repeat("served models", TEND_EVERY_S, tend)
        if parts.text is not None:
            jobs["text"] = repeat("text", TEND_EVERY_S, partial(self._apart, parts.text.tend))
        if parts.grpc is not None:
            listen = partial(self._apart, parts.grpc.start)
            jobs["grpc"] = repeat("grpc", TEND_EVERY_S, listen, first_s=0.0)
        if parts.opcua is not None:
            tend = partial(self._apart, parts.opcua.tend)
            jobs["opcua"] = repeat("opcua", OPCUA_EVERY_S, tend, first_s=0.0)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(job, name=name) for name, job in jobs.items()]
            await self._stop.wait()
            deadline_s = self.runtime.config.tuning.drain_deadline
            await within(deadline_s, parts.loop.turning.acquire())
            for task in tasks:  # none of them is in the pipeline now
                task.cancel()

    async def _apart(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        await self.parts.service_loop.run(work())

    async def shutdown(self) -> None:
        """Stop the sources, drain the pipeline and the outbox, close; safe after a failed start."""
        parts, guard = self.parts, self.parts.boundary.guard
        parts.is_ready = False
        await parts.reloader.stop()
        runtime = self.parts.loop.runtime
        deadline_s = (self._config if runtime is None else runtime.config).tuning.drain_deadline
        await guard("stop", parts.pair.hand_over())
        if runtime is not None:
            for source in reversed(list(runtime.sources.values())):
                await guard("stop", source.stop())
            await guard("stop", parts.optional.finish_charts())
            await within(deadline_s, parts.loop.run_last_turn())
            await parts.optional.stop(parts.boundary)
            if parts.trends is not None:
                await guard("stop", parts.trends.stop())
            await guard("stop", parts.publisher.save_memory(runtime.plant))
            await guard("stop", parts.removal.save())
            await guard("stop", parts.rul_store.save(at_once=True))
            await guard("stop", parts.followed.save(at_once=True))
            await guard("stop", parts.positions.save(at_once=True))
            await guard("stop", parts.model_audit.save())
            await guard("stop", parts.verified.save())
            await guard("stop", parts.feedback.close())
        if parts.cameras is not None:
            await guard("stop", parts.cameras.stop())
        for one in (
            parts.http,
            parts.grpc,
            parts.opcua,
            parts.served,
            parts.text,
            parts.predictions,
        ):
            if one is not None:
                await guard("stop", self._apart(one.stop))
        await guard("stop", parts.service_loop.stop())
        await guard("stop", parts.questions.close())
        await parts.publisher.stop(deadline_s)
        if runtime is not None:
            runtime.models.close()
        parts.loop.close()
        parts.builder.close()
