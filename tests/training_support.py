"""What the tests of training share."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys

import torch
from safetensors.torch import load_file


def with_train(recipe, **changes):
    return dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, **changes))


def assert_same_bits(one, other):
    one, other = load_file(one / "last.safetensors"), load_file(other / "last.safetensors")
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


def quiet(_numbers):
    pass


def start_process(arguments, **changes):
    """Start this interpreter with other words and variables."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | changes
    return subprocess.Popen(
        [sys.executable, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
