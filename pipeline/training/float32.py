"""Weights that are trained stay in float32, whatever a trainer makes of them."""

from typing import Any


def built(kind: Any, *, model: Any, **arguments: Any) -> Any:
    """A trainer of this kind, whose trained weights are those of the model that it was given.

    TRL casts adapters on quantized models to bfloat16, after it has copied them as its reference:
    steps of 1e-6 are then lost, and the policy is not its reference.
    """
    trained = [(weight, weight.data) for weight in model.parameters() if weight.requires_grad]
    trainer = kind(model=model, **arguments)
    for weight, data in trained:
        weight.data = data
    return trainer
