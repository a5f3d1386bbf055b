"use strict";
// Draws heatmaps and scatters from the page's data, and the panel of one head. Texts from runs reach the page only as
// text nodes and attributes, never as markup.
(() => {
  const DATA = JSON.parse(document.getElementById("report-data").textContent);
  const MODELS = new Map(DATA.models.map((model) => [model.id, model]));
  const SVG = new Set(["svg", "g", "rect", "circle", "line", "text"]);
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

  // --- Numbers -----------------------------------------------------------------------------------------------------

  const minus = (text) => text.replace("-", "−");

  /** As Python writes it: exact halves go to the even neighbour. */
  function fixed(value, places) {
    const halves = value * 2 ** (places + 1), below = Math.floor(value * 10 ** places);
    const tied = Number.isInteger(halves) && halves % 2 !== 0;
    return minus((tied ? (below + Math.abs(below % 2)) / 10 ** places : value).toFixed(places));
  }

  /** Three digits that count, or whole. */
  function short(value) {
    if (value !== 0 && Math.abs(value) < 1e-6) return minus(value.toExponential(2));
    const text = fixed(value, value === 0 ? 0 : Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value)))));
    return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
  }

  const written = (map, value) => (value === null ? "not defined" : map.kind === "truth" ? fixed(value, 3) : short(value));
  const share = (thousandths) => fixed(thousandths / 1000, 3);
  const numbersOf = (matrix) => matrix.flat().filter((value) => value !== null);

  function intervalOf(map, i, j) {
    const [low, high] = ["ci_low", "ci_high"].map((name) => map.metrics[name]?.[i][j] ?? null);
    return low === null || high === null ? ABSENT : `[${written(map, low)}, ${written(map, high)}]`;
  }

  function nullOf(map, i, j) {
    const [p, family] = ["p_value", "p_familywise"].map((name) => map.metrics[name]?.[i][j] ?? null);
    if (p === null && family === null) return ABSENT;
    return (p === null ? "" : short(p)) + (family === null ? "" : ` (all heads together ${short(family)})`);
  }

  function rankOf(map, i, j) {
    const value = map.values[i][j], all = numbersOf(map.values);
    return value === null ? "–" : `${1 + all.filter((other) => other > value).length} of ${all.length}`;
  }

  // --- Heatmaps ----------------------------------------------------------------------------------------------------

  /** The colours of a map: a class and a strength for every value, and the numbers of the legend. */
  function colours(map) {
    const all = numbersOf(map.values);
    const low = Math.min(...all), high = Math.max(...all);
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
    const id = box.dataset.heatmap, [modelId, number] = id.split("-");
    const map = MODELS.get(modelId).maps[number], colour = colours(map);
    const best = Math.max(...numbersOf(map.values));
    const H = map.values[0].length, every = H > 40 ? 8 : H > 16 ? 4 : 1;
    const grid = make("div", { role: "grid", class: "heat", "aria-labelledby": `${id}-name`, "--columns": H });
    const header = make("div", { class: "line heads", "aria-hidden": "true" }, make("span"));
    for (let j = 0; j < H; j++) header.append(make("span", {}, j % every ? "" : String(j)));
    grid.append(header);
    map.values.forEach((line, i) => {
      const row = make("div", { role: "row", class: "line" }, make("span", { role: "rowheader" }, String(i)));
      line.forEach((value, j) => {
        const [side, t] = value === null ? ["none", 0] : colour.of(value);
        row.append(make("div", {
          role: "gridcell", tabindex: "-1", class: `head ${side}${value === best ? " best" : ""}`, "--t": (100 * t).toFixed(1),
          "data-at": `${id} ${i} ${j}`, "data-head": `${modelId}.${i}.${j}`,
          "aria-label": `layer ${i}, head ${j}: ${written(map, value)}, interval ${intervalOf(map, i, j)}, null p ${nullOf(map, i, j)}`,
        }));
      });
      grid.append(row);
    });
    box.append(grid);
    const legend = make("p", { class: `legend ${colour.name}`, "aria-hidden": "true" }, make("i"));
    legend.append(...colour.legend.map((text) => make("span", {}, text)));
    box.after(legend);
    box.parentElement.append(numbers(map, `${id}-name`));
  }

  /** All values of a map as a table, made when it is opened. */
  function numbers(map, name) {
    const details = make("details", { class: "numbers" }, make("summary", {}, "Numbers"));
    details.addEventListener("toggle", () => {
      if (details.children.length > 1) return;
      const heads = map.values[0].map((_, j) => make("th", { scope: "col" }, `head ${j}`));
      const lines = map.values.map((line, i) =>
        make("tr", {}, make("th", { scope: "row" }, `layer ${i}`), ...line.map((value) => make("td", {}, written(map, value)))));
      const table = make("table", { "aria-labelledby": name },
        make("thead", {}, make("tr", {}, make("td"), ...heads)), make("tbody", {}, ...lines));
      details.append(make("div", { class: "scroll", tabindex: "0", role: "region", "aria-labelledby": name }, table));
    });
    return details;
  }

  // --- Scatters ----------------------------------------------------------------------------------------------------

  function ticks(low, high) {
    const raw = (high - low || Math.abs(high) || 1) / 4, power = 10 ** Math.floor(Math.log10(raw));
    const step = power * [1, 2, 5, 10].find((factor) => factor * power >= raw * (1 - 1e-9));
    const first = Math.floor(low / step + 1e-9), last = Math.max(first + 1, Math.ceil(high / step - 1e-9));
    return Array.from({ length: last - first + 1 }, (_, k) => Number(((first + k) * step).toPrecision(12)));
  }

  function powers(low, high) {
    const base = high > 300 * low ? 10 : 2, exponent = (value) => Math.log2(value) / Math.log2(base);
    const first = Math.floor(exponent(low)), last = Math.max(first + 1, Math.ceil(exponent(high)));
    const step = Math.ceil((last - first) / 6);
    return Array.from({ length: Math.ceil((last - first) / step) + 1 }, (_, k) => base ** (first + k * step));
  }

  function drawScatter(box) {
    const scatter = DATA.scatters.find((one) => one.id === box.dataset.scatter);
    const W = 340, Y = 260, left = 58, right = 12, top = 30, bottom = 40;
    const points = scatter.x.flatMap((line, i) => line.map((x, j) => ({ x, y: scatter.y[i]?.[j] ?? null, i, j })))
      .filter((point) => point.x !== null && point.y !== null).sort((one, other) => one.x - other.x);
    if (!points.length) return void box.append(make("p", { class: "missing" }, "missing: no head has both numbers"));
    const [xs, ys] = ["x", "y"].map((axis) => points.map((point) => point[axis]));
    const xTicks = ticks(Math.min(...xs), Math.max(...xs));
    const yTicks = (scatter.log ? powers : ticks)(Math.min(...ys), Math.max(...ys));
    const place = (value, marks, from, to, log) => {
      const [v, a, b] = [value, marks[0], marks.at(-1)].map((number) => (log ? Math.log2(number) : number));
      return (from + ((to - from) * (v - a)) / (b - a)).toFixed(1);
    };
    const atX = (value) => place(value, xTicks, left, W - right), atY = (value) => place(value, yTicks, Y - bottom, top, scatter.log);
    const svg = make("svg", {
      viewBox: `0 0 ${W} ${Y}`, width: W, height: Y, role: "group", "aria-labelledby": `${scatter.id}-name`,
    });
    for (const tick of yTicks) {
      svg.append(make("line", { class: "rule", x1: left, x2: W - right, y1: atY(tick), y2: atY(tick) }));
      svg.append(make("text", { x: left - 6, y: Number(atY(tick)) + 4, "text-anchor": "end" }, short(tick)));
    }
    for (const tick of xTicks) svg.append(make("text", { x: atX(tick), y: Y - bottom + 16, "text-anchor": "middle" }, short(tick)));
    svg.append(make("text", { x: 4, y: 14 }, scatter.yLabel + (scatter.log ? " (logarithmic)" : "")));
    svg.append(make("text", { x: (left + W - right) / 2, y: Y - 6, "text-anchor": "middle" }, scatter.xLabel));
    const L = scatter.x.length;
    points.forEach(({ x, y, i, j }, index) => {
      const tip = `layer ${i}, head ${j}\n${scatter.xLabel}: ${short(x)}\n${scatter.yLabel}: ${short(y)}`;
      svg.append(make("circle", {
        cx: atX(x), cy: atY(y), r: points.length > 300 ? 3 : 4, role: "button", tabindex: index ? "-1" : "0", class: "point",
        "--t": ((100 * i) / Math.max(1, L - 1)).toFixed(1), "data-tip": tip, "data-head": `${scatter.model}.${i}.${j}`,
        "aria-label": tip.replaceAll("\n", ", "),
      }));
    });
    box.append(svg);
    box.after(make("p", { class: "legend layers", "aria-hidden": "true" }, make("i"), make("span", {}, "layer 0"), make("span", {}, `layer ${L - 1}`)));
  }

  // --- The panel of one head ---------------------------------------------------------------------------------------

  const panel = document.getElementById("panel");
  let opener = null;

  function open(modelId, i, j, from) {
    const move = panel.contains(from) ? from.dataset.move : null;
    if (!move) opener = from;
    const model = MODELS.get(modelId), [L, H] = [model.maps[0].values.length, model.maps[0].values[0].length];
    const title = make("h2", { id: "panel-title", tabindex: "-1" }, `Layer ${i}, head ${j}`);
    const moves = [["Layer −", i - 1, j], ["Layer +", i + 1, j], ["Head −", i, j - 1], ["Head +", i, j + 1]].map(([name, a, b]) => {
      const button = make("button", { type: "button", "data-move": name }, name);
      button.disabled = a < 0 || b < 0 || a >= L || b >= H;
      button.addEventListener("click", () => open(modelId, a, b, button));
      return button;
    });
    const shut = make("button", { type: "button", class: "close", "aria-label": "Close" }, "×");
    shut.addEventListener("click", close);
    const lines = model.maps.map((map) => make("tr", {},
      make("th", { scope: "row" }, map.name, make("small", {}, map.source)),
      ...[written(map, map.values[i][j]), intervalOf(map, i, j), nullOf(map, i, j), rankOf(map, i, j)].map((text) => make("td", {}, text))));
    const headings = ["map", "score", "95% interval", "null p", "rank"].map((name) => make("th", { scope: "col" }, name));
    const table = make("table", {}, make("thead", {}, make("tr", {}, ...headings)), make("tbody", {}, ...lines));
    panel.replaceChildren(
      make("div", { class: "bar-top" }, title, shut),
      make("p", { class: "about" }, model.name + (model.weights ? `, weights ${model.weights}` : "")),
      make("div", { class: "moves", role: "group", "aria-label": "Other heads" }, ...moves),
      make("h3", {}, "In all maps of this model"),
      make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Numbers of this head" }, table),
      ...furtherMetrics(model, i, j),
      make("h3", {}, "What it attends to"),
      ...attention(model, `${i}.${j}`));
    panel.hidden = false;
    document.body.classList.add("open");
    document.querySelectorAll(".chosen").forEach((element) => element.classList.remove("chosen"));
    document.querySelectorAll(`[data-head="${modelId}.${i}.${j}"]`).forEach((element) => element.classList.add("chosen"));
    const again = moves.find((button) => button.dataset.move === move && !button.disabled);
    (again ?? title).focus({ preventScroll: true });
    panel.scrollTop = 0;
    hideTip();
  }

  function close() {
    panel.hidden = true;
    document.body.classList.remove("open");
    document.querySelectorAll(".chosen").forEach((element) => element.classList.remove("chosen"));
    opener?.focus();
  }

  /** Metrics that have no column above. */
  function furtherMetrics(model, i, j) {
    const shown = new Set(["ci_low", "ci_high", "p_value", "p_familywise"]);
    const said = model.maps.flatMap((map) => {
      const more = Object.entries(map.metrics).filter(([name]) => !shown.has(name)).map(([name, values]) =>
        `${name.replaceAll("_", " ")} ${values[i][j] === null ? "not defined" : short(values[i][j])}`);
      return more.length ? [make("p", { class: "note" }, `${map.name}: ${more.join(", ")}`)] : [];
    });
    return said.length ? [make("details", {}, make("summary", {}, "Further numbers"), ...said)] : [];
  }

  function attention(model, head) {
    const rows = DATA.rows.filter((row) => model.weights !== null && row.weights === model.weights);
    if (!rows.length) return [make("p", { class: "missing" }, model.attention)];
    const least = Math.max(...rows.map((row) => row.threshold));
    const steps = [0.02, 0.1, 0.3, 1].map((weight) => make("span", { class: "token", "--t": (100 * Math.sqrt(weight)).toFixed(1) }, String(weight)));
    return [
      make("p", { class: "note" }, `Attention of the answer's last token (framed). Colour: the weight, `, ...steps,
        `. Evidence is underlined, the first token (sink) dotted. Weights under ${least} are left out; their sum is given.`),
      ...rows.map((row) => example(row, head)),
    ];
  }

  function example(row, head) {
    const flat = row.heads[head];
    const article = make("article", {},
      make("h4", {}, row.question),
      make("p", { class: "answer" }, make("b", {}, row.answer), ` (${row.label ? "supported" : "hallucinated"})`, make("small", {}, `${row.id}, run ${row.run}`)));
    if (!flat) {
      article.append(make("p", { class: "missing" }, "missing: the run did not keep this head's attention here"));
      return article;
    }
    const weights = new Map();
    for (let k = 0; k < flat.length; k += 2) weights.set(flat[k], flat[k + 1]);
    const inside = (at, [start, stop]) => start <= at && at < stop;
    const isEvidence = (at) => row.evidence.some((span) => inside(at, span));
    const sum = (test) => [...weights].reduce((total, [at, weight]) => total + (test(at) ? weight : 0), 0);
    const total = sum(() => true), glue = row.tokens.some((token) => /\s/.test(token)) ? "" : " ";
    const words = row.evidence.map(([start, stop]) => `“${row.tokens.slice(start, stop).join(glue).trim()}”`);
    const patches = new Set(row.image?.shows);
    const shares = [`evidence ${share(sum((at) => isEvidence(at) || patches.has(at)))}`, `first token (sink) ${share(sum((at) => at === 0))}`,
      `left out ${share(Math.max(0, 1000 - total))}`];
    const most = [...weights].sort((one, other) => other[1] - one[1]).slice(0, 5).map(([at, weight]) => {
      const kind = isEvidence(at) || patches.has(at) ? " (evidence)" : at === 0 ? " (sink)" : "";
      const name = row.image && inside(at, row.image.span) ? `patch ${at - row.image.span[0]}` : `“${row.tokens[at].trim()}”`;
      return `${name}: ${share(weight)}${kind}`;
    });
    article.append(make("p", { class: "shares" }, `Weight on: ${shares.join(", ")}. Most: ${most.join(", ") || "none"}.`));
    if (words.length) article.append(make("p", { class: "shares" }, `Evidence in the text: ${words.join(", ")}.`));
    if (row.image) article.append(picture(row, weights, sum));
    const flow = make("p", { class: "tokens" });
    for (let at = 0; at < row.tokens.length; at++) {
      if (row.image && at === row.image.span[0] && row.image.span[1] > at) {
        const [start, stop] = row.image.span;
        flow.append(make("span", { class: "token image" }, `picture: ${stop - start} tokens, ${share(sum((k) => inside(k, row.image.span)))}`), glue);
        at = stop - 1;
        continue;
      }
      const weight = weights.get(at) ?? 0;
      const kinds = [isEvidence(at) && "evidence", at === 0 && "sink", at === row.query && "query"].filter(Boolean);
      const tip = [weight ? share(weight) : `under ${row.threshold}`, ...kinds].join(", ");
      flow.append(make("span", { class: ["token", ...kinds].join(" "), "--t": (100 * Math.sqrt(weight / 1000)).toFixed(1), "data-tip": tip }, row.tokens[at]), glue);
    }
    article.append(flow);
    return article;
  }

  function picture(row, weights, sum) {
    const { src, width, height, span, boxes, evidence } = row.image;
    const rect = ([l, t, r, b], attributes) => make("rect", { x: l, y: t, width: r - l, height: b - t, ...attributes });
    const overlay = make("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
    boxes.forEach((box, k) => {
      const weight = weights.get(span[0] + k) ?? 0;
      if (box) overlay.append(rect(box, { class: "patch", "--t": Math.sqrt(weight / 1000).toFixed(3), "data-tip": `patch ${k}: ${weight ? share(weight) : `under ${row.threshold}`}` }));
    });
    overlay.append(...evidence.map((box) => rect(box, { class: "evidence-box" })));
    const onIt = share(sum((at) => span[0] <= at && at < span[1]));
    const where = evidence.map(([l, t, r, b]) => `pixels ${l} to ${r} across, ${t} to ${b} down`).join("; ");
    const said = `${onIt} of the attention is on the picture${where ? `; evidence (dashed outline): ${where}` : ""}`;
    const image = make("img", { src, width, height, alt: `Picture of example ${row.id}: ${said}` });
    return make("figure", { class: "picture" }, make("div", { class: "stack", "--ratio": `${width} / ${height}` }, image, overlay), make("figcaption", {}, said));
  }

  // --- Tips, keys, clicks ------------------------------------------------------------------------------------------

  const tip = document.getElementById("tip");

  function tipOf(element) {
    if (element.dataset.tip) return element.dataset.tip;
    const [id, i, j] = element.dataset.at.split(" "), [modelId, number] = id.split("-");
    const map = MODELS.get(modelId).maps[number];
    return `layer ${i}, head ${j}\nscore ${written(map, map.values[i][j])}\n95% interval ${intervalOf(map, i, j)}\nnull p ${nullOf(map, i, j)}`;
  }

  function showTip(element) {
    tip.textContent = tipOf(element);
    tip.hidden = false;
    const at = element.getBoundingClientRect(), own = tip.getBoundingClientRect();
    const left = Math.max(4, Math.min(at.left + at.width / 2 - own.width / 2, document.documentElement.clientWidth - own.width - 4));
    const above = at.top - own.height - 6;
    tip.style.left = `${left}px`;
    tip.style.top = `${above > 4 ? above : at.bottom + 6}px`;
  }

  const hideTip = () => void (tip.hidden = true);

  /** The cell that an arrow, Home or End leads to. */
  function neighbour(grid, cell, event) {
    const rows = [...grid.querySelectorAll("[role=row]")].map((row) => [...row.querySelectorAll("[role=gridcell]")]).filter((row) => row.length);
    let r = rows.findIndex((row) => row.includes(cell)), c = rows[r].indexOf(cell);
    if (event.key === "ArrowDown") r++;
    else if (event.key === "ArrowUp") r--;
    else if (event.key === "ArrowRight") c++;
    else if (event.key === "ArrowLeft") c--;
    else if (event.key === "Home") [r, c] = [event.ctrlKey ? 0 : r, 0];
    else if (event.key === "End") [r, c] = [event.ctrlKey ? rows.length - 1 : r, rows[r].length - 1];
    else return null;
    return rows[Math.max(0, Math.min(rows.length - 1, r))][Math.max(0, Math.min(rows[0].length - 1, c))];
  }

  function onKey(event) {
    if (event.key === "Escape") {
      if (!tip.hidden) hideTip();
      if (!panel.hidden) close();
      return;
    }
    const cell = event.target.closest("[role=gridcell], .point");
    if (!cell) return;
    let next = null;
    if (cell.matches(".point")) {
      const points = [...cell.parentNode.querySelectorAll(".point")], step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step) next = points[points.indexOf(cell) + step] ?? cell;
    } else next = neighbour(cell.closest("[role=grid]"), cell, event);
    if (next) {
      cell.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
      event.preventDefault();
    } else if ((event.key === "Enter" || event.key === " ") && cell.dataset.head) {
      event.preventDefault();
      openHead(cell);
    }
  }

  function openHead(element) {
    const [modelId, i, j] = element.dataset.head.split(".");
    open(modelId, Number(i), Number(j), element);
  }

  document.querySelectorAll("[data-heatmap]").forEach(drawHeatmap);
  document.querySelectorAll("[data-scatter]").forEach(drawScatter);
  document.querySelectorAll("[role=grid]").forEach((grid) => grid.querySelector("[role=gridcell]")?.setAttribute("tabindex", "0"));
  const told = (event) => event.target.closest?.("[data-tip], [data-at]");
  for (const name of ["pointerover", "focusin"]) document.addEventListener(name, (event) => (told(event) ? showTip(told(event)) : hideTip()));
  for (const name of ["scroll", "focusout"]) document.addEventListener(name, hideTip, { capture: true, passive: true });
  document.addEventListener("keydown", onKey);
  document.addEventListener("click", (event) => {
    const head = event.target.closest("[data-head]");
    if (head) openHead(head);
  });
})();
