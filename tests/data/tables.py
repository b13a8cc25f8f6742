"""Makes reading/tables.pdf, one page with a table of each make and two frames that are none, and its truth, tables.json.

A cell of the truth is [row, column, rows, columns, text, head], head being "column", "row" or "". Tables stand in the
order of the page.
"""
import io, json

from reportlab import rl_config

rl_config.invariant = 1  # no dates, no random ids
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas

WIDTH, HEIGHT = A4


class Sheet:
    """A page measured from its top left."""

    def __init__(self):
        self.buffer = io.BytesIO()
        self.canvas = Canvas(self.buffer, A4)
        self.canvas.setTitle("Tables of the boatyard")

    def text(self, x, y, text, bold=False, size=10, align="left"):
        self.canvas.setFont("Helvetica-Bold" if bold else "Helvetica", size)
        draw = {"left": self.canvas.drawString, "right": self.canvas.drawRightString, "middle": self.canvas.drawCentredString}
        draw[align](x, HEIGHT - y, text)

    def line(self, x0, y0, x1, y1, width=0.6):
        self.canvas.setLineWidth(width)
        self.canvas.line(x0, HEIGHT - y0, x1, HEIGHT - y1)

    def bar(self, x0, y0, x1, y1):
        """A rule as word processors draw it: a thin filled rectangle."""
        self.canvas.rect(x0, HEIGHT - y1, x1 - x0, y1 - y0, stroke=0, fill=1)

    def box(self, x0, y0, x1, y1):
        self.canvas.setLineWidth(0.8)
        self.canvas.rect(x0, HEIGHT - y1, x1 - x0, y1 - y0)

    def finish(self):
        self.canvas.showPage()
        self.canvas.save()
        return self.buffer.getvalue()


def ruled(sheet, top):
    """All rules drawn; a name over two columns, one over two rows, a wrapped cell and an empty one."""
    xs, ys = [60, 160, 300, 380, 460], [top, top + 20, top + 40, top + 74, top + 94, top + 114]
    for y in (ys[0], ys[2], ys[3], ys[5]):
        sheet.bar(xs[0], y, xs[4], y + 0.5)
    sheet.bar(xs[2], ys[1], xs[4], ys[1] + 0.5)
    sheet.bar(xs[1], ys[4], xs[4], ys[4] + 0.5)
    for x in (xs[0], xs[1], xs[2], xs[4]):
        sheet.bar(x, ys[0], x + 0.5, ys[5])
    sheet.bar(xs[3], ys[1], xs[3] + 0.5, ys[5])
    cells = [
        [0, 0, 2, 1, "Boat", "column"], [0, 1, 2, 1, "Work to be done", "column"], [0, 2, 1, 2, "Hours", "column"],
        [1, 2, 1, 1, "planned", "column"], [1, 3, 1, 1, "spent", "column"],
        [2, 0, 1, 1, "Heron", "row"], [2, 1, 1, 1, "Scrape the hull and paint it twice", ""], [2, 2, 1, 1, "14", ""], [2, 3, 1, 1, "17.5", ""],
        [3, 0, 2, 1, "Little Tern", "row"], [3, 1, 1, 1, "New rudder", ""], [3, 2, 1, 1, "6", ""], [3, 3, 1, 1, "5", ""],
        [4, 1, 1, 1, "Sails", ""], [4, 2, 1, 1, "2.5", ""], [4, 3, 1, 1, "", ""],
    ]
    at = {(0, 0): 24, (0, 1): 24, (0, 2): 14, (1, 2): 34, (1, 3): 34, (2, 0): 61, (2, 2): 61, (2, 3): 61, (3, 0): 98}
    for row, column, rows, columns, text, head in cells:
        y = top + at.get((row, column), {3: 88, 4: 108}.get(row, 0))
        middle = (xs[column] + xs[column + columns]) / 2
        if (row, column) == (2, 1):
            sheet.text(xs[1] + 5, top + 55, "Scrape the hull and")
            sheet.text(xs[1] + 5, top + 68, "paint it twice")
        elif head == "column":
            sheet.text(middle, y, text, bold=True, align="middle")
        elif column >= 2:
            sheet.text(xs[column + 1] - 6, y, text, align="right")
        else:
            sheet.text(xs[column] + 5, y, text)
    return {"rows": 5, "columns": 4, "cells": cells}


