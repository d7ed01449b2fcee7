from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., int]


def test_data_that_is_not_there(pfmsmtrec: Command, data_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pfmsmtrec("data", "list", "--data", data_root) == 0
    assert str(data_root) in capsys.readouterr().out.replace("\n", "")
    assert pfmsmtrec("data", "show", "kuairand", "--data", data_root) == 1
    assert capsys.readouterr().err.startswith("error: ")
    assert pfmsmtrec("prepare", "nope", "--source", data_root) == 1
    assert "nope" in capsys.readouterr().err


SHOP = """
name: shop
title: Shop
licence: ours
url: none
table: {files: [log.csv]}
scenario: {column: country, values: {NL: NL, DE: DE}}
tasks: {clicked: clicked}
split: {random: {validation: 0.2, test: 0.2}}
fields:
  item: {identity: {size: 8}, embedding: federated}
  answer: {values: [a, b], embedding: federated}
"""


def test_a_leak_is_shown_by_prepare_and_is_the_exit_status_of_the_check(
    pfmsmtrec: Command, data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [f"{'NL' if row % 2 else 'DE'},{row % 7},{'ab'[row % 5 == 0]},{int(row % 5 == 0)}" for row in range(400)]
    (tmp_path / "log.csv").write_text("\n".join(["country,item,answer,clicked", *lines]) + "\n")
    (tmp_path / "shop.yaml").write_text(SHOP)
    prepare = ("prepare", tmp_path / "shop.yaml", "--source", tmp_path, "--data", data_root)
    assert pfmsmtrec(*prepare) == 0
    assert "check of shop: 2 leaks, no remark" in (shown := capsys.readouterr()).err
    assert "prepared in" in shown.out
    assert pfmsmtrec(*prepare) == 0  # left as it is
    assert "check of shop" not in capsys.readouterr().err
    for name in ("shop", tmp_path / "shop.yaml"):
        assert pfmsmtrec("data", "check", name, "--data", data_root) == 1
        shown = capsys.readouterr()
        assert "equals clicked" in shown.out
        assert "remove it" in shown.out
        assert "400" in shown.out
        assert not shown.err
    (tmp_path / "shop.yaml").write_text(SHOP.replace("  answer: {values: [a, b], embedding: federated}\n", ""))
    assert pfmsmtrec(*prepare) == 0
    assert not capsys.readouterr().err.strip()
    assert pfmsmtrec("data", "check", "shop", "--data", data_root) == 0
    assert capsys.readouterr().out == "check of shop: no leak, no remark\n"
    assert pfmsmtrec("data", "check", "nope", "--data", data_root) == 1
    assert "no prepared data of 'nope'" in capsys.readouterr().err
