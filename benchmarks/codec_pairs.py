"""Whether archives decode elsewhere: each setting encodes, each other one decodes.

python -m benchmarks.codec_pairs MODEL --data mnist --count 1000

A setting is a process of its own: vector instructions, threads, data decoded at once, the network compiled by
torch.compile, and another release of torch where ANCESTRAL_OTHER_PYTHON names an interpreter that has one. What one machine
can vary is a part of what they vary; the largest difference between the log-probabilities of two settings is measured as
well, beside the tolerance of the format. Archives that are one and the same file are decoded once by each setting.
"""

import argparse
import hashlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COMPILERS = ("c++", "g++", "clang++")


@dataclass(frozen=True)
class Setting:
    """What a process runs with.

    Args:
        name: heading in the table.
        environment: variables.
        threads: of torch.
        batch: data decoded at once.
        python: interpreter.
        share: part of the data, the first ones, that it decodes, where all would take hours.
        compiled: run the network by torch.compile. Its steps, each of which would be a program of its own, are not: such a
            setting encodes only.
    """

    name: str
    environment: dict[str, str] = field(default_factory=dict)
    threads: int = 1
    batch: int = 512
    python: str = sys.executable
    share: float = 1.0
    compiled: bool = False

    def decodes(self, count: int) -> int:
        """Return how many of `count` data it decodes."""
        return max(1, round(self.share * count))


