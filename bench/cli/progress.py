"""The progress of `bench run` and `bench duel`: a live line in a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self, TextIO

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bench.core.axes import varying
from bench.core.case import Case, Status
from bench.core.phases import PHASES
from bench.core.protocol import Began, Event
from bench.plan.estimate import estimate_seconds
from bench.plan.plan import Plan, ScheduledCase
from bench.plan.prepare import excluded_by_reason
from bench.report.duel import case_words, minutes
from bench.report.values import count, duration, printable
from bench.store.campaign import Campaign
from bench.store.parts import Run

if TYPE_CHECKING:  # they import scipy, which `bench run` can do without
    from bench.duel.sequential import Contrast, Decision, InterimAnalysis
    from bench.duel.specification import DuelSpecification

_REDRAW_SECONDS = 1.0
"""A redraw takes about a millisecond of a processor that the run may want."""


class CampaignProgress:
    """The reporter of `bench run` (`bench.run.session.SessionReporter`): a line for each run, and a live one."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._plan: Plan | None = None
        self._label_width = 0
        self._console = Console(file=stream, highlight=False, markup=False, emoji=False, soft_wrap=True)
        # not the console's own opinion, which a variable such as FORCE_COLOR changes: a file must get no cursor codes
        live = stream.isatty() and not self._console.is_dumb_terminal
        self._live = Live(console=self._console, auto_refresh=False, transient=True) if live else None
        self._index = self._total = 0
        self._left = self._expected = self._begun = 0.0
        self._drawn = float("-inf")
        self._running = self._doing = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def campaign_opened(self, plan: Plan, campaign: Campaign, results: Path, resumed: bool) -> None:
        """See `SessionReporter`."""
        self.note(f"{'resuming' if resumed else 'beginning'} the campaign {campaign.id}: {plan.title or plan.suite}")
        self.note(f"{count(len(plan.scheduled), 'run')} in {count(plan.blocks, 'block')}, results in {results}")
        for reason, names in excluded_by_reason(plan):
            self.note(f"left out: {names}: {reason}")

    def campaign_started(self, plan: Plan) -> None:
        """See `CampaignReporter`, and so below."""
        self._plan = plan
        self._label_width = max((len(self._label(scheduled)) for scheduled in plan.scheduled), default=0)
        if self._live:
            self._live.start()

    def run_started(self, scheduled: ScheduledCase, index: int, total: int, left: float) -> None:
        """A run begins."""
        self._index, self._total, self._left = index, total, left
        self._running, self._doing = self._label(scheduled), "starting"
        self._expected, self._begun = estimate_seconds(scheduled.case), self._clock()
        self._draw()

    def event(self, event: Event) -> None:
        """The run reports something."""
        if isinstance(event, Began):
            phase = PHASES.get(event.phase)
            self._doing = (phase.doing if phase else event.phase) + (f" epoch {event.epoch}" if event.epoch else "")
        self.tick()

    def tick(self) -> None:
        """Redraw the live line, if that is due."""
        if self._clock() - self._drawn >= _REDRAW_SECONDS:
            self._draw()

    def run_ended(self, scheduled: ScheduledCase, run: Run, seconds: float, left: float, log: Path | None) -> None:
        """A run has ended and is stored."""
        width = len(str(self._total))
        line = Text(f"[{self._index:{width}d}/{self._total}] ", style="dim")
        line.append(f"{self._label(scheduled):{self._label_width}}  ", style="not dim")
        if run.status is Status.OK:
            line.append(f"{result_words(run)}  {seconds:6.1f} s", style="not dim")
            line.append(f"  {duration(left)} left" if self._index < self._total else "")
        else:
            line.append(f"{run.status.value}: {printable(run.error or '')}", style="not dim red")
            line.append(f"\n{' ' * (2 * width + 4)}log: {log}" if log else "")
        self._console.print(line)

    def note(self, text: str) -> None:
        """Something a person should know."""
        lines = "\n".join(map(printable, text.splitlines()))
        self._console.print(f"bench: {lines}")

    def _label(self, scheduled: ScheduledCase) -> str:
        return scheduled.case.label(self._plan.varying if self._plan else ())

    def _draw(self) -> None:
        if self._live:
            self._drawn = self._clock()
            self._live.update(self._drawing(), refresh=True)

    def _drawing(self) -> RenderableType:
        gone = self._clock() - self._begun
        done = self._index - 1 + min(0.95, gone / self._expected) if self._index else 0.0
        line = Table.grid(padding=(0, 1), expand=True)
        for ratio in (None, None, 1, None):  # what runs takes the room that is left
            line.add_column(no_wrap=True, overflow="ellipsis", ratio=ratio)
        line.add_row(
            ProgressBar(total=max(1, self._total), completed=done, width=16, complete_style="cyan"),
            f"{self._index}/{self._total}",
            Text.assemble((self._running, "bold"), f" {self._doing}"),
            Text(f"{duration(max(0.0, self._left - gone))} left", style="dim"),
        )
        return line


def result_words(run: Run) -> str:
    """How a run ended, for its line: its score, its last epoch's time, the kernel that ran."""
    scores = [
        f"{100 * o.accuracy:6.2f} %  " if o.accuracy is not None else f"loss {o.loss:.4f}  "
        for o in run.observations
        if o.phase == "evaluate" and (o.accuracy is not None or o.loss is not None)
    ]
    epochs = [o.seconds for o in run.observations if o.phase == "train" and o.seconds is not None]
    if run.status is not Status.OK or not epochs:
        return run.status.value
    return f"{scores[-1] if scores else ''}{epochs[-1]:5.3g} s/epoch  {run.metadata.attested_kernel}"


