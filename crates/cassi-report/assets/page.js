"use strict";
// State lives in one object that mirrors the address after '#'; every change goes through update(), which draws.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const make = (tag, attributes = {}, text = null) => {
    const svg = ["path", "line", "text", "circle"].includes(tag);
    const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== null) node.textContent = text;
    return node;
  };
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
  const state = { scene: 0, band: 0, row: 0, column: 0, mode: "colour", left: 0, right: 0, swipe: 50, zoom: 0, sort: null, all: false };
  const decoded = new Map(), errorMaps = new Map();

  // The inverse of codec.rs: inflate, unfold, add the prediction.
  async function unpack(packed) {
    const text = atob(packed.data);
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    const inflate = new DecompressionStream("deflate");
    const writer = inflate.writable.getWriter();
    writer.write(bytes);
    writer.close();
    const reader = inflate.readable.getReader();
    const { bands, rows, columns } = packed;
    const pixels = rows * columns;
    const raw = new Uint8Array(2 * pixels * bands);
    for (let at = 0; ;) {
      const { done, value } = await reader.read();
      if (done) break;
      raw.set(value, at);
      at += value.length;
    }
    const levels = new Uint16Array(bands * pixels);
    for (let b = 0; b < bands; b++) {
      const from = 2 * b * pixels, to = b * pixels;
      for (let i = 0, r = 0; r < rows; r++) {
        for (let c = 0; c < columns; c++, i++) {
          const folded = raw[from + i] | (raw[from + pixels + i] << 8);
          let guess = 0;
          if (r === 0) guess = c ? levels[to + i - 1] : 0;
          else if (c === 0) guess = levels[to + i - columns];
          else {
            const left = levels[to + i - 1], up = levels[to + i - columns], corner = levels[to + i - columns - 1];
            const low = Math.min(left, up), high = Math.max(left, up);
            guess = corner >= high ? low : corner <= low ? high : left + up - corner;
          }
          levels[to + i] = guess + ((folded >> 1) ^ -(folded & 1));
        }
      }
    }
    const step = (packed.high - packed.low) / (2 ** packed.bits - 1);
    return { levels, bands, rows, columns, pixels, low: packed.low, step, high: packed.high };
  }
  function cube(scene, index) {
    const key = `${scene}/${index}`;
    if (!decoded.has(key)) {
      const source = data.scenes[scene];
      decoded.set(key, unpack((index === source.images.length ? source.snapshot : source.images[index]).packed));
    }
    return decoded.get(key);
  }
  const forget = (scene) => { for (const map of [decoded, errorMaps]) for (const key of map.keys()) if (!key.startsWith(`${scene}/`)) map.delete(key); };
  const valueAt = (c, band, row, column) => c.low + c.step * c.levels[band * c.pixels + row * c.columns + column];

  const srgb = new Uint8Array(4096);
  for (let i = 0; i < 4096; i++) {
    const v = i / 4095;
    srgb[i] = Math.round(255 * (v <= 0.0031308 ? 12.92 * v : 1.055 * v ** (1 / 2.4) - 0.055));
  }
  const coded = (v) => srgb[Math.round(clamp(v, 0, 1) * 4095)];

  // `write(pixels, at, i)` puts red, green and blue of pixel i at `at`.
  function paint(canvas, c, write) {
    canvas.width = c.columns;
    canvas.height = c.rows;
    const context = canvas.getContext("2d");
    const image = context.createImageData(c.columns, c.rows);
    const pixels = image.data;
    for (let i = 0, at = 0; i < c.pixels; i++, at += 4) { write(pixels, at, i); pixels[at + 3] = 255; }
    context.putImageData(image, 0, 0);
  }
  function colourPicture(canvas, c, weights) {
    const linear = new Float32Array(3 * c.pixels);
    for (let b = 0; b < c.bands; b++) {
      const [wr, wg, wb] = weights[b];
      for (let i = 0, at = b * c.pixels; i < c.pixels; i++) {
        const v = c.low + c.step * c.levels[at + i];
        linear[3 * i] += wr * v; linear[3 * i + 1] += wg * v; linear[3 * i + 2] += wb * v;
      }
    }
    paint(canvas, c, (pixels, at, i) => { for (let k = 0; k < 3; k++) pixels[at + k] = coded(linear[3 * i + k]); });
  }
  const greatest = (c, band) => {
    let top = 0;
    for (let i = 0, at = band * c.pixels; i < c.pixels; i++) top = Math.max(top, c.levels[at + i]);
    return c.low + c.step * top;
  };
  function bandPicture(canvas, c, band, colour, high) {
    paint(canvas, c, (pixels, at, i) => {
      const v = coded((c.low + c.step * c.levels[band * c.pixels + i]) / high) / 255;
      for (let k = 0; k < 3; k++) pixels[at + k] = colour[k] * v;
    });
  }
  // Mean over bands of |estimate − truth|, and the value that 99.5 % of its pixels stay below.
  function errorMap(index, c, truth) {
    const key = `${state.scene}/${index}`;
    if (!errorMaps.has(key)) {
      const map = new Float32Array(c.pixels);
      for (let b = 0, at = 0; b < c.bands; b++) {
        for (let i = 0; i < c.pixels; i++, at++) map[i] += Math.abs(c.low + c.step * c.levels[at] - truth.low - truth.step * truth.levels[at]) / c.bands;
      }
      errorMaps.set(key, { map, top: Float32Array.from(map).sort()[Math.floor(0.995 * (map.length - 1))] });
    }
    return errorMaps.get(key);
  }
  function snapshotPicture(canvas, c) {
    paint(canvas, c, (pixels, at, i) => pixels.fill(255 * clamp((c.low + c.step * c.levels[i]) / c.high, 0, 1), at, at + 3));
  }

  const scene = () => data.scenes[state.scene];
  const truthIndex = () => scene().images.findIndex((image) => image.truth);
  const nameOf = (index) => (index === scene().images.length ? "snapshot" : scene().images[index].name);

  function drawPictures(cubes) {
    const s = scene();
    const shown = [state.left, state.right];
    const truth = truthIndex() < 0 ? null : cubes[truthIndex()];
    const canvases = [$("canvas-left"), $("canvas-right")];
    const legend = $("legend");
    legend.replaceChildren();
    const estimated = (index) => index < s.images.length && !s.images[index].truth;
    const maps = shown.map((index) => (state.mode === "error" && truth && estimated(index) ? errorMap(index, cubes[index], truth) : null));
    const top = Math.max(0, ...maps.map((m) => (m ? m.top : 0)));
    const high = greatest(truth || cubes[0], state.band) || 1;
    shown.forEach((index, k) => {
      const [canvas, c] = [canvases[k], cubes[index]];
      if (index === s.images.length) snapshotPicture(canvas, c);
      else if (maps[k]) paint(canvas, c, (pixels, at, i) => pixels.set(data.viridis[Math.round(clamp(maps[k].map[i] / (top || 1), 0, 1) * 255)], at));
      else if (state.mode === "band") bandPicture(canvas, c, state.band, s.band_colours[state.band], high);
      else colourPicture(canvas, c, s.weights);
    });
    $("tag-left").textContent = nameOf(state.left);
    $("tag-right").textContent = nameOf(state.right);
    if (state.mode === "error") {
      const bar = make("canvas", { width: 256, height: 1, "aria-hidden": "true" });
      const image = new ImageData(256, 1);
      data.viridis.forEach(([r, g, b], i) => image.data.set([r, g, b, 255], 4 * i));
      bar.getContext("2d").putImageData(image, 0, 0);
      const ends = make("div", { class: "ends" });
      ends.append(make("span", {}, "0"), make("span", {}, `mean over bands of |estimate − truth|${shown.includes(truthIndex()) ? "; the truth itself in colour" : ""}`), make("span", {}, top.toFixed(4)));
      legend.append(bar, ends);
    } else if (state.mode === "band") {
      legend.textContent = `${s.nm[state.band].toFixed(1)} nm in its own colour; full at ${high.toFixed(3)}, the ${truth ? "truth" : "first estimate"}'s largest value in this band`;
    } else legend.textContent = `${s.rendering}; exposure from the ${truth ? "truth" : "first estimate"}`;
    if (shown.includes(s.images.length)) {
      const { high, columns } = s.snapshot.packed;
      legend.append(make("div", {}, `snapshot: white is ${high.toFixed(3)}; its ${columns} columns are drawn over the ${s.columns} of the scene`));
    }
  }

  function drawSpectra(cubes) {
    const s = scene();
    const row = Math.floor(state.row / s.block), column = Math.floor(state.column / s.block);
    const spectra = s.images.map((_, index) => s.nm.map((_, band) => valueAt(cubes[index], band, row, column)));
    $("pixel-title").textContent = `Spectra at row ${state.row}, column ${state.column}` + (s.block > 1 ? ` (means of ${s.block}×${s.block} pixels)` : "");
    const chart = $("chart");
    chart.replaceChildren();
    const all = spectra.flat();
    const [x0, x1] = [s.nm[0], s.nm[s.nm.length - 1]];
    const lowest = Math.min(0, ...all), highest = Math.max(1e-6, ...all) * 1.05;
    // Drawn at the size it is shown at, so that text keeps its size on a phone.
    const width = clamp(chart.clientWidth || 640, 280, 1000), height = Math.round(clamp(0.6 * width, 230, 420));
    const box = { left: 58, right: width - 14, top: 12, bottom: height - 50 };
    chart.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const x = (nm) => (x1 > x0 ? box.left + ((nm - x0) / (x1 - x0)) * (box.right - box.left) : (box.left + box.right) / 2);
    const y = (v) => box.bottom - ((v - lowest) / (highest - lowest)) * (box.bottom - box.top);
    const rough = (highest - lowest) / 5, power = 10 ** Math.floor(Math.log10(rough));
    const unit = [1, 2, 5, 10].find((m) => m * power >= rough) * power;
    for (let v = Math.ceil(lowest / unit) * unit; v <= highest; v += unit) {
      chart.append(make("line", { class: "grid", x1: box.left, x2: box.right, y1: y(v), y2: y(v) }));
      chart.append(make("text", { x: box.left - 7, y: y(v) + 4, "text-anchor": "end" }, String(Number(v.toPrecision(3)))));
    }
    const stepNm = [5, 10, 25, 50, 100, 200].find((m) => (x1 - x0) / m <= width / 75) || 500;
    for (let nm = Math.ceil(x0 / stepNm) * stepNm; nm <= x1; nm += stepNm) {
      chart.append(make("line", { class: "grid", x1: x(nm), x2: x(nm), y1: box.top, y2: box.bottom }));
      chart.append(make("text", { x: x(nm), y: box.bottom + 19, "text-anchor": "middle" }, nm));
    }
    chart.append(make("line", { class: "axis", x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom }), make("line", { class: "axis", x1: box.left, x2: box.left, y1: box.top, y2: box.bottom }));
    const middle = (box.top + box.bottom) / 2;
    chart.append(make("text", { x: (box.left + box.right) / 2, y: height - 8, "text-anchor": "middle" }, "wavelength / nm"));
    chart.append(make("text", { x: 14, y: middle, "text-anchor": "middle", transform: `rotate(-90 14 ${middle})` }, "relative radiance"));
    chart.append(make("line", { class: "here", x1: x(s.nm[state.band]), x2: x(s.nm[state.band]), y1: box.top, y2: box.bottom, stroke: `rgb(${s.band_colours[state.band]})` }));
    const truth = truthIndex() < 0 ? null : spectra[truthIndex()];
    const keys = $("keys");
    keys.replaceChildren();
    s.images.forEach((image, index) => {
      const stroke = image.colour || "currentColor";
      const path = spectra[index].map((v, b) => `${b ? "L" : "M"}${x(s.nm[b]).toFixed(1)} ${y(v).toFixed(1)}`).join("");
      chart.append(make("path", { "data-curve": index, d: path, fill: "none", stroke, "stroke-width": image.truth ? 3 : 2.2, "stroke-linejoin": "round" }));
      const key = make("span", { "data-key": index });
      const swatch = make("i");
      swatch.style.background = stroke;
      const r = truth && !image.truth ? correlation(truth, spectra[index]) : null;
      key.append(swatch, image.name + (r === null ? "" : `, r = ${Number.isFinite(r) ? r.toFixed(4) : "undefined"}`));
      keys.append(key);
    });
    const table = $("values");
    table.replaceChildren();
    const head = make("tr");
    head.append(make("th", { scope: "col" }, "nm"), ...s.images.map((image) => make("th", { scope: "col", title: image.name }, image.name)));
    const thead = make("thead"), body = make("tbody");
    thead.append(head);
    s.nm.forEach((nm, band) => {
      const line = make("tr", band === state.band ? { class: "current" } : {});
      line.append(make("td", {}, nm.toFixed(1)), ...spectra.map((values, index) => make("td", { "data-band": band, "data-image": index }, values[band].toFixed(4))));
      body.append(line);
    });
    table.append(thead, body);
  }
  function correlation(a, b) {
    const mean = (v) => v.reduce((s, x) => s + x, 0) / v.length;
    const [ma, mb] = [mean(a), mean(b)];
    let [aa, bb, ab] = [0, 0, 0];
    a.forEach((x, i) => { aa += (x - ma) ** 2; bb += (b[i] - mb) ** 2; ab += (x - ma) * (b[i] - mb); });
    return ab / Math.sqrt(aa * bb);
  }

  const numeric = (v) => (v === "inf" ? Infinity : v === "-inf" ? -Infinity : v);
  function drawMetrics() {
    const { columns, lines } = data.table;
    $("metrics-section").hidden = columns.length === 0;
    const table = $("metrics");
    table.replaceChildren();
    table.classList.toggle("all", state.all);
    let shown = lines.filter((line) => state.all || line.scene === scene().title);
    if (state.sort) {
      const { key, down } = state.sort;
      const pick = (line) => (typeof key === "string" ? line[key] : numeric(line.values[key]));
      const absent = (v) => v === null || v === undefined;
      shown = [...shown].sort((a, b) => {
        const [p, q] = [pick(a), pick(b)];
        if (absent(p) || absent(q)) return absent(p) - absent(q);
        return (typeof p === "string" ? p.localeCompare(q) : p === q ? 0 : p - q) * (down ? -1 : 1);
      });
    }
    const thead = make("thead"), head = make("tr"), body = make("tbody");
    const heading = (label, key, downFirst) => {
      const active = state.sort && state.sort.key === key;
      const cell = make("th", { scope: "col", "aria-sort": active ? (state.sort.down ? "descending" : "ascending") : "none" });
      const button = make("button", { type: "button" }, label + (active ? (state.sort.down ? " ▾" : " ▴") : ""));
      button.onclick = () => { state.sort = { key, down: active ? !state.sort.down : downFirst }; drawMetrics(); };
      cell.append(button);
      head.append(cell);
    };
    if (state.all) heading("scene", "scene", false);
    heading("method", "method", false);
    // A scene without a truth has few figures: columns that nobody fills are left out.
    const filled = columns.map((c, i) => [c, i]).filter(([, i]) => shown.some((line) => line.values[i] !== null));
    filled.forEach(([c, i]) => heading(c.key + (c.unit ? ` / ${c.unit}` : "") + (c.higher ? " ↑" : " ↓"), i, c.higher));
    thead.append(head);
    for (const line of shown) {
      const tr = make("tr");
      if (state.all) tr.append(make("td", {}, line.scene));
      tr.append(make("td", { title: line.method }, line.method));
      filled.forEach(([c, i]) => {
        const v = numeric(line.values[i]);
        const text = v === null ? "–" : Number.isFinite(v) ? v.toFixed(c.digits) : v > 0 ? "∞" : "−∞";
        tr.append(make("td", { class: line.best[i] ? "best" : "", "data-metric": c.key, "data-method": line.method, "data-scene": line.scene }, text));
      });
      body.append(tr);
    }
    table.append(thead, body);
  }

  function layout() {
    const s = scene();
    const room = $("view").clientWidth || 600;
    const fit = Math.min(room, (0.78 * window.innerHeight * s.columns) / s.rows);
    const width = Math.max(1, Math.floor(fit) * 2 ** state.zoom);
    const frame = $("frame");
    frame.style.width = `${width}px`;
    frame.style.height = `${(width * s.rows) / s.columns}px`;
    $("zoom").textContent = `${2 ** state.zoom}×`;
    $("out").disabled = state.zoom === 0;
    $("in").disabled = state.zoom === 5;
    $("divider").style.left = `${state.swipe}%`;
    $("canvas-left").style.clipPath = `inset(0 ${100 - state.swipe}% 0 0)`;
    $("canvas-right").style.clipPath = `inset(0 0 0 ${state.swipe}%)`;
    $("tag-left").style.visibility = state.swipe > 8 ? "" : "hidden";
    $("tag-right").style.visibility = state.swipe < 92 ? "" : "hidden";
    $("cross").style.left = `${(100 * (state.column + 0.5)) / s.columns}%`;
    $("cross").style.top = `${(100 * (state.row + 0.5)) / s.rows}%`;
  }
  function controls() {
    const s = scene();
    $("scene").value = state.scene;
    $("band").max = s.nm.length - 1;
    $("band").value = state.band;
    $("band").setAttribute("aria-valuetext", `${s.nm[state.band].toFixed(1)} nm`);
    $("wavelength").textContent = `${s.nm[state.band].toFixed(1)} nm (${state.band + 1} of ${s.nm.length})`;
    $("left").value = state.left;
    $("right").value = state.right;
    $("swipe").value = state.swipe;
    for (const radio of document.querySelectorAll("[name=mode]")) radio.checked = radio.value === state.mode;
    document.querySelector("[name=mode][value=error]").disabled = truthIndex() < 0;
  }
  function fillScene() {
    const s = scene();
    for (const id of ["left", "right"]) {
      const options = s.images.map((image, index) => make("option", { value: index }, `${index + 1} ${image.name}`));
      if (s.snapshot) options.push(make("option", { value: s.images.length }, "snapshot"));
      $(id).replaceChildren(...options);
    }
    const points = s.points.map(([row, column], i) => {
      const button = make("button", { type: "button" }, `point ${i + 1}`);
      button.onclick = () => update({ row, column });
      return button;
    });
    $("points").replaceChildren(...points);
    const lines = [];
    for (const image of s.images) if (image.note) lines.push(`${image.name}: ${image.note}`);
    lines.push(...s.provenance);
    const worst = Math.max(...s.images.map((image) => image.error));
    const bits = s.images[0].packed.bits;
    lines.push(`Values in this page are quantised to ${bits} bits: at most ${worst.toExponential(1)} from the computed ones` + (s.block > 1 ? `, after averaging ${s.block}×${s.block} pixels` : "") + ". Metrics were computed from the full cubes.");
    lines.push(`Made by cassi ${data.version}.`);
    $("provenance").replaceChildren(...lines.map((line) => make("div", {}, line)));
  }
  function startOf(index) {
    const s = data.scenes[index];
    const [row, column] = s.points[0];
    return { row, column, band: Math.min(state.band, s.nm.length - 1), left: 0, right: Math.min(1, s.images.length - 1), mode: s.images.some((image) => image.truth) || state.mode !== "error" ? state.mode : "colour" };
  }
  function remember() {
    const s = state, theme = document.documentElement.dataset.theme;
    history.replaceState(null, "", `#scene=${s.scene}&band=${s.band}&pixel=${s.row},${s.column}&mode=${s.mode}&left=${s.left}&right=${s.right}&swipe=${s.swipe}&zoom=${s.zoom}${theme ? `&theme=${theme}` : ""}`);
  }
  function update(change, restored = false) {
    const before = { ...state };
    if (change.scene !== undefined && (change.scene !== state.scene || restored)) {
      const index = clamp(change.scene, 0, data.scenes.length - 1);
      change = { ...startOf(index), ...change, scene: index };
    }
    Object.assign(state, change);
    const s = scene();
    const whole = (key, low, high) => { state[key] = clamp(Math.round(Number(state[key]) || 0), low, high); };
    whole("band", 0, s.nm.length - 1);
    whole("row", 0, s.rows - 1);
    whole("column", 0, s.columns - 1);
    for (const side of ["left", "right"]) whole(side, 0, s.images.length - (s.snapshot ? 0 : 1));
    whole("swipe", 0, 100);
    whole("zoom", 0, 5);
    if (!["colour", "band", "error"].includes(state.mode) || (state.mode === "error" && truthIndex() < 0)) state.mode = "colour";
    if (restored || state.scene !== before.scene) { forget(state.scene); fillScene(); drawMetrics(); }
    controls();
    layout();
    remember();
    const moved = (...keys) => restored || keys.some((key) => state[key] !== before[key]);
    if (moved("zoom")) centre();
    if (moved("scene", "mode", "left", "right") || (state.mode === "band" && moved("band"))) stale.add("pictures");
    if (moved("scene", "band", "row", "column")) stale.add("spectra");
    draw();
  }
  const stale = new Set();
  let running = false;
  async function draw() {
    if (stale.size === 0 || running) return;
    running = true;
    document.body.dataset.ready = "no";
    try {
      while (stale.size > 0) {
        // A slider moves more often than the screen is drawn.
        await new Promise(requestAnimationFrame);
        const shown = state.scene, s = scene(), parts = [...stale];
        stale.clear();
        if (!decoded.has(`${shown}/0`)) $("status").textContent = "Unpacking …";
        const cubes = await Promise.all(Array.from({ length: s.images.length + (s.snapshot ? 1 : 0) }, (_, index) => cube(shown, index)));
        if (shown !== state.scene) continue; // both parts are stale again
        if (parts.includes("pictures")) drawPictures(cubes);
        if (parts.includes("spectra")) drawSpectra(cubes);
      }
      $("status").textContent = "";
      document.body.dataset.ready = "yes";
    } catch (error) {
      $("status").textContent = `The pictures cannot be shown: ${error.message}. A browser from 2023 or later is needed.`;
    } finally { running = false; }
  }
  // Scrolls an enlarged picture so that the chosen pixel is in the middle.
  function centre() {
    const stage = $("stage"), cross = $("cross");
    stage.scrollTo(cross.offsetLeft - stage.clientWidth / 2, cross.offsetTop - stage.clientHeight / 2);
  }
  function restore() {
    const wanted = new URLSearchParams(location.hash.slice(1));
    const change = { scene: Number(wanted.get("scene")) || 0 };
    for (const key of ["band", "left", "right", "swipe", "zoom"]) if (wanted.has(key)) change[key] = Number(wanted.get(key));
    if (wanted.has("mode")) change.mode = wanted.get("mode");
    if (wanted.has("pixel")) [change.row, change.column] = wanted.get("pixel").split(",").map(Number);
    if (["light", "dark"].includes(wanted.get("theme"))) document.documentElement.dataset.theme = wanted.get("theme");
    nameTheme();
    update(change, true);
  }

  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (document.documentElement.dataset.theme || (system.matches ? "dark" : "light")) === "dark";
  const nameTheme = () => { $("theme").textContent = isDark() ? "Light" : "Dark"; };
  function switchTheme() {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    nameTheme();
    remember();
  }
  system.addEventListener("change", nameTheme);
  $("scene").append(...data.scenes.map((s, i) => make("option", { value: i }, s.title)));
  $("scene").onchange = (event) => update({ scene: Number(event.target.value) });
  for (const id of ["left", "right", "band", "swipe"]) $(id).oninput = (event) => update({ [id]: Number(event.target.value), ...(id === "band" && state.mode === "colour" ? { mode: "band" } : {}) });
  // A list takes letters and digits for itself: one chosen from with the mouse gives the keys back.
  for (const id of ["scene", "left", "right"]) {
    let pointed = false;
    $(id).addEventListener("pointerdown", () => { pointed = true; });
    $(id).addEventListener("keydown", () => { pointed = false; });
    $(id).addEventListener("change", () => { if (pointed) $(id).blur(); });
  }
  $("mode").onchange = (event) => update({ mode: event.target.value });
  $("in").onclick = () => update({ zoom: state.zoom + 1 });
  $("out").onclick = () => update({ zoom: state.zoom - 1 });
  $("theme").onclick = switchTheme;
  $("help-button").onclick = () => $("help").showModal();
  $("all-scenes").onchange = (event) => { state.all = event.target.checked; drawMetrics(); };
  $("all-scenes").parentElement.hidden = data.scenes.length < 2;
  const place = (event) => {
    const box = $("frame").getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  };
  $("frame").addEventListener("click", (event) => {
    if (event.target === $("divider")) return;
    const [x, y] = place(event);
    update({ row: Math.floor(y * scene().rows), column: Math.floor(x * scene().columns) });
  });
  $("divider").addEventListener("pointerdown", (event) => {
    $("divider").setPointerCapture(event.pointerId);
    event.preventDefault();
  });
  $("divider").addEventListener("pointermove", (event) => {
    if ($("divider").hasPointerCapture(event.pointerId)) update({ swipe: 100 * place(event)[0] });
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || $("help").open) return;
    if (event.target.tagName === "SELECT") return;
    const last = scene().images.length - 1;
    const digit = /^Digit([1-9])$/.exec(event.code);
    if (digit) {
      if (digit[1] - 1 <= last) update({ [event.shiftKey ? "left" : "right"]: digit[1] - 1 });
      return;
    }
    // Arrow keys keep their own meaning in sliders and radio buttons.
    const own = event.target.tagName === "INPUT" && event.key.startsWith("Arrow");
    const banded = (step) => ({ band: state.band + step, ...(state.mode === "colour" ? { mode: "band" } : {}) });
    const changes = {
      ArrowLeft: () => banded(-1), ArrowRight: () => banded(1),
      c: () => ({ mode: "colour" }), b: () => ({ mode: "band" }), e: () => ({ mode: "error" }),
      w: () => ({ row: state.row - 1 }), s: () => ({ row: state.row + 1 }), a: () => ({ column: state.column - 1 }), d: () => ({ column: state.column + 1 }),
      "+": () => ({ zoom: state.zoom + 1 }), "=": () => ({ zoom: state.zoom + 1 }), "-": () => ({ zoom: state.zoom - 1 }),
      "[": () => ({ swipe: state.swipe - 5 }), "]": () => ({ swipe: state.swipe + 5 }),
      n: () => ({ scene: (state.scene + 1) % data.scenes.length }),
    };
    if (event.key === "t") switchTheme();
    else if (event.key === "?") $("help").showModal();
    else if (changes[event.key] && !own) { update(changes[event.key]()); event.preventDefault(); }
  });
  // The window's size, and the page's scroll bar that comes with its contents.
  new ResizeObserver(() => { layout(); stale.add("spectra"); draw(); }).observe($("view"));
  window.addEventListener("resize", layout);
  window.addEventListener("hashchange", restore);
  restore();
})();
