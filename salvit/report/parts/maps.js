// Maps over photographs.
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
