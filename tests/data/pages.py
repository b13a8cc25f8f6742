"""Pages whose layout is known: journal.pdf and the same page from a scanner, with the blocks that must be found.

Called by make.py. The words are invented and CC0; the fonts embedded are Bitstream Vera.
"""
import io, json, pathlib
import numpy as np
import pypdfium2
from PIL import Image, ImageDraw
from reportlab.lib import colors
from reportlab.lib.enums import TA_JUSTIFY
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Frame, Paragraph

for name, file in (("Vera", "Vera"), ("Vera-Bold", "VeraBd")):
    pdfmetrics.registerFont(TTFont(name, file + ".ttf"))

WIDTH, HEIGHT = A4
MARGIN, GUTTER = 20 * mm, 8 * mm
COLUMN = (WIDTH - 2 * MARGIN - GUTTER) / 2

HEADER = "Annals of the Long Quay, volume 12"
FOOTER = "117"
TITLE = "How Ropes Wear at the Inner Berths"
AUTHORS = "Maud Tregenza and Ivo Pell"
CAPTION = "Figure 1: The Petrel at an inner berth, made fast with a line of hemp that is four hundred tides old."
FOOTNOTE = "1 The harbour office keeps the ledgers of the berths since 1874, and lends them to nobody."
LEFT = [
    ("heading", "1 Introduction"),
    ("text", "A rope that holds a boat is pulled a little by every wave and a lot by every tide. Nobody sees it wear, because the strands that break first lie inside, where grit from the harbour floor cuts them. A skipper who looks at the outside only will trust a line that has lost half of its strength."),
    ("text", "We have asked how fast this happens, and whether the berth matters more than the rope. The ledgers of the harbour office tell for each line when it was made fast and when it was taken away.<super>1</super> From these we know the age of every rope to the day, which is rare in a harbour of this size."),
    ("heading", "2 How it was measured"),
    ("text", "Every line that was taken away in the year was cut into three pieces of two metres: one from the bollard, one from the middle and one from the cleat. Each piece was wetted, hung up, and loaded with sacks of sand until the first strand broke."),
]
RIGHT = [
    ("text", "Loads were weighed on the scale of the ice house, which is true to a kilogram. Pieces that slipped out of their knots were left out, as the knot and not the rope had given way."),
    ("heading", "3 What was found"),
    ("text", "Hemp loses strength from the first tide on and is half as strong after four hundred. Nylon keeps nearly all of it for two hundred tides, and then falls off about as fast. The piece from the bollard was the weakest in nine lines of ten, whatever the rope was made of."),
    ("text", "At the inner berths, where boats take the ground at low water, lines lasted two thirds as long as at the outer ones. The difference is larger than that between the two kinds of rope. Whoever can choose should move the boat before buying a better line."),
]


def styles():
    text = ParagraphStyle("text", fontName="Vera", fontSize=10.5, leading=14.6, spaceAfter=8, alignment=TA_JUSTIFY)
    heading = ParagraphStyle("heading", fontName="Vera-Bold", fontSize=13, leading=17, spaceBefore=8, spaceAfter=5)
    return {"text": text, "heading": heading}


def photograph():
    """A quay, a boat and the sea: something that is plainly no text."""
    image = Image.new("RGB", (480, 300), (196, 214, 226))
    draw = ImageDraw.Draw(image)
    rows = np.linspace(0, 1, 120)
    for row, share in enumerate(rows):
        draw.line([(0, 180 + row), (480, 180 + row)], fill=(int(70 + 40 * share), int(110 + 30 * share), int(130 + 20 * share)))
    draw.ellipse([380, 30, 430, 80], fill=(250, 236, 180))
    draw.polygon([(0, 150), (170, 165), (170, 300), (0, 300)], fill=(120, 112, 104))
    draw.polygon([(215, 215), (395, 215), (365, 262), (240, 262)], fill=(138, 58, 44))
    draw.polygon([(300, 70), (300, 205), (225, 205)], fill=(240, 236, 226))
    draw.line([(304, 60), (304, 215)], fill=(60, 46, 38), width=4)
    draw.line([(160, 175), (240, 230)], fill=(40, 34, 30), width=3)
    return image


