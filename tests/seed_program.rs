//! A program written for the embedded API alone, as one that knew it from the crate this one grew out of.
#![allow(clippy::unwrap_used, reason = "a test, helpers included, fails by panicking")]

use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use waldo::{AppendError, Cursor, Error, Log, LogError, Metadata, Options, QueryError, QueryLogs, Waldo};

/// Every field by name: a program that does so must go on compiling.
fn options() -> Options {
    Options {
        ring_size: 4,
        queue_depth: 4,
        pool_size: 4,
        huge_buf: false,
        buf_capacity: 2 * 1024 * 1024,
        page_capacity: 100_000,
        index_capacity: 1000,
        index_sparse_bytes: 16 * 1024,
        index_sparse_count: 100,
        file_o_dsync: true,
        file_capacity: 4 * 1024 * 1024,
    }
}

fn quick() -> Options {
    Options { file_o_dsync: false, ..options() }
}

fn home() -> TempDir {
    tempfile::Builder::new().prefix("waldo-seed-").tempdir().unwrap()
}

fn log(seq_no: u64) -> Log<'static> {
    Log::new_owned(seq_no, seq_no - 1, seq_no.to_string().into_bytes())
}

fn logs(first: u64, last: u64) -> Vec<Log<'static>> {
    (first..=last).map(log).collect()
}

fn numbers(found: &QueryLogs) -> Vec<u64> {
    found.into_iter().map(|log| log.seq_no()).collect()
}

/// Everything from `cursor` on, checked.
async fn read_all(waldo: &mut Waldo, cursor: Cursor) -> Vec<u64> {
    let mut all: Vec<u64> = Vec::new();
    let mut cursor = cursor;
    loop {
        let found = waldo.query(cursor, false).await.unwrap();
        for log in &found {
            log.validate_data().unwrap();
            assert_eq!(log.data(), log.seq_no().to_string().as_bytes());
            assert!(all.last().is_none_or(|last| *last == log.prev_seq_no()));
            all.push(log.seq_no());
        }
        match numbers(&found).last() {
            Some(last) => cursor = Cursor::After(*last),
            None => return all,
        }
    }
}

fn refused(options: Options) -> String {
    let outcome = pollster::block_on(Waldo::open(home().path(), options));
    match outcome {
        Err(Error::Option(reason)) => reason,
        Err(Error::Io(error)) => panic!("an I/O error: {error}"),
        Ok(_) => panic!("accepted: {options:?}"),
    }
}

#[test]
fn options_that_cannot_work_are_refused_with_a_reason() {
    let good = options();
    let bad = [
        (Options { file_capacity: good.buf_capacity as u64 - 1, ..good }, "file_capacity"),
        (Options { buf_capacity: Log::SIZE_LIMIT - 1, ..good }, "buf_capacity"),
        (Options { index_sparse_bytes: Log::SIZE_LIMIT / 2 + 1, ..good }, "index_sparse_bytes"),
        (Options { index_capacity: 0, ..good }, "index_capacity"),
        (Options { index_sparse_bytes: 0, ..good }, "index_sparse_bytes"),
        (Options { index_sparse_count: 0, ..good }, "index_sparse_count"),
        (Options { ring_size: 0, ..good }, "ring_size"),
        (Options { queue_depth: 0, ..good }, "queue_depth"),
        (Options { pool_size: 0, ..good }, "pool_size"),
        (Options { page_capacity: 0, ..good }, "page_capacity"),
    ];
    for (options, field) in bad {
        let reason = refused(options);
        assert!(reason.contains(field), "{reason}");
    }
    let message = Error::Option("x".into()).to_string();
    assert!(message.contains('x'), "{message}");
    // Values as they are, and as the defaults are.
    let copy = good;
    assert_eq!(copy, good);
    assert_ne!(Options::default(), good);
    assert!(format!("{good:?}").contains("ring_size: 4"));
}

#[test]
fn a_file_in_the_way_is_an_io_error() {
    let home = home();
    let file = home.path().join("file");
    std::fs::write(&file, b"x").unwrap();
    assert!(matches!(pollster::block_on(Waldo::open(&file, options())), Err(Error::Io(_))));
}

#[test]
fn the_directory_is_made_and_only_one_may_have_it() {
    pollster::block_on(async {
        let home = home();
        let path = home.path().join("a").join("b");
        let waldo = Waldo::open(&path, options()).await.unwrap();
        assert!(path.is_dir());
        match Waldo::open(path.clone(), options()).await {
            Err(Error::Io(error)) => assert!(error.to_string().contains("only one writer"), "{error}"),
            other => panic!("{other:?}"),
        }
        waldo.close().await;
        Waldo::open(path.to_str().unwrap(), options()).await.unwrap();
    });
}

