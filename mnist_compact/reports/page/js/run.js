"use strict";
// The dialog of one run: its record, layers, confusion matrix and worst mistakes.

const ZOOM = 2;

function openRun(run) {
  byId("run-title").textContent = runName(run);
  const parts = [factsOf(run), layersOf(run), confusionOf(run), mistakesOf(run)];
  byId("run-body").replaceChildren(...parts.flat());
  byId("run").showModal();
  byId("run").scrollTop = 0;
}

const fact = (name, value) => element("dl", {}, element("dt", {}, name), element("dd", {}, value));

function factsOf(run) {
  const folder = fact("folder", [data.folder, runName(run)].filter(Boolean).join("/"));
  const columns = data.runs.columns.filter(({ name, values }) => name !== "run" && values[run] !== null);
  const lines = (members) =>
    element(
      "div",
      { class: "facts" },
      ...members.map((column) => fact(column.name, shown(column, column.values[run]))),
    );
  const settings = columns.filter(({ name }) => name.includes("."));
  const more = element("details", {}, element("summary", {}, counted(settings.length, "setting")), lines(settings));
  return [folder, lines(columns.filter(({ name }) => !name.includes("."))), ...(settings.length ? [more] : [])];
}

function layersOf(run) {
  const position = data.details.layers.of[run];
  const heading = element("h3", {}, "Layers");
  if (position === null) return [heading, element("p", { class: "quiet" }, "This run has no layer table.")];
  const { columns, rows } = data.details.layers.tables[position];
  const made = columns.map((name, at) => {
    const values = rows.map((cells) => cells[at]);
    const numbers = values.every((value) => typeof value === "number");
    return { name, values, kind: numbers ? "number" : "text", grouped: name === "parameters" || name === "macs" };
  });
  const host = element("div");
  new Table(host, { caption: "Layers", count: rows.length, columns: made });
  return [heading, host];
}

/** The name of a class in the images of a run. */
const className = (run, label) => data.details.classes[run]?.[label] ?? String(label);

/** Counts by actual and predicted class; only errors are coloured. */
function confusionOf(run) {
  const counts = data.details.confusions[run];
  const heading = element("h3", {}, "Confusion matrix");
  if (!counts) return [heading, element("p", { class: "quiet" }, "This run did not reach its final evaluation.")];
  const wrong = counts.map((line, actual) => line.map((count, predicted) => (actual === predicted ? 0 : count)));
  const most = Math.max(3, ...wrong.flat());
  const sum = (line) => line.reduce((total, count) => total + count, 0);
  const head = element(
    "tr",
    {},
    element("th", { scope: "col" }, "actual"),
    ...counts.map((_, predicted) => element("th", { scope: "col" }, className(run, predicted))),
    element("th", { scope: "col" }, "error"),
  );
  const lines = counts.map((line, actual) => {
    const cells = line.map((count, predicted) => {
      const cell = element("td", { class: actual === predicted ? "right" : null }, count ? String(count) : "");
      if (wrong[actual][predicted])
        cell.style.background = `rgba(var(--wrong), ${(0.15 + 0.55 * Math.sqrt(count / most)).toFixed(2)})`;
      return cell;
    });
    const rate = sum(line)
      ? `${numberShown((100 * sum(wrong[actual])) / sum(line), 2)} % (${sum(wrong[actual])})`
      : MISSING;
    return element("tr", {}, element("th", { scope: "row" }, className(run, actual)), ...cells, element("td", {}, rate));
  });
  const total = sum(counts.flat());
  const errors = sum(wrong.flat());
  const about =
    `The final weights misclassified ${errors.toLocaleString("en")} of ${total.toLocaleString("en")} images. ` +
    "Rows are actual classes, columns are predicted classes.";
  const table = element("table", { class: "confusion" }, element("thead", {}, head), element("tbody", {}, ...lines));
  return [
    heading,
    element("p", { class: "quiet" }, about),
    element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Confusion matrix" }, table),
  ];
}

function mistakesOf(run) {
  const heading = element("h3", {}, "Worst mistakes");
  const { mistakes, most_with_mistakes: most, more_with_mistakes: more, sprites } = data.details;
  const found = mistakes[run];
  if (!found) {
    const why =
      found === null
        ? "mistakes.npz in the run folder cannot be read."
        : more.includes(run)
          ? `This page contains the mistakes of at most ${most} runs, the best by each score. ` +
            "mistakes.npz in the run folder has those of this run."
          : "The run folder has no mistakes.npz: it is written at the end of a run and not included in exports.";
    return [heading, element("p", { class: "quiet" }, why)];
  }
  const side = sprites.side_px * ZOOM;
  const figures = found.images.map(({ index, label, predicted, confidence }, position) => {
    const [actual, predictedName] = [className(run, label), className(run, predicted)];
    const name = `Image ${index}: ${actual} classified as ${predictedName}`;
    const picture = element("div", { role: "img", "aria-label": name });
    picture.style.backgroundImage = `url(data:image/png;base64,${found.png})`;
    picture.style.backgroundSize = `${sprites.in_a_row * side}px auto`;
    const [left, top] = [position % sprites.in_a_row, Math.floor(position / sprites.in_a_row)].map((at) => -at * side);
    picture.style.backgroundPosition = `${left}px ${top}px`;
    const caption = element(
      "figcaption",
      {},
      `${actual}→${predictedName}`,
      element("br"),
      `${Math.round(100 * confidence)} %`,
    );
    return element("figure", { class: "mistake", title: `image ${index}` }, picture, caption);
  });
  const about = found.images.length
    ? "Most confident first: actual→predicted and the confidence."
    : "Every image was classified correctly.";
  return [heading, element("p", { class: "quiet" }, about), element("div", { class: "mistakes" }, ...figures)];
}
