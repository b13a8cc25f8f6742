//! Counts the steps that code takes, so that a test can tell how work grows with its input without a clock.
//!
//! A step is a branch of the room under test: the compiler calls [`__sanitizer_cov_trace_pc`] at each of them in the
//! build that `tests/growth.py` makes, also in the parts of the standard library that are compiled into the room. Memory
//! that is asked for counts too, so that copying shows. The same input makes the same steps on every machine, or nearly
//! so: hash maps are seeded anew each time. What other libraries do within themselves is not counted.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// The most steps at four times the input, as a multiple of those at once the input. Sorting makes 4.8 of it at the
/// sizes used here; a loop in a loop makes 16.
const MOST: f64 = 5.0;

/// So many bytes are about as dear to copy as a branch is to take.
const BYTES_A_STEP: u64 = 16;

static STEPS: AtomicU64 = AtomicU64::new(0);

/// What the compiler calls at each branch; by its name it is left out itself.
#[unsafe(no_mangle)]
extern "C" fn __sanitizer_cov_trace_pc() {
    STEPS.fetch_add(1, Relaxed);
}

struct Counted;

// SAFETY: all is left to the system's allocator.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        STEPS.fetch_add(layout.size() as u64 / BYTES_A_STEP, Relaxed);
        // SAFETY: the caller's promise is handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is handed on, and what was given came from the system's allocator.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counted = Counted;

/// The steps of one run.
pub(crate) fn count<I, O>(input: I, run: &impl Fn(&mut I) -> O) -> u64 {
    static ALONE: Mutex<()> = Mutex::new(());
    let mut input = input;
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let before = STEPS.load(Relaxed);
    let output = run(&mut input);
    let steps = STEPS.load(Relaxed) - before;
    drop(output);
    steps
}

/// Runs `run` on each shape at its size and at four times of it, and fails for those whose steps grow faster.
pub(crate) fn assert_even<I, O>(shapes: &[(&str, usize, &dyn Fn(usize) -> I)], run: impl Fn(&mut I) -> O) {
    let mut wrong = Vec::new();
    for (name, size, make) in shapes {
        let (once, four_times) = (count(make(*size), &run), count(make(size * 4), &run));
        assert!(
            once > *size as u64,
            "{name}: {once} steps for {size} things: built without counting, or nothing was done"
        );
        let growth = four_times as f64 / once as f64;
        if growth > MOST {
            wrong.push(format!("{name}: {once} steps at {size}, {growth:.2} times that at {}", size * 4));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
