"""bench.worker.streaming: a network in NumPy reads its sequences a step at a time."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from bench.catalog.streaming import streaming_apart
from bench.core.case import Case
from bench.worker.evidence.programs import NOT_UNROLLED, OUTSIDE, Node, Scopes, read_graph
from bench.worker.evidence.steps import read_phase
from bench.worker.inference import CallPath, Inputs, Outputs, time_calls, warm_up
from bench.worker.streaming import StreamingCall, largest_difference

DRAW = np.random.default_rng(0)
W, R = DRAW.normal(size=(3, 4)), 0.5 * DRAW.normal(size=(4, 4))
X = DRAW.normal(size=(7, 5, 3))
"""7 sequences of 5 steps."""


def step(x: Inputs, state: Outputs) -> tuple[Outputs, Outputs]:
    after = np.tanh(x @ W + state @ R)
    return after, after


def start(batch: int) -> Outputs:
    return np.zeros((batch, 4))


def whole(x: Inputs) -> Outputs:
    outputs, state = [], start(len(x))
    for place in range(x.shape[1]):
        state = np.tanh(x[:, place] @ W + state @ R)
        outputs.append(state)
    return np.stack(outputs, axis=1)


def forgetful(x: Inputs, state: Outputs) -> tuple[Outputs, Outputs]:
    return step(x, start(len(x)))


def test_a_stream_gives_at_each_step_what_a_pass_over_the_sequences_gives() -> None:
    stream = StreamingCall(start, step)
    assert largest_difference(stream.read(X), whole(X)) < 1e-15
    assert stream.read(X).tolist() == stream.read(X).tolist()  # it begins anew


@pytest.mark.parametrize(
    "wrong", [StreamingCall(start, forgetful), StreamingCall(lambda batch: start(batch) + 0.1, step)]
)
def test_a_stream_that_drops_its_state_or_begins_with_another_is_seen(wrong: StreamingCall) -> None:
    (problem,) = streaming_apart(Case(cell="lstm"), largest_difference(wrong.read(X), whole(X)))
    assert "differ from those of whole sequences" in problem


def test_a_difference_is_a_fraction_where_outputs_are_large_and_no_number_is_lost() -> None:
    assert largest_difference(np.array([[[0.5]]]), np.array([[[0.25]]])) == 0.25
    assert largest_difference(np.array([[[1010.0]]]), np.array([[[1000.0]]])) == 0.01
    assert np.isnan(largest_difference(np.array([[[np.nan]]]), np.array([[[0.0]]])))


def test_each_timed_call_is_the_next_step_and_each_sequence_begins_with_the_first_state() -> None:
    given: list[tuple[list[float], bool]] = []

    def noted(x: Inputs, state: Outputs) -> tuple[Outputs, Outputs]:
        assert x.flags["C_CONTIGUOUS"]
        given.append((x[:, 0].tolist(), bool((state == 0).all())))
        return step(x, state)

    whole_inputs: list[int] = []
    paths: dict[str, CallPath] = {
        "compiled": lambda x: whole_inputs.append(x.shape[1]),
        "streaming": StreamingCall(start, noted),
    }
    observed = time_calls(paths, X, 2, 12)
    assert [value for value, _ in given] == [
        X[first : first + 2, place, 0].tolist() for first, place in itertools.product((0, 2, 4), range(5))
    ][:12]
    assert [fresh for _, fresh in given] == [call % 5 == 0 for call in range(12)]
    assert whole_inputs == [5] * 12
    calls = pd.DataFrame([(o.entry, o.call, o.samples, o.phase) for o in observed])
    assert set(calls[0]) == {"compiled", "streaming"}
    assert set(calls[2]) == {2}


def test_the_warm_up_carries_a_state_too() -> None:
    carried: list[bool] = []

    def noted(x: Inputs, state: Outputs) -> tuple[Outputs, Outputs]:
        carried.append(bool((state != 0).any()))
        return step(x, state)

    warm_up({"streaming": StreamingCall(start, noted)}, X, {1: 10, 3: 2})
    assert carried == [False, True, True] * 2


def test_the_program_of_a_step_shows_a_step_and_a_loop_in_it_stays_a_loop() -> None:
    layers = Scopes.of_names(("recurrent_a", "recurrent_b"), 28)
    products = [
        Node(name, "MatMul", compiled=False, looped=False)
        for name in ("recurrent_a/lstm_cell/MatMul", "recurrent_b/lstm_cell/MatMul", "dense/MatMul", "dense_1/MatMul")
    ]
    loop = Node("recurrent_b/while", "While", compiled=False, looped=False)

    def kernels(phase: str, *nodes: Node) -> dict[str, str]:
        program = read_phase(phase, layers, lambda scopes: read_graph(nodes, "digest", scopes))
        return {layer: shown.kernel for layer, shown in program.items()}

    assert kernels("streaming", *products) == {"recurrent_a": "step", "recurrent_b": "step"}
    assert kernels("compiled", *products) == {"recurrent_a": "none", "recurrent_b": "none"}
    assert kernels("streaming", *products, loop)["recurrent_b"] != "step"
    in_xla = [Node(node.name, node.operation, compiled=True, looped=False) for node in products]
    assert kernels("streaming", *in_xla) == {"recurrent_a": "step_xla", "recurrent_b": "step_xla"}
    outside = kernels("streaming", *products, Node("dense/while", "While", compiled=False, looped=False))
    assert OUTSIDE in outside
    assert NOT_UNROLLED > 28
