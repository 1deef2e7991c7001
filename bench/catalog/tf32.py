"""Whether products in float32 may be computed as TF32, on the tensor cores of NVIDIA's cards since Ampere.

TF32 keeps float32's range with 10 bits of mantissa instead of 23. Backends differ in what they do by default: JAX and
TensorFlow take it for every product, torch for cuDNN's kernels and not for the other products. So two backends'
defaults are not like for like on a GPU; `on` or `off` makes them so.
"""

from __future__ import annotations

from bench.core.errors import unknown

DEFAULT = "default"

TF32 = {
    DEFAULT: "the backend's own rule",
    "on": "all products in float32 may be computed as TF32",
    "off": "none may",
}


def find(name: str, origin: str = "a case") -> str:
    """The setting of that name, if there is one.

    Raises:
        UsageError: there is none; the message gives the nearest one.
    """
    if name in TF32:
        return name
    raise unknown("tf32", name, TF32, origin)
