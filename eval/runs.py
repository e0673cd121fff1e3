"""The folder of one run, and files that appear in it whole or not at all."""

import csv
import io
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any, BinaryIO

import torch

PACKAGES = ("torch", "numpy", "safetensors", "huggingface_hub", "fugashi", "unidic-lite", "scikit-learn")


def new_run(root: Path, model: str) -> Path:
    """Make `root/<model>/<YYYY-MM-DD>/<HH-MM-SS>/`, with a suffix where a run of that second is there already."""
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
    """A model's name as one folder: `owner/name` → `owner--name`; a local folder by its own name.

    The `model/` folder of a run, `<model>/<date>/<time>/model`, is called by what was fine-tuned there.
    """
    path = Path(model)
    if path.is_dir():
        path = (path / "model" if (path / "model" / "config.json").is_file() else path).resolve()
        is_run = path.name == "model" and re.fullmatch(r"\d{4}-\d\d-\d\d", path.parent.parent.name)
        return path.parents[2].name if is_run else path.name
    return model.replace("/", "--")


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file aside and rename it, so that a reader sees the old content or the new, never a half."""
    with whole_file(path) as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write little by little, which takes the place of `path` when the block ends without an error."""
    handle, aside = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with open(handle, "wb") as file:  # noqa: PTH123 - a file descriptor
            yield file
        Path(aside).chmod(0o644)
        os.replace(aside, path)  # noqa: PTH105 - aside is a string
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise


def write_json(path: Path, content: Any) -> None:
    write_whole(path, json.dumps(content, ensure_ascii=False, indent=2, allow_nan=False, default=str) + "\n")


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    write_whole(path, "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows))


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Rows with the columns of the first; None is an empty cell."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(path, buffer.getvalue())


def circumstances(device: torch.device) -> dict[str, Any]:
    """What a run needs told about itself to be repeated: command, versions, machine, git commit."""
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
    """The commit of this code, with `-dirty` where it was changed since; None outside a checkout."""
    here = Path(__file__).parent.parent
    if not (here / ".git").exists():
        return None
    try:
        command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
