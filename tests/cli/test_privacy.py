from __future__ import annotations

from collections.abc import Callable

import pytest

from pfmsmtrec_flwr.methods.privacy_page import privacy_markdown


def test_the_command_prints_the_tables_of_the_page(
    pfmsmtrec: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert pfmsmtrec("privacy") == 0
    assert capsys.readouterr().out == privacy_markdown()
