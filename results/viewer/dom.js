// Making elements. Text only ever becomes text nodes: nothing on this page parses markup.

/** An element; children are nodes or our own words, `on…` properties are listeners. */
function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function svg(tag, props, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(props)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// What acts instead of showing; the same list as in armbench.story.
const UNSEEN =
  /[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]+/gu;

/** Nodes of a foreign text: characters that act or cannot be seen become named chips. */
function foreignNodes(text) {
  const nodes = [];
  let at = 0;
  const plain = String(text).replace(/\r\n/g, "\n");
  for (const match of plain.matchAll(UNSEEN)) {
    if (match.index > at) nodes.push(document.createTextNode(plain.slice(at, match.index)));
    nodes.push(...chips(match[0]));
    at = match.index + match[0].length;
  }
  if (at < plain.length) nodes.push(document.createTextNode(plain.slice(at)));
  return nodes;
}

function chips(run) {
  const counted = [];
  for (const mark of run) {
    const last = counted[counted.length - 1];
    if (last && last[0] === mark) last[1] += 1;
    else counted.push([mark, 1]);
  }
  const shown = counted.slice(0, 12).map(([mark, times]) => {
    const code = mark.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
    return el("span", { class: "unseen" }, `U+${code}${times > 1 ? ` x${times}` : ""}`);
  });
  const more = counted.length - shown.length;
  if (more > 0) shown.push(el("span", { class: "unseen" }, `and ${more} more`));
  return shown;
}

const LINE = 300;

/** A short foreign text inside a line; a name longer than any name is cut. */
function foreign(text, props = {}) {
  const whole = String(text);
  const box = el("bdi", { ...props, class: `foreign ${props.class || ""}` });
  box.append(...foreignNodes(whole.slice(0, cutAt(whole, LINE))));
  if (whole.length > LINE) box.append(el("span", { class: "quiet" }, ` … (${count(whole.length)} characters)`));
  return box;
}

const STEP = 100000;

/** A foreign text of any length: what is beyond `limit` characters comes when asked for. */
function textBlock(text, limit = 6000, props = {}) {
  const whole = String(text);
  const block = el("div", { ...props, class: `foreign block ${props.class || ""}`, dir: "auto" });
  let at = 0;
  const show = (upTo) => {
    const end = cutAt(whole, upTo);
    block.append(...foreignNodes(whole.slice(at, end)));
    at = end;
    const left = whole.length - at;
    if (left <= 0) return;
    const next = Math.min(left, STEP);
    const words = `Show ${next === left ? "the other" : "another"} ${count(next)} characters`;
    const button = el("button", { type: "button", class: "more", onclick: () => {
      button.remove();
      show(at + next);
    } }, next === left ? words : `${words} of ${count(left)}`);
    block.append(button);
  };
  // A few characters over the limit are not worth a button.
  show(whole.length <= limit * 1.2 ? whole.length : limit);
  return block;
}

function cutAt(text, end) {
  if (end >= text.length) return text.length;
  const code = text.charCodeAt(end - 1);
  return code >= 0xd800 && code < 0xdc00 ? end - 1 : end;
}

/** JSON over several lines; a list of numbers, such as a box, stays on one. */
function jsonBlock(value, limit = 3000) {
  // A line end in JSON text is never inside a string.
  const text = JSON.stringify(value, null, 2).replace(/\[\n\s*([-\d.eE+,\s]*?)\n\s*\]/g,
    (_, inner) => `[${inner.replace(/\s+/g, " ")}]`);
  return textBlock(text, limit, { class: "code" });
}

function details(summary, fill, props = {}) {
  const node = el("details", props, el("summary", {}, summary));
  // Filled when opened: most never are.
  node.addEventListener("toggle", () => {
    if (node.open && !node.dataset.filled) {
      node.dataset.filled = "1";
      node.append(...fill());
    }
  });
  return node;
}

function count(number) {
  if (Math.abs(number) >= 1e15) return Number(number).toExponential(1);
  return Number(number).toLocaleString("en-GB");
}

function share(value) {
  return typeof value === "number" ? value.toFixed(3) : "n/a";
}

function seconds(value) {
  if (typeof value !== "number") return "n/a";
  if (value > 0 && value < 0.005) return "< 0.01 s";
  return value >= 100 ? `${count(Math.round(value))} s` : `${value.toFixed(value < 1 ? 2 : 1)} s`;
}

const MARKS = { correct: "✓", wrong: "✗", unlabelled: "○" };
const MEANINGS = {
  correct: "correct",
  wrong: "wrong",
  unlabelled: "no label to compare with",
  malformed: "unscored: no usable form",
  missing: "unscored: no verdict",
  ambiguous: "unscored: several verdicts",
  refused: "unscored: the judge refused",
  truncated: "unscored: cut off by a limit",
  infrastructure: "unscored: server, tool or data broke",
};

function tone(counted) {
  if (counted === "correct" || counted === "wrong" || counted === "unlabelled") return counted;
  return "unscored";
}

/** What an episode counts as: colour, sign and word. */
function outcome(counted, prefix = "") {
  return el(
    "span",
    { class: `outcome ${tone(counted)}`, title: MEANINGS[counted] || "" },
    el("span", { "aria-hidden": "true" }, MARKS[counted] || "–"),
    `${prefix}${counted}`,
  );
}

function tag(words, kind = "") {
  return el("span", { class: `tag ${kind}` }, words);
}
