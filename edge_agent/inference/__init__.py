"""State detection, health assessment, prognostics (ISO 13374): model bundles and what runs them."""

from edge_agent.inference._archive import SUFFIX, copied, pack, packed_file, unpacked
from edge_agent.inference._attribution import Asked, Reference, contributions, runs_of
from edge_agent.inference._bundle import (
    Problem,
    load_manifest,
    try_bundle,
    verify_bundle,
    write_bundle,
)
from edge_agent.inference._drift import BLOCKS, Bins, Drift, bins_of, drift_of
from edge_agent.inference._foreign import allowed_operators, bundle_from_onnx, inspect_onnx
from edge_agent.inference._golden import Golden
from edge_agent.inference._healthy import Histogram, Interval, histogram_of
from edge_agent.inference._interval import AdaptiveInterval
from edge_agent.inference._learn import LearnedBundle, Recipe, learn
from edge_agent.inference._learn_child import learn_in_child
from edge_agent.inference._manifest import (
    InputSpec,
    Manifest,
    OutputNames,
    Task,
    WindowSpec,
    read_manifest,
)
from edge_agent.inference._model import Model, Outputs
from edge_agent.inference._registry import ProviderReport, Registry, choose_providers
from edge_agent.inference._shelf import SHELF, Ref, Shelf, parse_ref
from edge_agent.inference._signature import generate_keys, key_id, read_public_key
from edge_agent.inference._trust import (
    UNSIGNED,
    Keyring,
    checked_signer,
    claimed_signer,
    keyring,
    sign_bundle,
    signer_shown,
)
from edge_agent.inference._variants import Figures, Trial

__all__ = [
    "BLOCKS",
    "SHELF",
    "SUFFIX",
    "UNSIGNED",
    "AdaptiveInterval",
    "Asked",
    "Bins",
    "Drift",
    "Figures",
    "Golden",
    "Histogram",
    "InputSpec",
    "Interval",
    "Keyring",
    "LearnedBundle",
    "Manifest",
    "Model",
    "OutputNames",
    "Outputs",
    "Problem",
    "ProviderReport",
    "Recipe",
    "Ref",
    "Reference",
    "Registry",
    "Shelf",
    "Task",
    "Trial",
    "WindowSpec",
    "allowed_operators",
    "bins_of",
    "bundle_from_onnx",
    "checked_signer",
    "choose_providers",
    "claimed_signer",
    "contributions",
    "copied",
    "drift_of",
    "generate_keys",
    "histogram_of",
    "inspect_onnx",
    "key_id",
    "keyring",
    "learn",
    "learn_in_child",
    "load_manifest",
    "pack",
    "packed_file",
    "parse_ref",
    "read_manifest",
    "read_public_key",
    "runs_of",
    "sign_bundle",
    "signer_shown",
    "try_bundle",
    "unpacked",
    "verify_bundle",
    "write_bundle",
]
