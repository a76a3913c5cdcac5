"""`ancestral models`."""

from collections.abc import Sequence

from ancestral.cli.parsing import make_parser, parse, print_json, print_table
from ancestral.models import registry
from ancestral.models.base import Model

DESCRIPTION = "List the models, with what they take and what their likelihood is."


def run(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = make_parser("models", "[--json]", DESCRIPTION)
    parser.add_argument("--json", action="store_true", help="print JSON")
    config = parse(parser, argv)
    models = [registry.get(name) for name in registry.names()]
    if config.get("json"):
        print_json([describe(model) for model in models])
        return 0
    rows = [
        (m.name, m.family, _takes(m), m.likelihood.kind, m.summary, m.reference)
        for m in sorted(models, key=lambda m: (m.family, m.name))
    ]
    print_table(("name", "family", "takes", "likelihood", "what it is", "reference"), rows)
    return 0


def describe(model: type[Model]) -> dict[str, object]:
    """Return what there is to know of a model before it is built."""
    return {
        "name": model.name,
        "family": model.family,
        "summary": model.summary,
        "reference": model.reference,
        "takes": list(model.takes),
        "images_only": model.images_only,
        "conditional": model.conditional,
        "likelihood": str(model.likelihood),
        "options": {name: parameter.default for name, parameter in model.options().items()},
        "training_defaults": model.training_defaults,
    }


def _takes(model: type[Model]) -> str:
    kinds = "any" if len(model.takes) == 3 else ", ".join(model.takes)
    return f"{kinds} images" if model.images_only else kinds
