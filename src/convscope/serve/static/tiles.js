// Where each map or bar of a card stands.

const GAP = 4;
const SIZES = [128, 112, 96, 84, 72, 64, 56, 48, 44, 40, 36];
const WIDEST = 232;
const CLEAR = 72; // pixels at which a map is still seen well

// Maps: tiles in columns, as few as show them well; what does not fit is scrolled to.
export function tilesOf(shape, height, width) {
  const [channels, ...space] = shape;
  const [rows, columns] = space.length > 1 ? space : [1, space[0]];
  const room = width || WIDEST;
  const choices = SIZES.map(size => {
    const tall = Math.max(8, Math.round(size * Math.min(3, rows / columns)));
    const fits = Math.max(1, Math.floor((room + GAP) / (size + GAP)));
    const down = Math.max(1, Math.floor((height - 4 + GAP) / (tall + GAP)));
    const across = Math.min(fits, width ? channels : Math.ceil(channels / down));
    return {size, tall, across, isWhole: Math.ceil(channels / across) <= down};
  });
  const clear = choices.filter(each => each.isWhole && each.size >= CLEAR);
  const few = width ? Infinity : Math.min(...clear.map(each => each.across));
  const {size, tall, across} = clear.find(each => each.across <= few) ??
    choices.find(each => each.isWhole) ?? choices.at(-1);
  return new Tiles(channels, rows, columns, size, tall, across, space.length < 2);
}

class Tiles {
  constructor(channels, rows, columns, size, tall, across, flat) {
    Object.assign(this, {channels, rows, columns, size, tall, across, flat});
    this.width = across * (size + GAP) - GAP + 4;
    this.height = Math.ceil(channels / across) * (tall + GAP) - GAP + 4;
  }

  placeOf(channel) {
    return {
      x: 2 + (channel % this.across) * (this.size + GAP),
      y: 2 + Math.floor(channel / this.across) * (this.tall + GAP),
    };
  }

  spanOf(channel) {
    const {y} = this.placeOf(channel);
    return {top: y - 2, bottom: y + this.tall + 2};
  }

  channelsIn(top, height) {
    const first = Math.max(0, Math.floor((top - 2) / (this.tall + GAP)));
    const last = Math.ceil((top + height) / (this.tall + GAP));
    return {
      from: Math.min(this.channels, first * this.across),
      to: Math.min(this.channels, last * this.across),
    };
  }

  unitAt(x, y) {
    const column = Math.floor((x - 2) / (this.size + GAP));
    const row = Math.floor((y - 2) / (this.tall + GAP));
    const channel = row * this.across + column;
    if (column < 0 || row < 0 || column >= this.across || channel >= this.channels) return null;
    const place = this.placeOf(channel);
    const at = [
      Math.floor((y - place.y) / this.tall * this.rows),
      Math.floor((x - place.x) / this.size * this.columns),
    ];
    if (at[0] < 0 || at[0] >= this.rows || at[1] < 0 || at[1] >= this.columns) return null;
    return {channel, position: this.flat ? [at[1]] : at};
  }

  boxOf(channel, spans) {
    const {x, y} = this.placeOf(channel);
    const [down, along] = spans.length > 1 ? spans : [[0, this.rows - 1], spans[0] ??
      [0, this.columns - 1]];
    const [cellY, cellX] = [this.tall / this.rows, this.size / this.columns];
    return {
      x: x + along[0] * cellX, y: y + down[0] * cellY,
      width: Math.max(2, (along[1] - along[0] + 1) * cellX),
      height: Math.max(2, (down[1] - down[0] + 1) * cellY),
    };
  }

  paint(pen, {from, to, top, atlas, first, colors, off}) {
    pen.imageSmoothingEnabled = this.columns > this.size;
    for (let channel = from; channel < to; channel++) {
      const {x, y} = this.placeOf(channel);
      const start = (channel - first) * this.rows;
      if (atlas && start >= 0 && start + this.rows <= atlas.height) {
        pen.globalAlpha = off.has(channel) ? 0.25 : 1;
        pen.drawImage(atlas, 0, start, this.columns, this.rows, x, y - top, this.size, this.tall);
        pen.globalAlpha = 1;
      } else {
        pen.fillStyle = colors.empty;
        pen.fillRect(x, y - top, this.size, this.tall);
      }
    }
  }
}

// Vectors: a bar for each unit.
export function barsOf(shape, height, width, names) {
  const units = shape[0];
  const named = names && names.length === units ? names : null;
  const tall = Math.max(named ? 20 : 6, Math.min(20, Math.floor((height - 4) / units)));
  return new Bars(units, tall, width ? Math.min(width, 320) : named ? 168 : 124, named,
    shape.length - 1);
}

class Bars {
  constructor(units, tall, width, names, axes) {
    Object.assign(this, {units, tall, width, names, axes});
    this.height = units * tall + 4;
    this.left = names ? 64 : 4;
  }

  spanOf(channel) {
    return {top: channel * this.tall, bottom: (channel + 1) * this.tall + 4};
  }

  channelsIn(top, height) {
    return {
      from: Math.max(0, Math.floor((top - 2) / this.tall)),
      to: Math.min(this.units, Math.ceil((top + height) / this.tall)),
    };
  }

  unitAt(x, y) {
    const channel = Math.floor((y - 2) / this.tall);
    if (channel < 0 || channel >= this.units) return null;
    return {channel, position: Array(this.axes).fill(0)};
  }

  boxOf(channel) {
    return {x: 2, y: 2 + channel * this.tall, width: this.width - 4, height: this.tall - 1};
  }

  paint(pen, {from, to, top, array, scale, colors, placeOn}) {
    const room = this.width - this.left - 4;
    const zero = scale ? this.left + room * placeOn(scale, 0) / 255 : this.left;
    pen.font = "12px system-ui, sans-serif";
    pen.textBaseline = "middle";
    for (let unit = from; unit < to; unit++) {
      const y = 2 + unit * this.tall - top;
      const thick = this.tall > 10 ? this.tall - 6 : this.tall - 1;
      const middle = y + this.tall / 2;
      if (this.names) {
        pen.fillStyle = colors.ink;
        pen.fillText(clipped(pen, this.names[unit], this.left - 12), 4, middle);
      }
      const value = array ? array.values[unit - (array.from ?? 0)] : undefined;
      pen.fillStyle = colors.empty;
      if (this.tall > 10) pen.fillRect(this.left, middle - thick / 2, room, thick);
      if (value === undefined) continue;
      const end = this.left + room * placeOn(scale, value) / 255;
      pen.fillStyle = value < 0 ? colors.other : colors.accent;
      pen.fillRect(Math.min(zero, end), middle - thick / 2,
        Math.max(1, Math.abs(end - zero)), thick);
    }
    pen.fillStyle = colors.muted;
    pen.fillRect(Math.round(zero), 2 - top, 1, this.units * this.tall);
  }
}

function clipped(pen, text, width) {
  if (pen.measureText(text).width <= width) return text;
  let kept = text;
  while (kept.length > 1 && pen.measureText(`${kept}\u2026`).width > width) kept = kept.slice(0, -1);
  return `${kept}\u2026`;
}
