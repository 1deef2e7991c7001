"""A duel's side, or its anchor, without Keras: a step takes 10 µs a unit, times a noise that the group's number draws.

So `units=100` against `units=105` is 5 % slower. A JSON file has what goes wrong, as for
tests.support.fake_worker, by the letter of the side and the number of the group ("b2"), by the letter, or "*".
"""

from __future__ import annotations

import math
import random
import sys
import time

from bench.core.observation import RunMetadata
from bench.core.protocol import CodeImported, Emit, Request, TimedBatch
from tests.support.fake_worker import obey, read_script


def preload(backend: str) -> None:
    print(f"importing {backend}")
    obey(read_script().get("import", "nothing"))


def measure(request: Request, emit: Emit) -> None:
    name, script = request.log.stem, read_script()
    letter = name.rstrip("0123456789")
    what = script.get(name) or script.get(letter) or script.get("*", "nothing")
    noise = random.Random(f"{name}{script.get('seed', 0)}")
    offset = noise.gauss(0.0, script.get("noise", 0.005))
    emit(CodeImported("[]"))
    commands = 0
    while steps := int(sys.stdin.buffer.readline() or 0):
        commands += 1
        if commands == (6 if name == f"{letter}0" else 3):  # amid the rounds; the first group has trials before them
            obey("nothing" if what == "invalid" else what)
        seconds = steps * 1e-5 * request.case.units * math.exp(offset + noise.gauss(0.0, 0.01))
        time.sleep(script.get("seconds", 0.0))
        calls = (seconds / steps * math.exp(noise.gauss(0.0, 0.1)) for _ in range(steps))
        emit(TimedBatch(steps, seconds, seconds, tuple(calls) if request.phase.call_path else ()))
    emit(RunMetadata(attested_kernel="generic", attestation_json="{}"))
    if what == "invalid":
        obey(what)
