"""The terms of the program, each explained once: `bench glossary` prints them, and docs/glossary.md is made of them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bench.core.errors import unknown
from bench.report.document import Column, Document, Paragraph, Table

_COLOURS = re.compile(r"\x1b\[[\d;]*m")


@dataclass(frozen=True)
class Term:
    """A term, or several that are explained together."""

    heading: str
    """The terms, separated by commas; behind them in brackets what they are called in keys and columns."""
    meaning: str
    is_common: bool = False
    """Whether it is understood without this program: what is printed refers nobody to it."""

    @property
    def names(self) -> tuple[str, ...]:
        """The terms alone."""
        return tuple(self.heading.partition(" (")[0].replace("`", "").split(", "))

    @property
    def keys(self) -> tuple[str, ...]:
        """What they are called in keys and columns."""
        return tuple(re.findall(r"`(\w+)`", self.heading.partition(" (")[2]))


GLOSSARY = (
    Term(
        "admission",
        "the check of a node before it measures: it has the driver's program, software, code and data, or gets them, "
        "or is refused by name",
        is_common=True,
    ),
    Term(
        "anchor",
        "a fixed computation, measured beside the sides: time ÷ anchor compares between occasions. Of a duel it is in "
        "NumPy on a single thread; of a store, a GRU that Keras trains on noise in the cells' own backend",
    ),
    Term("attested", "read from the program that was executed, after the timing, never from what was requested"),
    Term("backend", "Keras's: `tensorflow` (default), `jax`, `torch`", is_common=True),
    Term(
        "basis",
        "what a finding is computed from: paired blocks, paired seeds, or two independent samples, and how many",
    ),
    Term("block", "a (seed, repeat) over all configurations, in a recorded random order; ratios are paired by block"),
    Term(
        "call path (column `entry`)",
        "how a trained model is called: `predict` (`model.predict`), `compiled` (what a service would call) or "
        "`streaming`",
    ),
    Term("campaign", "what a plan measured; `bench run` resumes an unfinished campaign"),
    Term(
        "case, configuration",
        "a point of a suite, fully resolved; without seed and repeat, a configuration",
        is_common=True,
    ),
    Term(
        "ceiling",
        "the best rate measured here of a large matrix product, or of the serial chain of a step's products",
    ),
    Term("cell", "what is compared: `simple_rnn`, `lstm`, `gru`, or yours", is_common=True),
    Term(
        "comparison environment",
        "the facts of machine, software and data that two sides must share before their figures are compared",
        is_common=True,
    ),
    Term(
        "`cudnn_ready`",
        "the network with tanh in both recurrent layers, which cuDNN's kernels need; `notebook` has relu in the second",
    ),
    Term(
        "discarded, contaminated",
        "a round not counted because the waiting side used CPU time: what it timed is contaminated",
    ),
    Term("driver, node", "the command that measures on a cluster, and a machine of it that does runs", is_common=True),
    Term("duel", "an interleaved measurement of two or more sides that stops when every ratio is known well enough"),
    Term("efficiency", "the fraction of a ceiling that training reaches"),
    Term("equivalence margin (key `tolerance`)", "how much two values may differ and still count as the same"),
    Term(
        "interim analysis",
        "one of at most ten times at which a duel may stop; its intervals hold for all ten together",
    ),
    Term(
        "kernel",
        "how a recurrent layer is computed: `generic`, `unrolled`, `xla`, `cudnn`, `compiled`, `parallel`; `auto` is "
        "Keras's pick",
        is_common=True,
    ),
    Term(
        "lease",
        "a file by which one process, on whatever machine, holds a campaign or a block of it; renewed while its "
        "holder lives",
        is_common=True,
    ),
    Term(
        "metric",
        "a figure of a run made from its observations, with unit, better direction and two margins",
        is_common=True,
    ),
    Term(
        "minimum detectable effect",
        "the smallest level change that a series of `bench history` would have shown in some nine of ten cases or more",
    ),
    Term("noise floor (key `floor`)", "the bias that no repetition removes; a smaller difference is never claimed"),
    Term(
        "observation",
        "a row of the store: a run, a phase, an epoch or batch size, and what was measured",
        is_common=True,
    ),
    Term(
        "occasion",
        "a campaign, as the unit of what the machine's drift does to times; campaigns that are nearer to each other "
        "than the two sides are count as one",
    ),
    Term(
        "pinned allocator",
        "the memory settings (huge pages) that both sides of a duel get, so that chance placement doesn't differ",
    ),
    Term(
        "process pair, process group",
        "fresh processes, one for each side, of fresh servers, measured interleaved: the replicate of a duel, "
        "a single data point for each ratio",
    ),
    Term("roofline", "the model that sets what was reached beside the ceilings of a machine"),
    Term("round", "a balanced order of all sides (A B B A), made of timed batches"),
    Term("run", "an execution of a case in a fresh process; the statistical unit", is_common=True),
    Term("runtime", "what computes the network: `keras`, `torch.nn`, `onnxruntime`, `litert`", is_common=True),
    Term(
        "section",
        "a table of results that compare: equal in all but the cell and what the columns show, measured by the same "
        "software on the same machine",
    ),
    Term("serial chain", "a training step's matrix products, those that wait for the state executed in succession"),
    Term("simultaneous interval", "wide enough that all intervals of a comparison hold the truth together with 95 %"),
    Term("streaming", "inference a step at a time, the network's state carried from call to call"),
    Term(
        "suite, plan",
        "a TOML file of axes and settings; its cases in order on this machine, and those left out, each with its "
        "reason",
        is_common=True,
    ),
    Term("task", "data and what is asked of them: arrays, target, loss, metrics, sources, scaling", is_common=True),
    Term("timed batch", "as many steps as take about 30 ms, timed together on a synchronised device"),
    Term(
        "verdict",
        "`same`, `faster`, `slower`, `better`, `worse`, `inconclusive`, `missing`, `failed` or `incomparable`",
        is_common=True,
    ),
    Term(
        "worker environment",
        "the Python, its packages and the variables that a side's processes run in",
        is_common=True,
    ),
)
"""In alphabetical order."""


def glossary_document(wanted: str | None = None) -> Document:
    """All terms, or one with its meaning.

    Args:
        wanted: a term, or the name of a key or column; None for all.

    Raises:
        UsageError: nothing has that name.
    """
    if wanted is None:
        rows = tuple((term.heading, term.meaning) for term in GLOSSARY)
        return Document((Table((Column("term"), Column("meaning", wrap=True)), rows),))
    by_name = {name: term for term in GLOSSARY for name in (*term.keys, *term.names)}
    name = wanted.lower() if wanted.lower() in by_name else wanted.lower().removesuffix("s")
    if name not in by_name:
        raise unknown("term", wanted, by_name, "on the command line")
    term = by_name[name]
    return Document((Paragraph(f"{term.heading}: {term.meaning}."),))


def terms_line(text: str) -> Paragraph | None:
    """A line that lists the terms of the glossary in a printed text, and the command that explains them.

    None where the text has none.

    Args:
        text: with or without a terminal's colours.
    """
    plain = _COLOURS.sub("", text)
    terms = [name for term in GLOSSARY if not term.is_common for name in term.names if _stands_in(plain, name)]
    if not terms:
        return None
    what = "it" if len(terms) == 1 else "one"
    way = f"`bench glossary {terms[0]}` explains {what}."
    return Paragraph(f"Terms: {', '.join(terms)}. {way}", tone="soft")


def _stands_in(text: str, name: str) -> bool:
    """Whether a text has a term, in the plural too, and broken over lines."""
    pattern = r"\s+".join(map(re.escape, name.split()))
    return re.search(rf"\b{pattern}s?\b", text, re.IGNORECASE) is not None
