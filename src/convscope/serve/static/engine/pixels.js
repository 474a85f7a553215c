// A drawing or picture to the network's pixels: data/preprocessing.py and
// data/centering.py over again, with the filters of Pillow.

const sinc = x => x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
const FILTERS = { // reach, and what counts at a distance
  box: [0.5, x => x > -0.5 && x <= 0.5 ? 1 : 0],
  bilinear: [1, x => Math.max(0, 1 - Math.abs(x))],
  bicubic: [2, distance => {
    const x = Math.abs(distance);
    if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
    return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
  }],
  lanczos: [3, x => x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0],
};

// What each of `size` pixels takes from a line, of which `from` to `to` is used.
function shares(length, from, to, size, name) {
  const [reach, call] = FILTERS[name];
  const scale = (to - from) / size;
  const wide = Math.max(scale, 1);
  return Array.from({length: size}, (_, place) => {
    const center = from + (place + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - reach * wide + 0.5));
    const last = Math.min(length, Math.trunc(center + reach * wide + 0.5));
    const weights = [];
    for (let at = first; at < last; at++) weights.push(call((at - center + 0.5) / wide));
    const sum = weights.reduce((all, one) => all + one, 0);
    return {first, weights: sum ? weights.map(one => one / sum) : weights};
  });
}

const BITS = 22; // Pillow's fixed point for bytes
const toByte = sum => Math.max(0, Math.min(255, Math.floor(sum / 2 ** BITS)));

function along(plane, height, width, rows, bytes) {
  const made = bytes ? new Uint8Array(height * rows.length) : new Float32Array(height * rows.length);
  const fixed = rows.map(({first, weights}) => ({first, weights: bytes
    ? weights.map(w => Math.trunc(w * 2 ** BITS + (w < 0 ? -0.5 : 0.5))) : weights}));
  for (let y = 0; y < height; y++) {
    fixed.forEach(({first, weights}, x) => {
      let sum = bytes ? 2 ** (BITS - 1) : 0;
      for (let k = 0; k < weights.length; k++) sum += weights[k] * plane[y * width + first + k];
      made[y * rows.length + x] = bytes ? toByte(sum) : sum;
    });
  }
  return made;
}

function turned(plane, height, width) {
  const made = new plane.constructor(plane.length);
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) made[x * height + y] = plane[y * width + x];
  return made;
}

// One plane scaled; `box` is [left, top, right, bottom].
export function scaled({plane, height, width}, [rows, columns], name, box = [0, 0, width, height]) {
  const [left, top, right, bottom] = box;
  if (name === "nearest") {
    const made = new plane.constructor(rows * columns);
    const at = (place, from, to, size, length) => Math.max(0, Math.min(length - 1,
      Math.floor(from + (place + 0.5) * (to - from) / size)));
    for (let y = 0; y < rows; y++) for (let x = 0; x < columns; x++) {
      made[y * columns + x] = plane[at(y, top, bottom, rows, height) * width +
        at(x, left, right, columns, width)];
    }
    return made;
  }
  const bytes = plane instanceof Uint8Array || plane instanceof Uint8ClampedArray;
  let found = plane;
  let wide = width;
  if (columns !== width || left !== 0 || right !== width) {
    found = along(found, height, width, shares(width, left, right, columns, name), bytes);
    wide = columns;
  }
  if (rows !== height || top !== 0 || bottom !== height) {
    found = turned(along(turned(found, height, wide), wide, height,
      shares(height, top, bottom, rows, name), bytes), wide, rows);
  }
  return found;
}

// A picture's plane at the network's size, by the declared rule.
export function fitted(image, own) {
  const [rows, columns] = own.size;
  const {height: h, width: w} = image;
  if (rows === h && columns === w) return image.plane;
  if (own.resize === "squash") return scaled(image, own.size, own.interpolation);
  if (own.resize === "crop") {
    const scale = Math.max(rows / h, columns / w);
    const [across, down] = [Math.min(w, columns / scale), Math.min(h, rows / scale)];
    const [left, top] = [(w - across) / 2, (h - down) / 2];
    return scaled(image, own.size, own.interpolation,
      [left, top, Math.min(w, left + across), Math.min(h, top + down)]);
  }
  const scale = Math.min(rows / h, columns / w);
  const [high, wide] = [Math.max(1, even(h * scale)), Math.max(1, even(w * scale))];
  const inner = scaled(image, [high, wide], own.interpolation);
  const made = new Uint8Array(rows * columns).fill(own.fill);
  const [top, left] = [Math.floor((rows - high) / 2), Math.floor((columns - wide) / 2)];
  for (let y = 0; y < high; y++) {
    made.set(inner.subarray(y * wide, (y + 1) * wide), (top + y) * columns + left);
  }
  return made;
}

// To the nearest whole number, halves to the even one, as Python rounds.
export function even(x) {
  const low = Math.floor(x);
  return x - low === 0.5 ? low + low % 2 : Math.round(x);
}

const INK = 1 / 16;

