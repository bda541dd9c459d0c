import pytest

from pipeline.similarity import NearDuplicates, fold


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Zoë's KETTLE, it is  on!", "zoe s kettle it is on"),
        ("Ｆｕｌｌ width ﬁne", "full width fine"),
        ("की का", "की का"),
        ("12_34", "12 34"),
        ("?!", "?!"),
        ("", ""),
    ],
)
def test_fold(text, folded):
    assert fold(text) == folded


def nearest(*texts):
    """The place of the earlier text that the last one nearly repeats."""
    known = NearDuplicates()
    for text in texts[:-1]:
        known.add(fold(text))
    return known.find(fold(texts[-1]))


def test_the_nearest_is_found():
    assert nearest("The kettle is on.", "It rained all day.", "It rained all days") == 1
    assert nearest("the kettle is on now", "the kettle is on", "The kettle is on!") == 1
    assert nearest("The kettle is on.", "A kettle was bought by the neighbours.") is None
    assert nearest("The kettle is on.") is None


def test_at_nine_tenths_of_the_characters():
    """10 letters each, of which 9 or 8 are common in order: 18 and 16 of 20."""
    assert nearest("abcdefghij", "abcdefghiX") == 0
    assert nearest("abcdefghij", "abcdefghXY") is None


def test_one_sentence_in_a_thousand_variants_is_found_in_little_time():
    known = NearDuplicates()
    for number in range(1000):
        known.add(fold(f"This is the sentence of number {number}."))
    assert known.find(fold("This is the sentence of number 2000.")) is not None
