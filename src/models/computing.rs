//! Work that computes for longer than an async task should, and the processor time that it takes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use deckle_contract::{
    checkpoint::Checkpoint,
    error::{Failure, Result, code},
};

/// Runs a closure off the async threads; returns with its answer the processor time it took, in microseconds.
///
/// # Errors
/// A defect when it panics.
pub async fn compute<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<(T, i64)> {
    tokio::task::spawn_blocking(move || {
        let before = thread_cpu();
        let value = work();
        (value, micros(thread_cpu().saturating_sub(before)))
    })
    .await
    .map_err(|error| Failure::defect(format!("a computation did not end: {error}")))
}

/// Like [`compute`], for work that asks a checkpoint between its steps. It ends when it has used this much processor
/// time, and soon after nobody waits for it any more.
///
/// # Errors
/// `limit.time` (`setting` names the limit in the message), what the work says, or a defect when it panics.
pub async fn compute_within<T: Send + 'static>(
    limit: Duration,
    setting: &'static str,
    work: impl FnOnce(Checkpoint<'_>) -> Result<T> + Send + 'static,
) -> Result<(T, i64)> {
    let abandoned = Abandoned::default();
    let seen = Arc::clone(&abandoned.0);
    let (done, cpu_us) = compute(move || {
        let before = thread_cpu();
        work(Checkpoint::new(&|| {
            if seen.load(Ordering::Relaxed) {
                return Err(Failure::transient("nobody waits for this computation any more"));
            }
            if thread_cpu().saturating_sub(before) > limit {
                let message = format!("took more than {} s of processor time (`{setting}`)", limit.as_secs());
                return Err(Failure::rejected(code::LIMIT_TIME, message));
            }
            Ok(())
        }))
    })
    .await?;
    Ok((done?, cpu_us))
}

/// Set when whoever waited for a computation is gone.
#[derive(Default)]
struct Abandoned(Arc<AtomicBool>);

impl Drop for Abandoned {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Processor time of the calling thread.
pub fn thread_cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one timespec, and the pointer is to one.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) } != 0;
    let (Ok(seconds), Ok(nanos)) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec)) else {
        return Duration::ZERO;
    };
    if failed { Duration::ZERO } else { Duration::new(seconds, nanos) }
}

/// A time as it stands in trails: whole microseconds.
pub fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn work_is_metered_and_sleep_is_not() {
        let (value, busy_us) = compute(|| {
            let started = Instant::now();
            let mut rounds = 0_u64;
            while thread_cpu() < Duration::from_millis(30) && started.elapsed() < Duration::from_secs(20) {
                rounds += 1;
            }
            rounds
        })
        .await
        .unwrap();
        assert!(value > 0 && busy_us >= 10_000, "{busy_us}");
        let ((), asleep_us) = compute(|| std::thread::park_timeout(Duration::from_millis(60))).await.unwrap();
        assert!(asleep_us < 30_000, "{asleep_us}");
    }

    #[tokio::test]
    async fn work_ends_at_its_limit_and_when_nobody_waits() {
        let endless = |checkpoint: Checkpoint<'_>| -> Result<()> {
            loop {
                checkpoint.pass()?;
            }
        };
        let failure = compute_within(Duration::from_millis(20), "some.setting", endless).await.unwrap_err();
        assert_eq!(failure.code(), code::LIMIT_TIME);
        assert!(failure.to_string().contains("some.setting"), "{failure}");

        let (ended, mut is_over) = tokio::sync::mpsc::channel(1);
        let abandoned = compute_within(Duration::from_secs(600), "some.setting", move |checkpoint| {
            let end = endless(checkpoint);
            ended.blocking_send(end.is_err()).unwrap();
            end
        });
        assert!(tokio::time::timeout(Duration::from_millis(50), abandoned).await.is_err());
        let is_over = tokio::time::timeout(Duration::from_secs(30), is_over.recv()).await;
        assert_eq!(is_over.expect("it goes on although nobody waits"), Some(true));
    }

    #[tokio::test]
    async fn a_panic_is_a_defect() {
        let failure = compute(|| panic!("on purpose")).await.unwrap_err();
        assert!(matches!(failure, Failure::Defect { .. }), "{failure}");
    }
}
