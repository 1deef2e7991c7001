"""Writes the recordings that the GPU attestations are tested against, on a machine without a GPU.

    python scripts/record_gpu_programs.py tensorflow|jax|profile FOLDER

What a GPU would be given, not what it ran: Keras is told that there is a GPU, and its own code then traces (TensorFlow)
or lowers for CUDA (JAX) the training step of a small `cudnn_ready` network. TensorFlow's graph is what attestation
reads in a run too. JAX's HLO is that before the compiler's passes; in a run it is read after them, which keep custom
calls and their scopes. JAX asks cuDNN for the size of its workspace, and for a descriptor: made-up ones are given.

The profile of a card is composed: the format is that of XLA's profiler, the names of kernels are of others' cards.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

STEPS, FEATURES, UNITS, BATCH = 28, 28, 4, 2
CELLS = ("simple_rnn", "lstm", "gru")


def main() -> None:
    """Record one backend's programs."""
    backend, folder = sys.argv[1], Path(sys.argv[2])
    if backend != "profile":
        os.environ["KERAS_BACKEND"] = backend
    {"tensorflow": _tensorflow, "jax": _jax, "profile": _profile}[backend](folder)


def _model(cell: str) -> Any:
    from bench.catalog.tasks import TASKS
    from bench.core.case import Case
    from bench.worker.model import build

    return build(Case(cell=cell, network="cudnn_ready", units=UNITS, batch_size=BATCH), TASKS["mnist_5k"])


def _tensorflow(folder: Path) -> None:
    import tensorflow as tf

    from bench.worker.backends.tensorflow import _nodes
    from bench.worker.evidence.programs import counts_in_graph

    listed = tf.config.list_logical_devices
    recorded = {}
    for cell in CELLS:
        with patch.object(tf.config, "list_logical_devices", lambda kind=None: listed("CPU") if kind == "GPU" else []):
            model = _model(cell)
            batch = (tf.zeros((BATCH, STEPS, FEATURES)), tf.zeros((BATCH,), tf.uint8))
            model._symbolic_build(data_batch=batch)
            graph = tf.function(model.train_step).get_concrete_function(batch).graph
        nodes = [node for node in _nodes(graph.as_graph_def(), False) if counts_in_graph(node.operation)]
        recorded[cell] = [[node.name, node.operation, node.looped] for node in nodes]
    (folder / "tensorflow_gpu_graph.json").write_text(json.dumps(recorded, indent=0) + "\n")


def lower_without_cudnn() -> None:
    """Let JAX lower its cuDNN LSTM for CUDA in this process, where cuDNN isn't there to be asked for its workspace."""
    from jax._src.interpreters import mlir
    from jax._src.lib import gpu_rnn
    from jax.experimental import rnn

    class Descriptor:
        """Stands for cuDNN."""

        @staticmethod
        def build_rnn_descriptor(*_: Any) -> bytes:
            return b""

    def lowering(function: Any) -> Any:
        return lambda ctx, *arguments, **options: function(Descriptor, "cu", ctx, *arguments, **options)

    gpu_rnn.compute_rnn_workspace_reserve_space_sizes = lambda *_: (16, 16)
    mlir.register_lowering(rnn.rnn_fwd_p, lowering(gpu_rnn._rnn_fwd_lowering), platform="cuda")
    mlir.register_lowering(rnn.rnn_bwd_p, lowering(gpu_rnn._rnn_bwd_lowering), platform="cuda")


def _jax(folder: Path) -> None:
    import jax
    import numpy as np

    lower_without_cudnn()
    for cell in CELLS:
        model = _model(cell)
        x, y = np.zeros((BATCH, STEPS, FEATURES), np.float32), np.zeros((BATCH,), np.uint8)
        with patch.object(jax, "default_backend", lambda: "gpu"):
            model._symbolic_build(data_batch=(x, y))
            state = tuple(
                [v.value for v in variables]
                for variables in (
                    model.trainable_variables,
                    model.non_trainable_variables,
                    model.optimizer.variables,
                    model.metrics_variables,
                )
            )

            def train_step(state: Any, data: Any, model: Any = model) -> Any:
                return model.train_step(state, data)

            lowered = jax.jit(train_step).trace(state, (x, y)).lower(lowering_platforms=("cuda",))
        text = lowered.as_text(dialect="hlo", debug_info=True)
        kept = [line for line in text.splitlines() if "op_name" in line and _tells(line)]
        (folder / f"jax_cuda_{cell}.hlo").write_text("\n".join(kept) + "\n")


def _profile(folder: Path) -> None:
    """A card's plane as both profilers write it: kernels on a stream, with what started them among their statistics."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    persistent, product = "RNN_blockPersist_fp_LSTM<float, float, float, 128>", "cutlass_80_tensorop_s1688gemm_128x256"
    kernels = (
        (persistent, "tf_op", "functional/recurrent_a_1/CudnnRNNV3:CudnnRNNV3"),
        (persistent, "hlo_op", "custom-call.36"),
        (product, "tf_op", "gradient_tape/functional/recurrent_b_1/CudnnRNNBackpropV3:CudnnRNNBackpropV3"),
        (product, "hlo_op", "dot.1"),
        ("loop_add_fusion", "hlo_op", "fusion.2"),
    )
    space = xplane_pb2.XSpace()
    for plane, line in (
        ("/device:GPU:0", "Stream #13(Compute)"),
        ("/device:GPU:0", "XLA Ops"),
        ("/host:CPU", "python"),
    ):
        device = space.planes.add(name=plane)
        stream = device.lines.add(name=line)
        for number, statistic in enumerate(("tf_op", "hlo_op"), 1):
            device.stat_metadata[number].id, device.stat_metadata[number].name = number, statistic
        for number, (kernel, statistic, started_by) in enumerate(kernels, 1):
            device.event_metadata[number].id, device.event_metadata[number].name = number, kernel
            event = stream.events.add(metadata_id=number, duration_ps=1000)
            kept = event.stats.add(metadata_id=1 if statistic == "tf_op" else 2)
            if number % 2:
                kept.str_value = started_by
            else:  # a text that occurs often is kept once, among the statistics' names
                device.stat_metadata[100 + number].id = kept.ref_value = 100 + number
                device.stat_metadata[100 + number].name = started_by
    (folder / "composed_gpu_profile.xplane.pb").write_bytes(space.SerializeToString(deterministic=True))


def _tells(line: str) -> bool:
    return any(f" {opcode}(" in line for opcode in ("while", "dot", "custom-call"))


if __name__ == "__main__":
    main()
