//! The ICDAR 2013 table competition: `-reg.xml` has the regions of tables, `-str.xml` their cells. Boxes are points
//! from the bottom left of the page.
//!
//! A table that runs over several regions is several here, as each page has its own in what deckle finds.

use roxmltree::{Document, Node};

use super::{Boxes, Flaw, Frame, MAX_SIDE, Place, Tables, Truth, Unit};
use crate::{boxes::Placed, tables::PlacedTable};
use deckle_contract::document::{Bbox, Cell, Table};

/// Whether it is a document of tables; XML that is broken is damaged, whatever it was to be.
pub(super) fn looks_like(content: &str) -> Result<bool, Flaw> {
    let document = parsed(content)?;
    let root = document.root_element();
    Ok(root.has_tag_name("document") && root.children().any(|child| child.has_tag_name("table")))
}

/// Reads regions or cells.
pub(super) fn read(content: &str) -> Result<Truth, Flaw> {
    let document = parsed(content)?;
    let mut places = Vec::new();
    let mut tables = Vec::new();
    let mut is_placed = true;
    for region in document.descendants().filter(|node| node.has_tag_name("region")) {
        let page_no = number(region, "page")?.ok_or_else(|| flaw(region, "a region names no page"))?;
        let page_no = whole(region, "page", page_no)?;
        let own = children(region, "bounding-box").next().map(bbox).transpose()?;
        let cells: Vec<(Cell, Option<Bbox>)> = children(region, "cell").map(cell).collect::<Result<_, _>>()?;
        let around = Bbox::around(cells.iter().filter_map(|(_, bbox)| bbox.as_ref()));
        match own.or(around) {
            Some(bbox) => places.push(Place { page_no, bbox }),
            None => is_placed = false,
        }
        if !cells.is_empty() {
            let place = around.map(|bbox| Placed { page_no, bbox });
            tables.push(PlacedTable { page_no: Some(page_no), place, table: Some(table(region, cells)?) });
        }
    }
    let is_structure = document.descendants().any(|node| node.has_tag_name("cell"));
    Ok(Truth {
        // Cells without boxes say nothing of where a table is.
        boxes: is_placed.then_some(Boxes { of: Unit::Table, places }),
        tables: is_structure.then_some(Tables { tables, has_headers: false }),
        frame: Frame::BottomLeft,
        ..Truth::default()
    })
}

fn parsed(content: &str) -> Result<Document<'_>, Flaw> {
    Document::parse(content).map_err(|error| Flaw::at(error.pos().row as usize, error.to_string()))
}

fn flaw(node: Node<'_, '_>, message: impl Into<String>) -> Flaw {
    Flaw::at(node.document().text_pos_at(node.range().start).row as usize, message)
}

fn children<'a, 'b>(node: Node<'a, 'b>, name: &'static str) -> impl Iterator<Item = Node<'a, 'b>> {
    node.children().filter(move |child| child.has_tag_name(name))
}

fn number(node: Node<'_, '_>, name: &str) -> Result<Option<f32>, Flaw> {
    let Some(text) = node.attribute(name) else { return Ok(None) };
    let number = text.trim().parse::<f32>().ok().filter(|number| number.is_finite());
    number.map(Some).ok_or_else(|| flaw(node, format!("`{name}` is {text:?}, and no number")))
}

fn whole(node: Node<'_, '_>, name: &str, number: f32) -> Result<u32, Flaw> {
    let is_whole = number >= 0.0 && number.fract() == 0.0 && number <= MAX_SIDE as f32;
    if is_whole { Ok(number as u32) } else { Err(flaw(node, format!("`{name}` is {number}"))) }
}

/// Upper and lower edges as in the file: y grows upwards, so `top` is the smaller number until the page is known.
fn bbox(node: Node<'_, '_>) -> Result<Bbox, Flaw> {
    let side = |name| number(node, name)?.ok_or_else(|| flaw(node, format!("a bounding box has no `{name}`")));
    let (x1, y1, x2, y2) = (side("x1")?, side("y1")?, side("x2")?, side("y2")?);
    Ok(Bbox { left: x1.min(x2), top: y1.min(y2), right: x1.max(x2), bottom: y1.max(y2) })
}

