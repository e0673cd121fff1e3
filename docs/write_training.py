"""Write the values of training.md anew: python docs/write_training.py

Its blocks are marked as those of tour.md. Its loop is run as it stands there.
"""

import logging
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from write_tour import SENTENCE, differences, rewrite

from tezukuri.data.load import load
from tezukuri.eval.inside import load as load_words
from tezukuri.eval.inside import trace
from tezukuri.eval.inside_lines import table
from tezukuri.eval.runs import write_whole
from tezukuri.model.attention import ALL, CAUSAL, attention_mask
from tezukuri.model.dropout import dropout
from tezukuri.model.model import Model
from tezukuri.model.packing import Packed, pack
from tezukuri.tokenize.tokenizer import Tokenizer
from tezukuri.train.optimizer import adamw, clip_gradients, learning_rate
from tezukuri.train.settings import Settings
from tezukuri.weights.load import load_with_report

TRAINING = Path(__file__).with_name("training.md")
TEXT, LABEL, SEED, RATE = "注文を三回も間違えられた。", "negative", 42, 5e-4
GUESSES = ("食べ", "飲み", "買い", "読み")
NUMBER = re.compile(r"-?\d+\.\d+(?:e[+-]\d+)?")
TOLERANCE = 0.03  # of a number: processors differ in the last digits of a sum, and training adds them up


def values(document: str) -> dict[str, list[str]]:
    """Every block's name and lines."""
    torch.manual_seed(SEED)
    data = load("sample")
    loaded = load_with_report("mini", "classify", data.labels)
    model, tokenizer = loaded.model, loaded.tokenizer
    encoding, left = tokenizer.encode(TEXT), run_loop(document)
    packed, y = pack([encoding]), torch.eye(len(data.labels))[[data.labels.index(LABEL)]]  # (1, C)
    return {
        **gradient_blocks(model, packed, y),
        **step_blocks(model, packed, y, Settings(lr=RATE)),
        "schedule": schedule_lines(Settings(lr=RATE), left["steps"], left["warmup"]),
        "scaler": scaler_lines(),
        "log": log_lines(left["log"]),
        "masked": masked_lines(tokenizer),
        "reach": reach_lines(encoding.tokens, packed),
    }


def gradient_blocks(model: Model, packed: Packed, y: Tensor) -> dict[str, list[str]]:
    """Forward and backward, without dropout; the gradients are left in the model."""
    output = model(packed)
    output.logits.retain_grad()
    loss = model.classifier.loss(output.logits, y).sum()
    loss.backward()
    logits, x = output.logits.detach(), output.pooled.detach()  # (1, C), (1, H)
    p = logits.softmax(dim=-1)
    return {
        "loss": loss_lines(model, logits[0], y[0], loss.item()),
        "gradient": gradient_lines(model, p[0], y[0], output.logits.grad[0]),
        "weight": weight_lines(model, p, y, x),
        "parts": part_lines(model),
        "clipping": clipping_lines(model),
        "dropout": dropout_lines(x[0]),
    }


def step_blocks(model: Model, packed: Packed, y: Tensor, settings: Settings) -> dict[str, list[str]]:
    """Three steps on one text."""

    def loss() -> Tensor:
        return model.classifier.loss(model(packed).logits, y).sum()

    before = loss().item()
    steps = adamw_lines(model, loss, settings)
    return {"adamw": steps, "after": [f"{before:.3f} before, {loss().item():.3f} after"]}


def loss_lines(model: Model, logits: Tensor, y: Tensor, loss: float) -> list[str]:
    p = logits.exp() / logits.exp().sum()
    rows = [("", "  logit", "  exp", "    p", "y", "-y log p")]
    for label, z, share, right in zip(model.labels, logits.tolist(), p.tolist(), y.tolist(), strict=True):
        part = -math.log(share) if right else 0.0
        rows.append((label, f"{z:7.3f}", f"{math.exp(z):5.3f}", f"{share:5.3f}", f"{right:.0f}", f"{part:8.3f}"))
    return [*table(rows), f"the loss is the sum of the last column; the model's own is {loss:.3f}"]


