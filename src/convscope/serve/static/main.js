// Puts the page together.
import {element, button, failure, count} from "./dom.js";
import {beginning, can} from "./state.js";
import {Asker} from "./asking.js";
import {InputColumn} from "./input.js";
import {Layers} from "./layers.js";
import {Relations} from "./relations.js";
import {Inspector} from "./inspector.js";
import {help} from "./help.js";
import {ServerSource} from "./server_source.js";

export async function open(source) {
  let page;
  try {
    page = await source.describe();
  } catch (error) {
    document.querySelector("main").replaceChildren(failure(error, () => location.reload()));
    return;
  }
  const state = beginning(page);
  document.title = `${page.title} \u00b7 convscope`;
  const parameters = page.cards.reduce((sum, one) => sum + (one.parameters ?? 0), 0);
  document.querySelector("#title").textContent = page.title;
  document.querySelector("#figure").textContent = page.figure ?? "";
  document.querySelector("#network").textContent = [page.network,
    parameters ? `${count(parameters)} parameters` : ""].filter(Boolean).join(", ");
  const {dialog, opener} = help();
  document.querySelector("#actions").append(opener);
  document.body.append(dialog);

  const input = new InputColumn(state, source);
  const layers = new Layers(state);
  const inspector = new Inspector(state, source, layers);
  document.querySelector("#input").append(input.box, ...notes(page));
  document.querySelector("#layers").append(layers.box);
  document.querySelector("#inspector").append(inspector.box);
  new Relations(state, source);
  new Asker(state, source);
  showProblems(state, source);
  state.on(["busy"], () => { document.body.dataset.busy = state.get("busy"); });
  layers.read();
  addEventListener("keydown", event => {
    if (event.key === "Escape" && !dialog.open) inspector.shut();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () =>
    state.set({arrays: new Map(state.get("arrays"))}));
  if (page.input.kind !== "drawing" && can(state, "examples")) {
    const first = await source.examples("test", 0, 1).catch(() => null);
    if (first?.examples.length && !state.get("input")) {
      state.set({input: {kind: "example", id: first.examples[0].id}});
    } else if (!first?.examples.length) {
      input.hint.textContent = "Drop a picture here";
    }
  }
}

function notes(page) {
  if (!page.notes?.length) return [];
  return [element("section", {class: "notes", "aria-label": "Notes"}, element("h3", {}, "Notes"),
    ...page.notes.map(note => element("p", {class: "muted"}, note)))];
}

function showProblems(state, source) {
  const place = element("div", {class: "problem"});
  document.querySelector("#input .on-top").after(place);
  const calm = element("p", {class: "gone", role: "status", hidden: true},
    "The server does not answer. The page keeps what you drew and asks again every two seconds.");
  document.body.append(calm);
  state.on(["gone"], () => { calm.hidden = !state.get("gone"); });
  state.on(["problem"], () => {
    const problem = state.get("problem");
    if (problem?.where !== "input") {
      place.replaceChildren();
      return;
    }
    place.replaceChildren(failure(problem.error, async change => {
      const {kind, ...rest} = change ?? {};
      if (kind === "input") state.set({placing: {...state.get("placing"), ...rest}});
      else if (kind) state.set({edits: (await source.edit(change)).edits});
      else state.set({problem: null});
    }), button("Close", () => state.set({problem: null}), {class: "quiet"}));
  });
}

if (document.querySelector("script[type=module][src]")) { // not in the one-file form
  open(new ServerSource(new URLSearchParams(location.search).get("token") ?? ""));
}
