//! Killing commands at random moments, for the tests and `benches/reliability.rs`.

use std::process::Command;
use std::time::{Duration, Instant};

/// A small generator, good enough to choose moments (xorshift).
pub struct Chance(u64);

impl Chance {
    /// The same seed gives the same numbers; zero would give nothing else, and stands for one.
    pub fn new(seed: u64) -> Chance {
        Chance(seed.max(1))
    }

    /// A number below a bound.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound.max(1)
    }
}

/// Kills a command after that long; its exit code when it had ended before.
pub fn killed(command: &mut Command, after: Duration) -> Option<i32> {
    let mut child = command.spawn().expect("the program starts");
    let begun = Instant::now();
    while begun.elapsed() < after {
        if let Some(status) = child.try_wait().expect("it can be waited for") {
            return status.code();
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    let _ = child.kill();
    // It may have ended in the same moment.
    child.wait().expect("it can be waited for").code()
}
