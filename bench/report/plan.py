"""A plan as a document: how much would run and for how long, the cases in their order, and what is left out and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.catalog.device_profiles import ANY_GPU
from bench.plan.plan import Plan
from bench.plan.prepare import MissingData, excluded_by_reason
from bench.report.document import Block, Column, Document, Heading, Paragraph, Table
from bench.report.values import count, duration

if TYPE_CHECKING:
    from bench.cluster.outlook import ClusterOutlook
    from bench.run.status import CampaignStatus


_LISTED_BLOCKS = 8
"""So many numbers of blocks of a node are listed."""


def plan_document(
    plan: Plan,
    estimate_seconds: float,
    shown: int | None,
    status: CampaignStatus | None = None,
    outlook: ClusterOutlook | None = None,
    missing: Sequence[MissingData] = (),
) -> Document:
    """Lay out a plan.

    Args:
        plan: the plan.
        estimate_seconds: about how long all its runs take.
        shown: how many cases are listed before the rest is counted; None lists all.
        status: of the campaign that `bench run` would resume, or join; None for none.
        outlook: what the nodes of a cluster would do; None where it runs on this machine.
        missing: data that would have to be got first.
    """
    configurations = len({scheduled.case.configuration for scheduled in plan.scheduled})
    listed = plan.scheduled[:shown]
    rows = tuple(
        (f"block {each.block + 1}", str(each.position + 1), each.case.label(plan.varying), each.case.id)
        for each in listed
    )
    columns = (Column("", group=True), Column("", left=False), Column("", wrap=True), Column(""))
    blocks: list[Block] = [
        Paragraph(
            f"{plan.suite}: {count(configurations, 'configuration')}, {count(plan.blocks, 'block')}, "
            f"{count(len(plan.scheduled), 'run')}; about {duration(estimate_seconds)} on {_where(plan)}"
        ),
        Paragraph(f"order inside the blocks drawn from {plan.order_seed}"),
    ]
    blocks += [Paragraph(_got_first(data)) for data in missing]
    if status is not None:
        blocks += _status(status)
    if outlook is not None:
        blocks += _nodes(outlook)
    if rows:
        blocks.append(Table(columns, rows))
    if len(plan.scheduled) > len(listed):
        blocks.append(Paragraph(f"… and {len(plan.scheduled) - len(listed):,} more (--all lists them)"))
    blocks.append(Heading("left out") if plan.excluded else Paragraph("nothing is left out"))
    for reason, names in excluded_by_reason(plan):
        blocks += [Paragraph(reason, indent=1), Paragraph(names, tone="soft", indent=2)]
    return Document(tuple(blocks))


def _got_first(data: MissingData) -> str:
    """What will happen to data that are not on this machine."""
    otherwise = f"measures {data.stand_in} instead, and labels it so" if data.stand_in else "ends with 2"
    sources = " or ".join(data.sources)
    return (
        f"the data of {data.task} are not on this machine: `bench run` gets them from {sources}; where none can be "
        f"reached, it {otherwise} (`--data-dir` and BENCH_DATA_DIR name a folder that has them)"
    )


def _where(plan: Plan) -> str:
    """What the estimate is for."""
    devices = {scheduled.case.device == "cpu" for scheduled in plan.scheduled}
    names = {True: "a machine of 2 cores", False: f"an {ANY_GPU.model}, by published figures"}
    return " and ".join(names[on_cpu] for on_cpu in sorted(devices or {True}, reverse=True))


def _nodes(outlook: ClusterOutlook) -> list[Block]:
    """What each node of a cluster would do."""
    able = [node for node in outlook.nodes if not node.refusal]
    rows = tuple(
        (node.name, node.machine.cpu_model or "" if node.machine else "", _numbers(node.blocks), node.refusal)
        for node in outlook.nodes
    )
    columns = (Column("node"), Column("processor", wrap=True), Column("blocks", wrap=True), Column("", wrap=True))
    time = f"about {duration(outlook.seconds)}" if able else "nothing can be measured"
    return [Paragraph(f"on {count(len(able), 'node')}: {time}, if all goes as estimated"), Table(columns, rows)]


def _numbers(blocks: Sequence[int]) -> str:
    """Numbers of blocks, from 1; of many only how many they are."""
    if len(blocks) > _LISTED_BLOCKS:
        return count(len(blocks), "block")
    return ", ".join(str(block + 1) for block in blocks) or "none"


def _status(status: CampaignStatus) -> list[Block]:
    """How much of a campaign is done, and who measures it."""
    owner = f"it is measured by {status.owner}" if status.owner else "nobody measures it now"
    lines = [
        f"the campaign {status.campaign.id} is unfinished: {status.ended} of {status.planned} runs are done; {owner}"
    ]
    lines += [f"block {block + 1}: {holder}" for block, holder in sorted(status.blocks.items())]
    return [Paragraph(line, indent=min(number, 1)) for number, line in enumerate(lines)]
