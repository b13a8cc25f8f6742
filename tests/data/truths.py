"""Documents with their truth in each format that `deckle eval` reads, the same bytes every time; in eval/.

| document | truth | format |
|---|---|---|
| two.pdf | two.txt | plain text, a form feed between the pages |
| form.png | form.json | FUNSD |
| receipt.png | receipt.txt | SROIE |
| table.pdf | table-reg.xml, table-str.xml | ICDAR 2013 table competition |
| minutes.md | minutes.json | Docling JSON |
| lost.pdf | lost.txt | plain text of a document that cannot be read |

All texts were written for this project and are CC0.
"""
import io, json, pathlib
import reportlab
from PIL import Image, ImageDraw, ImageFont
from reportlab.lib.pagesizes import A5
from reportlab.pdfgen.canvas import Canvas
from xml.sax.saxutils import escape, quoteattr

FONT = pathlib.Path(reportlab.__file__).parent / "fonts" / "Vera.ttf"

PAGES = [
    ["The ferry to the island", "sails at nine in the morning", "and returns before dark."],
    ["Bicycles travel free of charge.", "Dogs pay half, and sleep on deck."],
]

# Text, label, left and top in pixels.
FORM = [
    ("Name of boat", "question", 60, 60), ("Petrel", "answer", 420, 60),
    ("Length in feet", "question", 60, 140), ("twenty seven", "answer", 420, 140),
    ("Berth wanted from", "question", 60, 220), ("first of May", "answer", 420, 220),
    ("Harbour office use only", "other", 60, 340),
]

RECEIPT = ["HARBOUR CAFE", "Long Quay 4", "2 cocoa 5.00", "1 kipper, smoked 7.50", "TOTAL 12.50", "Thank you, come again"]

# Rows of the table; a text and how many columns it spans.
TABLE = [
    [("Tides at the Long Quay", 3)],
    [("Day", 1), ("High water", 1), ("Low water", 1)],
    [("Monday", 1), ("06:43", 1), ("12:58", 1)],
    [("Tuesday", 1), ("07:31", 1), ("13:44", 1)],
    [("Wednesday", 1), ("08:20", 1), ("14:36", 1)],
]
COLUMN, ROW, LEFT, TOP = 110, 24, 40, 480

MINUTES = """# Minutes of the rowing club

The boathouse roof is to be mended before the first frost.

| Job | Who |
|---|---|
| Ladder | Anna |
| Slates | Tobias |
"""


def picture(lines, size, width, height, dpi=None):
    """A grey PNG with texts at places, and for each text the boxes of its words in pixels."""
    image = Image.new("L", (width, height), 255)
    draw, font = ImageDraw.Draw(image), ImageFont.truetype(str(FONT), size)
    boxes = []
    for text, left, top in lines:
        words, at = [], left
        for word in text.split(" "):
            draw.text((at, top), word, 0, font)
            words.append((word, [round(edge) for edge in draw.textbbox((at, top), word, font)]))
            at += draw.textlength(word + " ", font)
        boxes.append(words)
    out = io.BytesIO()
    image.save(out, "PNG", **({"dpi": (dpi, dpi)} if dpi else {}))
    return out.getvalue(), boxes


def around(boxes):
    lefts, tops, rights, bottoms = zip(*boxes)
    return [min(lefts), min(tops), max(rights), max(bottoms)]


def form():
    png, boxes = picture([(text, left, top) for text, _, left, top in FORM], 30, 800, 440, dpi=150)
    entries = []
    for number, ((text, label, _, _), words) in enumerate(zip(FORM, boxes)):
        entries.append({"box": around([box for _, box in words]), "text": text, "label": label, "linking": [], "id": number,
                        "words": [{"box": box, "text": word} for word, box in words]})
    return png, json.dumps({"form": entries}, indent=1) + "\n"


def receipt():
    png, boxes = picture([(text, 50, 40 + 56 * number) for number, text in enumerate(RECEIPT)], 28, 520, 400)
    lines = []
    for text, words in zip(RECEIPT, boxes):
        left, top, right, bottom = around([box for _, box in words])
        lines.append(",".join(map(str, [left, top, right, top, right, bottom, left, bottom, text])))
    return png, "\n".join(lines) + "\n"


