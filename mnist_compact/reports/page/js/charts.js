"use strict";
// The charts of a study: each function (host, theme, study, objective, ranked parameters) returns a figure.

const MOST_PARAMETERS = 12;
const SHADES = 6; // groups of lines in parallel coordinates

const completeTrials = (study, objective) =>
  study.trials
    .map((trial, position) => ({ ...trial, position, value: trial.values[objective] ?? null }))
    .filter(({ state, value }) => state === "complete" && value !== null);

/** Parameters by importance, then by name; parameters with a single value are left out. */
function rankedParameters(study, objective) {
  const share = study.importances[objective];
  const varied = study.parameters.filter(({ values }) => new Set(values.filter((value) => value !== null)).size > 1);
  return varied.toSorted((a, b) => (share[b.name] ?? 0) - (share[a.name] ?? 0)).slice(0, MOST_PARAMETERS);
}

function historyFigure(_, now, study, objective) {
  const trials = completeTrials(study, objective);
  const { name, maximize } = study.objectives[objective];
  let best = maximize ? -Infinity : Infinity;
  const front = trials.map(({ value }) => (best = maximize ? Math.max(best, value) : Math.min(best, value)));
  const x = trials.map(({ number }) => number);
  const traces = [
    {
      name: "complete",
      x,
      y: trials.map(({ value }) => value),
      type: "scatter",
      mode: "markers",
      marker: { color: now.colours[0], size: 7, opacity: 0.75 },
      hovertemplate: "trial %{x}: %{y}<extra></extra>",
    },
    {
      name: "best so far",
      x,
      y: front,
      type: "scatter",
      mode: "lines",
      line: { color: now.colours[1], shape: "hv", width: 2 },
      hoverinfo: "skip",
    },
  ];
  return { traces, layout: { xaxis: axis(now, { title: "trial" }), yaxis: axis(now, { title: name }) }, height: 340 };
}

/** One trace per state: many trials in one trace, separated by gaps, are drawn fast. */
function curvesOfTrials(_, now, study) {
  const traces = [
    ["complete", now.colours[0], 0.35],
    ["pruned", now.colours[1], 0.6],
    ["failed", now.quiet, 0.6],
    ["running", now.colours[2], 0.8],
  ].flatMap(([state, color, opacity]) => {
    const trials = study.trials.filter((trial) => trial.state === state && trial.steps.length);
    const line = {
      x: trials.flatMap(({ steps }) => [...steps, null]),
      y: trials.flatMap(({ curve }) => [...curve, null]),
    };
    const text = trials.flatMap(({ number, steps }) => [...steps.map(() => `trial ${number}`), null]);
    const drawn = {
      ...line,
      text,
      name: state,
      type: "scatter",
      mode: "lines",
      line: { color, width: 1 },
      opacity,
      hovertemplate: "%{text}, epoch %{x}: %{y}<extra></extra>",
    };
    const ends = {
      name: "pruned in this epoch",
      x: trials.map(({ steps }) => steps.at(-1)),
      y: trials.map(({ curve }) => curve.at(-1)),
      text: trials.map(({ number }) => `trial ${number}`),
    };
    return !trials.length
      ? []
      : state !== "pruned"
        ? [drawn]
        : [
            drawn,
            {
              ...ends,
              type: "scatter",
              mode: "markers",
              marker: { symbol: "x", color, size: 7 },
              hovertemplate: "%{text} pruned in epoch %{x} at %{y}<extra></extra>",
            },
          ];
  });
  const values = traces.flatMap(({ y }) => y).filter((value) => value !== null);
  const range = Math.min(...values) >= 0 && Math.max(...values) <= 100 ? { range: accuracyLimits(values) } : {};
  return {
    traces,
    layout: {
      annotations: footnotes(now, range.range ? belowShown(values, range.range[0]) : ""),
      xaxis: axis(now, { title: "epoch", rangemode: "tozero" }),
      yaxis: axis(now, { title: "score", ...range }),
    },
    height: 340,
  };
}

function importanceFigure(_, now, study, objective) {
  const shares = Object.entries(study.importances[objective])
    .sort(([, a], [, b]) => a - b)
    .slice(-MOST_PARAMETERS);
  const bars = {
    type: "bar",
    orientation: "h",
    x: shares.map(([, share]) => share),
    y: shares.map(([name]) => plain(name)),
    marker: { color: now.colours[0] },
    hovertemplate: "%{y}: %{x:.3f}<extra></extra>",
  };
  return {
    traces: [bars],
    layout: {
      xaxis: axis(now, { title: "share" }),
      yaxis: axis(now, { gridcolor: "rgba(0,0,0,0)", type: "category" }),
      margin: { l: 10, r: 15, t: 10, b: 45 },
    },
    height: Math.max(220, 90 + 24 * shares.length),
  };
}

