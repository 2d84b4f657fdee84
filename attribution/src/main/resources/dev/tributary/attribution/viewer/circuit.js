"use strict";

/**
 * A circuit as the page uses it: checked, indexed, and given places. Nothing here knows the page.
 * Files are untrusted input: every index is checked before it is used, and a bad file is an Error
 * of one sentence.
 */
const Circuit = (() => {
  const SPACING = 20; // between the centres of two nodes of one cell, at least
  const ROOMY_SPACING = 26; // and where the picture is wider than the window anyway
  const WIDEST_SPACING = 44;
  const FLATTEST = 8; // so many nodes side by side, there
  const CELL_PADDING = 10;
  const ROW_PADDING = 20; // room for edges to turn in
  const EMPTY_ROW = 12;
  const ROW_WORDS = { embedding: "embed", attention: "attn", mlp: "mlp", output: "resid" };

  function require(condition, sentence) {
    if (!condition) throw new Error(sentence);
  }

  const isIndex = (value, size) => Number.isInteger(value) && value >= 0 && value < size;

  function list(value, what) {
    require(Array.isArray(value), `"${what}" is not a list`);
    return value;
  }

  const edgeKey = ({ source, target, path }) => `${source} ${target} ${path ?? ""}`;
  const headKey = ({ layer, number, token, key }) => `${layer} ${number} ${token} ${key}`;

  /** The circuit in a text of JSON. Throws an Error that says what is wrong with it. */
  function parse(text) {
    let json;
    try {
      json = JSON.parse(text);
    } catch (e) {
      throw new Error(`this is not JSON: ${e.message}`);
    }
    require(json?.metadata === undefined,
      "this is a graph of circuit-tracer: tributary view FILE --html PAGE makes a page of it");
    require(json !== null && json.format === "tributary-circuit",
      "this JSON is not a circuit: it has no \"format\": \"tributary-circuit\"");
    require(json.version !== 1,
      "this circuit has version 1, and this page reads version 2: tributary view FILE --circuit NEW makes one of the other");
    require(json.version === 2,
      `this circuit has version ${String(json.version).slice(0, 20)}, and this page reads version 2`);
    const tokens = list(json.tokens, "tokens");
    require(tokens.length > 0, "this circuit has no tokens");
    tokens.forEach((token, i) => require(token !== null && typeof token.text === "string",
      `token ${i} has no text`));
    require(isIndex(json.layers, 10000), "\"layers\" is not a number of layers");
    const rows = json.nodes?.at?.(-1)?.point + 1; // points of the residual stream, the outputs last
    require(isIndex(rows, 20002), "the last node, what is explained, is at no point");

    /** Of a node as the file has it. */
    const placed = (node, what) => {
      require(node != null && typeof node.name === "string" && typeof node.kind === "string",
        `${what} has no name or no kind`);
      const token = node.token ?? node.output?.position;
      require(isIndex(token, tokens.length), `${what} is at token ${token}, and there are ${tokens.length}`);
      require(node.key == null || isIndex(node.key, tokens.length),
        `${what} looks at token ${node.key}, and there are ${tokens.length}`);
      return { ...node, number: node.index, token };
    };

    const nodes = list(json.nodes, "nodes").map((node, index) => {
      require(node?.output === undefined
        || (typeof node.output?.text === "string" && Number.isFinite(node.output.weight)),
        `node ${index} is an output without text or weight`);
      const one = placed(node, `node ${index}`);
      require(isIndex(node.point, rows), `node ${index} is at a point that is not there`);
      return { ...one, index, row: node.point, into: [], outOf: [] };
    });
    const outputs = nodes.filter((node) => node.output !== undefined);
    require(outputs.length > 0, "this circuit explains nothing");

    const headScores = new Map();
    for (const score of json.head_scores ?? []) {
      const head = placed(score, "a head that is explained");
      const pairs = list(score.pairs, "pairs").map((pair) => {
        require(Number.isFinite(pair?.score), "a pair of writes has no score");
        const side = (node) => (node === undefined ? undefined : placed(node, "what a head reads"));
        return { query: side(pair.query), key: side(pair.key), score: pair.score };
      });
      require(Number.isFinite(score.score) && Number.isFinite(score.sum), `${head.name} has no score`);
      headScores.set(headKey(head), { ...head, pairs });
    }
    const splits = new Map();
    for (const split of json.loadings ?? []) {
      require(Number.isFinite(split?.edge) && Number.isFinite(split.direct)
        && list(split.layers, "layers").every((layer) => Number.isFinite(layer?.passing)
          && list(layer.heads, "heads").every(Number.isFinite)), "what passes heads is no numbers");
      const passed = list(split.passed, "passed").map((head) => {
        require(Number.isFinite(head?.loading), "a head has no loading");
        return placed(head, "a head that an edge passes");
      });
      splits.set(edgeKey(split), { ...split, passed });
    }

    const edges = list(json.edges, "edges").map((edge, index) => {
      require(edge !== null && isIndex(edge.source, nodes.length) && isIndex(edge.target, nodes.length),
        `edge ${index} joins nodes that are not there`);
      require(Number.isFinite(edge.weight), `edge ${index} has no weight`);
      return { ...edge, source: nodes[edge.source], target: nodes[edge.target],
        size: Math.abs(edge.weight), split: splits.get(edgeKey(edge)) };
    });
    edges.sort((a, b) => b.size - a.size);
    edges.forEach((edge, rank) => {
      edge.rank = rank;
      edge.source.outOf.push(edge);
      edge.target.into.push(edge);
    });

    const certificates = new Map();
    for (const certificate of json.certificates ?? []) {
      require(isIndex(certificate?.target, nodes.length),
        "a certificate is of a node that is not there");
      const of = certificates.get(certificate.target) ?? [];
      certificates.set(certificate.target, [...of, certificate]);
    }
    const patterns = new Map();
    for (const pattern of json.patterns ?? []) {
      require(list(pattern?.values, "values").every((row, q) =>
        list(row, "values").every(Number.isFinite) && row.length <= q + 1),
        "an attention pattern is not a lower triangle of numbers");
      patterns.set(`${pattern.layer}.${pattern.head}`, pattern.values.slice(0, tokens.length));
    }
    const grouped = new Set();
    const groups = (json.groups ?? []).map((group) => {
      require(typeof group?.name === "string" && list(group.nodes, "nodes").length > 0, "a group has no name or no nodes");
      for (const node of group.nodes) {
        require(isIndex(node, nodes.length) && !grouped.has(node), "a group has a node that is not there, or in another");
        grouped.add(node);
      }
      return { name: group.name, nodes: [...group.nodes] };
    });
    const parts = new Map();
    const members = [...headScores.values()].flatMap(({ pairs }) => pairs.flatMap(({ query, key }) => [query, key]));
    for (const { kind, part } of [...nodes, ...members.filter((one) => one !== undefined)]) parts.set(kind, new Set(parts.get(kind)).add(part));
    const manyParts = new Set([...parts.keys()].filter((kind) => parts.get(kind).size > 1));
    return { ...json, source: json, manyParts, tokens, rows, nodes, outputs, edges, groups, certificates, patterns, headScores,
      heaviest: edges.length > 0 ? edges[0].size : 0 };
  }

  /** The text of a circuit that was parsed, with other groups. */
  function text(circuit, groups) {
    const value = (of) => (Array.isArray(of) && of.length > 0
      ? `[\n${of.map((item) => `    ${JSON.stringify(item)}`).join(",\n")}\n  ]` : JSON.stringify(of));
    const fields = Object.entries({ ...circuit.source, groups });
    return `{\n${fields.map(([name, of]) => `  ${JSON.stringify(name)}: ${value(of)}`).join(",\n")}\n}\n`;
  }

  /**
   * A circuit as the reader wants to see it: without some kinds, and with one node in place of those of
   * each group, which stands where the one of them stands that matters most. Edges are sums.
   */
  function view(circuit, groups, hidden) {
    const seen = (node) => !hidden.has(node.kind);
    const standing = new Map();
    for (const group of groups) {
      const members = group.nodes.map((index) => circuit.nodes[index]).filter(seen);
      if (members.length === 0) continue;
      const first = members.reduce((best, other) => (importance(other) > importance(best) ? other : best));
      const sum = (field) => (members.some((node) => Number.isFinite(node[field]))
        ? members.reduce((total, node) => total + (node[field] ?? 0), 0) : undefined);
      const one = { kind: "group", name: group.name, group, members, index: first.index, component: first.component,
        layer: first.layer, token: first.token, row: first.row, influence: sum("influence"),
        attribution: sum("attribution"), direct_effect: sum("direct_effect"), into: [], outOf: [] };
      for (const node of members) standing.set(node, one);
    }
    for (const node of circuit.nodes) {
      if (seen(node) && !standing.has(node)) standing.set(node, { ...node, into: [], outOf: [] });
    }
    const sums = new Map();
    const edges = [];
    for (const edge of circuit.edges) {
      const source = standing.get(edge.source), target = standing.get(edge.target);
      if (source === undefined || target === undefined || source === target) continue;
      if (source.members === undefined && target.members === undefined) {
        edges.push({ ...edge, source, target });
        continue;
      }
      const path = target.members === undefined ? edge.path : undefined;
      const key = `${source.index} ${target.index} ${path ?? ""}`;
      const sum = sums.get(key);
      if (sum === undefined) sums.set(key, { source, target, path, weight: edge.weight });
      else sum.weight += edge.weight;
    }
    for (const edge of sums.values()) edges.push({ ...edge, size: Math.abs(edge.weight) });
    edges.sort((a, b) => b.size - a.size);
    edges.forEach((edge, rank) => {
      edge.rank = rank;
      edge.source.outOf.push(edge);
      edge.target.into.push(edge);
    });
    const nodes = [...new Set(circuit.nodes.map((node) => standing.get(node)).filter((node) => node !== undefined))];
    return { ...circuit, nodes, edges, heaviest: edges.length > 0 ? edges[0].size : 0 };
  }

  /** The first row, counted from the bottom, in which each layer has nodes, and the last, by layer. */
  function layerRows(circuit) {
    const layers = new Map();
    for (const { layer, row } of circuit.nodes) {
      if (layer == null) continue;
      const [first, last] = layers.get(layer) ?? [row, row];
      layers.set(layer, [Math.min(first, row), Math.max(last, row)]);
    }
    return layers;
  }

  /** What the nodes of a row are of: "embed", "attn", "mlp", "metric", "logits", or of more than one. */
  function rowWord(circuit, row) {
    const words = new Set(circuit.nodes.filter((node) => node.row === row).map(({ component, kind, output }) =>
      output === undefined ? ROW_WORDS[component] ?? "" : kind === "logit" ? "logits" : kind));
    return [...words].join(" ");
  }

  /** What a node is of, without the layer and tokens that its place says already, and without what all of its kind have. */
  function component(circuit, node) {
    if (node.members !== undefined) return node.name;
    const words = [circuit.manyParts.has(node.kind) ? node.part : undefined, node.kind].filter((word) => typeof word === "string")
      .join(" ").replaceAll("_", " ");
    return Number.isInteger(node.number) ? `${words} ${node.number}` : words;
  }

  /** Attention pattern of the head of a node, [query][key], or undefined. */
  function pattern(circuit, node) {
    return node.kind === "head" ? circuit.patterns.get(`${node.layer}.${node.number}`) : undefined;
  }

  /** What the score of a head at a pair of tokens is of, or undefined. */
  function score(circuit, head) {
    return head.kind === "head" ? circuit.headScores.get(headKey(head)) : undefined;
  }

  /** How much a node matters: what its size stands for. */
  function importance(node) {
    return node.output?.weight ?? Math.abs(node.influence ?? node.attribution ?? 0);
  }

  /**
   * Gives every node x and y: columns are tokens, rows are points, and the nodes of one cell stand in
   * a small grid. Uses the room there is; takes more where it must.
   *
   * @param labelWidths of the token texts
   * @returns width, height, columns {x, width, spacing}, rows {y, height, empty}, and whether the labels lie
   *     side by side
   */
  function layout(circuit, labelWidths, room) {
    const cells = new Map();
    for (const node of circuit.nodes) {
      const key = node.row * circuit.tokens.length + node.token;
      if (!cells.has(key)) cells.set(key, []);
      cells.get(key).push(node);
    }
    const fullest = circuit.tokens.map(() => 0);
    for (const [first] of cells.values()) {
      const cell = cells.get(first.row * circuit.tokens.length + first.token);
      cell.sort((a, b) => (b.output?.weight ?? 0) - (a.output?.weight ?? 0) || a.kind.localeCompare(b.kind) || a.name.localeCompare(b.name, "en", { numeric: true }));
      fullest[first.token] = Math.max(fullest[first.token], cell.length);
    }
    const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);
    const across = fullest.map((count) => Math.max(1, Math.ceil(Math.sqrt(0.7 * count))));
    const scrolls = sum(across.map((count) => count * SPACING + CELL_PADDING)) > room.width;
    if (scrolls) fullest.forEach((count, t) => (across[t] = Math.min(Math.max(1, count), FLATTEST)));
    const spacing = scrolls ? ROOMY_SPACING : SPACING;
    const need = (t) => across[t] * spacing + CELL_PADDING;
    const flat = (t) => Math.max(need(t), labelWidths[t]);
    const horizontal = sum(labelWidths.map((_, t) => flat(t))) <= room.width;
    const least = horizontal ? flat : need;

    // With room to spare, wide cells become flat: height is scarcer than width.
    let used = sum(across.map((_, t) => least(t)));
    for (;;) {
      const lines = across.map((count, t) => (fullest[t] > count ? fullest[t] / count : 0));
      const widest = lines.indexOf(Math.max(...lines));
      if (lines[widest] === 0 || used + spacing > room.width) break;
      used -= least(widest);
      across[widest] += 1;
      used += least(widest);
    }
    const share = Math.max(0, room.width - used) / sum(across);
    let x = 0;
    const columns = across.map((count, t) => {
      const width = least(t) + share * count;
      x += width;
      return { x: x - width / 2, width, spacing: Math.min(WIDEST_SPACING, (width - CELL_PADDING) / count) };
    });

    const lines = Array.from({ length: circuit.rows }, () => 0);
    for (const cell of cells.values()) {
      const { row, token } = cell[0];
      lines[row] = Math.max(lines[row], Math.ceil(cell.length / across[token]));
    }
    const heights = lines.map((count) => (count === 0 ? EMPTY_ROW : count * SPACING + ROW_PADDING));
    const filled = lines.filter((count) => count > 0).length;
    const spare = Math.max(0, room.height - sum(heights)) / Math.max(1, filled);
    let y = sum(heights) + spare * filled;
    const height = y;
    const rows = heights.map((least, r) => {
      const height = least + (lines[r] > 0 ? spare : 0);
      y -= height;
      return { y: y + height / 2, height, empty: lines[r] === 0 };
    });

    for (const cell of cells.values()) {
      const { row, token } = cell[0];
      const perLine = Math.ceil(cell.length / Math.ceil(cell.length / across[token]));
      const count = Math.ceil(cell.length / perLine);
      cell.forEach((node, i) => {
        const line = Math.floor(i / perLine);
        const inLine = Math.min(perLine, cell.length - line * perLine);
        node.x = columns[token].x + ((i % perLine) - (inLine - 1) / 2) * columns[token].spacing;
        node.y = rows[row].y + (line - (count - 1) / 2) * SPACING;
      });
    }
    return { width: x, height, columns, rows, horizontal };
  }

  /** Boxes on paper, found by the squares that they touch. */
  function shelf(boxes = []) {
    const SQUARE = 48;
    const squares = new Map();
    const touched = ({ left, right, top, bottom }) => {
      const keys = [];
      for (let i = Math.floor(left / SQUARE); i <= Math.floor(right / SQUARE); i++) {
        for (let j = Math.floor(top / SQUARE); j <= Math.floor(bottom / SQUARE); j++) keys.push(i * 65536 + j);
      }
      return keys;
    };
    const put = (box) => {
      for (const key of touched(box)) {
        if (!squares.has(key)) squares.set(key, []);
        squares.get(key).push(box);
      }
    };
    const isFree = (box) => touched(box).every((key) => (squares.get(key) ?? []).every((o) =>
      box.right < o.left || box.left > o.right || box.bottom < o.top || box.top > o.bottom));
    boxes.forEach(put);
    return { put, isFree };
  }

  /** Nodes in reading order, top row first. */
  function readingOrder(circuit) {
    return [...circuit.nodes].sort(
      (a, b) => b.row - a.row || a.token - b.token || a.y - b.y || a.x - b.x);
  }

  /** The node that an arrow key leads to, or undefined. */
  function neighbour(circuit, node, key) {
    const order = readingOrder(circuit);
    const row = order.filter((other) => other.row === node.row);
    const at = row.indexOf(node);
    if (key === "ArrowLeft") return row[at - 1];
    if (key === "ArrowRight") return row[at + 1];
    const upward = key === "ArrowUp";
    const beyond = order.filter((o) => (upward ? o.row > node.row : o.row < node.row));
    if (beyond.length === 0) return undefined;
    const nearestRow = (upward ? Math.min : Math.max)(...beyond.map((other) => other.row));
    return beyond
      .filter((other) => other.row === nearestRow)
      .reduce((best, other) =>
        Math.abs(other.x - node.x) < Math.abs(best.x - node.x) ? other : best);
  }

  return { parse, text, view, shelf, layerRows, rowWord, component, pattern, score, importance, layout, readingOrder, neighbour };
})();
