// What the reader has chosen, in one place. Everything is drawn from it; whoever changes it calls redraw().

const app = {
  model: null, // the decoded content
  x: { domain: null, log: false }, // null: the whole range
  smoothing: 0, // weight of the past in the moving average
  logY: new Map(), // metric -> whether its axis is logarithmic, where the reader has chosen
  hiddenRuns: new Set(), // ids, so that they survive an update of a live page
  hiddenParts: new Set(),
  cross: null, // the step at which the cross-hair stands
  focusRun: null, // id of the run whose row is pointed at: the others fade
  finding: null, // { run, id, steps } of the finding that was chosen
  theme: "auto",
  printing: false,
  all: { config: false, charts: false }, // whether everything is listed
  layers: { run: null, quantity: null },
  histograms: { run: null, name: null, view: "heat map" },
  live: null, // what the live connection is doing
  drawn: { milliseconds: null, times: 0 },
};

const plots = []; // everything on which the cross-hair moves

const PARTS = {
  train: { label: "training", dash: [] },
  val: { label: "validation", dash: [6, 4] },
  test: { label: "test", dash: [9, 3, 2, 3] },
  running: { label: "running mean", dash: [1.5, 3] },
  "": { label: "", dash: [] },
};

const COLOURS = 10;

function visibleRuns() {
  return app.model.runs.filter((run) => !app.hiddenRuns.has(run.id));
}

function visibleTraces(metric) {
  const found = [];
  for (const run of visibleRuns()) {
    for (const trace of run.traces) {
      if (trace.metric === metric && !app.hiddenParts.has(trace.part)) found.push({ run, trace });
    }
  }
  return found;
}

// The steps from the first to the last of everything that is shown, or the part of them that the reader has chosen.
function xDomain() {
  return app.x.domain || wholeDomain();
}

function wholeDomain() {
  let low = Infinity;
  let high = -Infinity;
  const include = (steps) => {
    if (!steps.length) return;
    low = Math.min(low, steps[0]);
    high = Math.max(high, steps[steps.length - 1]);
  };
  for (const run of visibleRuns()) {
    run.traces.forEach((trace) => include(trace.x));
    Object.values(run.layers).forEach((layer) => include([layer.steps[0], layer.last]));
    Object.values(run.histograms).forEach((histogram) => include(histogram.steps));
  }
  if (low > high) return [0, 1];
  return low < high ? [low, high] : [low - 0.5, high + 0.5];
}

function setDomain(domain) {
  if (domain) {
    const [low, high] = domain[0] <= domain[1] ? domain : [domain[1], domain[0]];
    if (!(high > low) || !Number.isFinite(high - low)) return;
    domain = [low, high];
  }
  app.x.domain = domain;
  redraw();
}

// The epoch in which a step lies, if the run says so.
function epochAt(run, step) {
  const { x, y } = run.epochs;
  if (x.length < 2 || step < x[0] || step > x[x.length - 1]) return null;
  const after = Math.max(1, Math.min(searchSorted(x, step), x.length - 1));
  return y[after - 1] + ((step - x[after - 1]) / (x[after] - x[after - 1])) * (y[after] - y[after - 1]);
}

let waiting = false;
let afterDrawing = [];

// Draw everything again before the next frame, however often this is called.
function redraw() {
  if (waiting || app.printing) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    drawEverything();
  });
}

function drawEverything() {
  readColours();
  afterDrawing.forEach((update) => update());
  for (const plot of plots) plot.paint();
  drawCrosshairs();
  app.drawn.times += 1;
}

// Colours are variables of the style sheet, which knows light from dark; read once for each drawing.
let colours = {};

function readColours() {
  const style = getComputedStyle(document.documentElement);
  const names = ["ink", "muted", "grid", "card", "shade", "accent", "gap", "nothing"];
  for (let i = 0; i < COLOURS; i++) names.push(`run-${i}`);
  for (const part of Object.keys(PARTS)) names.push(`one-${part || "other"}`);
  colours = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

function traceColour(run, part) {
  return colours[app.model.runs.length === 1 ? `one-${part || "other"}` : `run-${run.index % COLOURS}`];
}

// What the tests, and the curious, may read: a copy of what is shown.
function snapshot() {
  if (!app.model) return { ready: false };
  return {
    ready: app.drawn.times > 0,
    milliseconds: app.drawn.milliseconds,
    draws: app.drawn.times,
    title: app.model.title,
    x: { domain: xDomain(), zoomed: app.x.domain !== null, log: app.x.log },
    smoothing: app.smoothing,
    cross: app.cross,
    theme: app.theme,
    dark: isDark(),
    finding: app.finding,
    runs: app.model.runs.map((run) => ({
      id: run.id,
      name: run.name,
      status: run.status,
      on: !app.hiddenRuns.has(run.id),
      colour: colours[`run-${run.index % COLOURS}`],
      shape: shapeOf(run),
    })),
    parts: Object.keys(PARTS).filter((part) => !app.hiddenParts.has(part)),
    charts: plots.filter((plot) => plot.kind === "chart").map((plot) => ({ metric: plot.metric, ...plot.seen })),
    layers: { ...app.layers, ...(plots.find((plot) => plot.kind === "layers") || {}).seen },
    histograms: { ...app.histograms, ...(plots.find((plot) => plot.kind === "histogram") || {}).seen },
    live: app.live && { ...app.live },
  };
}
