"""Where a checkpoint's files are: shipped here, in a local folder, or in a repository of the Hugging Face hub."""

from pathlib import Path

from .files import CheckpointError, Files, existing, with_weights

SHIPPED = {name: Path(__file__).parent / name for name in ("small", "mini")}  # checkpoints that come with the package


def find(name_or_folder: str, revision: str | None = None, weights: bool = True, vectors: bool = False) -> Files:
    """Find a checkpoint: `small` or `mini`, else a folder of that name if there is one, else a repository of the hub.

    Args:
        name_or_folder: `small`, `mini`, a path (`./mini` for a folder of that name), of a run too, or a hub id such as
            `tohoku-nlp/bert-base-japanese-v3`.
        revision: branch, tag, `refs/pr/N` or commit; by default `main`, or the one in hub.DEFAULT_REVISIONS.
        weights: whether its weights are wanted too, or its tokenizer alone.
        vectors: whether what it says of its sentence vectors is wanted too (sentences.py).

    Raises:
        CheckpointError: nothing there, no weights in it, or the hub cannot be reached.
    """
    folder = SHIPPED.get(name_or_folder, Path(name_or_folder).expanduser())
    if folder.is_dir():
        if revision is not None:
            raise CheckpointError(f"{name_or_folder} is on this disk: it has no revision {revision!r}")
        if (folder / "model" / "config.json").is_file():  # the folder of a run
            folder = folder / "model"
        files = Files(name_or_folder if name_or_folder in SHIPPED else str(folder), folder, [])
        if not weights:
            return files
        if not (folder / "config.json").is_file():
            raise CheckpointError(f"{folder} is no checkpoint: it has no config.json; give the folder that holds one")
        return with_weights(files, lambda name: existing(folder / name))
    if folder.is_absolute() or name_or_folder.startswith((".", "~")) or name_or_folder.count("/") > 1:
        raise CheckpointError(f"there is no folder {name_or_folder}; check the path")
    from .hub import download  # only here: to import the hub's client takes as long as to load mini

    return download(name_or_folder, revision, weights, vectors)
