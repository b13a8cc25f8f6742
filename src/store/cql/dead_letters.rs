//! Dead letters: written once, listed by filter, and taken through their states by compare-and-set.
//!
//! The law: the rows that lead to a letter are written before it, and taken away after it. So an erasure finds every
//! letter that is there, and a letter written while its run is erased finds the erasure.

use futures::{StreamExt, TryStreamExt, stream::BoxStream, try_join};

use super::{
    super::{
        Claim, Claimed, DeadLetterFilter, DeadLetterKey, DeadLetterListing, DeadLetterRow, DeadLetterState,
        DocumentKey, FailedRecord, ListedDeadLetter,
        json::{decode, encode},
        token,
    },
    read::gone,
    session::{PAGE, Session},
    values::delete_timestamp,
};
use deckle_contract::error::Result;

/// Letters read or deleted at once.
const AT_ONCE: usize = 32;

/// What one partition of `letters_by_time` covers: thirty days, µs. Part of the schema: never changed.
const PERIOD: i64 = 30 * 24 * 3_600_000_000;

fn period(failed_at: i64) -> i32 {
    // 5,000 years fit.
    i32::try_from(failed_at.div_euclid(PERIOD)).unwrap_or(i32::MAX)
}

fn document_of(letter: &DeadLetterRow) -> DocumentKey {
    DocumentKey { tenant: letter.key.tenant.clone(), document_id: letter.document_id.clone() }
}

/// Writes a letter and its record, unless it is there already or its run was erased.
pub(super) async fn put_dead_letter(session: &Session, letter: &DeadLetterRow, record: &FailedRecord) -> Result<()> {
    let document = document_of(letter);
    if !gone(session, &document).await?.erases(letter.run) {
        insert(session, letter, record).await?;
        // An erasure that did not find the letter's rows above was there before them, and is seen now.
        if !gone(session, &document).await?.erases(letter.run) {
            return Ok(());
        }
    }
    delete(session, &letter.key, letter.failed_at).await
}

async fn insert(session: &Session, letter: &DeadLetterRow, record: &FailedRecord) -> Result<()> {
    let DeadLetterRow { key: DeadLetterKey { tenant, letter_id }, failed_at, .. } = letter;
    let period = period(*failed_at);
    try_join!(
        session.write(
            "INSERT INTO letter_periods (part, tenant, period) VALUES (0, ?, ?) USING TIMESTAMP 1",
            (tenant, period)
        ),
        session.write(
            "INSERT INTO letters_by_time (tenant, period, failed_at, letter_id, document_id, stage, kind, code)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?",
            (
                tenant,
                period,
                failed_at,
                letter_id,
                &letter.document_id,
                &letter.stage,
                &letter.kind,
                &letter.reason.code,
                failed_at
            )
        ),
        session.write(
            "INSERT INTO letters_by_document (tenant, document_id, run, letter_id, failed_at) VALUES (?, ?, ?, ?, ?)
             USING TIMESTAMP ?",
            (tenant, &letter.document_id, letter.run, letter_id, failed_at, failed_at)
        ),
    )?;
    let insert = "INSERT INTO letters (tenant, letter_id, letter, headers, value, state) VALUES (?, ?, ?, ?, ?, 'open')
                  IF NOT EXISTS";
    let values = (tenant, letter_id, encode(letter)?, encode(&record.headers)?, &record.value);
    session.compare_and_set(insert, values).await.map(drop)
}

/// Takes a letter away, then the row of the listing that leads to it.
async fn delete(session: &Session, key: &DeadLetterKey, failed_at: i64) -> Result<()> {
    let DeadLetterKey { tenant, letter_id } = key;
    session
        .compare_and_set("DELETE FROM letters WHERE tenant = ? AND letter_id = ? IF EXISTS", (tenant, letter_id))
        .await?;
    delete_entry(session, key, failed_at).await
}

/// Deletes what leads to a letter by its time.
async fn delete_entry(
    session: &Session,
    DeadLetterKey { tenant, letter_id }: &DeadLetterKey,
    failed_at: i64,
) -> Result<()> {
    let delete = "DELETE FROM letters_by_time USING TIMESTAMP ?
                  WHERE tenant = ? AND period = ? AND failed_at = ? AND letter_id = ?";
    session.write(delete, (delete_timestamp(), tenant, period(failed_at), failed_at, letter_id)).await
}

/// Deletes a letter that was redriven or dropped: the letter first, so that one whose entries stay leads to nothing.
pub(super) async fn remove_settled(session: &Session, letter: &DeadLetterRow) -> Result<()> {
    let DeadLetterRow { key, document_id, run, failed_at, .. } = letter;
    let DeadLetterKey { tenant, letter_id } = key;
    let settled = "DELETE FROM letters WHERE tenant = ? AND letter_id = ? IF state IN ('redriven', 'dropped')";
    session.compare_and_set(settled, (tenant, letter_id)).await?;
    // Gone by now, by this call or one whose answer was lost; or open again, which never happens.
    if state(session, key).await?.is_some() {
        return Ok(());
    }
    let by_document = "DELETE FROM letters_by_document USING TIMESTAMP ?
                       WHERE tenant = ? AND document_id = ? AND run = ? AND letter_id = ?";
    session.write(by_document, (delete_timestamp(), tenant, document_id, run, letter_id)).await?;
    delete_entry(session, key, *failed_at).await
}

