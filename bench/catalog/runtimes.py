"""What can compute a network: Keras itself, or what people leave Keras for."""

from __future__ import annotations

from dataclasses import dataclass

from bench.core.case import Case
from bench.core.errors import named


@dataclass(frozen=True)
class Runtime:
    """What computes a network; `modules` are needed beside its backend, and come with the extra `extra`."""

    name: str
    title: str
    adapter: str
    """`module:class` that drives it in the worker; a `bench.worker.runtimes.RuntimeAdapter`."""
    modules: tuple[str, ...] = ()
    extra: str = ""


RUNTIMES = {
    runtime.name: runtime
    for runtime in (
        Runtime("keras", "Keras, on the backend asked for", "bench.worker.runtimes.keras:KerasRuntime"),
        Runtime(
            "onnxruntime",
            "ONNX Runtime does inference with the trained Keras model, exported",
            "bench.worker.runtimes.onnx:OnnxRuntime",
            modules=("onnx", "onnxruntime", "tf2onnx"),
            extra="onnx",
        ),
        Runtime(
            "litert",
            "LiteRT does inference with the trained Keras model, converted without loops",
            "bench.worker.runtimes.litert:LiteRuntime",
            modules=("ai_edge_litert",),
            extra="litert",
        ),
        Runtime(
            "torch.nn",
            "torch's own layers, trained by the same protocol without Keras",
            "bench.worker.runtimes.torch_nn:TorchRuntime",
        ),
    )
}


EXPORTED = ("onnxruntime", "litert")
"""The runtimes that only infer, with what Keras has trained."""
TOLERANCE = {"float32": 1e-5, "float64": 1e-12, "int8": 0.5}
"""By dtype: how far another runtime's outputs may be from Keras's; where they are larger than 1, as a fraction of the
largest. Weights in 8 bits may move a sample that is near to the border of two classes: what that costs in accuracy is a
figure of its own."""


def find(name: str, origin: str = "a case") -> Runtime:
    """The runtime of that name.

    Raises:
        UsageError: there is none; the message gives the nearest one.
    """
    return named("runtime", name, RUNTIMES, origin)


def outputs_apart(case: Case, difference: float | None) -> list[str]:
    """What is wrong with outputs that differ from Keras's by so much at most, as a sentence; nothing where all is well.

    None stands for outputs that are not compared: Keras's own, and those of a network that Keras did not train.
    """
    if difference is None or difference <= TOLERANCE[case.dtype]:
        return []
    return [
        f"{case.runtime} gives outputs that differ from Keras's by up to {difference:.2g}, "
        f"and {TOLERANCE[case.dtype]:g} is allowed in {case.dtype}"
    ]
