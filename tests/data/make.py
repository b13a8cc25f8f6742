"""Makes the documents in samples/, bad/ and reading/, and truth.json, the same bytes every time. README.md says what each is for.

    python3 -m venv .venv && .venv/bin/pip install --require-hashes --only-binary=:all: --no-deps -r requirements.txt
    .venv/bin/python make.py

All texts were written for this project and are CC0. Snippets in truth.json are checked against the text they come from.
"""
import io, json, pathlib, random, struct, unicodedata, zipfile, zlib
import numpy as np
import pypdfium2
from PIL import Image
from reportlab import rl_config

rl_config.invariant = 1  # no dates, no random ids
from reportlab.lib import colors, pdfencrypt
from reportlab.lib.enums import TA_JUSTIFY
from reportlab.lib.pagesizes import A4, landscape
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (BaseDocTemplate, Frame, FrameBreak, Image as Picture, ListFlowable, NextPageTemplate, PageBreak,
                                PageTemplate, Paragraph, Spacer, Table)

import pages
import pdfs
import pictures
import tables
import truths
from texts import LOG, NOTES, PLAIN, SEARCH, TEXTS

HERE = pathlib.Path(__file__).parent
SAMPLES, BAD, READING = HERE / "samples", HERE / "bad", HERE / "reading"
WIDTH, HEIGHT = A4
SCAN_DPI = 200

for name, file in (("Vera", "Vera"), ("Vera-Bold", "VeraBd"), ("Vera-Italic", "VeraIt")):
    pdfmetrics.registerFont(TTFont(name, file + ".ttf"))


class Look:
    """One document's paragraph styles: a standard font stays outside the file, Vera is embedded as a subset."""

    def __init__(self, body, bold, size=10.5):
        self.bold, self.body = bold, body
        self.text = ParagraphStyle("text", fontName=body, fontSize=size, leading=size * 1.38, spaceAfter=size * 0.7)
        self.justified = ParagraphStyle("justified", self.text, alignment=TA_JUSTIFY)
        self.title = ParagraphStyle("title", fontName=bold, fontSize=26, leading=31, spaceAfter=4)
        self.subtitle = ParagraphStyle("subtitle", fontName=body, fontSize=13, leading=17, textColor=colors.grey, spaceAfter=18)
        self.h1 = ParagraphStyle("h1", fontName=bold, fontSize=16, leading=20, spaceBefore=10, spaceAfter=6)
        self.h2 = ParagraphStyle("h2", fontName=bold, fontSize=12, leading=15, spaceBefore=8, spaceAfter=4)
        self.small = ParagraphStyle("small", self.text, fontSize=9, leading=12, textColor=colors.HexColor("#444444"))

    def table(self, rows, widths, right_from=1):
        return Table(rows, widths, style=[
            ("FONT", (0, 0), (-1, 0), self.bold, 10), ("FONT", (0, 1), (-1, -1), self.body, 10),
            ("GRID", (0, 0), (-1, -1), 0.6, colors.black), ("BACKGROUND", (0, 0), (-1, 0), colors.HexColor("#e6e6e6")),
            ("ALIGN", (right_from, 1), (-1, -1), "RIGHT"), ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
            ("TOPPADDING", (0, 0), (-1, -1), 4), ("BOTTOMPADDING", (0, 0), (-1, -1), 4)])

    def bullets(self, items, kind="bullet"):
        return ListFlowable([Paragraph(item, self.text) for item in items], bulletType=kind, start="•" if kind == "bullet" else 1,
                            bulletFontName=self.body, bulletFontSize=10.5, leftIndent=16, bulletFormat=None if kind == "bullet" else "%s.")


PRINT = Look("Times-Roman", "Helvetica-Bold")
OFFICE = Look("Vera", "Vera-Bold", 10)
TYPED = Look("Vera", "Vera-Bold", 11)
MARGIN = 22 * mm


