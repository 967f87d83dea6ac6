"use strict";
// Accuracy against parameters: the runs in the table, their Pareto line, the target region and published results.

const MOST_COLOURS = 8;

/** Value → colour for the most frequent values of the chosen column; all other values are grey. */
function colouring(now) {
  const tally = new Map();
  for (const value of columnsByName.get(colourBy)?.values ?? []) tally.set(value, (tally.get(value) ?? 0) + 1);
  const ranked = [...tally.keys()].sort((a, b) => tally.get(b) - tally.get(a)).slice(0, MOST_COLOURS);
  return new Map(ranked.map((value, position) => [value, now.colours[position]]));
}

function hover(run) {
  const lines = [
    runName(run),
    `${shown(columnsByName.get("parameters"), valueOf("parameters", run))} parameters`,
    `${numberShown(valueOf(score.column, run), 2)} %`,
    `${valueOf("model", run) ?? ""} seed ${valueOf("seed", run) ?? MISSING}`,
  ];
  return lines.map(plain).join("<br>") + (completed(run) ? "" : `<br>${plain(valueOf("status", run))}`);
}

function dots(runs, name, colour, more = {}) {
  return {
    name: plain(name),
    x: runs.map((run) => valueOf("parameters", run)),
    y: runs.map((run) => valueOf(score.column, run)),
    customdata: runs,
    text: runs.map(hover),
    hovertemplate: "%{text}<extra></extra>",
    mode: "markers",
    type: "scatter",
    marker: { color: colour, size: 9, opacity: 0.85 },
    ...more,
  };
}

/** Completed runs that are more accurate than every run with as many or fewer parameters. */
function paretoLine(runs) {
  const ordered = runs
    .filter(completed)
    .sort(
      (a, b) =>
        valueOf("parameters", a) - valueOf("parameters", b) || valueOf(score.column, b) - valueOf(score.column, a),
    );
  let best = -Infinity;
  return ordered.filter((run) => valueOf(score.column, run) > best && ((best = valueOf(score.column, run)), true));
}

/** Published results of the chosen epoch choice or an unstated one; they are shown only with test scores. */
const publishedHere = () =>
  score?.split === "test" ? data.published.filter(({ at }) => at === score.at || at === "") : [];

const publishedSymbol = ({ bound }) => (bound ? "triangle-up-open" : "diamond-open");

function sizeFigure(now) {
  const runs = runsTable.rows.filter(scored);
  const colours = colouring(now);
  const group = (value) => (colours.has(value) ? value : "other");
  const groups = Map.groupBy(runs, (run) => group(valueOf(colourBy, run)));
  const traces = [...groups].flatMap(([value, members]) => {
    const colour = colours.get(value) ?? now.quiet;
    const hollow = { marker: { color: colour, size: 9, symbol: "circle-open" }, showlegend: false };
    return [
      dots(members.filter(completed), value ?? MISSING, colour, { legendgroup: `value ${value}`, showlegend: true }),
      dots(
        members.filter((run) => !completed(run)),
        value ?? MISSING,
        colour,
        { legendgroup: `value ${value}`, ...hollow },
      ),
    ];
  });
  const front = paretoLine(runs);
  traces.push(
    dots(front, "Pareto line of single runs", now.text, {
      mode: "lines",
      line: { shape: "hv", width: 1.5, color: now.text },
      hoverinfo: "skip",
      hovertemplate: null,
    }),
  );
  const ring = { color: "rgba(0,0,0,0)", size: 15, line: { width: 2.5, color: now.accent } };
  traces.push(
    dots(
      runs.filter((run) => selected.has(run)),
      "selected",
      now.accent,
      { marker: ring, hoverinfo: "skip", hovertemplate: null },
    ),
  );
  const others = publishedHere();
  if (others.length)
    traces.push({
      name: "published: single figures",
      x: others.map(({ parameters }) => parameters),
      y: others.map(({ accuracy }) => accuracy),
      type: "scatter",
      mode: "markers",
      marker: { symbol: others.map(publishedSymbol), size: 10, color: now.quiet, line: { width: 1.5 } },
      hovertemplate: "%{text}<extra></extra>",
      text: others.map((one) =>
        [
          one.source,
          `${one.parameters.toLocaleString("en")} parameters`,
          `${one.bound} ${numberShown(one.accuracy, 2)} %`.trim(),
          one.measured,
        ]
          .map(plain)
          .join("<br>"),
      ),
    });
  return { traces: traces.filter((trace) => trace.x.length), layout: sizeLayout(now, runs, others), height: 520 };
}

function sizeLayout(now, runs, others) {
  const accuracies = [...runs.map((run) => valueOf(score.column, run)), ...others.map(({ accuracy }) => accuracy)];
  const sizes = [
    ...runs.map((run) => valueOf("parameters", run)),
    ...others.map(({ parameters }) => parameters),
    data.corner_below,
  ];
  const [low, high] = accuracies.length ? accuracyLimits([...accuracies, data.threshold]) : [98, 100];
  const x = [Math.log10(Math.min(...sizes)) - 0.06, Math.log10(Math.max(...sizes)) + 0.06];
  const ticks =
    byId("size-figure").clientWidth < 700
      ? [500, 1000, 2000, 4000, 8000, 20000, 50000]
      : [500, 1000, 2000, 3000, 4000, 6000, 8000, 10000, 20000, 30000, 50000, 100000];
  const corner = {
    type: "rect",
    x0: 1,
    x1: data.corner_below,
    y0: data.threshold,
    y1: 100,
    fillcolor: now.good,
    line: { width: 0 },
    layer: "below",
  };
  const top = Math.max(high, data.threshold + 0.1);
  const target = `fewer than ${data.corner_below.toLocaleString("en")} parameters,<br>more than ${data.threshold} %`;
  const at = {
    x: x[0],
    y: top,
    xanchor: "left",
    yanchor: "top",
    align: "left",
    showarrow: false,
    font: { color: now.quiet, size: 11 },
  };
  return {
    shapes: [corner],
    annotations: [{ ...at, text: target }, ...footnotes(now, belowShown(accuracies, low))],
    xaxis: axis(now, {
      title: "parameters",
      type: "log",
      range: x,
      tickvals: ticks,
      ticktext: ticks.map((tick) => tick.toLocaleString("en")),
      tickangle: 0,
    }),
    yaxis: axis(now, { title: `${scoreShown(score)} (%)`, range: [low, top] }),
  };
}
