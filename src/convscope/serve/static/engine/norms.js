// Normalization and softmax.

export function normed(one, [x], constants) {
  const given = name => one[name] === null ? null : constants[one[name]].values;
  const [weight, bias, mean, variance] = ["w", "b", "mean", "var"].map(given);
  const channels = x.shape[1];
  const size = x.values.length / channels;
  const made = new Float32Array(x.values.length);
  for (let c = 0; c < channels; c++) {
    const scale = (weight ? weight[c] : 1) / Math.sqrt(variance[c] + one.eps);
    const shift = bias ? bias[c] : 0;
    for (let i = c * size; i < (c + 1) * size; i++) {
      made[i] = (x.values[i] - mean[c]) * scale + shift;
    }
  }
  return made;
}

export function standardized(one, [x], constants) {
  const weight = one.w === null ? null : constants[one.w].values;
  const bias = one.b === null ? null : constants[one.b].values;
  const {block, inner} = one;
  const made = new Float32Array(x.values.length);
  for (let start = 0; start < made.length; start += block) {
    let mean = 0;
    for (let i = start; i < start + block; i++) mean += x.values[i];
    mean = one.centered ? mean / block : 0;
    let variance = 0;
    for (let i = start; i < start + block; i++) variance += (x.values[i] - mean) ** 2;
    const scale = 1 / Math.sqrt(variance / block + one.eps);
    for (let i = start; i < start + block; i++) {
      const at = Math.floor(i / inner);
      made[i] = (x.values[i] - mean) * scale * (weight ? weight[at % weight.length] : 1) +
        (bias ? bias[at % bias.length] : 0);
    }
  }
  return made;
}

export function softmaxed(one, [x]) {
  const length = x.shape[one.axis];
  const inner = x.shape.slice(one.axis + 1).reduce((all, size) => all * size, 1);
  const made = new Float32Array(x.values.length);
  for (let at = 0; at < made.length; at++) {
    if (Math.floor(at / inner) % length) continue;
    let largest = -Infinity;
    for (let k = 0; k < length; k++) largest = Math.max(largest, x.values[at + k * inner]);
    let total = 0;
    for (let k = 0; k < length; k++) total += Math.exp(x.values[at + k * inner] - largest);
    for (let k = 0; k < length; k++) {
      const above = x.values[at + k * inner] - largest;
      made[at + k * inner] = one.log ? above - Math.log(total) : Math.exp(above) / total;
    }
  }
  return made;
}