def one_frame(name, **options):
    return PageTemplate(name, [Frame(MARGIN, MARGIN, WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN, 0, 0, 0, 0)], pagesize=A4, **options)


def pdf(story, templates=None, **options):
    """The bytes of a PDF with this story."""
    out = io.BytesIO()
    document = BaseDocTemplate(out, pageTemplates=templates or [one_frame("plain")], author="deckle", pageCompression=1, **options)
    document.build(story)
    return out.getvalue()


# --- born digital ---------------------------------------------------------------------------------------------------


def handbook():
    t, look = TEXTS["handbook"], PRINT

    def furniture(canvas, document):
        # Page 4 is stored on its side: /Rotate turns it upright.
        if document.page == 4:
            canvas.transform(0, 1, -1, 0, WIDTH, 0)
        width, height = (HEIGHT, WIDTH) if document.page == 4 else (WIDTH, HEIGHT)
        canvas.setFont("Helvetica", 8.5)
        canvas.drawString(MARGIN, height - 13 * mm, t["header"])
        canvas.drawRightString(width - MARGIN, height - 13 * mm, "Edition 3")
        canvas.line(MARGIN, height - 15 * mm, width - MARGIN, height - 15 * mm)
        canvas.drawCentredString(width / 2, 11 * mm, f"Page {document.page} of 4")

    column = (WIDTH - 2 * MARGIN - 8 * mm) / 2
    body = HEIGHT - 2 * MARGIN
    templates = [
        one_frame("single", onPage=furniture),
        PageTemplate("columns", [Frame(MARGIN, MARGIN + body - 24 * mm, WIDTH - 2 * MARGIN, 24 * mm, 0, 0, 0, 0),
                                 Frame(MARGIN, MARGIN, column, body - 26 * mm, 0, 0, 0, 0),
                                 Frame(MARGIN + column + 8 * mm, MARGIN, column, body - 26 * mm, 0, 0, 0, 0)], onPage=furniture),
        PageTemplate("sideways", [Frame(MARGIN, 18 * mm, HEIGHT - 2 * MARGIN, WIDTH - 38 * mm, 0, 0, 0, 0)], onPage=furniture, pagesize=landscape(A4)),
    ]
    templates[2].rotation = 90  # reportlab then swaps the sides: the stored page is upright A4
    p, j = (lambda text: Paragraph(text, look.text)), (lambda text: Paragraph(text, look.justified))
    h1, h2 = (lambda text: Paragraph(text, look.h1)), (lambda text: Paragraph(text, look.h2))
    story = [
        Paragraph(t["title"], look.title), Paragraph(t["subtitle"], look.subtitle),
        h1("1 Welcome"), *map(p, t["welcome"]), h2("1.1 Opening hours"), p(t["hours"]),
        h2("1.2 Before your first shift"), look.bullets(t["first_shift"]), p(t["keys"]), h2("1.3 If something goes wrong"), *map(p, t["wrong"]),
        NextPageTemplate("columns"), PageBreak(),
        h1("2 Workshops"), p(t["workshops"]), FrameBreak(),
        h2("2.1 Bicycle repair"), *map(j, t["bicycle"]), FrameBreak(), h2("2.2 Bees on the roof"), *map(j, t["bees"]),
        NextPageTemplate("single"), PageBreak(),
        h1("3 Tides and moorings"), *map(p, t["tides"]), Paragraph(t["tide_caption"], look.small),
        look.table(t["tide_table"], [34 * mm, 30 * mm, 30 * mm, 30 * mm, 30 * mm]), Spacer(1, 14),
        h2("3.1 Making fast"), look.bullets(t["mooring"], "1"), p(t["after_table"]),
        NextPageTemplate("sideways"), PageBreak(),
        h1("4 The footbridge"), *map(p, t["bridge"]), look.table(t["bridge_table"], [22 * mm, 72 * mm, 62 * mm, 60 * mm, 20 * mm], 4),
    ]
    return pdf(story, templates, title=t["title"])


