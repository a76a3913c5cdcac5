"""Encodings of text: nothing is lost, nothing depends on how the text is cut, and what is unknown has its price."""

import copy
import json
import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ancestral.encoding import SubwordEncoding, TextEncoding, WordEncoding, safe_cut
from ancestral.encoding.chunks import whole_characters
from ancestral.encoding.pieces import LONGEST
from ancestral.errors import InvalidInput

TEXT = """\
The cat sat on the mat; the cat's mat was the cat\u2019s.  It cost 12.50 \u20ac, na\u00efve as it was!
\tThe \u732b sat\u3000on the mat\r\n and the cat sat on it: the cat, the mat and the \u732b.

""".encode()
ENCODINGS = {
    "bit": TextEncoding.fit("bit"),
    "byte": TextEncoding.fit("byte"),
    "character": TextEncoding.fit("character", [TEXT]),
    "character, of 5": TextEncoding.fit("character", [TEXT], vocabulary=5),
    "subword": TextEncoding.fit("subword", [TEXT * 3], vocabulary=300),
    "word": TextEncoding.fit("word", [TEXT]),
    "word, all": TextEncoding.fit("word", [TEXT], minimum=1),
    "word, spaces": TextEncoding.fit("word", [TEXT], words="spaces"),
}
each_encoding = pytest.mark.parametrize("encoding", ENCODINGS.values(), ids=ENCODINGS)

texts = st.text(alphabet=st.sampled_from(" \n\tabc'\u2019.1_\u00e9\u732b\u3000\U0001f408")).map(str.encode)


