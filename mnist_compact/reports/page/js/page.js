"use strict";
// The initial state of the page and its controls.

const BEST_SHOWN = 3; // number of runs that are selected at first

function start() {
  const runs = counted(data.runs.count, "run");
  byId("made").textContent = `${runs}${data.folder ? ` under ${data.folder}` : ""}, as of ${data.made_at}.`;
  byId("notes").append(...data.notes.map((note) => element("li", {}, note)));
  showControls();
  selectBest();
  runsTable = new Table(byId("runs-table"), {
    caption: "Runs",
    count: data.runs.count,
    columns: data.runs.columns.filter((column) => column.shown),
    selected,
    onselect: selectionChanged,
    open: openRun,
    named: runName,
  });
  if (score) runsTable.sortBy(columnsByName.get(score.column), true);
  byId("size-figure").onpoint = ({ customdata }) => {
    if (customdata === undefined) return;
    selected[selected.has(customdata) ? "delete" : "add"](customdata);
    runsTable.draw();
    selectionChanged();
  };
  showPublished();
  selectionChanged();
  showConfirmations();
  showStudies();
  showDrawing();
}

function showControls() {
  byId("score").append(...data.runs.scores.map((one, index) => element("option", { value: index }, scoreShown(one))));
  byId("score").disabled = data.runs.scores.length < 2;
  byId("score").addEventListener("change", (event) => {
    const byScore = runsTable.sorted?.name === score.column;
    score = data.runs.scores[event.target.value];
    if (byScore) runsTable.sortBy(columnsByName.get(score.column), true);
    applyFilter();
    selectionChanged();
  });
  const choices = COLOURS_BY.filter((name) => new Set(columnsByName.get(name)?.values).size > 1);
  colourBy = choices[0] ?? "model";
  byId("colour").append(...(choices.length ? choices : [colourBy]).map((name) => element("option", {}, name)));
  byId("colour").disabled = choices.length < 2;
  byId("colour").addEventListener("change", (event) => {
    colourBy = event.target.value;
    redrawSize();
  });
  byId("filter").addEventListener("input", applyFilter);
  byId("clear").addEventListener("click", () => {
    selected.clear();
    runsTable.draw();
    selectionChanged();
  });
  byId("columns").append(...data.runs.columns.map(columnChoice));
}

/** Show the page for drawing, which is a document of its own, at its full height. */
function showDrawing() {
  if (!data.drawing) return;
  const frame = byId("draw-frame");
  frame.title = `Draw a digit for ${data.drawing.network}`;
  frame.addEventListener("load", () => {
    const page = frame.contentDocument.documentElement;
    new ResizeObserver(() => (frame.style.height = `${page.scrollHeight}px`)).observe(page);
  });
  frame.srcdoc = data.drawing.page;
  byId("draw").hidden = byId("draw-link").hidden = false;
}

function columnChoice(column) {
  const box = element("input", { type: "checkbox", disabled: column.name === "run" });
  box.checked = column.shown;
  box.addEventListener("change", () => {
    column.shown = box.checked;
    runsTable.setColumns(data.runs.columns.filter((other) => other.shown));
  });
  return element("label", { title: column.about || null }, box, ` ${column.name}`);
}

/** Select the best completed runs by the first score, so that the page opens with some curves. */
function selectBest() {
  if (!score) return;
  const runs = [...Array(data.runs.count).keys()].filter((run) => completed(run) && scored(run));
  runs.sort((a, b) => valueOf(score.column, b) - valueOf(score.column, a));
  for (const run of runs.slice(0, BEST_SHOWN)) selected.add(run);
}

function applyFilter() {
  const { holds, fault } = parseFilter(byId("filter").value, columnsByName, score ? { accuracy: score.column } : {});
  byId("filter").setAttribute("aria-invalid", Boolean(fault));
  byId("filter-status").textContent = fault ?? "";
  byId("filter-status").classList.toggle("fault", Boolean(fault));
  if (fault) return;
  runsTable.setFilter(holds);
  showRunCount();
  redrawSize();
}

function showPublished() {
  const column = (name, key, more) => ({
    name,
    kind: "text",
    values: data.published.map((one) => one[key] || null),
    ...more,
  });
  new Table(byId("published"), {
    caption: "Published results",
    count: data.published.length,
    columns: [
      column("parameters", "parameters", { kind: "number", grouped: true }),
      column("test accuracy %", "accuracy", { kind: "number", decimals: 2 }),
      column("bound", "bound"),
      column("epoch", "at"),
      column("epochs", "epochs"),
      column("measured", "measured"),
      column("source", "source"),
    ],
  });
}

start();
