//! Faults that a node injects into itself, for `chaos`.
//!
//! Nothing is injected unless [`Injection::take`] is called, which only a node does that `chaos` has
//! started: `cli/launcher.rs`. What is injected is bounded: one panic or one bad gradient an order,
//! and a disk is well again after [`MAX_SECONDS`] at most.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::str::FromStr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Longest time for which a disk is full or slow, in seconds.
pub const MAX_SECONDS: u64 = 600;
/// Longest time that one write to a slow disk takes, in milliseconds.
pub const MAX_SLOW_MILLIS: u64 = 10_000;
/// Most workers of a node that can be named.
const MAX_WORKER: usize = 1023;

/// What a node is told to do to itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// `panic W`, `nan W`: at the next step of worker W, from 0.
    Worker(usize, WorkerFault),
    /// `disk full S`: every write fails for want of room, for so long.
    DiskFull(Duration),
    /// `disk slow S MS`: for so long, every write takes so much longer.
    DiskSlow(Duration, Duration),
}

/// A fault of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerFault {
    /// It panics.
    Panic,
    /// All its gradients are NaN, in one step.
    NanGradient,
}

/// An order that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no fault that a node can inject")]
pub struct NoOrder(String);

impl FromStr for Order {
    type Err = NoOrder;

    fn from_str(text: &str) -> Result<Self, NoOrder> {
        let none = || NoOrder(String::from(text));
        let number = |word: &str, most: u64| {
            let number = word.parse::<u64>().ok();
            number.filter(|number| *number <= most).ok_or_else(none)
        };
        let worker = |word: &str| number(word, MAX_WORKER as u64).map(|worker| worker as usize);
        let seconds = |word: &str| number(word, MAX_SECONDS).map(Duration::from_secs);
        match text.split(' ').collect::<Vec<_>>()[..] {
            ["panic", which] => Ok(Self::Worker(worker(which)?, WorkerFault::Panic)),
            ["nan", which] => Ok(Self::Worker(worker(which)?, WorkerFault::NanGradient)),
            ["disk", "full", long] => Ok(Self::DiskFull(seconds(long)?)),
            ["disk", "slow", long, each] => {
                let each = Duration::from_millis(number(each, MAX_SLOW_MILLIS)?);
                Ok(Self::DiskSlow(seconds(long)?, each))
            }
            _ => Err(none()),
        }
    }
}

/// The faults that a node has been told to inject, and the pace that it has to keep.
#[derive(Debug, Default)]
pub struct Injection {
    /// Shortest time of a worker's step, in milliseconds.
    pace: AtomicU64,
    /// How far the clock is ahead, in milliseconds.
    ahead: AtomicI64,
    workers: Mutex<BTreeMap<usize, WorkerFault>>,
    disk: Disk,
}

impl Injection {
    /// From now on no worker begins a step sooner than `pace` after the one before.
    pub fn slow_down(&self, pace: Duration) {
        let millis = u64::try_from(pace.as_millis()).unwrap_or(u64::MAX);
        self.pace.store(millis, Ordering::Relaxed);
    }

    /// From now on the node's clock is so many milliseconds ahead of that of the machine.
    pub fn set_clock_ahead(&self, millis: i64) {
        self.ahead.store(millis, Ordering::Relaxed);
    }

    /// The time, by the node's clock; never before 1970.
    pub fn now(&self) -> SystemTime {
        let ahead = self.ahead.load(Ordering::Relaxed);
        let shift = Duration::from_millis(ahead.unsigned_abs());
        let now = SystemTime::now();
        let shifted = match ahead < 0 {
            true => now.checked_sub(shift),
            false => now.checked_add(shift),
        };
        shifted.map_or(UNIX_EPOCH, |shifted| shifted.max(UNIX_EPOCH))
    }

    /// Takes an order.
    pub fn take(&self, order: Order) {
        match order {
            Order::Worker(worker, fault) => {
                lock(&self.workers).insert(worker, fault);
            }
            Order::DiskFull(long) => self.disk.set_fault(long, DiskFault::Full),
            Order::DiskSlow(long, each) => self.disk.set_fault(long, DiskFault::Slow(each)),
        }
    }

