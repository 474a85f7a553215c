// Numbers as the library's lines show them: analysis/explaining/site.py.

// Six digits, no zeros behind.
export function shown(value) {
  if (!value) return value === 0 ? "0" : "nan";
  if (!Number.isFinite(value)) return value < 0 ? "-inf" : "inf";
  const [digits, power] = value.toExponential(5).split("e");
  const size = Number(power);
  if (size >= -4 && size < 6) return String(Number(value.toPrecision(6)));
  const sign = size < 0 ? "-" : "+";
  return `${Number(digits)}e${sign}${String(Math.abs(size)).padStart(2, "0")}`;
}

// Numbers with a sign between; a long sum is cut short.
export function added(values, most = 12) {
  const few = values.length <= most ? values : values.slice(0, most - 1);
  let text = "";
  few.forEach((value, at) => {
    text += at ? `${value < 0 ? " - " : " + "}${shown(Math.abs(value))}` : shown(value);
  });
  const rest = values.length - few.length;
  return rest ? `${text} + (${rest} more: ${shown(total(values.slice(few.length)))})` : text;
}

export function placeText(index) {
  return `(${index.join(", ")})`;
}

export function total(values) {
  let sum = 0;
  for (const value of values) sum += value;
  return sum;
}

// Elements of one axis as a span: 3-7, 0-4 step 2.
export function axisText(axis) {
  const there = axis.filter(place => place !== null);
  if (!there.length) return "(padding)";
  const [least, most] = [Math.min(...there), Math.max(...there)];
  const steps = new Set(there.slice(1).map((place, i) => place - there[i]));
  const [step] = steps;
  return (least === most ? String(there[0]) : `${least}-${most}`) +
    (steps.size === 1 && step > 1 ? ` step ${step}` : "");
}
