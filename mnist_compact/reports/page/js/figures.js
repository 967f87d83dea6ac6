"use strict";
// Charts are drawn when they are scrolled near the window and when the page is printed, and redrawn when the system
// switches between light and dark colours.

const CHART = {
  responsive: true,
  displaylogo: false,
  showSendToCloud: false, // the page sends no data anywhere
  modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
};
const LIGHT = ["#0b66b5", "#d2560a", "#078059", "#b3508f", "#8a6a00", "#5e4fc2", "#3c7d8c", "#7a4a2b"];
const DARK = ["#5fb0f0", "#ff9652", "#36c99b", "#ec9fcb", "#e3bd4a", "#ab9ff5", "#7cc7d6", "#d3a07c"];
const PRINTED_WIDTH = "660px"; // the width between the margins of A4 and Letter paper
const dark = matchMedia("(prefers-color-scheme: dark)");
const touch = matchMedia("(pointer: coarse)"); // on a touch screen a chart scrolls the page instead of zooming

/** Escape a text for Plotly, which interprets some HTML. */
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

/** A logarithmic axis from low to high with a few round tick labels. */
function logAxis(low, high) {
  const decades = [...Array(24).keys()].map((position) => 10 ** (position - 12));
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

/** Show the figure of build(theme) → {traces, layout, height} in an element; call it again after a change. */
function showFigure(host, build) {
  const known = figures.get(host);
  figures.set(host, { build, drawn: known?.drawn ?? false });
  if (known?.drawn) draw(host);
  else if (!known) nearness.observe(host);
}

/** Remove the charts within an element before it is emptied. */
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

/** Draw every visible chart in light colours and as wide as paper; after printing restore the charts of the page. */
function setPrinting(printing) {
  document.documentElement.classList.toggle("printing", printing);
  for (const [host, figure] of figures) {
    if (printing ? !host.checkVisibility() : !figure.drawn) continue;
    host.style.width = printing ? PRINTED_WIDTH : "";
    Plotly.purge(host); // otherwise a drawn chart keeps its width
    figure.drawn = false;
    draw(host);
  }
}
addEventListener("beforeprint", () => setPrinting(true));
addEventListener("afterprint", () => setPrinting(false));

/** Axis limits (per cent) that show the better values in detail; a few low values fall outside. */
function accuracyLimits(values) {
  const ordered = values.toSorted((a, b) => a - b);
  const best = ordered.at(-1);
  const median = ordered[Math.floor(ordered.length / 2)];
  const low = Math.max(ordered[0], Math.min(ordered[Math.floor(ordered.length / 5)], best - 6 * (best - median)));
  const margin = Math.max(0.08 * (best - low), 0.05);
  return [low - margin, Math.min(best + margin, 100 + margin / 2)];
}

/** A note on the values below the limits, which the chart does not show. */
function belowShown(values, low) {
  const below = values.filter((value) => value < low);
  return below.length ? `${counted(below.length, "point")} below, down to ${numberShown(Math.min(...below), 2)} %` : "";
}

/** Annotations with a text at the lower right of a chart, if the text is not empty. */
function footnotes(now, text) {
  const corner = { xref: "x domain", yref: "y domain", x: 0.99, y: 0.01, xanchor: "right", yanchor: "bottom" };
  return text ? [{ ...corner, text, showarrow: false, font: { color: now.quiet, size: 11 } }] : [];
}

/** A dashed line across a panel at the threshold accuracy. */
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

/** Small charts in a grid with as many columns as fit; each panel is {title, traces, x, y}. */
function panels(host, now, list, { wide = 380, high = 300, legend = true } = {}) {
  const columns = Math.max(1, Math.min(list.length, Math.floor(host.clientWidth / wide)));
  const rows = Math.ceil(list.length / columns);
  const layout = { annotations: [], shapes: [], margin: { l: 10, r: 15, t: 35, b: 10 }, showlegend: legend };
  const gapX = columns > 1 ? 0.09 : 0;
  const gapY = rows > 1 ? 85 / (rows * high) : 0;
  const traces = list.flatMap((panel, position) => {
    const number = position ? position + 1 : "";
    const [row, column] = [Math.floor(position / columns), position % columns];
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
