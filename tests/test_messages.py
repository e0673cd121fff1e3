"""What messages advise can be done: each option that one names is known to the commands that can print it."""

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from checkout import ROOT, modules
from tiny_checkpoint import SIZES, TOKENIZER

from tezukuri.eval.neutral import shared_labels
from tezukuri.model.bert import Bert, BertConfig
from tezukuri.model.model import Model
from tezukuri.scripts.command import SCRIPTS
from tezukuri.scripts.command import main as command
from tezukuri.weights.load import load_with_report
from tezukuri.weights.save import save

OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
# How a message names a command; the other names are English words, and count only behind `tezukuri` or at the start.
NAMED = re.compile(
    rf"(?:tezukuri |^)({'|'.join(SCRIPTS)}) |\b(finetune|evaluate|pretrain|check_data|build_vocab|encode)\b"
)
# File or folder → the commands that can print its messages, the longest name first; of scripts each its own.
READERS = {"finetune", "evaluate", "check_data", "failures", "look"}
PRINTED_BY = {
    "data": READERS,
    # failures reads what was read before with the same options, and so is told none of these.
    **{f"data/{name}.py": READERS - {"failures"} for name in ("encodings", "label_names", "load", "table")},
    "data/texts.py": {"predict"},
    "eval": {"evaluate", "failures", "finetune", "predict", "probe"},
    "eval/adapting": {"adapt"},
    "eval/inside.py": {"inside"},
    "eval/predict.py": {"evaluate", "predict"},
    "eval/tasks": {"finetune"},  # a trained model has its task
    "eval/inside_lines.py": {"inside"},
    "eval/labelled.py": {"predict"},
    "eval/look": {"look"},
    "eval/look/quiz.py": {"quiz"},
    "eval/neutral.py": {"evaluate"},  # of a model with the data's labels there is nothing to say
    "model": set(SCRIPTS) - {"check_data", "data", "prepare", "build_vocab"},
    "scripts/options.py": {"finetune", "pretrain"},
    "scripts/study_options.py": {"compare", "sweep"},
    "tokenize": set(SCRIPTS) - {"check_data", "data", "prepare"},
    "train": {"finetune"},
    "train/adapt.py": {"adapt"},
    "train/evaluation.py": {"evaluate"},
    "train/pretrain.py": {"pretrain"},
    "train/pretraining.py": {"pretrain"},
    "train/retraining.py": {"failures"},
    "train/comparison.py": {"compare"},
    "train/models.py": {"sweep"},
    "train/on_ray.py": {"compare", "sweep"},
    "train/places.py": {"compare", "sweep"},
    "train/study.py": {"compare", "sweep"},
    "train/sweep.py": {"sweep"},
    "weights": set(SCRIPTS) - {"check_data", "data", "prepare", "build_vocab"},
    "weights/verify.py": {"verify"},
}
NO_MESSAGES = {Path("tokenize/words.py"), Path("tokenize/settings.py"), Path("scripts/command.py")}  # MeCab's; --help
# Arguments of Python that are told to those who write Python.
OF_PYTHON = {"weights_only", "output_attentions"}


def options_of(name: str) -> set[str]:
    known = set(import_module(f"tezukuri.scripts.{name}").parser()._option_string_actions)
    return known | options_of("finetune") if name in ("compare", "sweep") else known  # what follows its --


KNOWN = {name: options_of(name) for name in SCRIPTS}


def texts(source: str) -> Iterator[str]:
    """All strings but docstrings, with … for what is put into them."""
    tree = ast.parse(source)
    inside = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node, clean=False):
            inside.add(node.body[0].value)  # type: ignore[attr-defined]
        if isinstance(node, ast.JoinedStr):
            inside.update(n for n in ast.walk(node) if n is not node)
            yield "".join(str(n.value) if isinstance(n, ast.Constant) else "…" for n in node.values)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in inside:
            yield node.value


def printers(path: Path) -> set[str]:
    if path.parts[0] == "scripts" and path.stem in SCRIPTS:
        return {path.stem}
    for part in (path, *path.parents):
        if part.as_posix() in PRINTED_BY:
            return PRINTED_BY[part.as_posix()]
    raise AssertionError(f"say in PRINTED_BY which commands print the messages of {path}")


