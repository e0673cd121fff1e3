"""The tasks that this package has, by name, and which of them some data, or a saved model, are for."""

from collections.abc import Mapping, Sequence
from typing import Any

from ...data.dataset import Dataset
from ...model.heads import Head
from .choose import Choose
from .classify import Classify
from .multilabel import Multilabel
from .score import Score
from .similarity import Similarity
from .span import Extract
from .tag import Tag
from .task import Task

TASKS: dict[str, type[Task]] = {
    task.name: task for task in (Classify, Score, Multilabel, Choose, Tag, Extract, Similarity)
}


def split_name(text: str) -> tuple[str, dict[str, Any]]:
    """`similarity:loss=angular,high=5` → the name of a task and its options; ValueError where there are no such."""
    name, _, rest = text.partition(":")
    if name not in TASKS:
        raise ValueError(f"task {name!r} is not known; choose one of {', '.join(TASKS)}")
    known, told = TASKS[name].options, {}
    for part in filter(None, rest.split(",")):
        key, _, value = part.partition("=")
        if key not in known:
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise ValueError(f"the task {name} has no option {key!r}: {has}")
        if key in told:
            raise ValueError(f"the task {name} is told {key} twice: leave one out")
        try:
            told[key] = known[key](value)
        except ValueError:
            raise ValueError(f"{key} of the task {name} is {value!r}, and no {known[key].__name__}") from None
    return name, told


def kind_of_labels(name: str | None, pair: bool = False, label: bool = True) -> str:
    """Which of data/label_kinds.py the labels of a task are, by default names, see `Task.kind_by_columns`; ValueError
    where there is no such task."""
    return TASKS[split_name(name or Classify.name)[0]].kind_by_columns(pair, label)


def task_name(asked: str | None, data: Dataset) -> str:
    """The task that was asked for, with its options, or else that of the data, where it is known here."""
    return asked or (data.task if data.task in TASKS else Classify.name)


def task_for(name: str | None, data: Dataset) -> Task:
    """The task of that name (see `task_name`) for some data; ValueError where there is none, or the data have not what
    it needs."""
    name, options = split_name(task_name(name, data))
    require_labels(TASKS[name], data)
    task = TASKS[name].of(data, **options)
    task.pairs = any(example.pair is not None for example in data.examples)
    return task


def require_labels(task: type[Task], data: Dataset) -> None:
    """ValueError where the labels of some data are of another kind than those of a task."""
    if data.task not in (task.name, Classify.name, *task.takes):  # a file of one's own says none
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
