"use strict";
// Shows the layers of this page: bytes (z, y, x), deflated, in base64. Nothing is loaded, and no text becomes markup.

const $ = (id) => document.getElementById(id);
const about = JSON.parse($("about").textContent);
const [Z, Y, X] = about.shape;
const STRIDE = [Y * X, X, 1];
const AXES = "zyx";
// What is nearly everywhere nearly nothing: where it is, the scan shows through.
const FAINT = ["entropy", "mutual_information"];
const DOUBTED = [213, 94, 0];
const EXTENT = about.shape.map((n, a) => n * about.factor[a] * (about.voxel_um ? about.voxel_um[a] : 1));
const layers = {};
const cross = about.shape.map((n) => n >> 1);
const state = { overlay: "labels", opacity: 0.45, hidden: false };
const views = [];
let active = null;

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

async function unpack(id) {
  const text = atob($(id).textContent);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  $(id).textContent = "";
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const values = new Uint8Array(await new Response(stream).arrayBuffer());
  if (values.length !== Z * Y * X) throw new Error(`${id}: ${values.length} voxels, not ${Z * Y * X}`);
  return values;
}

// ---- colours

function stops(name) {
  return (about.ramps[name] || about.ramps.other).map((hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)));
}

/** Red, green, blue and opacity (0 to 1) of each byte of the overlay. */
function table() {
  const out = new Float32Array(1024);
  if (state.overlay === "none" || state.hidden) return out;
  const ramp = stops(state.overlay);
  for (let v = 0; v < 256; v++) {
    let colour, alpha;
    if (state.overlay === "labels") {
      colour = about.colours[v];
      alpha = state.opacity * colour[3] / 255;
    } else if (state.overlay === "doubted") {
      [colour, alpha] = [DOUBTED, v ? state.opacity : 0];
    } else {
      const at = v / 255 * (ramp.length - 1), low = Math.min(Math.floor(at), ramp.length - 2);
      colour = ramp[low].map((c, i) => c + (ramp[low + 1][i] - c) * (at - low));
      alpha = FAINT.includes(state.overlay) && layers.grey ? state.opacity ** (3 - 2 * v / 255) : state.opacity;
    }
    out.set([colour[0], colour[1], colour[2], alpha], 4 * v);
  }
  return out;
}

// ---- planes

/** `across` and `down` are the axes that run so in the picture; `axis` is the one that its slider moves along. */
function addView(axis, across, down) {
  const nw = about.shape[across], nh = about.shape[down];
  const canvas = element("canvas", { width: nw, height: nh });
  const [lineA, lineD, bar] = ["across", "down", "bar"].map((c) => element("div", { className: c }));
  const frame = element("div", { className: "frame", tabIndex: 0 }, canvas, lineA, lineD, bar);
  frame.setAttribute("aria-label", `${AXES[axis].toUpperCase()} plane`);
  const slider = element("input", { type: "range", min: 0, max: about.shape[axis] - 1, step: 1, disabled: about.shape[axis] < 2 });
  slider.setAttribute("aria-label", `Slice along ${AXES[axis]}`);
  const where = element("output");
  const section = element("section", { className: "view" },
    element("h2", {}, element("span", { textContent: `${AXES[axis].toUpperCase()} plane` }),
      element("small", { textContent: `${AXES[across]} → ${AXES[down]} ↓` }), where), frame, slider);
  const view = { axis, across, down, canvas, frame, lineA, lineD, bar, slider, where, section,
    context: canvas.getContext("2d"), image: new ImageData(nw, nh), drawn: -1 };
  const point = (event) => {
    const box = canvas.getBoundingClientRect();
    move(across, Math.floor((event.clientX - box.left) / box.width * nw), false);
    move(down, Math.floor((event.clientY - box.top) / box.height * nh));
  };
  frame.addEventListener("pointerdown", (event) => {
    activate(view);
    frame.setPointerCapture(event.pointerId);
    point(event);
  });
  frame.addEventListener("pointermove", (event) => event.buttons && frame.hasPointerCapture(event.pointerId) && point(event));
  frame.addEventListener("focus", () => activate(view));
  let turned = 0;
  frame.addEventListener("wheel", (event) => {
    if (event.ctrlKey) return; // the browser's zoom
    event.preventDefault();
    activate(view);
    turned += event.deltaMode ? 50 * event.deltaY : event.shiftKey ? event.deltaY || event.deltaX : event.deltaY;
    const steps = Math.trunc(turned / 40);
    if (!steps) return;
    turned = 0;
    // a notch is one slice; a touchpad sends many small turns
    move(axis, cross[axis] + Math.sign(steps) * (event.shiftKey ? 10 : 1));
  }, { passive: false });
  slider.addEventListener("input", () => { activate(view); move(axis, Number(slider.value)); });
  views.push(view);
}

