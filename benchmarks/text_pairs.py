"""Whether texts of models that learn as they code decode elsewhere: each setting encodes, each other one decodes.

python -m benchmarks.text_pairs RUN novel.txt --bytes 1000

Settings are those of `benchmarks.codec_pairs`. The largest differences between two settings' gradients and
log-probabilities, of a pass over the same segments with the same weights, are measured beside the tolerances of the format.
"""

import argparse
import hashlib
import itertools
import json
import sys
import tempfile
from pathlib import Path

from benchmarks.codec_pairs import run, settings, start

MODULE = "benchmarks.text_pairs"
SEGMENTS = 8
"""Segments whose gradients are compared."""


# In the process of a setting


def work(given: argparse.Namespace) -> dict[str, float]:
    """Encode, decode, or note gradients and log-probabilities."""
    import numpy as np
    import torch

    from ancestral.coding.archive import TEXT, read
    from ancestral.coding.dynamic import DynamicCoder, unpack_places
    from ancestral.coding.learning import Dynamic, read_segment, segments
    from ancestral.coding.text import open_code
    from ancestral.verbs.compress import compress
    from ancestral.verbs.decompress import decompress, open_archive
    from ancestral.verbs.inputs import open_model

    text = Path(given.text).read_bytes()[: given.bytes]
    if given.worker == "encode":
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "a.txt"
            path.write_bytes(text)
            result = compress(given.model, path, given.archive, dynamic=True, verify=False)
        chunks = [chunk for chunk in read(open_archive(Path(given.archive))).chunks if chunk.kind == TEXT]
        tails = [open_code(memoryview(chunk.payload))[1] for chunk in chunks]
        spent = sum(len(tail) - len(unpack_places(tail)[1]) for tail in tails)
        count = sum(len(unpack_places(tail)[0]) for tail in tails)
        return {"seconds": result.encode_seconds, "bytes": result.bytes, "exceptions": count, "spent": spent}
    if given.worker == "decode":
        restored = decompress(given.archive, model=given.model, recover=True)
        return {"failures": float(restored.text != text), "seconds": restored.seconds}
    model = open_model(given.model).model
    coder = DynamicCoder(model, Dynamic.of(model, True, None) or Dynamic(1e-4, 1))
    tokens = torch.from_numpy(next(coder.stretches([text])).tokens)
    gradients, tables = [], []
    for part in itertools.islice(segments(len(tokens), coder.length, coder.segment), SEGMENTS):
        raw, nats = read_segment(coder.learning, tokens, part)
        tables.append(coder.coder.table(raw.detach()))
        gradients.append(coder.learner.gradient(nats.mean()))
    np.savez(given.archive, gradients=np.stack(gradients), tables=np.concatenate(tables))
    return {}


# In the process that compares them


def compare(given: argparse.Namespace, folder: Path) -> None:
    """Print who decodes whose archives, and by how much gradients and log-probabilities differ."""
    import numpy as np

    from ancestral.coding import frequencies, learning

    common = [given.model, given.text, "--bytes", str(given.bytes)]
    chosen, skipped = settings()
    chosen = [s for s in chosen if not s.compiled]
    found, encoders = {}, {}  # by setting; by archive
    for i, s in enumerate(chosen):
        path = folder / f"{i}.anc"
        done = run(s, "encode", *common, "--archive", str(path), module=MODULE)
        run(s, "probe", *common, "--archive", str(path.with_suffix(".npz")), module=MODULE)
        with np.load(path.with_suffix(".npz")) as arrays:
            found[s.name] = {name: arrays[name] for name in ("gradients", "tables")}
        encoders.setdefault(hashlib.sha256(path.read_bytes()).digest(), (path, []))[1].append(s.name)
        print(f"{s.name}: {json.dumps(done)}", file=sys.stderr, flush=True)
    print(f"failures of {given.bytes} bytes of text, coded by {given.model} as it learns\n")
    print("| encoded \\ decoded | " + " | ".join(s.name for s in chosen) + " |")
    print("|---" * (len(chosen) + 1) + "|")
    for path, names in encoders.values():
        failures = [run(s, "decode", *common, "--archive", str(path), module=MODULE)["failures"] for s in chosen]
        print(f"| {'; '.join(names)} | " + " | ".join(f"{n:.0f}" for n in failures) + " |", flush=True)
    for name, tolerance in (("gradients", learning.TOLERANCE), ("tables", frequencies.TOLERANCE)):
        pairs = itertools.combinations(found, 2)
        largest = max(float(np.abs(found[a][name] - found[b][name]).max()) for a, b in pairs)
        print(f"Largest difference of {name} between two settings: {largest:.1e}, of {tolerance:.1e}.")
    entries = np.abs(next(iter(found.values()))["gradients"])
    print(f"Entries of gradients: median {np.median(entries):.1e}, largest {entries.max():.1e}.")
    print(f"The {len(chosen)} archives are {len(encoders)} different files; each file was decoded once by each setting.")
    for reason in skipped:
        print(f"Skipped: {reason}.")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="run directory or zoo name of a model of text")
    parser.add_argument("text", help="file of text")
    parser.add_argument("--bytes", type=int, default=1000, help="bytes of it that are coded, the first ones")
    return start(parser, work, compare)


if __name__ == "__main__":
    sys.exit(main())
