"use strict";
// Sorting, charts, gallery and attention of the page. All text goes in as text, never as HTML.
const data = JSON.parse(document.getElementById("data").textContent);
const INFERNO = [
  [0, 0, 4],
  [27, 12, 65],
  [74, 12, 107],
  [120, 28, 109],
  [165, 44, 96],
  [207, 68, 70],
  [237, 105, 37],
  [251, 155, 6],
  [247, 209, 61],
  [252, 255, 164],
];
const SERIES = 8;
const PHONE = matchMedia("(max-width: 640px)");
const DASHES = ["", "7 4", "2 3", "9 3 2 3"];

const byId = (id) => document.getElementById(id);
const show = (value, digits = 3) =>
  value === null || value === undefined || Number.isNaN(value)
    ? "–"
    : value.toFixed(digits).replace(/^-(0\.0*)$/, "$1");
const signed = (value) => (value > 0 ? "+" : "") + show(value);

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

function drawn(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// A name that may be broken after an underscore and the like.
const named = (text) => text.split(/(?<=[_:,/=])/).flatMap((part, index) => (index ? [element("wbr"), part] : [part]));

function fill(select, names, chosen = 0) {
  select.replaceChildren(...names.map((name, index) => element("option", { value: index }, name)));
  select.value = chosen;
}

// Tables

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

// Charts

function ticks(low, high, count) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const found = [];
  for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + step * 1e-6; value += step)
    found.push(Math.abs(value) < step * 1e-6 ? 0 : value);
  return found;
}

const round = (value) => String(Number(value.toPrecision(4)));

