"""`ancestral demo`: from nothing to a trained, measured, sampled density, in minutes and without a download."""

import sys
from collections.abc import Sequence
from pathlib import Path

from ancestral.cli.parsing import make_parser, parse, print_table
from ancestral.data import load
from ancestral.training.run import check_free
from ancestral.verbs.baselines import codecs, independent_entries
from ancestral.verbs.evaluate import evaluate
from ancestral.verbs.fit import fit
from ancestral.verbs.inputs import Subject
from ancestral.verbs.sample import sample, save

MODEL, DATA = "gated-pixelcnn", "digits"
OPTIONS = {"channels": 32, "layers": 6, "dropout": 0.3}
# The minutes are a limit for slow machines; elsewhere the epochs end the training first.
TRAIN = {"epochs": 24, "minutes": 2.2, "batch_size": 64, "learning_rate": 3e-3, "ema": 0.99, "evaluate_every": 4}
SAMPLES = 100
DESCRIPTION = """Train a small Gated PixelCNN on scikit-learn's digits: no download, under three minutes on two cores.

Prints its test likelihood beside two baselines on the same data, and leaves a run directory with samples.png and
learning-curve.png."""


def run(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = make_parser("demo", "[-o FOLDER]", DESCRIPTION)
    parser.add_argument("-o", "--output", type=str, help="the run directory; demo, demo-2 ... where not given")
    parser.add_argument("--overwrite", action="store_true", help="write into a folder that holds files")
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    config = parse(parser, argv)
    output = Path(config.get("output") or _free_folder())
    check_free(output, overwrite=bool(config.get("overwrite")))
    data = load(DATA)
    print(f"{data.name}: {data.about}", file=sys.stderr)
    print(f"training {MODEL} on it in {output} (Ctrl-C stops and saves)", file=sys.stderr)
    done = fit(
        MODEL,
        data,
        output=output,
        model_options=OPTIONS,
        train=TRAIN,
        overwrite=bool(config.get("overwrite")),
        progress=not config.get("quiet"),
    )
    model = done.model()
    figure = evaluate(Subject(model, MODEL), data, "test")
    save(sample(model, SAMPLES), model.event, output / "samples.png")
    rows = [(f"{MODEL} ({figure.kind})", _figure(figure.bits_per_dim or 0.0, figure.bits_per_dim_standard_error))]
    rows += [(b.name, _figure(b.bits_per_dim, b.standard_error)) for b in (independent_entries(data), *codecs(data))]
    print()
    print_table(("test split, 300 images", "bits/dim (less is better)"), rows)
    print(f"\n{SAMPLES} samples: {output / 'samples.png'}\nlearning curve: {output / 'learning-curve.png'}")
    print(f"run directory: {output}\n\nNext:")
    print(f"  ancestral sample {output} -n 100 --seed 1 -o more-samples.png    # draw more")
    print("  ancestral fit made digits -o runs/made                          # train another model on the same data")
    print(f"  ancestral compare {output} runs/made                             # example by example: which is better?")
    return 0


def _free_folder() -> str:
    name, number = "demo", 1
    while Path(name).exists():
        number += 1
        name = f"demo-{number}"
    return name


def _figure(value: float, error: float | None) -> str:
    return f"{value:.3f}" + (" " * 8 if error is None else f" ± {error:.3f}")