def booktabs(sheet, top):
    """Three level rules, shorter ones below names of several columns, a label over two lines, and no upright rule."""
    sheet.line(60, top, 440, top, 1.2)
    sheet.line(190, top + 19, 300, top + 19, 0.5)
    sheet.line(325, top + 19, 435, top + 19, 0.5)
    sheet.line(60, top + 38, 440, top + 38, 0.8)
    sheet.line(60, top + 114, 440, top + 114, 1.2)
    sheet.text(245, top + 14, "Spring tide", align="middle")
    sheet.text(380, top + 14, "Neap tide", align="middle")
    names = ["Quay", "high", "low", "high", "low"]
    rights = [None, 236, 296, 371, 431]
    rows = [(53, ["Long Quay", "5.62", "0.71", "4.10", "1.93"]), (81, ["Old Harbour, at the outer steps", "5.58", "0.66", "4.02", "1.90"]),
            (96, ["Ferry slip", "5.70", "0.80", "4.21", "1.88"]), (109, ["Mill", "–", "1.02", "–", "2.10"])]
    for column, name in enumerate(names):
        sheet.text(rights[column] or 65, top + 33, name, align="right" if column else "left")
    cells = [[0, 0, 1, 1, "", "column"], [0, 1, 1, 2, "Spring tide", "column"], [0, 3, 1, 2, "Neap tide", "column"]]
    cells += [[1, column, 1, 1, name, "column"] for column, name in enumerate(names)]
    for row, (y, texts) in enumerate(rows):
        for column, text in enumerate(texts):
            if column:
                sheet.text(rights[column], top + y, text, align="right")
            elif row == 1:
                sheet.text(65, top + y - 13, "Old Harbour, at the")
                sheet.text(65, top + y, "outer steps")
            else:
                sheet.text(65, top + y, text)
            cells.append([row + 2, column, 1, 1, text, "" if column else "row"])
    return {"rows": 6, "columns": 5, "cells": cells}


def unruled(sheet, top):
    """No rule; centred names above figures set to the right."""
    rows = [["Berth", "Length (m)", "Fee per night"], ["North wall", "12.0", "24.00"], ["South wall", "9.5", "19.00"],
            ["Pontoon A", "8.0", "16.00"], ["Mooring", "15.0", "11.50"], ["Total", "44.5", "70.50"]]
    for row, (name, length, fee) in enumerate(rows):
        y = top + row * 15
        sheet.text(60, y, name, bold=row == 0)
        for text, left, right in ((length, 190, 260), (fee, 310, 420)):
            if row == 0:
                sheet.text((left + right) / 2, y, text, bold=True, align="middle")
            else:
                sheet.text(right, y, text, align="right")
    cells = [[row, column, 1, 1, text, "column" if row == 0 else "row" if column == 0 else ""]
             for row, texts in enumerate(rows) for column, text in enumerate(texts)]
    return {"rows": 6, "columns": 3, "cells": cells}


def frames(sheet, top):
    """A frame around a paragraph, and a chart's grid with its labels: no tables."""
    sheet.box(60, top, 460, top + 46)
    for number, text in enumerate(["A frame around a few lines of text is there to be seen, not to be counted.",
                                   "Whoever reads it out reads a paragraph, and nobody would ask in which", "row or column it stands."]):
        sheet.text(66, top + 14 + number * 13, text)
    left, top = 100, top + 70
    for step in range(5):
        sheet.line(left, top + step * 25, left + 320, top + step * 25, 0.4)
        sheet.text(left - 6, top + step * 25 + 3, str(40 - step * 10), align="right", size=8)
        sheet.line(left + step * 80, top, left + step * 80, top + 100, 0.4)
        sheet.text(left + step * 80, top + 112, ["Jan", "Mar", "May", "Jul", "Sep"][step], align="middle", size=8)


def main(folder):
    sheet = Sheet()
    sheet.text(60, 60, "Tables of the boatyard", bold=True, size=18)
    sheet.text(60, 84, "The first has all of its rules, the second only level ones, the third has none at all.")
    tables = [ruled(sheet, 104)]
    sheet.text(60, 244, "Heights of the water are in metres above chart datum at each of the four quays.")
    tables.append(booktabs(sheet, 262))
    sheet.text(60, 402, "Whoever stays for longer than a week pays half of the fee from the eighth night on.")
    tables.append(unruled(sheet, 430))
    sheet.text(60, 536, "What follows has rules as well, and yet there is no table in it.")
    frames(sheet, 556)
    folder.mkdir(exist_ok=True)
    files = {"tables.pdf": sheet.finish(), "tables.json": (json.dumps({"pages": [{"tables": tables}]}, ensure_ascii=False, indent=1) + "\n").encode()}
    for name, content in files.items():
        (folder / name).write_bytes(content)
        print(f"{len(content):8} {folder.name}/{name}")
