"use strict";

/**
 * Draws a circuit and answers the reader. Prompts, token texts and names are untrusted: they enter
 * the page as text nodes and attributes, never as markup.
 */
(() => {
  const byId = (id) => document.getElementById(id);
  const root = document.documentElement;
  const TITLED = 2; // outputs named above the graph
  const STRONGEST = 8; // edges listed, and always drawn, for one node in each direction
  const COMPLETE = 1e-3; // relative residual above which edges do not add up
  const LABELS = { all: 16, near: 24 };
  const LIT = 200; // edges of one node that are drawn over the others
  const NEAR_EDGE = 5; // pixels from an edge within which it is meant
  const BENDS = 24; // straight pieces of an edge, to measure that
  const NAMED_HEADS = 3; // heads of a layer
  const MOST_PIXELS = 48e6; // of the canvas that the other edges are drawn on
  const LAYERS_WIDTH = 76;
  const TIP_WIDTH = 280;
  const WIDEST_CANVAS = 16000;

  let whole = null; // as it was read
  let circuit = null; // as the reader wants to see it
  let groups = [];
  let elements = new Map(); // of nodes
  let marked = {}; // nodes by class
  let bare = null; // room between nodes
  let view = null; // where the graph is seen
  const hidden = new Set(); // kinds
  const selected = new Set(); // numbers of nodes in the whole
  let place = null; // what the layout says of columns and rows
  let labelWidths = [];
  let drawn = 0; // so many of the strongest edges
  let pinned = null;
  let chosen = null; // an edge
  let hovered = null;
  let toRefresh = null; // requests of animation frames
  let toDraw = null;
  let focused = null; // by the keyboard
  let matches = [];
  let panelTells = [];
  let everything = { into: false, outOf: false }; // whether the panel lists all edges
  const unfolded = new Set(); // details of the panel that the reader has opened

  const { element } = Page;
  const { KINDS, READINGS, COUNT, PERCENT, number, kindOf, kindClass, sign, plural, visible, visibleText, icon, track } = Parts;
  const token = (t, most, className) => Parts.token(circuit.tokens, t, most, className);
  const way = (edge) => Parts.way(edge, circuit.tokens.length);
  const curve = (edge) => Parts.curve(edge, circuit.tokens.length);

  function describe(node) {
    const where = node.output !== undefined ? node.output.text : node.members !== undefined ? plural(node.members.length, "node", "nodes") : [
      node.layer == null ? null : `layer ${node.layer}`,
      `token ${node.token} “${visible(circuit.tokens[node.token].text)}”`,
      node.key == null ? null : `looking at token ${node.key} “${visible(circuit.tokens[node.key].text)}”`,
    ].filter((part) => part !== null).join(", ");
    const readings = Object.entries(READINGS).filter(([key]) => Number.isFinite(node[key]))
      .map(([key, word]) => `${word} ${number(node[key])}`).slice(0, 3).join(", ");
    return `${node.name}: ${kindOf(node.kind).word}, ${where}; ${readings === "" ? "" : readings + "; "}`
      + `${plural(node.into.length, "edge", "edges")} in, ${node.outOf.length} out`;
  }

  function say(sentence) {
    byId("said").textContent = sentence;
  }

  // A new circuit

  function show(next) {
    whole = next;
    groups = next.groups.map(({ name, nodes }) => ({ name, nodes }));
    hidden.clear();
    selected.clear();
    pinned = chosen = hovered = focused = null;
    matches = [];
    byId("search").value = "";
    byId("matches").textContent = "";
    circuit = Circuit.view(whole, groups, hidden);
    drawTitle();
    drawTokens();
    byId("threshold").value = position(Math.min(Math.max(80, 1.5 * circuit.nodes.length), 250));
    measure();
    look();
    byId("scroller").scrollLeft = byId("scroller").scrollWidth;
  }

  /** The whole as the reader wants to see it now; what was pinned stays so, if it is still there. */
  function look() {
    const was = pinned, edge = chosen;
    circuit = Circuit.view(whole, groups, hidden);
    pinned = was === null ? null : circuit.nodes.find((node) => node.index === was.index) ?? null;
    chosen = edge === null ? null : circuit.edges.find((other) => other.path === edge.path
      && other.source.name === edge.source.name && other.target.name === edge.target.name) ?? null;
    hovered = focused = null;
    find();
    drawLegend();
    drawGather();
    byId("threshold").disabled = circuit.edges.length === 0;
    byId("nothing").hidden = circuit.nodes.length > 0;
    byId("nothing").textContent = "Nothing is left to see: all kinds are hidden.";
    chooseEdges();
    arrange();
    refresh();
  }

  function drawTitle() {
    const metric = byId("metric");
    metric.replaceChildren();
    circuit.outputs.slice(0, TITLED).forEach(({ output }, i) => metric.append(i === 0 ? "" : ", ", visibleText(output.text, 120),
      " = ", element("b", {}, number(outputNumber(output)))));
    if (circuit.outputs.length > TITLED) metric.append(` and ${circuit.outputs.length - TITLED} more`);
    if (circuit.model != null) metric.append(` · ${visibleText(circuit.model, 60)}`);
    document.title = `Circuit: ${visibleText(circuit.prompt ?? circuit.outputs[0].output.text, 80)}`;
  }

  /** Of one of several outputs how much it weighs, such as a probability. */
  const outputNumber = (output) => (circuit.outputs.length === 1 ? output.value : output.weight);

  function drawTokens() {
    d3.select("#tokens").selectAll("div").data(circuit.tokens).join("div")
      .each(function (_, t) {
        this.replaceChildren(token(t, 40), element("small", {}, String(t)));
      });
  }

  /** What marks and colours mean; a kind is hidden and shown by its mark. */
  function drawLegend() {
    const there = (kind) => (kind === "group" ? groups.length > 0 : whole.nodes.some((node) => node.kind === kind));
    const others = new Set(whole.nodes.map((node) => node.kind).filter((kind) => !Object.hasOwn(KINDS, kind)));
    const line = (className, words) => {
      const svg = d3.create("svg").attr("viewBox", "-9 -9 18 18").attr("aria-hidden", "true");
      svg.append("path").attr("class", `edge ${className}`).attr("d", "M-9 0H9").attr("stroke-width", 3);
      return element("span", {}, svg.node(), words);
    };
    const kinds = [...Object.keys(KINDS).filter(there), ...others].map((kind) => {
      const word = visibleText(kindOf(kind).word, 30);
      if (kind === "group") return element("span", {}, icon(kind), word);
      const made = element("button", { type: "button", "data-kind": kind, "aria-pressed": String(!hidden.has(kind)),
        title: `${hidden.has(kind) ? "Show" : "Hide"} every ${word}` }, icon(kind), word);
      made.addEventListener("click", () => {
        if (!hidden.delete(kind)) hidden.add(kind);
        look();
        byId("legend").querySelector(`[data-kind="${CSS.escape(kind)}"]`)?.focus();
        say(`${word}: ${hidden.has(kind) ? "hidden" : "shown"}`);
      });
      return made;
    });
    byId("legend").replaceChildren(...kinds,
      line("plus", "raises"), line("minus", "lowers"), element("span", {}, "larger: matters more"));
  }

  // Groups

  /** The nodes of the whole that one stands for. */
  const indices = (node) => (node.members === undefined ? [node.index] : node.members.map(({ index }) => index));

  function select(node) {
    const all = indices(node);
    const there = all.every((index) => selected.has(index));
    for (const index of all) selected[there ? "delete" : "add"](index);
    drawGather();
    highlight();
    say(plural(selected.size, "node is selected", "nodes are selected"));
  }

  function drawGather() {
    byId("gather").hidden = selected.size === 0;
    byId("gathered").textContent = `${selected.size} selected`;
  }

  function gather() {
    const name = byId("group-name").value.trim() || `group ${groups.length + 1}`;
    const nodes = [...selected].sort((a, b) => a - b);
    groups = groups.map((group) => ({ ...group, nodes: group.nodes.filter((index) => !selected.has(index)) }))
      .filter((group) => group.nodes.length > 0);
    groups.push({ name, nodes });
    selected.clear();
    byId("group-name").value = "";
    pinned = null;
    look();
    pin(circuit.nodes.find((node) => node.group === groups.at(-1)) ?? null);
  }

  function scatter(group) {
    groups = groups.filter((other) => other !== group);
    pinned = null;
    look();
    say(`${visibleText(group.name, 60)} is no group any more`);
  }

  function save() {
    const url = URL.createObjectURL(new Blob([Circuit.text(whole, groups)], { type: "application/json" }));
    const link = element("a", { href: url, download: "circuit.json" });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(url), 60000);
    say("the circuit is saved");
  }

  // Places

  function measure() {
    const tokens = byId("tokens");
    tokens.classList.remove("upright");
    const pen = document.createElement("canvas").getContext("2d");
    pen.font = `13px ${getComputedStyle(document.body).fontFamily}`;
    labelWidths = circuit.tokens.map(({ text }) => Math.min(110, pen.measureText(visible(text, 40)).width + 12));
  }

  function arrange(paper) {
    if (circuit === null) return;
    const scroller = byId("scroller");
    const upright = Math.min(96, Math.max(...labelWidths) + 4) + 20;
    const room = (tokensHeight) => ({
      width: (paper?.width ?? scroller.clientWidth) - LAYERS_WIDTH,
      height: (paper?.height ?? scroller.clientHeight) - tokensHeight,
    });
    place = Circuit.layout(circuit, labelWidths, room(46));
    if (!place.horizontal) place = Circuit.layout(circuit, labelWidths, room(upright));
    const tokensHeight = place.horizontal ? 46 : upright;
    root.style.setProperty("--layers", `${LAYERS_WIDTH}px`);
    root.style.setProperty("--tokens", `${tokensHeight}px`);

    d3.select("#plot").style("width", `${place.width}px`).style("height", `${place.height}px`);
    d3.select("#tokens").classed("upright", !place.horizontal).selectAll("div")
      .style("left", (_, t) => `${place.columns[t].x - place.columns[t].width / 2}px`)
      .style("width", (_, t) => `${place.columns[t].width}px`);
    d3.selectAll("#under, #front, #over").attr("width", place.width).attr("height", place.height);
    bare = Parts.marks(circuit);
    view = scroller.getBoundingClientRect(); // so that pointing at a node measures nothing
    drawLayers();
    drawEdges(paper !== undefined);
    drawNodes();
    highlight();
  }

  function drawLayers() {
    const top = (row) => place.rows[row].y - place.rows[row].height / 2;
    const names = [], bands = [];
    place.rows.forEach(({ y, height, empty }, row) => {
      const word = Circuit.rowWord(circuit, row);
      if (!empty && height >= 18) names.push({ y: y - 8, height: 16, word, className: "" });
    });
    for (const [layer, [first, last]] of Circuit.layerRows(circuit)) {
      const height = top(first) + place.rows[first].height - top(last);
      if (layer % 2 === 0) bands.push({ y: top(last), height });
      names.push({ y: top(last), height, word: `L${layer}`, className: "layer" });
    }
    d3.select("#layers").selectAll("div").data(names).join("div")
      .attr("class", (d) => d.className).text((d) => d.word)
      .style("top", (d) => `${d.y}px`).style("height", (d) => `${d.height}px`);
    d3.select("#bands").selectAll(".band").data(bands).join("div").attr("class", "band")
      .style("top", (d) => `${d.y}px`).style("height", (d) => `${d.height}px`);
    d3.select("#bands").selectAll(".stream").data(place.columns).join("div").attr("class", "stream")
      .style("left", (d) => `${d.x}px`);
  }

  // A few edges outweigh the rest by far: by their square roots the others can be told apart too.
  const strength = (edge) => Math.sqrt(edge.size / circuit.heaviest);
  const width = (edge) => Math.max(0.7, 6 * strength(edge));
  const opacity = (edge) => 0.2 + 0.6 * strength(edge);

  function drawEdge(path) {
    return path.attr("class", (edge) => `edge ${sign(edge.weight)}`)
      .attr("d", curve).attr("stroke-width", width);
  }

  /** All that the slider lets through, the strongest on top. Pointing at nodes does not draw them again. */
  function drawEdges(onPaper = false) {
    const canvas = byId("edges");
    const scale = Math.min(devicePixelRatio || 1, WIDEST_CANVAS / Math.max(place.width, place.height),
      Math.sqrt(MOST_PIXELS / (place.width * place.height)));
    const size = [Math.ceil(place.width * scale), Math.ceil(place.height * scale)];
    if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
    canvas.style.width = `${place.width}px`;
    canvas.style.height = `${place.height}px`;
    const pen = canvas.getContext("2d");
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, canvas.width, canvas.height);
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    const style = getComputedStyle(root);
    const colours = { plus: style.getPropertyValue("--plus"), minus: style.getPropertyValue("--minus") };
    for (let i = drawn - 1; i >= 0; i--) {
      const edge = circuit.edges[i];
      const [x, y, ...rest] = way(edge);
      pen.strokeStyle = colours[sign(edge.weight)];
      pen.lineWidth = width(edge);
      pen.globalAlpha = opacity(edge);
      pen.lineCap = onPaper && edge.weight < 0 ? "butt" : "round";
      pen.setLineDash(onPaper && edge.weight < 0 ? [7, 4] : []);
      pen.beginPath();
      pen.moveTo(x, y);
      pen.bezierCurveTo(...rest);
      pen.stroke();
    }
  }

  // Which edges

  const position = (count) => circuit.edges.length < 2 ? 100
    : Math.round(100 * Math.log(Math.min(count, circuit.edges.length)) / Math.log(circuit.edges.length));

  function chooseEdges() {
    const all = circuit.edges.length;
    const value = Number(byId("threshold").value);
    drawn = all === 0 ? 0 : value === 0 ? 0 : value === 100 ? all : Math.round(all ** (value / 100));
    const words = `showing ${COUNT(drawn)} of ${plural(all, "edge", "edges")}`;
    byId("count").textContent = words;
    byId("limit").textContent = drawn > 0 ? `|weight| ≥ ${number(circuit.edges[drawn - 1].size)}` : "none drawn";
    byId("threshold").setAttribute("aria-valuetext", words);
  }

  // Nodes

  function area(node) {
    if (node.output !== undefined && circuit.outputs.length > 1) {
      return 60 + 150 * Math.sqrt(node.output.weight / Math.max(...circuit.outputs.map(({ output }) => output.weight)));
    }
    return kindOf(node.kind).area ?? 60 + 110 * Math.sqrt(Math.min(1, Circuit.importance(node) / circuit.mostImportant));
  }

  function drawNodes() {
    circuit.mostImportant = Math.max(Number.MIN_VALUE, ...circuit.nodes.map((node) =>
      node.output !== undefined ? 0 : Circuit.importance(node)));
    elements = new Map();
    marked = {};
    d3.select("#front").selectAll("g").data(Circuit.readingOrder(circuit), (node) => `${node.index} ${node.name}`)
      .join((enter) => {
        const g = enter.append("g").attr("tabindex", 0).attr("role", "button")
          .on("pointerenter", (_, node) => hover(node))
          .on("pointerleave", () => hover(null))
          .on("focus", (event, node) => focus(event.target.matches(":focus-visible") ? node : null))
          .on("blur", (event) => {
            if (!byId("panel").contains(event.relatedTarget)) focus(null); // the reader goes to what is told of it
          })
          .on("click", (event, node) => (event.shiftKey ? select(node) : pin(node === pinned ? null : node)))
          .on("keydown", keyOnNode);
        g.append("circle").attr("class", "reach").attr("r", 9.5);
        g.append("path").attr("class", "mark");
        return g;
      })
      .attr("class", (node) => `node ${kindClass(node.kind)}`)
      .classed("hollow", (node) => kindOf(node.kind).hollow === true)
      .attr("data-name", (node) => node.name)
      .attr("aria-label", describe)
      .attr("aria-pressed", "false")
      .attr("transform", (node) => `translate(${node.x} ${node.y})`)
      .each(function (node) {
        elements.set(node, this);
      })
      .select(".mark").attr("d", (node) => d3.symbol(kindOf(node.kind).symbol, area(node))());
  }

  const nodeElement = (node) => elements.get(node);

  /** Gives a class to some nodes, and takes it from those that had it. Thousands have none. */
  function mark(className, nodes) {
    const had = marked[className] ?? new Set();
    for (const node of had) if (!nodes.has(node)) elements.get(node)?.classList.remove(className);
    for (const node of nodes) if (!had.has(node)) elements.get(node)?.classList.add(className);
    marked[className] = nodes;
  }

  function keyOnNode(event, node) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Enter" || event.key === " ") {
      pin(node === pinned ? null : node);
    } else if (event.key === "s") {
      select(node);
    } else if (event.key.startsWith("Arrow")) {
      const next = Circuit.neighbour(circuit, node, event.key);
      if (next !== undefined) nodeElement(next).focus();
    } else {
      return;
    }
    event.preventDefault();
  }

  /** Leaving one node and coming to the next is one picture. */
  function hover(node) {
    hovered = node;
    toRefresh ??= requestAnimationFrame(() => {
      toRefresh = null;
      refresh();
    });
  }

  function focus(node) {
    focused = node;
    refresh();
  }

  function pin(node) {
    chosen = null;
    if (pinned !== null) elements.get(pinned)?.setAttribute("aria-pressed", "false");
    if (node !== null) elements.get(node)?.setAttribute("aria-pressed", "true");
    pinned = node;
    say(node === null ? "nothing is pinned" : `pinned ${node.name}`);
    refresh();
  }

  /** Tells of an edge in place of a node. */
  function choose(edge) {
    pin(null);
    chosen = edge;
    say(`edge from ${edge.source.name} to ${edge.target.name}`);
    refresh();
  }

  /** The edge that is drawn at a place, of those of the pinned node if there is one, or undefined. */
  function edgeAt(x, y) {
    const candidates = pinned === null ? circuit.edges.slice(0, drawn) : edgesOf(pinned);
    let best, nearest = NEAR_EDGE;
    for (const edge of candidates) {
      const [x0, y0, x1, y1, x2, y2, x3, y3] = way(edge);
      if (x < Math.min(x0, x1, x2, x3) - nearest || x > Math.max(x0, x1, x2, x3) + nearest
        || y < Math.min(y0, y3) - nearest || y > Math.max(y0, y3) + nearest) continue;
      let [fromX, fromY] = [x0, y0];
      for (let i = 1; i <= BENDS; i++) {
        const t = i / BENDS, s = 1 - t;
        const toX = s * s * s * x0 + 3 * s * s * t * x1 + 3 * s * t * t * x2 + t * t * t * x3;
        const toY = s * s * s * y0 + 3 * s * s * t * y1 + 3 * s * t * t * y2 + t * t * t * y3;
        const [dx, dy] = [toX - fromX, toY - fromY];
        const along = Math.min(1, Math.max(0, ((x - fromX) * dx + (y - fromY) * dy) / (dx * dx + dy * dy || 1)));
        const away = Math.hypot(x - fromX - along * dx, y - fromY - along * dy);
        if (away < nearest) [best, nearest] = [edge, away];
        [fromX, fromY] = [toX, toY];
      }
    }
    return best;
  }

  /** Pins a node and moves the reader there, as from a list. */
  function go(node) {
    pin(node);
    const scroller = byId("scroller");
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    scroller.scrollTo({
      left: node.x - (scroller.clientWidth - LAYERS_WIDTH) / 2,
      top: node.y - (scroller.clientHeight - 46) / 2,
      behavior: calm ? "auto" : "smooth",
    });
  }

  const pointed = () => hovered ?? focused;
  const subject = () => pinned ?? (chosen === null ? pointed() : null);

  function refresh() {
    highlight();
    drawTip();
    // What is told already stays as it is, or a click into it would meet nothing.
    const told = [circuit, subject(), pinned !== null, chosen];
    if (told.some((part, i) => part !== panelTells[i])) {
      panelTells = told;
      everything = { into: false, outOf: false };
      drawPanel();
    }
  }

  /** Edges drawn for one node: its strongest, and of the others those that the slider lets through. */
  function edgesOf(node) {
    const some = (edges) => edges.filter((edge, i) => i < STRONGEST || (edge.rank < drawn && i < LIT / 2));
    return [...some(node.into), ...some(node.outOf)].sort((a, b) => b.rank - a.rank);
  }

  function highlight() {
    const node = subject();
    root.classList.toggle("dim", node !== null || chosen !== null);
    root.classList.toggle("pinned", pinned !== null || chosen !== null);
    root.classList.toggle("searching", matches.length > 0);
    const edges = chosen !== null ? [chosen] : node === null ? [] : edgesOf(node);
    const near = new Set(edges.flatMap((edge) => [edge.source, edge.target]));
    const heaviest = edges.length === 0 ? 0 : edges.at(-1).size;
    drawEdge(d3.select("#under").selectAll("path").data(edges, (edge) => edge.rank).join("path"))
      .classed("chosen", (edge) => edge === chosen)
      .attr("stroke-opacity", (edge) => 0.4 + 0.55 * Math.sqrt(edge.size / heaviest));
    mark("near", near);
    const active = node === null ? [...near] : [node];
    mark("active", new Set(active));
    d3.select("#over").selectAll("circle").data(active).join("circle").attr("class", "ring").attr("r", 9.5)
      .attr("cx", (other) => other.x).attr("cy", (other) => other.y);
    mark("match", new Set(matches));
    mark("selected", new Set(selected.size === 0 ? []
      : circuit.nodes.filter((other) => indices(other).every((index) => selected.has(index)))));
    if (pinned !== null) elements.get(pinned)?.setAttribute("aria-pressed", "true");
    d3.selectAll("#tokens div").classed("on", (_, t) => active.some((other) => t === other.token || t === other.key));
    d3.selectAll("#bands .stream").classed("on", (_, t) => active.some((other) => t === other.token));
    drawLabels(node, near);
  }

  /** Names the nodes that matter most, wherever a name fits without covering anything. */
  function drawLabels(node, near) {
    const found = matches.length > 0 ? matches : circuit.nodes;
    const candidates = (node === null && chosen === null ? found : [...near]).filter(({ kind }) => kindOf(kind).named);
    const nearness = new Map();
    if (node !== null) {
      for (const edge of [...node.into, ...node.outOf]) {
        const other = edge.source === node ? edge.target : edge.source;
        nearness.set(other, Math.max(nearness.get(other) ?? 0, edge.size));
      }
      nearness.set(node, Infinity);
    }
    const rank = (other) => other.output !== undefined && node === null ? Infinity
      : nearness.get(other) ?? Circuit.importance(other);
    const ranked = candidates.sort((a, b) => rank(b) - rank(a));
    const placed = Parts.labels(circuit, place, bare, ranked, node === null ? LABELS.all : LABELS.near);
    d3.select("#over").selectAll("text").data(placed).join("text").attr("class", "label")
      .attr("x", (d) => d.x).attr("y", (d) => d.y).attr("text-anchor", (d) => d.anchor).text((d) => d.text);
  }

  // Beside the pointer

  /** Names the node under the pointer; with its readings, where the panel keeps to the pinned one. */
  function drawTip() {
    const tip = byId("tip");
    const node = pointed();
    tip.hidden = node === null;
    if (node === null) return;
    const other = chosen !== null || (pinned !== null && pinned !== node);
    const between = pinned !== null
      ? [...pinned.into, ...pinned.outOf].filter((edge) => edge.source === node || edge.target === node) : [];
    tip.replaceChildren(
      element("b", {}, ...heading(node)),
      element("span", { className: "code" }, visible(node.name, 80)),
      other ? readings(node, between.map((edge) => [edgeWords(edge), edge.weight])) : "");
    const x = view.left + LAYERS_WIDTH + node.x - byId("scroller").scrollLeft;
    const y = view.top + node.y - byId("scroller").scrollTop;
    const leftward = x + 20 + TIP_WIDTH > view.right;
    tip.style.left = `${leftward ? x - 20 : x + 20}px`;
    tip.style.top = `${Math.max(4, Math.min(y - 14, view.bottom - (other ? 220 : 90)))}px`;
    tip.classList.toggle("leftward", leftward);
  }

  const edgeWords = (edge) =>
    `edge ${edge.target === pinned ? "to" : "from"} the pinned${edge.path == null ? "" : `, ${visibleText(edge.path, 12)}`}`;

  // The panel

  function heading(node) {
    if (node.output !== undefined) return [visibleText(node.output.text, 120)];
    if (node.members !== undefined) return [visibleText(node.name, 60)];
    return [`${visibleText(Circuit.component(circuit, node), 60)} `, token(node.token, 16, "token"),
      ...(node.key == null ? [] : [" ← ", token(node.key, 16, "token")])];
  }

  function readings(node, more = []) {
    const rows = [...Object.entries(READINGS).filter(([key]) => Number.isFinite(node[key]))
      .map(([key, word]) => [word, node[key]]), ...more];
    return element("dl", { className: "numbers" }, ...rows.flatMap(([word, value]) =>
      [element("dt", {}, word), element("dd", {}, number(value))]));
  }

  function drawPanel() {
    const panel = byId("panel");
    const node = subject();
    if (panel.contains(document.activeElement) && node === null) byId("panel").focus();
    panel.replaceChildren(...(chosen !== null ? edgeDetails(chosen) : node === null ? overview() : details(node)));
  }

  function overview() {
    const { scores = {}, prompt } = circuit;
    const read = new Set(circuit.outputs.map((node) => node.token));
    const strongest = [...circuit.nodes].filter((node) => node.output === undefined)
      .sort((a, b) => Circuit.importance(b) - Circuit.importance(a)).slice(0, 10);
    const worst = Math.max(0, ...[...circuit.certificates.values()].flat().map((c) => c.relative_residual ?? 0));
    const facts = [
      ...circuit.outputs.map(({ output }) => [visibleText(output.text, 80), outputNumber(output)]),
      ["replacement score", scores.replacement], ["completeness score", scores.completeness],
    ].filter(([, value]) => Number.isFinite(value));
    return [
      element("h2", {}, "This circuit"),
      prompt == null && circuit.tokens.length === 0 ? null : element("p", { className: "prompt" },
        ...circuit.tokens.flatMap((_, t) => [token(t, 60, read.has(t) ? "on" : ""), " "])),
      element("dl", { className: "numbers" },
        ...facts.flatMap(([word, value]) => [element("dt", {}, word), element("dd", {}, number(value))]),
        element("dt", {}, "nodes"), element("dd", {}, COUNT(circuit.nodes.length)),
        element("dt", {}, "edges"), element("dd", {}, COUNT(circuit.edges.length))),
      element("p", { className: "note" }, [
        circuit.measure == null ? null : `Edge weights: ${visibleText(circuit.measure, 20)}`,
        circuit.scale == null ? null : `norm scales ${visibleText(circuit.scale, 20)}`,
      ].filter((part) => part !== null).join(", ")),
      circuit.certificates.size === 0 ? null : verdict(worst, `${worst > COMPLETE ? "Sources are missing from some of" : "Every source is accounted for in"}`
        + ` ${plural(circuit.certificates.size, "node", "nodes")}: residual at most ${number(worst)}`),
      strongest.length === 0 ? null : element("h3", {}, "Nodes that matter most", element("small", {}, strongest[0].influence == null ? "|attribution|" : "influence")),
      element("ul", {}, ...strongest.map((node) => row(node, Circuit.importance(node),
        Circuit.importance(strongest[0]), `plain ${kindClass(node.kind)}`, Circuit.importance(node)))),
    ].filter((part) => part !== null);
  }

  /** One line of a list that leads to a node. */
  function row(node, size, largest, className, value, edge) {
    const what = element("span", { className: "what" },
      element("span", { className: "place" }, node.layer == null ? "" : `L${node.layer} `), ...heading(node));
    if (edge?.path != null) what.prepend(element("span", { className: "path", title: `through its ${visibleText(edge.path, 12)}` },
        visibleText(edge.path, 1).toUpperCase()));
    const button = element("button", { type: "button", "data-name": node.name }, icon(node.kind), what,
      track(size, largest, className), element("span", { className: "size" }, number(value)));
    button.addEventListener("click", () => {
      go(node);
      byId("panel").focus({ preventScroll: true });
      byId("panel").scrollTop = 0;
    });
    for (const [type, on] of [["pointerenter", true], ["focus", true], ["pointerleave", false], ["blur", false]]) {
      button.addEventListener(type, () => emphasise(node, edge, on));
    }
    return element("li", {}, button, edge?.split === undefined ? null : fork(edge));
  }

  /** A button that tells of an edge. */
  function fork(edge) {
    const svg = d3.create("svg").attr("viewBox", "0 0 16 16").attr("aria-hidden", "true");
    svg.append("path").attr("d", "M8 14V9M8 9C8 5 3 7 3 2M8 9C8 5 13 7 13 2M8 9V2");
    const button = element("button", { type: "button", className: "fork", title: "Through which heads it passes" }, svg.node());
    button.addEventListener("click", () => {
      choose(edge);
      byId("panel").focus({ preventScroll: true });
      byId("panel").scrollTop = 0;
    });
    return button;
  }

  function emphasise(node, edge, on) {
    mark("emphasised", new Set(on ? [node] : []));
    d3.select("#under").selectAll("path").classed("emphasised", (other) => on && other === edge);
  }

  function details(node) {
    if (node.members !== undefined) return groupDetails(node);
    const close = element("button", { type: "button" }, pinned === null ? "click to pin" : "unpin");
    close.addEventListener("click", () => pin(pinned === null ? node : null));
    const pattern = Circuit.pattern(circuit, node);
    const score = Circuit.score(circuit, node);
    const certificates = circuit.certificates.get(node.index) ?? [];
    return [
      element("h2", {}, icon(node.kind), element("span", {}, ...heading(node)), pinned === null ? null : close),
      element("p", { className: "code" }, visible(node.name, 200)),
      element("p", { className: "note" }, visibleText(kindOf(node.kind).word, 40),
        node.layer == null ? "" : `, layer ${node.layer}`,
        `, token ${node.token}`,
        node.key == null ? "" : ` looking at token ${node.key}`,
        pinned === null ? " · click it to pin" : ""),
      readings(node, node.output === undefined ? []
        : [["value", node.output.value], ["weight", node.output.weight]].filter(([, value]) => Number.isFinite(value))),
      score === undefined ? null : fold("Why it looks there", () => pairsOf(score)),
      pattern === undefined ? null : fold("Attention pattern", () => Parts.heatMap(circuit.tokens, node, pattern, byId("panel").clientWidth)),
      certificates.length === 0 ? null : fold("Certificate", () => certificates.map(certificateOf)),
      ...edgeList(node, "into", "Strongest edges in", (edge) => edge.source),
      ...edgeList(node, "outOf", "Strongest edges out", (edge) => edge.target),
    ].filter((part) => part !== null);
  }

  // An edge, and the heads that it passes

  function edgeDetails(edge) {
    const close = element("button", { type: "button" }, "close");
    close.addEventListener("click", () => pin(null));
    const end = (node, word) => {
      const button = element("button", { type: "button", className: "end", "data-name": node.name },
        element("span", { className: "place" }, word), icon(node.kind), element("span", { className: "what" },
          element("span", { className: "place" }, node.layer == null ? "" : `L${node.layer} `), ...heading(node)));
      button.addEventListener("click", () => go(node));
      return element("li", {}, button);
    };
    const numbers = [["weight", edge.weight], ["influence through it", edge.score]].filter(([, value]) => Number.isFinite(value));
    return [
      element("h2", {}, element("span", {}, "Edge"), close),
      element("ul", { className: "ends" }, end(edge.target, "to"), end(edge.source, "from")),
      edge.path == null ? null : element("p", { className: "note" }, `through the ${visibleText(edge.path, 12)} of the head`),
      element("dl", { className: "numbers" }, ...numbers.flatMap(([word, value]) =>
        [element("dt", {}, word), element("dd", {}, number(value))])),
      ...(edge.split === undefined ? [element("p", { className: "note" }, edge.source.members === undefined && edge.target.members === undefined
        ? "This file does not say through which heads it passes: graph --loadings N writes that of N edges."
        : "The edges of a group are sums; one of its own says through which heads it passes.")] : splitOf(edge)),
    ].filter((part) => part !== null);
  }

  function splitOf(edge) {
    const { split } = edge;
    const size = ({ heads, passing }) => heads.reduce((sum, loading) => sum + Math.abs(loading), Math.abs(passing));
    const widest = Math.max(Number.MIN_VALUE, ...split.layers.map(size));
    const off = Math.max(0, ...split.layers.map((layer) =>
      Math.abs(layer.heads.reduce((sum, loading) => sum + loading, layer.passing) - split.edge) / Math.max(size(layer), Number.MIN_VALUE)));
    const whole = isSame(split.edge, edge.weight);
    return [
      element("h3", {}, "Through heads", element("small", {}, "patterns and norms held")),
      element("p", { className: "note" }, whole
        ? "At each layer, what passes its heads and what passes it by sum to the weight."
        : "Heads are nodes here, so the edge itself passes none. With all that goes on through heads between, it is:"),
      whole ? null : element("dl", { className: "numbers" },
        element("dt", {}, "through and past heads"), element("dd", {}, number(split.edge))),
      element("ol", { className: "layers" }, ...[...split.layers].reverse().map((layer) => layerOf(layer, widest))),
      verdict(off, `${off > COMPLETE ? "Some layer does not sum" : "Every layer sums"} to ${number(split.edge)}: residual ${number(off)}`),
      element("h3", {}, "Where most of it passes", element("small", {}, "of all pairs of tokens")),
      ...split.passed.map((head) => passedHead(head, Math.abs(split.passed[0].loading))),
    ].filter((part) => part !== null);
  }

  /** Whether two numbers differ by rounding alone. */
  const isSame = (one, other) => Math.abs(one - other) <= COMPLETE * Math.max(Math.abs(one), Math.abs(other));

  /** A layer as a bar of what passes each head, largest first, and what passes it by. */
  function layerOf({ layer, heads, passing }, widest) {
    const order = heads.map((loading, head) => ({ loading, head })).filter(({ loading }) => loading !== 0)
      .sort((a, b) => Math.abs(b.loading) - Math.abs(a.loading));
    const size = order.reduce((total, { loading }) => total + Math.abs(loading), Math.abs(passing));
    const part = (value, className, words) => {
      const made = element("i", { className, title: `${words}: ${number(value)}` });
      made.style.flexGrow = 100 * Math.abs(value) / size;
      return made;
    };
    const bar = element("span", { className: "heads" }, ...order.map(({ head, loading }) => part(loading, sign(loading), `head ${head}`)),
      part(passing, "passing", "past the layer"));
    bar.style.width = `${100 * size / widest}%`;
    const sum = (some) => some.reduce((total, { loading }) => total + loading, 0);
    const others = order.slice(NAMED_HEADS);
    const words = [...order.slice(0, NAMED_HEADS).map(({ head, loading }) => `head ${head} ${number(loading)}`),
      ...(others.length === 0 ? [] : [`${plural(others.length, "other", "others")} ${number(sum(others))}`]),
      `past it ${number(passing)}`];
    return element("li", {},
      element("span", { className: "place" }, `L${layer}`),
      bar,
      element("span", { className: "size" }, number(sum(order))),
      element("span", { className: "note" }, words.map((word) => word.replaceAll(" ", "\u00a0")).join(" · ")));
  }

  /** A head that an edge passes, and on demand why it looks there. */
  function passedHead(head, largest) {
    const score = Circuit.score(circuit, head);
    const line = [icon("head"), element("span", { className: "what" },
      element("span", { className: "place" }, `L${head.layer} `), ...heading(head)),
      track(head.loading, largest), element("span", { className: "size" }, number(head.loading))];
    if (score === undefined) return element("div", { className: "passed" }, ...line);
    const made = element("details", { className: "passed" }, element("summary", { title: "Why it looks there" }, ...line));
    made.addEventListener("toggle", () => {
      if (made.open && made.childElementCount === 1) made.append(...pairsOf(score));
    });
    return made;
  }

  /** The score of a head as a sum over pairs of writes. */
  function pairsOf(score) {
    const side = (node) => (node === undefined ? ["bias"]
      : [element("span", { className: "place" }, node.layer == null ? "" : `L${node.layer} `), visibleText(Circuit.component(circuit, node), 60),
        ...(node.key == null ? [] : [" ← ", token(node.key, 12, "token")])]);
    const rest = score.pairs.reduce((left, pair) => left - pair.score, score.sum);
    const largest = Math.max(0, ...score.pairs.map((pair) => Math.abs(pair.score)));
    const off = Math.abs(score.sum - score.score)
      / Math.max(score.pairs.reduce((sum, pair) => sum + Math.abs(pair.score), Math.abs(rest)), Number.MIN_VALUE);
    const others = score.count - score.pairs.length;
    return [
      element("p", { className: "note" }, token(score.token, 16, "token"), " looks at ", token(score.key, 16, "token"),
        " by a score that is a sum over pairs of what is written at the one and at the other:"),
      element("ul", { className: "pairs" }, ...score.pairs.map((pair) => element("li", {},
        element("span", { className: "what" }, ...side(pair.query)), element("span", { className: "what" }, "× ", ...side(pair.key)),
        track(pair.score, largest), element("span", { className: "size" }, number(pair.score))))),
      element("dl", { className: "numbers" },
        ...(others > 0 ? [element("dt", {}, `${COUNT(others)} other ${others === 1 ? "pair" : "pairs"}`), element("dd", {}, number(rest))] : []),
        element("dt", {}, "score"), element("dd", {}, number(score.score))),
      verdict(off, `${off > COMPLETE ? "The pairs do not sum" : "All pairs sum"} to the score: residual ${number(off)}`),
    ];
  }

  function groupDetails(node) {
    const name = element("input", { type: "text", value: node.name, "aria-label": "Name of the group", maxLength: 200 });
    name.addEventListener("change", () => {
      node.group.name = name.value.trim() || node.group.name;
      look();
    });
    const apart = element("button", { type: "button", className: "more" }, "ungroup");
    apart.addEventListener("click", () => scatter(node.group));
    const members = [...node.members].sort((a, b) => Circuit.importance(b) - Circuit.importance(a));
    return [
      element("h2", {}, icon("group"), pinned === null ? element("span", {}, ...heading(node)) : name),
      element("p", { className: "note" }, plural(members.length, "node", "nodes"), pinned === null ? " · click it to pin" : ""),
      readings(node),
      element("ul", { className: "members" }, ...members.map((member) => element("li", {}, icon(member.kind), " ",
        element("span", { className: "place" }, member.layer == null ? "" : `L${member.layer} `), ...heading(member)))),
      pinned === null ? null : apart,
      ...edgeList(node, "into", "Strongest edges in", (edge) => edge.source),
      ...edgeList(node, "outOf", "Strongest edges out", (edge) => edge.target),
    ].filter((part) => part !== null);
  }

  function edgeList(node, direction, title, other) {
    const edges = node[direction];
    if (edges.length === 0) return [];
    const listed = everything[direction] ? edges : edges.slice(0, STRONGEST);
    const parts = [
      element("h3", {}, title, element("small", {}, `${COUNT(listed.length)} of ${COUNT(edges.length)}`)),
      element("ul", { className: direction }, ...listed.map((edge) =>
        row(other(edge), edge.size, edges[0].size, sign(edge.weight), edge.weight, edge))),
    ];
    if (listed.length < edges.length) {
      const more = element("button", { type: "button", className: "more" }, `all ${COUNT(edges.length)}`);
      more.addEventListener("click", () => {
        everything = { ...everything, [direction]: true };
        drawPanel();
        byId("panel").querySelector(`ul.${direction} li:nth-child(${STRONGEST + 1}) button`)?.focus();
      });
      parts.push(more);
    }
    return parts;
  }

  /** What is filled only when the reader asks for it, and stays open from node to node. */
  function fold(title, fill) {
    const made = element("details", { open: unfolded.has(title) }, element("summary", {}, title));
    const filled = () => made.append(...[fill()].flat());
    if (made.open) filled();
    made.addEventListener("toggle", () => {
      if (made.open && made.childElementCount === 1) filled();
      unfolded[made.open ? "add" : "delete"](title);
    });
    return made;
  }

  function verdict(residual, words) {
    return element("p", { className: `verdict ${residual > COMPLETE ? "bad" : ""}` }, element("span", {}, words));
  }

  function certificateOf(certificate) {
    const { path, sources, whole, recorded, constant, magnitude, remainder, relative_residual: residual } = certificate;
    const numbers = [["sum of all sources", sources], ["gradient · residual", whole],
      ["from biases that it reads", constant], ["recorded: sources and biases", recorded],
      ["size of what is added", magnitude], ["relative residual", residual],
      ["from outside this circuit", remainder]];
    return element("div", { className: "certificate" },
      path == null ? null : element("h3", {}, `through its ${visibleText(path, 12)}`),
      element("dl", { className: "numbers" }, ...numbers.filter(([, value]) => Number.isFinite(value))
        .flatMap(([word, value]) => [element("dt", {}, word), element("dd", {}, number(value))])),
      Number.isFinite(residual) ? verdict(residual, residual > COMPLETE
        ? "The edges into it do not add up." : "The edges into it are complete.") : null);
  }

  // Search

  function search() {
    find();
    highlight();
  }

  function find() {
    const wanted = byId("search").value.trim().toLowerCase();
    const texts = (node) => [node.name, ...(node.members ?? []).map((member) => member.name), kindOf(node.kind).word, circuit.tokens[node.token].text,
      node.key == null ? "" : circuit.tokens[node.key].text];
    matches = wanted === "" ? []
      : Circuit.readingOrder(circuit).filter((node) => texts(node).some((text) => text.toLowerCase().includes(wanted)));
    byId("matches").textContent = wanted === "" ? "" : matches.length === 0 ? "none" : plural(matches.length, "match", "matches");
  }

  function keyOnSearch(event) {
    if (event.key === "Enter" && matches.length > 0) {
      const at = matches.indexOf(pinned) + (event.shiftKey ? matches.length - 1 : 1);
      go(matches[at % matches.length]);
      byId("matches").textContent = `${at % matches.length + 1} of ${matches.length}`;
    }
  }

  function clear() {
    byId("search").value = "";
    selected.clear();
    drawGather();
    search();
    const was = pinned ?? chosen?.target ?? null;
    if (was === null) document.activeElement.blur();
    pin(null);
    if (was !== null && byId("panel").contains(document.activeElement)) nodeElement(was).focus();
  }

  function keyOnPage(event) {
    if (byId("manual").open || event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = document.activeElement.matches("input:not([type=range])");
    if (event.key === "Escape") {
      clear();
      if (typing) document.activeElement.blur();
    } else if (typing) {
      return;
    } else if (event.key === "/") {
      byId("search").focus();
      byId("search").select();
      event.preventDefault();
    } else if (event.key === "?") {
      byId("manual").showModal();
    } else if (event.key.toLowerCase() === "g" && selected.size > 0) {
      byId("group-name").focus();
      event.preventDefault();
    } else if (event.key.toLowerCase() === "d" && subject() !== null) {
      pin(subject());
      byId("panel").focus();
    }
  }

  // Other circuits

  async function open(file) {
    if (file == null) return;
    try {
      show(Circuit.parse(await file.text()));
      problem("");
      say("another circuit is shown");
    } catch (e) {
      problem(`${visibleText(file.name, 80)}: ${visibleText(e.message, 300)}`);
    }
  }

  function problem(sentence) {
    byId("problem").textContent = sentence;
    byId("problem").hidden = sentence === "";
  }

  // Colours, and paper

  const colour = Page.colours(byId("theme"), () => {
    if (circuit === null) return;
    drawEdges(); // canvases keep the colours they were painted with
    drawPanel();
  });

  addEventListener("beforeprint", () => {
    const paper = { width: 1040, height: 640 }; // A4 across, at 96 dots per inch
    arrange(paper);
    const sheet = byId("sheet");
    root.style.setProperty("--print-zoom",
      Math.min(1, paper.width / sheet.offsetWidth, paper.height / sheet.offsetHeight));
  });
  addEventListener("afterprint", () => arrange());

  // What the reader does

  d3.select("#threshold").on("input", () => {
    chooseEdges();
    if (toDraw === null) {
      toDraw = requestAnimationFrame(() => {
        toDraw = null;
        drawEdges();
        highlight();
      });
    }
  });
  d3.select("#gather").on("submit", (event) => {
    event.preventDefault();
    gather();
  });
  d3.select("#let-go").on("click", () => {
    selected.clear();
    drawGather();
    highlight();
  });
  d3.select("#save").on("click", save);
  d3.select("#search").on("input", search).on("keydown", keyOnSearch);
  d3.select("#help").on("click", () => byId("manual").showModal());
  d3.select("#open").on("click", () => byId("file").click());
  d3.select("#file").on("change", async (event) => {
    await open(event.target.files[0]);
    event.target.value = "";
  });
  d3.select("#problem").on("click", () => problem(""));
  d3.select(document).on("keydown", keyOnPage)
    .on("dragover", (event) => {
      event.preventDefault();
      byId("drop").hidden = false;
    })
    .on("dragleave", (event) => {
      if (event.relatedTarget === null) byId("drop").hidden = true;
    })
    .on("drop", (event) => {
      event.preventDefault();
      byId("drop").hidden = true;
      open(event.dataTransfer.files[0]);
    });
  d3.select("#plot").on("click", (event) => {
    if (event.target.closest(".node")) return;
    const box = byId("plot").getBoundingClientRect();
    const edge = edgeAt(event.clientX - box.left, event.clientY - box.top);
    if (edge === undefined) pin(null);
    else choose(edge);
  });
  d3.select("#scroller").on("scroll", drawTip);

  colour();
  Page.unpack(byId("data").textContent)
    .then((text) => show(Circuit.parse(text)))
    .catch((e) => problem(visibleText(e.message, 300)))
    .finally(() => {
      new ResizeObserver(() => arrange()).observe(byId("scroller"));
      root.dataset.ready = "";
    });
})();
