// What is said in words: the runs, what was found, notes, settings, the confusion matrix, pictures.

function buildTables() {
  buildRuns(document.querySelector("#runs > div"));
  buildFindings(document.querySelector("#findings"));
  buildNotes(document.querySelector("#notes"));
  buildConfig(document.querySelector("#config"));
  buildConfusion(document.querySelector("#confusion"));
  buildFigures(document.querySelector("#figures"));
  const count = app.model.runs.length;
  document.getElementById("about").textContent = count === 1 ? aboutRun(app.model.runs[0]) : aboutRuns(app.model.runs);
  document.getElementById("made").textContent =
    `Made ${app.model.made.replace("T", " ").replace("+00:00", " UTC")} by tinynet.`;
}

function aboutRun(run) {
  const parts = [run.status, `${formatCount(run.step)} steps in ${formatSeconds(run.seconds)}`];
  if (run.started) parts.push(`started ${run.started.replace("T", " ").replace("+00:00", " UTC")}`);
  if (run.segments > 1) parts.push(`resumed ${run.segments - 1} ×`);
  return parts.join(" · ");
}

// How many runs ended how.
function aboutRuns(runs) {
  const counts = new Map();
  for (const run of runs) counts.set(run.status, (counts.get(run.status) || 0) + 1);
  return Array.from(counts, ([status, n]) => `${n} ${status}`).join(", ");
}

// Runs: the table is the legend, too.
function buildRuns(host) {
  host.replaceChildren();
  for (const run of app.model.runs) buildRun(host, run);
  if (app.model.runs.length > 2) {
    const bar = make("div", "bar", host);
    addAction(bar, "show all", () => app.hiddenRuns.clear());
    addAction(bar, "hide all", () => app.model.runs.forEach((run) => app.hiddenRuns.add(run.id)));
  }
  if (!app.model.runs.length) make("p", "muted", host, "No run yet.");
}

function addAction(host, text, action) {
  const button = make("button", "quiet", host, text);
  button.type = "button";
  button.addEventListener("click", () => {
    action();
    document.querySelectorAll("#runs input").forEach((box, i) => (box.checked = !app.hiddenRuns.has(app.model.runs[i].id)));
    redraw();
  });
}

function buildRun(host, run) {
  const row = make("div", "run", host);
  const label = make("label", "", row);
  if (app.model.runs.length > 1) addToggle(label, run);
  make("span", "name", label, run.name);
  make("span", `status ${/^[a-z]+$/.test(run.status) ? run.status : ""}`, label, run.status);
  const facts = make("div", "facts", row);
  for (const best of run.best) {
    const fact = make("button", "fact", facts);
    fact.type = "button";
    fact.title = `best at step ${formatCount(best.step)}: put the cross-hair there`;
    make("span", "", fact, `best ${best.name} `);
    make("b", "", fact, formatNumber(best.value));
    fact.addEventListener("click", () => moveCross(best.step));
  }
  for (const [name, value] of run.test) {
    const fact = make("span", "fact", facts, `test ${name} `);
    make("b", "", fact, formatNumber(value));
  }
  if (app.model.runs.length > 1)
    make("span", "muted", facts, `${formatCount(run.step)} steps, ${formatSeconds(run.seconds)}`);
  if (run.reason) make("p", "muted", row, run.reason);
  const lost = [
    run.unreadable && `${run.unreadable} lines of its record could not be read`,
    run.left_out && `${run.left_out} more series are not on this page`,
  ].filter(Boolean);
  if (lost.length) make("p", "warning", row, lost.join("; "));
}

function addToggle(label, run) {
  const box = make("input", "", label);
  box.type = "checkbox";
  box.checked = !app.hiddenRuns.has(run.id);
  box.setAttribute("aria-label", `show ${run.name}`);
  box.addEventListener("change", () => {
    app.hiddenRuns[box.checked ? "delete" : "add"](run.id);
    redraw();
  });
  label.append(runSwatch(run));
  const focus = (id) => () => {
    app.focusRun = id;
    redraw();
  };
  label.addEventListener("pointerenter", focus(run.id));
  label.addEventListener("pointerleave", focus(null));
}

