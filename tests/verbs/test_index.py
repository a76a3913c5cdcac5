"""Index and search: what is found, and which files are refused."""

import hashlib
import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import save as save_arrays

from ancestral.cli.main import main
from ancestral.data import load
from ancestral.encoding import BagOfWords
from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.models import create
from ancestral.models.store import save
from ancestral.verbs.code_index import MAGIC, CodeIndex
from ancestral.verbs.index import index, packed, search, thresholds_of

pytest.importorskip("faiss")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def random_index(n, bits, seed=0, names=()):
    random = np.random.default_rng(seed)
    codes = np.packbits(random.integers(0, 2, (n, bits), dtype=np.uint8), axis=1)
    return CodeIndex(codes, bits, np.zeros(bits, np.float32), names, "it", "00")


def hamming(one, codes):
    return np.unpackbits(one ^ codes, axis=1).sum(1)


@pytest.mark.parametrize(("n", "bits"), [(1, 3), (7, 8), (500, 10), (3000, 32), (200, 130)])
def test_what_is_found_is_what_all_distances_say(n, bits):
    made = random_index(n, bits)
    for number in range(0, n, max(1, n // 5)):
        distances = hamming(made.codes[number], made.codes)
        ordered = sorted(range(n), key=lambda i, d=distances: (d[i], i))
        for k in (1, 5, n + 3):
            found = made.nearest(made.codes[number], k)
            assert [(near.number, near.distance) for near in found] == [(i, distances[i]) for i in ordered[:k]]
        for radius in (0, 1, 2, 3, bits // 2, bits + 5):
            found = made.within(made.codes[number], radius)
            assert [(near.number, near.distance) for near in found] == [
                (i, distances[i]) for i in ordered if distances[i] <= radius
            ]


def test_small_balls_are_looked_up_and_large_ones_searched():
    made = random_index(3000, 32)
    made.within(made.codes[0], 1)
    assert "_flat" not in made.__dict__
    made.within(made.codes[0], 9)
    assert "_flat" in made.__dict__


def test_a_saved_index_is_the_same(here):
    made = random_index(5, 12, names=[f"naïve {i}" for i in range(5)])
    made.save("a.codes")
    loaded = CodeIndex.load("a.codes")
    assert np.array_equal(loaded.codes, made.codes)
    assert (loaded.bits, loaded.model, loaded.key, list(loaded.names)) == (12, "it", "00", list(made.names))
    assert [path.name for path in here.iterdir()] == ["a.codes"]


def test_every_flip_and_every_cut_is_refused(here):
    random_index(9, 16, names=["name"] * 9).save("a.codes")
    whole = (here / "a.codes").read_bytes()
    random = np.random.default_rng(0)
    broken = [whole[:n] for n in range(len(whole))]
    for _ in range(2000):
        flipped = bytearray(whole)
        flipped[random.integers(len(whole))] ^= 1 << random.integers(8)
        broken.append(bytes(flipped))
    broken += [whole + b"\0", b"", whole[::-1]]
    for content in broken:
        (here / "b.codes").write_bytes(content)
        with pytest.raises(InvalidInput):
            CodeIndex.load("b.codes")


def forged(path, facts=(), metadata=None, **arrays):
    """Write an index with a right digest and something else in it."""
    good = {
        "codes": np.zeros((3, 2), np.uint8),
        "thresholds": np.zeros(12, np.float32),
        "names": np.frombuffer(b'["a", "b", "c"]', np.uint8),
    }
    said = {"bits": 12, "model": "it", "key": "00", "data": None, "split": None, "options": {}, **dict(facts)}
    said = {name: value for name, value in said.items() if value != "absent"}
    told = {"index": json.dumps(said)} if metadata is None else metadata
    content = save_arrays({**good, **arrays}, metadata=told)
    path.write_bytes(MAGIC + hashlib.sha256(content).digest() + content)


@pytest.mark.parametrize(
    "wrong",
    [
        {"facts": {"bits": 13}},
        {"facts": {"bits": 0}},
        {"facts": {"bits": 2**40}},
        {"facts": {"bits": True}},
        {"facts": {"bits": "12"}},
        {"facts": {"model": 3}},
        {"facts": {"options": []}},
        {"facts": {"key": "absent"}},
        {"facts": {"more": 1}},
        {"metadata": {}},
        {"metadata": {"index": "[" * 100_000}},
        {"metadata": {"index": "3"}},
        {"codes": np.zeros((3, 3), np.uint8)},
        {"codes": np.zeros((0, 2), np.uint8)},
        {"codes": np.zeros((3, 2), np.int16)},
        {"codes": np.full((3, 2), 255, np.uint8)},
        {"thresholds": np.zeros(11, np.float32)},
        {"thresholds": np.full(12, np.nan, np.float32)},
        {"names": np.frombuffer(b'["a"]', np.uint8)},
        {"names": np.frombuffer(b"[1, 2, 3]", np.uint8)},
        {"names": np.frombuffer(b"\xff\xfe", np.uint8)},
        {"other": np.zeros(1, np.uint8)},
    ],
)
def test_a_file_with_a_right_digest_and_something_else_in_it_is_refused(here, wrong):
    forged(here / "fine.codes")
    assert len(CodeIndex.load("fine.codes")) == 3
    forged(here / "a.codes", **wrong)
    with pytest.raises(InvalidInput, match="is no index that this program wrote"):
        CodeIndex.load("a.codes")


def test_an_index_of_another_version_and_other_files_are_refused(here):
    random_index(2, 8).save("a.codes")
    whole = (here / "a.codes").read_bytes()
    (here / "b.codes").write_bytes(b"ANCI\x02" + whole[5:])
    with pytest.raises(InvalidInput, match="an index of version"):
        CodeIndex.load("b.codes")
    (here / "c.codes").write_text("something else")
    with pytest.raises(InvalidInput, match="is no index: it begins with"):
        CodeIndex.load("c.codes")
    with pytest.raises(InvalidInput, match=r"no index none\.codes"):
        CodeIndex.load("none.codes")


def test_bits_are_one_from_the_median_on():
    codes = torch.tensor([[0.0, 5.0, 0.0, 2.0], [1.0, 6.0, 0.0, 2.0], [2.0, 7.0, 0.0, 2.0], [3.0, 8.0, 4.0, 2.0]])
    at = thresholds_of(create("rbm", Event.binary((4,)), hidden=4), codes)
    assert at.tolist() == [1.0, 6.0, 4.0, 2.0]  # of the third, most data have the least value
    assert packed(codes, at).tolist() == [[0b00010000], [0b11010000], [0b11010000], [0b11110000]]
    hashing = create("semantic-hashing", Event.binary((4,)), bits=4)
    assert thresholds_of(hashing, codes).tolist() == [0.5] * 4
    assert thresholds_of(hashing, codes, "median").tolist() == at.tolist()
    with pytest.raises(InvalidInput, match="have no threshold of their own: take median"):
        thresholds_of(create("rbm", Event.binary((4,)), hidden=4), codes, "own")


@pytest.fixture
def documents(here):
    """A folder of documents and a saved model of them, untrained."""
    texts = [f"{a} {b}" for a in ("rose", "bee", "wasp", "thorn") for b in ("garden", "hive", "nest")]
    for split in ("train", "test"):
        for i, text in enumerate(texts):
            (here / "letters" / split / text.split()[0]).mkdir(parents=True, exist_ok=True)
            (here / "letters" / split / text.split()[0] / f"{i:02}.txt").write_text(text)
    data = load("letters", bag=True, validation=0)
    torch.manual_seed(0)
    model = create("semantic-hashing", data.event, hidden=(), bits=12)
    save(model, here / "run", {"data": {"name": "letters", "record": data.record}})
    return data


def test_documents_are_found_by_text_by_file_and_by_number(here, documents, capsys):
    assert main(["index", "run", "-o", "a.codes"]) == 0
    assert "wrote 12 codes of 12 bits (letters, train split) to a.codes" in capsys.readouterr().err
    made = CodeIndex.load("a.codes")
    number = list(made.names).index("rose hive")
    for query in (str(number), "A rose in a hive.", "query.txt"):
        (here / "query.txt").write_text("hive? rose!")
        assert main(["search", "a.codes", query, "-k", "3", "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["size"] == 12
        assert {"number": number, "distance": 0, "name": "rose hive"} in told["found"]
    assert main(["search", "a.codes", "rose hive", "--radius", "0"]) == 0
    assert "rose hive" in capsys.readouterr().out
    model, *_ = (index("run").model,)
    assert model == "run"


def test_queries_that_cannot_be_answered_say_why(documents, capsys, here):
    index("run", None, "a.codes")
    random_index(3, 12).save("other.codes")
    for arguments, message in (
        (["a.codes", "tulip"], "the text has none of the 7 known words"),
        (["a.codes", "99"], "the index has no number 99, expected 0 to 11"),
        (["a.codes", "rose", "-k", "3", "--radius", "1"], "got both k=3 and radius=1"),
        (["a.codes", "rose", "--radius", "-1"], "radius is -1"),
        (["a.codes", "rose", "-k", "0"], "k is 0"),
        (["other.codes", "rose", "--model", "run"], "the index is of another model than run"),
        (["a.codes", "0", "-o", "a.png"], "expected images"),
    ):
        assert main(["search", *arguments]) == 2
        assert message in capsys.readouterr().err
    model = create("semantic-hashing", documents.event, hidden=(), bits=12)
    with pytest.raises(InvalidInput, match="of another model than semantic-hashing, or of other weights"):
        search("a.codes", "rose", model=model)


def test_any_encoder_serves_search_and_images_are_drawn(here, capsys):
    torch.manual_seed(0)
    model = create("vae", load("digits").event, latent=6, hidden=(8,))
    save(model, here / "vae", {"data": {"name": "digits", "record": {"options": {"limit": 40}}}})
    assert main(["index", "vae", "--split", "test", "-o", "d.codes"]) == 0
    made = CodeIndex.load("d.codes")
    assert len(made) == 40
    Image.fromarray(np.full((8, 8), 9, np.uint8)).save("query.png")
    assert main(["search", "d.codes", "query.png", "-k", "4", "-o", "found.png"]) == 0
    with Image.open("found.png") as image:
        assert image.width > 3 * image.height
    assert main(["search", "d.codes", "some words"]) == 2
    assert "is no number of the index and no image file" in capsys.readouterr().err


def test_models_without_codes_or_with_a_condition_are_refused():
    with pytest.raises(Unsupported, match="has no encode"):
        index(create("gan", load("digits").event, hidden=(4,)), "digits")
    with pytest.raises(InvalidInput, match="take a model without a condition"):
        index(create("vae", load("digits").event, Event.label(10), hidden=(4,)), "digits")


def test_a_datum_can_be_a_query():
    torch.manual_seed(0)
    model = create("semantic-hashing", Event.documents(BagOfWords(("bee", "rose"))), hidden=(), bits=5)
    codes = model.bits(torch.tensor([[3, 0], [0, 2]])).numpy()
    made = index(model, load(_frame(), event=model.event, validation=0, test=0))
    assert set(map(tuple, made.codes.tolist())) == set(map(tuple, codes.tolist()))
    found = search(made, torch.tensor([0, 2], dtype=torch.uint8), k=1, model=model)
    assert found.neighbours[0].distance == 0


def _frame():
    import pandas as pd

    return pd.DataFrame({"text": ["bee bee bee", "rose rose"]})