/// Deletes the letters of a document's runs up to and with `last`, which the header hides already.
pub(super) async fn erase_letters(session: &Session, document: &DocumentKey, last: i64) -> Result<()> {
    let DocumentKey { tenant, document_id } = document;
    let select = "SELECT letter_id, failed_at FROM letters_by_document
                  WHERE tenant = ? AND document_id = ? AND run <= ?";
    session
        .stream::<(String, i64), _>(select, (tenant, document_id, last), PAGE)
        .try_for_each_concurrent(AT_ONCE, |(letter_id, failed_at)| async move {
            let key = DeadLetterKey { tenant: tenant.clone(), letter_id };
            delete(session, &key, failed_at).await
        })
        .await?;
    let delete = "DELETE FROM letters_by_document USING TIMESTAMP ?
                  WHERE tenant = ? AND document_id = ? AND run <= ?";
    session.write(delete, (delete_timestamp(), tenant, document_id, last)).await
}

/// A letter's record.
pub(super) async fn failed_record(session: &Session, key: &DeadLetterKey) -> Result<Option<FailedRecord>> {
    let select = "SELECT headers, value FROM letters WHERE tenant = ? AND letter_id = ?";
    let found = session.read_one::<(String, Vec<u8>)>(select, (&key.tenant, &key.letter_id)).await?;
    found.map(|(headers, value)| Ok(FailedRecord { headers: decode(&headers)?, value: value.into() })).transpose()
}

/// Letters after the token, by tenant, time of failure and id.
pub(super) async fn list(session: &Session, filter: &DeadLetterFilter) -> Result<DeadLetterListing> {
    let limit = token::limit(filter.limit);
    let after = filter.after.as_deref().map(token::to_letter).transpose()?;
    let mut letters = Vec::new();
    let mut periods = periods(session, filter, after.as_ref());
    'full: while let Some((tenant, period)) = periods.try_next().await? {
        let behind = after.as_ref().filter(|after| after.tenant == tenant);
        let mut found = letters_of(session, filter, tenant, period, behind);
        while let Some(row) = found.try_next().await? {
            letters.push(row);
            if letters.len() > limit {
                break 'full;
            }
        }
    }
    let next = (letters.len() > limit).then(|| {
        letters.truncate(limit);
        letters.last().map(|row: &ListedDeadLetter| token::of_letter(&row.letter))
    });
    Ok(DeadLetterListing { letters, next: next.flatten() })
}

/// The partitions that may hold letters of a filter, in order.
fn periods<'a>(
    session: &'a Session,
    filter: &DeadLetterFilter,
    after: Option<&token::LetterPlace>,
) -> BoxStream<'a, Result<(String, i32)>> {
    let first = filter.since.map_or(i32::MIN, period);
    let last = filter.until.map_or(i32::MAX, period);
    let from = after.map(|after| (after.tenant.clone(), period(after.failed_at)));
    let all = match &filter.tenant {
        Some(tenant) => session
            .stream("SELECT tenant, period FROM letter_periods WHERE part = 0 AND tenant = ?", (tenant.clone(),), PAGE)
            .boxed(),
        None => session
            .stream(
                "SELECT tenant, period FROM letter_periods WHERE part = 0 AND tenant >= ?",
                (from.clone().map(|(tenant, _)| tenant).unwrap_or_default(),),
                PAGE,
            )
            .boxed(),
    };
    all.try_filter(move |at: &(String, i32)| {
        let holds = (first..=last).contains(&at.1) && from.as_ref().is_none_or(|from| at >= from);
        async move { holds }
    })
    .boxed()
}

/// The letters of a filter in one partition, in order.
fn letters_of<'a>(
    session: &'a Session,
    filter: &'a DeadLetterFilter,
    tenant: String,
    period: i32,
    behind: Option<&token::LetterPlace>,
) -> BoxStream<'a, Result<ListedDeadLetter>> {
    let since = filter.since.unwrap_or(i64::MIN);
    // No id is empty, so that what is behind it at this time is all of this time.
    let from = behind.map_or((since, ""), |place| (place.failed_at, place.letter_id.as_str())).max((since, ""));
    let select = "SELECT letter_id, document_id, stage, kind, code FROM letters_by_time
                  WHERE tenant = ? AND period = ? AND (failed_at, letter_id) > (?, ?) AND (failed_at) < (?)";
    let until = filter.until.unwrap_or(i64::MAX);
    let values = (tenant.clone(), period, from.0, from.1.to_owned(), until);
    session
        .stream::<Entry, _>(select, values, PAGE)
        .try_filter(move |entry| {
            let holds = admits(filter, entry);
            async move { holds }
        })
        .map_ok(move |(letter_id, ..)| letter(session, DeadLetterKey { tenant: tenant.clone(), letter_id }))
        .try_buffered(AT_ONCE)
        .try_filter_map(move |row| async move {
            Ok(row.filter(|row| filter.states.is_empty() || filter.states.contains(&row.state.name())))
        })
        .boxed()
}

