"""Mail addresses and telephone numbers in a sentence."""

import re

MAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
PHONE = re.compile(r"(?<![\w.:/-])(?:\+|\(?\d)[\d ()./-]{5,18}\d(?![\w:-])")
"""Digits with what stands between them in a number."""
DIGITS = (7, 15)
"""Of a telephone number, at least and at most (ITU-T E.164)."""
DATE = re.compile(r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}|\d{4}\s*[-\u2013]\s*\d{4}")


def contacts(text: str) -> list[str]:
    """The mail addresses and telephone numbers that stand in a text."""
    found = MAIL.findall(text)
    for match in PHONE.finditer(text):
        number = match[0].strip()
        digits = sum(sign.isdigit() for sign in number)
        if DIGITS[0] <= digits <= DIGITS[1] and not DATE.fullmatch(number):
            found.append(number)
    return found
