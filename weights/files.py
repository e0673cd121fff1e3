"""The files of a checkpoint on this disk."""

import errno
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# One of these holds the weights; the first that is there is read. An index lists the shards of a large model.
WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "model.int8.safetensors",  # compact.py's; last, since others give the name to files of another form
)


class CheckpointError(ValueError):
    """A checkpoint that cannot be had or does not fit."""


@dataclass
class Files:
    """The files of one checkpoint on this disk."""

    source: str  # for messages: folder, or repository @ revision (commit)
    folder: Path  # holds config.json, vocab.txt, tokenizer_config.json
    weights: list[Path]  # one file, or its shards
    notes: list[str] = field(default_factory=list)


def existing(path: Path) -> Path | None:
    return path if path.is_file() else None


def with_weights(
    files: Files,
    get: Callable[[str], Path | None],
    advice: str = "choose another revision or model, or convert its weights to safetensors",
) -> Files:
    """`files` with the weight files that `get` finds, safetensors before pickles; CheckpointError where they lack."""
    for name in WEIGHT_FILES:
        path = get(name)
        if path is None:
            continue
        if name.endswith(".bin") or ".bin." in name:
            note = f"no safetensors there: read {name}, a pickle, restricted to tensors (weights_only=True)"
            files.notes.append(note)
        files.weights = [path]
        if name.endswith(".index.json"):
            listed = read_json(path).get("weight_map")
            shards = sorted(set(map(str, listed.values()))) if isinstance(listed, dict) else []
            if not shards:
                raise CheckpointError(f"{files.source}: {name} lists no shards (it has no weight_map): fetch it again")
            found = {shard: get(shard) for shard in shards}
            lost = [shard for shard, path in found.items() if path is None]
            if lost:
                raise CheckpointError(f"{files.source}: {name} lists {', '.join(lost)}, not there: fetch it again")
            files.weights = [path for path in found.values() if path is not None]
        return files
    raise CheckpointError(f"{files.source} has no weights that can be read here ({', '.join(WEIGHT_FILES)}); {advice}")


def first_line(error: BaseException) -> str:
    """The message of an error, for the middle of a sentence."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def not_written(path: Path, error: BaseException) -> OSError:
    """The error for what could not be written, whatever the writer raised; it names `path`, not a file beside it."""
    number = getattr(error, "errno", None)
    reason = os.strerror(number) if number else first_line(error)
    full = number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or "No space left" in reason
    advice = "make room on its disk" if full else "choose another folder, or make this one writable"
    return OSError(f"{path} cannot be written ({reason}): {advice}")


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file; a ValueError names file, line and column of an error."""
    content = parse_json(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a JSON {type(content).__name__}; an object {{…}} was expected")
    return content


def sha256_of(path: Path) -> str:
    """Of what a file holds, in 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def parse_json(path: Path) -> Any:
    """What a file of JSON holds; errors are those of `read_json`."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:  # of JSON or of UTF-8
        raise ValueError(f"{path} is not JSON: {error}") from None
