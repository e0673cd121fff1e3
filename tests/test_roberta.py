"""RoBERTa, XLM-R, CamemBERT and LUKE's text part from files of the reference to a trained model and back.

Parity of their arithmetic is in test_model_parity.py.
"""

import json
import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from test_model_parity import encoder, padded
from test_toy_head import TwoLayers
from tiny import LABELS, TASK
from tiny_checkpoint import SIZES, TEXTS
from tiny_checkpoint import TOKENIZER as OF_BERT

import tezukuri
from tezukuri.eval.inside import trace
from tezukuri.eval.look.survey import room_of
from tezukuri.eval.predict import how_to_cut, predict
from tezukuri.model.model import MaskedLM, Model, most_tokens
from tezukuri.model.packing import pack
from tezukuri.model.roberta import RobertaConfig
from tezukuri.tokenize.japanese import JapaneseTokenizer
from tezukuri.train.batch import Texts
from tezukuri.train.loop import fine_tune
from tezukuri.train.regularizers.shelf import regularizers_of
from tezukuri.train.seen_words import SeenWords, only_seen_words
from tezukuri.train.settings import Settings
from tezukuri.weights.architectures import ARCHITECTURES, read_config
from tezukuri.weights.files import CheckpointError, Files
from tezukuri.weights.load import load_with_report
from tezukuri.weights.names import ROBERTA
from tezukuri.weights.save import save

UNK, PAD = sorted(OF_BERT.vocabulary[:2], reverse=True)
TOKENIZER = JapaneseTokenizer([UNK, PAD, *OF_BERT.vocabulary[2:]])  # padding's id is 1, as in all RoBERTas
ENCODINGS = [TOKENIZER.encode_batch([text])[0] for text in TEXTS]
KINDS = pytest.mark.parametrize("kind", [kind for kind in ARCHITECTURES if kind != "bert"])
USES = {"encode": "AutoModel", "classify": "AutoModelForSequenceClassification", "fill-mask": "AutoModelForMaskedLM"}
AB = ("a", "b")


def checkpoint(folder, name, **changes) -> torch.nn.Module:
    """Save a random model of the reference's class `name` with our tokenizer; returns it."""
    torch.manual_seed(0)
    theirs = getattr(transformers, name)
    sizes = SIZES | ({"entity_vocab_size": 5, "entity_emb_size": 8} if name.startswith("Luke") else {})
    model = theirs(theirs.config_class(**sizes | {"type_vocab_size": 1} | changes, attn_implementation="eager")).eval()
    with torch.no_grad():
        if "MaskedLM" in name:  # which the reference does not tie for LUKE
            model.get_output_embeddings().weight.copy_(model.get_input_embeddings().weight)
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    TOKENIZER.save(folder)
    return model


def agrees(ours, theirs, encodings=ENCODINGS) -> None:
    rows = padded(encodings, TOKENIZER.pad_id)
    real = rows["attention_mask"].bool()
    with torch.no_grad():
        mine, their = ours(pack(encodings), output_hidden_states=True), theirs(**rows, output_hidden_states=True)
    torch.testing.assert_close(mine.hidden, their.hidden_states[-1][real], rtol=1e-5, atol=1e-5)
    if "logits" in their:
        expected = their.logits[real] if their.logits.ndim == 3 else their.logits
        torch.testing.assert_close(mine.logits, expected, rtol=1e-5, atol=2e-5)
    if their.get("pooler_output") is not None:
        torch.testing.assert_close(mine.pooled, their.pooler_output, rtol=1e-5, atol=1e-5)


def edit(folder, change) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def settings(folder, **changes) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


# --- files both ways --------------------------------------------------------------------------------------------


