//! A page in headless Chromium, driven through the browser's debugging pipe: real clicks, drags, taps and keys, and
//! what the page shows after them. The pipe carries JSON messages, each ended by a zero byte, on descriptors 3 and 4;
//! a shell lays them there.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use image::RgbImage;
use serde_json::{Value, json};

/// `chromium-headless-shell` or `chromium` in PATH; without one a line says that the test is skipped, or the test
/// fails where `CASSI_REQUIRE_BROWSER=1` is set.
fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let names = ["chromium-headless-shell", "chromium"];
    let found = std::env::split_paths(&path).flat_map(|p| names.map(|n| p.join(n))).find(|p| p.is_file());
    if found.is_none() {
        assert!(std::env::var_os("CASSI_REQUIRE_BROWSER").is_none_or(|v| v != "1"), "no {names:?} in PATH");
        eprintln!("skipped: no {names:?} in PATH (apt-get install chromium-headless-shell)");
    }
    found
}

/// One page in a browser of its own, which ends with it.
pub(crate) struct Page {
    browser: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
    session: Option<String>,
    calls: u64,
    url: String,
    _profile: tempfile::TempDir,
}

impl Page {
    /// Opens the file at this address (what follows `#`) in a window of `[width, height]` pixels, and waits until it
    /// has drawn. `None` without a browser.
    pub(crate) fn open(file: &Path, hash: &str, size: [u32; 2]) -> Option<Self> {
        let program = program()?;
        let profile = tempfile::tempdir().unwrap();
        let mut browser = Command::new("sh")
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1"])
            .arg(program)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                "--remote-debugging-pipe",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (to, from) = (browser.stdin.take(), BufReader::new(browser.stdout.take().unwrap()));
        let url = format!("file://{}", file.display());
        let mut page = Self { browser, to, from, session: None, calls: 0, url, _profile: profile };
        let target = page.call("Target.createTarget", json!({"url": "about:blank"}));
        let target = json!({"targetId": target["targetId"], "flatten": true});
        page.session =
            Some(page.call("Target.attachToTarget", target)["sessionId"].as_str().unwrap().to_string());
        page.resize(size, false);
        page.go(hash);
        Some(page)
    }

