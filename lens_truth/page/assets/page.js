// Draws heatmaps and scatters from the data of the page; tips, keys and clicks. `panel.js` stands before it.
// Texts from runs reach the page only as text nodes and attributes, never as markup.
const DATA = JSON.parse(document.getElementById("report-data").textContent);
const MODELS = new Map(DATA.models.map((model) => [model.id, model]));
const SVG = new Set(["svg", "rect", "circle", "line", "text"]);
const ABSENT = "not computed";

/** An element; attributes that begin with -- are style properties. */
function make(tag, attributes = {}, ...children) {
  const element = SVG.has(tag)
    ? document.createElementNS("http://www.w3.org/2000/svg", tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("--")) element.style.setProperty(name, value);
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

const scrolling = (name, ...children) =>
  make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": name }, ...children);

// --- Numbers -------------------------------------------------------------------------------------------------------

const minus = (text) => text.replace("-", "−");

/** As Python writes it: exact halves go to the even neighbour. */
function fixed(value, places) {
  const halves = value * 2 ** (places + 1);
  const below = Math.floor(value * 10 ** places);
  const tied = Number.isInteger(halves) && halves % 2 !== 0;
  return minus((tied ? (below + Math.abs(below % 2)) / 10 ** places : value).toFixed(places));
}

/** Three digits that count, or whole. */
function short(value) {
  if (value !== 0 && Math.abs(value) < 1e-6) return minus(value.toExponential(2));
  const places = value === 0 ? 0 : Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  const text = fixed(value, places);
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}

function written(map, value) {
  if (value === null) return "not defined";
  return map.kind === "truth" ? fixed(value, 3) : short(value);
}

const share = (thousandths) => fixed(thousandths / 1000, 3);
const numbersOf = (matrix) => matrix.flat().filter((value) => value !== null);
const metric = (map, name, i, j) => map.metrics[name]?.[i][j] ?? null;

function intervalOf(map, i, j) {
  const ends = ["ci_low", "ci_high"].map((name) => metric(map, name, i, j));
  return ends.includes(null) ? ABSENT : `[${ends.map((end) => written(map, end)).join(", ")}]`;
}

function nullOf(map, i, j) {
  const [p, family] = ["p_value", "p_familywise"].map((name) => metric(map, name, i, j));
  if (p === null && family === null) return ABSENT;
  return (p === null ? "" : short(p)) + (family === null ? "" : ` (all heads together ${short(family)})`);
}

function rankOf(map, i, j) {
  const value = map.values[i][j];
  const all = numbersOf(map.values);
  return value === null ? "–" : `${1 + all.filter((other) => other > value).length} of ${all.length}`;
}

// --- Heatmaps ------------------------------------------------------------------------------------------------------

/** The colours of a map: a class and a strength for every value, and the numbers of the legend. */
function colours(map) {
  const all = numbersOf(map.values);
  const [low, high] = [Math.min(...all), Math.max(...all)];
  if (map.scale === "range") {
    const t = (value) => (high > low ? (value - low) / (high - low) : 0.5);
    return {
      of: (value) => (t(value) < 0.5 ? ["lower", 2 * t(value)] : ["upper", 2 * t(value) - 1]),
      legend: [low, (low + high) / 2, high].map((value) => written(map, value)),
      name: "range",
    };
  }
  const log = map.scale === "one";
  const exponent = (value) => (value > 0 ? Math.log2(value) : -Infinity);
  const size = log ? Math.max(1, exponent(high)) : Math.max(...all.map(Math.abs)); // far below chance is below chance
  const t = (value) => Math.max(-1, Math.min(1, (log ? exponent(value) : value) / size));
  return {
    of: (value) => [t(value) < 0 ? "minus" : "plus", Math.abs(t(value))],
    legend: log ? [`≤ ${short(2 ** -size)}`, "1", `≥ ${short(2 ** size)}`] : [-size, 0, size].map(short),
    name: "both",
  };
}

function drawHeatmap(box) {
  const id = box.dataset.heatmap;
  const [model, number] = id.split("-");
  const map = MODELS.get(model).maps[number];
  const colour = colours(map);
  const best = Math.max(...numbersOf(map.values));
  const H = map.values[0].length;
  const every = H > 40 ? 8 : H > 16 ? 4 : 1;
  const named = map.values[0].map((_, j) => make("span", {}, j % every ? "" : String(j)));
  const header = make("div", { class: "line heads", "aria-hidden": "true" }, make("span"), ...named);

  const cell = (value, i, j) => {
    const [side, t] = value === null ? ["none", 0] : colour.of(value);
    const told = `${written(map, value)}, interval ${intervalOf(map, i, j)}, null p ${nullOf(map, i, j)}`;
    return make("div", {
      role: "gridcell",
      tabindex: "-1",
      class: `head ${side}${value === best ? " best" : ""}`,
      "--t": (100 * t).toFixed(1),
      "data-at": `${id} ${i} ${j}`,
      "data-head": `${model}.${i}.${j}`,
      "aria-label": `layer ${i}, head ${j}: ${told}`,
    });
  };
  const rows = map.values.map((line, i) => {
    const name = make("span", { role: "rowheader" }, String(i));
    return make("div", { role: "row", class: "line" }, name, ...line.map((value, j) => cell(value, i, j)));
  });
  box.append(
    make("div", { role: "grid", class: "heat", "aria-labelledby": `${id}-name`, "--columns": H }, header, ...rows),
  );
  const marks = colour.legend.map((text) => make("span", {}, text));
  box.after(make("p", { class: `legend ${colour.name}`, "aria-hidden": "true" }, make("i"), ...marks));
  box.parentElement.append(numbers(map));
}

/** All values of a map as a table, made when it is opened. */
function numbers(map) {
  const details = make("details", { class: "numbers" }, make("summary", {}, "Numbers"));
  details.addEventListener("toggle", () => {
    if (details.children.length > 1) return;
    const heads = map.values[0].map((_, j) => make("th", { scope: "col" }, `head ${j}`));
    const lines = map.values.map((line, i) => {
      const cells = line.map((value) => make("td", {}, written(map, value)));
      return make("tr", {}, make("th", { scope: "row" }, `layer ${i}`), ...cells);
    });
    const head = make("thead", {}, make("tr", {}, make("td"), ...heads));
    details.append(scrolling(`${map.name}, numbers`, make("table", {}, head, make("tbody", {}, ...lines))));
  });
  return details;
}

// --- Scatters ------------------------------------------------------------------------------------------------------

/** Round numbers that enclose a range. */
function ticks(low, high) {
  const raw = (high - low || Math.abs(high) || 1) / 4;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= raw * (1 - 1e-9));
  const first = Math.floor(low / step + 1e-9);
  const last = Math.max(first + 1, Math.ceil(high / step - 1e-9));
  return Array.from({ length: last - first + 1 }, (_, k) => Number(((first + k) * step).toPrecision(12)));
}