#[test]
fn a_log_is_what_it_was_made_of() {
    let data = b"payload".to_vec();
    let borrowed = Log::new_borrowed(7, 5, &data);
    let owned = Log::new_owned(7, 5, data.clone());
    assert_eq!(borrowed, owned);
    assert_eq!(owned.borrow(), owned.clone());
    assert_eq!((owned.seq_no(), owned.prev_seq_no(), owned.data()), (7, 5, &data[..]));
    assert_eq!(owned.data_hash(), borrowed.data_hash());
    assert_ne!(owned.data_hash(), Log::new_borrowed(7, 5, b"other").data_hash());
    assert!(owned.size() > data.len() && owned.size().is_multiple_of(8));
    assert_eq!(Log::SIZE_LIMIT, 1024 * 1024);
    owned.validate_data().unwrap();
    assert!(format!("{owned:?}").contains("seq_no: 7"));
    let errors = [LogError::Sequence(3, 1, 2), LogError::Corruption(3, 0xa, 0xb)];
    assert!(errors.iter().all(|error| error.to_string().contains('3')), "{errors:?}");
}

#[test]
fn appending_and_querying() {
    pollster::block_on(async {
        for options in [options(), quick()] {
            let home = home();
            let mut waldo = Waldo::open(home.path(), options).await.unwrap();
            assert_eq!(waldo.prev_seq_no(), None);
            assert_eq!(waldo.metadata().await, None);
            assert_eq!(numbers(&waldo.query(Cursor::Trim, false).await.unwrap()), []);
            assert_eq!(numbers(&waldo.query(Cursor::Tip, false).await.unwrap()), []);
            waldo.append(&[]).await.unwrap();
            assert_eq!(waldo.prev_seq_no(), None);

            // Any predecessor starts an empty ring.
            let first = Log::new_borrowed(10, 4, b"10");
            waldo.append(&[first]).await.unwrap();
            waldo
                .append(&[Log::new_borrowed(11, 10, b"11"), Log::new_borrowed(20, 11, b"20")])
                .await
                .unwrap();
            assert_eq!(waldo.prev_seq_no(), Some(20));
            assert_eq!(read_all(&mut waldo, Cursor::Trim).await, [10, 11, 20]);
            assert_eq!(read_all(&mut waldo, Cursor::From(11)).await, [11, 20]);
            assert_eq!(read_all(&mut waldo, Cursor::After(10)).await, [11, 20]);
            // In a gap of the numbers: the next one there is.
            assert_eq!(read_all(&mut waldo, Cursor::From(12)).await, [20]);
            assert_eq!(read_all(&mut waldo, Cursor::After(15)).await, [20]);
            assert_eq!(read_all(&mut waldo, Cursor::After(20)).await, []);
            assert_eq!(read_all(&mut waldo, Cursor::Tip).await, []);

            let Metadata {
                after_seq_no,
                prev_seq_no,
                log_count,
                index_count,
                disk_size,
                index_size,
                pending_resets,
                pending_appends,
                pending_queries,
                pending_fsyncs,
            } = waldo.metadata().await.unwrap();
            assert_eq!((after_seq_no, prev_seq_no, log_count), (4, 20, 3));
            assert!(index_count > 0 && index_size > 0);
            assert!(disk_size > 0 && disk_size <= 4 * options.file_capacity);
            assert_eq!((pending_resets, pending_appends, pending_queries), (0, 0, 0));
            assert!(pending_fsyncs <= u64::from(!options.file_o_dsync));
            let metadata = waldo.metadata().await.unwrap();
            let sum = metadata.pending_resets + metadata.pending_appends + metadata.pending_queries;
            assert_eq!(metadata.pending_io(), sum + metadata.pending_fsyncs);
            assert!(format!("{metadata:?} {waldo:?}").contains("log_count"));

            waldo.close().await;
            let mut waldo = Waldo::open(home.path(), options).await.unwrap();
            assert_eq!(waldo.prev_seq_no(), Some(20));
            assert_eq!(read_all(&mut waldo, Cursor::Trim).await, [10, 11, 20]);
            waldo.append(&[Log::new_borrowed(21, 20, b"21")]).await.unwrap();
            drop(waldo);
            let mut waldo = Waldo::open(home.path(), options).await.unwrap();
            assert_eq!(read_all(&mut waldo, Cursor::After(0)).await, [10, 11, 20, 21]);
        }
    });
}

