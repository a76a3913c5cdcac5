"""Make the pictures of docs/assets: samples, reconstructions and completions by trained models.

    python docs/pictures.py              all that are not there
    python docs/pictures.py vae gan      these, again

Models of the zoo are used as they are; the others are trained here, for a minute or two each, from one seed. The data
come through the library's loaders, so `ANCESTRAL_DATA` must be set.
"""

import argparse
import functools
import json
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

import ancestral
from ancestral import zoo
from ancestral.data import ArraySplit, Data, load
from ancestral.event import Event
from ancestral.models.base import Model
from ancestral.models.representation.psd import PSD
from ancestral.training import TrainConfig, create_model, fit
from ancestral.verbs import pictures
from ancestral.verbs.completion_files import save
from ancestral.verbs.index import index, search
from ancestral.verbs.latent_pictures import save_grid
from ancestral.verbs.translate import draw_attention

NEIGHBOURS = 9
"""Training data that are shown beside a test datum."""
ASSETS = Path(__file__).resolve().parent / "assets"


@dataclass(frozen=True)
class Picture:
    """How the picture of one model is made.

    Args:
        data: the data set.
        zoo: the trained model to use; None to train one.
        options: the model's options.
        training: training settings.
        shows: samples, classes (samples of each class of an InfoGAN's first code), reconstructions (test data, and what the
            model makes of them), codes (the same, and samples), repairs (of corrupted data), filters (the largest weights of
            the first layer), or neighbours (test data, each with the training data of the nearest codes).
        condition: what the data are conditioned on.
        count: samples or filters that are drawn.
        loading: further options of the data.
    """

    data: str
    zoo: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    shows: str = "samples"
    condition: str | None = None
    count: int = 60
    loading: dict[str, Any] = field(default_factory=dict)


