//! SIGTERM and Ctrl-C, for commands that have something to finish or to report when they are stopped.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Hears SIGTERM and Ctrl-C from the moment it is made; until then either ends the process at once.
///
/// Make it right before the work that is watched: whoever holds one must wait for [`StopSignals::next`] beside all that
/// takes long, or Ctrl-C does nothing.
#[derive(Debug)]
pub(super) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// # Errors
    /// The operating system's, where no handler can be set.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Ends at the next signal, or at once if one came since the last.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
