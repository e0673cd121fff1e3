"""Another architecture is one file and one row: here a small decoder, which looks back only and normalises first."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from test_toy_head import OfLast
from tiny import LABELS, TASK, random_texts, tiny
from torch import nn
from torch.nn import functional as F

import tezukuri
from tezukuri.eval.predict import predict
from tezukuri.model.attention import CAUSAL, Attention
from tezukuri.model.dropout import Dropout
from tezukuri.model.heads import ClassHead
from tezukuri.model.initialisation import initialise, table
from tezukuri.model.model import Model, use_kernel
from tezukuri.model.packing import Output, pack
from tezukuri.tokenize.japanese import JapaneseTokenizer
from tezukuri.tokenize.vocabulary import vocabulary_of
from tezukuri.train.batch import Texts
from tezukuri.train.loop import fine_tune
from tezukuri.train.regularizers.shelf import regularizers_of
from tezukuri.train.settings import Settings
from tezukuri.weights.architectures import ARCHITECTURES, Architecture
from tezukuri.weights.files import CheckpointError
from tezukuri.weights.load import load_with_report
from tezukuri.weights.names import Names
from tezukuri.weights.save import save


@dataclass
class BackConfig:
    vocab_size: int = 60
    hidden_size: int = 32
    num_hidden_layers: int = 2
    num_attention_heads: int = 4
    intermediate_size: int = 48
    hidden_dropout_prob: float = 0.1
    max_position_embeddings: int = 24
    window: int = -1  # tokens before it that a query may look at; -1: all
    initializer_range: float = 0.1


class Embeddings(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.word = table(config.vocab_size, config.hidden_size)
        self.position = table(config.max_position_embeddings, config.hidden_size)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(self, packed):
        return self.dropout(self.word(packed.ids) + self.position(packed.positions))  # (T, H)


class Layer(nn.Module):
    def __init__(self, config):
        super().__init__()
        size, reach = config.hidden_size, CAUSAL._replace(before=config.window)
        self.attention_norm, self.norm = nn.LayerNorm(size), nn.LayerNorm(size)
        self.attention = Attention(size, config.num_attention_heads, config.hidden_dropout_prob, reach)
        self.up, self.down = nn.Linear(size, config.intermediate_size), nn.Linear(config.intermediate_size, size)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(self, x, packed, show=False, first_only=False):
        attended, probabilities = self.attention(self.attention_norm(x), packed, show, first_only)
        x = (x[packed.first] if first_only else x) + self.dropout(attended)
        return x + self.dropout(self.down(F.silu(self.up(self.norm(x))))), probabilities


class Back(nn.Module):
    def __init__(self, config, pooler=True):
        super().__init__()
        self.config, self.pooler = config, None
        self.embeddings = Embeddings(config)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.LayerNorm(config.hidden_size)
        self.apply(lambda module: initialise(module, config.initializer_range))

    def forward(self, packed, output_hidden_states=False, output_attentions=False, first_only=False):
        x = self.embeddings(packed)
        states, shares = [x], []
        for number, layer in enumerate(self.layers, start=1):
            x, probabilities = layer(x, packed, output_attentions, first_only and number == len(self.layers))
            states.append(x)
            shares.append(probabilities)
        states[-1] = self.norm(x)
        shown = tuple(states) if output_hidden_states else None
        return Output(states[-1], hidden_states=shown, attentions=tuple(shares) if output_attentions else None)


BACK = Names(
    modules={
        "bert.embeddings.word": ["model.embed_tokens"],
        "bert.embeddings.position": ["model.embed_positions"],
        "bert.layers.#.attention_norm": ["model.layers.#.input_norm"],
        "bert.layers.#.attention.qkv": [f"model.layers.#.{name}_proj" for name in "qkv"],
        "bert.layers.#.attention.output": ["model.layers.#.o_proj"],
        "bert.layers.#.norm": ["model.layers.#.mlp_norm"],
        "bert.layers.#.up": ["model.layers.#.up_proj"],
        "bert.layers.#.down": ["model.layers.#.down_proj"],
        "bert.norm": ["model.norm"],
        "classifier": ["score"],
    },
    heads={"classify": "score."},
)


class LastClass(ClassHead):
    """A decoder's last token is the one that has seen all others."""

    reads = "last"


