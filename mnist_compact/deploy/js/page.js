"use strict";
// The page: bars, the image that the network sees, and the maps of all layers with their receptive fields.

const network = JSON.parse(byId("data").textContent);
const values = decoded(network.values);
const LAST = network.maps.length - 1;
const NOTHING = "Draw a digit from 0 to 9.";
const MARKED = [214, 0, 170, 255]; // red, green, blue and opacity of the unit whose receptive field is shown
const ABOUT_IMAGE = byId("unit").textContent;

/** element("p", {class: "x"}, "text", child): an element with attributes and children. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const percent = (share) => `${(100 * share).toFixed(1)} %`;

/** The receptive field of a unit within the image: [first, last] pixel, counted from 0. */
function fieldOf({ start, jump, field }, unit) {
  const first = start + unit * jump;
  return [Math.max(0, first), Math.min(SIDE, first + field) - 1];
}

let image = null; // the levels that the network sees, or null if nothing is drawn
let maps = null; // their maps
let pointed = null; // the unit whose field is shown: {layer, x, y}
const layers = network.steps.map((step) => makeLayer(step, network.maps[step.target]));

function makeLayer(step, map) {
  const size = `${map.channels} ${map.channels === 1 ? "map" : "maps"} of ${map.side}×${map.side}`;
  const sees = Math.min(map.field, SIDE);
  const about = `${size}, receptive field ${sees}×${sees} px${map.field > SIDE ? " (all)" : ""}`;
  const label = `Layer ${step.target}: ${step.name}, ${about}. Arrow keys move between units.`;
  const canvases = Array.from({ length: map.channels }, () => element("canvas", { width: map.side, height: map.side }));
  const host = element("div", { class: map.side === 1 ? "maps points" : "maps", tabindex: "0", role: "group", "aria-label": label });
  host.append(...canvases);
  const layer = { map, number: step.target, canvases, host };
  const pointAt = ({ target, offsetX, offsetY }) => {
    if (!canvases.includes(target)) return;
    const unit = (at, side) => Math.min(map.side - 1, Math.max(0, Math.floor((at * map.side) / side)));
    point({ layer, x: unit(offsetX, target.clientWidth), y: unit(offsetY, target.clientHeight) });
  };
  host.addEventListener("pointermove", pointAt);
  host.addEventListener("pointerdown", pointAt);
  host.addEventListener("pointerleave", ({ pointerType }) => pointerType === "mouse" && point(null)); // a finger leaves at once
  host.addEventListener("focus", () => {
    if (host.matches(":focus-visible")) point({ layer, x: Math.floor(map.side / 2), y: Math.floor(map.side / 2) });
  });
  host.addEventListener("blur", () => point(null));
  host.addEventListener("keydown", (event) => {
    if (!(event.key in ARROWS) || pointed?.layer !== layer) return;
    const [right, down] = ARROWS[event.key];
    const moved = (at, by) => Math.min(map.side - 1, Math.max(0, at + by));
    point({ layer, x: moved(pointed.x, right), y: moved(pointed.y, down) });
    event.preventDefault();
  });
  const title = element("h3", {}, `${step.target} · ${step.name}`);
  byId("layers").append(element("li", {}, title, element("p", { class: "quiet" }, about), host));
  return layer;
}

/** Show the receptive field of a unit, or none. */
function point(unit) {
  const before = pointed;
  pointed = unit;
  for (const { layer } of [before, unit].filter(Boolean)) drawLayer(layer);
  byId("field").hidden = !unit;
  if (!unit) {
    byId("unit").textContent = ABOUT_IMAGE;
    return;
  }
  const [[left, right], [top, bottom]] = [fieldOf(unit.layer.map, unit.x), fieldOf(unit.layer.map, unit.y)];
  const share = (pixels) => `${(100 * pixels) / SIDE}%`;
  Object.assign(byId("field").style, {
    left: share(left),
    top: share(top),
    width: share(right - left + 1),
    height: share(bottom - top + 1),
  });
  byId("unit").textContent =
    `Layer ${unit.layer.number}, row ${unit.y + 1}, column ${unit.x + 1} depends on ` +
    `rows ${top + 1}–${bottom + 1} and columns ${left + 1}–${right + 1}.`;
}

/** Draw a square canvas; colourOf(i) is red, green, blue and opacity of pixel i, each 0 … 255. */
function paint(canvas, colourOf) {
  const side = canvas.width;
  const pixels = new ImageData(side, side);
  for (let i = 0; i < side * side; i++) pixels.data.set(colourOf(i), 4 * i);
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

let colours;
/** The colours of the style sheet as numbers. */
function readColours() {
  const style = getComputedStyle(document.documentElement);
  const parts = (name) => style.getPropertyValue(name).match(/[0-9a-f]{2}/g).map((digits) => parseInt(digits, 16));
  colours = { positive: parts("--accent"), negative: parts("--negative") };
}

/** Colours: the stronger, the further from 0, in relation to the largest absolute value of the layer. */
function drawLayer({ map, number, canvases }) {
  const found = maps?.[number];
  const largest = found ? found.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-12) : 1;
  const marked = pointed?.layer.number === number && map.side > 1 ? pointed.y * map.side + pointed.x : -1;
  canvases.forEach((canvas, channel) => {
    paint(canvas, (i) => {
      if (i === marked) return MARKED;
      const value = found ? found[channel * map.side ** 2 + i] : 0;
      const colour = value > 0 ? colours.positive : colours.negative;
      return [...colour, (255 * Math.abs(value)) / largest];
    });
  });
}

const bars = Array.from({ length: 10 }, (_, digit) => {
  const fill = element("div");
  const text = element("span", { class: "percent" }, "–");
  const bar = element("div", { class: "bar", "aria-hidden": "true" }, fill);
  const line = element("li", {}, element("span", {}, String(digit)), bar, text);
  byId("bars").append(line);
  return { fill, text, line };
});

let best = null; // the digit with the largest probability and this probability

/** Compute everything from the drawing, and show it. */
function update() {
  image = toMnist(drawing.levels, drawing.canvas.height, drawing.canvas.width);
  maps = image && mapsOf(network, values, image);
  const probabilities = maps && softmax(maps[LAST]);
  best = probabilities && probabilities.indexOf(Math.max(...probabilities));
  bars.forEach(({ fill, text, line }, digit) => {
    fill.style.width = probabilities ? percent(probabilities[digit]).replace(" ", "") : "0";
    text.textContent = probabilities ? percent(probabilities[digit]) : "–";
    line.classList.toggle("best", digit === best);
  });
  paint(byId("image"), (i) => (image ? [image[i], image[i], image[i], 255] : [0, 0, 0, 255]));
  layers.forEach(drawLayer);
  return probabilities;
}

/** Say the answer; screen readers read it when it changes. */
function announce() {
  const probabilities = update();
  byId("answer").textContent = probabilities ? `This is a ${best}: ${percent(probabilities[best])}` : NOTHING;
}

let isWaiting = false;
/** Update before the next frame, once for several changes. */
function updateSoon() {
  if (isWaiting) return;
  isWaiting = true;
  requestAnimationFrame(() => {
    isWaiting = false;
    update();
  });
}

readColours();
const drawing = new Drawing(byId("paper"), updateSoon, announce);
byId("clear").addEventListener("click", () => drawing.clear());
byId("undo").addEventListener("click", () => drawing.undo());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  readColours();
  layers.forEach(drawLayer);
});
announce();
