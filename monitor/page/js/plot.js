// A plot: two canvases, one for the picture and one above it for the cross-hair and the brush, which move all the time.
// Pointer and keyboard mean the same on all plots, and the cross-hair stands at the same step in all of them.

// Make an element with a class and a text. The text is never HTML: whatever a run is called, it stays a text.
function make(tag, className, parent, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  if (parent) parent.append(element);
  return element;
}

// `options`: kind, label, height, left (pixels for labels), draw(plot), read(plot, step) -> rows, and steps(plot), the
// sorted arrays of steps at which the cross-hair may stand.
function createPlot(host, options) {
  const box = make("div", "plot", host);
  const plot = { right: 10, top: 8, bottom: 22, left: 52, seen: {}, brush: null, ...options, box };
  box.style.height = `${plot.height}px`;
  box.tabIndex = 0;
  box.setAttribute("role", "application");
  box.setAttribute("aria-roledescription", "chart");
  box.setAttribute(
    "aria-label",
    `${plot.label}: arrow keys move the cross-hair, plus and minus zoom, 0 shows the whole range`,
  );
  plot.canvas = make("canvas", "", box);
  plot.overlay = make("canvas", "overlay", box);
  plot.readout = make("div", "readout", box);
  plot.readout.hidden = true;
  plot.paint = () => paint(plot);
  listenToPointer(plot);
  box.addEventListener("keydown", (event) => onKey(plot, event));
  plots.push(plot);
  return plot;
}

function paint(plot) {
  plot.width = plot.box.clientWidth;
  if (!plot.width) return;
  for (const canvas of [plot.canvas, plot.overlay]) fitCanvas(canvas, plot.width, plot.height);
  plot.ctx = clearCanvas(plot.canvas, plot.width, plot.height);
  plot.x = makeScale(xDomain(), [plot.left, plot.width - plot.right], app.x.log, 1);
  plot.draw(plot);
}

// As many pixels as the screen has, or a printer; the drawing goes on in CSS pixels.
function fitCanvas(canvas, width, height) {
  const ratio = app.printing ? 3 : window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
}

function clearCanvas(canvas, width, height) {
  const ctx = canvas.getContext("2d");
  const ratio = canvas.width / width;
  ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
  ctx.clearRect(0, 0, width, height);
  ctx.font = "11px system-ui, sans-serif";
  ctx.lineJoin = "round";
  ctx.lineCap = "round";
  return ctx;
}

function listenToPointer(plot) {
  const { box } = plot;
  const place = (event) =>
    Math.max(plot.left, Math.min(plot.width - plot.right, event.clientX - box.getBoundingClientRect().left));
  box.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !plot.x) return;
    plot.brush = [place(event), place(event)];
    box.setPointerCapture(event.pointerId); // the drag may leave the plot
  });
  box.addEventListener("pointermove", (event) => {
    if (!plot.x) return;
    if (plot.brush) plot.brush[1] = place(event);
    moveCross(snap(plot, plot.x.from(place(event))));
  });
  box.addEventListener("pointerup", () => endBrush(plot));
  box.addEventListener("pointercancel", () => {
    plot.brush = null; // on a touch screen: it was scrolling after all
    drawCrosshairs();
  });
  box.addEventListener("pointerleave", () => {
    if (!plot.brush && document.activeElement !== box) moveCross(null);
  });
  box.addEventListener("dblclick", () => setDomain(null));
}

function endBrush(plot) {
  const brush = plot.brush;
  plot.brush = null;
  if (brush && Math.abs(brush[1] - brush[0]) > 4) setDomain(brush.map(plot.x.from));
  else drawCrosshairs();
}

