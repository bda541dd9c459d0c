import pytest

from pipeline.words import words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The  Kettle is\non, again.", ["the", "kettle", "is", "on,", "again."]),
        ("", []),
        ("Ünïcödé Wörds", ["ünïcödé", "wörds"]),
        ("Привет мир", ["привет", "мир"]),
        ("안녕 하세요", ["안녕", "하세요"]),  # Korean has spaces
        ("日本語の文", ["日", "本", "語", "の", "文"]),
        ("我喜欢 coffee!很好", ["我", "喜", "欢", "coffee!", "很", "好"]),
        ("カタカナー", ["カ", "タ", "カ", "ナ", "ー"]),
        ("ที่นี่", ["ที่", "นี่"]),  # vowel signs and tones stay with their consonant
        ("မြန်မာ", ["မြ", "န်", "မာ"]),
    ],
)
def test_characters_stand_for_words_where_a_language_does_not_space_them(text, expected):
    assert words(text) == expected
