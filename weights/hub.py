"""A checkpoint's files from a repository of the Hugging Face hub, by `huggingface_hub` and its cache."""

from pathlib import Path
from typing import Any

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

from ..tokenize.kinds import files_of
from .files import CheckpointError, Files, first_line, with_weights
from .sentences import ENCODER, LAYOUT, MODULES, OLDER

# Models whose main branch holds no safetensors, and the revision that does.
DEFAULT_REVISIONS = {
    "tohoku-nlp/bert-base-japanese-v3": "refs/pr/2",
    "cl-tohoku/bert-base-japanese-v3": "refs/pr/2",  # the same repository by its former name
}
SETTINGS_FILES = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
ONLY_CACHE = "only the cache was read: unset HF_HUB_OFFLINE to fetch what it lacks"


class NotCachedError(CheckpointError):
    """A file that is not in the cache, and no hub to fetch it from."""


def download(repository: str, revision: str | None, weights: bool, vectors: bool = False) -> Files:
    """Fetch a repository's files, all of one commit, into the hub's cache; CheckpointError where that fails."""
    notes = []
    asked, revision = revision, revision or DEFAULT_REVISIONS.get(repository, "main")
    try:
        config = fetch(repository, "config.json", revision)
    except NotCachedError:
        main = in_cache(repository, "config.json", "main") if asked is None else None
        if not isinstance(main, str):
            raise
        notes.append(f"the cache lacks {revision} and the hub cannot be reached: read main, which the cache has")
        config, revision = Path(main), "main"
    if config is None:
        raise CheckpointError(f"the repository {repository} has no config.json at revision {revision}: not a model?")
    commit = config.parent.name  # the cache keeps a commit's files in a folder of that name
    # Files that a model may lack. Where one is not in the cache, nobody here knows whether the hub has it.
    unknown = []
    for name in (*(LAYOUT if vectors else ()), *SETTINGS_FILES):
        if name in LAYOUT[1:] and not (config.parent / MODULES).is_file():
            continue
        if name in OLDER and (config.parent / ENCODER).is_file():
            continue
        try:
            fetch(repository, name, commit)
        except NotCachedError:
            unknown.append(name)
    if unknown:
        notes.append(f"{', '.join(unknown)} not in the cache and the hub cannot be reached: read as if there were none")
    for name, without in files_of(config.parent).items():
        if all(fetch_weight(repository, one, commit) is None for one in name.split(" or ")):
            why = ONLY_CACHE if constants.HF_HUB_OFFLINE else without
            raise CheckpointError(f"the repository {repository} has no {name} at revision {revision}: {why}")
    source = f"{repository} @ {revision}" + (f" ({commit[:12]})" if revision != commit else "")
    files = Files(source, config.parent, [], notes)
    if not weights:
        return files
    advice = {"advice": ONLY_CACHE} if constants.HF_HUB_OFFLINE else {}
    return with_weights(files, lambda name: fetch_weight(repository, name, commit), **advice)


def fetch_weight(repository: str, name: str, commit: str) -> Path | None:
    """As `fetch`, for a file of several of which one is needed: offline, what is not in the cache is not there."""
    try:
        return fetch(repository, name, commit)
    except NotCachedError:
        if constants.HF_HUB_OFFLINE:
            return None
        raise


def fetch(repository: str, name: str, revision: str) -> Path | None:
    """One file of a repository, from the cache where it is; None where the repository has no such file."""
    offline = constants.HF_HUB_OFFLINE
    cached: Any = None
    try:
        cached = in_cache(repository, name, revision)
        if len(revision) == 40 and cached is not None:  # what a commit holds does not change
            return Path(cached) if isinstance(cached, str) else None  # else known not to exist
        if cached is None and not offline:
            request_metadata(repository, name, revision)
        return Path(hf_hub_download(repository, name, revision=revision))
    except LocalEntryNotFoundError as error:
        if isinstance(cached, str):
            return Path(cached)
        cause = first_line(error.__cause__ or error)
        reason = "HF_HUB_OFFLINE is set" if offline else f"{constants.ENDPOINT} cannot be reached ({cause})"
        raise NotCachedError(
            f"{name} of {repository} is not in the cache and {reason}: connect and try again, or give a local folder"
        ) from error
    except EntryNotFoundError:
        return None
    except Exception as error:  # those of the client's HTTP library have no common base
        raise CheckpointError(why_not(error, repository, name, revision)) from error


def in_cache(repository: str, name: str, revision: str) -> Any:
    """The client's `try_to_load_from_cache`, also where a ref of the cache ends with a line break."""
    folder = Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}" / "refs"
    ref = folder / revision
    commit = ref.read_text(encoding="utf-8").strip() if ref.is_file() else revision
    return try_to_load_from_cache(repository, name, revision=commit or revision)


def request_metadata(repository: str, name: str, revision: str) -> None:
    """One request, to fail at once without a connection, where a download retries for up to six minutes."""
    try:
        get_hf_file_metadata(hf_hub_url(repository, name, revision=revision))
    except (HfHubHTTPError, HFValidationError):
        pass  # the hub answers; what is wrong, the download says
    except Exception as error:
        raise LocalEntryNotFoundError("the hub does not answer") from error


def why_not(error: Exception, repository: str, name: str, revision: str) -> str:
    """Why a file could not be fetched, and what to do."""
    if isinstance(error, GatedRepoError):  # before its base, RepositoryNotFoundError
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
