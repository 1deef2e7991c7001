"""What can compute a network: Keras itself, or what people leave Keras for. Static rules, good for planning."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from bench.catalog.cells import BUILT_IN
from bench.catalog.networks import find_network
from bench.core.case import Case
from bench.core.errors import unknown


@dataclass(frozen=True)
class Runtime:
    """What computes a network; `modules` are needed beside its backend, and come with the extra `extra`."""

    name: str
    title: str
    modules: tuple[str, ...] = ()
    extra: str = ""


RUNTIMES = {
    runtime.name: runtime
    for runtime in (
        Runtime("keras", "Keras, on the backend asked for"),
        Runtime(
            "onnxruntime",
            "ONNX Runtime answers with the trained Keras model, exported",
            modules=("onnx", "onnxruntime", "tf2onnx"),
            extra="onnx",
        ),
        Runtime("torch.nn", "torch's own layers, trained by the same protocol without Keras"),
    )
}


TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
"""By dtype: how far another runtime's outputs, which are probabilities, may be from Keras's."""


def find_runtime(name: str, origin: str = "a case") -> Runtime:
    """The runtime of that name, or an error that names the nearest one."""
    if name not in RUNTIMES:
        raise unknown("runtime", name, RUNTIMES, origin)
    return RUNTIMES[name]


def installed_runtimes() -> dict[str, str | None]:
    """Each runtime: None where it is installed, else the reason why it cannot be used, with the way out."""
    found: dict[str, str | None] = {}
    for runtime in RUNTIMES.values():
        missing = [module for module in runtime.modules if importlib.util.find_spec(module) is None]
        found[runtime.name] = (
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed in this Python environment: "
            f"`pip install -e '.[{runtime.extra}]'` in the checkout adds {'it' if len(missing) == 1 else 'them'}"
            if missing
            else None
        )
    return found


def runtime_refusal(case: Case) -> str | None:
    """Why this case can't be had of its runtime; None where it can."""
    match case.runtime:
        case "onnxruntime":
            return _onnx_refusal(case)
        case "torch.nn":
            return _torch_refusal(case)
    return None


def _onnx_refusal(case: Case) -> str | None:
    if case.backend != "tensorflow":
        return "tf2onnx exports TensorFlow's graph: ONNX Runtime needs the backend tensorflow"
    if case.device != "cpu":
        return f"ONNX Runtime is driven on the CPU here, and the device is {case.device}"
    if not case.latency_calls:
        return "ONNX Runtime only answers, and no inference is timed: ask for it with --set latency_calls=500"
    if case.dtype not in ("float32", "float64"):
        return f"the export is checked in float32 and float64 only, not in {case.dtype}"
    if case.kernel == "xla":
        return "the export leaves XLA behind: ask for the kernel auto or generic"
    if case.kernel == "generic" and case.cell == "lstm":
        return "tf2onnx makes an LSTM's loop one fused LSTM node: ask for the kernel auto, or unrolled"
    return None


def _torch_refusal(case: Case) -> str | None:
    if case.backend != "torch":
        return "torch.nn is torch's own: it needs the backend torch"
    if find_network(case.network).activations != ("tanh", "tanh"):
        return "torch.nn's LSTM and GRU know tanh only: use the network cudnn_ready"
    if case.cell not in BUILT_IN:
        return "torch.nn has LSTM, GRU and RNN: a cell of one's own has no peer there"
    on_gpu = case.device != "cpu"
    if case.kernel not in (("auto", "cudnn") if on_gpu else ("auto",)):
        return f"torch.nn picks its kernel by itself{' (cudnn on a GPU)' if on_gpu else ''}: ask for the kernel auto"
    if case.dtype not in ("float32", "float64"):
        return f"torch.nn is trained in float32 and float64 here, not in {case.dtype}"
    return None


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
