"""Translations: aligned lines from files and columns, refused where they are not, and batched by length."""

import itertools
from pathlib import Path

import pandas
import pytest
import torch

from ancestral.data import Data, PairSplit, load
from ancestral.data.pairs import encode_lines
from ancestral.encoding import TextEncoding
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.training.sampler import Sampler

EN = ["a man rides a horse", "two dogs run", "a girl", "the man sits", "dogs", "a horse and a dog"]
DE = ["ein Mann reitet ein Pferd", "zwei Hunde laufen", "ein Mädchen", "der Mann sitzt", "Hunde", "ein Pferd und ein Hund"]


def write(folder: Path, name: str, en: list[str] = EN, de: list[str] = DE) -> str:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.en").write_text("".join(f"{line}\n" for line in en))
    (folder / f"{name}.de").write_text("".join(f"{line}\n" for line in de))
    return str(folder / name)


def texts(data: Data, split: str) -> list[tuple[str, str]]:
    """Return the pairs of a split as text, from their tokens."""
    x, condition = data.split(split).batch(torch.arange(len(data.split(split))))
    data.event.check(x)
    data.event.check(condition)
    both = ([data.event.encoding.decode_text(data.event.until_end(row)) for row in side] for side in (condition, x))
    return list(zip(*both, strict=True))


@pytest.mark.parametrize("level", ["subword", "character", "byte", "bit"])
def test_two_files_make_pairs(tmp_path: Path, level: str) -> None:
    path = write(tmp_path / "mine", "corpus")
    data = load(path, languages="en-de", level=level, validation=1, test=2)
    assert data.condition == data.event
    assert data.event.end
    assert [len(data.split(split)) for split in ("train", "validation", "test")] == [3, 1, 2]
    found = [pair for split in data.splits for pair in texts(data, split)]
    if level != "character":  # of what was held out, some characters are not known
        assert sorted(found) == sorted(zip(EN, DE, strict=True))
    assert load(path, languages="de-en", level="byte", validation=0, test=0).split("train").lines == (DE, EN)
    longest = max(int(data.event.lengths(data.split("train").batch(torch.arange(3))[0]).max()), 0)
    assert longest < data.event.numel


def test_a_folder_has_its_splits(tmp_path: Path) -> None:
    for name, rows in {"train": slice(0, 4), "valid": slice(4, 5), "test": slice(5, 6)}.items():
        write(tmp_path / "mine", name, EN[rows], DE[rows])
    data = load(tmp_path / "mine", languages="en-de", level="byte")
    assert texts(data, "validation") == [("dogs", "Hunde")]
    assert texts(data, "test") == [(EN[5], DE[5])]
    part = data.split("test")
    assert isinstance(part, PairSplit)
    assert (part.tokens(), part.bytes) == (len(DE[5]) + 1, len(DE[5]))
    again = load(data.name, **data.record["options"])
    assert again.event == data.event
    with pytest.raises(InvalidInput, match="has a split 'test' of its own"):
        load(tmp_path / "mine", languages="en-de", test=1)


def test_two_columns_make_pairs(tmp_path: Path) -> None:
    pandas.DataFrame({"en": EN, "de": DE, "n": range(6)}).to_parquet(tmp_path / "all.parquet")
    data = load(tmp_path / "all.parquet", languages="en-de", level="byte", validation=0, test=0)
    assert texts(data, "train") == list(zip(EN, DE, strict=True))
    with pytest.raises(InvalidInput, match="no column 'fr' for languages="):
        load(tmp_path / "all.parquet", languages="en-fr")
    with pytest.raises(InvalidInput, match=r"column 'n' of .* expected text"):
        load(tmp_path / "all.parquet", languages="n-de")
    for wrong in ("en", "en-en", "-de"):
        with pytest.raises(InvalidInput, match="languages= takes"):
            load(tmp_path / "all.parquet", languages=wrong)


