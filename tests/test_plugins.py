"""Entries of other packages: found by name, imported when used, refused in one line that names the package."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pfmsmtrec_flwr.comparison.jobs import digest_of
from pfmsmtrec_flwr.comparison.request import Options
from pfmsmtrec_flwr.config import ModelSettings, RunConfig, read_config
from pfmsmtrec_flwr.data.schema.document import find_schema, known_schemas
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.methods import KNOWN_METHODS, METHODS, find_method
from pfmsmtrec_flwr.methods.configuration import load_config
from pfmsmtrec_flwr.methods.reference import method_group
from pfmsmtrec_flwr.model import FieldSpec, ModelSpec, Part, build_model, partition
from pfmsmtrec_flwr.model.build import KNOWN_ARCHITECTURES

Announce = Callable[..., Path]

METHOD = """
from pfmsmtrec_flwr.config import MethodSettings
from pfmsmtrec_flwr.methods.base import FederatedMethod
from pfmsmtrec_flwr.methods.fedavg import FedAvg


class Settings(MethodSettings):
    pace: float = 0.5
    \"\"\"Length of a step.\"\"\"


METHOD = FederatedMethod(
    name="strolling", summary="", source="", strategy=FedAvg, parameters="global", settings=Settings
)
"""

MODEL = """
import torch
from torch import nn

from pfmsmtrec_flwr.model import Part, ScenarioModel


class Linear(ScenarioModel):
    def __init__(self, spec, settings):
        super().__init__(spec, settings)
        self.output = nn.Sequential(nn.BatchNorm1d(self.inputs), nn.Linear(self.inputs, len(spec.tasks)))

    def own_parts(self):
        return {"output": Part.TOWER}

    def forward(self, categorical, numeric):
        return self.output(self.embed(categorical, numeric))


class Undeclared(Linear):
    def own_parts(self):
        return {}
