// The explorer of attention.
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
