"""The first numbers of weights that no checkpoint brings."""

import torch
from torch import nn


def initialise(module: nn.Module, std: float) -> None:
    """New weights of one module: normal with deviation `std`, zero biases, an identity normalisation.

    Devlin et al. 2019 (arXiv:1810.04805), appendix A.2. The authors' code truncates the normal distribution at two
    deviations; today's libraries, and we, do not.
    """
    if any(parameter.is_meta for parameter in module.parameters(recurse=False)):
        return  # a shape without numbers, which a checkpoint will give
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=std)
    elif isinstance(module, nn.LayerNorm):
        nn.init.ones_(module.weight)
    if isinstance(module, nn.Linear | nn.LayerNorm):
        nn.init.zeros_(module.bias)


def table(rows: int, width: int) -> nn.Embedding:
    """Vectors by number, still empty: `initialise` or a checkpoint fills them.

    `nn.Embedding(rows, width)` would fill them by itself, and where a checkpoint is to come (on the meta device) torch
    imports its compiler for that, which takes a second.
    """
    return nn.Embedding.from_pretrained(torch.empty(rows, width), freeze=False)
