"use strict";
// Confirmations: one dot per seed, the mean and its interval; one chart for each split and kind of weights.

const KINDS_OF_SEEDS = { confirmation: "Confirmations", ranking: "Rankings" };
const RANKED = "Candidates of a search, selected by these scores: the best of many scores is biased upward.";

function showConfirmations() {
  const host = byId("confirmations-body");
  const { groups, confidence } = data.confirmations;
  if (!groups.length) {
    host.append(element("p", { class: "quiet" }, "There are no confirmations under the searched folders."));
    return;
  }
  const unfinished = groups.filter(({ summary }) => !summary).map(({ name }) => name);
  if (unfinished.length)
    host.append(element("p", {}, `Confirmations without a completed seed: ${unfinished.join(", ")}.`));
  for (const [title, members] of Map.groupBy(
    groups.filter(({ summary }) => summary),
    ({ kind, split, weights }) => `${KINDS_OF_SEEDS[kind]}: ${split} accuracy, last epoch, ${weights} weights`,
  )) {
    const figure = element("div", { class: "figure", role: "img", "aria-label": title });
    figure.style.minHeight = `${confirmationHeight(members)}px`;
    const about =
      `Each dot is one seed. The diamond is their mean with Student's ${confidence} % interval, which may extend ` +
      `beyond the chart. The dashed line is at ${data.threshold} %.`;
    const ranked = members[0].kind === "ranking" ? [element("p", {}, RANKED)] : [];
    host.append(
      element("h3", {}, title),
      ...ranked,
      element("p", { class: "quiet" }, about),
      figure,
      confirmationTable(title, members),
    );
    showFigure(figure, (now) => confirmationFigure(now, members));
  }
}

const confirmationHeight = (members) => 150 + 56 * members.length;

function confirmationFigure(now, members) {
  const [{ split, weights }] = members;
  const names = members.map(({ name }) => name);
  // Seeds are shifted slightly in their order, so that equal scores remain visible.
  const heights = (group, position) => group.accuracies.map((_, seed) => position - 0.18 + 0.06 * (seed % 7));
  const seeds = members.map((group, position) => ({
    type: "scatter",
    mode: "markers",
    name: "seeds",
    x: group.accuracies,
    y: heights(group, position),
    legendgroup: "seeds",
    showlegend: position === 0,
    text: group.seeds.map((seed) => plain(`${group.name}, seed ${seed}`)),
    hovertemplate: "%{text}: %{x:.2f} %<extra></extra>",
    marker: { color: now.colours[0], size: 8, opacity: 0.65 },
  }));
  const half = members.map(({ summary }) => (summary.low === null ? 0 : summary.mean - summary.low));
  const means = {
    type: "scatter",
    mode: "markers",
    name: "mean and interval",
    x: members.map(({ summary }) => summary.mean),
    y: members.map((_, position) => position + 0.32),
    error_x: { type: "data", array: half, thickness: 2, width: 6, color: now.colours[1] },
    marker: { symbol: "diamond", size: 10, color: now.colours[1] },
    text: members.map(({ summary }) => confirmationShown(summary)),
    hovertemplate: "%{text}<extra></extra>",
  };
  const values = members.flatMap(({ accuracies }) => accuracies);
  // The range depends on the seeds: the interval of two seeds may be so wide that nothing else would be visible.
  const margin = Math.max(0.05, 0.35 * (Math.max(...values) - Math.min(...values)));
  const range = [Math.min(...values) - margin, Math.min(100, Math.max(...values) + margin)];
  const near = data.threshold > Math.min(...values) - 0.5 && data.threshold < Math.max(...values) + 0.5;
  const line = {
    type: "line",
    x0: data.threshold,
    x1: data.threshold,
    yref: "y domain",
    y0: 0,
    y1: 1,
    line: { color: now.quiet, width: 1, dash: "dash" },
    layer: "below",
  };
  const yaxis = axis(now, {
    tickvals: names.map((_, position) => position),
    ticktext: names.map(plain),
    range: [names.length - 0.4, -0.6],
    gridcolor: "rgba(0,0,0,0)",
    zeroline: false,
  });
  return {
    traces: [...seeds, means],
    height: confirmationHeight(members),
    layout: {
      shapes: near ? [line] : [],
      xaxis: axis(now, { title: `${split} accuracy, last epoch, ${weights} weights (%)`, zeroline: false, range }),
      yaxis,
      margin: { l: 10, r: 15, t: 10, b: 50 },
    },
  };
}

function confirmationShown({ n, mean, low, high, caution }) {
  const interval = low === null ? "" : `, ${numberShown(low, 3)} to ${numberShown(high, 3)}${caution}`;
  return `mean ${numberShown(mean, 3)} %, n = ${n}${interval}`;
}

function confirmationTable(title, groups) {
  const column = (name, kind, value, more = {}) => ({ name, kind, values: groups.map(value), ...more });
  const statistic =
    (name) =>
    ({ summary }) =>
      summary[name];
  const host = element("div");
  new Table(host, {
    caption: title,
    count: groups.length,
    columns: [
      column(groups[0].kind, "text", ({ name }) => name),
      column("source", "text", ({ source }) => source || null),
      column("parameters", "number", ({ parameters }) => parameters, { grouped: true }),
      column("runs", "number", ({ runs }) => runs),
      column("completed", "number", ({ seeds }) => seeds.length),
      column("mean %", "number", statistic("mean"), { decimals: 3 }),
      column("sd", "number", statistic("sd"), { decimals: 3 }),
      column("low %", "number", statistic("low"), { decimals: 3 }),
      column("high %", "number", statistic("high"), { decimals: 3 }),
      column("min %", "number", statistic("minimum"), { decimals: 2 }),
      column("max %", "number", statistic("maximum"), { decimals: 2 }),
    ],
  });
  return host;
}
