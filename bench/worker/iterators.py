"""The iterators of an epoch: how long Keras takes to make them, and TensorFlow's without a thread that tunes them.

Both are parts of the epoch's time that no step needs.
"""

from __future__ import annotations

import contextlib
import time
import weakref
from collections.abc import Callable, Iterator
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
        self._made: list[weakref.ref[Any]] = []

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

    def alive(self) -> list[object]:
        """What has iterators, and the iterators, that are still there.

        After the last epoch `fit` has two: that of this epoch, and one for an epoch that never comes. Whoever keeps
        them until the process ends spares a run the wait that `leave_untuned` describes: up to as long as the last
        epoch took.
        """
        return [each for made in self._made if (each := made()) is not None]

    def note(self, made: object) -> None:
        """Remember an iterator, or what has one; weakly, or an evaluation's would end in the next epoch's time."""
        self._made = [each for each in self._made if each() is not None]
        with contextlib.suppress(TypeError):  # of a kind that can't be remembered so; TensorFlow's can
            self._made.append(weakref.ref(made))

    def add(self, seconds: float) -> None:
        """Count so much more."""
        self._seconds += seconds

    def _timed(self, original: Any) -> Any:
        def get_iterator(epoch_iterator: Any) -> _Timed:
            self.note(epoch_iterator)
            begun = time.perf_counter()
            batches = original(epoch_iterator)
            self.add(time.perf_counter() - begun)
            return _Timed(batches, self)

        return get_iterator


def leave_untuned() -> None:
    """Let TensorFlow's iterators have no thread that tunes their parallelism, from now on in this process.

    Such a thread makes a pass after 10, 20, 40 ms and so on. An iterator that is deleted wakes it and waits for its
    end, but wakes it before the flag is set that it tests: it may sleep on until its next pass is due, up to as long as
    the iterator has lived (`CancellationManager::StartCancel` and `Model::OptimizeLoop` in tensorflow/core/framework).
    The batches, and how many threads fetch them, are the same.
    """
    import tensorflow as tf

    iterate: Callable[[Any], Iterator[Any]] = tf.data.Dataset.__iter__

    def iterate_untuned(batches: Any) -> Iterator[Any]:
        options = tf.data.Options()
        options.autotune.enabled = False
        return iterate(batches.with_options(options))

    tf.data.Dataset.__iter__ = iterate_untuned


def are_tuned() -> bool:
    """Whether an iterator that TensorFlow makes now has that thread."""
    import tensorflow as tf

    iterator: Any = iter(tf.data.Dataset.range(1))
    return iterator._dataset.options().autotune.enabled is not False


class _Timed:
    """Batches, whose iterator's making is timed; the iterator itself is theirs."""

    def __init__(self, batches: Any, timer: IteratorTimer) -> None:
        self._batches, self._timer = batches, timer

    def __iter__(self) -> Iterator[Any]:
        begun = time.perf_counter()
        iterator: Iterator[Any] = iter(self._batches)
        self._timer.add(time.perf_counter() - begun)
        self._timer.note(iterator)
        return iterator
