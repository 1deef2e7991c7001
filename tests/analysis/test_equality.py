"""The float64 reference, and what a number format allows beside it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bench.analysis.equality import (
    KernelNumbers,
    NumberComparison,
    against_reference,
    batch_of,
    pairs,
    precision,
    question,
)
from bench.analysis.reference_network import Computed, Problem, compute, problem
from bench.analysis.rounding import Precision, Tape, Value
from bench.catalog import tasks
from bench.core.case import Case

SMALL: dict[str, Any] = {
    "task": "noise",
    "network": "cudnn_ready",
    "units": 5,
    "batch_size": 4,
    "steps": 7,
    "features": 3,
    "classes": 3,
}
FLOAT32 = Precision(2.0**-24, 2.0**-126)


def small(**axes: Any) -> Case:
    return Case(**{**SMALL, "cell": "lstm", **axes})


def numbers(case: Case, computed: Computed) -> KernelNumbers:
    return KernelNumbers(
        case=case,
        attested="generic",
        settings_json="{}",
        outputs=computed.outputs.astype(np.float32),
        gradients=tuple(gradient.astype(np.float32) for gradient in computed.gradients),
    )


def compared(case: Case, given: Problem | None = None, **instead: Any) -> NumberComparison:
    """What is found of a kernel that computes `case` with other axes, or another batch, in their place."""
    asked = question(case)
    computing = replace(asked, **instead)
    result = compute(computing, tasks.of(computing), given or batch_of(asked))
    return against_reference(numbers(case, result))


@pytest.mark.parametrize(
    "axes",
    [
        {"cell": "simple_rnn", "activation": "relu"},
        {"cell": "simple_rnn", "activation": "silu", "bias": False},
        {"cell": "lstm", "activation": "softsign", "recurrent_activation": "hard_sigmoid"},
        {"cell": "lstm", "bidirectional": True, "mask": "gaps"},
        {"cell": "gru", "mask": "right", "activation": "elu"},
        {"cell": "gru", "reset_after": False, "bidirectional": True},
        {"cell": "min_gru"},
        {"cell": "gru", "task": "adding", "features": 0, "classes": 0},
        {"cell": "lstm", "task": "copy_memory", "steps": 21, "features": 0, "classes": 0},
    ],
    ids=lambda axes: " ".join(f"{name}={value}" for name, value in axes.items()),
)
def test_the_gradients_are_what_central_differences_of_the_loss_give(axes: dict[str, Any]) -> None:
    case = small(**axes)
    task = tasks.of(case)
    given = problem(case, task, 0)
    exact = compute(case, task, given)
    random = np.random.default_rng(0)
    for place, weight in enumerate(given.weights):
        index = tuple(int(random.integers(0, size)) for size in weight.shape)
        losses = []
        for step in (1e-6, -1e-6):
            moved = weight.astype(np.float64)
            moved[index] += step
            weights: Any = (*given.weights[:place], moved, *given.weights[place + 1 :])
            losses.append(compute(case, task, replace(given, weights=weights)).loss)
        slope = (losses[0] - losses[1]) / 2e-6
        assert exact.gradients[place][index] == pytest.approx(slope, rel=1e-5, abs=1e-8), given.names[place]


def test_a_mask_leaves_out_what_is_padded_and_nothing_else() -> None:
    """A sequence with gaps comes to what the same one does without them."""
    case = small(mask="gaps", bidirectional=True)
    task = tasks.of(case)
    given = problem(case, task, 0)
    whole = compute(case, task, given).outputs
    for sample, x in enumerate(given.x):
        kept = x[(x != -1).any(axis=1)]
        assert len(kept) < task.steps or sample > 0
        alone = replace(given, x=kept[None], y=given.y[sample : sample + 1])
        shorter = replace(case, mask="none", steps=len(kept))
        assert compute(shorter, tasks.of(shorter), alone).outputs[0] == pytest.approx(whole[sample], rel=1e-12)


@pytest.mark.parametrize("cell", ["simple_rnn", "lstm", "gru"])
def test_what_float32_gives_is_equal_and_what_another_computation_gives_differs(cell: str) -> None:
    case = small(cell=cell)
    in_float32 = compute(question(case), tasks.of(case), batch_of(question(case)), FLOAT32, seed=99)
    assert against_reference(numbers(case, in_float32)).equal
    assert 1e-9 < against_reference(numbers(case, in_float32)).outputs.allowed < 1e-5
    wrong: list[dict[str, Any]] = [{"activation": "softsign"}]
    wrong += [{"recurrent_activation": "hard_sigmoid"}] if cell != "simple_rnn" else []
    for instead in wrong:
        assert not compared(case, **instead).equal, instead


@pytest.mark.parametrize("mask", ["right", "gaps"])
def test_a_kernel_that_ignores_the_mask_differs(mask: str) -> None:
    case = small(mask=mask)
    given = batch_of(question(case))
    # Keras's layer Masking puts zeros where it masks
    unmasked = replace(given, x=np.where(given.x == -1, np.float32(0), given.x))
    comparison = compared(case, unmasked, mask="none")
    assert not comparison.outputs.equal
    assert comparison.of_allowed > 100


def test_a_wrong_gradient_alone_differs_and_the_weight_is_named() -> None:
    case = small()
    exact = compute(question(case), tasks.of(case), batch_of(question(case)))
    gradients = list(exact.gradients)
    gradients[1] = gradients[1] * (1 + 1e-3)
    wrong = against_reference(numbers(case, replace(exact, gradients=tuple(gradients))))
    assert wrong.outputs.equal
    assert not wrong.equal
    assert wrong.gradients is not None
    assert wrong.gradients.array == "recurrent_a recurrent kernel"


def test_what_is_no_number_differs() -> None:
    case = small()
    exact = compute(question(case), tasks.of(case), batch_of(question(case)))
    assert not against_reference(numbers(case, replace(exact, outputs=exact.outputs * np.nan))).equal


def test_pairs_are_of_the_same_batch_and_allowed_what_both_are() -> None:
    cases = [small(), small(backend="jax"), small(backend="torch", mask="gaps"), small(dtype="mixed_bfloat16")]
    every = [numbers(case, compute(question(case), tasks.of(case), batch_of(question(case)))) for case in cases]
    of_pairs = pairs(every)
    assert [(pair.first, pair.second) for pair in of_pairs] == [
        (cases[0], cases[1]),
        (cases[0], cases[3]),
        (cases[1], cases[3]),
    ]
    assert all(pair.equal for pair in of_pairs)
    single, half = (against_reference(each).outputs.allowed for each in (every[0], every[3]))
    assert half > 1000 * single
    assert of_pairs[0].outputs.allowed == pytest.approx(2 * single)
    assert of_pairs[1].outputs.allowed == pytest.approx(single + half)


@pytest.mark.parametrize(
    ("axes", "settings", "tf32"),
    [
        ({"device": "cpu"}, '{"tf32": true}', False),
        ({"device": "gpu:0"}, '{"tf32": true}', True),
        ({"device": "gpu:0"}, '{"tf32": false}', False),
        ({"device": "gpu:0", "backend": "jax"}, '{"default_matmul_precision": null}', True),
        ({"device": "gpu:0", "backend": "jax"}, '{"default_matmul_precision": "highest"}', False),
        ({"device": "gpu:0", "backend": "torch"}, '{"tf32_matmul": false, "tf32_cudnn": true}', False),
        ({"device": "gpu:0", "dtype": "float64"}, '{"tf32": true}', False),
    ],
)
def test_products_in_tf32_are_allowed_what_tf32_loses(axes: dict[str, Any], settings: str, tf32: bool) -> None:
    case = small(**axes)
    exact = compute(question(case), tasks.of(case), batch_of(question(case)))
    assert bool(precision(replace(numbers(case, exact), settings_json=settings)).inputs) is tf32


def test_products_are_perturbed_by_about_what_float32_loses() -> None:
    """Beside products that NumPy computes in float32: of the same size, and not below."""
    random = np.random.default_rng(0)
    a, b = random.standard_normal((64, 300)).astype(np.float32), random.standard_normal((300, 64)).astype(np.float32)
    exact = a.astype(np.float64) @ b.astype(np.float64)
    perturbed = Tape(FLOAT32).product(Value(a.astype(np.float64)), Value(b.astype(np.float64))).array
    sequential = np.zeros((64, 64), np.float32)
    for term in range(300):
        sequential += np.outer(a[:, term], b[term])
    lost, simulated = abs(sequential - exact).std(), abs(perturbed - exact).std()
    assert lost < simulated < 10 * lost
