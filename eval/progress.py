"""Progress bars: on the terminal of the first process, and in notebooks."""

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

from ..model.ranks import rank


def progress_bar(steps: Iterable[Any] | None, title: str | None, unit: str, **options: Any) -> tqdm:
    """A bar over the steps, or one to be updated by hand; none without a title, a terminal or a notebook.

    `options` are tqdm's: of a part of a job, `total` and `initial` of the whole give the time left of the whole.
    """
    shown = title and not rank() and (sys.stderr.isatty() or "ipykernel" in sys.modules)
    return tqdm(steps, desc=title, unit=unit, disable=not shown, **{"leave": False} | options)
