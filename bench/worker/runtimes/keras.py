"""Keras's own model: trained by `fit`; inference by `predict` and by the backend's compiled call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import keras

from bench.catalog import dtypes, masks, networks
from bench.catalog.streaming import streaming_refusal
from bench.catalog.tasks import Task
from bench.core.case import Case
from bench.core.metric import STREAMING
from bench.core.protocol import FailedRun, InvalidRun
from bench.worker.backends import BackendAdapter
from bench.worker.clock import Clock
from bench.worker.data import Array, Data
from bench.worker.evidence.attestation import Attestation, attest, watch
from bench.worker.evidence.masking import mask_problem, padded_batch, padding_in_front
from bench.worker.evidence.retracing import Signature, retraced
from bench.worker.inference import CallPath, Inputs, Outputs, infer_all
from bench.worker.iterators import IteratorTimer
from bench.worker.model import build, compile_model
from bench.worker.runtimes import StepNumbers
from bench.worker.step import StepNetwork
from bench.worker.streaming import StreamingCall
from bench.worker.warmup import Snapshot, warm_size

OUTPUT_BATCH = 1000
"""Samples a call of `outputs`: large enough for Python's share to vanish, and small beside the training's memory."""
LOSS_SCALE = 256.0
"""What the loss is multiplied by for gradients in float16, so that small ones aren't lost: a power of 2."""


class KerasRuntime:
    """See `bench.worker.runtimes.RuntimeAdapter`."""

    model: keras.Model
    last_iterators: ClassVar[Sequence[object]] = ()
    """Those that `fit` has after its last epoch, and what has them: of the class, which outlives the run, and so kept
    until the process ends, so that no run waits for their end."""

    def __init__(self, case: Case, task: Task, data: Data, backend: BackendAdapter) -> None:
        self.output_difference: float | None = None
        self.accuracy_lost: float | None = None
        self.case, self.task, self.data, self.backend = case, task, data, backend

    def build(self) -> int:
        self.model = build(self.case, self.task)
        self._marks = watch(self.model, self.backend, self.case)
        return int(self.model.count_params())

    def warm_up(self, clock: Clock) -> None:
        model, data, batch_size = self.model, self.data, self.case.batch_size
        train = warm_size(len(data.x_train), batch_size)

        def one_pass() -> None:
            model.fit(data.x_train[:train], data.y_train[:train], batch_size, epochs=1, verbose=0)
            for x, y in self._evaluated():
                test = warm_size(len(x), batch_size)
                model.evaluate(x[:test], y[:test], batch_size, verbose=0)

        with clock.phase("compile"):
            self.backend.build_symbolically(model, data.x_train, data.y_train, batch_size)
            snapshot = Snapshot(model, self.backend)
            one_pass()
        with clock.phase("warmup"):
            one_pass()
            snapshot.restore()

    def _evaluated(self) -> list[tuple[Array, Array]]:
        """What is evaluated in the run: the test set, and where the task has one, a validation set."""
        data = self.data
        apart = [(data.x_validation, data.y_validation)] if data.x_validation is not data.x_test else []
        return [(data.x_test, data.y_test), *apart]

    def train(self, clock: Clock) -> None:
        epochs = _Epochs(self, clock)
        # no validation_data: `fit` builds the validation's iterator between the end of the epoch's training and any
        # hook, so the epoch's end calls `evaluate` itself, which computes the same
        with epochs.iterators:
            self.model.fit(
                self.data.x_train,
                self.data.y_train,
                self.case.batch_size,
                epochs=self.case.epochs,
                verbose=0,
                callbacks=[epochs],
            )
        epochs.after.__exit__(None)

    def evaluate(self) -> Mapping[str, float]:
        return self._scores(self.data.x_test, self.data.y_test)

    def validate(self) -> Mapping[str, float]:
        """The scores on what the task validates on."""
        return self._scores(self.data.x_validation, self.data.y_validation)

    def _scores(self, x: Array, y: Array) -> Mapping[str, float]:
        results: dict[str, float] = self.model.evaluate(x, y, self.case.batch_size, verbose=0, return_dict=True)
        return results

    def outputs(self) -> Outputs:
        # not `model.predict`: its program is among those that are attested, as a way of inference that was timed
        program = self.backend.compiled(lambda batch: self.model(batch, training=False))

        def infer(batch: Inputs) -> Outputs:
            outputs: Outputs = keras.ops.convert_to_numpy(program(self.backend.array(batch, batch.dtype.name)))
            return outputs

        return infer_all(infer, self.data.x_test, self.case.batch_size if self.case.stateful else OUTPUT_BATCH)

    def call_paths(self) -> dict[str, CallPath]:
        return {
            "predict": lambda inputs: self.model.predict(inputs, batch_size=len(inputs), verbose=0),
            "compiled": self.backend.compile_inference(self.model),
            **self._streaming(
                lambda network: StreamingCall(network.start, self.backend.compile_step(self.model, network))
            ),
        }

    def _streaming(self, make: Callable[[StepNetwork], StreamingCall]) -> dict[str, CallPath]:
        """The call path `streaming`, or nothing where the network can't."""
        network = self._step_network()
        return {} if network is None else {STREAMING: make(network)}

    def _step_network(self) -> StepNetwork | None:
        if streaming_refusal(self.case):
            return None
        return StepNetwork.of(self.model, networks.of(self.case).recurrent_names)

    def outputs_by_step(self, x: Inputs) -> Outputs:
        network = self._step_network()
        if network is None:
            raise ValueError("the network does not stream")
        program = self.backend.compiled(network.whole)
        outputs: Outputs = keras.ops.convert_to_numpy(program(self.backend.array(x, x.dtype.name)))
        return outputs

    def signatures(self) -> list[Signature]:
        return self.backend.signatures(self.model)

    def device_bytes(self) -> int | None:
        return self.backend.device_bytes()

    def programs(self) -> int:
        return self.backend.programs(self.model)

    def mask_problem(self, attestation: Attestation) -> str | None:
        mask_value = masks.PADDING if self.case.mask != "none" else self.task.mask_value
        if mask_value is None or attestation.ran("cudnn"):
            return None
        x, y = self.data.x_test, self.data.y_test
        rows = padded_batch(x, mask_value, min(self.case.batch_size, len(x)))
        if rows is None:
            return None
        x, y = x[rows], y[rows]
        programs, snapshot = self.programs(), Snapshot(self.model, self.backend)

        def loss(batch: tuple[Array, Array]) -> float:
            scores = self.model.evaluate(*batch, len(x), verbose=0, return_dict=True)
            snapshot.restore()  # the states of stateful layers
            return float(scores["loss"])

        before = loss((x, y))
        after = loss(padding_in_front(x, y, mask_value, per_step=self.task.target.per_step))
        if self.programs() != programs:
            return "the mask can't be proved: another program than that of the evaluation was traced for it"
        problem = mask_problem(before, after, dtypes.find(self.case.dtype).compute)
        if problem and not self._masks():
            problem += "; a network has to mask it: keras.layers.Masking(task.mask_value), or Embedding's mask_zero"
        return problem

    def _masks(self) -> bool:
        """Whether a layer marks steps as padding."""
        layers = self.model._flatten_layers()
        return any(isinstance(layer, keras.layers.Masking) or getattr(layer, "mask_zero", False) for layer in layers)

    def step_numbers(self, weights: Sequence[Array]) -> StepNumbers:
        model, x, y = self.model, self.data.x_train, self.data.y_train
        shapes = [tuple(variable.shape) for variable in model.weights]
        if shapes != [weight.shape for weight in weights]:
            raise FailedRun(f"the network has weights of the shapes {shapes}, which are not those that it is given")
        model.set_weights(weights)
        for layer in model._flatten_layers():
            if isinstance(layer, keras.layers.Dropout):
                layer.rate = 0
        keeper = _GradientKeeper()
        scaled = dtypes.find(self.case.dtype).compute == "float16"
        optimizer = keras.optimizers.LossScaleOptimizer(keeper, initial_scale=LOSS_SCALE) if scaled else keeper
        compile_model(model, self.case, self.task, optimizer)
        self.backend.build_symbolically(model, x, y, len(x))
        # the step that `fit` does, whose program is attested, and no other one
        # torch.compile compiles it once more, when the first step has built the optimizer; no weight has changed
        model.fit(x, y, len(x), epochs=2 if self.case.kernel == "compiled" else 1, verbose=0)
        return StepNumbers(
            outputs=model.predict(x, batch_size=len(x), verbose=0),
            gradients=tuple(keras.ops.convert_to_numpy(gradient) for gradient in keeper.gradients),
            phases=("train", "predict"),
        )

    def attest(self, steps: int, phases: tuple[str, ...]) -> Attestation:
        layers = self._marks or networks.of(self.case).recurrent_names
        return attest(self.model, self.backend, layers, steps, phases)