function activate(view) {
  active = view;
  for (const each of views) each.section.classList.toggle("active", each === view && views.length > 1);
}

function move(axis, to, show = true) {
  cross[axis] = Math.max(0, Math.min(about.shape[axis] - 1, to));
  if (show) draw();
}

function paint(view, colours) {
  const { axis, across, down, image } = view;
  const grey = layers.grey, over = layers[state.overlay === "none" ? "labels" : state.overlay];
  const nw = about.shape[across], nh = about.shape[down], out = image.data;
  let at = 0;
  for (let j = 0; j < nh; j++) {
    let i = cross[axis] * STRIDE[axis] + j * STRIDE[down];
    for (let k = 0; k < nw; k++, i += STRIDE[across], at += 4) {
      const c = 4 * over[i], alpha = colours[c + 3], base = (grey ? grey[i] : 0) * (1 - alpha);
      out[at] = base + colours[c] * alpha;
      out[at + 1] = base + colours[c + 1] * alpha;
      out[at + 2] = base + colours[c + 2] * alpha;
      out[at + 3] = 255;
    }
  }
  view.context.putImageData(image, 0, 0);
  view.drawn = cross[axis];
}

/** First and last voxel of the scan along an axis, below the shown voxel `at`. */
function range(axis, at) {
  const first = at * about.factor[axis], last = Math.min(first + about.factor[axis], about.full[axis]) - 1;
  return first >= last ? `${first}` : `${first}–${last}`;
}

/** Draws anew the planes that moved, or all of them. */
function draw(all = false) {
  const colours = table();
  for (const view of views) {
    const { axis, across, down } = view;
    if (all || view.drawn !== cross[axis]) paint(view, colours);
    view.lineA.style.top = `${(cross[down] + 0.5) / about.shape[down] * 100}%`;
    view.lineD.style.left = `${(cross[across] + 0.5) / about.shape[across] * 100}%`;
    view.slider.value = cross[axis];
    view.where.textContent = `${AXES[axis]} ${range(axis, cross[axis])}${about.full[axis] > 1 ? ` of 0–${about.full[axis] - 1}` : ""}`;
  }
  readOut();
}

// ---- the panel

function value(name, v) {
  const { low, high, unit } = about.layers[name];
  const digits = Math.max(0, 3 - Math.ceil(Math.log10(Math.max(Math.abs(low), Math.abs(high), 1e-3))));
  return (low + v / 255 * (high - low)).toFixed(digits) + (unit && ` ${unit}`);
}

function rows(body, lines) {
  body.replaceChildren(...lines.map(([name, ...cells]) => element("tr", {},
    element("th", { textContent: name, scope: "row" }), ...cells.map((cell) => element("td", { textContent: cell })))));
}

function readOut() {
  const i = cross.reduce((sum, at, axis) => sum + at * STRIDE[axis], 0);
  const lines = [["z, y, x", cross.map((at, axis) => range(axis, at)).join(", ")]];
  if (about.voxel_um) {
    const um = cross.map((at, a) => (at + 0.5) * about.factor[a] * about.voxel_um[a]);
    lines.push(["from the corner", `${um.map((v) => Number(v.toPrecision(4))).join(", ")} µm`]);
  }
  if (layers.grey) lines.push(["grey value", value("grey", layers.grey[i])]);
  const label = layers.labels[i], known = about.classes.find((c) => c.value === label);
  lines.push(["label", known ? `${label} ${known.name}` : `${label}`]);
  for (const name of ["probability", "entropy", "mutual_information"]) lines.push([about.layers[name].title, value(name, layers[name][i])]);
  if (layers.doubted) lines.push([about.layers.doubted.title, layers.doubted[i] ? "decided here" : "not asked"]);
  rows($("voxel").tBodies[0], lines);
}

