"""Second sitting of a tuning: every method tries the common settings of the best other methods.

    pfmsmtrec compare synthetic --tune 24 --tune-on 101,102 --tune-seeds 1 --tune-only --output TUNED --methods LIST
    python benchmarks/exchanged_settings.py synthetic --tuned TUNED/tuned.yaml --worlds 101,102 --output OUT

A search of a few trials over fifteen settings may never come near learning rates and dropouts that suit all methods.
So each method takes what every network has, such as these, from each of the three best others. Its own settings are
those of its tuning, and those of the conf file. All methods are treated alike. A trial goes on to the next worlds if it
is within `MARGIN` of the method's tuned settings in the first one. OUT/tuned.yaml has the best of all, for
`pfmsmtrec compare --tuned`. Repeated, the command goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import yaml

from pfmsmtrec_flwr.cli.options import DATA_FOLDER
from pfmsmtrec_flwr.comparison.pruning import run_score
from pfmsmtrec_flwr.config import Settings
from pfmsmtrec_flwr.results.schema import RESULTS_NAME
from pfmsmtrec_flwr.validation import dump_yaml

MARGIN = 0.004
BEST = 3


@dataclass(frozen=True, slots=True)
class Candidate:
    """Settings that a method tries, and where they come from."""

    method: str
    source: str
    settings: Settings


@dataclass(frozen=True, slots=True)
class Bench:
    """Where trials run."""

    conf: str
    data: Path
    worlds: Sequence[str]
    output: Path

    def score(self, candidate: Candidate, world: str) -> float | None:
        """Return the validation AUC of a candidate in a world; the run is made unless it is there."""
        folder = self.output / candidate.method / candidate.source / world
        if not (folder / RESULTS_NAME).exists():
            command = [sys.executable, "-m", "pfmsmtrec_flwr", "run", "--engine", "inline", "--conf", self.conf]
            command += ["--method", candidate.method, "--data", str(self.data), "--output", str(folder)]
            fixed = {"data.synthetic.seed": world, "train.threads": 1, "federation.reference": "[]"}
            for key, value in {**fixed, **candidate.settings}.items():
                command += ["--set", f"{key if '.' in key else f'{candidate.method}.{key}'}={value}"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return run_score(folder)

    def mean_score(self, candidate: Candidate, least: float) -> float | None:
        """Return the mean score over the worlds; None if the first one is below the least, or one has no figure."""
        first = self.score(candidate, self.worlds[0])
        if first is None or first < least:
            return None
        scores = [first, *(self.score(candidate, world) for world in self.worlds[1:])]
        known = [score for score in scores if score is not None]
        return fmean(known) if len(known) == len(scores) else None


def candidates_of(tuned: Mapping[str, Settings], ranking: Sequence[str]) -> Iterator[Candidate]:
    """Return what each method tries: common settings of the best others, with its own as tuned and as in the conf."""
    for method in ranking:
        own = {key: value for key, value in tuned[method].items() if "." not in key}
        for other in [name for name in ranking if name != method][:BEST]:
            common = {key: value for key, value in tuned[other].items() if "." in key and key in tuned[method]}
            yield Candidate(method, f"{other}-tuned", common | own)
            if own:
                yield Candidate(method, f"{other}-start", common)


def tuned_scores(text: str) -> dict[str, float]:
    """Return the validation AUC of each method in a file of chosen settings."""
    return {name: float(score) for name, score in re.findall(r'"([\w-]+)":  # validation AUC ([\d.]+)', text)}


def exchanged(bench: Bench, text: str, jobs: int) -> dict[str, tuple[float, Candidate]]:
    """Return the best score and settings of each method, those of its tuning among them."""
    tuned: dict[str, Settings] = yaml.safe_load(text)["methods"]
    known = tuned_scores(text)
    ranking = sorted(known, key=known.__getitem__, reverse=True)
    first = [Candidate(method, "tuned", tuned[method]) for method in ranking]
    with ThreadPoolExecutor(jobs) as pool:
        began = dict(zip(ranking, pool.map(lambda each: bench.score(each, bench.worlds[0]), first), strict=True))
        least = {method: -1.0 if score is None else score - MARGIN for method, score in began.items()}
        found = [*first, *candidates_of(tuned, ranking)]
        scores = pool.map(lambda each: bench.mean_score(each, least[each.method]), found)
        best: dict[str, tuple[float, Candidate]] = {}
        for candidate, score in zip(found, scores, strict=True):
            shown = "not repeated" if score is None else f"{score:.4f}"
            print(f"{candidate.method}, {candidate.source}: {shown}", flush=True)
            if score is not None and score > best.get(candidate.method, (-1.0, candidate))[0]:
                best[candidate.method] = score, candidate
    return best


def main() -> None:
    """Try, and write the best settings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("conf", help="name of a conf file of made-up data, or its path")
    parser.add_argument("--tuned", type=Path, required=True, help="file of the settings of each method")
    parser.add_argument("--worlds", required=True, help="seeds of made-up data, with commas between")
    parser.add_argument("--output", type=Path, required=True, help="folder of everything written")
    parser.add_argument("--data", type=Path, default=DATA_FOLDER.expanduser(), help="folder of prepared data")
    parser.add_argument("--jobs", type=int, default=2, help="number of runs at once")
    options = parser.parse_args()
    bench = Bench(options.conf, options.data, options.worlds.split(","), options.output)
    best = exchanged(bench, options.tuned.read_text(encoding="utf-8"), options.jobs)
    lines = ["methods:"]
    for method, (score, candidate) in sorted(best.items()):
        lines.append(f'  "{method}":  # validation AUC {score:.4f}, {candidate.source}')
        lines += [f"    {line}" for line in dump_yaml(candidate.settings).splitlines()]
    (options.output / "tuned.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
