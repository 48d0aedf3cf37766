"""Model bundles, their versions on disk, and the engines that run them."""

from edge_agent.models.bundle.archive import SUFFIX, copied, pack, packed_file, unpacked
from edge_agent.models.bundle.bundle import (
    Problem,
    load_manifest,
    try_bundle,
    verify_bundle,
    write_bundle,
)
from edge_agent.models.bundle.domain import Domain, check_of, domain_of
from edge_agent.models.bundle.folder import write_file
from edge_agent.models.bundle.foreign import allowed_operators, bundle_from_onnx, inspect_onnx
from edge_agent.models.bundle.golden import Golden, Tensors, parse_golden
from edge_agent.models.bundle.kinds import (
    GOLDEN,
    OPERATORS,
    PICTURE,
    WINDOW,
    BundleKind,
    variant_file,
)
from edge_agent.models.bundle.learned import (
    ALWAYS_NEW,
    LEARNED,
    LEFT_OUT,
    learned_prefix,
    learned_us,
    learned_version,
)
from edge_agent.models.bundle.local_hours import WEEK_H, hours_of_week, local_hours, local_zone
from edge_agent.models.bundle.manifest import UNIT_TENSOR, InputSpec, Manifest, WindowSpec
from edge_agent.models.bundle.manifest_text import KINDS, read_manifest
from edge_agent.models.bundle.ort import open_session
from edge_agent.models.bundle.picture_manifest import PictureManifest
from edge_agent.models.bundle.reference_distribution import (
    Histogram,
    Interval,
    histogram_of,
    histogram_of_units,
)
from edge_agent.models.bundle.remote_spec import RemoteAccess, RemoteSpec, Route, route_of
from edge_agent.models.bundle.sandbox import child_command, child_environment
from edge_agent.models.bundle.tasks import (
    DEVIATION,
    FOLLOWED,
    HOUR,
    MAP_STRIDE,
    ROLES,
    TASKS,
    OutputNames,
    Outputs,
    Role,
    Task,
    TaskRow,
)
from edge_agent.models.bundle.trust import (
    UNSIGNED,
    Keyring,
    checked_signer,
    claimed_signer,
    generate_keys,
    key_id,
    keyring,
    read_public_key,
    sign_bundle,
    signer_shown,
)
from edge_agent.models.bundle.variants import Figures, Trial
from edge_agent.models.drift_distance import (
    BLOCKS,
    DRIFT_MEMORY_S,
    DRIFT_MEMORY_WINDOWS,
    Bins,
    Drift,
    bins_of,
    drift_of,
)
from edge_agent.models.installed import (
    card_of,
    check_version,
    choose_version,
    expect_sound,
    version_row,
)
from edge_agent.models.repository import REPOSITORY_DIR, ModelRepository, Ref, parse_ref
from edge_agent.models.runtime.contributions import Asked, contributions, runs_of
from edge_agent.models.runtime.engine import BusyError, Engine, LateError, LoadRequest, Signature
from edge_agent.models.runtime.graph_engine import GraphEngine, model_of_graph
from edge_agent.models.runtime.graph_session import signature_of
from edge_agent.models.runtime.isolation import Isolation, ServiceIsolation, StoppedError
from edge_agent.models.runtime.launcher_child import limit_memory
from edge_agent.models.runtime.model import Model
from edge_agent.models.runtime.providers import PROVIDERS_KEY, ProviderReport, choose_providers
from edge_agent.models.runtime.reference import Reference
from edge_agent.models.runtime.registry import ENGINES, SessionRegistry, Stamp, stamp_of
from edge_agent.models.runtime.remote_probe import ProbedServer, probe_remote
from edge_agent.models.runtime.verified import VerifiedBundles

__all__ = [
    "ALWAYS_NEW",
    "BLOCKS",
    "DEVIATION",
    "DRIFT_MEMORY_S",
    "DRIFT_MEMORY_WINDOWS",
    "ENGINES",
    "FOLLOWED",
    "GOLDEN",
    "HOUR",
    "KINDS",
    "LEARNED",
    "LEFT_OUT",
    "MAP_STRIDE",
    "OPERATORS",
    "PICTURE",
    "PROVIDERS_KEY",
    "REPOSITORY_DIR",
    "ROLES",
    "SUFFIX",
    "TASKS",
    "UNIT_TENSOR",
    "UNSIGNED",
    "WEEK_H",
    "WINDOW",
    "Asked",
    "Bins",
    "BundleKind",
    "BusyError",
    "Domain",
    "Drift",
    "Engine",
    "Figures",
    "Golden",
    "GraphEngine",
    "Histogram",
    "InputSpec",
    "Interval",
    "Isolation",
    "Keyring",
    "LateError",
    "LoadRequest",
    "Manifest",
    "Model",
    "ModelRepository",
    "OutputNames",
    "Outputs",
    "PictureManifest",
    "ProbedServer",
    "Problem",
    "ProviderReport",
    "Ref",
    "Reference",
    "RemoteAccess",
    "RemoteSpec",
    "Role",
    "Route",
    "ServiceIsolation",
    "SessionRegistry",
    "Signature",
    "Stamp",
    "StoppedError",
    "Task",
    "TaskRow",
    "Tensors",
    "Trial",
    "VerifiedBundles",
    "WindowSpec",
    "allowed_operators",
    "bins_of",
    "bundle_from_onnx",
    "card_of",
    "check_of",
    "check_version",
    "checked_signer",
    "child_command",
    "child_environment",
    "choose_providers",
    "choose_version",
    "claimed_signer",
    "contributions",
    "copied",
    "domain_of",
    "drift_of",
    "expect_sound",
    "generate_keys",
    "histogram_of",
    "histogram_of_units",
    "hours_of_week",
    "inspect_onnx",
    "key_id",
    "keyring",
    "learned_prefix",
    "learned_us",
    "learned_version",
    "limit_memory",
    "load_manifest",
    "local_hours",
    "local_zone",
    "model_of_graph",
    "open_session",
    "pack",
    "packed_file",
    "parse_golden",
    "parse_ref",
    "probe_remote",
    "read_manifest",
    "read_public_key",
    "route_of",
    "runs_of",
    "sign_bundle",
    "signature_of",
    "signer_shown",
    "stamp_of",
    "try_bundle",
    "unpacked",
    "variant_file",
    "verify_bundle",
    "version_row",
    "write_bundle",
    "write_file",
]
