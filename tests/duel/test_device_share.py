"""bench.duel.device_share: variables as the documentation of JAX and TensorFlow has them; the driver is simulated."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from bench.core.case import Case
from bench.core.protocol import MEMORY_FRACTION, MEMORY_LIMIT
from bench.duel.device_share import sharing_devices
from bench.duel.sides import PreparedSide, anchor_side, trained_anchor_side
from bench.host.nvml import open_gpu
from bench.run.server import WorkerEnvironment
from tests.support.fake_nvml import FakeNvml


def shared_by(asked: list[PreparedSide], environ: Mapping[str, str] = MappingProxyType({})) -> list[PreparedSide]:
    """The sides on a card of 80 GiB."""
    driver = FakeNvml(memory_bytes=80 << 30, beside=[FakeNvml(uuid="GPU-2", bus=0xC1, memory_bytes=24 << 30)])
    return sharing_devices(asked, environ, lambda device, variables: open_gpu(device, variables, driver))


def sides(*devices: str, **variables: str) -> list[PreparedSide]:
    environment = WorkerEnvironment(variables=variables)
    return [
        PreparedSide(title=device, case=Case(cell="lstm", device=device), environment=environment) for device in devices
    ]


def fractions(shared: list[PreparedSide]) -> list[float]:
    return [float(side.environment.variables["XLA_PYTHON_CLIENT_MEM_FRACTION"]) for side in shared]


def test_all_sides_of_a_card_fit_and_each_has_as_much() -> None:
    for number in range(2, 9):
        shared = fractions(shared_by(sides(*["gpu:0"] * number)))
        assert len(set(shared)) == 1
        assert 0.85 < sum(shared) < 0.95
    (side, _) = shared_by(sides("gpu:0", "gpu:0"))
    assert side.environment.variables == {
        "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.450",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        MEMORY_FRACTION: "0.450",
        MEMORY_LIMIT: str(36 * 1024),
    }


def test_sides_on_cards_of_their_own_share_nothing() -> None:
    shared = shared_by(sides("gpu:0", "gpu:1", "gpu:0"))
    assert fractions(shared) == [0.45, 0.9, 0.45]
    limits = [int(side.environment.variables[MEMORY_LIMIT]) for side in shared]
    assert limits == [36 * 1024, int(0.9 * 24 * 1024), 36 * 1024]  # each of its own card's memory


def test_the_anchor_shares_the_card_where_it_computes_on_it_and_numpys_does_not() -> None:
    both = sides("gpu:0", "gpu:0")
    of_backend = shared_by([*both, trained_anchor_side(both[0])])
    assert fractions(of_backend) == [0.3, 0.3, 0.3]
    *on_card, anchor = shared_by([*both, anchor_side(both[0].case)])
    assert fractions(on_card) == [0.45, 0.45]
    assert MEMORY_LIMIT not in anchor.environment.variables


def test_without_the_driver_there_is_no_limit_in_bytes() -> None:
    (side,) = sharing_devices(sides("gpu:0"), {}, lambda device, _: None)
    assert MEMORY_LIMIT not in side.environment.variables
    assert side.environment.variables["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"


def test_sides_on_a_processor_are_left_as_they_are() -> None:
    asked = sides("cpu", "cpu", GLIBC_TUNABLES="x")
    assert shared_by(asked) == asked


def test_what_the_user_or_the_side_has_set_stands() -> None:
    (side,) = shared_by(
        sides("gpu:0", TF_FORCE_GPU_ALLOW_GROWTH="false"), {"XLA_PYTHON_CLIENT_MEM_FRACTION": ".2", MEMORY_LIMIT: "100"}
    )
    assert side.environment.variables == {"TF_FORCE_GPU_ALLOW_GROWTH": "false", MEMORY_FRACTION: "0.900"}
