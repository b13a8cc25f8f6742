//! Figures and fields of a run: written whole, a version at a time.
//!
//! The law: what is there is of one version, the newest that was written. A version writes its rows and deletes what
//! an older one had more, all at its timestamp, in whatever order that arrives.

use futures::try_join;

use super::{
    super::{
        DocumentKey, RunKey,
        json::{decoded, encode},
    },
    session::Session,
    values::number,
};
use deckle_contract::{
    document::{Bbox, Field, Figure, Locator, Method},
    error::{Failure, Result},
};

/// Bytes of a row beside its texts.
const ROW_OVERHEAD: usize = 192;

/// Writes all figures of a run.
pub(super) async fn put_figures(session: &Session, run: &RunKey, version: i64, figures: &[Figure]) -> Result<()> {
    let RunKey { document: DocumentKey { tenant, document_id }, run } = run;
    let insert = "INSERT INTO figures (tenant, document_id, run, figure_no, kind, page_no, bbox, caption, figure)
                  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?";
    let row = |figure: &Figure| {
        let (page_no, bbox) = place(figure.prov.first())?;
        let (kind, caption) = (figure.kind.as_str(), figure.caption.clone());
        let figure_no = number(figure.figure_no)?;
        Ok((tenant, document_id, *run, figure_no, kind, page_no, bbox, caption, encode(figure)?, version))
    };
    let rows = figures.iter().map(row).collect::<Result<Vec<_>>>()?;
    let delete = "DELETE FROM figures USING TIMESTAMP ?
                  WHERE tenant = ? AND document_id = ? AND run = ? AND figure_no >= ?";
    try_join!(
        session.write_all(insert, &rows, |(.., caption, figure, _)| {
            caption.as_ref().map_or(0, String::len) + figure.len() + ROW_OVERHEAD
        }),
        session.write(delete, (version, tenant, document_id, run, count(figures.len())?)),
    )?;
    Ok(())
}

/// Writes all fields of a run.
pub(super) async fn put_fields(session: &Session, run: &RunKey, version: i64, fields: &[Field]) -> Result<()> {
    let RunKey { document: DocumentKey { tenant, document_id }, run } = run;
    let insert = "INSERT INTO fields (tenant, document_id, run, field_no, name, value, page_no, bbox, method,
                  confidence, field) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?";
    let row = |field: &Field| {
        let (page_no, bbox) = place(field.prov.as_ref())?;
        let (field_no, method) = (number(field.field_no)?, method(field.method));
        let (name, value, confidence) = (field.name.clone(), field.value.clone(), field.confidence);
        let json = encode(field)?;
        Ok((tenant, document_id, *run, field_no, name, value, page_no, bbox, method, confidence, json, version))
    };
    let rows = fields.iter().map(row).collect::<Result<Vec<_>>>()?;
    let delete = "DELETE FROM fields USING TIMESTAMP ?
                  WHERE tenant = ? AND document_id = ? AND run = ? AND field_no >= ?";
    try_join!(
        session.write_all(insert, &rows, |(_, _, _, _, name, value, .., json, _)| {
            name.len() + value.len() + json.len() + ROW_OVERHEAD
        }),
        session.write(delete, (version, tenant, document_id, run, count(fields.len())?)),
    )?;
    Ok(())
}

/// The first `figure_count` figures of a run.
pub(super) async fn figures(session: &Session, key: &DocumentKey, run: i64, figure_count: u32) -> Result<Vec<Figure>> {
    let select = "SELECT figure FROM figures WHERE tenant = ? AND document_id = ? AND run = ? AND figure_no < ?";
    decoded(session.read(select, (&key.tenant, &key.document_id, run, number(figure_count)?)).await?)
}

/// The first `field_count` fields of a run.
pub(super) async fn fields(session: &Session, key: &DocumentKey, run: i64, field_count: u32) -> Result<Vec<Field>> {
    let select = "SELECT field FROM fields WHERE tenant = ? AND document_id = ? AND run = ? AND field_no < ?";
    decoded(session.read(select, (&key.tenant, &key.document_id, run, number(field_count)?)).await?)
}

/// Page and box (left, top, right, bottom), for people and for analytics.
type Place = (Option<i32>, Option<(f32, f32, f32, f32)>);

fn place(at: Option<&Locator>) -> Result<Place> {
    let page_no = at.and_then(|at| at.page_no).map(number).transpose()?;
    let bbox = at.and_then(|at| at.bbox).map(|Bbox { left, top, right, bottom }| (left, top, right, bottom));
    Ok((page_no, bbox))
}

fn method(method: Method) -> &'static str {
    match method {
        Method::TextLayer => "text_layer",
        Method::Ocr => "ocr",
        Method::Model => "model",
    }
}

fn count(rows: usize) -> Result<i32> {
    i32::try_from(rows).map_err(|_| Failure::defect("scylla: more than 2^31 rows of a run"))
}
