from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from federated import Tiny

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.experiment import run_inline, run_method
from pfmsmtrec_flwr.federation.server.accounting import privacy_loss
from pfmsmtrec_flwr.methods import find_method
from pfmsmtrec_flwr.methods.configuration import check_settings, load_config
from pfmsmtrec_flwr.methods.noising import require_noise
from pfmsmtrec_flwr.results.overviews import run_table
from pfmsmtrec_flwr.results.rendering import as_text
from pfmsmtrec_flwr.results.schema import RESULTS_NAME
from pfmsmtrec_flwr.results.writer import read_results

NOISE: dict[str, Any] = {"privacy__noise": 8.0, "federation__draws": 0}


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        ("pooled-mmoe", {}, "it trains on the rows of all scenarios in one place, so there is no update"),
        ("fedavg", {}, "it shares 'normalization' with its statistics, which cannot have noise; choose a method that"),
        ("fedprox", {"train__reestimate_batch_norm": False}, "it shares 'normalization' with its statistics"),
        ("pf-msmtrec", {"federation__draws": 200}, "with federation.draws=200: draws are exact figures"),
    ],
)
def test_a_method_that_cannot_have_noise_is_refused(
    tiny: Tiny, method: str, settings: dict[str, Any], message: str
) -> None:
    config = tiny.config(method, **{**NOISE, **settings})
    with pytest.raises(UserError, match=rf"method '{method}' does not take privacy\.noise.*{message}"):
        require_noise(find_method(method), config)
    with pytest.raises(UserError, match=message):
        check_settings(config, "test")


@pytest.mark.parametrize("method", ["pf-msmtrec", "fedprox", "ditto", "fedala", "apfl", "fedhca2", "mat-fl", "alone"])
def test_the_others_are_not(tiny: Tiny, method: str) -> None:
    require_noise(find_method(method), tiny.config(method, **NOISE))


def test_a_start_from_earlier_models_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="with --start-from: the parts of an earlier model would leave without noise"):
        run_inline(tiny.config(**NOISE), data=tiny.root, output=tmp_path / "run", start_from=str(tmp_path))


def test_a_command_is_refused_before_anything_starts() -> None:
    with pytest.raises(UserError, match=r"synthetic.*federation\.draws=0"):
        load_config("synthetic", overrides=["privacy.noise=8"])
    load_config("synthetic", overrides=["privacy.noise=8", "federation.draws=0"])


def test_results_and_tables_name_the_loss(tiny: Tiny, tmp_path: Path) -> None:
    config = tiny.config(pf_msmtrec__schedule="bottom-up", federation__reference=["alone"], **NOISE)
    run_inline(config, data=tiny.root, output=tmp_path / "run")
    results = read_results(tmp_path / "run")
    assert results.privacy is not None
    assert results.privacy.releases == 4  # two rounds of two exchanges
    expected = privacy_loss(config.privacy, 4)
    assert results.privacy.epsilon == expected
    note = f"pf-msmtrec: noise on updates, ε = {expected:.3g} at δ = 1e-05 for the training rows of a scenario"
    assert note in as_text(run_table([results]))
    alone = read_results(tmp_path / "run" / "alone")
    assert alone.privacy is None  # nothing leaves a scenario that trains alone


def test_an_update_that_ends_a_run_early_counts(tiny: Tiny, tmp_path: Path) -> None:
    config = tiny.config(federation__rounds=6, federation__patience=1, train__lr=1e-9, **NOISE)
    results = run_method(config, data=tiny.root, output=tmp_path)
    assert results.privacy is not None
    assert results.rounds < 6
    assert results.privacy.releases == results.rounds + 1  # that of the message that measured the last round


def test_without_noise_results_do_not_speak_of_it(tiny: Tiny, tmp_path: Path) -> None:
    run_method(tiny.config("fedprox", federation__rounds=1), data=tiny.root, output=tmp_path)
    assert "privacy" not in (tmp_path / RESULTS_NAME).read_text()