function onKey(plot, event) {
  if (event.ctrlKey || event.metaKey || event.altKey || !plot.x) return;
  const [low, high] = xDomain();
  const cross = app.cross === null ? low : app.cross;
  const moves = {
    ArrowLeft: () => moveCross(neighbour(plot, -1), plot),
    ArrowRight: () => moveCross(neighbour(plot, 1), plot),
    PageUp: () => moveCross(snap(plot, cross - (high - low) / 10), plot),
    PageDown: () => moveCross(snap(plot, cross + (high - low) / 10), plot),
    Home: () => moveCross(snap(plot, low), plot),
    End: () => moveCross(snap(plot, high), plot),
    "+": () => zoomBy(0.5, cross),
    "=": () => zoomBy(0.5, cross),
    "-": () => zoomBy(2, cross),
    0: () => setDomain(null),
    Escape: () => escapeFrom(plot),
    l: () => plot.toggleLog && plot.toggleLog(),
  };
  if (!moves[event.key]) return;
  event.preventDefault();
  moves[event.key]();
}

function escapeFrom(plot) {
  plot.brush = null;
  app.finding = null;
  moveCross(null);
  setDomain(null);
}

// Show `factor` times as many steps, keeping the cross-hair where it is; never more than there are.
function zoomBy(factor, around) {
  const [low, high] = xDomain();
  const [first, last] = wholeDomain();
  const from = Math.max(first, around - (around - low) * factor);
  const to = Math.min(last, around + (high - around) * factor);
  setDomain(from <= first && to >= last ? null : [from, to]);
}

// The recorded step that is nearest to a place, among those in view.
function snap(plot, step) {
  const [low, high] = xDomain();
  let best = null;
  for (const steps of plot.steps(plot)) {
    if (!steps.length) continue;
    const near = steps[nearestIndex(steps, Math.max(low, Math.min(high, step)))];
    if (near >= low && near <= high && (best === null || Math.abs(near - step) < Math.abs(best - step))) best = near;
  }
  return best;
}

// The next recorded step to the left or right of the cross-hair.
function neighbour(plot, direction) {
  const [low, high] = xDomain();
  if (app.cross === null) return snap(plot, direction > 0 ? low : high);
  let best = app.cross;
  for (const steps of plot.steps(plot)) {
    const at = direction > 0 ? searchSorted(steps, app.cross + 1e-9) : searchSorted(steps, app.cross) - 1;
    const step = steps[at];
    if (step === undefined || step < low || step > high) continue;
    if (best === app.cross || Math.abs(step - app.cross) < Math.abs(best - app.cross)) best = step;
  }
  return best;
}

// Put the cross-hair at a step of all plots; one that was moved with keys is also said aloud, to a screen reader.
function moveCross(step, speaker = null) {
  app.cross = step;
  drawCrosshairs();
  if (!speaker || step === null) return;
  const rows = speaker
    .read(speaker, step)
    .slice(0, 6)
    .map((row) => `${row.label} ${row.value}`);
  document.getElementById("spoken").textContent = `step ${formatCount(step)}: ${rows.join(", ")}`;
}

function drawCrosshairs() {
  for (const plot of plots) if (plot.x && plot.width) drawCrosshair(plot);
}

function drawCrosshair(plot) {
  const ctx = clearCanvas(plot.overlay, plot.width, plot.height);
  if (plot.brush) {
    const [a, b] = plot.brush;
    ctx.fillStyle = colours.shade;
    ctx.fillRect(Math.min(a, b), plot.top, Math.abs(b - a), plot.height - plot.top - plot.bottom);
  }
  const [low, high] = plot.x.domain;
  const seen = app.cross !== null && app.cross >= low && app.cross <= high && !plot.still;
  plot.readout.hidden = !seen;
  if (!seen) return;
  const x = plot.x.to(app.cross);
  ctx.strokeStyle = colours.muted;
  ctx.lineWidth = 1;
  ctx.setLineDash([]);
  strokeLine(ctx, x, plot.top, x, plot.height - plot.bottom);
  const rows = plot.read(plot, app.cross);
  for (const row of rows) if (row.at) drawDot(ctx, row.at[0], row.at[1], row.colour);
  fillReadout(plot, x, rows);
}

function drawDot(ctx, x, y, colour) {
  ctx.beginPath();
  ctx.arc(x, y, 3.5, 0, 7);
  ctx.fillStyle = colour;
  ctx.fill();
  ctx.strokeStyle = colours.card;
  ctx.stroke();
}

