"""Drawings: what they say, and that a page may hold many."""

import re
from collections import Counter
from xml.etree import ElementTree

import pytest

from sparkcli.run.report.curves import INK, Panel, Point, Series, draw, histogram

LINES = Panel("loss", "Loss", [Series("policy update", [Point(1, 0.5, 0.1), Point(2, 0.25, 0.1)]),
                               Series("recycled update", [Point(2, 0.75)])], "nats")
STACKED = Panel("seconds", "Time", [Series("rollout", [Point(1, 2.0)]), Series("train", [Point(1, 3.0)])], "seconds",
                stacked=True)
LONG = Panel("long", "Time", [Series(name, [Point(step, 1.0) for step in range(99)]) for name in ("rollout", "train")],
             stacked=True)


@pytest.mark.parametrize("panel", [LINES, STACKED, LONG], ids=lambda panel: panel.name)
def test_names_of_series_and_units_are_text(panel: Panel):
    words = "".join(ElementTree.fromstring(draw(panel)).itertext())
    assert all(series.name in words for series in panel.series)
    assert "step" in words and panel.unit in words


def test_the_same_figures_give_the_same_bytes():
    assert draw(LINES) == draw(LINES)
    assert re.search(r"20\d\d-\d\d-\d\d", draw(LINES)) is None


def test_names_within_a_drawing_are_its_own():
    for panel in (LINES, STACKED):
        root = ElementTree.fromstring(draw(panel))
        names = [element.get("id") for element in root.iter() if element.get("id")]
        assert names and all(name.startswith(f"{panel.name}-") for name in names if name)
        used = re.findall(r'(?:href="|url\()#([\w-]+)', draw(panel))
        assert used and set(used) <= set(names)


def test_text_takes_the_colour_of_the_page():
    assert INK not in draw(LINES) and "currentColor" in draw(LINES)


def test_hostile_names_are_text():
    name = "<script>$x^$ ]]> \0\ud83d\u202e é"
    root = ElementTree.fromstring(draw(Panel("x", "", [Series(name, [Point(1, 1.0)])])))
    assert "script" not in {element.tag.rpartition("}")[2] for element in root.iter()}
    assert r"<script>$x^$ ]]> \ud83d\u202e \xe9" in "".join(root.itertext())


def test_histogram_of_lengths():
    svg = histogram("lengths", {"solve": Counter({3: 5, 9: 1}), "judge": Counter({4: 2})})
    words = "".join(ElementTree.fromstring(svg).itertext())
    assert all(word in words for word in ("tokens", "completions", "solve", "judge"))
