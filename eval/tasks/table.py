"""The tasks that this package has, by name, and which of them some data, or a saved model, are for."""

from collections.abc import Mapping, Sequence
from typing import Any

from ...data.dataset import Dataset
from ...model.heads import Head
from .choose import Choose
from .classify import Classify
from .multilabel import Multilabel
from .score import Score
from .span import Extract
from .tag import Tag
from .task import Task

TASKS: dict[str, type[Task]] = {task.name: task for task in (Classify, Score, Multilabel, Choose, Tag, Extract)}


def kind_of_labels(name: str | None) -> str:
    """Which of data/label_kinds.py the labels of a task are, by default names; ValueError where there is no such
    task."""
    name = name or Classify.name
    if name not in TASKS:
        raise ValueError(f"task {name!r} is not known; choose one of {', '.join(TASKS)}")
    return TASKS[name].labels_are


def task_name(asked: str | None, data: Dataset) -> str:
    """The name of the task that was asked for, or else of that of the data, where it is known here."""
    return asked or (data.task if data.task in TASKS else Classify.name)


def task_for(name: str | None, data: Dataset) -> Task:
    """The task of that name (see `task_name`) for some data; ValueError where there is none, or the data have not what
    it needs."""
    kind_of_labels(name)
    name = task_name(name, data)
    require_labels(TASKS[name], data)
    task = TASKS[name].of(data)
    task.pairs = any(example.pair is not None for example in data.examples)
    return task


def require_labels(task: type[Task], data: Dataset) -> None:
    """ValueError where the labels of some data are of another kind than those of a task."""
    if data.task not in (task.name, Classify.name):  # that of a data set with a name; files of one's own say none
        advice = "choose that task" if data.task in TASKS else "it cannot be learned or judged here yet"
        raise ValueError(f"{data.name} is for the task {data.task}, not {task.name}: {advice}")
    if odd := next((e for e in data.examples if not task.fits(e.label)), None):
        raise ValueError(
            f"{data.name} has a label {odd.label!r}, which is none of the task {task.name}: choose another"
        )


def task_of_model(labels: Sequence[str], head: type[Head], kept: Mapping[str, Any]) -> Task:
    """The task that a saved model answers: what `Task.kept` left in its folder, or the first whose head it has."""
    by_head = next((name for name, task in TASKS.items() if task.head is head), Classify.name)
    name = kept.get("name", by_head)
    if name not in TASKS:
        raise ValueError(f"the model answers the task {name!r}, which is not known here: {', '.join(TASKS)}")
    task = TASKS[name](labels)
    task.restore(kept)
    return task