function slicesFigure(host, now, study, objective, ranked) {
  const trials = completeTrials(study, objective);
  const { name } = study.objectives[objective];
  const list = ranked.map((parameter) => {
    const having = trials.filter(({ position }) => parameter.values[position] !== null);
    const dots = {
      x: having.map(({ position }) =>
        parameter.kind === "choice" ? plain(parameter.values[position]) : parameter.values[position],
      ),
      y: having.map(({ value }) => value),
      type: "scatter",
      mode: "markers",
      text: having.map(({ number }) => `trial ${number}`),
      hovertemplate: "%{text}, %{x}: %{y}<extra></extra>",
      marker: { color: now.colours[0], size: 6, opacity: 0.6 },
    };
    const x =
      parameter.kind === "choice"
        ? { type: "category" }
        : parameter.log
          ? logAxis(Math.min(...dots.x), Math.max(...dots.x))
          : { nticks: 6 };
    return { title: parameter.name, traces: [dots], x, y: { title: name } };
  });
  return panels(host, now, list, { wide: 300, high: 210, legend: false });
}

/** The position of each value of a parameter between 0 and 1, and the labels of its ends or choices. */
function scaled({ kind, log, values, name }) {
  const present = values.filter((value) => value !== null);
  if (kind === "choice") {
    const choices = [...new Set(present)].sort(collator.compare);
    const at = (value) => (choices.length > 1 ? choices.indexOf(value) / (choices.length - 1) : 0.5);
    return { name, at, ticks: choices.map((choice) => [at(choice), choice]) };
  }
  const scale = log ? Math.log : Number;
  const [low, high] = [Math.min(...present), Math.max(...present)];
  const at = (value) => (high > low ? (scale(value) - scale(low)) / (scale(high) - scale(low)) : 0.5);
  const short = (value) => String(Number(value.toPrecision(3)));
  return {
    name,
    at,
    ticks: [
      [0, short(low)],
      [1, short(high)],
    ],
  };
}

function parallelFigure(host, now, study, objective, ranked) {
  const { name, maximize } = study.objectives[objective];
  const trials = completeTrials(study, objective).sort((a, b) => (maximize ? a.value - b.value : b.value - a.value));
  const score = {
    name,
    kind: "number",
    values: study.trials.map(({ state, values }) => (state === "complete" ? (values[objective] ?? null) : null)),
  };
  const dimensions = [...ranked, score];
  const scales = dimensions.map(scaled);
  const shades = Math.min(SHADES, trials.length);
  const traces = [...Array(shades).keys()].map((shade) => {
    const members = trials.slice(
      Math.floor((shade * trials.length) / shades),
      Math.floor(((shade + 1) * trials.length) / shades),
    );
    const height = (position, at) =>
      dimensions[at].values[position] === null ? -0.12 : scales[at].at(dimensions[at].values[position]);
    const label = (number, position, at) =>
      plain(`trial ${number}: ${dimensions[at].name} ${dimensions[at].values[position] ?? MISSING}`);
    const along = (each) => members.flatMap((trial) => [...dimensions.map((_, at) => each(trial, at)), null]);
    const best = shade === shades - 1;
    return {
      type: "scatter",
      mode: "lines",
      name: `${members[0].value.toPrecision(5)} to ${members.at(-1).value.toPrecision(5)}`,
      x: along((_, at) => at),
      y: along(({ position }, at) => height(position, at)),
      text: along(({ number, position }, at) => label(number, position, at)),
      hovertemplate: "%{text}<extra></extra>",
      line: { color: best ? now.colours[1] : now.colours[0], width: best ? 2 : 1 },
      opacity: 0.2 + (0.7 * shade) / shades,
    };
  });
  const marks = scales.flatMap(({ ticks }, at) => ticks.map(([y, text]) => [at, y, text]));
  traces.push({
    type: "scatter",
    mode: "text",
    x: marks.map(([x]) => x),
    y: marks.map(([, y]) => y),
    text: marks.map(([, , text]) => plain(` ${text}`)),
    textposition: "middle right",
    textfont: { size: 11, color: now.text },
    hoverinfo: "skip",
    showlegend: false,
  });
  const xaxis = axis(now, {
    tickvals: dimensions.map((_, at) => at),
    ticktext: dimensions.map((one) => plain(one.name)),
    tickangle: dimensions.length > 4 ? -35 : 0,
    range: [-0.2, dimensions.length - 0.4],
    zeroline: false,
  });
  return {
    traces,
    layout: { xaxis, yaxis: { visible: false, range: [-0.18, 1.08] }, margin: { l: 60, r: 40, t: 10, b: 90 } },
    height: 460,
  };
}
