"""Validates DoclingDocument JSON with docling-core.

Usage: validate_docling.py FILE...

Prints one line per file; exits 1 at the first that is invalid. A file is valid when docling-core loads it, gives the
same document back after a round trip, and its Markdown holds every text of the body.
"""

import html
import json
import sys
from pathlib import Path

from docling_core.types.doc import ContentLayer, DoclingDocument


def letters(text: str) -> str:
    """Letters and digits only: what no exporter may change."""
    return "".join(c for c in text if c.isalnum())


def validate(path: Path) -> str:
    given = json.loads(path.read_text(encoding="utf-8"))
    document = DoclingDocument.model_validate(given)
    again = DoclingDocument.model_validate(document.export_to_dict())
    if again != document:
        raise ValueError("a round trip changes the document")
    markdown = letters(html.unescape(document.export_to_markdown()))
    for item in document.texts:
        if item.content_layer == ContentLayer.BODY and letters(item.text) not in markdown:
            raise ValueError(f"its Markdown lacks {item.self_ref}: {item.text[:60]!r}")
    for table in document.tables:
        for cell in table.data.table_cells:
            if letters(cell.text) not in markdown:
                raise ValueError(f"its Markdown lacks a cell of {table.self_ref}: {cell.text[:60]!r}")
    reached = {item.self_ref for item, _ in document.iterate_items(with_groups=True, traverse_pictures=True, included_content_layers=set(ContentLayer))}
    everything = {item.self_ref for part in (document.texts, document.tables, document.pictures, document.groups) for item in part}
    if everything - reached:
        raise ValueError(f"not in its tree: {sorted(everything - reached)[:5]}")
    return f"{len(document.texts)} texts, {len(document.tables)} tables, {len(document.pictures)} pictures, {len(document.pages)} pages"


def main() -> int:
    for name in sys.argv[1:]:
        try:
            print(f"{name}: valid, {validate(Path(name))}")
        except Exception as error:  # noqa: BLE001 - whatever docling-core raises means invalid
            print(f"{name}: INVALID, {' '.join(str(error).split())[:600]}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
