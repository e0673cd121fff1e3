"""Model and tokenizer → a folder in the hub's layout, which appears whole or not at all."""

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from ..model.model import MaskedLM, Model
from ..tokenize.tokenizer import Tokenizer
from .architectures import architecture_of, config_json


def save(
    model: nn.Module,
    tokenizer: Tokenizer,
    folder: Path,
    dtype: torch.dtype = torch.float32,
    cut: Mapping[str, Any] | None = None,
) -> None:
    """Write a model (with a head, or an encoder alone) and its tokenizer to `folder`, replacing a model there.

    Args:
        dtype: that of the file.
        cut: how texts were cut in training, {"max_length": 128, "truncation": "head_tail"}; kept in config.json under
            "tezukuri", which other libraries ignore, and used where the model is loaded to predict.

    Raises:
        OSError: the folder cannot be written, or holds something else than a model; it is then unchanged.
    """
    folder = Path(folder)
    replaceable = (folder / "config.json").is_file() or (folder.is_dir() and not any(folder.iterdir()))
    if folder.exists() and not replaceable:
        raise FileExistsError(f"{folder} is there and holds no model that could be replaced: choose another folder")
    # By the hub's names.
    folder.parent.mkdir(parents=True, exist_ok=True)
    prefix = "" if isinstance(model, Model | MaskedLM) else "bert."
    names = architecture_of(model)[1].names
    tensors = names.to_hub({prefix + name: tensor.detach() for name, tensor in model.named_parameters()})
    tensors = {name.removeprefix(prefix): tensor.to(dtype).contiguous() for name, tensor in tensors.items()}
    settings = config_json(model) | {"dtype": str(dtype).removeprefix("torch.")}
    if cut:
        settings["tezukuri"] = dict(cut)
    # Written beside the folder, then renamed to it.
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        save_file(tensors, aside / "model.safetensors", metadata={"format": "pt"})
        (aside / "config.json").write_text(json.dumps(settings, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        tokenizer.save(aside)
        aside.chmod(0o755)  # mkdtemp makes private folders
        replace_folder(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def replace_folder(new: Path, folder: Path) -> None:
    """Rename `new` to `folder`; the old one is deleted when that is done."""
    old = new.with_name(f"{new.name}-old")
    if folder.exists():
        folder.rename(old)
    try:
        new.rename(folder)
    except OSError:
        if old.exists():
            old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)