@KINDS
@pytest.mark.parametrize("use", USES)
def test_a_file_of_the_reference_is_read_and_ours_is_read_by_it(tmp_path, kind, use):
    theirs = checkpoint(tmp_path / "in", ARCHITECTURES[kind].classes[use])
    loaded = load_with_report(tmp_path / "in", use)
    assert loaded.report.new == [] and [note for note in loaded.report.notes if "segment" not in note] == []
    agrees(loaded.model, theirs)
    save(loaded.model, loaded.tokenizer, tmp_path / "out")
    again, info = getattr(transformers, USES[use]).from_pretrained(tmp_path / "out", output_loading_info=True)
    agrees(loaded.model, again.eval())
    assert type(again) is type(theirs) and not info["unexpected_keys"]
    assert all("entity" in name or "entities" in name for name in info["missing_keys"])
    ours, _ = tezukuri.load(tmp_path / "out", use)
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), loaded.model.parameters(), strict=True))
    assert json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())["model_max_length"] == 62


@KINDS
@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("of", USES)
def test_the_encoder_of_any_file_serves_any_use(tmp_path, kind, of, use):
    theirs = checkpoint(tmp_path, ARCHITECTURES[kind].classes[of])
    loaded = load_with_report(tmp_path, use, AB if use == "classify" else None, reset_head=use != "encode")
    theirs = getattr(theirs, theirs.base_model_prefix, theirs)
    ours = loaded.model if use == "encode" else loaded.model.bert
    if use == "encode":
        assert (ours.pooler is None) == (theirs.pooler is None)
    theirs.pooler = None
    agrees(ours, theirs)


def test_a_new_classifier_of_roberta_is_new_as_a_whole(tmp_path):
    checkpoint(tmp_path, "XLMRobertaModel")
    report = load_with_report(tmp_path, "classify", LABELS).report
    parts = [f"{part}.{leaf}" for part in ("bert.pooler.dense", "classifier") for leaf in ("weight", "bias")]
    assert report.new == parts
    assert report.left_out["roberta.pooler.dense.weight"] == "a head that this task does not use"
    checkpoint(tmp_path, "XLMRobertaForSequenceClassification")
    report = load_with_report(tmp_path, "classify", LABELS, reset_head=True).report
    assert report.new == parts and report.left_out["classifier.dense.weight"] == "its head was reset"


def test_the_entities_of_luke_are_left_aside_and_that_is_told(tmp_path):
    checkpoint(tmp_path, "LukeForMaskedLM")
    report = load_with_report(tmp_path, "fill-mask").report
    left = [name for name, why in report.left_out.items() if why == "of LUKE's entities: text alone is read here"]
    assert len(left) == 6 + 2 * 6 + 5 and "luke.encoder.layer.1.attention.self.e2w_query.bias" in left
    assert "(of LUKE's entities: text alone is read here)" in str(report)


@pytest.mark.parametrize("name", ["RobertaForTokenClassification", "LukeForEntityClassification"])
def test_a_head_for_something_else_is_not_taken_for_one_for_sentences(tmp_path, name):
    checkpoint(tmp_path, name)
    with pytest.raises(CheckpointError, match="has no classifier for sentences: fine-tune it first"):
        load_with_report(tmp_path, "classify")
    report = load_with_report(tmp_path, "classify", AB).report
    assert report.left_out["classifier.weight"] == f"the head of a {name}" and "classifier.weight" in report.new


def test_a_head_of_ones_own_does_not_meet_robertas(tmp_path):
    model = Model(encoder("roberta", vocab_size=SIZES["vocab_size"]), LABELS, TwoLayers).eval()
    save(model, TOKENIZER, tmp_path / "model")
    tensors = load_file(tmp_path / "model" / "model.safetensors")
    assert {"classifier.dense.weight", "classifier.out_proj.dense.weight"} < tensors.keys()
    again = load_with_report(tmp_path / "model", "classify", head=TwoLayers)
    assert again.report.new == [] and torch.equal(again.model(pack(ENCODINGS)).logits, model(pack(ENCODINGS)).logits)
    with pytest.raises(CheckpointError, match=r"lacks the tensor classifier\.out_proj\.weight"):
        load_with_report(tmp_path / "model", "classify", LABELS)


