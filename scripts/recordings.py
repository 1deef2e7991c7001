"""Recorded rounds: their files, and process pairs that are measured again on a clock of their own.

A recording is a folder with one for each machine, named by the machine's fingerprint: `about.json`, `slices.parquet`
(its columns are those of `bench.duel.record`), and while it is being made a part for each pair.
"""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import pandas as pd

from bench.core.observation import RunMetadata
from bench.duel.interleaved import ROUNDS, Batching, ProcessGroup
from bench.duel.record import ROUNDS_FILE
from bench.duel.rounds import ANCHOR, Round, SideRound, rounds_of, side_key
from bench.duel.sequential import Contrast, Decision
from bench.host.hardware import read_machine
from bench.host.software import read_software
from bench.store.files import publish

ABOUT = "about.json"
RECORDED_ROUNDS = 8
"""A recorded pair's rounds; duels had as many when it was made."""

OWN_SERVERS_SECONDS = 3.5
"""What a recorded pair would have taken longer with two servers of its own: its seconds have a quarter of two servers'
start, and servers for each pair would have taken a quarter of the time more."""

PARTS = "pairs"
"""The folder of a machine's recording that has a file for each pair until they are folded."""

_SHORT = 6
_KEY = ["cell", "pair", "turn", "side"]


@dataclass(frozen=True)
class Recorded:
    """One recorded process pair, A against A."""

    cell: str
    rounds: tuple[Round, ...]
    seconds: float
    """What the pair took, from the start of both processes to the end of both."""

    @property
    def batching(self) -> Batching:
        """The batching of all its rounds."""
        return batching_of(self.rounds[0])

    @property
    def measured_seconds(self) -> float:
        """The sum over both sides' timed batches."""
        return sum(side.seconds for each in self.rounds for side in each.sides.values())

    def shortened(self, rounds: int) -> Recorded:
        """As if it had ended after so many rounds."""
        return self._with(tuple(each for each in self.rounds if each.number < rounds))

    def slowed(self, slowdown: float) -> Recorded:
        """As if each of B's timed batches had taken that fraction longer."""
        return self._with(
            tuple(replace(each, sides={**each.sides, 1: _slowed(each.sides[1], 1 + slowdown)}) for each in self.rounds)
        )

    def swapped(self) -> Recorded:
        """The sides with each other's names."""
        return replace(
            self, rounds=tuple(replace(each, sides={0: each.sides[1], 1: each.sides[0]}) for each in self.rounds)
        )

    def times(self, side: int) -> list[float]:
        """Seconds a step of A (0) or B (1), round by round."""
        return [each.sides[side].seconds / each.sides[side].steps for each in self.rounds]

    def _with(self, rounds: tuple[Round, ...]) -> Recorded:
        changed = replace(self, rounds=rounds)
        return replace(changed, seconds=self.seconds + changed.measured_seconds - self.measured_seconds)


def _slowed(side: SideRound, factor: float) -> SideRound:
    return replace(side, batches=tuple(seconds * factor for seconds in side.batches))


def machine_folder(recording: Path, what: str, facts: Mapping[str, object] = MappingProxyType({})) -> Path:
    """This machine's folder, which says what the machine and its software are; made where it isn't there yet.

    Args:
        recording: the folder of the recording.
        what: is recorded, in words.
        facts: more of it, by name.

    Raises:
        SystemExit: it was recorded with other software.
    """
    machine, software = read_machine(), read_software("tensorflow")
    content = {
        "what": what,
        **facts,
        "machine": json.loads(machine.to_json()),
        "software": json.loads(software.to_json()),
        "software_fingerprint": software.fingerprint,
    }
    folder = recording / machine.fingerprint
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / ABOUT
    if file.exists():
        if json.loads(file.read_text())["software_fingerprint"] != software.fingerprint:
            raise SystemExit(f"{folder} was recorded with other software: name another folder.")
    else:
        publish(file, lambda out: out.write(json.dumps(content, indent=1).encode()))
    return folder


def machines(recording: Path) -> list[Path]:
    """The folders of the machines."""
    return sorted(path.parent for path in recording.glob(f"*/{ABOUT}"))


def minutes(recording: Path) -> float:
    """The minutes of rounds, summed up over sides and machines."""
    return sum(float(recorded(folder)["seconds"].sum()) for folder in machines(recording)) / 60


