// Lines: how a trace becomes pixels, with its extremes kept and its gaps marked.

const DENSE = 1.2; // points for each pixel across, from which on a band from least to greatest says more than a tangle

// The indices [from, to) of what is in view, and one neighbour on each side so that lines reach the edge.
function inView(steps, domain) {
  const from = searchSorted(steps, domain[0]);
  const to = searchSorted(steps, domain[1]);
  return [Math.max(0, from - 1), Math.min(steps.length, to + (steps[to] === domain[1] ? 2 : 1))];
}

// Of each column in view, `wide` pixels across: x and the low, high, first and last of its finite points, in pixels, with
// their sum and weight; null where a line ends.
// Drawing first, least, greatest and last of each column gives the same pixels as drawing all points (Jugel et al. 2014).
function columnsOf({ x, y, n, ends }, [from, to], X, Y, wide) {
  const columns = [];
  let open = null;
  for (let i = from; i < to; i++) {
    const height = Y(y[i]);
    if (!Number.isFinite(height)) {
      if (open !== null) columns.push(null);
      open = null;
      continue;
    }
    const at = X(x[i]);
    const weight = n ? n[i] : 1;
    if (open && Math.floor(at / wide) === Math.floor(open.x / wide)) {
      open.low = Math.max(open.low, height); // pixels grow downwards
      open.high = Math.min(open.high, height);
      open.last = height;
      open.sum += weight * y[i];
      open.weight += weight;
    } else {
      open = { x: at, low: height, high: height, first: height, last: height, sum: weight * y[i], weight };
      columns.push(open);
    }
    if (ends.has(i)) {
      columns.push(null);
      open = null;
    }
  }
  return columns;
}

function strokeColumns(ctx, columns) {
  ctx.beginPath();
  let pen = false;
  for (const column of columns) {
    if (column === null) {
      pen = false;
      continue;
    }
    if (pen) ctx.lineTo(column.x, column.first);
    else ctx.moveTo(column.x, column.first);
    ctx.lineTo(column.x, column.high);
    ctx.lineTo(column.x, column.low);
    ctx.lineTo(column.x, column.last); // also makes a dot of a lone point
    pen = true;
  }
  ctx.stroke();
}

// The band from the least to the greatest value of each column.
function fillBand(ctx, columns) {
  const pieces = [[]];
  for (const column of columns) column === null ? pieces.push([]) : pieces[pieces.length - 1].push(column);
  for (const piece of pieces) {
    ctx.beginPath();
    piece.forEach((column) => ctx.lineTo(column.x, column.high - 0.5));
    piece
      .slice()
      .reverse()
      .forEach((column) => ctx.lineTo(column.x, column.low + 0.5));
    ctx.fill();
  }
}

// One line through the mean of each column.
function strokeMeans(ctx, columns, Y) {
  ctx.beginPath();
  let pen = false;
  for (const column of columns) {
    if (column !== null) ctx[pen ? "lineTo" : "moveTo"](column.x, Y(column.sum / column.weight));
    pen = column !== null;
  }
  ctx.stroke();
}

// The debiased exponential moving average (Kingma & Ba 2015, section 3) of what a trace is about. The past fades with the
// distance in steps, by `weight` over the mean distance of two points; a point that stands for n others counts n times.
// At even distances that is the usual average over points. Numbers that are not finite are passed over.
function smoothed(trace, weight) {
  if (trace.average && trace.average.weight === weight) return trace.average.y;
  const { x, y, n } = trace.centre;
  const distance = spacing(trace);
  const average = new Float64Array(y.length);
  let sum = 0;
  let count = 0;
  for (let i = 0; i < y.length; i++) {
    const kept = i ? weight ** ((x[i] - x[i - 1]) / distance) : 0;
    const here = n ? n[i] : 1;
    const good = Number.isFinite(y[i]);
    sum = kept * sum + (good ? here * y[i] : 0);
    count = kept * count + (good ? here : 0);
    average[i] = good ? sum / count : NaN;
  }
  trace.average = { weight, y: average };
  return average;
}

function spacing(trace) {
  const { x } = trace.centre;
  return x.length > 1 ? (x[x.length - 1] - x[0]) / (x.length - 1) : 1;
}

