// Without this script nothing is missing but the line that reads a plot out where it is pointed at.
document.body.classList.add("live");
for (const figure of document.querySelectorAll("figure")) {
  const plane = figure.querySelector(".plane"), readout = figure.querySelector(".readout");
  const told = new Map();
  for (const hit of plane.querySelectorAll(".hit")) {
    told.set(hit, hit.textContent);
    hit.replaceChildren();
  }
  readout.textContent = "Point at the plot to read it.";
  let on = null;
  const point = (event) => {
    const hit = told.has(event.target) ? event.target : null;
    if (hit === null || hit === on) return;
    on?.classList.remove("on");
    on = hit;
    on.classList.add("on");
    readout.textContent = told.get(on);
  };
  plane.addEventListener("pointermove", point);
  plane.addEventListener("pointerdown", point);
  plane.addEventListener("pointerleave", () => {
    on?.classList.remove("on");
    on = null;
  });
}