"""


@pytest.fixture
def announce(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Announce:
    """Install a package: its metadata, with entry points as text, and one module."""

    def install(package: str, group: str, points: str, source: str | None = None) -> Path:
        folder = tmp_path / package
        metadata = folder / f"{package}-1.5.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.5\n")
        (metadata / "entry_points.txt").write_text(f"[{group}]\n{points}\n")
        if source is not None:
            (folder / f"{package}.py").write_text(source)
        monkeypatch.delitem(sys.modules, package, raising=False)
        monkeypatch.syspath_prepend(folder)
        return folder

    return install


def test_a_method_of_another_package_is_one_of_the_methods(announce: Announce) -> None:
    announce("walks", "pfmsmtrec.methods", "strolling = walks:METHOD", METHOD)
    assert find_method("strolling").name == "strolling"
    assert list(KNOWN_METHODS) == [*METHODS, "strolling"]
    assert len(KNOWN_METHODS) == len(METHODS) + 1
    assert KNOWN_METHODS.package("strolling") == "walks 1.5"
    assert KNOWN_METHODS.package("fedavg") == ""
    assert [entry.key for entry in method_group("strolling").entries] == ["strolling.pace"]
    config = load_config("synthetic", method="strolling", overrides=["strolling.pace=0.25"])
    assert config.methods["strolling"] == {"pace": 0.25}
    with pytest.raises(UserError, match="unknown key 'pase' of method strolling; did you mean 'pace'"):
        load_config("synthetic", overrides=["strolling.pase=1"])
    with pytest.raises(UserError, match=r"unknown method 'stroling', expected one of .*; did you mean 'strolling'\?$"):
        find_method("stroling")


def test_a_name_that_exists_twice_is_refused_and_no_other(announce: Announce) -> None:
    announce("walks", "pfmsmtrec.methods", "strolling = walks:METHOD", METHOD)
    announce("hikes", "pfmsmtrec.methods", "strolling = hikes:METHOD\nfedavg = hikes:METHOD", METHOD)
    expected = "method 'strolling' exists twice, in the packages hikes 1.5 and walks 1.5: uninstall one of them"
    with pytest.raises(UserError, match=f"^{re.escape(expected)}$"):
        find_method("strolling")
    with pytest.raises(
        UserError, match=r"^method 'fedavg' exists twice, in the packages pfmsmtrec-flwr and hikes 1\.5"
    ):
        find_method("fedavg")
    assert find_method("fedprox").name == "fedprox"


@pytest.mark.parametrize(
    ("source", "line"),
    [
        (
            "import no_such_module\n",
            " cannot be imported from walks:METHOD: ModuleNotFoundError: No module named 'no_su",
        ),
        ("x = 1\n", " cannot be imported from walks:METHOD: AttributeError: module 'walks' has no attribute 'METHOD'"),
        ("METHOD = 3\n", ": METHOD is a int, expected a FederatedMethod"),
        (METHOD.replace("strolling", "Strolling"), ": got the name 'Strolling', expected lower-case letters"),
        (METHOD.replace("strolling", "running"), ": its METHOD has the name 'running', expected the announced one"),
    ],
)
def test_a_method_that_cannot_be_used_ends_in_one_line_that_names_its_package(
    announce: Announce, source: str, line: str
) -> None:
    announce("walks", "pfmsmtrec.methods", "strolling = walks:METHOD", source)
    assert find_method("fedavg").name == "fedavg"
    with pytest.raises(UserError, match=f"^method 'strolling' of package walks 1.5{re.escape(line)}") as caught:
        find_method("strolling")
    assert "\n" not in str(caught.value)


def test_the_command_line_lists_methods_of_other_packages_and_stops_at_a_broken_one(
    announce: Announce, pfmsmtrec: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    announce("walks", "pfmsmtrec.methods", "strolling = walks:METHOD", METHOD)
    assert pfmsmtrec("methods") == 0
    assert "strolling is a method of the package walks 1.5" in capsys.readouterr().out.splitlines()
    assert Options(methods="all").names(RunConfig()) == (*METHODS, "strolling")
    announce("hikes", "pfmsmtrec.methods", "hiking = hikes:METHOD", "1 / 0\n")
    assert pfmsmtrec("methods") == 1
    line = "error: method 'hiking' of package hikes 1.5 cannot be imported from hikes:METHOD: ZeroDivisionError: "
    assert capsys.readouterr().err == f"{line}division by zero\n"


def test_an_architecture_of_another_package_is_built_alike_in_all_scenarios(announce: Announce) -> None:
    announce("nets", "pfmsmtrec.models", "linear = nets:Linear\nbare = nets:Undeclared\nthree = builtins:abs", MODEL)
    settings = read_config("synthetic", overrides=["model.architecture=linear"]).model
    spec = ModelSpec((FieldSpec("item", rows=7, federated=True),), numeric=1, tasks=("ctr",))
    slots = partition(build_model(spec, settings, seed=0))
    assert {name: slot.part for name, slot in slots.items() if slot.part is not Part.FEDERATED_EMBEDDING} == {
        **dict.fromkeys((f"output.0.{name}" for name in ("weight", "bias")), Part.NORMALIZATION),
        **dict.fromkeys(
            (f"output.0.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")), Part.NORMALIZATION
        ),
        "output.1.weight": Part.TOWER,
        "output.1.bias": Part.TOWER,
    }
    first, second = (build_model(spec, settings, seed=3).state_dict() for _ in range(2))
    assert all((first[name] == second[name]).all() for name in first)
    with pytest.raises(
        TypeError, match=r"no part is declared for the tensors \['output\.1\.bias', 'output\.1\.weight'"
    ):
        partition(build_model(spec, ModelSettings(architecture="bare"), seed=0))
    with pytest.raises(
        UserError, match=r"^architecture 'three' of package nets 1\.5: got <.*abs>, expected a subclass"
    ):
        build_model(spec, ModelSettings(architecture="three"), seed=0)
    with pytest.raises(UserError, match=r"'m3oe', 'bare', 'linear' or 'three'$"):
        read_config("synthetic", overrides=["model.architecture=line"])
    assert KNOWN_ARCHITECTURES.package("linear") == "nets 1.5"


def test_results_of_another_version_of_a_package_are_not_taken_over(
    announce: Announce, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = RunConfig()
    before = digest_of(own, "rows")
    folder = announce("walks", "pfmsmtrec.methods", "strolling = walks:METHOD", METHOD)
    config = RunConfig(method="strolling")
    first = digest_of(config, "rows")
    (folder / "walks-1.5.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: walks\nVersion: 1.6\n")
    monkeypatch.syspath_prepend(folder / "none")  # the metadata is read anew
    assert digest_of(config, "rows") != first
    assert digest_of(own, "rows") == before


def test_a_schema_of_another_package_is_found_by_name(announce: Announce) -> None:
    folder = announce(
        "shops", "pfmsmtrec.datasets", "stall = shops_schemas\nlost = shops_schemas\nkuairand = shops_schemas"
    )
    package = folder / "shops_schemas"
    package.mkdir()
    (package / "stall.yaml").write_text("extends: movielens-100k\nname: stall\n")
    assert find_schema("stall") == package / "stall.yaml"
    assert known_schemas().package("stall") == "shops 1.5"
    with pytest.raises(UserError, match=r"^data set 'lost' of package shops 1\.5: there is no file .*lost\.yaml$"):
        find_schema("lost")
    with pytest.raises(
        UserError, match=r"^data set 'kuairand' exists twice, in the packages pfmsmtrec-flwr and shops 1"
    ):
        find_schema("kuairand")
    with pytest.raises(UserError, match=r"not found: expected one of .*, tenrec-ctr, lost, stall, or the path"):
        find_schema("nothing")