def settings() -> tuple[list[Setting], list[str]]:
    """Return the settings that can be had here, and why others cannot."""
    found = [
        Setting("as it comes", threads=2),
        Setting(
            "no vectors",
            {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"},
        ),
        Setting("AVX2", {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}, 2),
        Setting("1 thread, 1 at once", threads=1, batch=1, share=0.05),
        Setting("1 thread, 7 at once", threads=1, batch=7),
        Setting("2 threads, 64 at once", threads=2, batch=64),
    ]
    skipped = []
    compiler = os.environ.get("CXX") or next(filter(shutil.which, COMPILERS), None)
    if compiler:
        found.append(Setting("torch.compile", {"CXX": compiler}, compiled=True))
    else:
        skipped.append(f"torch.compile: there is no C++ compiler ({', '.join(COMPILERS)}), and CXX names none")
    other = os.environ.get("ANCESTRAL_OTHER_PYTHON")
    if other:
        found.append(Setting("another torch", python=other))
    else:
        skipped.append("another torch: ANCESTRAL_OTHER_PYTHON names no interpreter that has one")
    return found, skipped


# In the process of a setting


def work(given: argparse.Namespace) -> dict[str, float]:
    """Encode, decode, or note log-probabilities, and of codes also means and deviations."""
    import numpy as np
    import torch

    from ancestral.coding import decoding
    from ancestral.coding.bits_back import BitsBackCoder, make_coder
    from ancestral.coding.coder import Coder, ModelCoder
    from ancestral.data import load
    from ancestral.models.base import Model
    from ancestral.verbs import compress
    from ancestral.verbs.decompress import decompress
    from ancestral.verbs.inputs import open_model

    def coder_of(model: Model) -> Coder:
        coder = make_coder(model)
        if given.compiled:
            for network in [coder.model] if isinstance(coder, ModelCoder) else coder.model.children():
                network.compile()
        return coder

    decoding.DECODE_BATCH = given.batch
    compress.make_coder = coder_of  # type: ignore[attr-defined]
    x, _ = load(given.data).split("test").batch(torch.arange(given.count))
    if given.worker == "encode":
        result = compress.compress(given.model, x, given.archive, verify=False, chunk_size=given.chunk)
        return {"bytes": result.bytes, "seconds": result.encode_seconds}
    if given.worker == "decode":
        wanted = given.decodes or len(x)
        restored = decompress(given.archive, model=given.model, index=range(wanted), recover=True)
        right = torch.equal(restored.x, x[restored.index])
        return {"failures": wanted - len(restored.x) if right else wanted, "seconds": restored.seconds}
    coder = coder_of(open_model(given.model).model)
    with torch.no_grad():
        if isinstance(coder, ModelCoder):
            rounded = coder.log_pmf(0, x[:16], None)
        elif isinstance(coder, BitsBackCoder):
            q = coder.posterior(0, x[:16], None)
            z = coder.values(q.likeliest(), q, 16)
            rounded = np.concatenate([q.values.ravel(), coder.table(coder.model.raw(z).flatten(0, -2)).ravel()])
        np.save(given.archive, rounded)
    return {}


# In the process that compares them


def run(setting: Setting, worker: str, *arguments: str, module: str = "benchmarks.codec_pairs") -> dict[str, float]:
    """Run a module, this file or one like it, as a worker under a setting, and return what it printed."""
    environment = {**os.environ, **setting.environment, "OMP_NUM_THREADS": str(setting.threads), "PYTHONPATH": str(ROOT)}
    command = [setting.python, "-m", module, "--worker", worker, *arguments, "--batch", str(setting.batch)]
    command += ["--compiled"] if setting.compiled else []
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{setting.name}: {(done.stderr.strip() or 'no word of why').splitlines()[-1]}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def compare(given: argparse.Namespace, folder: Path) -> None:
    """Print who decodes whose archives, and by how much log-probabilities differ."""
    import numpy as np

    from ancestral.coding.frequencies import TOLERANCE

    common = [given.model, "--data", given.data, "--count", str(given.count)]
    common += ["--chunk", str(given.chunk)] if given.chunk else []
    chosen, skipped = settings()
    tables, encoders = {}, {}  # by setting; by archive
    for i, s in enumerate(chosen):
        path = folder / f"{i}.anc"
        seconds = run(s, "encode", *common, "--archive", str(path))["seconds"]
        run(s, "probe", *common, "--archive", str(path.with_suffix(".npy")))
        tables[s.name] = np.load(path.with_suffix(".npy"))
        encoders.setdefault(hashlib.sha256(path.read_bytes()).digest(), (path, []))[1].append(s.name)
        print(f"{s.name}: encoded in {seconds:.1f} s", file=sys.stderr, flush=True)
    decoders = [s for s in chosen if not s.compiled]
    print(f"failures among {given.count} data of {given.data}, coded by {given.model}\n")
    named = [s.name if s.share == 1.0 else f"{s.name} (the first {s.decodes(given.count):,})" for s in decoders]
    print("| encoded \\ decoded | " + " | ".join(named) + " |")
    print("|---" * (len(decoders) + 1) + "|")
    for path, names in encoders.values():
        failures = []
        for s in decoders:
            done = run(s, "decode", *common, "--archive", str(path), "--decodes", str(s.decodes(given.count)))
            failures.append(done["failures"])
            print(f"{s.name}: decoded {s.decodes(given.count):,} in {done['seconds']:.1f} s", file=sys.stderr, flush=True)
        print(f"| {'; '.join(names)} | " + " | ".join(f"{n:.0f}" for n in failures) + " |", flush=True)
    largest = max(float(np.abs(tables[a] - tables[b]).max()) for a, b in itertools.combinations(tables, 2))
    print(f"\nLargest difference between two settings' log-probabilities (16 data): {largest:.1e} nats, of {TOLERANCE:.1e}.")
    print(f"The {len(chosen)} archives are {len(encoders)} different files; each file was decoded once by each setting.")
    for reason in skipped:
        print(f"Skipped: {reason}.")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="run directory or zoo name")
    parser.add_argument("--data", default="binarized-mnist", help="data set, of which the test split is coded")
    parser.add_argument("--count", type=int, default=1000, help="data coded, the first ones")
    parser.add_argument("--chunk", type=int, help="data of a chunk")
    return start(parser, work, compare)


def start(
    parser: argparse.ArgumentParser,
    work: Callable[[argparse.Namespace], dict[str, float]],
    compare: Callable[[argparse.Namespace, Path], None],
) -> int:
    """Parse the command line, and be a worker or the process that compares them.

    Args:
        parser: of what the command itself takes.
        work: what a worker does; see `run`.
        compare: what compares the settings, given a folder for archives.
    """
    parser.add_argument("--worker", choices=["encode", "decode", "probe"], help=argparse.SUPPRESS)
    parser.add_argument("--archive", help=argparse.SUPPRESS)
    parser.add_argument("--decodes", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, default=512, help=argparse.SUPPRESS)
    parser.add_argument("--compiled", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        print(json.dumps(work(given)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        compare(given, Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
