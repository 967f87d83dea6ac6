"use strict";
// Studies: history, pruning and parameter importance. The charts of a study are built when it is opened.

function showStudies() {
  const host = byId("studies-body");
  if (!data.studies.length) {
    host.append(element("p", { class: "quiet" }, "There are no studies under the searched folders."));
    return;
  }
  host.append(...data.studies.map((study, index) => studyElement(study, index === 0 && data.studies.length === 1)));
}

function studyElement(study, open) {
  const counts = Object.entries({ ...study.counts, prior: study.prior })
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
  const path = element("p", { class: "quiet" }, `In ${study.path}.`);
  const choose = element(
    "select",
    {},
    ...study.objectives.map(({ name }, position) => element("option", { value: position }, name)),
  );
  const show = () => {
    forgetFigures(host);
    host.replaceChildren(...chartsOf(study, Number(choose.value)), trialsOf(study));
  };
  choose.addEventListener("change", show);
  show();
  return [path, ...(study.objectives.length > 1 ? [element("label", {}, "Objective ", choose)] : []), host];
}

function chartsOf(study, objective) {
  const ranked = rankedParameters(study, objective);
  const shared =
    ranked.length < study.parameters.length
      ? ` The chart shows the ${ranked.length} most important of ${study.parameters.length} parameters.`
      : "";
  const complete = study.trials.filter((trial) => trial.state === "complete").length;
  const scored = completeTrials(study, objective).length > 0;
  const charts = [
    ["History", scored, "All complete trials and the best so far.", historyFigure],
    [
      "Pruning",
      study.trials.some(({ curve }) => curve.some((value) => value !== null)),
      "Scores by epoch; a cross marks where a trial was pruned.",
      curvesOfTrials,
    ],
    [
      "Parameter importance",
      Object.keys(study.importances[objective]).length > 0,
      `Share in being among the best ${study.best} of ${complete} complete trials (PED-ANOVA), ` +
        `of parameters that at least ${study.fewest} trials have.`,
      importanceFigure,
      `Importances require ${study.fewest} complete trials; this study has ${complete}.`,
    ],
    [
      "Slices",
      scored && ranked.length > 0,
      `The score of complete trials against each parameter.${shared}`,
      slicesFigure,
    ],
    [
      "Parallel coordinates",
      scored && ranked.length > 0,
      `One line per complete trial, from the worst (pale) to the best.${shared} ` +
        "Where a line is below an axis, the trial does not have this parameter.",
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
  const byObjective = study.objectives.map(({ name }, position) =>
    column(
      name,
      "number",
      study.trials.map(({ values }) => values[position] ?? null),
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
      study.trials.map(({ state }) => state),
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
      { grouped: true, about: "number of parameters of the network" },
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
