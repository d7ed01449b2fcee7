from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from compared import finished_of
from reported import RunMaker

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.report import write_report
from pfmsmtrec_flwr.report.page import inline_svg, write_page
from pfmsmtrec_flwr.report.reading import read_study
from pfmsmtrec_flwr.report.study import Study
from pfmsmtrec_flwr.results.bootstrap import Bootstrap, Leaders, PairedDifference
from pfmsmtrec_flwr.results.summarizing import summarize

VOID = {"meta", "br", "link", "img", "hr"}


class Reader(HTMLParser):
    """Checks that what is opened is closed, and keeps what the tests look at."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and data.strip():
            self.texts.append((self.open[-1], data.strip()))

    def values(self, attribute: str) -> list[str]:
        return [value for _, name, value in self.attributes if name == attribute]

    def all(self, tag: str) -> list[str]:
        return [text for where, text in self.texts if where == tag]


@pytest.fixture(scope="module")
def folder(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the report of the whole comparison was written."""
    made = tmp_path_factory.mktemp("page")
    assert write_page(study, made / "report.html", made / "figures", ["svg"]) == made / "report.html"
    return made


@pytest.fixture(scope="module")
def page(folder: Path) -> Reader:
    return Reader((folder / "report.html").read_text(encoding="utf-8"))


def test_the_head_says_what_was_run(page: Reader) -> None:
    shown = dict(zip(page.all("dt"), page.all("dd"), strict=True))
    assert page.all("h1") == ["PF-MSMTrec on böden & co"]
    assert shown["methods"] == "base-rate, alone, fedavg, pf-msmtrec"
    assert (shown["scenarios"], shown["tasks"], shown["seeds"]) == ("NL, US", "ctr, ctcvr", "0, 1")
    assert "torch" in shown["versions"]
    assert page.all("strong")[:2] == ["0.7000 ± 0.0141", "0.7000 ± 0.0141"]


def test_every_section_is_there_and_can_be_reached(page: Reader) -> None:
    anchors = [value.removeprefix("#") for tag, name, value in page.attributes if (tag, name) == ("a", "href")]
    assert anchors == [value for tag, name, value in page.attributes if (tag, name) == ("section", "id")]
    assert anchors == [
        "result",
        "auc",
        "learning",
        "traffic",
        "shares",
        "conflict",
        "attention",
        "gates",
        "probabilities",
        "gauc",
        "cost",
        "data",
    ]


def test_the_cells_hold_numbers_beside_their_colours(page: Reader) -> None:
    cells = page.all("td")
    assert {"0.8000", "0.6000", "n/a", "1.1250", "0.2500", "50.0%"} <= set(cells)
    assert "±0.0141" in page.all("small")
    assert [value for value in page.values("class") if value.startswith("level8")]
    assert not [value for value in page.values("class") if value.endswith(" best")]  # no interval, no lead


