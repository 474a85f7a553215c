// Elements in a line, and numbers as one reads them.

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children.filter(child => child != null));
  return made;
}

export function button(label, onclick, attributes = {}) {
  return element("button", {type: "button", onclick, ...attributes}, label);
}

export function short(value) {
  if (value == null || Number.isNaN(value)) return "\u2013";
  if (!Number.isFinite(value)) return value > 0 ? "\u221e" : "\u2212\u221e";
  const size = Math.abs(value);
  let text;
  if (size === 0) text = "0";
  else if (size >= 1e5 || size < 1e-3) text = size.toExponential(1);
  else if (size >= 1000) text = size.toFixed(0);
  else if (size >= 100) text = size.toFixed(1);
  else if (size >= 10) text = size.toFixed(2);
  else text = size.toFixed(3);
  return value < 0 ? `\u2212${text}` : text;
}

export function percent(share) {
  if (share > 0.9995 && share < 1) return "> 99.9 %";
  if (share < 0.0005 && share > 0) return "< 0.1 %";
  return `${(share * 100).toFixed(1)} %`;
}

export function count(number) {
  return number.toLocaleString("en");
}

export function nameOf(card) {
  if (!card.label) return card.kind;
  return /[a-z]/i.test(card.label) ? card.label : `${card.kind} ${card.label}`;
}

export function unitName(page, {card, channel, position}) {
  const one = page.cards[card];
  const last = card === page.cards.length - 1 ? page.classes[channel] : undefined;
  const place = position.length ? ` at\u00a0(${position.join(",\u00a0")})` : "";
  const number = one.shape.length > 1 ? `channel ${channel}` : `unit ${channel}`;
  return `${nameOf(one)}, ${number}${last && one.shape.length === 1 ? ` (${last})` : ""}${place}`;
}

export function isCalm() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}

export function failure(error, act) {
  const remedies = (error.remedies ?? []).map(remedy =>
    button(remedy.label, () => act(remedy.change), {class: "remedy"}));
  return element("div", {class: "failure", role: "alert"},
    element("p", {}, error.message), ...remedies);
}

export function exact(value) { // as a float32 is written in the fewest digits
  return value == null ? "\u2013" : String(Number(value.toPrecision(7))).replace("-", "\u2212");
}

export function brief(value) { // for a narrow place
  const size = Math.abs(value);
  const text = size && (size >= 1e4 || size < 1e-2) ? size.toExponential(0)
    : String(Number(size.toPrecision(size >= 1000 ? 4 : 3)));
  return value < 0 ? `\u2212${text}` : text;
}

export function tiny(value) { // for a cell of 32 pixels
  const size = Math.abs(value);
  const text = size && (size >= 1e4 || size < 1e-3) ? size.toExponential(0)
    : String(Number(size.toPrecision(size >= 100 ? 4 : 2)));
  return value < 0 ? `\u2212${text}` : text;
}
