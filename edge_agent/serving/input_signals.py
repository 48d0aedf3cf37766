"""Whether an asset has what a model needs: its signals, and values that the config fixes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.config.schema import Kind

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from edge_agent.config.schema import Signal
    from edge_agent.models import InputSpec
    from edge_agent.plant import PlantSignal

    Signals = Mapping[str, PlantSignal | None]


def misfit(inputs: Sequence[InputSpec], signals: Signals, fixed: Collection[str]) -> str:
    """Why the asset's signals, by input, do not match the model; empty if they do."""
    missing = [n for n, signal in signals.items() if signal is None and n not in fixed]
    if missing:
        return f"no signal for input {', '.join(missing)}"
    wrong = [i.name for i in inputs if (s := signals[i.name]) and not _fits(s.config, i)]
    if wrong:
        return f"the signal for input {', '.join(wrong)} has the wrong kind"
    bound = [signal.name for signal in signals.values() if signal is not None]
    if len(set(bound)) < len(bound):
        return f"one signal for several inputs: {', '.join(bound)}"
    return ""


def _fits(signal: Signal, spec: InputSpec) -> bool:
    """True if a signal is of the input's kind; a tacho is a number, its speed, or its waveform."""
    return signal.kind == spec.kind or (signal.is_number and spec.kind == Kind.SCALAR)


def fixed_inputs(
    scalars: Sequence[InputSpec], signals: Signals, constants: Mapping[str, Sequence[float]]
) -> dict[str, float]:
    """Scalar inputs without a signal whose value the config has, by name."""
    missing = [spec.name for spec in scalars if signals[spec.name] is None]
    return {name: constants[name][0] for name in missing if len(constants.get(name, ())) == 1}