fn cell(node: Node<'_, '_>) -> Result<(Cell, Option<Bbox>), Flaw> {
    let index = |name: &str| -> Result<Option<u32>, Flaw> {
        number(node, name)?.map(|number| whole(node, name, number)).transpose()
    };
    let start = |name: &str| index(name)?.ok_or_else(|| flaw(node, format!("a cell has no `{name}`")));
    let (row, column) = (start("start-row")?, start("start-col")?);
    let (last_row, last_column) = (index("end-row")?.unwrap_or(row), index("end-col")?.unwrap_or(column));
    if last_row < row || last_column < column {
        return Err(flaw(node, "a cell ends before it starts"));
    }
    let text = children(node, "content").filter_map(|content| content.text()).collect();
    let cell = Cell {
        row_index: row,
        column_index: column,
        row_span: last_row - row + 1,
        column_span: last_column - column + 1,
        header: false,
        row_header: false,
        text,
        prov: None,
    };
    Ok((cell, children(node, "bounding-box").next().map(bbox).transpose()?))
}

/// The grid of a region: rows and columns are counted from the first that it uses.
fn table(region: Node<'_, '_>, cells: Vec<(Cell, Option<Bbox>)>) -> Result<Table, Flaw> {
    let mut cells: Vec<Cell> = cells.into_iter().map(|(cell, _)| cell).collect();
    let first_row = cells.iter().map(|cell| cell.row_index).min().unwrap_or(0);
    let first_column = cells.iter().map(|cell| cell.column_index).min().unwrap_or(0);
    for cell in &mut cells {
        cell.row_index -= first_row;
        cell.column_index -= first_column;
    }
    cells.sort_by_key(|cell| (cell.row_index, cell.column_index));
    let rows = cells.iter().map(|cell| cell.row_index + cell.row_span).max().unwrap_or(0);
    let columns = cells.iter().map(|cell| cell.column_index + cell.column_span).max().unwrap_or(0);
    if rows > MAX_SIDE || columns > MAX_SIDE {
        return Err(flaw(region, format!("a table of {rows} × {columns}")));
    }
    Ok(Table { rows, columns, cells })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRUCTURE: &str = "<?xml version='1.0' encoding='UTF-8'?>
<document filename='us-001.pdf'>
  <table id='1'>
    <region id='1' page='2' col-increment='0' row-increment='0'>
      <cell id='1' start-row='1' start-col='0' end-row='1' end-col='1'>
        <bounding-box x1='10' y1='90' x2='50' y2='99'/><content>Year &amp; name</content>
        <instruction instr-id='1' subinstr-id='0'/>
      </cell>
      <cell id='2' start-row='2' start-col='0'><bounding-box x1='10' y1='80' x2='20' y2='89'/><content>a</content></cell>
      <cell id='3' start-row='2' start-col='1'><bounding-box x1='30' y1='80' x2='50' y2='89'/><content>b</content></cell>
    </region>
  </table>
</document>";

    #[test]
    fn cells_become_a_grid() {
        let truth = read(STRUCTURE).unwrap();
        let tables = truth.tables.unwrap();
        let table = tables.tables[0].table.clone().unwrap();
        assert_eq!((table.rows, table.columns, tables.tables[0].page_no), (2, 2, Some(2)));
        let cells: Vec<_> = table.cells.iter().map(|it| (it.row_index, it.column_span, it.text.as_str())).collect();
        assert_eq!(cells, [(0, 2, "Year & name"), (1, 1, "a"), (1, 1, "b")]);
        let boxes = truth.boxes.unwrap();
        assert_eq!(boxes.places[0].bbox, Bbox { left: 10.0, top: 80.0, right: 50.0, bottom: 99.0 });
    }

    #[test]
    fn regions_are_boxes_only() {
        let regions = "<document filename='a.pdf'><table id='1'><region id='1' page='1'>
            <bounding-box x1='70' y1='700' x2='500' y2='400'/></region></table></document>";
        let truth = read(regions).unwrap();
        assert_eq!(truth.tables, None);
        assert_eq!(truth.boxes.unwrap().places[0].bbox, Bbox { left: 70.0, top: 400.0, right: 500.0, bottom: 700.0 });
    }

    #[test]
    fn cells_without_boxes_make_a_table_without_a_place() {
        let bare = STRUCTURE.replace("<bounding-box", "<somewhere");
        let truth = read(&bare).unwrap();
        assert_eq!((truth.boxes, truth.tables.unwrap().tables[0].place), (None, None));
    }

    #[test]
    fn nonsense_is_told_by_its_line() {
        for (from, to, line) in [
            ("end-row='1'", "end-row='0'", 5),
            ("start-col='1'", "", 10),
            ("x2='20'", "x2='wide'", 9),
            ("page='2'", "", 4),
            ("end-col='1'", "end-col='100000'", 5),
        ] {
            assert_eq!(read(&STRUCTURE.replacen(from, to, 1)).unwrap_err().line, Some(line), "{to}");
        }
    }
}
