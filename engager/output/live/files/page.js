// Everything that comes from a row or an answer is set as text; nothing is ever read as markup.
"use strict";

const STATUSES = ["engaged", "rejected", "failed", "in_doubt", "invalid", "skipped"];
const PERCENTILES = ["p50", "p95", "p99"];
const NOT_KEPT = 1200; // points in the browser; the server keeps fewer
const byId = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const precise = new Intl.NumberFormat("en-US", { maximumFractionDigits: 1 });
let points = [];
let held = false;
let typed = false; // a rate that was not asked for yet

function element(name, attributes = {}, text = "") {
  const made = name === name.toLowerCase() && ["svg", "path", "line", "text"].includes(name)
    ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

function duration(seconds) {
  const whole = Math.round(seconds), hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
  if (hours) return `${hours} h ${String(minutes).padStart(2, "0")} min`;
  return minutes ? `${minutes} min ${String(whole % 60).padStart(2, "0")} s` : `${whole} s`;
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
  byId("total").textContent = now.total ? `of ${number.format(Math.max(now.total, now.rows))} rows` : "rows";
  const holders = Object.entries(now.holders);
  byId("left").textContent = now.eta_seconds === null || holders.length ? "" : `${duration(now.eta_seconds)} left`;
  const bar = byId("bar");
  if (now.total) bar.value = Math.min(1, now.rows / now.total); else bar.removeAttribute("value");
  tiles(byId("tiles"), STATUSES.map((s) => [s.replace("_", " "), number.format(now.statuses[s]), s]));
  const late = now.recent_latency_ms;
  tiles(byId("gauges"), [
    ["rows a second", number.format(now.rows_per_second)],
    ["limit on requests", now.rate === null ? "none" : `${precise.format(now.rate)}/s`],
    ["in flight", number.format(now.in_flight)],
    ["retries", number.format(now.retries)],
    ...PERCENTILES.map((p) => [`${p} ms`, late[p] === null ? "–" : number.format(late[p])]),
    ["marked as repeats", number.format(now.duplicates)],
  ]);
  showState(now, holders);
  showErrors(now.errors);
}

function showState(now, holders) {
  held = "operator" in now.holders;
  const state = byId("state");
  state.classList.toggle("held", holders.length > 0);
  const why = holders.map(([holder, text]) => text ? `${holder} (${text})` : holder).join(", ");
  state.textContent = holders.length ? `held by the ${why}` : `sending for ${duration(now.elapsed_seconds)}`;
  byId("pause").textContent = held ? "Go on" : "Pause";
  byId("rate").disabled = byId("rate-form").lastElementChild.disabled = now.rate_is_found;
  if (now.rate !== null && !typed && document.activeElement !== byId("rate")) byId("rate").value = now.rate;
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

// Charts: a scale, some grid lines, and paths. Rows a second are what the totals grew by between two points.
function frame(svg, most, format) {
  const width = svg.clientWidth || 300, height = svg.clientHeight || 190, left = 46, bottom = height - 18;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren();
  const first = points.length ? points[0].t : 0, last = points.length ? points[points.length - 1].t : 1;
  const x = (t) => left + (width - left - 4) * (t - first) / Math.max(last - first, 0.001);
  const y = (value) => bottom - (bottom - 8) * value / most;
  for (let step = 0; step <= 4; step++) {
    const value = most * step / 4;
    svg.append(element("line", { class: "grid", x1: left, x2: width, y1: y(value), y2: y(value) }));
    svg.append(element("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, format(value)));
  }
  svg.append(element("text", { x: left, y: height - 3 }, duration(first)));
  svg.append(element("text", { x: width - 2, y: height - 3, "text-anchor": "end" }, duration(last)));
  return { x, y };
}

function nice(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1e-9)));
  return [1, 2, 2.5, 4, 5, 8, 10].find((step) => step * power >= value) * power;
}

function rates() {
  return points.slice(1).map((point, i) => {
    const seconds = Math.max(point.t - points[i].t, 0.001);
    return STATUSES.map((s) => Math.max(0, (point.statuses[s] - points[i].statuses[s]) / seconds));
  });
}

function drawThroughput() {
  const grown = rates();
  const most = nice(Math.max(1, ...grown.map((g) => g.reduce((a, b) => a + b, 0))));
  const { x, y } = frame(byId("throughput"), most, (v) => number.format(v));
  const below = grown.map(() => 0);
  STATUSES.forEach((status, s) => {
    if (!grown.some((g) => g[s])) return;
    const low = below.slice();
    grown.forEach((g, i) => { below[i] += g[s]; });
    const at = (i) => x(points[i + 1].t).toFixed(1);
    const up = grown.map((_, i) => `${at(i)},${y(below[i]).toFixed(1)}`);
    const back = grown.map((_, i) => `${at(i)},${y(low[i]).toFixed(1)}`).reverse();
    byId("throughput").append(element("path", { class: `area ${status}`, d: `M${up.join("L")}L${back.join("L")}Z` }));
  });
  legend("throughput-legend", STATUSES.filter((s) => points.some((p) => p.statuses[s])));
}

function curve(svg, scale, name, values) {
  const steps = values.map((value, i) => value === null ? null : `${scale.x(points[i].t).toFixed(1)},${scale.y(value).toFixed(1)}`);
  const parts = steps.map((step, i) => step === null ? "" : `${i && steps[i - 1] !== null ? "L" : "M"}${step}`);
  svg.append(element("path", { class: `curve ${name}`, d: parts.join("") }));
}

function drawCurves() {
  const known = points.flatMap((p) => PERCENTILES.map((name) => p[name])).filter((v) => v !== null);
  const latency = byId("latency"), scale = frame(latency, nice(Math.max(1, ...known)), (v) => precise.format(v));
  PERCENTILES.forEach((name) => curve(latency, scale, name, points.map((p) => p[name])));
  legend("latency-legend", PERCENTILES);
  const flight = byId("flight"), counts = points.map((p) => p.in_flight);
  curve(flight, frame(flight, nice(Math.max(4, ...counts)), (v) => precise.format(v)), "", counts);
}

function legend(id, names) {
  byId(id).replaceChildren(...names.map((name) => element("span", { class: name }, name.replace("_", " "))));
}

function draw() { drawThroughput(); drawCurves(); }

async function ask(wish) {
  const notice = byId("notice");
  notice.hidden = true;
  try {
    const answer = await fetch("/control", { method: "POST", headers: { "X-Engager": "1" }, body: JSON.stringify(wish) });
    if (answer.ok) return;
    notice.textContent = await answer.text();
  } catch {
    notice.textContent = "The run cannot be reached; it may have ended.";
  }
  notice.hidden = false;
}

function end(told) {
  const state = byId("state");
  state.classList.remove("held");
  state.textContent = told.stopped ? `stopped: ${told.stopped}` : "this start has ended";
  document.querySelectorAll(".controls button, .controls input").forEach((each) => { each.disabled = true; });
}

byId("pause").addEventListener("click", () => ask({ do: held ? "resume" : "pause" }));
byId("rate-form").addEventListener("submit", (event) => {
  event.preventDefault();
  typed = false;
  ask({ do: "rate", rate: Number(byId("rate").value) });
});
byId("rate").addEventListener("input", () => { typed = true; });
byId("stop").addEventListener("click", () => byId("sure").showModal());
byId("sure").addEventListener("close", () => { if (byId("sure").returnValue === "yes") ask({ do: "stop" }); });
window.addEventListener("resize", draw);

const stream = new EventSource("/events");
stream.addEventListener("history", (event) => {
  const told = JSON.parse(event.data);
  byId("job").textContent = told.job;
  document.title = `${told.job} – engager`;
  points = told.points;
});
stream.addEventListener("message", (event) => {
  const now = JSON.parse(event.data);
  if (!points.length || now.point.t > points[points.length - 1].t) points.push(now.point);
  if (points.length > NOT_KEPT) points = points.filter((_, i) => i % 2);
  show(now);
  draw();
  if (now.ended) { stream.close(); end(now.ended); }
});
stream.addEventListener("error", () => { byId("state").textContent = "the run cannot be reached; it may have ended"; });
