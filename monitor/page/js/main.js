// Start: decode, build, draw; then the toolbar. If anything here fails, the still picture stays.

async function start() {
  const began = performance.now();
  const content = JSON.parse(document.getElementById("content").textContent);
  app.model = await decodeContent(content);
  document.getElementById("still").hidden = true;
  document.getElementById("page").hidden = false;
  document.body.classList.remove("still-only");
  buildToolbar();
  rebuild();
  drawEverything();
  app.drawn.milliseconds = performance.now() - began;
  new ResizeObserver(redraw).observe(document.getElementById("page"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  window.addEventListener("beforeprint", () => setPrinting(true));
  window.addEventListener("afterprint", () => setPrinting(false));
  startLive(content);
}

// Build everything anew from the model; what the reader chose is in `app`, and stays.
function rebuild() {
  const restore = rememberPlace();
  plots.length = 0;
  buildParts(document.getElementById("parts"));
  buildTables();
  buildCharts(document.getElementById("charts"));
  buildLayers(document.getElementById("layers"));
  buildHistograms(document.getElementById("histograms"));
  restore();
  redraw();
}

// Which control has the focus and which details are open, by their number within their section: an update of a live page
// makes new elements in the old places.
function rememberPlace() {
  const controls = "button, input, select, summary, .plot";
  const section = document.activeElement?.closest("section");
  const place = section ? [...section.querySelectorAll(controls)].indexOf(document.activeElement) : -1;
  const open = [...document.querySelectorAll("section[id] details")].map((details) => details.open);
  return () => {
    const now = [...document.querySelectorAll("section[id] details")];
    if (now.length === open.length) now.forEach((details, i) => (details.open = open[i]));
    if (place >= 0) section.querySelectorAll(controls)[place]?.focus({ preventScroll: true });
  };
}

function buildToolbar() {
  const smoothing = document.getElementById("smoothing");
  smoothing.addEventListener("input", () => {
    app.smoothing = Number(smoothing.value);
    redraw();
  });
  document.getElementById("log-x").addEventListener("click", () => {
    app.x.log = !app.x.log;
    redraw();
  });
  document.getElementById("log-y").addEventListener("click", () => {
    const on = !allLog();
    metricsOf(app.model).forEach((metric) => app.logY.set(metric, on));
    redraw();
  });
  document.getElementById("reset").addEventListener("click", () => setDomain(null));
  document.getElementById("theme").addEventListener("click", nextTheme);
  afterDrawing.push(showToolbar);
}

function allLog() {
  const charts = plots.filter((plot) => plot.kind === "chart");
  return charts.length > 0 && charts.every(isLog);
}

function showToolbar() {
  const [low, high] = xDomain();
  document.getElementById("log-x").setAttribute("aria-pressed", String(app.x.log));
  document.getElementById("log-y").setAttribute("aria-pressed", String(allLog()));
  document.getElementById("reset").disabled = app.x.domain === null;
  document.getElementById("range").textContent = app.x.domain ? stepsWithin(low, high) : "";
  document.getElementById("half-life").textContent = halfLife();
  document.getElementById("theme").textContent = `theme: ${app.theme}`;
}

// The first and the last whole step of a range; of one between two steps, these.
function stepsWithin(low, high) {
  const inside = Math.ceil(low) <= Math.floor(high);
  const [first, last] = inside ? [Math.ceil(low), Math.floor(high)] : [Math.floor(low), Math.ceil(high)];
  return `steps ${formatCount(first)} to ${formatCount(last)}`;
}

// In how many steps the past loses half of its weight; of several curves, the first one that is shown.
function halfLife() {
  if (app.smoothing === 0) return "off";
  const first = metricsOf(app.model)
    .flatMap(visibleTraces)
    .find(({ trace }) => trace.centre.x.length > 1);
  if (!first) return app.smoothing.toFixed(2);
  return `half-life ${formatNumber((Math.log(0.5) / Math.log(app.smoothing)) * spacing(first.trace), 2)} steps`;
}

// Buttons for training, validation ... where there is more than one of them.
function buildParts(host) {
  const present = Object.keys(PARTS).filter(
    (part) => part && app.model.runs.some((run) => run.traces.some((trace) => trace.part === part)),
  );
  if (host.dataset.parts === present.join()) return;
  host.dataset.parts = present.join();
  host.replaceChildren();
  for (const part of present.length > 1 ? present : []) {
    const button = make("button", "", host, PARTS[part].label);
    button.type = "button";
    button.dataset.part = part;
    button.setAttribute("aria-pressed", String(!app.hiddenParts.has(part)));
    button.addEventListener("click", () => {
      app.hiddenParts[app.hiddenParts.has(part) ? "delete" : "add"](part);
      button.setAttribute("aria-pressed", String(!app.hiddenParts.has(part)));
      redraw();
    });
  }
}

function nextTheme() {
  const themes = ["auto", "light", "dark"];
  app.theme = themes[(themes.indexOf(app.theme) + 1) % themes.length];
  document.documentElement.dataset.theme = app.theme;
  redraw();
}

// On paper everything is as wide as a sheet (page.css), light, and drawn at once: nothing waits for a frame there.
function setPrinting(on) {
  app.printing = on;
  document.body.classList.toggle("printing", on);
  document.documentElement.dataset.theme = on ? "light" : app.theme;
  drawEverything();
}

function isDark() {
  return app.theme === "dark" || (app.theme === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
}

window.tinynet = { state: snapshot };
start();
