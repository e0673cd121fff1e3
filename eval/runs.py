"""The folder of one run, and its files, written atomically."""

import csv
import io
import json
import os
import platform
import re
import secrets
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any, BinaryIO

import torch

from ..weights.files import not_written

PACKAGES = ("torch", "numpy", "safetensors", "huggingface_hub", "fugashi", "unidic-lite", "scikit-learn")


def new_run(root: Path, model: str) -> Path:
    """Make `root/<model>/<YYYY-MM-DD>/<HH-MM-SS>/`, with a suffix where that exists."""
    now = datetime.now()
    day = Path(root) / folder_name(model) / now.strftime("%Y-%m-%d")
    day.mkdir(parents=True, exist_ok=True)
    for suffix in ("", *(f"-{n}" for n in range(2, 1000))):
        run = day / (now.strftime("%H-%M-%S") + suffix)
        try:
            run.mkdir()
        except FileExistsError:
            continue
        return run
    raise FileExistsError(f"{day} has a thousand runs of this second")


def folder_name(model: str) -> str:
    """The folder for a model: `owner/name` → `owner--name`, a folder → its name, a run's `model/` → its base's."""
    path = Path(model)
    if path.is_dir():
        path = (path / "model" if (path / "model" / "config.json").is_file() else path).resolve()
        is_run = path.name == "model" and re.fullmatch(r"\d{4}-\d\d-\d\d", path.parent.parent.name)
        return path.parents[2].name if is_run else path.name
    return model.replace("/", "--")


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a temporary file and rename it, so that a reader sees the old content or the new."""
    with whole_file(path) as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write little by little, which takes the place of `path` when the block ends without an error."""
    aside = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        with aside.open("wb") as file:
            yield file
        aside.replace(path)
    except OSError as error:
        raise not_written(path, error) from error
    finally:
        aside.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    write_whole(path, json.dumps(content, ensure_ascii=False, indent=2, allow_nan=False, default=str) + "\n")


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    write_whole(path, "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows))


def read_predictions(run: Path, split: str) -> list[dict[str, Any]] | None:
    """The rows of a run's `predictions-<split>.jsonl`; None where it has none, ValueError for a broken one."""
    file = run / f"predictions-{split}.jsonl"
    if not file.is_file():
        return None
    rows = []
    # Not splitlines(): a text may hold other separators of lines, which JSON leaves as they are.
    for number, line in enumerate(file.read_bytes().split(b"\n"), start=1):
        try:
            rows += [json.loads(line)] if line else []
        except ValueError as error:  # of JSON or of UTF-8
            raise ValueError(f"{file}:{number} is broken ({error}): make that run's predictions anew") from error
        if line and not (isinstance(rows[-1], dict) and {"id", "label", "predicted"} <= set(rows[-1])):
            raise ValueError(f"{file}:{number} is no prediction: it lacks id, label or predicted")
    return rows


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]], columns: Iterable[str] = ()) -> None:
    """Rows with these columns, by default those of the first row; None is an empty cell."""
    names = list(columns) or list(rows[0])
    table = [names, *([row[name] for name in names] for row in rows)]
    write_whole(path, "".join(csv_line(cells) + "\n" for cells in table))


def csv_line(cells: Iterable[Any]) -> str:
    r"""A line without its end. A cell with a \n or a \r, which many readers take for ends of lines, is quoted."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\r\n").writerow(cells)  # Python quotes what is in lineterminator
    return buffer.getvalue().removesuffix("\r\n")


def read_log(run: Path) -> list[dict[str, Any]]:
    """A run's `log.csv`, a row of numbers (None for an empty cell) for each epoch; empty where nothing was trained.
    ValueError where a cell is no number."""
    path = run / "log.csv"
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        try:
            return [{name: float(cell) if cell else None for name, cell in row.items()} for row in csv.DictReader(file)]
        except (ValueError, TypeError) as error:  # a cell that is no number, or one too many
            raise ValueError(f"{path} is broken: {error}") from error


def circumstances(device: torch.device) -> dict[str, Any]:
    """What is needed to repeat a run: command, versions, machine, git commit."""
    return {
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "versions": {"tezukuri": version("tezukuri")} | {name: version(name) for name in PACKAGES},
        "machine": {
            "system": platform.platform(),
            "cpus": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        },
        "git": git_commit(),
    }


def version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def git_commit() -> str | None:
    """The commit of this code, with `-dirty` where it was changed; None outside a checkout."""
    here = Path(__file__).parent.parent
    if not (here / ".git").exists():
        return None
    try:
        command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
