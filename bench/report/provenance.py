"""How results came about: machine and software, evidence of the kernels, order, failed runs, commands."""

from __future__ import annotations

from collections import Counter
from typing import Any

from bench.analysis.records import stored_object
from bench.analysis.summary import Section
from bench.catalog.cudnn_names import cudnn_kernel_words
from bench.report.document import Block, Column, Table
from bench.report.measured import Measured
from bench.report.values import NONE, in_words, row_label

_SHOWN = 200
"""Runs and configurations that are listed each: those that failed, and those left out."""


def provenance_blocks(measured: Measured, section: Section) -> tuple[Block, ...]:
    """How a section was measured."""
    return (_environment(section), _evidence(measured, section), _order(measured, section), _failed(measured, section))


def plan_blocks(measured: Measured) -> tuple[Block, ...]:
    """The commands that measure the same again, and what the plans left out."""
    return _commands(measured), _left_out(measured)


def _environment(section: Section) -> Table:
    rows = [
        ("machine fingerprint", section.machine_fingerprint or NONE),
        *((f"machine: {name.replace('_', ' ')}", _value(value)) for name, value in section.machine.items()),
        ("software fingerprint", section.software_fingerprint or NONE),
        *((f"software: {name.replace('_', ' ')}", _value(value)) for name, value in section.software.items()),
        ("data (SHA-256)", section.data_digest or NONE),
        ("measured by commits", ", ".join(section.commits) or NONE),
    ]
    if section.code_digest:
        rows.append(("users' code (digest)", ", ".join(section.code_versions)))
    return Table((Column("fact"), Column("value", wrap=True)), tuple(rows), caption="Environment")


def _value(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join("=".join(map(str, item)) if isinstance(item, list) else str(item) for item in value) or NONE
    return f"{value:g}" if isinstance(value, float) else str(value) if isinstance(value, bool) else in_words(value)


def _evidence(measured: Measured, section: Section) -> Table:
    """What was read from the executed programs, by row, phase and layer; runs with the same evidence once."""
    row_of = {run.run_id: row for row in section.rows for run in row.runs}
    runs = measured.runs_of(section)
    seen: Counter[tuple[str, ...]] = Counter()
    for run_id, attestation in zip(runs["run_id"], runs["attestation_json"], strict=True):
        row = row_of.get(str(run_id))
        if row is None or not isinstance(attestation, str):
            continue
        for phase, layers in stored_object(attestation).items():
            for layer, evidence in layers.items() if isinstance(layers, dict) else ():
                operations = sorted(evidence.get("operations", {}).items())
                counts = ", ".join(f"{number} {name}" for name, number in operations)
                ran = cudnn_kernel_words(str(evidence.get("kernel")), evidence.get("operations", {}))
                seen[row_label(row), phase, layer, ran, counts] += 1
    return Table(
        (*(Column(head) for head in ("cell", "phase", "layer", "ran", "operations seen")), Column("runs", left=False)),
        tuple((*key, str(number)) for key, number in seen.items()),
        caption="Evidence of the kernel that ran",
        empty="No run carries evidence of its kernel.",
    )


def _order(measured: Measured, section: Section) -> Table:
    rows = []
    for campaign, runs in measured.runs_of(section).groupby("campaign_id", observed=True, sort=False):
        times = runs["started_at"]
        rows.append(
            (
                str(campaign),
                str(runs["suite"].iloc[0]),
                str(int(runs["order_seed"].iloc[0])) if "order_seed" in runs else NONE,
                str(runs["block"].nunique()),
                str(len(runs)),
                f"{times.min():%Y-%m-%d %H:%M} to {times.max():%Y-%m-%d %H:%M} UTC",
            )
        )
    figures = (Column(head, left=False) for head in ("order number", "blocks", "runs"))
    return Table(
        (Column("campaign"), Column("suite"), *figures, Column("begun")),
        tuple(rows),
        caption="Order: each block runs all configurations, shuffled by the order number",
    )


def _failed(measured: Measured, section: Section) -> Table:
    runs = measured.runs_of(section)
    failed = runs[runs["status"] != "ok"]
    more = f"; the first {_SHOWN} of {len(failed):,}" if len(failed) > _SHOWN else ""
    names = ("run_id", "cell", "kernel", "seed", "status")
    return Table(
        tuple(
            Column(head, left=head != "seed", wrap=head == "error")
            for head in ("run", "cell", "kernel", "seed", "status", "error")
        ),
        tuple(
            (*(str(run[name]) for name in names), str(run["error"] or "no reason recorded"))
            for run in failed.head(_SHOWN).to_dict("records")
        ),
        caption=f"Runs that failed or were invalid, in no figure{more}",
        empty="Every run ended ok.",
    )


def _commands(measured: Measured) -> Table:
    return Table(
        (Column("campaign"), Column("command"), Column("commit"), Column("runs planned", left=False)),
        tuple(
            (
                manifest.campaign.id,
                str(manifest.plan.get("command") or NONE),
                manifest.campaign.program_commit or NONE,
                str(len(manifest.case_ids)),
            )
            for manifest in measured.manifests
        ),
        caption="The command that makes it again",
        empty="The campaigns' manifests are not beside these results.",
    )


def _left_out(measured: Measured) -> Table:
    rows: dict[tuple[str, str], None] = {}
    for manifest in measured.manifests:
        for out in manifest.plan.get("left_out") or ():
            case = out.get("case", {})
            name = (
                f"{case.get('cell')} × {case.get('kernel')} on {case.get('backend')}, {case.get('device')}"
                if isinstance(case, dict)
                else str(case)
            )
            rows[name, str(out.get("reason"))] = None
    return Table(
        (Column("configuration"), Column("reason", wrap=True)),
        tuple(rows)[:_SHOWN],
        caption="Left out of the plan",
        empty="Nothing was left out of the plan."
        if measured.manifests
        else "Not known without the campaigns' manifests.",
    )
