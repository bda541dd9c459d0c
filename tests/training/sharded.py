"""Run by torchrun in two processes: our losses on a student that FSDP2 shards on a CPU mesh."""

import sys

import torch
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from transformers import AutoModelForCausalLM

from pipeline.models import likelihood
from pipeline.models.likelihood import Candidates
from pipeline.training import world
from pipeline.training.losses.preference import LOSSES, Batch, Weights, weighted

CANDIDATES = Candidates(
    [[5, 6, 7, 8], [9, 10, 11]], [[[20, 21, 22], [23, 24]], [[25, 26], [27, 28, 29, 30]]]
)


def loss_of(model):
    logps = world.through(model, model, lambda: likelihood.packed(model, CANDIDATES, 0))
    batch = Batch(
        logps=logps,
        ref_logps=logps.detach() - torch.tensor([[0.5, -0.5], [0.25, 0.0]]),
        tokens=CANDIDATES.tokens,
        lengths=CANDIDATES.tokens,
        tie=torch.tensor([False, False]),
        mean_tokens=3.0,
    )
    return weighted(batch, Weights(0.1), [(LOSSES["sigmoid"], 1.0), (LOSSES["sft"], 0.3)])


def whole(gradient):
    return gradient.full_tensor() if isinstance(gradient, DTensor) else gradient


def main(folder):
    distributed.init_process_group("gloo")
    mesh = init_device_mesh("cpu", (2,))
    plain, sharded = (AutoModelForCausalLM.from_pretrained(folder).eval() for _ in range(2))
    for layer in sharded.model.layers:
        fully_shard(layer, mesh=mesh, reshard_after_forward=True)
    fully_shard(sharded, mesh=mesh, reshard_after_forward=True)
    losses = []
    for model in (plain, sharded):
        loss = loss_of(model)
        loss.backward()
        losses.append(loss.item())
    gradients = {name: whole(value.grad) for name, value in sharded.named_parameters()}
    apart = max(
        (value.grad - gradients[name]).abs().max().item()
        for name, value in plain.named_parameters()
        if value.grad is not None
    )
    assert all(isinstance(value, DTensor) for value in sharded.parameters())
    if world.first():
        print("apart", abs(losses[0] - losses[1]), apart)
    distributed.destroy_process_group()


main(*sys.argv[1:])
