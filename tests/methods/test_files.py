"""Methods in Python files: what is found, what is refused, and that one trains like the method it copies."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from federated import Tiny, same
from flwr.app import Context, RecordDict
from replies import unpack_replies
from safetensors.torch import load_file

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.experiment import run_inline
from pfmsmtrec_flwr.federation.node import answer
from pfmsmtrec_flwr.federation.protocol import Incoming, Order, Reply, pack_orders
from pfmsmtrec_flwr.methods import client_of, federated_method, find_method
from pfmsmtrec_flwr.methods.configuration import complete, load_config

METHOD = """
from __future__ import annotations

from pfmsmtrec_flwr.methods.base import FederatedMethod
from pfmsmtrec_flwr.methods.pf_msmtrec import PFMSMTRec, PFMSMTRecClient, PFMSMTRecSettings


class Settings(PFMSMTRecSettings):
    more: float = 0.5


class Server(PFMSMTRec):
    settings_type = Settings


class Client(PFMSMTRecClient):
    settings_type = Settings


METHOD = FederatedMethod(
    name="my-method",
    summary="",
    source="",
    strategy=Server,
    client=Client,
    parameters="personalised",
    settings=Settings,
)
"""


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an app: it alone is next to client_app.py."""
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "client_app.py").touch()
    monkeypatch.delitem(sys.modules, "client_app", raising=False)
    monkeypatch.syspath_prepend(folder)
    return folder


@pytest.fixture
def file(app: Path) -> Path:
    path = app / "my_method.py"
    path.write_text(METHOD)
    return path


def test_a_file_is_found_by_its_path_and_by_its_name_next_to_the_app(file: Path) -> None:
    for reference in (str(file), "my_method.py"):
        method = federated_method(reference)
        assert (method.name, method.file) == ("my-method", reference)
        assert client_of(reference) is method.client
    assert find_method(str(file)).settings is find_method("my_method.py").settings  # the file is imported once


def test_a_changed_file_is_read_again(file: Path) -> None:
    assert find_method(str(file)).summary == ""
    file.write_text(METHOD.replace('summary=""', 'summary="changed"'))
    assert find_method(str(file)).summary == "changed"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("X = 1", r"method file FILE defines no METHOD: see docs/extending\.md"),
        ("METHOD = 3", "method file FILE: METHOD is a int, expected a FederatedMethod"),
        (
            METHOD.replace("my-method", "fedavg"),
            "method file FILE: a method 'fedavg' exists already, choose .*",
        ),
        (METHOD.replace("my-method", "../x"), "method file FILE: got the name '../x', expected lower-case letters, .*"),
        (
            METHOD.replace("my-method", "train"),
            "method file FILE: got the name 'train', expected .* none of .*",
        ),
        (
            "import nowhere_at_all",
            "method file FILE cannot be imported: ModuleNotFoundError: No module .*",
        ),
        ("def f(:", r"method file FILE cannot be imported: SyntaxError: .*"),
        ("raise ValueError('one\\ntwo')", "method file FILE cannot be imported: ValueError: one"),
    ],
)
def test_a_file_that_is_no_method_is_refused_in_one_line(file: Path, text: str, message: str) -> None:
    file.write_text(text)
    with pytest.raises(UserError) as caught:
        find_method(str(file))
    assert re.fullmatch(message.replace("FILE", str(file)), str(caught.value))


def test_a_file_that_is_missing_or_elsewhere_is_refused(app: Path) -> None:
    with pytest.raises(UserError, match=rf"^method file {app}/none\.py does not exist$"):
        find_method("none.py")
    for reference in ("../my_method.py", "sub/my_method.py", "./my_method.py"):
        with pytest.raises(UserError, match=r"expected the name of a file next to client_app\.py, or an abs"):
            find_method(reference)


