// Sums of products: convolution of any number of axes, dense layers, matrix products.

// Sizes of input, output and kernel, then stride, padding and dilation: each for three axes
// of space, those that are missing of length 1.
function windowsOf(one, x, weight) {
  const threefold = (given, filler) => [...Array(3 - given.length).fill(filler), ...given];
  return [x.shape.slice(2), one.shape.slice(2), weight.shape.slice(2), one.stride]
    .map(given => threefold(given, 1))
    .concat([threefold(one.padding, 0), threefold(one.dilation, 1)]);
}

export function convolved(one, [x], constants) {
  const {shape} = one;
  const weight = constants[one.w];
  const bias = one.b === null ? null : constants[one.b].values;
  const [[iD, iH, iW], [oD, oH, oW], [kD, kH, kW], [sD, sH, sW], [pD, pH, pW], [dD, dH, dW]] =
    windowsOf(one, x, weight);
  const channels = shape[1];
  const taken = weight.shape[1];
  const perGroup = channels / one.groups;
  const size = oD * oH * oW;
  const made = new Float32Array(channels * size);
  const sums = new Float64Array(size);
  for (let channel = 0; channel < channels; channel++) {
    sums.fill(bias ? bias[channel] : 0);
    const first = Math.floor(channel / perGroup) * taken;
    let tap = channel * taken * kD * kH * kW;
    for (let c = first; c < first + taken; c++) {
      const plane = c * iD * iH * iW;
      for (let a = 0; a < kD; a++) for (let b = 0; b < kH; b++) for (let k = 0; k < kW; k++) {
        const w = weight.values[tap++];
        if (w === 0) continue;
        const shift = k * dW - pW;
        const from = Math.max(0, Math.ceil(-shift / sW));
        const to = Math.min(oW, Math.floor((iW - 1 - shift) / sW) + 1);
        for (let d = 0; d < oD; d++) {
          const z = d * sD + a * dD - pD;
          if (z < 0 || z >= iD) continue;
          for (let h = 0; h < oH; h++) {
            const y = h * sH + b * dH - pH;
            if (y < 0 || y >= iH) continue;
            let source = plane + (z * iH + y) * iW + shift + from * sW;
            const row = (d * oH + h) * oW;
            for (let o = row + from; o < row + to; o++, source += sW) {
              sums[o] += w * x.values[source];
            }
          }
        }
      }
    }
    made.set(sums, channel * size);
  }
  return made;
}

export function transposed(one, [x], constants) {
  const {shape} = one;
  const weight = constants[one.w];
  const bias = one.b === null ? null : constants[one.b].values;
  const [[iD, iH, iW], [oD, oH, oW], [kD, kH, kW], [sD, sH, sW], [pD, pH, pW], [dD, dH, dW]] =
    windowsOf(one, x, weight);
  const inputs = x.shape[1];
  const perGroup = weight.shape[1];
  const size = oD * oH * oW;
  const taps = kD * kH * kW;
  const made = new Float32Array(shape[1] * size);
  const sums = new Float64Array(size);
  for (let channel = 0; channel < shape[1]; channel++) {
    sums.fill(bias ? bias[channel] : 0);
    const group = Math.floor(channel / perGroup);
    const own = channel - group * perGroup;
    const count = inputs / one.groups;
    for (let c = group * count; c < (group + 1) * count; c++) {
      let tap = (c * perGroup + own) * taps;
      for (let a = 0; a < kD; a++) for (let b = 0; b < kH; b++) for (let k = 0; k < kW; k++) {
        const w = weight.values[tap++];
        for (let z = 0; z < iD; z++) {
          const d = z * sD + a * dD - pD;
          if (d < 0 || d >= oD) continue;
          for (let y = 0; y < iH; y++) {
            const h = y * sH + b * dH - pH;
            if (h < 0 || h >= oH) continue;
            const source = ((c * iD + z) * iH + y) * iW;
            for (let i = 0; i < iW; i++) {
              const o = i * sW + k * dW - pW;
              if (o >= 0 && o < oW) sums[(d * oH + h) * oW + o] += w * x.values[source + i];
            }
          }
        }
      }
    }
    made.set(sums, channel * size);
  }
  return made;
}

export function dense(one, [x], constants) {
  const {shape: [outputs, inputs], values: weight} = constants[one.w];
  const bias = one.b === null ? null : constants[one.b].values;
  const rows = x.values.length / inputs;
  const made = new Float32Array(rows * outputs);
  for (let row = 0; row < rows; row++) {
    for (let o = 0; o < outputs; o++) {
      let sum = bias ? bias[o] : 0;
      for (let i = 0; i < inputs; i++) sum += weight[o * inputs + i] * x.values[row * inputs + i];
      made[row * outputs + o] = sum;
    }
  }
  return made;
}

export function product(one, [left, right]) {
  const [rows, inner, columns] = one.sizes;
  const count = one.shape.reduce((all, size) => all * size, 1) / rows / columns;
  const made = new Float32Array(count * rows * columns);
  const [a, b] = [left.values, right.values];
  for (let n = 0; n < count; n++) {
    for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) {
      let sum = 0;
      for (let k = 0; k < inner; k++) {
        sum += a[(n * rows + i) * inner + k] * b[(n * inner + k) * columns + j];
      }
      made[(n * rows + i) * columns + j] = sum;
    }
  }
  return made;
}