function swatch(rgba) {
  const made = element("span", { className: "swatch" });
  made.style.background = `rgba(${rgba[0]}, ${rgba[1]}, ${rgba[2]}, ${rgba[3] / 255})`;
  return made;
}

function showKey() {
  const key = $("key");
  key.replaceChildren();
  if (state.overlay === "labels") {
    key.append(element("div", { className: "names" }, ...about.classes.map((c) => element("span", {}, swatch(c.rgba), c.name))));
  } else if (state.overlay === "doubted") {
    key.append(element("div", { className: "names" }, element("span", {}, swatch([...DOUBTED, 255]), "the second network decided")));
  } else if (state.overlay !== "none") {
    const { title, unit } = about.layers[state.overlay];
    const ramp = element("div", { className: "ramp" });
    ramp.style.background = `linear-gradient(to right, ${stops(state.overlay).map((c) => `rgb(${c.join(",")})`).join(",")})`;
    const of = state.overlay === "probability" && about.of ? ` of ${about.of}` : "";
    const ticks = [0, 63.75, 127.5, 191.25, 255].map((v) => element("span", { textContent: value(state.overlay, v).split(" ")[0] }));
    key.append(element("div", { textContent: title + of + (unit && ` (${unit})`) }), ramp, element("div", { className: "ticks" }, ...ticks));
  }
}

function buildPanel() {
  for (const name of ["labels", "probability", "entropy", "mutual_information", ...(layers.doubted ? ["doubted"] : []), "none"]) {
    const radio = element("input", { type: "radio", name: "overlay", value: name, checked: name === state.overlay });
    radio.addEventListener("change", () => { state.overlay = name; state.hidden = false; showKey(); draw(true); });
    const title = name === "labels" || name === "none" ? name : about.layers[name].title;
    $("overlay").append(element("label", {}, radio, title));
  }
  const opacity = $("opacity").querySelector("input");
  if (!layers.grey) opacity.value = 100;
  state.opacity = opacity.value / 100;
  opacity.addEventListener("input", () => { state.opacity = opacity.value / 100; draw(true); });
  const percent = (share) => `${(100 * share).toFixed(1)} %`;
  $("shares").hidden = !about.shares.length;
  rows($("shares").tBodies[0], about.shares.map(({ name, mean, low, high }) => [
    name, percent(mean), low === null || high === null ? "" : `${percent(low)} to ${percent(high)}`]));
  for (const row of $("shares").rows) {
    const known = about.classes.find((c) => c.name === row.cells[0].textContent);
    if (known) row.cells[0].prepend(swatch(known.rgba));
  }
}

function buildHeader() {
  $("name").textContent = about.name;
  $("facts").append(...about.facts.map(([name, text]) =>
    element("div", {}, element("dt", { textContent: name }), element("dd", { textContent: text }))));
  $("warnings").append(...about.warnings.map((text) => element("li", { textContent: text })));
}

// ---- layout