def canvas():
    out = io.BytesIO()
    return out, Canvas(out, pagesize=A5, invariant=1)


def two():
    out, page = canvas()
    for lines in PAGES:
        for number, line in enumerate(lines):
            page.setFont("Helvetica", 13)
            page.drawString(50, 520 - 20 * number, line)
        page.showPage()
    page.save()
    return out.getvalue(), "\f".join("\n".join(lines) + "\n" for lines in PAGES)


def table():
    """A ruled table, its region and its cells; y grows upwards, as the competition has it."""
    out, page = canvas()
    page.setFont("Helvetica", 11)
    cells = []
    for row, texts in enumerate(TABLE):
        column = 0
        for text, span in texts:
            left, top = LEFT + COLUMN * column, TOP - ROW * row
            page.rect(left, top - ROW, COLUMN * span, ROW)
            page.drawString(left + 6, top - 16, text)
            right = left + 6 + page.stringWidth(text, "Helvetica", 11)
            cells.append(f"      <cell id='{len(cells) + 1}' start-row='{row}' start-col='{column}' end-col='{column + span - 1}'>\n"
                         f"        <bounding-box x1='{left + 6}' y1='{top - 18}' x2='{right:.0f}' y2='{top - 7}'/>\n"
                         f"        <content>{escape(text)}</content>\n      </cell>\n")
            column += span
    page.drawString(50, 520, "Ask the harbour master before you sail.")
    page.save()

    def document(inside):
        return ("<?xml version='1.0' encoding='UTF-8'?>\n" f"<document filename={quoteattr('table.pdf')}>\n  <table id='1'>\n"
                f"    <region id='1' page='1'>\n{inside}    </region>\n  </table>\n</document>\n")

    region = f"      <bounding-box x1='{LEFT}' y1='{TOP - ROW * len(TABLE)}' x2='{LEFT + 3 * COLUMN}' y2='{TOP}'/>\n"
    return out.getvalue(), document(region), document("".join(cells))


def minutes():
    rows = [["Job", "Who"], ["Ladder", "Anna"], ["Slates", "Tobias"]]
    cells = [{"start_row_offset_idx": row, "end_row_offset_idx": row + 1, "start_col_offset_idx": column, "end_col_offset_idx": column + 1,
              "row_span": 1, "col_span": 1, "column_header": row == 0, "row_header": False, "text": text}
             for row, texts in enumerate(rows) for column, text in enumerate(texts)]
    text = lambda label, words: {"label": label, "text": words, "orig": words, "prov": []}
    return json.dumps({
        "schema_name": "DoclingDocument", "version": "1.10.0", "name": "minutes",
        "body": {"children": [{"$ref": "#/texts/0"}, {"$ref": "#/texts/1"}, {"$ref": "#/tables/0"}]},
        "texts": [text("title", "Minutes of the rowing club"), text("text", "The boathouse roof is to be mended before the first frost.")],
        "tables": [{"label": "table", "prov": [], "data": {"num_rows": 3, "num_cols": 2, "table_cells": cells}}], "pages": {},
    }, indent=1) + "\n"


def files(here):
    """All files by their path below a folder."""
    folder = here / "eval"
    folder.mkdir(exist_ok=True)
    (form_png, form_json), (receipt_png, receipt_txt) = form(), receipt()
    (two_pdf, two_txt), (table_pdf, regions, structure) = two(), table()
    texts = {"form.json": form_json, "receipt.txt": receipt_txt, "two.txt": two_txt, "table-reg.xml": regions, "table-str.xml": structure,
             "minutes.md": MINUTES, "minutes.json": minutes(), "lost.txt": "What stands here is lost.\n", "lost.pdf": "<html>no such page</html>\n"}
    made = {folder / "form.png": form_png, folder / "receipt.png": receipt_png, folder / "two.pdf": two_pdf, folder / "table.pdf": table_pdf}
    return made | {folder / name: text.encode() for name, text in texts.items()}


if __name__ == "__main__":
    for path, content in files(pathlib.Path(__file__).parent).items():
        path.write_bytes(content)
