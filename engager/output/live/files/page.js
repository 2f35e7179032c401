// Everything that comes from a row or a response is set as text and never read as markup.
"use strict";

const STATUSES = ["engaged", "accepted", "rejected", "failed", "in_doubt", "invalid", "skipped"];
const PERCENTILES = ["p50", "p95", "p99"];
const byId = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const precise = new Intl.NumberFormat("en-US", { maximumFractionDigits: 1 });
let paused = false;
let typed = false; // a rate that is not sent yet
let drawn = 0; // version of the charts on the page
let drawnAt = 0;

function element(name, attributes = {}, text = "") {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

function duration(seconds) {
  const whole = Math.round(seconds), hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
  if (hours) return `${hours} h ${String(minutes).padStart(2, "0")} min`;
  return minutes ? `${minutes} min ${String(whole % 60).padStart(2, "0")} s` : `${whole} s`;
}

function clock(seconds) { // the time of day in so many seconds, of another day with its date
  const then = new Date(Date.now() + seconds * 1000), time = { hour: "2-digit", minute: "2-digit", hour12: false };
  const other = then.toDateString() !== new Date().toDateString();
  return then.toLocaleString([], other ? { ...time, year: "numeric", month: "short", day: "numeric" } : time);
}

function perSecond(value) { // one below ten needs its fraction
  return (value < 10 ? precise : number).format(value);
}

function tiles(into, entries) {
  into.replaceChildren(...entries.map(([label, value, kind]) => {
    const tile = element("div", { class: `tile ${kind || ""}` });
    tile.append(element("b", {}, value), element("span", {}, label));
    return tile;
  }));
}

function show(now) {
  byId("done").textContent = number.format(now.rows);
  const all = Math.max(now.total || 0, now.rows), noun = all === 1 ? "row" : "rows";
  byId("total").textContent = now.total ? `of ${number.format(all)} ${noun}` : noun;
  byId("share").textContent = now.total ? now.share : "";
  const known = now.eta_seconds !== null && !now.waits.length && !now.ended;
  byId("left").textContent = known ? `${duration(now.eta_seconds)} left, until ${clock(now.eta_seconds)}` : "";
  const bar = byId("bar");
  if (now.total) bar.value = Math.min(1, now.rows / now.total); else bar.removeAttribute("value");
  const shown = STATUSES.filter((s) => s !== "accepted" || now.statuses[s]); // most methods never have it
  tiles(byId("tiles"), shown.map((s) => [s.replace("_", " "), number.format(now.statuses[s]), s]));
  const latency = now.recent_latency_ms, oldest = now.oldest_in_flight_seconds, batches = now.rows_per_request > 1;
  tiles(byId("gauges"), [
    ["requests/s", perSecond(now.requests_per_second)],
    ["limit of requests/s", now.rate === null ? "none" : precise.format(now.rate)],
    ["rows/s", perSecond(now.rows_per_second)],
    ["requests in flight", number.format(now.in_flight)],
    ["oldest in flight", oldest === null ? "–" : oldest < 1 ? "< 1 s" : duration(oldest)],
    ...(batches ? [["rows in flight", number.format(now.rows_in_flight)]] : []),
    [batches ? "retries of rows" : "retries", number.format(now.retries)],
    ...PERCENTILES.map((p) => [`${p} ms`, latency[p] === null ? "–" : number.format(latency[p])]),
    ["repeats", number.format(now.duplicates)],
  ]);
  showState(now);
  showSenders(now.senders);
  const failed = now.errors.filter((kind) => kind.status !== "skipped");
  const skipped = now.errors.filter((kind) => kind.status === "skipped");
  byId("errors").hidden = !failed.length;
  byId("no-errors").hidden = failed.length > 0;
  byId("skips").hidden = !skipped.length;
  showKinds("errors", failed);
  showKinds("skipped", skipped);
}

function showState(now) {
  paused = "operator" in now.holders;
  const state = byId("state");
  state.classList.toggle("paused", now.waits.length > 0);
  state.textContent = now.waits.join("; ") || `sending for ${duration(now.elapsed_seconds)}`;
  byId("pause").textContent = paused ? "Resume" : "Pause";
  byId("pause").disabled = byId("stop").disabled = now.stopping !== null;
  byId("rate").disabled = byId("rate-form").lastElementChild.disabled = now.rate_is_adaptive;
  if (now.rate !== null && !typed && document.activeElement !== byId("rate")) byId("rate").value = now.rate;
}

function showSenders(senders) {
  byId("senders").hidden = !senders.length;
  byId("senders").querySelector("tbody").replaceChildren(...senders.map((sender) => {
    const silent = sender.silent_seconds >= 2 ? `silent for ${duration(sender.silent_seconds)}` : "";
    const line = element("tr", sender.lost ? { class: "lost" } : {});
    line.append(
      element("td", {}, sender.name),
      element("td", { class: "number" }, number.format(sender.in_flight)),
      element("td", { class: "number" }, number.format(sender.sent)),
      element("td", { class: "number" }, sender.lost || sender.share === null ? "–" : perSecond(sender.share)),
      element("td", {}, sender.lost ? "lost" : silent),
    );
    return line;
  }));
}

function showKinds(table, kinds) {
  byId(table).tBodies[0].replaceChildren(...kinds.slice(0, 50).map((kind) => {
    const line = element("tr");
    const sample = kind.row === null ? "" : `row ${kind.row}${kind.key ? `, ${kind.key}` : ""}: ${kind.text}`;
    line.append(
      element("td", { class: "number" }, number.format(kind.rows)),
      element("td", {}, kind.status.replace("_", " ")),
      element("td", {}, kind.error),
      element("td", {}, sample),
    );
    return line;
  }));
}

// The server draws the charts, from numbers alone, with the engine of the report.
async function draw(version) {
  if (version === drawn || performance.now() - drawnAt < 2000) return;
  [drawn, drawnAt] = [version, performance.now()];
  try {
    const response = await fetch("/charts");
    if (response.ok) byId("charts").innerHTML = await response.text();
  } catch {
    drawn = -1; // the next message tries again
  }
}

async function send(command) {
  const notice = byId("notice");
  notice.hidden = true;
  try {
    const response = await fetch("/control", { method: "POST", headers: { "X-Engager": "1" }, body: JSON.stringify(command) });
    if (response.ok) return;
    notice.textContent = await response.text();
  } catch {
    notice.textContent = "The run does not respond. It may have ended.";
  }
  notice.hidden = false;
}

function disable() {
  document.querySelectorAll(".controls button, .controls input, #invite").forEach((each) => { each.disabled = true; });
}

function end(now) {
  const state = byId("state"), missed = STATUSES.slice(2, 6).reduce((sum, status) => sum + now.statuses[status], 0);
  const rest = Math.max(0, (now.total || 0) - now.rows);
  const done = rest ? "ended before the last row" : "complete";
  const all = missed ? `${number.format(missed)} ${missed === 1 ? "row is" : "rows are"} not engaged` : "no row failed";
  state.className = now.ended.stopped || missed || rest ? "paused" : "good";
  state.textContent = now.ended.stopped ? `stopped: ${now.ended.stopped}` : `${done}: ${all}`;
  document.body.classList.add("over");
  disable();
}

byId("pause").addEventListener("click", () => send({ do: paused ? "resume" : "pause" }));
byId("rate-form").addEventListener("submit", (event) => {
  event.preventDefault();
  typed = false;
  send({ do: "rate", rate: Number(byId("rate").value) });
});
byId("rate").addEventListener("input", () => { typed = true; });
byId("stop").addEventListener("click", () => byId("sure").showModal());
byId("sure").addEventListener("close", () => { if (byId("sure").returnValue === "yes") send({ do: "stop" }); });

byId("invite").addEventListener("click", async () => {
  const shown = byId("invitation");
  try {
    const response = await fetch("/invite", { method: "POST", headers: { "X-Engager": "1" } });
    const text = await response.text();
    shown.textContent = response.ok ? `Open this address on the other device within 10 minutes; it opens once: ${location.origin}/?key=${text}` : text;
  } catch {
    shown.textContent = "The run does not respond. It may have ended.";
  }
});

const stream = new EventSource("/events");
stream.addEventListener("head", (event) => {
  const { job, destination, is_sandbox: isSandbox } = JSON.parse(event.data);
  byId("destination").textContent = `to ${destination}`;
  byId("destination").classList.toggle("sandbox", isSandbox);
  byId("job").textContent = job;
  document.title = `${job} – engager`;
});
stream.addEventListener("message", (event) => {
  const now = JSON.parse(event.data);
  document.body.classList.remove("stale");
  show(now);
  draw(now.charts);
  if (now.ended) { stream.close(); end(now); }
});
stream.addEventListener("error", () => {
  byId("state").className = "paused";
  byId("state").textContent = "the run does not respond: it was killed, or it is suspended. `engager status` shows how it is. The figures are the last that it sent.";
  byId("left").textContent = "";
  document.body.classList.add("stale");
});
