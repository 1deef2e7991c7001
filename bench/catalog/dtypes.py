"""The number formats a case may be computed in, and what Keras is given for each."""

from __future__ import annotations

from dataclasses import dataclass

from bench.core.errors import named


@dataclass(frozen=True)
class Dtype:
    """A number format: what variables are kept in, and what layers compute in."""

    name: str
    title: str
    variables: str
    """Keras's `floatx` too: the format of the data, the weights and the optimizer's state."""
    compute: str
    problem: str | None = None
    """Why nothing can be run in it; None where it can."""
    exported: bool = False
    """Whether it is that of an exported network, trained in what layers compute in."""

    @property
    def policy(self) -> str:
        """Keras's dtype policy of it."""
        return self.compute if self.exported else self.name


_HALF = "{1}: use mixed_{0}, which keeps weights in float32"

DTYPES = {
    dtype.name: dtype
    for dtype in (
        Dtype("float32", "single precision, Keras's default", "float32", "float32"),
        Dtype("float64", "double precision", "float64", "float64"),
        Dtype("mixed_float16", "computes in half precision, keeps weights in single", "float32", "float16"),
        Dtype("mixed_bfloat16", "computes in bfloat16, keeps weights in single", "float32", "bfloat16"),
        Dtype(
            "float16",
            "half precision throughout",
            "float16",
            "float16",
            _HALF.format("float16", "squares of gradients below 1e-4 are 0 in float16, and Adam divides by them"),
        ),
        Dtype(
            "bfloat16",
            "bfloat16 throughout",
            "bfloat16",
            "bfloat16",
            _HALF.format("bfloat16", "a weight's update is lost in bfloat16's 8 bits"),
        ),
        Dtype(
            "int8",
            "for LiteRT: trained in single precision, exported with weights in 8 bits (dynamic range)",
            "float32",
            "float32",
            exported=True,
        ),
    )
}


def find(name: str, origin: str = "a case") -> Dtype:
    """The dtype of that name.

    Raises:
        UsageError: there is none; the message gives the nearest one.
    """
    return named("dtype", name, DTYPES, origin)
