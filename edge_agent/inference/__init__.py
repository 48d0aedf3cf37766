"""State detection, health assessment, prognostics (ISO 13374): model bundles and what runs them."""

from edge_agent.inference._attribution import Asked, Reference, contributions, runs_of
from edge_agent.inference._bundle import Problem, load_manifest, verify_bundle, write_bundle
from edge_agent.inference._drift import BLOCKS, Bins, Drift, bins_of, drift_of
from edge_agent.inference._foreign import bundle_from_onnx
from edge_agent.inference._golden import Golden
from edge_agent.inference._healthy import Histogram, Interval, histogram_of
from edge_agent.inference._interval import AdaptiveInterval
from edge_agent.inference._learn import LearnedBundle, Recipe, learn
from edge_agent.inference._learn_child import learn_in_child
from edge_agent.inference._manifest import InputSpec, Manifest, OutputNames, Task, WindowSpec
from edge_agent.inference._model import Model, Outputs
from edge_agent.inference._registry import ProviderReport, Registry, choose_providers
from edge_agent.inference._shelf import SHELF, Ref, Shelf, parse_ref

__all__ = [
    "SHELF",
    "BLOCKS",
    "AdaptiveInterval",
    "Asked",
    "Bins",
    "Drift",
    "Golden",
    "Histogram",
    "InputSpec",
    "Interval",
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
    "WindowSpec",
    "bins_of",
    "bundle_from_onnx",
    "choose_providers",
    "contributions",
    "drift_of",
    "histogram_of",
    "learn",
    "learn_in_child",
    "load_manifest",
    "parse_ref",
    "runs_of",
    "verify_bundle",
    "write_bundle",
]