def long():
    canvas_bytes = io.BytesIO()
    canvas = Canvas(canvas_bytes, pagesize=A4, pageCompression=1)
    canvas.setTitle("Log of the Grey Head light")
    for day, entry in enumerate(LOG, 1):
        canvas.setFont("Helvetica-Bold", 15)
        canvas.drawString(MARGIN, HEIGHT - 35 * mm, f"Grey Head light, day {day}")
        paragraph = Paragraph(entry, PRINT.text)
        _, height = paragraph.wrap(WIDTH - 2 * MARGIN, HEIGHT)
        paragraph.drawOn(canvas, MARGIN, HEIGHT - 43 * mm - height)
        canvas.setFont("Times-Roman", 9)
        canvas.drawCentredString(WIDTH / 2, 12 * mm, str(day))
        canvas.showPage()
    canvas.save()
    return canvas_bytes.getvalue()


# --- printed and put on a scanner -----------------------------------------------------------------------------------


def render(pdf_bytes, page=0, dpi=SCAN_DPI):
    """The page as grey pixels. Its fonts must be embedded: else PDFium takes what the machine has."""
    return np.asarray(pypdfium2.PdfDocument(pdf_bytes)[page].render(scale=dpi / 72, grayscale=True).to_pil().convert("L"))


def scanned(pixels, seed, degrees):
    """What a scanner would make of a sheet: slightly turned, paper not quite white, ink not quite black, some noise."""
    turned = np.asarray(Image.fromarray(pixels).rotate(degrees, Image.Resampling.BICUBIC, fillcolor=255), np.float64)
    noise = np.random.Generator(np.random.PCG64(seed)).normal(0, 2.5, turned.shape)
    return Image.fromarray(np.clip(28 + turned * (244 - 28) / 255 + noise, 0, 255).astype(np.uint8))


def jpeg(image, quality, **options):
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality, optimize=True, **options)
    return out.getvalue()


def as_page(image):
    """A story's picture that fills one page."""
    return Picture(io.BytesIO(jpeg(image, 30)), WIDTH, HEIGHT)


def picture_only(name):
    return PageTemplate(name, [Frame(0, 0, WIDTH, HEIGHT, 0, 0, 0, 0)], pagesize=A4)


def minutes():
    t, look = TEXTS["scan"], TYPED
    p = lambda text: Paragraph(text, look.text)
    return pdf([
        Paragraph(t["title"], look.h1), p(t["date"]), *map(p, t["roasting"]), Paragraph("Roast log", look.h2),
        look.table(t["roast_table"], [52 * mm, 28 * mm, 28 * mm, 36 * mm]), Spacer(1, 12), p(t["after_table"]), PageBreak(),
        Paragraph(t["title_2"], look.h1), *map(p, t["compost"]), look.bullets(t["compost_list"]), p(t["signed"])])


def scan():
    source = minutes()
    pages = [as_page(scanned(render(source, page), seed=page + 1, degrees=(0.4, -0.3)[page])) for page in (0, 1)]
    return pdf(pages, [picture_only("scan")], title="Scan")


def invoice():
    t, look = TEXTS["invoice"], OFFICE
    p = lambda text: Paragraph(text, look.text)
    return pdf([p(t["from"]), Spacer(1, 20), p(t["to"]), Spacer(1, 20), Paragraph(t["title"], look.h1), p(t["date"]),
                look.table(t["rows"], [78 * mm, 22 * mm, 32 * mm, 32 * mm]), Spacer(1, 12), *map(p, t["terms"])])


def mixed():
    t, look = TEXTS["mixed"], OFFICE
    p = lambda text: Paragraph(text, look.text)
    sheet = scanned(render(invoice()), seed=3, degrees=0.2)
    return pdf([Paragraph(t["title"], look.h1), *map(p, t["request"]), NextPageTemplate("scan"), PageBreak(), as_page(sheet),
                NextPageTemplate("digital"), PageBreak(), Paragraph(t["title_2"], look.h1), *map(p, t["decision"])],
               [one_frame("digital"), picture_only("scan")], title=t["title"])


