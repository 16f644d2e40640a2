// Painting: only what lies on the sheet, and only as much of it as can be seen at the scale at hand.

const later = () => { if (!waiting) { waiting = true; requestAnimationFrame(() => { waiting = false; paint(); }); } };
let stamp = 0;

function visible(lists, top, bottom, visit) {
  const last = Math.min(lists.length - 1, Math.floor(bottom / BUCKET));
  for (let row = Math.max(0, Math.floor(top / BUCKET)); row <= last; row++) for (const item of lists[row]) visit(item);
}

function paint() {
  const { x, y, scale } = view, right = x + width / scale, bottom = y + height / scale;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.fillStyle = colours.ground;
  context.fillRect(0, 0, width, height);
  if (scale > TITLES) dots();
  context.setTransform(ratio * scale, 0, 0, ratio * scale, -x * ratio * scale, -y * ratio * scale);
  stamp++;
  edges(x, y, right, bottom, scale);
  const dim = marked.size > 0;
  const drawn = [];
  visible(graph.boxesAt, y, bottom, (place) => {
    const [left, top, wide, high] = graph.boxes[place].box;
    if (left < right && left + wide > x && top < bottom && top + high > y) drawn.push(place);
  });
  for (const place of new Set(drawn)) card(place, scale, dim && !marked.has(place) && place !== chosen);
  paintMap();
}

function dots() {
  const step = 24 * view.scale * (view.scale < 0.6 ? 2 : 1), size = Math.max(1, 1.6 * view.scale);
  context.fillStyle = colours.dot;
  for (let left = -((view.x * view.scale) % step); left < width; left += step)
    for (let top = -((view.y * view.scale) % step); top < height; top += step) context.fillRect(left, top, size, size);
}

function edges(x, y, right, bottom, scale) {
  const picked = new Set(chosen < 0 ? [] : [...graph.boxes[chosen].inputs, ...graph.boxes[chosen].outputs]);
  const groups = [[], [], [], []];
  visible(graph.piecesAt, y, bottom, (piece) => {
    if (piece.seen === stamp) return;
    piece.seen = stamp;
    if (Math.max(piece.x1, piece.x2) < x || Math.min(piece.x1, piece.x2) > right) return;
    groups[picked.has(piece.tensor) ? 3 : piece.kind].push(piece);
  });
  const hues = [colours.edge, colours.whole, colours.edge, colours.accent];
  groups.forEach((pieces, kind) => {
    context.strokeStyle = context.fillStyle = hues[kind];
    context.lineWidth = Math.max(kind === 3 ? 2.4 : 1.4, (kind === 3 ? 1.6 : 0.7) / scale);
    context.globalAlpha = marked.size && kind < 3 ? 0.35 : 1;
    context.setLineDash(kind === 2 ? [4, 3] : []);
    context.beginPath();
    for (const { x1, y1, x2, y2 } of pieces) {
      context.moveTo(x1, y1);
      if (x1 === x2 || scale < 0.1) context.lineTo(x2, y2);
      else { const middle = (y1 + y2) / 2; context.bezierCurveTo(x1, middle, x2, middle, x2, y2); }
    }
    context.stroke();
    context.setLineDash([]);
    if (scale < 0.2) return;
    context.beginPath();
    for (const { x2, y2, head } of pieces) if (head) { context.moveTo(x2, y2 + 0.5); context.lineTo(x2 - 3.6, y2 - 7); context.lineTo(x2 + 3.6, y2 - 7); }
    context.fill();
  });
  context.globalAlpha = 1;
}

function rounded(x, y, wide, high, corners) {
  context.beginPath();
  context.roundRect(x, y, wide, high, corners);
}

function card(place, scale, dim) {
  const box = graph.boxes[place], [left, top, full, high] = box.box;
  const wide = box.width ??= cardWidth(box), x = left + (full - wide) / 2, hue = colours[box.kind];
  context.globalAlpha = dim ? 0.4 : 1;
  if (scale < 0.12) {
    context.fillStyle = hue;
    context.fillRect(x, top, wide, box.card);
    if (place === chosen || (marked.has(place) && !dim)) outline(x, top, wide, box.card, scale, place === chosen);
    else if (hueOf(box)) outline(x, top, wide, box.card, scale, true, hueOf(box));
    context.globalAlpha = 1;
    return;
  }
  if (box.kind !== "port" && high > box.card && scale > TITLES) stubs(box, top);
  context.fillStyle = box.card > HEAD ? colours.card : hue;
  rounded(x, top, wide, box.card, box.kind === "port" ? HEAD / 2 : 7);
  context.fill();
  if (box.card > HEAD) {
    context.strokeStyle = colours.line;
    context.lineWidth = 1;
    context.stroke();
    context.fillStyle = hue;
    rounded(x, top, wide, HEAD, [7, 7, 0, 0]);
    context.fill();
  }
  if (hueOf(box)) outline(x, top, wide, box.card, scale, true, hueOf(box));
  if (place === chosen || marked.has(place)) outline(x, top, wide, box.card, scale * (hueOf(box) ? 0.6 : 1), place === chosen);
  if (scale > TITLES) {
    context.textBaseline = "middle";
    context.textAlign = "center";
    context.fillStyle = colours.on;
    context.font = `600 12.5px ${FACE}`;
    context.fillText(box.title, left + full / 2, top + HEAD / 2 + 0.5, wide - 12);
  }
  if (scale > FULL && box.lines) lines(box, x, top, wide);
  if (box.kind === "port" && box.outputs.length) stubs(box, top);
  if (scale > FULL) labels(box, context.globalAlpha);
  if (box.graphs && box.graphs.length && scale > TITLES) {
    context.strokeStyle = colours.on;
    context.lineWidth = 1.5;
    context.strokeRect(x + wide - 15, top + 8, 6, 6);
    context.strokeRect(x + wide - 18, top + 11, 6, 6);
  }
  context.globalAlpha = 1;
}

