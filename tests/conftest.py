"""Where there is no card, Triton's kernels are run by its interpreter, which it is told before it is first imported."""

from __future__ import annotations

import os

import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