def test_settings_of_a_file_are_checked_under_the_name_of_its_method(file: Path) -> None:
    config = load_config("synthetic", method=str(file), overrides=["my-method.more=0.25", "my-method.train.lr=0.5"])
    own = find_method(str(file)).configure(config)
    assert (own.method, own.methods["my-method"]["more"], own.train.lr) == ("my-method", 0.25, 0.5)
    assert complete(config).methods["my-method"]["more"] == 0.25
    with pytest.raises(UserError, match=r"unknown key 'mor' of method my-method; did you mean 'more'\?$"):
        load_config("synthetic", method=str(file), overrides=["my-method.mor=1"])
    with pytest.raises(UserError, match="'my-method' is neither a section nor a method"):
        load_config("synthetic", overrides=["my-method.more=1"])


def test_two_files_of_one_name_are_refused(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.py"
    other.write_text(METHOD)
    with pytest.raises(UserError, match=rf"^{file} and {other} both define a method 'my-method'$"):
        load_config("synthetic", method=str(file), overrides=[f"federation.reference=[{other}]"])


def test_a_file_trains_as_the_method_that_it_copies(tiny: Tiny, tmp_path: Path) -> None:
    file = tmp_path / "my_method.py"
    file.write_text(METHOD)
    config = tiny.config().model_copy(update={"method": str(file), "methods": {"my-method": {"more": 0.75}}})
    (results,) = run_inline(config, data=tiny.root, output=tmp_path / "out")
    assert results.method == "my-method"
    written = tmp_path / "out" / "clients" / "my-method"
    models = {folder.name: load_file(folder / "model.safetensors") for folder in written.iterdir()}
    assert same(models, tiny.train(tiny.config(), tmp_path / "original").models)
    assert json.loads((written / "FR" / "model.json").read_text())["method"] == "my-method"


def test_the_command_takes_a_file_of_the_working_directory(
    pfmsmtrec: Callable[..., int], tiny_conf: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("my_method.py").write_text(METHOD)
    options = ["--engine", "inline", "--set", "my-method.more=0.25", "--set", "federation.reference=[]"]
    small = "data.synthetic={train_rows: {NL: 300, US: 160}, validation_rows: 100, test_rows: 120, ctr: 0.3}"
    run = ["run", "--conf", tiny_conf, "--method", "my_method.py", *options, "--set", small]
    assert pfmsmtrec(*run, "--output", "out", "--data", "data") == 0
    assert capsys.readouterr().out.startswith("my-method on synthetic, results in ")
    assert f"method: {Path('my_method.py').resolve()}\n" in Path("out/config.yaml").read_text()
    assert json.loads(Path("out/results.json").read_text())["method"] == "my-method"
    assert pfmsmtrec("run", "--method", "none.py") == 1
    assert capsys.readouterr().err == f"error: method file {Path('none.py').resolve()} does not exist\n"
    assert pfmsmtrec("compare", tiny_conf, "--methods", "my_method.py", "--data", "data") == 1
    assert "a comparison takes names of methods, got the file my_method.py" in capsys.readouterr().err


@pytest.mark.parametrize("outside", ["/servers/my_method.py", "../my_method.py", "sub/my_method.py"])
def test_a_deployed_node_loads_no_file_outside_the_app(tiny: Tiny, tmp_path: Path, outside: str) -> None:
    node: dict[str, str | int | float] = {"data": str(tiny.root), "state": str(tmp_path), "scenarios": "US"}
    context = Context(run_id=1, node_id=9, node_config=dict(node), state=RecordDict(), run_config={})
    config = tiny.config(federation__scenarios=["US"])

    def load(reference: str) -> type:
        assert reference == "my_method.py"
        return client_of("pf-msmtrec")

    def asked(file: str, method: str = "my-method") -> str:
        order = Order(config.model_dump_json(), method, 1, 1, file=file)
        content = pack_orders(order, Incoming({}, {}), ["US"])
        called = answer(content, context, load, lambda *_: Reply())
        return unpack_replies(called)["US"].error

    said = "[path]" if outside.startswith("/") else outside  # no absolute path leaves a deployed node
    assert asked(outside) == (
        f"the server names the method file {said}, and a node loads files next to client_app.py only: "
        "put it there, and name it without its folder"
    )
    assert asked("", method=outside) == f"got the name '{said}', expected letters, digits, '_', '-' and '.' only"
    assert asked("my_method.py") == ""
