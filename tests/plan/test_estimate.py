from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.core.case import Case
from bench.plan.estimate import estimate_all, estimate_seconds

cases = st.builds(
    Case,
    cell=st.sampled_from(["simple_rnn", "lstm", "gru", "my.module:factory"]),
    task=st.sampled_from(["mnist", "mnist_5k"]),
    units=st.integers(1, 4096),
    batch_size=st.integers(1, 4000),
    epochs=st.integers(1, 100),
    train_samples=st.integers(0, 4000),
    kernel=st.sampled_from(["auto", "generic", "unrolled", "xla", "cudnn"]),
)


@settings(max_examples=50)
@given(cases)
def test_estimates_are_positive_and_grow_with_the_epochs(case: Case) -> None:
    seconds = estimate_seconds(case)
    assert seconds > 0
    assert estimate_seconds(replace(case, epochs=case.epochs + 1)) > seconds
    assert estimate_seconds(replace(case, latency_calls=case.latency_calls + 500)) > seconds + 500 * 0.1


@given(st.lists(cases, max_size=5))
def test_the_whole_takes_as_long_as_its_runs(several: list[Case]) -> None:
    repeated = [replace(case, seed=seed) for case in several for seed in range(3)]
    assert estimate_all(repeated) == pytest.approx(sum(map(estimate_seconds, repeated)))


def test_estimates_are_near_what_was_measured() -> None:
    """A run of `mnist_rows` on 2 cores: 1,875 steps an epoch of about 13 ms (SimpleRNN) and 27 ms (LSTM)."""
    for cell, step in (("simple_rnn", 0.013), ("lstm", 0.027)):
        training = 3 * 1875 * step
        assert training < estimate_seconds(Case(cell=cell)) < 1.5 * training


def test_on_a_gpu_the_published_factor_between_loop_and_cudnn_is_that_of_a_training_step() -> None:
    """54 against 13 ms and 543 against 82 ms a step: 4.2 and 6.6 times (rnn_benchmarks, arXiv 1806.01818)."""
    long = Case(cell="lstm", device="gpu:0", backend="torch", network="cudnn_ready", epochs=100)
    longer = replace(long, epochs=101)

    def epoch(kernel: str) -> float:
        return estimate_seconds(replace(longer, kernel=kernel)) - estimate_seconds(replace(long, kernel=kernel))

    assert 4.2 / 2 < epoch("generic") / epoch("cudnn") < 6.6 * 2
    assert epoch("auto") == pytest.approx(epoch("cudnn"))  # which is what Keras picks there


def test_a_run_on_a_gpu_starts_a_process_of_its_own() -> None:
    short = Case(cell="lstm", device="gpu:0", backend="jax", task="mnist_5k", epochs=1, train_samples=32)
    assert estimate_seconds(short) > 5


def test_estimates_know_that_kernels_and_backends_differ() -> None:
    """On 2 cores XLA is three times slower than TensorFlow's loop, torch twice; JAX is faster, and slow to compile."""
    whole = Case(cell="lstm", epochs=10)
    by_xla = estimate_seconds(replace(whole, kernel="xla"))
    by_torch, by_jax = (estimate_seconds(replace(whole, backend=name)) for name in ("torch", "jax"))
    assert by_xla > by_torch > 1.5 * estimate_seconds(whole) > 1.5 * by_jax
    short = replace(whole, epochs=1, train_samples=32, task="mnist_5k")
    assert estimate_seconds(replace(short, backend="jax")) > 2 * estimate_seconds(short)