def flow(canvas, items, left, top):
    """Sets paragraphs into a column."""
    look = styles()
    story = [Paragraph(text, look[kind]) for kind, text in items]
    frame = Frame(left, 32 * mm, COLUMN, top - 32 * mm, 0, 0, 0, 0)
    frame.addFromList(story, canvas)
    assert not story, "the column is too short"


def journal():
    out = io.BytesIO()
    canvas = Canvas(out, pagesize=A4, pageCompression=1)
    canvas.setTitle(TITLE)
    canvas.setAuthor("deckle")
    canvas.setFont("Vera", 8)
    canvas.drawString(MARGIN, HEIGHT - 13 * mm, HEADER)
    canvas.drawCentredString(WIDTH / 2, 12 * mm, FOOTER)
    canvas.setFont("Vera-Bold", 18)
    canvas.drawCentredString(WIDTH / 2, HEIGHT - 30 * mm, TITLE)
    canvas.setFont("Vera", 10)
    canvas.drawCentredString(WIDTH / 2, HEIGHT - 38 * mm, AUTHORS)
    top = HEIGHT - 46 * mm
    flow(canvas, LEFT, MARGIN, top)
    right = MARGIN + COLUMN + GUTTER
    height = COLUMN * 300 / 480
    canvas.drawImage(ImageReader(photograph()), right, top - height, COLUMN, height)
    caption = Paragraph(CAPTION, ParagraphStyle("caption", fontName="Vera", fontSize=9, leading=11.5))
    _, caption_height = caption.wrap(COLUMN, 100)
    caption.drawOn(canvas, right, top - height - 5 - caption_height)
    flow(canvas, RIGHT, right, top - height - caption_height - 16)
    canvas.setLineWidth(0.5)
    canvas.setStrokeColor(colors.black)
    canvas.line(MARGIN, 30 * mm, MARGIN + 40 * mm, 30 * mm)
    footnote = Paragraph(FOOTNOTE, ParagraphStyle("footnote", fontName="Vera", fontSize=8, leading=10))
    _, height = footnote.wrap(COLUMN, 100)
    footnote.drawOn(canvas, MARGIN, 29 * mm - height)
    canvas.showPage()
    canvas.save()
    return out.getvalue()


def scanned(pdf):
    """The same page as 150 dpi of grey with some noise, as a JPEG."""
    page = pypdfium2.PdfDocument(pdf)[0].render(scale=150 / 72, grayscale=True).to_pil().convert("L")
    noise = np.random.Generator(np.random.PCG64(12)).normal(0, 3, (page.height, page.width))
    grey = np.clip(24 + np.asarray(page, np.float64) * (246 - 24) / 255 + noise, 0, 255)
    out = io.BytesIO()
    Image.fromarray(grey.astype(np.uint8)).save(out, "JPEG", quality=50, optimize=True, dpi=(150, 150))
    return out.getvalue()


def truth():
    """The blocks in reading order; the picture has no words."""
    plain = lambda text: text.replace("<super>", "").replace("</super>", "")
    kinds = {"heading": "section_header", "text": "text"}
    flow = lambda items: [[kinds[kind], plain(text)] for kind, text in items]
    left, right = flow(LEFT), flow(RIGHT)
    return [["page_header", HEADER], ["title", TITLE], ["text", AUTHORS], *left, ["picture", ""], ["caption", CAPTION], *right,
            ["footnote", FOOTNOTE], ["page_footer", FOOTER]]


def make(folder: pathlib.Path):
    folder.mkdir(exist_ok=True)
    page = journal()
    (folder / "journal.pdf").write_bytes(page)
    (folder / "journal.jpg").write_bytes(scanned(page))
    (folder / "journal.json").write_text(json.dumps(truth(), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