/// A row of `letters_by_time`: id, document, stage, kind and code.
type Entry = (String, String, String, String, String);

/// Whether a filter wants a letter, by the columns that its entry has.
fn admits(filter: &DeadLetterFilter, (letter_id, document_id, stage, kind, code): &Entry) -> bool {
    let starts = |start: &Option<String>, text: &str| start.as_ref().is_none_or(|start| text.starts_with(start));
    let is = |wanted: &Option<String>, text: &str| wanted.as_ref().is_none_or(|wanted| wanted == text);
    starts(&filter.letter_id, letter_id)
        && starts(&filter.document_id, document_id)
        && is(&filter.stage, stage)
        && is(&filter.kind, kind)
        && is(&filter.code, code)
}

/// A letter; `None` where its entry was written and it was not, or is no more.
async fn letter(session: &Session, key: DeadLetterKey) -> Result<Option<ListedDeadLetter>> {
    let select = "SELECT letter, state, version, state_at FROM letters WHERE tenant = ? AND letter_id = ?";
    type Row = (String, String, Option<i64>, Option<i64>);
    let found = session.read_one::<Row>(select, (&key.tenant, &key.letter_id)).await?;
    let row = |(letter, state, version, at): Row| {
        Ok(ListedDeadLetter { letter: decode(&letter)?, state: DeadLetterState::of_columns(&state, version, at)? })
    };
    found.map(row).transpose()
}

/// Claims an open letter, or takes over a claim that ran out, with the version it has. The same claim again is ours.
pub(super) async fn claim_redrive(session: &Session, key: &DeadLetterKey, claim: Claim) -> Result<Claimed> {
    let DeadLetterKey { tenant, letter_id } = key;
    let id = claim.id.to_string();
    let open = "UPDATE letters SET state = 'redriving', version = ?, state_at = ?, claim_id = ?
                WHERE tenant = ? AND letter_id = ? IF state = 'open'";
    if session.compare_and_set(open, (claim.version, claim.until, &id, tenant, letter_id)).await? {
        return Ok(Claimed::Ours { version: claim.version });
    }
    // It may have been set by a request whose answer was lost, and that was made again.
    match claimed(session, key, &id).await? {
        Claimed::Not(Some(DeadLetterState::Redriving { until, .. })) if until < claim.now => {
            let given_up = "UPDATE letters SET state_at = ?, claim_id = ? WHERE tenant = ? AND letter_id = ?
                            IF state = 'redriving' AND state_at = ?";
            session.compare_and_set(given_up, (claim.until, &id, tenant, letter_id, until)).await?;
            claimed(session, key, &id).await
        }
        other => Ok(other),
    }
}

/// Whether the claim of this id holds.
async fn claimed(session: &Session, key: &DeadLetterKey, id: &str) -> Result<Claimed> {
    let select = "SELECT claim_id, state, version, state_at FROM letters WHERE tenant = ? AND letter_id = ?";
    type Row = (Option<String>, String, Option<i64>, Option<i64>);
    let Some((claim_id, state, version, at)) =
        session.read_serial::<Row>(select, (&key.tenant, &key.letter_id)).await?
    else {
        return Ok(Claimed::Not(None));
    };
    match DeadLetterState::of_columns(&state, version, at)? {
        DeadLetterState::Redriving { version, .. } if claim_id.as_deref() == Some(id) => Ok(Claimed::Ours { version }),
        state => Ok(Claimed::Not(Some(state))),
    }
}

/// Says that the record of a claimed letter is in its topic.
pub(super) async fn confirm_redrive(session: &Session, key: &DeadLetterKey, at: i64) -> Result<()> {
    let confirm = "UPDATE letters SET state = 'redriven', state_at = ? WHERE tenant = ? AND letter_id = ?
                   IF state = 'redriving'";
    session.compare_and_set(confirm, (at, &key.tenant, &key.letter_id)).await.map(drop)
}

/// Drops an open letter; returns its state from then on.
pub(super) async fn drop_dead_letter(
    session: &Session,
    key: &DeadLetterKey,
    at: i64,
) -> Result<Option<DeadLetterState>> {
    let discard = "UPDATE letters SET state = 'dropped', state_at = ? WHERE tenant = ? AND letter_id = ?
                   IF state = 'open'";
    session.compare_and_set(discard, (at, &key.tenant, &key.letter_id)).await?;
    state(session, key).await
}

async fn state(session: &Session, key: &DeadLetterKey) -> Result<Option<DeadLetterState>> {
    let select = "SELECT state, version, state_at FROM letters WHERE tenant = ? AND letter_id = ?";
    type Row = (String, Option<i64>, Option<i64>);
    let found = session.read_serial::<Row>(select, (&key.tenant, &key.letter_id)).await?;
    found.map(|(state, version, at)| DeadLetterState::of_columns(&state, version, at)).transpose()
}