def unknown_options(path: Path, text: str) -> list[str]:
    """The options in a text that the commands it names lack, and those that can print it too."""
    named = {name for found in NAMED.findall(text) for name in found if name}
    lacking = []
    for option in OPTION.findall(text):
        by_named = bool(named) and all(option in KNOWN[name] for name in named)
        if not by_named and not all(option in KNOWN[name] for name in printers(path)):
            lacking.append(option)
    return lacking


MESSAGES = [
    (path, text)
    for path in modules().values()
    if path not in NO_MESSAGES
    for text in texts((ROOT / path).read_text(encoding="utf-8"))
    if not re.fullmatch(r"--[a-z-]+(=\S*)?", text)  # an argument, not a message
]


def test_every_option_in_a_message_is_known_to_the_commands_that_print_it():
    told = [(path, text) for path, text in MESSAGES if OPTION.search(text)]
    assert len(told) > 20
    assert [(str(path), text, lacking) for path, text in told if (lacking := unknown_options(path, text))] == []
    page = (ROOT / "eval" / "failures" / "template" / "page.html").read_text(encoding="utf-8")
    advised = re.findall(r"tezukuri (?:\w+) [^<]*", page)
    assert advised and not any(unknown_options(Path("eval/failures/page.py"), text) for text in advised)


@pytest.mark.parametrize(
    ("file", "text", "lacking"),
    [
        ("weights/load.py", "it needs a new head: say --reset-head", ["--reset-head"]),
        ("weights/load.py", "it needs a new head: tezukuri finetune --reset-head", []),
        ("eval/neutral.py", "give their names with --labels", []),
        ("data/rows.py", "1 bad row (--bad-rows skip goes on)", ["--bad-rows"]),
        ("train/loop.py", "train on with --no-such-thing", ["--no-such-thing"]),
        ("scripts/predict.py", "tezukuri finetune --file", []),  # predict's own
        ("scripts/predict.py", "tezukuri finetune --epoch", ["--epoch"]),
    ],
)
def test_advice_that_leads_nowhere_is_found(file, text, lacking):
    assert unknown_options(Path(file), text) == lacking


def test_messages_name_no_arguments_of_python():
    told = [(str(path), text) for path, text in MESSAGES for name in re.findall(r"\b(\w+)=(?:True|False|None)\b", text)
            if name not in OF_PYTHON]  # fmt: skip
    assert told == [] and not [text for _, text in MESSAGES if re.search(r"\(\w+=…\)", text)]


@pytest.fixture(scope="module")
def moods(tmp_path_factory) -> Path:
    """A classifier of glad and sad."""
    folder = tmp_path_factory.mktemp("moods") / "model"
    save(Model(Bert(BertConfig(**SIZES)), ("glad", "sad")).eval(), TOKENIZER, folder)
    return folder


@pytest.mark.parametrize("name", ["evaluate", "predict", "probe"])
def test_a_classifier_of_other_labels_leads_to_finetune_and_that_knows_the_way(name, moods, tmp_path, capsys):
    arguments = {"predict": ["駅"], "evaluate": ["--data", "sample"], "probe": []}[name]
    assert command([name, *arguments, "--model", str(moods), "--labels", "negative,positive"]) == 1
    said = capsys.readouterr().err
    assert "tezukuri finetune --reset-head" in said and "True" not in said
    assert load_with_report(moods, "classify", ("negative", "positive"), reset_head=True).report.new


def test_labels_without_a_name_in_common_are_told_what_can_be_done(moods, tmp_path, capsys):
    arguments = ["evaluate", "--model", str(moods), "--data", "sample", "--no-report", "--output-dir", str(tmp_path)]
    assert command(arguments) == 1
    said = capsys.readouterr().err
    assert "no name in common" in said and "id2label" in said and "--labels" not in said  # which would be refused
    with pytest.raises(ValueError, match=r"no name in common; give the model's rows their names.*evaluate --labels"):
        shared_labels(("LABEL_0", "LABEL_1"), ("glad", "sad"))
    assert np.array_equal(shared_labels(("glad", "sad"), ("sad",)), ("sad", "glad"))