def test_classes_beside_the_masked_words_leave_the_classifier_to_fine_tuning(tmp_path):
    model = MaskedLM(encoder("roberta", vocab_size=SIZES["vocab_size"]), AB)
    save(model, TOKENIZER, tmp_path / "model")
    assert load_with_report(tmp_path / "model", "fill-mask", AB).report.new == []
    report = load_with_report(tmp_path / "model", "classify", AB).report
    assert {name.rpartition(".")[0] for name in report.new} == {"bert.pooler.dense", "classifier"}


# --- odd files --------------------------------------------------------------------------------------------------


def test_buffers_and_tied_decoders_are_left_out(tmp_path):
    theirs = checkpoint(tmp_path, "RobertaForMaskedLM")

    def age(tensors):
        tensors["roberta.embeddings.position_ids"] = torch.arange(64)[None]
        tensors["lm_head.decoder.weight"] = tensors["roberta.embeddings.word_embeddings.weight"].clone()
        tensors["lm_head.decoder.bias"] = tensors["lm_head.bias"].clone()

    edit(tmp_path, age)
    loaded = load_with_report(tmp_path, "fill-mask")
    agrees(loaded.model, theirs)
    assert loaded.report.left_out["lm_head.decoder.weight"] == "tied to the word embeddings"
    edit(tmp_path, lambda tensors: tensors["lm_head.decoder.weight"].add_(1))
    with pytest.raises(CheckpointError, match=r"lm_head\.decoder\.weight differs from roberta\.embeddings\.word"):
        load_with_report(tmp_path, "fill-mask")


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("roberta.encoder.layer.1.attention.self.key.weight", None, "lacks the tensor NAME"),
        ("classifier.dense.bias", None, "lacks the tensor NAME"),
        ("classifier.out_proj.bias", None, "lacks the tensor NAME"),
        ("classifier.dense.weight", (32, 31), "tensor NAME is (32, 31), but config.json makes it (32, 32)"),
        ("roberta.embeddings.token_type_embeddings.weight", (2, 32), "config.json has type_vocab_size 1"),
        ("roberta.embeddings.position_embeddings.weight", (62, 32), "config.json has max_position_embeddings 64"),
        ("roberta.encoder.layer.0.attention.self.w2e_query.weight", (32, 32), "no place for the tensor NAME"),
        ("adapter.weight", (1,), "no place for the tensor NAME in this BERT"),
    ],
)
def test_a_tensor_that_does_not_fit_is_named(tmp_path, name, shape, message):
    checkpoint(tmp_path, "RobertaForSequenceClassification")
    edit(tmp_path, lambda tensors: tensors.update({name: torch.zeros(shape)}) if shape else tensors.pop(name))
    with pytest.raises(CheckpointError, match=re.escape(message.replace("NAME", name))):
        load_with_report(tmp_path, "classify")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pad_token_id": None}, "pad_token_id is None; it must be a number, as positions begin after it"),
        ({"pad_token_id": "1"}, "pad_token_id is '1'"),
        ({"pad_token_id": 63}, "positions begin at 64, and max_position_embeddings is 64: no token has room"),
        ({"first_position": -2}, "positions begin at -2"),
        ({"model_type": "xlm"}, 'model_type is "xlm"; this BERT has only "bert" or "roberta" or "xlm-roberta" or'),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type is"),
    ],
)
def test_a_setting_that_cannot_be_is_named(tmp_path, changes, said):
    checkpoint(tmp_path, "RobertaModel")
    settings(tmp_path, **changes)
    with pytest.raises(ValueError, match=re.escape(said)):
        load_with_report(tmp_path)


def test_both_texts_of_a_pair_are_in_the_only_segment(tmp_path):
    for segments, second in ((1, 0), (2, 1)):
        checkpoint(tmp_path, "RobertaModel", type_vocab_size=segments)
        loaded = load_with_report(tmp_path)
        told = "the model has one segment: both texts of a pair are in it"
        assert (told in loaded.report.notes) == (segments == 1)
        pair = loaded.tokenizer.encode(*TEXTS[:2])
        assert max(pair.type_ids) == second and loaded.model(pack([pair])).hidden.isfinite().all()


