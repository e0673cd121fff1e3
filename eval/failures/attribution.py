"""Why a classifier said what it said, token by token: integrated gradients, occlusion, and attention rollout.

What is explained is F, the logit of one class. Probabilities saturate: of a sure answer nearly every single token can
be taken away without changing them, and so can the log-probability. The logit does not, and it is what the last layer
adds up. Logits mean something only against each other, but what all of them share is hardly there: a cross-entropy's
gradients at the logits of a text add up to 0, so training puts nothing into their sum.

What a token is compared with is [MASK], the word that the model was pretrained to read as "something stands here".
Special tokens, positions and segments stay as they are, so special tokens have the value 0. Neither method says what
F(baseline) itself, of a text of nothing but [MASK], is made of.

Letters: n texts with T_i tokens each, K copies of them to be scored, B sequences in a batch, T tokens in the packed
batch, S tokens of the longest sequence, H hidden size, N heads, C classes, L layers.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...model.attention import Attention
from ...model.int8 import Int8Linear
from ...model.model import Model, use_kernel
from ...model.packing import Encodings, Packed, pack
from ...model.precision import autocast
from ..predict import NotFiniteError

RELATIVE, ABSOLUTE = 0.01, 1e-3  # how far values may be from adding up: a share of the difference, or at least so much
TOKENS_AT_ONCE = 2048  # in a micro-batch, with what attention pads; more are no faster on a CPU


@dataclass(frozen=True)
class Attribution:
    """Integrated gradients of one text."""

    values: np.ndarray  # (T_i,) what each token adds to F, in logits; below 0 where it speaks against the class
    difference: float  # F(text) - F(baseline), in logits
    steps: int  # into which the path was cut

    @property
    def error(self) -> float:
        """How far the values are from adding up to the difference."""
        return abs(float(self.values.sum()) - self.difference)

    @property
    def complete(self) -> bool:
        """Whether the values add up, within 1 % of the difference or 1e-3. If not, they are not to be relied on."""
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

    (arXiv:1703.01365, equation 1), where x are the word vectors of the text and m is that of [MASK], the baseline; they
    are put in before positions and segments are added. The values add up to F(text) - F(baseline): "completeness", the
    paper's proposition 1.

    The integral is taken by the trapezoidal rule. Its end points are the two texts whose F is needed anyway, and twice
    the steps use all points so far again, so that doubling wastes nothing. Gauss-Legendre, which is better on
    polynomials, is worse here: a fine-tuned model's F changes most in the middle of the path, where its points are
    rarest. Steps are doubled for those texts alone whose values do not add up yet. That they do is necessary, not
    sufficient: errors of single tokens could cancel.

    Args:
        model: on the device to compute on; left as it was. It computes in fp32, with the sdpa kernel.
        encodings: n encoded texts.
        classes: (n,) for each text the number of the class to explain, 0 to C - 1.
        mask_id: of [MASK].
        special_ids: of [CLS] and [SEP]. [UNK] is none of them, since it stands for a word.
        steps: into which every path is cut at first.
        most_steps: a text that would need more is returned as it is, and is not `complete`.
        batch_tokens: the most tokens in a micro-batch.

    Raises:
        ValueError: classes or special ids that cannot be, or a model in int8, which has no gradients.
        NotFiniteError: a logit is infinite or no number.
    """
    check(model, encodings, classes, mask_id, special_ids)
    if any(isinstance(module, Int8Linear) for module in model.modules()):
        raise ValueError("an int8 model has no gradients: explain the model that it was rounded from")
    lengths = lengths_of(encodings)
    starts = lengths.cumsum() - lengths  # where each text begins when all are laid end to end
    total = np.zeros(lengths.sum())  # of all texts' tokens: the points' terms, those of the end points halved
    difference = np.zeros(len(encodings))
    attributions: dict[int, Attribution] = {}
    left = np.arange(len(encodings))  # texts to be done, or done better
    points = np.linspace(0, 1, steps + 1)
    with undisturbed(model):
        while len(left):
            texts, alphas = left.repeat(len(points)), np.tile(points, len(left))  # (K,)
            ends = (alphas == 1).astype(float) - (alphas == 0)  # 1 is the text, -1 the baseline, 0 lies between
            logits = np.zeros(len(texts))
            for batch, packed in micro_batches(encodings, texts, batch_tokens):
                sequence = packed.sequence.numpy()
                logits[batch], terms = terms_at(
                    model, packed, classes[texts[batch]], alphas[batch], mask_id, special_ids
                )
                places = starts[texts[batch]][sequence] + packed.positions.numpy()
                np.add.at(total, places, terms * (1 - abs(ends[batch]) / 2)[sequence])
            require_finite(logits, texts)
            difference[left] += (ends * logits).reshape(len(left), -1).sum(axis=1)
            for i in left.tolist():
                values = total[starts[i] : starts[i] + lengths[i]] / steps
                attributions[i] = Attribution(values, float(difference[i]), steps)
            if 2 * steps > most_steps:
                break
            left = np.array([i for i in left.tolist() if not attributions[i].complete], dtype=np.int64)
            points = (np.arange(steps) + 0.5) / steps  # half-way between those so far
            steps *= 2
    return [attributions[i] for i in range(len(encodings))]


