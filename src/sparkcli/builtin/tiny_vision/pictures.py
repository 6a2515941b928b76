"""The picture of a problem: 64 x 64 pixels, in cells of 16, flat colours on white."""

import base64
import io
import random
from functools import cache
from typing import TYPE_CHECKING

from sparkcli.builtin.tiny_vision.problem import Problem

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

SIDE, CELL = 64, 16
ACROSS = SIDE // CELL
FLOOR, STEP = 60, 6
"""The line that bars stand on, and the height of one unit, in pixels."""
PAINT = {
    "red": (220, 40, 40),
    "blue": (40, 80, 230),
    "green": (40, 160, 70),
    "black": (20, 20, 20),
    "orange": (250, 150, 20),
    "purple": (150, 50, 190),
}
PAPER, RULE, GRID = (255, 255, 255), (120, 120, 120), (225, 225, 225)
DIGITS = (
    "####.##.##.####", ".#.##..#..#.###", "###..#####..###", "###..####..####", "#.##.####..#..#",
    "####..###..####", "####..####.####", "###..#.#..#..#.", "####.#####.####", "####.####..####",
)  # fmt: skip
"""Each digit's five rows of three."""


def picture(problem: Problem) -> "Image":
    """What the problem is about, RGB."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (SIDE, SIDE), PAPER)
    canvas, rng = ImageDraw.Draw(image), random.Random(problem.layout)
    match problem.family:
        case "numbers":
            _numbers(canvas, problem, rng)
        case "bars":
            _bars(canvas, problem, rng)
    return image


def data_uri(image: "Image") -> str:
    """The image as a PNG within a URI, a few hundred characters."""
    file = io.BytesIO()
    image.quantize().save(file, "png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _cells(count: int, rng: random.Random) -> list[tuple[int, int]]:
    """Corners of different cells, in pixels."""
    return [(cell % ACROSS * CELL, cell // ACROSS * CELL) for cell in rng.sample(range(ACROSS**2), count)]


def _numbers(canvas: "ImageDraw", problem: Problem, rng: random.Random) -> None:
    for (colour, number), (x, y) in zip(problem.shown, _cells(len(problem.shown), rng), strict=True):
        for place, digit in enumerate(str(number)):
            canvas.bitmap((x + 1 + 8 * place, y + 3), _glyph(int(digit)), PAINT[colour])


@cache
def _glyph(digit: int) -> "Image":
    """A mask of 6 x 10 pixels."""
    from PIL import Image

    mask = Image.new("1", (3, 5))
    mask.putdata([255 * (dot == "#") for dot in DIGITS[digit]])
    return mask.resize((6, 10), Image.Resampling.NEAREST)


def _bars(canvas: "ImageDraw", problem: Problem, rng: random.Random) -> None:
    canvas.line((0, FLOOR - 5 * STEP, SIDE, FLOOR - 5 * STEP), GRID)
    canvas.rectangle((0, FLOOR, SIDE, FLOOR + 1), RULE)
    columns = rng.sample(range(ACROSS), len(problem.shown))
    for (colour, height), column in zip(problem.shown, columns, strict=True):
        left = column * CELL + 2
        canvas.rectangle((left, FLOOR - STEP * height, left + 11, FLOOR - 1), PAINT[colour])
