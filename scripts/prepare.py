"""Write a data set as the files that a tutorial of it works with.

python scripts/prepare.py livedoor --output datasets/livedoor
python scripts/prepare.py livedoor --output datasets/livedoor --data-path ldcc-20140209.tar.gz --split-seed 42
"""

import argparse
import secrets
import shutil
from pathlib import Path

from tezukuri.data.dataset import DataError
from tezukuri.data.livedoor import tutorial_files
from tezukuri.eval.runs import write_whole
from tezukuri.scripts.command import parser_of, run_file

FILES_OF = {"livedoor": tutorial_files}


def parser() -> argparse.ArgumentParser:
    options = parser_of("prepare", __doc__)
    options.add_argument("name", choices=list(FILES_OF), help="the data set")
    options.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="is made; must not be there yet")
    options.add_argument("--data-path", type=Path, metavar="PATH", help="its archive or folder, instead of a download")
    options.add_argument("--split-seed", type=int, default=0, help="of the splits (%(default)s, as in finetune)")
    options.add_argument("--bad-rows", choices=["error", "skip"], default="error", help="stop, or go on without them")
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    folder: Path = options.output
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise DataError(f"{folder} is there already: choose another --output, or delete it")
    files, notes = FILES_OF[options.name](options.data_path, options.split_seed, options.bad_rows)
    write_folder(folder, files)
    for note in notes:
        print(f"data    {note}")
    print("\n        ".join(["files   " + str(folder), *files]))
    return 0


def write_folder(folder: Path, files: dict[str, str]) -> None:
    """All files of a folder that is not there yet, or is empty; or none, where something fails."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}")
    try:
        aside.mkdir()
        for name, content in files.items():
            write_whole(aside / name, content)
        if folder.exists():
            folder.rmdir()
        aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


if __name__ == "__main__":
    run_file(__file__)
