"""A Ray cluster of several nodes on this machine, to try things on: it ends with the command, however that ends.

Its nodes listen on the loopback interface alone, and want a token that only this process and its children have.
"""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import tempfile
from collections.abc import Iterator

from bench.cluster.ray_nodes import SLOT, import_ray

LOOPBACK = "127.0.0.1"
_LONGEST_FOLDER = 30
"""Characters of a temporary folder; Ray's sockets lie some 70 below it, and the kernel takes no name above 107."""
_OBJECT_STORE_BYTES = 100 << 20
"""The smallest that Ray takes is 75 MiB; a node's largest object is the data of a task."""


@contextlib.contextmanager
def local_cluster(nodes: int) -> Iterator[str]:
    """Start a cluster of so many nodes, each with a measuring slot; gives its address.

    Args:
        nodes: how many; the first is the head.

    Raises:
        UsageError: Ray is not installed.
    """
    with loopback_environment():
        import_ray()
        from ray.cluster_utils import Cluster

        # with `shutdown_at_exit` the kernel ends the nodes when this process dies
        cluster = Cluster(shutdown_at_exit=True)
        try:
            for number in range(nodes):
                cluster.add_node(
                    wait=number == nodes - 1,
                    num_cpus=1,
                    resources={SLOT: 1},
                    node_ip_address=LOOPBACK,
                    include_dashboard=False,
                    object_store_memory=_OBJECT_STORE_BYTES,
                )
            cluster.wait_for_nodes()
            yield str(cluster.address)
        finally:
            # not `cluster.shutdown`, which refuses where the driver could not leave, its head being dead
            for node in cluster.list_all_nodes():
                node.kill_all_processes(check_alive=False, allow_graceful=False, wait=True)


@contextlib.contextmanager
def loopback_environment() -> Iterator[None]:
    """The environment of a cluster that is reached from this machine alone, by who has its token.

    Ray reads it when it is imported, and its processes inherit it.
    """
    variables = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": _token(),
        # else Ray takes the address that others reach in the place of 127.0.0.1
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        **({"RAY_TMPDIR": "/tmp"} if len(tempfile.gettempdir()) > _LONGEST_FOLDER else {}),
    }
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
