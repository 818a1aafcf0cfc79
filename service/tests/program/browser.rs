//! The status page in a browser that nobody sees. Says so where there is none.

use crate::http::start;
use crate::ring::Place;
use crate::support::*;
use crate::wait::{DEADLINE, wait_until};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

/// Chromium, spoken to by its debugging protocol through a pair of pipes: JSON with a zero byte behind each.
struct Browser {
    child: Child,
    input: ChildStdin,
    output: Receiver<Value>,
    calls: u64,
    session: Option<String>,
}

impl Browser {
    fn start(place: &Place) -> Option<Browser> {
        let exists = |name: &&str| Command::new(name).arg("--version").output().is_ok();
        let name = ["chromium", "chromium-browser", "google-chrome"].into_iter().find(exists)?;
        let script = "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>/dev/null";
        let mut command = Command::new("bash");
        command.args(["-c", script, "bash", name, "--headless=new", "--no-sandbox", "--disable-gpu"]);
        command.args(["--disable-dev-shm-usage", "--remote-debugging-pipe", "--window-size=1100,700"]);
        command.arg(format!("--user-data-dir={}", place.dir().join("browser").display()));
        // It leaves a socket behind where temporary files are, and nobody removes it.
        command.env("TMPDIR", place.dir());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, output) = channel();
        std::thread::spawn(move || {
            for message in BufReader::new(stdout).split(0) {
                let Ok(message) = message else { return };
                if sender.send(serde_json::from_slice(&message).unwrap()).is_err() {
                    return;
                }
            }
        });
        Some(Browser { child, input, output, calls: 0, session: None })
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.calls += 1;
        let mut call = json!({ "id": self.calls, "method": method, "params": params });
        if let Some(session) = &self.session {
            call["sessionId"] = json!(session);
        }
        self.input.write_all(format!("{call}\0").as_bytes()).unwrap();
        loop {
            let message = self.output.recv_timeout(DEADLINE).unwrap();
            if message["id"] == self.calls {
                assert!(message["error"].is_null(), "{message}");
                return message["result"].clone();
            }
        }
    }

    fn open(&mut self, url: &str) {
        let target = self.call("Target.createTarget", json!({ "url": url }))["targetId"].clone();
        let attached = self.call("Target.attachToTarget", json!({ "targetId": target, "flatten": true }));
        self.session = attached["sessionId"].as_str().map(str::to_owned);
    }

    /// What a person reads.
    fn text(&mut self) -> String {
        let what =
            json!({ "expression": "document.body ? document.body.innerText : ''", "returnByValue": true });
        self.call("Runtime.evaluate", what)["result"]["value"].as_str().unwrap_or_default().to_owned()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_page_shows_the_rings_and_moves() {
    let place = Place::new();
    let text = ring_table(&place, "orders", "") + &ring_table(&place, "quotes", "");
    let (program, address) = start(&place, &text);
    let Some(mut browser) = Browser::start(&place) else {
        println!("left out: there is no chromium");
        return;
    };
    browser.open(&format!("http://{address}/"));
    wait_until("both rings are shown", || {
        let text = browser.text();
        text.contains("orders") && text.contains("quotes") && text.contains("1 of 4 pages of 1.0 MiB")
    });
    let socket = place.dir().join("orders.sock");
    for _ in 0..37 {
        append(&socket, "one more");
    }
    let stored = texts(&place.dir().join("orders")).len();
    wait_until("the newest record is shown", || {
        browser.text().contains(&format!("newest record\n{stored}\n"))
    });
    let picture = browser.call("Page.captureScreenshot", json!({ "format": "png" }));
    assert!(picture["data"].as_str().unwrap().len() > 5000);
    // For people: where cargo keeps what tests leave.
    let file = format!("{}/status-page.png.base64", env!("CARGO_TARGET_TMPDIR"));
    std::fs::write(file, picture["data"].as_str().unwrap()).unwrap();
    drop(browser);
    program.stop();
}
