// Layers over time: one row for each layer, one column for each recorded step, the shade says how much.

const ROW = 22; // pixels of a layer

function buildLayers(section) {
  const runs = app.model.runs.filter((run) => Object.keys(run.layers).length);
  section.hidden = !runs.length;
  section.querySelectorAll(".card").forEach((old) => old.remove());
  if (!runs.length) return;
  const run = runs.find((r) => r.id === app.layers.run) || runs[0];
  const quantity = run.layers[app.layers.quantity] ? app.layers.quantity : Object.keys(run.layers)[0];
  Object.assign(app.layers, { run: run.id, quantity });
  const layer = run.layers[quantity];
  const card = make("figure", "card", section);
  const head = make("figcaption", "", card);
  addChoice(head, "run", runs, run, (chosen) => (app.layers.run = chosen));
  addButtons(head, "quantity", Object.keys(run.layers), quantity, (chosen) => (app.layers.quantity = chosen));
  const note = make("span", "muted note", head);
  const columns = layer.steps.length;
  if (columns < layer.total)
    note.textContent = `${formatCount(columns)} columns for ${formatCount(layer.total)} recorded steps, each a mean`;
  const plot = createPlot(card, {
    kind: "layers",
    label: `${quantity} of each layer`,
    height: 30 + Math.min(60, Math.max(2, layer.names.length)) * ROW,
    left: gutter(layer.names),
    draw: drawLayers,
    read: readLayers,
    steps: () => [layer.steps],
  });
  plot.scale = layerScale(quantity, layer.values);
  plot.layer = layer;
  buildKey(card, plot.scale, quantity);
}

// A choice of run, where there are several.
function addChoice(host, label, runs, chosen, choose) {
  if (runs.length < 2) return;
  const select = make("select", "", host);
  select.setAttribute("aria-label", label);
  for (const run of runs) make("option", "", select, run.name).value = run.id;
  select.value = chosen.id;
  select.addEventListener("change", () => {
    choose(select.value);
    rebuild();
  });
}

function addButtons(host, label, names, chosen, choose) {
  const group = make("span", "buttons", host);
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", label);
  for (const name of names) {
    const button = make("button", "quiet name", group, name.replaceAll("_", " "));
    button.type = "button";
    button.dataset.choice = name;
    button.setAttribute("aria-pressed", String(name === chosen));
    button.addEventListener("click", () => {
      choose(name);
      rebuild();
    });
  }
}

// Room for the names of layers, within reason.
function gutter(names) {
  const longest = names.reduce((most, name) => Math.max(most, name.length), 0);
  return Math.min(150, Math.max(52, 14 + 6.2 * longest));
}

// Shares go from 0 to 1; what is positive and spreads far is logarithmic; the rest from least to greatest.
function layerScale(quantity, values) {
  if (quantity === "dead" || quantity === "saturated") return { low: 0, high: 1, log: false };
  let [low, high, least] = [Infinity, -Infinity, Infinity];
  for (const value of values) {
    if (!Number.isFinite(value)) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
    if (value > 0) least = Math.min(least, value);
  }
  if (low >= 0 && high > 10 * least) return { low: least, high, log: true };
  return low <= high ? { low, high, log: false } : { low: 0, high: 1, log: false };
}

function shareOf(scale, value) {
  if (scale.log) return value <= 0 ? 0 : Math.log(value / scale.low) / Math.log(scale.high / scale.low);
  return scale.high > scale.low ? (value - scale.low) / (scale.high - scale.low) : 0.5;
}

// Where the columns begin and end, in pixels: each lasts until the next one.
function columnEdges(plot, steps, last) {
  const end =
    steps.length > 1
      ? Math.max(last, steps[steps.length - 1] + (steps[steps.length - 1] - steps[steps.length - 2]))
      : last + 1;
  const edge = (step) => Math.round(plot.x.to(step)); // whole pixels: no seams
  return Array.from(steps, (step, i) => [edge(step), edge(i + 1 < steps.length ? steps[i + 1] : end)]);
}

function drawLayers(plot) {
  const { ctx, layer } = plot;
  const high = (plot.height - plot.top - plot.bottom) / layer.names.length;
  let cells = 0;
  clipped(plot, () => {
    columnEdges(plot, layer.steps, layer.last).forEach(([from, to], j) => {
      if (to < plot.left || from > plot.width - plot.right) return;
      layer.names.forEach((_, i) => {
        const value = layer.values[j * layer.names.length + i];
        drawCell(ctx, from, plot.top + i * high, Math.max(1, to - from), high - 1, value, plot.scale);
        cells += 1;
      });
    });
  });
  drawXAxis(plot, false);
  labelRows(plot, layer.names, high);
  plot.seen = { cells, rows: layer.names.length, columns: layer.steps.length, total: layer.total };
}

function drawCell(ctx, x, y, width, height, value, scale) {
  ctx.fillStyle = Number.isFinite(value)
    ? heatColour(shareOf(scale, value))
    : value === undefined || Number.isNaN(value)
      ? colours.nothing
      : colours.gap;
  ctx.fillRect(x, y, width, height);
}

function labelRows(plot, names, high) {
  const { ctx } = plot;
  ctx.fillStyle = colours.muted;
  ctx.textAlign = "right";
  ctx.textBaseline = "middle";
  const every = Math.ceil(12 / high); // as many labels as fit
  names.forEach((name, i) => {
    if (i % every === 0) ctx.fillText(fitted(ctx, name, plot.left - 8), plot.left - 6, plot.top + (i + 0.5) * high);
  });
}

// As much of a name as there is room for.
function fitted(ctx, name, room) {
  if (ctx.measureText(name).width <= room) return name;
  let length = name.length;
  while (length > 1 && ctx.measureText(`${name.slice(0, length)}…`).width > room) length--;
  return `${name.slice(0, length)}…`;
}

function readLayers(plot, step) {
  const { layer } = plot;
  const j = Math.max(0, searchSorted(layer.steps, step + 1e-9) - 1);
  const rows = layer.names.map((name, i) => ({
    label: name,
    value: formatNumber(layer.values[j * layer.names.length + i], 3), // a shade has no more (packing.py)
  }));
  return rows.map((row) => (row.value === "nan" ? { ...row, value: "none" } : row));
}

// What the shades mean.
function buildKey(host, scale, quantity) {
  const key = make("div", "key", host);
  make("span", "", key, formatNumber(scale.low, 3));
  const bar = makeSvg("svg", { width: 160, height: 10, role: "img", "aria-label": "colour scale" }, key);
  for (let i = 0; i < 40; i++) makeSvg("rect", { x: 4 * i, width: 4.3, height: 10, fill: heatColour(i / 39) }, bar);
  make("span", "", key, formatNumber(scale.high, 3));
  make("span", "muted", key, `${quantity.replaceAll("_", " ")}${scale.log ? ", log scale" : ""}`);
  make("span", "empty", key);
  make("span", "muted", key, "none, or nan");
}
