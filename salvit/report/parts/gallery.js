// The gallery: maps by image, method and score.
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
