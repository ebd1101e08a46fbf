//! Chromium, driven through chromedriver (W3C WebDriver). Each page is a window of its own: a tab behind another would not paint.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::process::{Output, follow};
use super::{artefact, http, wait_for};

/// One Chromium with an empty profile. It closes with this value.
#[derive(Debug)]
pub(crate) struct Browser {
    name: String,
    /// With the folder of the profile; `None` when another machine's drives it.
    driver: Option<(Child, PathBuf)>,
    address: SocketAddr,
    session: String,
    /// The window that Chromium starts with, until a page takes it.
    first_window: Mutex<Option<String>>,
    _alone: MutexGuard<'static, ()>,
}

impl Browser {
    /// `name` is the test's: its log and pictures are called so.
    pub(crate) fn open(name: &str) -> Self {
        // Two tests that measure time on two cores would measure each other, however many threads cargo gives them.
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let log = File::create(artefact(&format!("{name}.chromedriver.log")))
            .expect("target is writable");
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log.try_clone().expect("one more descriptor"))
            .spawn()
            .expect("chromedriver is installed (tests/run does it)");
        let output = Output::default();
        follow(driver.stdout.take().expect("stdout is piped"), &output, log);
        let port: u16 = wait_for("chromedriver's port", Duration::from_secs(20), || {
            let lines = output.lock().expect("readers do not panic");
            lines.iter().find_map(|(_, line)| {
                let (_, port) = line.split_once("started successfully on port ")?;
                port.trim_end_matches('.').parse().ok()
            })
        });

        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let profile = artefact(&format!("{name}.profile"));
        let flag = format!("--user-data-dir={}", profile.display());
        Self::begin(name, alone, address, Some((driver, profile)), &flag)
    }

    /// The same by the chromedriver at `address`, on another machine; `flag` is one more for Chromium.
    pub(crate) fn open_at(address: SocketAddr, name: &str, flag: &str) -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        Self::begin(name, alone, address, None, flag)
    }

    fn begin(
        name: &str,
        alone: MutexGuard<'static, ()>,
        address: SocketAddr,
        driver: Option<(Child, PathBuf)>,
        flag: &str,
    ) -> Self {
        let mut browser = Self {
            name: name.to_owned(),
            driver,
            address,
            session: String::new(),
            first_window: Mutex::new(None),
            _alone: alone,
        };
        let arguments: Vec<&str> = FLAGS.iter().copied().chain([flag]).collect();
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "timeouts": { "script": 60_000 },
            "goog:loggingPrefs": { "browser": "ALL" },
            "goog:chromeOptions": { "args": arguments },
        } } });
        let answer = browser.ask("POST", "/session", &wanted);
        browser.session = format!("/session/{}", text(&answer["sessionId"]));
        let window = browser.ask("GET", &format!("{}/window", browser.session), &Value::Null);
        *browser.first_window.lock().expect("one thread") = Some(text(&window));
        browser
    }

    /// Opens `url` in a window of its own and returns when the page's own file is loaded.
    pub(crate) fn page(&self, url: &str) -> Page<'_> {
        let first = self.first_window.lock().expect("one thread").take();
        let window = first.unwrap_or_else(|| self.new_window());
        let page = Page {
            browser: self,
            window,
        };
        page.ask("POST", "/url", &json!({ "url": url }));
        page
    }

    /// The same, with `script` run before any of the page's own.
    pub(crate) fn page_after(&self, script: &str, url: &str) -> Page<'_> {
        let page = self.page("about:blank");
        page.devtools(
            "Page.addScriptToEvaluateOnNewDocument",
            &json!({ "source": script }),
        );
        page.ask("POST", "/url", &json!({ "url": url }));
        page
    }

    fn new_window(&self) -> String {
        // WebDriver opens a window from the current one, which may have been closed.
        let open = self.ask(
            "GET",
            &format!("{}/window/handles", self.session),
            &Value::Null,
        );
        self.ask(
            "POST",
            &format!("{}/window", self.session),
            &json!({ "handle": open[0] }),
        );
        let path = format!("{}/window/new", self.session);
        text(&self.ask("POST", &path, &json!({ "type": "window" }))["handle"])
    }

    /// One WebDriver command; its errors are test failures.
    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let response = http::request(self.address, method, path, &body)
            .unwrap_or_else(|error| panic!("chromedriver is gone at {method} {path}: {error}"));
        let mut answer: Value =
            serde_json::from_str(&response.body).expect("WebDriver speaks JSON");
        assert_eq!(
            response.status, 200,
            "{method} {path}: {}",
            answer["value"]["message"]
        );
        answer["value"].take()
    }

    /// What a person would look at first when a test failed: each window and its console.
    fn keep_evidence(&self) -> Option<()> {
        let ask = |method, path: &str, body: &str| {
            let response = http::request(
                self.address,
                method,
                &format!("{}{path}", self.session),
                body,
            )
            .ok()?;
            serde_json::from_str::<Value>(&response.body).ok()
        };
        let windows = ask("GET", "/window/handles", "")?;
        for (number, window) in windows["value"].as_array()?.iter().enumerate() {
            ask("POST", "/window", &json!({ "handle": window }).to_string())?;
            let picture = ask("GET", "/screenshot", "")?;
            fs::write(
                artefact(&format!("{}.failed-{number}.png", self.name)),
                decode_base64(picture["value"].as_str()?),
            )
            .ok()?;
            let console = ask("POST", "/se/log", r#"{"type":"browser"}"#)?;
            let lines: Vec<&str> = console["value"]
                .as_array()?
                .iter()
                .filter_map(|entry| entry["message"].as_str())
                .collect();
            fs::write(
                artefact(&format!("{}.console-{number}.log", self.name)),
                lines.join("\n"),
            )
            .ok()?;
        }
        Some(())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Evidence is a courtesy: what failed has been said already.
        if thread::panicking() {
            let _ = self.keep_evidence();
        }
        // Without this Chromium would outlive its driver.
        let _ = http::request(self.address, "DELETE", &self.session, "");
        if let Some((driver, profile)) = &mut self.driver {
            let _ = driver.kill();
            let _ = driver.wait();
            let _ = fs::remove_dir_all(profile);
        }
    }
}

