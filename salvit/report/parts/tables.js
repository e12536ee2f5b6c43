// Tables that can be sorted, and the differences of their rows.
function sortBy(table, column) {
  const head = table.tHead.rows[0].cells[column];
  const before = head.getAttribute("aria-sort");
  const first = head.dataset.better === "↑" ? "descending" : "ascending";
  const order = before === null ? first : before === "ascending" ? "descending" : "ascending";
  for (const cell of table.tHead.rows[0].cells) cell.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", order);
  const sign = order === "ascending" ? 1 : -1;
  const value = (row) => row.cells[column].dataset.v ?? "";
  const rows = [...table.tBodies[0].rows].sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    if (column === 0) return sign * x.localeCompare(y, undefined, { numeric: true });
    if (x === "" || y === "") return (x === "") - (y === ""); // rows without the score are last
    return sign * (Number(x) - Number(y));
  });
  table.tBodies[0].append(...rows);
}

for (const table of document.querySelectorAll("table.scores")) {
  [...table.tHead.rows[0].cells].forEach((cell, column) => {
    cell.querySelector("button")?.addEventListener("click", () => sortBy(table, column));
  });
}

function differencesOf(place, one) {
  const select = place.querySelector("select");
  const table = place.querySelector("table");
  const scores = Object.keys(one.differences);
  fill(select, one.compared);
  const update = () => {
    const other = Number(select.value);
    const head = element(
      "tr",
      {},
      element("th", { scope: "col" }, "minus " + one.compared[other]),
      ...scores.map((score) => element("th", { scope: "col" }, `${score} ${one.columns[score]}`)),
    );
    const rows = one.compared
      .map((name, row) =>
        row === other
          ? null
          : element(
              "tr",
              {},
              element("th", { scope: "row" }, ...named(name)),
              ...scores.map((score) => {
                const [low, high] = [Math.min(row, other), Math.max(row, other)];
                const known = one.differences[score][`${low},${high}`];
                if (!known || known[0] === null) return element("td", {}, "–");
                const [mean, from, to] =
                  row < other
                    ? known
                    : [-known[0], known[2] === null ? null : -known[2], known[1] === null ? null : -known[1]];
                const sure = from !== null && (from > 0 || to < 0);
                const better = one.columns[score] === "↑" ? mean > 0 : mean < 0;
                return element(
                  "td",
                  { class: sure ? (better ? "best" : "") : "unsure" },
                  signed(mean),
                  element("small", {}, from === null ? "" : `[${show(from)}, ${show(to)}]`),
                );
              }),
            ),
      )
      .filter(Boolean);
    table.replaceChildren(element("thead", {}, head), element("tbody", {}, ...rows));
  };
  select.addEventListener("change", update);
  update();
}

document
  .querySelectorAll("[data-differences]")
  .forEach((place) => differencesOf(place, data.tables[place.dataset.differences]));