// The ink of a drawing, light on black, scaled and moved to its standard place.
export function centered({plane, height, width}, own) {
  const [rows, columns] = own.size;
  const made = new Uint8Array(rows * columns);
  const ink = inkOf(plane, height, width);
  let [top, bottom, left, right] = [height, -1, width, -1];
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
    if (ink[y * width + x] > INK) {
      [top, bottom] = [Math.min(top, y), Math.max(bottom, y)];
      [left, right] = [Math.min(left, x), Math.max(right, x)];
    }
  }
  if (bottom < 0) return made;
  const [h, w] = [bottom - top + 1, right - left + 1];
  const box = new Float32Array(h * w);
  for (let y = 0; y < h; y++) {
    box.set(ink.subarray((top + y) * width + left, (top + y) * width + right + 1), y * w);
  }
  const mass = own.centering !== "box";
  const limit = own.size.map(side => mass ? even(20 / 28 * side) : side);
  const scale = Math.min(Math.max(1, limit[0]) / h, Math.max(1, limit[1]) / w);
  const [high, wide] = [Math.max(1, even(scale * h)), Math.max(1, even(scale * w))];
  const digit = scaled({plane: box, height: h, width: w}, [high, wide], own.interpolation)
    .map(value => Math.max(0, Math.min(1, value)));
  const down = new Float64Array(high);
  const across = new Float64Array(wide);
  for (let y = 0; y < high; y++) for (let x = 0; x < wide; x++) {
    down[y] += digit[y * wide + x];
    across[x] += digit[y * wide + x];
  }
  const [y0, x0] = [begin(down, rows, mass), begin(across, columns, mass)];
  for (let y = 0; y < high; y++) for (let x = 0; x < wide; x++) {
    made[(y0 + y) * columns + x0 + x] = even(digit[y * wide + x] * 255);
  }
  return made;
}

function inkOf(plane, height, width) {
  const border = [];
  for (let x = 0; x < width; x++) border.push(plane[x], plane[(height - 1) * width + x]);
  for (let y = 1; y < height - 1; y++) border.push(plane[y * width], plane[(y + 1) * width - 1]);
  const paper = median(border) / 255;
  let [dark, light] = [0, 0];
  for (const value of plane) {
    const by = value / 255 - paper;
    if (by < 0) dark -= by;
    else light += by;
  }
  const [sign, most] = dark > light ? [-1, paper] : [1, Math.max(1 - paper, 1e-6)];
  return Float32Array.from(plane, value => Math.max(0, sign * (value / 255 - paper)) / most);
}

export function median(values) {
  const sorted = Float64Array.from(values).sort();
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

function begin(profile, size, mass) {
  const sum = profile.reduce((all, one) => all + one, 0);
  let center = profile.length / 2;
  if (mass && sum > 0) center = profile.reduce((all, one, at) => all + one * (at + 0.5), 0) / sum;
  const start = Math.floor(size / 2 - center + 0.5);
  return Math.min(Math.max(start, 0), size - profile.length);
}

// Planes turned by degrees against the clock, then moved; paper comes in from outside.
export function placed(planes, [rows, columns], [right, down], turn) {
  if (!right && !down && !turn) return planes;
  return planes.map(plane => {
    const edge = [];
    for (let x = 0; x < columns; x++) edge.push(plane[x], plane[(rows - 1) * columns + x]);
    const fill = median(edge);
    const turnedBy = turn ? rotated(plane, rows, columns, turn, fill) : plane;
    const made = new Uint8Array(plane.length);
    for (let y = 0; y < rows; y++) for (let x = 0; x < columns; x++) {
      const [fromY, fromX] = [y - down, x - right];
      const inside = fromY >= 0 && fromY < rows && fromX >= 0 && fromX < columns;
      made[y * columns + x] = even(inside ? turnedBy[fromY * columns + fromX] : fill);
    }
    return made;
  });
}

function rotated(plane, rows, columns, turn, fill) {
  const [c, s] = [Math.cos(turn * Math.PI / 180), Math.sin(turn * Math.PI / 180)];
  const [my, mx] = [(rows - 1) / 2, (columns - 1) / 2];
  const made = new Float64Array(plane.length);
  for (let y = 0; y < rows; y++) for (let x = 0; x < columns; x++) {
    const fromY = c * (y - my) + s * (x - mx) + my;
    const fromX = -s * (y - my) + c * (x - mx) + mx;
    if (fromY < 0 || fromX < 0 || fromY > rows - 1 || fromX > columns - 1) {
      made[y * columns + x] = fill;
      continue;
    }
    const [y0, x0] = [Math.floor(fromY), Math.floor(fromX)];
    const [dy, dx] = [fromY - y0, fromX - x0];
    const [y1, x1] = [Math.min(rows - 1, y0 + 1), Math.min(columns - 1, x0 + 1)];
    made[y * columns + x] =
      (plane[y0 * columns + x0] * (1 - dx) + plane[y0 * columns + x1] * dx) * (1 - dy) +
      (plane[y1 * columns + x0] * (1 - dx) + plane[y1 * columns + x1] * dx) * dy;
  }
  return made;
}

// Red, green, blue and alpha to planes, laid on a gray; gray as Pillow weighs it.
export function planesOf({data, width, height}, channels, background) {
  const count = width * height;
  const planes = Array.from({length: channels}, () => new Uint8Array(count));
  for (let i = 0; i < count; i++) {
    const alpha = data[4 * i + 3];
    const colors = [0, 1, 2].map(k => alpha === 255 ? data[4 * i + k]
      : Math.round((data[4 * i + k] * alpha + background * (255 - alpha)) / 255));
    if (channels === 3) planes.forEach((plane, k) => { plane[i] = colors[k]; });
    else planes[0][i] = (colors[0] * 19595 + colors[1] * 38470 + colors[2] * 7471 + 32768) >> 16;
  }
  return planes.map(plane => ({plane, height, width}));
}