def cut_anywhere(data: bytes, cuts: list[int]) -> list[bytes]:
    """Cut a text at some places, which may be within characters, and the same one twice."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in zip(places, [*places[1:], len(data)], strict=True)]


# Nothing is lost


@pytest.mark.parametrize("name", ["bit", "byte", "subword"])
@given(st.binary() | texts)
def test_any_bytes_come_back(name, data):
    encoding = ENCODINGS[name]
    assert encoding.decode(encoding.encode(data)) == data
    assert encoding.unknown_nats(data) == 0.0


@pytest.mark.parametrize(("level", "words"), [("character", None), ("word", "letters"), ("word", "spaces")])
@given(texts.filter(bool) | st.text(min_size=1).map(lambda text: text.encode(errors="ignore")).filter(bool))
def test_text_without_unknowns_comes_back(level, words, data):
    encoding = TextEncoding.fit(level, [data], minimum=1, words=words)
    tokens = encoding.encode(data)
    assert encoding.decode(tokens) == data
    assert encoding.unknown not in tokens
    assert encoding.unknown_nats(data) == 0.0


@each_encoding
def test_tokens_are_of_the_smallest_type_and_in_range(encoding):
    tokens = encoding.encode(TEXT)
    assert tokens.dtype == np.min_scalar_type(encoding.levels - 1)
    assert tokens.dtype.kind == "u"
    assert tokens.max() < encoding.levels
    assert encoding.encode(b"").shape == (0,)
    assert encoding.decode(encoding.encode(b"")) == b""


@each_encoding
def test_what_is_decoded_may_be_a_tensor_a_list_or_an_array(encoding):
    tokens = encoding.encode(TEXT)
    decoded = encoding.decode(tokens)
    assert encoding.decode(torch.from_numpy(tokens.astype(np.int64))) == decoded
    assert encoding.decode(tokens.tolist()) == decoded
    assert encoding.decode_text(tokens) == decoded.decode()


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([[1, 2]], r"shape \(1, 2\) .*decode one text at a time"),
        ([0.5], "type float64, expected whole numbers"),
        (torch.tensor([0, 256]), "from 0 to 256, expected 0 to 255"),
        ([-1], "from -1 to -1, expected 0 to 255"),
    ],
)
def test_what_is_no_token_is_refused(tokens, message):
    with pytest.raises(InvalidInput, match=message):
        TextEncoding.fit("byte").decode(tokens)


def test_bits_come_in_bytes():
    assert TextEncoding.fit("bit").encode(b"\x80\x01").tolist() == [1, *[0] * 14, 1]
    with pytest.raises(InvalidInput, match=r"got 9 bits, expected whole bytes"):
        TextEncoding.fit("bit").decode([0] * 9)


# What the tokens are


def test_characters_are_in_the_order_of_unicode():
    assert ENCODINGS["character"].vocabulary == "".join(sorted(set(TEXT.decode())))
    assert ENCODINGS["character, of 5"].vocabulary == " aehst".replace("s", "")
    assert ENCODINGS["character, of 5"].levels == 6


def test_words_are_pieces_with_the_space_before_them():
    encoding = TextEncoding.fit("word", [b"It's a cat's 2nd_life,  (really)\n\n No"], minimum=1)
    pieces = [encoding.decode([token]).decode() for token in encoding.encode(b"It's a cat's 2nd_life,  (really)\n\n No")]
    assert pieces == ["It's", " a", " cat's", " 2nd_life", ",", " ", " (", "really", ")", "\n", "\n", " No"]


def test_words_between_spaces_have_one_token_for_the_end_of_a_line():
    encoding = TextEncoding.fit("word", [b" the <unk> co. \n a $ N \n"], words="spaces")
    assert encoding.vocabulary == (" \n", " $", " <unk>", " N", " a", " co.", " the")


def test_the_most_frequent_words_are_known():
    encoding = TextEncoding.fit("word", [b"a b a b c a c d"], vocabulary=2)
    assert encoding.vocabulary == (" a", " b")
    assert encoding.encode(b" b c a").tolist() == [1, 2, 0]
    assert encoding.decode_text([1, 2, 0]) == " b\ufffd a"


def test_subwords_are_merged_bytes():
    encoding = TextEncoding.fit("subword", [b"low lower lowest slow " * 9], vocabulary=270)
    assert 256 < encoding.levels <= 270
    assert encoding.decode([encoding.levels - 1]) in b"low lower lowest slow "
    assert len(encoding.encode(b"low lower lowest")) < 8
    assert TextEncoding.fit("subword", [b"low"], vocabulary=256).levels == 256


def test_two_merges_may_make_the_same_token():
    encoding = SubwordEncoding(((97, 98), (98, 99), (256, 99), (97, 257)))
    assert encoding.levels == 259
    assert encoding.decode(encoding.encode(b"abc ab bc")) == b"abc ab bc"


def test_fitting_is_deterministic_and_does_not_depend_on_the_cuts():
    for level, options in [("character", {}), ("word", {}), ("word", {"words": "spaces"}), ("subword", {"vocabulary": 300})]:
        whole = TextEncoding.fit(level, [TEXT * 3], **options)
        pieces = TextEncoding.fit(level, cut_anywhere(TEXT * 3, list(range(0, len(TEXT) * 3, 7))), **options)
        assert whole == pieces
        assert hash(whole) == hash(pieces)


# Text in chunks


@each_encoding
@given(texts.map(lambda text: text * 3), st.lists(st.integers(0, 10_000), max_size=8))
def test_encoding_parts_is_encoding_the_whole(encoding, data, cuts):
    parts = list(encoding.parts(cut_anywhere(data, cuts)))
    assert b"".join(parts) == data
    assert np.concatenate([encoding.encode(b""), *map(encoding.encode, parts)]).tolist() == encoding.encode(data).tolist()
    assert math.fsum(map(encoding.unknown_nats, parts)) == pytest.approx(encoding.unknown_nats(data))


@pytest.mark.parametrize("letter", ["a", " ", "\n", "\u732b", "."])
@each_encoding
def test_memory_stays_small_whatever_the_text(encoding, letter):
    """No text makes a part, or a piece that a part cannot be cut within, grow with the text."""
    chunk = (letter * 5000).encode()
    parts = list(encoding.parts([chunk] * 5))
    assert max(map(len, parts)) < len(chunk) + 4 * (LONGEST + 2)
    assert np.array_equal(np.concatenate([encoding.encode(part) for part in parts]), encoding.encode(chunk * 5))


@given(texts, st.sampled_from([b" ", b"\n", b"\t"]), st.text("ab'\u2019.1_\u00e9\u732b"))
def test_a_safe_cut_is_one_at_every_level(before, space, visible):
    data = before + b"x" + space + visible.encode()
    end = safe_cut(data)
    assert end == len(before) + 1
    for name in ENCODINGS:
        encode = ENCODINGS[name].encode
        assert np.array_equal(np.concatenate([encode(data[:end]), encode(data[end:])]), encode(data))
    assert safe_cut(visible.encode()) == len(visible.encode())


@given(st.text(), st.integers(0, 4))
def test_characters_are_not_cut(text, missing):
    data = text.encode(errors="ignore")
    data = data[: len(data) - min(missing, len(data))]
    data[: whole_characters(data)].decode()


# What is unknown


def test_an_unknown_character_costs_one_of_all_there_are():
    encoding = TextEncoding.fit("character", [b"abc"])
    assert encoding.encode("a\u732bz".encode()).tolist() == [0, 3, 3]
    assert encoding.unknown_nats("a\u732bz".encode()) == pytest.approx(2 * math.log(0x110000 - 0x800))


def test_an_unknown_word_costs_its_bytes_and_an_end():
    encoding = TextEncoding.fit("word", [b"aa aa aa b"])  # bytes: 6 a, 3 spaces, 1 b; ends: 4
    assert encoding.vocabulary == (" aa",)
    total = 6 + 3 + 1 + 4 + 257
    counts = {"a": 6, " ": 3, "b": 1, "end": 4}

    def nats(*symbols):
        return sum(math.log(total / (counts.get(symbol, 0) + 1)) for symbol in symbols)

    assert encoding.unknown_nats(b" aa b") == pytest.approx(nats(" ", "b", "end"))
    assert encoding.unknown_nats(b"zz aa b b") == pytest.approx(nats("z", "z", "end", *(" ", "b", "end") * 2))


def test_the_code_of_unknown_words_is_one():
    """The probabilities of the 257 symbols add up to 1."""
    nats = np.array([ENCODINGS["word"]._nats[i] for i in range(257)])
    assert np.exp(-nats).sum() == pytest.approx(1.0)


# JSON


@each_encoding
def test_json_round_trip(encoding):
    again = TextEncoding.from_json(json.loads(json.dumps(encoding.to_json())))
    assert again == encoding
    assert hash(again) == hash(encoding)
    assert np.array_equal(again.encode(TEXT), encoding.encode(TEXT))
    assert encoding == again  # what is kept for speed is no part of the value


@each_encoding
def test_encodings_can_be_copied_and_pickled_after_use(encoding):
    tokens = encoding.encode(TEXT)
    for again in (copy.deepcopy(encoding), pickle.loads(pickle.dumps(encoding))):
        assert again == encoding
        assert np.array_equal(again.encode(TEXT), tokens)


def test_encodings_of_different_levels_differ():
    assert len(set(ENCODINGS.values())) == len(ENCODINGS)
    assert repr(ENCODINGS["byte"]) == "ByteEncoding(levels=256)"


WORDS = WordEncoding(("a",), "letters", (0,) * 257).to_json()


@pytest.mark.parametrize(
    ("described", "message"),
    [
        ("byte", "not the description of an encoding"),
        ({}, "there is no level 'None'"),
        ({"level": ["byte"]}, "there is no level"),
        ({"level": "byte", "vocabulary": "a"}, "has vocabulary, expected none"),
        ({"level": "character"}, "has no fields, expected vocabulary"),
        ({"level": "character", "vocabulary": ""}, "text of at least one"),
        ({"level": "character", "vocabulary": ["a", "b"]}, "text of at least one"),
        ({"level": "character", "vocabulary": "aba"}, "holds one twice"),
        ({"level": "character", "vocabulary": "a\ud800"}, "a surrogate"),
        ({**WORDS, "vocabulary": "ab"}, "a list of texts"),
        ({**WORDS, "vocabulary": ["a", 1]}, "a list of texts"),
        ({**WORDS, "vocabulary": ["a", ""]}, "a list of texts"),
        ({**WORDS, "vocabulary": []}, "each of them once, got 0"),
        ({**WORDS, "vocabulary": ["a", "a"]}, "each of them once, got 2"),
        ({**WORDS, "vocabulary": ["\udfff"]}, "a surrogate"),
        ({**WORDS, "words": "letter"}, "words= takes letters or spaces, got 'letter'. Did you mean letters"),
        ({**WORDS, "words": None}, "words= takes"),
        ({**WORDS, "spelling": [0] * 256}, "257 counts"),
        ({**WORDS, "spelling": [0.5] * 257}, "257 counts"),
        ({**WORDS, "spelling": [-1] * 257}, "257 counts"),
        ({"level": "subword", "merges": 3}, "merges are a list"),
        ({"level": "subword", "merges": [[1, 2], [1, 2]]}, "occurs twice"),
        ({"level": "subword", "merges": [[1]]}, "pair of earlier tokens"),
        ({"level": "subword", "merges": [[1, 256]]}, "pair of earlier tokens"),
        ({"level": "subword", "merges": [[1, True]]}, "pair of earlier tokens"),
        ({"level": "subword", "merges": [[1, [2]]]}, "pair of earlier tokens"),
        ({"level": "subword", "merges": [{}]}, "pair of earlier tokens"),
        ({"level": "subword", "merges": [[97, 97], *([i, i] for i in range(256, 300))]}, "makes a token of 256 bytes"),
    ],
)
def test_what_describes_no_encoding_is_refused(described, message):
    with pytest.raises(InvalidInput, match=message):
        TextEncoding.from_json(described)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda v: st.lists(v), max_leaves=5
)


@given(
    st.sampled_from(["byte", "bit", "character", "word", "subword"]),
    st.dictionaries(st.sampled_from(["vocabulary", "words", "spelling", "merges"]), json_values),
)
def test_no_description_is_worse_than_refused(level, fields):
    try:
        encoding = TextEncoding.from_json({"level": level, **fields})
    except InvalidInput:
        return
    encoding.decode(encoding.encode(b"text"))


# What cannot be fitted


@pytest.mark.parametrize(
    ("level", "options", "message"),
    [
        (
            "char",
            {},
            r"there is no level 'char'. Did you mean character\? Expected one of bit, byte, character, subword, word",
        ),
        ("byte", {"vocabulary": 300}, "the level 'byte' takes no vocabulary=, got 300: leave it out"),
        ("subword", {"words": "spaces"}, "the level 'subword' takes no words="),
        (
            "subword",
            {"vocabulary": 255},
            "vocabulary= takes a number from 256, one for each byte, at level 'subword', got 255",
        ),
        ("word", {"vocabulary": 0}, "vocabulary= takes a number from 1, got 0"),
        ("word", {"words": "space"}, "words= takes letters or spaces, got 'space'. Did you mean spaces"),
        ("word", {"minimum": 5}, "no word of the text occurs 5 times"),
        ("character", {"minimum": 50}, "no characters to make a vocabulary of"),
    ],
)
def test_impossible_vocabularies_are_refused(level, options, message):
    with pytest.raises(InvalidInput, match=message):
        TextEncoding.fit(level, [b"one and two and one"], **options)


@pytest.mark.parametrize("level", ["character", "word"])
def test_the_byte_that_is_not_utf8_is_named(level):
    bad = b"four" * 10 + b" \xe9t\xe9 four"
    message = r"byte 41 of the text is 0xe9, .* pass level='byte'"
    with pytest.raises(InvalidInput, match=message):
        TextEncoding.fit(level, cut_anywhere(bad, list(range(0, 60, 4))))
    encoding = TextEncoding.fit(level, [b"four"], minimum=1)
    with pytest.raises(InvalidInput, match=message):
        encoding.encode(bad)
    with pytest.raises(InvalidInput, match=r"byte 141 of"):
        list(encoding.parts(cut_anywhere(bad, [3, 20, 41, 43]), start=100))
    with pytest.raises(InvalidInput, match=r"byte 5 of the text is 0xc3"):
        list(encoding.parts([b"four \xc3"]))
    with pytest.raises(InvalidInput, match=r"byte 0 of the text is 0x80"):
        list(encoding.parts([b"\x80" * 9]))
