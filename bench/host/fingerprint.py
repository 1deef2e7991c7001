"""Fingerprints of records of hardware and software, and in what two such records differ.

Times are compared only where the machines' fingerprints agree, and the software's, unless the difference is what is
being asked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from bench.core.case import digest

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


@dataclass(frozen=True, kw_only=True)
class FingerprintedRecord:
    """A record of facts, with a fingerprint of those that are known."""

    @property
    def fingerprint(self) -> str:
        """The content hash of the known facts: 16 hex digits."""
        # What is empty or unknown is left out: a fact added later does not change the fingerprints of old records.
        known = {name: value for name, value in asdict(self).items() if value not in (None, ())}
        return digest(json.dumps(known, sort_keys=True))

    def to_json(self) -> str:
        """All facts, those that are not known too."""
        return json.dumps(asdict(self), sort_keys=True)


def differences(a: DataclassInstance | Mapping[str, Any], b: DataclassInstance | Mapping[str, Any]) -> tuple[str, ...]:
    """The facts in which two records differ, each as "cpu_model: X → Y"; empty exactly where the fingerprints agree.

    A record may also be a mapping as it comes out of a store, of any version of bench.
    """
    before, after = _flat(a), _flat(b)
    return tuple(
        f"{name}: {before.get(name, 'none')} → {after.get(name, 'none')}"
        for name in dict.fromkeys([*before, *after])
        if before.get(name) != after.get(name)
    )


def _flat(facts: DataclassInstance | Mapping[str, Any]) -> dict[str, str]:
    """Fact by fact, in words; each library and setting is a fact of its own, and what is unknown is left out."""
    flat: dict[str, str] = {}
    for name, value in (facts if isinstance(facts, Mapping) else asdict(facts)).items():
        if name in ("libraries", "settings"):
            flat.update({key: text or "(empty)" for key, text in value})
        elif isinstance(value, list | tuple):
            flat.update({name: ", ".join(map(str, value))} if value else {})
        elif value is not None:
            flat[name] = f"{value:g}" if isinstance(value, float) else str(value)
    return flat
