"""A small share of `scripts/kills.py`: signals at random moments and at named steps, and what is kept after them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.kills import episode
from tests.support.zygote import shared_zygote


@pytest.mark.parametrize(
    ("kind", "seed"),
    [
        ("run", "0/3"),
        ("two machines", "1/0"),  # left leases of the killed owner, who was joined
        ("compact", "compact/1"),  # left temporary files of killed calls
        ("table --write", "table --write/3"),  # left them beside the user's file
        ("duel", "duel/1"),  # left half a duel
    ],
)
def test_signals_leave_nothing_half_done_and_nothing_behind(tmp_path: Path, kind: str, seed: str) -> None:
    kills = episode(kind, seed, tmp_path / "episode", shared_zygote())
    assert [(kill.target, kill.signal, kill.moment, kill.wrong) for kill in kills if kill.wrong] == []
    assert kills
