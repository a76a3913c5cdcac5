"""Sample quality of each GAN, and the likelihood of decoders by annealed importance sampling: two tables of MNIST.

python -m benchmarks.generators                         train what is not there yet, measure, print
python -m benchmarks.generators --save                  the same, onto docs/sample-quality.md
python -m benchmarks.generators --models dcgan gmmn     some rows; --save keeps the others as they are

Each model is trained for the same minutes of one thread, by its own defaults but for what is said beside it; runs are left in
benchmarks/out/runs and used again. The test split is read for the tables alone.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ancestral.data import load
from ancestral.training import Run
from ancestral.verbs.ais import ais
from ancestral.verbs.fit import fit
from ancestral.verbs.quality import quality
from benchmarks import page
from benchmarks.features import Learner

DATA = "mnist"
MINUTES = 2.0
SAMPLES = 10_000
SMALL = (32, 64)
"""Channels of convolutional networks."""
WU = {"latent": 10, "hidden": (64, 256, 256, 1024)}
"""Codes and layers of the decoders of Wu et al. (2017), table 1."""
FIGURES = ("FID", "KID", "inception score", "precision", "recall")


@dataclass(frozen=True)
class Contestant(Learner):
    """A model of a table.

    Args:
        loading: how the data are loaded.
    """

    options: dict[str, Any] = field(default_factory=dict)
    loading: dict[str, Any] = field(default_factory=dict)


LABELLED = {"condition": "label"}
GANS = {
    "gan": Contestant("gan"),
    "dcgan": Contestant("dcgan", {"channels": SMALL}),
    "wgan-gp": Contestant("wgan-gp", {"channels": SMALL}, {"learning_rate": 5e-4}),
    "f-gan": Contestant("f-gan"),
    "dudley-gan": Contestant("dudley-gan", {"channels": SMALL}),
    "gmmn": Contestant("gmmn", {"hidden": WU["hidden"], "latent": 10}, {"batch_size": 500}),
    "ali": Contestant("ali", {}, {"learning_rate": 1e-3}),
    "infogan": Contestant("infogan", {"channels": SMALL}),
    "conditional-gan": Contestant("conditional-gan", {"channels": SMALL}, loading=LABELLED),
    "semi-supervised-gan": Contestant("semi-supervised-gan", loading={**LABELLED, "labelled": 100}),
    "bayesian-gan": Contestant("bayesian-gan", {"channels": SMALL, "generators": 2, "critics": 2, "data": 50_000}),
    "vae": Contestant("vae"),
}
"""Rows of the first table; a VAE, which is none, for comparison."""
DECODERS = {
    "vae, 10 codes": Contestant("vae", {**WU, "hidden": tuple(reversed(WU["hidden"]))}),
    "gan, 10 codes": Contestant("gan", WU),
    "gmmn, 10 codes": Contestant("gmmn", WU, {"batch_size": 500}),
}
"""Rows of the second table."""


def _run(name: str, contestant: Contestant, tiny: bool) -> Path:
    """Return the run of a model, trained where it is not there."""
    path = page.OUT / "runs" / f"generators-{name.replace(', ', '-').replace(' ', '-')}"
    if tiny or not (path / "model.safetensors").is_file():
        length = {"steps": 3} if tiny else {"minutes": MINUTES, "epochs": None, "schedule": "constant"}
        fit(
            contestant.model,
            load("digits" if tiny else DATA, **contestant.loading),
            output=path,
            model_options=contestant.options,
            train={"evaluate_limit": 500, "samples": 0, "seed": 0, **length, **contestant.training},
            overwrite=True,
            progress=False,
        )
    return path


def _seconds(path: Path) -> tuple[int, float]:
    metrics = Run(path).metrics
    return int(metrics["step"].max()), float(metrics["seconds"].max())


def sampled(names: Sequence[str], tiny: bool) -> dict[str, Any]:
    """Return the table of sample quality."""
    rows = []
    for name in names:
        path = _run(name, GANS[name], tiny)
        found = quality(path, load("digits" if tiny else DATA, **GANS[name].loading), n=50 if tiny else SAMPLES)
        steps, seconds = _seconds(path)
        figures = {wanted: next(f for f in found.figures if f.name.startswith(wanted)) for wanted in FIGURES}
        cells = [
            f"{f.value:.3g}" + ("" if f.standard_error is None else f" ± {f.standard_error:.3g}") for f in figures.values()
        ]
        rows.append([f"`{name}`", f"{steps:,}", f"{seconds / 60:.1f}", *cells])
        print(f"generators: {' | '.join(rows[-1])}", file=sys.stderr, flush=True)
    # The same for each model: they are of the data alone.
    baselines = ", ".join(f"{wanted} {figure.baseline:.3g}" for wanted, figure in figures.items())
    note = (
        f"{found.count:,} samples against as many test data; features of {found.features}"
        + ("" if found.accuracy is None else f", right on {found.accuracy:.2%} of test data, weights {found.sha256}")
        + f". Training data in place of samples: {baselines}."
    )
    return {
        "key": "samples",
        "title": "MNIST: samples of each GAN",
        "header": ["model", "steps", "minutes", *FIGURES],
        "rows": rows,
        "notes": [note],
    }


def annealed(names: Sequence[str], tiny: bool) -> dict[str, Any]:
    """Return the table of likelihoods of decoders."""
    rows = []
    for name in names:
        path = _run(name, DECODERS[name], tiny)
        scale = {"steps": 5, "chains": 2, "limit": 3, "simulated": 2} if tiny else {"steps": 300, "chains": 8, "limit": 50}
        found = ais(path, "digits" if tiny else DATA, observation="gaussian", **scale)
        sigma = found.observation.partition("sigma ")[2].split()[0]
        rows.append(
            [
                f"`{name}`",
                f"{found.nats:.1f} ± {found.standard_error or 0.0:.1f}",
                f"{found.lower:.1f}",
                f"{found.upper:.1f}",
                f"{found.gap:.2f} ± {found.gap_error or 0.0:.2f}",
                sigma,
            ]
        )
        print(f"generators: {' | '.join(rows[-1])}", file=sys.stderr, flush=True)
    return {
        "key": "decoders",
        "title": "MNIST: log-densities of decoders by annealed importance sampling",
        "header": ["decoder", "test data, nats", "simulated, lower", "simulated, upper", "gap", "sigma"],
        "rows": rows,
        "notes": [
            f"Stochastic lower bounds on {found.count} test data, ± standard error; both bounds on {found.simulated} data that"
            f" the model drew; {found.steps:,} temperatures, {found.chains} chains, {found.leapfrogs} leapfrog steps. What a"
            " code is decoded to is the mean of a Gaussian, its sigma chosen on validation data. Densities, of (x + noise) /"
            " levels: they compare with each other, and with no probability of levels. Layers and codes are those of Wu et al."
            f" (2017), who train for much longer; {MINUTES:g} minutes for each here."
        ],
    }


def measure(tiny: bool, repeats: int) -> list[dict[str, Any]]:
    """Return both tables."""
    few = (["gan"], ["gan, 10 codes"])
    return [sampled(few[0] if tiny else list(GANS), tiny), annealed(few[1] if tiny else list(DECODERS), tiny)]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", default=list(GANS), choices=list(GANS), help="rows of the first table")
    parser.add_argument("--decoders", nargs="*", default=list(DECODERS), choices=list(DECODERS), help="of the second")
    parser.add_argument("--save", action="store_true", help="keep what is measured, and write the page")
    given = parser.parse_args(arguments)
    facts = {"table": "generators", "machine": page.machine(), "threads": torch.get_num_threads()}
    for make, names in ((sampled, given.models), (annealed, given.decoders)):
        if not names:
            continue
        found = make(names, False)
        if given.save:
            earlier = next((each for each in page.kept("generators") if each["key"] == found["key"]), {"rows": []})
            fresh = {row[0] for row in found["rows"]}
            order = [f"`{name}`" for name in (GANS if make is sampled else DECODERS)]
            rows = [*found["rows"], *(row for row in earlier["rows"] if row[0] not in fresh)]
            found["rows"] = sorted(rows, key=lambda row: order.index(row[0]))
            page.keep_among(facts, found, "key", ["samples", "decoders"])
            page.write(page.OUT)
        else:
            print(page.render({**facts, "tables": [found]}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
