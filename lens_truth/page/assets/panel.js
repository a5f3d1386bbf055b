// The panel of one head: its numbers in all maps of its model, and what it attends to. Goes with `page.js`.

const panel = document.getElementById("panel");
let opener = null;

function open(modelId, i, j, from) {
  const move = panel.contains(from) ? from.dataset.move : null;
  if (!move) opener = from;
  const model = MODELS.get(modelId);
  const title = make("h2", { id: "panel-title", tabindex: "-1" }, `Layer ${i}, head ${j}`);
  const shut = make("button", { type: "button", class: "close", "aria-label": "Close" }, "×");
  shut.addEventListener("click", close);
  const weights = model.weights ? `, weights ${model.weights}` : "";
  const moves = neighbours(model, i, j);
  const numbers = [
    make("h3", {}, "In all maps of this model"),
    scrolling("Numbers of this head", mapsTable(model, i, j)),
    ...furtherMetrics(model, i, j),
  ];
  const looks = [make("h3", {}, "What it attends to"), ...attention(model, `${i}.${j}`)];
  panel.replaceChildren(
    make("div", { class: "bar-top" }, title, shut),
    make("p", { class: "about" }, model.name + weights),
    make("div", { class: "moves", role: "group", "aria-label": "Other heads" }, ...moves),
    ...(rowsOf(model).length ? [...looks, ...numbers] : [...numbers, ...looks]), // what is there first
  );
  panel.hidden = false;
  panel.scrollTop = 0;
  document.body.classList.add("open");
  choose(`${modelId}.${i}.${j}`);
  hideTip();
  const again = moves.find((button) => button.dataset.move === move && !button.disabled);
  (again ?? title).focus({ preventScroll: true });
}

function close() {
  panel.hidden = true;
  document.body.classList.remove("open");
  choose(null);
  opener?.focus();
}

/** Marks a head in every map and scatter of its model. */
function choose(head) {
  document.querySelectorAll(".chosen").forEach((element) => element.classList.remove("chosen"));
  document.querySelectorAll(`[data-head="${head}"]`).forEach((element) => element.classList.add("chosen"));
}

/** Buttons that lead to the heads beside this one. */
function neighbours(model, i, j) {
  const [L, H] = [model.maps[0].ranks.length, model.maps[0].ranks[0].length];
  const ways = [["Layer −", i - 1, j], ["Layer +", i + 1, j], ["Head −", i, j - 1], ["Head +", i, j + 1]];
  return ways.map(([name, a, b]) => {
    const button = make("button", { type: "button", "data-move": name }, name);
    button.disabled = a < 0 || b < 0 || a >= L || b >= H;
    button.addEventListener("click", () => open(model.id, a, b, button));
    return button;
  });
}

function mapsTable(model, i, j) {
  const headings = ["map", "score", "95% interval", "null p", "rank"].map((name) => make("th", { scope: "col" }, name));
  const lines = model.maps.map((map) => {
    const cells = [map.scores[i][j], intervalOf(map, i, j), nullOf(map, i, j), rankOf(map, i, j)];
    const name = make("th", { scope: "row" }, map.name, make("small", {}, map.source));
    return make("tr", {}, name, ...cells.map((text) => make("td", {}, text)));
  });
  return make("table", {}, make("thead", {}, make("tr", {}, ...headings)), make("tbody", {}, ...lines));
}

/** Metrics that have no column above. */
function furtherMetrics(model, i, j) {
  const said = model.maps.flatMap((map) => {
    const more = Object.entries(map.further).map(([name, texts]) => `${name} ${texts[i][j]}`);
    return more.length ? [make("p", { class: "note" }, `${map.name} (${map.source}): ${more.join(", ")}`)] : [];
  });
  return said.length ? [make("details", {}, make("summary", {}, "Further numbers"), ...said)] : [];
}

const strength = (weight) => Math.sqrt(weight); // small weights are to be seen

/** Example rows in which this model's attention was kept. */
function rowsOf(model) {
  return DATA.rows.filter((row) => model.weights !== null && row.weights === model.weights);
}

function attention(model, head) {
  const rows = rowsOf(model);
  if (!rows.length) return [make("p", { class: "missing" }, model.attention)];
  const least = Math.max(...rows.map((row) => row.threshold));
  const steps = [0.02, 0.1, 0.3, 1].map((weight) =>
    make("span", { class: "token", "--t": (100 * strength(weight)).toFixed(1) }, String(weight)),
  );
  const explained = make(
    "p", { class: "note" }, "Attention of the answer's last token (framed). Colour: the weight, ", ...steps,
    ". Evidence is underlined, the first token (sink) dotted. ",
    `Weights under ${least} are left out; their sum is given.`,
  );
  return [explained, ...rows.map((row) => example(row, head))];
}

