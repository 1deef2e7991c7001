"""Attests models in a fork each of a process that has imported a backend; prints a JSON object a line.

`python -m tests.real.attest_models BACKEND MODULE:BUILD[=MODULE:DATA] …`
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from bench.core.case import Case
from bench.core.observation import RunMetadata
from bench.core.protocol import Event, FailedRun, ModelRequest, Request


def main(backend: str, *names: str) -> None:
    os.environ["KERAS_BACKEND"] = backend
    from bench.worker import model_attestation

    model_attestation.preload(backend)
    for name in names:
        if child := os.fork():
            os.waitpid(child, 0)
            continue
        factory, _, data = name.partition("=")
        seen: dict[str, Any] = {"name": factory}

        def emit(event: Event, seen: dict[str, Any] = seen) -> None:
            assert isinstance(event, RunMetadata)
            phases = json.loads(event.attestation_json or "")
            layers = dict.fromkeys(layer for phase in phases.values() for layer in phase)
            seen["facts"] = json.loads(event.extra_json or "")
            seen["kernels"] = {
                layer: [phases[phase].get(layer, {}).get("kernel") for phase in phases] for layer in layers
            }
            seen["phases"] = list(phases)

        request = Request(
            case=Case(cell="lstm", backend=backend),
            data=Path(),
            log=Path(),
            model=ModelRequest(factory=factory, data_factory=data, steps=5),
        )
        try:
            model_attestation.measure(request, emit)
        except FailedRun as reason:
            seen["error"] = str(reason)
        print(json.dumps(seen), flush=True)
        os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
