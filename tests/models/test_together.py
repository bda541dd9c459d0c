"""Students that are adapters share one base, and answer as each does alone."""

import torch
from peft import LoraConfig, get_peft_model

from pipeline.config.file import validate
from pipeline.config.student import Generation
from pipeline.models import generation, student, together


def adapter(config, folder, seed):
    """An adapter with weights at random, large enough that answers differ."""
    torch.manual_seed(seed)
    settings = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    get_peft_model(student.load(config), settings).save_pretrained(folder)
    return folder


def test_adapters_share_one_base_and_answer_as_alone(demo, tmp_path, monkeypatch):
    config = validate(demo, "test")
    tokenizer = student.load_tokenizer(config)
    whole = tmp_path / "whole"
    model = student.load(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.01)
    model.save_pretrained(whole)
    weights = {
        "base": None,
        "sft": adapter(config, tmp_path / "sft", 1),
        "whole": whole,
        "round-1": adapter(config, tmp_path / "round-1", 2),
    }
    settings = Generation(temperature=0.0, max_new_tokens=16)

    def said(model):
        prompts = ["The kettle is on.\n", "It rains.\n"]
        return [
            text for text, _ in generation.generate(model, tokenizer, prompts, settings, [0, 1])
        ]

    alone = {name: said(student.load(config, folder)) for name, folder in weights.items()}
    assert len({tuple(texts) for texts in alone.values()}) == 4
    loads = []
    load = student.load
    monkeypatch.setattr(student, "load", lambda *of: loads.append(of[1:]) or load(*of))
    beside = together.Students(config, side_by_side=True)
    for name in [*weights, *reversed(weights)]:
        with beside.student(weights[name]) as model:
            assert said(model) == alone[name]
    assert loads == [(), (whole,)]
    loads.clear()
    one = together.Students(config)
    for name in ["base", "sft", "round-1", "whole", "whole", "sft"]:
        with one.student(weights[name]) as model:
            assert said(model) == alone[name]
    assert loads == [(), (whole,), ()]
