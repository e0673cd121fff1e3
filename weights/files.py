"""Where a checkpoint's files are: shipped here, in a local folder, or in a repository of the Hugging Face hub."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ..model.config import read_json

# One of these holds the weights; the first that is there is read. An index lists the shards of a large model.
WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
SHIPPED = {"mini": Path(__file__).parent / "mini"}  # checkpoints that come with the package


class CheckpointError(ValueError):
    """A checkpoint that cannot be had or does not fit; the message says which, and what to do."""


@dataclass
class Files:
    """The files of one checkpoint on this disk."""

    source: str  # as a person would write it: folder, or repository @ revision (commit)
    folder: Path  # holds config.json, vocab.txt, tokenizer_config.json
    weights: list[Path]  # one file, or its shards
    notes: list[str] = field(default_factory=list)


def find(name_or_folder: str, revision: str | None = None, weights: bool = True) -> Files:
    """Find a checkpoint: `mini`, else a folder where there is one by that name, else a repository of the hub.

    Args:
        name_or_folder: `mini`, a path (`./mini` for a folder of that name), or a hub id such as
            `tohoku-nlp/bert-base-japanese-v3`.
        revision: branch, tag, `refs/pr/N` or commit; by default `main`, or the one in hub.DEFAULT_REVISIONS.
        weights: whether its weights are wanted too, or its tokenizer alone.

    Raises:
        CheckpointError: nothing there, no weights in it, or the hub cannot be reached.
    """
    folder = SHIPPED.get(name_or_folder, Path(name_or_folder).expanduser())
    if folder.is_dir():
        if revision is not None:
            raise CheckpointError(f"{name_or_folder} is on this disk: it has no revision {revision!r}")
        files = Files(name_or_folder if name_or_folder in SHIPPED else str(folder), folder, [])
        if not weights:
            return files
        if (folder / "model" / "config.json").is_file():
            raise CheckpointError(f"{folder} is the folder of a run: give the model in it, {folder / 'model'}")
        if not (folder / "config.json").is_file():
            raise CheckpointError(f"{folder} is no checkpoint: it has no config.json; give the folder that holds one")
        return with_weights(files, lambda name: existing(folder / name))
    if folder.is_absolute() or name_or_folder.startswith((".", "~")) or name_or_folder.count("/") > 1:
        raise CheckpointError(f"there is no folder {name_or_folder}; check the path")
    from .hub import download  # only here: to import the hub's client takes as long as to load mini

    return download(name_or_folder, revision, weights)


def existing(path: Path) -> Path | None:
    return path if path.is_file() else None


def with_weights(
    files: Files,
    get: Callable[[str], Path | None],
    advice: str = "choose another revision or model, or convert its weights to safetensors",
) -> Files:
    """Complete `files` with the weight files that `get` finds, safetensors before pickles; without any, give advice."""
    for name in WEIGHT_FILES:
        path = get(name)
        if path is None:
            continue
        if name.endswith(".bin") or ".bin." in name:
            files.notes.append(
                f"no safetensors there: read {name}, a pickle, restricted to tensors (weights_only=True)"
            )
        files.weights = [path]
        if name.endswith(".index.json"):
            shards = sorted(set(read_json(path).get("weight_map", {}).values()))
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
    """What an error says, for the middle of a sentence."""
    return (str(error).splitlines() or [type(error).__name__])[0]