// Findings: what was detected first, the gravest on top; a click shows the steps in which it was seen.
const SEVERITIES = ["critical", "error", "warning", "info"];

function buildFindings(section) {
  const all = app.model.runs.flatMap((run) => run.findings.map((finding) => ({ run, ...finding })));
  section.hidden = !all.length;
  const host = section.querySelector("div");
  host.replaceChildren();
  const rank = (finding) => SEVERITIES.indexOf(finding.severity) + 1 || 3;
  const detected = all.filter((f) => f.verdict === "detected").sort((a, b) => rank(a) - rank(b));
  detected.forEach((finding) => buildFinding(host, finding));
  if (!detected.length) make("p", "muted", host, "Nothing was detected.");
  const rest = all.filter((finding) => finding.verdict !== "detected");
  if (!rest.length) return;
  const more = make("details", "", host);
  make("summary", "", more, `${rest.length} other checks`);
  for (const finding of rest)
    make("p", "check", more, checkLine(finding));
}

function checkLine({ id, verdict, message }) {
  return `${id.replaceAll("_", " ")}: ${verdict.replaceAll("_", " ")}${message ? `. ${message}` : ""}`;
}

function buildFinding(host, finding) {
  const { run, steps } = finding;
  const item = make("div", "finding", host);
  const button = make("button", "", item);
  button.type = "button";
  make(
    "span",
    `severity ${SEVERITIES.includes(finding.severity) ? finding.severity : ""}`,
    button,
    finding.severity || "found",
  );
  make("span", "name", button, finding.id.replaceAll("_", " "));
  if (steps) make("span", "muted", button, `steps ${formatCount(steps[0])} to ${formatCount(steps[1])}`);
  if (app.model.runs.length > 1) make("span", "muted name", button, run.name);
  button.addEventListener("click", () => showFinding(finding));
  if (finding.message) make("p", "name", item, finding.message);
  for (const advice of finding.advice) make("p", "advice name", item, advice);
  const more = make("details", "", item);
  make("summary", "", more, "evidence");
  for (const cause of finding.causes) make("p", "name", more, `cause: ${cause}`);
  const table = make("table", "", more);
  for (const [name, value] of finding.evidence) addRow(table, [name, value]);
  if (finding.track) make("p", "muted name", more, `track record: ${finding.track}`);
}

// Jump to the window of a finding, and shade it; a window of a single step is shown with one on either side.
function showFinding({ run, id, steps }) {
  app.hiddenRuns.delete(run.id);
  document.querySelectorAll("#runs input").forEach((box, i) => (box.checked = !app.hiddenRuns.has(app.model.runs[i].id)));
  if (!steps) return redraw();
  app.finding = { run: run.id, id, steps };
  setDomain(steps[0] < steps[1] ? steps : [steps[0] - 1, steps[1] + 1]);
}

function addRow(table, cells, tag = "td") {
  const row = make("tr", "", table);
  cells.forEach((cell) => make(tag, "name", row, cell));
  return row;
}

function buildNotes(section) {
  const all = app.model.runs.flatMap((run) => run.notes.map((note) => ({ run, ...note })));
  section.hidden = !all.length;
  const host = section.querySelector("div");
  host.replaceChildren();
  for (const { run, step, text } of all) {
    const button = make("button", "remark", host);
    button.type = "button";
    make("span", "muted", button, `step ${formatCount(step)}${app.model.runs.length > 1 ? `, ${run.name}` : ""}`);
    make("span", "name", button, text);
    button.addEventListener("click", () => moveCross(step));
  }
}

const FEW_SETTINGS = 12; // so many rows do not push the pictures below out of sight

