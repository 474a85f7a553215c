// Where values come from when a server runs: its HTTP interface. README.md has the
// contract that every source keeps.
import {decoded} from "./encoding.js";

export class ServerSource {
  constructor(token) {
    this.token = token;
    this.session = "";
    this.sequence = 0;
  }

  async describe() {
    this.session = (await this.json("session", {method: "POST"})).session;
    return this.json("page");
  }

  async run(drawing) {
    const {pixels, height, width} = drawing;
    const sequence = ++this.sequence;
    const query = new URLSearchParams({height, width, sequence});
    const answer = await this.ask(`run?${query}`, {method: "POST", body: pixels});
    const found = decoded(await answer.arrayBuffer());
    return sequence === this.sequence ? found : null; // a newer one is on its way
  }

  async json(path, options) {
    return (await this.ask(path, options)).json();
  }

  async ask(path, options = {}) {
    const headers = {"x-convscope-token": this.token, "x-session": this.session};
    const answer = await fetch(`api/${path}`, {...options, headers});
    if (!answer.ok) throw new Error((await answer.json()).error.message);
    return answer;
  }
}
