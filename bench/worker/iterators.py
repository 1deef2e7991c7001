"""How long Keras takes to make the iterators of an epoch: a part of the epoch's time that no step needs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Self

from keras.src.trainers.epoch_iterator import EpochIterator


class IteratorTimer:
    """Counts, while it is entered, the time that iterators over batches take to be made. Nothing runs per batch.

    Keras's `fit` makes two in an epoch, before its first step and after its last (trainers/epoch_iterator.py,
    `_enumerate_iterator`); each is a new pass of the input pipeline.
    """

    def __init__(self) -> None:
        self._seconds = 0.0
        self._originals: dict[type[Any], Any] = {}

    def __enter__(self) -> Self:
        for kind in EpochIterator.__subclasses__():  # of the backends that were imported, which is one
            original = self._originals[kind] = kind.__dict__["_get_iterator"]
            kind._get_iterator = self._timed(original)
        return self

    def __exit__(self, *_: object) -> None:
        for kind, original in self._originals.items():
            kind._get_iterator = original

    def take(self) -> float:
        """Seconds since it was last asked."""
        seconds, self._seconds = self._seconds, 0.0
        return seconds

    def add(self, seconds: float) -> None:
        """Count so much more."""
        self._seconds += seconds

    def _timed(self, original: Any) -> Any:
        def get_iterator(epoch_iterator: Any) -> _Timed:
            begun = time.perf_counter()
            batches = original(epoch_iterator)
            self.add(time.perf_counter() - begun)
            return _Timed(batches, self)

        return get_iterator


class _Timed:
    """Batches, whose iterator's making is timed; the iterator itself is theirs."""

    def __init__(self, batches: Any, timer: IteratorTimer) -> None:
        self._batches, self._timer = batches, timer

    def __iter__(self) -> Iterator[Any]:
        begun = time.perf_counter()
        iterator: Iterator[Any] = iter(self._batches)
        self._timer.add(time.perf_counter() - begun)
        return iterator
