"""The axes: what suites cross and configurations differ in, read from the fields of `Case`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import get_type_hints

from bench.core.case import Case, written


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A field of `Case` that suites cross; the attributes are those that `bench.core.case.axis` declares."""

    field: str
    """The field of `Case`: `cell`."""
    plural: str
    """The name in suites and in `--set`: `cells`."""
    type: type[str] | type[int] | type[float] | type[bool]
    doc: str
    default: tuple[str | int | float, ...]
    """The values that a suite crosses if it names none."""
    catalogue: str | None
    at_least: float | None
    above: float | None
    at_most: float | None
    setting: bool
    words: str
    zero: str

    @property
    def is_number(self) -> bool:
        """Whether its values are numbers: `units = [64, 128]`."""
        return self.type in (int, float)

    def in_words(self, value: object) -> str:
        """A value as headings write it: `64 units`, `1 epoch`, `dtype=float16`, `bias=false`."""
        if not self.words:
            return f"{self.field}={written(value)}"
        text = self.words.format(value)
        return text.removesuffix("s") if value == 1 else text


def _axes() -> Mapping[str, Axis]:
    types = get_type_hints(Case)
    return {
        f.metadata["plural"]: Axis(field=f.name, type=types[f.name], **f.metadata)
        for f in fields(Case)
        if "plural" in f.metadata
    }


AXES: Mapping[str, Axis] = MappingProxyType(_axes())
"""By plural, in the order of the fields of `Case`, which is the order in which they are crossed."""

BY_FIELD: Mapping[str, Axis] = MappingProxyType({axis.field: axis for axis in AXES.values()})
"""The axes by the field of `Case` that each is."""

SETTING_FIELDS = tuple(f.name for f in fields(Case) if f.name not in {"cell", "seed", "repeat"})
"""The fields of `Case` that make up the setting that a cell is measured in."""


def changed(case: Case, names: Iterable[str]) -> list[tuple[str, str | int | float]]:
    """Those of a case's fields `names` that are not at their default, and their values."""
    values = [(name, getattr(case, name)) for name in names]
    return [(name, value) for name, value in values if value not in BY_FIELD[name].default]


def varying(cases: Iterable[Case]) -> tuple[str, ...]:
    """The fields in which configurations differ: without cell, seed and repeat, in the order of the fields of `Case`.

    Args:
        cases: the configurations; several cases of one configuration are as good as one.
    """
    configurations = tuple(cases)
    return tuple(name for name in SETTING_FIELDS if len({getattr(case, name) for case in configurations}) > 1)
