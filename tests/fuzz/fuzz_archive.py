"""Archives under a coverage-guided fuzzer: whatever the bytes, decompression says what is wrong, and gives nothing wrong.

python -m tests.fuzz.fuzz_archive CORPUS [MODEL] -max_total_time=120     with atheris installed; options are those of libFuzzer

An input's first byte says what the others are. `DAMAGED` ones are a file; the seeds that are written to an empty CORPUS
are valid ones. What decodes of a file must be the data of the seeds, or problems are told. `FORGED` ones are fields, of
which an archive is made whose checksums are right, so that a mutation gets past them; it is also written to a folder.
"""

import inspect
import io
import itertools
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ancestral import coding
from ancestral.coding import (
    Damage,
    archive,
    bits_back,
    coder,
    conditional,
    decoding,
    entropy,
    gaussians,
    originals,
    single,
    stack,
)
from ancestral.coding.archive import NAMES, OTHER, PLAIN, Chunk, Header, Writer, digest
from ancestral.coding.bits_back import make_coder
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models import Model, create
from ancestral.verbs import decompress as verb
from ancestral.verbs import image_files
from ancestral.verbs.compress import compress
from ancestral.verbs.decompress import PLACE_BYTES, decompress, restore

MODULES = (
    coding,
    archive,
    bits_back,
    coder,
    conditional,
    decoding,
    entropy,
    gaussians,
    originals,
    single,
    stack,
    verb,
    image_files,
)
"""What the fuzzer watches."""
DAMAGED, FORGED = 0, 1
KINDS = (PLAIN, NAMES, OTHER)
"""Kinds of forged chunks, beside that of data coded by the model."""
MODELS: dict[str, dict[str, Any]] = {"fvsbn": {}, "vae": {"latent": 2, "hidden": (4,)}}
"""Options of the models that files are of: of conditionals, and of codes."""
FIELDS = 6
MAX_BYTES = 2**11
"""Bytes of decoded data that are accepted."""


