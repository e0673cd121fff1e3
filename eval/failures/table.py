"""The pages of mistakes that there are, by task."""

from ..tasks.choose import Choose
from ..tasks.classify import Classify
from ..tasks.multilabel import Multilabel
from ..tasks.score import Score
from ..tasks.similarity import Similarity
from ..tasks.span import Extract
from ..tasks.tag import Tag
from ..tasks.task import Task
from .kinds import Choices, Classes, Kind, LabelSets, Scores, Similarities
from .stretches import Answers, Entities

PAGES: dict[str, Kind] = {
    Classify.name: Classes(), Choose.name: Choices(), Score.name: Scores(), Multilabel.name: LabelSets(),
    Tag.name: Entities(), Extract.name: Answers(), Similarity.name: Similarities(),
}  # fmt: skip


def kind_of(task: Task) -> Kind | None:
    """The page of a task; None where it has none."""
    return PAGES.get(task.page, PAGES[Classify.name] if task.classes else None)


def page_of(task: Task) -> Kind:
    """The page of a task; ValueError where it has none."""
    kind = kind_of(task)
    if kind is None:
        raise ValueError(f"there is no page of mistakes for the task {task.page}")
    return kind
