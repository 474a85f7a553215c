// Elements put elsewhere, weighted sums along axes, pooling, sums, joining.

const times = sizes => sizes.reduce((all, size) => all * size, 1);

export function gathered(one, [x]) {
  let places = Float64Array.of(one.base);
  for (const offsets of one.axes) {
    const next = new Float64Array(places.length * offsets.length);
    let at = 0;
    for (const place of places) {
      for (const offset of offsets) next[at++] = offset === null ? NaN : place + offset;
    }
    places = next;
  }
  const made = new Float32Array(places.length);
  for (let i = 0; i < made.length; i++) {
    made[i] = places[i] === places[i] ? x.values[places[i]] : one.fill;
  }
  return made;
}

export function weighted(one, [x]) {
  const shape = [...x.shape];
  let values = Float64Array.from(x.values);
  one.taps.forEach(({first, row, rows}, place) => {
    const axis = place + 2;
    const length = shape[axis];
    const inner = times(shape.slice(axis + 1));
    const outer = times(shape.slice(0, axis));
    const next = new Float64Array(outer * first.length * inner);
    for (let n = 0; n < outer; n++) {
      for (let o = 0; o < first.length; o++) {
        const weights = rows[row[o]];
        const to = (n * first.length + o) * inner;
        for (let k = 0; k < weights.length; k++) {
          const from = (n * length + first[o] + k) * inner;
          for (let i = 0; i < inner; i++) next[to + i] += weights[k] * values[from + i];
        }
      }
    }
    values = next;
    shape[axis] = first.length;
  });
  return Float32Array.from(values);
}

export function pooled(one, [x]) {
  const shape = [...x.shape];
  let {values} = x;
  one.taps.forEach(({first, last, step}, place) => {
    const axis = shape.length - one.taps.length + place;
    const length = shape[axis];
    const inner = times(shape.slice(axis + 1));
    const outer = times(shape.slice(0, axis));
    const next = new Float32Array(outer * first.length * inner).fill(-Infinity);
    for (let n = 0; n < outer; n++) {
      for (let o = 0; o < first.length; o++) {
        const to = (n * first.length + o) * inner;
        for (let k = first[o]; k <= last[o]; k += step) {
          const from = (n * length + k) * inner;
          for (let i = 0; i < inner; i++) {
            const value = values[from + i];
            if (value > next[to + i] || value !== value) next[to + i] = value;
          }
        }
      }
    }
    values = next;
    shape[axis] = first.length;
  });
  return values;
}

const REDUCTIONS = {
  mean: [0, (sum, x) => sum + x], sum: [0, (sum, x) => sum + x],
  max: [-Infinity, Math.max], min: [Infinity, Math.min],
};

export function reduced(one, [x]) {
  const [start, call] = REDUCTIONS[one.name];
  const count = times(one.shape);
  const made = new Float64Array(count).fill(start);
  const steps = x.shape.map((_, axis) => one.axes.includes(axis) ? 0
    : times(x.shape.filter((size, at) => at > axis && !one.axes.includes(at))));
  for (let i = 0; i < x.values.length; i++) {
    let rest = i;
    let to = 0;
    for (let axis = x.shape.length - 1; axis >= 0; axis--) {
      to += rest % x.shape[axis] * steps[axis];
      rest = Math.floor(rest / x.shape[axis]);
    }
    made[to] = call(made[to], x.values[i]);
  }
  const share = one.name === "mean" ? count / x.values.length : 1;
  return Float32Array.from(made, sum => sum * share);
}

export function joined(one, taken) {
  const made = new Float32Array(times(one.shape));
  const outer = times(one.shape.slice(0, one.axis));
  const parts = taken.map(({shape, values}) => ({values, size: times(shape.slice(one.axis))}));
  let to = 0;
  for (let n = 0; n < outer; n++) {
    for (const {values, size} of parts) {
      made.set(values.subarray(n * size, (n + 1) * size), to);
      to += size;
    }
  }
  return made;
}
