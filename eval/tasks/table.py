"""The tasks that this package has, by name."""

from .classify import Classify
from .task import Task

TASKS: dict[str, type[Task]] = {Classify.name: Classify}
