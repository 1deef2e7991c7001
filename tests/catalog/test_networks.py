"""bench.catalog.networks: what follows from a tuple of layers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.catalog import networks, support
from bench.catalog.cells import BUILT_IN
from bench.catalog.kernels import default_kernels
from bench.catalog.networks import NETWORKS, Dense, Dropout, Layer, Network, Output, Recurrent, arithmetic, parameters
from bench.catalog.tasks import TASKS
from bench.core.case import Case
from bench.plan.estimate import estimate_seconds
from bench.report.network import layers_of

MNIST = TASKS["mnist"]
DEEP = Network(
    "deep",
    "three recurrent layers",
    (Recurrent("tanh"), Recurrent("tanh"), Dropout(0.2), Recurrent("tanh"), Dense(16, "relu"), Output()),
)


def test_the_layers_of_the_protocols_network() -> None:
    placed = NETWORKS["notebook"].placed(128, MNIST)
    assert [(layer.name, layer.inputs, layer.outputs) for layer in placed if layer.name] == [
        ("recurrent_a", (28, 28), (28, 128)),
        ("recurrent_b", (28, 128), (128,)),
    ]
    assert [layer.returns_sequence for layer in placed] == [True, True, False, False, False, False, False]
    assert placed[-1].outputs == (10,)


@pytest.mark.parametrize(
    ("cell", "counts"),
    # as `model.summary()` of Keras 3.15 tells them
    [
        ("simple_rnn", (20_096, 0, 32_896, 0, 4_128, 0, 330)),
        ("lstm", (80_384, 0, 131_584, 0, 4_128, 0, 330)),
        ("gru", (60_672, 0, 99_072, 0, 4_128, 0, 330)),
    ],
)
def test_the_parameters_are_those_that_keras_counts(cell: str, counts: tuple[int, ...]) -> None:
    placed = NETWORKS["notebook"].placed(128, MNIST)
    assert tuple(parameters(layer, BUILT_IN[cell]) for layer in placed) == counts


def test_networks_differ_in_the_second_activation_only() -> None:
    assert {name: network.activations for name, network in NETWORKS.items()} == {
        "notebook": ("tanh", "relu"),
        "single": ("tanh",),
        "cudnn_ready": ("tanh", "tanh"),
    }


@pytest.mark.parametrize(
    "layers",
    [
        (),
        (Output(),),
        (Recurrent("tanh"),),
        (Recurrent("tanh"), Output(), Dense(2, "relu")),
        (Recurrent("tanh"), Dense(2, "relu"), Recurrent("tanh"), Output()),
    ],
)
def test_layers_that_make_no_network_are_refused(layers: tuple[Layer, ...]) -> None:
    with pytest.raises(ValueError, match="the network odd must be recurrent layers, then dense ones"):
        Network("odd", "", layers)


def test_a_third_recurrent_layer_is_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names, shapes, arithmetic, drawing, estimate and Keras's choices follow from the tuple."""
    monkeypatch.setitem(NETWORKS, "deep", DEEP)
    assert DEEP.recurrent_names == ("recurrent_a", "recurrent_b", "recurrent_c")
    case = Case(cell="lstm", network="deep", units=8)
    drawn = layers_of(case, MNIST)
    assert [layer.name for layer in drawn if layer.recurrent] == ["lstm, tanh"] * 3
    assert drawn[-2].parameters == (8 + 1) * 16
    two, three = (arithmetic(network, 4, 8, MNIST) for network in (NETWORKS["cudnn_ready"], DEEP))
    assert three.forward - two.forward == 2 * 28 * 4 * (8 * 8 + 8 * 8) + 2 * (8 * 16 + 16 * 10) - 2 * (8 * 32 + 32 * 10)
    assert estimate_seconds(case) > estimate_seconds(Case(cell="lstm", network="cudnn_ready", units=8))
    assert default_kernels(case) == ("generic",) * 3
    assert support.kernel_refusal(Case(cell="lstm", network="deep", kernel="cudnn", device="gpu:0")) is None


