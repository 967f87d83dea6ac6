"use strict";
// The runs: the selection, the score that is shown, and the learning curves.

const MOST_CURVES = 30;
const COLOURS_BY = [
  "model",
  "kind",
  "status",
  "study",
  "confirmation",
  "experiment",
  "optim",
  "scheduler",
  "augment",
  "train",
  "data",
];
const selected = new Set();
let score = data.runs.scores[0] ?? null;
let colourBy = null;
let runsTable;

const runName = (run) => valueOf("run", run);
const completed = (run) => valueOf("status", run) === "completed";
const scored = (run) => score !== null && valueOf(score.column, run) !== null && valueOf("parameters", run) !== null;

/** One panel per measure and split, so that no axis mixes two. */
function curvesFigure(now) {
  const host = byId("curves-figure");
  const { split } = score;
  const runs = [...selected].filter((run) => data.details.curves.runs[run]).slice(0, MOST_CURVES);
  const measures = [
    [`${split}_accuracy`, `${split}_averaged_accuracy`, `${split} accuracy (%)`],
    [`${split}_loss`, `${split}_averaged_loss`, `${split} loss (nats)`],
    ["train_accuracy", null, "training accuracy (%)"],
    ["train_loss", null, "training loss (nats)"],
  ];
  const inLegend = new Set(); // each run once, in the first panel that has it
  const list = measures.map((measure) => curvePanel(now, runs, measure, inLegend));
  const drawn = list.filter((panel) => panel.traces.length);
  return panels(host, now, drawn, { wide: 480, high: 300 });
}

/** Epochs and values of one column of a run's metrics, without missing values; null if the run has none. */
function curveOf(run, name) {
  const { header, values } = data.details.curves.runs[run];
  const names = data.details.curves.heads[header];
  if (!names.includes(name)) return null;
  const [epochs, measured] = [values[names.indexOf("epoch")], values[names.indexOf(name)]];
  const shown = [...epochs.keys()].filter((position) => measured[position] !== null);
  return shown.length ? { x: shown.map((index) => epochs[index]), y: shown.map((index) => measured[index]) } : null;
}

/** One line per run; diamonds for averaged weights, which only the last epochs may have. */
function curvePanel(now, runs, [name, averaged, title], inLegend) {
  const traces = runs.flatMap((run, position) => {
    const dash = ["solid", "dash", "dot", "dashdot"][Math.floor(position / now.colours.length) % 4];
    const color = now.colours[position % now.colours.length];
    const named = plain(runName(run)).replaceAll("%{", "% {");
    const drawn = (curve, weights, more) => {
      if (!curve) return [];
      const showlegend = !inLegend.has(run);
      inLegend.add(run);
      return {
        ...curve,
        name: plain(runName(run)),
        type: "scatter",
        legendgroup: `run ${run}`,
        showlegend,
        hovertemplate: `${named}${weights}<br>epoch %{x}: %{y}<extra></extra>`,
        ...more,
      };
    };
    const own = curveOf(run, name);
    const mode = own?.x.length > 40 ? "lines" : "lines+markers";
    return [
      drawn(own, "", { mode, line: { color, width: 2, dash }, marker: { size: 5 } }),
      drawn(averaged && curveOf(run, averaged), ", averaged weights", {
        mode: "lines+markers",
        line: { color, width: 1, dash: "dot" },
        marker: { symbol: "diamond-open", size: 9, line: { width: 1.5 } },
      }),
    ].flat();
  });
  const accuracy = name.endsWith("_accuracy");
  const values = traces.flatMap(({ y }) => y);
  const logarithmic = !accuracy && Math.min(...values) > 0 && Math.max(...values) > 10 * Math.min(...values);
  const range = accuracy && values.length ? { range: accuracyLimits(values) } : {};
  const y = logarithmic ? logAxis(Math.min(...values), Math.max(...values)) : range;
  const below = range.range ? belowShown(values, range.range[0]) : "";
  return {
    title: below ? `${title} (${below})` : title,
    traces,
    threshold: accuracy && range.range?.[0] < data.threshold && data.threshold < range.range[1],
    x: { title: "epoch", rangemode: "tozero" },
    y,
  };
}

function selectionChanged() {
  const drawable = [...selected].filter((run) => data.details.curves.runs[run]).length;
  const host = byId("curves-figure");
  host.hidden = !(drawable && score);
  byId("clear").setAttribute("aria-disabled", selected.size === 0); // a disabled button would lose the focus
  const first = drawable > MOST_CURVES ? ` (the first of ${drawable})` : "";
  const about = `Curves of ${counted(Math.min(drawable, MOST_CURVES), "run")} selected in the table${first}.`;
  byId("curves-about").textContent = drawable
    ? `${about} Lines: raw weights; diamonds: averaged weights. Click on a name in the legend to hide its run.`
    : "Select runs in the table or in the chart to see their learning curves.";
  if (drawable && score) showFigure(host, curvesFigure);
  showRunCount();
  redrawSize();
}

function showRunCount() {
  const [left, all] = [runsTable.rows.length, runsTable.count];
  const picked = selected.size ? `, ${selected.size.toLocaleString("en")} selected` : "";
  byId("runs-status").textContent =
    (left === all ? counted(all, "run") : `${left.toLocaleString("en")} of ${counted(all, "run")}`) + picked;
}

function redrawSize() {
  const host = byId("size-figure");
  const runs = score ? runsTable.rows.filter(scored) : [];
  host.hidden = !score;
  if (!score) {
    byId("size-about").textContent = "No run has been evaluated yet.";
    return;
  }
  const others = publishedHere().length
    ? " Diamonds are single published figures; a triangle is a published lower bound. " +
      "The table below states how each was measured."
    : "";
  byId("size-about").textContent =
    `${counted(runs.length, "run")} of the table with a ${scoreShown(score)}. ` +
    "Hollow dots are runs that were not completed. " +
    "The Pareto line connects single runs, not means: the best of many scores is biased upward. " +
    `Click on a dot to select its run.${others}`;
  showFigure(host, sizeFigure);
}
