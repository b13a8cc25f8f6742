#!/usr/bin/env python3
"""Opens a Parquet export in DuckDB: prints its columns and what they hold as JSON, for tests.

    read_export.py query FILE SQL   the rows of a query, as one JSON list of lists; `export` is the file
    read_export.py rows FILE        each row as our JSON Lines would have it, nulls left out
"""
import json, sys

import duckdb


def plain(value):
    """A value as JSON Lines have it: nulls left out, times in RFC 3339."""
    match value:
        case dict():
            return {name: plain(inner) for name, inner in value.items() if inner is not None}
        case list() | tuple():
            return [plain(inner) for inner in value]
        case _:
            return value


def main(what: str, file: str, *more: str) -> None:
    database = duckdb.connect()
    database.execute("SET TimeZone = 'UTC'; SET memory_limit = '1GB'; SET threads = 2")
    export = database.read_parquet(file)
    if what == "query":
        print(json.dumps([plain(row) for row in database.sql(more[0]).fetchall()]))
        return
    # Times as text: DuckDB gives those with a zone to Python only beside another package.
    texts = [f"strftime({name}, '%Y-%m-%dT%H:%M:%S.%fZ') AS {name}"
             for name, kind in zip(export.columns, export.types) if str(kind) == "TIMESTAMP WITH TIME ZONE"]
    rows = export.project(f"* REPLACE ({', '.join(texts)})")
    for row in rows.fetchall():
        print(json.dumps(plain(dict(zip(rows.columns, row)))))


main(*sys.argv[1:])
