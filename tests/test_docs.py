"""What the documentation names exists, its commands parse, its settings are settings, and its Python runs."""

from __future__ import annotations

import ast
import importlib
import itertools
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel
from typer.core import TyperCommand
from typer.main import get_command

import pfmsmtrec_flwr
from pfmsmtrec_flwr.cli import app
from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.methods import METHODS
from pfmsmtrec_flwr.methods.configuration import load_config
from pfmsmtrec_flwr.upgrades import UPGRADES

ROOT = Path(pfmsmtrec_flwr.__file__).resolve().parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "datasets" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
SUFFIXES = {".py", ".md", ".yaml", ".toml"}
RUN_FILES = {
    "results.json",
    "metrics.jsonl",
    "config.yaml",
    "config.toml",
    "MODEL_CARD.md",
    "model.json",
    "model.safetensors",
    "schema.yaml",
    "model.onnx",
    "summary.json",
    "tuned.yaml",
    *("apps.yaml", "binding.yaml", "compose.yaml", "limits.yaml"),
}  # written by a run or for a deployment, or Flower's
PLACEHOLDERS = {"shared_towers.py", "my_method.py", "NAME.yaml"}
PAGES_METHODS = ("shared-towers", "my-method")  # methods that a page writes

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def fences(text: str, language: str) -> list[str]:
    """Contents of the fenced blocks of a language, indented ones too."""
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)


def without_fences(text: str) -> str:
    return re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)


def quoted(text: str) -> list[str]:
    """What stands between backticks."""
    return re.findall(r"`([^`\n]+)`", without_fences(text))


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.+)$", without_fences(page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def symbols(path: Path) -> set[str]:
    """Functions, classes and assigned names of a module, methods as ``Class.method``."""

    def within(body: list[ast.stmt], prefix: str) -> Iterator[str]:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                yield prefix + node.name
            if isinstance(node, ast.ClassDef):
                yield from within(node.body, f"{node.name}.")

    return set(within(ast.parse(path.read_text()).body, ""))


@pages
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_fences(page.read_text())):
        if re.match(r"https?:", target):
            continue
        name, _, anchor = target.partition("#")
        there = (page.parent / name).resolve() if name else page
        assert there.exists(), target
        if anchor:
            assert anchor in anchors(there), target


@pages
def test_named_files_and_functions_exist(page: Path) -> None:
    for name in quoted(page.read_text()):
        path, colon, symbol = name.partition(":")
        plain = re.fullmatch(r"[\w./-]+", path) and (Path(path).suffix in SUFFIXES or path.endswith("/"))
        local = path.split("/")[0] in {child.name for child in ROOT.iterdir()}
        if not plain or not (local or colon or "/" not in path) or path in RUN_FILES | PLACEHOLDERS:
            continue
        if "NAME" in Path(path).name:  # a file to be written: its folder exists
            path = str(Path(path).parent)
        found = [base / path for base in (ROOT, page.parent) if (base / path).exists()]
        assert found, name
        if colon:
            assert symbol in symbols(found[0]), name


def commands(page: Path) -> list[list[str]]:
    """The `pfmsmtrec` commands of a page, from its shell blocks and between backticks, without comments."""
    text = page.read_text()
    lines = [line for block in fences(text, "sh") for line in block.replace("\\\n", " ").splitlines()]
    parts = [part.strip() for line in lines + quoted(text) for part in re.split(r"&&|;", line)]
    words = [shlex.split(part, comments=True)[1:] for part in parts if part.startswith("pfmsmtrec ")]
    return [list(itertools.takewhile(lambda word: word != ">", line)) for line in words]  # without redirection


@pages
def test_commands_parse(page: Path) -> None:
    for words in commands(page):
        parse(words)


def parse(words: list[str]) -> None:
    """Parse a command line down to the command that it names, whose arguments may be left out; nothing is run."""
    command = get_command(app)
    rest = words
    while rest and rest[0] in getattr(command, "commands", {}):
        command, rest = command.commands[rest[0]], rest[1:]  # type: ignore[attr-defined]
    assert not hasattr(command, "commands"), f"no command in {words}"
    if rest:
        command.make_context(words[0], list(rest))  # an unknown option or a wrong type raises


