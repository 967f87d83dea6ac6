"use strict";
// Charts are drawn when they come near the window, when the page is printed, and again when the system turns light or
// dark.

const CHART = {
  responsive: true,
  displaylogo: false,
  showSendToCloud: false, // a page about one's own runs sends nothing anywhere
  modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
};
const LIGHT = ["#0b66b5", "#d2560a", "#078059", "#b3508f", "#8a6a00", "#5e4fc2", "#3c7d8c", "#7a4a2b"];
const DARK = ["#5fb0f0", "#ff9652", "#36c99b", "#ec9fcb", "#e3bd4a", "#ab9ff5", "#7cc7d6", "#d3a07c"];
const PRINTED_WIDTH = "660px"; // what A4 and Letter paper have between their margins
const dark = matchMedia("(prefers-color-scheme: dark)");
const touch = matchMedia("(pointer: coarse)"); // a finger on a chart scrolls the page, where a mouse zooms

/** Plotly reads a little HTML in its texts: here a name is just a name. */
const plain = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

const isPrinting = () => document.documentElement.classList.contains("printing");

function theme() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  return {
    text: colour("text"),
    quiet: colour("quiet"),
    line: colour("line"),
    accent: colour("accent"),
    good: colour("good"),
    surface: colour("surface"),
    colours: dark.matches && !isPrinting() ? DARK : LIGHT,
  };
}

function baseLayout({ text, line, surface }) {
  return {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: text, family: "system-ui, sans-serif", size: 13 },
    margin: { l: 60, r: 15, t: 30, b: 50 },
    hovermode: "closest",
    dragmode: touch.matches ? false : "zoom",
    hoverlabel: { bgcolor: surface, bordercolor: line, font: { color: text }, align: "left" },
    legend: { orientation: "h", x: 0, y: 1.01, yanchor: "bottom" },
    modebar: { bgcolor: "rgba(0,0,0,0)" },
  };
}

const axis = ({ line }, { title, ...more } = {}) => ({
  gridcolor: line,
  zerolinecolor: line,
  linecolor: line,
  automargin: true,
  ...(title ? { title: { text: plain(title), font: { size: 12 }, standoff: 6 } } : {}),
  ...more,
});

/** A logarithmic axis from low to high with a handful of round numbers at it. */
function logAxis(low, high) {
  const decades = [...Array(24).keys()].map((place) => 10 ** (place - 12));
  const within = (steps) =>
    decades
      .flatMap((decade) => steps.map((step) => Number((step * decade).toPrecision(1))))
      .filter((tick) => tick >= low && tick <= high);
  const ticks = [[1, 2, 5], [1, 3], [1]].map(within).find((found) => found.length <= 5) ?? within([1]);
  return {
    type: "log",
    tickvals: ticks,
    ticktext: ticks.map((tick) => tick.toLocaleString("en", { maximumSignificantDigits: 3 })),
  };
}

const figures = new Map(); // element → {build, drawn}

const nearness = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting && !figures.get(target).drawn) draw(target);
    }
  },
  { rootMargin: "200px" },
);

/** Show build(theme) → {traces, layout, height} in an element; again whenever it has changed. */
function showFigure(host, build) {
  const known = figures.get(host);
  figures.set(host, { build, drawn: known?.drawn ?? false });
  if (known?.drawn) draw(host);
  else if (!known) nearness.observe(host);
}

/** The charts within an element are drawn no more: it is emptied next. */
function forgetFigures(within) {
  for (const host of [...figures.keys()].filter((figure) => within.contains(figure))) {
    nearness.unobserve(host);
    Plotly.purge(host);
    figures.delete(host);
  }
}

function draw(host) {
  const figure = figures.get(host);
  const now = theme();
  const { traces, layout, height } = figure.build(now);
  if (height) host.style.height = `${height}px`;
  Plotly.react(host, traces, { ...baseLayout(now), ...layout }, CHART);
  if (!figure.drawn) host.on("plotly_click", ({ points }) => host.onpoint?.(points[0]));
  figure.drawn = true;
}

