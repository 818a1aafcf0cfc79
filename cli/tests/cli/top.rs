//! `waldo top`: what is to be seen of rings and readers.

use crate::scene::Scene;
use crate::support::*;
use crate::whole_screen::WholeScreen;
use nix::sys::signal::Signal;
use serde_json::Value;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use waldo_terminal::units;

/// One that looks often.
fn top(scene: &Scene, homes: &[&Path]) -> WholeScreen {
    WholeScreen::start(scene.waldo().args(["top", "--interval", "0.05"]).args(homes))
}

fn json(command: &mut Command) -> Value {
    let done = run(command, b"");
    assert_eq!(done.code, 0, "{}", done.stderr);
    serde_json::from_slice(&done.stdout).unwrap()
}

/// What stands in a line under the titles of the columns, by title.
fn under(lines: &[String], home: &Path, title: &str) -> Option<String> {
    let titles = lines.iter().find(|line| line.starts_with("STATE"))?;
    let home = home.to_str().unwrap();
    let line = lines.iter().find(|line| line.ends_with(home))?;
    let (from, to) = (titles.find(title)?, titles.find(title)? + title.len());
    // Text begins where its title does, a number ends there.
    let text = match title {
        "STATE" | "RING" => line.get(from..)?.split("  ").next()?,
        _ => line.get(..to)?.rsplit("  ").next()?,
    };
    Some(text.trim().to_owned())
}

#[test]
fn what_top_shows_is_what_stat_tells() {
    let scene = Scene::new();
    let home = scene.place.join("ring");
    let mut writer = Process::start(waldo().arg("append").args(SMALL).arg("--no-sync").arg(&home));
    writer.write(b"one\ntwo\nthree\n");
    until_tip(&home, 3);
    let mut top = top(&scene, &[&home]);
    top.until("the ring is there", |lines| {
        (under(lines, &home, "RECORD")? == "3" && under(lines, &home, "STATE")? == "live").then_some(())
    });
    // Asked again each time: the writer makes pages ahead, and flushes, also while nobody appends.
    top.until("all figures agree", |lines| {
        let stat = json(waldo().args(["stat", "--json"]).arg(&home));
        let number = |field: &str| stat[field].as_u64().unwrap();
        let is = |title: &str, text: String| (under(lines, &home, title)? == text).then_some(());
        is("NOT DURABLE", units::bytes(number("durable_lag_bytes")))?;
        is("PAGES", format!("{}/{}", number("pages"), number("ring_size")))?;
        is("ON DISK", units::bytes(stat["counters"]["disk_bytes"].as_u64().unwrap()))?;
        is("READERS", "0".to_owned())?;
        is("BEHIND", "-".to_owned())?;
        under(lines, &home, "NEWEST")?.ends_with('s').then_some(())
    });
    top.press("\r");
    top.until("each line of stat is there", |lines| {
        let told = run(waldo().arg("stat").arg(&home), b"");
        // How long ago the writer was heard of is another time at each look.
        let mut told = told.text().lines().filter(|line| !line.starts_with("writer"));
        told.all(|line| lines.iter().any(|shown| shown == line)).then_some(())
    });
    top.until_line(&["writer", &format!("live (pid {})", writer.pid())]);
    // It goes on by itself.
    writer.write(b"four\nfive\n");
    top.until("the new records are there", |lines| {
        (under(lines, &home, "RECORD")? == "5" && under(lines, &home, "RECORDS/S")? != "0").then_some(())
    });
    top.until_line(&["newest record  5"]);
    top.press("q");
    assert_eq!(top.end(), 0);
    top.assert_given_back();
    assert_eq!(writer.finish().code, 0);
}