@pytest.fixture(autouse=True)
def row(monkeypatch):
    classes = {"encode": "BackModel", "classify": "BackForSequenceClassification"}
    monkeypatch.setitem(ARCHITECTURES, "back", Architecture(BackConfig, Back, BACK, classes))


TOKENIZER = JapaneseTokenizer(vocabulary_of(["犬と猫"], least=1))
SETTINGS = Settings(epochs=3, batch_size=8, lr=3e-3, precision="fp32", select="last")


def model_of(head=LastClass, **changes) -> Model:
    return Model(Back(BackConfig(**changes)), LABELS, head)


def random(lengths=(7, 2, 19, 1, 12), seed=0):
    return random_texts(tiny(vocab_size=BackConfig.vocab_size), lengths, seed)


def corpus(n, seed) -> Texts:
    """The class is the first token's number, modulo 3, which the last one has to remember."""
    texts = random(np.random.default_rng(seed).integers(3, 12, n), seed)
    return Texts(texts, np.eye(3, dtype=np.float32)[[text.ids[0] % 3 for text in texts]])


TRAIN, DEV = corpus(64, 0), corpus(20, 1)


@pytest.mark.parametrize("window", [-1, 2])
@pytest.mark.parametrize("how", [{}, {"share_rows": True}, {"multiple": 16}, {"multiple": 16, "share_rows": True}])
@pytest.mark.parametrize("kernel", ["eager", "sdpa"])
def test_a_later_token_changes_nothing_before_it(kernel, how, window):
    encoder = Back(BackConfig(window=window)).eval()
    use_kernel(encoder, kernel)
    texts = random()
    packed = pack(texts, **how)
    before = encoder(packed, output_hidden_states=True)
    start, end = packed.boundaries[2:4].tolist()
    at = start + 10  # the eleventh token of the third text
    packed.ids[at] = (packed.ids[at] + 1) % 60
    after = encoder(packed, output_hidden_states=True)
    for one, other in zip(before.hidden_states, after.hidden_states, strict=True):
        changed = (one != other).any(dim=1).nonzero().flatten().tolist()
        assert changed and min(changed) == at and max(changed) < end
    reached = end - at if window < 0 else 1 + window * 2  # two layers
    assert len(changed) == min(reached, end - at)


@pytest.mark.parametrize("window", [-1, 3])
def test_kernels_agree_and_texts_do_not_see_each_other(window):
    model, texts = model_of(window=window).eval(), random()
    alone = torch.cat([model(pack([text])).logits for text in texts])
    for kernel in ("eager", "sdpa"):
        use_kernel(model, kernel)
        for packed in (pack(texts), pack(texts, multiple=16), pack(texts, multiple=16, share_rows=True)):
            torch.testing.assert_close(model(packed).logits, alone, rtol=1e-4, atol=1e-5)


def test_its_attention_can_be_shown():
    shown = Back(BackConfig(window=3)).eval()(pack(random()), output_attentions=True).attentions
    for shares in shown:  # (B, N, S, S)
        ahead = torch.arange(19)[None, :] - torch.arange(19)[:, None]
        assert not shares[2][:, (ahead > 0) | (ahead < -3)].any()
        torch.testing.assert_close(shares[2].sum(dim=-1), torch.ones(4, 19))
        assert not shares[1][:, 2:].any()  # of a text of two tokens


