"""`export`: a policy directory in, a plain Hugging Face folder out."""

from typing import Annotated, Literal

import typer

from sparkcli.commands.console import Console
from sparkcli.commands.options import command

Policy = Annotated[str, typer.Argument(help="policy directory written by train-step or loop", metavar="POLICY")]
Folder = Annotated[str, typer.Option("-o", "--out", metavar="DIR", help="folder to write", show_default=False)]
Dtype = Annotated[Literal["auto", "float32", "bfloat16", "float16"],
                  typer.Option(help="of the weights written; auto: as trained")]


@command
def export(policy: Policy, *, out: Folder, dtype: Dtype = "auto", console: Console) -> None:
    """The folder loads in transformers and vLLM as it is.

    sparkcli export runs/spark/policy/000032 -o merged --dtype bfloat16
    """
    from pathlib import Path

    from sparkcli.models.folders import check_replaceable
    from sparkcli.models.policy import export as write_folder

    check_replaceable(Path(out), "config.json")
    write_folder(Path(policy), Path(out), dtype)
    console.say(f"wrote {out}")
