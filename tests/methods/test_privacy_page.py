from __future__ import annotations

from pathlib import Path

import pfmsmtrec_flwr
from pfmsmtrec_flwr.federation.disclosure import DISCLOSED
from pfmsmtrec_flwr.methods.privacy_page import END_MARK, START_MARK, privacy_markdown

PAGE = Path(pfmsmtrec_flwr.__file__).resolve().parent.parent / "docs" / "privacy.md"


def test_the_tables_of_the_page_are_made_from_the_declaration() -> None:
    text = PAGE.read_text()
    made = text[text.index(START_MARK) : text.index(END_MARK) + len(END_MARK)] + "\n"
    assert made == privacy_markdown(), "put the output of `pfmsmtrec privacy` between the marks of docs/privacy.md"


def test_the_tables_have_a_row_for_each_thing_and_each_federated_method() -> None:
    rows = [line.split(" | ") for line in privacy_markdown().splitlines() if line.startswith("| ")]
    assert sorted(row[0] for row in rows if row[0].startswith("| `")) == sorted(
        f"| `{each.path}`" for each in DISCLOSED
    )
    own = {row[0].removeprefix("| "): row[1:] for row in rows}
    assert own["fedper"] == ["federated embedding; expert; gate; normalization", "none |"]
    assert own["pf-msmtrec"] == ["none", "federated embedding; expert; tower |"]
    assert own["alone"] == ["none", "none |"]
    assert "pooled-mmoe" not in own
