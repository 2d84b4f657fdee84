"use strict";

/**
 * How the pages that show nodes show them: numbers, tokens, marks, edges, attention patterns. Texts are
 * untrusted: they become text nodes and attributes, never markup.
 */
const Parts = (() => {
  const { element } = Page;
  const KINDS = {
    metric: { word: "metric", symbol: d3.symbolStar, area: 190, named: true },
    logit: { word: "logit", symbol: d3.symbolStar, named: true },
    head: { word: "head", symbol: d3.symbolSquare, named: true },
    neuron: { word: "neuron", symbol: d3.symbolCircle, named: true },
    latent: { word: "latent", symbol: d3.symbolDiamond2, named: true },
    embedding: { word: "embedding", symbol: d3.symbolTriangle },
    bias: { word: "bias", symbol: d3.symbolCross },
    error: { word: "error", symbol: d3.symbolWye },
    pre_bias: { word: "pre-bias", symbol: d3.symbolDiamond2, hollow: true },
    group: { word: "group", symbol: d3.symbolSquare2, area: 200, named: true },
  };
  const READINGS = {
    activation: "activation", attribution: "attribution", direct_effect: "direct effect",
    influence: "influence", remainder: "remainder",
  };
  const SHORT = { neuron: "n", head: "h", latent: "#" };
  const PATH_SIDE = { query: -4, key: 0, value: 4 };

  const SMALL = d3.format(".1~e");
  const PLAIN = d3.format(".4~f");
  const COUNT = d3.format(",");
  const PERCENT = d3.format(".2~p");
  const TENTHS = d3.format(".1%");

  function number(value) {
    if (!Number.isFinite(value)) return "–";
    const size = Math.abs(value);
    return size !== 0 && (size < 1e-3 || size >= 1e5) ? SMALL(value) : PLAIN(value);
  }

  /** A probability in a column of others. */
  const share = (p) => (p > 0 && p < 0.0005 ? "<0.1%" : TENTHS(p));

  const kindOf = (kind) => (Object.hasOwn(KINDS, kind) ? KINDS[kind]
    : { word: kind, symbol: d3.symbolSquare2, hollow: true });
  const kindClass = (kind) => `kind-${Object.hasOwn(KINDS, kind) ? kind : "other"}`;
  const sign = (weight) => (weight < 0 ? "minus" : "plus");
  const plural = (count, one, many) => `${COUNT(count)} ${count === 1 ? one : many}`;

  /** Characters that would not be seen, or would move others, are shown for what they are. */
  const HIDDEN = /[\p{Cc}\p{Zl}\p{Zp}\p{Cs}]|(?![\u200c\u200d])\p{Cf}| /gu;
  const SHOWN = { " ": "·", "\n": "↵", "\r": "␍", "\t": "⇥" };

  function shown(character) {
    return SHOWN[character] ?? `\\u${character.codePointAt(0).toString(16).padStart(4, "0")}`;
  }

  /** A token's text with nothing invisible, cut if it is longer than {@code most}. */
  function visible(text, most = 40) {
    if (text === "") return "∅";
    const whole = text.replace(HIDDEN, shown);
    const characters = [...whole];
    return characters.length > most ? characters.slice(0, most - 1).join("") + "…" : whole;
  }

  /** A token's text as an element that other text's direction leaves alone. */
  function token(tokens, t, most, className = "") {
    const made = element("bdi", { className, title: `token ${t}: ${visible(tokens[t].text, 400)}` });
    let plain = "";
    const text = tokens[t].text;
    const flush = () => {
      if (plain !== "") made.append(plain);
      plain = "";
    };
    for (const character of text === "" ? ["∅"] : [...text].slice(0, most)) {
      if (character.match(HIDDEN) || text === "") {
        flush();
        made.append(element("span", { className: "special" }, text === "" ? "∅" : shown(character)));
      } else {
        plain += character;
      }
    }
    flush();
    if ([...text].length > most) made.append("…");
    return made;
  }

  function icon(kind) {
    const of = kindOf(kind);
    const svg = d3.create("svg").attr("viewBox", "-9 -9 18 18").attr("aria-hidden", "true")
      .attr("class", `node ${kindClass(kind)}`).classed("hollow", of.hollow === true);
    svg.append("path").attr("class", "mark").attr("d", d3.symbol(of.symbol, 110)());
    return svg.node();
  }

  const visibleText = (text, most) =>
    [...String(text).replace(HIDDEN, (c) => (c === " " ? c : shown(c)))].slice(0, most).join("");

  function track(value, largest, className = sign(value)) {
    const bar = element("i");
    bar.style.width = `${100 * Math.abs(value) / Math.max(largest, Number.MIN_VALUE)}%`;
    return element("span", { className: `track ${className}` }, bar);
  }

  /**
   * Where an edge starts, bends twice and ends: from the top of the source to the foot of the target;
   * within one column beside the nodes between.
   */
  function way({ source, target, path }, columns) {
    const x = target.x + (PATH_SIDE[path] ?? 0);
    const from = source.y - 5;
    const to = target.y + 6;
    const bend = (from - to) / 2;
    const rows = target.row - source.row;
    const aside = rows > 1 && Math.abs(x - source.x) < 30
      ? Math.min(46, 8 + bend / 8) * (source.token === columns - 1 ? -1 : 1) : 0;
    return [source.x, from, source.x + aside, from - bend, x + aside, to + bend, x, to];
  }

  function curve(edge, columns) {
    const [x, y, ...rest] = way(edge, columns);
    return `M${x} ${y}C${rest.join(" ")}`;
  }

  /** The attention pattern of a head, [query][key], not wider than the room. */
  function heatMap(tokens, node, pattern, room) {
    const count = pattern.length;
    const [q, k] = [node.token, node.key];
    const size = Math.min(22 * count, room - 96);
    const side = size / count;
    const canvas = element("canvas", { role: "img", "aria-label":
      `Attention pattern of ${node.name}: query tokens downward, key tokens to the right` });
    const scale = devicePixelRatio || 1;
    canvas.width = canvas.height = Math.round(size * scale);
    canvas.style.width = `${size}px`;
    const pen = canvas.getContext("2d");
    const edgeOf = (t) => Math.round(t * side * scale);
    const colour = getComputedStyle(document.documentElement);
    pen.fillStyle = colour.getPropertyValue("--band");
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.fillStyle = colour.getPropertyValue("--head");
    pattern.forEach((row, i) => row.forEach((value, j) => {
      pen.globalAlpha = Math.min(1, Math.max(0, value));
      pen.fillRect(edgeOf(j), edgeOf(i), edgeOf(j + 1) - edgeOf(j), edgeOf(i + 1) - edgeOf(i));
    }));
    pen.globalAlpha = 1;
    pen.strokeStyle = colour.getPropertyValue("--ink");
    pen.lineWidth = 1.5 * scale;
    pen.strokeRect(edgeOf(k), edgeOf(q), side * scale, side * scale);

    const every = Math.max(1, Math.ceil(12 / side));
    const names = (end, edge, along) => element("div", { className: edge, "aria-hidden": "true" },
      ...pattern.flatMap((_, t) => {
        if (t !== end && (t % every !== 0 || Math.abs(t - end) < every)) return [];
        const name = token(tokens, t, 14, t === end ? "on" : "");
        name.style[along] = `${(t + 0.5) * side}px`;
        return [name];
      }));
    const read = element("p", { className: "read note" });
    const tell = (i, j) => {
      const value = pattern[i]?.[j];
      read.replaceChildren(...(value === undefined ? ["a token sees no later one"]
        : [token(tokens, i, 20, "token"), " looks at ", token(tokens, j, 20, "token"), `: ${number(value)}`]));
    };
    tell(q, k);
    canvas.addEventListener("pointermove", (event) =>
      tell(Math.min(count - 1, Math.floor(event.offsetY / side)), Math.min(count - 1, Math.floor(event.offsetX / side))));
    canvas.addEventListener("pointerleave", () => tell(q, k));
    const looked = (pattern[q] ?? []).map((value, j) => ({ value, j }))
      .filter(({ value }) => value >= 0.005).sort((a, b) => b.value - a.value).slice(0, 5);
    return [
      element("div", { className: "heat" }, names(q, "side", "top"), canvas, names(k, "foot", "left")),
      read,
      element("p", { className: "note" }, token(tokens, q, 20, "token"), " looks at ",
        ...looked.flatMap(({ value, j }, i) => [i === 0 ? "" : ", ", token(tokens, j, 20, "token"), ` ${d3.format(".2f")(value)}`])),
    ];
  }

  /** Short name for beside a mark: the place says layer and token. */
  function label(circuit, node) {
    if (node.members !== undefined) return visible(node.name, 24).replaceAll("·", " ");
    if (node.output !== undefined) return circuit.outputs.length === 1 ? "metric" : `${visible(node.output.text.trim(), 16)} ${PERCENT(node.output.weight)}`;
    const short = Object.hasOwn(SHORT, node.kind) ? SHORT[node.kind] : `${node.kind} `;
    const name = Number.isInteger(node.number) ? `${short}${node.number}` : Circuit.component(circuit, node);
    return node.key == null ? name : `${name} ← ${visible(circuit.tokens[node.key].text, 10)}`;
  }

  /** What a node is of, for a list. */
  function heading(tokens, node) {
    const words = [node.part, kindOf(node.kind).word, node.index].filter((word) => word != null).join(" ");
    return [`${visibleText(words, 60)} `, ...(node.token == null ? [] : [token(tokens, node.token, 16, "token")]),
      ...(node.key == null ? [] : [" ← ", token(tokens, node.key, 16, "token")])];
  }

  /** Where the marks of a circuit are that has places. */
  const marks = (circuit) => Circuit.shelf(circuit.nodes.map(({ x, y }) => ({ left: x - 7, right: x + 7, top: y - 7, bottom: y + 7 })));

  /** Places for the names of the first of some nodes, wherever one fits without covering anything. */
  function labels(circuit, place, bare, nodes, most) {
    const taken = Circuit.shelf();
    const free = (box) => box.left > 0 && box.right < place.width && box.top > 0 && box.bottom < place.height
      && bare.isFree(box) && taken.isFree(box);
    const placed = [];
    for (const node of nodes) {
      if (placed.length === most) break;
      const text = label(circuit, node);
      const wide = 6.8 * [...text].length;
      const spots = [[11, 4, "start"], [-11, 4, "end"], [0, -13, "middle"], [0, 21, "middle"]];
      for (const [dx, dy, anchor] of spots) {
        const left = node.x + dx - (anchor === "end" ? wide : anchor === "middle" ? wide / 2 : 0);
        const box = { left: left - 1, right: left + wide + 1, top: node.y + dy - 10, bottom: node.y + dy + 3 };
        if (!free(box)) continue;
        taken.put(box);
        placed.push({ x: node.x + dx, y: node.y + dy, anchor, text });
        break;
      }
    }
    return placed;
  }

  return { KINDS, READINGS, COUNT, PERCENT, number, share, kindOf, kindClass, sign, plural, visible, visibleText, token, icon,
    track, way, curve, heatMap, heading, marks, labels };
})();
