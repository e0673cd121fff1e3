"""The READMEs say what is so."""

import re
import shlex

import pytest
from checkout import ROOT

from tezukuri.scripts import (
    build_vocab,
    check_data,
    compare,
    evaluate,
    failures,
    finetune,
    inside,
    predict,
    pretrain,
    probe,
    verify,
)

SCRIPTS = {
    module.__name__.split(".")[-1]: module
    for module in (
        finetune,
        compare,
        failures,
        evaluate,
        probe,
        predict,
        pretrain,
        build_vocab,
        inside,
        check_data,
        verify,
    )
}
READMES = ("README.md", "README.ja.md")


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", READMES)
def test_the_lines_of_each_folder_are_as_many_as_told(name):
    rows = re.findall(r"^\| `(\w+)/` \|.*\| ([\d,]+) \|$", text_of(name), re.MULTILINE)
    assert len(rows) == 7
    for folder, told in rows:
        lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / folder).rglob("*.py"))
        assert int(told.replace(",", "")) == pytest.approx(lines, rel=0.05), (folder, lines)


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
