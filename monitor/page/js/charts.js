// Charts: one for each metric, with every run's training and validation curve in it; the learning rate comes last.

const MOST_CHARTS = 24; // drawn at first; a button shows the rest

// The metrics that something was recorded of, in the order that content.py gives.
function metricsOf(model) {
  return model.metrics.filter((metric) => model.runs.some((run) => run.traces.some((trace) => trace.metric === metric)));
}

function buildCharts(host) {
  host.replaceChildren();
  const metrics = metricsOf(app.model);
  const shown = app.all.charts ? metrics : metrics.slice(0, MOST_CHARTS);
  const odd = shown.filter((metric) => metric !== "lr").length % 2 === 1; // in two columns: the first takes both
  shown.forEach((metric, i) => buildChart(host, metric, metric === "lr" ? "low" : odd && i === 0 ? "wide" : ""));
  if (!metrics.length) make("p", "muted card", host, "No numbers have been recorded.");
  if (shown.length === metrics.length) return;
  const more = make("button", "more", host, `show ${metrics.length - shown.length} more charts`);
  more.addEventListener("click", () => {
    app.all.charts = true;
    rebuild();
  });
}

function buildChart(host, metric, kind) {
  const card = make("figure", `card chart ${kind}`, host);
  const head = make("figcaption", "", card);
  make("h3", "name", head, titleOf(metric));
  const legend = make("span", "legend", head);
  const note = make("span", "muted note", head);
  const button = make("button", "quiet", head, "log y");
  button.setAttribute("aria-label", `log y, ${titleOf(metric)}`); // there is one for each chart
  const plot = createPlot(card, {
    kind: "chart",
    metric,
    label: titleOf(metric),
    height: kind === "low" ? 130 : kind === "wide" ? 290 : 250,
    draw: drawChart,
    read: readChart,
    steps: stepsOfChart,
  });
  plot.toggleLog = () => {
    app.logY.set(metric, !isLog(plot));
    redraw();
  };
  button.addEventListener("click", plot.toggleLog);
  Object.assign(plot, { note, button });
  buildLegend(legend, metric);
}

function titleOf(metric) {
  return metric === "lr" ? "learning rate" : metric.replaceAll("_", " ");
}

// What solid and dashed mean, where a chart has both.
function buildLegend(host, metric) {
  const parts = Object.keys(PARTS).filter(
    (part) => part && app.model.runs.some((run) => run.traces.some((t) => t.metric === metric && t.part === part)),
  );
  for (const part of parts) {
    const item = make("span", "item", host);
    item.append(lineSwatch(app.model.runs.length === 1 ? `--one-${part}` : "--muted", PARTS[part].dash));
    item.append(PARTS[part].label);
  }
}

// A short line as the curves have it; its colour is a variable, so that it follows the theme.
function lineSwatch(variable, dash) {
  const svg = makeSvg("svg", { width: 22, height: 10, class: "swatch", "aria-hidden": "true" });
  const line = makeSvg("path", { d: "M1 5h20", "stroke-width": 2, "stroke-dasharray": dash.join(" ") || "none" }, svg);
  line.style.stroke = `var(${variable})`;
  return svg;
}

function makeSvg(tag, attributes, parent) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (parent) parent.append(element);
  return element;
}

function isLog(plot) {
  const chosen = app.logY.get(plot.metric);
  if (chosen !== undefined) return chosen;
  return plot.metric === "lr" ? areWideRates(plot) : isWideLoss(plot);
}

// Learning rates of runs that begin decades apart; none of them explodes, so all are shown. Within one run, a schedule is
// easier to recognise on a linear axis.
function areWideRates(plot) {
  const tops = app.model.runs
    .map((run) => extent(visibleTraces("lr").filter((entry) => entry.run === run), wholeDomain(), true)[1])
    .filter((top) => top > 0 && Number.isFinite(top));
  return tops.length > 1 && Math.max(...tops) > 30 * Math.min(...tops);
}

