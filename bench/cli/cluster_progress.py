"""The progress of `bench run --on`: a live line for each node in a terminal, a line for each run everywhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TextIO

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bench.cli.progress import CampaignProgress, result_words
from bench.cluster.node_state import ClusterNode
from bench.core.case import Status
from bench.plan.plan import ScheduledCase
from bench.report.values import count, duration, printable
from bench.store.parts import Run

_NAME_WIDTH = 20
_SHOWN_NODES = 20
"""So many nodes have a line of their own in a terminal."""


class ClusterProgress(CampaignProgress):
    """The reporter of a campaign on a cluster (`bench.cluster.node_state.ClusterReporter`)."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(stream, clock)
        self._nodes: Collection[ClusterNode] = ()
        self._done = 0

    def run_stored(
        self, node: ClusterNode, scheduled: ScheduledCase, run: Run, seconds: float, log: Path | None
    ) -> None:
        """Print a run that is stored, and the node that did it."""
        self._done += 1
        width = len(str(self._total))
        line = Text(f"[{self._done:{width}d}/{self._total}] ", style="dim")
        names = max(len(_short(each.name)) for each in (*self._nodes, node))
        line.append(f"{_short(node.name):{names}}  ", style="not dim cyan")
        line.append(f"{self._label(scheduled):{self._label_width}}  ", style="not dim")
        if run.status is Status.OK:
            line.append(f"{result_words(run)}  {seconds:6.1f} s", style="not dim")
        else:
            line.append(f"{run.status.value}: {printable(run.error or '')}", style="not dim red")
            line.append(f"\n{' ' * (2 * width + 4)}log: {log}" if log else "")
        self._console.print(line)

    def nodes_changed(self, nodes: Collection[ClusterNode], done: int, total: int, left: float) -> None:
        """Redraw the nodes' lines."""
        self._nodes, self._done, self._total, self._left = nodes, done, total, left
        self._draw()

    def _drawing(self) -> RenderableType:
        return Group(self._whole(), self._node_table())

    def _whole(self) -> Table:
        measuring = sum(node.busy for node in self._nodes)
        line = Table.grid(padding=(0, 1), expand=True)
        for ratio in (None, None, 1, None):
            line.add_column(no_wrap=True, overflow="ellipsis", ratio=ratio)
        line.add_row(
            ProgressBar(total=max(1, self._total), completed=self._done, width=16, complete_style="cyan"),
            f"{self._done}/{self._total}",
            f"{measuring} of {count(len(self._nodes), 'node')} measuring",
            Text(f"{duration(self._left)} left", style="dim"),
        )
        return line

    def _node_table(self) -> Table:
        now = self._clock()
        table = Table.grid(padding=(0, 2), expand=True)
        for ratio in (None, 1, None, None):
            table.add_column(no_wrap=True, overflow="ellipsis", ratio=ratio)
        for node in list(self._nodes)[:_SHOWN_NODES]:
            doing = self._label(node.run.scheduled) if node.run else " ".join(filter(None, [node.state, node.reason]))
            table.add_row(
                Text(_short(node.name), style="cyan"),
                Text(doing, style="bold" if node.run else "dim"),
                Text(f"since {duration(now - node.since)}", style="dim"),
                f"{node.done} done",
            )
        if len(self._nodes) > _SHOWN_NODES:
            table.add_row("", Text(f"… and {len(self._nodes) - _SHOWN_NODES} more", style="dim"), "", "")
        return table


def _short(name: str) -> str:
    """A host's name without its domain, as far as there is room for it."""
    host, _, rest = name.partition("#")
    host = host.partition(".")[0]
    number = f"#{rest}" if rest else ""
    return f"{host[: _NAME_WIDTH - len(number)]}{number}"
