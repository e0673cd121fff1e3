"""Where a checkpoint's files are: shipped here, a local folder, or a repository of the Hugging Face hub in its cache.

The work is `huggingface_hub`'s (cache, resumed downloads, tokens, `HF_ENDPOINT`, `HF_HUB_OFFLINE`); this file chooses
what to fetch, and says in one sentence what to do when it cannot be had.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from ..model.config import read_json

# Models whose main branch holds no safetensors, and the revision that does.
DEFAULT_REVISIONS = {
    "tohoku-nlp/bert-base-japanese-v3": "refs/pr/2",
    "cl-tohoku/bert-base-japanese-v3": "refs/pr/2",  # the same repository by its former name
}
TOKENIZER_FILES = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
# One of these holds the weights; the first that is there is read. An index lists the shards of a large model.
WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
SHIPPED = {"mini": Path(__file__).parent / "mini"}  # checkpoints that come with the package
ONLY_CACHE = "only the cache was looked at: unset HF_HUB_OFFLINE to fetch what it lacks"


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
        revision: branch, tag, `refs/pr/N` or commit; by default `main`, or the one in DEFAULT_REVISIONS.
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
    return download(name_or_folder, revision or DEFAULT_REVISIONS.get(name_or_folder, "main"), weights)


def existing(path: Path) -> Path | None:
    return path if path.is_file() else None


def download(repository: str, revision: str, weights: bool) -> Files:
    """Fetch a repository's files into the hub's cache: configuration first, then all else of that same commit."""
    config = fetch(repository, "config.json", revision)
    if config is None:
        raise CheckpointError(f"the repository {repository} has no config.json at revision {revision}: not a model?")
    commit = config.parent.name  # the cache keeps a commit's files in a folder of that name
    for name in TOKENIZER_FILES:
        fetch(repository, name, commit)
    if fetch(repository, "vocab.txt", commit) is None:
        why = ONLY_CACHE if constants.HF_HUB_OFFLINE else "no WordPiece model"
        raise CheckpointError(f"the repository {repository} has no vocab.txt at revision {revision}: {why}")
    source = f"{repository} @ {revision}" + (f" ({commit[:12]})" if revision != commit else "")
    files = Files(source, config.parent, [])
    return with_weights(files, lambda name: fetch(repository, name, commit)) if weights else files


def with_weights(files: Files, get: Callable[[str], Path | None]) -> Files:
    """Complete `files` with the weight files that `get` finds, safetensors before pickles."""
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
    advice = "choose another revision or model, or convert its weights to safetensors"
    if constants.HF_HUB_OFFLINE and not Path(files.source).is_dir():
        advice = ONLY_CACHE
    raise CheckpointError(f"{files.source} has no weights that can be read here ({', '.join(WEIGHT_FILES)}); {advice}")


def fetch(repository: str, name: str, revision: str) -> Path | None:
    """One file of a repository, from the cache where it is; None where the repository has no such file."""
    offline = constants.HF_HUB_OFFLINE
    try:
        cached = try_to_load_from_cache(repository, name, revision=revision)
        if len(revision) == 40 and cached is not None:  # what a commit holds does not change
            return Path(cached) if isinstance(cached, str) else None  # else known not to exist
        if name == "config.json" and cached is None and not offline:
            knock(repository, revision)
        return Path(hf_hub_download(repository, name, revision=revision))
    except LocalEntryNotFoundError as error:
        if name != "config.json" and offline:
            return None  # small files are fetched before the weights: where those are cached, these were asked for
        cause = first_line(error.__cause__ or error)
        reason = "HF_HUB_OFFLINE is set" if offline else f"{constants.ENDPOINT} cannot be reached ({cause})"
        raise CheckpointError(
            f"{name} of {repository} is not in the cache and {reason}: connect and try again, or give a local folder"
        ) from error
    except EntryNotFoundError:
        return None
    except Exception as error:  # the client lets those of its HTTP library through, which are of no kind in common
        raise CheckpointError(why_not(error, repository, name, revision)) from error


def knock(repository: str, revision: str) -> None:
    """Ask once whether the hub answers at all: a download retries for half a minute, or for six behind a firewall."""
    try:
        get_hf_file_metadata(hf_hub_url(repository, "config.json", revision=revision))
    except (HfHubHTTPError, HFValidationError):
        pass  # it answers; the download will tell what is wrong, or wait while the hub is busy
    except Exception as error:
        raise LocalEntryNotFoundError("the hub does not answer") from error


def why_not(error: Exception, repository: str, name: str, revision: str) -> str:
    """A sentence on why a file could not be fetched, and what to do."""
    if isinstance(error, GatedRepoError):  # before the kind of which it is one
        return f"{repository} is gated: accept its terms on its page and set HF_TOKEN"
    if isinstance(error, RepositoryNotFoundError):
        return (
            f"there is no model {repository!r}, neither as a folder here nor on {constants.ENDPOINT}: check the "
            "spelling; a private one needs HF_TOKEN"
        )
    if isinstance(error, RevisionNotFoundError):
        return f"{repository} has no revision {revision!r}: give a branch, a tag or a commit"
    if isinstance(error, HFValidationError):
        return f"{repository!r} is neither a folder here nor a hub id (owner/name)"
    if isinstance(error, HfHubHTTPError) and error.response.status_code in (401, 403):
        return f"{constants.ENDPOINT} refuses {name} of {repository} ({first_line(error)}): check or unset HF_TOKEN"
    return f"fetching {name} of {repository} failed ({first_line(error)}): try again"


def first_line(error: BaseException) -> str:
    """What an error says, for the middle of a sentence."""
    return (str(error).splitlines() or [type(error).__name__])[0]
