"""Write the number of lines of each folder into README.md and README.ja.md: python docs/write_readme.py

It changes the last column of the table of folders and the sum in the first paragraph; all else is left as it is. Lines
are those of the *.py that lie in the folder itself, comments and docstrings counted; a folder inside another has a row
of its own. Numbers are rounded to tens, the sum to hundreds.
"""

import re
from pathlib import Path

from tezukuri.eval.runs import write_whole

ROOT = Path(__file__).resolve().parent.parent
READMES = ("README.md", "README.ja.md")
PARTS = ("tokenize", "data", "model", "weights", "eval", "train", "scripts")
ROW = re.compile(r"^(\| `([\w/]+)/` \|.*\| )([\d,]+)( \|)$", re.MULTILINE)
SUM = re.compile(r"[\d,]+(?= lines of Python| 行の Python)")


def lines_of_folders(root: Path = ROOT) -> dict[str, int]:
    """Folder → lines, for every folder of PARTS that has modules."""
    lines: dict[str, int] = {}
    for path in sorted(path for part in PARTS for path in (root / part).rglob("*.py")):
        folder = path.parent.relative_to(root).as_posix()
        lines[folder] = lines.get(folder, 0) + len(path.read_text(encoding="utf-8").splitlines())
    return lines


def stated(readme: str) -> dict[str, int]:
    """Folder → lines, as the table states them."""
    return {folder: int(number.replace(",", "")) for _, folder, number, _ in ROW.findall(readme)}


def rewrite(readme: str, lines: dict[str, int]) -> str:
    """The README with these numbers.

    Raises:
        ValueError: the table lacks a folder, or has one that is not there; or the sum has no place.
    """
    if set(stated(readme)) != set(lines):
        wrong = ", ".join(sorted(set(stated(readme)) ^ set(lines)))
        raise ValueError(f"the table's folders are not those of the project: {wrong}")
    if len(SUM.findall(readme)) != 1:
        raise ValueError("the sum must stand there once, as '… lines of Python' or '… 行の Python'")
    readme = ROW.sub(lambda row: f"{row[1]}{round(lines[row[2]], -1):,}{row[4]}", readme)
    return SUM.sub(f"{round(sum(lines.values()), -2):,}", readme)


def main() -> None:
    for name in READMES:
        before = (ROOT / name).read_text(encoding="utf-8")
        after = rewrite(before, lines_of_folders())
        if after != before:
            print(f"{name} changed")
            write_whole(ROOT / name, after)


if __name__ == "__main__":
    main()
