"""A trace shows what the model computes and what the tokenizer says; the tour shows a trace."""

import importlib.util
import math
import re
import shlex
import shutil
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest
import torch
from checkout import ROOT
from tiny_checkpoint import SIZES, TOKENIZER, checkpoint

import tezukuri
from tezukuri.eval import inside_lines
from tezukuri.eval.inside import load, tokenize, trace
from tezukuri.eval.plots import attention_map
from tezukuri.eval.predict import NotFiniteError
from tezukuri.model.model import MaskedLM
from tezukuri.model.packing import pack
from tezukuri.scripts import finetune, inside
from tezukuri.scripts.command import main as command
from tezukuri.tokenize.japanese import JapaneseTokenizer
from tezukuri.tokenize.settings import Settings
from tezukuri.weights.files import CheckpointError
from tezukuri.weights.load import Loaded, load_with_report
from tezukuri.weights.sentences import Vectors, write_vectors

LABELS = {0: "negative", 1: "positive", 2: "<b>\x1b[31m"}
TEXT = "駅から近くて[MASK]でした。"
HOSTILE = "ﾎﾃﾙ\x1b[31mは\x00\n<script>alert(1)</script>\u202e$\\frac$\ud800㍿[MASK]"
SHAPES = {"B": 1, "H": 32, "3H": 96, "N": 4, "D": 8, "F": 48, "C": 3, "V": SIZES["vocab_size"]}


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("checkpoints")
    checkpoint(root / "words", "BertForMaskedLM")
    checkpoint(root / "classes", "BertForSequenceClassification", id2label=LABELS)
    checkpoint(root / "encoder", "BertModel")
    return {path.name: path for path in root.iterdir()}


@pytest.fixture(scope="module", params=["words", "classes"])
def loaded(folders, request) -> Loaded:
    return load(str(folders[request.param]))


# --- what is computed -------------------------------------------------------------------------------------------


def test_the_values_are_those_that_the_model_gives_by_itself(loaded):
    traced = trace(loaded.model, loaded.tokenizer, TEXT)
    with torch.inference_mode():
        alone = loaded.model(pack([traced.encoding]), output_hidden_states=True, output_attentions=True)
    logits = traced.stages[-1].values
    assert traced.stages[-1].what == "logits" and torch.equal(logits, alone.logits)
    ends = [stage.values for stage in traced.stages if stage.what == "normalised: layer output"]
    starts = [stage.values for stage in traced.stages if stage.module == "bert.embeddings.norm"][1:]
    assert all(map(torch.equal, starts + ends, alone.hidden_states)) and len(ends) == 2
    shares = [stage.values for stage in traced.stages if stage.what == "attention probabilities"]
    assert all(map(torch.equal, shares, alone.attentions)) and len(shares) == 2
    assert torch.equal(traced.attention(2, 3), alone.attentions[1][0, 2])
    assert not any(module._forward_hooks for module in loaded.model.modules())


def test_the_stages_follow_from_each_other(loaded):
    traced = trace(loaded.model, loaded.tokenizer, TEXT)
    first = {stage.what: stage.values for stage in traced.stages if stage.group == "layer 1"}
    start = {stage.what: stage.values for stage in traced.stages if stage.group == "embeddings"}
    parts = [start[name] for name in ("word vector", "position vector", "segment vector")]
    torch.testing.assert_close(sum(parts), start["sum of the three"])
    torch.testing.assert_close(start["normalised"] + first["attention output"], first["added to the input"])
    scores = first["queries by head"] @ first["keys by head"].transpose(-2, -1) * 8**-0.5
    torch.testing.assert_close(scores.softmax(dim=-1), first["attention probabilities"])
    mixed = (first["attention probabilities"] @ first["values by head"])[0].transpose(0, 1).flatten(1)  # (S, H)
    torch.testing.assert_close(mixed, first["mixed values, all heads"])
    up = first["feed-forward, up"]
    torch.testing.assert_close(torch.nn.functional.gelu(up), first["after the activation"])


