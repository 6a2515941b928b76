"""Where a record's images are."""

import dataclasses
from pathlib import Path

from sparkcli.records import R


def absolute_images(record: R, folder: Path) -> R:
    """Paths that are relative to the record's file made absolute; URLs and data URIs stay."""
    if not record.images:
        return record
    images = tuple(i if "://" in i or i.startswith("data:") else str(folder / i) for i in record.images)
    return dataclasses.replace(record, images=images)
