"use strict";
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
// Only the methods that have every word of the filter in their names.
const filter = document.getElementById("filter"), said = document.getElementById("said");
filter.addEventListener("input", () => {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  const methods = new Set(), shown = new Set();
  for (const row of document.querySelectorAll("[data-method]")) {
    const name = row.dataset.method.toLowerCase();
    row.hidden = !words.every((word) => name.includes(word));
    methods.add(name);
    if (!row.hidden) shown.add(name);
  }
  said.textContent = words.length ? `${shown.size} of ${methods.size} shown` : "";
});
// On paper the tables are unfolded, and folded again after; each run's settings would be dozens of pages.
const folded = () => [...document.querySelectorAll("details:not(.run)")];
let open = [];
addEventListener("beforeprint", () => { open = folded().map((each) => each.open); folded().forEach((each) => { each.open = true; }); });
addEventListener("afterprint", () => folded().forEach((each, number) => { each.open = open[number]; }));
