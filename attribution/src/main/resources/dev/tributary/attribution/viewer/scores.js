"use strict";

/** What the pages of scores over a data set say alike. */
const Scores = (() => {
  const { element } = Page;
  const byId = (id) => document.getElementById(id);
  const WRONG = 8; // edges or nodes listed whose scores are most wrong

  // Words and numbers

  function require(condition, sentence) {
    if (!condition) throw new Error(sentence);
  }

  const finite = (value) => (Number.isFinite(value) ? value : null);
  const grouped = (count) => count.toLocaleString("en");
  const plural = (count, one, many) => `${grouped(count)} ${count === 1 ? one : many}`;

  function number(value) {
    if (!Number.isFinite(value)) return "–";
    const size = Math.abs(value);
    const text = size !== 0 && (size < 1e-4 || size >= 1e6) ? value.toExponential(2) : String(Number(value.toPrecision(4)));
    return text.replace("-", "−");
  }

  function share(value) {
    if (!Number.isFinite(value)) return "–";
    const text = value.toFixed(3);
    return Number(text) === 0 ? "0.000" : text.replace("-", "−");
  }

  const text = (value, most = 200) => String(value ?? "").replace(/[\p{Cc}\p{Cf}]/gu, "?").slice(0, most);

  function svg(name, attributes = {}, ...children) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  function list(value, what) {
    require(Array.isArray(value), `"${what}" is not a list`);
    return value;
  }

  function numbers(rows) {
    return element("dl", { className: "numbers" }, ...rows.flatMap(([what, value]) => [element("dt", {}, what), element("dd", {}, value)]));
  }

  function table(head, rows) {
    return element("table", {}, element("thead", {}, element("tr", {}, ...head.map((cell) => element("th", { scope: "col" }, cell)))),
      element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map((cell) => element("td", {}, cell))))));
  }

  /** How good the scores of edges or nodes are. */
  function trust(scores, word) {
    const sample = scores?.exact_sample;
    if (sample === undefined) return [];
    const worst = list(sample[`${word}s`], `${word}s`).slice(0, WRONG);
    return [element("h3", {}, "How good the scores are"),
      element("p", {}, `Rank correlation ${share(sample.rank_correlation)} with what really happens, of ${plural(sample[`${word}s`].length, word, `${word}s`)} drawn at random and patched over ${plural(sample.pairs ?? 0, "pair", "pairs")}. Farthest off:`),
      table([word, "score", "really", "ratio"], worst.map((own) => [text(own[word]), number(own.estimate), number(own.exact), Number.isFinite(own.ratio) ? number(Number(own.ratio.toPrecision(3))) : ""]))];
  }

  function leftOut(scores) {
    const rows = list(scores?.left_out ?? [], "left_out");
    if (rows.length === 0) return [];
    return [element("h3", {}, `${plural(scores.rows_left_out ?? rows.length, "row", "rows")} left out`),
      ...rows.map((row) => element("p", { className: "note" }, `${text(row.file)}, line ${text(row.line)}: ${text(row.reason)}`))];
  }

  function tip(at, parts, x, y) {
    const box = at.getBoundingClientRect();
    const tipBox = byId("tip");
    tipBox.replaceChildren(...parts);
    tipBox.hidden = false;
    const left = (x ?? box.x + box.width / 2) + 14;
    const top = (y ?? box.y + Math.min(box.height / 2, 60)) + 12;
    tipBox.style.left = `${Math.max(4, left + tipBox.offsetWidth > innerWidth ? left - 28 - tipBox.offsetWidth : left)}px`;
    tipBox.style.top = `${Math.max(4, Math.min(top, innerHeight - tipBox.offsetHeight - 4))}px`;
  }

  const hideTip = () => {
    byId("tip").hidden = true;
  };

  /** To another of some elements, of which one can be reached by Tab. */
  function move(event, all, from) {
    const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -Infinity, End: Infinity };
    if (!Object.hasOwn(steps, event.key)) return false;
    const to = all[Math.min(all.length - 1, Math.max(0, all.indexOf(from) + steps[event.key]))];
    from.setAttribute("tabindex", -1);
    to.setAttribute("tabindex", 0);
    to.focus();
    return true;
  }

  /** Draws the answers that the page carries, or says why it cannot. */
  function open(show) {
    Page.colours(byId("theme"), () => {})();
    Page.unpack(byId("data").textContent)
      .then((json) => show(list(JSON.parse(json), "answers")))
      .catch((e) => {
        byId("problem").textContent = text(e.message, 300);
        byId("problem").hidden = false;
      })
      .finally(() => {
        document.documentElement.dataset.ready = "";
      });
  }

  return { byId, require, finite, grouped, plural, number, share, text, svg, list, numbers, table, trust, leftOut, tip, hideTip, move, open };
})();
