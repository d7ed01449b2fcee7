"""Words of docstrings, comments and descriptions: none that a reader has to go back for."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

import pfmsmtrec_flwr

PACKAGE = Path(pfmsmtrec_flwr.__file__).parent
FILES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))

# A description names its subject first: "Learning rate of Adam.", not "Of Adam.".
FRAGMENT = re.compile(r"(?:Of|By|That|Whose|Whether it|So many|With which|Up to so)\b")
# "told" and "given" leave open by whom; "so many" leaves open how many.
VAGUE = re.compile(r"\b(?:told|given|so many)\b", re.IGNORECASE)


def descriptions(source: str) -> Iterator[str]:
    """Docstrings, with those below attributes, and the paragraphs and numpy entries within them."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            text = re.sub(r"^\s*>>> .*$", "", node.value.value, flags=re.MULTILINE)
            yield from (block.strip() for block in re.split(r"\n\s*\n|\n(?=\s*\w[\w, *]*\n\s{4,})", text))
            yield from (entry.strip() for entry in re.findall(r"^\s*[\w*, ]+\n(\s+\S.*)$", text, re.MULTILINE))


def comments(source: str) -> Iterator[str]:
    """Comments, without those that are addressed to tools."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and not re.match(r"#\s*(noqa|type:|fmt:)", token.string):
            yield token.string.lstrip("# ")


@pytest.mark.parametrize("file", FILES, ids=str)
def test_descriptions_name_their_subject_and_no_word_is_vague(file: Path) -> None:
    source = (PACKAGE / file).read_text(encoding="utf-8")
    found = [*descriptions(source), *comments(source)]
    assert [text for text in found if FRAGMENT.match(text) or VAGUE.search(text)] == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('x = 1\n"""Of Adam."""\n', True),
        ('"""A thing.\n\nAttributes\n----------\nrate\n    Of Adam.\n"""\n', True),
        ("x = 1  # by what is told\n", True),
        ('"""Learning rate of Adam; offers and bylines are words."""\n', False),
        ('"""An example.\n\n>>> "given"\n"""\n', False),
        ("x = 1  # noqa: given\n", False),
    ],
)
def test_the_search_finds_what_it_is_for(source: str, found: bool) -> None:
    texts = [*descriptions(source), *comments(source)]
    assert any(FRAGMENT.match(text) or VAGUE.search(text) for text in texts) == found
