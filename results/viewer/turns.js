// What happened, turn by turn.

const FINISHES = ["stop", "tool_calls", ""];

function timeline(view) {
  let turn = 0;
  let call = 0;
  const nodes = view.episode.events.map((event) => {
    if (event.kind === "model") return judgeTurn(event, (turn += 1));
    if (event.kind === "tool") return toolCall(view, event, (call += 1));
    if (event.kind === "note") return noteNode(event);
    return stopNode(view, event);
  });
  return el("ol", { class: "timeline", "aria-label": "Turns" }, ...nodes);
}

function step(kind, head, body) {
  return el("li", { class: `step ${kind}` }, el("div", { class: "step-head" }, ...head), ...body.filter(Boolean));
}

function judgeTurn(event, turn) {
  const [input, output, cached] = event.usage;
  // A model always writes tokens: none at all means that nobody counted them.
  const known = input || output;
  const used = known ? `${count(input)} in${cached ? ` (${count(cached)} cached)` : ""}, ${count(output)} out tokens` : "";
  const head = [
    el("h4", {}, `Turn ${turn}`), el("span", { class: "quiet" }, "judge"),
    FINISHES.includes(event.finish) || event.finish === "unknown" ? null : tag(plainWords(event.finish), "warn"),
    event.retries ? tag(`${event.retries} retries`, "warn") : null,
    el("span", { class: "spent quiet" }, `${used}${waited(event)}`),
  ].filter(Boolean);
  const body = [];
  if (event.reasoning) body.push(pieceNode(["reasoning", event.reasoning]));
  body.push(...event.pieces.map(pieceNode));
  for (const call of event.native) {
    body.push(details("call as the server returned it", () => [jsonBlock(call)]));
  }
  if (event.refusal) body.push(labelled("refusal", textBlock(event.refusal), "bad-text"));
  if (!body.length) body.push(el("p", { class: "quiet" }, "(nothing was written)"));
  return step("judge", head, body);
}

function waited(event) {
  return event.seconds === null ? "" : ` · ${seconds(event.seconds)}`;
}

const PIECE_NAMES = {
  reasoning: "reasoning",
  answer: "answer",
  call: "call as written",
  dropped: "dropped: written after a call, never part of the conversation",
};

function pieceNode([kind, before, verdict, after]) {
  if (kind === "call") {
    return details(PIECE_NAMES.call, () => [textBlock(before, 3000, { class: "code" })], { class: "as-written" });
  }
  let block = textBlock(before, kind === "dropped" ? 3000 : 8000);
  if (verdict) {
    block.append(el("mark", { title: "read as the verdict" }, ...foreignNodes(verdict)));
    if (after) block.append(...textBlock(after, 3000).childNodes);
  }
  if (kind === "dropped") block = el("del", {}, block);
  return kind === "text" ? el("div", { class: "piece text" }, block) : labelled(PIECE_NAMES[kind], block, kind);
}

function labelled(words, block, kind) {
  return el("div", { class: `piece ${kind}` }, label(words), block);
}

function toolCall(view, event, number) {
  const head = [
    el("h4", {}, `Call ${number}`),
    foreign(event.name || "(no name)", { class: "code tool-name" }),
    ...callTags(event),
    event.seconds === null ? null : el("span", { class: "spent quiet" }, seconds(event.seconds)),
  ].filter(Boolean);
  const body = [
    event.arguments === null ? labelled("written as", textBlock(event.raw, 2000, { class: "code" }), "raw") : jsonBlock(event.arguments),
    event.parse_error ? labelled("not readable", textBlock(event.parse_error, 2000), "bad-text") : null,
    resultNode(view, event, number),
  ];
  const node = step(event.error ? "tool failed" : "tool", head, body);
  node.tabIndex = -1;
  view.ties.place(number, "card", node);
  return view.ties.add(number, node);
}

