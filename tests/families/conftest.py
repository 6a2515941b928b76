"""Families are examined in a process that may not take the machine's memory with it."""

import resource

import pytest
import torch
import transformers

MOST_MEMORY = 8 * 2**30


@pytest.fixture(autouse=True, scope="session")
def little_memory() -> None:
    """A model that is not small after all fails alone."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY, hard))
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
