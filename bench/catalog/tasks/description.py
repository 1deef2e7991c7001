"""A task as JSON: what a run keeps of it, so that its store can be read where the task isn't known."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from bench.catalog.tasks.target import TARGETS
from bench.catalog.tasks.task import Baseline, Task, Words

_PLAIN = (
    *("name", "title", "steps", "features", "outputs", "scale", "vocabulary", "mask_value", "scored"),
    *("train_samples", "test_samples", "digest", "credit", "licence"),
)


_LATER = {"validation_samples": 0}
"""What was added since stores keep tasks, with what stands for it where it is not kept."""


def to_json(task: Task) -> str:
    """What a store keeps of a task, keys sorted; `family` is `Task.family`."""
    values: dict[str, Any] = {name: getattr(task, name) for name in _PLAIN}
    values |= {name: value for name, usual in _LATER.items() if (value := getattr(task, name)) != usual}
    values["target"] = task.target.name
    values["words"] = asdict(task.words)
    values["baseline"] = asdict(task.baseline) if task.baseline else None
    values["family"] = task.family
    return json.dumps(values, sort_keys=True)


def from_json(text: object) -> Task | None:
    """The task that `to_json` described, without what makes or fetches its data; None where the text is none."""
    try:
        values = json.loads(str(text))
        baseline = values["baseline"]
        return Task(
            **{name: values[name] for name in _PLAIN},
            **{name: values.get(name, usual) for name, usual in _LATER.items()},
            target=TARGETS[values["target"]],
            words=Words(**values["words"]),
            baseline=Baseline(**baseline) if baseline else None,
        )
    except (ValueError, TypeError, KeyError):
        return None


def family_of(text: object) -> str | None:
    """What data of several sizes have in common, as a digest; None where the text names none."""
    try:
        family = json.loads(str(text))["family"]
    except (ValueError, TypeError, KeyError):
        return None
    return family if isinstance(family, str) else None
