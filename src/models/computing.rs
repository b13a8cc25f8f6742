//! Work that computes for longer than an async task should, and the processor time that it takes.

use std::time::Duration;

use deckle_contract::error::{Failure, Result};

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
    async fn a_panic_is_a_defect() {
        let failure = compute(|| panic!("on purpose")).await.unwrap_err();
        assert!(matches!(failure, Failure::Defect { .. }), "{failure}");
    }
}
