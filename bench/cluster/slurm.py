"""The script by which SLURM measures a suite: Ray on all nodes of one job, the driver on the first. Pure text."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.core.errors import UsageError

_START_SECONDS = 600.0
"""For Ray's start on all nodes, the check of each, and imports."""
_SLOWER = 1.5
"""The estimate is of another machine than these nodes: a job that is cut off has to wait in the queue again."""
_STEP_SECONDS = 600
_TERMINATE_SECONDS = 120
"""Before the limit: time to end the run and to store what is finished."""
_JOIN_SECONDS = 300
"""For all nodes to join Ray."""
_FIRST_PORT, _PORTS = 20_000, 20_000


@dataclass(frozen=True, kw_only=True)
class SlurmJob:
    """What a job is to do, and what it asks of SLURM."""

    suite: str
    arguments: Sequence[str]
    """Those of `bench run` on the job's first node, without `--on` and `--address`."""
    folder: Path
    """Where the command was given: the job stands there."""
    programs: Path
    """The folder with the commands `bench` and `ray`, on every node."""
    nodes: int
    limit_seconds: float
    gpus: int = 0
    """GPUs of each node to ask for; 0 for none."""


def limit_seconds(block_seconds: Mapping[int, float], nodes: int, slots: int = 1) -> float:
    """The time limit of a job, seconds: by the estimate, with a margin, in steps of ten minutes.

    Args:
        block_seconds: the estimate of each block, which goes to one node as a whole.
        nodes: how many nodes measure at once.
        slots: how many blocks each of them measures at once.

    Raises:
        UsageError: there are more slots than blocks.
    """
    if nodes * slots > len(block_seconds):
        asked = f"--nodes {nodes}" if slots == 1 else f"--nodes {nodes} with {slots} GPUs each"
        raise UsageError(
            f"{asked} is more than there are blocks ({len(block_seconds)}, a seed and repeat each), and a block is "
            f"measured by one {'node' if slots == 1 else 'GPU'}: take fewer, or more seeds (--set seeds=0..9)."
        )
    busy = [0.0] * (nodes * slots)
    for seconds in sorted(block_seconds.values(), reverse=True):
        busy[busy.index(min(busy))] += seconds
    return math.ceil((_START_SECONDS + _SLOWER * max(busy)) / _STEP_SECONDS) * _STEP_SECONDS


def sbatch_script(job: SlurmJob) -> str:
    """The script: `sbatch` takes it, and takes it again to go on where a job was cut off."""
    options = {
        "job-name": re.sub(r"[^\w.-]+", "-", f"bench-{job.suite}"),
        "nodes": str(job.nodes),
        "ntasks-per-node": "1",
        "exclusive": "",
        "mem": "0",
        **({"gpus-per-node": str(job.gpus)} if job.gpus else {}),
        "time": _slurm_time(job.limit_seconds),
        "signal": f"TERM@{_TERMINATE_SECONDS}",
        "dependency": "singleton",
        "requeue": "",
        "no-kill": "",
        "open-mode": "append",
        "output": "%x-%j.log",
    }
    directives = "\n".join(f"#SBATCH --{name}{f'={value}' if value else ''}" for name, value in options.items())
    return f"""\
#!/bin/bash
{directives}
# Each node is the job's alone, so that nothing else is timed along with its runs; the job survives a node that dies
# (no-kill). Submitted again, or put back into the queue, it goes on where it was; of several submissions one waits for
# the other (singleton).
set -euo pipefail
cd {shlex.quote(str(job.folder))}
export PATH={shlex.quote(str(job.programs))}:$PATH
# Ray listens on the cluster's network: only this job's processes have the token.
RAY_AUTH_TOKEN="$(od -An -N32 -tx1 /dev/urandom | tr -d ' \\n')"
export RAY_AUTH_TOKEN RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0 RAY_worker_niceness=0
export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT={_JOIN_SECONDS}
address="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n 1p):$(({_FIRST_PORT} + SLURM_JOB_ID % {_PORTS}))"
# export: else Ray has no token on the nodes where sbatch exports nothing; cpu-bind: not bound to the one
# processor that a task gets by default, since a node's runs use all of it
srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" --export=ALL --cpu-bind=none \\
    --no-kill --kill-on-bad-exit=0 \\
    ray symmetric-run --address "$address" --min-nodes "$SLURM_JOB_NUM_NODES" -- \\
    {shlex.join(["bench", "run", *job.arguments, "--on", "ray"])} --address "$address"
"""


def _slurm_time(seconds: float) -> str:
    minutes = math.ceil(seconds / 60)
    return f"{minutes // 1440}-{minutes // 60 % 24:02}:{minutes % 60:02}:00"