// A loss that falls by more than a factor of 30 is drawn on a logarithmic axis, unless the reader says otherwise.
function isWideLoss(plot) {
  if (!plot.metric.endsWith("loss")) return false;
  const traces = visibleTraces(plot.metric);
  if (!(extent(traces, wholeDomain(), false)[0] > 1e-200)) return false;
  const [low, high] = typicalExtent(traces, wholeDomain(), true);
  return low > 1e-200 && high > 30 * low && high < 1e200;
}

// The least and the greatest finite value in view; on a logarithmic axis of those above zero.
function extent(traces, domain, log) {
  let low = Infinity;
  let high = -Infinity;
  const include = (steps, values) => {
    for (let i = searchSorted(steps, domain[0]); i < steps.length && steps[i] <= domain[1]; i++) {
      const value = values[i];
      if (!Number.isFinite(value) || (log && value <= 0)) continue;
      if (value < low) low = value;
      if (value > high) high = value;
    }
  };
  for (const { trace } of traces) {
    include(trace.x, trace.y);
    if (app.smoothing > 0) include(trace.centre.x, smoothed(trace, app.smoothing));
  }
  return [low, high];
}

const FAR = { linear: 20, decades: 3 }; // how many times the usual range a run may go beyond it

// The extent without the ends of single runs that lie far beyond those of at least half of the runs: one that explodes
// would flatten all others. Of one run, everything is its extent; and on a logarithmic axis the low end stays, for there
// the best loss is.
function typicalExtent(traces, domain, log) {
  const whole = extent(traces, domain, log);
  const own = app.model.runs
    .map((run) => extent(traces.filter((entry) => entry.run === run), domain, log))
    .filter(([low, high]) => low <= high)
    .map((ends) => (log ? ends.map(Math.log10) : ends));
  if (own.length < 2) return whole;
  const middle = (values) => values.sort((a, b) => a - b)[Math.floor((values.length - 1) / 2)];
  const top = middle(own.map(([, high]) => high));
  const bottom = -middle(own.map(([low]) => -low));
  const span = middle(own.map(([low, high]) => high - low));
  const reach = log
    ? Math.max(FAR.decades, span)
    : FAR.linear * Math.max(span, Math.abs(top), Math.abs(bottom)) || Infinity;
  const low = Math.min(...own.map(([low]) => low).filter((value) => log || value >= bottom - reach));
  const high = Math.max(...own.map(([, high]) => high).filter((value) => value <= top + reach));
  if (low > high) return whole;
  return log ? [Math.max(10 ** low, whole[0]), Math.min(10 ** high, whole[1])] : [low, high];
}

// Bounds of what is worth seeing, whatever a few wild values are: of rho, because a step that promised next to nothing may
// have any; of R^2, because below -1 all is equally useless.
const BOUNDS = new Map([
  ["rho", [-1.5, 1.5]],
  ["r2_score", [-1, Infinity]],
]);

function yDomain(plot, traces, log) {
  let [low, high] = (plot.metric === "lr" ? extent : typicalExtent)(traces, plot.x.domain, log);
  if (low > high) [low, high] = extent(traces, wholeDomain(), log); // between two points: keep the lines in view
  if (low > high) return log ? [0.1, 1] : [0, 1];
  if (log) {
    if (plot.metric === "lr") low = Math.max(low, high / 1e6); // a schedule that ends in nearly nothing
    const margin = low < high ? (high / low) ** 0.06 : 2;
    return [Math.max(low / margin, 1e-300), high * margin];
  }
  const [least, greatest] = BOUNDS.get(plot.metric) || [-Infinity, Infinity];
  if (low < greatest && high > least) {
    if (plot.metric === "rho") [low, high] = [Math.min(low, 0), Math.max(high, 1)];
    [low, high] = [Math.max(low, least), Math.min(high, greatest)];
  }
  const margin = low < high ? (high - low) * 0.06 : Math.abs(low) * 0.2 || 1;
  return [low >= 0 && plot.metric === "lr" ? 0 : low - margin, high + margin];
}

