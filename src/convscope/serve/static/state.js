// What is chosen and known: the one home. Parts read it, change it by set, and are told.

export class Store {
  constructor(initial) {
    this.values = initial;
    this.listeners = [];
  }

  get(name) {
    return this.values[name];
  }

  set(changes) {
    const changed = Object.keys(changes).filter(name => this.values[name] !== changes[name]);
    if (!changed.length) return;
    Object.assign(this.values, changes);
    for (const {names, tell} of this.listeners) {
      if (names.some(name => changed.includes(name))) tell(changed);
    }
  }

  on(names, tell) {
    this.listeners.push({names, tell});
  }
}

export function beginning(page) {
  return new Store({
    page,
    input: null, // as drawn or chosen; what is done to it is in `placing`
    placing: {shift: [0, 0], turn: 0, centering: page.input.centering ?? false},
    wanted: [], // cards and channels on the screen
    answer: null, // what run() gave
    arrays: new Map(), // values of cards for that input
    pointed: null, // the unit under the pointer: {card, channel, position}
    chosen: null, // the unit that is explained
    lit: new Map(), // card -> {spans, channel} connected with the unit
    perMap: false, // scale: each map its own, or one for a layer
    hiddenCards: new Set(),
    hiddenKinds: new Set(),
    edits: [],
    overlay: null, // a map of why, laid over the input
    tab: "unit",
    problem: null, // {where, error}
    gone: false,
    busy: false, // whether values are on their way
    entering: 0, // counts how often the keys ask for the inspector
  });
}

export function can(state, method) {
  return (state.get("page").can ?? []).includes(method);
}

export function isSwitchedOff(edit) {
  return edit.text.endsWith("switched off");
}