/// One open page.
#[derive(Debug)]
pub(crate) struct Page<'b> {
    browser: &'b Browser,
    window: String,
}

impl Page<'_> {
    /// Runs the body of a function in the page; a promise that it returns is awaited.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.run_with(script, &[])
    }

    /// The same with `arguments` for the function.
    pub(crate) fn run_with(&self, script: &str, arguments: &[Value]) -> Value {
        self.ask(
            "POST",
            "/execute/sync",
            &json!({ "script": script, "args": arguments }),
        )
    }

    /// A command of the Chrome DevTools Protocol.
    pub(crate) fn devtools(&self, command: &str, parameters: &Value) {
        let command = json!({ "cmd": command, "params": parameters });
        self.ask("POST", "/goog/cdp/execute", &command);
    }

    /// Asks the page until `condition` (a JavaScript expression) holds.
    pub(crate) fn wait_until(&self, condition: &str, within: Duration) {
        let script = format!("return Boolean({condition})");
        let what = format!("{condition} in the page");
        wait_for(&what, within, || {
            self.run(&script).as_bool().filter(|holds| *holds)
        });
    }

    /// Keeps a picture of the page in `target/test-artefacts/NAME.png`.
    pub(crate) fn screenshot(&self, name: &str) {
        let picture = decode_base64(&text(&self.ask("GET", "/screenshot", &Value::Null)));
        fs::write(artefact(&format!("{name}.png")), picture).expect("target is writable");
    }

    /// The person closes the window. Chromium ends with its last one.
    pub(crate) fn close(self) {
        self.ask("DELETE", "/window", &Value::Null);
    }

    fn ask(&self, method: &str, command: &str, body: &Value) -> Value {
        let session = &self.browser.session;
        self.browser.ask(
            "POST",
            &format!("{session}/window"),
            &json!({ "handle": self.window }),
        );
        self.browser
            .ask(method, &format!("{session}{command}"), body)
    }
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("got {value} when expecting a string"))
        .to_owned()
}

/// RFC 4648, section 4, without line breaks, as WebDriver sends pictures.
fn decode_base64(text: &str) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits: Vec<u8> = text.trim_end_matches('=').bytes().map(digit).collect();
    digits
        .chunks(4)
        .flat_map(|group| {
            let bits = group
                .iter()
                .fold(0_u32, |bits, digit| bits << 6 | u32::from(*digit));
            let bytes = (bits << (6 * (4 - group.len()))).to_be_bytes();
            bytes[1..group.len()].to_vec()
        })
        .collect()
}

static ALONE: Mutex<()> = Mutex::new(());

/// Addresses stay hidden behind mDNS names, as they are for every person who did not grant a camera.
const FLAGS: [&str; 14] = [
    "--headless",
    // As root, which CI is, Chromium does not start its sandbox. It sees our own pages only.
    "--no-sandbox",
    "--disable-gpu",
    // /dev/shm is 64 MB in containers; four decoders need more.
    "--disable-dev-shm-usage",
    "--autoplay-policy=no-user-gesture-required",
    // Windows lie above each other; the lower ones must go on painting, as they would on two screens.
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--disable-background-timer-throttling",
    // No calls home: on a machine without the internet they are refused by the dozen.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
    "--window-size=960,640",
];
