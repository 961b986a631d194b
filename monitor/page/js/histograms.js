// Histograms over time, as a heat map (a column for each step) or as ridges (a curve for each step, the latest in front).
// The bins are logarithmic and the same for all (histograms.py); those around zero that nothing ever fell into are joined.

const RIDGES = 14;

function buildHistograms(section) {
  const runs = app.model.runs.filter((run) => Object.keys(run.histograms).length);
  section.hidden = !runs.length;
  section.querySelectorAll(".card").forEach((old) => old.remove());
  if (!runs.length) return;
  const run = runs.find((r) => r.id === app.histograms.run) || runs[0];
  const names = Object.keys(run.histograms);
  const name = run.histograms[app.histograms.name] ? app.histograms.name : names[0];
  Object.assign(app.histograms, { run: run.id, name });
  const card = make("figure", "card", section);
  const head = make("figcaption", "", card);
  addChoice(head, "run", runs, run, (chosen) => (app.histograms.run = chosen));
  addChoice(
    head,
    "histogram",
    names.map((n) => ({ id: n, name: n })),
    { id: name },
    (chosen) => (app.histograms.name = chosen),
  );
  addButtons(head, "view", ["heat map", "ridges"], app.histograms.view, (chosen) => (app.histograms.view = chosen));
  const histogram = run.histograms[name];
  const note = make("span", "muted note", head);
  note.textContent = histogramNote(histogram);
  const ridges = app.histograms.view === "ridges";
  const plot = createPlot(card, {
    kind: "histogram",
    label: name,
    height: 280,
    left: ridges ? 20 : 62,
    still: ridges,
    draw: ridges ? drawRidges : drawHistogram,
    read: readHistogram,
    steps: () => [histogram.steps],
  });
  Object.assign(plot, { histogram, rows: binRows(histogram) });
}

function histogramNote(histogram) {
  const notes = [];
  if (histogram.steps.length < histogram.total)
    notes.push(`${histogram.steps.length} of ${formatCount(histogram.total)} recorded steps`);
  const nonfinite = histogram.nonfinite.reduce((sum, n) => sum + n, 0);
  if (nonfinite) notes.push(`${formatCount(nonfinite)} values were not finite`);
  return notes.join(" · ");
}

// Rows from the lowest bin to the highest: { low, high, bins } with the edges as values. The bins near zero that hold less
// than a twentieth of what is not zero share one row: a long tail of tiny gradients would take nearly all of the height.
function binRows(histogram) {
  const width = binCount(histogram);
  const totals = new Float64Array(width);
  histogram.counts.forEach((count, i) => (totals[i % width] += count));
  const bins = Array.from(totals, (_, i) => histogram.first + i);
  const within = (size) => bins.reduce((sum, bin, i) => sum + (bin && Math.abs(bin) < size ? totals[i] : 0), 0);
  const all = within(Infinity);
  let inner = 1;
  while (inner < 96 && within(inner + 1) < all / 20) inner++;
  const outside = bins.filter((bin) => Math.abs(bin) >= inner).map((bin) => ({ bins: [bin], ...edgesOf(bin, bin) }));
  const limit = app.model.limits[inner - 1];
  const middle = { bins: bins.filter((bin) => Math.abs(bin) < inner), low: -limit, high: limit };
  const rows = [
    ...outside.filter((r) => r.high <= 0),
    ...(middle.bins.length ? [middle] : []),
    ...outside.filter((r) => r.low >= 0),
  ];
  return rows.length ? rows : [middle];
}

function binCount(histogram) {
  return histogram.steps.length ? histogram.counts.length / histogram.steps.length : 0;
}

function edgesOf(first, last) {
  const { limits } = app.model;
  if (first > 0) return { low: limits[first - 1], high: limits[last] };
  if (last < 0) return { low: -limits[-first], high: -limits[-last - 1] };
  return { low: -limits[0], high: limits[0] };
}

// The share of a step's values in each row.
function sharesAt(plot, j) {
  const { histogram, rows } = plot;
  const width = binCount(histogram);
  const counts = histogram.counts.subarray(j * width, (j + 1) * width);
  const total = counts.reduce((sum, n) => sum + n, 0) || 1;
  return rows.map((row) => row.bins.reduce((sum, bin) => sum + counts[bin - histogram.first], 0) / total);
}

function drawHistogram(plot) {
  const { ctx, histogram, rows } = plot;
  const high = (plot.height - plot.top - plot.bottom) / rows.length;
  const all = Array.from(histogram.steps, (_, j) => sharesAt(plot, j));
  const most = all.reduce((a, shares) => Math.max(a, ...shares), 0) || 1;
  let cells = 0;
  clipped(plot, () => {
    columnEdges(plot, histogram.steps, histogram.steps[histogram.steps.length - 1]).forEach(([from, to], j) => {
      all[j].forEach((share, i) => {
        ctx.fillStyle = share > 0 ? heatColour(Math.sqrt(share / most)) : colours.nothing;
        const top = Math.round(plot.top + (rows.length - 1 - i) * high);
        ctx.fillRect(from, top, Math.max(1, to - from), Math.round(plot.top + (rows.length - i) * high) - top);
        cells += 1;
      });
    });
  });
  drawXAxis(plot, false);
  labelBins(plot, high);
  plot.seen = { cells, rows: rows.length, columns: histogram.steps.length, total: histogram.total };
}

