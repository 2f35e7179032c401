// The script only adds the line that reads a plot out where the pointer is.
document.body.classList.add("live");
for (const figure of document.querySelectorAll("figure")) {
  const plotArea = figure.querySelector(".plot-area"), readout = figure.querySelector(".readout");
  const texts = new Map();
  for (const hit of plotArea.querySelectorAll(".hit")) {
    texts.set(hit, hit.textContent);
    hit.replaceChildren();
  }
  readout.textContent = "Point at the plot to read it.";
  let on = null;
  const point = (event) => {
    const hit = texts.has(event.target) ? event.target : null;
    if (hit === null || hit === on) return;
    on?.classList.remove("on");
    on = hit;
    on.classList.add("on");
    readout.textContent = texts.get(on);
  };
  plotArea.addEventListener("pointermove", point);
  plotArea.addEventListener("pointerdown", point);
  plotArea.addEventListener("pointerleave", () => {
    on?.classList.remove("on");
    on = null;
  });
}