def gradient_lines(model: Model, p: Tensor, y: Tensor, found: Tensor) -> list[str]:
    rows = [("", "    p", "y", " p - y", "autograd")]
    for label, *numbers in zip(model.labels, p.tolist(), y.tolist(), (p - y).tolist(), found.tolist(), strict=True):
        share, right, ours, theirs = numbers
        rows.append((label, f"{share:.3f}", f"{right:.0f}", f"{ours:6.3f}", f"{theirs:8.3f}"))
    return table(rows)


def weight_lines(model: Model, p: Tensor, y: Tensor, x: Tensor, shown: int = 3) -> list[str]:
    ours, theirs = (p - y).T @ x, model.classifier.weight.grad  # (C, H)
    row = model.labels.index(LABEL)
    rows = [(f"class {LABEL}", " p - y", "     x", "(p - y) x", "autograd")]
    for column in range(shown):
        numbers = (p[0, row] - y[0, row], x[0, column], ours[row, column], theirs[row, column])
        cells = (f"{float(number):{width}.3f}" for number, width in zip(numbers, (6, 6, 9, 8), strict=True))
        rows.append((f"weight {column + 1}", *cells))
    return table(rows)


def part_lines(model: Model) -> list[str]:
    """The length of the gradient in each part of the model."""
    bert = model.bert
    parts = {
        "classifier": model.classifier,
        "pooler": bert.pooler,
        **{f"layer {number}": bert.layers[number - 1] for number in range(len(bert.layers), 0, -1)},
        "embeddings": bert.embeddings,
    }
    rows = [("", "  weights", "length of the gradient")]
    for name, part in parts.items():
        count = sum(p.numel() for p in part.parameters())
        rows.append((name, f"{count:>9,}", f"{length_of([p.grad for p in part.parameters()]):22.3f}"))
    words = int(bert.embeddings.word.weight.grad.any(dim=1).sum())
    return [*table(rows), f"words with a gradient: {words} of {bert.config.vocab_size:,}"]


def clipping_lines(model: Model) -> list[str]:
    length = length_of([p.grad for p in model.parameters()])
    factor = 1 / max(1, length)
    cut = length_of([p.grad * factor for p in model.parameters()])
    return [f"length {length:.3f}, times {factor:.3f} is {cut:.3f}"]


def length_of(gradients: list[Tensor]) -> float:
    return float(torch.cat([gradient.flatten() for gradient in gradients]).norm())


def dropout_lines(x: Tensor, shown: int = 8) -> list[str]:
    rows = []
    for seed in (None, 0, 6):
        if seed is not None:
            torch.manual_seed(seed)
        found = x if seed is None else dropout(x, 0.1)
        numbers = (f"{number:5.2f}" for number in found[:shown].tolist())
        dropped = f"{int((found == 0).sum())} of {len(x)} dropped"
        rows.append(("evaluation" if seed is None else "training", *numbers, dropped))
    return table(rows)


def adamw_lines(model: Model, loss: Callable[[], Tensor], settings: Settings) -> list[str]:
    """The steps of one weight by hand, beside those of torch."""
    model.zero_grad()
    optimizer, weight, row = adamw(model, settings), model.classifier.weight, model.labels.index(LABEL)
    w, m, v = weight[row, 0].item(), 0.0, 0.0
    averages = ("        m", "       v", "corrected", "corrected")
    names = ("t", "        g", *averages, "  lr λ w", "w by hand", "w of torch")
    rows = [names, ("0", *[""] * 6, f"{w:9.6f}", f"{w:10.6f}")]
    for t in (1, 2, 3):
        loss().backward()
        clip_gradients(model, optimizer, settings.max_grad_norm, in_step=False)
        g = weight.grad[row, 0].item()
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        corrected = m / (1 - 0.9**t), v / (1 - 0.999**t)
        decay = settings.lr * settings.weight_decay * w
        w = w - decay - settings.lr * corrected[0] / (corrected[1] ** 0.5 + 1e-8)
        optimizer.step()
        optimizer.zero_grad()
        numbers = [f"{number:.2e}" for number in (g, m, v, *corrected, decay)]
        rows.append((str(t), *numbers, f"{w:9.6f}", f"{weight[row, 0].item():10.6f}"))
    return table(rows)