def make_model(name: str = "fvsbn") -> Model:
    """Return the model that all files are of, untrained."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return create(name, Event.binary((1, 2, 3)), **MODELS[name]).eval()


def make_data() -> Tensor:
    """Return what the seeds hold: of the one of a single datum, the first."""
    return torch.randint(2, (20, 1, 2, 3), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def seeds(model: Model, folder: Path) -> Iterator[bytes]:
    """Yield inputs: a single datum, data, and images with names beside files of another kind; made in a folder."""
    x, path = make_data(), folder / "a.anc"
    for count in (1, len(x)):
        compress(model, x[:count], path, chunk_size=6)
        yield bytes([DAMAGED]) + path.read_bytes()
    (folder / "images").mkdir()
    for i, image in enumerate(x):
        Image.fromarray(image[0].numpy().astype(bool)).save(folder / "images" / f"{i:02d}.png")
    (folder / "images" / "a.jpg").write_bytes(b"not an image")
    compress(model, folder / "images", path, chunk_size=6)
    yield bytes([DAMAGED]) + path.read_bytes()
    payloads = bytes(9), x[:3].numpy().tobytes(), b'[["a.png","b.png","c.png"],["L","1","L"]]', b"\x00\x05a.jpgcontent"
    yield bytes([FORGED]) + b"".join(bytes([i, 0, 3, 0, 0, len(part)]) + part for i, part in enumerate(payloads))


class Target:
    """Calls of the fuzzer.

    Args:
        model: the model.
    """

    def __init__(self, model: Model) -> None:
        self.model, self.coder, self.x = model, make_coder(model), make_data()

    def __call__(self, content: bytes) -> None:
        """Raise unless an input is served as it should."""
        if content[:1] == bytes([FORGED]):
            self.write(self.forge(content[1:]))
        else:
            self.read(content[1:])

    def read(self, content: bytes) -> None:
        """Raise unless what decodes of a file is what was compressed, or problems are told."""
        try:
            restored = restore(memoryview(content), self.model, max_bytes=MAX_BYTES)
        except InvalidInput as error:
            _check(0 < len(str(error)) < 1000 and "\n" not in str(error), f"an error in so many words: {error}")
            return
        index = restored.index.tolist()
        _check(index == sorted(set(index)) and len(index) == len(restored.x), f"data at {index}")
        _check(max(index, default=0) < len(self.x), f"data at {index} of {len(self.x)}")
        _check(torch.equal(restored.x, self.x[restored.index]), "data that were not compressed")
        _check(bool(restored.problems) or len(index) in (1, len(self.x)), "data are missing, and nothing is said")

    def write(self, content: bytes) -> None:
        """Raise unless no more than was accepted comes out of a file, and nothing is written beside its folder."""
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / "a.anc"
            path.write_bytes(content)
            try:
                restored = decompress(path, Path(place) / "out", model=self.model, recover=True, max_bytes=MAX_BYTES)
            except InvalidInput:
                restored = None
            _check(
                {p.name for p in Path(place).iterdir()} <= {"a.anc", "out"} and path.read_bytes() == content,
                "a file beside the folder",
            )
        size = 0 if restored is None else len(restored.x) * (restored.x[:1].numel() + PLACE_BYTES)
        _check(size <= MAX_BYTES, f"{size} bytes")

    def forge(self, content: bytes) -> bytes:
        """Return an archive of chunks, each given by kind, first, count, member, offset and length, a byte each, and data."""
        file = io.BytesIO()
        header = Header(self.model.name, self.coder.key, self.coder.event.shape, self.coder.levels, b"salt")
        writer, stream = Writer(file, header), iter(content)
        while len(fields := bytes(itertools.islice(stream, FIELDS))) == FIELDS:
            number, first, count, member, shift, length = fields
            kind, payload = (self.coder.kind, *KINDS)[number % (1 + len(KINDS))], bytes(itertools.islice(stream, length))
            if kind == self.coder.kind:
                mark = digest(header, first, self.decoded(count, shift, payload))
            elif kind == PLAIN:
                mark, payload = digest(header, first, payload), zlib.compress(payload)
            else:
                payload = zlib.compress(payload) if kind == NAMES else payload
                mark = digest(header, first, payload)
            writer.add(Chunk(kind, first, count, mark, payload, member, shift))
        writer.end(0, bytes(16))
        return file.getvalue()

    def decoded(self, count: int, shift: int, payload: bytes) -> bytes:
        """Return the data that a code is of, if it is one."""
        try:
            (data,) = self.coder.decode(0, [(max(count, 1), shift, payload)])
        except Damage:
            return b""
        return self.coder.originals.pack(*data)


def _check(holds: bool, what: str) -> None:
    if not holds:
        raise RuntimeError(what)


def functions() -> Iterator[FunctionType]:
    """Yield the functions and methods of `MODULES`."""
    for module in MODULES:
        owners = [module, *(c for _, c in inspect.getmembers(module, inspect.isclass) if c.__module__ == module.__name__)]
        for owner in owners:
            members = [f for _, f in inspect.getmembers(owner, inspect.isfunction)]
            yield from (f for f in members if f.__module__ == module.__name__)


def main() -> None:
    """Fuzz; the first argument that is no option is the corpus, which gets the seeds where it is empty, the next a model."""
    import atheris

    place, *names = (argument for argument in sys.argv[1:] if not argument.startswith("-"))
    corpus, model = Path(place), make_model(*names)
    corpus.mkdir(parents=True, exist_ok=True)
    if not any(corpus.iterdir()):
        with tempfile.TemporaryDirectory() as folder:
            for i, content in enumerate(seeds(model, Path(folder))):
                (corpus / f"seed-{i}").write_bytes(content)
    for function in functions():
        atheris.instrument_func(function)
    torch.set_num_threads(1)
    atheris.Setup([argument for argument in sys.argv if argument not in names], Target(model))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