def test_shapes_are_those_of_the_letters_and_files_those_of_the_code(loaded):
    traced = trace(loaded.model, loaded.tokenizer, TEXT)
    sizes = SHAPES | {"T": len(traced.encoding), "S": len(traced.encoding)}
    for stage in traced.stages:
        assert tuple(stage.values.shape) == tuple(sizes[letter] for letter in stage.letters[1:-1].split(", ")), stage
    files = {(stage.group, stage.file) for stage in traced.stages}
    assert files - {(traced.stages[-1].group, "model/heads.py"), ("classifier", "model/bert.py")} == {
        ("embeddings", "model/bert.py"),
        *((f"layer {number}", f"model/{name}.py") for number in (1, 2) for name in ("attention", "bert")),
    }
    assert traced.stages[-1].file == "model/heads.py"


def test_words_and_tokens_are_those_of_the_tokenizer(loaded):
    special = isinstance(loaded.model, MaskedLM)
    for text in (TEXT, HOSTILE, "㍿ヿの部屋が 狭い[MASK][MASK]", "", "[SEP]"):
        traced = trace(loaded.model, loaded.tokenizer, text)
        assert traced.encoding == loaded.tokenizer.encode(text, special_tokens=special)
        assert [p for word in traced.words for p in word.pieces] == traced.encoding.tokens[1:-1]
        assert all(0 <= word.span[0] < word.span[1] <= len(text) for word in traced.words)


def test_words_have_their_part_of_speech(loaded):
    traced = trace(loaded.model, loaded.tokenizer, "ﾎﾃﾙは狭い。")
    assert traced.normalised == "ホテルは狭い。"
    assert [(word.text, word.span, word.part_of_speech) for word in traced.words] == [
        ("ホテル", (0, 3), "名詞-普通名詞-一般"),
        ("は", (3, 4), "助詞-係助詞"),
        ("狭い", (4, 6), "形容詞-一般"),
        ("。", (6, 7), "補助記号-句点"),
    ]


@pytest.mark.parametrize(
    "settings",
    [
        Settings(word_tokenizer_type="basic"),
        Settings(do_word_tokenize=False),
        Settings(tokenizer_class="BertTokenizer", word_tokenizer_type="basic", do_lower_case=True),
        Settings(mecab_dic="ipadic", do_lower_case=True),
    ],
    ids=["basic", "whole", "english", "ipadic"],
)
def test_every_kind_of_tokenizer_can_be_traced(folders, settings):
    model = load(str(folders["words"])).model
    tokenizer = JapaneseTokenizer(TOKENIZER.vocabulary, settings)
    for text in ("Ａé 駅から。[MASK]です", ""):
        traced = trace(model, tokenizer, text)
        assert [p for word in traced.words for p in word.pieces] == traced.encoding.tokens[1:-1]
        assert any(word.part_of_speech for word in traced.words) == (settings.mecab_dic == "ipadic" and bool(text))


def test_a_text_longer_than_the_model_is_cut_and_said_to_be(folders, capsys):
    assert command(["inside", "駅から近い。" * 40, "--model", str(folders["words"])]) == 0
    printed = capsys.readouterr().out
    assert "(the text was cut to 64 tokens)" in printed
    assert "(64 tokens are too many for a table: --picture FILE.svg draws it)" in printed


# --- pairs -----------------------------------------------------------------------------------------------------