function example(row, head) {
  const answer = make("p", { class: "answer" }, make("b", {}, row.answer));
  answer.append(` (${row.label ? "supported" : "hallucinated"})`, make("small", {}, `${row.id}, run ${row.run}`));
  const article = make("article", {}, make("h4", {}, row.question), answer);
  if (!row.heads[head]) {
    article.append(make("p", { class: "missing" }, "missing: the run did not keep this head's attention here"));
    return article;
  }
  const flat = row.heads[head];
  const weights = new Map(flat.flatMap((at, k) => (k % 2 ? [] : [[at, flat[k + 1]]])));
  const patches = new Set(row.image?.shows);
  const inText = (at) => row.evidence.some(([start, stop]) => start <= at && at < stop);
  const pictured = (at) => row.image !== null && row.image.span[0] <= at && at < row.image.span[1];
  const kindsOf = (at) => [
    (inText(at) || patches.has(at)) && "evidence", at === 0 && "sink", at === row.query && "query",
  ].filter(Boolean);
  const on = (test) => [...weights].reduce((sum, [at, weight]) => sum + (test(at) ? weight : 0), 0);
  const glue = row.tokens.some((token) => /\s/.test(token)) ? "" : " ";

  const most = [...weights].sort((one, other) => other[1] - one[1]).slice(0, 5).map(([at, weight]) => {
    const name = pictured(at) ? `patch ${at - row.image.span[0]}` : `“${row.tokens[at].trim()}”`;
    const kinds = kindsOf(at);
    return `${name}: ${share(weight)}${kinds.length ? ` (${kinds.join(", ")})` : ""}`;
  });
  const shares = [
    `evidence ${share(on((at) => inText(at) || patches.has(at)))}`,
    `first token (sink) ${share(on((at) => at === 0))}`,
    `left out ${share(Math.max(0, 1000 - on(() => true)))}`,
  ];
  const told = `Weight on: ${shares.join(", ")}. Most: ${most.join(", ") || "none"}.`;
  article.append(make("p", { class: "shares" }, told));
  const quotes = row.evidence.map(([start, stop]) => `“${row.tokens.slice(start, stop).join(glue).trim()}”`);
  if (quotes.length) article.append(make("p", { class: "shares" }, `Evidence in the text: ${quotes.join(", ")}`));
  const onPicture = share(on(pictured));
  if (row.image) article.append(picture(row, weights, onPicture));
  const flow = make("p", { class: "tokens" });
  row.tokens.forEach((token, at) => {
    if (pictured(at)) {
      if (at > row.image.span[0]) return;
      const n = row.image.span[1] - row.image.span[0];
      flow.append(make("span", { class: "token image" }, `picture: ${n} tokens, ${onPicture}`), glue);
      return;
    }
    const weight = weights.get(at) ?? 0;
    const kinds = kindsOf(at);
    flow.append(make("span", {
      class: ["token", ...kinds].join(" "),
      "--t": (100 * strength(weight / 1000)).toFixed(1),
      "data-tip": [weight ? share(weight) : `under ${row.threshold}`, ...kinds].join(", "),
    }, token), glue);
  });
  article.append(flow);
  return article;
}

function picture(row, weights, onPicture) {
  const { src, width, height, span, boxes, evidence } = row.image;
  const rect = ([l, t, r, b], more) => make("rect", { x: l, y: t, width: r - l, height: b - t, ...more });
  const overlay = make("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  boxes.forEach((box, k) => {
    if (!box) return;
    const weight = weights.get(span[0] + k) ?? 0;
    const tip = `patch ${k}: ${weight ? share(weight) : `under ${row.threshold}`}`;
    overlay.append(rect(box, { class: "patch", "--t": strength(weight / 1000).toFixed(3), "data-tip": tip }));
  });
  overlay.append(...evidence.map((box) => rect(box, { class: "evidence-box" })));
  const where = evidence.map(([l, t, r, b]) => `pixels ${l} to ${r} across, ${t} to ${b} down`).join("; ");
  const outlined = where ? `; evidence (dashed outline): ${where}` : "";
  const said = `${onPicture} of the attention is on the picture${outlined}`;
  const image = make("img", { src, width, height, alt: `Picture of example ${row.id}: ${said}` });
  const stack = make("div", { class: "stack", "--ratio": `${width} / ${height}` }, image, overlay);
  return make("figure", { class: "picture" }, stack, make("figcaption", {}, said));
}