_DRAWN_COLUMNS = 25
_DRAWN_PERCENT = 6.0
_WIDE = 10.0
"""An interval whose ends are farther apart than this factor is not printed."""


class DuelProgress:
    """The reporter of `bench duel` (`bench.duel.procedure.DuelReporter`): a line for each process group."""

    def __init__(self, stream: TextIO, budget_seconds: float = 0.0) -> None:
        self._stream, self._budget_seconds = stream, budget_seconds
        self._ended = 0

    def note(self, text: str) -> None:
        """See `DuelReporter`, and so below."""
        for number, line in enumerate(text.splitlines()):
            print(f"{'' if number else 'bench: '}{printable(line)}", file=self._stream, flush=True)

    def duel_began(self, specification: DuelSpecification) -> None:
        """Print what is duelled."""
        self._budget_seconds = specification.question.budget_seconds
        sides = [f"{'ABCDEFGH'[number]} is {side.title}" for number, side in enumerate(specification.sides)]
        words = case_words([side.case for side in specification.sides], specification.phase)
        self.note(f"{words}: {', '.join(sides)}")

    def group_ended(self, log_ratios: Mapping[Contrast, float], decision: Decision | None, seconds: float) -> None:
        """Print the group's ratio, and the interval so far, drawn on a line; of several ratios the least certain."""
        self._ended += 1
        clock = f"{minutes(seconds)} of {minutes(self._budget_seconds)}"
        if decision is None or not log_ratios:
            line = "discarded: a side used the processors while another worked"
        elif len(decision.analyses) == 1:
            ((contrast, analysis),) = decision.analyses.items()
            line = f"B / A {math.exp(log_ratios[contrast]):.4f}"
            if analysis.low is not None and analysis.high is not None:
                line += f"  so far {_so_far(analysis)}  {_drawn(analysis.low, analysis.high)}"
        else:
            line = f"{len(decision.settled)} of {count(len(decision.analyses), 'ratio')} settled{_widest(decision)}"
        analysis_due = "  interim analysis" if decision is not None and decision.analysed else ""
        unit = "pair" if decision is not None and len(decision.analyses) == 1 else "group"
        print(f"{unit} {self._ended:2d}  {line}  {clock}{analysis_due}", file=self._stream, flush=True)


def _widest(decision: Decision) -> str:
    """The least certain of the ratios that are not settled, with its interval."""
    widths = {
        contrast: analysis.high / analysis.low
        for contrast, analysis in decision.analyses.items()
        if contrast not in decision.settled and analysis.low and analysis.high
    }
    if not widths:
        return ""
    contrast = max(widths, key=lambda each: widths[each])
    analysis = decision.analyses[contrast]
    letters = f"{'ABCDEFGH'[contrast.side]} / {'ABCDEFGH'[contrast.base]}"
    letters += f", p{100 * contrast.quantile:g}" if contrast.quantile else ""
    return f"  least certain: {letters} {_so_far(analysis)}"


def _so_far(analysis: InterimAnalysis) -> str:
    """A ratio with its interval; the first groups give one so wide that its ends are numbers of many digits."""
    assert analysis.low is not None
    assert analysis.high is not None
    if analysis.high > _WIDE * analysis.low:
        return f"{analysis.ratio:.4f} (too few groups for an interval)"
    return f"{analysis.ratio:.4f} ({analysis.low:.4f} to {analysis.high:.4f})"


def _drawn(low: float, high: float) -> str:
    """An interval of ratios on a line from −6 to +6 %, with 0 in the middle: `····[==|=]··`."""

    def column(ratio: float) -> int:
        place = round((100 * (min(ratio, 2.0) - 1) / _DRAWN_PERCENT + 1) / 2 * (_DRAWN_COLUMNS - 1))
        return min(max(place, 0), _DRAWN_COLUMNS - 1)

    first, last, middle = column(low), column(high), _DRAWN_COLUMNS // 2
    cells = ["=" if first <= place <= last else "·" for place in range(_DRAWN_COLUMNS)]
    cells[first] = "[" if first else "<"
    cells[last] = "]" if last < _DRAWN_COLUMNS - 1 else ">"
    cells[middle] = "|"
    return "".join(cells)


class CommitGateProgress(DuelProgress):
    """The reporter of `bench gate` between commits: a line for each process group, then for each seed and cell."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._seeds = 0
        self._varying: tuple[str, ...] = ()

    def training_began(self, cases: Sequence[Case], seeds: int, seconds: float) -> None:
        """See `bench.duel.training.TrainingReporter`, and so below."""
        if seeds != self._seeds:
            self.note(f"training both commits over {count(seeds, 'seed')}, which takes about {duration(seconds)}")
        self._seeds, self._varying = seeds, varying([case.configuration for case in cases])

    def case_trained(self, runs: Sequence[Run], seconds_left: float) -> None:
        """Print what each commit came to."""
        case = runs[0].case
        results = " → ".join(
            result_words(run) if run.status is Status.OK else f"{run.status.value}: {run.error}" for run in runs
        )
        left = f"  {duration(seconds_left)} left" if seconds_left > 0 else ""
        print(f"{case.label(self._varying)}  {printable(results)}{left}", file=self._stream, flush=True)
