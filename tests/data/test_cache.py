import errno
import os

import numpy as np
import pytest

from ancestral.data import cache
from ancestral.errors import InvalidInput


def test_an_entry_is_built_once():
    calls = []

    def build(folder):
        calls.append(1)
        (folder / "a").write_text("content")

    first = cache.entry({"a": 1}, build)
    again = cache.entry({"a": 1}, build)
    assert first == again
    assert (again / "a").read_text() == "content"
    assert len(calls) == 1
    assert cache.entry({"a": 2}, build) != first


def test_a_failed_build_leaves_nothing():
    def build(folder):
        (folder / "half").write_text("written")
        raise InvalidInput("a broken file")

    with pytest.raises(InvalidInput, match=r"a broken file"):
        cache.entry({"a": 1}, build)
    assert list((cache.folder() / "data").iterdir()) == []


def test_a_full_disk_is_one_sentence_and_leaves_nothing():
    def build(folder):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(InvalidInput, match=r"No space left on device.*set XDG_CACHE_HOME to a larger disk"):
        cache.entry({"a": 1}, build)
    assert list((cache.folder() / "data").iterdir()) == []


def test_a_cache_that_cannot_be_written_says_so(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(InvalidInput, match=r"cannot be written.*set XDG_CACHE_HOME"):
        cache.entry({}, lambda folder: None)


def test_more_than_the_disk_holds_is_refused_before_it_is_written(tmp_path):
    with pytest.raises(InvalidInput, match=r"take 1048576\.0 GiB in the cache .* stream=True"):
        cache.require_space(tmp_path, 2**50)


def test_a_stamp_changes_with_the_file(tmp_path):
    file = tmp_path / "a"
    file.write_text("one")
    before = cache.stamp([file])
    assert cache.stamp([file]) == before
    file.write_text("two")
    os.utime(file, ns=(1, 1))
    assert cache.stamp([file]) != before


@pytest.mark.parametrize("sizes", [(3,), (2, 5, 1), (1,) * 12])
def test_an_array_is_written_in_pieces(tmp_path, sizes):
    pieces = [np.random.default_rng(i).integers(0, 256, (n, 2, 3), dtype=np.uint8) for i, n in enumerate(sizes)]
    with cache.ArrayWriter(tmp_path / "a.npy", (2, 3), np.uint8) as writer:
        for piece in pieces:
            writer.append(piece)
    assert np.array_equal(np.load(tmp_path / "a.npy"), np.concatenate(pieces))
