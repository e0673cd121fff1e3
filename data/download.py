"""A file from the web into the cache folder, checked by its hash; it appears whole or not at all."""

import hashlib
import http.client
import os
import urllib.request
from collections.abc import Callable
from pathlib import Path

from .dataset import DataError


def cache_folder() -> Path:
    """$TEZUKURI_CACHE, else $XDG_CACHE_HOME/tezukuri, else ~/.cache/tezukuri."""
    if folder := os.environ.get("TEZUKURI_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tezukuri"


def bytes_cached(name: str) -> int:
    """How many bytes of a data set are in the cache folder."""
    return sum(file.stat().st_size for file in (cache_folder() / name).rglob("*") if file.is_file())


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def git_hash(content: bytes) -> str:
    """The name that git gives to a file with this content, in any repository."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def download(
    url: str, file: Path, expected: str, timeout: float = 30, hash_of: Callable[[bytes], str] = sha256
) -> Path:
    """`file`, fetched from `url` unless it is there with the right hash; DataError where that fails. `timeout` in s."""
    if file.is_file() and hash_of(file.read_bytes()) == expected:
        return file
    try:
        with urllib.request.urlopen(url, timeout=timeout) as response:
            content = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise DataError(f"cannot download {url} ({error})") from error
    found = hash_of(content)
    if found != expected:
        kind = "SHA-256" if hash_of is sha256 else "git's hash" if hash_of is git_hash else "a hash of it"
        raise DataError(f"{url} sent another file than expected ({kind} {found}, not {expected})")
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        aside.write_bytes(content)
        aside.replace(file)
    finally:
        aside.unlink(missing_ok=True)
    return file
