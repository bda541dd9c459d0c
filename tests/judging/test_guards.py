"""Known jokes, offence, addresses: what is flagged, and what is kept out."""

import json

import pytest

from pipeline.errors import DataError
from pipeline.judging import devices
from pipeline.judging.known_jokes import KnownJokes, read
from pipeline.parsing.contacts import contacts

CHICKEN = "Why did the chicken cross the road? To get to the other side!"
ATOMS = "I don't trust atoms. They make up everything."
GRAVITY = "I'm reading a book on anti-gravity, and it's impossible to put down."
CRAZY = "Dr. Jones told me I was crazy. I said I wanted a second opinion."
KNOWN = KnownJokes(
    [
        CHICKEN,
        ATOMS,
        GRAVITY,
        CRAZY,
        "I have a dog. It has no nose.",
        "\u4f60\u77e5\u9053\u5417\uff1f\u4e0d\u77e5\u9053\u3002",
    ]
)


@pytest.mark.parametrize(
    ("text", "how"),
    [
        (CHICKEN, ("known joke", CHICKEN)),
        ("why did the chicken cross the road... to get to the other side", ("known joke", CHICKEN)),
        (
            "Why did the chickens cross the road? To get to the other side!",
            ("near a known joke", CHICKEN),
        ),
        (
            "The bus was late. Why did the chicken cross the road? It had my ticket.",
            ("setup of a known joke", CHICKEN),
        ),
        ("I don't trust atoms, they make up everything.", ("known joke", ATOMS)),
        ("The kettle is on. I don't trust atoms, they make up everything.", ("known joke", ATOMS)),
        ("The kettle is on, and my dog has no nose.", None),
        (
            "So I told her everything. I'm reading a book on anti-gravity, and it's impossible to put down.",
            ("known joke inside", GRAVITY),
        ),
        ("Dr. Jones told me I was crazy. I wanted a second one.", ("setup of a known joke", CRAZY)),
        ("The kettle is on, and now the kettle wants a raise.", None),
        ("The vet closed early. I have a dog. It has an accountant.", None),
        ("\u4f60\u77e5\u9053\u5417\uff1f\u732b\u5728\u7761\u89c9\u3002", None),
        ("Why did the kettle cross the kitchen? It had my ticket.", None),
        ("", None),
    ],
)
def test_known_jokes_are_found_whole_nearly_and_by_their_setup(text, how):
    assert KNOWN.repeated(text, "The kettle is on.") == how


def test_a_sentence_that_is_a_setup_itself_is_no_fault_of_the_answer():
    literal = "Why did the chicken cross the road?"
    assert KNOWN.repeated(f"{literal} It had a meeting.", literal) is None


def test_a_file_of_known_jokes_is_lines_or_jsonl(tmp_path):
    path = tmp_path / "known.txt"
    path.write_text(f"{CHICKEN}\n\n{json.dumps({'text': ATOMS, 'source': 'x'})}\n", "utf-8-sig")
    assert read(path) == [CHICKEN, ATOMS]
    path.write_text('{"text": "A joke.\u2028It goes on."}\n', "utf-8")
    assert read(path) == ["A joke.\u2028It goes on."]
    path.write_text('{"joke": "no text"}\n')
    with pytest.raises(DataError, match=r'known.txt:1: no JSON object with a key "text"'):
        read(path)
    path.write_text("\n \n")
    with pytest.raises(DataError, match="no joke in it"):
        read(path)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Mail me at jo.doe+x@mail.example.org.", ["jo.doe+x@mail.example.org"]),
        ("Call +44 20 7946 0958 now.", ["+44 20 7946 0958"]),
        ("Call (212) 555-0187 or 030/1234567.", ["(212) 555-0187", "030/1234567"]),
        ("Call 212-555-0187, or 555-0187.", ["212-555-0187", "555-0187"]),
        ("0049 30 123456", ["0049 30 123456"]),
        ("Tel:0151 2345678", ["0151 2345678"]),
        ("The 9:42 service to Harrow leaves from platform 6.", []),
        ("Born on 2026-11-27, or 27.11.2026, in 1998-2004 (1939-1945).", []),
        ("It cost 1200 in 2026, 10 000 000 or 1500000 or 1,234,567 in all.", []),
        ("Version 10.2.33.4 is out since 2018/2019/2020.", []),
        ("ISBN 978-3-16-148410-0", []),
        ("She said @home is 12345678901234567890 long.", []),
    ],
)
def test_mail_addresses_and_telephone_numbers(text, found):
    assert contacts(text) == found


def test_a_device_of_a_training_joke_is_known_about_any_sentence():
    taught = devices.Known(
        [
            ("The kettle is on.", "The kettle is on, and now the kettle wants a raise."),
            ("A dog barks.", "A dog barks."),
        ]
    )
    answers = [
        ("My car broke.", "My car broke, and now the car wants a raise."),
        ("My car broke.", "My car broke, and now the car wants a big raise."),
        ("My car broke.", "My car broke."),
        ("My car broke.", "My car broke, lol."),
    ]
    assert taught.used(answers) == [True, True, False, False]
    assert devices.Known([]).used(answers) == [False] * 4
