"use strict";
// Sorts tables, moves slices, hides layers. All that is shown is in the page already; nothing is loaded or made of text.

document.documentElement.classList.add("scripted");

// ---- tables: a heading becomes a button

function sorted(table, column, kind, up) {
  const key = (row) => row.cells[column].dataset.v ?? "";
  const number = (row) => (key(row) === "" ? NaN : Number(key(row)));
  const rows = [...table.tBodies[0].rows];
  rows.sort((a, b) => {
    if (kind === "text") return (up ? 1 : -1) * key(a).localeCompare(key(b), "en", { numeric: true });
    const [x, y] = [number(a), number(b)];
    if (isNaN(x) || isNaN(y)) return isNaN(x) - isNaN(y); // undefined is last, either way
    return up ? x - y : y - x;
  });
  table.tBodies[0].append(...rows);
}

for (const table of document.querySelectorAll("table.sortable")) {
  for (const head of table.tHead.rows[0].cells) {
    if (!head.dataset.sort) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") === "descending" || (!head.hasAttribute("aria-sort") && head.dataset.sort === "text");
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      sorted(table, head.cellIndex, head.dataset.sort, up);
    });
  }
}

// ---- slices: one number moves all layers of a volume

function show(section, at) {
  const slider = section.querySelector("input[type=range]");
  const planes = slider.dataset.z.split(" ");
  slider.value = at;
  section.style.setProperty("--z", at);
  slider.setAttribute("aria-valuetext", `z ${planes[at]}`);
  const output = section.querySelector("output");
  output.textContent = output.textContent.replace(/^z \d+/, `z ${planes[at]}`);
}

for (const part of document.querySelectorAll(".cases")) {
  const sections = [...part.querySelectorAll(".case")].filter((section) => section.querySelector("input[type=range]"));
  const choice = part.parentElement.querySelector(".choice");
  for (const section of sections) {
    const slider = section.querySelector("input[type=range]");
    show(section, Number(slider.value)); // a browser may remember where it was
    slider.addEventListener("input", () => {
      show(section, Number(slider.value));
      if (!choice.querySelector(".together").checked) return;
      const share = slider.max > 0 ? slider.value / slider.max : 0;
      for (const other of sections) {
        if (other !== section) show(other, Math.round(share * other.querySelector("input[type=range]").max));
      }
    });
    // over the pictures the arrow keys and a touch do the same
    const layers = section.querySelector(".layers");
    layers.addEventListener("click", (event) => {
      const frame = event.target.closest(".frame");
      if (!frame) return;
      const box = frame.getBoundingClientRect();
      const step = event.clientX - box.left < box.width / 2 ? -1 : 1;
      slider.value = Number(slider.value) + step;
      slider.dispatchEvent(new Event("input"));
    });
  }
  for (const box of choice.querySelectorAll("input[value]:not(.together)")) {
    const set = () => part.classList.toggle(`no-${box.value}`, !box.checked);
    box.addEventListener("change", set);
    set();
  }
}

// ---- paper has no lids to open
let closed = [];
addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details:not([open])")];
  for (const each of closed) each.open = true;
});
addEventListener("afterprint", () => {
  for (const each of closed) each.open = false;
});
