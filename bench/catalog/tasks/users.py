"""A user's data → a task and its arrays, checked: an error names the array, its shape and what is expected."""

from __future__ import annotations

import itertools
import math
from numbers import Integral
from typing import TYPE_CHECKING, Any

from bench.catalog.tasks.target import TARGETS, Target
from bench.catalog.tasks.task import Arrays, Task, Words, WrongDataError, content_digest, sizes
from bench.core.task_data import Stream, TaskData

if TYPE_CHECKING:
    from numpy.typing import NDArray

_Part = tuple["NDArray[Any]", "NDArray[Any]", "NDArray[Any] | None"]
_SETS = ("train", "test", "validation")
LARGEST = 2**31 - 1
"""The largest label, token or number of them: backends keep these in 32 bits."""
_LARGEST_VALUE = 2.0**126
"""The largest magnitude of an input or a number to be learnt, with which float32 still computes."""


def task_of(name: str, data: object) -> tuple[Task, Arrays]:
    """The task that a factory's data make, and its arrays.

    Args:
        name: the factory, `module:factory`, by which the task is called.
        data: what it returned.

    Raises:
        WrongDataError: that is no `TaskData`, or its arrays don't belong together.
    """
    if not isinstance(data, TaskData):
        raise WrongDataError(f"{name} returned a {type(data).__name__}, where a bench.TaskData is expected")
    if data.target not in TARGETS:
        raise WrongDataError(f"{name}: the target {data.target!r} is none of {', '.join(TARGETS)}")
    target = TARGETS[data.target]
    _check_numbers(name, data)
    given = {part: getattr(data, part) for part in _SETS if getattr(data, part) is not None}
    parts = {part: _part(f"{name}: {part}", content, target) for part, content in given.items()}
    shape = parts["train"][0].shape[1:]
    for part, (x, _, _) in parts.items():
        if x.shape[2:] != shape[1:]:
            raise WrongDataError(f"{name}: {part} x has {sizes(x.shape[2:])} features, and train x {sizes(shape[1:])}")
    parts = _of_one_length(parts, target)
    steps = parts["train"][0].shape[1]
    is_tokens = len(shape) == 1
    padded = any(lengths is not None for _, _, lengths in parts.values())
    arrays = Arrays(**{f"{kind}_{part}": array for part, whole in parts.items() for kind, array in _named(whole)})
    task = Task(
        name=name,
        title=data.title or "data of the user's",
        words=Words(label="class" if target.is_class else "number", step="token" if is_tokens else "vector"),
        steps=steps,
        features=int(data.embedding) if is_tokens else shape[1],
        outputs=_outputs(name, data.classes, parts, target),
        target=target,
        vocabulary=_vocabulary(name, data.vocabulary, parts, padded) if is_tokens else 0,
        mask_value=_mask_value(parts, is_tokens) if padded else None,
        train_samples=len(arrays.x_train),
        test_samples=len(arrays.x_test),
        validation_samples=0 if arrays.x_validation is None else len(arrays.x_validation),
        digest=content_digest(arrays),
        credit="the user",
        licence="not stated",
    )
    return task, arrays


def _check_numbers(name: str, data: TaskData) -> None:
    """Refuse what stands beside the arrays and can't be meant, and a set that must be there and is not."""
    for field in ("train", "test"):
        if getattr(data, field) is None:
            raise WrongDataError(f"{name}: {field} is None, where (x, y), (x, y, lengths) or a Stream is expected")
    for field, may_be_none in (("classes", True), ("vocabulary", True), ("embedding", False)):
        value = getattr(data, field)
        if not (_is_count(value) or (value is None and may_be_none)):
            raise WrongDataError(
                f"{name}: {field} is {value!r}, where a whole number from 1 to {LARGEST:,} is expected"
            )
    if not isinstance(data.title, str):
        raise WrongDataError(f"{name}: the title is a {type(data.title).__name__}, where text is expected")


def _is_count(value: object) -> bool:
    # NumPy's whole numbers too, as of `classes=y.max() + 1`
    return isinstance(value, Integral) and not isinstance(value, bool) and 1 <= int(value) <= LARGEST


