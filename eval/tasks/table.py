"""The tasks that this package has, by name, and which of them some data, or a saved model, are for."""

from collections.abc import Mapping, Sequence
from typing import Any

from ...data.dataset import Dataset
from ...model.heads import Head
from .classify import Classify
from .task import Task

TASKS: dict[str, type[Task]] = {Classify.name: Classify}


def task_for(name: str, data: Dataset) -> Task:
    """The task of that name for some data; ValueError where there is none, or the data have not what it needs."""
    if name not in TASKS:
        raise ValueError(f"task {name!r} is not known; choose one of {', '.join(TASKS)}")
    task = TASKS[name].of(data)
    task.pairs = any(example.pair is not None for example in data.examples)
    return task


def task_of_model(labels: Sequence[str], head: type[Head], kept: Mapping[str, Any]) -> Task:
    """The task that a saved model answers: what `Task.kept` left in its folder, or the first whose head it has."""
    by_head = next((name for name, task in TASKS.items() if task.head is head), Classify.name)
    name = kept.get("name", by_head)
    if name not in TASKS:
        raise ValueError(f"the model answers the task {name!r}, which is not known here: {', '.join(TASKS)}")
    return TASKS[name].restored(labels, kept)
