// Lines and points as SVG.
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
