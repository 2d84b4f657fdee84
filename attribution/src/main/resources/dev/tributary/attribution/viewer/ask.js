"use strict";

/**
 * Asks the server that the page came from, with the token of its address. Answers that were given
 * before are given again; a question that is not wanted any more is dropped, and the server with it.
 */
const Ask = (() => {
  const KEPT = 60; // answers
  const STORED = "tributary token";
  const client = `page ${crypto.getRandomValues(new Uint32Array(2)).join("")}`;
  const token = takeToken();
  const answers = new Map(); // by question, least recently asked first

  /** Out of the address, where it would be copied and seen. */
  function takeToken() {
    const given = new URLSearchParams(location.search).get("token");
    if (given === null) return sessionStorage.getItem(STORED) ?? "";
    sessionStorage.setItem(STORED, given);
    history.replaceState(null, "", location.pathname + location.hash);
    return given;
  }

  /** Where another page would begin to ask; with the token, without which it would be refused. */
  const address = (hash) => `${location.origin}${location.pathname}?${new URLSearchParams({ token })}${hash}`;

  const headers = (more) => ({ Authorization: `Bearer ${token}`, "Tributary-Client": client, ...more });

  async function refusal(response) {
    const told = await response.json().catch(() => null);
    return new Error(told?.error ?? `the server answers with status ${response.status}`);
  }

  async function fetched(path, options) {
    try {
      return await fetch(path, options);
    } catch (e) {
      if (e.name === "AbortError") throw e;
      throw new Error("the server does not answer: it may have ended");
    }
  }

  /** Words of the vocabulary that begin in some way. */
  async function words(beginning, signal) {
    const response = await fetched(`/api/words?${new URLSearchParams({ text: beginning })}`, { headers: headers(), signal });
    if (!response.ok) throw await refusal(response);
    return (await response.json()).words;
  }

  /** The answer to a question; what the server says of its work on the way goes to progress, texts that go on to said. */
  async function answer(question, signal, progress, said) {
    const body = JSON.stringify(question);
    if (answers.has(body)) {
      const known = answers.get(body);
      answers.delete(body);
      answers.set(body, known);
      return known;
    }
    const response = await fetched("/api/questions", {
      method: "POST", body, signal,
      headers: headers({ "Content-Type": "application/json", Accept: "text/event-stream" }),
    });
    if (!response.ok) throw await refusal(response);
    const found = await read(response.body, progress, said);
    answers.set(body, found);
    if (answers.size > KEPT) answers.delete(answers.keys().next().value);
    return found;
  }

  async function read(stream, progress, said) {
    const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
    let heard = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) throw new Error("the server ended before it answered");
      heard += value;
      const events = heard.split("\n\n");
      heard = events.pop();
      for (const event of events) {
        const [, name, data] = /^event: (\w+)\ndata: (.*)$/.exec(event) ?? []; // others are silence
        if (name === "answer") return JSON.parse(data);
        if (name === "refused") throw new Error(JSON.parse(data).error);
        if (name === "progress") progress(JSON.parse(data));
        if (name === "said" || name === "edited") said(name, JSON.parse(data).text);
      }
    }
  }

  /**
   * A place of the page that shows the answer to one question at a time.
   *
   * @param show what to do with an answer, or with null where nothing is asked
   * @param problem what to do with the sentence of a refusal; "" when there is none any more
   * @param busy what to do with the state of the work; null when there is none any more
   * @param said what to do with how the text goes on, "said" by the model or by the "edited" one
   */
  function place(show, problem, busy, said = () => {}) {
    let asked = null; // as text
    let abort = new AbortController();
    return (question) => {
      const text = question === null ? null : JSON.stringify(question);
      if (text === asked && text !== null) return;
      asked = text;
      abort.abort();
      abort = new AbortController();
      const { signal } = abort;
      problem("");
      if (question === null) {
        busy(null);
        show(null, null);
        return;
      }
      busy({ phase: "waiting", done: 0, total: 0 });
      answer(question, signal, (state) => signal.aborted || busy(state), (...more) => signal.aborted || said(...more))
        .then((found) => {
          if (signal.aborted) return;
          busy(null);
          show(found, question);
        }, (e) => {
          if (signal.aborted) return;
          busy(null);
          asked = null; // it may be asked again
          show(null, question);
          problem(e.message);
        });
    };
  }

  return { address, words, place };
})();