PICTURES = {
    "fvsbn": Picture("binarized-mnist", "binarized-mnist-fvsbn"),
    "nade": Picture("binarized-mnist", "binarized-mnist-nade"),
    "deep-nade": Picture("binarized-mnist", "binarized-mnist-eonade"),
    "made": Picture("binarized-mnist", "binarized-mnist-made"),
    "neural-conditionals": Picture("digits", options={"hidden": 8}, training={"epochs": 60, "learning_rate": 5e-3}),
    "rnade": Picture("uci/energy", training={"epochs": 100}, count=500),
    "pixelcnn": Picture("digits", options={"channels": 32, "layers": 4}, training={"epochs": 30}, condition="label"),
    "gated-pixelcnn": Picture("digits", options={"channels": 32, "layers": 4}, training={"epochs": 30}, condition="label"),
    "handwriting-rnn": Picture("kanji-strokes", "kanji-handwriting-rnn"),
    "wavenet": Picture("fsdd", "fsdd-wavenet", count=10),
    "vae": Picture("binarized-mnist", training={"epochs": 8}),
    "iaf-vae": Picture("binarized-mnist", training={"epochs": 3}),
    "pixel-vae": Picture("digits", options={"latent": 8, "free_bits": 0.2}, training={"epochs": 12}),
    "mixture-vae": Picture(
        "binarized-mnist", options={"latent": 6, "hidden": (100,)}, training={"epochs": 2, "learning_rate": 3e-3}
    ),
    "helmholtz": Picture("digits", training={"epochs": 100, "evaluate_every": 20, "learning_rate": 3e-3}),
    "nice": Picture("digits", training={"epochs": 40}),
    "realnvp": Picture("digits", training={"epochs": 20}),
    "glow": Picture("digits", options={"flow_steps": 4, "channels": 32}, training={"epochs": 15}),
    "maf": Picture("uci/power-plant", options={"hidden": (64, 64)}, training={"epochs": 30}, count=500),
    "iaf": Picture("uci/power-plant", options={"hidden": (32, 32), "layers": 3}, training={"epochs": 10}, count=500),
    "spline-flow": Picture("uci/power-plant", options={"hidden": (64, 64), "layers": 4}, training={"epochs": 15}, count=500),
    "ali": Picture(
        "digits", options={"latent": 16, "hidden": (128, 128)}, training={"minutes": 1, "learning_rate": 1e-3}, shows="codes"
    ),
    "bayesian-gan": Picture(
        "digits",
        options={"latent": 8, "hidden": (128,), "generators": 2, "critics": 2, "data": 1400, "step": 0.01},
        training={"minutes": 0.8, "learning_rate": 0.01, "evaluate_every": 10},
    ),
    "gan": Picture("mnist", training={"epochs": 8}, condition="label"),
    "dcgan": Picture("mnist", options={"channels": (24, 48)}, training={"minutes": 2.0, "epochs": None}),
    "f-gan": Picture("mnist", training={"minutes": 1.5, "epochs": None}),
    "wgan-gp": Picture(
        "mnist", options={"channels": (16, 32)}, training={"minutes": 2.0, "epochs": None, "learning_rate": 5e-4}
    ),
    "dudley-gan": Picture("mnist", options={"channels": (24, 48)}, training={"minutes": 2.0, "epochs": None}),
    "conditional-gan": Picture(
        "mnist", options={"channels": (24, 48)}, training={"minutes": 2.0, "epochs": None}, condition="label"
    ),
    "infogan": Picture(
        "digits",
        options={"channels": (32, 64)},
        training={"epochs": 60, "evaluate_every": 60, "ema": 0.98},
        shows="classes",
    ),
    "semi-supervised-gan": Picture(
        "digits",
        options={"hidden": (250, 250), "input_noise": 0.3},
        training={"epochs": 40, "evaluate_every": 40},
        condition="label",
        loading={"labelled": 100},
    ),
    "gmmn": Picture(
        "digits",
        options={"hidden": (64, 256, 256)},
        training={"minutes": 1, "learning_rate": 3e-3, "batch_size": 200, "evaluate_every": 20},
    ),
    "rbm": Picture("binarized-mnist", options={"persistent": True}, training={"epochs": 8}),
    "autoencoder": Picture("mnist", options={"hidden": (200, 30)}, training={"epochs": 4}, shows="reconstructions"),
    "denoising-autoencoder": Picture("mnist", training={"epochs": 6}, shows="repairs"),
    "contractive-autoencoder": Picture(
        "mnist", options={"hidden": (100,), "contraction": 1.0}, training={"epochs": 4}, shows="filters", count=36
    ),
    "conv-psd": Picture(
        "natural-patches",
        options={"maps": (36,), "kernel": 9, "penalty": 1.0},
        training={
            "steps": 700,
            "epochs": None,
            "batch_size": 24,
            "learning_rate": 2e-2,
            "evaluate_limit": 100,
            "evaluate_every": 1e9,
        },
        shows="filters",
        count=36,
        loading={"patches": 16},
    ),
    "psd": Picture(
        "natural-patches",
        options={"atoms": 200, "penalty": 1.2},
        training={"steps": 1500, "epochs": None, "evaluate_limit": 500},
        shows="filters",
        count=80,
        loading={"patches": 12},
    ),
    "sparse-coding": Picture(
        "natural-patches",
        options={"atoms": 200, "penalty": 1.2},
        training={"steps": 1500, "epochs": None, "evaluate_limit": 500},
        shows="filters",
        count=200,
        loading={"patches": 12},
    ),
    "gaussian-rbm": Picture(
        "uci/power-plant",
        options={"hidden": 20, "variance": "learned", "persistent": True, "temperatures": 5},
        training={"epochs": 15},
        count=150,
    ),
    "semantic-hashing": Picture("mnist", training={"epochs": 4}, shows="neighbours", count=6),
    "dbn": Picture(
        "binarized-mnist",
        options={"hidden": (200, 200), "layer_steps": 800, "persistent": True, "centered": True, "gibbs_steps": 200},
        training={"steps": 1300, "optimizer": "sgd", "learning_rate": 0.1, "betas": (0.5, 0.999), "evaluate_every": 5},
    ),
    "dbm": Picture(
        "binarized-mnist",
        options={"hidden": (200, 100), "pretrain_steps": 200, "chain_steps_per_update": 2, "mean_field_steps": 3},
        training={"steps": 1000, "optimizer": "sgd", "learning_rate": 0.05, "betas": (0.5, 0.999), "evaluate_every": 5},
    ),
    "gsn": Picture(
        "binarized-mnist", options={"hidden": (400, 400)}, training={"steps": 2800, "epochs": None, "evaluate_limit": 500}
    ),
    "deep-energy": Picture(
        "uci/power-plant",
        options={"hidden": (64, 64), "langevin_steps": 10, "step_size": 0.2},
        training={"epochs": 5, "evaluate_every": 5},
        count=150,
    ),
}


