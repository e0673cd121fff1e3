"""Self-attention: every token attends to every token of its own sequence.

    softmax(Q Kᵀ / √D) V      Vaswani et al. 2017 (arXiv:1706.03762), equation 1, in N heads of D dimensions

Three kernels compute it:

    eager    plain tensor operations on rows padded inside it; the only one that returns the probabilities
    sdpa     torch's fused kernel on rows padded inside it
    varlen   FlashAttention on the packed tokens, without padding; CUDA, bf16 or fp16, and no dropout

eager and sdpa are the kernels for the CPU, and run on CUDA too; beside the sequences of [PAD] that fill up batches in
bf16 and fp16 (packing.py), theirs is the only padding. `auto`, the default, is sdpa, but for prediction in bf16 on a
CPU with short texts, where eager is faster.

Letters: B sequences, T tokens in the packed batch, S tokens of the longest sequence, R padded rows of S tokens (B,
unless short sequences share a row), H hidden size, N heads, D = H / N.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .dropout import dropout as drop
from .packing import Packed


class Reach(NamedTuple):
    """How many tokens before it, and after it, a query attends to (-1: all of them): all, causal, or a window."""

    before: int = -1
    after: int = -1


ALL, CAUSAL = Reach(), Reach(after=0)


def pad(qkv: Tensor, packed: Packed) -> tuple[Tensor, Tensor, Tensor]:
    """(T, 3, N, D) packed → three of (R, N, S, D), zero where there is no token."""
    rows, longest = packed.rows, packed.longest
    if len(qkv) < rows * longest or packed.owners is not None:  # else every sequence is S long already
        padded = qkv.new_zeros(rows * longest, *qkv.shape[1:])
        qkv = padded.index_copy(0, packed.slots, qkv)  # (R·S, 3, N, D)
    q, k, v = qkv.unflatten(0, (rows, longest)).permute(2, 0, 3, 1, 4)  # (R, S, 3, N, D) -> 3 × (R, N, S, D)
    return q, k, v


def unpad(x: Tensor, packed: Packed) -> Tensor:
    """(R, N, S, D) padded → (T, H) packed."""
    x = x.transpose(1, 2).flatten(2).flatten(0, 1)  # (R·S, H)
    plain = len(x) == len(packed.ids) and packed.owners is None
    return x if plain else x.index_select(0, packed.slots)


def attention_mask(packed: Packed, reach: Reach = ALL) -> Tensor | None:
    """True where a query attends to a key: (R, 1, S, S), (B, 1, 1, S) for all queries, or (1, 1, S, S) for all rows;
    None for all True."""
    column = torch.arange(packed.longest, device=packed.ids.device)
    allowed = None
    if packed.owners is not None:
        allowed = (packed.owners[:, :, None] == packed.owners[:, None, :])[:, None]
    elif len(packed.ids) < packed.rows * packed.longest:
        allowed = (column < packed.boundaries.diff()[:, None])[:, None, None, :]
    if reach == ALL:
        return allowed
    ahead = column[None, :] - column[:, None]  # (S, S) by how much the key stands after the query
    near = torch.ones_like(ahead, dtype=torch.bool)
    if reach.before >= 0:
        near &= ahead >= -reach.before
    if reach.after >= 0:
        near &= ahead <= reach.after
    if allowed is None:
        return near[None, None]
    return allowed & near | (ahead == 0)  # padding attends to itself, as softmax needs one key


def eager(qkv: Tensor, packed: Packed, dropout: float, reach: Reach = ALL) -> tuple[Tensor, Tensor]:
    """(T, 3, N, D) → (T, H), and the probabilities before dropout (R, N, S, S), those of padding too."""
    q, k, v = pad(qkv, packed)
    scores = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5  # (R, N, S, S): query × key
    allowed = attention_mask(packed, reach)
    if allowed is not None:
        scores = scores.masked_fill(~allowed, -torch.inf)
    probabilities = scores.softmax(dim=-1)
    return unpad(drop(probabilities, dropout).to(v.dtype) @ v, packed), probabilities


def sdpa(qkv: Tensor, packed: Packed, dropout: float, reach: Reach = ALL) -> tuple[Tensor, None]:
    """(T, 3, N, D) → (T, H), through torch's scaled_dot_product_attention."""
    q, k, v = pad(qkv, packed)
    allowed = attention_mask(packed, reach)
    return unpad(F.scaled_dot_product_attention(q, k, v, allowed, dropout_p=dropout), packed), None


def varlen(qkv: Tensor, packed: Packed, dropout: float, reach: Reach = ALL) -> tuple[Tensor, None]:
    """(T, 3, N, D) → (T, H), through torch's varlen_attn."""
    if dropout > 0:
        raise ValueError(
            f"the varlen kernel has no dropout, but attention_probs_dropout_prob is {dropout}: train with an attention "
            "dropout of 0, or with the sdpa kernel"
        )
    if not qkv.is_cuda or qkv.dtype not in (torch.bfloat16, torch.float16):
        raise ValueError(f"the varlen kernel takes bf16 or fp16 on CUDA, not {qkv.dtype} on {qkv.device}; use sdpa")
    from torch.nn.attention.varlen import varlen_attn

    q, k, v = qkv.unbind(1)  # 3 × (T, N, D)
    ends = packed.boundaries
    near: dict[str, Any] = {} if reach == ALL else {"window_size": (reach.before, reach.after)}
    x = varlen_attn(q, k, v, ends, ends, packed.longest, packed.longest, **near)
    assert isinstance(x, Tensor)  # a tuple only with auxiliary outputs
    return x.flatten(1), None  # (T, N, D) -> (T, H)


SHORT = 128  # tokens; eager keeps N·S² probabilities of each text
KERNELS = {"eager": eager, "sdpa": sdpa, "varlen": varlen}


class Attention(nn.Module):
    """Multi-head self-attention over a packed batch, with one matrix for queries, keys and values."""

    def __init__(self, hidden_size: int, heads: int, dropout: float, reach: Reach = ALL) -> None:
        super().__init__()
        self.heads, self.dropout, self.reach = heads, dropout, reach
        self.kernel = "auto"  # of the machine, not of the checkpoint: `model.use_kernel` sets it in all layers
        self.qkv = nn.Linear(hidden_size, 3 * hidden_size)
        self.output = nn.Linear(hidden_size, hidden_size)

    def forward(
        self, x: Tensor, packed: Packed, show: bool = False, first_only: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """(T, H) → (T, H), or with `first_only` (B, H) of first tokens; with `show` also probabilities (B, N, S, S).

        Raises:
            ValueError: the kernel is not known, or the attention of sequences that share rows is to be shown.
        """
        if show and packed.owners is not None:
            raise ValueError("attention can be shown only where each sequence has its own row: pack without share_rows")
        qkv = self.qkv(x).unflatten(1, (3, self.heads, -1))  # (T, H) -> (T, 3, N, D)
        name = "eager" if show else self.kernel
        if name == "auto":
            bf16_on_cpu = qkv.is_cpu and qkv.dtype == torch.bfloat16
            name = "eager" if bf16_on_cpu and not self.training and packed.longest <= SHORT else "sdpa"
        if name not in KERNELS:
            raise ValueError(f"attention kernel {name!r} is not known; choose one of auto, {', '.join(KERNELS)}")
        x, probabilities = KERNELS[name](qkv, packed, self.dropout if self.training else 0.0, self.reach)
        if show and probabilities is not None and (allowed := attention_mask(packed)) is not None:
            probabilities = probabilities * allowed.transpose(-2, -1)  # none for a query that is padding
        return self.output(x[packed.first] if first_only else x), probabilities
