"""Language models that are loaded here, and what they write and score.

They are the student, and a teacher whose logits are read.

To import anything of it sets the environment of torch and its kin, before they are imported. These
modules, and those of training and retrieval, are the only ones that import them at their top.
"""

import logging
import os
import sys
import warnings
from functools import partialmethod

from pipeline.terminal import Bars

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")  # its version is pinned
if sys.stderr.isatty():
    import tqdm

    # where libraries draw their bars; a guarded stream would show how they do
    tqdm.std.tqdm.__init__ = partialmethod(tqdm.std.tqdm.__init__, file=Bars())
else:
    os.environ.setdefault("TQDM_DISABLE", "1")
if "LOCAL_RANK" not in os.environ:
    # one process, one GPU: several would become torch's DataParallel
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")
# they warn of optional kernels, and of tied weights in checkpoints
for name in ("bitsandbytes.backends.cpu.ops", "transformers.trainer"):
    logging.getLogger(name).setLevel(logging.ERROR)
# TRL 1.16 still uses it
warnings.filterwarnings("ignore", message=".*gradient_checkpointing", category=FutureWarning)

from transformers import dynamic_module_utils  # noqa: E402 - once its environment is set

# whether code that comes with a model may run is said beforehand, and asked nobody at a terminal
dynamic_module_utils.TIME_OUT_REMOTE_CODE = 0