// Settings: of several runs only what differs and was chosen, until all are asked for.
function buildConfig(section) {
  const several = app.model.runs.length > 1;
  const rows = app.model.config.filter((row) => !several || app.all.config || (row.differs && !row.derived));
  section.hidden = !app.model.config.length;
  section.querySelector("h2").textContent = several && !app.all.config ? "What differs" : "Configuration";
  section.style.order = several ? 0 : 1; // what differs between runs is looked at first
  const host = section.querySelector(".card");
  const wasOpen = host.querySelector("details")?.open;
  host.replaceChildren();
  const details = make("details", "", host);
  details.open = wasOpen ?? (several && rows.length <= FEW_SETTINGS);
  make("summary", "", details, rows.length ? `${rows.length} setting${rows.length === 1 ? "" : "s"}` : "nothing");
  const table = make("table", several ? "config several" : "config", make("div", "scroll", details));
  if (several && rows.length) addConfigHead(table);
  for (const row of rows) {
    const line = addRow(table, [row.key, ...row.values.map((value) => (value === null ? "–" : value))]);
    line.className = several && row.differs ? "differs" : "";
    if (several) for (const cell of line.children) cell.title = cell.textContent; // a long one is cut short
  }
  if (several) addAllButton(details);
}

function addConfigHead(table) {
  const head = addRow(table, [""], "th");
  for (const run of app.model.runs) {
    const cell = make("th", "name", head);
    cell.append(runSwatch(run), run.name);
    cell.title = run.name;
  }
}

function addAllButton(host) {
  const button = make("button", "quiet", host, app.all.config ? "only what differs" : "all settings");
  button.type = "button";
  button.addEventListener("click", () => {
    app.all.config = !app.all.config;
    buildConfig(document.querySelector("#config"));
  });
}

// Rows are true classes, columns predicted ones; the shade is the share of the row.
function buildConfusion(section) {
  const runs = app.model.runs.filter((run) => run.confusion);
  section.hidden = !runs.length;
  section.querySelectorAll(".gallery").forEach((old) => old.remove());
  const gallery = make("div", "gallery", section);
  for (const run of runs) {
    const card = make("figure", "card", gallery);
    const caption = make("figcaption", "", card);
    if (app.model.runs.length > 1) make("b", "name", caption, run.name);
    make("span", "muted", caption, "rows: true class, columns: predicted");
    const table = make("table", "confusion", make("div", "scroll", card));
    const { labels, counts } = run.confusion;
    addRow(table, ["", ...labels], "th");
    counts.forEach((row, i) => buildConfusionRow(table, labels[i], row));
  }
}

function buildConfusionRow(table, label, counts) {
  const row = make("tr", "", table);
  make("th", "name", row, label);
  const total = counts.reduce((sum, n) => sum + n, 0) || 1;
  for (const count of counts) {
    const cell = make("td", "", row, count ? String(count) : "");
    const share = Math.round((100 * count) / total);
    cell.style.background = `color-mix(in srgb, var(--one-train) ${share}%, var(--card))`;
    if (share > 55) cell.className = "strong";
    cell.title = `${formatCount(count)} of ${formatCount(total)}: ${share} %`;
  }
}

function buildFigures(section) {
  const all = app.model.runs.flatMap((run) => run.figures.map((figure) => ({ run, ...figure })));
  section.hidden = !all.length;
  section.querySelectorAll(".gallery").forEach((old) => old.remove());
  const gallery = make("div", "gallery", section);
  for (const { run, name, caption, step, source, why } of all) {
    const card = make("figure", "card", gallery);
    if (source) {
      const image = make("img", "", card);
      image.alt = caption || name;
      image.src = source; // a PNG in a data: URL; nothing is asked for
    } else make("p", "muted", card, `not shown: ${why}`);
    const where = [app.model.runs.length > 1 ? run.name : "", step === null ? "" : `step ${formatCount(step)}`]
      .filter(Boolean)
      .join(", ");
    make("figcaption", "name", card, [name, caption, where].filter(Boolean).join(" · "));
  }
}