function callTags(event) {
  const tags = [];
  const sight = event.sight || {};
  if (event.error) tags.push(tag(`✗ error: ${plainWords(event.error.kind)}`, "bad"));
  if (sight.coverage !== undefined) tags.push(cropTag(sight));
  if (event.meta.check === true || event.meta.check === false) {
    tags.push(tag(event.meta.check ? "✓ check: True" : "✗ check: False", event.meta.check ? "good" : "bad"));
  }
  if (sight.repeated) tags.push(tag("↻ same call as before", "warn"));
  if (event.truncated) tags.push(tag("text cut to the limit", "warn"));
  return tags;
}

function cropTag(sight) {
  const covered = `${Math.round(sight.coverage * 100)}% of the evidence`;
  if (sight.whole) return tag("whole picture", "warn");
  return sight.hit ? tag(`✓ hit: holds ${covered}`, "good") : tag(`✗ miss: holds ${covered}`, "bad");
}

function resultNode(view, event, number) {
  const words = event.parts.filter((part) => !part.sha).map((part) => textBlock(part.text, 1500));
  const pictures = event.parts.filter((part) => part.sha).map((part) => resultPicture(view, event, part, number));
  return el("div", { class: "result" }, label("result"), pagesRow(view, event), ...pictures, ...words,
    event.error && !words.length ? textBlock(event.error.message) : null,
    details("data of the result", () => [jsonBlock(event.meta)], { class: "as-written" }));
}

function pagesRow(view, event) {
  const pages = (event.sight && event.sight.pages) || [];
  if (!pages.length) return null;
  const wanted = view.item.evidence.pages;
  const chips = pages.map((page) => pageChip(page, wanted.includes(page)));
  const hits = pages.filter((page) => wanted.includes(page)).length;
  const verdict = wanted.length ? (hits ? tag(`✓ hit: ${hits} of ${wanted.length} evidence pages`, "good") : tag("✗ miss: no evidence page", "bad")) : null;
  const row = pages.length > 1 && event.parts.some((part) => part.sha);
  return el("p", { class: "pages-row" }, row ? label("left to right") : null, ...chips, verdict);
}

/** What a call showed; a crop stands beside the picture it was cut from. */
function resultPicture(view, event, part, number) {
  const sight = event.sight || {};
  const region = sight.coverage !== undefined && view.item.evidence.region
    ? onCrop(view.item.evidence.region, sight.box) : null;
  const inner = calls(view)
    .filter(({ event: other }) => other.sight && other.sight.on === part.name && other.sight.cut)
    .map(({ event: other, number: n }) => mark(view, n, other.sight.cut, false));
  const shown = picture(part, { boxes: inner, region, ties: view.ties, tallest: sight.box ? 380 : 520 });
  const source = sight.box ? locator(view, sight, number) : null;
  return source ? el("div", { class: "cut-row" }, source, shown) : shown;
}

function locator(view, sight, number) {
  const names = view.item.question.filter((part) => part.sha);
  const home = names.find((part) => part.name === sight.picture);
  if (!home) return null;
  const small = frameOf(home, 96);
  const layer = svg("svg", { viewBox: "0 0 1000 1000", preserveAspectRatio: "none", "aria-hidden": "true" });
  layer.append(...outline(sight.box, "cut"));
  small.append(layer);
  const words = sight.on && sight.on !== sight.picture ? `from ${plainWords(sight.on)}` : "cut from here";
  return el("button", {
    type: "button", class: "locator", title: "Show the box on the picture",
    onclick: () => view.ties.jump(number, "box"),
  }, small, el("span", {}, words));
}

function noteNode(event) {
  return step("note", [el("h4", {}, "Note to the judge"), foreign(event.reason, { class: "code quiet" })], [textBlock(event.text)]);
}

function stopNode(view, event) {
  const { judgement } = view.episode;
  const head = [el("h4", {}, "Stop"), tag(event.reason.replace(/_/g, " "), event.reason === "answered" ? "" : "warn")];
  const body = [
    event.detail ? textBlock(event.detail, 2000) : null,
    judgement.parse === "ok" ? null : el("p", {}, tag(judgement.parse, "warn"), " ", foreign(judgement.detail)),
    ...view.episode.failures.map((failure) => labelled(
      `failure of ${failure.boundary}: ${plainWords(failure.type)}, ${failure.attempt} attempts`, textBlock(failure.message, 2000), "bad-text")),
  ];
  return step("stop", head, body);
}
