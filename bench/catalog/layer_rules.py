"""Keras's rules for a recurrent layer of any model: what keeps it out of cuDNN on an NVIDIA GPU. Pure.

Read off `LSTM.inner_loop`, `GRU.inner_loop` and `backend/*/rnn.py` of Keras 3.15, in the names of its options; a test
asks Keras the same. Cases are judged by them too (`bench.catalog.kernels`), in the names of their axes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

GATED = ("LSTM", "GRU")
"""Keras's classes that have a path to cuDNN."""
MASK = "mask"
"""What `CudnnObstacle.option` is where the mask that a layer is called with is at fault."""


@dataclass(frozen=True)
class CudnnObstacle:
    """What keeps a recurrent layer out of cuDNN."""

    why: str
    """The reason, without its full stop; it speaks of an option where there is one."""
    option: str = ""
    """Keras's name of the option that is at fault, or `MASK`; empty where no option could change it."""
    value: object = None
    """The option's value, or the kind of mask."""
    when_made: bool = True
    """Whether the layer knows it when it is made; recurrent dropout and masks are seen only when it is called."""

    def sentence(self, subject: str = "") -> str:
        """The obstacle as a sentence without its full stop.

        Args:
            subject: what to call the option and its value; empty for Keras's name.
        """
        if not self.option:
            return self.why
        of_keras = "its mask" if self.option == MASK else f"{self.option}={self.value}"
        return f"{subject or of_keras} rules cuDNN out: {self.why}"


def cudnn_obstacles(
    kind: str, options: Mapping[str, object], backend: str, *, mask: str = "none"
) -> Iterator[CudnnObstacle]:
    """All that keeps a recurrent layer out of cuDNN on an NVIDIA GPU, what it knows when it is made first.

    Args:
        kind: its class, Keras's by its own name.
        options: its options by Keras's names; one that is left out is at its default.
        backend: the one that it runs on.
        mask: one of `bench.catalog.masks.MASKS`, or `any` where only its data will show which.
    """
    if kind == "Bidirectional":
        return  # it computes both directions itself only where cuDNN takes both
    if kind not in GATED:
        yield CudnnObstacle(f"Keras has no cuDNN path for {kind} on any backend, but for LSTM and GRU alone")
    if kind == "GRU" and backend == "jax":
        yield CudnnObstacle("Keras's JAX backend has no cuDNN GRU")
    for name, needed, why in (
        ("use_bias", True, "its layers have biases"),
        *([("reset_after", True, "its GRU has the reset gate after the product with the state")] * (kind == "GRU")),
        ("recurrent_activation", "sigmoid", "its gates have sigmoid"),
        ("activation", "tanh", "its kernels have tanh"),
    ):
        value = options.get(name, needed)
        if value != needed:
            yield CudnnObstacle(why, name, value)
    if options.get("unroll"):
        yield CudnnObstacle("it asks for no loop at all", "unroll", True)
    if options.get("use_cudnn") is False:
        yield CudnnObstacle("it asks for the loop", "use_cudnn", False)
    if value := options.get("recurrent_dropout"):
        why = "where it isn't 0 Keras takes the loop, in evaluation and prediction too"
        yield CudnnObstacle(why, "recurrent_dropout", value, when_made=False)
    if mask != "none" and backend != "tensorflow":
        why = f"Keras takes the loop on {backend} wherever there is a mask"
        yield CudnnObstacle(why, MASK, mask, when_made=False)
    elif mask == "gaps":
        yield CudnnObstacle("TensorFlow's cuDNN takes right padding alone", MASK, mask, when_made=False)
