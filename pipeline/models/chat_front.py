"""What is put in front of a chat template: it prints nothing, and settles what it would ask."""

import datetime

NO_THINKING = "{%- set enable_thinking = false %}\n"
MARK = "{# The lines before this one are humor-distill's: no thinking, and a fixed day. #}\n"
"""Like every line put in front, it prints nothing: trim_blocks takes its line end."""
DIRECTIVES = "aAbBcCdDefFgGhHIjklmMnpPrRStTuUVwWxXyYzZ"
"""The letters of strftime; %s would depend on where it is asked."""
PADDED = "dHIjmMSyUWV"
"""Those that glibc also prints without their leading zeros, as %-d."""


def fixed(template: str, date: str) -> str:
    """The template with its day and its thinking settled, wherever and whenever it is rendered.

    What was put in front of it before is replaced.
    """
    rest = _without_front(template)
    front = ""
    if "enable_thinking" in rest:
        front += NO_THINKING
    if "strftime_now" in rest:
        front += _clock(datetime.date.fromisoformat(date))
    return front + MARK + rest if front else rest


def led(template: str, before: str) -> str:
    """The template so that it prints `before` first."""
    rest = _without_front(template)
    front = template.removesuffix(rest)
    return f"{front}{before}{{##}}\n{rest}"  # after the comment's end, a line starts as it did


def _without_front(template: str) -> str:
    return template.rpartition(MARK)[2]


def _clock(day: datetime.date) -> str:
    """A macro that shadows transformers' strftime_now, and tells midnight of this day.

    transformers gives a template nothing that can be called, so it cannot be given another clock.
    """
    midnight = datetime.datetime.combine(day, datetime.time())
    told = [f"%{letter}" for letter in DIRECTIVES] + [f"%-{letter}" for letter in PADDED]
    replaced = "part"
    for directive in told:
        replaced += f".replace('{directive}', {midnight.strftime(directive)!r})"
    return (
        "{%- macro strftime_now(format) %}{% for part in format.split('%%') %}"
        "{{ '' if loop.first else '%' }}{{ " + replaced + " }}"
        "{% endfor %}{% endmacro %}\n"
    )
