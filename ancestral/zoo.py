"""Finding trained models: by zoo name, run directory, or hub repository."""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ancestral.errors import InvalidInput, near_matches
from ancestral.recipe import read_recipe

if TYPE_CHECKING:
    from ancestral.models.base import Model

CONFIG, WEIGHTS, RECIPE, FIGURES = "config.json", "model.safetensors", "recipe.yaml", "figures.json"
REPOSITORY = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")


@dataclass(frozen=True)
class Entry:
    """A model of the zoo.

    Args:
        name: `<data>-<model>`, or `<group>/<data>` where one recipe trained on many data sets.
        path: its folder.
        model: the registered name of its model.
        data: what it is trained on.
        figures: content of its figures.json, or its part of the group's; under `test`, what `evaluate` gave.
        trained: whether its weights are there; else there is the recipe alone.
    """

    name: str
    path: Path
    model: str | None
    data: str | None
    figures: dict[str, Any]
    trained: bool

    @property
    def figure(self) -> str:
        """The recorded figure as text, or nothing."""
        test = self.figures.get("test") or {}
        if test.get("nats") is None:
            return ""
        # Of figures that were recorded without their unit, what else is there tells it.
        key, unit = "bits_per_dim", test.get("unit") or ("bits/token" if test.get("perplexity") else "bits/dim")
        for other in ("bits_per_byte", "nats_per_point"):
            if test.get(other) is not None:
                key, unit = other, other.replace("_per_", "/")
        text = f"{test['nats']:.2f} nats, {test[key]:.3f} {unit}, {test['kind']}"
        bleu = (self.figures.get("bleu") or {}).get("test")
        return f"{text}, BLEU {bleu['bleu']:.2f}" if bleu else text


def folders() -> list[Path]:
    """Return the folders that hold trained models: $ANCESTRAL_ZOO, the repository's zoo/, the installed one."""
    package = Path(__file__).parent
    places = [package.parent / "zoo", package / "_zoo"]
    if os.environ.get("ANCESTRAL_ZOO"):
        places.insert(0, Path(os.environ["ANCESTRAL_ZOO"]))
    return [place for place in places if place.is_dir()]


def entries() -> list[Entry]:
    """Return the models of the zoo, by name; the first folder that has a name counts.

    Raises:
        InvalidInput: if a file of the zoo is damaged.
    """
    found: dict[str, Entry] = {}
    for place in folders():
        for folder in sorted(place.iterdir()):
            figures = _json(folder / FIGURES)
            members = sorted(path.parent for path in folder.glob(f"*/{CONFIG}"))
            for member in members:
                own = (figures.get("sets") or {}).get(member.name) or {}
                found.setdefault(f"{folder.name}/{member.name}", _entry(member, f"{folder.name}/{member.name}", own))
            if (folder / CONFIG).is_file() or ((folder / RECIPE).is_file() and not members):
                found.setdefault(folder.name, _entry(folder, folder.name, figures))
    return [found[name] for name in sorted(found)]


def _entry(folder: Path, name: str, figures: dict[str, Any]) -> Entry:
    config = _json(folder / CONFIG) if (folder / CONFIG).is_file() else read_recipe(folder / RECIPE)
    model, data = config.get("model") or {}, config.get("data") or {}
    trained = (folder / CONFIG).is_file() and (folder / WEIGHTS).is_file()
    return Entry(name, folder, model.get("name"), data.get("name"), figures, trained)


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InvalidInput(f"{path} is not JSON ({error}): restore it") from error
    return content if isinstance(content, dict) else {}


def find(name: str | os.PathLike[str]) -> Path:
    """Return the folder of a trained model.

    Args:
        name: a run directory, a zoo name, or a hub repository such as owner/model.

    Raises:
        InvalidInput: if there is none; the message has near matches.
    """
    name = os.fspath(name)
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if path.is_file():
        raise InvalidInput(f"{name} is a file, expected a run directory, a zoo name or a hub repository: give its folder")
    known = {entry.name: entry for entry in entries()}
    if name in known:
        if not known[name].trained:
            raise InvalidInput(
                f"the zoo has the recipe of {name} and no weights: train it with"
                f" `ancestral fit --config {known[name].path / RECIPE} -o runs/{name}`"
            )
        return known[name].path
    # A path that is not there looks like a repository: only two plain parts are asked for.
    if REPOSITORY.fullmatch(name) and not path.parent.exists():
        return download(name)
    raise InvalidInput(
        f"there is no model {name!r}: no run directory and nothing in the zoo has this name.{near_matches(name, known)}"
        " `ancestral zoo` lists what there is"
    )


def download(repository: str) -> Path:
    """Fetch a model's configuration and weights from the Hugging Face hub, and no other file.

    Raises:
        InvalidInput: if the hub cannot be reached, or has no such model.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    from ancestral.data.hub import TIMEOUT, offline

    lost = f"there is no run directory {repository!r}, and the hub cannot be reached to look for a repository of that name"
    advice = "connect to the internet, or give the folder of a saved model"
    try:
        # One question with a time limit: without it the client tries again for minutes where there is no network.
        revision = None if offline() else HfApi().model_info(repository, timeout=TIMEOUT).sha
        return Path(snapshot_download(repository, revision=revision, allow_patterns=[CONFIG, WEIGHTS]))
    except LocalEntryNotFoundError as error:
        raise InvalidInput(f"{lost}: {advice}") from error
    except (HfHubHTTPError, HFValidationError) as error:
        reason = str(error).splitlines()[0]
        raise InvalidInput(
            f"there is no run directory {repository!r}, and none on the hub that can be read ({reason})"
        ) from error
    except Exception as error:
        # The transport's own errors (no route, no name, timeout), whichever HTTP library the hub's client uses.
        raise InvalidInput(f"{lost} ({type(error).__name__}): {advice}") from error


def load(name: str | os.PathLike[str], *, device: str = "cpu", weights: str | None = None) -> "Model":
    """Load a trained model.

    Args:
        name: a zoo name, a run directory, or a hub repository.
        device: where it is put; "auto" is the GPU where there is one.
        weights: "half" to round weights to half precision, which models of the zoo are stored in, or "int8" to round those of
            linear layers to eight bits, for models of attention: steps read half or a quarter of the memory, and likelihoods
            become those of a slightly other model; or "bfloat16" to compute all but probabilities in that type, for
            autoregressive models of at most 257 levels: where there are instructions for it, large batches take less time.

    Returns:
        The model, in evaluation mode.

    Raises:
        InvalidInput: if there is no such model, its files cannot be used, or there are no such weights.
        Unsupported: if the model's weights cannot be rounded.
    """
    from ancestral.verbs.inputs import open_model

    return open_model(name, device, weights).model
