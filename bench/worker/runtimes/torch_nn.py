"""torch's own layers, trained and used without Keras by the same protocol: what leaving Keras would give.

The same network, initial distributions, losses, batches, learning rate and decay. What differs is torch's habit: LSTM
and RNN have a second bias, and Adam adds its epsilon to the corrected second moment.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from bench.catalog import networks
from bench.catalog.networks import Dense, Dropout, PlacedLayer, Recurrent
from bench.catalog.streaming import streaming_refusal
from bench.catalog.tasks import Task
from bench.core.case import Case
from bench.core.metric import STREAMING
from bench.worker.backends import BackendAdapter
from bench.worker.backends.torch import profiled, profiled_step
from bench.worker.clock import Clock
from bench.worker.data import Array, Data
from bench.worker.evidence.attestation import Attestation
from bench.worker.evidence.programs import Scopes
from bench.worker.evidence.retracing import Signature
from bench.worker.inference import CallPath, Inputs, Outputs
from bench.worker.runtimes import StepNumbers, keras_layout
from bench.worker.streaming import State, StreamingCall
from bench.worker.warmup import warm_size

_RECURRENT = {"simple_rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
_ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh}
_EPSILON = 1e-7
"""Keras's, where torch's own default is 1e-8."""


class _Network(nn.Module):  # type: ignore[misc] # torch has no type information here
    """A network whose recurrent layers all have tanh, up to the logits."""

    def __init__(self, case: Case, task: Task) -> None:
        super().__init__()
        self._placed = networks.of(case).placed(case.units, task)
        layers = [_layer(placed, case) for placed in self._placed]
        self.layers = nn.ModuleList(layers)
        for layer in layers:
            _initialise(layer, case.units)

    def recurrent(self) -> dict[str, nn.Module]:
        """The recurrent layers by name."""
        return {placed.name: layer for placed, layer in zip(self._placed, self.layers, strict=True) if placed.name}

    def forward(self, x: Any, *, every_step: bool = False) -> Any:
        """The logits, or numbers, of whole sequences; after every step where that is asked for."""
        for placed, layer in zip(self._placed, self.layers, strict=True):
            if isinstance(placed.layer, Recurrent):
                sequence, state = layer(x)
                x = sequence if placed.returns_sequence or every_step else _last(sequence, state)
            else:
                x = _of_one_position(placed, layer, x)
        return x

    def start(self, batch: int) -> State:
        """The states before the first step: of each recurrent layer, as torch has them."""
        weight = next(self.parameters())
        zeros = [weight.new_zeros(1, batch, layer.hidden_size) for layer in self.recurrent().values()]
        return [
            (state, state) if isinstance(layer, nn.LSTM) else state
            for layer, state in zip(self.recurrent().values(), zeros, strict=True)
        ]

    def step(self, x: Any, states: State) -> tuple[Any, State]:
        """The logits, or numbers, after one step (batch × features), and the states to carry on.

        Each layer gets a sequence of one step: torch's own cells (`nn.LSTMCell`) have no kernel of oneDNN.
        """
        before, after = iter(states), []
        for placed, layer in zip(self._placed, self.layers, strict=True):
            if isinstance(placed.layer, Recurrent):
                sequence, state = layer(x[:, None], next(before))
                x = sequence[:, 0]
                after.append(state)
            else:
                x = _of_one_position(placed, layer, x)
        return x, after


def _of_one_position(placed: PlacedLayer, layer: nn.Module, x: Any) -> Any:
    """What a layer gives that works on each step by itself."""
    match placed.layer:
        case Dense(_, activation):
            return _ACTIVATIONS[activation](layer(x))
    return layer(x)


def _last(sequence: Any, state: Any) -> Any:
    """The output of the last step; of a layer in both directions that of each one's last step, beside each other."""
    hidden = state[0] if isinstance(state, tuple) else state
    return sequence[:, -1] if len(hidden) == 1 else torch.cat([hidden[0], hidden[1]], dim=1)


def _layer(placed: PlacedLayer, case: Case) -> nn.Module:
    match placed.layer:
        case Recurrent() as layer:
            return _RECURRENT[case.cell](
                placed.inputs[-1], case.units, bias=layer.bias, batch_first=True, bidirectional=layer.bidirectional
            )
        case Dropout(rate):
            return nn.Dropout(rate)
    return nn.Linear(placed.inputs[-1], placed.outputs[-1])


