"use strict";

/** The prompt, its tokens, what the model expects after one, and which words are explained. */
const Prompt = (() => {
  const { element, once } = Page;
  const { visible, number, share } = Parts;
  const byId = (id) => document.getElementById(id);
  const WAIT = 120; // milliseconds after a key before words are asked for
  const PICKERS = ["targets", "distractors"];
  const NONE = []; // tokens
  const fixed = d3.format(".2f");

  // Tokens

  function showTokens(found) {
    const tokens = found?.tokens ?? NONE;
    const { position: chosen, targets, distractors } = View.now;
    const position = chosen < 0 ? tokens.length - 1 : chosen;
    drawChips(tokens, position);
    drawNext(tokens[position]?.next ?? null, targets, distractors);
  }

  /** One button for each token; the one at the position alone is reached by Tab. */
  const drawChips = once((tokens, position) => {
    const chips = byId("chips");
    Page.redraw(chips, () => chips.replaceChildren(...tokens.map((token, t) => chip(token, t, t === position))));
    const on = chips.children[position];
    if (on !== undefined && on.offsetTop + on.offsetHeight > chips.clientHeight) chips.scrollTop = on.offsetTop;
  });

  function chip({ word, log_probability: log }, t, on) {
    const bits = log === undefined ? null : -log / Math.LN2;
    const surprise = element("i", { "aria-hidden": "true" });
    surprise.style.height = `${Math.min(100, (bits ?? 0) * 7)}%`;
    const made = element("button", {
      type: "button", className: "chip", tabIndex: on ? 0 : -1, "aria-pressed": String(on), "data-act": String(t),
      "aria-label": `token ${t}, ${visible(word.text)}, number ${word.id} of the vocabulary`
        + (bits === null ? "" : `, probability ${share(Math.exp(log))}, surprise ${fixed(bits)} bits`),
    }, element("span", {}, element("bdi", {}, visible(word.text, 30)), element("small", {}, ` #${word.id}`)),
    element("small", {}, bits === null ? "first" : `${share(Math.exp(log))} · ${fixed(bits)} bit`), surprise);
    made.addEventListener("click", () => View.change({ position: t }));
    return made;
  }

  function keyOnChips(event) {
    const chips = [...byId("chips").children];
    const at = chips.indexOf(document.activeElement);
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: chips.length - 1 }[event.key];
    if (at < 0 || chips[to] === undefined) return;
    chips[to].focus();
    event.preventDefault();
  }

  // Next words

  const drawNext = once((next, ...picked) => {
    byId("next").hidden = next === null;
    const likeliest = Math.exp(next?.[0]?.log_probability ?? 0);
    const body = byId("next").tBodies[0];
    Page.redraw(body, () => body.replaceChildren(...(next ?? []).map(({ word, logit, log_probability: log }) => {
      const picks = PICKERS.map((which) => {
        const on = picked[PICKERS.indexOf(which)].includes(word.text);
        const button = element("button", { type: "button", className: `pick ${which}`, "aria-pressed": String(on), "data-act": `${which} ${word.id}`,
          title: which === "targets" ? "explain this word" : "compare with this word",
          "aria-label": `${visible(word.text)} as ${which === "targets" ? "target" : "distractor"}` },
        which === "targets" ? "+" : "−");
        button.addEventListener("click", () => (on ? drop(which, word.text) : pick(which, word.text)));
        return button;
      });
      const bar = element("i");
      bar.style.width = `${100 * Math.exp(log) / likeliest}%`;
      return element("tr", {}, element("th", { scope: "row", title: visible(word.text, 400) }, element("bdi", {}, visible(word.text, 24)), element("span", { className: "track" }, bar)),
        element("td", {}, share(Math.exp(log))), element("td", {}, fixed(log)), element("td", {}, fixed(logit)),
        element("td", {}, ...picks));
    })));
  });

  // Words that are explained

  function pick(which, word) {
    const other = PICKERS.find((one) => one !== which);
    View.change({ trace: "", [which]: [...View.now[which].filter((one) => one !== word), word],
      [other]: View.now[other].filter((one) => one !== word) });
  }

  function drop(which, word) {
    View.change({ [which]: View.now[which].filter((one) => one !== word) });
  }

  const drawPicked = once((...picked) => PICKERS.forEach((which, i) => {
    byId(`${which}-picked`).replaceChildren(...picked[i].map((word) => {
      const button = element("button", { type: "button", className: "word", title: "leave it out",
        "aria-label": `leave out ${visible(word)}` }, element("bdi", {}, visible(word, 24)), " ×");
      button.addEventListener("click", () => {
        drop(which, word);
        byId(which).focus();
      });
      return button;
    }));
  }));

  /** A field in which a word is typed, and below it the words that begin so. */
  function wirePicker(which) {
    const field = byId(which), list = byId(`${which}-list`);
    let abort = new AbortController();
    let timer = 0;
    let at = -1;
    const point = (to) => {
      at = to;
      [...list.children].forEach((option, i) => option.setAttribute("aria-selected", String(i === at)));
      if (at < 0) field.removeAttribute("aria-activedescendant");
      else field.setAttribute("aria-activedescendant", list.children[at].id);
      list.children[at]?.scrollIntoView({ block: "nearest" });
    };
    const show = (options) => {
      list.replaceChildren(...options);
      list.hidden = options.length === 0;
      field.setAttribute("aria-expanded", String(!list.hidden));
      point(-1);
    };
    const choose = (word) => {
      field.value = "";
      show([]);
      pick(which, word);
    };
    const look = async () => {
      abort.abort();
      abort = new AbortController();
      const { signal } = abort;
      if (field.value === "") {
        show([]);
        return;
      }
      try {
        const words = await Ask.words(field.value, signal);
        if (signal.aborted) return;
        show(words.length === 0 ? [element("li", { className: "note" }, "no word begins so")]
          : words.map(({ id, text }, i) => {
            const option = element("li", { role: "option", id: `${which}-${i}`, "data-word": text }, element("bdi", {}, visible(text)),
              element("small", {}, `#${id}`));
            option.addEventListener("pointerdown", (event) => {
              event.preventDefault(); // the field keeps the focus
              choose(text);
            });
            return option;
          }));
      } catch (e) {
        if (!signal.aborted) show([element("li", { className: "refused" }, e.message)]);
      }
    };
    field.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(look, WAIT);
    });
    field.addEventListener("keydown", (event) => {
      const options = [...list.querySelectorAll("[role=option]")];
      if (event.key === "ArrowDown" && options.length > 0) point((at + 1) % options.length);
      else if (event.key === "ArrowUp" && options.length > 0) point((at + options.length) % (options.length + 1) - 1);
      else if (event.key === "Enter" && options.length > 0) choose(options[Math.max(0, at)].dataset.word);
      else if (event.key === "Escape" && !list.hidden) show([]);
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    field.addEventListener("blur", () => show([]));
  }

  /** What is explained, and its value. */
  function showExplained(found) {
    const words = (list) => list.map(({ text }) => `“${visible(text)}”`).join(", ");
    const line = byId("explained");
    byId("untrace").hidden = View.now.trace === "";
    if (found === null) {
      line.replaceChildren();
      return;
    }
    const { metric, tokens, other } = found;
    const mean = (list, what) => `${list.length > 1 ? "mean " : ""}${what} of ${words(list)}`;
    const said = {
      log_probability: () => mean(metric.targets, "log probability"),
      logit_difference: () => `${mean(metric.targets, "logit")} less ${mean(metric.distractors, "that")}`,
      activation: () => `activation of ${metric.trace.name}`,
      attention: () => `attention of ${metric.trace.name}`,
      value: () => `what ${metric.trace.name} writes, along the gradient of ${words(metric.targets)}`,
    }[metric.quantity]();
    const { text } = tokens[metric.position];
    line.replaceChildren(said, metric.trace === undefined ? ` after “${visible(text)}”` : "",
      metric.chosen && metric.trace === undefined ? ", the most probable word" : "", ": ", element("b", {}, number(metric.value)),
      ...(other === undefined ? [] : ["; in the other prompt: ", element("b", {}, number(other.metric.value))]));
  }

  // The text behind the prompt

  /** Some more of it, as the model is, or edited. */
  function hearText(who, more) {
    byId(`text-${who}`).append(Parts.visibleText(more, 2000));
  }

  function showText(found) {
    byId("text-said").replaceChildren(...(found === null ? [] : [Parts.visibleText(found.continuation.text, 2000)]));
    byId("text-edited").replaceChildren(...(found?.edited === undefined ? [] : [Parts.visibleText(found.edited.text, 2000)]));
  }

  // Text fields

  function fit(field) {
    field.style.height = "auto";
    field.style.height = `${Math.min(140, field.scrollHeight + 2)}px`;
  }

  function fill(field, text) {
    field.value = text;
    fit(field);
  }

  function wireText(field, form) {
    field.addEventListener("input", () => fit(field));
    field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      byId(form).requestSubmit();
    });
  }

  function openOther(open) {
    byId("other-form").hidden = !open;
    byId("compare-open").setAttribute("aria-expanded", String(open));
  }

  function wire() {
    PICKERS.forEach(wirePicker);
    byId("chips").addEventListener("keydown", keyOnChips);
    wireText(byId("prompt"), "prompt-form");
    wireText(byId("other"), "other-form");
    byId("prompt-form").addEventListener("submit", (event) => {
      event.preventDefault();
      View.change({ prompt: byId("prompt").value });
    });
    byId("compare-open").addEventListener("click", () => {
      openOther(true);
      if (byId("other").value === "") byId("other").value = View.now.prompt;
      fit(byId("other"));
      byId("other").focus();
    });
    byId("other-form").addEventListener("submit", (event) => {
      event.preventDefault();
      View.change({ other: byId("other").value, sort: "", down: true });
    });
    byId("compare-close").addEventListener("click", () => {
      openOther(false);
      byId("other").value = "";
      View.change({ other: "", sort: "", down: true });
    });
    byId("go-on").addEventListener("click", () => View.change({ goesOn: !View.now.goesOn }));
    byId("untrace").addEventListener("click", () => View.change({ trace: "" }));
  }

  /** What the fields say, as the view has it. */
  function showView() {
    const { prompt, other, targets, distractors, goesOn, off, put } = View.now;
    byId("goes-on").hidden = !goesOn;
    byId("go-on").setAttribute("aria-pressed", String(goesOn));
    byId("text-edited-word").textContent = put === null ? "without what is off" : `set to ${number(put)}`;
    for (const id of ["text-edited", "text-edited-word"]) byId(id).hidden = off.length === 0;
    if (byId("prompt").value !== prompt) fill(byId("prompt"), prompt);
    if (other !== "" || byId("other").value === "") openOther(other !== "");
    if (other !== "" && byId("other").value !== other) fill(byId("other"), other);
    drawPicked(targets, distractors);
  }

  return { wire, showView, showTokens, showExplained, showText, hearText };
})();