def schedule_lines(settings: Settings, steps: int, warmup: int) -> list[str]:
    chosen = (0, 1, 3, warmup, 40, 70, steps - 1)
    rates = (f"{learning_rate(step, steps, settings):.6f}" for step in chosen)
    return table([("step", *map(str, chosen)), ("lr", *rates)])


def scaler_lines() -> list[str]:
    """Two steps of plain gradient descent on one weight, the second with a gradient that overflows."""
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=1000)
    scaler = torch.amp.GradScaler("cpu", init_scale=65536.0)
    scaler.scale(torch.zeros(1))  # it begins when it is first used
    rows = [("gradient", "in fp16", "scaled, in fp16", "unscaled", "weight before", "and after", "next scale")]
    for gradient in (2e-8, 3.0):
        half, scaled = torch.tensor([gradient, gradient * scaler.get_scale()]).half().tolist()
        weight.grad, before = torch.tensor([scaled]), weight.item()
        scaler.unscale_(optimizer)
        unscaled = weight.grad.item()
        scaler.step(optimizer)
        scaler.update()
        numbers = (f"{gradient:.1e}", f"{half:.1e}", f"{scaled:.2e}", f"{unscaled:.1e}")
        rows.append((*numbers, f"{before:.5f}", f"{weight.item():.5f}", f"{scaler.get_scale():,.0f}"))
    return table(rows)


def run_loop(document: str) -> dict[str, Any]:
    """The names that the loop of the document leaves."""
    (code,) = re.findall(r"```python\n(.*?)```", document, re.DOTALL)
    left: dict[str, Any] = {}
    log = logging.getLogger("tezukuri")
    level = log.level
    log.setLevel(logging.ERROR)  # that the classifier is new, the document says
    try:
        exec(compile(code, str(TRAINING), "exec"), left)
    finally:
        log.setLevel(level)
    return left


def log_lines(log: list[tuple[int, float, float, float]]) -> list[str]:
    rows = [("epoch", "train loss", "dev loss", "dev accuracy")]
    return table([*rows, *((str(epoch), *(f"{number:.3f}" for number in numbers)) for epoch, *numbers in log)])


def masked_lines(tokenizer: Tokenizer) -> list[str]:
    way = trace(load_words("mini").model, tokenizer, SENTENCE)
    logs = way.stages[-1].values[way.token].log_softmax(dim=-1)  # (V,)
    rows = [("if the word was", "p", "loss, -log p")]
    for word in GUESSES:
        log = float(logs[tokenizer.piece_ids[word]])
        rows.append((word, f"{math.exp(log):.3f}", f"{-log:.2f}"))
    return table(rows)


def reach_lines(tokens: list[str], packed: Packed) -> list[str]:
    """Both matrices, side by side."""
    found = (attention_mask(packed, reach) for reach in (ALL, CAUSAL))
    both = [torch.ones(len(tokens), len(tokens)) if allowed is None else allowed[0, 0] for allowed in found]  # (S, S)
    rows = [("", "bidirectional", "causal")]
    for token, *looks in zip(tokens, *both, strict=True):
        rows.append((token, *(" ".join("×" if look else "·" for look in row) for row in looks)))
    return table(rows)


def alike(a: str, b: str) -> bool:
    """Whether two lines differ in no more than spaces, and numbers that are near."""
    if NUMBER.sub(" # ", a).split() != NUMBER.sub(" # ", b).split():
        return False
    return all(map(near, NUMBER.findall(a), NUMBER.findall(b)))


def near(a: str, b: str) -> bool:
    """Equal to 3 %, or to one in the last digit that is written."""
    mantissa, _, power = a.partition("e")
    unit = 10.0 ** (int(power or 0) - len(mantissa.partition(".")[2]))
    return abs(float(a) - float(b)) <= max(TOLERANCE * abs(float(a)), 1.01 * unit)


def main() -> None:
    before = TRAINING.read_text(encoding="utf-8")
    written = rewrite(before, values(before))
    for line in differences(before, written, alike):
        print(line)
    write_whole(TRAINING, written)


if __name__ == "__main__":
    main()
