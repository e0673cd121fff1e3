"""The page of aggregated runs: one HTML file, which needs no network and no other file.

Jinja2 escapes all texts on the page (`template/aggregate.html`); only our own plots are inserted as markup.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ..runs import write_whole
from .aggregate import COSTS, SIZES, Table, hundredths, in_units, interval, millions, sentences, share
from .pictures import cost_svg

FOLDER = Path(__file__).parent / "template"


def write_page(folder: Path, tables: Sequence[Table], notes: Sequence[str] = ()) -> Path:
    """Write aggregate.html; `notes` say what was left out, or guessed."""
    made = Environment(loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    shown = [
        {
            "name": one.name,
            "runs": sum(len(some.runs) for some in one.configurations),
            "texts": len(one.best[0].runs[0].gold),
            "groups": groups(one),
            "other": any(chosen.other for chosen in one.best),
            "sentences": sentences(one),
            "pictures": [(COSTS[name][0], cost_svg({name: costs})) for name, costs in one.costs.items()],
        }
        for one in tables
    ]
    write_whole(folder / "aggregate.html", made.get_template("aggregate.html").render(tables=shown, notes=notes))
    return folder / "aggregate.html"


def groups(one: Table) -> list[tuple[str, list[dict[str, Any]]]]:
    """The rows of a table by the size of their models: (size, rows); empty sizes are left out."""
    of_size: dict[str, list[dict[str, Any]]] = {size: [] for size in SIZES}
    for place, (chosen, compared) in enumerate(zip(one.best, one.compared, strict=True), start=1):
        highest = max(other.f1 for other in one.models[chosen.model])
        memory = {"GPU": chosen.mean("gpu_memory"), "process": chosen.mean("process_memory")}
        seconds = chosen.mean("seconds")
        of_size[chosen.size].append(
            {
                "place": place, "model": chosen.model, "parameters": millions(chosen),
                "lr": f"{chosen.runs[0].number('lr'):g}", "other": chosen.other, "seeds": len(chosen.runs),
                "scores": [hundredths(chosen, name) for name in ("accuracy", "precision", "recall", "f1")],
                "interval": "" if compared["f1-low"] is None else interval(compared),
                "alike": compared["alike"] or "", "first": share(compared["beats-first"]),
                "next": share(compared["beats-next"]), "settings": len(one.models[chosen.model]),
                "dev": 100 * chosen.dev_f1, "gap": 100 * (chosen.f1 - chosen.dev_f1),
                "highest": 100 * highest, "lost": 100 * (highest - chosen.f1),
                "seconds": "" if seconds is None else in_units("seconds", seconds),
                "memory": ", ".join(f"{in_units('gpu_memory', size / COSTS['gpu_memory'][1])} ({kind})"
                                    for kind, size in memory.items() if size is not None),
            }
        )  # fmt: skip
    return [(size, rows) for size, rows in of_size.items() if rows]
