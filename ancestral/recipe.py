"""Recipes: YAML files that say which model is trained on which data, and how."""

from pathlib import Path
from typing import Any

import yaml

from ancestral.errors import InvalidInput, near_matches

SECTIONS = ("model", "data", "train")


def read_recipe(path: Path | str) -> dict[str, dict[str, Any]]:
    """Return the sections of a recipe: model, data and train.

    A recipe is YAML that mirrors the flags of `ancestral fit`; the first two sections have a `name`, and one that is a
    name alone can be written as one:

        model:
          name: gated-pixelcnn
          channels: 64
        data: binarized-mnist
        train:
          epochs: 20

    Raises:
        InvalidInput: if the file cannot be read or has other sections.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInput(f"cannot read the recipe {path} ({error.strerror}): give a YAML file") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidInput(f"{path} is not YAML ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict):
        raise InvalidInput(f"{path} is no recipe: expected the sections {', '.join(SECTIONS)}")
    recipe: dict[str, dict[str, Any]] = {}
    for name, section in content.items():
        if name not in SECTIONS:
            raise InvalidInput(
                f"{path} has a section {name!r}, expected {', '.join(SECTIONS)}.{near_matches(str(name), SECTIONS)}"
            )
        if isinstance(section, str) and name != "train":
            section = {"name": section}
        if not isinstance(section, dict):
            raise InvalidInput(f"{path}: the section {name} is {section!r}, expected settings with their values")
        recipe[name] = section
    return recipe
