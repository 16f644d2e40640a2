// What the page holds: its network, as JSON; its elements; and its state. Names are only ever shown as text.

const data = JSON.parse(document.getElementById("network").textContent);
const FACE = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif';
const BUCKET = 600;  // pixels of height that share a list of what lies in them
const FULL = 0.5, TITLES = 0.28;  // scales from which everything, or only titles, can be read
const MAP_WIDTH = 130, MAP_HEIGHT = 190, SMALLEST = 0.0005, LARGEST = 4, MOST_RESULTS = 60;
const { head: HEAD, line: LINE } = data;  // heights of a card's head, and of a line below it

// Elements. Children are text or elements; there is no way for a string to become markup.

const make = (tag, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
};
// A name that may go on in the next line behind its signs.
const breakable = (text) => text.split(/(?<=[_./:-])/).flatMap((part) => [part, make("wbr")]);
const svg = (tag, attributes, ...children) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
};

const sheet = make("canvas", { className: "sheet", tabIndex: 0 });
const chart = make("canvas");
const title = make("h1"), subtitle = make("p");
const sides = make("nav", { className: "sides" });
const path = make("nav", { className: "path" });
const field = make("input", { type: "search", placeholder: "Search names and operators  ( / )", ariaLabel: "Search" });
const count = make("output");
const results = make("ul", { className: "results" });
const panel = make("aside", { className: "float panel" });
const button = (text, title, onclick) => make("button", { textContent: text, title, onclick });
const zoomBy = (factor) => zoom(factor, width / 2, height / 2);
document.body.append(
  sheet,
  make("section", { className: "float top" },
    make("header", {}, sides, title, subtitle, path),
    make("div", { className: "search" }, field, count), results),
  panel,
  make("div", { className: "float map" }, chart),
  make("div", { className: "float zoom" },
    button("+", "Zoom in", () => zoomBy(1.4)), button("−", "Zoom out", () => zoomBy(1 / 1.4)),
    button("Fit", "Show everything (f)", () => fit())));

// State: one graph is shown; `view` maps its coordinates to the sheet's: screen = (x - view.x) * view.scale.

const context = sheet.getContext("2d"), mapContext = chart.getContext("2d");
const view = { x: 0, y: 0, scale: 1 };
let width = 0, height = 0, ratio = 1, colours = {}, waiting = false;
let shown = 0, graph = null, chosen = -1, found = [], marked = new Set(), at = -1, overview = null;

const indexed = data.graphs.map(() => null);
const sideOf = (number) => (data.sides.length > 1 && number >= data.sides[1].graph ? 1 : 0);
const index = (number) => indexed[number] ??= prepare(data.graphs[number]);

function prepare(graph) {
  // Lists, by height, of the boxes and of the pieces of connections; who makes and who reads each tensor.
  const rows = Math.ceil(graph.size[1] / BUCKET) + 1;
  const made = { ...graph, boxesAt: [], piecesAt: [], readers: new Map(), makers: new Map(), ports: [] };
  for (let row = 0; row < rows; row++) { made.boxesAt.push([]); made.piecesAt.push([]); }
  const spread = (lists, from, to, item) => {
    const last = Math.min(rows - 1, Math.floor(Math.max(from, to) / BUCKET));
    for (let row = Math.max(0, Math.floor(Math.min(from, to) / BUCKET)); row <= last; row++) lists[row].push(item);
  };
  graph.boxes.forEach((box, place) => {
    spread(made.boxesAt, box.box[1], box.box[1] + box.box[3], place);
    for (const tensor of box.inputs) if (tensor !== null) (made.readers.get(tensor) ?? made.readers.set(tensor, []).get(tensor)).push(place);
    for (const tensor of box.outputs) if (tensor !== null && !made.makers.has(tensor)) made.makers.set(tensor, place);
  });
  graph.tensors.forEach((tensor, number) => {
    if (!tensor.pieces) return;
    const kind = tensor.whole ? (tensor.scale ? 1 : 2) : 0;
    const heads = new Map();
    for (let i = 0; i < tensor.heads.length; i += 2) heads.set(`${tensor.heads[i]},${tensor.heads[i + 1]}`, true);
    for (let i = 0; i < tensor.pieces.length; i += 4) {
      const [x1, y1, x2, y2] = tensor.pieces.slice(i, i + 4);
      spread(made.piecesAt, y1, y2, { x1, y1, x2, y2, kind, tensor: number, head: heads.has(`${x2},${y2}`), seen: 0 });
    }
  });
  return made;
}

function readColours() {
  const style = getComputedStyle(document.documentElement);
  const names = ["ground", "card", "ink", "soft", "line", "accent", "dot", "edge", "whole", "on", "changed", "first", "second", ...data.kinds];
  colours = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}