#[test]
fn what_does_not_fit_is_refused_and_nothing_is_appended() {
    pollster::block_on(async {
        let home = home();
        let mut waldo = Waldo::open(home.path(), quick()).await.unwrap();
        waldo.append(&logs(1, 3)).await.unwrap();
        match waldo.append(&[Log::new_borrowed(9, 8, b"9")]).await {
            Err(error @ AppendError::Sequence(9, 8, 3)) => assert!(error.to_string().contains('9')),
            other => panic!("{other:?}"),
        }
        match waldo.append(&[log(4), Log::new_borrowed(6, 5, b"6")]).await {
            Err(AppendError::Sequence(6, 5, 4)) => {}
            other => panic!("{other:?}"),
        }
        // A number that does not grow.
        for seq_no in [2, 3] {
            assert!(matches!(
                waldo.append(&[Log::new_borrowed(seq_no, 3, b"x")]).await,
                Err(AppendError::Sequence(..))
            ));
        }
        let large = Log::new_owned(4, 3, vec![0; Log::SIZE_LIMIT]);
        let size = large.size();
        match waldo.append(&[large]).await {
            Err(AppendError::ExceedsLimit(4, found)) => assert_eq!(found, size),
            other => panic!("{other:?}"),
        }
        assert_eq!(read_all(&mut waldo, Cursor::Trim).await, [1, 2, 3]);
        // The largest there is.
        let room =
            (0..).find(|over| Log::new_owned(4, 3, vec![7; Log::SIZE_LIMIT - over]).size() < Log::SIZE_LIMIT);
        let largest = Log::new_owned(4, 3, vec![7; Log::SIZE_LIMIT - room.unwrap()]);
        waldo.append(&[largest.borrow()]).await.unwrap();
        let found = waldo.query(Cursor::After(3), true).await.unwrap();
        assert_eq!(found.into_iter().next(), Some(largest));
        // The others exist too.
        let others = [AppendError::Conflict, AppendError::Closed, AppendError::Fault("f")];
        assert!(others.iter().all(|error| !error.to_string().is_empty()));
    });
}

#[test]
fn a_large_batch_is_appended_whole() {
    pollster::block_on(async {
        let home = home();
        let mut waldo = Waldo::open(home.path(), quick()).await.unwrap();
        waldo.append(&logs(1, 50_000)).await.unwrap();
        let all = read_all(&mut waldo, Cursor::Trim).await;
        assert!(all.len() == 50_000 && all.first() == Some(&1) && all.last() == Some(&50_000));
        assert_eq!(read_all(&mut waldo, Cursor::From(49_999)).await, [49_999, 50_000]);
    });
}

/// A query behind a number that is yet to come leaves the reader at the newest record, told to pass over what
/// comes up to that number. The next query, behind the newest record, took that reader for the right one, and
/// missed those in silence.
#[test]
fn a_query_misses_nothing_after_one_beyond_the_newest_record() {
    pollster::block_on(async {
        let home = home();
        let mut waldo = Waldo::open(home.path(), quick()).await.unwrap();
        waldo.append(&logs(1, 5)).await.unwrap();
        assert!(numbers(&waldo.query(Cursor::After(9), false).await.unwrap()).is_empty());
        waldo.append(&logs(6, 12)).await.unwrap();
        assert_eq!(read_all(&mut waldo, Cursor::After(5)).await, [6, 7, 8, 9, 10, 11, 12]);
        assert!(numbers(&waldo.query(Cursor::After(20), false).await.unwrap()).is_empty());
        waldo.append(&logs(13, 22)).await.unwrap();
        assert_eq!(read_all(&mut waldo, Cursor::After(20)).await, [21, 22]);
    });
}

