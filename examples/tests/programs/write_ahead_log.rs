//! The write-ahead log: leaders and replicas that are killed.

use crate::place::{Place, Random, until};
use crate::program::{Running, program};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

const CHANGES: u64 = 400;
const KEYS: u64 = 40;

fn leader(place: &Place) -> Running {
    Running::start(program("write_ahead_log").arg("leader").arg(place.ring()))
}

fn replica(place: &Place) -> Running {
    Running::start(program("write_ahead_log").arg("replica").arg(place.ring()).arg(place.path("replica")))
}

fn get(leader: &mut Running, key: &str) -> String {
    leader.say(&format!("get {key}\n"));
    leader.line().unwrap()
}

fn saved(path: &Path) -> Option<Value> {
    Some(serde_json::from_slice(&std::fs::read(path).ok()?).unwrap())
}

/// Change `n` of the test: the values of a key only grow.
fn change(n: u64) -> String {
    format!("put key{} {n}\n", n % KEYS)
}

#[test]
fn no_acknowledged_change_is_lost_when_leader_and_replica_are_killed() {
    let place = Place::new();
    let mut random = Random::new();
    let mut leader = leader(&place);
    // An answer says that there is a ring now.
    assert_eq!(get(&mut leader, "key0"), "(none)");
    let mut replica = replica(&place);
    let mut acknowledged = 0;
    for round in 0.. {
        // More is asked for than is waited for: the leader is killed at work.
        let end = (acknowledged + 80).min(CHANGES);
        leader.say(&(acknowledged..end).map(change).collect::<String>());
        let waited_for = acknowledged + random.below(60);
        while acknowledged < end && (acknowledged < waited_for || end == CHANGES) {
            assert_eq!(leader.line().as_deref(), Some("ok"));
            acknowledged += 1;
        }
        if acknowledged == CHANGES {
            break;
        }
        if round % 2 == 0 {
            replica.kill();
        }
        leader.kill();
        while leader.line().is_some() {
            acknowledged += 1;
        }
        leader = self::leader(&place);
        for n in acknowledged.saturating_sub(KEYS)..acknowledged {
            let value: u64 = get(&mut leader, &format!("key{}", n % KEYS)).parse().unwrap();
            assert!(value >= n, "change {n} was acknowledged, the value is of change {value}");
        }
        // A replica that comes back late has something to catch up with.
        if round % 2 == 1 && !replica.is_running() {
            replica = self::replica(&place);
        }
    }
    if !replica.is_running() {
        replica = self::replica(&place);
    }
    leader.say("delete key0\n");
    assert_eq!(leader.line().as_deref(), Some("ok"));
    assert!(leader.end().success());
    let leaders = saved(&place.path("ring.map.json")).unwrap();
    let expected: BTreeMap<String, String> =
        (CHANGES - KEYS..CHANGES).map(|n| (format!("key{}", n % KEYS), n.to_string())).skip(1).collect();
    assert_eq!(leaders["map"], serde_json::to_value(expected).unwrap());
    until("the replica equals the leader", || saved(&place.path("replica")).as_ref() == Some(&leaders));
    assert!(replica.is_running());
}

#[test]
fn maps_outlive_the_changes_that_the_ring_has_dropped() {
    let place = Place::in_memory();
    let mut leader = leader(&place);
    leader.say("put first change\n");
    assert_eq!(leader.line().as_deref(), Some("ok"));
    let mut replica = replica(&place);
    until("the replica has saved its map", || place.path("replica").exists());
    replica.kill();
    // More than the ring holds.
    let value = "x".repeat(1900);
    for n in 0..5000 {
        leader.say(&format!("put key{} {value}\n", n % KEYS));
        assert_eq!(leader.line().as_deref(), Some("ok"));
    }
    leader.kill();
    leader = self::leader(&place);
    assert_eq!(get(&mut leader, "first"), "change");
    let mut replica = self::replica(&place);
    assert!(leader.end().success());
    let leaders = saved(&place.path("ring.map.json"));
    until("the replica equals the leader", || saved(&place.path("replica")) == leaders);
    assert!(replica.is_running());
}