def recorded(folder: Path) -> pd.DataFrame:
    """A machine's rounds, a row a side: of the parts, and of the file that they are folded into, each once."""
    files = [*folder.glob(ROUNDS_FILE), *sorted((folder / PARTS).glob("*.parquet"))]
    if not files:
        return pd.DataFrame({name: [] for name in ("cell", "pair", "seconds")})
    frame = pd.concat([pd.read_parquet(file) for file in files], ignore_index=True)
    return frame.drop_duplicates(_KEY).sort_values(_KEY, ignore_index=True)


def fold(folder: Path) -> None:
    """Fold all parts into one file. Whenever it is killed, every round is in a part or in the file."""
    partial, whole = folder / f"{ROUNDS_FILE}.part", folder / ROUNDS_FILE
    recorded(folder).to_parquet(partial, index=False, compression="zstd")
    partial.replace(whole)
    for part in (folder / PARTS).glob("*.parquet"):
        part.unlink()
    with contextlib.suppress(FileNotFoundError):
        (folder / PARTS).rmdir()


def batching_of(each: Round) -> Batching:
    """The batching of a recorded round, and so of all rounds of its pair."""
    side = each.sides[0]
    return Batching(side.steps // len(side.batches), len(side.batches))


def read(recording: Path) -> dict[str, list[Recorded]]:
    """By cell and machine (`gru on 3dac00`): the recorded pairs in the order in which they were recorded."""
    frames = {folder.name[:_SHORT]: recorded(folder) for folder in machines(recording)}
    if all(frame.empty for frame in frames.values()):
        raise SystemExit(f"there is no recording in {recording}: make one with scripts/record_rounds.py.")
    pairs: dict[str, list[Recorded]] = {}
    for machine, frame in frames.items():
        for (cell, _), rows in frame[frame["side"] != side_key(ANCHOR)].groupby(["cell", "pair"], sort=True):
            pair = Recorded(str(cell), rounds_of(rows.to_dict("records")), float(rows["pair_seconds"].iloc[0]))
            pairs.setdefault(f"{cell} on {machine}", []).append(pair)
    return pairs


def halves(recording: dict[str, list[Recorded]]) -> tuple[dict[str, list[Recorded]], dict[str, list[Recorded]]]:
    """The earlier half of each cell's pairs, to calibrate on, and the later half, to judge on."""
    earlier = {cell: pairs[: len(pairs) // 2] for cell, pairs in recording.items()}
    return earlier, {cell: pairs[len(pairs) // 2 :] for cell, pairs in recording.items()}


class Replay:
    """What `bench.duel.procedure.measure_until_settled` needs of a runner: pairs drawn from recorded ones.

    They are drawn with replacement, in runs of neighbours, so that what a disturbance did to neighbouring pairs stays
    together. In each pair it is drawn too which side is called A: both ran the same, so the true ratio of what is drawn
    is exactly 1, where that of some thirty recorded pairs is off by a few tenths of a percent by chance. That takes
    pairs for independent, as those with servers of their own are; `scripts/replay_servers.py` replays whole servers.
    """

    NEIGHBOURS = 3

    def __init__(self, pairs: Sequence[tuple[Recorded, Recorded]], seed: str) -> None:
        """`pairs`: each as it was recorded, and with its sides swapped."""
        self.now = 0.0
        self._pairs, self._random = pairs, random.Random(seed)
        self._at, self._left = 0, 0

    def clock(self) -> float:
        """Seconds that the duel has taken."""
        return self.now

    def measure(
        self,
        number: int,
        batching: Batching | None,
        sides: Sequence[int],
        rounds: int = ROUNDS,
        begun: float = 0.0,
    ) -> ProcessGroup:
        """The next pair; how many rounds it has was decided before."""
        if self._left == 0:
            self._at, self._left = self._random.randrange(len(self._pairs)), self.NEIGHBOURS
        pair = self._random.choice(self._pairs[self._at % len(self._pairs)])
        self._at, self._left = self._at + 1, self._left - 1
        seconds = pair.seconds + OWN_SERVERS_SECONDS
        self.now += seconds
        metadata = {0: RunMetadata(), 1: RunMetadata()}
        return ProcessGroup(rounds=pair.rounds, metadata=metadata, batching=pair.batching, seconds=seconds)


class Silent:
    """A reporter that prints nothing."""

    def group_ended(self, log_ratios: Mapping[Contrast, float], decision: Decision | None, seconds: float) -> None:
        """See `bench.duel.procedure.GroupReporter`."""
