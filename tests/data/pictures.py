"""Pictures of every kind that deckle reads, of the same few pages, with the words that stand on them beside each.

Called by make.py. The words are invented and CC0; the font is Bitstream Vera. A page's truth is NAME.txt, with a form
feed between pages.
"""
import io, pathlib, struct, zlib
import numpy as np
import pillow_heif
from PIL import Image, ImageCms, ImageDraw, ImageFont
import reportlab

FONTS = pathlib.Path(reportlab.__file__).parent / "fonts"

NOTICE = """Notice to all skippers

The crane on the north pier is out of use until
the end of the month. Masts are lifted by hand at
the slip, on working days from eight to eleven.

Bring two people and a long line. The harbour
office lends blocks, strops and a ladder, and
wants them back the same evening.

Between high water and two hours after it the
slip is too slippery to stand on. Whoever falls
in wears a yellow vest or swims to the steps.

Boats without a trailer may lie on the grass for
three nights. After that they are in the way of
the regatta and will be moved without asking."""

SHEETS = [
    NOTICE,
    """Minutes of the rowing club

Present were eleven members and a dog. The
treasurer counted the box twice and came to the
same sum, which has not happened before.

It was agreed to paint the boats before Easter,
green below the line and white above it.""",
    """Lost and found in the boat hall

One brown glove, left. Three umbrellas. A tin of
varnish, half full. A letter addressed to nobody
which begins with the words Dear Margaret.

Owners may ask at the ticket desk on any day but
Monday, and should describe what they miss.""",
]

WIDTH, HEIGHT, DPI = 850, 1100, 100  # a letter sheet


def page(text, width=WIDTH, height=HEIGHT, size=26):
    """A sheet with a heading and paragraphs, grey."""
    image = Image.new("L", (width, height), 255)
    draw = ImageDraw.Draw(image)
    body, head = (ImageFont.truetype(str(FONTS / name), size) for name in ("Vera.ttf", "VeraBd.ttf"))
    for row, line in enumerate(text.split("\n")):
        draw.text((70, 80 + row * size * 1.6), line, font=head if row == 0 else body, fill=0)
    return image


def words(*pages):
    return "\f".join(" ".join(text.split()) for text in pages).encode() + b"\n"


def saved(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def coloured(image):
    """The same page with a red stamp at its foot."""
    image = image.convert("RGB")
    draw = ImageDraw.Draw(image)
    draw.ellipse((560, 900, 780, 1040), outline=(190, 30, 40), width=9)
    return image


def pages_in_tiff(compression, mode, **options):
    first, *rest = [page(text).convert(mode) for text in SHEETS]
    return saved(first, "TIFF", save_all=True, append_images=rest, compression=compression, dpi=(DPI, DPI), **options)


def tiff(width, height, fields, chunk):
    """A TIFF written by hand, little-endian, of one strip: for what Pillow does not write. Fields are (tag, type, values)."""
    def packed(kind, values):
        return struct.pack("<" + {3: "H", 4: "L"}[kind] * len(values), *values)

    fields = sorted([(256, 4, [width]), (257, 4, [height]), (273, 4, [8]), (278, 4, [height]), (279, 4, [len(chunk)]), *fields])
    at = 8 + len(chunk) + len(chunk) % 2
    extra_at, extra, entries = at + 2 + 12 * len(fields) + 4, b"", b""
    for tag, kind, values in fields:
        value = packed(kind, values)
        if len(value) > 4:
            value, extra = struct.pack("<L", extra_at + len(extra)), extra + value
        entries += struct.pack("<HHL", tag, kind, len(values)) + value.ljust(4, b"\0")
    return b"II*\0" + struct.pack("<L", at) + chunk.ljust(at - 8, b"\0") + struct.pack("<H", len(fields)) + entries + b"\0\0\0\0" + extra


def png(width, height, depth, colour, rows):
    """A PNG written by hand: for depths that Pillow does not write."""
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    squeeze = zlib.compressobj(9)
    data = b"".join(squeeze.compress(b"\0" + row) for row in rows) + squeeze.flush()
    metre = struct.pack(">IIB", round(DPI / 0.0254), round(DPI / 0.0254), 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)) + chunk(b"pHYs", metre) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def sixteen_bits():
    grey = np.asarray(page(NOTICE), ">u2") * 257
    return png(WIDTH, HEIGHT, 16, 0, (row.tobytes() for row in grey))


