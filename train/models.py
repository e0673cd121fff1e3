"""Lists of models for a sweep: names, or TOML files with a table for each model (`models.toml` is one).

[[model]]
name = "xlm-roberta-base"      # of the hub, or a folder
revision = "main"              # optional, as all that follows: branch, tag or commit of the hub
tokenizer = "SentencePiece"    # for readers
group = "200 M and more"       # likewise
parameters = 278e6             # of the lists here: for tables of runs that do not tell
"""

import os
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..data.dataset import DataError
from ..weights.find import SHIPPED

LISTS = {"hpprc": Path(__file__).with_name("models.toml")}
KEYS: dict[str, Any] = {"name": str, "revision": str, "tokenizer": str, "group": str, "parameters": int | float}


def models_of(given: Sequence[str]) -> list[str]:
    """The models, as `name` or `name@revision`, of names, folders, .toml files, and names of LISTS.

    Raises:
        DataError: a file is not there, or not as above.
    """
    found: list[str] = []
    for name in given:
        file = LISTS.get(name) or (Path(name) if name.endswith(".toml") else None)
        found += read_models(file) if file else [tidy(name)]
    return found


def parameters_of(listed: str) -> dict[str, float]:
    """Model → its number of parameters, of those in a list of LISTS that have one."""
    models = tomllib.loads(LISTS[listed].read_text(encoding="utf-8"))["model"]
    return {one["name"]: one["parameters"] for one in models if "parameters" in one}


def tidy(name: str) -> str:
    """A folder in one way of writing; `./mini` is not the model on board."""
    if not name.strip():
        raise DataError("a model without a name: give names, folders or .toml files")
    path = os.path.normpath(name)
    return name if name in SHIPPED or not Path(name).is_dir() else f"./{path}" if path in SHIPPED else path


def parted(model: str) -> tuple[str, str | None]:
    """`name@revision` → its two parts; the second is None of a folder, and where there is none."""
    name, at, revision = (model, "", "") if Path(model).exists() else model.partition("@")
    return name, revision if at else None


def read_models(path: Path) -> list[str]:
    """The models in a file; DataError names the line that is wrong."""
    if not path.is_file():
        raise DataError(f"no such file: {path}")
    try:
        text = path.read_bytes().decode("utf-8-sig")
        content = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 (byte {error.start + 1}); save the file as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"line (\d+)", str(error))
        line = place[1] if place else len(text.splitlines())
        raise DataError(f'{path}:{line}: no TOML ({error}); write [[model]] and below it name = "…"') from error
    written = content.get("model")
    if unknown := [key for key in content if key != "model"]:
        where = f"{path}:{line_of(unknown[0], text)}"
        raise DataError(f"{where}: {unknown[0]!r} is not known; a file has a table [[model]] for each model")
    if not isinstance(written, list) or not written or not all(isinstance(one, dict) for one in written):
        raise DataError(f"{path}:1: there is no model: begin each with a line [[model]]")
    # Tables stand in the order of their lines.
    parts = re.split(r"(?m)^(?=[ \t]*\[\[\s*model\s*\]\])", text)
    before, parts = (parts[0], parts[1:]) if len(parts) == len(written) + 1 else (text, [""] * len(written))
    models = []
    for one, part in zip(written, parts, strict=True):
        try:
            models.append(model_of(one))
        except KeyError as error:
            key, what = error.args
            raise DataError(f"{path}:{before.count(chr(10)) + line_of(key, part)}: {what}") from error
        before += part
    return models


def model_of(written: dict[str, Any]) -> str:
    """The model of a table; KeyError with the key that is wrong, and what is wrong with it."""
    for key, value in written.items():
        if key not in KEYS:
            raise KeyError(key, f"{key!r} is not known; a model has {', '.join(KEYS)}")
        if not isinstance(value, KEYS[key]) or not str(value).strip():
            wanted = "a text in quotes" if KEYS[key] is str else "a number"
            raise KeyError(key, f"{key} is {value!r}: write {wanted}")
    if "name" not in written:
        raise KeyError("name", 'this model has no name: write name = "…"')
    name, revision = tidy(written["name"]), written.get("revision")
    return f"{name}@{revision}" if revision else name


def line_of(key: str, text: str) -> int:
    """The line, from 1, that begins with a key or its table; 1 where none does."""
    lines = enumerate(text.split("\n"), start=1)
    start = re.compile(rf"\s*\[*\s*[\"']?{re.escape(key)}[\"']?\s*[\]=.]")
    return next((number for number, line in lines if start.match(line)), 1)