def test_lines_that_are_not_aligned_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "short", de=DE[:-1])
    with pytest.raises(InvalidInput, match=r"short\.en has 6 lines, .*short\.de 5, .* align them"):
        load(path, languages="en-de")
    path = write(tmp_path, "empty", de=[*DE[:2], "", " ", *DE[4:]])
    with pytest.raises(InvalidInput, match=r"empty\.de has 2 empty of 6 lines \(line 3, 4\)"):
        load(path, languages="en-de")
    (tmp_path / "lone.en").write_text("a\n")
    with pytest.raises(InvalidInput, match=r"no file .*lone\.de with its translations"):
        load(str(tmp_path / "lone"), languages="en-de")
    (tmp_path / "lone.de").write_bytes(b"a\nb\xff\n")
    with pytest.raises(InvalidInput, match=r"line 2 of .*lone\.de is not UTF-8"):
        load(str(tmp_path / "lone"), languages="en-de")
    with pytest.raises(InvalidInput, match="there is no file or folder"):
        load(str(tmp_path / "absent"), languages="en-de")


def test_long_sentences_are_refused_or_cut(tmp_path: Path) -> None:
    path = write(tmp_path, "corpus")
    with pytest.raises(InvalidInput, match=r"1 of 6 sentences of train .* \(de \(line 1\)\) .*pass length=26, or crop=True"):
        load(path, languages="en-de", level="byte", length=23, validation=0, test=0)
    data = load(path, languages="en-de", level="byte", length=23, crop=True, validation=0, test=0)
    assert texts(data, "train")[0] == (EN[0], DE[0][:23])
    assert "1 sentences cut to 23 tokens" in data.record["preprocessing"][1]


def test_other_sentences_are_read_in_the_tokens_of_a_model(tmp_path: Path) -> None:
    first = load(write(tmp_path, "one"), languages="en-de", level="character", length=40, validation=0, test=0)
    other = load(write(tmp_path, "two", ["a xyz"], ["ein xyz"]), languages="en-de", event=first.event, validation=0, test=0)
    assert other.event == first.event
    assert other.split("train").unknown_nats > 0.0
    with pytest.raises(InvalidInput, match=r"leave level= out"):
        load(tmp_path / "two", languages="en-de", event=first.event, level="byte")
    with pytest.raises(InvalidInput, match=r"give Event\.sentences"):
        load(tmp_path / "two", languages="en-de", event=Event.binary((3,)))


def test_lines_are_encoded_one_by_one() -> None:
    for level in ("bit", "byte", "character", "subword", "word"):
        encoding = TextEncoding.fit(level, ["\n".join(EN + EN).encode()])
        tokens, lengths = encode_lines(encoding, EN)
        expected = [encoding.encode(line.encode()).tolist() for line in EN]
        assert lengths.tolist() == [len(row) for row in expected]
        assert tokens.tolist() == [token for row in expected for token in row]


def test_multi30k(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANCESTRAL_DATA", str(real_data))
    data = load("multi30k", level="byte", limit=50)
    assert [len(data.split(split)) for split in ("train", "validation", "test")] == [50, 50, 50]
    assert all(source.isascii() for source, _ in texts(data, "validation"))
    assert load("multi30k", level="byte", languages="de-en", limit=50).split("test").lines[1] == data.split("test").lines[0]


# Batches of similar length


def test_batches_are_of_similar_size_and_every_datum_comes_once() -> None:
    sizes = torch.randint(1, 50, (103,), generator=torch.Generator().manual_seed(0))
    sampler = Sampler(103, 10, seed=3, sizes=sizes)
    epochs = [torch.cat([sampler.indices(10 * epoch + i) for i in range(10)]) for epoch in range(2)]
    for epoch in epochs:
        assert len(epoch.unique()) == 100
        ranges = [(int(sizes[part].min()), int(sizes[part].max())) for part in epoch.split(10)]
        ordered = sorted(ranges)
        assert ordered != ranges
        assert all(low[1] <= high[0] for low, high in itertools.pairwise(ordered))
    assert not torch.equal(*epochs)
    again = Sampler(103, 10, seed=3, sizes=sizes)
    assert torch.equal(again.indices(17), sampler.indices(17))  # from any step on
    parts = [Sampler(103, 5, seed=3, rank=rank, world=2, sizes=sizes).indices(4) for rank in (0, 1)]
    assert torch.equal(torch.cat(parts), sampler.indices(4))
