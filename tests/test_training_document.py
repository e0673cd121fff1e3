"""The page on training shows what mini computes, and its loop is that of the package."""

import importlib.util
import re
from types import ModuleType

import pytest
import torch
from checkout import ROOT

import tezukuri
from tezukuri.eval.tasks.classify import Classify
from tezukuri.train.batch import Texts
from tezukuri.train.loop import fine_tune
from tezukuri.train.settings import Settings


@pytest.fixture(scope="module")
def page() -> ModuleType:
    """docs/write_training.py, which imports write_tour.py from its own folder, as when it is run."""
    spec = importlib.util.spec_from_file_location("write_training", ROOT / "docs" / "write_training.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "docs")
        spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def text(page) -> str:
    return page.TRAINING.read_text(encoding="utf-8")


def test_the_page_shows_what_mini_computes(page, text):
    assert page.differences(text, page.rewrite(text, page.values(text)), page.alike) == []
    assert f"> {page.TEXT}" in text


def test_its_loop_ends_with_the_weights_of_fine_tune_bit_for_bit(page, text):
    """On an eighth of its texts."""
    all_of_them = 'data.split("train")[::4], data.split("dev")'
    assert text.count(all_of_them) == 1
    left = page.run_loop(text.replace(all_of_them, 'data.split("train")[::32], data.split("dev")[::8]'))
    data, n = left["data"], left["EPOCHS"]
    torch.manual_seed(left["SEED"])
    model, tokenizer = tezukuri.load("mini", "classify", data.labels)
    task = Classify(data.labels)
    train, dev = (Texts(task.encode(tokenizer, left[name]), task.targets(left[name])) for name in ("train", "dev"))
    settings = Settings(epochs=n, batch_size=16, lr=5e-4, weight_decay=0.01, select="last", precision="fp32", seed=42)
    rows = list(fine_tune(model, task, train, dev, settings))[1:]
    for (name, one), other in zip(model.named_parameters(), left["model"].parameters(), strict=True):
        assert torch.equal(one, other), name
    for row, (epoch, *losses, right) in zip(rows, left["log"], strict=True):
        assert row["epoch"] == epoch and row["dev_accuracy"] == pytest.approx(right)
        assert [row["train_loss"], row["dev_loss"]] == pytest.approx(losses, rel=1e-5)


def test_the_loop_is_short(text):
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    lines = [
        line for line in code.splitlines() if line.strip() and not line.strip().startswith(("#", "import", "from"))
    ]
    assert len(lines) <= 40


def test_a_changed_number_or_word_is_found(page, text):
    for old, new, found in (
        ("1.225", "1.226", 0), ("1.225", "1.295", 1), ("-4.62e-02", "-4.64e-02", 0), ("-4.62e-02", "-5.62e-02", 1),
        ("2.07e-06", "2.07e-07", 1), ("12 of 8,192", "13 of 8,192", 1), ("32,768", "65,536", 1),
    ):  # fmt: skip
        assert old in text
        assert len(page.differences(text, text.replace(old, new), page.alike)) == found * sum(
            old in line for line in text.splitlines()
        )


def test_its_links_lead_somewhere(page, text):
    links = re.findall(r"\]\(([^)]+)\)", text)
    headings = [
        re.sub(r"[^\w\- ]", "", line).strip().lower().replace(" ", "-") for line in re.findall("^#+ (.*)$", text, re.M)
    ]
    assert len(links) > 12
    for link in links:
        assert link[1:] in headings if link.startswith("#") else (page.TRAINING.parent / link).is_file(), link
    for name, path in re.findall(r"\[([\w/]+\.py)\]\(\.\./([^)]+)\)", text):
        assert name == path
