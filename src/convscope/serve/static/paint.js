// Values to pixels: palettes, scales, maps, bars. Nothing here knows a card or a page.

export function rampOf(page, palette) {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const {palettes} = page;
  if (palette === "sequential") return packed(palettes.sequential);
  if (palette === "diverging") {
    return packed((dark && palettes.diverging_dark) || palettes.diverging);
  }
  return packed(Array.from({length: 256}, (_, gray) => [gray, gray, gray]));
}

const ramps = new WeakMap();

function packed(colors) {
  if (!ramps.has(colors)) {
    ramps.set(colors, Uint32Array.from(colors, ([red, green, blue]) =>
      (255 << 24 | blue << 16 | green << 8 | red) >>> 0));
  }
  return ramps.get(colors);
}

export function colorOf(ramp, at) {
  const one = ramp[at];
  return `rgb(${one & 255} ${one >> 8 & 255} ${one >> 16 & 255})`;
}

export function inkOn(ramp, at) {
  const one = ramp[at];
  const linear = shift => (((one >> shift & 255) / 255) ** 2.2);
  return 0.2126 * linear(0) + 0.7152 * linear(8) + 0.0722 * linear(16) > 0.18
    ? "#000" : "#fff";
}

export function scaleOf(palette, low, high) {
  if (palette === "diverging") {
    const bound = Math.max(Math.abs(low), Math.abs(high)) || 1;
    return {low: -bound, high: bound};
  }
  if (palette === "sequential") return {low: 0, high: high > 0 ? high : 1};
  return {low, high: high > low ? high : low + 1};
}

export function placeOn(scale, value) {
  const at = (value - scale.low) / (scale.high - scale.low) * 255;
  return at > 0 ? Math.min(255, Math.round(at)) : 0; // NaN too
}

export function rangeOf(values, from, to) {
  let low = Infinity;
  let high = -Infinity;
  for (let i = from; i < to; i++) {
    const value = values[i];
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low <= high ? {low, high} : {low: 0, high: 0};
}

// One canvas with the maps of an array below each other, a pixel for a unit.
export function atlasOf(array, height, width, palette, ramp, perMap) {
  const size = height * width;
  const channels = Math.round(array.values.length / size);
  const canvas = new OffscreenCanvas(width, Math.max(1, height * channels));
  const image = new ImageData(width, Math.max(1, height * channels));
  const pixels = new Uint32Array(image.data.buffer);
  for (let channel = 0; channel < channels; channel++) {
    const start = channel * size;
    const range = perMap ? rangeOf(array.values, start, start + size) : array;
    const {low, high} = scaleOf(palette, range.low, range.high);
    const factor = 255 / (high - low);
    for (let i = start; i < start + size; i++) {
      const at = (array.values[i] - low) * factor + 0.5;
      pixels[i] = ramp[at > 0 ? Math.min(255, at | 0) : 0];
    }
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

// A picture of one or three channels, stretched to the canvas.
export function paintPicture(canvas, array, picture) {
  const [channels, height, width] = array.shape;
  const image = new ImageData(width, height);
  const size = height * width;
  const {low, high} = array;
  const factor = 255 / (high - low || 1);
  for (let i = 0; i < size; i++) {
    for (let color = 0; color < 3; color++) {
      const value = array.values[(channels >= 3 ? color : 0) * size + i];
      image.data[4 * i + color] = (value - low) * factor;
    }
    image.data[4 * i + 3] = 255;
  }
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").putImageData(image, 0, 0);
  canvas.setAttribute("aria-label", picture);
}

export function sharpContext(canvas, width, height) {
  const ratio = Math.min(2, globalThis.devicePixelRatio || 1);
  const [x, y] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== x || canvas.height !== y) {
    canvas.width = x;
    canvas.height = y;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  return pen;
}

export function token(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

export function frame(pen, x, y, width, height, color, halo) {
  pen.lineWidth = 4;
  pen.strokeStyle = halo;
  pen.strokeRect(x, y, width, height);
  pen.lineWidth = 2;
  pen.strokeStyle = color;
  pen.strokeRect(x, y, width, height);
}
