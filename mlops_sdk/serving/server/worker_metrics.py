"""The metrics of all workers as one text: each writes its own every second, and whoever is asked adds them up.

Counters and histograms are summed, those of workers that ended too. Of gauges those in flight are summed; of others the
largest is shown. It must not know which metrics there are.
"""

import asyncio
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

WRITE_EVERY_S = 1.0
_log = logging.getLogger(__name__)


def _folder(shared: Path) -> Path:
    folder = shared / "metrics"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


async def write_regularly(shared: Path, registry: CollectorRegistry) -> None:
    """Write this worker's metrics into the shared folder until cancelled, and once more then."""
    note = _folder(shared) / str(os.getpid())
    try:
        while True:
            await asyncio.sleep(WRITE_EVERY_S)
            try:
                _write(note, registry)
            except OSError as error:  # a full disk: the numbers are of use to others again when there is room
                _log.warning("the worker's metrics were not written: %s", error)
    finally:
        _write(note, registry)


def _write(note: Path, registry: CollectorRegistry) -> None:
    fresh = note.with_suffix(".new")
    fresh.write_bytes(generate_latest(registry))
    fresh.replace(note)


async def exposition(shared: Path, registry: CollectorRegistry) -> bytes:
    """The metrics of this worker and of all others."""
    own = generate_latest(registry).decode()
    others = [
        note.read_text(encoding="utf-8")
        for note in sorted(_folder(shared).iterdir())
        if not note.suffix and note.name != str(os.getpid())
    ]
    return own.encode() if not others else (await asyncio.to_thread(summed, [own, *others])).encode()


def summed(texts: Sequence[str]) -> str:
    """Several expositions as one."""
    kinds: dict[str, tuple[str, str]] = {}
    values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for text in texts:
        for family in text_string_to_metric_families(text):
            kinds.setdefault(family.name, (family.type, family.documentation))
            known = values.setdefault(family.name, {})
            for sample in family.samples:
                key = (sample.name, tuple(sorted(sample.labels.items())))
                known[key] = _together(family.type, sample, known.get(key))
    lines = []
    for name, samples in values.items():
        kind, documentation = kinds[name]
        full = f"{name}_total" if kind == "counter" else name
        lines += [f"# HELP {full} {documentation}", f"# TYPE {full} {kind}"]
        lines += [_line(sample, labels, value) for (sample, labels), value in samples.items()]
    return "\n".join([*lines, ""])


def _together(kind: str, sample: Sample, known: float | None) -> float:
    if known is None:
        return sample.value
    if kind in ("counter", "histogram", "summary") and not sample.name.endswith("_created"):
        return known + sample.value
    return known + sample.value if sample.name.endswith("in_flight") else max(known, sample.value)


def _line(name: str, labels: Sequence[tuple[str, str]], value: float) -> str:
    told = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels)
    return f"{name}{{{told}}} {value}" if told else f"{name} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