#[test]
fn readers_that_are_seen_are_shown_as_lag_shows_them() {
    let scene = Scene::new();
    let home = scene.place.join("ring");
    let mut writer = Process::start(waldo().arg("append").args(SMALL).arg(&home));
    writer.write(b"1\n2\n3\n");
    until_tip(&home, 3);
    let mut top = top(&scene, &[&home]);
    top.until("there is no reader", |lines| (under(lines, &home, "READERS")? == "0").then_some(()));
    let follower = |name: &str| scene.follower(&home, name);
    let (stopped, mut killed) = (follower("\u{202e}slow"), follower("dead-one"));
    top.until("both are there", |lines| {
        (under(lines, &home, "READERS")? == "2" && under(lines, &home, "BEHIND")? == "0").then_some(())
    });
    stopped.signal(Signal::SIGSTOP);
    killed.signal(Signal::SIGKILL);
    killed.wait();
    writer.write(b"4\n5\n");
    top.until("they are behind", |lines| (under(lines, &home, "BEHIND")? == "2").then_some(()));
    top.press("\t\t");
    let done = run(scene.waldo().arg("lag").arg(&home), b"");
    assert_eq!(done.code, 0, "{}", done.stderr);
    for row in done.text().lines().skip(1) {
        let words: Vec<&str> = row.split_whitespace().collect();
        // State, position, records behind: the rest are times.
        top.until(&format!("there is {row}"), |lines| {
            let shown = lines.iter().find(|line| line.starts_with(words[0]))?;
            let shown: Vec<&str> = shown.split_whitespace().collect();
            (shown.get(..4)? == words.get(..4)?).then_some(())
        });
    }
    assert!(!String::from_utf8_lossy(&top.bytes).contains('\u{202e}'));
    stopped.signal(Signal::SIGCONT);
    stopped.signal(Signal::SIGTERM);
    assert_eq!(stopped.finish().code, 143);
    top.until("one has gone", |lines| (under(lines, &home, "READERS")? == "1").then_some(()));
    drop(writer);
}

/// Damages the header of the record with this payload.
fn spoil_header(home: &Path, payload: &[u8]) {
    // The first byte of the payload is another one now.
    let path = damage(home, payload);
    let bytes = std::fs::read(&path).unwrap();
    let rest = &payload[1..];
    let at = bytes.windows(rest.len()).position(|bytes| bytes == rest).unwrap() - 1;
    let page = std::fs::File::options().write(true).open(path).unwrap();
    page.write_all_at(&[0xff; 16], at as u64 - 24).unwrap();
}

/// None of them ends the view, or holds up another.
#[test]
fn whatever_becomes_of_a_ring_stands_in_its_line() {
    let scene = Scene::new();
    let place = &scene.place;
    let [good, removed, spoilt] = ["good", "removed", "spoilt"].map(|name| place.ring(name, b"1\n"));
    let missing = place.join("missing");
    let [left, damaged] = ["left", "damaged"].map(|name| place.join(name));
    let mut writer = Process::start(waldo().arg("append").args(SMALL).arg(&left));
    writer.write(b"1\n");
    until_tip(&left, 1);
    // Without a writer it would pass for a torn end.
    let mut unaware = Process::start(waldo().arg("append").args(SMALL).arg(&damaged));
    unaware.write(b"last of all\n");
    until_tip(&damaged, 1);
    spoil_header(&damaged, b"last of all");
    let mut top = top(&scene, &[&good, &removed, &damaged, &spoilt, &missing, &left]);
    top.until_line(&["closed", "/good"]);
    top.until_line(&["live", "/damaged: page-"]);
    top.until_line(&["unreadable", "/missing: no ring here"]);
    top.until_line(&["live", "/left"]);
    let waits = |top: &mut WholeScreen, home: &Path, state: &str| {
        top.until(state, |lines| (under(lines, home, "STATE")? == state).then_some(()));
    };
    std::fs::write(spoilt.join("ring.meta"), [0xa5; 4096]).unwrap();
    top.until_line(&["unreadable", "/spoilt: ring.meta: "]);
    assert_eq!(run(waldo().arg("rm").arg(&removed), b"").code, 0);
    waits(&mut top, &removed, "removed");
    place.ring("removed", b"another\n");
    top.until_line(&["closed", " 1 ", "/removed: another ring is here now"]);
    writer.signal(Signal::SIGKILL);
    writer.wait();
    waits(&mut top, &left, "stalled");
    std::fs::rename(&good, place.join("elsewhere")).unwrap();
    waits(&mut top, &good, "removed");
    top.until_line(&["waldo top: 6 rings", "6 to look at"]);
    top.press("q");
    assert_eq!(top.end(), 0);
}