def letter():
    t, look = TEXTS["letter"], TYPED
    p = lambda text: Paragraph(text, look.text)
    page = render(pdf([p(t["from"]), Spacer(1, 26), p(t["to"]), Spacer(1, 20), p(t["date"]), Spacer(1, 12),
                       Paragraph(t["subject"], look.h2), Spacer(1, 6), *map(p, t["body"]), p(t["close"])]))
    out = io.BytesIO()
    Image.fromarray(page).quantize(16).convert("L").save(out, "PNG", optimize=True, dpi=(SCAN_DPI, SCAN_DPI))
    return out.getvalue()


def photo():
    """A note on a dark table, photographed by hand with the camera on its side: EXIF orientation 6 turns it upright."""
    t = TEXTS["photo"]
    look = Look("Vera", "Vera-Bold", 15)
    note = Image.fromarray(render(pdf([Paragraph(t["title"], look.title), Spacer(1, 14), *(Paragraph(text, look.text) for text in t["body"])]), dpi=130))
    note = note.crop((60, 60, 1014, 1240))
    width, height = 1200, 1600
    corners = [(118, 152), (1098, 120), (1130, 1462), (92, 1496)]  # of the note in the picture, clockwise from the top left
    source = [(0, 0), (note.width, 0), (note.width, note.height), (0, note.height)]
    rows = [row for (x, y), (u, v) in zip(corners, source) for row in ([x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y])]
    plane = np.linalg.solve(np.array(rows, float), np.array(source, float).ravel())
    paper = np.asarray(note.transform((width, height), Image.Transform.PERSPECTIVE, plane, Image.Resampling.BICUBIC, fillcolor=70), float)
    y, x = np.mgrid[0:height, 0:width]
    light = 0.95 - 0.22 * np.hypot((x - 350) / width, (y - 400) / height)
    noise = np.random.Generator(np.random.PCG64(4)).normal(0, 2, paper.shape)
    grey = np.clip(paper * light + noise, 0, 255)
    colour = np.stack([grey, grey * 0.96, grey * 0.88], axis=-1).astype(np.uint8)  # lamplight
    exif = Image.Exif()
    exif[0x0112] = 6
    return jpeg(Image.fromarray(colour).transpose(Image.Transpose.ROTATE_90), 45, exif=exif)


# --- bad ------------------------------------------------------------------------------------------------------------


def encrypted():
    lock = pdfencrypt.StandardEncryption("open-sesame", ownerPassword="keeper-of-the-cave", strength=128)
    return pdf([Paragraph(TEXTS["encrypted"], PRINT.text)], encrypt=lock)


