"""Model and tokenizer → a folder in the hub's layout, which appears whole or not at all."""

import json
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import nn

from ..model.model import MaskedLM, Model, most_tokens
from ..tokenize.tokenizer import Tokenizer
from .architectures import architecture_of, config_json, use_of
from .files import WEIGHT_FILES, not_written, read_json
from .sentences import Vectors, write_vectors


def save(
    model: nn.Module,
    tokenizer: Tokenizer,
    folder: Path,
    dtype: torch.dtype = torch.float32,
    cut: Mapping[str, Any] | None = None,
    task: Mapping[str, Any] | None = None,
    vectors: Vectors | None = None,
) -> None:
    """Write a model (with a head, or an encoder alone) and its tokenizer to `folder`, replacing a model there.

    Args:
        dtype: that of the file.
        cut: how texts were cut in training, {"max_length": 128, "truncation": "head_tail"}; kept in config.json under
            "tezukuri", which other libraries ignore, and used where the model is loaded to predict.
        task: what is kept there of the task, {"name": "classify", "pairs": true}.
        vectors: how the vector of a text is made of it, for a model of sentence vectors; see sentences.py.

    Raises:
        OSError: the folder cannot be written, or holds something else than a model; it is then unchanged.
    """
    folder = Path(folder)
    if folder.is_symlink():
        folder = folder.resolve()  # else the link would be replaced, and what it leads to left
    is_model = (folder / "config.json").is_file() and any((folder / name).is_file() for name in WEIGHT_FILES)
    replaceable = is_model or (folder.is_dir() and not any(folder.iterdir()))
    if folder.exists() and not replaceable:
        raise FileExistsError(f"{folder} is there and holds no model that could be replaced: choose another folder")
    if use_of(model) == "encode" and isinstance(model, Model):
        model = model.bert  # the head of sentence vectors has nothing to be kept
    # By the hub's names.
    folder.parent.mkdir(parents=True, exist_ok=True)
    prefix = "" if isinstance(model, Model | MaskedLM) else "bert."
    names = architecture_of(model)[1].names.of(use_of(model))
    tensors = names.to_hub({prefix + name: tensor.detach() for name, tensor in model.named_parameters()})
    tensors = {name.removeprefix(prefix): tensor.to(dtype).contiguous() for name, tensor in tensors.items()}
    settings = config_json(model) | {"dtype": str(dtype).removeprefix("torch.")}
    if kept := dict(cut or {}) | ({"task": dict(task)} if task else {}):
        settings["tezukuri"] = kept
    # Written beside the folder, then renamed to it.
    aside = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}")
    try:
        aside.mkdir()
        weights, config = aside / "model.safetensors", aside / "config.json"
        save_file(tensors, weights, metadata={"format": "pt"})
        config.write_text(json.dumps(settings, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        weights.chmod(config.stat().st_mode)  # safetensors makes a private file; this one is as the umask has it
        tokenizer.save(aside)
        write_longest(aside / "tokenizer_config.json", most_tokens(model), tokenizer)
        if vectors:
            write_vectors(aside, vectors)
        replace_folder(aside, folder)
    except (OSError, SafetensorError) as error:
        raise not_written(folder, error) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def write_longest(file: Path, positions: int, tokenizer: Tokenizer) -> None:
    """Write into `tokenizer_config.json` how many tokens the model takes, so that other libraries truncate there."""
    settings = read_json(file) if file.is_file() else {}
    settings["model_max_length"] = min(positions, tokenizer.model_max_length or positions)
    file.write_text(json.dumps(settings, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def replace_folder(new: Path, folder: Path) -> None:
    """Rename `new` to `folder`; the old one is deleted when that is done, and is back where that is not done."""
    old = new.with_name(f"{new.name}-old")
    try:
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    except BaseException:  # an interrupt too
        if old.exists() and not folder.exists():
            old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)
