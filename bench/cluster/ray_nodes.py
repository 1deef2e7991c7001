"""Ray's nodes: an actor of `MeasuringNode` on each, pinned to it, with all of its processors or its measuring slot.

With a slot for each GPU, a node has as many actors as GPUs, each with one of them, by Ray's own account.

Ray is imported here and in `bench.cluster.local_cluster`, when a command names a cluster.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import shlex
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bench
from bench.cluster.installation import PROVISION
from bench.cluster.node import CeilingsOrder, MeasuringNode, NodeCeilings, NodeFacts, NodeSettings, RunOrder
from bench.cluster.nodes import Admitted, CeilingsArrived, Lost, NodeEvent, Refused, RunArrived
from bench.cluster.provision import Equipped, Provision, equip
from bench.cluster.slot import Slot
from bench.core.errors import BenchError, ExitCode, UsageError

if TYPE_CHECKING:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

SLOT = "bench_slot"
"""The custom resource of Ray that a node measures by; where no node of a cluster has it, all nodes measure."""
ADDRESS = "RAY_ADDRESS"
_OTHER_PROGRAM = ("ModuleNotFoundError", "ImportError", "AttributeError: Can't get attribute")
"""What Python reports where what is asked for isn't in a node's copy of the program, or there is none."""
_PROGRAM = str(Path(bench.__file__).parent)
"""What is sent of this program to nodes that are equipped."""
_OF_NODE = "/"
"""Between a node's id and the number of its GPU, in the id of a slot."""
_HEAD_SECONDS = 2.0
"""The longest that a connection to the head may take."""
_HEAD_ATTEMPTS = 5
"""So many connections to the head that fail in succession mean that it is gone."""


def import_ray() -> Any:
    """Ray, as this program wants it.

    Raises:
        UsageError: it is not installed.
    """
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # it would hide the cards and warn of it
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise UsageError(
            "--on needs Ray, which is not installed in this Python environment: `pip install 'rnn-bench[ray]'`."
        ) from None
    logging.getLogger("ray").setLevel(logging.ERROR)  # what it notes is of no use to who measures
    return ray