#[test]
fn what_has_been_trimmed_is_said_to_be_and_the_rest_is_there() {
    pollster::block_on(async {
        let home = home();
        let mut waldo = Waldo::open(home.path(), Options { page_capacity: 10, ..quick() }).await.unwrap();
        for first in (1..=100).step_by(5) {
            waldo.append(&logs(first, first + 4)).await.unwrap();
        }
        for cursor in [Cursor::After(1), Cursor::From(2)] {
            // Trimming follows an append in the background.
            loop {
                match waldo.query(cursor, false).await {
                    Err(QueryError::Trimmed(_)) => break,
                    Ok(found) => assert!(numbers(&found).first().is_none_or(|first| *first == 2)),
                    Err(error) => panic!("{error}"),
                }
            }
        }
        let all = read_all(&mut waldo, Cursor::Trim).await;
        assert!(all[0] > 1 && all.last() == Some(&100), "{all:?}");
        let metadata = waldo.metadata().await.unwrap();
        assert_eq!(metadata.after_seq_no, all[0] - 1);
        assert_eq!(metadata.log_count, all.len() as u64);
        let others = [QueryError::Closed, QueryError::Fault("f"), QueryError::Sequence(3, 1, 2)];
        assert!(others.iter().all(|error| !error.to_string().is_empty()));
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_that_waits_gets_what_comes() {
    let home = home();
    let waldo = Waldo::open(home.path(), quick()).await.unwrap();
    let follow = |cursor| {
        let mut waldo = waldo.clone();
        async move {
            let mut seen = Vec::new();
            let mut cursor = cursor;
            while seen.last() != Some(&20) {
                let found = numbers(&waldo.query(cursor, true).await.unwrap());
                assert!(!found.is_empty(), "a waiting query came back with nothing");
                seen.extend(found);
                cursor = Cursor::After(*seen.last().unwrap());
            }
            seen
        }
    };
    let from_start = tokio::spawn(follow(Cursor::Trim));
    let mut tip = waldo.clone();
    // On another runtime, on a thread of its own.
    let on_thread = follow(Cursor::After(0));
    let on_thread = std::thread::spawn(move || pollster::block_on(on_thread));
    for n in 1..=10 {
        waldo.append(&[log(n)]).await.unwrap();
    }
    let waiting = tokio::spawn(async move { numbers(&tip.query(Cursor::Tip, true).await.unwrap()) });
    // Its query may come before or after any of these.
    for n in 11..=20 {
        waldo.append(&[log(n)]).await.unwrap();
    }
    let all: Vec<u64> = (1..=20).collect();
    assert_eq!(from_start.await.unwrap(), all);
    assert_eq!(tokio::task::spawn_blocking(|| on_thread.join().unwrap()).await.unwrap(), all);
    let mut next = 21;
    while !waiting.is_finished() {
        waldo.append(&[log(next)]).await.unwrap();
        next += 1;
        tokio::task::yield_now().await;
    }
    let found = waiting.await.unwrap();
    assert!(found.first().is_some_and(|first| *first > 10), "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_query_can_be_given_up() {
    let home = home();
    let mut waldo = Waldo::open(home.path(), quick()).await.unwrap();
    let outcome = tokio::time::timeout(Duration::from_millis(1), waldo.query(Cursor::Tip, true)).await;
    assert!(outcome.is_err(), "nothing was appended");
    waldo.append(&[log(1)]).await.unwrap();
    assert_eq!(read_all(&mut waldo, Cursor::Trim).await, [1]);
    assert_eq!(waldo.metadata().await.unwrap().pending_queries, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_concurrent_appenders_one_wins_each_place() {
    const APPENDERS: u64 = 50;
    const EACH: u64 = 4;
    for options in [options(), quick()] {
        let home = home();
        let mut waldo = Waldo::open(home.path(), options).await.unwrap();
        let tasks: Vec<_> = (0..APPENDERS)
            .map(|_| {
                let waldo = waldo.clone();
                tokio::spawn(async move {
                    let (mut won, mut lost) = (0, 0);
                    while won < EACH {
                        let tip = waldo.prev_seq_no().unwrap_or(0);
                        match waldo.append(&[log(tip + 1)]).await {
                            Ok(()) => won += 1,
                            Err(AppendError::Sequence(seq_no, prev, expected)) => {
                                assert_eq!((seq_no, prev), (tip + 1, tip));
                                assert!(expected > tip, "{expected}");
                                lost += 1;
                            }
                            Err(error) => panic!("{error}"),
                        }
                    }
                    lost
                })
            })
            .collect();
        let mut lost = 0u64;
        for task in tasks {
            lost += task.await.unwrap();
        }
        println!("{lost} appends lost their place");
        let all: Vec<u64> = (1..=APPENDERS * EACH).collect();
        assert_eq!(read_all(&mut waldo, Cursor::Trim).await, all);
    }
}

#[test]
fn clones_are_used_from_many_threads_and_the_last_one_closes() {
    let home = home();
    let waldo = pollster::block_on(Waldo::open(home.path(), quick())).unwrap();
    let turn = Arc::new(std::sync::Mutex::new(()));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (mut waldo, turn) = (waldo.clone(), Arc::clone(&turn));
            std::thread::spawn(move || {
                pollster::block_on(async {
                    for _ in 0..50 {
                        let next = {
                            let _turn = turn.lock().unwrap();
                            let next = waldo.prev_seq_no().unwrap_or(0) + 1;
                            pollster::block_on(waldo.append(&[log(next)])).unwrap();
                            next
                        };
                        assert_eq!(numbers(&waldo.query(Cursor::From(next), true).await.unwrap())[0], next);
                    }
                    waldo.close().await;
                });
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    pollster::block_on(async {
        assert_eq!(waldo.prev_seq_no(), Some(200));
        waldo.close().await;
        let mut waldo = Waldo::open(home.path(), quick()).await.unwrap();
        assert_eq!(read_all(&mut waldo, Cursor::Trim).await, (1..=200).collect::<Vec<_>>());
    });
}