def terms_at(
    model: Model,
    packed: Packed,
    classes: np.ndarray,
    alphas: np.ndarray,
    mask_id: int,
    special_ids: Collection[int],
) -> tuple[np.ndarray, np.ndarray]:
    """One point of each of B paths, `alphas` (B,) → F (B,), and (x - m) · ∂F/∂x at each token (T,)."""
    device = next(model.parameters()).device
    words = ~is_special(packed.ids, special_ids).to(device)  # (T,)
    packed, sequence = packed.to(device), packed.sequence.to(device)
    embed = model.bert.embeddings.word
    with torch.no_grad():
        x = embed(packed.ids)  # (T, H)
        delta = (x - embed(torch.tensor([mask_id], device=device))) * words[:, None]  # (T, H), 0 at special tokens
        left = torch.from_numpy(1 - alphas).to(device, x.dtype)  # (B,) of the path, up to the text
        point = x - left[sequence, None] * delta
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
    """By how much F falls when one token is replaced with [MASK], and all others stay ("leave one out").

    After Li et al. 2016 (arXiv:1612.08220), who erase a word instead. Nothing is approximated; but of two tokens that
    say the same each can be missed without harm, and then both have a value near 0.

    Args and errors are those of `integrated_gradients`.

    Returns:
        For each of n texts (T_i,), in logits; 0 at special tokens.
    """
    check(model, encodings, classes, mask_id, special_ids)
    if not len(encodings):
        return []
    whole = pack([encodings[i] for i in range(len(encodings))])  # all texts' tokens
    words = (~is_special(whole.ids, special_ids)).nonzero()[:, 0].numpy()
    texts = np.concatenate([np.arange(len(encodings)), whole.sequence[words]])  # (K,) each text, and its copies
    hidden = np.concatenate([np.full(len(encodings), -1), whole.positions[words]])  # (K,) the place to be masked
    logits = np.zeros(len(texts))
    with undisturbed(model) as device, torch.inference_mode():
        for batch, packed in micro_batches(encodings, texts, batch_tokens):
            place = torch.from_numpy(hidden[batch])
            packed.ids[(packed.first + place)[place >= 0]] = mask_id
            logits[batch] = logits_of(model, packed.to(device), classes[texts[batch]]).cpu().numpy()
    require_finite(logits, texts)
    drops = np.zeros(len(whole.ids))
    drops[words] = (logits[texts] - logits)[len(encodings) :]
    return np.split(drops, whole.boundaries[1:-1].numpy())


def rollout(attentions: Sequence[Tensor]) -> Tensor:
    """Attention rollout: attention followed through the layers down to the tokens (Abnar and Zuidema 2020).

    Rollout = Ã_L ⋯ Ã_1 with Ã = (A + I) / 2, where A is a layer's attention, the mean over its heads, and I stands for
    the residual connection (arXiv:2005.00928, section 3).

    It shows where a model looks, and is no explanation: it knows nothing of the class, nor of what was done with what
    was seen, and quite different attention can go with the same answer (Jain and Wallace 2019, arXiv:1902.10186).

    Args:
        attentions: L of (B, N, S, S), lowest layer first: `model(packed, output_attentions=True).attentions`.

    Returns:
        (B, S, S), how much of each token (column) is in each (row) at the top; rows add up to 1, and are 0 beyond the
        end of a sequence. Of text i, [i, 0, :T_i] are its tokens in what the classifier takes, [CLS].

    Raises:
        ValueError: there is no layer.
    """
    if not attentions:
        raise ValueError("rollout needs the attention of at least one layer: run the model with output_attentions=True")
    rolled: Tensor | None = None
    for probabilities in attentions:
        mean = probabilities.mean(dim=1)  # (B, N, S, S) -> (B, S, S)
        identity = mean.sum(dim=-1).diag_embed()  # 0 beyond the end of a sequence, where no one looks at anything
        mixed = (mean + identity) / 2
        rolled = mixed if rolled is None else mixed @ rolled
    assert rolled is not None
    return rolled