class RayNodes:
    """The nodes of a Ray cluster; a context manager that leaves the cluster.

    Args:
        address: the cluster's, `host:port`.
        sent: what nodes may fetch, by name (`bench.cluster.admission.Fetch`).
        provision: the environment that each node gets; None: it measures in that of its Ray.
        process: what the node's process is.
        slot: what a run has to itself.
    """

    def __init__(
        self,
        address: str,
        sent: Mapping[str, bytes],
        provision: Provision | None = None,
        process: type[NodeProcess] | None = None,
        slot: Slot = Slot.MACHINE,
    ) -> None:
        self._ray = import_ray()
        self._head_is_gone = False
        self._address, self._provision, self._process = address, provision, process or NodeProcess
        self._slot = slot
        self._head = address
        self._unreachable = ""
        self._left = threading.Event()
        if not self._head_can_be_reached():
            raise self._not_joined(self._unreachable)  # Ray would try for a quarter of an hour
        threading.Thread(target=self._watch_head, name="head", daemon=True).start()
        self._connect()
        self._sent = {name: self._ray.put(content) for name, content in sent.items()}
        self._resources: dict[str, dict[str, float]] = {}
        self._actors: dict[str, Any] = {}
        self._waiting: dict[str, NodeSettings] = {}
        self._interpreters: dict[str, str] = {}
        self._pending: dict[ray.ObjectRef[Any], str] = {}

    def _connect(self) -> None:
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            self._ray.init(
                self._address,
                log_to_driver=False,
                logging_level=logging.ERROR,
                namespace="bench",
                # a node that is equipped needs no copy of this program: it is sent
                runtime_env={"py_modules": [_PROGRAM]} if self._provision else None,
            )
        except Exception as error:  # Ray raises its own, of many kinds, and the last line has the reason
            self._left.set()
            raise self._not_joined(_why_not_joined(error)) from None

        # Ray prints, among the results, that a node has died, with its last log: what has died is reported here
        self._ray._private.worker.print_to_stdstream = lambda data, ignore_prefix: None
        self._head = str(self._ray.get_runtime_context().gcs_address)
        for number, handler in handlers.items():  # Ray's would end this process at once
            signal.signal(number, handler)

    def _not_joined(self, reason: str) -> UsageError:
        return UsageError(
            f"cannot join the Ray cluster at {self._address} ({reason}): start it (`ray start --head` on one machine), "
            f"give this command on one of its machines, with the same Ray and Python, and its token where it wants one "
            f"(RAY_AUTH_MODE=token RAY_AUTH_TOKEN=…), and name it with --address or {ADDRESS}."
        )

    def __enter__(self) -> RayNodes:
        return self

    def __exit__(self, *_: object) -> None:
        if self._head_is_gone:
            atexit.register(_end_without_leaving)
            return
        self._left.set()
        for node in list(self._actors):
            self.stop(node)
        self._ray.shutdown()

    def alive(self) -> Mapping[str, str]:
        """See `ClusterNodes`, and so below."""
        self._check_head()
        self._resources, hosts = {}, {}
        for node in self._measuring():
            for identity, resources in _slots_of(node, self._slot).items():
                self._resources[identity] = resources
                hosts[identity] = node["NodeManagerHostname"]
        return hosts

    def _measuring(self) -> list[dict[str, Any]]:
        """The nodes that may measure, as Ray has them: those with `SLOT` or, where none has it, with processors."""
        nodes = [node for node in self._ray.nodes() if node["Alive"]]
        return [node for node in nodes if SLOT in node["Resources"]] or [
            node for node in nodes if "CPU" in node["Resources"]
        ]

    def gpus_by_host(self) -> list[tuple[str, int]]:
        """The nodes that may measure: the host's name, and the number of its GPUs as Ray counts them."""
        return [(node["NodeManagerHostname"], int(node["Resources"].get("GPU", 0))) for node in self._measuring()]

    def _check_head(self) -> None:
        """Ray ends a process whose cluster has lost its head, after a minute, without a word to it."""
        if not self._head_can_be_reached():
            self._head_is_gone = True
            raise UsageError(self._gone)

    @property
    def _gone(self) -> str:
        return (
            f"the head of the cluster at {self._head} is gone. What is finished is kept: start the cluster again, and "
            f"the same command goes on."
        )

    def _head_can_be_reached(self) -> bool:
        for attempt in range(_HEAD_ATTEMPTS):
            if self._head_is_there():
                return True
            time.sleep(_HEAD_SECONDS / 2 if attempt < _HEAD_ATTEMPTS - 1 else 0)
        return False

    def _head_is_there(self) -> bool:
        host, _, port = self._head.rpartition(":")
        if not port.isdecimal():
            return True  # a name that Ray resolves when it connects
        try:
            socket.create_connection((host.strip("[]"), int(port)), _HEAD_SECONDS).close()
        except OSError as error:
            no_name = isinstance(error, socket.gaierror)
            self._unreachable = f"the name {host} is not known here" if no_name else "nothing listens there"
            return False
        return True

    def _watch_head(self) -> None:
        """End a process that waits in Ray for a head that is gone, which may take it for ever."""
        failures = 0
        while not self._left.wait(_HEAD_SECONDS):
            failures = 0 if self._head_is_there() else failures + 1
            if failures >= 3 * _HEAD_ATTEMPTS:
                print(f"bench: {self._gone}", file=sys.stderr)
                _end_without_leaving()

    def start(self, node: str, settings: NodeSettings) -> None:
        """Start the node's process and let it check itself."""
        self.stop(node)  # what was started there before has its processors
        if self._provision is None:
            self._start_process(node, settings, {})
        elif node in self._interpreters:
            self._start_process(node, settings, self._provided(node))
        else:
            self._waiting[node] = settings
            task = self._ray.remote(equip).options(num_cpus=0, max_retries=0, scheduling_strategy=_on(node))
            self._pending[task.remote(self._provision)] = node

    def _provided(self, node: str) -> dict[str, Any]:
        return {"py_executable": shlex.quote(self._interpreters[node])}

    def _start_process(self, node: str, settings: NodeSettings, runtime_env: dict[str, Any]) -> None:
        resources = dict(self._resources.get(node, {}))
        actor_class = self._ray.remote(self._process)
        options: dict[str, Any] = {
            "num_cpus": resources.pop("CPU", 0),
            "num_gpus": resources.pop("GPU", 0),
            "resources": resources,
            "max_restarts": 0,
            "scheduling_strategy": _on(node),
            "runtime_env": runtime_env,
        }
        actor = self._actors[node] = actor_class.options(**options).remote(settings)
        self._pending[actor.admit.remote(self._sent)] = node

    def measure(self, node: str, order: RunOrder) -> None:
        """Let the node's process do a run."""
        self._pending[self._actors[node].measure.remote(order)] = node

    def measure_ceilings(self, node: str, order: CeilingsOrder) -> None:
        """Let the node's process measure ceilings."""
        self._pending[self._actors[node].measure_ceilings.remote(order)] = node

    def stop(self, node: str) -> None:
        """Kill the node's process; its servers and runs die with it."""
        self._pending = {ref: each for ref, each in self._pending.items() if each != node}
        actor = self._actors.pop(node, None)
        if actor is not None and not self._head_is_gone:
            with contextlib.suppress(Exception):  # it is dead, or its cluster is
                self._ray.kill(actor)

    def events(self, seconds: float) -> list[NodeEvent]:
        """What has happened."""
        if not self._pending:
            time.sleep(seconds)
            return []
        refs = list(self._pending)
        if not self._ray.wait(refs, num_returns=1, timeout=seconds)[0]:
            return []
        ready, _ = self._ray.wait(refs, num_returns=len(refs), timeout=0)
        happened = (self._event(self._pending.pop(ref), ref) for ref in ready)
        return [event for event in happened if event is not None]

    def _event(self, node: str, ref: Any) -> NodeEvent | None:
        errors = self._ray.exceptions
        try:
            result = self._ray.get(ref)
        except errors.RayTaskError as error:
            cause = error.cause
            if isinstance(cause, BenchError):
                return Refused(node, str(cause))
            return Refused(node, f"its process failed ({type(cause).__name__}: {cause})")
        except errors.RuntimeEnvSetupError as error:
            return Refused(node, f"its environment cannot be made ({_last_line(error)})")
        except errors.RayActorError as error:
            reason = _last_line(error)
            if reason.startswith(_OTHER_PROGRAM):
                return Refused(node, f"it has no such program ({reason}); {PROVISION}")
            return Lost(node, reason)
        except errors.RayError as error:
            return Lost(node, _last_line(error))
        if isinstance(result, Equipped):
            self._interpreters[node] = result.interpreter
            self._start_process(node, self._waiting.pop(node), self._provided(node))
            return None
        if isinstance(result, NodeCeilings):
            return CeilingsArrived(node, result)
        return Admitted(node, result) if isinstance(result, NodeFacts) else RunArrived(node, result)