def _named(part: _Part) -> list[tuple[str, NDArray[Any]]]:
    return [(kind, array) for kind, array in zip(("x", "y", "lengths"), part, strict=True) if array is not None]


def _part(where: str, content: object, target: Target) -> _Part:
    """The arrays of one set, each checked by itself and against the others of its set."""
    import numpy as np

    if isinstance(content, Stream):
        content = _drained(where, content)
    if not isinstance(content, tuple) or len(content) not in (2, 3):
        raise WrongDataError(
            f"{where} is a {type(content).__name__}, where (x, y), (x, y, lengths) or a Stream is expected"
        )
    x, y, lengths = (*(_array(f"{where} {kind}", each) for kind, each in zip("xy", content, strict=False)), None)
    if not (x.ndim == 3 or (x.ndim == 2 and x.dtype.kind in "iu")) or 0 in x.shape:
        raise WrongDataError(
            f"{where} x has the shape {sizes(x.shape)} ({x.dtype}), where samples × steps × features is expected, or "
            "samples × steps of whole numbers for tokens"
        )
    samples, steps = x.shape[:2]
    expected = (samples, steps) if target.per_step else (samples,)
    if not target.is_class and y.ndim == len(expected):
        y = y[..., None]
    if y.shape != (expected if target.is_class else (*expected, *y.shape[len(expected) :][:1])):
        more = "" if target.is_class else ", or the same × outputs"
        raise WrongDataError(
            f"{where} y has the shape {sizes(y.shape)}, where {sizes(expected)}{more} is expected: {target.title}"
        )
    if target.is_class and (y.dtype.kind not in "iu" or y.min() < 0 or y.max() > LARGEST):
        raise WrongDataError(
            f"{where} y ({y.dtype}, from {y.min()} to {y.max()}) must hold whole numbers from 0 to {LARGEST:,}: "
            f"{target.title}"
        )
    if x.ndim == 2 and x.max() > LARGEST:
        raise WrongDataError(f"{where} x holds the token {x.max()}, and tokens are at most {LARGEST:,}")
    if len(content) == 3:
        lengths = _array(f"{where} lengths", content[2])
        if lengths.shape != (samples,) or lengths.dtype.kind not in "iu" or lengths.min() < 1 or lengths.max() > steps:
            raise WrongDataError(
                f"{where} lengths ({lengths.dtype}, {sizes(lengths.shape)}, from {lengths.min()} to {lengths.max()}) "
                f"must hold {samples} whole numbers from 1 to {steps}"
            )
        lengths = lengths.astype(np.int32)
    return x, y.astype(np.int32) if target.is_class else y, lengths


def _array(where: str, given: object) -> NDArray[Any]:
    import numpy as np

    try:
        array = np.asarray(given)
    except ValueError as error:  # rows of different lengths
        raise WrongDataError(f"{where} is no array: {error}") from error
    if array.dtype.kind not in "iuf":
        raise WrongDataError(f"{where} holds {array.dtype}, where numbers are expected")
    if not array.size:
        raise WrongDataError(f"{where} has the shape {sizes(array.shape)}: there is nothing in it")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        place = ", ".join(str(index[0]) for index in np.nonzero(~np.isfinite(array)))
        raise WrongDataError(f"{where} holds a value that isn't finite, at [{place}]")
    if array.dtype.kind == "f" and (largest := np.abs(array).max()) > _LARGEST_VALUE:
        raise WrongDataError(f"{where} holds values up to {largest:.3g}, with which float32 can't compute: scale them")
    return array


