"use strict";
// Confirmations: a dot a seed, the mean and its interval; a chart for each split and kind of weights.

const KINDS_OF_SEEDS = { confirmation: "Confirmations", ranking: "Rankings" };
const RANKED = "Candidates of a search, chosen among by these very scores: those of the best flatter.";

function showConfirmations() {
  const host = byId("confirmations-body");
  const { groups, confidence } = data.confirmations;
  if (!groups.length) {
    host.append(element("p", { class: "quiet" }, "No confirmation was found under the folders searched."));
    return;
  }
  const unfinished = groups.filter(({ summary }) => !summary).map(({ name }) => name);
  if (unfinished.length) host.append(element("p", {}, `No seed has been completed yet: ${unfinished.join(", ")}.`));
  for (const [title, members] of Map.groupBy(
    groups.filter(({ summary }) => summary),
    ({ kind, split, weights }) => `${KINDS_OF_SEEDS[kind]}: ${split} accuracy, last epoch, ${weights} weights`,
  )) {
    const figure = element("div", { class: "figure", role: "img", "aria-label": title });
    figure.style.minHeight = `${confirmationHeight(members)}px`;
    const about =
      `A dot a seed; the diamond is their mean, with Student's ${confidence} % interval, which may go on beyond the edge; ` +
      `dashed: ${data.threshold} %.`;
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
  // Seeds lie a little apart, by their order, so that equal scores are seen to be several.
  const heights = (group, place) => group.accuracies.map((_, seed) => place - 0.18 + 0.06 * (seed % 7));
  const seeds = members.map((group, place) => ({
    type: "scatter",
    mode: "markers",
    name: "seeds",
    x: group.accuracies,
    y: heights(group, place),
    legendgroup: "seeds",
    showlegend: place === 0,
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
    y: members.map((_, place) => place + 0.32),
    error_x: { type: "data", array: half, thickness: 2, width: 6, color: now.colours[1] },
    marker: { symbol: "diamond", size: 10, color: now.colours[1] },
    text: members.map(({ summary }) => confirmationShown(summary)),
    hovertemplate: "%{text}<extra></extra>",
  };
  const values = members.flatMap(({ accuracies }) => accuracies);
  // By the seeds: the interval of two may be so wide, and end above 100 %, that nothing else could be told apart.
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
    tickvals: names.map((_, place) => place),
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
  const told =
    (name) =>
    ({ summary }) =>
      summary[name];
  const host = element("div");
  new Table(host, {
    caption: title,
    count: groups.length,
    columns: [
      column(groups[0].kind, "text", ({ name }) => name),
      column("of", "text", ({ source }) => source || null),
      column("parameters", "number", ({ parameters }) => parameters, { grouped: true }),
      column("runs", "number", ({ runs }) => runs),
      column("completed", "number", ({ seeds }) => seeds.length),
      column("mean %", "number", told("mean"), { decimals: 3 }),
      column("sd", "number", told("sd"), { decimals: 3 }),
      column("low %", "number", told("low"), { decimals: 3 }),
      column("high %", "number", told("high"), { decimals: 3 }),
      column("min %", "number", told("minimum"), { decimals: 2 }),
      column("max %", "number", told("maximum"), { decimals: 2 }),
    ],
  });
  return host;
}