@pytest.mark.parametrize(
    ("activations", "said"),
    [
        (("tanh", "relu"), "the second layer's relu rules cuDNN out: layer 1 only; use the network cudnn_ready"),
        (("tanh", "tanh", "relu"), "the third layer's relu rules cuDNN out: layer 1 and 2 only"),
        (("relu", "relu"), "the first layer's relu rules cuDNN out: no layer is left"),
    ],
)
def test_the_layer_that_rules_cudnn_out_is_named(
    activations: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers: tuple[Layer, ...] = (*map(Recurrent, activations), Output())
    monkeypatch.setitem(NETWORKS, "mine", Network("mine", "", layers))
    case = Case(cell="lstm", network="mine", kernel="cudnn", device="gpu:0")
    assert (support.kernel_refusal(case) or "").startswith(said)


@pytest.mark.parametrize(
    ("gates", "forward", "training"), [(1, 2.962e6, 8.685e6), (3, 8.868e6, 26.003e6), (4, 11.822e6, 34.662e6)]
)
def test_the_arithmetic_of_the_protocols_network(gates: int, forward: float, training: float) -> None:
    flops = arithmetic(NETWORKS["notebook"], gates, 128, TASKS["mnist"])
    assert (flops.forward, flops.training) == pytest.approx((forward, training), rel=1e-3)


def test_a_cell_that_does_not_multiply_its_state_has_the_products_of_its_inputs_alone() -> None:
    """minGRU: two products a step with the inputs, and as many parameters as Keras counts (`tests/real`)."""
    task = TASKS["mnist"]
    flops = arithmetic(NETWORKS["single"], 2, 16, task, state_gates=0)
    assert flops.forward == 2 * 28 * 2 * 28 * 16 + 2 * 16 * 10
    assert flops.training == 3 * flops.forward - 2 * 28 * 2 * 28 * 16
    recurrent, _ = NETWORKS["single"].placed(16, task)
    assert parameters(recurrent, BUILT_IN["min_gru"]) == 28 * 32 + 32
    assert parameters(recurrent, BUILT_IN["gru"]) == 3 * 16 * (28 + 16 + 2)


@given(st.integers(1, 4), st.integers(1, 50), st.integers(1, 20), st.integers(1, 40), st.integers(2, 20))
def test_the_arithmetic_by_counting_each_product(
    gates: int, units: int, steps: int, features: int, classes: int
) -> None:
    task = replace(TASKS["mnist"], steps=steps, features=features, outputs=classes)
    flops = arithmetic(NETWORKS["cudnn_ready"], gates, units, task)
    products = []  # (rows, columns) of each matrix that one sample is multiplied by, and whether its input is data
    for _ in range(steps):
        for _ in range(gates):
            products += [((features, units), True), ((units, units), False)]
            products += [((units, units), False), ((units, units), False)]
    products += [((units, 32), False), ((32, classes), False)]
    forward = sum(2 * rows * columns for (rows, columns), _ in products)
    # backward: one product for the gradient of the weights, and one for that of the input unless it is data
    backward = sum(2 * rows * columns * (1 if data else 2) for (rows, columns), data in products)
    assert (flops.forward, flops.training) == (forward, forward + backward)


@pytest.mark.parametrize(
    ("axes", "picked"),
    [
        ({}, ("generic", "generic")),
        ({"backend": "jax"}, ("generic", "generic")),
        ({"device": "gpu:0"}, ("cudnn", "generic")),  # one layer in cuDNN turns XLA off for the whole model
        ({"device": "gpu:0", "cell": "simple_rnn"}, ("xla", "xla")),
        ({"device": "gpu:0", "network": "cudnn_ready"}, ("cudnn", "cudnn")),
        ({"device": "gpu:0", "network": "cudnn_ready", "backend": "jax"}, ("cudnn", "cudnn")),
        ({"device": "gpu:0", "network": "cudnn_ready", "backend": "jax", "cell": "gru"}, ("generic", "generic")),
        ({"device": "gpu:0", "network": "cudnn_ready", "backend": "torch", "cell": "gru"}, ("cudnn", "cudnn")),
        ({"device": "gpu:0", "backend": "torch", "cell": "simple_rnn"}, ("generic", "generic")),
        ({"cell": "my:cell", "device": "gpu:0"}, ()),
    ],
)
def test_what_keras_picks_by_itself(axes: dict[str, Any], picked: tuple[str, ...]) -> None:
    assert default_kernels(Case(**{"cell": "lstm", **axes})) == picked


@pytest.mark.parametrize(
    ("layers", "activations", "drops"),
    [(0, ("tanh", "relu"), 3), (1, ("tanh",), 2), (2, ("tanh", "relu"), 3), (4, ("tanh", "relu", "relu", "relu"), 5)],
)
def test_more_recurrent_layers_are_like_the_last(layers: int, activations: tuple[str, ...], drops: int) -> None:
    network = networks.of(Case(cell="lstm", layers=layers))
    assert network.activations == activations
    assert sum(isinstance(layer, Dropout) for layer in network.layers) == drops
    assert network.layers[-3:] == NETWORKS["notebook"].layers[-3:]


def test_the_options_of_a_case_are_in_each_of_its_recurrent_layers() -> None:
    assert networks.of(Case(cell="lstm")) == NETWORKS["notebook"]
    case = Case(cell="gru", activation="elu", recurrent_activation="relu", bias=False, reset_after=False, layers=3)
    assert set(networks.of(case).recurrent) == {Recurrent("elu", "relu", bias=False, reset_after=False)}
    both = networks.of(Case(cell="gru", bidirectional=True, dropout=0.1, recurrent_dropout=0.2, stateful=True))
    assert both.recurrent[1] == Recurrent("relu", bidirectional=True, dropout=0.1, recurrent_dropout=0.2, stateful=True)


@pytest.mark.parametrize(
    ("options", "counts"),
    # as Keras 3.15 counts them, for 28 features and 8 units; `tests/real/test_options.py` asks it again
    [
        ({"cell": "simple_rnn"}, (296, 136)),
        ({"cell": "lstm", "bidirectional": True}, (2 * 1184, 2 * 800)),
        ({"cell": "gru", "bias": False}, (864, 384)),
        ({"cell": "gru", "reset_after": False}, (888, 408)),
        ({"cell": "gru"}, (912, 432)),
    ],
)
def test_options_change_the_parameters(options: dict[str, Any], counts: tuple[int, ...]) -> None:
    case = Case(**options, units=8)
    placed = [layer for layer in networks.of(case).placed(8, MNIST) if layer.name]
    assert tuple(parameters(layer, BUILT_IN[case.cell]) for layer in placed) == counts


def test_both_directions_are_counted_and_do_not_wait_for_each_other() -> None:
    one_way, both = (networks.of(Case(cell="lstm", units=8, bidirectional=both)) for both in (False, True))
    first, second = (2 * 28 * 4 * 8 * (28 + 8)), (2 * 28 * 4 * 8 * (8 + 8))
    assert arithmetic(one_way, 4, 8, MNIST).forward == first + second + 2 * (8 * 32 + 32 * 10)
    wider = 2 * 28 * 4 * 8 * (16 + 8)
    assert arithmetic(both, 4, 8, MNIST).forward == 2 * first + 2 * wider + 2 * (16 * 32 + 32 * 10)
    assert one_way.dependent_steps(MNIST) == both.dependent_steps(MNIST) == 4 * 28
    seconds = [estimate_seconds(Case(cell="lstm", bidirectional=both, latency_calls=0)) for both in (False, True)]
    assert seconds[1] > 1.6 * seconds[0]
    assert networks.of(Case(cell="gru", reset_after=False, layers=3)).dependent_steps(MNIST) == 2 * 3 * 2 * 28


@pytest.mark.parametrize(
    ("axes", "picked"),
    [
        # XLA is off as soon as a layer was made such that cuDNN could have taken it
        ({"recurrent_dropout": 0.1}, "generic"),
        ({"recurrent_dropout": 0.1, "bias": False}, "xla"),
        ({"dropout": 0.1}, "cudnn"),
        ({"bias": False}, "xla"),
        ({"activation": "elu"}, "xla"),
        ({"recurrent_activation": "hard_sigmoid"}, "xla"),
        ({"recurrent_activation": "sigmoid", "bidirectional": True, "stateful": True}, "cudnn"),
        ({"mask": "right"}, "cudnn"),
        ({"mask": "right", "backend": "jax"}, "generic"),
        ({"mask": "right", "backend": "torch"}, "generic"),
        ({"cell": "gru", "reset_after": False}, "xla"),
        ({"cell": "gru", "reset_after": False, "backend": "torch"}, "generic"),
    ],
)
def test_what_keras_picks_with_options(axes: dict[str, Any], picked: str) -> None:
    case = Case(**{"cell": "lstm", "network": "cudnn_ready", "device": "gpu:0", **axes})
    assert set(default_kernels(case)) == {picked}
    assert set(default_kernels(replace(case, device="cpu"))) == {"generic"}
