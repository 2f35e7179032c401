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
  const holders = Object.entries(now.holders);
  byId("left").textContent = now.eta_seconds === null || holders.length ? "" : `${duration(now.eta_seconds)} left`;
  const bar = byId("bar");
  if (now.total) bar.value = Math.min(1, now.rows / now.total); else bar.removeAttribute("value");
  const shown = STATUSES.filter((s) => s !== "accepted" || now.statuses[s]); // most methods never have it
  tiles(byId("tiles"), shown.map((s) => [s.replace("_", " "), number.format(now.statuses[s]), s]));
  const latency = now.recent_latency_ms, batches = now.rows_per_request > 1;
  tiles(byId("gauges"), [
    ["requests/s", perSecond(now.requests_per_second)],
    ["limit of requests/s", now.rate === null ? "none" : precise.format(now.rate)],
    ["rows/s", perSecond(now.rows_per_second)],
    ["requests in flight", number.format(now.in_flight)],
    ...(batches ? [["rows in flight", number.format(now.rows_in_flight)]] : []),
    [batches ? "retries of rows" : "retries", number.format(now.retries)],
    ...PERCENTILES.map((p) => [`${p} ms`, latency[p] === null ? "–" : number.format(latency[p])]),
    ["repeats", number.format(now.duplicates)],
  ]);
  showState(now, holders);
  showSenders(now.senders);
  showErrors(now.errors);
}

function showState(now, holders) {
  paused = "operator" in now.holders;
  const state = byId("state");
  state.classList.toggle("paused", holders.length > 0);
  const why = holders.map(([holder, text]) => text ? `${holder} (${text})` : holder).join(", ");
  state.textContent = holders.length ? `paused by the ${why}` : `sending for ${duration(now.elapsed_seconds)}`;
  byId("pause").textContent = paused ? "Resume" : "Pause";
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

function showErrors(errors) {
  byId("errors").hidden = !errors.length;
  byId("no-errors").hidden = errors.length > 0;
  byId("errors").tBodies[0].replaceChildren(...errors.slice(0, 50).map((kind) => {
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

function end(ending) {
  const state = byId("state");
  state.classList.remove("paused");
  state.textContent = ending.stopped ? `stopped: ${ending.stopped}` : "ended";
  document.querySelectorAll(".controls button, .controls input").forEach((each) => { each.disabled = true; });
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
  const { job } = JSON.parse(event.data);
  byId("job").textContent = job;
  document.title = `${job} – engager`;
});
stream.addEventListener("message", (event) => {
  const now = JSON.parse(event.data);
  show(now);
  draw(now.charts);
  if (now.ended) { stream.close(); end(now.ended); }
});
stream.addEventListener("error", () => { byId("state").textContent = "the run does not respond; it may have ended"; });
