"use strict";

/** Draws what a data set says of nodes. Names come from files and are untrusted: they enter the page as text. */
(() => {
  const { element } = Page;
  const { byId, require, finite, grouped, plural, number, text, svg, list, numbers, trust, leftOut, tip, hideTip, move } = Scores;
  const FEW = 40; // unless the reader asks for others
  const ROW = 22;
  const FRAME = { right: 28, top: 30, bottom: 10 };
  const CHARACTER = 7.3; // how wide one of a name is
  const KINDS = { query: "the query of", key: "the key of", value: "the value of" };

  let scores = {};
  let nodes = []; // the largest first
  let drawn = [];

  const metric = () => text(scores.metric, 60).replaceAll("_", " ");
  const sign = (node) => (node.score === null || node.score === 0 ? "" : node.score < 0 ? "plus" : "minus");

  function read(answers) {
    [scores] = answers;
    require(scores?.format === "tributary node scores", "the file has no scores of nodes");
    const sampled = new Map(list(scores.exact_sample?.nodes ?? [], "nodes").map((own) => [own.node, finite(own.exact)]));
    nodes = list(scores.nodes, "nodes").map((own, i) => {
      require(typeof own?.node === "string", `node ${i} has no name`);
      return {
        name: text(own.node), kind: own.component === "head" ? own.input ?? "head" : own.component, layer: own.layer,
        token: own.tokens === undefined ? "" : text(own.tokens),
        index: own.head ?? own.neuron ?? own.latent, dictionary: own.dictionary === undefined ? "" : text(own.dictionary).replaceAll("_", " "),
        score: finite(own.score), error: finite(own.standard_error), magnitude: finite(own.magnitude), exact: sampled.get(own.node) ?? null,
      };
    });
    nodes.sort((a, b) => Math.abs(b.magnitude ?? 0) - Math.abs(a.magnitude ?? 0));
  }

  const among = () => nodes.filter((node) => ["kind", "token"].every((name) => byId(name).value === "" || node[name] === byId(name).value));

  const inWords = (node) => nodeInWords(node) + (node.token === "" ? "" : ` at token ${node.token}`);

  function nodeInWords({ kind, layer, index, dictionary }) {
    switch (kind) {
      case "mlp": return `what the MLP of layer ${layer} writes`;
      case "neuron": return `neuron ${index} of layer ${layer}`;
      case "latent": return `latent ${index} of the ${dictionary} dictionary of layer ${layer}`;
      case "error": return `what latents of the ${dictionary} dictionary of layer ${layer} do not account for`;
      default: return `${KINDS[kind] ?? "what is written by"} head ${index} of layer ${layer}`;
    }
  }

  function facts(node) {
    const rows = [["mean score", number(node.score)], ["standard error", number(node.error)], ["mean magnitude", number(node.magnitude)], ["pairs", grouped(scores.pairs ?? 0)]];
    if (node.exact !== null) rows.push([`really, over ${plural(scores.exact_sample.pairs ?? 0, "pair", "pairs")}`, number(node.exact)]);
    return rows;
  }

  function describe(node) {
    return [element("b", { className: "code" }, node.name), element("p", { className: "note" }, inWords(node)), numbers(facts(node))];
  }

  /** Round numbers that span a range, five or so. */
  function ticks(low, high) {
    const rough = (high - low) / 5;
    const unit = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((own) => own * unit).find((own) => own >= rough);
    const all = [];
    for (let i = Math.ceil(low / step); i * step <= high; i++) all.push(i * step);
    return all;
  }

  function draw() {
    const all = among();
    drawn = all.slice(0, Number(byId("count").value));
    byId("shown").textContent = `${grouped(drawn.length)} of ${plural(all.length, "node", "nodes")}`;
    const width = Math.max(320, byId("scroller").clientWidth);
    const left = Math.min(width / 2, 20 + CHARACTER * Math.max(10, ...drawn.map(({ name }) => name.length)));
    const height = FRAME.top + ROW * drawn.length + FRAME.bottom;
    const ends = drawn.flatMap(({ score, error, exact }) => [score - (error ?? 0), score + (error ?? 0), exact ?? 0]);
    const low = Math.min(0, ...ends);
    const high = Math.max(0, ...ends);
    const span = high - low || 1;
    const across = (value) => left + (width - left - FRAME.right) * (value - low) / span;
    const made = [];
    for (const tick of ticks(low, low + span)) {
      made.push(svg("line", { class: Math.abs(tick) < span / 1e6 ? "zero" : "axis", x1: across(tick), x2: across(tick), y1: FRAME.top - 6, y2: height - FRAME.bottom }),
        svg("text", { x: across(tick), y: FRAME.top - 12, "text-anchor": "middle", "aria-hidden": "true" }, number(Number(tick.toPrecision(6)))));
    }
    drawn.forEach((node, i) => {
      const y = FRAME.top + ROW * (i + 0.5);
      const row = svg("g", { class: "node", role: "img", tabindex: i === 0 ? 0 : -1, "data-name": node.name, "aria-label": `${node.name}, ${inWords(node)}: ${facts(node).map((own) => own.join(" ")).join(", ")}` },
        svg("rect", { class: "band", x: 0, y: y - ROW / 2, width, height: ROW }),
        svg("text", { class: "name", x: left - 12, y: y + 4, "text-anchor": "end" }, node.name));
      if (node.score !== null) {
        if (node.error !== null) row.append(svg("line", { class: `error ${sign(node)}`, x1: across(node.score - node.error), x2: across(node.score + node.error), y1: y, y2: y }));
        row.append(svg("circle", { class: `dot ${sign(node)}`, cx: across(node.score), cy: y, r: 4 }));
      }
      if (node.exact !== null) row.append(svg("path", { class: "really", d: `M${across(node.exact)} ${y - 5}l5 5l-5 5l-5 -5Z` }));
      row.addEventListener("pointermove", (event) => tip(row, describe(node), event.clientX, event.clientY));
      row.addEventListener("pointerleave", hideTip);
      row.addEventListener("focus", () => tip(row, describe(node)));
      row.addEventListener("blur", hideTip);
      row.addEventListener("keydown", (event) => {
        if (move(event, [...byId("chart").querySelectorAll(".node")], row)) event.preventDefault();
      });
      made.push(row);
    });
    byId("chart").setAttribute("width", width);
    byId("chart").setAttribute("height", height);
    byId("chart").replaceChildren(...made);
  }

  /** Only kinds and tokens that are there can be asked for. */
  function offer() {
    const tokens = [...new Set(nodes.map(({ token }) => token))].filter((token) => token !== "")
      .sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
    byId("token-label").hidden = tokens.length === 0;
    byId("token").replaceChildren(element("option", { value: "" }, "all"), ...tokens.map((token) => element("option", { value: token }, token)));
    for (const option of byId("kind").options) option.hidden = option.value !== "" && !nodes.some((node) => node.kind === option.value);
  }

  function choose() {
    const { length } = among();
    byId("count").min = Math.min(1, length);
    byId("count").max = length;
    byId("count").value = Math.min(FEW, length);
    draw();
  }

  function drawPanel() {
    byId("panel").replaceChildren(element("div", { id: "about" }, element("h2", {}, "These nodes"),
      element("p", {}, `Scores over ${plural(scores.pairs ?? 0, "pair", "pairs")} of prompts by ${text(scores.method)}: the metric with a node as in the corrupted prompt less that without, ${nodes.some((node) => node.token !== "") ? "token by token" : "added up over tokens"}.`),
      numbers([[`${metric()}, clean prompts`, number(scores.clean)], ["corrupted prompts", number(scores.corrupted)]]),
      ...(scores.latents_that_score_zero ? [element("p", { className: "note" }, `Not listed: ${plural(scores.latents_that_score_zero, "latent that scores", "latents that score")} 0 in every pair.`)] : []),
      element("p", { className: "note" }, "Point at a node for its numbers.")), ...trust(scores, "node"), ...leftOut(scores));
  }

  function drawLegend() {
    const mark = (...shapes) => svg("svg", { width: 26, height: 12, "aria-hidden": "true" }, ...shapes);
    const dot = (side) => mark(svg("line", { class: `error ${side}`, x1: 2, x2: 24, y1: 6, y2: 6 }), svg("circle", { class: `dot ${side}`, cx: 13, cy: 6, r: 4 }));
    const parts = [];
    if (nodes.some((node) => node.score < 0)) parts.push(element("span", {}, dot("plus"), "the metric falls with it as in the corrupted prompt"));
    parts.push(element("span", {}, dot("minus"), "it rises, or a magnitude"));
    if (nodes.some((node) => node.exact !== null)) parts.push(element("span", {}, mark(svg("path", { class: "really", d: "M13 1l5 5l-5 5l-5 -5Z" })), "what really happens"));
    parts.push(element("span", {}, "lines: one standard error to each side"));
    byId("legend").replaceChildren(...parts);
  }

  for (const id of ["kind", "token"]) byId(id).addEventListener("change", choose);
  byId("count").addEventListener("input", draw);
  byId("help").addEventListener("click", () => byId("manual").showModal());
  document.addEventListener("keydown", (event) => {
    if (event.key === "?" && !byId("manual").open && !event.ctrlKey && !event.metaKey && !event.altKey) byId("manual").showModal();
  });

  Scores.open((answers) => {
    read(answers);
    byId("subject").textContent = `${text(scores.model)}, ${metric()}, ${plural(scores.pairs ?? 0, "pair", "pairs")}`;
    drawPanel();
    drawLegend();
    offer();
    choose();
    new ResizeObserver(draw).observe(byId("scroller"));
  });
})();