def test_a_pair_is_traced_as_the_model_reads_it(loaded):
    traced = trace(loaded.model, loaded.tokenizer, "駅から近い。", pair="㍿の部屋")
    encoding = loaded.tokenizer.encode("駅から近い。", "㍿の部屋")
    with torch.inference_mode():
        assert torch.equal(
            traced.output.logits,
            loaded.model(pack([encoding]), output_hidden_states=True, output_attentions=True).logits,
        )
    assert traced.encoding == encoding and {0, 1} == set(encoding.type_ids)
    assert [origin is None for origin in traced.tokens.origins] == [
        token in ("[CLS]", "[SEP]") for token in encoding.tokens
    ]
    lines = inside_lines.token_lines(traced.tokens)
    assert lines[0].split() == ["id", "token", "type", "place", "text", "word"]
    rows = [line.split() for line in lines[1 : len(encoding) + 1]]
    second = rows[encoding.type_ids.index(1)]
    assert second[3:6] == ["1", "0–1", "㍿"] and [row[3] for row in rows] == [str(i) for i in encoding.type_ids]
    assert lines[-1].startswith("(places") and "one segment" not in "".join(lines)


@pytest.mark.parametrize("truncation", ["longest_first", "only_first", "only_second", "head_tail"])
def test_a_token_of_a_cut_pair_has_the_word_that_it_is_of(truncation):
    how = {"max_length": 13, "truncation": truncation}
    found = tokenize(TOKENIZER, "駅から近くて便利でした。", "部屋が狭くて最悪でした。", how)
    assert found.encoding == TOKENIZER.encode("駅から近くて便利でした。", "部屋が狭くて最悪でした。", **how)
    for origin, place in zip(found.origins, found.encoding.offsets, strict=True):
        if origin:
            start, end = found.texts[origin[0]].words[origin[1]].span
            assert start <= place[0] < place[1] <= end


def test_the_tokens_of_a_pair_without_segments_need_no_head(tmp_path, capsys):
    TOKENIZER.save(one_segment := tmp_path)
    (one_segment / "config.json").write_text('{"type_vocab_size": 1}')
    assert command(["inside", "犬が走る。", "--pair", "動物だ。", "--model", "small", "--tokens"]) == 0
    printed = capsys.readouterr().out
    assert "(one segment: " in printed and "words of the second text" in printed and "answers" not in printed
    assert re.search(r"^  \d+ +2 +</s> +0 +0–0\n  \d+ +2 +</s> ", printed, re.MULTILINE)
    assert command(["inside", "犬", "--pair", "猫", "--model", str(one_segment), "--tokens"]) == 0
    assert "(one segment: " in capsys.readouterr().out
    assert command(["inside", "犬", "--tokens", "--picture", "x.svg"]) == 1
    assert "there is none" in capsys.readouterr().err


def test_a_score_has_no_probability(tmp_path):
    checkpoint(tmp_path, "BertForSequenceClassification", id2label={0: "score"}, problem_type="regression")
    loaded = load(str(tmp_path))
    (answer,) = trace(loaded.model, loaded.tokenizer, "駅から近い。", pair="狭い。").answers
    (choice,) = answer.choices
    assert choice.probability is None and choice.name == "score"


# --- answers ----------------------------------------------------------------------------------------------------


def test_a_masked_language_model_answers_at_every_mask_or_at_every_token(folders):
    model, tokenizer = (loaded := load(str(folders["words"]))).model, loaded.tokenizer
    traced = trace(model, tokenizer, "[MASK]から[MASK]。")
    assert [answer.token for answer in traced.answers] == [1, 3] and traced.token == 1
    for answer in traced.answers:
        probabilities = traced.output.logits[answer.token].softmax(dim=-1)
        best = probabilities.argsort(descending=True)[:5].tolist()
        assert [choice.name for choice in answer.choices] == [tokenizer.vocabulary[i] for i in best]
        assert [c.probability for c in answer.choices] == pytest.approx(probabilities[best].tolist())
        assert [c.logit for c in answer.choices] == traced.output.logits[answer.token, best].tolist()
    assert [answer.token for answer in trace(model, tokenizer, "駅から。").answers] == [1, 2, 3]
    assert trace(model, tokenizer, "").answers == []


