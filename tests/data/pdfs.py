"""Makes the PDFs of reading/ that each show one way in which a text layer can mislead, and one with every fact a PDF can
state. Written by hand, object by object, because no library writes such files; the same bytes every time.

    python3 pdfs.py

Words that a reader sees stand in NAME.txt, form feed between pages. All texts are CC0.
"""
import hashlib
import pathlib
import zlib

READING = pathlib.Path(__file__).parent / "reading"
HELVETICA = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"
BOLD = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica-Bold /Encoding /WinAnsiEncoding >>"
PAGE = "/MediaBox [0 0 595 842]"

HARBOUR = """The harbour master keeps a book in which every boat is written down on the day
that it comes in and again on the day that it leaves. The book is older than the
lamp on the pier, and nobody has ever counted how many names are in it. When the
fog is thick and no boat can be seen, the master reads in it and says that there
are more boats in the book than in the sea. A copy is made each winter, by hand,
and the copy is read aloud in the hall so that mistakes can be heard by all.""".split("\n")


class Pdf:
    """Objects in the order of their numbers; 1 is the catalogue and 2 the page tree."""

    def __init__(self, catalog="", info=None):
        self.objects, self.pages, self.catalog = [None, None], [], catalog
        self.info = self.add(info) if info else None

    def reserve(self):
        """A number for an object that others name before it is made."""
        self.objects.append(None)
        return len(self.objects)

    def add(self, body, number=None):
        number = number or self.reserve()
        self.objects[number - 1] = body.encode("latin-1") if isinstance(body, str) else body
        return number

    def stream(self, data, entries=""):
        data = data.encode("latin-1") if isinstance(data, str) else data
        packed = zlib.compress(data, 9)
        return self.add(f"<< {entries} /Filter /FlateDecode /Length {len(packed)} >>\nstream\n".encode() + packed + b"\nendstream")

    def page(self, content, resources, entries=PAGE, number=None):
        contents = self.stream(content)
        page = f"<< /Type /Page /Parent 2 0 R {entries} /Resources << {resources} >> /Contents {contents} 0 R >>"
        self.pages.append(self.add(page, number))

    def bytes(self):
        kids = " ".join(f"{page} 0 R" for page in self.pages)
        self.objects[0] = f"<< /Type /Catalog /Pages 2 0 R {self.catalog} >>".encode("latin-1")
        self.objects[1] = f"<< /Type /Pages /Kids [{kids}] /Count {len(self.pages)} >>".encode()
        out, offsets = bytearray(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"), []
        for number, body in enumerate(self.objects, 1):
            offsets.append(len(out))
            out += f"{number} 0 obj\n".encode() + body + b"\nendobj\n"
        start = len(out)
        out += f"xref\n0 {len(offsets) + 1}\n0000000000 65535 f \n".encode() + b"".join(b"%010d 00000 n \n" % at for at in offsets)
        info = f" /Info {self.info} 0 R" if self.info else ""
        out += f"trailer\n<< /Size {len(offsets) + 1} /Root 1 0 R{info} >>\nstartxref\n{start}\n%%EOF\n".encode()
        return bytes(out)


def escaped(text):
    return text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")


def lines(texts, font="F", size=11, left=60, top=760, leading=15):
    """Lines below each other, each a text object's own."""
    return "\n".join(f"BT /{font} {size} Tf {left} {top - leading * at} Td ({escaped(text)}) Tj ET" for at, text in enumerate(texts))


def image(pdf, texts, shape=None):
    """A grey picture of lines, drawn with a bitmap font as a fax would be; of the shape of a page where one is given."""
    from PIL import Image, ImageDraw, ImageFont
    width, height = 6 * max(map(len, texts)) + 48, 16 * len(texts) + 24
    if shape:
        height = round(width * shape[1] / shape[0])
    small = Image.new("L", (width, height), 255)
    for at, text in enumerate(texts):
        ImageDraw.Draw(small).text((24, 12 + 16 * at), text, fill=0, font=ImageFont.load_default_imagefont())
    large = small.resize((width * 3, height * 3), Image.Resampling.BICUBIC)
    entries = f"/Type /XObject /Subtype /Image /Width {large.width} /Height {large.height} /ColorSpace /DeviceGray /BitsPerComponent 8"
    return pdf.stream(large.tobytes(), entries)


def hidden_by_actual_text():
    """What is drawn says one thing; /ActualText says that it is a space, as a broken tagging tool wrote it."""
    pdf = Pdf("/MarkInfo << /Marked true >>")
    font = pdf.add(HELVETICA)
    content = lines(["Harbour book of Grey Head"], size=14, top=790)
    content += "\n/Span << /ActualText ( ) >> BDC\n" + lines(HARBOUR) + "\nEMC"
    pdf.page(content, f"/Font << /F {font} 0 R >>")
    return pdf.bytes(), ["\n".join(["Harbour book of Grey Head", *HARBOUR])]


def foreign_ocr():
    """A scan with an invisible layer by a bad recogniser: words nearly right, but none can be trusted."""
    pdf = Pdf()
    font, scan = pdf.add(HELVETICA), image(pdf, HARBOUR, shape=(595, 842))
    read = [text.translate(str.maketrans("aeou", "oaun")) for text in HARBOUR]
    content = "q 595 0 0 842 0 0 cm /I Do Q\n3 Tr\n" + lines(read)
    pdf.page(content, f"/Font << /F {font} 0 R >> /XObject << /I {scan} 0 R >>")
    return pdf.bytes(), ["\n".join(HARBOUR)]


def wrong_meanings():
    """A subset font as some writers make them: its letters are numbered in the order of their use, and nothing says what
    they mean, so that each reads as another."""
    pdf = Pdf()
    letters = sorted({c for text in HARBOUR for c in text if c.isalpha()}, key=lambda c: hashlib.sha256(c.encode()).digest())
    # A reader without a map takes the codes for the signs that ASCII has there: digits, punctuation and letters.
    codes = {c: 48 + at for at, c in enumerate(letters)}
    encoding = f"<< /Type /Encoding /BaseEncoding /WinAnsiEncoding /Differences [48 {' '.join(f'/{c}' for c in letters)}] >>"
    pairs = "\n".join(f"<{code:02x}> <{code:04x}>" for code in codes.values())
    cmap = pdf.stream("/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /X def /CMapType 2 def\n"
                      f"1 begincodespacerange <00> <ff> endcodespacerange\n{len(codes)} beginbfchar\n{pairs}\nendbfchar\nendcmap end end")
    font = pdf.add(f"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding {encoding} /ToUnicode {cmap} 0 R >>")
    coded = ["".join(chr(codes.get(c, ord(c))) for c in text) for text in HARBOUR]
    pdf.page(lines(coded), f"/Font << /F {font} 0 R >>")
    return pdf.bytes(), ["\n".join(HARBOUR)]


def ligatures():
    """Ligatures whose map calls them signs, as printing to PDF on some systems does; and the same signs where they are meant."""
    pdf = Pdf()
    meanings = {64: ("fi", "\ufb01"), 94: ("fl", "\ufb02")}
    encoding = "<< /Type /Encoding /BaseEncoding /WinAnsiEncoding /Differences [%s] >>" % " ".join(f"{code} /{name}" for code, (name, _) in meanings.items())
    pairs = "\n".join(f"<{code:02x}> <{code:04x}>" for code in meanings)
    cmap = pdf.stream("/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /X def /CMapType 2 def\n"
                      f"1 begincodespacerange <00> <ff> endcodespacerange\n{len(meanings)} beginbfchar\n{pairs}\nendbfchar\nendcmap end end")
    wrong = pdf.add(f"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding {encoding} /ToUnicode {cmap} 0 R >>")
    right = pdf.add(HELVETICA)
    coded = ["The harbour of@ce is open when the lamp re^ects in the water.", "Boats ask at the of@ce for a berth, or for one for two boats."]
    plain = ["By wire the harbour is called master@pier, by post it is Grey Head."]
    pdf.page(lines(HARBOUR, font="R") + "\n" + lines(coded, top=640) + "\n" + lines(plain, font="R", top=600), f"/Font << /F {wrong} 0 R /R {right} 0 R >>")
    meant = [text.replace("@", "fi").replace("^", "fl") for text in coded]
    return pdf.bytes(), ["\n".join([*HARBOUR, *meant, *plain])]


def unmapped():
    """A font of drawings without names that mean anything, and without a map: no character can be told."""
    pdf = Pdf()
    glyphs = [pdf.stream(f"500 0 0 0 500 700 d1 {x} {y} 300 400 re f") for x, y in ((0, 0), (50, 100), (100, 200), (150, 300))]
    procs = " ".join(f"/g{at} {glyph} 0 R" for at, glyph in enumerate(glyphs))
    font = pdf.add(f"<< /Type /Font /Subtype /Type3 /FontBBox [0 0 500 700] /FontMatrix [0.001 0 0 0.001 0 0] /CharProcs << {procs} >> "
                   "/Encoding << /Type /Encoding /Differences [1 /g0 /g1 /g2 /g3] >> /FirstChar 1 /LastChar 4 /Widths [600 600 600 600] >>")
    coded = ["".join(chr(1 + ord(c) % 4) for c in text) for text in HARBOUR]
    pdf.page(lines(coded), f"/Font << /F {font} 0 R >>")
    return pdf.bytes(), None


def picture_of_text():
    """A digital page with a picture of text on it, and a picture that has its text over it."""
    pdf = Pdf()
    font, notice = pdf.add(HELVETICA), image(pdf, ["NOTICE TO ALL BOATS", "The pier is closed", "until the lamp is mended"])
    ground = pdf.stream(b"\xdd" * 4, "/Type /XObject /Subtype /Image /Width 2 /Height 2 /ColorSpace /DeviceGray /BitsPerComponent 8")
    caption = ["Boats that wait outside show a light.", "They are called in by their names.", "Nobody lands at the pier at night."]
    content = lines(HARBOUR) + "\nq 300 0 0 130 60 480 cm /I Do Q\nq 300 0 0 60 60 380 cm /G Do Q\n" + lines(caption, top=420)
    pdf.page(content, f"/Font << /F {font} 0 R >> /XObject << /I {notice} 0 R /G {ground} 0 R >>")
    read = ["\n".join([*HARBOUR, "NOTICE TO ALL BOATS", "The pier is closed", "until the lamp is mended", *caption])]
    return pdf.bytes(), read


def facts():
    """A document that states everything: information, language, outline, page labels, links, attachments, a form."""
    pdf = Pdf(info="<< /Title (Harbour book) /Author (Ada Reed) /Subject (Boats) /Keywords (harbour, boats) /Creator (pdfs.py) "
                   "/Producer (by hand) /CreationDate (D:20260228175959+01'00') /ModDate (D:20260301) >>")
    font, bold = pdf.add(HELVETICA), pdf.add(BOLD)
    first, second, third = (pdf.reserve() for _ in range(3))

    def widget(rect, entries):
        return pdf.add(f"<< /Type /Annot /Subtype /Widget /Rect [{rect}] /DA (/F 11 Tf 0 g) {entries} >>")

    boat = pdf.reserve()
    name = widget("160 596 400 616", f"/F 4 /Parent {boat} 0 R /T (name) /FT /Tx /TU (Name of the boat) /V (Petrel) /Ff 2")
    pdf.add(f"<< /T (boat) /Kids [{name} 0 R] >>", boat)
    mark = pdf.stream("0 0 15 15 re f", "/Type /XObject /Subtype /Form /BBox [0 0 15 15]")
    others = [
        widget("160 500 400 580", r"/F 4 /T (notes) /FT /Tx /Ff 4096 /V (Leaks a little.\rBring a bucket.)"),
        widget("160 470 400 490", "/F 4 /T (secret) /FT /Tx /Ff 8192 /V (open sesame)"),
        widget("160 440 175 455", f"/F 4 /T (consent) /FT /Btn /V /Yes /AS /Yes /AP << /N << /Yes {mark} 0 R >> >>"),
        widget("160 410 400 430", "/F 4 /T (berth) /FT /Ch /Ff 131072 /Opt [(North) (South)] /V (South)"),
        widget("160 380 400 400", "/F 2 /T (unseen) /FT /Tx /V (nobody sees this)"),
    ]
    links = [pdf.add(f"<< /Type /Annot /Subtype /Link /Rect [{rect}] /Border [0 0 0] {to} >>") for rect, to in (
        ("60 700 300 714", "/A << /S /URI /URI (https://example.org/boats?name=petrel) >>"),
        ("60 680 300 694", f"/Dest [{third} 0 R /XYZ 60 700 null]"),
        ("60 660 300 674", "/A << /S /Launch /F (calculator.exe) >>"))]

    outline, one, names, two, nowhere = (pdf.reserve() for _ in range(5))
    pdf.add(f"<< /Type /Outlines /First {one} 0 R /Last {nowhere} 0 R /Count 3 >>", outline)
    pdf.add(f"<< /Title (1 Boats) /Parent {outline} 0 R /Next {two} 0 R /First {names} 0 R /Last {names} 0 R /Count 1 /Dest [{first} 0 R /XYZ 60 778 null] >>", one)
    pdf.add(f"<< /Title (1.1 Names) /Parent {one} 0 R /A << /S /GoTo /D [{second} 0 R /FitH 778] >> >>", names)
    pdf.add(f"<< /Title (2 Lamps) /Parent {outline} 0 R /Prev {one} 0 R /Next {nowhere} 0 R /Dest [{third} 0 R /XYZ 60 778 null] >>", two)
    pdf.add(f"<< /Title (On the net) /Parent {outline} 0 R /Prev {two} 0 R /A << /S /URI /URI (https://example.org/) >> >>", nowhere)

    ledger = b"<?xml version=\"1.0\"?>\n<ledger><boat>Petrel</boat></ledger>\n"
    held = pdf.stream(ledger, f"/Type /EmbeddedFile /Subtype /text#2Fxml /Params << /Size {len(ledger)} >>")
    ledger_file = pdf.add(f"<< /Type /Filespec /F (ledger.xml) /UF (ledger.xml) /Desc (What every boat owes) /AFRelationship /Data /EF << /F {held} 0 R >> >>")

    annotations = " ".join(f"{number} 0 R" for number in [*links, name, *others])
    pages = [["1 Boats", "All boats of the harbour", "Where they lie", "What they weigh"], ["1.1 Names", "A name is painted on both sides."],
             ["2 Lamps", "The lamp burns all night."]]
    for at, ((heading, *rest), number) in enumerate(zip(pages, (first, second, third))):
        entries = PAGE + (f" /Annots [{annotations}]" if at == 0 else "") + (" /Rotate 90" if at == 2 else "")
        content = lines([heading], "B", 18) + "\n" + lines(rest, top=703, leading=20)
        if at == 0:
            content += "\n" + lines(["Name"], top=602) + "\n" + lines(["Notes"], top=568) + "\n" + lines(["Consent"], top=444) + "\n" + lines(["Berth"], top=416)
        pdf.page(content, f"/Font << /F {font} 0 R /B {bold} 0 R >>", entries, number)
    pdf.catalog = (f"/Lang (en-GB) /Outlines {outline} 0 R /PageLabels << /Nums [0 << /S /r >> 2 << /S /D /P (A-) /St 7 >>] >> "
                   f"/Names << /EmbeddedFiles << /Names [(ledger.xml) {ledger_file} 0 R] >> >> "
                   f"/AcroForm << /Fields [{boat} 0 R {' '.join(f'{number} 0 R' for number in others)}] /DR << /Font << /F {font} 0 R >> >> >>")
    return pdf.bytes(), None


def attachment_bomb():
    """A page, and an attachment that unpacks to 1.5 GiB: zeros packed three times."""
    pdf = Pdf(info="<< /Title (Small letter) >>")
    font = pdf.add(HELVETICA)
    squeeze = zlib.compressobj(9)
    zeros = b"".join(squeeze.compress(bytes(1 << 20)) for _ in range(1536)) + squeeze.flush()
    packed = zlib.compress(zlib.compress(zeros, 9), 9)
    held = pdf.add(f"<< /Type /EmbeddedFile /Filter [/FlateDecode /FlateDecode /FlateDecode] /Length {len(packed)} >>\nstream\n".encode() + packed + b"\nendstream")
    small = pdf.stream(b"hello", "/Type /EmbeddedFile")
    files = [pdf.add(f"<< /Type /Filespec /F ({name}) /UF ({name}) /EF << /F {number} 0 R >> >>") for name, number in (("bomb.bin", held), ("hello.txt", small))]
    pdf.page(lines(HARBOUR), f"/Font << /F {font} 0 R >>")
    pdf.catalog = f"/Names << /EmbeddedFiles << /Names [(bomb.bin) {files[0]} 0 R (hello.txt) {files[1]} 0 R] >> >>"
    return pdf.bytes(), None


def main():
    READING.mkdir(exist_ok=True)
    documents = {
        "hidden-by-actual-text": hidden_by_actual_text(),
        "foreign-ocr": foreign_ocr(),
        "wrong-meanings": wrong_meanings(),
        "unmapped": unmapped(),
        "ligatures": ligatures(),
        "picture-of-text": picture_of_text(),
        "facts": facts(),
        "attachment-bomb": attachment_bomb(),
    }
    for name, (content, truth) in documents.items():
        (READING / f"{name}.pdf").write_bytes(content)
        if truth is not None:
            (READING / f"{name}.txt").write_text("\f".join(truth) + "\n", encoding="utf-8")
        print(f"{len(content):8} reading/{name}.pdf")


if __name__ == "__main__":
    main()
