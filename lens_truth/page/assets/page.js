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

// --- Numbers: texts from Python, which rounds ----------------------------------------------------------------------

const share = (thousandths) => (thousandths / 1000).toFixed(3);
const intervalOf = (map, i, j) => map.intervals[i][j] ?? ABSENT;
const nullOf = (map, i, j) => map.nulls[i][j] ?? ABSENT;
const rankOf = (map, i, j) => `${map.ranks[i][j]} of ${map.ranks.length * map.ranks[0].length}`;

// --- Heatmaps ------------------------------------------------------------------------------------------------------

/** Colour and strength of a shade, which goes from -1 to 1. */
function colour(map, shade) {
  if (map.both) return [shade < 0 ? "minus" : "plus", Math.abs(shade)];
  return shade < 0 ? ["lower", 1 + shade] : ["upper", shade];
}

function drawHeatmap(box) {
  const id = box.dataset.heatmap;
  const [model, number] = id.split("-");
  const map = MODELS.get(model).maps[number];
  const H = map.ranks[0].length;
  const every = H > 40 ? 8 : H > 16 ? 4 : 1;
  const named = map.ranks[0].map((_, j) => make("span", {}, j % every ? "" : String(j)));
  const header = make("div", { class: "line heads", "aria-hidden": "true" }, make("span"), ...named);

  const cell = (rank, i, j) => {
    const [side, t] = colour(map, map.shades[i][j]);
    const told = `${map.scores[i][j]}, interval ${intervalOf(map, i, j)}, null p ${nullOf(map, i, j)}`;
    return make("div", {
      role: "gridcell",
      tabindex: "-1",
      class: `head ${side}${rank === 1 ? " best" : ""}`,
      "--t": (100 * t).toFixed(1),
      "data-at": `${id} ${i} ${j}`,
      "data-head": `${model}.${i}.${j}`,
      "aria-label": `layer ${i}, head ${j}: ${told}`,
    });
  };
  const rows = map.ranks.map((line, i) => {
    const name = make("span", { role: "rowheader" }, String(i));
    return make("div", { role: "row", class: "line" }, name, ...line.map((rank, j) => cell(rank, i, j)));
  });
  box.append(
    make("div", { role: "grid", class: "heat", "aria-labelledby": `${id}-name`, "--columns": H }, header, ...rows),
  );
  const marks = map.legend.map((text) => make("span", {}, text));
  box.after(make("p", { class: `legend ${map.both ? "both" : "range"}`, "aria-hidden": "true" }, make("i"), ...marks));
  box.parentElement.append(numbers(map));
}

/** All values of a map as a table, made when it is opened. */
function numbers(map) {
  const details = make("details", { class: "numbers" }, make("summary", {}, "Numbers"));
  details.addEventListener("toggle", () => {
    if (details.children.length > 1) return;
    const heads = map.scores[0].map((_, j) => make("th", { scope: "col" }, `head ${j}`));
    const lines = map.scores.map((line, i) => {
      const cells = line.map((text) => make("td", {}, text));
      return make("tr", {}, make("th", { scope: "row" }, `layer ${i}`), ...cells);
    });
    const head = make("thead", {}, make("tr", {}, make("td"), ...heads));
    details.append(scrolling(`${map.name}, numbers`, make("table", {}, head, make("tbody", {}, ...lines))));
  });
  return details;
}

// --- Scatters ------------------------------------------------------------------------------------------------------

function drawScatter(box) {
  const scatter = DATA.scatters.find((one) => one.id === box.dataset.scatter);
  const [W, Y, left, right, bottom] = [340, 260, 58, 328, 220];
  const { points, xTicks, yTicks, xLabel, yLabel } = scatter;
  if (!points.length) return void box.append(make("p", { class: "missing" }, "missing: no head has both numbers"));
  const svg = make("svg", {
    viewBox: `0 0 ${W} ${Y}`, width: W, height: Y, role: "group", "aria-labelledby": `${scatter.id}-name`,
  });
  for (const [at, text] of yTicks) {
    svg.append(make("line", { class: "rule", x1: left, x2: right, y1: at, y2: at }));
    svg.append(make("text", { x: left - 6, y: at + 4, "text-anchor": "end" }, text));
  }
  for (const [at, text] of xTicks) {
    svg.append(make("text", { x: at, y: bottom + 16, "text-anchor": "middle" }, text));
  }
  svg.append(make("text", { x: 4, y: 14 }, yLabel + (scatter.log ? " (logarithmic)" : "")));
  svg.append(make("text", { x: (left + right) / 2, y: Y - 6, "text-anchor": "middle" }, xLabel));
  points.forEach(([i, j, cx, cy, x, y], index) => {
    const told = [`layer ${i}, head ${j}`, `${xLabel}: ${x}`, `${yLabel}: ${y}`];
    svg.append(make("circle", {
      cx,
      cy,
      r: points.length > 300 ? 3 : 4,
      role: "button",
      tabindex: index ? "-1" : "0",
      class: "point",
      "--t": ((100 * i) / Math.max(1, scatter.layers - 1)).toFixed(1),
      "data-tip": told.join("\n"),
      "data-head": `${scatter.model}.${i}.${j}`,
      "aria-label": told.join(", "),
    }));
  });
  box.append(svg);
  const marks = ["layer 0", `layer ${scatter.layers - 1}`].map((text) => make("span", {}, text));
  box.after(make("p", { class: "legend layers", "aria-hidden": "true" }, make("i"), ...marks));
}

// --- Tips, keys, clicks --------------------------------------------------------------------------------------------

const tip = document.getElementById("tip");

function tipOf(element) {
  if (element.dataset.tip) return element.dataset.tip;
  const [id, i, j] = element.dataset.at.split(" ");
  const [model, number] = id.split("-");
  const map = MODELS.get(model).maps[number];
  const lines = [`score ${map.scores[i][j]}`, `95% interval ${intervalOf(map, i, j)}`];
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