// Draw what was recorded, as it is: a line, thin where a moving average lies on it, or a band from least to greatest where
// there are more points than pixels. Answers what the other two passes need.
function drawRecorded(plot, Y, { run, trace }) {
  const { ctx } = plot;
  const view = inView(trace.x, plot.x.domain);
  const part = {
    run,
    trace,
    view,
    colour: traceColour(run, trace.part),
    alpha: app.focusRun === null || app.focusRun === run.id ? 1 : 0.12,
  };
  part.dense = trace.centre.n !== null || view[1] - view[0] > DENSE * (plot.width - plot.left);
  part.columns = columnsOf({ ...trace, n: null }, view, plot.x.to, Y, part.dense ? bandWidth(plot, trace) : 0.5);
  ctx.strokeStyle = ctx.fillStyle = part.colour;
  ctx.setLineDash(part.dense ? [] : PARTS[trace.part].dash);
  if (part.dense) {
    ctx.globalAlpha = part.alpha * 0.2;
    fillBand(ctx, part.columns);
  }
  ctx.globalAlpha = part.alpha * (part.dense ? 0.25 : app.smoothing > 0 ? 0.35 : 1);
  ctx.lineWidth = part.dense ? 0.5 : app.smoothing > 0 ? 1 : 1.6;
  strokeColumns(ctx, part.columns);
  ctx.globalAlpha = 1;
  return part;
}

// Columns of a band are at least so wide that each holds a least and a greatest value that was kept.
function bandWidth(plot, trace) {
  const [from, to] = inView(trace.centre.x, plot.x.domain);
  return Math.max(1.5, (1.5 * (plot.width - plot.left)) / (to - from));
}

// The moving average or, of a band, the means of its columns; nothing where the trace itself is the line.
function drawMiddle(plot, Y, part) {
  if (!part.dense && app.smoothing === 0) return;
  const { ctx } = plot;
  const { centre } = part.trace;
  const line = app.smoothing > 0 ? { ...centre, y: smoothed(part.trace, app.smoothing) } : centre;
  const columns = columnsOf(line, inView(centre.x, plot.x.domain), plot.x.to, Y, app.smoothing > 0 ? 1 : 4);
  ctx.strokeStyle = part.colour;
  ctx.globalAlpha = part.alpha;
  ctx.setLineDash(PARTS[part.trace.part].dash);
  ctx.lineWidth = 1.8;
  strokeMeans(ctx, columns, Y);
  ctx.globalAlpha = 1;
  part.columns = columns.map((c) => c && { ...c, first: Y(c.sum / c.weight) });
}

// Marks and gaps, on top of all lines; answers what was drawn, for the tests and for the note above the chart.
function drawMarks(plot, { run, trace, view, dense, columns, alpha, colour }) {
  const { ctx } = plot;
  ctx.setLineDash([]);
  ctx.fillStyle = colour;
  ctx.globalAlpha = alpha;
  drawShapes(plot, run, columns);
  const beyond = drawBeyond(plot, trace, view);
  ctx.globalAlpha = 1;
  const gaps = alpha === 1 ? drawGaps(plot, trace, view) : [];
  return {
    run: run.id,
    name: trace.name,
    part: trace.part,
    total: trace.total,
    kept: trace.x.length,
    drawn: view[1] - view[0],
    dense,
    pieces: columns.filter((column, i) => column && !columns[i - 1]).length,
    gaps,
    beyond,
  };
}

// Each run has a shape of its own, for those who do not see the colours: at every point where there is room, and at those
// that no line joins to another; otherwise here and there, at another place for each run.
function drawShapes(plot, run, columns) {
  const several = app.model.runs.length > 1;
  const [shape, size] = several ? [shapeOf(run), 4] : ["circle", 2.6];
  const draw = ({ x, first }) => drawShape(plot.ctx, shape, x, first, size);
  const points = columns.filter(Boolean);
  const room = (plot.width - plot.left) / Math.max(points.length, 1);
  if (room > 14) return points.forEach(draw);
  const isLone = (column, i) => column && !columns[i - 1] && !columns[i + 1];
  columns.filter(isLone).forEach(({ x, first }) => drawShape(plot.ctx, shape, x, first, Math.max(size, 3.4)));
  if (!several) return;
  let next = plot.left + ((run.index * 37) % 110);
  for (const point of points) {
    if (point.x < next) continue;
    draw(point);
    next = Math.max(point.x, next) + 110;
  }
}