class NodeProcess(MeasuringNode):
    """`MeasuringNode` in a process of Ray's, which gets the driver's data out of Ray's object store."""

    def admit(self, sent: Mapping[str, Any]) -> NodeFacts:  # type: ignore[override]
        """Check the node.

        Args:
            sent: references to what it may fetch, by name.
        """
        import ray

        def fetch(name: str) -> bytes:
            content: bytes = ray.get(sent[name])
            return content

        # empty where the whole machine is measured on: Ray has given it no GPU then
        cards = ray.get_runtime_context().get_accelerator_ids()["GPU"]
        return super().admit(fetch, visible=cards[0] if cards else None)


def _on(node: str) -> NodeAffinitySchedulingStrategy:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node.partition(_OF_NODE)[0], soft=False)


def _slots_of(node: Mapping[str, Any], slot: Slot) -> dict[str, dict[str, float]]:
    """What each slot of a node takes of its resources, by the id that the slot has here."""
    resources = node["Resources"]
    if slot is Slot.MACHINE:
        return {node["NodeID"]: {SLOT: 1.0} if SLOT in resources else {"CPU": resources["CPU"]}}
    gpus = int(resources.get("GPU", 0))
    # together the slots take the whole node, so that no other work of Ray's comes beside
    part = {SLOT: _fraction(gpus)} if SLOT in resources else {"CPU": float(resources["CPU"] // max(1, gpus))}
    return {f"{node['NodeID']}{_OF_NODE}{number}": {"GPU": 1.0, **part} for number in range(gpus)}


def _fraction(slots: int) -> float:
    """The part of a resource that each of so many slots gets, in Ray's four places, all together no more than 1."""
    return (10_000 // slots) / 10_000 if slots else 0.0


def _end_without_leaving() -> None:
    """End the process whose cluster has lost its head: Ray would wait for it, and its threads crash the interpreter."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(ExitCode.USAGE)


def _why_not_joined(error: Exception) -> str:
    """What Ray has to report of a cluster that cannot be joined, without its advice."""
    text = str(getattr(error, "message", None) or error).strip()
    if "Version mismatch" in text:  # the cluster's versions and the driver's, a line each
        return " ".join(text.split())
    if text.startswith("Failed to connect to Ray cluster"):  # to one that was reached, as was tried before
        return "what listens there wants another token than is set here, or is no head of Ray"
    return text.splitlines()[-1] if text else type(error).__name__


def _last_line(error: Exception) -> str:
    """What Ray has to report of a death, without its advice."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
