"""Whether a user's own regularizers are still the code that a run began with; it is found and read, and never run."""

import os
import re
import sys
from collections.abc import Sequence
from importlib.machinery import PathFinder
from pathlib import Path

from ...weights.files import read_json, sha256_of
from .shelf import SHELF


def hashes_of(descriptions: Sequence[str]) -> dict[str, str]:
    """`mine.py:Mine`, `package.module:Mine` → the SHA-256 of its file, by the file's path; ours have none."""
    files = [file for file in map(code_file, descriptions) if file]
    return {str(file): sha256_of(file) for file in files}


def code_file(description: str) -> Path | None:
    """The file whose code the description names, None where there is none (which is told when it is to be run)."""
    place, colon, _ = re.split(r":(?=\w+=)", description, maxsplit=1)[0].rpartition(":")
    if not colon or place in SHELF:
        return None
    if place.endswith(".py"):
        return Path(place).resolve() if Path(place).is_file() else None
    path, spec, name = [str(Path.cwd()), *sys.path], None, ""
    for part in place.split("."):
        name = f"{name}.{part}".lstrip(".")
        spec = PathFinder.find_spec(name, path)
        if spec is None:
            return None
        path = list(spec.submodule_search_locations or ())
    return Path(spec.origin).resolve() if spec and spec.origin and Path(spec.origin).is_file() else None


def changed_code(run: Path) -> str:
    """A file of a user's code that is no longer what a run began with; empty where there is none."""
    known = read_json(run / "config.json").get("code", {})
    return next((file for file, was in known.items() if not Path(file).is_file() or sha256_of(Path(file)) != was), "")


def require_trusted(run: Path, descriptions: Sequence[str], trust: bool) -> None:
    """Before the code of a run's regularizers is run: ValueError where it may be another than the user's own.

    That is where the run's folder is somebody else's, or the code is not known to be that which the run began with.
    """
    code = hashes_of(descriptions)
    if trust or not code:
        return
    files = ", ".join(code)
    if hasattr(os, "getuid") and {path.stat().st_uid for path in (run, run / "config.json")} != {os.getuid()}:
        raise ValueError(f"{run} is another user's, and would run the code in {files}: read that, and say --trust")
    known = read_json(run / "config.json").get("code", {})
    for file, sha256 in code.items():
        if file not in known:
            raise ValueError(f"{run} does not tell what the code in {file} was: read it, and say --trust")
        if known[file] != sha256:
            raise ValueError(f"{file} is not what {run} began with (its SHA-256 differs): restore it, or say --trust")
