"""The READMEs say what is so."""

import ast
import importlib.util
import re
import shlex
from dataclasses import fields
from types import ModuleType

import pytest
from checkout import ROOT

import tezukuri
from tezukuri.scripts import (
    adapt,
    aggregate,
    build_vocab,
    check_data,
    compare,
    data,
    embed,
    encode,
    evaluate,
    failures,
    finetune,
    inside,
    look,
    predict,
    prepare,
    pretrain,
    probe,
    quiz,
    search,
    sweep,
    verify,
)
from tezukuri.train.evaluation import EvaluationPlan
from tezukuri.train.regularizers.shelf import SHELF

SCRIPTS = {
    module.__name__.split(".")[-1]: module
    for module in (
        finetune,
        compare,
        sweep,
        adapt,
        aggregate,
        failures,
        evaluate,
        probe,
        predict,
        embed,
        search,
        pretrain,
        build_vocab,
        encode,
        inside,
        data,
        look,
        quiz,
        check_data,
        prepare,
        verify,
    )
}
READMES = ("README.md", "README.ja.md")


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def write_readme() -> ModuleType:
    """docs/write_readme.py, which is no module of the package."""
    spec = importlib.util.spec_from_file_location("write_readme", ROOT / "docs" / "write_readme.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", READMES)
def test_the_lines_of_each_folder_are_as_many_as_stated(name, write_readme):
    """Within 5 %, or 20 lines of a small folder."""
    text = text_of(name)
    stated, now = write_readme.stated(text), write_readme.lines_of_folders()
    write_readme.rewrite(text, now)  # ValueError where a folder has no row
    off = [
        f"{folder}/ has {lines} lines, and {name} states {stated[folder]}"
        for folder, lines in now.items()
        if abs(stated[folder] - lines) > max(20, 0.05 * lines)
    ]
    assert not off, f"{'; '.join(off)}. Run python docs/write_readme.py"


def test_lines_are_counted_by_folder_and_written_into_the_table(write_readme, tmp_path):
    for path, lines in {"data/load.py": 24, "eval/plots.py": 5, "eval/tasks/task.py": 12, "docs/x.py": 9}.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("x = 1\n" * lines)
    lines = write_readme.lines_of_folders(tmp_path)
    assert lines == {"data": 24, "eval": 5, "eval/tasks": 12}
    table = "in 1 lines of Python\n| `data/` | a | 1 |\n| `eval/` | b | 1,000 |\n| `eval/tasks/` | c | 3 |\n"
    written = write_readme.rewrite(table, {"data": 2024, "eval": 5, "eval/tasks": 12})
    assert write_readme.stated(written) == {"data": 2020, "eval": 0, "eval/tasks": 10}
    assert written.startswith("in 2,000 lines of Python\n| `data/` | a | 2,020 |\n")
    with pytest.raises(ValueError, match=r"folders are not those of the project: eval/study$"):
        write_readme.rewrite(table, lines | {"eval/study": 1})


@pytest.mark.parametrize("name", READMES)
def test_every_command_is_understood(name):
    commands = re.findall(r"^(?:!|\.venv\\Scripts\\)?tezukuri (\w+) (.*)$", text_of(name), re.MULTILINE)
    assert len(commands) >= 10
    for script, arguments in commands:
        SCRIPTS[script].parser().parse_args(shlex.split(arguments))


@pytest.mark.parametrize("name", READMES)
def test_every_link_leads_somewhere(name):
    text = text_of(name)
    headings = {
        re.sub(r"[^\w\- ]", "", h).strip().lower().replace(" ", "-") for h in re.findall(r"^#+ (.*)$", text, re.M)
    }
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert len(links) > 10
    for link in links:
        assert link.removeprefix("#") in headings if link.startswith("#") else (ROOT / link).is_file(), link


def test_both_languages_show_the_same_commands():
    english, japanese = (re.findall(r"^(?:make|tezukuri|!tezukuri) .*?(?=  #|$)", text_of(n), re.M) for n in READMES)
    assert [c.strip() for c in english] == [c.strip() for c in japanese]


def python_blocks(name: str) -> list[ast.Module]:
    return [ast.parse(block) for block in re.findall(r"^```python\n(.*?)^```", text_of(name), re.M | re.S)]


@pytest.mark.parametrize("name", READMES)
def test_python_uses_names_and_options_that_there_are(name):
    options = {
        "finetune": [one.name for one in fields(tezukuri.Plan)] + ["texts", "labels", "resume"],
        "Plan": [one.name for one in fields(tezukuri.Plan)],
        "evaluate": [one.name for one in fields(EvaluationPlan)],
        "TextClassifier": tezukuri.TextClassifier().get_params(),
    }
    calls = 0
    for node in (node for block in python_blocks(name) for node in ast.walk(block)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "tezukuri":
            assert hasattr(tezukuri, node.attr), node.attr
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in options:
            calls += 1
            assert {keyword.arg for keyword in node.keywords} <= set(options[node.func.attr]), ast.unparse(node)
    assert calls >= 5


def test_both_languages_show_the_same_python():
    english, japanese = ([ast.dump(block) for block in python_blocks(name)] for name in READMES)
    assert english == japanese and len(english) >= 2


@pytest.mark.parametrize(
    ("name", "words"),
    [("README.md", r"(\d+) (?:published|regularizers)"), ("README.ja.md", r"(\d+) の(?:方法|正則化)")],
)
def test_the_regularizers_are_as_many_as_stated(name, words):
    numbers = re.findall(words, text_of(name))
    assert len(numbers) == 2 and set(numbers) == {str(len(SHELF))}
