"""How surprising a sentence is to a decoder-only model that is loaded here."""

import functools
from collections.abc import Sequence

import torch
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM, AutoTokenizer

from pipeline import project
from pipeline.config.runtime import Runtime
from pipeline.errors import StudentError
from pipeline.models import student
from pipeline.models.tiles import in_tiles, states


@functools.lru_cache(maxsize=1)
def model(name: str, runtime: Runtime) -> "Model":
    """The model, loaded once for all that a stage asks of it."""
    return Model(name, runtime)


class Model:
    """A folder or a Hub id, in the checkpoint's own precision."""

    def __init__(self, name: str, runtime: Runtime) -> None:
        folder = project.path(name)
        place = str(folder) if folder.is_dir() else name
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=False)
            loaded = AutoModelForCausalLM.from_pretrained(
                place, dtype="auto", use_safetensors=True, trust_remote_code=False
            )
        except (OSError, ValueError) as error:
            raise StudentError(
                f"endpoint.model = {name!r}: {str(error).splitlines()[0]}\n"
                "Give a folder, or the id of a decoder-only model on the Hub that this machine can "
                "reach."
            ) from None
        self.model = loaded.to(student.device(runtime)).eval()

    @torch.no_grad()
    def mean_log_probabilities(self, texts: Sequence[str]) -> list[float]:
        """Mean log p of each text's tokens after the first, in nats, in the order of texts."""
        device = self.model.device
        rows = [torch.tensor(ids) for ids in self.tokenizer(list(texts))["input_ids"]]
        ones = [torch.ones_like(row) for row in rows]
        ids_BT = pad_sequence(rows, batch_first=True).to(device)
        mask_BT = pad_sequence(ones, batch_first=True).to(device)
        own = states(self.model, input_ids=ids_BT, attention_mask=mask_BT, use_cache=False)

        def read(values_MD: torch.Tensor, next_M: torch.Tensor) -> tuple[torch.Tensor]:
            logits_MV = own.logits(values_MD).float()
            return (-cross_entropy(logits_MV, next_M, reduction="none"),)

        counted_BT = mask_BT[:, 1:]
        (logps_BT,) = in_tiles(read, own.vocabulary, counted_BT, own.values[:, :-1], ids_BT[:, 1:])
        mean_B = logps_BT.sum(1) / counted_BT.sum(1).clamp(min=1)
        return mean_B.tolist()
