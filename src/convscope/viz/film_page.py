"""The page that plays a film; what is between @@ is filled in by `Film.html`."""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>@@NAME@@</title>
<style>
:root { color-scheme: light dark; @@LIGHT@@ }
@media (prefers-color-scheme: dark) { :root { @@DARK@@ } }
* { box-sizing: border-box; }
body { margin: 0; padding: 16px; background: var(--paper); color: var(--ink);
  font: 14px/1.4 system-ui, sans-serif; font-variant-numeric: tabular-nums; }
main { max-width: 960px; margin: 0 auto; }
h1 { font-size: 16px; margin: 0 0 8px; overflow-wrap: anywhere; }
#stage { cursor: ew-resize; touch-action: pan-y; user-select: none; }
.frame > * { display: block; max-width: 100%; height: auto; margin: 0 auto; }
.frame[hidden] { display: none; }
.frame > .dark { display: none; }
@media (prefers-color-scheme: dark) {
  .frame > .light { display: none; }
  .frame > .dark { display: block; }
}
#title { min-height: 20px; margin: 8px 0; text-align: center; }
.bar { display: flex; gap: 8px; align-items: center; flex-wrap: wrap; }
.bar input { flex: 1 1 160px; min-width: 120px; accent-color: var(--accent); }
button, select { font: inherit; color: var(--ink); background: var(--paper);
  border: 1px solid var(--muted); border-radius: 4px; padding: 4px 12px; }
button { min-width: 40px; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.hint { color: var(--muted); margin: 8px 0 0; }
@media print { .bar, .hint { display: none; } .frame[hidden] { display: block; } }
</style>
</head>
<body>
<main>
<h1>@@NAME@@</h1>
<div id="stage">
@@FRAMES@@</div>
<p id="title" aria-live="off"></p>
<div class="bar">
<button id="back" title="one frame back (left arrow)" aria-label="back">&#9664;</button>
<button id="play" title="play or pause (space)">Play</button>
<button id="on" title="one frame on (right arrow)" aria-label="on">&#9654;</button>
<input id="place" type="range" min="0" max="@@LAST@@" value="0" aria-label="frame">
<label>speed <select id="speed">
<option value="0.25">0.25x</option><option value="0.5">0.5x</option>
<option value="1" selected>1x</option><option value="2">2x</option>
<option value="4">4x</option></select></label>
</div>
<p class="hint">Space plays and pauses; the arrows step, Home and End jump; drag on
the picture to go anywhere.</p>
</main>
<script id="told" type="application/json">@@TOLD@@</script>
<script>
"use strict";
const told = JSON.parse(document.getElementById("told").textContent);
const at = (name) => document.getElementById(name);
const frames = [...document.querySelectorAll(".frame")];
const last = frames.length - 1;
let now = 0, timer = null, seen = true;

function show(number) {
  frames[now].hidden = true;
  now = Math.max(0, Math.min(last, number));
  frames[now].hidden = false;
  at("place").value = now;
  at("place").setAttribute("aria-valuetext", told.titles[now]);
  const place = " (" + (now + 1) + " of " + (last + 1) + ")";
  at("title").textContent = told.titles[now] + place;
}
function pause() {
  clearTimeout(timer);
  timer = null;
  at("play").textContent = "Play";
  at("title").setAttribute("aria-live", "polite");
}
function wait() {
  const hold = now === last ? 3 : 1;
  timer = setTimeout(() => { if (seen) show(now === last ? 0 : now + 1); wait(); },
    hold * told.milliseconds / Number(at("speed").value));
}
function play() {
  if (last === 0) return;
  at("play").textContent = "Pause";
  at("title").setAttribute("aria-live", "off");
  if (now === last) show(0);
  wait();
}
function step(number) { pause(); show(number); }

at("play").onclick = () => (timer === null ? play() : pause());
at("back").onclick = () => step(now - 1);
at("on").onclick = () => step(now + 1);
at("place").oninput = () => step(Number(at("place").value));
at("speed").onchange = () => { if (timer !== null) { clearTimeout(timer); wait(); } };
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (["SELECT", "INPUT"].includes(event.target.tagName)) return;
  const keys = { ArrowLeft: () => step(now - 1), ArrowRight: () => step(now + 1),
    Home: () => step(0), End: () => step(last) };
  if (event.key === " " && event.target.tagName !== "BUTTON") at("play").onclick();
  else if (keys[event.key]) keys[event.key]();
  else return;
  event.preventDefault();
});
let from = null;
at("stage").addEventListener("pointerdown", (event) => {
  from = { x: event.clientX, frame: now };
  at("stage").setPointerCapture(event.pointerId);
});
at("stage").addEventListener("pointermove", (event) => {
  if (from === null) return;
  const span = at("stage").clientWidth / Math.max(last, 8);
  step(from.frame + Math.round((event.clientX - from.x) / span));
});
for (const end of ["pointerup", "pointercancel"])
  at("stage").addEventListener(end, () => { from = null; });
// Of many films on one page those that are not looked at stand still.
new IntersectionObserver((found) => { seen = found.at(-1).isIntersecting; })
  .observe(at("stage"));
// Room for the longest title, so that nothing below it moves from frame to frame.
function settle() {
  const longest = told.titles.reduce((a, b) => (b.length > a.length ? b : a));
  at("title").style.minHeight = "";
  at("title").textContent = longest + " (" + (last + 1) + " of " + (last + 1) + ")";
  at("title").style.minHeight = at("title").offsetHeight + "px";
  show(now);
  // A page that holds the film may make its frame as high as that.
  if (parent !== window)
    parent.postMessage({ filmHeight: document.documentElement.offsetHeight }, "*");
}
addEventListener("resize", settle);
settle();
if (!matchMedia("(prefers-reduced-motion: reduce)").matches) play();
</script>
</body>
</html>
"""
