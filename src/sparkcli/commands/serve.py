"""`serve`: a model in, a server that engines sample at. It ends with the command."""

import os
import sys
from typing import Annotated

import orjson
import typer

from sparkcli.commands.console import Console
from sparkcli.commands.options import command
from sparkcli.config import ModelConfig, ServeConfig
from sparkcli.errors import UsageError

DryRun = Annotated[bool, typer.Option("--dry-run", help="print vLLM's command line and stop")]
LOCAL = ("127.0.0.1", "::1", "localhost")


@command
def serve(*, dry_run: DryRun = False, model: ModelConfig, config: ServeConfig, console: Console) -> None:
    """It is vLLM's, with the settings that training needs. Once it answers, one line of JSON says where it is; it runs
    until the command is interrupted. Several servers share the work: give --base-url once for each.

    sparkcli serve -m Qwen/Qwen2.5-1.5B-Instruct --port 8000

    sparkcli rollout prompts.jsonl -m Qwen/Qwen2.5-1.5B-Instruct --base-url http://127.0.0.1:8000/v1
    """
    from sparkcli.engines.vllm import server
    from sparkcli.engines.vllm.child import started
    from sparkcli.models.locate import check_named, model_folder

    check_named(model.name)
    names = server.served(model, config)
    on_cpu = runs_on_cpu(model)
    arguments = server.arguments(model_folder(model.name), model, config, names, on_cpu=on_cpu)
    words = server.command(arguments)
    variables = server.environment(config, os.environ, on_cpu=on_cpu)
    if dry_run:
        print(server.shell_line(words, variables))
        return
    if config.host not in LOCAL:
        console.warn(f"whoever reaches {config.host}:{names.port} can make it load weights that lie here; keep it to a "
                     "network you trust")
    console.say(f"starting vLLM for {names.model}; -v shows its log")
    with started(words, os.environ | variables, echo=sys.stderr.write if console.verbose else None) as child:
        child.wait_until(names.is_healthy, config.wait)
        about = {"base_url": names.base_url, "model": names.model, "policy": names.policy, "pid": os.getpid()}
        print(orjson.dumps({key: value for key, value in about.items() if value is not None}).decode(), flush=True)
        console.say(f"serving; sample at it with: sparkcli rollout PROMPTS {example(model, names.base_url)}")
        raise child.ended()


def example(model: ModelConfig, base_url: str) -> str:
    """The flags of a command that samples what is served."""
    return f"-m {model.name} {f'--policy {model.policy} ' if model.policy else ''}--base-url {base_url}"


def runs_on_cpu(model: ModelConfig) -> bool:
    """Whether vLLM will run without a GPU.

    Raises:
        UsageError: a setting that only the engine in this process has.
    """
    if model.load_in_4bit:
        raise UsageError("--load-in-4bit is for the transformers engine; give vLLM a checkpoint that is quantised, or "
                         "--vllm quantization=bitsandbytes")
    if ":" in model.device:
        raise UsageError(f"--device {model.device}: vLLM takes the GPUs that CUDA_VISIBLE_DEVICES names; set that")
    if model.device != "auto":
        return model.device == "cpu"
    import torch

    return torch.accelerator.current_accelerator(check_available=True) is None