// Of two networks: amber for what both have otherwise, red or green for what only the first or the second has.
const hueOf = (box) => (box.state === "changed" ? colours.changed : box.state === "alone" ? colours[sideOf(shown) ? "second" : "first"] : null);

function outline(x, y, wide, high, scale, strong, hue = colours.accent) {
  const off = 2.5 / Math.min(1, scale * 1.5);
  context.strokeStyle = hue;
  context.lineWidth = (strong ? 2.5 : 1.5) / Math.min(1, scale * 1.5);
  rounded(x - off, y - off, wide + 2 * off, high + 2 * off, 9);
  context.stroke();
}

function cardWidth(box) {
  // Boxes were measured generously where no font was at hand; a card is as wide as what it shows.
  context.font = `600 12.5px ${FACE}`;
  let wide = context.measureText(box.title).width + (box.graphs && box.graphs.length ? 48 : 26);
  context.font = `11px ${FACE}`;
  for (const [name, value] of box.lines ?? []) wide = Math.max(wide, context.measureText(`${name}   ${value}`).width + 22);
  if (box.short) wide = Math.max(wide, context.measureText(box.short).width + 22);
  return Math.min(box.box[2], Math.max(wide, 64, 12 * Math.min(24, Math.max(box.inputs.length, box.outputs.length))));
}

function lines(box, x, top, wide) {
  context.font = `11px ${FACE}`;
  let y = top + HEAD + 3 + LINE / 2;
  if (box.short) {
    context.fillStyle = colours.soft;
    context.textAlign = "center";
    context.fillText(box.short, x + wide / 2, y, wide - 12);
    y += LINE;
  }
  for (const [name, value] of box.lines) {
    context.textAlign = "left";
    context.fillStyle = colours.soft;
    context.fillText(name, x + 10, y);
    context.textAlign = "right";
    context.fillStyle = colours.ink;
    context.fillText(value, x + wide - 10, y, wide - 20);
    y += LINE;
  }
}

function stubs(box, top) {
  // From the card down to where a connection begins, beside the tensor's label.
  for (const number of box.outputs) {
    const tensor = number === null ? null : graph.tensors[number];
    if (!tensor || !tensor.start || !tensor.pieces.length) continue;
    context.strokeStyle = chosen >= 0 && graph.boxes[chosen].inputs.includes(number) || box === graph.boxes[chosen] ? colours.accent
      : tensor.whole && tensor.scale ? colours.whole : colours.edge;
    context.lineWidth = 1.4;
    context.beginPath();
    context.moveTo(tensor.start[0], top + box.card);
    context.lineTo(tensor.start[0], tensor.start[1]);
    context.stroke();
  }
}

function labels(box, alpha) {
  if (box.box[3] <= box.card) return;
  context.font = `11px ${FACE}`;
  context.textAlign = "center";
  for (const number of box.outputs) {
    const tensor = number === null ? null : graph.tensors[number];
    if (!tensor || !tensor.start) continue;
    const wide = tensor.width ??= Math.max(...tensor.label.map((line) => context.measureText(line).width)) + 12;
    const [x] = tensor.start, y = box.box[1] + box.card + 7, high = 15 * tensor.label.length;
    context.fillStyle = colours.ground;
    context.globalAlpha = 1;
    rounded(x - wide / 2, y - 1, wide, high + 1, 5);
    context.fill();
    context.globalAlpha = alpha;
    tensor.label.forEach((line, row) => {
      context.fillStyle = row ? colours.whole : colours.soft;
      context.fillText(line, x, y + 7 + 15 * row);
    });
  }
}

// The map: the whole graph in a corner, height and width each to its own scale.

function drawMap() {
  overview = make("canvas", { width: MAP_WIDTH * ratio, height: MAP_HEIGHT * ratio });
  const brush = overview.getContext("2d"), [w, h] = graph.size;
  brush.scale((MAP_WIDTH * ratio) / w, (MAP_HEIGHT * ratio) / h);
  for (const box of graph.boxes) {
    brush.fillStyle = hueOf(box) ?? colours[box.kind];
    brush.fillRect(box.box[0], box.box[1], Math.max(box.box[2], w / 60), Math.max(box.card, h / 160));
  }
}

function paintMap() {
  const [w, h] = graph.size;
  mapContext.setTransform(1, 0, 0, 1, 0, 0);
  mapContext.clearRect(0, 0, chart.width, chart.height);
  mapContext.drawImage(overview, 0, 0);
  mapContext.scale((MAP_WIDTH * ratio) / w, (MAP_HEIGHT * ratio) / h);
  mapContext.fillStyle = mapContext.strokeStyle = colours.accent;
  const high = Math.max(height / view.scale, h / 80), wide = Math.max(width / view.scale, w / 50);
  mapContext.globalAlpha = 0.16;
  mapContext.fillRect(view.x, view.y, wide, high);
  mapContext.globalAlpha = 1;
  mapContext.setTransform(ratio, 0, 0, ratio, 0, 0);
  mapContext.strokeRect((view.x / w) * MAP_WIDTH, (view.y / h) * MAP_HEIGHT, (wide / w) * MAP_WIDTH, (high / h) * MAP_HEIGHT);
}
