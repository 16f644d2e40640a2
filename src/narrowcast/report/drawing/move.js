// Moving about.

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

function zoom(factor, px, py) {
  const scale = clamp(view.scale * factor, SMALLEST, LARGEST), before = view.scale;
  view.x += px / before - px / scale;
  view.y += py / before - py / scale;
  view.scale = scale;
  later();
}

function fit() {
  const [w, h] = graph.size;
  view.scale = clamp(Math.min((width - 60) / w, (height - 60) / h), SMALLEST, 1.2);
  view.x = w / 2 - width / 2 / view.scale;
  view.y = h / 2 - height / 2 / view.scale;
  later();
}

function begin() {
  // The whole graph where it can be read then, or else its beginning.
  fit();
  if (view.scale >= FULL) return;
  view.scale = clamp((width - 60) / graph.size[0], 0.75, 1);
  const first = graph.boxes[0]?.box ?? [0, 0, 0, 0];
  view.x = first[0] + first[2] / 2 - width / 2 / view.scale;
  view.y = first[1] - 70 / view.scale;
  later();
}

function centre(place) {
  const [x, y, w, h] = graph.boxes[place].box;
  if (view.scale < FULL || view.scale > 1.6) view.scale = 1;
  view.x = x + w / 2 - width / 2 / view.scale;
  view.y = y + h / 2 - height / 2 / view.scale;
  later();
}

function boxAt(px, py) {
  const x = px / view.scale + view.x, y = py / view.scale + view.y;
  let hit = -1;
  visible(graph.boxesAt, y, y, (place) => {
    const box = graph.boxes[place], [left, top, wide, high] = box.box;
    if (x >= left && x <= left + wide && y >= top && y <= top + high) hit = place;
  });
  return hit;
}

// Pointers: one drags, two pinch, a click chooses.

const pointers = new Map();
let moved = 0;

sheet.addEventListener("pointerdown", (event) => {
  sheet.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, [event.clientX, event.clientY]);
  moved = 0;
});
sheet.addEventListener("pointermove", (event) => {
  const before = pointers.get(event.pointerId);
  if (!before) {
    sheet.classList.toggle("over", boxAt(event.clientX, event.clientY) >= 0);
    return;
  }
  const now = [event.clientX, event.clientY];
  moved += Math.abs(now[0] - before[0]) + Math.abs(now[1] - before[1]);
  if (pointers.size === 2) {
    const other = [...pointers].find(([id]) => id !== event.pointerId)[1];
    const apart = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]) || 1;
    zoom(apart(now) / apart(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
  }
  view.x -= (now[0] - before[0]) / view.scale / pointers.size;
  view.y -= (now[1] - before[1]) / view.scale / pointers.size;
  pointers.set(event.pointerId, now);
  sheet.classList.add("moving");
  later();
});
const released = (event) => {
  if (!pointers.delete(event.pointerId)) return;
  sheet.classList.remove("moving");
  if (event.type === "pointerup" && moved < 5) choose(boxAt(event.clientX, event.clientY));
};
sheet.addEventListener("pointerup", released);
sheet.addEventListener("pointercancel", released);
sheet.addEventListener("dblclick", (event) => {
  const place = boxAt(event.clientX, event.clientY), inside = place < 0 ? [] : graph.boxes[place].graphs ?? [];
  if (inside.length) open(inside[inside.length - 1][1]);
  else zoom(1.8, event.clientX, event.clientY);
});
sheet.addEventListener("wheel", (event) => {
  event.preventDefault();
  const unit = event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? height : 1;
  zoom(Math.exp(-clamp(event.deltaY * unit, -240, 240) * (event.ctrlKey ? 0.01 : 0.0022)), event.clientX, event.clientY);
}, { passive: false });
const jump = (event) => {
  if (event.type === "pointermove" && !event.buttons) return;
  const frame = chart.getBoundingClientRect();
  view.x = ((event.clientX - frame.left) / MAP_WIDTH) * graph.size[0] - width / 2 / view.scale;
  view.y = ((event.clientY - frame.top) / MAP_HEIGHT) * graph.size[1] - height / 2 / view.scale;
  later();
};
chart.addEventListener("pointerdown", jump);
chart.addEventListener("pointermove", jump);

addEventListener("keydown", (event) => {
  if (event.target === field || event.ctrlKey || event.metaKey || event.altKey) return;
  const step = 120 / view.scale;
  const keys = {
    "/": () => field.focus(), f: fit, "+": () => zoomBy(1.25), "=": () => zoomBy(1.25), "-": () => zoomBy(0.8), Escape: () => choose(-1),
    ArrowUp: () => { view.y -= step; }, ArrowDown: () => { view.y += step; },
    ArrowLeft: () => { view.x -= step; }, ArrowRight: () => { view.x += step; },
  };
  if (!keys[event.key]) return;
  event.preventDefault();
  keys[event.key]();
  later();
});
