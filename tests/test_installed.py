"""The wheel and the package of `examples/plugin`, in a fresh environment and a folder that knows no checkout."""

from __future__ import annotations

import csv
import json
import os
import random
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

import pfmsmtrec_flwr

pytestmark = pytest.mark.slow

ROOT = Path(pfmsmtrec_flwr.__file__).resolve().parent.parent
PLUGIN = ROOT / "examples" / "plugin"

# Commands of one process, as a process imports torch; what each prints, and where the package lies.
DRIVER = """
import contextlib, io, json, sys
import pfmsmtrec_flwr
from pfmsmtrec_flwr import cli
from pfmsmtrec_flwr.launch.app import app_folder

printed = [pfmsmtrec_flwr.__file__, str(app_folder())]
for words in json.loads(sys.argv[1]):
    sys.argv = ["pfmsmtrec", *words]
    stream = io.StringIO()
    with contextlib.redirect_stdout(stream):
        try:
            cli.main()
        except SystemExit as ended:
            assert ended.code == 0, words
    printed.append(stream.getvalue())
print(json.dumps(printed))
"""


@dataclass(frozen=True)
class Environment:
    """A virtual environment of its own, and an empty folder to work in."""

    folder: Path
    here: Path

    @property
    def site(self) -> Path:
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        return self.folder / "lib" / version / "site-packages"

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "HOME": str(self.here), "COLUMNS": "200"}
        environment.pop("PYTHONPATH", None)
        python = str(self.folder / "bin" / "python")
        done = subprocess.run(
            [python, *arguments], cwd=self.here, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done

    def commands(self, *commands: list[str]) -> list[str]:
        """Run commands of the command line, and return what each prints, after the folders of package and app."""
        printed: list[str] = json.loads(self.call("-c", DRIVER, json.dumps(commands)).stdout.splitlines()[-1])
        return printed


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Both packages, built and installed, and the dependencies of the environment that runs the tests."""
    environment = Environment(tmp_path_factory.mktemp("environment"), tmp_path_factory.mktemp("here"))
    venv.create(environment.folder, symlinks=True, with_pip=False)
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    packages = [str(ROOT), str(PLUGIN)]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "--target", str(environment.site), *packages], check=True
    )
    # A folder that is named in such a file is searched, but its own files of this kind, the checkout's, are not read.
    folders = [folder for folder in sys.path if Path(folder).name in {"site-packages", "dist-packages"}]
    (environment.site / "dependencies.pth").write_text("\n".join(folders))
    return environment


def test_the_wheel_carries_what_lies_above_the_package(installed: Environment) -> None:
    package = installed.site / "pfmsmtrec_flwr"
    assert (package / "py.typed").is_file()
    for name in ("LICENSE", "client_app.py", "server_app.py", "pyproject.toml"):
        assert (package / "app" / name).read_bytes() == (ROOT / name).read_bytes()
        assert not (installed.site / name).exists()
    for name in ("conf", "datasets"):
        carried, own = ({file.name for file in (folder / name).iterdir()} for folder in (package / "app", ROOT))
        assert carried == own
    sources = {file.relative_to(ROOT) for file in (ROOT / "pfmsmtrec_flwr").rglob("*.py")}
    assert sources <= {file.relative_to(installed.site) for file in package.rglob("*.py")}


def test_commands_with_a_method_an_architecture_and_a_schema_of_another_package(installed: Environment) -> None:
    draw = random.Random(0)
    with (installed.here / "impressions.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["country", "visitor", "item", "price", "clicked"])
        for _ in range(1200):
            table.writerow(
                [draw.choice(["NL", "BE"]), draw.randrange(90), draw.randrange(50), draw.random(), draw.randrange(2)]
            )
    small = ["federation.rounds=2", "federation.reference=[]", "federation.draws=20", "train.batch_size=64"]
    package, app, methods, schemas, settings, prepared, ran, _ = installed.commands(
        ["methods"],
        ["data", "schemas"],
        ["settings", "fedavgm"],
        ["prepare", "two-markets", "--source", ".", "--data", "data"],
        [
            *("run", "--engine", "inline", "--method", "fedavgm", "--data", "data", "--output", "out"),
            *("--set", "fedavgm.beta=0.5", "--set", "model.architecture=deep-cross", "--set", "data.name=two-markets"),
            *(word for setting in small for word in ("--set", setting)),
        ],
        ["predict", "out/clients/fedavgm/NL", "impressions.csv", "--output", "scores.csv"],
    )
    assert Path(package).is_relative_to(installed.site) and Path(app) == Path(package).parent / "app"
    assert "fedavgm is a method of the package pfmsmtrec-example 0.1.0" in methods
    assert "two-markets" in schemas and "pfmsmtrec-example 0.1.0" in schemas
    assert "fedavgm.beta" in settings
    assert "two-markets NL: " in prepared and "two-markets BE: " in prepared
    assert "fedavgm on two-markets, test data, seed 0, 2 rounds" in ran
    results = json.loads((installed.here / "out" / "results.json").read_text())
    assert results["method"] == "fedavgm" and results["scenarios"].keys() == {"NL", "BE"}
    assert len((installed.here / "scores.csv").read_text().splitlines()) > 500