dark.addEventListener("change", () => {
  for (const [host, { drawn }] of figures) if (drawn) draw(host);
});

/** Draw every chart that is not hidden, in light colours and as wide as paper; afterwards as the page has it. */
function setPrinting(printing) {
  document.documentElement.classList.toggle("printing", printing);
  for (const [host, figure] of figures) {
    if (printing ? !host.checkVisibility() : !figure.drawn) continue;
    host.style.width = printing ? PRINTED_WIDTH : "";
    Plotly.purge(host); // a chart that is drawn keeps its width otherwise
    figure.drawn = false;
    draw(host);
  }
}
addEventListener("beforeprint", () => setPrinting(true));
addEventListener("afterprint", () => setPrinting(false));

/** Limits (per cent) that spread out the better values; a few far below fall outside. */
function accuracyLimits(values) {
  const ordered = values.toSorted((a, b) => a - b);
  const best = ordered.at(-1);
  const median = ordered[Math.floor(ordered.length / 2)];
  const low = Math.max(ordered[0], Math.min(ordered[Math.floor(ordered.length / 5)], best - 6 * (best - median)));
  const margin = Math.max(0.08 * (best - low), 0.05);
  return [low - margin, Math.min(best + margin, 100 + margin / 2)];
}

/** What lies below such limits, for a chart that leaves it out. */
function belowShown(values, low) {
  const below = values.filter((value) => value < low);
  return below.length ? `${counted(below.length, "point")} below, down to ${numberShown(Math.min(...below), 2)} %` : "";
}

/** Annotations: a text within a chart at its lower right, if there is one. */
function footnotes(now, text) {
  const corner = { xref: "x domain", yref: "y domain", x: 0.99, y: 0.01, xanchor: "right", yanchor: "bottom" };
  return text ? [{ ...corner, text, showarrow: false, font: { color: now.quiet, size: 11 } }] : [];
}

/** A dashed line across a panel, at the accuracy that is asked for. */
function thresholdLine(now, yref = "y") {
  const line = { color: now.quiet, width: 1, dash: "dash" };
  return {
    type: "line",
    xref: `${yref.replace("y", "x")} domain`,
    x0: 0,
    x1: 1,
    yref,
    y0: data.threshold,
    y1: data.threshold,
    line,
    layer: "below",
  };
}

/** Small charts in a grid: panels of {title, traces, x, y}; as many columns as there is room for. */
function panels(host, now, list, { wide = 380, high = 300, legend = true } = {}) {
  const columns = Math.max(1, Math.min(list.length, Math.floor(host.clientWidth / wide)));
  const rows = Math.ceil(list.length / columns);
  const layout = { annotations: [], shapes: [], margin: { l: 10, r: 15, t: 35, b: 10 }, showlegend: legend };
  const gapX = columns > 1 ? 0.09 : 0;
  const gapY = rows > 1 ? 85 / (rows * high) : 0;
  const traces = list.flatMap((panel, place) => {
    const number = place ? place + 1 : "";
    const [row, column] = [Math.floor(place / columns), place % columns];
    const width = (1 - gapX * (columns - 1)) / columns;
    const height = (1 - gapY * (rows - 1)) / rows;
    const left = column * (width + gapX);
    const top = 1 - row * (height + gapY);
    layout[`xaxis${number}`] = axis(now, { ...panel.x, domain: [left, left + width], anchor: `y${number}` });
    layout[`yaxis${number}`] = axis(now, {
      ...panel.y,
      domain: [Math.max(0, top - height), top],
      anchor: `x${number}`,
    });
    const at = { xref: "paper", yref: "paper", x: left, y: top, xanchor: "left", yanchor: "bottom", showarrow: false };
    layout.annotations.push({ ...at, text: plain(panel.title), font: { size: 13, color: now.text } });
    if (panel.threshold) layout.shapes.push(thresholdLine(now, `y${number}`));
    return panel.traces.map((trace) => ({ ...trace, xaxis: `x${number}`, yaxis: `y${number}` }));
  });
  const height = rows * high + 100;
  layout.legend = { orientation: "h", y: -55 / height, yanchor: "top" };
  return { traces, layout, height };
}
