"""List the data sets that have a name: task, sizes, licence, source, options, and what of them is on this disk.

python scripts/data.py
python scripts/data.py jnli wrime
"""

import argparse
from collections.abc import Iterator

from tezukuri.data.dataset import DataError
from tezukuri.data.download import bytes_cached, cache_folder
from tezukuri.data.load import READERS
from tezukuri.scripts.command import parser_of, run_file


def parser() -> argparse.ArgumentParser:
    options = parser_of("data", __doc__)
    options.add_argument("names", nargs="*", metavar="NAME", help="only these")
    return options


def main(arguments: list[str] | None = None) -> int:
    names = parser().parse_args(arguments).names or list(READERS)
    for name in names:
        if name not in READERS:
            raise DataError(f"no data set is called {name!r}; there are {', '.join(READERS)}")
    print(f"{'name':<18}{'task':<10}{'train / dev / test':<26}{'licence':<18}downloaded")
    for name in names:
        print("\n".join(lines(name)))
    print(f"\nDownloads are kept in {cache_folder()}. Options: tezukuri finetune --data NAME:option=value,…")
    return 0


def lines(name: str) -> Iterator[str]:
    reader = READERS[name]
    size = bytes_cached(name)
    there = "comes with tezukuri" if reader.shipped else f"{size / 1e6:.1f} MB" if size else "–"
    if reader.card is None:
        yield f"{name:<72}{there}"
        return
    task, about, sizes, licence, source = reader.card
    yield f"{name:<18}{task:<10}{sizes:<26}{licence:<18}{there}"
    yield f"    {about}"
    yield f"    {source}"
    for option, values in reader.options().items():
        yield f"    {option}={' or '.join(values)} ({values[0]})"


if __name__ == "__main__":
    run_file(__file__)
