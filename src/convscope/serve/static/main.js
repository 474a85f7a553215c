// Puts the page together.
import {ServerSource} from "./server_source.js";

const SIZE = 280;

async function start() {
  const token = new URLSearchParams(location.search).get("token") ?? "";
  const source = new ServerSource(token);
  const page = await source.describe();
  document.querySelector("#title").textContent = page.title;
  const board = document.createElement("canvas");
  board.width = board.height = SIZE;
  const guesses = document.createElement("p");
  guesses.setAttribute("role", "status");
  document.querySelector("#input").append(board, guesses);
  const maps = new Map();
  for (const card of page.cards) {
    const canvas = document.createElement("canvas");
    const figure = document.createElement("figure");
    const caption = document.createElement("figcaption");
    caption.textContent = `${card.label || card.kind} ${card.shape.join("x")}`;
    figure.append(caption, canvas);
    document.querySelector("#layers").append(figure);
    maps.set(card.id, canvas);
  }
  const pen = board.getContext("2d", {willReadFrequently: true});
  pen.fillStyle = "white";
  pen.fillRect(0, 0, SIZE, SIZE);
  pen.lineWidth = 22;
  pen.lineCap = pen.lineJoin = "round";
  board.addEventListener("pointerdown", event => {
    board.setPointerCapture(event.pointerId);
    pen.beginPath();
    pen.moveTo(event.offsetX, event.offsetY);
  });
  board.addEventListener("pointermove", async event => {
    if (!event.buttons) return;
    pen.lineTo(event.offsetX, event.offsetY);
    pen.stroke();
    const {data} = pen.getImageData(0, 0, SIZE, SIZE);
    const pixels = new Uint8Array(SIZE * SIZE);
    for (let i = 0; i < pixels.length; i++) pixels[i] = data[4 * i];
    const found = await source.run({pixels, height: SIZE, width: SIZE});
    if (!found) return;
    const [first, second] = found.guesses;
    guesses.textContent = `first guess ${page.classes[first.class]}, ` +
      `second guess ${page.classes[second.class]}`;
    for (const card of page.cards) {
      paint(maps.get(card.id), found.arrays.get(String(card.id)), page.palettes);
    }
  });
}

function paint(canvas, array, palettes) {
  if (!array || array.shape.length !== 3) return;
  const [channels, height, width] = array.shape;
  canvas.width = width;
  canvas.height = height * channels;
  const image = new ImageData(width, height * channels);
  const bound = Math.max(Math.abs(array.low), Math.abs(array.high)) || 1;
  array.values.forEach((value, i) => {
    const color = palettes.diverging[Math.round((value / bound + 1) / 2 * 255)];
    image.data.set([...color, 255], 4 * i);
  });
  canvas.getContext("2d").putImageData(image, 0, 0);
}

start();
