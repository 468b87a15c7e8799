"""Gates that judge a release by the requests it answers beside the live one, in the same stretch of time. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mlops_sdk.release.drift import prediction_drift
from mlops_sdk.release.gates import ErrorRate, Gates, Latency, PredictionDrift
from mlops_sdk.rollout.verify.checks import Check
from mlops_sdk.rollout.verify.metrics import Sample


@dataclass(frozen=True)
class Seen:
    """What one release did in the stretch: its requests, and what each of its models answered."""

    requests: Sample = field(default_factory=Sample)
    predictions: Mapping[str, Sequence[object]] = field(default_factory=dict)


def traffic_checks(gates: Gates, release: Seen, live: Seen) -> tuple[Check, ...]:
    """Judge `release` beside `live`. Below `min_samples` on a side that a gate needs, the gate is pending."""
    checks: list[Check] = []
    if gates.error_rate is not None:
        checks.append(_error_rate(gates.error_rate, release.requests, gates.min_samples))
    if gates.latency is not None:
        checks.append(_latency(gates.latency, release.requests, live.requests, gates.min_samples))
    if gates.prediction_drift is not None:
        checks += _drift(gates.prediction_drift, release.predictions, live.predictions, gates.min_samples)
    return tuple(checks)


def _error_rate(gate: ErrorRate, seen: Sample, needed: int) -> Check:
    said = f"{seen.errors:,} of {seen.total:,} requests failed, {gate.at_most:.2%} may"
    if seen.total < needed:
        # No later success can mend what is over the bar even if all that is missing succeeds.
        failed = seen.errors > gate.at_most * needed
        return Check("error rate", False, said, pending=not failed)
    return Check("error rate", seen.errors <= gate.at_most * seen.total, said)


def _latency(gate: Latency, seen: Sample, live: Sample, needed: int) -> Check:
    name = f"latency p{gate.quantile * 100:g}"
    here, there = seen.quantile(gate.quantile), live.quantile(gate.quantile)
    if here is None or there is None or min(seen.total, live.total) < needed:
        return Check(name, False, _too_few("requests", seen.total, live.total, needed), pending=True)
    said = f"{here * 1000:.1f} ms, the live release {there * 1000:.1f} ms, {gate.ratio_at_most:g}x may be"
    return Check(name, here <= gate.ratio_at_most * there, said)


def _drift(
    gate: PredictionDrift,
    seen: Mapping[str, Sequence[object]],
    live: Mapping[str, Sequence[object]],
    needed: int,
) -> Iterable[Check]:
    # A model that only one of the two releases has, has nothing to be compared with.
    common = sorted(set(seen) & set(live))
    if not common:
        yield Check("prediction drift", False, "no model has answered in both releases yet", pending=True)
    for model in common:
        name = f"prediction drift of {model}"
        if min(len(seen[model]), len(live[model])) < needed:
            said = _too_few("predictions", len(seen[model]), len(live[model]), needed)
            yield Check(name, False, said, pending=True)
            continue
        parts = prediction_drift(live[model], seen[model])
        part = max(parts, key=lambda each: parts[each], default=None)
        index = parts[part] if part is not None else 0.0
        yield Check(name, index <= gate.at_most, f"index {index:.3f} ({part}), {gate.at_most:g} may be")


def _too_few(what: str, here: int, there: int, needed: int) -> str:
    return f"{here:,} {what}, the live release {there:,}; {needed:,} are needed"
