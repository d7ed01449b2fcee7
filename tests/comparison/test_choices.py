from __future__ import annotations

from pathlib import Path

from pfmsmtrec_flwr.comparison.choices import join_choices, write_choice
from pfmsmtrec_flwr.comparison.tuning import Tuned
from pfmsmtrec_flwr.config import Settings
from pfmsmtrec_flwr.methods.configuration import load_config


def test_what_was_chosen_can_be_pasted_into_a_configuration(tmp_path: Path) -> None:
    own: dict[str, Settings] = {
        "alone": {"train.lr": 0.002, "train.weight_decay": 1e-06},
        "fedavg": {"federation.tables": "plain", "train.reestimate_batch_norm": False},
        "base-rate": {},
        "fedbn": {"train.lr": 0.0013},
    }
    tuned = {
        "alone": Tuned({}, 0.61234, 20),
        "fedavg": Tuned({}, None, 3),
        "base-rate": Tuned({}, 0.5, 1),
        "fedbn": Tuned({}, -0.25, 24, 9),
    }
    for name, chosen in tuned.items():
        path = tmp_path / "trials" / name / "tuned.yaml"
        write_choice(path, name, own[name], chosen, "kuairand, seeds 0, 1")
        assert load_config(str(path)).methods == {name: own[name]}
    join_choices(tmp_path / "trials", tmp_path / "tuned.yaml")
    assert load_config(str(tmp_path / "tuned.yaml")).methods == own
    text = (tmp_path / "tuned.yaml").read_text()
    assert text.startswith("# Chosen on validation rows of the data and seeds named.\nmethods:\n")
    assert '  "alone":  # validation AUC 0.6123, best of 20; kuairand, seeds 0, 1\n' in text
    assert '  "fedavg":  # no trial has a figure, best of 3; kuairand, seeds 0, 1\n' in text
    assert '  "fedbn":  # validation log loss 0.2500, best of 24, 9 of them cut short; kuairand, seeds 0, 1\n' in text


def test_without_a_choice_the_file_is_a_configuration_still(tmp_path: Path) -> None:
    join_choices(tmp_path, tmp_path / "tuned.yaml")
    assert load_config(str(tmp_path / "tuned.yaml")).methods == {}
    assert [path.name for path in tmp_path.iterdir()] == ["tuned.yaml"]