function drawChart(plot) {
  const traces = visibleTraces(plot.metric);
  const log = isLog(plot);
  plot.y = makeScale(yDomain(plot, traces, log), [plot.height - plot.bottom, plot.top], log);
  drawShade(plot);
  drawXAxis(plot);
  drawYAxis(plot, plot.y);
  const height = (value) => (log && value <= 0 ? NaN : plot.y.to(value));
  const behind = (entry) => (entry.run.id === app.focusRun ? 1 : 0); // the run that is pointed at is drawn on top
  const order = app.focusRun === null ? traces : traces.slice().sort((a, b) => behind(a) - behind(b));
  let drawn = [];
  clipped(plot, () => {
    const parts = order.map((entry) => drawRecorded(plot, height, entry));
    parts.forEach((part) => drawMiddle(plot, height, part)); // over all bands
    drawn = parts.map((part) => drawMarks(plot, part));
  });
  plot.seen = { log, y: plot.y.domain, traces: drawn, box: { left: plot.left, right: plot.width - plot.right } };
  plot.button.setAttribute("aria-pressed", String(log));
  plot.note.textContent = noteOf(traces, log, drawn);
}

// What is not drawn is said.
function noteOf(traces, log, drawn) {
  const sum = (key) => drawn.reduce((total, trace) => total + trace[key], 0);
  const notes = [];
  if (sum("kept") < sum("total"))
    notes.push(`${formatCount(sum("kept"))} of ${formatCount(sum("total"))} points, extremes kept`);
  const gaps = traces.reduce((total, { trace }) => total + trace.gaps, 0);
  if (gaps) notes.push(`${formatCount(gaps)} × not finite`);
  const away = drawn.filter((trace) => trace.beyond);
  if (away.length) {
    const farthest = away.map((trace) => trace.beyond).reduce((a, b) => (Math.abs(b) > Math.abs(a) ? b : a));
    const leave = `curves ${away.length === 1 ? "leaves" : "leave"} the axis (arrows), as far as`;
    notes.push(`${away.length} of ${drawn.length} ${leave} ${formatNumber(farthest, 3)}`);
  }
  const below = log
    ? traces.reduce((total, { trace }) => total + trace.y.reduce((n, value) => n + (value <= 0 ? 1 : 0), 0), 0)
    : 0;
  if (below) notes.push(`${formatCount(below)} at or below 0 cannot be shown on a log axis`);
  return notes.join(" · ");
}

function stepsOfChart(plot) {
  return visibleTraces(plot.metric).map(({ trace }) => trace.x);
}

// The values at a step, the greatest first as the curves lie; where a curve has no point there, that of the nearest.
function readChart(plot, step) {
  const rows = [];
  for (const { run, trace } of visibleTraces(plot.metric)) {
    if (!trace.x.length) continue;
    const i = nearestIndex(trace.x, step);
    const value = trace.y[i];
    const y = plot.seen.log && value <= 0 ? NaN : plot.y.to(value);
    const several = app.model.runs.length > 1;
    const average = app.smoothing > 0 && !trace.centre.n ? ` (${formatNumber(smoothed(trace, app.smoothing)[i])})` : "";
    rows.push({
      label: [several ? run.name : "", PARTS[trace.part].label].filter(Boolean).join(" ") || titleOf(plot.metric),
      value: formatNumber(value) + average + (trace.x[i] === step ? "" : ` @ ${formatCount(trace.x[i])}`),
      swatch: () =>
        several ? runSwatch(run, trace.part) : lineSwatch(`--one-${trace.part || "other"}`, PARTS[trace.part].dash),
      colour: traceColour(run, trace.part),
      at: Number.isFinite(y) && trace.x[i] === step ? [plot.x.to(trace.x[i]), y] : null,
      height: Number.isFinite(y) ? y : Infinity,
    });
  }
  return rows.sort((a, b) => a.height - b.height);
}

// A run's line with its shape on it.
function runSwatch(run, part = "") {
  const variable = `--run-${run.index % COLOURS}`;
  const svg = lineSwatch(variable, PARTS[part].dash);
  const points = SHAPES[shapeOf(run)];
  const mark = points
    ? makeSvg("path", { d: `M${points.map(([x, y]) => `${11 + 3.6 * x} ${5 + 3.6 * y}`).join("L")}Z` }, svg)
    : makeSvg("circle", { cx: 11, cy: 5, r: 3.4 }, svg);
  mark.style.fill = `var(${variable})`;
  return svg;
}
