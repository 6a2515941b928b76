"""`export`: a policy directory in, a plain Hugging Face folder out."""

from typing import Annotated, Literal

import typer

from sparkcli.commands.console import Console
from sparkcli.commands.options import command

Policy = Annotated[str, typer.Argument(help="policy directory written by train-step or loop, or an adapter as PEFT "
                                            "saves it", metavar="POLICY")]
Model = Annotated[str | None, typer.Option("-m", "--model", show_default=False,
                                           help="its base, where that has moved since; unset: as the policy names it")]
Folder = Annotated[str, typer.Option("-o", "--out", metavar="DIR", help="folder to write", show_default=False)]
Dtype = Annotated[Literal["auto", "float32", "bfloat16", "float16"],
                  typer.Option(help="of the weights written; auto: as trained")]


@command
def export(policy: Policy, *, out: Folder, model: Model = None, dtype: Dtype = "auto", console: Console) -> None:
    """The folder loads in transformers and vLLM as it is.

    sparkcli export runs/spark/policy/000032 -o merged --dtype bfloat16
    """
    from pathlib import Path

    from sparkcli.models.folders import check_replaceable
    from sparkcli.models.policy import export as write_folder

    check_replaceable(Path(out), "config.json")
    write_folder(Path(policy), Path(out), dtype, model)
    console.say(f"wrote {out}")