def bomb():
    """30,000 × 30,000 pixels of white in 110 kB: 0.9 gigapixels once decoded."""
    side = 30_000
    squeeze = zlib.compressobj(9)
    row = b"\0" + b"\xff" * (side // 8)
    data = b"".join(squeeze.compress(row) for _ in range(side)) + squeeze.flush()

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def docx():
    """The smallest Word document with a table in it: a type that is recognised and not supported."""
    parts = {
        "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Override PartName="/word/document.xml" ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>',
        "_rels/.rels": '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="word/document.xml"/></Relationships>',
        "word/document.xml": '<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body><w:tbl><w:tblPr/><w:tblGrid><w:gridCol/><w:gridCol/></w:tblGrid><w:tr><w:tc><w:p><w:r><w:t>Berth</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>Boat</w:t></w:r></w:p></w:tc></w:tr><w:tr><w:tc><w:p><w:r><w:t>7</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>Petrel</w:t></w:r></w:p></w:tc></w:tr></w:tbl><w:p/></w:body></w:document>',
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in parts.items():
            archive.writestr(zipfile.ZipInfo(name), '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n' + text, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def small_image(kind):
    out = io.BytesIO()
    pixels = render(pdf([Paragraph(TEXTS["encrypted"], OFFICE.text)]), dpi=60)
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()


# --- what is true ---------------------------------------------------------------------------------------------------


def truth():
    """Per sample its type, pages, where each page's text comes from, and sentences that stand on the page word for word."""

    def entry(media_type, *pages):
        for _, snippets in pages:
            for snippet in snippets:
                assert snippet in source_text, f"not in texts.py: {snippet}"
        return {"media_type": media_type, "pages": [
            {"page_no": number, "text_from": kind, "snippets": snippets} for number, (kind, snippets) in enumerate(pages, 1)]}

    source_text = json.dumps([TEXTS, LOG, NOTES, PLAIN, "".join(f"Grey Head light, day {day}" for day in range(1, 31))], ensure_ascii=False)
    s = TEXTS["snippets"]
    layer, ocr, text = (lambda key: ("text_layer", s[key])), (lambda key: ("ocr", s[key])), (lambda key: ("text", s[key]))
    documents = {
        "handbook.pdf": entry("application/pdf", *(layer(f"handbook {page}") for page in (1, 2, 3, 4))),
        "scan.pdf": entry("application/pdf", ocr("scan 1"), ocr("scan 2")),
        "mixed.pdf": entry("application/pdf", layer("mixed 1"), ocr("mixed 2"), layer("mixed 3")),
        "letter.png": entry("image/png", ocr("letter 1")),
        "photo.jpg": entry("image/jpeg", ocr("photo 1")),
        "notes.md": entry("text/markdown", text("notes 1")),
        "plain.txt": entry("text/plain", text("plain 1")),
        "long.pdf": entry("application/pdf", *(("text_layer", [f"Grey Head light, day {day}"]) for day in range(1, 31))),
    }
    for item in SEARCH:
        assert item["document"] in documents and item["sentence"] in source_text, item
    return json.dumps({"documents": documents, "search": SEARCH}, ensure_ascii=False, indent=2) + "\n"


def main():
    SAMPLES.mkdir(exist_ok=True)
    BAD.mkdir(exist_ok=True)
    pages.make(HERE / "reading")
    READING.mkdir(exist_ok=True)
    book = handbook()
    files = {
        SAMPLES / "handbook.pdf": book,
        SAMPLES / "scan.pdf": scan(),
        SAMPLES / "mixed.pdf": mixed(),
        SAMPLES / "letter.png": letter(),
        SAMPLES / "photo.jpg": photo(),
        SAMPLES / "notes.md": NOTES.encode(),
        # Decomposed on purpose: deckle's text is NFC whatever a file holds.
        SAMPLES / "plain.txt": unicodedata.normalize("NFD", PLAIN).encode(),
        SAMPLES / "long.pdf": long(),
        BAD / "encrypted.pdf": encrypted(),
        BAD / "truncated.pdf": book[: len(book) * 6 // 10],
        BAD / "empty.pdf": b"",
        BAD / "not-a.pdf": b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head>\n<body><h1>Not Found</h1><p>The document you asked for has moved.</p></body></html>\n",
        BAD / "truncated.png": small_image("PNG")[:2000],
        BAD / "truncated.jpg": small_image("JPEG")[:2500],
        BAD / "bomb.png": bomb(),
        BAD / "table.docx": docx(),
        BAD / "binary.bin": random.Random(5).randbytes(2048),
        HERE / "truth.json": truth().encode(),
    }
    files |= truths.files(HERE)
    files |= {READING / name: content for name, content in pictures.files().items()}
    for path, content in files.items():
        path.write_bytes(content)
        print(f"{len(content):8} {path.relative_to(HERE)}")
    print(f"{sum(map(len, files.values())):8} in all")
    pdfs.main()
    tables.main(HERE / "reading")


main()
