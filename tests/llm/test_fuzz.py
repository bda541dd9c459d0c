"""A few hundred of the odd things that `make fuzz` makes by the thousand."""

import pytest

from tests.bench import fuzz


@pytest.mark.parametrize("kind", [fuzz.bodies, fuzz.lists, fuzz.batch_lines, fuzz.configurations])
def test_nothing_odd_ends_in_a_traceback_sticks_or_is_lost(kind):
    counts = kind(200, seed=1)
    assert counts.total() == 200
    assert not [what for what in counts if what.startswith("fault")]
