"""The fuzzer's target serves its seeds, and finds what it is there to find."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ancestral.verbs import decompress as verb
from ancestral.verbs import image_files
from ancestral.verbs.compress import compress
from tests.fuzz.fuzz_archive import DAMAGED, FORGED, MODELS, MODULES, Target, functions, make_data, make_model, seeds
from tests.verbs.test_codec_damage import cut

TARGETS = {name: Target(make_model(name)) for name in MODELS}
TARGET = TARGETS["fvsbn"]


@pytest.mark.parametrize("name", MODELS)
def test_seeds_are_served_whole_and_damaged(name: str, tmp_path: Path) -> None:
    target = TARGETS[name]
    for content in seeds(target.model, tmp_path):
        target(content)
        for at in range(1, len(content), 41):
            target(content[:at])
            target(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])


@given(name=st.sampled_from(sorted(MODELS)), kind=st.sampled_from([DAMAGED, FORGED]), content=st.binary(max_size=60))
@settings(max_examples=60, deadline=None)
def test_any_bytes_are_served(name: str, kind: int, content: bytes) -> None:
    TARGETS[name](bytes([kind]) + content)


@given(count=st.integers(0, 9), code=st.binary(max_size=60))
@settings(max_examples=40, deadline=None)
def test_any_code_of_a_stack_is_served(count: int, code: bytes) -> None:
    """With checksums that are right."""
    TARGETS["vae"](bytes([FORGED, 0, 0, count, 0, 0, len(code)]) + code)


def nothing(*given: object) -> None:
    """Check nothing."""


def other_data(folder: Path) -> bytes:
    compress(TARGET.model, 1 - make_data(), folder / "b.anc")
    return bytes([DAMAGED]) + (folder / "b.anc").read_bytes()


def without_a_chunk(folder: Path) -> bytes:
    _, content, *_ = seeds(TARGET.model, folder)
    head, parts = cut(content[1:])
    return bytes([DAMAGED]) + head + b"".join(code for _, code in parts[1:])


def name_that_leads_out(folder: Path) -> bytes:
    chunks = (1, 0, 1, 0, 0, bytes(6)), (2, 0, 1, 0, 0, b'[["../a.png"],["1"]]')
    return bytes([FORGED]) + b"".join(bytes([*fields, len(payload)]) + payload for *fields, payload in chunks)


def many_data(folder: Path) -> bytes:
    return bytes([FORGED, 0, 0, 255, 0, 0, 0])


@pytest.mark.parametrize(
    ("check", "make", "words"),
    [
        (None, other_data, "data that were not compressed"),
        ((verb, "_check_total"), without_a_chunk, "data are missing, and nothing is said"),
        ((image_files, "check_name"), name_that_leads_out, "a file beside the folder"),
        ((verb, "_check_size"), many_data, "3570 bytes"),
    ],
    ids=["data", "total", "names", "size"],
)
def test_what_is_wrong_is_found(check, make: Callable[[Path], bytes], words: str, tmp_path: Path, monkeypatch) -> None:
    """And nothing is, where the check that is there for it does its work."""
    content = make(tmp_path)
    if check is not None:
        TARGET(content)
        monkeypatch.setattr(*check, nothing)
    with pytest.raises(RuntimeError, match=words):
        TARGET(content)


def test_all_that_reads_is_watched() -> None:
    names = {function.__qualname__ for function in functions()}
    assert {
        "read",
        "_find",
        "inflate",
        "restore",
        "unpack_names",
        "unpack_single",
        "_Reader.take",
        "Decoder.decode",
        "Stack.pop",
    } <= names
    assert len({module.__name__ for module in MODULES}) == len(MODULES)
