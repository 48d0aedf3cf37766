"""Composition: the parts of the daemon that outlive every config are made here, nowhere else.

The parts of one config are in `runtime`.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

from edge_agent import __version__
from edge_agent.daemon.alarm_feedback import AlarmFeedback
from edge_agent.daemon.asset_learning import AssetLearning, ResolutionWatch, learning_faults
from edge_agent.daemon.asset_lives import BaselineReset, FollowedBaselines, RulStore
from edge_agent.daemon.asset_removal import AssetRemoval
from edge_agent.daemon.certificates import Certificates
from edge_agent.daemon.commands import Commands
from edge_agent.daemon.error_boundary import ErrorBoundary
from edge_agent.daemon.links import Links
from edge_agent.daemon.model_audit import ModelAudit
from edge_agent.daemon.optional_parts import Around, OptionalParts
from edge_agent.daemon.pair import Pair
from edge_agent.daemon.pipeline_loop import PipelineLoop
from edge_agent.daemon.reloader import Reloader, RuntimeReplacer
from edge_agent.daemon.replay import Replay
from edge_agent.daemon.runtime import RuntimeBuilder
from edge_agent.daemon.saved_values import SavedValues
from edge_agent.daemon.service_faults import (
    GatewayClock,
    IdleSources,
    LogHealth,
    NodeFaults,
    discovery_faults,
)
from edge_agent.daemon.source_positions import SourcePositions
from edge_agent.daemon.status import Lifecycle, Status
from edge_agent.daemon.store_recovery import StoreRecovery
from edge_agent.daemon.supervisor import Supervisor
from edge_agent.daemon.verified_models import VerifiedModels
from edge_agent.daemon.views import view_routes
from edge_agent.delivery import Publisher
from edge_agent.errors import ConfigError
from edge_agent.models import Isolation
from edge_agent.ops.http import HttpServer
from edge_agent.ops.key_file import FILE_NAME
from edge_agent.ops.metrics import Metrics
from edge_agent.ops.service_loop import ServiceLoop
from edge_agent.service import (
    Predictions,
    Questions,
    ask_routes,
    event_routes,
    predict_routes,
    status_routes,
    with_document,
)
from edge_agent.serving import Reconciler

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_agent.clock import Clock
    from edge_agent.config.schema import Config
    from edge_agent.daemon.cameras import Cameras
    from edge_agent.daemon.labelled_windows import LabelledWindows
    from edge_agent.daemon.runtime import Runtime
    from edge_agent.daemon.status import AssetCommand
    from edge_agent.daemon.trend_recorder import TrendRecorder
    from edge_agent.messages import Fault
    from edge_agent.opcua_server.server import OpcuaServer
    from edge_agent.ops.routes import Route
    from edge_agent.service.oip import Oip
    from edge_agent.service.oip_grpc import GrpcServer
    from edge_agent.service.openai import OpenAi
    from edge_agent.service.served_models import ServedModels


class Parts:
    """The parts that live as long as the process, for every config; each step uses those before.

    path: of the config, to read it again. is_ready: set by the daemon when everything is started.
    """

    http: HttpServer
    served: ServedModels | None = None
    grpc: GrpcServer | None = None
    text: OpenAi | None = None
    trends: TrendRecorder | None = None
    cameras: Cameras | None = None
    opcua: OpcuaServer | None = None

    def __init__(self, config: Config, path: Path | None, clock: Clock) -> None:
        self.clock = clock
        self.path = path
        self.is_ready = False
        self.service_loop = ServiceLoop()
        self.metrics = Metrics()
        self.metrics.build_info.labels(__version__).set(1)
        self.boundary = ErrorBoundary(self.metrics, clock)
        self._build_path(config)
        self._build_asset_care(config)
        self.pair = Pair(
            config, self.runtime, self.loop, self.publisher, self.values, self.metrics, clock
        )
        if config.cameras:
            self.cameras = self._build_cameras(config)
        self._build_models()
        self._build_reload()
        if config.trends.enabled:
            self._build_trends(config)
        self.optional = OptionalParts(config, self._around())
        self._build_supervisor()
        self._build_api(config)

    def runtime(self) -> Runtime:
        """The runtime of the present config; RuntimeError before the start."""
        if self.loop.runtime is None:
            raise RuntimeError("the daemon has not started")
        return self.loop.runtime

    def replace_runtime(self, runtime: Runtime) -> None:
        """Let the pipeline continue with this runtime."""
        self.loop.runtime = runtime
        self.metrics.assets.set(len(runtime.plant.assets))

    def _build_path(self, config: Config) -> None:
        """From the intake to the sinks, and back: commands from the bus."""
        metrics, clock = self.metrics, self.clock
        self.publisher = Publisher(config, metrics, clock, lambda one: self.commands.from_bus(one))  # noqa: PLW0108 (made below)
        self.links = Links(self.runtime, self.publisher.sinks, clock)
        follow_links = self.links.follow_links
        self.loop = PipelineLoop(self.publisher, follow_links, self.boundary, metrics, clock)

    def _build_asset_care(self, config: Config) -> None:
        """What people tell the service of an asset: it failed, is healthy, learns again."""
        publisher, turning = self.publisher, self.loop.turning
        self.values = SavedValues(publisher.store, publisher.health.set_trouble, publisher.audit)
        self.rul_store = RulStore(self.runtime, turning, self.values, self.clock)
        self.feedback = AlarmFeedback(self.runtime, turning, self.values, self.clock)
        self.feedback.windows = self._labelled(config)
        self.baseline_reset = BaselineReset(
            self.runtime, turning, self.values, publisher.withdraw, self.clock
        )
        self.followed = FollowedBaselines(self.runtime, turning, self.values, self.clock)
        self.positions = SourcePositions(self.runtime, turning, self.values, self.clock)
        others = {"healthy": self.followed.answer, "feedback": self.feedback.answer}
        self.commands = Commands(self.runtime, publisher, others, self.metrics, self.clock)
        self.commands.judge = self.feedback.judge

    def _labelled(self, config: Config) -> LabelledWindows | None:
        """The rows around alarms; None if they are not kept: then nothing of it is imported."""
        wanted = config.labelled.enabled
        if wanted is False or (wanted is None and find_spec("arro3") is None):
            return None
        from edge_agent.daemon import labelled_windows  # noqa: PLC0415

        return labelled_windows.windows_of(config, self.runtime, self.metrics, self.clock)

    def _build_cameras(self, config: Config) -> Cameras:
        """The cameras; a gateway without them does not import their modules."""
        from edge_agent.daemon import cameras, labelled_writer  # noqa: PLC0415

        made = cameras.cameras_of(config, self.runtime, self.boundary, self.metrics, self.clock)
        if config.labelled.enabled is not False:
            writer = labelled_writer.picture_writer(config, self.metrics, self.clock)
            made.alarms.labelled = self.feedback.pictures = writer
        return made

    def _build_models(self) -> None:
        """Loading, updating and learning of models."""
        metrics, clock, loop = self.metrics, self.clock, self.loop
        # Not the model thread: loading takes seconds, and the models in service continue meanwhile.
        loading = ThreadPoolExecutor(1, thread_name_prefix="loading")
        forgotten = self.baseline_reset.since
        self.model_audit = ModelAudit(self.values)
        on_change = self.model_audit.accept_change
        own = self.publisher.store.last_number
        number = self.pair.last_number if self.pair.is_pair else own
        self.builder = RuntimeBuilder(
            metrics,
            clock,
            loading,
            forgotten,
            loop.wake,
            on_change,
            number,
            isolation=Isolation(metrics),
            engines=None if self.cameras is None else self.cameras.engines,
            pictures=None if self.cameras is None else self.cameras.alarms,
            accept_picture=None if self.cameras is None else self.cameras.accept,
        )
        self.verified = VerifiedModels(self.builder.verified, self.values)
        models = lambda: self.runtime().models  # noqa: E731
        self.reconciler = Reconciler(models, loop.turning, metrics, clock, self._restore_loaded)
        self.resolution = ResolutionWatch()
        refresh = self.reconciler.refresh
        self.learning = AssetLearning(self.runtime, self.resolution, refresh, clock)

    def _restore_loaded(self) -> None:
        """What outlived the last run belongs also to the models that are loaded after the start."""
        self.followed.restore_loaded()
        self.feedback.restore_loaded()

    async def tend_processes(self) -> None:
        """Look after the processes of isolated models."""
        await self.runtime().models.tend_processes(self.loop.turning)

    def _build_reload(self) -> None:
        """Everything that replaces the runtime: another config, assets that are removed."""
        builder, publisher = self.builder, self.publisher
        self.replacer = RuntimeReplacer(
            self.runtime,
            self.replace_runtime,
            builder.load_models,
            builder.build,
            self.loop,
            publisher,
            self.reconciler.refresh,
            self.metrics,
        )
        self.reloader = Reloader(
            self.path, self.replacer, self.boundary, self.metrics, publisher.audit
        )
        leave_out, forgotten = self.replacer.leave_out, self.baseline_reset.since
        self.removal = AssetRemoval(self.runtime, leave_out, forgotten, self.values, self.clock)
        parts = (self.baseline_reset, self.removal, self.rul_store, self.followed, self.feedback)
        StoreRecovery(self.runtime, self.loop.turning, publisher, parts, self.clock)

    def _build_trends(self, config: Config) -> None:
        """The recorder of trends; a gateway without it does not import its modules."""
        from edge_agent.daemon.trend_recorder import TrendRecorder  # noqa: PLC0415
        from edge_agent.trends import Trends  # noqa: PLC0415

        store, path = config.store.path, config.trends.path
        beside = None if path else store
        path = path or store.with_name(f"{store.name}.trends")
        trends = Trends(path, config.trends.max_bytes, beside)
        self.trends = TrendRecorder(self.runtime, trends, self.clock)

    def _around(self) -> Around:
        """What lines, charts and the plan use of the daemon."""
        return Around(
            self.runtime,
            self.publisher,
            self.values,
            self.loop.wake,
            self.trends,
            self.cameras,
            self.metrics,
            self.clock,
        )

    def _build_supervisor(self) -> None:
        """The faults of all parts, which become service alarms."""
        runtime, metrics, clock = self.runtime, self.metrics, self.clock
        self.certificates = Certificates(lambda: runtime().config, metrics, clock)
        find_faults = (
            self.links.faults,
            NodeFaults(runtime, clock).faults,
            IdleSources(runtime, clock).faults,
            self.certificates.faults,
            self.publisher.health.faults,
            LogHealth(metrics, clock).faults,
            self.reloader.faults,
            self.pair.faults,
            *([self.trends.faults] if self.trends else []),
            self.optional.faults,
            lambda: self.http.faults() + (self.grpc.faults() if self.grpc else []),
            lambda: self.opcua.faults() if self.opcua else [],
            *_faults_of_runtime(runtime, clock),
        )
        periodic_work = (
            self.rul_store.save,
            self.baseline_reset.withdraw_outdated,
            self.followed.save,
            self.positions.save,
            self.model_audit.save,
            self.verified.save,
            self.feedback.save,
            lambda: self.service_loop.run(self.http.listen()),
        )
        self.supervisor = Supervisor(
            runtime, self.publisher, self.links, find_faults, periodic_work, clock
        )

    def _build_api(self, config: Config) -> None:
        """The HTTP server and what it shows."""
        self._build_status()
        routes = [
            *status_routes(self.status, self.metrics),
            *event_routes(self.status, self.clock),
            *ask_routes(self.questions),
            *predict_routes(self.predictions),
            *view_routes(
                self.runtime,
                self.publisher,
                self.commands,
                values=self.values,
                metrics=self.metrics,
                clock=self.clock,
                apart=self.service_loop,
                path=self.path,
            ),
        ]
        routes += [] if self.trends is None else _trend_routes(self.trends, self.status)
        routes += [] if self.cameras is None else _camera_routes(self.cameras)
        routes += self.optional.routes(config)
        oip = self._build_inference() if config.inference.enabled else None
        routes += [] if oip is None else oip.routes()
        text = self._build_text(config) if config.language.engine != "none" else None
        routes += [] if text is None else text.routes()
        keys = config.store.path.with_name(FILE_NAME)
        at_home = self.service_loop.at_home
        self.http = HttpServer(config.http, with_document(routes), self.clock, keys, at_home)
        wrong_keys = self.metrics.http_wrong_keys
        self.http.guard.access.on_wrong = lambda reason: wrong_keys.labels(reason).inc()
        deny = self.commands.deny_over_http
        self.http.guard.on_denied = lambda *denied: at_home(deny(*denied))
        if oip is not None and text is not None and text.engine is not None:
            oip.extensions = (*oip.extensions, "generate")
        if text is not None:
            self.http.guard.error_forms[text.errors_below] = text.error_body
        if oip is not None and config.inference.grpc_port:
            self.grpc = _grpc_server(oip, self.http, config)
        if config.opcua_server.enabled:
            self.opcua = self._build_opcua(config)

    def _build_status(self) -> None:
        """What people and programs may ask about the plant."""
        started_us, troubles = self.clock.now_us(), self.supervisor.troubles
        self.status = Status(
            self.runtime,
            Lifecycle(
                started_us,
                self.loop.is_alive,
                lambda: self.is_ready,
                troubles,
                lambda: self.http.keys.ending(),  # noqa: PLW0108 (made later)
            ),
            self.publisher,
            self.pair,
            self.commands,
            self.feedback,
            _asset_commands(self.baseline_reset, self.removal, self.rul_store, self.followed),
            self.resolution.notes,
            self.links.reason,
            self.metrics,
            self.clock,
        )
        runtime = self.runtime
        self.questions = Questions(
            lambda: runtime().config,
            lambda: (one.model.manifest for one in runtime().pipeline.deployments),
            self.status,
            self.clock,
        )
        self.predictions = Predictions(
            lambda: (runtime().config, runtime().plant), Replay.load, self.builder.verified
        )

    def _build_text(self, config: Config) -> OpenAi:
        """The language model for other programs; a gateway without it does not import it."""
        from edge_agent.service import openai  # noqa: PLC0415

        apart, ask = self.service_loop, self.questions.ask
        self.text = openai.text_of(
            config.language, lambda asked: apart.at_home(ask(asked)), self.metrics, self.clock
        )
        if config.language.wording and self.text.engine is not None:
            from edge_agent.language import wording  # noqa: PLC0415

            results = wording.results_beside(config.store.path)
            words = wording.Wording(self.text.engine, results)
            self.questions.words_for = lambda answer: apart.run(words.words_for(answer))
        return self.text

    def _build_opcua(self, config: Config) -> OpcuaServer:
        """Assets and alarms for SCADA systems; a gateway without it does not import it."""
        from edge_agent.daemon.opcua_access import access_of  # noqa: PLC0415
        from edge_agent.opcua_server.server import OpcuaServer  # noqa: PLC0415

        access = access_of(config, self.runtime, self.status, self.service_loop.at_home)
        server = OpcuaServer(config.opcua_server, access, self.clock)
        self.publisher.on_transitions = server.notify
        return server

    def _build_inference(self) -> Oip:
        """The models for other programs. A gateway without them does not import their modules."""
        from edge_agent.service import oip, served_models  # noqa: PLC0415

        self.served = served_models.ServedModels(
            lambda: self.runtime().config,
            self.builder.verified,
            self.metrics,
            self.loop.turning.locked,
            self.clock,
        )
        at_home = self.service_loop.at_home
        made = oip.Oip(self.served, self.metrics)
        made.audit = lambda *done: at_home(self.values.audit(*done))
        return made


def _trend_routes(recorder: TrendRecorder, status: Status) -> list[Route]:
    """The route of trends."""
    from edge_agent.service import trend_api  # noqa: PLC0415

    def units(asset: str) -> dict[str, str] | None:
        found = status.runtime().plant.assets.get(asset)
        if found is None:
            return None
        return {name: one.config.unit for name, one in found.signals.items()}

    reading = asyncio.Semaphore(trend_api.READERS)
    api = trend_api.TrendApi(recorder.trends, units, status.history, status.clock, reading)
    return api.routes()


def _camera_routes(cameras: Cameras) -> list[Route]:
    """The routes of cameras and their pictures."""
    from edge_agent.service import camera_api  # noqa: PLC0415

    return camera_api.camera_routes(cameras)


def _grpc_server(oip: Oip, http: HttpServer, config: Config) -> GrpcServer:
    """The same models by gRPC; ConfigError if the extra is not installed."""
    try:
        from edge_agent.service import oip_grpc  # noqa: PLC0415
    except ImportError as error:
        hint = "pip install 'edge-agent-pdm[grpc]', or set it to 0"
        where = "inference.grpc_port"
        raise ConfigError("grpcio is not installed", where=where, hint=hint) from error
    port = config.inference.grpc_port
    return oip_grpc.GrpcServer(oip, http.guard.access, config.http.host, port)


def _faults_of_runtime(
    runtime: Callable[[], Runtime], clock: Clock
) -> list[Callable[[], list[Fault]]]:
    """Faults of clocks, models, learning and discovery, for the present runtime."""
    gateway_clock = GatewayClock(clock)
    return [
        lambda: gateway_clock.faults(
            {name: source.link for name, source in runtime().sources.items()},
            runtime().config.tuning.max_future,
        ),
        lambda: runtime().pipeline.deployments.reports.faults(clock.now_us()),
        lambda: learning_faults(runtime(), clock.monotonic_s()),
        lambda: discovery_faults(runtime().plant),
    ]


def _asset_commands(
    reset: BaselineReset, removal: AssetRemoval, rul_store: RulStore, followed: FollowedBaselines
) -> dict[str, AssetCommand]:
    """The commands on an asset, by their name in the API."""
    return {
        "healthy": lambda asset, actor, _, comment: followed.confirm_healthy(asset, actor, comment),
        "learn": lambda asset, actor, _, comment: reset.forget_baseline(asset, actor, comment),
        "forget": lambda asset, actor, _, comment: removal.remove_by_hand(asset, actor, comment),
        "failed": partial(rul_store.end_life, failed=True),
        "overhauled": partial(rul_store.end_life, failed=False),
    }
