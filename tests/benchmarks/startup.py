"""How long help takes, against a typer program that has one empty command.

    .venv/bin/python tests/benchmarks/startup.py

All programs run as scripts of the same interpreter, in turns. The aim is a ratio of 1.3 at most.
"""

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from common import interleaved, paired_ratio, parser, report

AIM = 1.3
EMPTY = """
import typer

app = typer.Typer()


@app.command()
def main() -> None:
    pass


app()
"""
EMPTY_NAME = "empty typer program --help"


def runner(*command: str) -> Callable[[], object]:
    """Runs a program to its end, output thrown away; fails if it does."""
    return lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    """Times, prints, and writes the figures if asked."""
    arguments = parser(__doc__.splitlines()[0], repeats=21).parse_args()
    sparkcli = str(Path(sys.executable).with_name("sparkcli"))
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder) / "empty.py"
        empty.write_text(EMPTY)
        seconds = interleaved({
            EMPTY_NAME: runner(sys.executable, str(empty), "--help"),
            "sparkcli --help": runner(sys.executable, sparkcli, "--help"),
            "sparkcli rollout --help": runner(sys.executable, sparkcli, "rollout", "--help"),
        }, repeats=arguments.repeats)
    figures = {name: {"median_s": statistics.median(runs), "ratio": paired_ratio(runs, seconds[EMPTY_NAME])}
               for name, runs in seconds.items()}
    rows = [[name, f"{1000 * figure['median_s']:.0f} ms", f"{figure['ratio']:.2f}"]
            for name, figure in figures.items()]
    report(f"start-up (aim: ratio {AIM} at most)", ["program", "median", "ratio"], rows, figures,
           arguments.json)


if __name__ == "__main__":
    main()
