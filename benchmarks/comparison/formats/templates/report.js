"use strict";
document.documentElement.classList.add("scripted"); // without which the page shows no controls
// Sorting by a column's values or names; a second press turns it round. Without a value a row goes to the end.
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => heading.firstElementChild.addEventListener("click", () => {
    const falls = heading.getAttribute("aria-sort") === "descending" || (column === 0 && heading.ariaSort !== "ascending");
    headings.forEach((other) => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", falls ? "ascending" : "descending");
    const sign = falls ? 1 : -1;
    const value = (row) => row.cells[column].dataset.value;
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x !== undefined && y !== undefined) return sign * (x - y);
      if (x !== undefined || y !== undefined) return x !== undefined ? -1 : 1;
      return sign * a.cells[column].textContent.localeCompare(b.cells[column].textContent);
    });
    table.tBodies[0].append(...rows);
  }));
}
// Only the methods that have every word of the filter in their names, and the figures that show one of them.
const filter = document.getElementById("filter"), said = document.getElementById("said");
filter.addEventListener("input", () => {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  const asked = (name) => words.every((word) => name.toLowerCase().includes(word));
  const rows = [...document.querySelectorAll("[data-method]")], figures = [...document.querySelectorAll("figure")];
  rows.forEach((row) => { row.hidden = !asked(row.dataset.method); });
  figures.forEach((figure) => { figure.hidden = !JSON.parse(figure.dataset.methods).some(asked); });
  const count = (all, key) => `${new Set(all.filter((each) => !each.hidden).map(key)).size} of ${new Set(all.map(key)).size}`;
  const itself = (each) => each, runs = rows.filter((row) => row.matches(".run"));
  const parts = [`${count(rows, (row) => row.dataset.method)} methods`, `${count(figures, itself)} figures`, `${count(runs, itself)} runs`];
  said.textContent = words.length ? `${parts.join(", ")} shown` : "";
});
// A figure as large as the window, or larger on a narrow one; Escape or another press closes it.
const large = document.body.appendChild(document.createElement("dialog"));
large.addEventListener("click", () => large.close());
for (const image of document.querySelectorAll("figure img")) {
  const button = document.createElement("button");
  button.type = "button";
  button.setAttribute("aria-haspopup", "dialog");
  image.replaceWith(button);
  button.append(image);
  button.addEventListener("click", () => {
    large.replaceChildren(image.cloneNode());
    large.setAttribute("aria-label", image.alt);
    large.showModal();
  });
}
// On paper the tables are unfolded, and folded again after; each run's settings would be dozens of pages.
const folded = () => [...document.querySelectorAll("details:not(.run)")];
let open = [];
addEventListener("beforeprint", () => { open = folded().map((each) => each.open); folded().forEach((each) => { each.open = true; }); });
addEventListener("afterprint", () => folded().forEach((each, number) => { each.open = open[number]; }));
