"""Samples a second against the batch."""

from __future__ import annotations

from bench.analysis.stats import Estimate, stands_above
from bench.analysis.summary import Section
from bench.report.figures import style
from bench.report.measured import Measured
from bench.report.values import row_label


def draw_throughput(measured: Measured, section: Section) -> style.Drawing:
    """The throughput of each call path.

    Raises:
        NothingToShowError: the section has nothing of it.
    """
    lines = []
    for row in section.rows:
        for figures in row.inference:
            speeds = figures.by_batch.get("throughput")
            latency = figures.estimates.get("latency_seconds")
            single = {1: Estimate(1 / latency.value, None, latency.n)} if latency and latency.value > 0 else {}
            if speeds:
                lines.append((row, figures.call_path, single | dict(speeds)))
    if not lines:
        raise style.NothingToShowError("no inference was timed at several batches")
    drawn = sorted(lines, key=lambda line: -max(e.value for e in line[2].values()))[: style.MOST_LINES]
    fig, ax = style.axes(height=4.2)
    styles, data = style.line_styles(section, [row for row, _, _ in drawn]), []
    texts, explained = style.labels([f"{row_label(row)}, {call_path}" for row, call_path, _ in drawn])
    for (row, call_path, speeds), text in zip(drawn, texts, strict=True):
        batches = sorted(speeds)
        line = styles[id(row)] | {"alpha": 1.0 if call_path == "compiled" else 0.55}
        ax.plot(
            batches,
            [speeds[b].value for b in batches],
            marker="o",
            markersize=4,
            label=text,
            **line,
        )
        for batch in batches:
            words = f"{row_label(row)}, {call_path}, batch {batch}: {style.interval_words(speeds[batch])} samples/s"
            style.value_at(ax, batch, speeds[batch].value, words)
            if interval := speeds[batch].interval:
                ax.plot([batch] * 2, [interval.low, interval.high], lw=1.2, color=styles[id(row)]["color"])
        data += [style.record(row, speeds[batch], entry=call_path, batch=batch, unit="samples/s") for batch in batches]
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.xaxis.set_major_formatter("{x:g}")
    style.plain_numbers(ax.yaxis)
    ax.set_xlabel("samples a call (log)")
    ax.set_ylabel("samples a second (log)")
    fig.legend(loc="outside lower center", ncols=2, title=explained.replace("\n", " ") or None)
    top = max(data, key=lambda each: each["value"])
    name, speed = f"{top['row']} ({top['entry']})", f"{top['value']:,.0f} samples/s at batch {top['batch']}"
    fastest, *slower = sorted((max(line[2].values(), key=lambda e: e.value) for line in lines), key=lambda e: -e.value)
    if not slower:
        title = f"{name} reaches {speed}"
    elif stands_above(fastest, slower):
        title = f"{name} has the highest throughput: {speed}"
    else:
        title = f"{name} leads with {speed}; that its throughput is the highest is not yet certain"
    n = style.runs_in([row for row, _, _ in drawn])
    caption = f"The batch over the run's median call, median over runs, 95 % intervals as lines. {n}."
    listed = "; ".join(f"{each['row']} {each['entry']} at {each['batch']}: {each['value']:,.0f}" for each in data[:12])
    return style.Drawing(title, caption, f"Samples a second by batch: {listed}.", fig, data)
