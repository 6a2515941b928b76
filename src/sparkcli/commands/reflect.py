"""`reflect`: prompts or rollouts in, self-corrected answers out. Works on chunks of its input."""

import itertools
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Annotated

import typer

from sparkcli.commands.console import Console
from sparkcli.commands.options import Out, Records, Resume, command
from sparkcli.config import ModelConfig, ReflectConfig
from sparkcli.engines.base import Engine
from sparkcli.files.jsonl import Output, decode, lines, read
from sparkcli.files.templates import read_templates
from sparkcli.method.reflecting import reflect as reflected
from sparkcli.method.templates import Templates
from sparkcli.records import Prompt, Rollout, from_json

CHUNK = 512
"""Answers that take their turns together: enough to fill a batch, little to lose."""
