//! A real Chromium, driven over the pipe of its DevTools protocol: messages in JSON, each ended by a
//! zero byte. When the pipe closes, Chromium ends, so a test that is killed leaves none behind.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use catchpoint_testbed::target_dir;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::{SOON, until};

/// Debian's package `chromium`.
const CHROMIUM: &str = "/usr/bin/chromium";
/// Where `cargo xtask test` has npm install it.
const AXE: &str = "tools/node_modules/axe-core/axe.min.js";

pub struct Browser {
    chromium: Child,
    commands: ChildStdin,
    messages: Receiver<Value>,
    session: Option<String>,
    last_id: u64,
    /// What the browser itself complained about, such as a breach of the page's policy.
    pub complaints: Vec<String>,
    _profile: TempDir,
}

impl Browser {
    pub fn start() -> Self {
        assert!(
            Path::new(CHROMIUM).exists(),
            "no {CHROMIUM}: `cargo xtask test` installs what the tests need"
        );
        let profile = tempfile::tempdir().unwrap();
        // The protocol is on file descriptors 3 and 4.
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1"])
            .args(["sh", CHROMIUM, "--headless", "--remote-debugging-pipe"])
            // In a container there may be neither user namespaces nor much of /dev/shm.
            .args(["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"])
            .args(["--no-first-run", "--hide-scrollbars", "--lang=en"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .env("HOME", profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut chromium = command.spawn().unwrap();
        let commands = chromium.stdin.take().unwrap();
        let mut answers = BufReader::new(chromium.stdout.take().unwrap());
        let (sender, messages) = channel();
        thread::spawn(move || {
            let mut message = Vec::new();
            while answers
                .read_until(0, &mut message)
                .is_ok_and(|read| read > 0)
            {
                message.pop();
                if sender
                    .send(serde_json::from_slice(&message).unwrap())
                    .is_err()
                {
                    break;
                }
                message.clear();
            }
        });
        let mut browser = Self {
            chromium,
            commands,
            messages,
            session: None,
            last_id: 0,
            complaints: Vec::new(),
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let target = json!({"targetId": target["targetId"], "flatten": true});
        let session = browser.call("Target.attachToTarget", target);
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        browser.call("Page.enable", json!({}));
        browser.call("Log.enable", json!({}));
        browser
    }

    /// Calls a method of the protocol.
    fn call(&mut self, method: &str, params: Value) -> Value {
        let answer = self.try_call(method, params);
        answer.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    fn try_call(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        self.last_id += 1;
        let mut message = json!({"id": self.last_id, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        self.commands
            .write_all(format!("{message}\0").as_bytes())
            .unwrap();
        loop {
            let answer = self.messages.recv_timeout(SOON);
            let mut answer = answer.unwrap_or_else(|error| panic!("{method}: {error}"));
            if answer["id"] == self.last_id {
                if answer["error"].is_null() {
                    return Ok(answer["result"].take());
                }
                return Err(answer["error"].take());
            }
            if answer["method"] == "Log.entryAdded" {
                let entry = &answer["params"]["entry"];
                self.complaints.push(entry["text"].to_string());
            }
        }
    }

    /// Opens a page, and waits until it is there.
    pub fn open(&mut self, url: &str) {
        let opened = self.call("Page.navigate", json!({"url": url}));
        assert!(opened["errorText"].is_null(), "{url}: {opened}");
        until("the page", || {
            (self.eval("document.readyState") == "complete").then_some(())
        });
    }

    /// The value of a JavaScript expression; works on a page without scripts, too.
    pub fn eval(&mut self, expression: &str) -> Value {
        let value = self.try_eval(expression);
        value.unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    fn try_eval(&mut self, expression: &str) -> Result<Value, Value> {
        let params = json!({
            "expression": expression, "awaitPromise": true, "returnByValue": true
        });
        let mut done = self.try_call("Runtime.evaluate", params)?;
        if done["exceptionDetails"].is_null() {
            Ok(done["result"]["value"].take())
        } else {
            Err(done["exceptionDetails"].take())
        }
    }

    /// The text that a reader sees.
    pub fn text(&mut self) -> String {
        let text = self.eval("document.body.innerText");
        text.as_str().unwrap().to_owned()
    }

    /// Waits until the text of the page is so. Meanwhile the page may be opened anew.
    pub fn wait(&mut self, what: &str, is_so: impl Fn(&str) -> bool) {
        until(what, || {
            let text = self.try_eval("document.body.innerText").ok()?;
            text.as_str().is_some_and(&is_so).then_some(())
        });
    }

    /// Waits until the page has this text.
    pub fn wait_text(&mut self, text: &str) {
        self.wait(text, |page| page.contains(text));
    }

    /// Keeps pages as they were when they were opened.
    pub fn stop_clocks(&mut self) {
        let source = json!({"source": "window.setInterval = () => 0"});
        self.call("Page.addScriptToEvaluateOnNewDocument", source);
    }

    /// Presses a key.
    pub fn press(&mut self, key: &str, code: u32) {
        for kind in ["keyDown", "keyUp"] {
            let params = json!({"type": kind, "key": key, "windowsVirtualKeyCode": code});
            self.call("Input.dispatchKeyEvent", params);
        }
    }

    pub fn use_scheme(&mut self, scheme: &str) {
        let feature = json!({"name": "prefers-color-scheme", "value": scheme});
        self.call("Emulation.setEmulatedMedia", json!({"features": [feature]}));
    }

    pub fn use_width(&mut self, width: u32) {
        let params = json!({
            "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600
        });
        self.call("Emulation.setDeviceMetricsOverride", params);
    }

    pub fn use_scripts(&mut self, are_on: bool) {
        self.call(
            "Emulation.setScriptExecutionDisabled",
            json!({"value": !are_on}),
        );
    }

    /// What axe-core finds, each with where it is.
    pub fn axe(&mut self) -> Value {
        let path = target_dir().join(AXE);
        let axe = std::fs::read_to_string(&path).unwrap_or_else(|error| {
            panic!(
                "{}: {error}; `cargo xtask test` installs it",
                path.display()
            )
        });
        self.eval(&format!("{axe};0"));
        let rules = self.eval("axe.run().then(found => found.passes.length)");
        assert!(
            rules.as_u64() > Some(15),
            "axe-core has checked {rules} rules"
        );
        self.eval(
            "axe.run().then(found => found.violations.map(one =>
                [one.id, one.help, one.nodes.map(node => node.html)]))",
        )
    }

    /// Keeps a picture of the whole page under the target directory.
    pub fn picture(&mut self, name: &str) {
        let params = json!({"format": "png", "captureBeyondViewport": true});
        let picture = self.call("Page.captureScreenshot", params);
        let picture = STANDARD.decode(picture["data"].as_str().unwrap()).unwrap();
        let dir = target_dir().join("page");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join(format!("{name}.png")), picture).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It ends by itself, too, when the pipe closes.
        let _ = self.chromium.kill();
        let _ = self.chromium.wait();
    }
}
