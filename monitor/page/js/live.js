// A live page asks its server (serve.py) for news, as long as the page is looked at, and keeps all that the reader chose.

function startLive(content) {
  if (!content.live) return;
  app.live = { state: content.live.state, updates: 0, failures: 0, etag: content.live.etag };
  showLive();
  setTimeout(poll, content.live.milliseconds);
}

async function poll() {
  let pause = app.model.live.milliseconds;
  try {
    if (!document.hidden) await askForNews();
    app.live.failures = 0;
  } catch {
    app.live.failures += 1;
    app.live.state = "no answer from tinynet watch; trying again";
    pause = Math.min(30000, pause * 2 ** app.live.failures);
  }
  showLive();
  setTimeout(poll, pause);
}

async function askForNews() {
  const answer = await fetch("data.json", { headers: { "If-None-Match": app.live.etag }, cache: "no-store" });
  if (answer.status === 200) {
    const content = await answer.json();
    app.model = await decodeContent(content);
    app.live.etag = answer.headers.get("ETag");
    app.live.updates += 1;
    rebuild();
  } else if (answer.status !== 304) {
    throw new Error(`status ${answer.status}`);
  }
  app.live.state = app.model.live.state;
}

function showLive() {
  const line = document.getElementById("live");
  line.hidden = false;
  line.className = app.live.failures ? "lost" : app.model.runs.some((run) => run.status === "running") ? "running" : "";
  if (line.textContent !== app.live.state) line.textContent = app.live.state;
}