/** Powers of 2, or of 10, that do. */
function powers(low, high) {
  const base = high > 300 * low ? 10 : 2;
  const exponent = (value) => Math.log2(value) / Math.log2(base);
  const first = Math.floor(exponent(low));
  const last = Math.max(first + 1, Math.ceil(exponent(high)));
  const step = Math.ceil((last - first) / 6);
  return Array.from({ length: Math.ceil((last - first) / step) + 1 }, (_, k) => base ** (first + k * step));
}

/** Where a value lies between pixels, given ticks from end to end. */
function placed(marks, from, to, log) {
  const of = (value) => (log ? Math.log2(value) : value);
  const [first, last] = [of(marks[0]), of(marks.at(-1))];
  return (value) => (from + ((to - from) * (of(value) - first)) / (last - first)).toFixed(1);
}

function drawScatter(box) {
  const scatter = DATA.scatters.find((one) => one.id === box.dataset.scatter);
  const [W, Y, left, right, top, bottom] = [340, 260, 58, 12, 30, 40];
  const points = scatter.x
    .flatMap((line, i) => line.map((x, j) => ({ x, y: scatter.y[i]?.[j] ?? null, i, j })))
    .filter((point) => point.x !== null && point.y !== null)
    .sort((one, other) => one.x - other.x);
  if (!points.length) return void box.append(make("p", { class: "missing" }, "missing: no head has both numbers"));
  const ends = (axis) => [Math.min, Math.max].map((end) => end(...points.map((point) => point[axis])));
  const xTicks = ticks(...ends("x"));
  const yTicks = (scatter.log ? powers : ticks)(...ends("y"));
  const atX = placed(xTicks, left, W - right, false);
  const atY = placed(yTicks, Y - bottom, top, scatter.log);
  const svg = make("svg", {
    viewBox: `0 0 ${W} ${Y}`, width: W, height: Y, role: "group", "aria-labelledby": `${scatter.id}-name`,
  });
  for (const tick of yTicks) {
    svg.append(make("line", { class: "rule", x1: left, x2: W - right, y1: atY(tick), y2: atY(tick) }));
    svg.append(make("text", { x: left - 6, y: Number(atY(tick)) + 4, "text-anchor": "end" }, short(tick)));
  }
  for (const tick of xTicks) {
    svg.append(make("text", { x: atX(tick), y: Y - bottom + 16, "text-anchor": "middle" }, short(tick)));
  }
  const middle = { x: (left + W - right) / 2, y: Y - 6, "text-anchor": "middle" };
  svg.append(make("text", { x: 4, y: 14 }, scatter.yLabel + (scatter.log ? " (logarithmic)" : "")));
  svg.append(make("text", middle, scatter.xLabel));
  const L = scatter.x.length;
  points.forEach(({ x, y, i, j }, index) => {
    const told = [`layer ${i}, head ${j}`, `${scatter.xLabel}: ${short(x)}`, `${scatter.yLabel}: ${short(y)}`];
    svg.append(make("circle", {
      cx: atX(x),
      cy: atY(y),
      r: points.length > 300 ? 3 : 4,
      role: "button",
      tabindex: index ? "-1" : "0",
      class: "point",
      "--t": ((100 * i) / Math.max(1, L - 1)).toFixed(1),
      "data-tip": told.join("\n"),
      "data-head": `${scatter.model}.${i}.${j}`,
      "aria-label": told.join(", "),
    }));
  });
  box.append(svg);
  const marks = ["layer 0", `layer ${L - 1}`].map((text) => make("span", {}, text));
  box.after(make("p", { class: "legend layers", "aria-hidden": "true" }, make("i"), ...marks));
}

