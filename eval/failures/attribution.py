"""Which tokens a prediction rests on: integrated gradients, occlusion, and attention rollout.

What is explained is F, the logit of one class. The probability of a confident prediction is saturated and changes
little with any single token; the logit does not saturate. A baseline is needed, and it is [MASK] in the place of every
token but the special ones, which with positions and segments stay as they are and have the value 0.

Letters: n texts with T_i tokens each, K copies of them to be scored, B sequences in a batch, T tokens in the packed
batch, S tokens of the longest sequence, H hidden size, N heads, C classes, L layers.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...model.attention import Attention
from ...model.int8 import Int8Linear
from ...model.model import Model, use_kernel
from ...model.packing import Encodings, Packed, pack
from ...model.precision import autocast
from ..predict import require_finite

RELATIVE, ABSOLUTE = 0.01, 1e-3  # the largest error of complete values: a share of the difference, or logits
TOKENS_AT_ONCE = 2048  # in a micro-batch, with what attention pads; more are no faster on a CPU


@dataclass(frozen=True)
class Attribution:
    """Integrated gradients of one text."""

    values: np.ndarray  # (T_i,) what each token adds to F, in logits; below 0 where it lowers F
    difference: float  # F(text) - F(baseline), in logits
    steps: int  # of the path

    @property
    def error(self) -> float:
        return abs(float(self.values.sum()) - self.difference)

    @property
    def complete(self) -> bool:
        """Whether the error is at most 1 % of the difference, or 1e-3. If not, the values cannot be relied on."""
        return self.error <= max(RELATIVE * abs(self.difference), ABSOLUTE)


def integrated_gradients(
    model: Model,
    encodings: Encodings,
    classes: np.ndarray,
    mask_id: int,
    special_ids: Collection[int],
    steps: int = 8,
    most_steps: int = 1024,
    batch_tokens: int = TOKENS_AT_ONCE,
) -> list[Attribution]:
    """The gradient of F, integrated on the straight path from [MASK] to each token (Sundararajan et al. 2017).

        value of token t = (x_t - m) · ∫ ∂F/∂x_t (m + α (x - m)) dα,  α from 0 to 1

    (arXiv:1703.01365, equation 1), where x are the word vectors of the text, before positions and segments are added,
    and m is that of [MASK]. The values add up to F(text) - F(baseline): "completeness", proposition 1. That they do is
    necessary, not sufficient: errors of single tokens could cancel.

    The integral is taken by the trapezoidal rule. Its steps are doubled for texts whose values do not add up yet, and
    all points so far are reused. Gauss-Legendre needs more points: it has fewest in the middle of the path, where F of
    a fine-tuned model changes most.

    Args:
        model: left as it was; it computes in fp32, with the sdpa kernel.
        encodings: n encoded texts.
        classes: (n,) the class to explain, 0 to C - 1.
        special_ids: of [CLS] and [SEP], without [UNK], which stands for a word.
        steps: of every path at first.
        most_steps: a text that would need more is returned as it is, not `complete`.
        batch_tokens: the most tokens in a micro-batch.

    Raises:
        ValueError: wrong classes or special ids, or a model in int8, which has no gradients.
        NotFiniteError: a logit is infinite or no number.
    """
    check(model, encodings, classes, mask_id, special_ids)
    if any(isinstance(module, Int8Linear) for module in model.modules()):
        raise ValueError("an int8 model has no gradients: explain the model that it was rounded from")
    lengths = lengths_of(encodings)
    starts = lengths.cumsum() - lengths  # of each text when all are laid end to end
    total = np.zeros(lengths.sum())  # for each token the sum over points, the end points halved
    difference = np.zeros(len(encodings))
    attributions: dict[int, Attribution] = {}
    left = np.arange(len(encodings))  # texts whose values do not add up yet
    points = np.linspace(0, 1, steps + 1)
    with evaluation_in_fp32(model):
        while len(left):
            # The gradient at each new point of each path.
            texts, alphas = left.repeat(len(points)), np.tile(points, len(left))  # (K,)
            ends = (alphas == 1).astype(float) - (alphas == 0)  # 1 is the text, -1 the baseline, 0 lies between
            logits = np.zeros(len(texts))
            for batch, packed in micro_batches(encodings, texts, batch_tokens):
                sequence = packed.sequence.numpy()
                own = classes[texts[batch]]
                logits[batch], terms = terms_at(model, packed, own, alphas[batch], mask_id, special_ids)
                places = starts[texts[batch]][sequence] + packed.positions.numpy()
                np.add.at(total, places, terms * (1 - abs(ends[batch]) / 2)[sequence])
            require_finite(np.isfinite(logits), texts)
            # Their mean, and whether it adds up.
            difference[left] += (ends * logits).reshape(len(left), -1).sum(axis=1)
            for i in left.tolist():
                values = total[starts[i] : starts[i] + lengths[i]] / steps
                attributions[i] = Attribution(values, float(difference[i]), steps)
            # Twice the steps for the others: the points half-way between those so far.
            if 2 * steps > most_steps:
                break
            left = np.array([i for i in left.tolist() if not attributions[i].complete], dtype=np.int64)
            points = (np.arange(steps) + 0.5) / steps
            steps *= 2
    return [attributions[i] for i in range(len(encodings))]


def terms_at(
    model: Model, packed: Packed, classes: np.ndarray, alphas: np.ndarray, mask_id: int, special_ids: Collection[int]
) -> tuple[np.ndarray, np.ndarray]:
    """One point of each of B paths, `alphas` (B,) → F (B,), and (x - m) · ∂F/∂x at each token (T,)."""
    device = next(model.parameters()).device
    words = ~is_special(packed.ids, special_ids).to(device)  # (T,)
    packed, sequence = packed.to(device), packed.sequence.to(device)
    embed = model.bert.embeddings.word
    with torch.no_grad():
        x = embed(packed.ids)  # (T, H)
        delta = (x - embed(torch.tensor([mask_id], device=device))) * words[:, None]  # (T, H), 0 at special tokens
        to_text = torch.from_numpy(1 - alphas).to(device, x.dtype)  # (B,) the rest of the path
        point = x - to_text[sequence, None] * delta
    point.requires_grad_()
    hook = embed.register_forward_hook(lambda *_: point)
    try:
        logits = logits_of(model, packed, classes)
    finally:
        hook.remove()
    (gradient,) = torch.autograd.grad(logits.sum(), point)  # a sequence's logit depends on its own tokens alone
    return logits.detach().cpu().numpy(), (gradient * delta).sum(dim=1).cpu().numpy()


def occlusion(
    model: Model,
    encodings: Encodings,
    classes: np.ndarray,
    mask_id: int,
    special_ids: Collection[int],
    batch_tokens: int = TOKENS_AT_ONCE,
) -> list[np.ndarray]:
    """By how much F falls when one token is replaced with [MASK] and all others stay ("leave one out").

    After Li et al. 2016 (arXiv:1612.08220), who erase a word instead. Two tokens of the same meaning can both have a
    value near 0, since F does not fall as long as one of them is there.

    Args and errors are those of `integrated_gradients`. Returns (T_i,) for each text, in logits; 0 at special tokens.
    """
    check(model, encodings, classes, mask_id, special_ids)
    if not len(encodings):
        return []
    # Each text, and a copy of it for each of its tokens but the special ones.
    whole = pack([encodings[i] for i in range(len(encodings))])
    words = (~is_special(whole.ids, special_ids)).nonzero()[:, 0].numpy()
    texts = np.concatenate([np.arange(len(encodings)), whole.sequence[words]])  # (K,)
    hidden = np.concatenate([np.full(len(encodings), -1), whole.positions[words]])  # (K,) the place to be masked
    # F of all of them.
    logits = np.zeros(len(texts))
    with evaluation_in_fp32(model) as device, torch.inference_mode():
        for batch, packed in micro_batches(encodings, texts, batch_tokens):
            place = torch.from_numpy(hidden[batch])
            packed.ids[(packed.first + place)[place >= 0]] = mask_id
            logits[batch] = logits_of(model, packed.to(device), classes[texts[batch]]).cpu().numpy()
    require_finite(np.isfinite(logits), texts)
    drops = np.zeros(len(whole.ids))
    drops[words] = (logits[texts] - logits)[len(encodings) :]
    return np.split(drops, whole.boundaries[1:-1].numpy())


def rollout(attentions: Sequence[Tensor]) -> Tensor:
    """Attention rollout: the product of the attention of all layers (Abnar and Zuidema 2020).

    Rollout = Ã_L ⋯ Ã_1 with Ã = (A + I) / 2, where A is a layer's attention, the mean over its heads, and I stands for
    the residual connection (arXiv:2005.00928, section 3). It is no explanation: it does not depend on the class, and
    quite different attention can go with the same prediction (Jain and Wallace 2019, arXiv:1902.10186).

    attentions: L of (B, N, S, S), lowest layer first: `model(packed, output_attentions=True).attentions`.

    Returns:
        (B, S, S), the share of each token (column) in each activation at the top (row), where [i, 0, :T_i] is [CLS] of
        text i; rows add up to 1, and are 0 beyond the end of a sequence.

    Raises:
        ValueError: there is no layer.
    """
    if not attentions:
        raise ValueError("rollout needs the attention of at least one layer: run the model with output_attentions=True")
    rolled: Tensor | None = None
    for probabilities in attentions:
        mean = probabilities.mean(dim=1)  # (B, N, S, S) -> (B, S, S)
        identity = mean.sum(dim=-1).diag_embed()  # 0 beyond the end of a sequence
        mixed = (mean + identity) / 2
        rolled = mixed if rolled is None else mixed @ rolled
    assert rolled is not None
    return rolled


def rollout_to_head(model: Model, encodings: Encodings, batch_tokens: int = TOKENS_AT_ONCE) -> list[np.ndarray]:
    """For each of n texts (T_i,), the shares of its tokens in what the head reads, by `rollout`: [CLS] at the top, or
    the mean of all tokens there. They add up to 1."""
    lengths = lengths_of(encodings)
    found = [np.empty(0)] * len(encodings)
    with evaluation_in_fp32(model) as device, torch.inference_mode():
        for batch, packed in micro_batches(encodings, np.arange(len(encodings)), batch_tokens):
            rolled = rollout(model(packed.to(device), output_attentions=True).attentions)  # (B, S, S)
            for i, rows in zip(batch.tolist(), rolled.cpu().numpy(), strict=True):
                own = rows[: lengths[i], : lengths[i]]
                found[i] = own.mean(axis=0) if model.reads == "mean" else own[0]
    return found


def micro_batches(encodings: Encodings, texts: np.ndarray, tokens: int) -> Iterator[tuple[np.ndarray, Packed]]:
    """Copies of texts, `texts` (K,) the number of each one's text → batches: which copies (B,), and these packed.

    Shortest first, so that attention pads little. With its padding a batch has at most `tokens` tokens, or a single
    sequence.
    """
    lengths = lengths_of(encodings)[texts]
    order = lengths.argsort(kind="stable")
    start = 0
    while start < len(order):
        longest = lengths[order[start : start + tokens]]
        padded = longest * np.arange(1, len(longest) + 1)
        end = start + max(1, int(padded.searchsorted(tokens, side="right")))
        batch = order[start:end]
        yield batch, pack([encodings[i] for i in texts[batch].tolist()])
        start = end


def lengths_of(encodings: Encodings) -> np.ndarray:
    """(n,)"""
    return np.array([len(encodings[i].ids) for i in range(len(encodings))], dtype=np.int64)


def is_special(ids: Tensor, special_ids: Collection[int]) -> Tensor:
    """(T,) bool"""
    return torch.isin(ids, torch.tensor(list(special_ids), dtype=ids.dtype))


def logits_of(model: Model, packed: Packed, classes: np.ndarray) -> Tensor:
    """F: (B,) the logit of each sequence's own class."""
    logits = model(packed).logits  # (B, C)
    return logits.gather(1, torch.from_numpy(classes).to(logits.device).long()[:, None])[:, 0]


