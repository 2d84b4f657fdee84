"use strict";

/**
 * Draws what a data set says of edges among components, and answers the reader. Names and reasons come
 * from files and are untrusted: they enter the page as text, and every number is checked.
 */
(() => {
  const { element } = Page;
  const { byId, require, finite, grouped, plural, number, share, text, svg, list, numbers, table, trust, leftOut, tip, hideTip, move } = Scores;
  const MOST = 2000; // edges drawn
  const FEW = 40; // unless the reader asks for others
  const LISTED = 100;
  const NEEDED = 8; // edges listed that a circuit needs most
  const TOKENS = 12; // listed of one source and reader, the strongest
  const WIDEST = 9; // pixels of the strongest edge
  const KEPT = 0.9; // of the metric, by a circuit that is named
  const SPARED = 0.01; // of what the model adds to it: an edge that changes less
  const BOX = { width: 30, height: 20 };
  const PORT = { query: -9, key: 0, value: 9 };
  const PATH = { query: "through its query", key: "through its key", value: "through its value" };
  const MARGIN = { left: 46, right: 60 };
  const SHARE = 56; // pixels from one to the next

  let said = {}; // the answers by their formats
  let all = []; // edges of the file
  let spans = []; // words for the tokens that have edges of their own
  let edges = []; // of the tokens that are looked at, strongest first
  let nodes = new Map(); // by their names
  let layers = 0;
  let heads = 0;
  let drawn = []; // edges that are seen
  let held = null; // an edge or a node
  let looked = null;
  let toDraw = null; // request of an animation frame

  const sign = (edge) => (edge.size === null || edge.size === 0 ? "" : edge.size < 0 ? "plus" : "minus");
  const metric = () => text(subject().metric, 60).replaceAll("_", " ");
  const subject = () => said.scores ?? said.test ?? said.circuit;

  // What is in the file

  const FORMATS = {
    "tributary edge scores": "scores",
    "tributary component circuit": "circuit",
    "tributary circuit test": "test",
    "tributary circuit curve": "curve",
  };

  /** Whether a component is a share of an MLP. */
  const isShare = ({ kind }) => kind === "neuron" || kind === "latent";

  /** The component at an end of an edge, made when it is first met. */
  function component(end, what) {
    const kind = end?.component;
    require(["input", "head", "mlp", "neuron", "latent", "logits"].includes(kind), `${what} is of no component`);
    const index = (value) => {
      require(Number.isInteger(value) && value >= 0 && value < 1000000, `${what} has no layer, or no number of a ${kind}`);
      return value;
    };
    const isOfLayer = kind !== "input" && kind !== "logits";
    const layer = isOfLayer ? index(end.layer) : 0;
    const head = kind === "head" ? index(end.head) : 0;
    const share = isShare({ kind }) ? index(end[kind]) : 0;
    const dictionary = kind === "latent" ? text(end.dictionary) : "";
    const name = {
      input: "input", logits: "logits", mlp: `m${layer}`, head: `a${layer}.h${head}`,
      neuron: `m${layer}.n${share}`, latent: `L${layer}.${dictionary}_latent${share}`,
    }[kind];
    if (!nodes.has(name)) nodes.set(name, { name, kind, layer, head, share, dictionary });
    if (isOfLayer) layers = Math.max(layers, layer + 1);
    if (kind === "head") heads = Math.max(heads, head + 1);
    return nodes.get(name);
  }

  /** Circuits that were run, the smallest first. */
  const circuits = () => [...list(said.curve?.circuits ?? [], "circuits"), ...(said.test === undefined ? [] : [{ ...said.test.circuit, edges: said.test.edges }])];

  /** The edges without which a circuit was run. */
  const tried = (circuit) => list(circuit?.edges ?? [], "edges").filter((own) => Number.isFinite(own?.minimality));

  const range = (of, value) => `${share(value)} (${share(of?.low)} to ${share(of?.high)})`;

  function read(answers) {
    for (const answer of answers) {
      const key = Object.hasOwn(FORMATS, answer?.format) ? FORMATS[answer.format] : null;
      require(key !== null, "the file has an answer of no known format");
      said[key] = answer;
    }
    require(said.scores !== undefined || said.circuit !== undefined, "the file has neither scores nor a circuit");
    const sampled = new Map(list(said.scores?.exact_sample?.edges ?? [], "edges").map((own) => [own.edge, own]));
    const chosen = new Set(list(said.circuit?.edges ?? [], "edges").map((own) => own.edge));
    const needs = new Map();
    for (const circuit of circuits()) {
      for (const own of tried(circuit)) if (!needs.has(own.edge)) needs.set(own.edge, { ...own, of: circuit.edge_count });
    }
    spans = list((said.scores ?? said.circuit).tokens ?? [], "tokens").map((own) => text(own, 30));
    all = list((said.scores ?? said.circuit).edges, "edges").map((own, i) => {
      require(typeof own?.edge === "string", `edge ${i} has no name`);
      const path = own.to?.component === "head" ? own.to.input : null;
      require(path === null || Object.hasOwn(PORT, path), `edge ${i} enters a head through no input`);
      const need = needs.get(own.edge) ?? null;
      const score = finite(own.score);
      const at = own.tokens === undefined ? null : spans.indexOf(own.tokens);
      require(at !== -1 && (at === null) === (spans.length === 0), `edge ${i} is of no tokens that the file names`);
      return {
        at, name: text(own.edge), from: component(own.from, `edge ${i}`), to: component(own.to, `edge ${i}`), path, score,
        error: finite(own.standard_error), magnitude: finite(own.magnitude), need,
        size: said.scores === undefined && need !== null ? -need.minimality : score,
        chosen: chosen.has(own.edge), sample: sampled.get(own.edge) ?? null, parts: [],
      };
    });
    const same = Map.groupBy(all, (edge) => `${edge.from.name} ${edge.path} ${edge.to.name}`);
    for (const parts of same.values()) for (const edge of parts) edge.parts = spans.length === 0 ? [] : parts;
    lookAt();
  }

  /** Takes the edges of the tokens that the reader asks for. */
  function lookAt() {
    const at = byId("tokens").value;
    if (at === "sum") edges = [...new Set(all.map((edge) => edge.parts))].map(addedUp);
    else edges = at === "" || at === "each" ? [...all] : all.filter((edge) => edge.at === Number(at));
    edges.sort((a, b) => Math.abs(b.size ?? 0) - Math.abs(a.size ?? 0));
  }

  /** One edge for those of one source and reader at all tokens. */
  function addedUp(parts) {
    const sum = (key) => (parts.some((edge) => edge[key] !== null) ? parts.reduce((total, edge) => total + (edge[key] ?? 0), 0) : null);
    const first = parts[0];
    const end = `@${spans[first.at]}`;
    return {
      ...first, at: null, name: first.name.endsWith(end) ? first.name.slice(0, -end.length) : first.name,
      score: sum("score"), size: sum("size"), error: null, magnitude: null, need: null, sample: null, chosen: parts.some((edge) => edge.chosen),
    };
  }

  // Where everything is

  function place() {
    const scroller = byId("scroller");
    const graph = byId("graph");
    const each = Math.max(72, (scroller.offsetHeight - 52) / (layers + 0.9));
    const height = Math.ceil(each * (layers + 0.9) + 50);
    graph.setAttribute("width", 0);
    graph.setAttribute("height", height);
    const shares = Map.groupBy([...nodes.values()].filter(isShare), (node) => node.layer);
    for (const own of shares.values()) own.sort((a, b) => a.dictionary.localeCompare(b.dictionary) || a.share - b.share);
    const beside = SHARE * Math.max(0, ...[...shares.values()].map((own) => own.length));
    const width = Math.max(scroller.clientWidth, MARGIN.left + (heads + 1) * (BOX.width + 8) + 80 + beside + MARGIN.right);
    const right = width - MARGIN.right - 34 - beside;
    const step = (right - MARGIN.left) / Math.max(1, heads + 0.6);
    graph.setAttribute("width", width);
    const bottom = height - 22;
    const rowOf = (layer) => bottom - each * (layer + 0.8);
    for (const node of nodes.values()) {
      if (node.kind === "head") Object.assign(node, { x: MARGIN.left + step * (node.head + 0.6), y: rowOf(node.layer) });
      else if (node.kind === "mlp") Object.assign(node, { x: right + 14, y: rowOf(node.layer) - 0.45 * each });
      else if (isShare(node)) Object.assign(node, { x: right + 14 + SHARE * (1 + shares.get(node.layer).indexOf(node)), y: rowOf(node.layer) - 0.45 * each });
      else Object.assign(node, { x: (MARGIN.left + right) / 2, y: node.kind === "input" ? bottom : 24 });
    }
    const rows = [];
    for (let layer = 0; layer < layers; layer++) {
      const top = rowOf(layer) - 0.45 * each - 18;
      if (layer % 2 === 0) rows.push(svg("rect", { x: 0, y: top, width, height: each }));
      rows.push(svg("text", { x: 14, y: rowOf(layer) + 4 }));
      rows.at(-1).append(`L${layer}`);
    }
    byId("rows").replaceChildren(...rows);
  }

  /** From the top of a component to the bottom of another; past what would lie between, in a bow. */
  function curve(edge) {
    const aside = edge.at === null || spans.length < 2 ? 0 : 7 * (edge.at / (spans.length - 1) - 0.5); // so that those of other tokens are seen
    const x1 = edge.from.x + aside;
    const y1 = edge.from.y - BOX.height / 2;
    const x2 = edge.to.x + (edge.path === null ? 0 : PORT[edge.path]) + aside;
    const y2 = edge.to.y + BOX.height / 2;
    const turn = Math.max(14, 0.45 * (y1 - y2));
    const between = Math.abs(x1 - x2) < BOX.width && edge.from.kind === edge.to.kind ? edge.to.layer - edge.from.layer - 1 : 0;
    const bow = between > 0 ? 26 + 9 * Math.min(between, 3) : 0;
    return `M${x1} ${y1}C${x1 + bow} ${y1 - turn} ${x2 + bow} ${y2 + turn} ${x2} ${y2}`;
  }

  // What is drawn

  const among = () => (said.circuit !== undefined && byId("only").checked ? edges.filter((edge) => edge.chosen) : edges);

  /** The slider counts by ratios: few edges have as much room as many. */
  const countAt = (value, most) => (most === 0 ? 0 : Math.round(most ** (value / 1000)));
  const valueAt = (count, most) => (most <= 1 ? 1000 : Math.round(1000 * Math.log(Math.max(1, count)) / Math.log(most)));

  function choose() {
    const all = among();
    const most = Math.min(MOST, all.length);
    drawn = all.slice(0, countAt(Number(byId("count").value), most));
    byId("shown").textContent = `${grouped(drawn.length)} of ${plural(all.length, "edge", "edges")}`;
    byId("count").setAttribute("aria-valuetext", byId("shown").textContent);
  }

  function show(count) {
    byId("count").value = valueAt(count, Math.min(MOST, among().length));
    choose();
    draw();
  }

  /** As many edges as a circuit has, at whatever tokens. */
  function showCircuit(count) {
    if (spans.length > 0) byId("tokens").value = "each";
    lookAt();
    show(count);
  }

  /** Name and numbers of an edge, for those who do not see them. */
  function spoken(edge) {
    return `${edge.name}: ${facts(edge).map(([what, value]) => `${what} ${value}`).join(", ")}`;
  }

  function facts(edge) {
    const rows = [];
    if (edge.at === null && spans.length > 0) {
      rows.push(["mean scores of all tokens, added up", number(edge.size)]);
    } else if (said.scores !== undefined) {
      rows.push(["mean score", number(edge.score)], ["standard error", number(edge.error)], ["mean magnitude", number(edge.magnitude)]);
    }
    const pairs = (said.scores ?? said.test)?.pairs;
    if (Number.isFinite(pairs)) rows.push(["pairs", grouped(pairs)]);
    if (edge.sample !== null) {
      rows.push([`really, over ${plural(said.scores.exact_sample.pairs ?? 0, "pair", "pairs")}`, number(edge.sample.exact)]);
    }
    if (edge.need !== null) rows.push([`minimality among ${plural(edge.need.of ?? 0, "edge", "edges")}`, range(edge.need, edge.need.minimality)]);
    return rows;
  }

  /** Whether shares of an MLP are components of their own. */
  const isSplit = (mlp) => [...nodes.values()].some((node) => isShare(node) && node.layer === mlp.layer);

  function inWords(node) {
    return {
      input: "the input", logits: "the logits", mlp: `${isSplit(node) ? "the rest of the" : "the"} MLP of layer ${node.layer}`,
      neuron: `neuron ${node.share} of layer ${node.layer}`, head: `head ${node.head} of layer ${node.layer}`,
      latent: `latent ${node.share} of the ${node.dictionary.replaceAll("_", " ")} dictionary of layer ${node.layer}`,
    }[node.kind];
  }

  function draw() {
    const largest = Math.abs(edges[0]?.size ?? 0);
    const focusedEdge = document.activeElement?.classList.contains("reach") ? document.activeElement.dataset.name : null;
    const made = [];
    const tabbed = drawn.find((edge) => edge === held) ?? drawn[0];
    for (const edge of drawn.toReversed()) {
      const d = curve(edge);
      const width = largest === 0 || edge.size === null ? 2 : 1 + (WIDEST - 1) * Math.abs(edge.size) / largest;
      edge.reach = svg("path", {
        d, class: "reach", role: "button", tabindex: edge === tabbed ? 0 : -1, "aria-label": spoken(edge), "aria-pressed": edge === held, "data-name": edge.name,
      });
      edge.line = svg("path", { d, class: `edge ${sign(edge)}`, "stroke-width": width.toFixed(2) });
      listen(edge.reach, edge);
      made.push(edge.reach, edge.line);
    }
    byId("edges").replaceChildren(...made);
    if (focusedEdge !== null) drawn.find((edge) => edge.name === focusedEdge)?.reach.focus();
    const busy = new Set(drawn.flatMap((edge) => [edge.from, edge.to]));
    for (const node of nodes.values()) node.mark.classList.toggle("idle", !busy.has(node));
    mark();
    drawLegend(largest);
    drawList();
    drawNow();
  }

  function drawNodes() {
    const marks = [...nodes.values()].map((node) => {
      const width = node.kind === "head" ? BOX.width : BOX.width + 18;
      const label = svg("text", { x: node.x, y: node.y });
      label.append({ input: "input", logits: "logits", mlp: `MLP ${node.layer}`, neuron: `n${node.share}`, latent: `#${node.share}`, head: `h${node.head}` }[node.kind]);
      node.mark = svg("g", { class: `node ${node.kind}`, role: "button", tabindex: node.kind === "logits" ? 0 : -1, "aria-label": inWords(node), "data-name": node.name },
        svg("rect", { x: node.x - width / 2, y: node.y - BOX.height / 2, width, height: BOX.height, rx: 4 }), label);
      listen(node.mark, node);
      return node.mark;
    });
    byId("nodes").replaceChildren(...marks);
  }

  /** Whether an edge is, or belongs to, what is looked at. */
  const isOf = (edge, own) => edge === own || edge.from === own || edge.to === own;

  function mark() {
    const own = looked ?? held;
    byId("graph").classList.toggle("held", own !== null);
    for (const edge of drawn) {
      edge.line.classList.toggle("on", own !== null && isOf(edge, own));
      edge.reach.setAttribute("aria-pressed", edge === held);
    }
    for (const node of nodes.values()) {
      node.mark.classList.toggle("on", own === node || own?.from === node || own?.to === node);
      node.mark.setAttribute("aria-pressed", node === held);
    }
    for (const button of document.querySelectorAll("#panel li button")) button.classList.toggle("on", button.dataset.name === own?.name);
    drawAbout(own);
  }

  // What the panel says

  /** Whole where it may grow: what lies below the panel's would move away from the pointer. */
  function describe(own, whole) {
    if (own.from === undefined) {
      const into = drawn.filter((edge) => edge.to === own);
      const outOf = drawn.filter((edge) => edge.from === own);
      const rows = [["edges into it that are drawn", grouped(into.length)], ["edges out of it that are drawn", grouped(outOf.length)]];
      for (const edge of [into[0], outOf[0]]) if (edge?.size != null) rows.push([edge.name, number(edge.size)]);
      return [element("b", {}, inWords(own)), numbers(rows)];
    }
    const parts = [element("b", { className: "code" }, own.name)];
    const where = own.at === null ? "" : `, at token ${spans[own.at]}`;
    parts.push(element("p", { className: "note" }, `what ${inWords(own.to)} hears of ${inWords(own.from)}${own.path === null ? "" : `, ${PATH[own.path]}`}${where}`));
    if (own.score !== null && own.score !== 0 && (own.at !== null || spans.length === 0)) {
      parts.push(element("p", {}, "Without it the metric ", element("span", { className: sign(own) }, own.score < 0 ? "falls" : "rises"),
        ` by ${number(Math.abs(own.score))}${said.scores.method === "exact" ? "" : ", as is estimated"}.`));
    }
    parts.push(numbers(facts(own)));
    if (own.parts.length > 0 && whole) {
      const strongest = own.parts.toSorted((a, b) => Math.abs(b.size ?? 0) - Math.abs(a.size ?? 0)).slice(0, TOKENS);
      parts.push(table(["token", said.scores === undefined ? "without it" : "mean score", "error"],
        strongest.toSorted((a, b) => a.at - b.at).map((edge) => [spans[edge.at], number(edge.size), number(edge.error)])));
    }
    return parts;
  }

  function drawAbout(own) {
    byId("about").replaceChildren(...(own === null ? summary() : describe(own, own === held)));
  }

  function summary() {
    const of = subject();
    const parts = [element("h2", {}, "These edges")];
    if (said.scores !== undefined) {
      const { clean, corrupted, pairs, method, ablation } = said.scores;
      parts.push(element("p", {}, `Scores over ${plural(pairs ?? 0, "pair", "pairs")} of prompts by ${text(method)}: the metric without an edge (${text(ablation)}) less that with it.`));
      parts.push(numbers([[`${metric()}, clean prompts`, number(clean)], ["corrupted prompts", number(corrupted)]]));
    } else {
      parts.push(element("p", {}, `A circuit of ${text(of.model)}.`));
    }
    parts.push(element("p", { className: "note" }, "Point at an edge or a component; click to hold it."));
    return parts;
  }

  function tested() {
    const { test } = said;
    if (test === undefined) return [];
    const row = (what, own) => [what, number(own?.metric), share(own?.faithfulness), `${share(own?.low)} to ${share(own?.high)}`];
    const parts = [element("h3", {}, `The circuit of ${plural(test.circuit?.edge_count ?? 0, "edge", "edges")}`),
      table(["run", metric(), "share", "95 %"], [
        ["model", number(test.full), "1", ""], row("circuit (faithful)", test.circuit), row("the rest (complete)", test.complement),
        ["no edges", number(test.empty), "0", ""],
      ])];
    if (test.truth !== undefined && test.truth !== null) {
      const { edgeCount, precision, recall, aurocByScore, aurocByMagnitude } = test.truth;
      const rows = [["precision", share(precision)], ["recall", share(recall)]];
      if (Number.isFinite(aurocByScore)) rows.push(["AUROC by mean score", share(aurocByScore)], ["AUROC by mean magnitude", share(aurocByMagnitude)]);
      parts.push(element("h3", {}, `Beside the ${plural(edgeCount ?? 0, "edge", "edges")} known to matter`), numbers(rows));
    }
    return parts;
  }

  /** Edges that a circuit needs: of the smallest one that keeps enough. */
  function needed() {
    const circuit = circuits().find((own) => tried(own).length > 0 && (own.faithfulness >= KEPT || said.curve === undefined));
    if (circuit === undefined) return [];
    const edges = tried(circuit);
    return [element("h3", {}, "Minimality"),
      element("p", {}, `How much less of the metric the circuit of ${plural(circuit.edge_count ?? 0, "edge", "edges")} keeps without one of them. It can spare ${spared(edges)}.`),
      table(["edge", "less", "95 %"], edges.toSorted((a, b) => Math.abs(b.minimality) - Math.abs(a.minimality)).slice(0, NEEDED)
        .map((own) => [text(own.edge), share(own.minimality), `${share(own.low)} to ${share(own.high)}`]))];
  }

  function drawPanel() {
    byId("panel").replaceChildren(element("div", { id: "about" }), ...tested(), ...needed(), ...trust(said.scores, "edge"),
      element("h3", { id: "strongest" }), element("ol", { id: "list" }), ...leftOut(said.scores));
  }

  function drawList() {
    const node = held !== null && held.from === undefined ? held : null;
    const own = node === null ? drawn : drawn.filter((edge) => isOf(edge, node));
    const largest = Math.abs(own[0]?.size ?? 0);
    byId("strongest").textContent = node === null ? "Strongest edges" : `Edges of ${node.name}`;
    byId("list").replaceChildren(...own.slice(0, LISTED).map((edge) => {
      const bar = element("i");
      bar.style.width = `${largest === 0 ? 100 : 100 * Math.abs(edge.size ?? 0) / largest}%`;
      const button = element("button", { type: "button", "data-name": edge.name, "aria-label": spoken(edge) }, element("span", { className: "what" }, edge.name),
        element("span", { className: `track ${sign(edge)}` }, bar), element("span", { className: "size" }, number(edge.size)));
      listen(button, edge);
      return element("li", {}, button);
    }));
  }

  function drawLegend(largest) {
    const line = (className, width) => {
      const drawing = svg("svg", { width: 26, height: 12, "aria-hidden": "true" });
      drawing.append(svg("path", { class: `key ${className}`, d: "M2 6H24", "stroke-width": width }));
      return drawing;
    };
    const parts = largest === 0 ? [] : [
      element("span", {}, line("plus", 3), "the metric falls without it"), element("span", {}, line("minus", 3), "it rises without it"),
      ...[1, 0.5, 0.1].map((part) => element("span", {}, line("", 1 + (WIDEST - 1) * part), number(Number((part * largest).toPrecision(2)))))];
    parts.push(element("span", {}, "a head hears through its query (left), key, value (right)"));
    byId("legend").replaceChildren(...parts);
  }

  // The curve

  const FRAME = { left: 40, right: 24, top: 8, bottom: 34, height: 206 };
  let across = null; // from a number of edges to where it is

  function drawCurve() {
    if (said.curve === undefined) return;
    byId("evaluated").hidden = false;
    const circuits = list(said.curve.circuits, "circuits").filter((own) => Number.isFinite(own?.chosen_edges) && Number.isFinite(own.faithfulness));
    const width = Math.max(260, Number.parseFloat(getComputedStyle(byId("evaluated")).gridTemplateColumns)); // the first column
    const values = circuits.flatMap((own) => [own, own.complement]).flatMap((own) => [own?.faithfulness, own?.low, own?.high]).filter(Number.isFinite);
    const low = Math.max(-1, Math.min(0, ...values));
    const high = Math.min(2, Math.max(1, ...values));
    const most = Math.max(2, ...circuits.map((own) => own.chosen_edges));
    across = (count) => FRAME.left + (width - FRAME.left - FRAME.right) * Math.log(Math.max(0.7, count) / 0.7) / Math.log(most / 0.7);
    const up = (value) => FRAME.height - FRAME.bottom - (FRAME.height - FRAME.top - FRAME.bottom) * (Math.min(high, Math.max(low, value)) - low) / (high - low);
    const made = [];
    const write = (x, y, anchor, words) => {
      made.push(svg("text", { x, y, "text-anchor": anchor, "aria-hidden": "true" }));
      made.at(-1).append(words);
    };
    for (let tick = Math.ceil(low * 4) / 4; tick <= high; tick += high - low > 1.5 ? 0.5 : 0.25) {
      made.push(svg("line", { x1: FRAME.left, x2: width - FRAME.right, y1: up(tick), y2: up(tick) }));
      write(FRAME.left - 6, up(tick) + 4, "end", tick.toFixed(2).replace("-", "−"));
    }
    let last = -Infinity;
    for (const own of circuits) {
      const x = across(own.chosen_edges);
      const words = grouped(own.chosen_edges);
      if (x - last < 8 + 7 * words.length) continue;
      write(x, FRAME.height - FRAME.bottom + 15, "middle", words);
      last = x;
    }
    write((FRAME.left + width) / 2, FRAME.height - 4, "middle", "edges chosen");
    made.push(svg("line", { class: "now", id: "now", y1: FRAME.top, y2: FRAME.height - FRAME.bottom }));
    for (const [side, of] of [["minus", (own) => own.complement], ["plus", (own) => own]]) {
      const own = circuits.filter((one) => Number.isFinite(of(one)?.faithfulness));
      const at = (key) => own.map((one) => `${across(one.chosen_edges).toFixed(1)} ${up(of(one)[key] ?? of(one).faithfulness).toFixed(1)}`);
      if (own.length === 0) continue;
      made.push(svg("path", { class: `interval ${side}`, d: `M${at("low").join("L")}L${at("high").reverse().join("L")}Z` }),
        svg("path", { class: `line ${side}`, d: `M${at("faithfulness").join("L")}` }));
    }
    circuits.forEach((own, i) => {
      const x = across(own.chosen_edges);
      const point = svg("g", { class: "point", role: "button", tabindex: i === 0 ? 0 : -1, "aria-label": `${plural(own.chosen_edges, "edge", "edges")}: ${curveFacts(own).map((row) => row.join(" ")).join(", ")}` },
        svg("rect", { class: "area", x: x - 8, y: FRAME.top, width: 16, height: FRAME.height - FRAME.top - FRAME.bottom }),
        svg("circle", { class: "mark plus", cx: x, cy: up(own.faithfulness), r: 3.5 }));
      if (Number.isFinite(own.complement?.faithfulness)) {
        point.append(svg("rect", { class: "mark minus", x: x - 3, y: up(own.complement.faithfulness) - 3, width: 6, height: 6 }));
      }
      const tell = () => tip(point, [element("b", {}, plural(own.chosen_edges, "edge", "edges")), numbers(curveFacts(own))]);
      point.addEventListener("pointerenter", tell);
      point.addEventListener("focus", tell);
      point.addEventListener("pointerleave", hideTip);
      point.addEventListener("blur", hideTip);
      point.addEventListener("click", () => showCircuit(own.chosen_edges));
      point.addEventListener("keydown", (event) => {
        if (event.key === "Enter" || event.key === " ") showCircuit(own.chosen_edges);
        else if (!move(event, [...byId("curve").querySelectorAll(".point")], point)) return;
        event.preventDefault();
      });
      made.push(point);
    });
    byId("curve").setAttribute("width", width);
    byId("curve").setAttribute("height", FRAME.height);
    byId("curve").replaceChildren(...made);
    drawWords(circuits);
    drawNow();
  }

  const spared = (edges) => `${grouped(edges.filter((edge) => Math.abs(edge.minimality) < SPARED).length)} of ${grouped(edges.length)} tried`;

  function curveFacts(own) {
    const rows = [["on a path", grouped(own.edge_count ?? 0)], [metric(), number(own.metric)], ["faithful", range(own, own.faithfulness)],
      ["the rest keeps", range(own.complement, own.complement?.faithfulness)]];
    const edges = tried(own);
    if (edges.length > 0) rows.push(["edges that it can spare", spared(edges)]);
    return rows;
  }

  function drawWords(circuits) {
    const key = (side) => {
      const drawing = svg("svg", { width: 26, height: 10, "aria-hidden": "true" });
      drawing.append(svg("path", { class: `key ${side}`, d: "M1 5H25", "stroke-width": 2, "stroke-dasharray": side === "minus" ? "6 4" : "none" }));
      return drawing;
    };
    const enough = circuits.find((own) => own.faithfulness >= KEPT);
    byId("words").replaceChildren(
      element("p", {}, key("plus"), " of the circuit: 1 if it is faithful"),
      element("p", {}, key("minus"), " of the rest of the model: 0 if the circuit is complete"),
      element("p", {}, enough === undefined ? "None of these circuits keeps 90 % of the metric."
        : `${plural(enough.chosen_edges, "edge", "edges")} are enough here for 90 % of the metric (${grouped(enough.edge_count ?? 0)} on a path).`),
      element("p", {}, element("b", {}, `CPR ${share(said.curve.cpr)}`), ", the area below the solid curve over the share of edges; 1 if small circuits keep all. ",
        element("b", {}, `CMD ${share(said.curve.cmd)}`), ", the area between it and 1; 0 at best."),
      element("p", {}, "Shades: 95 % of resampled data sets."));
  }

  /** Marks how many edges are drawn. */
  function drawNow() {
    if (across === null) return;
    for (const end of ["x1", "x2"]) byId("now").setAttribute(end, across(drawn.length).toFixed(1));
  }

  // What the reader does

  function look(own, at, event) {
    looked = own;
    mark();
    if (own === null || at.closest("#panel")) hideTip();
    else tip(at, describe(own, true), event?.clientX, event?.clientY);
  }

  function hold(own) {
    held = held === own ? null : own;
    mark();
    drawList();
  }

  /** To the nearest component in the direction of an arrow. */
  function step(event, from) {
    const [dx, dy] = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [0, 0];
    let best = null;
    for (const node of nodes.values()) {
      const along = dx * (node.x - from.x) + dy * (node.y - from.y);
      const aside = Math.abs(dy * (node.x - from.x)) + Math.abs(dx * (node.y - from.y));
      if (along > 1 && (best === null || along + 2 * aside < best.far)) best = { node, far: along + 2 * aside };
    }
    if (best === null) return;
    from.mark.setAttribute("tabindex", -1);
    best.node.mark.setAttribute("tabindex", 0);
    best.node.mark.focus();
    event.preventDefault();
  }

  function listen(made, own) {
    made.addEventListener("pointermove", (event) => look(own, made, event));
    made.addEventListener("pointerleave", () => look(null, made));
    made.addEventListener("focus", () => look(own, made));
    made.addEventListener("blur", () => look(null, made));
    made.addEventListener("click", () => hold(own));
    made.addEventListener("keydown", (event) => {
      if (made.tagName !== "BUTTON" && (event.key === "Enter" || event.key === " ")) {
        hold(own);
        event.preventDefault();
      } else if (made.classList.contains("reach")) {
        if (move(event, drawn.map((edge) => edge.reach), made)) event.preventDefault();
      } else if (made.classList.contains("node")) {
        step(event, own);
      }
    });
  }

  byId("count").addEventListener("input", () => {
    choose();
    if (toDraw === null) {
      toDraw = requestAnimationFrame(() => {
        toDraw = null;
        draw();
      });
    }
  });
  byId("count").addEventListener("change", () => {
    byId("said").textContent = `${byId("shown").textContent} are drawn`;
  });
  byId("tokens").addEventListener("change", () => {
    held = null;
    lookAt();
    show(said.circuit !== undefined && byId("only").checked ? MOST : FEW);
  });
  byId("only").addEventListener("change", () => show(byId("only").checked ? MOST : FEW));
  byId("help").addEventListener("click", () => byId("manual").showModal());
  document.addEventListener("keydown", (event) => {
    if (byId("manual").open || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "?") byId("manual").showModal();
    if (event.key === "Escape" && held !== null) hold(held);
  });
  byId("scroller").addEventListener("click", (event) => {
    if (held !== null && !event.target.closest(".node, .reach")) hold(held);
  });

  function arrange() {
    place();
    drawNodes();
    draw();
    drawCurve();
  }

  Scores.open((answers) => {
    read(answers);
    const of = subject();
    byId("subject").textContent = `${text(of.model)}, ${metric() === "" ? "" : `${metric()}, `}${plural((said.scores ?? said.test)?.pairs ?? 0, "pair", "pairs")}`;
    byId("at").hidden = spans.length === 0;
    for (const [value, words] of [["each", "each token"], ["sum", "all, added up"], ...spans.map((own, i) => [String(i), `token ${own}`])]) {
      byId("tokens").append(element("option", { value }, words));
    }
    byId("within").hidden = said.circuit === undefined || said.scores === undefined;
    drawPanel();
    byId("count").value = valueAt(said.circuit === undefined ? FEW : MOST, Math.min(MOST, among().length));
    choose();
    arrange();
    new ResizeObserver(arrange).observe(byId("scroller"));
  });
})();
