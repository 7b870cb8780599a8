"""The flat rows as a Parquet file, with a fixed type for every column."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quantswarm.bench.report.flat import fields, rows


def as_parquet(summary: Mapping[str, Any]) -> bytes:
    """The file's content; a column keeps its type when every value in it is null."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    schema = pa.schema([(name, types[kind]) for name, kind in fields().items()])
    table = pa.Table.from_pylist([_typed(row) for row in rows(summary)], schema=schema)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue().to_pybytes())


def _typed(row: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers in the declared type: JSON does not tell 3 from 3.0, Parquet does."""
    kinds = fields()
    return {key: None if value is None else kinds[key](value) for key, value in row.items()}
