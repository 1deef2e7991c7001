"""A duel's side for `scripts/record_layout.py`, which with `HEAP=shuffled` moves what is allocated from here on.

Thousands of blocks of random sizes, and one of up to a huge page, lie before it in the heap then. So processes that
were forked from one server don't all inherit where their arrays lie.
"""

from __future__ import annotations

import ctypes
import os
import random

from bench.core.protocol import Emit, Request
from bench.worker import side
from bench.worker.side import preload as preload

_SMALL_BLOCKS, _SMALL_BYTES = 4096, 4096
_HUGE_PAGE_BYTES = 2 << 20


def measure(request: Request, emit: Emit) -> None:
    """Do the side's timed batches, in the heap that the environment asks for."""
    if os.environ.get("HEAP") == "shuffled":
        _shuffle_heap()
    side.measure(request, emit)


def _shuffle_heap() -> None:
    """Take blocks that are never given back, and never touched."""
    libc, draw = ctypes.CDLL(None), random.SystemRandom()
    libc.malloc.argtypes, libc.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
    for _ in range(draw.randrange(_SMALL_BLOCKS)):
        libc.malloc(draw.randrange(1, _SMALL_BYTES))
    libc.malloc(draw.randrange(1, _HUGE_PAGE_BYTES))
