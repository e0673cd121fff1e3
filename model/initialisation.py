"""The first values of weights that no checkpoint brings."""

import torch
from torch import nn


def initialise(module: nn.Module, std: float) -> None:
    """New weights of one module: normal with deviation `std`, zero biases, an identity normalisation.

    Devlin et al. 2019 (arXiv:1810.04805), appendix A.2, but without the truncation at two deviations of their code.
    """
    if any(parameter.is_meta for parameter in module.parameters(recurse=False)):
        return  # a checkpoint will give its values
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=std)
    elif isinstance(module, nn.LayerNorm):
        nn.init.ones_(module.weight)
    if isinstance(module, nn.Linear | nn.LayerNorm):
        nn.init.zeros_(module.bias)


def table(rows: int, width: int) -> nn.Embedding:
    """An embedding without values. `nn.Embedding` draws them, and on the meta device imports the compiler for it."""
    return nn.Embedding.from_pretrained(torch.empty(rows, width), freeze=False)
