"""bench.duel.device_share: variables as the documentation of JAX and TensorFlow has them; no GPU was there."""

from __future__ import annotations

from bench.core.case import Case
from bench.core.protocol import MEMORY_FRACTION
from bench.duel.device_share import sharing_devices
from bench.duel.sides import PreparedSide
from bench.run.server import WorkerEnvironment


def sides(*devices: str, **variables: str) -> list[PreparedSide]:
    environment = WorkerEnvironment(variables=variables)
    return [
        PreparedSide(title=device, case=Case(cell="lstm", device=device), environment=environment) for device in devices
    ]


def fractions(shared: list[PreparedSide]) -> list[float]:
    return [float(side.environment.variables["XLA_PYTHON_CLIENT_MEM_FRACTION"]) for side in shared]


def test_all_sides_of_a_card_fit_and_each_has_as_much() -> None:
    for number in range(2, 9):
        shared = fractions(sharing_devices(sides(*["gpu:0"] * number), {}))
        assert len(set(shared)) == 1
        assert 0.85 < sum(shared) < 0.95
    (side, _) = sharing_devices(sides("gpu:0", "gpu:0"), {})
    assert side.environment.variables == {
        "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.450",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        MEMORY_FRACTION: "0.450",
    }


def test_sides_on_cards_of_their_own_share_nothing() -> None:
    assert fractions(sharing_devices(sides("gpu:0", "gpu:1", "gpu:0"), {})) == [0.45, 0.9, 0.45]


def test_sides_on_a_processor_are_left_as_they_are() -> None:
    asked = sides("cpu", "cpu", GLIBC_TUNABLES="x")
    assert sharing_devices(asked, {}) == asked


def test_what_the_user_or_the_side_has_set_stands() -> None:
    (side,) = sharing_devices(
        sides("gpu:0", TF_FORCE_GPU_ALLOW_GROWTH="false"), {"XLA_PYTHON_CLIENT_MEM_FRACTION": ".2"}
    )
    assert side.environment.variables == {"TF_FORCE_GPU_ALLOW_GROWTH": "false", MEMORY_FRACTION: "0.900"}
