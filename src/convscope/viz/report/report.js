"use strict";
// Shows the pictures behind a cell of the confusion matrix: those of the cell under the
// mouse, until one is chosen, which then stays. Computes nothing.
(() => {
  const source = document.getElementById("behind");
  const panel = document.getElementById("cell");
  if (!source || !panel) return;
  const { classes, cells, totals } = JSON.parse(source.textContent);
  const buttons = [...document.querySelectorAll("button[data-cell]")];
  let chosen = null;

  const element = (name, text) => {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    return made;
  };

  const picture = ([address, name, sure]) => {
    const figure = element("figure");
    figure.title = name;
    if (address) {
      const image = element("img");
      image.src = address;
      image.alt = "";
      figure.append(image);
    }
    const caption = element("figcaption", `${Math.round(100 * sure)}% sure`);
    caption.append(element("br"), element("small", name.split(/[\\/]/).pop()));
    figure.append(caption);
    return figure;
  };

  const fill = (button) => {
    const key = button.dataset.cell;
    if (panel.dataset.shows === key) return;
    panel.dataset.shows = key;
    const [truth, called] = key.split(",").map((n) => classes[Number(n)]);
    const shown = cells[key] || [];
    const part = shown.length < totals[key] ? `, the ${shown.length} surest` : "";
    const list = element("div");
    list.className = "pictures";
    list.append(...shown.map(picture));
    panel.replaceChildren(
      element("p", `${truth} called ${called}: ${totals[key]}${part}`), list);
  };

  const release = () => {
    if (chosen) chosen.setAttribute("aria-expanded", "false");
    chosen = null;
  };

  const clear = () => {
    release();
    delete panel.dataset.shows;
    panel.replaceChildren();
  };

  const choose = (button) => {
    if (button === chosen) return clear();
    release();
    chosen = button;
    button.setAttribute("aria-expanded", "true");
    fill(button);
  };

  const neighbor = (button, key) => {
    const [row, column] = button.dataset.cell.split(",").map(Number);
    const along = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[key];
    if (!along) return null;
    const at = (b) => b.dataset.cell.split(",").map(Number);
    const ahead = buttons.filter((b) => {
      const [r, c] = at(b);
      return along[0] ? c === column && (r - row) * along[0] > 0 : r === row && (c - column) * along[1] > 0;
    });
    const far = (b) => Math.abs(at(b)[0] - row) + Math.abs(at(b)[1] - column);
    return ahead.sort((a, b) => far(a) - far(b))[0] || null;
  };

  for (const button of buttons) {
    button.setAttribute("aria-expanded", "false");
    button.setAttribute("aria-controls", "cell");
    button.addEventListener("click", () => choose(button));
    button.addEventListener("pointerenter", (event) => {
      if (event.pointerType === "mouse" && !chosen) fill(button);
    });
    button.addEventListener("keydown", (event) => {
      const next = neighbor(button, event.key);
      if (next) {
        event.preventDefault();
        next.focus();
      }
    });
  }
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !panel.dataset.shows) return;
    const last = chosen;
    clear();
    if (last) last.focus();
  });
})();
