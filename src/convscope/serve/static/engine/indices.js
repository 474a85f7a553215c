// Places in arrays: one index per axis, or counted through.

export function flatOf(index, shape) {
  return index.reduce((sum, one, axis) => sum * shape[axis] + one, 0);
}

export function indexOf(flat, shape) {
  const index = [];
  let rest = flat;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    index.unshift(rest % shape[axis]);
    rest = Math.floor(rest / shape[axis]);
  }
  return index;
}