@pytest.mark.parametrize("head", [LastClass, ClassHead])
def test_it_is_saved_under_its_own_names_and_loaded_back(tmp_path, head):
    model = model_of(head, window=5).eval()
    save(model, TOKENIZER, tmp_path / "model")
    settings = json.loads((tmp_path / "model" / "config.json").read_text())
    assert settings["model_type"] == "back" and settings["architectures"] == ["BackForSequenceClassification"]
    assert settings["window"] == 5 and "type_vocab_size" not in settings
    tensors = load_file(tmp_path / "model" / "model.safetensors")
    assert tensors["model.layers.1.k_proj.weight"].shape == (32, 32) and tensors["score.weight"].shape == (3, 32)
    loaded = load_with_report(tmp_path / "model", "classify", head=head)
    assert type(loaded.model.bert) is Back and loaded.report.new == loaded.report.notes == []
    assert torch.equal(predict(loaded.model, DEV.encodings), predict(model, DEV.encodings))
    encoder, _ = tezukuri.load(tmp_path / "model")
    assert torch.equal(encoder(pack(DEV.encodings)).hidden, model.bert(pack(DEV.encodings)).hidden)
    anew = load_with_report(tmp_path / "model", "classify", ("x", "y"), head=head, reset_head=True)
    assert anew.report.new == ["classifier.weight", "classifier.bias"]
    with pytest.raises(CheckpointError, match=r"is a classifier of a, b, c; for x, y it needs a new head"):
        load_with_report(tmp_path / "model", "classify", ("x", "y"), head=head)
    save(encoder, TOKENIZER, tmp_path / "encoder")
    again, _ = tezukuri.load(tmp_path / "encoder")
    assert torch.equal(again(pack(DEV.encodings)).hidden, encoder(pack(DEV.encodings)).hidden)


def test_a_head_of_ones_own_takes_the_name_of_its_head(tmp_path):
    save(Back(BackConfig()), TOKENIZER, tmp_path / "encoder")
    loaded = load_with_report(tmp_path / "encoder", "classify", LABELS, head=OfLast)
    assert [name.rsplit(".", 1)[0] for name in loaded.report.new[::2]] == ["classifier.dense", "classifier.output"]
    save(loaded.model, TOKENIZER, tmp_path / "model")
    assert "score.dense.weight" in load_file(tmp_path / "model" / "model.safetensors")
    again = load_with_report(tmp_path / "model", "classify", head=OfLast)
    assert torch.equal(*(predict(found.model, DEV.encodings) for found in (loaded, again)))


def test_it_cannot_be_asked_for_words(tmp_path):
    save(model_of(), TOKENIZER, tmp_path / "model")
    with pytest.raises(
        CheckpointError, match="this kind of encoder is not loaded for fill-mask: choose encode or classify"
    ):
        tezukuri.load(tmp_path / "model", "fill-mask")


def test_it_learns():
    rows = list(
        fine_tune(model_of(), TASK, corpus(240, 2), DEV, Settings(epochs=8, batch_size=8, lr=3e-3, precision="fp32"))
    )
    assert max(row["dev_accuracy"] for row in rows) > 0.8


@pytest.mark.parametrize(
    "names",
    [["layer-decay:decay=0.5"], ["gradual-unfreezing:until=0.5"], ["fgm"], ["layer-drop:p=0.5"], ["word-dropout"],
     ["mixout:p=0.5"], ["lora"], ["smart", "awp", "ema"], ["r-drop", "freelb", "child-tuning", "l2-sp"],
     ["multi-sample-dropout", "simcse"], ["supcon", "swa"], ["fresh-top"]],
    ids="+".join,
)  # fmt: skip
def test_regularizers_work_with_it(names):
    model = model_of()
    before = predict(model, DEV.encodings)
    rows = list(fine_tune(model, TASK, TRAIN, DEV, SETTINGS, regularizers=regularizers_of(names)))
    assert rows[-1]["train_loss"] < rows[1]["train_loss"] and not torch.equal(predict(model, DEV.encodings), before)
    assert not any("forward" in vars(module) or module._forward_hooks for module in model.modules())


def test_one_that_needs_a_pooler_says_so():
    with pytest.raises(
        ValueError, match="hidden-mixup mixes what a pooler gives of each text, which this model has not"
    ):
        list(fine_tune(model_of(), TASK, TRAIN, DEV, SETTINGS, regularizers=regularizers_of(["hidden-mixup"])))


def test_depths_are_those_of_its_layers():
    depths = model_of().depths()
    assert depths["bert.embeddings.word.weight"] == 3 and depths["bert.layers.0.up.weight"] == 2
    assert depths["bert.layers.1.up.weight"] == 1 and depths["bert.norm.weight"] == depths["classifier.bias"] == 0