function frame(title, axisX, axisY, xs, ys, width, height) {
  const range = (values) => {
    const known = values.filter((value) => value !== null && Number.isFinite(value));
    const [low, high] = known.length ? [Math.min(...known), Math.max(...known)] : [0, 1];
    const room = (high - low) * 0.06 || Math.abs(high) * 0.1 || 1;
    return [low - room, high + room];
  };
  const [left, top, right, bottom] = [48, 8, 10, 36];
  const [x0, x1] = range(xs),
    [y0, y1] = range(ys);
  const place = {
    x: (value) => left + ((value - x0) / (x1 - x0)) * (width - left - right),
    y: (value) => height - bottom - ((value - y0) / (y1 - y0)) * (height - top - bottom),
  };
  const picture = drawn("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title });
  for (const value of ticks(y0, y1, 4)) {
    picture.append(
      drawn("line", { class: "grid", x1: left, x2: width - right, y1: place.y(value), y2: place.y(value) }),
    );
    picture.append(drawn("text", { x: left - 6, y: place.y(value) + 4, "text-anchor": "end" }, round(value)));
  }
  for (const value of ticks(x0, x1, 5))
    picture.append(
      drawn("text", { x: place.x(value), y: height - bottom + 15, "text-anchor": "middle" }, round(value)),
    );
  picture.append(drawn("path", { class: "frame", d: `M${left} ${top}V${height - bottom}H${width - right}` }));
  picture.append(drawn("text", { x: (left + width - right) / 2, y: height - 4, "text-anchor": "middle" }, axisX));
  if (axisY)
    picture.append(
      drawn(
        "text",
        { transform: `translate(11 ${(top + height - bottom) / 2}) rotate(-90)`, "text-anchor": "middle" },
        axisY,
      ),
    );
  return [picture, place];
}

const stroke = (index) =>
  `stroke: var(--s${index % SERIES}); stroke-dasharray: ${DASHES[Math.floor(index / SERIES) % DASHES.length] || "none"}`;

function lineChart(chart, names) {
  const all = chart.lines.flatMap((line) => [...line.y, ...line.low, ...line.high]);
  const [picture, place] = frame(
    `${chart.title} over ${chart.axis}`,
    chart.axis,
    "",
    chart.lines.flatMap((line) => line.x),
    all,
    340,
    230,
  );
  for (const line of chart.lines) {
    const index = names.indexOf(line.name);
    const group = drawn("g", { "data-series": index }, drawn("title", {}, line.name));
    const path = (ys, xs = line.x) =>
      xs
        .map((x, i) => [x, ys[i]])
        .filter(([, y]) => y !== null)
        .map(([x, y], i) => `${i ? "L" : "M"}${place.x(x).toFixed(1)} ${place.y(y).toFixed(1)}`)
        .join("");
    if (line.low.length && line.low.every((value) => value !== null)) {
      const back = path([...line.high].reverse(), [...line.x].reverse()).replace("M", "L");
      group.append(
        drawn("path", { class: "band", style: `fill: var(--s${index % SERIES})`, d: path(line.low) + back + "Z" }),
      );
    }
    group.append(drawn("path", { class: "line", style: stroke(index), d: path(line.y) }));
    if (line.x.length <= 30)
      line.x.forEach((x, i) => {
        if (line.y[i] === null) return;
        const dot = drawn("circle", {
          cx: place.x(x),
          cy: place.y(line.y[i]),
          r: 3,
          style: `fill: var(--s${index % SERIES})`,
        });
        dot.append(drawn("title", {}, `${line.name}: ${show(line.y[i])} at ${round(x)}`));
        group.append(dot);
      });
    picture.append(group);
  }
  return element("figure", {}, element("figcaption", {}, chart.title), picture);
}

function chartsOf(place) {
  const charts = data.charts.filter((chart) => chart.group === place.dataset.charts);
  const names = [...new Set(charts.flatMap((chart) => chart.lines.map((line) => line.name)))];
  const grid = element("div", { class: "charts" }, ...charts.map((chart) => lineChart(chart, names)));
  const light = (chosen) =>
    grid
      .querySelectorAll("[data-series]")
      .forEach((group) => group.classList.toggle("dim", chosen !== null && Number(group.dataset.series) !== chosen));
  let held = null;
  const buttons = names.map((name, index) =>
    element(
      "button",
      {
        class: "button",
        type: "button",
        "aria-pressed": "false",
        onclick: () => {
          held = held === index ? null : index;
          buttons.forEach((button, other) => button.setAttribute("aria-pressed", String(held === other)));
          light(held);
        },
        onmouseenter: () => light(index),
        onmouseleave: () => light(held),
      },
      drawn(
        "svg",
        { viewBox: "0 0 30 8", "aria-hidden": "true" },
        drawn("path", { class: "line", style: stroke(index), d: "M0 4H30" }),
      ),
      name,
    ),
  );
  place.append(
    grid,
    element(
      "ul",
      { class: "legend", "aria-label": "Lines; press one to see it alone" },
      ...buttons.map((button) => element("li", {}, button)),
    ),
  );
}

document.querySelectorAll("[data-charts]").forEach(chartsOf);

function scatter(section) {
  const [which, x, y, size] = section.querySelectorAll("select");
  const place = section.querySelector(".scatter");
  const choose = () => {
    const one = data.tables[which.value];
    const scores = Object.keys(one.columns);
    const firstOf = (word, other) => {
      const group = Object.keys(one.groups).find((name) => name.startsWith(word));
      return group
        ? scores.indexOf(one.groups[group][one.groups[group].includes("ABPC") ? one.groups[group].indexOf("ABPC") : 0])
        : Math.min(other, scores.length - 1);
    };
    fill(
      x,
      scores.map((score) => `${score} ${one.columns[score]}`),
      firstOf("agreement", 0),
    );
    fill(
      y,
      scores.map((score) => `${score} ${one.columns[score]}`),
      firstOf("faithfulness", 1),
    );
    fill(
      size,
      scores.map((score) => `${score} ${one.columns[score]}`),
      scores.includes("iou") ? scores.indexOf("iou") : firstOf("localisation", 2),
    );
    draw();
  };
  const draw = () => {
    const one = data.tables[which.value];
    const scores = Object.keys(one.columns);
    const [a, b, c] = [x, y, size].map((select) => scores[select.value]);
    const points = one.rows
      .map((row, index) => ({ name: row, at: scores.map((score) => one.means[score]?.[index] ?? null) }))
      .map((point) => ({ name: point.name, x: point.at[x.value], y: point.at[y.value], z: point.at[size.value] }))
      .filter((point) => point.x !== null && point.y !== null);
    const sizes = points.map((point) => point.z).filter((value) => value !== null);
    const [low, high] = [Math.min(...sizes), Math.max(...sizes)];
    const radius = (value) =>
      value === null
        ? 8
        : 8 + 7 * Math.sqrt(Math.max(0, (one.columns[c] === "↓" ? high - value : value - low) / (high - low || 1)));
    const [picture, at] = frame(
      `${b} over ${a}, ${points.length} rows; the list beside has the numbers`,
      `${a} ${one.columns[a]}`,
      `${b} ${one.columns[b]}`,
      points.map((point) => point.x),
      points.map((point) => point.y),
      ...(PHONE.matches ? [350, 330] : [620, 420]),
    );
    const order = points.map((point, index) => ({ ...point, index })).sort((p, q) => radius(q.z) - radius(p.z));
    for (const point of order) {
      const text = `${point.name}: ${a} ${show(point.x)}, ${b} ${show(point.y)}, ${c} ${show(point.z)}`;
      const mark = drawn(
        "g",
        { class: "mark", "data-point": point.index },
        drawn("title", {}, text),
        drawn("circle", {
          cx: at.x(point.x),
          cy: at.y(point.y),
          r: radius(point.z),
          style: `fill: var(--s${point.index % SERIES}); stroke: var(--paper)`,
        }),
        drawn("text", { x: at.x(point.x), y: at.y(point.y) + 4, "text-anchor": "middle" }, String(point.index + 1)),
      );
      mark.addEventListener("mouseenter", () => mark === picture.lastChild || picture.append(mark)); // above the others
      picture.append(mark);
    }
    const items = points.map((point, index) =>
      element(
        "li",
        {},
        element("b", {}, String(index + 1)),
        ...named(point.name),
        element("small", { class: "soft" }, ` ${show(point.x)}, ${show(point.y)}, ${show(point.z)}`),
      ),
    );
    place.replaceChildren(
      element("figure", {}, picture),
      element(
        "div",
        {},
        element(
          "p",
          { class: "note" },
          `Number, name, then ${a}, ${b} and ${c}; the better ${c}, the larger the circle.`,
        ),
        element("ol", {}, ...items),
      ),
    );
  };
  fill(
    which,
    data.tables.map((one) => one.title),
  );
  which.closest("label").hidden = data.tables.length < 2;
  which.addEventListener("change", choose);
  PHONE.addEventListener("change", draw);
  [x, y, size].forEach((select) => select.addEventListener("change", draw));
  choose();
}

if (byId("scatter")) scatter(byId("scatter"));

// Maps

const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

const photos = new Map();
function photograph(text) {
  if (!photos.has(text))
    photos.set(
      text,
      new Promise((resolve) => {
        if (!text) return resolve(null);
        const image = new Image();
        image.onload = () => resolve(image);
        image.onerror = () => resolve(null);
        image.src = `data:image/jpeg;base64,${text}`;
      }),
    );
  return photos.get(text);
}

function colour(share) {
  const at = Math.min(0.9999, Math.max(0, share)) * (INFERNO.length - 1);
  const index = Math.floor(at);
  return INFERNO[index].map((value, i) => value + (INFERNO[index + 1][i] - value) * (at - index));
}

// Values in 0 … 1 of [rows, columns] over a photograph: high ones in colour, the rest in dimmed grey.
async function paint(canvas, photo, values, [rows, columns], width = 224) {
  const image = await photograph(photo);
  canvas.width = width;
  canvas.height = Math.round(image ? (width * image.naturalHeight) / image.naturalWidth : (width * rows) / columns);
  const context = canvas.getContext("2d");
  context.fillStyle = "#444";
  context.fillRect(0, 0, canvas.width, canvas.height);
  if (image) context.drawImage(image, 0, 0, canvas.width, canvas.height);
  if (!values) return;
  context.globalCompositeOperation = "saturation"; // grey
  context.fillStyle = "#888";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.globalCompositeOperation = "source-over";
  context.fillStyle = "rgb(0 0 0 / 0.2)";
  context.fillRect(0, 0, canvas.width, canvas.height);
  const small = element("canvas", { width: columns, height: rows });
  const pixels = new ImageData(columns, rows);
  values.forEach((value, index) => pixels.data.set([...colour(value), 191 * value ** 0.7], 4 * index));
  small.getContext("2d").putImageData(pixels, 0, 0);
  context.imageSmoothingQuality = "high";
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
}

const shades = (text) => Float32Array.from(bytes(text), (value) => value / 255);

function mapFigure(name, note, photo, values, grid) {
  const canvas = element("canvas", { role: "img", "aria-label": `${name} ${note}` });
  paint(canvas, photo, values, grid);
  return element("figure", {}, canvas, element("figcaption", {}, ...named(name), " ", element("small", {}, note)));
}

// Gallery

function gallery(section) {
  const [which, method, score, order] = section.querySelectorAll("select");
  const search = section.querySelector("input");
  const [cards, more, count, dialog] = [".cards", ".more", ".count", "dialog"].map((name) =>
    section.querySelector(name),
  );
  const PAGE = 24;
  let shown = PAGE;
  const choose = () => {
    const one = data.galleries[which.value];
    fill(method, ["all", ...one.methods], 1);
    fill(
      score,
      Object.keys(one.columns).map((name) => `${name} ${one.columns[name]}`),
    );
    for (const select of [score, order]) select.closest("label").hidden = !Object.keys(one.columns).length;
    order.value = Object.keys(one.columns).length ? "worst" : "name";
    restart();
  };
  const restart = () => {
    shown = PAGE;
    draw();
  };
  const found = () => {
    const one = data.galleries[which.value];
    const name = Object.keys(one.columns)[score.value];
    const text = search.value.trim().toLowerCase();
    const items = [];
    for (const image of one.images) {
      if (!image.name.toLowerCase().includes(text)) continue;
      one.methods.forEach((label, index) => {
        if (Number(method.value) ? index !== method.value - 1 : !image.maps[index]) return;
        items.push({ image, index, label, value: name === undefined ? null : (image.scores[name]?.[index] ?? null) });
      });
    }
    if (order.value !== "name") {
      const sign = (one.columns[name] === "↑" ? 1 : -1) * (order.value === "worst" ? 1 : -1);
      items.sort((a, b) => (a.value === null) - (b.value === null) || sign * (a.value - b.value));
    }
    return [one, name, items];
  };
  const draw = () => {
    const [one, name, items] = found();
    const made = items.slice(0, shown).map((item) => {
      const canvas = element("canvas", { "aria-hidden": "true" });
      const map = item.image.maps[item.index];
      paint(canvas, item.image.photo, map && shades(map.v), map ? map.g : [1, 1]);
      const value = name === undefined ? "" : `${name} ${show(item.value)}`;
      return element(
        "button",
        { class: "button card", type: "button", onclick: () => open(one, item.image) },
        canvas,
        element(
          "span",
          {},
          element("b", {}, value),
          ...(Number(method.value) ? [] : [value ? " · " : "", ...named(item.label)]),
        ),
        element("span", { class: "soft" }, ...named(item.image.name)),
      );
    });
    cards.replaceChildren(...made);
    count.textContent = `${Math.min(shown, items.length)} of ${items.length} maps shown; ${one.images.length} of ${one.of} images are kept in the run's folder.`;
    more.hidden = items.length <= shown;
  };
  const open = (one, image) => {
    const name = Object.keys(one.columns)[score.value];
    const figures = one.methods.map(
      (label, index) =>
        image.maps[index] &&
        mapFigure(
          label,
          name && image.scores[name]?.[index] != null ? `${name} ${show(image.scores[name][index])}` : "",
          image.photo,
          shades(image.maps[index].v),
          image.maps[index].g,
        ),
    );
    dialog.querySelector("h3").textContent = image.name;
    dialog
      .querySelector(".maps")
      .replaceChildren(mapFigure("photograph", "", image.photo, null, [1, 1]), ...figures.filter(Boolean));
    dialog.showModal();
  };
  fill(
    which,
    data.galleries.map((one) => one.title),
  );
  which.closest("label").hidden = data.galleries.length < 2;
  which.addEventListener("change", choose);
  [method, score, order].forEach((select) => select.addEventListener("change", restart));
  search.addEventListener("input", restart);
  more.addEventListener("click", () => {
    shown += PAGE;
    draw();
  });
  dialog.querySelector("button").addEventListener("click", () => dialog.close());
  choose();
}

if (byId("gallery")) gallery(byId("gallery"));

// Attention

async function inflated(text) {
  const stream = new Blob([bytes(text)]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function explorer(section) {
  const [which, picture, owner] = section.querySelectorAll("select");
  const block = section.querySelector("input");
  const [pad, left, right, heads, maps, status, token] = [
    ".pad",
    ".pad canvas",
    ".seen canvas",
    ".heads",
    ".extracted",
    ".status",
    ".token",
  ].map((name) => section.querySelector(name));
  let state = null;
  let held = false;
  let latest = 0;
  const open = async () => {
    const one = data.explorers[which.value];
    const image = one.images[picture.value];
    const found = {
      one,
      image,
      tokens: one.prefix + one.grid[0] * one.grid[1],
      head: -1,
      query: one.prefix + Math.floor(one.grid[0] / 2) * one.grid[1] + Math.floor(one.grid[1] / 2),
    };
    found.shares = await inflated(image.attention);
    found.largest = new Float32Array(bytes(image.largest).buffer);
    state = found;
    token.hidden = !one.classToken;
    heads.replaceChildren(
      ...Array.from({ length: one.heads + 1 }, (_, index) =>
        element(
          "button",
          {
            class: "button",
            type: "button",
            onclick: () => {
              state.head = index - 1;
              draw();
            },
          },
          element("canvas", { "aria-hidden": "true" }),
          index ? `head ${index - 1}` : "mean of heads",
        ),
      ),
    );
    section.querySelector(".beside").hidden = !image.maps.length;
    showMaps();
    draw();
  };
  const showMaps = () => {
    const { image } = state,
      of = owner.selectedOptions[0]?.textContent;
    maps.replaceChildren(
      ...image.maps
        .filter((map) => map.of === of)
        .map((map) => mapFigure(map.name, "", image.photo, shades(map.v), map.g)),
    );
  };
  const setBlocks = () => {
    const one = data.explorers[which.value];
    const owners = [...new Set(one.images.flatMap((image) => image.maps.map((map) => map.of)))];
    fill(owner, owners);
    owner.closest("label").hidden = owners.length < 2;
    fill(
      picture,
      one.images.map((image) => image.name),
    );
    block.max = one.blocks - 1;
    block.value = one.blocks - 1;
    open();
  };
  const row = (head) => {
    const { one, shares, largest, tokens, query } = state;
    const at = (Number(block.value) * one.heads + head) * tokens + query;
    return Array.from({ length: tokens }, (_, key) => (shares[at * tokens + key] / 255) * largest[at]);
  };
  const scaled = (values) => {
    const top = Math.max(...values) || 1;
    return Float32Array.from(values, (value) => value / top);
  };
  const draw = async () => {
    const turn = ++latest;
    const { one, image, query, head } = state;
    const all = Array.from({ length: one.heads }, (_, index) => row(index));
    const mean = all[0].map((_, key) => all.reduce((sum, values) => sum + values[key], 0) / one.heads);
    const chosen = head < 0 ? mean : all[head];
    const patches = chosen.slice(one.prefix);
    [...heads.children].forEach((button, index) => {
      button.setAttribute("aria-pressed", String(index - 1 === head));
      paint(button.firstChild, image.photo, scaled((index ? all[index - 1] : mean).slice(one.prefix)), one.grid, 112);
    });
    block.nextElementSibling.textContent = `block ${block.value} of 0 … ${one.blocks - 1}`;
    await Promise.all([
      paint(left, image.photo, null, one.grid, 448),
      paint(right, image.photo, scaled(patches), one.grid, 448),
    ]);
    if (turn !== latest) return; // a later draw has begun
    const [rows, columns] = one.grid;
    if (query >= one.prefix)
      mark(left, Math.floor((query - one.prefix) / columns), (query - one.prefix) % columns, rows, columns);
    const top = patches.indexOf(Math.max(...patches));
    const name = (patch) => `row ${Math.floor(patch / columns) + 1}, column ${(patch % columns) + 1}`;
    const percent = (value) => `${(100 * value).toFixed(1)} %`;
    const from = query < one.prefix ? "The class token" : `The patch in ${name(query - one.prefix)}`;
    const special = one.prefix
      ? ` ${percent(chosen.slice(0, one.prefix).reduce((sum, value) => sum + value, 0))} of its attention is on the ${one.prefix > 1 ? `${one.prefix} tokens that are no patches` : one.classToken ? "class token" : "token that is no patch"}.`
      : "";
    status.textContent = `${from} attends most to the patch in ${name(top)}: ${percent(patches[top])} (block ${block.value}, ${head < 0 ? "mean of heads" : `head ${head}`}).${special}`;
  };
  const mark = (canvas, at, column, rows, columns) => {
    const context = canvas.getContext("2d");
    const [width, height] = [canvas.width / columns, canvas.height / rows];
    for (const [line, style] of [
      [6, "#000"],
      [3, "#fff"],
    ]) {
      context.lineWidth = line;
      context.strokeStyle = style;
      context.strokeRect(column * width, at * height, width, height);
    }
  };
  const point = (event) => {
    if (!state) return;
    const box = left.getBoundingClientRect();
    const [rows, columns] = state.one.grid;
    const clip = (value, count) => Math.min(count - 1, Math.max(0, Math.floor(value * count)));
    const query =
      state.one.prefix +
      clip((event.clientY - box.top) / box.height, rows) * columns +
      clip((event.clientX - box.left) / box.width, columns);
    if (query === state.query) return false;
    state.query = query;
    draw();
    return true;
  };
  // The pointer shows; a click holds, and a click on what is held lets go.
  pad.addEventListener("pointerdown", (event) => {
    held = point(event) || !held;
  });
  pad.addEventListener("pointermove", (event) => {
    if (event.buttons || (event.pointerType === "mouse" && !held)) point(event);
  });
  pad.addEventListener("keydown", (event) => {
    if (!state) return;
    const { one } = state;
    const [rows, columns] = one.grid;
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (event.key === "c" && one.classToken) state.query = 0;
    else if (step) {
      const patch = Math.max(0, state.query - one.prefix);
      const to = [Math.floor(patch / columns) + step[0], (patch % columns) + step[1]];
      if (to[0] < 0 || to[0] >= rows || to[1] < 0 || to[1] >= columns) return event.preventDefault();
      state.query = one.prefix + to[0] * columns + to[1];
    } else return;
    event.preventDefault();
    draw();
  });
  token.addEventListener("click", () => {
    state.query = 0;
    draw();
  });
  fill(
    which,
    data.explorers.map((one) => one.title),
  );
  which.closest("label").hidden = data.explorers.length < 2;
  which.addEventListener("change", setBlocks);
  picture.addEventListener("change", open);
  owner.addEventListener("change", () => state && showMaps());
  block.addEventListener("input", () => state && draw());
  setBlocks();
}

if (byId("attention")) explorer(byId("attention"));