/** All planes at one scale, in line with each other, as large as can be: two by two or in a row, the panel where there is room. */
function layout() {
  const main = $("views"), single = views.length === 1, gap = 12, chrome = 52; // chrome: heading and slider of a plane
  const wide = main.clientWidth || document.body.clientWidth - 28;
  const high = Math.max(500, innerHeight - (main.getBoundingClientRect().top + scrollY) - 10);
  const side = 320 + gap, under = (wide > 900 ? 190 : 330) + gap; // the panel, beside or below
  const [w, h, d] = [EXTENT[views[0].across], EXTENT[views[0].down], single ? 0 : EXTENT[0]];
  const n = single ? 1 : 2;
  // name, width and height of all planes, how many columns and rows, what the panel takes
  const options = [["side", w + d, h + d, n, n, side, 0], ["below", w + d, h + d, n, n, 0, under]];
  if (!single) options.push(["cell", w + d, h + d, 2, 2, 0, 0], ["row", 2 * w + d, Math.max(h, d), 3, 1, 0, under]);
  const scales = options.map(([name, across, down, columns, lines, right, below]) => {
    const room = wide - right - gap * (columns - 1), tall = (high - below - (chrome + gap) * lines + gap) / down;
    const scale = Math.min(room / across, tall);
    if (d * scale >= (name === "cell" ? 290 : 200) || single) return scale;
    return name === "cell" ? 0 : Math.min((room - 200) / (across - d), tall); // a heading is no narrower
  });
  const narrow = !single && wide < 600; // a telephone scrolls
  const scale = narrow ? wide / Math.max(w, d) : Math.max(...scales);
  const name = narrow ? "stack" : options[scales.indexOf(scale)][0];
  const size = (axis) => Math.max(40, Math.floor(EXTENT[axis] * scale)); // of a few slices a strip that can be seen
  for (const view of views) {
    view.frame.style.width = `${size(view.across)}px`;
    view.frame.style.height = `${size(view.down)}px`;
    view.section.style.width = `${Math.max(size(view.across), 200)}px`;
    scaleBar(view, scale, size(view.across));
  }
  main.className = `${name}${single ? " single" : ""}`;
  $("panel").style.width = name === "cell" ? `${size(0)}px` : name === "side" ? `${side - gap}px` : "";
}

function scaleBar(view, scale, width) {
  view.bar.hidden = true;
  const room = width * 0.35 / scale;
  if (!about.voxel_um || Math.abs(EXTENT[view.across] * scale - width) > 1 || width < 120) return;
  const power = 10 ** Math.floor(Math.log10(room));
  const um = [5, 2, 1].map((n) => n * power).find((n) => n <= room);
  const [size, unit] = um >= 1000 ? [um / 1000, "mm"] : um < 1 ? [um * 1000, "nm"] : [um, "µm"];
  view.bar.textContent = `${Number(size.toPrecision(3))} ${unit}`;
  view.bar.style.width = `${um * scale}px`;
  view.bar.hidden = false;
}

function onKey(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || !active) return;
  const typing = event.target.tagName === "INPUT";
  const step = event.shiftKey ? 10 : 1;
  const moves = { PageUp: [active.axis, step], PageDown: [active.axis, -step] };
  if (!typing) Object.assign(moves, { ArrowLeft: [active.across, -step], ArrowRight: [active.across, step], ArrowUp: [active.down, -step], ArrowDown: [active.down, step] });
  if (moves[event.key]) {
    event.preventDefault();
    move(moves[event.key][0], cross[moves[event.key][0]] + moves[event.key][1]);
  } else if (event.key.toLowerCase() === "o") {
    state.hidden = !state.hidden;
    draw(true);
  }
}

async function start() {
  buildHeader();
  if (typeof DecompressionStream === "undefined") throw new Error("this browser is too old: it has no DecompressionStream");
  for (const name of Object.keys(about.layers)) layers[name] = await unpack(`layer-${name}`);
  // a plane with an axis of one voxel is a line: there is nothing to see
  const planes = [[0, 2, 1], [2, 0, 1], [1, 2, 0]].filter(([, a, d]) => about.shape[a] > 1 && about.shape[d] > 1);
  for (const plane of planes.length ? planes : [[0, 2, 1]]) addView(...plane);
  $("views").prepend(...views.map((view) => view.section));
  buildPanel();
  showKey();
  $("state").hidden = true;
  $("views").hidden = false;
  activate(views[0]);
  layout();
  draw(true);
  addEventListener("resize", layout);
  addEventListener("keydown", onKey);
}

start().catch((error) => { $("state").textContent = `This page cannot be shown: ${error.message}`; });
