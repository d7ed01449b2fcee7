"""Site pages that do not lie in docs/, which are those of other folders and the reference of the package; equations."""

from __future__ import annotations

import html
import os
import posixpath
import re
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGE = "pfmsmtrec_flwr"
ADOPTED = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "datasets/README.md": "datasets.md",
}  # path in the repository: path in the site

_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
_EQUATION = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.+?)\\[)\]]</\1>', re.DOTALL)
_FENCE = re.compile(r"(^ *```.*?^ *```)", re.MULTILINE | re.DOTALL)


def rooms() -> list[str]:
    """Names of the package's public rooms and top-level modules, sorted."""
    found = [
        child.stem for child in (ROOT / PACKAGE).iterdir() if child.suffix == ".py" or (child / "__init__.py").exists()
    ]
    return sorted(name for name in found if not name.startswith("_"))


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Append the reference to the navigation."""
    assert config.nav is not None
    config.nav.append({"Reference": [{name: f"reference/{name}.md"} for name in rooms()]})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the adopted pages, and a page that documents each room."""
    for source, target in ADOPTED.items():
        files.append(File.generated(config, target, content=(ROOT / source).read_text(encoding="utf-8")))
    for name in rooms():
        content = f"# {PACKAGE}.{name}\n\n::: {PACKAGE}.{name}\n"
        files.append(File.generated(config, f"reference/{name}.md", content=content))
    return files


def on_page_markdown(markdown: str, *, page: Page, files: Files, **_: object) -> str:
    """Point links, which are those of the repository, to pages of the site.

    A link to a file that the site does not have keeps its text alone.
    """
    here = page.file.src_uri
    source = next((origin for origin, target in ADOPTED.items() if target == here), f"docs/{here}")

    def moved(link: re.Match[str]) -> str:
        image, text, target = link.groups()
        path, hash_sign, anchor = target.partition("#")
        if not path or re.match(r"[a-z]+:", target):
            return link[0]
        in_repository = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        in_site = ADOPTED.get(in_repository, in_repository.removeprefix("docs/"))
        if files.get_file_from_path(in_site) is None:
            assert (ROOT / in_repository).exists(), f"{source}: no {target}"
            return text
        relative = os.path.relpath(in_site, posixpath.dirname(here) or ".")
        return f"{image}[{text}]({relative}{hash_sign}{anchor})"

    parts = _FENCE.split(markdown)  # every second part is a fenced block
    return "".join(part if number % 2 else _LINK.sub(moved, part) for number, part in enumerate(parts))


def on_page_content(content: str, **_: object) -> str:
    """Write equations as MathML, which browsers show without a script from the network."""

    def written(equation: re.Match[str]) -> str:
        display = "block" if equation[1] == "div" else "inline"
        return convert(html.unescape(equation[2]), display=display)

    return _EQUATION.sub(written, content)