def trained(name: str, picture: Picture, data: Data | None = None) -> Any:
    """Return the zoo's model, or one trained here, on given data where there are some."""
    if picture.zoo is not None:
        return ancestral.load(picture.zoo)
    data = data or load(picture.data, condition=picture.condition, **picture.loading)
    model = create_model(name, data.event, data.condition, **picture.options)
    config = TrainConfig.for_model(type(model), **{**picture.training, "samples": 0})
    with tempfile.TemporaryDirectory() as folder:
        return fit(model, data, Path(folder) / "run", config).model()


def neighbours(model: Model, picture: Picture) -> tuple[Tensor, list[str]]:
    """Return rows of a test datum and the training data whose codes are nearest to its own, and the bits that differ."""
    data = load(picture.data)
    found = index(model, data)
    queries, _ = data.split("test").batch(torch.arange(picture.count))
    rows, captions = [], []
    for query in queries:
        near = search(found, query, k=NEIGHBOURS, model=model).neighbours
        x, _ = data.split("train").batch(torch.tensor([each.number for each in near]))
        rows.append(torch.cat((query[None], x)))
        captions += ["query", *(str(each.distance) for each in near)]
    return torch.cat(rows), captions


def draw(name: str, picture: Picture) -> None:
    """Write the picture of one model."""
    model = trained(name, picture)
    path = ASSETS / "models" / f"{name}.png"
    generator = torch.Generator().manual_seed(0)
    n = picture.count
    if picture.shows == "classes":
        z = model.noise(n, generator)
        classes = model.categorical[0]
        z[:, :classes] = torch.eye(classes).repeat(n // classes, 1)
        with torch.no_grad():
            pictures.save_image(pictures.image_grid(model.decode(z), model.event, columns=classes), path)
    elif picture.shows == "samples":
        x = model.sample(n, pictures.example_conditions(model.condition, n), generator=generator)
        pictures.samples(model.event, x, path)
    elif picture.shows == "filters":
        columns = 20 if picture.count > 40 else 18
        pictures.save_image(filter_grid(shown_filters(model, picture.count, columns), columns), path)
    elif picture.shows == "neighbours":
        x, captions = neighbours(model, picture)
        pictures.save_image(pictures.captioned_grid(x, model.event, captions, NEIGHBOURS + 1), path)
    else:
        x = reconstructions(model, picture, generator)
        pictures.save_image(pictures.image_grid(x, model.event, columns=10), path)
    print(f"{path.relative_to(ASSETS.parents[1])}: {name} on {picture.data}")


def reconstructions(model: Model, picture: Picture, generator: torch.Generator) -> Tensor:
    """Return rows of test data, of their corrupted copies or samples where these are shown, and of reconstructions."""
    x, _ = load(picture.data).split("test").batch(torch.arange(10))
    if picture.shows != "repairs":
        with torch.no_grad():
            drawn = [model.sample(20, generator=generator)] if picture.shows == "codes" else []
            return torch.cat((x, model.decode(model.encode(x)), *drawn))
    flip = torch.rand(x.shape, generator=generator) < 0.3
    corrupted = torch.where(flip, torch.zeros_like(x), x)
    with torch.no_grad():
        return torch.cat((x, corrupted, model.decode(model.encode(corrupted))))


def shown_filters(model: Any, count: int, columns: int) -> Tensor:
    """Return the largest filters of a model, or rows of atoms in turn with rows of the weights of an encoder for them."""
    filters: Tensor = model.filters()
    if not isinstance(model, PSD):
        return filters[filters.flatten(1).norm(dim=1).argsort(descending=True)[:count]]
    weights = model.predictor.weight.detach().view_as(filters)
    pairs = zip(filters[: count // 2].split(columns), weights[: count // 2].split(columns), strict=True)
    return torch.cat([row for pair in pairs for row in pair])


def filter_grid(filters: Tensor, columns: int) -> Image.Image:
    """Return filters, (n, channel, height, width), as one picture: 0 is gray, and each is as bright as can be."""
    x = filters / filters.flatten(1).abs().amax(1).clamp(min=1e-12).view(-1, 1, 1, 1)
    return pictures.image_grid(x, Event.real(tuple(x.shape[1:])), columns=columns)


def readme() -> None:
    """Write the picture of README.md: test data beside samples of the zoo's models, each with its recorded figure."""
    data = load("binarized-mnist")
    generator = torch.Generator().manual_seed(0)
    chosen = torch.randperm(len(data.split("test")), generator=generator)[:49]
    panels = {"test data": data.split("test").batch(chosen)[0]}
    for entry in zoo.entries():
        if entry.trained and entry.data == data.name:
            test = entry.figures["test"]
            title = f"{entry.model}, {test['nats']:.2f} nats ({test['kind']})"
            panels[title] = ancestral.load(entry.name).sample(49, generator=generator)
    figure = Figure(figsize=(4 * len(panels), 4.4), layout="constrained")
    for i, (title, x) in enumerate(panels.items()):
        axes = figure.add_subplot(1, len(panels), i + 1)
        axes.imshow(pictures.image_grid(x, data.event), cmap="gray")
        axes.set_title(title)
        axes.axis("off")
    pictures.save_figure(figure, ASSETS / "readme.png")
    print("docs/assets/readme.png")


def completions() -> None:
    """Write the picture of completed digits."""
    complete("binarized-mnist-gated-pixelcnn", 6, "completions.png")


def faces() -> None:
    """Write the picture of completed faces, once there is a model of them."""
    if any(entry.name == FACES and entry.trained for entry in zoo.entries()):
        complete(FACES, 4, "completions-faces.png")
    else:
        print(f"{FACES} is not trained: `ancestral fit --config zoo/{FACES}/recipe.yaml` trains it")


def complete(name: str, count: int, file: str) -> None:
    """Write a picture of completions: halves of test images, what a model of the zoo makes of them, and the truth."""
    (data,) = (load(entry.data) for entry in zoo.entries() if entry.name == name)
    test = data.split("test")
    x, _ = test.batch(torch.randperm(len(test), generator=torch.Generator().manual_seed(1))[:count])
    save(ancestral.complete(name, x, "top", n=8), data.event, ASSETS / file, x)
    print(f"docs/assets/{file}")


def gaps() -> None:
    """Write what a tenth of a second of three digits is completed to."""
    data = load("fsdd", condition=["label", "speaker"])
    x, condition = data.split("test").batch(torch.tensor([1, 100, 200]))
    observed = torch.ones(data.event.shape, dtype=torch.bool)
    observed[1600:2400] = False
    done = ancestral.complete("fsdd-wavenet", x, observed, n=1, condition=condition, particles=96)
    save(done, data.event, ASSETS / "models" / "wavenet-gap.png", x)
    print("docs/assets/models/wavenet-gap.png")


def attention(model: str) -> None:
    """Write what each piece of a translation by a model of the zoo gathers from."""
    name = f"multi30k-{model}"
    (translation,) = ancestral.translate(name, ["Two brown dogs are playing in the snow with a red ball."])
    draw_attention(name, translation, ASSETS / "models" / f"{model}.png")
    print(f"docs/assets/models/{model}.png: {translation.text}")


def text_levels() -> None:
    """Write the plot of the recorded bits per byte of models of text, by level."""
    path = ASSETS.parents[1] / "zoo" / "text-levels" / "figures.json"
    figures = {tuple(key.split("/")): v["bits_per_byte"] for key, v in json.loads(path.read_text())["figures"].items()}
    data, levels, models = (list(dict.fromkeys(names)) for names in zip(*figures, strict=True))
    figure = Figure(figsize=(4 * len(data), 3.6), layout="constrained")
    axes = figure.subplots(1, len(data), sharey=True, squeeze=False)[0]
    for axis, name in zip(axes, data, strict=True):
        for model in models:
            found = [(level, figures[name, level, model]) for level in levels if (name, level, model) in figures]
            axis.plot(*zip(*found, strict=True), marker="o", label=model)
        axis.set_title(name)
        axis.set_xlabel("what a token is")
    axes[0].set_ylabel("bits per byte of the test split")
    axes[0].legend()
    pictures.save_figure(figure, ASSETS / "text-levels.png")
    print("docs/assets/text-levels.png")


def manifold() -> None:
    """Write the decoded plane of a VAE with two latents."""
    model = trained("vae", Picture("digits", options={"latent": 2, "hidden": (200, 200)}, training={"epochs": 60}))
    plane = ancestral.manifold(model, 16)
    save_grid(plane.x, model.event, ASSETS / "manifold.png")
    print(f"docs/assets/manifold.png: {plane.axes}")


def outliers() -> None:
    """Write histograms of two scores of inliers and of outliers, of each pair that docs/outliers.md has a table of."""
    sys.path.insert(0, str(ASSETS.parents[1]))  # benchmarks/ is not installed
    from benchmarks.outlier_pairs import PAIRS, scored

    scores = {"likelihood": "-log p, nats", "complexity": "-log2 p - bits of a codec"}
    figure = Figure(figsize=(9, 3 * len(PAIRS)), layout="constrained")
    for row, pair in zip(figure.subplots(len(PAIRS), len(scores), squeeze=False), PAIRS.values(), strict=True):
        tables = scored(pair, COUNTED)
        for axis, (score, label) in zip(row, scores.items(), strict=True):
            values = {name: table[score].to_numpy() for name, table in tables.items()}
            edges = np.histogram_bin_edges(np.concatenate(list(values.values())), 50)
            for name, of in values.items():
                axis.hist(of, edges, histtype="stepfilled", alpha=0.5, label=name)
            axis.set_title(score)
            axis.set_xlabel(label)
            axis.set_yticks([])
        row[0].legend()
        row[0].set_ylabel(f"{COUNTED} of each")
    pictures.save_figure(figure, ASSETS / "outliers.png")
    print("docs/assets/outliers.png")


def moons() -> None:
    """Write who is responsible for points on two half circles, and the densities of a mixture and of a VAE around them."""
    from sklearn.datasets import make_moons

    def points(n: int, seed: int) -> ArraySplit:
        return ArraySplit(torch.tensor(make_moons(n, noise=0.06, random_state=seed)[0], dtype=torch.float32))

    train = points(4000, 0)
    event = Event.real((2,), train.x.mean(0).tolist(), train.x.std(0).tolist())
    data = Data("two moons", event, {"train": train, "validation": points(1000, 1)})
    training = {"epochs": 50, "learning_rate": 3e-3, "evaluate_every": 10}
    mixture = trained("mixture-vae", Picture("moons", options={"latent": 1, "hidden": (32,)}, training=training), data)
    vae = trained("vae", Picture("moons", options={"latent": 1, "hidden": (100,)}, training=training), data)
    side, extent = 120, (-3.0, 4.0, -2.5, 3.0)
    lines = torch.linspace(*extent[:2], side), torch.linspace(*extent[2:], side)
    grid = torch.stack(torch.meshgrid(*lines, indexing="xy"), dim=-1).view(-1, 2)
    generator = torch.Generator().manual_seed(0)
    figure = Figure(figsize=(12, 3.4), layout="constrained")
    first, *others = figure.subplots(1, 3)
    with torch.no_grad():
        first.scatter(*train.x.T, c=mixture.responsibilities(train.x).argmax(1), s=3, cmap="tab10")
        first.set(title="who is responsible", xlim=extent[:2], ylim=extent[2:])
        for axes, model in zip(others, (mixture, vae), strict=True):
            nats = model.bound(grid, samples=100, generator=generator).view(side, side).clamp(min=-20.0)
            drawn = axes.imshow(nats, origin="lower", extent=extent, aspect="auto")
            axes.set_title(f"{model.name}: bound on log p, nats (-20 and less)")
            figure.colorbar(drawn, ax=axes)
    pictures.save_figure(figure, ASSETS / "models" / "mixture-vae-moons.png")
    print("docs/assets/models/mixture-vae-moons.png")


def corruptions() -> None:
    """Write the filters of denoising autoencoders whose input is masked by 0, 25 and 50 %, 36 of each."""
    figure = Figure(figsize=(11, 4.1), layout="constrained")
    for axes, amount in zip(figure.subplots(1, 3), (0.0, 0.25, 0.5), strict=True):
        options = {"hidden": (100,), "amount": amount}
        model = trained(
            "denoising-autoencoder", Picture("mnist", options=options, training={"epochs": 6, "evaluate_every": 6})
        )
        axes.imshow(filter_grid(shown_filters(model, 36, 6), columns=6), cmap="gray")
        axes.set_title(f"{amount:.0%} of the pixels masked")
        axes.axis("off")
    path = ASSETS / "denoising-filters.png"
    pictures.save_figure(figure, path)
    # Noise in filters does not compress: half the size, and few levels of gray, do for what there is to see.
    Image.open(path).convert("L").reduce(2).quantize(16).save(path, optimize=True)
    print("docs/assets/denoising-filters.png")


def faces_by_30_numbers() -> None:
    """Write test faces, what an autoencoder and what PCA make of them from 30 numbers, and print their errors on test."""
    from sklearn.decomposition import PCA

    recipe = yaml.safe_load((ASSETS.parents[1] / "zoo" / "olivetti-autoencoder" / "recipe.yaml").read_text())
    name = recipe["model"].pop("name")
    data = load(recipe["data"]["name"])
    model = trained(name, Picture("olivetti", options=recipe["model"], training={"epochs": None, **recipe["train"]}), data)
    y = {
        split: data.event.to_network(data.split(split).batch(torch.arange(len(part)))[0])
        for split, part in data.splits.items()
    }
    flat = {split: value.flatten(1).double().numpy() for split, value in y.items()}
    pca = PCA(30, svd_solver="full").fit(flat["train"])
    test = y["test"].flatten(1)
    with torch.no_grad():
        made = {name: model.network.decode(model.network.encode(test)).double().numpy()}
    made["PCA"] = pca.inverse_transform(pca.transform(flat["test"]))
    # Of grey levels from 0 to 1: the network's scale is twice as wide.
    errors = {who: np.square(0.5 * (values - flat["test"])).mean(1) for who, values in made.items()}
    errors[f"PCA less {name}"] = errors["PCA"] - errors[name]
    for who, values in errors.items():
        print(f"{who}: {1e3 * values.mean():.3f} +- {1e3 * values.std(ddof=1) / len(values) ** 0.5:.3f} thousandths a pixel")
    rows = [flat["test"], *made.values()]
    shown = np.concatenate([row[:5].reshape(-1, *data.event.shape) for row in rows]).clip(-1.0, 1.0)
    pixels = data.event.from_network(torch.from_numpy(shown))
    pictures.save_image(pictures.image_grid(pixels, data.event, columns=5), ASSETS / "olivetti.png")
    print(f"docs/assets/olivetti.png: {len(test)} test faces")


FACES = "frey-gated-pixelcnn"
"""The model that completes faces."""
COUNTED = 200
"""Data of each kind in a histogram of scores."""
OTHERS = {
    "readme": readme,
    "completions": completions,
    "completions-faces": faces,
    "text-levels": text_levels,
    "manifold": manifold,
    "outliers": outliers,
    "models/transformer-mt": functools.partial(attention, "transformer-mt"),
    "models/conv-s2s": functools.partial(attention, "conv-s2s"),
    "models/wavenet-gap": gaps,
    "models/mixture-vae-moons": moons,
    "denoising-filters": corruptions,
    "olivetti": faces_by_30_numbers,
}
"""Pictures of more than one model, or of what is done with one."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", choices=[*PICTURES, *OTHERS, []])
    arguments = parser.parse_args()
    for name, picture in PICTURES.items():
        wanted = name in arguments.models if arguments.models else not (ASSETS / "models" / f"{name}.png").exists()
        if wanted:
            draw(name, picture)
    for name, write in OTHERS.items():
        if name in arguments.models or not (arguments.models or (ASSETS / f"{name}.png").exists()):
            write()


if __name__ == "__main__":
    sys.exit(main())
