"""`ancestral search`."""

import sys
from collections.abc import Sequence

from ancestral.cli.parsing import check_output, make_parser, parse, print_json, print_table
from ancestral.verbs.code_index import CodeIndex
from ancestral.verbs.index import search, search_picture
from ancestral.verbs.pictures import save_image

DESCRIPTION = """Find the data of an index whose codes are nearest to that of QUERY, by the bits that differ.

INDEX is a file that `ancestral index` wrote. QUERY is a text, a text file, an image file, or a number of the index."""
PICTURES = (".png",)


def run(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = make_parser("search", "INDEX QUERY [options]", DESCRIPTION)
    parser.add_argument("index", type=str, metavar="INDEX", help="file of the index")
    parser.add_argument("query", type=str, metavar="QUERY", help="a text, a file of one, an image file, or a number")
    parser.add_argument("-k", "--k", type=int, help="how many are found (10)")
    parser.add_argument("--radius", type=int, help="find all within so many bits instead")
    parser.add_argument("--model", type=str, help="the model of the index; the one that it names where not given")
    parser.add_argument("-o", "--output", type=str, help="picture of the images that were found, .png")
    parser.add_argument("--json", action="store_true", help="print JSON")
    config = parse(parser, argv)
    if config.get("output"):
        check_output(config.output, PICTURES)
    index = CodeIndex.load(config.index)
    options = {name: config[name] for name in ("k", "radius", "model") if config.get(name) is not None}
    found = search(index, config.query, **options)
    if config.get("output"):
        save_image(search_picture(index, found), config.output)
        print(f"wrote what was found to {config.output}", file=sys.stderr)
    if config.get("json"):
        print_json(found.to_json())
        return 0
    if not found.neighbours:
        print(f"none of {found.size:,} codes is within {config.get('radius')} bits")
        return 0
    rows = [(str(near.number), str(near.distance), near.name) for near in found.neighbours]
    print_table(("number", "bits", "what it is"), rows, ("number", "bits"))
    return 0