/// A /dev/shm of this test's own: the rings of others are none of its business.
fn own_memory() {
    let flags = nix::mount::MsFlags::empty();
    nix::mount::mount(Some("tmpfs"), "/dev/shm", Some("tmpfs"), flags, None::<&str>).unwrap();
}

#[test]
fn rings_come_by_themselves_and_go() {
    on_own_mounts(|| {
        own_memory();
        let scene = Scene::new();
        let mut top = top(&scene, &[]);
        top.until_line(&["no rings with a control segment"]);
        let home = scene.place.join("ring");
        let mut writer = Process::start(waldo().arg("append").args(SMALL).arg(&home));
        writer.write(b"1\n");
        top.until("it is there", |lines| (under(lines, &home, "RECORD")? == "1").then_some(()));
        assert_eq!(writer.finish().code, 0);
        top.until_line(&["closed", "/ring"]);
        assert_eq!(run(waldo().arg("rm").arg(&home), b"").code, 0);
        top.until_line(&["removed", "/ring"]);
        top.until_line(&["no rings with a control segment"]);
        // Nothing keeps what the ring had.
        let fds = std::fs::read_dir(format!("/proc/{}/fd", top.child.0.id())).unwrap().flatten();
        let open = fds.filter_map(|fd| std::fs::read_link(fd.path()).ok());
        assert_eq!(open.filter(|path| path.starts_with(&home)).count(), 0);
    });
}

/// An hour before the next look, its control segment would stay for as long: a megabyte, which nobody finds.
#[test]
fn what_is_removed_is_let_go_before_the_next_look() {
    on_own_mounts(|| {
        own_memory();
        let scene = Scene::new();
        let home = scene.place.ring("ring", b"1\n");
        let mut writer = Process::start(waldo().arg("append").args(SMALL).arg(&home));
        writer.write(b"2\n");
        until_tip(&home, 2);
        let mut top = WholeScreen::start(scene.waldo().args(["top", "--interval", "3600"]));
        top.until("it is there", |lines| (under(lines, &home, "RECORD")? == "2").then_some(()));
        let has = |what: &str| {
            let maps = std::fs::read_to_string(format!("/proc/{}/maps", top.child.0.id())).unwrap();
            maps.contains(what)
        };
        assert!(has("/dev/shm/waldo-"));
        assert_eq!(writer.finish().code, 0);
        assert_eq!(run(waldo().arg("rm").arg(&home), b"").code, 0);
        until("nothing of it is mapped", || (!has("/dev/shm/waldo-") && !has("/page-")).then_some(()));
        // So is what comes shown.
        let other = scene.place.ring("other", b"1\n");
        let mut writer = Process::start(waldo().arg("append").args(SMALL).arg(&other));
        writer.write(b"2\n");
        top.until("the other is there", |lines| (under(lines, &other, "RECORD")? == "2").then_some(()));
        assert_eq!(writer.finish().code, 0);
    });
}

/// Its segment names a ring on a disk that answers nothing: here a file system whose server never does.
#[test]
fn a_disk_that_does_not_answer_hides_no_other_ring() {
    on_own_mounts(|| {
        own_memory();
        let scene = Scene::new();
        let Ok(server) = std::fs::File::options().read(true).write(true).open("/dev/fuse") else {
            println!("left out: this needs /dev/fuse");
            return;
        };
        let (disk, good) = (scene.place.join("disk"), scene.place.join("good"));
        let hung = disk.join("hung");
        let writers = [&hung, &good].map(|home| {
            let mut writer = Process::start(waldo().arg("append").args(SMALL).arg(home));
            writer.write(b"1\n");
            until_tip(home, 1);
            writer
        });
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", server.as_raw_fd());
        let flags = nix::mount::MsFlags::empty();
        nix::mount::mount(Some("none"), &disk, Some("fuse"), flags, Some(options.as_str())).unwrap();
        let mut top = top(&scene, &[]);
        top.until("the good one is there", |lines| (under(lines, &good, "RECORD")? == "1").then_some(()));
        top.until_line(&["no answer", "/disk/hung: a file of it has not answered for"]);
        top.press("q");
        assert_eq!(top.end(), 0);
        // The connection ends, and so does everything that waits for it.
        drop(server);
        drop(writers);
        nix::mount::umount2(&disk, nix::mount::MntFlags::MNT_DETACH).unwrap();
    });
}
