"""`bench slurm`: the script by which SLURM measures a suite on many nodes."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import LOCAL_RESULTS, OrderOption, ResultsOption, SetOption, SlotOption, SuiteArgument
from bench.cli.output import notify
from bench.cluster.slot import Slot
from bench.core.errors import NoVerdictError, UsageError
from bench.report.values import count, duration, printable_lines


def slurm(
    suite: SuiteArgument = "mnist_rows",
    overrides: SetOption = None,
    results: ResultsOption = LOCAL_RESULTS,
    order_seed: OrderOption = 0,
    nodes: Annotated[
        int, typer.Option("--nodes", metavar="N", min=1, help="Nodes to ask for; a block is measured by one of them.")
    ] = 2,
    gpus: Annotated[
        int, typer.Option("--gpus", metavar="N", min=0, help="GPUs of each node to ask for; 0 for none.")
    ] = 0,
    slot: SlotOption = Slot.MACHINE,
) -> None:
    """Print an sbatch script that measures a suite on the nodes of a SLURM cluster, with Ray.

    The time limit comes from the plan's estimate. The same script, submitted again, goes on where a job was cut off.
    The folder where it is given, the results and this Python environment must be visible on all nodes.

    Examples:

      bench slurm quick --set seeds=0..9 --nodes 5 > quick.sh

      sbatch --partition=long quick.sh
    """
    from bench.catalog.device_profiles import ANY_GPU
    from bench.cluster.slurm import SlurmJob, limit_seconds, sbatch_script
    from bench.plan.estimate import estimate_seconds
    from bench.plan.prepare import excluded_by_reason, prepare

    # the machine where the job is submitted seldom has what its nodes have: on a GPU, everything is planned for
    prepared = prepare(suite, overrides, order_seed, profile=ANY_GPU if gpus else None)
    if slot is Slot.GPU:
        _check_slots(gpus, prepared.suite.values("devices"))
    plan = prepared.plan()
    if not plan.scheduled:
        reasons = [f"{names}: {reason}" for reason, names in excluded_by_reason(plan)]
        raise NoVerdictError("\n  ".join(["nothing of this suite can run there:", *reasons]))
    estimates: defaultdict[int, float] = defaultdict(float)
    for scheduled in plan.scheduled:
        estimates[scheduled.block] += estimate_seconds(scheduled.case)
    limit = limit_seconds(estimates, nodes, gpus if slot is Slot.GPU else 1)
    job = SlurmJob(
        suite=plan.suite,
        arguments=_arguments(suite, overrides or (), results, order_seed, slot),
        folder=Path.cwd(),
        programs=Path(sys.executable).parent,
        nodes=nodes,
        limit_seconds=limit,
        gpus=gpus,
    )
    notify(
        f"{count(len(plan.scheduled), 'run')} in {count(plan.blocks, 'block')} on {count(nodes, 'node')}: limited to "
        f"{duration(limit)}, by an estimate of {duration(sum(estimates.values()))} on a single machine"
    )
    typer.echo(printable_lines(sbatch_script(job)), nl=False)


def _check_slots(gpus: int, devices: Iterable[str]) -> None:
    """Refuse a slot for each GPU where the job or the suite has none for it."""
    if not gpus:
        raise UsageError("--slot gpu needs nodes with GPUs: add --gpus N, as many as each node has.")
    if wrong := [device for device in devices if device != "gpu:0"]:
        raise UsageError(
            f"--slot gpu shows each run a single GPU, which is gpu:0, and the suite has runs on {', '.join(wrong)}: "
            f"--set devices=gpu:0 leaves them out."
        )


def _arguments(suite: str, overrides: Iterable[str], results: Path, order_seed: int, slot: Slot) -> list[str]:
    """The arguments of the `bench run` that measures the same."""
    return [
        suite,
        *(word for override in overrides for word in ("--set", override)),
        *("--results", str(results)),
        *(("--seed-order", str(order_seed)) if order_seed else ()),
        *(("--slot", slot.value) if slot is Slot.GPU else ()),
    ]