@pages
def test_options_that_are_named_exist(page: Path) -> None:
    known = {option for command in walk(get_command(app)) for parameter in command.params for option in parameter.opts}
    others = {  # those of Flower, pip, pytest and systemctl
        *("--dist", "--no-deps"),
        *("--stream", "--run-config", "--federation-config", "--node-config", "--insecure", "--superlink", "--port"),
        *("--host", "--enable-supernode-auth", "--root-certificates", "--auth-supernode-private-key"),
        *("--ssl-ca-certfile", "--ssl-certfile", "--ssl-keyfile", "--disable-runtime-dependency-installation"),
        *("--control-api-address", "--trusted-entities", "--now"),
    }
    benchmarks = "".join(script.read_text() for script in (ROOT / "benchmarks").glob("*.py"))
    known = known | set(re.findall(r'add_argument\("(--[a-z-]+)"', benchmarks))
    for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", page.read_text()):
        assert option in known | others, option


def walk(command: object) -> Iterator[TyperCommand]:
    yield command  # type: ignore[misc]
    for inner in getattr(command, "commands", {}).values():
        yield from walk(inner)


SECTIONS = [name for name, field in RunConfig.model_fields.items() if isinstance(field.default, BaseModel)]
SETTING = re.compile(rf"(?<![.\w-])((?:{'|'.join(SECTIONS)})\.[a-z_]+)\b(?!\.(?:py|md|yaml)|\()")


OWN_SETTING = re.compile(rf"(?<![.\w/-])((?:{'|'.join(METHODS)})\.[A-Za-z_]+)\b(?!\.\w|\()")


def text_without_old_names(page: Path) -> str:
    """Text of a page; on the page of upgrades, whose tables begin with the old name, without the first cells."""
    text = re.sub(r"https?://\S+", "", page.read_text())
    return re.sub(r"^\| `[^|]*\|", "|", text, flags=re.MULTILINE) if page.name == "upgrading.md" else text


@pages
def test_settings_of_methods_that_are_named_exist(page: Path) -> None:
    for name in OWN_SETTING.findall(text_without_old_names(page)):
        method, key = name.split(".")
        assert key in METHODS[method].settings.model_fields, name


@pages
def test_settings_that_are_named_exist(page: Path) -> None:
    text = text_without_old_names(page)
    for name in SETTING.findall(text):
        if (
            name in RUN_FILES
            or name.endswith((".csv", ".md", ".py"))
            or (page.name == "CHANGELOG.md" and name in UPGRADES)
        ):
            continue
        section, key = name.split(".")
        assert key in type(getattr(RunConfig(), section)).model_fields, name


@pages
def test_run_config_keys_and_their_settings_are_accepted(page: Path) -> None:
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["flwr"]["app"]["config"]
    for given in re.findall(r'--run-config "([^"\n]*)"', page.read_text()):
        pairs = [word.partition("=") for word in shlex.split(given)]
        assert {key for key, _, _ in pairs} <= known.keys(), given
        overrides = [word for key, _, value in pairs if key == "set" for word in shlex.split(value)]
        overrides = [value for value in overrides if not any(name in value for name in PAGES_METHODS)]
        load_config("synthetic", overrides=overrides)


@pages
def test_settings_of_commands_are_accepted(page: Path) -> None:
    for words in commands(page):
        overrides = [value for option, value in itertools.pairwise(words) if option == "--set"]
        overrides = [value for value in overrides if not any(name in value for name in PAGES_METHODS)]
        load_config("synthetic", overrides=overrides)


@pages
def test_yaml_blocks_are_yaml(page: Path) -> None:
    for block in fences(page.read_text(), "yaml"):
        yaml.safe_load(block)


