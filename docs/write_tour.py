"""Write the values of tour.md anew: python docs/write_tour.py [--model FOLDER]

A block of values stands between `<!-- values: name -->` and `<!-- end -->`; all else in the file is left as it is.
"""

import argparse
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from tezukuri.eval.inside import Stage, Trace, load, trace
from tezukuri.eval.inside_lines import (
    attention_lines,
    size_line,
    stage_lines,
    table,
    text_lines,
    token_lines,
    word_lines,
)
from tezukuri.eval.runs import write_whole
from tezukuri.model.attention import attention_mask
from tezukuri.model.packing import pack
from tezukuri.tokenize.kinds import tokenizer_of
from tezukuri.tokenize.unigram import UnigramTokenizer
from tezukuri.weights.find import SHIPPED
from tezukuri.weights.load import Loaded

TOUR = Path(__file__).with_name("tour.md")
SENTENCE = "私は毎朝ｺｰﾋｰを[MASK]ます。"
SECOND = "駅から近い。"  # shares a batch with it, to show the mask
GLOSSES = {
    "食べ": "eat", "作り": "make", "買い": "buy", "飲み": "drink", "飲め": "can drink", "出し": "put out",
    "言い": "say", "選び": "choose", "は": "topic", "が": "subject", "、": "comma",
}  # fmt: skip
CUTS = (  # of one text, in several ways
    "毎朝 コーヒー を 飲み ます",
    "毎 朝 コーヒー を 飲み ます",
    "毎 朝 コーヒー を 飲 み ます",
    "毎 朝 コ ー ヒ ー を 飲み ます",
)
LAYER, HEAD = 1, 1  # what the tour looks into, counted from 1; its text says so too
BLOCK = re.compile(r"(<!-- values: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
DECIMAL = re.compile(r"-?\d+\.\d+")
TOLERANCE = 0.02  # processors differ in the last digits of a sum


def values(loaded: Loaded) -> dict[str, list[str]]:
    """Every block's name and lines."""
    traced = trace(loaded.model, loaded.tokenizer, SENTENCE)
    embeddings, layer, head = (members(traced, group) for group in ("embeddings", f"layer {LAYER}", "word head"))
    return {
        "sizes": [
            f"{size_line(traced)}  R = {traced.packed.rows}  M = {len(traced.answers)}",
            *parameter_lines(loaded.model),
        ],
        "text": list(text_lines(traced.tokens)),
        "words": word_lines(traced.words),
        "tokens": token_lines(traced.tokens),
        "unigram": unigram_lines(),
        "packed": list(packed_lines(traced)),
        "embeddings": list(stage_lines(traced, embeddings, HEAD)),
        "projections": list(stage_lines(traced, layer[:4], HEAD)),
        "scores": score_lines(traced, layer),
        "mask": mask_lines(loaded, traced),
        "attention": list(attention_lines(traced, LAYER, HEAD)),
        "heads": head_lines(traced),
        "layer": list(stage_lines(traced, layer[5:], HEAD)),
        "dropout": dropout_lines(traced),
        "depth": depth_lines(loaded, traced),
        "head": list(stage_lines(traced, head)),
        "answers": answer_lines(traced),
        "loss": loss_lines(traced),
    }


def unigram_lines() -> list[str]:
    """Some ways to cut a text, each with the sum of its pieces' scores; and the one that small's tokenizer takes."""
    tokenizer = tokenizer_of(SHIPPED["small"])
    assert isinstance(tokenizer, UnigramTokenizer)
    scores = tokenizer.recipe.scores
    rows = [("sum", "pieces, each with log p")]
    for cut in CUTS:
        pieces = ["▁", *cut.split()]
        lacking = [piece for piece in pieces if piece not in scores]
        total = f"{sum(scores[piece] for piece in pieces):.2f}" if not lacking else "–"
        each = [f"{piece} {scores[piece]:.2f}" if piece in scores else f"{piece} (no piece)" for piece in pieces]
        rows.append((total, "  ".join(each)))
    taken = " ".join(tokenizer.encode("".join(CUTS[0].split())).tokens)
    return [*table(rows), f"taken: {taken}"]


def members(traced: Trace, group: str) -> list[Stage]:
    return [stage for stage in traced.stages if stage.group == group]


def parameter_lines(model: torch.nn.Module) -> list[str]:
    """How many numbers were learned, and where they are."""
    bert = model.bert
    parts = {"embeddings": bert.embeddings, "each layer": bert.layers[0], "word head, its own": model.head}
    counts = {name: sum(parameter.numel() for parameter in part.parameters()) for name, part in parts.items()}
    return table([(name, f"{count:>10,} parameters") for name, count in counts.items()])


def packed_lines(traced: Trace) -> Iterator[str]:
    for name in ("ids", "positions", "type_ids", "boundaries"):
        yield f"{name:<12}" + "".join(f"{number:>5}" for number in getattr(traced.packed, name).tolist())


def score_lines(traced: Trace, layer: list[Stage]) -> list[str]:
    """The one equation by hand, for one query: its products with all keys, beside the probabilities of the model."""
    queries, keys = (stage.values[0, HEAD - 1] for stage in layer[1:3])  # 2 × (S, D)
    scores = keys @ queries[traced.token] * queries.shape[1] ** -0.5  # (S, D) × (D,) -> (S,)
    probabilities = traced.attention(LAYER, HEAD)[traced.token]
    rows = [("", "token", "q·k / √D", "exp, as a share", "model")]
    for i, token in enumerate(traced.encoding.tokens):
        shares = (scores[i].exp() / scores.exp().sum(), probabilities[i])
        rows.append((str(i), token, f"{scores[i]:8.2f}", f"{shares[0]:15.3f}", f"{shares[1]:5.3f}"))
    return table(rows)


def mask_lines(loaded: Loaded, traced: Trace) -> list[str]:
    """Which keys may be looked at where a second, shorter sentence is in the batch: 1, or 0 for padding."""
    second = loaded.tokenizer.encode(SECOND)
    packed = pack([traced.encoding, second])
    allowed = attention_mask(packed)  # (B, 1, 1, S)
    assert allowed is not None
    rows = [(f"row {i}", " ".join(map(str, row.int().tolist()))) for i, row in enumerate(allowed[:, 0, 0])]
    return [f"T = {len(packed.ids)}  R = {packed.rows}  S = {packed.longest}", *table(rows)]


def dropout_lines(traced: Trace) -> list[str]:
    names = ("hidden_dropout_prob", "attention_probs_dropout_prob")
    return table([(name, f"{getattr(traced.config, name):g}") for name in names])


def head_lines(traced: Trace) -> list[str]:
    """The token at which the followed one looks most, for every head of every layer."""
    rows = [("", *(f"head {head + 1}" for head in range(traced.config.num_attention_heads)))]
    for layer in range(1, traced.config.num_hidden_layers + 1):
        seen = [traced.attention(layer, head + 1)[traced.token] for head in range(traced.config.num_attention_heads)]
        strongest = [(float(row.max()), traced.encoding.tokens[int(row.argmax())]) for row in seen]
        rows.append((f"layer {layer}", *(f"{share:.2f} {token}" for share, token in strongest)))
    return table(rows)


@torch.inference_mode()
def depth_lines(loaded: Loaded, traced: Trace, likeliest: int = 3) -> list[str]:
    """What the head would answer if the encoder ended earlier: after the embeddings, after every layer."""
    rows = []
    for layer, hidden in enumerate(traced.output.hidden_states or ()):
        logits = loaded.model.head(hidden[[traced.token]], loaded.model.bert.embeddings.word.weight)[0]  # (V,)
        probabilities, ids = logits[: loaded.tokenizer.vocab_size].softmax(dim=-1).topk(likeliest)
        guesses = [
            f"{p:.3f} {glossed(loaded.tokenizer.vocabulary[i])}" for p, i in zip(probabilities, ids, strict=True)
        ]
        rows.append((f"after layer {layer}" if layer else "embeddings only", *guesses))
    return table(rows)


def answer_lines(traced: Trace) -> list[str]:
    """The likeliest words at the token that is followed."""
    answer = traced.answers[0]
    rows = [(glossed(c.name), f"{c.logit:5.2f}", f"{c.probability:11.3f}") for c in answer.choices]
    return [
        f"at token {answer.token}, {traced.encoding.tokens[answer.token]}",
        *table([("", "logit", "probability"), *rows]),
    ]


def loss_lines(traced: Trace) -> list[str]:
    """What the loss would be, for each of the likeliest words in the place of the right one."""
    rows, logits = [], traced.output.logits[[traced.token]]  # (M, V), M = 1
    for choice in traced.answers[0].choices:
        right = (logits[0] == choice.logit).nonzero()[0]  # (M,)
        loss = torch.nn.functional.cross_entropy(logits, right)  # the mean over M tokens
        rows.append((glossed(choice.name), f"{choice.probability:5.3f}", f"{float(loss):5.3f}"))
    return table([("right word", "p", "−log p"), *rows])


def glossed(token: str) -> str:
    """A token of mini's with its meaning in English."""
    return f"{token} ({GLOSSES[token]})" if token in GLOSSES else token


def rewrite(tour: str, blocks: dict[str, list[str]]) -> str:
    """The tour with every block's lines in place.

    Raises:
        ValueError: the tour has a block that is not known, or lacks one.
    """
    names = [found[2] for found in BLOCK.finditer(tour)]
    if sorted(names) != sorted(blocks):
        wrong = ", ".join(sorted(set(names) ^ set(blocks))) or "a block stands there twice"
        raise ValueError(f"the tour's blocks are not those that are written: {wrong}")
    return BLOCK.sub(lambda found: found[1] + "\n".join(["```text", *blocks[found[2]], "```", ""]) + found[3], tour)


def alike(a: str, b: str) -> bool:
    if DECIMAL.sub(" # ", a).split() != DECIMAL.sub(" # ", b).split():
        return False
    numbers = zip(DECIMAL.findall(a), DECIMAL.findall(b), strict=True)
    return all(abs(float(x) - float(y)) <= TOLERANCE for x, y in numbers)


def differences(before: str, after: str, alike: Callable[[str, str], bool] = alike) -> list[str]:
    """Lines that differ in more than spaces and the last digits of decimal numbers."""
    old, new = before.splitlines(), after.splitlines()
    if len(old) != len(new):
        return [f"{len(old)} lines, now {len(new)}"]
    return [f"{a.strip()}  →  {b.strip()}" for a, b in zip(old, new, strict=True) if not alike(a, b)]


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").split(":")[0], allow_abbrev=False)
    options.add_argument("--model", default="mini", help="folder or hub id of a masked-language model (%(default)s)")
    tour = TOUR.read_text(encoding="utf-8")
    written = rewrite(tour, values(load(options.parse_args().model)))
    for line in differences(tour, written):
        print(line)
    write_whole(TOUR, written)


if __name__ == "__main__":
    main()
