"""A Ray cluster of several nodes on this machine, to try things on: it ends with the command, however that ends.

Its nodes listen on the loopback interface alone, and want a token that only this process and its children have.
"""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cluster.ray_nodes import SLOT, import_ray
from bench.core.errors import UsageError
from bench.core.scratch import ScratchFolder

if TYPE_CHECKING:
    from ray.cluster_utils import Cluster

LOOPBACK = "127.0.0.1"
_LONGEST_FOLDER = 9
"""Characters of a temporary folder; Ray's sockets lie some 98 below it, and the kernel takes no name above 107."""
_RECONNECT, _RECONNECT_SECONDS = "RAY_gcs_rpc_server_reconnect_timeout_s", "5"
"""So long a process of a node lives whose head is gone: as Ray has it, a minute."""
_START_SECONDS = 60.0
_OBJECT_STORE_BYTES = 100 << 20
"""The smallest that Ray takes is 75 MiB; a node's largest object is the data of a task."""


@contextlib.contextmanager
def local_cluster(nodes: int, gpus: int | None = None) -> Iterator[str]:
    """Start a cluster of so many nodes, each with a measuring slot; gives its address.

    Args:
        nodes: how many; the first is the head.
        gpus: how many each has; None for as many as Ray sees.

    Raises:
        UsageError: Ray is not installed, or cannot start the nodes.
    """
    with loopback_environment(), _folder() as folder, environment({"RAY_TMPDIR": str(folder)}):
        import_ray()
        from ray.cluster_utils import Cluster

        # with `shutdown_at_exit` the kernel ends the nodes when this process dies
        cluster = Cluster(shutdown_at_exit=True)
        try:
            with environment({_RECONNECT: _RECONNECT_SECONDS}):
                _add_nodes(cluster, nodes, gpus)
            yield str(cluster.address)
        finally:
            # not `cluster.shutdown`, which refuses where the driver could not leave, its head being dead
            # the head last: what is left of a node reports there that it was killed, or waits for it
            for node in reversed(cluster.list_all_nodes()):
                node.kill_all_processes(check_alive=False, allow_graceful=False, wait=True)


def _add_nodes(cluster: Cluster, nodes: int, gpus: int | None = None) -> None:
    try:
        for _ in range(nodes):
            cluster.add_node(
                wait=False,
                num_cpus=1,
                **({} if gpus is None else {"num_gpus": gpus}),
                resources={SLOT: 1},
                node_ip_address=LOOPBACK,
                include_dashboard=False,
                object_store_memory=_OBJECT_STORE_BYTES,
            )
        cluster.wait_for_nodes(_START_SECONDS)
    except Exception as error:  # Ray raises its own, of many kinds: it gives a node half a minute
        raise UsageError(
            f"Ray could not start {nodes} nodes here ({str(error).strip().splitlines()[-1]}): each takes seconds of "
            f"CPU time. Give the command again when less runs on this machine, or with fewer nodes."
        ) from None


@contextlib.contextmanager
def loopback_environment() -> Iterator[None]:
    """The environment of a cluster that is reached from this machine alone, by who has its token.

    Ray reads it when it is imported, and its processes inherit it.
    """
    variables = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": _token(),
        "RAY_worker_niceness": "0",  # else runs come behind whatever else the machine does (`MeasuringNode`)
        # else Ray takes the address that others reach in the place of 127.0.0.1
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    }
    with environment(variables):
        yield


def _folder() -> ScratchFolder:
    """Where Ray keeps its logs and sockets, which it would leave."""
    return ScratchFolder("ray", Path("/tmp") if len(tempfile.gettempdir()) > _LONGEST_FOLDER else None)


@contextlib.contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Have these environment variables for a while, and what was there before afterwards."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@functools.cache
def _token() -> str:
    """The token of this process's clusters: Ray reads it once."""
    return secrets.token_hex(32)
