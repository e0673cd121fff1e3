"""What every test gets: the tests' own helpers importable, the reference data, and no network by accident."""

import csv
import json
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
os.environ["HF_HUB_OFFLINE"] = "1"  # tests that want a hub start one of their own, in a process of their own
os.environ["MPLBACKEND"] = "agg"
os.environ["OMP_NUM_THREADS"] = "1"  # the models here are so small that threads only wait for each other


@pytest.fixture(autouse=True)
def the_same_numbers_each_time():
    """Random weights of a test do not depend on which tests ran before it."""
    import torch  # here, after the number of threads is set

    torch.manual_seed(0)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder with real data and reference answers; tests that need it are skipped where it is not given."""
    folder = os.environ.get("TEZUKURI_DATA")
    if not folder:
        pytest.skip("TEZUKURI_DATA is not set: no real data to test on")
    return Path(folder)


@pytest.fixture(scope="session")
def some_reviews(tmp_path_factory) -> Path:
    """A few of the sample reviews as a table: runs of it show what becomes of any run, in a fraction of the time."""
    from tezukuri.data.load import load

    data, path = load("sample"), tmp_path_factory.mktemp("reviews") / "reviews.csv"
    rows = [(e.text, e.label, split) for split, n in (("train", 48), ("dev", 15), ("test", 18))
            for e in data.split(split)[:n]]  # fmt: skip
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label", "split"), *rows])
    return path


@pytest.fixture(scope="session")
def voted_reviews(tmp_path_factory) -> Path:
    """More of them, with the judges' votes: enough for a model to give every label and to be wrong."""
    from tezukuri.data.load import load

    data, path = load("sample"), tmp_path_factory.mktemp("voted") / "voted.jsonl"
    rows = [{"id": e.id, "text": e.text, "label": e.label, "split": split, "votes": e.votes}
            for split, n in (("train", 320), ("dev", 90), ("test", 100)) for e in data.split(split)[:n]]  # fmt: skip
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path
