"""Which of cuDNN's recurrent kernels ran, by the names that a profile shows: cuDNN is several kernels, not one.

Persistent kernels keep the recurrent weights on the chip over all steps; the standard ones read them anew for each.
cuDNN picks by shape, format and card, and which it was can be more than the difference between two cells. Profiles of
others' cards (cuDNN 8 and 9) show names like `RNN_blockPersist_fp_LSTM_HMMA`, `persistRNN_addBias`,
`LSTM_elementWise_fp`, `elemWiseRNNcell`, `cutlass_80_tensorop_s1688gemm_128x256_16x3_tn_align4` and
`cutlass_80_simt_sgemm_256x128_8x4_nn_align1`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_OF_TORCH = "aten::"
_RECURRENCE = re.compile(rf"(?!{_OF_TORCH}).*(?:RNN_|LSTM_|GRU_|persistRNN|elemWiseRNN)")
_PERSISTENT = re.compile(r"blockPersist|persistRNN", re.I)
_STANDARD = re.compile(r"elementWise_[fb]p|elemWiseRNNcell")
_PRODUCT = re.compile(r"gemm", re.I)
_TENSOR_CORES = re.compile(r"HMMA|tensorop|tf32|[hs](?:884|1688|16816)gemm|gmma|xmma", re.I)
_TF32 = re.compile(r"tf32|tensorop_s1688gemm(?!_(?:bf|f)16)", re.I)
"""cutlass names a product of 32-bit numbers on tensor cores, which is one in TF32, s1688gemm without a format."""


def is_of_recurrence(name: str) -> bool:
    """Whether a kernel's name is one of cuDNN's for a recurrence."""
    return bool(_RECURRENCE.match(name))


def is_telling(name: str) -> bool:
    """Whether a kernel's name shows how a recurrence was computed: it is cuDNN's, or a product's, which shows units and
    number format."""
    return is_of_recurrence(name) or (_PRODUCT.search(name) is not None and not name.startswith(_OF_TORCH))


def cudnn_kernel_words(kernel: str, operations: Iterable[str]) -> str:
    """A kernel as evidence has it; for `cudnn` also which one and on which units, as far as the names show it.

    Args:
        kernel: as attested.
        operations: the names of what ran in the layer's scope.
    """
    names = list(operations)
    if kernel != "cudnn":
        return kernel
    forms = [form for form, sign in (("persistent", _PERSISTENT), ("standard", _STANDARD)) if _any(sign, names)]
    words = [" and ".join(forms)] if forms else []
    if _any(_TENSOR_CORES, names):
        words.append(f"tensor cores{', TF32' if _any(_TF32, names) else ''}")
    elif forms and _any(_PRODUCT, names):
        words.append("no tensor cores")
    return f"{kernel} ({'; '.join(words)})" if words else kernel


def _any(sign: re.Pattern[str], names: Iterable[str]) -> bool:
    return any(sign.search(name) for name in names)
