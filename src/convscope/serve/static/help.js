// What the keys do.
import {element, button} from "./dom.js";

const KEYS = [
  ["Tab", "from layer to layer"],
  ["Arrows", "on a layer: move the unit; on the board: shift the input"],
  ["Page up, Page down", "on a layer: the map before, the map behind"],
  ["Enter", "explain the unit; again: go to its explanation"],
  ["Escape", "close, and back to the layer"],
  ["[ and ]", "on the board: turn the input by 5 degrees; 0 puts it back"],
  ["Ctrl+Z", "take back the last stroke"],
];

export function help() {
  const dialog = element("dialog", {class: "help", "aria-label": "Keys"},
    element("h2", {}, "Keys"),
    element("dl", {}, ...KEYS.flatMap(([key, does]) =>
      [element("dt", {}, key), element("dd", {}, does)])),
    button("Close", () => dialog.close()));
  const opener = button("?", () => dialog.showModal(), {
    class: "quiet", "aria-label": "Keys", title: "Keys"});
  return {dialog, opener};
}
