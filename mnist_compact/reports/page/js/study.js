"use strict";
// Studies: what was tried when, what was pruned when, and which parameters mattered. Charts are made when one opens.

const STATES = { complete: "complete", pruned: "pruned", fail: "failed", running: "running", waiting: "waiting" };

function showStudies() {
  const host = byId("studies-body");
  if (!data.studies.length) {
    host.append(element("p", { class: "quiet" }, "No study was found under the folders searched."));
    return;
  }
  host.append(...data.studies.map((study, place) => studyElement(study, place === 0 && data.studies.length === 1)));
}

function studyElement(study, open) {
  const counts = Object.entries(study.counts)
    .filter(([, count]) => count)
    .map(([word, count]) => `${count.toLocaleString("en")} ${word}`);
  const folded = element(
    "details",
    { class: "study" },
    element("summary", {}, element("strong", {}, study.name), ` ${counts.join(", ") || "no trial"}`),
  );
  folded.addEventListener("toggle", () => {
    if (folded.open && folded.childElementCount === 1) folded.append(...studyParts(study));
  });
  folded.open = open;
  return folded;
}

function studyParts(study) {
  const host = element("div");
  const place = element("p", { class: "quiet" }, `In ${study.place}.`);
  const choose = element(
    "select",
    {},
    ...study.objectives.map(({ name }, place) => element("option", { value: place }, name)),
  );
  const show = () => {
    forgetFigures(host);
    host.replaceChildren(...chartsOf(study, Number(choose.value)), trialsOf(study));
  };
  choose.addEventListener("change", show);
  show();
  return [place, ...(study.objectives.length > 1 ? [element("label", {}, "Objective ", choose)] : []), host];
}

function chartsOf(study, objective) {
  const ranked = rankedParameters(study, objective);
  const shared =
    ranked.length < study.parameters.length
      ? ` The ${ranked.length} most important parameters of ${study.parameters.length}.`
      : "";
  const complete = study.trials.filter((trial) => trial.state === "complete").length;
  const scored = completeTrials(study, objective).length > 0;
  const charts = [
    ["History", scored, "Every complete trial, and the best so far.", historyFigure],
    [
      "What was pruned when",
      study.trials.some(({ curve }) => curve.some((value) => value !== null)),
      "Scores by epoch; a cross where a trial was pruned.",
      curvesOfTrials,
    ],
    [
      "Parameter importance",
      Object.keys(study.importances[objective]).length > 0,
      `Share in being among the best ${study.best} of ${complete} complete trials (PED-ANOVA), ` +
        `of parameters that ${study.fewest} have.`,
      importanceFigure,
      `For importances a study needs ${study.fewest} complete trials; this one has ${complete}.`,
    ],
    [
      "Slices",
      scored && ranked.length > 0,
      `Complete trials by one parameter at a time.${shared}`,
      slicesFigure,
    ],
    [
      "Parallel coordinates",
      scored && ranked.length > 0,
      `A line a complete trial, from the worst (pale) to the best.${shared} Below an axis: the trial has no such parameter.`,
      parallelFigure,
    ],
  ];
  const parts = charts.map(([title, any, about, build, none = "Nothing to show yet."]) => {
    const head = [element("h3", {}, title), element("p", { class: "quiet" }, any ? about : none)];
    if (!any) return element("div", {}, ...head);
    const host = element("div", { class: "figure", role: "img", "aria-label": `${title} of study ${study.name}` });
    showFigure(host, (now) => build(host, now, study, objective, ranked));
    return element("div", {}, ...head, host);
  });
  return [element("div", { class: "grid" }, ...parts.slice(0, 3)), ...parts.slice(3)];
}

function trialsOf(study) {
  const column = (name, kind, values, more = {}) => ({ name, kind, values, ...more });
  const byObjective = study.objectives.map(({ name }, place) =>
    column(
      name,
      "number",
      study.trials.map(({ values }) => values[place] ?? null),
    ),
  );
  const columns = [
    column(
      "trial",
      "number",
      study.trials.map(({ number }) => number),
    ),
    column(
      "state",
      "text",
      study.trials.map(({ state }) => STATES[state]),
    ),
    ...byObjective,
    column(
      "last epoch",
      "number",
      study.trials.map(({ steps }) => steps.at(-1) ?? null),
    ),
    column(
      "size",
      "number",
      study.trials.map(({ size }) => size ?? null),
      { grouped: true, about: "parameters of the network" },
    ),
    ...study.parameters.map(({ name, kind, values }) => column(name, kind === "number" ? "number" : "text", values)),
  ];
  const host = element("div");
  const folded = element("details", {}, element("summary", {}, "Trials as a table"), host);
  folded.addEventListener("toggle", () => {
    if (!folded.open || host.childElementCount) return;
    const table = new Table(host, { caption: `Trials of ${study.name}`, count: study.trials.length, columns });
    table.sortBy(byObjective[0], study.objectives[0].maximize);
  });
  return folded;
}
