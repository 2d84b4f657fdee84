"use strict";

/** The graph that grows while the reader explores: nodes that were put there, and the edges among them. */
const Graph = (() => {
  const { element } = Page;
  const { curve, kindClass, kindOf, number, plural, sign, visible } = Parts;
  const byId = (id) => document.getElementById(id);
  const LEFT = 76; // for the names of layers
  const FOOT = 44; // for the tokens
  const LONGEST = 96; // token, where they stand upright
  const LOWEST = 200;
  const STRONGEST = 10;

  let circuit = null;
  let source = null; // as the server wrote it

  function toggle(name) {
    const { graph } = View.now;
    View.change({ graph: graph.includes(name) ? graph.filter((one) => one !== name) : [...graph, name] });
  }

  function add(names) {
    View.change({ graph: [...new Set([...View.now.graph, ...names])] });
  }

  function show(found) {
    source = found?.circuit ?? null;
    circuit = source === null ? null : dense(Circuit.parse(JSON.stringify(source)));
    const none = View.now.graph.length === 0;
    byId("graph-hint").hidden = !none;
    byId("graph-clear").disabled = none;
    byId("graph").classList.toggle("empty", none);
    byId("scroller").hidden = circuit === null;
    byId("graph-count").textContent = circuit === null ? ""
      : `${plural(circuit.nodes.length, "node", "nodes")}, ${plural(circuit.edges.length, "edge", "edges")}`;
    draw();
  }

  /** Without the rows in which nothing is: deep models have many. */
  function dense(whole) {
    const rows = [...new Set(whole.nodes.map(({ row }) => row))].sort((a, b) => a - b);
    for (const node of whole.nodes) node.row = rows.indexOf(node.row);
    return { ...whole, rows: rows.length };
  }

  function draw() {
    const svg = d3.select("#plot");
    if (circuit === null) {
      svg.selectAll("*").remove();
      return;
    }
    const had = document.activeElement?.closest("#plot .node")?.dataset.name;
    const scroller = byId("scroller");
    const pen = document.createElement("canvas").getContext("2d");
    pen.font = `13px ${getComputedStyle(document.body).fontFamily}`;
    const texts = circuit.tokens.map(({ text }) => visible(text, 16));
    const widths = texts.map((text) => pen.measureText(text).width + 12);
    const room = (foot) => ({ width: scroller.clientWidth - LEFT - 2, height: Math.max(LOWEST, scroller.clientHeight - foot - 4) });
    let place = Circuit.layout(circuit, widths, room(FOOT));
    const upright = !place.horizontal;
    const foot = upright ? Math.min(LONGEST, Math.max(...widths)) + 24 : FOOT;
    if (upright) place = Circuit.layout(circuit, widths, room(foot));
    svg.attr("width", LEFT + place.width).attr("height", place.height + foot);
    svg.selectAll("*").remove();
    drawGround(svg, place, texts, upright ? foot : null);
    const plot = svg.append("g").attr("transform", `translate(${LEFT} 0)`);
    drawEdges(plot);
    drawNodes(plot, place);
    if (had !== undefined) nodeElement(had)?.focus();
    mark();
  }

  /** Layers, and the stream of each token, whose names stand upright in so much room, or lie. */
  function drawGround(svg, place, texts, upright) {
    const top = (row) => place.rows[row].y - place.rows[row].height / 2;
    for (const [layer, [first, last]] of Circuit.layerRows(circuit)) {
      const height = top(first) + place.rows[first].height - top(last);
      if (layer % 2 === 0) svg.append("rect").attr("class", "band").attr("y", top(last)).attr("width", LEFT + place.width).attr("height", height);
      svg.append("text").attr("class", "layer").attr("x", 10).attr("y", top(last) + height / 2 + 4).text(`L${layer}`);
    }
    place.rows.forEach(({ y, empty }, row) => {
      if (!empty) svg.append("text").attr("class", "row").attr("x", LEFT - 8).attr("y", y + 4).attr("text-anchor", "end").text(Circuit.rowWord(circuit, row));
    });
    place.columns.forEach(({ x }, t) => {
      svg.append("path").attr("class", "stream").attr("d", `M${LEFT + x} 0V${place.height}`);
      const at = upright !== null ? `translate(${LEFT + x + 4} ${place.height + 6}) rotate(-90)` : `translate(${LEFT + x} ${place.height + 18})`;
      svg.append("text").attr("class", "token-name").attr("transform", at).attr("text-anchor", upright !== null ? "end" : "middle").text(texts[t]);
      svg.append("text").attr("class", "row").attr("x", LEFT + x).attr("y", place.height + (upright ?? 42) - 8).attr("text-anchor", "middle").text(t);
    });
  }

  function drawEdges(plot) {
    const strength = (edge) => Math.sqrt(edge.size / (circuit.heaviest || 1));
    plot.append("g").attr("aria-hidden", "true").selectAll("path").data([...circuit.edges].reverse()).join("path")
      .attr("class", (edge) => `edge ${sign(edge.weight)}`).attr("d", (edge) => curve(edge, circuit.tokens.length))
      .attr("stroke-width", (edge) => Math.max(0.8, 6 * strength(edge)))
      .attr("stroke-opacity", (edge) => 0.25 + 0.6 * strength(edge));
  }

  function drawNodes(plot, place) {
    const order = Circuit.readingOrder(circuit);
    const nodes = plot.append("g").selectAll("g").data(order).join("g")
      .attr("class", (node) => `node ${kindClass(node.kind)}`).classed("hollow", (node) => kindOf(node.kind).hollow === true)
      .attr("tabindex", 0).attr("role", "button").attr("data-name", (node) => node.name)
      .attr("aria-label", (node) => `${node.name}: ${kindOf(node.kind).word}, token ${visible(circuit.tokens[node.token].text)}; `
        + `${plural(node.into.length, "edge", "edges")} in, ${node.outOf.length} out`)
      .attr("transform", (node) => `translate(${node.x} ${node.y})`)
      .on("click", (_, node) => open(node)).on("keydown", keyOnNode);
    nodes.append("circle").attr("class", "reach").attr("r", 10);
    nodes.append("path").attr("class", "mark").attr("d", (node) => d3.symbol(kindOf(node.kind).symbol, kindOf(node.kind).area ?? 130)());
    nodes.append("title").text((node) => (node.output === undefined ? `${node.name}, attribution ${number(node.attribution)}` : node.output.text));
    const placed = Parts.labels(circuit, place, Parts.marks(circuit), order, order.length);
    plot.append("g").attr("aria-hidden", "true").selectAll("text").data(placed).join("text").attr("class", "label")
      .attr("x", (d) => d.x).attr("y", (d) => d.y).attr("text-anchor", (d) => d.anchor).text((d) => d.text);
  }

  const nodeElement = (name) => byId("plot").querySelector(`.node[data-name="${CSS.escape(name)}"]`);

  function open(node) {
    if (node.output === undefined) View.change({ node: node.name });
  }

  function keyOnNode(event, node) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Enter" || event.key === " ") open(node);
    else if (event.key === "Delete" && node.output === undefined) toggle(node.name);
    else if (event.key.startsWith("Arrow")) nodeElement(Circuit.neighbour(circuit, node, event.key)?.name ?? node.name).focus();
    else return;
    event.preventDefault();
  }

  /** Which node is open. */
  function mark() {
    for (const node of byId("plot").querySelectorAll(".node")) node.classList.toggle("on", node.dataset.name === View.now.node);
  }

  function wire() {
    byId("graph-strongest").addEventListener("click", () => add(Nodes.seen().slice(0, STRONGEST).map(({ node }) => node.name)));
    byId("graph-clear").addEventListener("click", () => View.change({ graph: [] }));
    new ResizeObserver(draw).observe(byId("scroller"));
  }

  return { wire, show, draw, mark, toggle, add, get json() { return source; } };
})();
