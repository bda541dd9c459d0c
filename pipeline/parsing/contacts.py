"""Mail addresses and telephone numbers in a sentence."""

import re

MAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_GAP = r"[ ./\u2011-]{0,2}"
PHONE = re.compile(
    rf"(?<![\w.,/-])(?:"
    rf"(?:\+|00){_GAP}[1-9](?:{_GAP}[()]?{_GAP}\d){{6,13}}"  # with the country's code
    rf"|\(0?\d{{2,5}}\){_GAP}\d(?:{_GAP}\d){{4,9}}"  # with the city's in brackets
    rf"|0\d(?:{_GAP}\d){{5,10}}"  # or after a nought
    rf"|\d{{3}}[ .-]\d{{3}}[ .-]\d{{4}}|\d{{3}}-\d{{4}}"  # or as in North America
    rf")(?![\w-]|[.,:]\d)"
)


def contacts(text: str) -> list[str]:
    """The mail addresses and telephone numbers that stand in a text."""
    return [*MAIL.findall(text), *(match[0] for match in PHONE.finditer(text))]