    /// The fault of a worker in the step that it begins, once.
    pub fn fault_of(&self, worker: usize) -> Option<WorkerFault> {
        lock(&self.workers).remove(&worker)
    }

    /// Waits until the next step may begin, if the one before began at `last`.
    pub fn wait_for_pace(&self, last: Instant) {
        let pace = Duration::from_millis(self.pace.load(Ordering::Relaxed));
        if let Some(rest) = pace.checked_sub(last.elapsed()) {
            thread::sleep(rest);
        }
    }

    /// The disk that the node writes to.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }
}

/// Whether writes to the disk go well. Clones are of the same disk.
#[derive(Debug, Clone, Default)]
pub struct Disk(Arc<Mutex<Option<Faulty>>>);

#[derive(Debug, Clone, Copy)]
struct Faulty {
    until: Instant,
    how: DiskFault,
}

#[derive(Debug, Clone, Copy)]
enum DiskFault {
    Full,
    Slow(Duration),
}

impl Disk {
    fn set_fault(&self, long: Duration, how: DiskFault) {
        let until = Instant::now() + long;
        *lock(&self.0) = Some(Faulty { until, how });
    }

    /// Call it before every write.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::StorageFull`] while it is full.
    pub fn before_write(&self) -> io::Result<()> {
        let ail = {
            let mut ail = lock(&self.0);
            *ail = ail.filter(|ail| Instant::now() < ail.until);
            *ail
        };
        match ail.map(|ail| ail.how) {
            None => Ok(()),
            Some(DiskFault::Full) => Err(ErrorKind::StorageFull.into()),
            Some(DiskFault::Slow(each)) => {
                thread::sleep(each);
                Ok(())
            }
        }
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_read_whole_or_not_at_all() {
        let seconds = Duration::from_secs;
        let each = Duration::from_millis(20);
        for (text, order) in [
            ("panic 0", Order::Worker(0, WorkerFault::Panic)),
            ("nan 3", Order::Worker(3, WorkerFault::NanGradient)),
            ("disk full 600", Order::DiskFull(seconds(600))),
            ("disk slow 5 20", Order::DiskSlow(seconds(5), each)),
        ] {
            assert_eq!(text.parse(), Ok(order));
        }
        for text in [
            "",
            "panic",
            "panic x",
            "panic -1",
            "panic 1024",
            "panic 1 2",
            "Panic 1",
            "panic  1",
            "disk",
            "disk full",
            "disk full 601",
            "disk slow 5",
            "disk slow 5 10001",
            "v",
        ] {
            assert_eq!(text.parse::<Order>(), Err(NoOrder(text.to_owned())));
        }
    }

    #[test]
    fn a_fault_of_a_worker_comes_once() {
        let injection = Injection::default();
        assert_eq!(injection.fault_of(0), None);
        injection.take(Order::Worker(1, WorkerFault::NanGradient));
        assert_eq!(injection.fault_of(0), None);
        assert_eq!(injection.fault_of(1), Some(WorkerFault::NanGradient));
        assert_eq!(injection.fault_of(1), None);
    }

    #[test]
    fn a_clock_is_ahead_or_behind() {
        let injection = Injection::default();
        let hour = Duration::from_secs(3600);
        assert!(injection.now() <= SystemTime::now());
        injection.set_clock_ahead(7_200_000);
        assert!(injection.now() > SystemTime::now() + hour);
        injection.set_clock_ahead(-7_200_000);
        assert!(injection.now() < SystemTime::now() - hour);
        injection.set_clock_ahead(i64::MIN);
        assert_eq!(injection.now(), UNIX_EPOCH);
    }

    #[test]
    fn a_full_disk_has_room_again() {
        let injection = Injection::default();
        let disk = injection.disk().clone();
        assert!(disk.before_write().is_ok());
        injection.take(Order::DiskFull(Duration::from_secs(600)));
        let full = disk.before_write().unwrap_err();
        assert_eq!(full.kind(), ErrorKind::StorageFull);
        injection.take(Order::DiskFull(Duration::ZERO));
        assert!(disk.before_write().is_ok());
    }
}
