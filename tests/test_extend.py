"""The examples of docs/extend.md work, one after the other, as they stand there."""

import re

import pytest
from checkout import ROOT

from tezukuri.data.load import READERS, load
from tezukuri.eval.tasks.table import TASKS
from tezukuri.scripts.check_data import main as check_data
from tezukuri.tokenize.kinds import KINDS
from tezukuri.weights.architectures import ARCHITECTURES

PAGE = ROOT / "docs" / "extend.md"
TEXT = PAGE.read_text(encoding="utf-8")
TABLES = (READERS, TASKS, ARCHITECTURES, KINDS)


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """What the blocks of the page leave; the tables have their rows until the tests of this file are over."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("extended"))
        before = [dict(table) for table in TABLES]
        try:
            for block in re.finditer(r"```python\n(.*?)```", TEXT, re.DOTALL):
                line = TEXT[: block.start()].count("\n") + 1  # so that an error names the line of the page
                exec(compile("\n" * line + block[1], str(PAGE), "exec"), found)
            yield found
        finally:
            for table, rows in zip(TABLES, before, strict=True):
                table.clear()
                table.update(rows)


def test_each_has_its_row(names):
    assert READERS["stars"].read is names["read_stars"]
    assert TASKS["content"] is names["Content"] and KINDS["CharacterTokenizer"] is names["CharacterTokenizer"]
    assert ARCHITECTURES["near"].encoder is names["Near"]


def test_the_commands_know_the_data_set(names, capsys):
    assert check_data(["--data", "stars"]) == 0
    assert "bad" in capsys.readouterr().out


def test_a_bad_row_of_the_data_set_is_named(names, tmp_path):
    file = tmp_path / "copy.tsv"
    file.write_text("train\t5\t近い。\ntrain\t9\t狭い。\n", encoding="utf-8")
    (bad,) = load("stars", path=file, bad_rows="skip").bad_rows
    assert (bad.line, bad.reason) == (2, "'train' is no split, or '9' no number of stars")


def test_the_task_asks_for_a_number_from_minus_1_to_1(names):
    assert len(names["answers"]) == 2 and all(isinstance(answer, float) for answer in names["answers"])
    targets = names["run"].task.targets(names["sample"].examples)
    assert targets.min() == -1 and targets.max() == 1
    assert names["run"].task.measure(targets, targets) == {"loss": 0, "pearson": pytest.approx(1)}


def test_examples_are_short():
    for block in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL):
        assert len(block.splitlines()) <= 60


def test_links_lead_somewhere():
    links = re.findall(r"\]\(([^)]+)\)", TEXT)
    assert links
    for link in links:
        path, _, heading = link.partition("#")
        file = PAGE.parent / path if path else PAGE
        assert file.is_file(), link
        titles = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.M) if heading else []
        assert not heading or heading in [re.sub(r"[^\w\- ]", "", t).strip().lower().replace(" ", "-") for t in titles]