def test_a_classifier_answers_with_all_classes_and_reads_no_special_token(folders):
    loaded = load(str(folders["classes"]))
    traced = trace(loaded.model, loaded.tokenizer, TEXT)
    (answer,) = traced.answers
    assert answer.token == 0 and [choice.name for choice in answer.choices] == list(LABELS.values())
    probabilities = [choice.probability for choice in answer.choices]
    assert sum(probabilities) == pytest.approx(1)
    assert probabilities == pytest.approx(traced.output.logits[0].softmax(dim=-1).tolist())
    assert "[MASK]" not in traced.encoding.tokens and "[MASK]" not in [word.text for word in traced.words]


def test_a_head_that_reads_the_mean_is_shown_the_mean(folders):
    """Not the first token, from which nothing comes here."""
    loaded = load_with_report(folders["encoder"], "classify", ("bad", "good"), pooling="mean")
    traced = trace(loaded.model, loaded.tokenizer, TEXT)
    told, logits = [stage for stage in traced.stages if stage.group == "classifier"]
    assert (told.what, logits.what) == ("mean of all tokens", "logits")
    torch.testing.assert_close(told.values, traced.output.hidden.mean(dim=0, keepdim=True))
    assert next(inside_lines.answer_lines(traced, traced.answers)) == "from the mean of all tokens"


def test_a_broken_model_is_told_and_its_hooks_are_gone(folders):
    loaded = load(str(folders["words"]))
    with torch.no_grad():
        loaded.model.head.bias[3] = torch.nan
    with pytest.raises(NotFiniteError, match="its weights are broken"):
        trace(loaded.model, loaded.tokenizer, TEXT)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in loaded.model.modules())


def test_a_checkpoint_without_a_head_is_an_error(folders):
    with pytest.raises(CheckpointError, match="has no head for masked words"):
        load(str(folders["encoder"]))


def test_an_encoder_ends_with_its_vector_and_reads_no_pair(folders, tmp_path, capsys):
    folder = shutil.copytree(folders["encoder"], tmp_path / "vectors")
    write_vectors(folder, Vectors("last", prompts={"query": "問い: "}))
    loaded = load(str(folder))
    *_, last = trace(loaded.model, loaded.tokenizer, TEXT, how={"max_length": 20}).stages
    pooled = last.values / last.values.norm()
    expected = tezukuri.Encoder.load(folder, precision="fp32", max_length=20).encode([TEXT], prompt="")
    torch.testing.assert_close(pooled, torch.from_numpy(expected), rtol=1e-4, atol=1e-5)
    assert command(["inside", TEXT, "--model", str(folder)]) == 0
    printed = capsys.readouterr().out
    assert "answers" not in printed and "  C = " not in printed
    for told, message in (
        (["inside", TEXT, "--pair", TEXT], "reads each text by itself: leave the pair out"),
        (["probe"], "is an encoder of sentence vectors (for tezukuri embed and search), and no classifier"),
        (["predict", TEXT], "is an encoder of sentence vectors"),
    ):
        assert command([*told, "--model", str(folder)]) == 1
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["MultipleChoice", "TokenClassification", "QuestionAnswering"])
def test_a_model_of_a_task_that_is_not_shown_is_told_so(tmp_path, kind):
    (tmp_path / "config.json").write_text(f'{{"model_type": "bert", "architectures": ["BertFor{kind}"]}}')
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=rf"is for another task \({kind}\), and shown are classifiers"):
        load(str(tmp_path))


# --- the script -------------------------------------------------------------------------------------------------


def test_the_script_prints_every_step(folders, capsys):
    assert (
        command(["inside", "ﾎﾃﾙは[MASK]です。", "--model", str(folders["words"]), "--layer", "2", "--head", "4"]) == 0
    )
    printed = capsys.readouterr().out
    headings = [line.split(",")[0].split(":")[0] for line in printed.splitlines() if line and line[0] != " "]
    assert [heading.split(" ")[0] for heading in headings] == [
        "model", "text", "words", "tokens", "stages", "attention", "answers",
    ]  # fmt: skip
    for expected in ("normalised  ホテルは", "名詞-普通名詞-一般", "layer 2", "(T, 3H) = (", "model/attention.py"):
        assert expected in printed, expected
    assert "attention of layer 2, head 4" in printed and "B = 1  T = " in printed
    assert f"N = 4  D = 8  F = 48  V = {SIZES['vocab_size']}  L = 2" in printed