def looked_at(model: Model, encodings: Encodings, batch_tokens: int = TOKENS_AT_ONCE) -> list[np.ndarray]:
    """For each of n texts (T_i,), how much of each token is in [CLS] at the top, by `rollout`; adds up to 1."""
    lengths = lengths_of(encodings)
    found = [np.empty(0)] * len(encodings)
    with undisturbed(model) as device, torch.inference_mode():
        for batch, packed in micro_batches(encodings, np.arange(len(encodings)), batch_tokens):
            rolled = rollout(model(packed.to(device), output_attentions=True).attentions)[:, 0]  # (B, S)
            for i, row in zip(batch.tolist(), rolled.cpu().numpy(), strict=True):
                found[i] = row[: lengths[i]]
    return found


# --- copies of texts, and their logits ----------------------------------------------------------------------------


def micro_batches(encodings: Encodings, texts: np.ndarray, tokens: int) -> Iterator[tuple[np.ndarray, Packed]]:
    """Copies of texts, `texts` (K,) the number of each one's text → which copies come together (B,), and their batch.

    The shortest come first, so that attention pads little; with what it pads a batch has at most `tokens` tokens, or a
    single sequence.
    """
    lengths = lengths_of(encodings)[texts]
    order = lengths.argsort(kind="stable")
    start = 0
    while start < len(order):
        padded = lengths[order[start : start + tokens]]  # the longest so far, …
        padded = padded * np.arange(1, len(padded) + 1)  # … times how many they are
        end = start + max(1, int(padded.searchsorted(tokens, side="right")))
        batch = order[start:end]
        yield batch, pack([encodings[i] for i in texts[batch].tolist()])
        start = end


def lengths_of(encodings: Encodings) -> np.ndarray:
    """(n,) tokens of each text."""
    return np.array([len(encodings[i].ids) for i in range(len(encodings))], dtype=np.int64)


def is_special(ids: Tensor, special_ids: Collection[int]) -> Tensor:
    """(T,) bool"""
    return torch.isin(ids, torch.tensor(list(special_ids), dtype=ids.dtype))


def logits_of(model: Model, packed: Packed, classes: np.ndarray) -> Tensor:
    """F: (B,) the logit of each sequence's own class."""
    logits = model(packed).logits  # (B, C)
    return logits.gather(1, torch.from_numpy(classes).to(logits.device).long()[:, None])[:, 0]


@contextmanager
def undisturbed(model: Model) -> Iterator[torch.device]:
    """Within it, the model is in evaluation mode and computes in fp32, with gradients; afterwards it is as it was.

    Gives the device that it lies on.
    """
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


def check(model: Model, encodings: Encodings, classes: np.ndarray, mask_id: int, special_ids: Collection[int]) -> None:
    """Raise ValueError for what cannot be explained."""
    if classes.shape != (len(encodings),):
        raise ValueError(f"{len(encodings)} texts need a class each, but classes has the shape {classes.shape}")
    count = len(model.labels)
    if ((classes < 0) | (classes >= count)).any():
        raise ValueError(f"classes must be numbers from 0 to {count - 1}, the rows of the model's head")
    if mask_id in special_ids:
        raise ValueError(f"the special ids are those of [CLS] and [SEP] alone; {mask_id} is [MASK]'s")


def require_finite(logits: np.ndarray, texts: np.ndarray) -> None:
    """Raise NotFiniteError for (K,) logits, one of which is infinite or no number."""
    if not np.isfinite(logits).all():
        number = texts[~np.isfinite(logits)][0] + 1
        raise NotFiniteError(f"the model's scores for text {number} are no finite numbers: its weights are broken")
