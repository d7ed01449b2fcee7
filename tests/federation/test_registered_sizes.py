from __future__ import annotations

from replies import described

from pfmsmtrec_flwr.config import ModelSettings
from pfmsmtrec_flwr.federation.registered_sizes import odd_sizes


def test_the_scenario_that_differs_from_most_is_named() -> None:
    own = described("A").model_copy(update={"rows": [6, 1]})
    odd = odd_sizes([own, described("B"), described("C")], ModelSettings())
    assert list(odd) == ["A"]
    assert odd["A"].startswith("scenario A registers other columns or table sizes than most scenarios")
    assert odd_sizes([described(name) for name in "ABC"], ModelSettings()) == {}


def test_tables_beyond_the_servers_memory_are_refused_before_they_are_made() -> None:
    odd = odd_sizes([described("A")], ModelSettings(embedding_dim=2**60))
    assert "scenario A registers embedding tables of 6 rows, " in odd["A"]
    assert odd_sizes([], ModelSettings()) == {}
