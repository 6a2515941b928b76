"""Every causal family that transformers knows: right, or refused by name. Run by `make test-families`.

Greedy tokens are compared with `generate`, log-probs with a plain float32 forward pass at two temperatures, an update's
log-probs, ratios and gradients with the same, and the exported policy with PEFT's own model.
"""

from pathlib import Path

import pytest
from tests.families.checks import examine
from tests.families.configurations import FAMILIES, NOT_BUILT
from tests.families.table import row_of, written
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

pytestmark = pytest.mark.filterwarnings("ignore")  # transformers' own, of a hundred and eighty architectures


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_right_or_refused_as_the_page_says(family: str, tmp_path: Path) -> None:
    found = examine(family, tmp_path)
    assert found.wrong == {}
    assert row_of(found) == written()[family]


def test_every_family_is_tried_or_says_why_not() -> None:
    assert {*FAMILIES, *NOT_BUILT} == set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
    assert not set(FAMILIES) & NOT_BUILT.keys()


def test_most_families_can_be_sampled() -> None:
    rows = written()
    assert sum(not row.sampling.startswith("not tried") for row in rows.values()) >= 90
    assert sum(not row.sampling.startswith(("refused", "not tried")) for row in rows.values()) >= 85
