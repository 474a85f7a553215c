// A small table of numbers, colored as maps are.
import {element, tiny} from "./dom.js";
import {rampOf, scaleOf, placeOn, colorOf, inkOn} from "./paint.js";

export function numberGrid(numbers, rows, columns, palette, page, options = {}) {
  const ramp = rampOf(page, palette);
  const finite = numbers.filter(Number.isFinite);
  const bound = options.bound ?? Math.max(...finite.map(Math.abs), 0);
  const scale = scaleOf(palette, -bound, bound);
  const cells = numbers.map((value, i) => {
    const cell = element("td", {title: value == null ? "no value" : String(value), "data-at": i},
      columns <= 3 && rows <= 5 && value != null ? tiny(value) : "");
    if (value == null || options.outside?.[i]) {
      cell.classList.add("outside");
      if (options.outside?.[i]) cell.title = "padding";
    } else {
      const at = placeOn(scale, value);
      cell.style.background = colorOf(ramp, at);
      cell.style.color = inkOn(ramp, at);
    }
    if (i === options.marked) cell.classList.add("marked");
    return cell;
  });
  const lines = Array.from({length: rows}, (_, row) =>
    element("tr", {}, ...cells.slice(row * columns, (row + 1) * columns)));
  const table = element("table", {class: `grid size-${Math.min(columns, 11)}`,
    "aria-label": options.name}, element("tbody", {}, ...lines));
  return table;
}
