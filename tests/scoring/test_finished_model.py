"""What lies beside a model that is finished: its calibration counts, and its card says what it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scoring_shop import TASKS, config, impressions, trained_shop

from pfmsmtrec_flwr.config import Settings
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.experiment import run_method
from pfmsmtrec_flwr.scoring.kept_calibration import load_calibration
from pfmsmtrec_flwr.scoring.scorer import Scorer


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shop")


@pytest.fixture(scope="module")
def pooled(shop: Path) -> Path:
    return trained_shop(shop, "pooled-mmoe") / "clients" / "pooled-mmoe" / "NL"


def test_the_files_of_a_model(pooled: Path) -> None:
    assert {file.name for file in pooled.iterdir()} == {
        *("MODEL_CARD.md", "calibration.json", "encoders.json", "model.json", "model.safetensors", "predictions.npy"),
        *("schema.yaml", "vocabularies.safetensors"),
    }


def test_scores_are_calibrated_and_keep_their_order(pooled: Path) -> None:
    scorer, rows = Scorer.load(pooled), impressions(40, seed=3).drop(columns="country")
    scores, raw = scorer.predict(rows), scorer.predict(rows, raw=True)
    curves = load_calibration(pooled).tasks
    for task in TASKS:
        own, before = scores[task].to_numpy(), raw[task].to_numpy().astype(np.float64)
        np.testing.assert_allclose(own, curves[task].curve.apply(np.log(before / (1 - before))), rtol=1e-4)
        assert (np.argsort(own, kind="stable") == np.argsort(before, kind="stable")).all()
        assert not np.allclose(own, before)


def test_a_changed_calibration_is_found(pooled: Path) -> None:
    path = pooled / "calibration.json"
    text = path.read_text()
    path.write_text(text.replace("slope", "Slope", 1))
    with pytest.raises(UserError, match=r"calibration\.json is damaged or of another model: its checksum differs"):
        Scorer.load(pooled)
    path.write_text(text)


def test_the_card_of_a_model(pooled: Path) -> None:
    card = (pooled / "MODEL_CARD.md").read_text()
    for line in (
        "# pooled-mmoe, NL of shop",
        "Predicts ctr, ctcvr. Seed 0, parameters of round 1, chosen on validation rows. Written by",
        "Shop, none. Licence of the data: ours.",
        "| split | rows | positive in ctr | positive in ctcvr |",
        "Fields with a vocabulary of the site: user, tags. Numeric columns: price, weight.",
        "| 95 % interval | log loss | calibrated | predicted over observed | calibrated |",
        "The run measured no intervals.",
        "A curve for each task (platt), fitted on validation rows. `--raw` gives scores without it.",
        "Nothing: the method trained on the rows of all scenarios in one place.",
        "train.lr: 0.05",
    ):
        assert line in card, line
    assert "$" not in card


@pytest.mark.usefixtures("pooled")  # it has prepared the data
def test_a_run_without_calibration_has_the_scores_of_the_network(shop: Path) -> None:
    settings: Settings = {"evaluation.calibration": "none"}
    output = shop / "raw"
    run_method(config("alone").with_settings(settings, "test"), data=shop / "data", output=output)
    folder = output / "clients" / "alone" / "NL"
    assert not (folder / "calibration.json").exists()
    rows = impressions(20, seed=3).drop(columns="country")
    scorer = Scorer.load(folder)
    np.testing.assert_array_equal(scorer.predict(rows), scorer.predict(rows, raw=True))
    card = (folder / "MODEL_CARD.md").read_text()
    assert "None: scores are the predictions of the network." in card
    assert "The rows and the whole model. Sizes and figures went to the server." in card
