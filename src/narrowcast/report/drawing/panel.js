// Search: in names, operators and tensors of all graphs; those of the graph at hand first. type:Add finds Add alone,
// state:changed what differs between two networks.

const folded = (text) => text.toLowerCase();

function matches(query) {
  const [, exact, value] = query.match(/^(type|state):(.*)$/) ?? [], wanted = folded(query), hits = [];
  for (const number of [shown, ...data.graphs.keys()]) {
    if (hits.some(([where]) => where === number)) continue;
    const { boxes, tensors } = data.graphs[number];
    boxes.forEach((box, place) => {
      if (exact) {
        if (box[exact] === value) hits.push([number, place]);
        return;
      }
      const named = box.outputs.some((tensor) => tensor !== null && folded(tensors[tensor].name).includes(wanted));
      if (folded(box.name).includes(wanted) || folded(box.type).includes(wanted) || named) hits.push([number, place]);
    });
  }
  return hits;
}

function search(query) {
  found = query.trim() ? matches(query.trim()) : [];
  at = -1;
  marked = new Set(found.filter(([number]) => number === shown).map(([, place]) => place));
  count.value = query.trim() ? `${found.length} found` : "";
  results.replaceChildren(...found.slice(0, MOST_RESULTS).map(([number, place], row) => {
    const box = data.graphs[number].boxes[place], swatch = make("span", { className: "swatch" });
    const where = number === shown ? "" : ` in ${sideOf(number) === sideOf(shown) ? "" : `${data.sides[sideOf(number)].title}: `}${data.graphs[number].name}`;
    swatch.style.setProperty("--hue", `var(--${box.kind})`);
    const head = make("span", { className: "kind" }, swatch, box.type + where);
    return make("li", {}, make("button", { onclick: () => go(row) }, head, make("small", { title: box.name }, box.name)));
  }));
  later();
}

function go(row) {
  if (!found.length) return;
  at = (row + found.length) % found.length;
  const [number, place] = found[at];
  if (number !== shown) open(number, false);
  [...results.querySelectorAll("button")].forEach((item, each) => item.classList.toggle("now", each === at));
  results.querySelector(".now")?.scrollIntoView({ block: "nearest" });
  choose(place);
  centre(place);
}

field.addEventListener("input", () => search(field.value));
field.addEventListener("keydown", (event) => {
  if (event.key === "Enter" || event.key === "ArrowDown") { event.preventDefault(); go(at + (event.shiftKey ? -1 : 1)); }
  if (event.key === "ArrowUp") { event.preventDefault(); go(at - 1); }
  if (event.key === "Escape") { field.value = ""; search(""); sheet.focus(); }
});

// The panel: the network at large, or what was chosen.

function choose(place) {
  chosen = place;
  panel.replaceChildren(...(place < 0 ? general() : details(place)));
  panel.classList.toggle("idle", place < 0);
  panel.scrollTop = 0;
  later();
}

const facts = (pairs) => make("dl", {}, ...pairs.flatMap(([name, value]) => [make("dt", {}, ...breakable(name)), make("dd", {}, String(value))]));
const heading = (text) => make("h3", {}, text);
const hued = (kind) => { const made = make("span", { className: "swatch" }); made.style.setProperty("--hue", `var(--${kind})`); return made; };