function strokeLine(ctx, x1, y1, x2, y2) {
  ctx.beginPath();
  ctx.moveTo(x1, y1);
  ctx.lineTo(x2, y2);
  ctx.stroke();
}

// The numbers at the cross-hair, on its roomier side; as many as there is room for.
function fillReadout(plot, x, rows) {
  const { readout } = plot;
  const room = Math.max(1, Math.floor((plot.height - plot.top - plot.bottom - 30) / 16));
  const fitting = rows.length > room ? rows.slice(0, room - 1) : rows;
  readout.replaceChildren();
  const epoch = app.model.runs.length === 1 ? epochAt(app.model.runs[0], app.cross) : null;
  make(
    "div",
    "step",
    readout,
    `step ${formatCount(app.cross)}${epoch === null ? "" : ` · epoch ${formatNumber(epoch, 3)}`}`,
  );
  for (const row of fitting) {
    const line = make("div", "row", readout);
    if (row.swatch) line.append(row.swatch());
    make("span", "name", line, row.label);
    make("span", "value", line, row.value);
  }
  if (fitting.length < rows.length) make("div", "step", readout, `and ${rows.length - fitting.length} more`);
  const onLeft = x > (plot.left + plot.width - plot.right) / 2;
  readout.style.left = onLeft ? `${plot.left + 4}px` : "auto";
  readout.style.right = onLeft ? "auto" : `${plot.right + 2}px`;
}

// Axes -----------------------------------------------------------------------------------------------------------------

function drawXAxis(plot, grid = true) {
  const { ctx } = plot;
  const floor = plot.height - plot.bottom;
  ctx.setLineDash([]);
  ctx.lineWidth = 1;
  ctx.textBaseline = "top";
  ctx.fillStyle = colours.muted;
  ctx.textAlign = "right";
  ctx.fillText("step", plot.left - 6, floor + 7);
  let last = plot.left - 12;
  for (const tick of ticksOf(plot.x, Math.max(2, plot.width / 90)).filter(Number.isInteger)) {
    const x = Math.round(plot.x.to(tick)) + 0.5;
    const text = tick >= 1e6 ? formatNumber(tick, 4) : formatNumber(tick, 12).replace(/\B(?=(\d{3})+$)/g, ",");
    const half = ctx.measureText(text).width / 2;
    if (grid) {
      ctx.strokeStyle = colours.grid;
      strokeLine(ctx, x, plot.top, x, floor);
    }
    if (x - half < last + 8) continue; // no label over another
    ctx.fillStyle = colours.muted;
    ctx.textAlign = "center";
    const centre = Math.min(x, plot.width - half - 1);
    ctx.fillText(text, centre, floor + 7);
    last = centre + half;
  }
}

function drawYAxis(plot, scale) {
  const { ctx } = plot;
  ctx.textAlign = "right";
  ctx.textBaseline = "middle";
  ctx.setLineDash([]);
  ctx.lineWidth = 1;
  for (const tick of ticksOf(scale, Math.max(2, plot.height / 45))) {
    const y = Math.round(scale.to(tick)) + 0.5;
    ctx.strokeStyle = colours.grid;
    strokeLine(ctx, plot.left, y, plot.width - plot.right, y);
    ctx.fillStyle = colours.muted;
    ctx.fillText(formatNumber(tick, 4), plot.left - 6, y);
  }
}

// Draw only inside the axes.
function clipped(plot, drawing) {
  const { ctx } = plot;
  ctx.save();
  ctx.beginPath();
  ctx.rect(plot.left - 4, plot.top - 4, plot.width - plot.left - plot.right + 8, plot.height - plot.top - plot.bottom + 8);
  ctx.clip();
  drawing();
  ctx.restore();
}

// The window of the finding that was chosen, behind the curves.
function drawShade(plot) {
  if (!app.finding) return;
  const [from, to] = app.finding.steps.map(plot.x.to);
  plot.ctx.fillStyle = colours.shade;
  plot.ctx.fillRect(from, plot.top, Math.max(2, to - from), plot.height - plot.top - plot.bottom);
}