// --- Tips, keys, clicks --------------------------------------------------------------------------------------------

const tip = document.getElementById("tip");

function tipOf(element) {
  if (element.dataset.tip) return element.dataset.tip;
  const [id, i, j] = element.dataset.at.split(" ");
  const [model, number] = id.split("-");
  const map = MODELS.get(model).maps[number];
  const lines = [`score ${written(map, map.values[i][j])}`, `95% interval ${intervalOf(map, i, j)}`];
  return [`layer ${i}, head ${j}`, ...lines, `null p ${nullOf(map, i, j)}`].join("\n");
}

function showTip(element) {
  tip.textContent = tipOf(element);
  tip.hidden = false;
  const at = element.getBoundingClientRect();
  const own = tip.getBoundingClientRect();
  const most = document.documentElement.clientWidth - own.width - 4;
  const above = at.top - own.height - 6;
  tip.style.left = `${Math.max(4, Math.min(at.left + at.width / 2 - own.width / 2, most))}px`;
  tip.style.top = `${above > 4 ? above : at.bottom + 6}px`;
}

function hideTip() {
  tip.hidden = true;
}

/** The cell of a grid, or the point of a scatter, that an arrow, Home or End leads to. */
function next(element, event) {
  const grid = element.closest("[role=grid]");
  const rows = grid
    ? [...grid.querySelectorAll("[role=row]")].map((row) => [...row.querySelectorAll("[role=gridcell]")])
    : [[...element.parentNode.querySelectorAll(".point")]];
  const lines = rows.filter((row) => row.length);
  let r = lines.findIndex((row) => row.includes(element));
  let c = lines[r].indexOf(element);
  const [lastRow, lastColumn] = [lines.length - 1, lines[r].length - 1];
  if (event.key === "ArrowDown") r++;
  else if (event.key === "ArrowUp") r--;
  else if (event.key === "ArrowRight") c++;
  else if (event.key === "ArrowLeft") c--;
  else if (event.key === "Home") [r, c] = [event.ctrlKey ? 0 : r, 0];
  else if (event.key === "End") [r, c] = [event.ctrlKey ? lastRow : r, lastColumn];
  else return null;
  return lines[Math.max(0, Math.min(lastRow, r))][Math.max(0, Math.min(lastColumn, c))];
}

function openHead(element) {
  const [model, i, j] = element.dataset.head.split(".");
  open(model, Number(i), Number(j), element);
}

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    hideTip();
    if (!panel.hidden) close();
    return;
  }
  const element = event.target.closest("[role=gridcell], .point");
  if (!element) return;
  const to = next(element, event);
  if (to) {
    element.tabIndex = -1;
    to.tabIndex = 0;
    to.focus();
    event.preventDefault();
  } else if ((event.key === "Enter" || event.key === " ") && element.dataset.head) {
    openHead(element);
    event.preventDefault();
  }
});
document.addEventListener("click", (event) => {
  const element = event.target.closest("[data-head]");
  if (element) openHead(element);
});
for (const name of ["pointerover", "focusin"]) {
  document.addEventListener(name, (event) => {
    const element = event.target.closest("[data-tip], [data-at]");
    if (element) showTip(element);
    else hideTip();
  });
}
for (const name of ["scroll", "focusout"]) document.addEventListener(name, hideTip, { capture: true, passive: true });

document.querySelectorAll("[data-heatmap]").forEach(drawHeatmap);
document.querySelectorAll("[data-scatter]").forEach(drawScatter);
document.querySelectorAll("[role=grid]").forEach((grid) => {
  grid.querySelector("[role=gridcell]")?.setAttribute("tabindex", "0");
});