function general() {
  const types = new Map();
  for (const box of graph.boxes) if (box.kind !== "port") types.set(box.type, [box.kind, (types.get(box.type)?.[1] ?? 0) + 1]);
  const ports = (kind) => graph.boxes.filter((box) => box.type === kind).map((box) => {
    const tensor = graph.tensors[kind === "output" ? box.inputs[0] : box.outputs[0]];
    return make("div", { className: "tensor" }, link(graph.boxes.indexOf(box), box.name || kind), ...described(tensor));
  });
  const listed = (title, items) => (items.length ? [heading(title), ...items] : []);
  const side = data.sides[sideOf(shown)];
  const states = [["changed", "both have, and differ", "changed"], ["alone", "only this one has", sideOf(shown) ? "second" : "first"]];
  const counted = (state) => graph.boxes.filter((box) => box.state === state).length;
  return [
    ...(shown !== side.graph ? [make("h2", {}, graph.name)] : [facts(side.facts)]),
    ...(data.sides.length < 2 ? [] : listed("compared", [make("ul", { className: "types" }, ...states.map(([state, told, hue]) =>
      make("li", {}, make("button", { onclick: () => { field.value = `state:${state}`; search(field.value); } },
        hued(hue), make("span", {}, told), make("b", {}, String(counted(state)))))))])),
    ...(data.ports?.length ? listed("ports differ in", [differences(data.ports.map(([port, what, one, other]) => [`${port}: ${what}`, one, other]))]) : []),
    ...graph.signatures.flatMap(([key, names]) => listed(`signature ${key}`, [facts(names)])),
    ...listed("inputs", ports("input")), ...listed("outputs", ports("output")),
    heading("operators"),
    make("ul", { className: "types" }, ...[...types].sort((a, b) => b[1][1] - a[1][1]).map(([type, [kind, many]]) =>
      make("li", {}, make("button", { onclick: () => { field.value = `type:${type}`; search(field.value); }, title: `Find every ${type}` },
        hued(kind), make("span", {}, type), make("b", {}, String(many)))))),
  ];
}

function names([first, ...others]) {
  const shown = (name) => make("p", { className: "name" }, ...breakable(name));
  return [shown(first), others.length ? make("details", {}, make("summary", {}, `${others.length} more names`), ...others.map(shown)) : null];
}

// Of names that a converter joined by semicolons, as it fused operators, the first is enough in a list.
const first = (name) => name.split(";")[0];
const differences = (rows) => make("dl", { className: "differs" }, ...rows.flatMap(([what, one, other]) =>
  [make("dt", {}, what), make("dd", {}, one), make("dd", {}, other && `→ ${other}`)]));
const link = (place, text) => make("button", { onclick: () => { choose(place); centre(place); } }, ...breakable(text));

function described(tensor) {
  const more = [tensor.scale, tensor.values && `= ${tensor.values}`, tensor.bytes].filter(Boolean);
  return [make("div", { className: "type" }, tensor.type), ...more.map((text) => make("div", { className: "more" }, text)),
    ...(tensor.weights ? histogram(tensor.weights) : [])];
}

function histogram({ low, high, about, bars }) {
  const top = data.levels.length - 1;
  const rects = [...bars].map((level, place) => {
    const share = data.levels.indexOf(level) / top;
    return svg("rect", { x: place + 0.06, y: 1 - share, width: 0.88, height: share });
  });
  return [
    svg("svg", { class: "bars", viewBox: `0 0 ${bars.length} 1`, preserveAspectRatio: "none", role: "img", "aria-label": `${low} to ${high}` }, ...rects),
    make("div", { className: "ends" }, make("span", {}, low), make("span", {}, high)),
    make("div", { className: "more" }, about)];
}