def test_with_intervals_the_margin_and_those_in_the_lead_are_shown(study: Study, tmp_path: Path) -> None:
    difference = PairedDifference(
        variant="fedavg",
        other="pf-msmtrec",
        task="ctr",
        seeds=2,
        difference=-0.05,
        low=-0.07,
        high=-0.03,
        error=0.01,
        p=0.5,
    )
    bootstrap = Bootstrap(
        draws=100,
        units=9,
        unit="users",
        differences=[difference],
        leaders=[Leaders(task="ctr", variants=["pf-msmtrec"])],
        smallest={"ctr": 0.028},
    )
    runs = [finished_of(each.name, {run.results.seed: run.results for run in each.runs}) for each in study.variants]
    summary = summarize(runs, "pf-msmtrec").model_copy(update={"bootstrap": bootstrap})
    write_page(replace(study, summary=summary), tmp_path / "report.html", tmp_path / "figures", ["svg"])
    page = Reader((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "(personalised); +0.0500 [+0.0300, +0.0700] above fedavg" in page.all("span")
    assert "(personalised); no interval" in page.all("span")
    assert page.values("class").count("level8 best") == 3
    assert "-0.0500 [-0.0700, -0.0300]" in page.all("td")
    assert any("smallest difference that these test rows can show" in text for text in page.all("p"))
    assert (tmp_path / "tables" / "differences.csv").is_file()


def test_what_a_reader_has_to_know_is_said(page: Reader) -> None:
    said = " ".join(text for _, text in page.texts)
    assert "the test rows of ctcvr in US are all of one class, over which no AUC is defined" in said
    assert "US: negatives are <sampled>" in said  # as text, not as an element
    assert "Not every method was run with every seed" in said
    assert "Left out" not in said


def test_the_page_needs_nothing_but_itself(folder: Path, page: Reader) -> None:
    targets = page.values("src") + page.values("href") + page.values("xlink:href")
    assert targets and all(target.startswith("#") for target in targets)
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"@import|@font-face|url\((?!#)|<script|<link", html)
    assert set(re.findall(r"https?://[^\"' ]+", html)) == {
        "http://www.w3.org/1999/xlink",
        "http://www.w3.org/2000/svg",
    }  # names of XML, not addresses


def test_ids_are_unique_and_every_reference_finds_one(folder: Path, page: Reader) -> None:
    ids = Counter(page.values("id"))
    assert {name for name, count in ids.items() if count > 1} == set()
    html = (folder / "report.html").read_text(encoding="utf-8")
    used = set(re.findall(r"url\(#([^)]+)\)", html)) | {value[1:] for value in page.values("xlink:href")}
    assert used and used <= ids.keys()


def test_every_picture_says_what_it_shows_and_is_a_file(folder: Path, page: Reader) -> None:
    drawn = [value for tag, name, value in page.attributes if (tag, name) == ("svg", "aria-label")]
    assert len(drawn) == len(page.all("figcaption")) == 13 and all(drawn)
    named = re.findall(r"figures/(\S+\.svg)", " ".join(page.all("small")))
    assert sorted(named) == sorted(file.name for file in (folder / "figures").iterdir())
    assert len(named) == 13


def test_every_table_is_marked_up_and_a_file(folder: Path, page: Reader) -> None:
    stems = re.findall(r"tables/(\S+)\.md, \.csv, \.tex", " ".join(page.all("p")))
    named = [f"{stem}.{ending}" for stem in stems for ending in ("md", "csv", "tex")]
    assert sorted(named) == sorted(file.name for file in (folder / "tables").iterdir())
    tables = sum(tag == "div" and name == "role" for tag, name, _ in page.attributes)
    assert len(named) == 3 * tables
    assert {"row", "col", "rowgroup"} == set(page.values("scope"))


@pytest.fixture
def alone(maker: RunMaker) -> Path:
    """Folder of a single run of one method, that learns nothing and sends nothing."""
    return maker.write(maker.results("alone", 0.6, family="alone"), maker.root)


def test_a_section_without_data_is_left_out(alone: Path) -> None:
    page = Reader(write_report(alone, alone / "report.html", alone / "figures", ["svg"]).read_text(encoding="utf-8"))
    sections = [value for tag, name, value in page.attributes if (tag, name) == ("section", "id")]
    assert sections == ["result", "auc", "learning", "probabilities", "gauc", "cost", "data"]
    assert "level8" not in page.values("class")[20:]  # nothing to compare with


def test_the_same_results_give_the_same_files(alone: Path, tmp_path: Path) -> None:
    written = []
    for name in ("one", "other"):
        made = tmp_path / name
        write_page(read_study(alone), made / "report.html", made / "figures", ["svg", "png", "pdf"])
        written.append({str(file.relative_to(made)): file.read_bytes() for file in made.rglob("*") if file.is_file()})
    assert written[0] == written[1]
    endings = Counter(Path(name).suffix for name in written[0])
    assert endings[".svg"] == endings[".png"] == endings[".pdf"] == 4
    assert written[0]["figures/ranking-ctr.png"].startswith(b"\x89PNG")


def test_unfinished_runs_are_named(maker: RunMaker) -> None:
    maker.write(maker.results("alone", 0.6, family="alone"))
    (maker.root / "runs" / "fedavg" / "seed4-aa").mkdir(parents=True)
    page = write_report(maker.root, maker.root / "report.html", maker.root / "figures", []).read_text(encoding="utf-8")
    assert "Left out, as they have not finished: fedavg seed4-aa." in page
    assert list((maker.root / "figures").iterdir()) == []


def test_a_place_that_cannot_be_written_is_refused(alone: Path) -> None:
    (alone / "taken").write_text("")
    with pytest.raises(UserError, match=r"^cannot write .*taken"):
        write_report(alone, alone / "taken" / "report.html", alone / "figures", ["svg"])


def test_names_in_a_picture_become_its_own() -> None:
    svg = (
        '<?xml version="1.0"?>\n<svg width="24pt" height="12pt" viewBox="0 0 24 12">'
        '<rect id="m1" width="5" height="6"/><use xlink:href="#m1" clip-path="url(#p2)"/></svg>'
    )
    assert inline_svg(svg, "auc-NL", 'a "b" <c>') == (
        '<svg role="img" aria-label="a &#34;b&#34; &lt;c&gt;" viewBox="0 0 24 12">'
        '<rect id="auc-NL-m1" width="5" height="6"/><use xlink:href="#auc-NL-m1" clip-path="url(#auc-NL-p2)"/></svg>'
    )
