"""Whether archives decode elsewhere: each setting encodes, each other one decodes.

python -m benchmarks.codec_pairs MODEL --data mnist --count 1000

A setting is a process of its own: vector instructions, threads, data decoded at once, and another release of
torch where ANCESTRAL_OTHER_PYTHON names an interpreter that has one. What one machine can vary is a part of what they vary;
the largest difference between the log-probabilities of two settings is measured as well, beside the tolerance of the format.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Setting:
    """What a process runs with.

    Args:
        name: heading in the table.
        environment: variables.
        threads: of torch.
        batch: data decoded at once.
        python: interpreter.
    """

    name: str
    environment: dict[str, str] = field(default_factory=dict)
    threads: int = 1
    batch: int = 512
    python: str = sys.executable


def settings() -> list[Setting]:
    """Return the settings that can be had here."""
    found = [
        Setting("as it comes", threads=2),
        Setting(
            "no vectors",
            {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"},
        ),
        Setting("AVX2", {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}, 2),
        Setting("1 thread, 1 at once", threads=1, batch=1),
        Setting("1 thread, 7 at once", threads=1, batch=7),
        Setting("2 threads, 64 at once", threads=2, batch=64),
    ]
    other = os.environ.get("ANCESTRAL_OTHER_PYTHON")
    return [*found, Setting("another torch", python=other)] if other else found


def run(setting: Setting, *arguments: str) -> dict[str, float]:
    """Run this file as a worker under a setting, and return what it printed."""
    environment = {**os.environ, **setting.environment, "OMP_NUM_THREADS": str(setting.threads), "PYTHONPATH": str(ROOT)}
    command = [setting.python, "-m", "benchmarks.codec_pairs", "--worker", *arguments, "--batch", str(setting.batch)]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{setting.name}: {done.stderr.strip().splitlines()[-1]}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def work(given: argparse.Namespace) -> dict[str, float]:
    """Encode or decode, in a process of its own."""
    import numpy as np
    import torch

    from ancestral.coding.coder import ModelCoder
    from ancestral.data import load
    from ancestral.verbs import codec
    from ancestral.verbs.inputs import open_model

    codec.DECODE_BATCH = given.batch
    data = load(given.data)
    x, _ = data.split("test").batch(torch.arange(given.count))
    begun = time.perf_counter()
    if given.worker == "encode":
        result = codec.compress(given.model, x, given.archive, verify=False, chunk_size=given.chunk)
        return {"bytes": result.bytes, "seconds": time.perf_counter() - begun}
    if given.worker == "decode":
        restored = codec.decompress(given.archive, model=given.model, recover=True)
        right = len(restored.x) == len(x) and torch.equal(restored.x, x)
        return {"failures": 0 if right else given.count - len(restored.x), "seconds": time.perf_counter() - begun}
    coder = ModelCoder(open_model(given.model).model)
    with torch.no_grad():
        np.save(given.archive, coder.log_pmf(0, x[:16], None))
    return {}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="run directory or zoo name")
    parser.add_argument("--data", default="binarized-mnist", help="data set, of which the test split is coded")
    parser.add_argument("--count", type=int, default=1000, help="data coded")
    parser.add_argument("--chunk", type=int, help="data of a chunk")
    parser.add_argument("--worker", choices=["encode", "decode", "probe"], help=argparse.SUPPRESS)
    parser.add_argument("--archive", help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, default=512, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        print(json.dumps(work(given)))
        return 0
    import numpy as np

    from ancestral.coding.frequencies import TOLERANCE

    common = [given.model, "--data", given.data, "--count", str(given.count)]
    common += ["--chunk", str(given.chunk)] if given.chunk else []
    chosen = settings()
    with tempfile.TemporaryDirectory() as folder:
        places = {s.name: str(Path(folder) / f"{i}.anc") for i, s in enumerate(chosen)}
        for s in chosen:
            run(s, "encode", *common, "--archive", places[s.name])
            run(s, "probe", *common, "--archive", places[s.name] + ".npy")
        tables = [np.load(places[s.name] + ".npy") for s in chosen]
        print(f"failures among {given.count} data of {given.data}, coded by {given.model}\n")
        print("| encoded \\ decoded | " + " | ".join(s.name for s in chosen) + " |")
        print("|---" * (len(chosen) + 1) + "|")
        for a in chosen:
            row = [f"{run(b, 'decode', *common, '--archive', places[a.name])['failures']:.0f}" for b in chosen]
            print(f"| {a.name} | " + " | ".join(row) + " |", flush=True)
        largest = max(float(np.abs(a - b).max()) for a, b in itertools.combinations(tables, 2))
        same = len({Path(place).read_bytes() for place in places.values()})
    print(f"\nLargest difference between two settings' log-probabilities (16 data): {largest:.1e} nats, of {TOLERANCE:.1e}.")
    print(f"The {len(chosen)} archives are {same} different files.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
