// A sum of products: patch x kernel, channel by channel, then the sums and the bias.
import {element, button, brief, short, exact, isCalm} from "./dom.js";
import {numberGrid} from "./number_grid.js";

const PACE = 200; // milliseconds for a product

export function sumOf(step, page, view) {
  return Array.isArray(step.products[0]) ? windowOf(step, page, view) : weightedOf(step);
}

function windowOf(step, page, view) {
  const taps = step.products.map(each => each.flat(3));
  const axes = step.window;
  const [rows, columns] = axes.length > 1 ? [axes[0].length, axes[1].length]
    : [1, axes[0]?.length ?? 1];
  const patches = step.patch.map(each => each.flat(3));
  const kernels = step.kernel.map(each => each.flat(3));
  const inside = step.inside.map(each => [each].flat(4));
  const bounds = [patches, kernels, taps].map(each =>
    Math.max(...each.flat().filter(Number.isFinite).map(Math.abs), 0));
  const grids = element("div", {class: "products", tabindex: 0, role: "group",
    "aria-label": "Input times kernel. Arrow keys go from product to product."});
  const says = element("p", {class: "formula tap", "aria-live": "polite"}, "\u00a0");
  const sums = barList(step.sums.map((value, i) => [`channel ${step.channels[i]}`, value]),
    place => show(place));
  let tables = [];
  let timer = null;
  let shown = 0;
  let at = -1; // the product that is pointed at

  function show(place) {
    stop();
    shown = place;
    view.channel = place;
    const outside = inside[place]?.map(one => !one) ?? [];
    tables = [["input", patches, bounds[0]], ["kernel", kernels, bounds[1]],
      ["product", taps, bounds[2]]].map(([name, values, bound], i) =>
      numberGrid(values[place], rows, columns, "diverging", page,
        {bound, name, outside: i === 1 ? [] : outside}));
    grids.replaceChildren(
      labelled("input", tables[0]), element("span", {}, "\u00d7"), labelled("kernel", tables[1]),
      element("span", {}, "="), labelled("product", tables[2]));
    sums.choose(place);
    point(-1);
  }

  function point(place) {
    at = place;
    for (const table of tables) {
      for (const cell of table.querySelectorAll("td")) {
        cell.classList.toggle("marked", Number(cell.dataset.at) === at);
      }
    }
    if (at < 0) {
      says.textContent = `channel ${step.channels[shown]}: ${exact(step.sums[shown])}`;
      says.title = String(step.sums[shown]);
      return;
    }
    says.textContent = `${short(patches[shown][at])} \u00d7 ${short(kernels[shown][at])} = ` +
      short(taps[shown][at]);
    says.title = `${patches[shown][at]} x ${kernels[shown][at]} = ${taps[shown][at]}`;
  }

  grids.addEventListener("keydown", event => {
    const by = {ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns}[event.key];
    if (!by) return;
    stop();
    at = at < 0 ? 0 : Math.max(0, Math.min(rows * columns - 1, at + by));
    point(at);
    event.preventDefault();
  });
  grids.addEventListener("blur", () => { if (!timer) point(-1); });
  grids.addEventListener("pointermove", event => {
    const cell = event.target.closest("td");
    if (cell && !timer) point(Number(cell.dataset.at));
  });
  grids.addEventListener("pointerleave", () => { if (!timer) point(-1); });

  const play = button("Step through", () => {
    if (timer) {
      stop();
      return;
    }
    at = -1;
    play.textContent = "Stop";
    const next = () => {
      if (!play.isConnected || at + 1 >= taps[shown].length) {
        stop();
        return;
      }
      point(at + 1);
      timer = setTimeout(next, PACE);
    };
    next();
  }, {class: "quiet"});
  play.hidden = isCalm();

  function stop() {
    clearTimeout(timer);
    timer = null;
    play.textContent = "Step through";
    if (tables.length) point(-1);
  }

  show(Math.min(view.channel ?? 0, taps.length - 1));
  return [grids, element("div", {class: "tap-row"}, says, play), sums.box, added(step)];
}

function labelled(name, table) {
  return element("figure", {}, table, element("figcaption", {}, name));
}

function weightedOf(step) {
  const order = step.products.map((value, i) => [Math.abs(value), i])
    .sort((one, other) => other[0] - one[0]).map(([, i]) => i);
  const list = barList(order.map(i => [
    `${brief(step.patch[i])} \u00d7 ${brief(step.kernel[i])}`, step.products[i],
    `input ${step.channels?.[i] ?? i}: ${step.patch[i]} x ${step.kernel[i]}`]));
  return [element("p", {class: "muted"}, `${order.length} products, the largest first`),
    list.box, added(step)];
}

function added(step) {
  const parts = [];
  if (step.scale !== 1 && step.scale != null) parts.push(`times ${exact(step.scale)}`);
  if (step.bias != null) parts.push(`plus bias ${exact(step.bias)}`);
  return element("p", {class: "formula"}, `sum of all${parts.length ? `, ${parts.join(", ")}` : ""}`);
}

// Bars around a zero line, a row for each number.
function barList(rows, choose) {
  const bound = Math.max(...rows.map(([, value]) => Math.abs(value)), 0) || 1;
  const items = rows.map(([name, value, title], place) => {
    const fill = element("span", {class: `signed-fill ${value < 0 ? "below" : "above"}`});
    fill.style.width = `${Math.abs(value) / bound * 50}%`;
    const row = choose ? button("", () => choose(place)) : element("div", {});
    row.append(element("span", {class: "bar-name", title: title ?? name}, name),
      element("span", {class: "signed-track"}, fill),
      element("span", {class: "bar-share", title: String(value)}, short(value)));
    return element("li", {}, row);
  });
  const box = element("ul", {class: "sums", tabindex: 0, "aria-label": "Sums"}, ...items);
  return {box, choose: place => items.forEach((item, i) =>
    item.firstChild.setAttribute("aria-pressed", i === place))};
}
