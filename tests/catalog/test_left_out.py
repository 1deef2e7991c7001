"""Each sentence by which the rules leave something out: where a test tries what it forbids, or whose choice it is."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RULES = [ROOT / "bench" / "catalog" / f"{name}.py" for name in ("support", "number_rules", "layer_rules", "streaming")]

TRIED = {
    "tests/real/test_forced.py": {
        "of_every_backend": (
            "Keras's SimpleRNN rejects use_cudnn",
            "in its first batch a stateful layer computes what any other does",
        ),
        "test_each_backend_drops_in_its_own_way": ("what is dropped is drawn by each backend in its own way",),
        "test_tensorflow": (
            "TensorFlow does not compile with XLA under op determinism",
            "for any batch Keras's loop needs operations that LiteRT's interpreter has not",
            "cuDNN runs on NVIDIA GPUs only",
        ),
        "test_jax": (
            "JAX always compiles with XLA: its generic kernel",
            "JAX always compiles, and its generic kernel",
            "JAX's cuDNN LSTM has no half precision",
            "Keras's JAX backend has no cuDNN GRU",
            "Keras computes parts of a float64 model in float32",
        ),
        "test_torch": (
            "there, jit_compile=True is torch.compile",
            "Keras on torch ignores unroll",
            "in which torch.compile breaks the graph",
            "torch.compile leaves torch.nn's recurrent layers as they are",
            "torch.nn picks its kernel by itself",
            "torch.nn's LSTM and GRU know tanh only",
            "torch.nn's layers drop nothing inside themselves",
            "torch.nn's layers take no mask",
            "torch.nn's layers carry no state",
            "torch.nn's GRU has its reset gate after",
            "torch.nn's gates have sigmoid",
        ),
    },
    "tests/real/test_options.py": {
        "test_what_no_layer_takes_is_refused": (
            "only a GRU has reset_after",
            "SimpleRNN has no gates",
            "a stateful network takes whole batches alone",
            "a stateful network takes batches of one size",
        ),
        "test_state_is_carried_where_it_is_not_refused": (
            "Keras on JAX carries no state from one batch to the next",
            "Keras on torch can't train a stateful LSTM or GRU on its fast path",
        ),
        # all combinations, asked of Keras's own functions
        "test_what_rules_cudnn_out_is_what_keras_says": (
            "mask=gaps rules cuDNN out, and Keras on TensorFlow picks it all the same",
            "layer's … rules cuDNN out",
            "… rules cuDNN out: …",
            "its layers have biases",
            "its gates have sigmoid",
            "its kernels have tanh",
            "its GRU has the reset gate after the product",
            "it asks for no loop at all",
            "it asks for the loop",
            "where it isn't 0 Keras takes the loop",
            "Keras takes the loop on … wherever there is a mask",
            "TensorFlow's cuDNN takes right padding alone",
            "Keras has no cuDNN path for … on any backend",
        ),
    },
    "tests/real/test_runtimes.py": {
        "test_tensorflow_answers_by_itself_and_through_onnx_runtime": (
            "tf2onnx makes an LSTM's loop one fused LSTM node",
        ),
        "test_a_cell_that_streams_something_else_is_invalid_and_one_without_a_step_is_left_out": (
            "its layer holds no `cell` that does a single step",
            "streaming gives outputs that differ",
        ),
    },
}
"""By test: the sentences whose fact it tries, with Keras and the libraries themselves; a part of each."""

BY_MEANING = (
    "cuDNN has no minGRU",  # it computes RNN, LSTM and GRU
    "torch.nn has LSTM, GRU and RNN",
    "torch.compile is torch's alone: on …",
    "torch.nn is torch's own",
    "the cell multiplies its state by a matrix and activates it at each step",  # such maps don't compose to another one
    "a layer that reads the sequence backwards too needs its end",
    "the inputs of … are tokens, which padding would be one of",
    "have lengths of their own, and are masked by them",
    "has a target for each step, and padding would hide some",
    "steps that are padding are masked, and a stream has no padding",
    "TF32 is a format of an NVIDIA GPU's tensor cores",
    "TF32 stands in for float32",
    "no epoch waits for the end of an input pipeline's tuning",  # the pipeline is tf.data's
    "ONNX Runtime only does inference",
    "LiteRT only does inference",
)
"""What follows from what the words mean."""

CHOSEN = (
    "there is no reference of …",
    "there is no reference of a network of your own",
    "the reference reads numbers without padding",
    "the network … has the layers that it makes",
    "is an option of Keras's layers: the layers of … are made without",
    "the inputs of … are tokens: … is given numbers alone here",
    "sequences of … have padding: … is given none here",
    "the export to ONNX is made of TensorFlow's graph",
    "the export to LiteRT is made of TensorFlow's graph",
    "ONNX Runtime is driven on the CPU here",
    "LiteRT is driven on the CPU here",
    "the export is checked for the networks that come with the program",
    "the export is checked in float32 and float64 only",
    "the export is checked in float32 and int8 only",
    "the export is checked for layers without options",
    "the export leaves XLA behind",
    "a scan's export is not attested",
    "the export is made without loops, for cells and networks that come with the program",
    "torch.nn has no peer of a network of your own",
    "torch.nn is trained in float32 and float64 here",
    "is a format of weights that LiteRT exports",
    "what the layers of the network … do at a step is unknown",
    "torch.compile compiles whole sequences here",
)
"""What this program does not do, or does not check; the sentences claim no more."""

NO_SENTENCES = {"the padding of …", "no layer is left"}
"""Parts of sentences."""


def sentences(path: Path) -> Iterator[str]:
    """The texts of four words and more in a module's code, with … for what is put in."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    bodies = [body for node in ast.walk(tree) if isinstance(body := getattr(node, "body", None), list)]
    left = {id(each.value) for body in bodies for each in body if isinstance(each, ast.Expr)}  # docstrings
    joined = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    left |= {id(inner) for node in joined for inner in ast.walk(node) if inner is not node}
    for node in ast.walk(tree):
        if id(node) in left or not isinstance(node, ast.JoinedStr | ast.Constant):
            continue
        parts = node.values if isinstance(node, ast.JoinedStr) else [node]
        text = "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in parts)
        if len(text.split()) >= 4:
            yield text


def test_every_sentence_is_tried_or_is_no_matter_of_trying() -> None:
    tried = [part for tests in TRIED.values() for parts in tests.values() for part in parts]
    known = [*tried, *BY_MEANING, *CHOSEN]
    everything = [text for path in RULES for text in sentences(path) if text not in NO_SENTENCES]
    assert len(everything) > 60
    assert [text for text in everything if not any(part in text for part in known)] == []
    assert [part for part in known if not any(part in text for text in everything)] == []


@pytest.mark.parametrize("file", TRIED)
def test_what_tries_them_is_there(file: str) -> None:
    there = re.findall(r"^def (\w+)\(", (ROOT / file).read_text(encoding="utf-8"), re.M)
    assert set(TRIED[file]) <= set(there)
