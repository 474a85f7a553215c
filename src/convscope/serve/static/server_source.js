// Where values come from when a server runs: its HTTP interface. README.md has the
// contract that every source keeps.
import {decoded} from "./encoding.js";
import {PageError} from "./page_error.js";

export class ServerSource {
  constructor(token) {
    this.token = token;
    this.session = "";
    this.sequence = 0;
  }

  async describe() {
    this.session = (await this.json("session", {method: "POST"})).session;
    this.sequence = 0;
    return this.json("page");
  }

  async run(input, wanted) {
    const {kind, shift = [0, 0], turn = 0} = input;
    const sequence = ++this.sequence;
    const query = new URLSearchParams({kind, sequence, wanted: wantedText(wanted), right: shift[0],
      down: shift[1], turn});
    if (kind === "drawing") {
      query.set("height", input.height);
      query.set("width", input.width);
      query.set("centering", Boolean(input.centering));
    }
    if (kind === "example") query.set("example", input.id);
    const body = kind === "drawing" ? input.pixels : kind === "picture" ? input.blob : undefined;
    const answer = await this.ask(`run?${query}`, {method: "POST", body});
    if (answer.status === 204 || sequence !== this.sequence) return null; // a newer one is on its way
    return ranged(decoded(await answer.arrayBuffer()));
  }

  async values(wanted) {
    return ranged(await this.binary(`values?${new URLSearchParams({wanted: wantedText(wanted)})}`));
  }

  fields(card) {
    return this.json(`fields?${new URLSearchParams({card})}`);
  }

  explain(card, channel, position) {
    return this.json(`explain?${new URLSearchParams({card, channel, position: position.join(",")})}`);
  }

  filters(card, channel) {
    return this.binary(`filters?${new URLSearchParams({card, channel})}`);
  }

  why(method, target) {
    return this.binary("why", posted({method, target}));
  }

  edit(change) {
    return this.json("edit", posted({change}));
  }

  restore(index) {
    return this.json("restore", posted({index}));
  }

  keep(name) {
    return this.json("keep", posted({name}));
  }

  examples(from, start, count) {
    return this.json(`examples?${new URLSearchParams({kind: from, start, count})}`);
  }

  thumbnail(id) {
    return `api/thumbnail/${id}?${new URLSearchParams({token: this.token})}`;
  }

  async json(path, options) {
    return (await this.ask(path, options)).json();
  }

  async binary(path, options) {
    return decoded(await (await this.ask(path, options)).arrayBuffer());
  }

  async ask(path, options = {}) {
    const headers = {...options.headers, "x-convscope-token": this.token, "x-session": this.session};
    let answer;
    try {
      answer = await fetch(`api/${path}`, {...options, headers});
    } catch {
      throw new PageError("The server does not answer.", [], true);
    }
    if (answer.ok) return answer;
    const {error} = await answer.json().catch(() => ({}));
    throw new PageError(error?.message ?? `The server answered ${answer.status}.`, error?.remedies);
  }
}

function posted(value) {
  return {method: "POST", body: JSON.stringify(value), headers: {"content-type": "application/json"}};
}

function wantedText(wanted) {
  return (wanted ?? []).map(({card, from, to}) => `${card}:${from}-${to}`).join(",");
}

// The range of a card is that of all its channels, also of those that were not sent.
function ranged(answer) {
  for (const [name, facts] of Object.entries(answer.ranges ?? {})) {
    Object.assign(answer.arrays.get(name), facts);
  }
  return answer;
}
