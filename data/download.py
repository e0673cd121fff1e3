"""A file from the web into the cache folder, checked by its SHA-256; it appears whole or not at all."""

import hashlib
import http.client
import os
import urllib.request
from pathlib import Path

from .dataset import DataError


def cache_folder() -> Path:
    """$TEZUKURI_CACHE, else $XDG_CACHE_HOME/tezukuri, else ~/.cache/tezukuri."""
    if folder := os.environ.get("TEZUKURI_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tezukuri"


def download(url: str, file: Path, sha256: str, timeout: float = 30) -> Path:
    """`file`, fetched from `url` unless it is there with the right hash; DataError where that fails. `timeout` in s."""
    if file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() == sha256:
        return file
    try:
        with urllib.request.urlopen(url, timeout=timeout) as response:
            content = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise DataError(f"cannot download {url} ({error})") from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise DataError(f"{url} sent another file than expected (SHA-256 {found}, not {sha256})")
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        aside.write_bytes(content)
        aside.replace(file)
    finally:
        aside.unlink(missing_ok=True)
    return file
