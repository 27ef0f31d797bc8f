//! The futures around the book.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};

use super::super::{Admission, Limits, Queue};
use super::{request, sr};

fn poll<F: Future>(future: Pin<&mut F>) -> Option<F::Output> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

#[tokio::test]
async fn the_turn_is_passed_on_the_moment_it_is_dropped() {
    let admission = Admission::new(Limits::default());
    let first = admission.stage(request("nightly", &[1])).await.turn().await;
    let second = admission.stage(request("nightly", &[1])).await;
    let mut third = pin!(admission.stage(request("nightly", &[1])));
    assert!(poll(third.as_mut()).is_none(), "one is staged already");
    let mut turn = pin!(second.turn());
    assert!(poll(turn.as_mut()).is_none());
    assert_eq!(admission.queues(), [Queue { sr: sr(1), in_flight: 1, staged: 1, waiting: 1 }]);
    drop(first);
    let _second = poll(turn.as_mut()).expect("its turn has come");
    let _third = poll(third.as_mut()).expect("it is next");
    assert_eq!(admission.queues(), [Queue { sr: sr(1), in_flight: 1, staged: 1, waiting: 0 }]);
}

#[tokio::test]
async fn whatever_is_dropped_is_out_of_the_way() {
    let admission = Admission::new(Limits::default());
    let turn = admission.stage(request("nightly", &[1])).await.turn().await;
    let staged = admission.stage(request("nightly", &[1, 2])).await;
    {
        let mut waiting = pin!(admission.stage(request("nightly", &[1])));
        assert!(poll(waiting.as_mut()).is_none());
    }
    assert_eq!(admission.queues()[0].waiting, 0, "a future that waited");
    {
        let mut taking = pin!(staged.turn());
        assert!(poll(taking.as_mut()).is_none());
    }
    assert_eq!(admission.queues(), [Queue { sr: sr(1), in_flight: 1, staged: 0, waiting: 0 }], "one that was staged");
    drop(admission.stage(request("nightly", &[1])).await);
    drop(turn);
    assert_eq!(admission.queues(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_that_are_aborted_anywhere_leave_nothing_behind() {
    let admission = Admission::new(Limits::default());
    let at_work: Arc<[AtomicU32; 4]> = Arc::default();
    let tasks: Vec<_> = (0..400_u128).map(|n| tokio::spawn(work(admission.clone(), Arc::clone(&at_work), n))).collect();
    for task in tasks.iter().step_by(3) {
        task.abort();
        tokio::task::yield_now().await;
    }
    for task in tasks {
        let ended = task.await;
        assert!(ended.is_ok() || ended.is_err_and(|error| error.is_cancelled()));
    }
    assert_eq!(admission.queues(), []);
}

async fn work(admission: Admission, at_work: Arc<[AtomicU32; 4]>, n: u128) {
    let sr = n % 4;
    let staged = admission.stage(request(&format!("policy-{}", n % 3), &[sr])).await;
    tokio::task::yield_now().await;
    let _turn = staged.turn().await;
    let _one = One::at(&at_work[usize::try_from(sr).unwrap()]);
    tokio::task::yield_now().await;
}

/// Counts who is at work at an SR.
struct One<'a>(&'a AtomicU32);

impl<'a> One<'a> {
    fn at(count: &'a AtomicU32) -> Self {
        assert_eq!(count.fetch_add(1, Ordering::SeqCst), 0, "two at once");
        Self(count)
    }
}

impl Drop for One<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
