"""`schema`: the JSON Schema of a record."""

from typing import Annotated

import orjson
import typer

from sparkcli.commands.options import command
from sparkcli.errors import UsageError, nearest
from sparkcli.records import RECORDS
from sparkcli.records import schema as schema_of

Name = Annotated[str, typer.Argument(help="|".join(RECORDS), metavar="RECORD")]


@command
def schema(record: Name) -> None:
    """Records are what flows between the stages, one JSON object a line.

    sparkcli schema scored > scored.schema.json
    """
    if record not in RECORDS:
        raise UsageError(f"unknown record {record!r}{nearest(record, RECORDS)}")
    print(orjson.dumps(schema_of(RECORDS[record]), option=orjson.OPT_INDENT_2).decode())