# --- positions --------------------------------------------------------------------------------------------------


def test_of_514_positions_512_are_for_tokens():
    _, config, _ = read_config({"model_type": "roberta", "max_position_embeddings": 514, "type_vocab_size": 1})
    assert most_tokens(SimpleNamespace(config=config)) == 512 and config.layer_norm_eps == 1e-12
    assert most_tokens(SimpleNamespace(config=replace(config, first_position=0))) == 514


def test_the_longest_text_fits_and_one_token_more_is_one_sentence(tmp_path):
    theirs = checkpoint(tmp_path, "RobertaForSequenceClassification")
    model, tokenizer = tezukuri.load(tmp_path, "classify")
    assert how_to_cut(model, {}) == ({"max_length": 62, "truncation": "longest_first"}, [])
    assert "more than the model can read: 62 tokens" in how_to_cut(model, {}, 64)[1][0]
    long = "駅から近くて便利でした。" * 20
    longest = tokenizer.encode_batch([long], max_length=62)[0]
    assert len(longest.ids) == 62
    agrees(model, theirs, [longest])
    with pytest.raises(ValueError, match="63 tokens, but the model has learned only 62 positions; encode with max_len"):
        model(pack([tokenizer.encode(long, max_length=63)]))
    assert len(trace(model, tokenizer, long).encoding) == 62
    assert tezukuri.Classifier.load(tmp_path)(long).tokens > 62


def test_rinnas_positions_begin_at_0(tmp_path, tmp_path_factory, monkeypatch):
    name = "rinna/japanese-roberta-base"
    theirs = checkpoint(tmp_path, "RobertaForMaskedLM", pad_token_id=3)
    files = Files(name, tmp_path, [tmp_path / "model.safetensors"])
    monkeypatch.setattr("tezukuri.weights.load.find", lambda *_: files)
    loaded = load_with_report(name, "fill-mask")
    assert f"positions begin at 0, as the page of {name} asks" in loaded.report.notes
    ids = torch.from_numpy(ENCODINGS[0].ids)[None]
    expected = theirs(input_ids=ids, position_ids=torch.arange(ids.shape[1])[None]).logits[0]
    torch.testing.assert_close(loaded.model(pack(ENCODINGS[:1])).logits, expected, rtol=1e-5, atol=2e-5)
    monkeypatch.undo()
    assert [room_of(tmp_path, TOKENIZER, model) for model in (name, str(tmp_path))] == [64, 60]
    for copy, first in (("japanese-roberta-base", 0), ("other", 4)):
        folder = shutil.copytree(tmp_path, tmp_path_factory.mktemp("copies") / copy)
        assert load_with_report(folder, "fill-mask").model.config.first_position == first
        assert room_of(folder, TOKENIZER) == 64 - first
    save(loaded.model, TOKENIZER, tmp_path / "saved")
    again = load_with_report(tmp_path / "saved", "fill-mask")
    assert again.model.config.first_position == 0 and most_tokens(again.model) == 64


def test_nothing_depends_on_what_fills_a_batch_up():
    model = Model(encoder("roberta", vocab_size=SIZES["vocab_size"]), LABELS).eval()
    found = []
    for filling in (0, 1, 9):
        packed = pack(ENCODINGS, multiple=64)
        assert packed.fillers and not packed.ids[packed.boundaries[len(packed)] :].any()
        packed.ids[packed.boundaries[len(packed)] :] = filling
        model.zero_grad()
        logits = model(packed).logits
        logits.square().sum().backward()
        found.append([logits, *(p.grad for p in model.parameters() if p.grad is not None)])
    assert all(torch.equal(*pair) for other in found[1:] for pair in zip(found[0], other, strict=True))


# --- training ---------------------------------------------------------------------------------------------------

TRAIN = [(f"{what}でした。" * n, label) for n in (1, 2, 3, 5) for what, label in (("便利", "good"), ("最悪", "bad"))]