class _GradientKeeper(keras.optimizers.Optimizer):  # type: ignore[misc] # keras has no type information
    """An optimizer that keeps the gradients, and leaves the weights as they are."""

    def __init__(self) -> None:
        super().__init__(learning_rate=0.0, name="gradient_keeper")

    def build(self, variables: Sequence[Any]) -> None:
        if not self.built:
            super().build(variables)
            self.gradients = [self.add_variable_from_reference(variable, "gradient") for variable in variables]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        self.assign(self.gradients[self._get_variable_index(variable)], gradient)


class _Epochs(keras.callbacks.Callback):  # type: ignore[misc] # keras has no type information
    """Times each epoch's training, from its begin hook to its end hook, then validates. Nothing runs per batch.

    What `fit` does before the first epoch, since this was made, and after the last are phases too.
    """

    def __init__(self, runtime: KerasRuntime, clock: Clock) -> None:
        super().__init__()
        self._runtime, self._clock, self.iterators = runtime, clock, IteratorTimer()
        self._before, self.after = clock.phase("prepare"), clock.phase("finish")
        self._before.__enter__()

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if epoch == 0:
            self._before.__exit__(None)
        self._programs = self._runtime.programs()
        self._phase = self._clock.phase("train", epoch + 1, len(self._runtime.data.x_train))
        self.iterators.take()  # those of the validation
        self._results = self._phase.__enter__()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._results.update(logs or {})
        self._phase.iterator_seconds = self.iterators.take()
        self._phase.__exit__(None, None, None)
        if epoch + 1 == self.params["epochs"]:
            KerasRuntime.last_iterators = self.iterators.alive()
        with self._clock.phase("validate", epoch + 1, len(self._runtime.data.x_validation)) as results:
            results.update(self._runtime.validate())
        if self._runtime.programs() != self._programs:
            shapes = retraced(self._runtime.signatures(), self._programs)
            raise InvalidRun(f"something was traced or compiled inside the timed epoch {epoch + 1}{shapes}")

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        self.after.__enter__()
