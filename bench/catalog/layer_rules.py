"""Keras's rules for a recurrent layer of any model: what keeps it out of cuDNN on an NVIDIA GPU. Pure.

Read off `LSTM.inner_loop`, `GRU.inner_loop` and `backend/*/rnn.py` of Keras 3.15, in the names of its options.
"""

from __future__ import annotations

from collections.abc import Mapping

GATED = ("LSTM", "GRU")
"""Keras's classes that have a path to cuDNN."""


def cudnn_rule(kind: str, options: Mapping[str, object], backend: str, *, masked: bool) -> str | None:
    """What keeps a recurrent layer out of cuDNN on an NVIDIA GPU, as a sentence; None where nothing does.

    Args:
        kind: its class, Keras's by its own name.
        options: its options by Keras's names; one that is left out is at its default.
        backend: the one that it runs on.
        masked: whether it is called with a mask.
    """
    if kind == "Bidirectional":
        return None  # it computes both directions itself only where cuDNN takes both
    if kind not in GATED:
        return f"Keras has a path to cuDNN for LSTM and GRU alone, and none for {kind}"
    if kind == "GRU" and backend == "jax":
        return "Keras's JAX backend has no cuDNN GRU"
    for name, needed, why in (
        ("use_bias", True, "cuDNN's layers have biases"),
        ("reset_after", True, "cuDNN's GRU has the reset gate after the product with the state"),
        ("activation", "tanh", "cuDNN's kernels have tanh"),
        ("recurrent_activation", "sigmoid", "cuDNN's gates have sigmoid"),
    ):
        value = options.get(name, needed)
        if value != needed:
            return f"{name}={value}, and {why}"
    if options.get("recurrent_dropout"):
        value = options["recurrent_dropout"]
        return f"recurrent_dropout={value}: where it isn't 0 Keras takes the loop, in evaluation and prediction too"
    if options.get("unroll") and backend != "torch":
        return "unroll=True asks for no loop at all"
    if options.get("use_cudnn") is False:
        return "use_cudnn=False asks for the loop"
    if masked and backend != "tensorflow":
        return f"it is called with a mask, and then Keras takes the loop on {backend}"
    return None
