"""Which number formats a case can be computed in, and why not: Keras's and the backends' rules. Pure."""

from __future__ import annotations

from bench.catalog import dtypes, tf32
from bench.core.case import Case


def number_format_refusal(case: Case) -> str | None:
    """Why a case can't have its number format, or its setting of TF32, on any machine; None where it can."""
    dtype = dtypes.find(case.dtype)
    if dtype.exported and case.runtime != "litert":
        return f"{case.dtype} is a format of weights that LiteRT exports: ask for --set runtimes=litert"
    return dtype.problem or _tf32_refusal(case)


def _tf32_refusal(case: Case) -> str | None:
    if case.tf32 == tf32.DEFAULT:
        return None
    if case.device == "cpu":
        return f"TF32 is a format of an NVIDIA GPU's tensor cores, and the device is {case.device}: set tf32=default"
    if (compute := dtypes.find(case.dtype).compute) != "float32":
        return f"TF32 stands in for float32, and with {case.dtype} layers compute in {compute}: set tf32=default"
    return None


def double_precision_refusal(case: Case) -> str | None:
    """Why a case is not computed in 64 bits throughout; None where it is, and where that isn't asked for."""
    if case.dtype == "float64" and case.backend != "tensorflow":
        # backend/common/dtypes.py: 64 bits become 32 "to be aligned with JAX's default behavior", on torch too
        return f"Keras computes parts of a float64 model in float32 on {case.backend}: use tensorflow"
    return None


def half_precision_refusal(case: Case) -> str | None:
    """JAX's cuDNN LSTM is picked by Keras whatever the dtype, and then has no program in half precision."""
    takes_cudnn = case.device != "cpu" and case.cell == "lstm" and case.kernel in ("auto", "cudnn")
    if takes_cudnn and case.backend == "jax" and dtypes.find(case.dtype).compute in ("float16", "bfloat16"):
        return "JAX's cuDNN LSTM has no half precision, and Keras picks it all the same: use generic"
    return None