def test_the_python_of_the_extending_page_runs(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "extending.md"
    blocks = fences(page.read_text(), "python")
    assert len(blocks) >= 6
    names: dict[str, object] = {"__name__": "extending"}
    for number, block in enumerate(blocks):
        if file := re.match(r"# (\w+\.py)\n", block):  # a file of the reader's
            Path(file[1]).write_text(block)
            continue
        exec(compile(block, f"{page.name}, block {number}", "exec"), names)
    printed = capsys.readouterr().out
    assert "NL {'ctr': 0." in printed
    assert "my-method 0." in printed
    assert "[('alpha', " in printed
    assert sorted(folder.name for folder in (tmp_path / "runs").iterdir()) == [
        "first",
        "quantile",
        "shared-towers",
        "shop",
    ]
    assert list(home.iterdir()) == []  # nothing beside the folders that the page names


def test_the_names_that_may_be_overridden_exist() -> None:
    rows = re.findall(r"^\| (?:server|client), .*$", (ROOT / "docs" / "extending.md").read_text(), re.MULTILINE)
    assert len(rows) == 4
    for row in rows:
        place, *names = re.findall(r"`([\w./:]+)`", row.replace("`pf-msmtrec`", "pf-msmtrec"))
        path, _, name = place.partition(":")
        kind = getattr(importlib.import_module(path.removesuffix(".py").replace("/", ".")), name)
        assert len(names) >= 4
        for each in names:
            assert hasattr(kind, each), f"{place}.{each}"


GREEK = {
    *("alpha", "beta", "gamma", "delta", "epsilon", "eta", "theta", "lambda", "mu", "nu", "pi", "rho", "sigma", "tau"),
    *("phi", "psi", "omega", "Delta", "Theta", "Lambda", "Sigma", "Omega"),
}


def letters(text: str) -> set[str]:
    """Letters of a text's equations, Latin and Greek, without words, operators and fonts."""
    text = without_fences(text)
    displayed = re.findall(r"\$\$(.+?)\$\$", text, re.DOTALL)
    inline = re.findall(r"\$([^$\n]+)\$", re.sub(r"\$\$.+?\$\$", "", text, flags=re.DOTALL))
    equations = re.sub(r"\\(?:text|mathrm)\s*\{[^}]*\}", " ", " ".join(displayed + inline))
    words = re.findall(r"\\[A-Za-z]+|[A-Za-z]", equations)
    return {word for word in words if len(word) == 1 or word[1:] in GREEK}


def test_the_glossary_has_every_symbol_of_the_equations() -> None:
    used = letters((ROOT / "docs" / "method.md").read_text())
    assert {"\\alpha", "\\mu", "U", "G", "w"} <= used
    symbols_section = (ROOT / "docs" / "glossary.md").read_text().partition("## Symbols")[2].partition("## Terms")[0]
    first_cells = " ".join(line.split(" | ")[0] for line in symbols_section.splitlines() if line.startswith("| $"))
    assert used - letters(first_cells) == set()


def test_every_line_of_the_glossary_says_where_its_entry_is_defined() -> None:
    lines = [line for line in (ROOT / "docs" / "glossary.md").read_text().splitlines() if line.startswith("| ")]
    entries = [line.strip("| ").split(" | ") for line in lines if not line.endswith("| defined in |")]
    assert len(entries) > 80
    for entry in entries:
        assert len(entry) == 3 and entry[1], entry
        assert "](" in entry[2] or entry[2].startswith("`pfmsmtrec_flwr/"), entry
    names = [entry[0] for entry in entries]
    assert len(names) == len(set(names))


def test_quoted_code_is_that_of_the_file() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text()
    quotations = re.findall(r"<!-- quoted: (\S+) -->\n```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(quotations) == page.count("<!-- quoted: ") >= 1
    for name, block in quotations:
        code = [line.strip() for line in (ROOT / name).read_text().splitlines()]
        quoted_lines = [line.strip() for line in block.splitlines()]
        assert any(code[at : at + len(quoted_lines)] == quoted_lines for at in range(len(code))), name


def test_the_layout_names_every_room_of_the_package() -> None:
    (layout,) = fences((ROOT / "docs" / "architecture.md").read_text(), "text")
    package = ROOT / "pfmsmtrec_flwr"
    modules = [path.name for path in package.glob("*.py") if path.name != "__init__.py"]
    rooms = [f"{path.parent.name}/" for path in package.glob("**/__init__.py") if path.parent != package]
    missing = {name for name in modules + rooms if not re.search(rf"(?m)(?:^|[ ,]){re.escape(name)}", layout)}
    assert missing <= {"figures/"}  # of the report, too small to be named


def test_the_citation_names_the_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == pfmsmtrec_flwr.__version__
    (paper,) = citation["references"]
    assert paper["title"] in (ROOT / "README.md").read_text()
    assert paper["doi"] in (ROOT / "README.md").read_text()


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 170
