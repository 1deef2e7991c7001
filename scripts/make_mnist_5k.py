"""Makes the embedded data set `mnist_5k` from MNIST: 400 training and 100 test digits a class, each from its own set.

The rule: within a class, digits are ranked by the SHA-256 of their 784 bytes, and the first are taken; what is taken
keeps MNIST's order. So no random generator is involved, and the choice can be repeated in any language. (Of two equal
digits, the earlier ranks first.) The file's bytes depend on the zlib in use, its digest doesn't.

    python scripts/make_mnist_5k.py --data-dir FOLDER [--out bench/catalog/data/mnist_5k.npz]
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.catalog.tasks import (  # noqa: E402 (a fresh clone has nothing installed yet)
    TASKS,
    Arrays,
    content_digest,
    part_digests,
    write_npz,
)
from bench.catalog.tasks.mnist import read_folder  # noqa: E402

if TYPE_CHECKING:
    from numpy.typing import NDArray

TRAIN_PER_CLASS = 400
TEST_PER_CLASS = 100


def choose(digits: NDArray[np.uint8], labels: NDArray[np.uint8], per_class: int) -> NDArray[np.intp]:
    """The indices of the digits that the rule takes, ascending."""
    ranks = [hashlib.sha256(digit.tobytes()).digest() for digit in digits]
    taken: list[int] = []
    for label in np.unique(labels):
        taken += sorted(np.flatnonzero(labels == label).tolist(), key=lambda index: ranks[index])[:per_class]
    return np.array(sorted(taken))


def subset(whole: Arrays) -> Arrays:
    """The embedded data set, from all of MNIST."""
    train = choose(whole.x_train, whole.y_train, TRAIN_PER_CLASS)
    test = choose(whole.x_test, whole.y_test, TEST_PER_CLASS)
    return Arrays(whole.x_train[train], whole.y_train[train], whole.x_test[test], whole.y_test[test])


def main() -> None:
    """Reads MNIST, verified; writes the file; prints the digests that `bench/catalog/tasks/mnist.py` holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True, help="a folder with MNIST's IDX files or mnist.npz")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "catalog" / "data" / "mnist_5k.npz")
    asked = parser.parse_args()
    made = subset(read_folder(asked.data_dir, TASKS["mnist"]))
    with asked.out.open("wb") as file:
        write_npz(file, made, compressed=True)
    print(f"{asked.out}: {asked.out.stat().st_size} bytes")
    print(f"digest {content_digest(made)}")
    for name, found in zip(made.parts, part_digests(made), strict=True):
        print(f"{name} {found}")


if __name__ == "__main__":
    main()