@KINDS
def test_it_is_fine_tuned_saved_and_used(tmp_path, kind, capsys):
    checkpoint(tmp_path / "model", ARCHITECTURES[kind].classes["fill-mask"], initializer_range=0.05)
    texts, labels = zip(*TRAIN * 4, strict=True)
    run = tezukuri.finetune(
        texts=texts, labels=labels, model=str(tmp_path / "model"), epochs=6, lr=1e-2, batch_size=4, precision="fp32",
        regularizer=["none"], report=False, output_dir=tmp_path / "runs", max_length=500,
    )  # fmt: skip
    assert "max_length 500 is more than the model can read: 62 tokens" in capsys.readouterr().out
    assert run.log[-1]["train_loss"] < run.log[1]["train_loss"]
    saved = run.folder / "model"
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(saved).eval()
    agrees(tezukuri.load(saved, "classify")[0], theirs)
    assert tezukuri.Classifier.load(saved)("便利でした。").label == "good"


@pytest.mark.parametrize(
    "names",
    [["layer-decay:decay=0.5", "gradual-unfreezing:until=0.5"], ["lora"], ["hidden-mixup"], ["fgm", "r-drop", "ema"],
     ["mixout:p=0.5"], ["word-dropout", "multi-sample-dropout"], ["fresh-top", "layer-drop:p=0.5"]],
    ids="+".join,
)  # fmt: skip
@pytest.mark.parametrize("kind", ["roberta", "luke"])
def test_regularizers_work_with_it(kind, names):
    model = Model(encoder(kind), LABELS)
    texts = [SimpleNamespace(ids=np.arange(2, 2 + n), type_ids=np.zeros(n, dtype=int)) for n in range(3, 19)]
    corpus = Texts(texts, np.eye(3, dtype=np.float32)[[len(text.ids) % 3 for text in texts]])
    before = predict(model, texts)
    chosen = Settings(epochs=1, batch_size=8, lr=1e-3, precision="fp32", select="last")
    rows = list(fine_tune(model, TASK, corpus, corpus, chosen, regularizers=regularizers_of(names)))
    assert np.isfinite(rows[-1]["train_loss"]) and not torch.equal(predict(model, texts), before)
    assert not any("forward" in vars(module) or module._forward_hooks for module in model.modules())


def test_only_seen_words_are_trained_and_depths_are_those_of_bert():
    model = Model(encoder("roberta", vocab_size=SIZES["vocab_size"]), LABELS)
    with only_seen_words(model.bert, ENCODINGS):
        assert isinstance(model.bert.embeddings.word, SeenWords)
        assert model(pack(ENCODINGS)).logits.isfinite().all()
    depths = model.depths()
    assert depths["bert.embeddings.position.weight"] == 3 and depths["bert.layers.1.up.weight"] == 1
    assert depths["bert.pooler.dense.weight"] == depths["classifier.weight"] == 0


def test_its_inside_is_shown():
    for model in (Model(encoder("roberta", vocab_size=SIZES["vocab_size"]), LABELS), MaskedLM(encoder("luke"))):
        seen = trace(model.eval(), TOKENIZER, TEXTS[0])
        torch.testing.assert_close(seen.attention(2, 1).sum(-1), torch.ones(len(seen.encoding)))
        files = {stage.what: stage.file for stage in seen.stages}
        assert files.get("tanh: pooled") == ("model/roberta.py" if isinstance(model, Model) else None)


def test_a_table_of_bert_under_other_names():
    assert ROBERTA.on_hub("bert.pooler.dense.bias") == ["roberta.pooler.dense.bias"]
    assert ROBERTA.of("classify").on_hub("bert.pooler.dense.bias") == ["classifier.dense.bias"]
    assert ROBERTA.on_hub("head.norm.weight") == ["lm_head.layer_norm.weight"]
    assert ROBERTA.canonical("encoder.layer.0.output.LayerNorm.gamma") == (
        "roberta.encoder.layer.0.output.LayerNorm.weight"
    )
    assert RobertaConfig().first_position == 2 and RobertaConfig(pad_token_id=0).first_position == 1
