"""What a program was traced for: the shapes that a message names when something is traced where nothing should be."""

from __future__ import annotations

from collections.abc import Sequence

Signature = tuple[str, ...]
"""The shapes of a program's arguments, as messages show them: `32 × 28 × 28`."""


def shape_text(sizes: Sequence[int | None]) -> str:
    """A shape as messages show it; `?` for a size that the program leaves open."""
    return " × ".join("?" if size is None else str(size) for size in sizes) or "a single number"


def retraced(programs: Sequence[Signature], before: int) -> str:
    """For which shapes programs were traced anew, and for which they had been: the end of a sentence, or nothing.

    Args:
        programs: the shapes of each program's arguments, oldest first.
        before: how many of them there had been.
    """
    everywhere = set.intersection(*map(set, programs)) if programs else set()  # weights, which every program takes

    def differing(some: Sequence[Signature]) -> list[str]:
        texts = (" and ".join(dict.fromkeys(shape for shape in program if shape not in everywhere)) for program in some)
        return list(dict.fromkeys(filter(None, texts)))

    old, new = differing(programs[:before]), differing(programs[before:])
    new = [text for text in new if text not in old]
    if not new:
        return ""
    earlier = f", where until then they were {'; or '.join(old)}" if old else ""
    return f": for arguments of the shapes {'; or '.join(new)}{earlier}"