def _initialise(layer: nn.Module, units: int) -> None:
    """As Keras draws them: Glorot's uniform kernels, orthogonal recurrent ones, biases of 0, and of 1 to not forget."""
    for name, weight in layer.named_parameters():
        if name.startswith("weight_hh"):
            nn.init.orthogonal_(weight)
        elif name.startswith("weight"):
            nn.init.xavier_uniform_(weight)
        else:
            nn.init.zeros_(weight)
    if isinstance(layer, nn.LSTM):
        with torch.no_grad():
            for name, bias in layer.named_parameters():
                if name.startswith("bias_ih"):
                    bias[units : 2 * units] = 1.0  # torch's order of the gates: input, forget, cell, output


def _switches(layer: nn.Module) -> dict[str, Any]:
    """As `bench.worker.evidence.attestation` reads them from a Keras layer: torch.nn has neither switch."""
    (dtype,) = {str(weight.dtype).removeprefix("torch.") for weight in layer.parameters()}
    return {"dtype": dtype, "use_cudnn": None, "unroll": None}


class TorchRuntime:
    """See `bench.worker.runtimes.RuntimeAdapter`."""

    output_difference: float | None = None
    accuracy_lost: float | None = None

    def __init__(self, case: Case, task: Task, data: Data, backend: BackendAdapter) -> None:
        self._case, self._task, self._backend = case, task, backend
        self._device = torch.device(case.device.replace("gpu", "cuda"))
        self._x, self._x_test, self._x_validation = map(
            torch.from_numpy, (data.x_train, data.x_test, data.x_validation)
        )
        self._y, self._y_test, self._y_validation = map(self._targets, (data.y_train, data.y_test, data.y_validation))
        self._inference: CallPath | None = None
        self._stream: StreamingCall | None = None

    def _targets(self, y: Outputs) -> Any:
        targets = torch.from_numpy(y)
        return targets.long() if self._task.target.is_class else targets

    def build(self) -> int:
        case = self._case
        network = _Network(case, self._task).to(self._device, getattr(torch, case.dtype))
        self._network = network
        self._optimizer = torch.optim.Adam(network.parameters(), lr=case.learning_rate, eps=_EPSILON)
        self._schedule = torch.optim.lr_scheduler.LambdaLR(self._optimizer, lambda step: 1 / (1 + case.decay * step))
        return sum(weight.numel() for weight in network.parameters())

    def warm_up(self, clock: Clock) -> None:
        train, test = (warm_size(len(x), self._case.batch_size) for x in (self._x, self._x_test))
        parts = (self._network, self._optimizer, self._schedule)

        def one_pass() -> None:
            self._train_epoch(self._x[:train], self._y[:train])
            self._evaluated(self._x_test[:test], self._y_test[:test])

        with clock.phase("compile"):
            states = [copy.deepcopy(part.state_dict()) for part in parts]
            random = self._backend.random_state()
            one_pass()
        with clock.phase("warmup"):
            one_pass()
            for part, state in zip(parts, states, strict=True):
                part.load_state_dict(state)
            self._backend.set_random_state(random)

    def train(self, clock: Clock) -> None:
        for epoch in range(1, self._case.epochs + 1):
            with clock.phase("train", epoch, len(self._x)) as results:
                results.update(self._train_epoch(self._x, self._y))
            with clock.phase("validate", epoch, len(self._x_validation)) as results:
                results.update(self._evaluated(self._x_validation, self._y_validation))

    def evaluate(self) -> Mapping[str, float]:
        return self._evaluated(self._x_test, self._y_test)

    def outputs(self) -> Outputs:
        infer = self._compiled_call()
        return infer(self._x_test.numpy())

    def call_paths(self) -> dict[str, CallPath]:
        self._inference = self._compiled_call()
        if streaming_refusal(self._case):
            return {"compiled": self._inference}
        network = self._network.eval()

        def step(x: Inputs, states: State) -> tuple[Outputs, State]:
            with torch.inference_mode():
                given, states = network.step(torch.from_numpy(x).to(self._device), states)
                return self._readout(given), states

        self._stream = StreamingCall(network.start, step)
        return {"compiled": self._inference, STREAMING: self._stream}

    def outputs_by_step(self, x: Inputs) -> Outputs:
        with torch.inference_mode():
            return self._readout(self._network.eval()(torch.from_numpy(x).to(self._device), every_step=True))

    def device_bytes(self) -> int | None:
        return self._backend.device_bytes()

    def programs(self) -> int:
        return 0  # nothing is compiled

    def signatures(self) -> list[Signature]:
        return []

    def mask_problem(self, attestation: Attestation) -> str | None:
        return None  # it is given no masks

    def step_numbers(self, weights: Sequence[Array]) -> StepNumbers:
        network = self._network
        keras_layout.set_weights(network.layers, weights)
        for layer in network.layers:
            if isinstance(layer, nn.Dropout):
                layer.p = 0.0
        network.train()
        self._loss(network(self._x.to(self._device)), self._y.to(self._device)).backward()
        return StepNumbers(
            outputs=self._compiled_call()(self._x.numpy()),
            gradients=keras_layout.gradients(network.layers),
            phases=("train", "evaluate"),
        )

    def attest(self, steps: int, phases: tuple[str, ...]) -> Attestation:
        x, y = self._x[: self._case.batch_size], self._y[: self._case.batch_size]
        executed: dict[str, Callable[[], object]] = {
            "train": lambda: self._train_epoch(x, y),
            "evaluate": lambda: self._evaluated(x, y),
        }
        if (infer := self._inference) is not None:
            executed["compiled"] = lambda: infer(x.numpy())
        layers = self._network.recurrent()
        scopes = Scopes.of_names(tuple(layers), steps)
        evidence = {phase: profiled(layers, run, scopes) for phase, run in executed.items()}
        if (stream := self._stream) is not None:
            first_step = next(stream.feed(x.numpy(), len(x)))
            evidence[STREAMING] = profiled_step(layers, lambda: stream(first_step))
        return Attestation(
            evidence=evidence,
            phases=phases,
            settings={
                "jit_compile": False,
                **{name: _switches(layer) for name, layer in layers.items()},
                **self._backend.read_back(None),
            },
        )

    def _compiled_call(self) -> Callable[[Inputs], Outputs]:
        network = self._network.eval()

        def infer(inputs: Inputs) -> Outputs:
            with torch.inference_mode():
                return self._readout(network(torch.from_numpy(inputs).to(self._device)))

        return infer

    def _readout(self, given: Any) -> Outputs:
        outputs: Outputs = (torch.softmax(given, dim=-1) if self._task.target.is_class else given).cpu().numpy()
        return outputs

    def _train_epoch(self, x: Any, y: Any) -> dict[str, float]:
        self._network.train()
        order = torch.randperm(len(x))
        totals = torch.zeros(2, dtype=torch.float64, device=self._device)
        for picked in order.split(self._case.batch_size):
            labels = y[picked].to(self._device)
            self._optimizer.zero_grad()
            given = self._network(x[picked].to(self._device))
            loss = self._loss(given, labels)
            loss.backward()
            self._optimizer.step()
            self._schedule.step()
            totals += self._totals(loss.detach(), given.detach(), labels)
        return self._means(totals, len(x))

    def _evaluated(self, x: Any, y: Any) -> dict[str, float]:
        self._network.eval()
        totals = torch.zeros(2, dtype=torch.float64, device=self._device)
        with torch.inference_mode():
            for some_x, some_y in self._batches(x, y):
                given = self._network(some_x)
                totals += self._totals(self._loss(given, some_y), given, some_y)
        return self._means(totals, len(x))

    def _batches(self, x: Any, y: Any) -> Iterator[tuple[Any, Any]]:
        for some_x, some_y in zip(x.split(self._case.batch_size), y.split(self._case.batch_size), strict=True):
            yield some_x.to(self._device), some_y.to(self._device)

    def _loss(self, given: Any, targets: Any) -> Any:
        if self._task.target.is_class:
            return nn.functional.cross_entropy(given.flatten(0, -2), targets.flatten())
        return nn.functional.mse_loss(given, targets)

    def _totals(self, loss: Any, given: Any, targets: Any) -> Any:
        """Sums over the batch, on the device: nothing waits for it before the epoch's end."""
        of_target = given.argmax(dim=-1) == targets if self._task.target.is_class else (given - targets).abs()
        score = of_target.to(torch.float64).mean()
        return torch.stack([loss.to(torch.float64), score]) * len(targets)

    def _means(self, totals: Any, samples: int) -> dict[str, float]:
        loss, score = (totals / samples).tolist()
        return {"loss": loss, **dict.fromkeys(self._task.target.metrics, score)}
