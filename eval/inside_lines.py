"""A trace as lines of text, for a terminal or a document."""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from ..data.rows import shown
from ..tokenize.tokenizer import Word
from .inside import Answer, Stage, Tokens, Trace

VALUES = 3  # of a vector that are shown
LONGEST_WORD = 12  # characters, beside a token: without MeCab, a word reaches to the next space
WIDEST = 40  # tokens for which a terminal has room side by side


def size_line(trace: Trace) -> str:
    config = trace.config
    sizes = {
        "B": len(trace.packed), "T": len(trace.encoding), "S": trace.packed.longest, "H": config.hidden_size,
        "N": config.num_attention_heads, "D": config.hidden_size // config.num_attention_heads,
        "F": config.intermediate_size, "V": config.vocab_size, "L": config.num_hidden_layers,
    }  # fmt: skip
    sizes |= {"C": len(trace.labels)} if trace.labels else {}
    return "  ".join(f"{letter} = {size}" for letter, size in sizes.items())


def text_lines(tokens: Tokens) -> Iterator[str]:
    for number, read in enumerate(tokens.texts):
        if number:
            yield "and the second text"
        yield f"original    {shown(read.text)}"
        yield f"normalised  {shown(read.normalised)}"


def word_lines(words: Sequence[Word]) -> list[str]:
    """A line for each word: part of speech (品詞), place in the text, and tokens."""
    rows = [(w.text, w.part_of_speech, f"{w.span[0]}–{w.span[1]}", " ".join(w.pieces)) for w in words]
    return table([("word", "品詞", "place", "pieces"), *rows])


def token_lines(tokens: Tokens) -> list[str]:
    """A line for each token: id, type (segment), place in its text, the text at that place, and the word there."""
    encoding = tokens.encoding
    rows = [("", "id", "token", "type", "place", "text", "word")]
    for i, (start, end) in enumerate(encoding.offsets):
        there, word = "", ""
        if origin := tokens.origins[i]:
            read = tokens.texts[origin[0]]
            there, word = read.text[start:end], read.words[origin[1]].text
            word = word if len(word) <= LONGEST_WORD else f"{word[: LONGEST_WORD - 1]}…"
        numbers = str(i), str(encoding.ids[i]), encoding.tokens[i], str(encoding.type_ids[i])
        rows.append((*numbers, f"{start}–{end}", there, word))
    notes = [f"(the text was cut to {len(encoding)} tokens)"] if encoding.truncated else []
    if len(tokens.texts) > 1:
        notes.append("(places are those in the first text, and then those in the second)")
        if tokens.segments == 1:
            notes.append("(one segment: the two texts are told apart by the tokens between them, not by types)")
    return table(rows) + notes


def stage_lines(trace: Trace, stages: Iterable[Stage], head: int = 1) -> Iterator[str]:
    """The stages by group: what, shape, first values for the trace's token, file, module."""
    for group, members in groupby(stages, key=lambda stage: stage.group):
        yield group
        for stage in members:
            shape = f"{stage.letters} = {tuple(stage.values.shape)}"
            values = "".join(f"{value:7.2f}" for value in stage.of_token(trace.token, head)[:VALUES].tolist())
            more = "…" if stage.values.shape[-1] > VALUES else " "
            yield f"  {stage.what:<25}{shape:<29}{values:<21} {more}  {stage.file:<20} {stage.module.split('.')[-1]}"


def attention_lines(trace: Trace, layer: int, head: int) -> Iterator[str]:
    attention = trace.attention(layer, head)
    if len(attention) > WIDEST:
        yield f"({len(attention)} tokens are too many for a table: --picture FILE.svg draws it)"
        return
    labels = [f"{i:>2} {shown(token)}" for i, token in enumerate(trace.encoding.tokens)]
    width = max(map(columns, labels)) + 1
    yield " " * width + "".join(f"{i:>5}" for i in range(len(labels)))
    for label, row in zip(labels, attention.tolist(), strict=True):
        yield fill(label, width) + "".join(f"{value:5.2f}" for value in row)


def answer_lines(trace: Trace, answers: Iterable[Answer]) -> Iterator[str]:
    for answer in answers:
        place = f"at token {answer.token}, {shown(trace.encoding.tokens[answer.token])}"
        yield "from the mean of all tokens" if trace.reads == "mean" else place
        rows = [
            (c.name, f"{c.logit:8.2f}", "" if c.probability is None else f"{c.probability:8.3f}")
            for c in answer.choices
        ]
        yield from (f"  {line}" for line in table([("", "   logit", "probability"), *rows]))


def table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows of equally many cells as lines with aligned columns."""
    cells = [[shown(cell) for cell in row] for row in rows]
    widths = [max(map(columns, column)) + 2 for column in zip(*cells, strict=True)]
    return ["".join(map(fill, row, widths)).rstrip() for row in cells]


def fill(text: str, width: int) -> str:
    return text + " " * (width - columns(text))


def columns(text: str) -> int:
    """The width of a text in a terminal: two columns for a full-width character, none for a combining mark."""
    bases = [character for character in text if unicodedata.category(character) not in ("Mn", "Me")]
    return len(bases) + sum(unicodedata.east_asian_width(character) in "WF" for character in bases)