function details(place) {
  const box = graph.boxes[place];
  const tensors = (numbers, roles, towards) => numbers.flatMap((number, row) => {
    if (number === null) return [];
    const tensor = graph.tensors[number], ends = towards(number);
    const role = roles?.[row], name = first(tensor.name) || "(no name)";
    return [make("div", { className: "tensor" }, role ? make("span", { className: "role" }, `${role}  `) : null,
      ...(roles && ends.length ? [link(ends[0], name)] : [make("span", { title: tensor.name }, ...breakable(name))]), ...described(tensor),
      ...(!roles && ends.length ? [make("div", { className: "more" }, ...ends.slice(0, 12).flatMap((end) => ["→ ", link(end, graph.boxes[end].type), " "]),
        ends.length > 12 ? `and ${ends.length - 12} more` : "")] : []))];
  });
  const maker = (number) => (graph.makers.has(number) && graph.makers.get(number) !== place ? [graph.makers.get(number)] : []);
  const inputs = tensors(box.inputs, box.operands, maker);
  const outputs = tensors(box.outputs, null, (number) => graph.readers.get(number) ?? []);
  const section = (title, items) => (items.length ? [heading(title), ...items] : []);
  return [
    make("button", { className: "close", title: "Close (Esc)", onclick: () => choose(-1) }, "×"),
    make("div", { className: "kind" }, hued(box.kind), box.kind === "port" ? box.type : box.kind),
    make("h2", {}, box.kind === "port" ? box.name || box.type : box.type),
    ...(box.kind === "port" ? [] : names(box.name.split(";"))),
    box.twin ? make("button", { onclick: () => across() }, `See it in ${data.sides[1 - sideOf(shown)].title}`) : null,
    ...section("differs in", box.differs?.length ? [differences(box.differs)] : []),
    ...section("graphs inside", (box.graphs ?? []).map(([role, number]) =>
      make("div", { className: "tensor" }, make("button", { onclick: () => open(number) }, `${role}: ${data.graphs[number].name}`)))),
    ...section("attributes", box.attributes?.length ? [facts(box.attributes)] : []),
    ...section("inputs", inputs), ...section("outputs", outputs),
  ].filter(Boolean);
}

// Graphs: the main one, and those inside operators.

function open(number, anew = true) {
  shown = number;
  graph = index(number);
  const side = sideOf(number);
  title.replaceChildren(...breakable(data.sides[side].title));
  subtitle.textContent = data.sides[side].subtitle;
  sides.replaceChildren(...(data.sides.length < 2 ? [] : data.sides.map((each, place) =>
    make("button", { className: place === side ? "now" : "", title: each.title, onclick: () => { if (place !== side) across(); } }, place ? "second" : "first"))));
  const above = [];
  for (let inner = number; data.graphs[inner].inside; inner = data.graphs[inner].inside[0]) above.unshift(data.graphs[inner].inside);
  path.replaceChildren(...(data.graphs.length <= data.sides.length ? [] : [
    ...above.flatMap(([outer, place]) => [make("button", { onclick: () => { open(outer); choose(place); centre(place); } }, data.graphs[outer].name), make("span", {}, "›")]),
    make("b", {}, data.graphs[number].name)]));
  drawMap();
  if (anew) { field.value = ""; search(""); } else marked = new Set(found.filter(([where]) => where === number).map(([, place]) => place));
  choose(-1);
  begin();
}

function across() {
  // The same operator in the other network, at the same place on the sheet; or that network's graph of the same number.
  const twin = chosen < 0 ? null : graph.boxes[chosen].twin, here = { ...view }, from = chosen < 0 ? null : graph.boxes[chosen].box;
  const side = sideOf(shown), number = shown - data.sides[side].graph + data.sides[1 - side].graph;
  const last = side ? data.sides[1].graph : data.graphs.length;
  open(twin ? twin[0] : number < last ? number : data.sides[1 - side].graph, false);
  if (!twin) return;
  const to = graph.boxes[twin[1]].box;
  view.scale = here.scale;
  view.x = here.x + to[0] + to[2] / 2 - from[0] - from[2] / 2;
  view.y = here.y + to[1] - from[1];
  choose(twin[1]);
}

function resize() {
  ratio = devicePixelRatio || 1;
  width = innerWidth;
  height = innerHeight;
  sheet.width = width * ratio;
  sheet.height = height * ratio;
  chart.width = MAP_WIDTH * ratio;
  chart.height = MAP_HEIGHT * ratio;
  chart.style.width = `${MAP_WIDTH}px`;
  chart.style.height = `${MAP_HEIGHT}px`;
  readColours();
  if (graph) { drawMap(); later(); }
}

addEventListener("resize", resize);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", resize);
resize();
open(0);

// For whoever looks at the page from outside: tests, and the browser's console.
window.network = { data, view, paint, fit, centre, choose, open, search, go, across, get shown() { return shown; }, get chosen() { return chosen; }, get found() { return found; } };