const SHAPES = {
  circle: null,
  square: [
    [-0.8, -0.8],
    [0.8, -0.8],
    [0.8, 0.8],
    [-0.8, 0.8],
  ],
  triangle: [
    [0, -1.1],
    [1, 0.8],
    [-1, 0.8],
  ],
  diamond: [
    [0, -1.2],
    [1.1, 0],
    [0, 1.2],
    [-1.1, 0],
  ],
  "triangle down": [
    [0, 1.1],
    [1, -0.8],
    [-1, -0.8],
  ],
  bar: [
    [-0.35, -1.2],
    [0.35, -1.2],
    [0.35, 1.2],
    [-0.35, 1.2],
  ],
  plus: [
    [-0.3, -1.1],
    [0.3, -1.1],
    [0.3, -0.3],
    [1.1, -0.3],
    [1.1, 0.3],
    [0.3, 0.3],
    [0.3, 1.1],
    [-0.3, 1.1],
    [-0.3, 0.3],
    [-1.1, 0.3],
    [-1.1, -0.3],
    [-0.3, -0.3],
  ],
  "triangle left": [
    [-1.1, 0],
    [0.8, -1],
    [0.8, 1],
  ],
  star: [
    [0, -1.3],
    [0.3, -0.4],
    [1.2, -0.4],
    [0.5, 0.2],
    [0.8, 1.1],
    [0, 0.6],
    [-0.8, 1.1],
    [-0.5, 0.2],
    [-1.2, -0.4],
    [-0.3, -0.4],
  ],
  "triangle right": [
    [1.1, 0],
    [-0.8, -1],
    [-0.8, 1],
  ],
};

// Runs 0 to 9 differ in colour and shape; from then on the pairs differ.
function shapeOf(run) {
  const names = Object.keys(SHAPES);
  return names[(run.index + Math.floor(run.index / COLOURS)) % names.length];
}

function drawShape(ctx, shape, x, y, size) {
  ctx.beginPath();
  if (SHAPES[shape] === null) ctx.arc(x, y, size * 0.9, 0, 7);
  else SHAPES[shape].forEach(([dx, dy]) => ctx.lineTo(x + size * dx, y + size * dy));
  ctx.closePath();
  ctx.fill();
  const { strokeStyle, lineWidth } = ctx;
  ctx.strokeStyle = colours.card; // a rim, so that marks on lines of other runs stand out
  ctx.lineWidth = 0.8;
  ctx.stroke();
  ctx.strokeStyle = strokeStyle;
  ctx.lineWidth = lineWidth;
}

// Where a curve is beyond the range of the axis: an arrow in its colour at the edge. Answers its farthest value there, or
// null.
function drawBeyond(plot, trace, [from, to]) {
  const [low, high] = plot.y.domain;
  let farthest = null;
  let marked = -Infinity;
  for (let i = from; i < to; i++) {
    const value = trace.y[i];
    const inside = (value >= low && value <= high) || (plot.y.log && value <= 0);
    if (inside || !Number.isFinite(value) || trace.x[i] < plot.x.domain[0] || trace.x[i] > plot.x.domain[1]) continue;
    if (farthest === null || Math.abs(value) > Math.abs(farthest)) farthest = value;
    const x = plot.x.to(trace.x[i]);
    if (x - marked < 14) continue;
    marked = x;
    if (value > high) drawShape(plot.ctx, "triangle", x, plot.top + 3, 4.5);
    else drawShape(plot.ctx, "triangle down", x, plot.height - plot.bottom - 3, 4.5);
  }
  return farthest;
}

// Where a number was not finite: a cross at the floor for nan, an arrow at the floor or ceiling for an infinity; several on
// end are joined by a line.
function drawGaps(plot, trace, [from, to]) {
  const gaps = [];
  let marked = -Infinity;
  for (let i = from; i < to; i++) {
    const value = trace.y[i];
    if (Number.isFinite(value) || trace.x[i] < plot.x.domain[0] || trace.x[i] > plot.x.domain[1]) continue;
    gaps.push({ step: trace.x[i], value: formatNumber(value) });
    const x = plot.x.to(trace.x[i]);
    const y = value === Infinity ? plot.top + 7 : plot.height - plot.bottom - 7;
    if (i > from && Object.is(trace.y[i - 1], value)) joinGaps(plot.ctx, plot.x.to(trace.x[i - 1]), x, y);
    if (x - marked < 12) continue;
    marked = x;
    drawGap(plot.ctx, x, y, value);
  }
  return gaps;
}

function joinGaps(ctx, from, to, y) {
  ctx.strokeStyle = colours.gap;
  ctx.lineWidth = 1.8;
  strokeLine(ctx, from, y, to, y);
}

function drawGap(ctx, x, y, value) {
  ctx.strokeStyle = ctx.fillStyle = colours.gap;
  ctx.lineWidth = 1.8;
  if (Number.isNaN(value)) {
    strokeLine(ctx, x - 4, y - 4, x + 4, y + 4);
    strokeLine(ctx, x - 4, y + 4, x + 4, y - 4);
  } else {
    drawShape(ctx, value > 0 ? "triangle" : "triangle down", x, y, 5);
  }
}