def test_the_columns_of_a_table_stand_below_each_other():
    lines = inside_lines.table([("駅", "a"), ("ﾎﾃﾙ", "b"), ("か\u3099", "c"), ("\x1b", "d")])
    assert lines == ["駅   a", "ﾎﾃﾙ  b", "か\u3099   c", "     d"]


def test_hostile_text_reaches_neither_terminal_nor_picture(folders, tmp_path, capsys):
    for kind in ("words", "classes"):
        target = tmp_path / f"{kind}.svg"
        assert command(["inside", HOSTILE, "--model", str(folders[kind]), "--picture", str(target)]) == 0
        printed = capsys.readouterr().out
        assert all(character == "\n" or character.isprintable() for character in printed)
        assert "<script>alert(1)</script>" in printed  # words like any others
        ElementTree.fromstring(target.read_text(encoding="utf-8"))
        assert "<script" not in target.read_text(encoding="utf-8")


def test_a_picture_needs_no_japanese_font_and_markup_in_it_is_text(folders, tmp_path, caplog):
    assert command(["inside", TEXT, "--model", str(folders["words"]), "--picture", str(tmp_path / "a.svg")]) == 0
    tree = ElementTree.fromstring((tmp_path / "a.svg").read_text(encoding="utf-8"))
    texts = ["".join(element.itertext()) for element in tree.iter("{http://www.w3.org/2000/svg}text")]
    assert texts.count("1 駅") == 2 and texts.count("5 [MASK]") == 2 and "attention of layer 1, head 1" in texts
    drawn = attention_map(torch.eye(2), ["<script>", "$\\frac$"], "<b>", "svg").decode()
    assert "<script" not in drawn and "&lt;script&gt;" in drawn and "$\\frac$" in drawn and not caplog.records
    assert drawn == attention_map(torch.eye(2), ["<script>", "$\\frac$"], "<b>", "svg").decode()
    assert command(["inside", TEXT, "--model", str(folders["words"]), "--picture", str(tmp_path / "a.png")]) == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--layer", "3"], "there is no layer 3: this model has layers 1 to 2"),
        (["--head", "5"], "there is no head 5: this model has heads 1 to 4"),
        (["--model", "./nothing"], "there is no folder ./nothing; check the path"),
    ],
)
def test_an_error_is_one_sentence_and_nothing_is_printed_before_it(folders, arguments, message, capsys):
    assert command(["inside", TEXT, "--model", str(folders["words"]), *arguments]) == 1
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err == f"inside: error: {message}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--layer", "0"], "argument --layer: invalid positive value: '0'"),
        (["--picture", "a.gif"], "'a.gif' must end in .png or .svg"),
        (["--picture", "nowhere/a.png"], "there is no folder 'nowhere'"),
        ([TEXT], "unrecognized arguments"),
    ],
)
def test_arguments_that_cannot_be_are_refused_at_once(arguments, message, capsys):
    with pytest.raises(SystemExit):
        command(["inside", TEXT, *arguments])
    assert message in capsys.readouterr().err


def test_the_flags_are_these():
    options = {name for action in inside.parser()._actions for name in action.option_strings}
    expected = {"--model", "--revision", "--layer", "--head", "--picture", "--pair", "--tokens"}
    assert options == {"-h", "--help"} | expected
    assert inside.parser().parse_args([TEXT]).model == "mini"


