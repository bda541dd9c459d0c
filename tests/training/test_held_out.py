"""Answers by which a student in training is rated."""

from types import SimpleNamespace

from pipeline.config.file import validate
from pipeline.models import footprint, student
from pipeline.training.held_out import _written

PROMPTS = ["The kettle is on.\n", "It rains.\n", "A\n", "My aunt has a garden.\n", "B\n"]


def test_answers_depend_on_no_batch_and_there_may_be_none(demo, monkeypatch):
    """A process may have no sentence of its own, and a GPU less room at the next look."""
    sampled = {**demo["evaluate"], "temperature": 1.0, "max_new_tokens": 12}
    config = validate({**demo, "evaluate": sampled}, "test")
    context = SimpleNamespace(config=config, step="dpo")
    tokenizer, model = student.load_tokenizer(config), student.load(config)
    assert _written(context, model, tokenizer, []) == []
    together = _written(context, model, tokenizer, PROMPTS)
    monkeypatch.setattr(footprint, "at_a_time", lambda *_: 2)
    assert _written(context, model, tokenizer, PROMPTS) == together