def _drained(where: str, stream: Stream) -> tuple[Any, ...]:
    """A stream's samples, padded at the right with 0, and their lengths."""
    import numpy as np

    if not _is_count(stream.length):
        raise WrongDataError(
            f"{where}: the length of its Stream is {stream.length!r}, where a whole number is expected"
        )
    xs, ys = [], []
    # one more than there should be shows that there are too many; a generator may have no end
    for number, sample in enumerate(itertools.islice(stream.samples, stream.length + 1)):
        if not isinstance(sample, tuple) or len(sample) != 2:
            raise WrongDataError(f"{where}: sample {number} is a {type(sample).__name__}, where (x, y) is expected")
        xs.append(np.asarray(sample[0]))
        ys.append(np.asarray(sample[1]))
    if len(xs) != stream.length:
        if len(xs) > stream.length:
            raise WrongDataError(
                f"{where} gave more samples than its length, {stream.length}: end it there, as itertools.islice does"
            )
        raise WrongDataError(f"{where} gave {len(xs)} samples, and its length is {stream.length}")
    if len({(x.ndim, x.shape[1:], x.dtype) for x in xs}) > 1 or not all(x.ndim for x in xs):
        seen = sorted({f"{x.dtype} {sizes(x.shape)}" for x in xs})
        raise WrongDataError(f"{where}: the samples differ in type or features: {', '.join(seen[:4])}")
    lengths = np.array([len(x) for x in xs])
    steps = int(lengths.max())
    per_step = [y.ndim > 0 and len(y) == length for y, length in zip(ys, lengths, strict=True)]
    if len(set(lengths)) == 1:
        return _array(f"{where} x", xs), _array(f"{where} y", ys)
    padded = [_lengthened(y, steps) for y in ys] if all(per_step) else ys
    return np.stack([_lengthened(x, steps) for x in xs]), _array(f"{where} y", padded), lengths


def _lengthened(array: NDArray[Any], steps: int) -> NDArray[Any]:
    import numpy as np

    return np.pad(array, [(0, steps - len(array)), *[(0, 0)] * (array.ndim - 1)])


def _of_one_length(parts: dict[str, _Part], target: Target) -> dict[str, _Part]:
    """All sets with as many steps as the longest: what was added is padding, so that the set has lengths then."""
    import numpy as np

    steps = max(x.shape[1] for x, _, _ in parts.values())
    same = {}
    for part, (x, y, lengths) in parts.items():
        if (short := x.shape[1]) < steps:
            lengths = np.full(len(x), short, np.int32) if lengths is None else lengths
            x = np.pad(x, [(0, 0), (0, steps - short), *[(0, 0)] * (x.ndim - 2)])
            y = np.pad(y, [(0, 0), (0, steps - short), *[(0, 0)] * (y.ndim - 2)]) if target.per_step else y
        same[part] = (x, y, lengths)
    return same


def _outputs(name: str, classes: int | None, parts: dict[str, _Part], target: Target) -> int:
    if not target.is_class:
        widths = {part: y.shape[-1] for part, (_, y, _) in parts.items()}
        if len(set(widths.values())) > 1:
            raise WrongDataError(f"{name}: the numbers of outputs differ: {widths}")
        return int(widths["train"])
    largest = max(int(y.max()) for _, y, _ in parts.values())
    if classes is not None and largest >= classes:
        raise WrongDataError(f"{name}: y goes up to {largest}, and there are {classes} classes, from 0")
    return max(2, int(classes or largest + 1))


def _vocabulary(name: str, vocabulary: int | None, parts: dict[str, _Part], padded: bool) -> int:
    import numpy as np

    largest = max(int(x.max()) for x, _, _ in parts.values())
    least = 1 if padded else 0
    for part, (x, _, lengths) in parts.items():
        inside = x if lengths is None else x[np.arange(x.shape[1]) < lengths[:, None]]
        if inside.min() < least:
            why = ": 0 is the padding's" if padded else ""
            raise WrongDataError(f"{name}: {part} x holds the token {inside.min()}; tokens are from {least}{why}")
    if vocabulary is not None and largest >= vocabulary:
        raise WrongDataError(f"{name}: x goes up to {largest}, and the vocabulary has {vocabulary} tokens, from 0")
    return int(vocabulary or largest + 1)


def _mask_value(parts: dict[str, _Part], is_tokens: bool) -> float:
    """What marks padding: a number below all values, so that no step is taken for padding; a power of two is exact."""
    if is_tokens:
        return 0.0
    least = min(float(x.min()) for x, _, _ in parts.values())
    return -(2.0 ** max(0, math.ceil(math.log2(-1.01 * least)))) if least < 0 else -1.0
