//! `waldo repair --apply`, killed anywhere: run again it comes to the same end, and nothing is lost on the
//! way.

use crate::dying::to_die_at;
use crate::points::Point;
use crate::support::*;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// A file of the ring as it was before the repair.
type Original = (PathBuf, Vec<u8>);

/// A ring of several small pages with a damaged record in the middle, and its pages.
fn damaged(place: &Place, name: &str) -> (PathBuf, Vec<Original>) {
    let home = place.join(name);
    let text: String =
        (0..5000).map(|i| if i == 1200 { "victim\n".into() } else { format!("{i}\n") }).collect();
    let done = run(waldo().args(["append", "--page-size", "64K"]).arg(&home), text.as_bytes());
    assert_eq!(done.code, 0, "{}", done.stderr);
    damage(&home, b"victim");
    let pages =
        || std::fs::read_dir(&home).unwrap().flatten().map(|entry| entry.path()).filter(|path| is_page(path));
    // Another kind of damage, which the same repair mends.
    let other = std::fs::File::options().write(true).open(pages().max().unwrap()).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&other, &[0xff; 64], 0).unwrap();
    let originals = pages().map(|page| (page.clone(), std::fs::read(&page).unwrap())).collect();
    (home, originals)
}

fn is_page(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("page-"))
}

fn repair(home: &Path, keep: &str) -> std::process::Command {
    let mut command = waldo();
    command.args(["repair", "--apply", "--keep", keep]).arg(home);
    command
}

fn records(home: &Path) -> String {
    let done = run(waldo().args(["tail", "--from", "oldest", "--format", "{seq} {payload}"]).arg(home), b"");
    assert_eq!(done.code, 0, "{}", done.stderr);
    done.text().to_owned()
}

/// Whether a page is there as it was, in the ring or in one of the backups beside it.
fn is_kept(place: &Place, name: &str, (page, content): &Original) -> bool {
    let beside = std::fs::read_dir(place.path()).unwrap().flatten();
    let backups =
        beside.filter(|entry| entry.file_name().to_string_lossy().starts_with(&format!("{name}-backup-")));
    let copies = backups.map(|backup| backup.path().join(page.file_name().unwrap()));
    copies.chain([page.clone()]).any(|copy| std::fs::read(copy).is_ok_and(|kept| kept == *content))
}

/// What an undisturbed repair keeps, and how long one takes.
fn undisturbed(place: &Place, keep: &str) -> (String, Duration) {
    let (home, _) = damaged(place, &format!("whole-{keep}"));
    let begun = Instant::now();
    let done = run(&mut repair(&home, keep), b"");
    assert_eq!(done.code, 0, "{}", done.stderr);
    (records(&home), begun.elapsed())
}

/// Goes on after a repair of `home` was interrupted.
fn goes_on(place: &Place, name: &str, keep: &str, originals: &[Original], kept: &str) {
    let home = place.join(name);
    let done = run(&mut repair(&home, keep), b"");
    assert_eq!(done.code, 0, "{name}: {}", done.stderr);
    assert!(records(&home) == kept, "{name}: other records are kept");
    for original in originals {
        let page = original.0.display();
        assert!(is_kept(place, name, original), "{name}: {page} is neither there nor in a backup");
    }
    assert_eq!(run(waldo().arg("verify").arg(&home), b"").code, 0, "{name}");
    assert_eq!(run(waldo().arg("append").arg(&home), b"more\n").code, 0, "{name}");
}

#[test]
fn at_each_kind_of_step() {
    let place = Place::new();
    let mut killed = 0;
    for keep in ["longest", "older"] {
        let (kept, _) = undisturbed(&place, keep);
        for point in Point::ALL {
            let name = format!("{point:?}-{keep}");
            let (home, originals) = damaged(&place, &name);
            let mut command = repair(&home, keep);
            to_die_at(&mut command, point);
            killed += u32::from(run(&mut command, b"").code == -1);
            goes_on(&place, &name, keep, &originals, &kept);
        }
    }
    assert!(killed >= 4, "only {killed} of the points were met");
}

#[test]
fn at_any_time() {
    const KILLS: u32 = 40;
    let place = Place::new();
    let (kept, time) = undisturbed(&place, "newer");
    let mut hits = 0;
    for n in 0..KILLS {
        let name = format!("after-{n}");
        let (home, originals) = damaged(&place, &name);
        let mut command = repair(&home, "newer");
        let mut killed = Killed(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        // Not to let anything settle: the place at which it dies is to be another one each time.
        std::thread::sleep(time * n / KILLS);
        let _ = killed.0.kill();
        hits += u32::from(killed.0.wait().unwrap().code().is_none());
        goes_on(&place, &name, "newer", &originals, &kept);
    }
    // The first one dies at once, whatever else the machine does.
    assert!(hits > 0, "every repair had ended before it was killed");
}
