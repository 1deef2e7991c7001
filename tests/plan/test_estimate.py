from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.catalog.device_profiles import ANY_GPU
from bench.core.case import Case
from bench.plan.estimate import estimate_all, estimate_seconds
from bench.plan.prepare import prepare

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


@pytest.mark.parametrize("backend", ["tensorflow", "torch"])
@pytest.mark.parametrize(
    ("steps", "batch", "kernel", "published"),
    [(100, 64, "generic", 0.054), (100, 64, "cudnn", 0.013), (1000, 32, "generic", 0.543), (1000, 32, "cudnn", 0.082)],
)
def test_a_step_that_was_published_is_estimated_within_a_factor_of_two(
    backend: str, steps: int, batch: int, kernel: str, published: float
) -> None:
    """One layer of 320 units on 123 features, seconds a training step (rnn_benchmarks, arXiv 1806.01818)."""
    case = Case(cell="lstm", device="gpu:0", backend=backend, kernel=kernel, network="cudnn_ready", task="noise")
    case = replace(case, layers=1, units=320, steps=steps, features=123, batch_size=batch, latency_calls=0, epochs=1)
    some, more = (replace(case, train_samples=count * batch) for count in (100, 1100))
    assert 0.5 < (estimate_seconds(more) - estimate_seconds(some)) / 1000 / published < 2


# What was published of a GPU, or measured on two shared cores: an H100's host is taken to be twice as fast as those.
HOST = 0.5
LOOP_SECONDS, CUDNN_SECONDS = 0.054 / 200, 0.013 / 200
"""A dependent step of 100 forward and 100 back (rnn_benchmarks); for JAX's compiled loop there is none published, and
cuDNN's is the nearest."""
START_SECONDS = HOST * 15.0
"""Importing a backend and Keras took 10 to 25 s."""
COMPILE_SECONDS = {"jax": HOST * 10.0, "torch": 0.0}
TORCH_COMPILE_SECONDS = {"lstm": HOST * 71.0, "gru": HOST * 114.0}
CALL_SECONDS = HOST * 0.127
"""A call of `model.predict`; a compiled one takes the dependent steps alone."""


def reckoned(case: Case) -> float:
    """Seconds of a run of two layers on a GPU, from the figures above alone."""
    looped = case.backend == "torch" and (case.cell == "simple_rnn" or case.kernel in ("generic", "compiled"))
    dependent = 2 * (case.steps or 28) * (LOOP_SECONDS if looped else CUDNN_SECONDS)  # forward through both layers
    training = case.epochs * math.ceil(case.train_samples / case.batch_size) * 2 * dependent
    evaluation = (case.epochs + 1) * math.ceil(1000 / case.batch_size) * dependent
    inference = case.latency_calls * (CALL_SECONDS + 2 * dependent)
    compiling = TORCH_COMPILE_SECONDS[case.cell] if case.kernel == "compiled" else COMPILE_SECONDS[case.backend]
    return START_SECONDS + compiling + training + evaluation + inference


@pytest.mark.parametrize(("suite", "runs"), [("gpu_8min", 37), ("gpu_duel", 120)])
def test_the_suites_for_a_gpu_are_estimated_within_a_factor_of_two(suite: str, runs: int) -> None:
    cases = [scheduled.case for scheduled in prepare(suite, None, 0, profile=ANY_GPU).plan().scheduled]
    assert len(cases) == runs
    assert 0.5 < estimate_all(cases) / sum(map(reckoned, cases)) < 2
    wrong = [case for case in cases if not 0.5 < estimate_seconds(case) / reckoned(case) < 2]
    assert not wrong, [(case.backend, case.cell, case.kernel) for case in wrong]


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
