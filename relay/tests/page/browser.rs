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
    session: Value,
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
        let answers = BufReader::new(chromium.stdout.take().unwrap()).split(0);
        let (sender, messages) = channel();
        thread::spawn(move || {
            let messages = answers.map_while(Result::ok);
            let mut messages = messages.map(|text| serde_json::from_slice(&text).unwrap());
            messages.try_for_each(|message| sender.send(message))
        });
        let mut browser = Self {
            chromium,
            commands,
            messages,
            session: Value::Null,
            last_id: 0,
            complaints: Vec::new(),
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let target = json!({"targetId": target["targetId"], "flatten": true});
        browser.session = browser.call("Target.attachToTarget", target)["sessionId"].take();
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
        if !self.session.is_null() {
            message["sessionId"] = self.session.clone();
        }
        write!(self.commands, "{message}\0").unwrap();
        loop {
            let answer = self.messages.recv_timeout(SOON);
            let mut answer = answer.unwrap_or_else(|error| panic!("{method}: {error}"));
            if answer["id"] == self.last_id {
                let is_good = answer["error"].is_null();
                return if is_good {
                    Ok(answer["result"].take())
                } else {
                    Err(answer["error"].take())
                };
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
        let params = json!({"value": !are_on});
        self.call("Emulation.setScriptExecutionDisabled", params);
    }

    /// What axe-core finds, each with where it is.
    pub fn axe(&mut self) -> Value {
        let path = target_dir().join(AXE);
        let axe = std::fs::read_to_string(&path).expect("`cargo xtask test` installs axe-core");
        self.eval(&format!("{axe};0"));
        let mut found = self.eval(
            "axe.run().then(found => [found.passes.length, found.violations.map(one =>
                [one.id, one.help, one.nodes.map(node => node.html)])])",
        );
        assert!(
            found[0].as_u64() > Some(15),
            "{} rules are checked",
            found[0]
        );
        found[1].take()
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