def palette_tiff():
    """Numbers of a palette in which 0 is blue-black and 1 a pale yellow: 4 bits a pixel."""
    dark = np.asarray(page(NOTICE)) < 128
    numbers = np.where(dark, 0, 1).astype(np.uint8)
    packed = (numbers[:, 0::2] << 4 | numbers[:, 1::2]).tobytes()
    reds, greens, blues = ([value * 257 for value in channel] + [0] * 14 for channel in ([20, 255], [20, 250], [90, 190]))
    return tiff(WIDTH, HEIGHT, [(258, 3, [4]), (259, 3, [8]), (262, 3, [3]), (277, 3, [1]), (320, 3, reds + greens + blues)], zlib.compress(packed, 9))


def turned_tiff():
    """Stored on its side, with the tag that says so; 40 pixels a centimetre."""
    image = page(NOTICE).rotate(90, expand=True)
    packed = np.packbits(np.asarray(image) < 128, axis=1).tobytes()
    resolution = [(282, 4, [40]), (283, 4, [40])]  # as whole numbers, which readers must take as well
    return tiff(image.width, image.height, [(258, 3, [1]), (259, 3, [1]), (262, 3, [0]), (274, 3, [6]), (277, 3, [1]), (296, 3, [3]), *resolution], packed)


def faxes(damaged_page=None):
    """Three pages in fax group 4; in one the codes are cut off and replaced by zeroes."""
    content = bytearray(pages_in_tiff("group4", "1"))
    if damaged_page is not None:
        directory = struct.unpack_from("<L", content, 4)[0]
        for _ in range(damaged_page - 1):
            count = struct.unpack_from("<H", content, directory)[0]
            directory = struct.unpack_from("<L", content, directory + 2 + 12 * count)[0]
        for entry in range(directory + 2, directory + 2 + 12 * struct.unpack_from("<H", content, directory)[0], 12):
            tag, _, count, value = struct.unpack_from("<HHLL", content, entry)
            if tag == 273:
                offset = value if count == 1 else struct.unpack_from("<L", content, value)[0]
                content[offset + 40:offset + 400] = bytes(360)
    return bytes(content)


def transparent():
    """Black words on nothing: without paper below them they would be black on black."""
    alpha = Image.eval(page(NOTICE), lambda value: 255 - value)
    image = Image.new("RGBA", alpha.size, (0, 0, 0, 0))
    image.putalpha(alpha)
    return saved(image, "PNG", optimize=True, dpi=(DPI, DPI))


def heic():
    """A photograph of the page, stored on its side: the file's own rotation makes it upright."""
    pillow_heif.register_heif_opener()
    image = coloured(page(NOTICE)).rotate(90, expand=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # the encoder turns it into a box `irot`
    return saved(image, "HEIF", quality=50, exif=exif.tobytes())


def in_all_orientations(image, kind):
    """The picture as each of the eight values of EXIF's orientation stores it."""
    undo = {1: [], 2: [Image.Transpose.FLIP_LEFT_RIGHT], 3: [Image.Transpose.ROTATE_180], 4: [Image.Transpose.FLIP_TOP_BOTTOM],
            5: [Image.Transpose.TRANSPOSE], 6: [Image.Transpose.ROTATE_90], 7: [Image.Transpose.TRANSVERSE], 8: [Image.Transpose.ROTATE_270]}
    for value, steps in undo.items():
        stored = image
        for step in steps:
            stored = stored.transpose(step)
        exif = Image.Exif()
        exif[0x0112] = value
        yield value, saved(stored, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))


def skewed():
    """Turned by 5 degrees, as it lay on the glass."""
    return saved(page(NOTICE).rotate(-5, Image.Resampling.BICUBIC, fillcolor=255), "PNG", optimize=True, dpi=(DPI, DPI))


BESIDE = [b"The chart above was scanned much too finely, and nobody can draw it.", b"What stands below it is text like any other and must be read."]