    /// Sends one command of the protocol and returns its result; events that come in between are dropped.
    fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.calls += 1;
        let mut message = json!({"id": self.calls, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let pipe = self.to.as_mut().unwrap();
        pipe.write_all(format!("{message}\0").as_bytes()).unwrap();
        pipe.flush().unwrap();
        loop {
            let mut bytes = Vec::new();
            self.from.read_until(0, &mut bytes).unwrap();
            assert_eq!(bytes.pop(), Some(0), "the browser ended during {method}");
            let answer: Value = serde_json::from_slice(&bytes).unwrap();
            if answer["id"] == json!(self.calls) {
                assert!(answer.get("error").is_none(), "{method}: {answer}");
                return answer["result"].clone();
            }
        }
    }

    /// The value of an expression, a promise waited for.
    pub(crate) fn eval(&mut self, expression: &str) -> Value {
        let parameters = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let answer = self.call("Runtime.evaluate", parameters);
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    pub(crate) fn number(&mut self, expression: &str) -> f64 {
        self.eval(expression).as_f64().unwrap_or_else(|| panic!("{expression} is no number"))
    }

    /// Text of the first element of this selector.
    pub(crate) fn text(&mut self, selector: &str) -> String {
        let text = self.eval(&format!("document.querySelector({selector:?})?.textContent"));
        text.as_str().unwrap_or_else(|| panic!("no element {selector}")).to_string()
    }

    /// Loads the file anew at this address, and waits until it has drawn.
    pub(crate) fn go(&mut self, hash: &str) {
        self.call("Page.navigate", json!({"url": "about:blank"}));
        self.call("Page.navigate", json!({"url": format!("{}#{hash}", self.url)}));
        self.drawn();
    }

    /// Waits until everything that was asked for is drawn.
    pub(crate) fn drawn(&mut self) {
        let state = "new Promise((resolve) => { const from = Date.now(); const look = () => \
            (document.body?.dataset.ready === 'yes' || Date.now() - from > 20000) \
            ? requestAnimationFrame(() => resolve(document.body.dataset.ready)) : setTimeout(look, 5); look(); })";
        assert_eq!(self.eval(state), "yes", "the page does not finish drawing");
    }

    /// Size of the window in pixels; with `touch` as on a phone.
    pub(crate) fn resize(&mut self, [width, height]: [u32; 2], touch: bool) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": touch});
        self.call("Emulation.setDeviceMetricsOverride", size);
        self.call("Emulation.setTouchEmulationEnabled", json!({"enabled": touch}));
    }

    /// What the system prefers: `light` or `dark`.
    pub(crate) fn prefer(&mut self, scheme: &str) {
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setEmulatedMedia", features);
    }

    /// A point of an element in the window, at these shares of its width and height; scrolled into view first.
    pub(crate) fn place(&mut self, selector: &str, [x, y]: [f64; 2]) -> [f64; 2] {
        let at = self.eval(&format!(
            "(() => {{ const node = document.querySelector({selector:?}); node.scrollIntoView({{block: 'nearest'}}); \
             const box = node.getBoundingClientRect(); return [box.left + {x} * box.width, box.top + {y} * box.height]; }})()"
        ));
        [0, 1].map(|i| at[i].as_f64().unwrap())
    }

    fn mouse(&mut self, kind: &str, [x, y]: [f64; 2], buttons: u32) {
        let button = if kind == "mouseMoved" && buttons == 0 { "none" } else { "left" };
        let event =
            json!({"type": kind, "x": x, "y": y, "button": button, "buttons": buttons, "clickCount": 1});
        self.call("Input.dispatchMouseEvent", event);
    }

    /// A click of the mouse at a point of the window.
    pub(crate) fn click_at(&mut self, at: [f64; 2]) {
        self.mouse("mouseMoved", at, 0);
        self.mouse("mousePressed", at, 1);
        self.mouse("mouseReleased", at, 0);
        self.drawn();
    }

    /// A click in the middle of an element.
    pub(crate) fn click(&mut self, selector: &str) {
        let at = self.place(selector, [0.5, 0.5]);
        self.click_at(at);
    }

    /// Drags the mouse from one point of the window to another.
    pub(crate) fn drag(&mut self, from: [f64; 2], to: [f64; 2]) {
        self.mouse("mouseMoved", from, 0);
        self.mouse("mousePressed", from, 1);
        for step in 1..=4 {
            let share = f64::from(step) / 4.0;
            self.mouse("mouseMoved", [0, 1].map(|i| from[i] + share * (to[i] - from[i])), 1);
        }
        self.mouse("mouseReleased", to, 0);
        self.drawn();
    }

    /// A finger that touches the window at a point, moves through the others and lets go.
    pub(crate) fn touch(&mut self, path: &[[f64; 2]]) {
        for (i, [x, y]) in path.iter().enumerate() {
            let kind = if i == 0 { "touchStart" } else { "touchMove" };
            self.call("Input.dispatchTouchEvent", json!({"type": kind, "touchPoints": [{"x": x, "y": y}]}));
        }
        self.call("Input.dispatchTouchEvent", json!({"type": "touchEnd", "touchPoints": []}));
        // A tap becomes a click a moment later.
        self.eval("new Promise((resolve) => setTimeout(resolve, 50))");
        self.drawn();
    }

    /// A key, by what it writes or by its name, e.g. `a`, `?`, `ArrowLeft`; digits with `shift` as on a US keyboard.
    pub(crate) fn key(&mut self, key: &str, shift: bool) {
        let printed = key.chars().count() == 1;
        let code = match key.chars().next().unwrap() {
            c @ 'a'..='z' if printed => format!("Key{}", c.to_ascii_uppercase()),
            c @ '0'..='9' => format!("Digit{c}"),
            _ if printed => String::new(),
            _ => key.to_string(),
        };
        let number = match key {
            "Tab" => 9,
            "Enter" => 13,
            "Escape" => 27,
            "End" => 35,
            "Home" => 36,
            "ArrowLeft" => 37,
            "ArrowUp" => 38,
            "ArrowRight" => 39,
            "ArrowDown" => 40,
            "+" => 187,
            "-" => 189,
            "?" => 191,
            "[" => 219,
            "]" => 221,
            _ => u32::from(key.to_ascii_uppercase().as_bytes()[0]),
        };
        let mut event = json!({"type": if printed { "keyDown" } else { "rawKeyDown" }, "key": key, "code": code,
            "windowsVirtualKeyCode": number, "modifiers": if shift { 8 } else { 0 }});
        if printed {
            event["text"] = json!(key);
        }
        self.call("Input.dispatchKeyEvent", event.clone());
        event["type"] = json!("keyUp");
        self.call("Input.dispatchKeyEvent", event);
        self.drawn();
    }

    /// What the window shows.
    pub(crate) fn screenshot(&mut self) -> RgbImage {
        let data = self.call("Page.captureScreenshot", json!({"format": "png"}));
        let bytes = STANDARD.decode(data["data"].as_str().unwrap()).unwrap();
        image::load_from_memory(&bytes).unwrap().to_rgb8()
    }

    /// Red, green, blue of every pixel of a canvas, row by row.
    pub(crate) fn canvas(&mut self, selector: &str) -> Vec<u8> {
        let pixels = self.eval(&format!(
            "(() => {{ const c = document.querySelector({selector:?}); \
             return Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data); }})()"
        ));
        let pixels = pixels.as_array().unwrap();
        (pixels.iter().enumerate().filter(|(i, _)| i % 4 != 3))
            .map(|(_, v)| v.as_u64().unwrap() as u8)
            .collect()
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // The browser ends when its pipe closes; the profile must not vanish under it.
        self.to = None;
        if self.browser.wait().is_err() {
            let _ = self.browser.kill();
        }
    }
}