// The upper edge of rows at whole powers of ten, and zero.
function binLabels(rows) {
  const labels = rows.map((row) => {
    if (row.low < 0 && row.high > 0) return "0";
    const edge = row.low >= 0 ? row.low : row.high;
    const power = Math.log10(Math.abs(edge));
    return Math.abs(power - Math.round(power)) < 1e-6
      ? formatNumber(Number(`${edge < 0 ? "-" : ""}1e${Math.round(power)}`))
      : "";
  });
  return labels;
}

function labelBins(plot, high) {
  const { ctx, rows } = plot;
  ctx.fillStyle = colours.muted;
  ctx.textAlign = "right";
  ctx.textBaseline = "middle";
  const labels = binLabels(rows);
  const height = (edge) => plot.height - plot.bottom - edge * high;
  const zero = labels.includes("0") ? height(labels.indexOf("0") + 0.5) : Infinity; // has its label in any case
  let last = Infinity;
  labels.forEach((label, i) => {
    const y = label === "0" ? zero : height(rows[i].low >= 0 ? i : i + 1); // a label stands at the edge that it names
    if (!label || (label !== "0" && (last - y < 13 || Math.abs(y - zero) < 13))) return;
    ctx.fillText(label, plot.left - 6, y);
    last = y;
  });
}

function readHistogram(plot, step) {
  const j = nearestIndex(plot.histogram.steps, step);
  const shares = sharesAt(plot, j);
  const rows = [
    ["1 % below", 0.01],
    ["median", 0.5],
    ["1 % above", 0.99],
  ].map(([label, q]) => ({ label, value: formatNumber(quantile(plot.rows, shares, q), 2) }));
  const when =
    plot.histogram.steps[j] === step ? [] : [{ label: "recorded at step", value: formatCount(plot.histogram.steps[j]) }];
  return [...when, ...rows];
}

// To within a bin, like Histogram.quantile.
function quantile(rows, shares, q) {
  let below = 0;
  for (let i = 0; i < rows.length; i++) {
    below += shares[i];
    if (below >= q - 1e-12)
      return rows[i].low < 0 && rows[i].high > 0
        ? 0
        : Math.sign(rows[i].low + rows[i].high) * Math.sqrt(rows[i].low * rows[i].high);
  }
  return NaN;
}

function drawRidges(plot) {
  const { ctx, histogram, rows } = plot;
  const [low, high] = xDomain();
  const inside = Array.from(histogram.steps.keys()).filter((j) => histogram.steps[j] >= low && histogram.steps[j] <= high);
  const some = Math.min(RIDGES, inside.length);
  const chosen = Array.from(
    { length: some },
    (_, i) => inside[some > 1 ? Math.round((i * (inside.length - 1)) / (some - 1)) : 0],
  );
  const right = plot.width - 64;
  const across = (i) => plot.left + ((i + 0.5) / rows.length) * (right - plot.left);
  const offset = (plot.height - plot.top - plot.bottom - 70) / Math.max(1, chosen.length - 1);
  const all = chosen.map((j) => sharesAt(plot, j));
  const most = all.reduce((a, shares) => Math.max(a, ...shares), 0) || 1;
  all.forEach((shares, k) =>
    drawRidge(
      plot,
      shares.map((share) => (66 * share) / most),
      across,
      plot.top + 70 + k * offset,
      histogram.steps[chosen[k]],
      k / Math.max(1, some - 1),
      right,
    ),
  );
  labelRidges(plot, across);
  plot.seen = { cells: 0, ridges: some, rows: rows.length, columns: histogram.steps.length, total: histogram.total };
  ctx.setLineDash([]);
}

function drawRidge(plot, heights, across, base, step, age, right) {
  const { ctx } = plot;
  ctx.beginPath();
  ctx.moveTo(plot.left, base);
  heights.forEach((height, i) => ctx.lineTo(across(i), base - height));
  ctx.lineTo(right, base);
  ctx.fillStyle = colours.card;
  ctx.globalAlpha = 0.85;
  ctx.fill();
  ctx.globalAlpha = 1;
  ctx.strokeStyle = colours["one-train"];
  ctx.globalAlpha = 0.35 + 0.65 * age;
  ctx.lineWidth = 1.4;
  ctx.stroke();
  ctx.globalAlpha = 1;
  ctx.fillStyle = colours.muted;
  ctx.textAlign = "left";
  ctx.textBaseline = "middle";
  ctx.fillText(formatCount(step), right + 6, base - 2);
}

function labelRidges(plot, across) {
  const { ctx } = plot;
  ctx.textAlign = "center";
  ctx.textBaseline = "top";
  let last = -Infinity;
  binLabels(plot.rows).forEach((label, i) => {
    if (!label || across(i) - last < 40) return;
    ctx.fillText(label, across(i), plot.height - plot.bottom + 7);
    last = across(i);
  });
}