@contextmanager
def evaluation_in_fp32(model: Model) -> Iterator[torch.device]:
    """The model in evaluation mode, in fp32, with gradients; afterwards it is as it was. Gives its device."""
    modes = [(module, module.training) for module in model.modules()]
    kernel = next((module.kernel for module in model.modules() if isinstance(module, Attention)), "auto")
    device = next(model.parameters()).device
    try:
        model.eval()
        use_kernel(model, "sdpa")  # varlen takes no fp32
        with torch.inference_mode(False), autocast(device, torch.float32):  # the first lets gradients be computed again
            yield device
    finally:
        use_kernel(model, kernel)
        for module, mode in modes:
            module.training = mode


@contextmanager
def one_logit_a_sequence(model: Model) -> Iterator[None]:
    """A model that compares sequences (ChoiceHead) gives each of them its own logit, (B, 1); afterwards as before."""
    head: Any = model.classifier
    columns = head.columns
    try:
        head.columns = 1
        yield
    finally:
        head.columns = columns


def check(model: Model, encodings: Encodings, classes: np.ndarray, mask_id: int, special_ids: Collection[int]) -> None:
    if classes.shape != (len(encodings),):
        raise ValueError(f"{len(encodings)} texts need a class each, but classes has the shape {classes.shape}")
    count = len(model.labels)
    if ((classes < 0) | (classes >= count)).any():
        raise ValueError(f"classes must be numbers from 0 to {count - 1}, the rows of the model's head")
    if mask_id in special_ids:
        raise ValueError(f"the special ids are those of [CLS] and [SEP] alone; {mask_id} is [MASK]'s")