def huge_picture_pdf(below=()):
    """A page that shows 35,000 × 35,000 pixels of nothing: 1.2 gigapixels once decoded. With text below it, the picture is
    smaller, and the text a good text layer."""
    def stream(dictionary, content):
        return b"<< %b /Length %d >>\nstream\n%b\nendstream" % (dictionary, len(content), content)

    side = 35_000
    squeeze = zlib.compressobj(9)
    row = bytes((side + 7) // 8)
    data = b"".join(squeeze.compress(row) for _ in range(side)) + squeeze.flush()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /XObject << /F 6 0 R >> /Font << /T << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>",
        stream(b"", b"/F Do" + b"".join(b" BT /T 11 Tf 60 %d Td (%b) Tj ET" % (400 - 16 * row, line) for row, line in enumerate(below))),
        stream(b"/Type /XObject /Subtype /Image /Width %d /Height %d /ColorSpace /DeviceGray /BitsPerComponent 1 /Filter /FlateDecode" % (side, side), data),
        stream(b"/Type /XObject /Subtype /Form /BBox [0 0 595 842] /Resources << /XObject << /I 5 0 R >> >>", b"q 400 0 0 300 60 480 cm /I Do Q" if below else b"q 595 0 0 842 0 0 cm /I Do Q"),
    ]
    out, offsets = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    return out + b"xref\n0 %d\n0000000000 65535 f \n%btrailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, table, len(objects) + 1, len(out))


def poster():
    """12,000 × 12,000 pixels, 1 bit: more than are kept, fewer than are refused. Its upper left quarter is black."""
    side = 12_000
    black, white = b"\x00" * (side // 16) + b"\xff" * (side // 16), b"\xff" * (side // 8)
    return png(side, side, 1, 0, (black if y < side // 2 else white for y in range(side)))


def files():
    """Names below reading/ and bytes."""
    grey, colour = page(NOTICE), coloured(page(NOTICE))
    one = {
        "notice-16-bit.png": sixteen_bits(),
        "notice-transparent.png": transparent(),
        "notice.webp": saved(colour, "WEBP", quality=60),
        "notice.gif": saved(grey.quantize(16), "GIF"),
        "notice.bmp": saved(grey.convert("1"), "BMP", dpi=(DPI, DPI)),
        "notice-cmyk.jpg": saved(colour.convert("CMYK"), "JPEG", quality=30, dpi=(DPI, DPI)),
        "notice-palette.tif": palette_tiff(),
        "notice-turned.tif": turned_tiff(),
        "notice-jpeg.tif": saved(colour, "TIFF", compression="jpeg", quality=30, dpi=(DPI, DPI)),
        "notice-lzw.tif": saved(grey.quantize(8).convert("L"), "TIFF", compression="tiff_lzw", dpi=(DPI, DPI)),
        "notice.heic": heic(),
        "notice-skewed.png": skewed(),
    }
    for quarters in range(4):
        one[f"notice-turned-{quarters * 90}.png"] = saved(grey.quantize(8).convert("L").rotate(-quarters * 90, expand=True), "PNG", optimize=True, dpi=(DPI, DPI))
    several = {"sheets-group4.tif": faxes(), "sheets-group3.tif": pages_in_tiff("group3", "1"),
               "sheets-group3-2d.tif": pages_in_tiff("group3", "1", tiffinfo={292: 1}), "sheets-huffman.tif": pages_in_tiff("tiff_ccitt", "1"),
               "sheets-damaged.tif": faxes(damaged_page=2)}
    small = coloured(page("F", 90, 120, 60)).crop((60, 60, 150, 160))
    oriented = {}
    for kind, end, values in (("JPEG", "jpg", range(1, 9)), ("PNG", "png", (5, 6)), ("WEBP", "webp", (5, 6))):
        oriented |= {f"orientation-{value}.{end}": content for value, content in in_all_orientations(small, kind) if value in values}
    found = one | several | oriented | {"poster.png": poster(), "huge-picture.pdf": huge_picture_pdf(),
                                   "huge-picture-beside-text.pdf": huge_picture_pdf(BESIDE)}
    found |= {name.rsplit(".", 1)[0] + ".txt": words(NOTICE) for name in one if "-turned-" not in name}
    return found | {name.rsplit(".", 1)[0] + ".txt": words(*SHEETS) for name in several}
