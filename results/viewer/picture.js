// Pictures with the boxes that were cut from them, tied to their crops.

const TALLEST = 440;

/** Ties everything that speaks of one call: pointing at one lights the others. */
function makeTies() {
  const tied = new Map();
  const of = (call) => tied.get(call) || tied.set(call, { nodes: [], why: new Set() }).get(call);
  // Pointer and focus count apart: scrolling to what has the focus takes the pointer away from it.
  const light = (call, why, on) => () => {
    const { nodes, why: reasons } = of(call);
    on ? reasons.add(why) : reasons.delete(why);
    nodes.forEach((node) => node.classList.toggle("lit", reasons.size > 0));
  };
  return {
    add(call, node) {
      of(call).nodes.push(node);
      node.addEventListener("pointerenter", light(call, "pointer", true));
      node.addEventListener("pointerleave", light(call, "pointer", false));
      node.addEventListener("focusin", light(call, "focus", true));
      node.addEventListener("focusout", light(call, "focus", false));
      return node;
    },
    /** Name the node to jump to: `box` (on the original) or `card` (of the call). */
    place(call, name, node) {
      of(call)[name] = node;
    },
    jump(call, name) {
      const node = of(call)[name];
      if (!node) return;
      for (let up = node.parentElement; up; up = up.parentElement) if (up.tagName === "DETAILS") up.open = true;
      node.scrollIntoView({ block: "center", behavior: calm() ? "auto" : "smooth" });
      node.focus({ preventScroll: true });
      node.classList.remove("flash");
      requestAnimationFrame(() => node.classList.add("flash"));
    },
  };
}

function calm() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}

/**
 * A picture with its caption.
 *
 * `boxes`: [{call, words, box, title, jump}] in thousandths; `region`: the evidence's box on it.
 */
function picture(part, { boxes = [], region = null, ties = null, tallest = TALLEST, caption = true } = {}) {
  const frame = frameOf(part, tallest);
  drawBoxes(frame, boxes, region, ties);
  if (!caption) return frame;
  const name = part.name || "picture";
  const words = [foreign(name), el("span", { class: "quiet" }, ` ${part.w}×${part.h}`)];
  if (region) words.push(el("span", { class: "key" }, "evidence"));
  if (pictureUrl(part.sha) !== null) {
    words.push(el("button", {
      type: "button", class: "plain", "aria-label": `Enlarge ${plainWords(name)}`,
      onclick: () => enlarge(part, boxes, region),
    }, "Enlarge"));
  }
  return el("figure", { class: "picture" }, frame, el("figcaption", {}, ...words));
}

function frameOf(part, tallest) {
  const ratio = Math.min(200, Math.max(1 / 200, part.w / part.h || 1));
  const frame = el("div", { class: "frame" });
  frame.style.aspectRatio = String(ratio);
  const widest = Math.min(Math.round(tallest * ratio), Math.max(160, part.w || 0));
  frame.style.width = `min(100%, ${widest}px)`;
  Object.assign(frame.dataset, { ratio, widest });
  const url = pictureUrl(part.sha);
  if (url === null) {
    const why = PAGE.problems[part.sha] === "broken" ? "picture cannot be decoded" : "picture file is missing";
    frame.classList.add("absent");
    frame.append(el("span", { class: "absent-words" },
      why, el("br"), foreign(String(part.sha).slice(0, 12), { class: "code" })));
  } else {
    frame.append(el("img", { src: url, alt: plainWords(part.name || "picture"), decoding: "async" }));
  }
  return frame;
}

function drawBoxes(frame, boxes, region, ties) {
  if (!boxes.length && !region) return;
  const layer = svg("svg", { viewBox: "0 0 1000 1000", preserveAspectRatio: "none", "aria-hidden": "true" });
  frame.append(layer);
  if (region) {
    const words = el("span", { class: "box-tag evidence", title: "The item's evidence" }, "evidence");
    frame.append(placed(words, region, "below"));
  }
  const taken = [];
  for (const mark of boxes) {
    const lines = outline(mark.box, "cut");
    layer.append(...lines);
    const label = el("button", {
      type: "button", class: "box-tag cut", title: mark.title, "aria-label": mark.title,
      onclick: mark.jump,
    }, mark.words);
    frame.append(placed(label, mark.box, "above"));
    stepAside(label, mark.box, taken, frame);
    if (ties) [label, ...lines].forEach((node) => ties.add(mark.call, node));
    if (ties && mark.home) ties.place(mark.call, "box", label);
  }
  if (region) layer.append(...outline(region, "evidence")); // on top: a crop may be as large
}

/** Two lines, light under coloured, so that a box shows on any picture. */
function outline([x1, y1, x2, y2], kind) {
  const place = { x: x1, y: y1, width: x2 - x1, height: y2 - y1, "vector-effect": "non-scaling-stroke" };
  return [svg("rect", { ...place, class: "halo" }), svg("rect", { ...place, class: `box ${kind}` })];
}

/** A sign at a box's edge, turned inwards near the picture's own edges. */
function placed(node, [x1, y1, x2, y2], side) {
  const inside = side === "above" ? y1 < 60 : y2 > 940;
  if (x1 + x2 > 1100) node.style.right = `${(1000 - x2) / 10}%`;
  else node.style.left = `${x1 / 10}%`;
  node.style.top = `${(side === "above" ? y1 : y2) / 10}%`;
  node.classList.add(side === "above" ? (inside ? "within-top" : "above") : (inside ? "within-low" : "below"));
  return node;
}

/** Numbers that would stand on one another stand side by side; sizes are in pixels. */
function stepAside(label, [x1, y1, x2], taken, { dataset }) {
  const width = Math.min(dataset.widest, innerWidth - 60); // a phone shows it smaller
  const side = label.style.right ? "Right" : "Left";
  const from = ((side === "Right" ? 1000 - x2 : x1) / 1000) * width;
  const top = ((y1 / 1000) * width) / dataset.ratio + (label.classList.contains("above") ? -18 : 2);
  let x = from;
  const near = (other) => other.side === side && Math.abs(other.x - x) < 24 && Math.abs(other.top - top) < 20;
  for (let other = taken.find(near); other; other = taken.find(near)) x = other.x + 24;
  if (x > from) label.style[`margin${side}`] = `${Math.round(x - from)}px`;
  taken.push({ side, x, top });
}

/** A box on the original as it lies on a crop of it; null if it is outside. */
function onCrop(region, [x1, y1, x2, y2]) {
  const across = (x) => Math.min(1000, Math.max(0, ((x - x1) / (x2 - x1)) * 1000));
  const down = (y) => Math.min(1000, Math.max(0, ((y - y1) / (y2 - y1)) * 1000));
  const box = [across(region[0]), down(region[1]), across(region[2]), down(region[3])];
  return box[0] < box[2] && box[1] < box[3] ? box : null;
}

function enlarge(part, boxes, region) {
  const away = () => dialog.close();
  const still = boxes.map((mark) => ({ ...mark, jump: away }));
  const frame = frameOf(part, Math.max(240, innerHeight - 120));
  drawBoxes(frame, still, region, null);
  const dialog = openDialog(plainWords(part.name || "picture"), [frame], "light-box");
}

/** A dialog over the page; Escape, its button and a click beside it close it. */
function openDialog(title, content, kind = "") {
  const dialog = el("dialog", { class: `dialog ${kind}`, "aria-label": title });
  const close = el("button", { type: "button", class: "plain", onclick: () => dialog.close() }, "Close");
  dialog.append(el("div", { class: "dialog-head" }, el("h2", {}, title), close), ...content);
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}