# --- the tour ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tour() -> ModuleType:
    """docs/write_tour.py, which is no module of the package."""
    spec = importlib.util.spec_from_file_location("write_tour", ROOT / "docs" / "write_tour.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def blocks(tour) -> dict[str, list[str]]:
    """What mini computes for the tour."""
    return tour.values(load("mini"))


def test_the_tour_shows_what_mini_computes(tour, blocks):
    text = tour.TOUR.read_text(encoding="utf-8")
    assert tour.differences(text, tour.rewrite(text, blocks)) == []
    assert f"> {tour.SENTENCE}" in text and f'tezukuri inside "{tour.SENTENCE}"' in text


def test_every_word_that_mini_guesses_has_its_meaning_beside_it(blocks):
    guess = r"\S+ \([a-z, ]+\)"
    for line in blocks["depth"]:
        assert re.fullmatch(rf"(embeddings only|after layer \d)( +0\.\d{{3}} {guess}){{3}}", line), line
    for line in (*blocks["answers"][2:], *blocks["loss"][1:]):
        assert re.match(rf"{guess} +\d", line), line
    assert len(blocks["answers"]) == 2 + 5 and len(blocks["loss"]) == 1 + 5


def test_the_loss_of_the_tour_is_the_negative_logarithm_of_the_probability(blocks):
    for line in blocks["loss"][1:]:
        probability, loss = map(float, line.split()[-2:])
        assert loss == pytest.approx(-math.log(probability), abs=0.02 + 0.0005 / probability)  # p has three digits


def test_another_models_values_are_found_and_the_prose_stays(tour, folders):
    text = tour.TOUR.read_text(encoding="utf-8")
    written = tour.rewrite(text, others := tour.values(load(str(folders["words"]))))
    assert tour.differences(text, written)
    assert tour.BLOCK.sub("", written) == tour.BLOCK.sub("", text)
    assert tour.rewrite(written, others) == written


def test_a_changed_number_word_or_line_is_found(tour):
    text = tour.TOUR.read_text(encoding="utf-8")
    numbers = list(re.finditer(r"-?\d+\.\d\d", text))
    assert len(numbers) > 200
    for number in (numbers[0], numbers[100], numbers[-1]):
        for change, found in ((0.01, 0), (-0.01, 0), (0.03, 1), (-0.03, 1)):
            changed = text[: number.start()] + f"{float(number[0]) + change:.2f}" + text[number.end() :]
            assert len(tour.differences(text, changed)) == found
    assert len(tour.differences(text, text.replace("助詞-係助詞", "助詞-格助詞"))) == 1
    assert len(tour.differences(text, text.replace("T = 11", "T = 12"))) == 1
    assert tour.differences(text, text + "more\n") and not tour.differences("a  -0.00 b", "a 0.00  b")


@pytest.mark.parametrize("change", [("values: words", "values: world"), ("<!-- values: text -->\n", "")])
def test_a_block_that_is_unknown_or_lost_is_an_error(tour, change):
    text = tour.TOUR.read_text(encoding="utf-8").replace(*change)
    blocks = {name: [] for name in re.findall(r"<!-- values: (\w+)", tour.TOUR.read_text(encoding="utf-8"))}
    with pytest.raises(ValueError, match=r"blocks are not those that are written: (text|words, world)$"):
        tour.rewrite(text, blocks)


def test_the_links_and_commands_of_the_tour_are_right(tour):
    text = tour.TOUR.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert len(links) > 12
    assert [link for link in links if not (tour.TOUR.parent / link).is_file()] == []
    for name, path in re.findall(r"\[([\w/]+\.py)\]\(\.\./([^)]+)\)", text):
        assert name == path
    commands = re.findall(r"^tezukuri (\w+) (.*)$", text, re.MULTILINE)
    commands += re.findall(r"`tezukuri (\w+) ([^`]*)`", text)
    assert len(commands) >= 4
    for script, arguments in commands:
        {"finetune": finetune, "inside": inside}[script].parser().parse_args(shlex.split(arguments))
